package vlib

import (
	"bytes"
	"context"
	"log/slog"
	"testing"

	"capstan/core/pbx"
	"capstan/hw/clock"
	"capstan/vtl"
)

// FuzzRequest gives the server requests that are well formed and mean anything:
// it answers each, and every answer can be encoded.
func FuzzRequest(f *testing.F) {
	for _, q := range []request{
		{Op: opOpenDrive, Name: "robot-d0"},
		{Op: opLoad, Handle: 1},
		{Op: opWrite, Handle: 1, Region: 1, Offset: 1, Length: 10},
		{Op: opRead, Handle: 1, Region: 1, Offset: 1<<63 - 1, Length: 1<<63 - 1},
		{Op: opSpace, Handle: 1, A: -1 << 63},
		{Op: opLocate, Handle: 1, A: 1<<63 - 1},
		{Op: opFilemarks, Handle: 1, A: 1<<63 - 1},
		{Op: opMove, Handle: 2, A: 4096, B: -1},
		{Op: opInventory, Handle: 2, A: -5},
		{Op: opInject, Fault: &fault{Op: "READ", Times: -1}},
		{Op: 200},
	} {
		b, err := pbx.Encode(&q)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	ctx := clock.Context(context.Background(), "fuzz")
	f.Fuzz(func(t *testing.T, b []byte) {
		var q request
		if err := pbx.Decode(b, &q); err != nil {
			return
		}
		lib, err := vtl.New(ctx, vtl.Demo("robot", 32<<20, 0), vtl.Options{})
		if err != nil {
			t.Fatal(err)
		}
		p := &peer{server: &server{lib: lib, log: slog.New(slog.DiscardHandler)}, handles: map[uint32]any{},
			regions: map[uint32]*mapping{1: {mem: bytes.Repeat([]byte{1}, 4096)}}}
		for _, first := range []*request{{Op: opOpenDrive, Name: "robot-d0"}, {Op: opOpenChanger, Name: "robot"},
			{Op: opMove, Handle: 2, A: 4096, B: 256}, {Op: opLoad, Handle: 1}} {
			if r := p.do(ctx, first); r.Err != nil {
				t.Fatal(r.Err.err())
			}
		}
		if q.Fault != nil {
			q.Fault.Delay = 0
		}
		if q.Op != opForget { // it would unmap memory that was not mapped
			if _, err := encodeFrame(p.do(ctx, &q)); err != nil {
				t.Error(err)
			}
		}
		if err := lib.Close(ctx); err != nil {
			t.Error(err)
		}
	})
}
