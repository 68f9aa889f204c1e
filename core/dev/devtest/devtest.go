// Package devtest is the conformance suite of the devices' seam: what every
// implementation of [dev.Drive] and [dev.Changer] must do, whichever world it
// is in. The virtual library, its clients over a socket and the SCSI layer run it.
package devtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"

	"capstan/core/dev"
)

// World runs body as a task of a world and returns when body has.
type World func(t *testing.T, body func(ctx context.Context))

// Library is what a test works on: empty drives, cartridges in slots, nothing
// written. It is new for each test.
type Library struct {
	Finder dev.Finder
	Robot  string
	// Drives are the drives' names in the order of their element addresses; two at least.
	Drives []string
	// Cartridges are the barcodes of those that can be written; two at least.
	Cartridges []string
	// Protected is the barcode of one that is write protected, "" if there is none.
	Protected string
	// Capacity is the native capacity of each in bytes, Reserve what of it comes
	// after early warning: at least 16 blocks of [Block] bytes.
	Capacity, Reserve int64
	// Crash ends the library as a loss of power does and starts it again; nil if
	// that cannot be done. Handles from before are worth nothing after it.
	Crash func(ctx context.Context) (dev.Finder, error)
	// Close ends the library.
	Close func(ctx context.Context) error
}

// Open makes a library.
type Open func(ctx context.Context) (*Library, error)

// Block is the block size that the suite writes most.
const Block = 4096

// rig is a test at work. Failures are reported once: after the first, the rest
// of the test means nothing, and its checks are skipped.
type rig struct {
	t      *testing.T
	lib    *Library
	robot  dev.Changer
	drive  dev.Drive // of Drives[0], loaded with Cartridges[0] where the test is a drive's
	failed bool
}

func (r *rig) fail(format string, args ...any) {
	if !r.failed {
		r.t.Helper()
		r.t.Errorf(format, args...)
	}
	r.failed = true
}

// want checks that an operation ended with a condition; nil is success.
func (r *rig) want(what string, err, condition error) {
	r.t.Helper()
	if condition == nil && err != nil {
		r.fail("%s: %v; want success", what, err)
	}
	if condition != nil && !errors.Is(err, condition) {
		r.fail("%s: %v; want %v", what, err, condition)
	}
}

// wantCount checks the number of bytes that a transfer says it moved.
func (r *rig) wantCount(what string, got, want int64) {
	r.t.Helper()
	if got != want {
		r.fail("%s: %d bytes; want %d", what, got, want)
	}
}

func (r *rig) wantAt(ctx context.Context, what string, block, file int64) {
	r.t.Helper()
	p, err := r.drive.Position(ctx)
	r.want(what+": position", err, nil)
	if p.Block != block || p.File != file || p.BOP != (block == 0) {
		r.fail("%s: position %+v; want block %d, file %d", what, p, block, file)
	}
}

// block is the content of a block that tells which it is.
func block(n, size int) []byte {
	b := make([]byte, size)
	for i := range b {
		b[i] = byte(n*7 + i*13 + i>>8)
	}
	return b
}

func (r *rig) write(ctx context.Context, n, size int) {
	r.t.Helper()
	r.want(fmt.Sprintf("write of block %d", n), r.drive.Write(ctx, block(n, size)), nil)
}

func (r *rig) marks(ctx context.Context, n int) {
	r.t.Helper()
	r.want("filemarks", r.drive.WriteFilemarks(ctx, n, false), nil)
}

func (r *rig) read(ctx context.Context, n, size int) {
	r.t.Helper()
	p := make([]byte, size+1)
	got, err := r.drive.Read(ctx, p)
	r.want(fmt.Sprintf("read of block %d", n), err, nil)
	if err == nil && !bytes.Equal(p[:got], block(n, size)) {
		r.fail("block %d: read other bytes than were written (%d of %d)", n, got, size)
	}
}

func (r *rig) readErr(ctx context.Context, condition error) {
	r.t.Helper()
	n, err := r.drive.Read(ctx, make([]byte, Block))
	r.want("read", err, condition)
	if err != nil && n != 0 && !errors.Is(err, dev.ErrBlockTooLong) {
		r.fail("read: %d bytes with %v", n, err)
	}
}

// element is the address of the element that holds a cartridge.
func (r *rig) element(ctx context.Context, barcode string) int {
	r.t.Helper()
	all, err := r.robot.Inventory(ctx)
	r.want("inventory", err, nil)
	for _, e := range all {
		if e.Full && e.Barcode == barcode {
			return e.Address
		}
	}
	r.fail("no element holds cartridge %s", barcode)
	return 0
}

// of is the addresses of the elements of a kind that are full, or are empty.
func (r *rig) of(ctx context.Context, kind dev.ElementKind, full bool) []int {
	r.t.Helper()
	all, err := r.robot.Inventory(ctx)
	r.want("inventory", err, nil)
	var found []int
	for _, e := range all {
		if e.Kind == kind && e.Full == full {
			found = append(found, e.Address)
		}
	}
	return found
}

// mount has the nth drive loaded with a cartridge.
func (r *rig) mount(ctx context.Context, n int, barcode string) dev.Drive {
	r.t.Helper()
	all, err := r.robot.Inventory(ctx)
	r.want("inventory", err, nil)
	to, seen := 0, 0
	for _, e := range all {
		if e.Kind == dev.DriveElement {
			if seen == n {
				to = e.Address
			}
			seen++
		}
	}
	if from := r.element(ctx, barcode); from != to {
		r.want("move to the drive", r.robot.Move(ctx, from, to), nil)
	}
	d, err := r.lib.Finder.Drive(ctx, r.lib.Drives[n])
	r.want("opening the drive", err, nil)
	if err == nil {
		r.want("load", d.Load(ctx), nil)
	}
	return d
}

// crash crashes the library and mounts the first cartridge again.
func (r *rig) crash(ctx context.Context) {
	r.t.Helper()
	finder, err := r.lib.Crash(ctx)
	r.want("restart", err, nil)
	if err != nil {
		return
	}
	r.lib.Finder = finder
	r.robot, err = finder.Changer(ctx, r.lib.Robot)
	r.want("opening the robot", err, nil)
	if err == nil {
		r.drive = r.mount(ctx, 0, r.lib.Cartridges[0])
	}
}

// test is one test of the suite.
type test struct {
	name string
	run  func(ctx context.Context, r *rig)
}

// start runs body on a new library.
func start(ctx context.Context, t *testing.T, open Open, mounted bool, body func(ctx context.Context, r *rig)) {
	lib, err := open(ctx)
	if err != nil {
		t.Errorf("making the library: %v", err)
		return
	}
	r := &rig{t: t, lib: lib}
	r.robot, err = lib.Finder.Changer(ctx, lib.Robot)
	r.want("opening the robot", err, nil)
	if err == nil && mounted {
		r.drive = r.mount(ctx, 0, lib.Cartridges[0])
	}
	if !r.failed {
		body(ctx, r)
	}
	if err := lib.Close(ctx); err != nil {
		t.Errorf("closing the library: %v", err)
	}
}

func runAll(t *testing.T, world World, open Open, mounted bool, tests []test) {
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			world(t, func(ctx context.Context) { start(ctx, t, open, mounted, tt.run) })
		})
	}
}
