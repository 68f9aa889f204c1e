package tree

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"capstan/core/dev"
	"capstan/core/rt"
	seam "capstan/core/tree"
	"capstan/core/tree/treetest"
)

// newFS has a clock that goes on by a second at each look.
func newFS() *FS {
	var now rt.Time
	return New(func(context.Context) rt.Time { now += 1e9; return now }, dev.Resource{Name: "disk", Rate: 1e8})
}

func TestConformance(t *testing.T) {
	treetest.Run(t, func(t *testing.T) treetest.World {
		fs, ctx := newFS(), context.Background()
		if _, err := fs.makeAll(ctx, "/root"); err != nil {
			t.Fatal(err)
		}
		return treetest.World{Ctx: ctx, FS: fs, Root: "/root"}
	})
}

func TestAddHollow(t *testing.T) {
	for _, h := range []Hollow{{1, 0}, {3, 1}, {16, 1 << 40}, {40_000_000, 7_654_321_098_765}} {
		fs, ctx := newFS(), context.Background()
		if err := fs.AddHollow(ctx, "/a/b", h, rand.New(rand.NewPCG(1, 2))); err != nil {
			t.Fatal(err)
		}
		d, err := fs.Open(ctx, "/a/b")
		if err != nil {
			t.Fatal(err)
		}
		names, _ := d.Names(ctx)
		var got Hollow
		for _, n := range names {
			i, err := d.Lstat(ctx, n)
			if err != nil || i.Files < 1 || i.Size < 0 {
				t.Fatalf("%s: %+v, %v", n, i, err)
			}
			got.Files, got.Bytes = got.Files+i.Files, got.Bytes+i.Size
		}
		if got != h || len(names) > MaxHollow {
			t.Errorf("%d entries stand for %+v, want %+v", len(names), got, h)
		}
	}
	if err := newFS().AddHollow(context.Background(), "/x", Hollow{0, 5}, nil); err == nil {
		t.Error("bytes without files were taken")
	}
}

// TestData compares the pieces with an array of bytes.
func TestData(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var d data
		var model []byte
		for range rapid.IntRange(1, 20).Draw(t, "steps") {
			at := rapid.IntRange(0, 60).Draw(t, "at")
			if rapid.Bool().Draw(t, "truncate") {
				d.truncate(int64(at))
				model = append(model, make([]byte, 100)...)[:at]
				continue
			}
			b := rapid.SliceOfN(rapid.Byte(), 1, 20).Draw(t, "bytes")
			d.put(piece{at: int64(at), bytes: b, n: int64(len(b))})
			if need := at + len(b); len(model) < need {
				model = append(model, make([]byte, need-len(model))...)
			}
			copy(model[at:], b)
		}
		got := make([]byte, len(model)+1)
		n, err := d.readAt(got, 0)
		if !errors.Is(err, io.EOF) || !bytes.Equal(got[:n], model) {
			t.Fatalf("read %x, %v; want %x", got[:n], err, model)
		}
		var end int64
		for _, x := range d.extents(d.size) {
			if x.Offset < end || x.Length <= 0 || x.Offset+x.Length > d.size {
				t.Fatalf("extents %v of %d bytes", d.extents(d.size), d.size)
			}
			end = x.Offset + x.Length
		}
	})
}

func TestWriteFile(t *testing.T) {
	fs, ctx := newFS(), context.Background()
	if err := fs.WriteFile(ctx, "/etc/deep/motd", []byte("hi")); err != nil {
		t.Fatal(err)
	}
	b, err := fs.ReadFile("/etc/deep/motd")
	if err != nil || !cmp.Equal(b, []byte("hi")) {
		t.Fatalf("%q, %v", b, err)
	}
	if _, err := fs.ReadFile("/none"); !errors.Is(err, seam.ErrNotExist) {
		t.Error(err)
	}
	if err := fs.WriteFile(ctx, "/", nil); !errors.Is(err, seam.ErrIsDir) {
		t.Error(err)
	}
}
