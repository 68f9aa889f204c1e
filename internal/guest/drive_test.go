//go:build devices

package guest_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"capstan/core/dev"
	"capstan/core/rt"
	"capstan/hw/clock"
	lu "capstan/hw/scsi"
	"capstan/hw/tape"
	"capstan/internal/guest"
)

// driving is a drive under test, opened by one of the two ways.
type driving struct {
	*testing.T
	ctx  context.Context
	file guest.DriveFiles
	st   bool // through the kernel's tape driver
	opts tape.Options
	d    *tape.Drive
}

func (v *driving) must(what string, err error) {
	v.Helper()
	if err != nil {
		v.Errorf("%s: %v", what, err)
	}
}

func (v *driving) want(what string, err, condition error) {
	v.Helper()
	if !errors.Is(err, condition) {
		v.Errorf("%s: %v; want %v", what, err, condition)
	}
}

// open opens the drive, as another process of the host would.
func (v *driving) open() {
	v.Helper()
	if v.d != nil {
		v.must("close", v.d.Close())
	}
	var err error
	if v.st {
		v.d, err = tape.OpenST(v.ctx, "drive1", v.file.ST, v.opts)
	} else {
		var s *lu.SG
		if s, err = lu.OpenSG(v.file.SG); err == nil {
			v.d, err = tape.Open(v.ctx, "drive1", s, v.opts)
		}
	}
	if err != nil {
		v.Fatal(err)
	}
}

func (v *driving) at(block, file int64) {
	v.Helper()
	p, err := v.d.Position(v.ctx)
	if err != nil || p.Block != block || (file >= 0 && p.File >= 0 && p.File != file) {
		v.Errorf("position %+v, %v; want block %d, file %d", p, err, block, file)
	}
}

func (v *driving) read(want []byte) {
	v.Helper()
	p := make([]byte, 100000)
	n, err := v.d.Read(v.ctx, p)
	if err != nil || !bytes.Equal(p[:n], want) {
		v.Errorf("read %d bytes that are not the %d written, or %v", n, len(want), err)
	}
}

func record(n int) []byte { return bytes.Repeat([]byte{byte(n), 1, 2, 3}, 16384-n) }

// TestLibraryDrives drives a drive by its generic device and by the kernel's tape
// driver: movements in several handles, a reset between two blocks, and the pace.
func TestLibraryDrives(t *testing.T) {
	r := newRig(t)
	for i, how := range []string{"sg", "st"} {
		sh(t, fmt.Sprintf("mtx -f %s load %d 0", r.Changer, 5+i))
		t.Run(how, func(t *testing.T) {
			v := &driving{T: t, ctx: clock.Context(context.Background(), "test"), file: r.Drives[0], st: how == "st",
				opts: tape.Options{LockDir: t.TempDir(), Log: slog.New(slog.NewTextHandler(t.Output(), nil))}}
			v.open()
			v.must("load", v.d.Load(v.ctx))
			v.open()
			v.must("reserve", v.d.Reserve(v.ctx, "job 1", false))
			v.movements()
			if r.ours {
				v.reset()
			}
			v.stream()
			v.must("unload", v.d.Unload(v.ctx))
			v.must("give back", v.d.Reserve(v.ctx, "", false))
			v.must("close", v.d.Close())
		})
		sh(t, fmt.Sprintf("mtx -f %s unload %d 0", r.Changer, 5+i))
	}
}

// movements writes three files of three records and goes about on them in a new handle.
func (v *driving) movements() {
	ctx := v.ctx
	v.must("rewind", v.d.Rewind(ctx))
	for n := range 3 {
		for range 3 {
			v.must("write", v.d.Write(ctx, record(n)))
		}
		v.must("filemark", v.d.WriteFilemarks(ctx, 1, n != 2))
	}
	v.at(12, 3)
	v.must("give back", v.d.Reserve(ctx, "", false))
	v.open()
	v.must("reserve", v.d.Reserve(ctx, "job 2", false))
	for _, to := range []int64{11, 4, 8, 0} {
		v.must("locate", v.d.Locate(ctx, to))
		v.at(to, -1)
	}
	p := make([]byte, 100000)
	for n := range 3 {
		for range 3 {
			v.read(record(n))
		}
		_, err := v.d.Read(ctx, p)
		v.want("read of the filemark", err, dev.ErrFilemark)
	}
	_, err := v.d.Read(ctx, p)
	v.want("read at the end", err, dev.ErrEndOfData)
	v.must("locate", v.d.Locate(ctx, 12))
	v.must("space back", v.d.Space(ctx, -2))
	v.must("space", v.d.Space(ctx, 1))
	v.at(8, 2)
	v.read(record(2))
	_, err = v.d.Read(ctx, p[:100])
	v.want("a block that is too long", err, dev.ErrBlockTooLong)
	v.at(10, 2)
}

// reset resets the drive between two blocks: nothing is written before the position was
// established anew.
func (v *driving) reset() {
	ctx := v.ctx
	v.must("locate", v.d.Locate(ctx, 12))
	v.must("write", v.d.Write(ctx, record(1)))
	s, err := lu.OpenSG(v.file.SG)
	if err != nil {
		v.Fatal(err)
	}
	v.must("reset", s.Reset(ctx))
	v.must("close", s.Close())
	if err := v.d.Write(ctx, record(2)); err == nil {
		v.Error("a write after a reset went through")
	}
	v.want("the write after it", v.d.Write(ctx, record(2)), dev.ErrPositionLost)
	v.must("locate", v.d.Locate(ctx, 4))
	v.must("write", v.d.Write(ctx, record(3)))
	v.at(5, 1)
	v.must("rewind", v.d.Rewind(ctx))
	v.read(record(0))
}

// stream writes and reads fifty megabytes, and reports the pace.
func (v *driving) stream() {
	ctx := v.ctx
	const blocks = 200
	block := bytes.Repeat([]byte{1, 2, 3, 4, 5, 6, 7, 8}, 32<<10)
	v.must("rewind", v.d.Rewind(ctx))
	began := rt.Mono(ctx)
	for range blocks {
		v.must("write", v.d.Write(ctx, block))
	}
	v.must("filemark", v.d.WriteFilemarks(ctx, 1, false))
	v.at(blocks+1, 1)
	v.Logf("pace: %s writes, 256 KiB blocks: %d MB/s", v.how(), pace(blocks*len(block), rt.Mono(ctx)-began))
	v.must("rewind", v.d.Rewind(ctx))
	began = rt.Mono(ctx)
	p := make([]byte, len(block))
	for n := range blocks {
		got, err := v.d.Read(ctx, p)
		if err != nil || !bytes.Equal(p[:got], block) {
			v.Fatalf("block %d: %d bytes, %v", n, got, err)
		}
	}
	v.Logf("pace: %s reads, 256 KiB blocks: %d MB/s", v.how(), pace(blocks*len(block), rt.Mono(ctx)-began))
}

// how is the way to the drive.
func (v *driving) how() string {
	if v.st {
		return "Capstan by st"
	}
	return "Capstan by sg"
}

func pace(bytes int, took time.Duration) int {
	return int(float64(bytes) / 1e6 / took.Seconds())
}
