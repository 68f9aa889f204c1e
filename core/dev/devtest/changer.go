package devtest

import (
	"context"
	"testing"

	"capstan/core/dev"
)

// RunChanger runs the robot's part of the suite.
func RunChanger(t *testing.T, world World, open Open) {
	runAll(t, world, open, false, []test{
		{"inventory", testInventory},
		{"move", testMove},
		{"source empty", testSourceEmpty},
		{"destination full", testDestinationFull},
		{"bad element", testBadElement},
		{"removal prevented", testRemovalPrevented},
		{"content moves with the cartridge", testCarry},
	})
}

func testInventory(ctx context.Context, r *rig) {
	all, err := r.robot.Inventory(ctx)
	r.want("inventory", err, nil)
	seen := map[int]bool{}
	codes := map[string]bool{}
	drives := 0
	for _, e := range all {
		if seen[e.Address] || e.Address == 0 {
			r.fail("element address %d is 0 or comes twice", e.Address)
		}
		seen[e.Address] = true
		if e.Kind == dev.DriveElement {
			drives++
			if e.Serial == "" {
				r.fail("drive element %d names no serial number", e.Address)
			}
		}
		if e.Full {
			codes[e.Barcode] = true
		} else if e.Barcode != "" {
			r.fail("empty element %d has barcode %s", e.Address, e.Barcode)
		}
	}
	if drives != len(r.lib.Drives) {
		r.fail("%d drive elements; want %d", drives, len(r.lib.Drives))
	}
	for _, b := range r.lib.Cartridges {
		if !codes[b] {
			r.fail("cartridge %s is in no element", b)
		}
	}
}

func testMove(ctx context.Context, r *rig) {
	b := r.lib.Cartridges[0]
	home := r.element(ctx, b)
	to := r.of(ctx, dev.DriveElement, false)[0]
	r.want("move into the drive", r.robot.Move(ctx, home, to), nil)
	all, err := r.robot.Inventory(ctx)
	r.want("inventory", err, nil)
	for _, e := range all {
		if e.Address == to && (!e.Full || e.Barcode != b || (e.Source != 0 && e.Source != home)) {
			r.fail("drive element %+v; want %s from %d", e, b, home)
		}
		if e.Address == home && e.Full {
			r.fail("the slot %+v is still full", e)
		}
	}
	r.want("move back", r.robot.Move(ctx, to, home), nil)
	if at := r.element(ctx, b); at != home {
		r.fail("the cartridge is at %d; want %d", at, home)
	}
}

func testSourceEmpty(ctx context.Context, r *rig) {
	empty := r.of(ctx, dev.Slot, false)
	drive := r.of(ctx, dev.DriveElement, false)[0]
	if len(empty) == 0 {
		r.fail("the library has no empty slot to test with")
		return
	}
	r.want("move from an empty slot", r.robot.Move(ctx, empty[0], drive), dev.ErrSourceEmpty)
	r.want("move from an empty drive", r.robot.Move(ctx, drive, empty[0]), dev.ErrSourceEmpty)
}

func testDestinationFull(ctx context.Context, r *rig) {
	a, b := r.element(ctx, r.lib.Cartridges[0]), r.element(ctx, r.lib.Cartridges[1])
	r.want("move into a full slot", r.robot.Move(ctx, a, b), dev.ErrDestinationFull)
	drive := r.of(ctx, dev.DriveElement, false)[0]
	r.want("move", r.robot.Move(ctx, a, drive), nil)
	r.want("move into a full drive", r.robot.Move(ctx, b, drive), dev.ErrDestinationFull)
	if at := r.element(ctx, r.lib.Cartridges[1]); at != b {
		r.fail("a refused move took the cartridge from %d to %d", b, at)
	}
}

func testBadElement(ctx context.Context, r *rig) {
	a := r.element(ctx, r.lib.Cartridges[0])
	r.want("move to no element", r.robot.Move(ctx, a, 65000), dev.ErrBadElement)
	r.want("move from no element", r.robot.Move(ctx, 65000, a), dev.ErrBadElement)
}

func testRemovalPrevented(ctx context.Context, r *rig) {
	home := r.element(ctx, r.lib.Cartridges[0])
	d := r.mount(ctx, 0, r.lib.Cartridges[0])
	at := r.element(ctx, r.lib.Cartridges[0])
	r.want("move out of a loaded drive", r.robot.Move(ctx, at, home), dev.ErrRemovalPrevented)
	r.want("unload", d.Unload(ctx), nil)
	r.want("move out", r.robot.Move(ctx, at, home), nil)
}

func testCarry(ctx context.Context, r *rig) {
	b := r.lib.Cartridges[0]
	home := r.element(ctx, b)
	r.drive = r.mount(ctx, 0, b)
	r.write(ctx, 1, Block)
	r.marks(ctx, 1)
	r.want("unload", r.drive.Unload(ctx), nil)
	r.want("move out", r.robot.Move(ctx, r.element(ctx, b), home), nil)
	r.drive = r.mount(ctx, 1, b)
	r.wantAt(ctx, "after load", 0, 0)
	r.read(ctx, 1, Block)
	r.readErr(ctx, dev.ErrFilemark)
	r.readErr(ctx, dev.ErrEndOfData)
	r.drive = r.mount(ctx, 0, r.lib.Cartridges[1])
	r.readErr(ctx, dev.ErrEndOfData)
}
