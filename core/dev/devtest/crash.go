package devtest

import (
	"bytes"
	"context"
	"errors"
	"testing"

	"capstan/core/dev"
)

// testDurable: what came before a synchronous filemark is there after a crash.
// Of what came after it any number of whole blocks may be, with the right bytes.
func testDurable(ctx context.Context, r *rig) {
	if r.lib.Crash == nil {
		return
	}
	layout(ctx, r)
	for n := 8; n < 20; n++ {
		r.write(ctx, n, Block)
	}
	r.crash(ctx)
	if r.failed {
		return
	}
	r.want("space", r.drive.Space(ctx, 3), nil)
	r.wantAt(ctx, "after the durable marks", 8, 3)
	r.tail(ctx, 8, 20)
	r.want("rewind", r.drive.Rewind(ctx), nil)
	for _, n := range []int{0, 1, 2} {
		r.read(ctx, n, Block)
	}
	r.readErr(ctx, dev.ErrFilemark)
	r.read(ctx, 4, 100)
	r.read(ctx, 5, 101)
}

// tail reads blocks that were not durable: each is right or not there.
func (r *rig) tail(ctx context.Context, from, to int) {
	r.t.Helper()
	for n := from; n < to; n++ {
		p := make([]byte, Block)
		got, err := r.drive.Read(ctx, p)
		if errors.Is(err, dev.ErrEndOfData) {
			return
		}
		r.want("read of the tail", err, nil)
		if !bytes.Equal(p[:got], block(n, Block)) {
			r.fail("block %d after a crash has bytes that nobody wrote", n)
			return
		}
	}
}

func testDurableFlush(ctx context.Context, r *rig) {
	if r.lib.Crash == nil {
		return
	}
	r.write(ctx, 0, Block)
	r.want("immediate filemark", r.drive.WriteFilemarks(ctx, 1, true), nil)
	r.write(ctx, 2, Block)
	r.want("flush", r.drive.WriteFilemarks(ctx, 0, false), nil)
	r.crash(ctx)
	if r.failed {
		return
	}
	r.read(ctx, 0, Block)
	r.readErr(ctx, dev.ErrFilemark)
	r.read(ctx, 2, Block)
	r.readErr(ctx, dev.ErrEndOfData)
}

// testOverwriteCrash: an overwrite that was not made durable leaves what was
// before it, and after it nothing that mixes old and new.
func testOverwriteCrash(ctx context.Context, r *rig) {
	if r.lib.Crash == nil {
		return
	}
	layout(ctx, r)
	r.want("locate", r.drive.Locate(ctx, 1), nil)
	for n := 30; n < 34; n++ {
		r.write(ctx, n, Block)
	}
	r.crash(ctx)
	if r.failed {
		return
	}
	r.read(ctx, 0, Block)
	p := make([]byte, Block)
	got, err := r.drive.Read(ctx, p)
	switch {
	case errors.Is(err, dev.ErrEndOfData):
	case err != nil:
		r.fail("read after an overwrite and a crash: %v", err)
	case bytes.Equal(p[:got], block(30, Block)):
		r.tail(ctx, 31, 34)
	case bytes.Equal(p[:got], block(1, Block)):
		r.read(ctx, 2, Block)
		r.readErr(ctx, dev.ErrFilemark)
		r.read(ctx, 4, 100)
	default:
		r.fail("after an overwrite and a crash a block has bytes that nobody wrote")
	}
}

// RunCrash runs only the tests that crash the library: for implementations whose
// restart is slow. [RunDrive] runs them too.
func RunCrash(t *testing.T, world World, open Open) {
	runAll(t, world, open, true, crashTests)
}

var crashTests = []test{
	{"durable after filemark", testDurable},
	{"durable after flush", testDurableFlush},
	{"overwrite and crash", testOverwriteCrash},
}
