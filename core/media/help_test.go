package media_test

import (
	"bytes"
	"context"
	"fmt"
	"hash/crc32"
	"strings"
	"testing"

	"capstan/core/archive"
	"capstan/core/catalog"
	"capstan/core/dev"
	"capstan/core/media"
	"capstan/core/rt"
	"capstan/core/stream"
	simtree "capstan/sim/tree"
)

var ctx = context.Background()

// slots is a ring that never is full: one side fills it, then the other takes.
type slots struct {
	size int
	mem  []byte
	list []stream.Slot
	at   int
	free bool // the slot of the last Full was not given back
}

func (r *slots) SlotSize() int { return r.size }

func (r *slots) Empty(context.Context) ([]byte, error) {
	if r.mem == nil {
		r.mem = make([]byte, 0, r.size)
	}
	return r.mem, nil
}

func (r *slots) Fill(_ context.Context, s stream.Slot) error {
	if s.Bytes != nil {
		if len(s.Bytes) == 0 || len(s.Bytes) > r.size || &s.Bytes[:1][0] != &r.mem[:1][0] {
			return fmt.Errorf("slot at %d: its %d bytes are not the slot's", s.Offset, len(s.Bytes))
		}
		s.CRC = crc32.Checksum(s.Bytes, stream.Castagnoli)
	}
	r.mem = nil
	r.list = append(r.list, s)
	return nil
}

func (r *slots) Full(context.Context) (stream.Slot, error) {
	if r.free {
		return stream.Slot{}, fmt.Errorf("the slot before was not given back")
	}
	if r.at == len(r.list) {
		return stream.Slot{}, stream.ErrCut
	}
	r.free = true
	r.at++
	return r.list[r.at-1], nil
}

func (r *slots) Free(context.Context) error {
	if !r.free {
		return fmt.Errorf("no slot is taken")
	}
	r.free = false
	return nil
}

func (r *slots) Waits() stream.Waits { return stream.Waits{} }
func (r *slots) Close() error        { return nil }

// collect is a sink that keeps what it is given.
type collect struct {
	data    []byte
	length  int64
	entries []catalog.Entry
	via     []dev.Resource
}

func (c *collect) Put(_ context.Context, f *stream.Frame) error {
	for _, e := range f.Entries {
		if e.Offset < c.length {
			return fmt.Errorf("the entry of %s comes after its data", e.Path)
		}
		c.entries = append(c.entries, e)
	}
	if f.Kind == stream.Data {
		c.data = append(c.data, f.Bytes...)
		c.length += f.Len
		c.via = append(c.via, f.Via...)
	}
	return nil
}

// testFS is a file system in memory.
func testFS() *simtree.FS {
	now := rt.Time(1_700_000_000_000_000_000)
	return simtree.New(func(context.Context) rt.Time { now += 1e9; return now }, dev.Resource{Name: "disk", Rate: 1e8})
}

// content is text of a length that differs from place to place.
func content(seed byte, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = seed + byte(i/7) + byte(i>>9)
	}
	return b
}

const awkward = "not utf-8 \xff\xfe"

// files fills a file system with small, large, sparse and awkwardly named files.
func files(t testing.TB, fs *simtree.FS) {
	t.Helper()
	long := strings.Repeat(strings.Repeat("n", 90)+"/", 3) + "long \xf0"
	for p, b := range map[string][]byte{
		"/src/a/empty": nil, "/src/a/one": content(1, 1), "/src/a/block": content(2, 512), "/src/a/more": content(3, 5000),
		"/src/big": content(4, 90_001), "/src/" + awkward: content(5, 40_000), "/src/" + long: content(6, 40_003), "/src/z": content(7, 16<<10),
	} {
		if err := fs.WriteFile(ctx, p, b); err != nil {
			t.Fatal(err)
		}
	}
	d, err := fs.Open(ctx, "/src")
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	f, err := d.Create(ctx, "sparse", 0o644)
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range []int64{8192, 1 << 18, 1 << 19} {
		if _, err := f.WriteAt(content(byte(at>>13), 20_000), at); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Truncate(1<<20 + 5); err != nil {
		t.Fatal(err)
	}
}

// pack packs the image of a file system into slots.
func pack(t testing.TB, fs *simtree.FS, size int, limits media.Limits) (*slots, *collect) {
	t.Helper()
	r, err := archive.NewReader(ctx, fs, archive.Selection{Paths: []string{"/src"}}, func(p archive.Problem) { t.Error(p) })
	if err != nil {
		t.Fatal(err)
	}
	ring, all := &slots{size: size}, &collect{}
	if _, err := stream.Splice(ctx, both{media.NewPacker(ring, limits), all}, r); err != nil {
		t.Fatal(err)
	}
	return ring, all
}

// both puts what it is given into two sinks.
type both [2]stream.Sink

func (b both) Put(ctx context.Context, f *stream.Frame) error {
	if err := b[1].Put(ctx, f); err != nil {
		return err
	}
	return b[0].Put(ctx, f)
}

// volume is a fragment as it lies on a medium.
type volume struct {
	media.Fragment
	blocks [][]byte // records on tape; joined, a file on disk
	last   bool
}

func (v *volume) file() []byte { return bytes.Join(v.blocks, nil) }

// record writes slots as the owner of a device does, and begins a new fragment
// where the slot says so, or where cut says that early warning came before.
func record(t testing.TB, ring *slots, cut func(i int) bool) []*volume {
	t.Helper()
	f := media.NewFragments("client_1700000000", 1, ring.size, media.Image{})
	var out []*volume
	cur := begin(t, f, 0)
	warned := false
	for i := 0; ; i++ {
		s, err := ring.Full(ctx)
		if err != nil {
			t.Fatal(err)
		}
		switch s.Kind {
		case stream.Member:
			es, err := media.DecodeMembers(s)
			if err != nil {
				t.Fatal(err)
			}
			f.Members(es)
		case stream.Amend:
			es, err := media.DecodeMembers(s)
			if err == nil {
				err = f.Amend(es)
			}
			if err != nil {
				t.Fatal(err)
			}
		case stream.End:
			out = append(out, finish(t, f, cur, true))
			if total, _, err := media.DecodeEnd(s); err != nil || total != f.At() {
				t.Fatalf("end: %d, %v; written %d", total, err, f.At())
			}
			return out
		case stream.Data:
			warned = warned || cut(i)
			if s.Offset > 0 && (s.Flags&stream.CutBefore != 0 || warned && f.MayCut(s.Offset)) {
				out = append(out, finish(t, f, cur, false))
				cur, warned = begin(t, f, s.Offset), false
			}
			if s.Bytes != nil {
				cur.blocks = append(cur.blocks, bytes.Clone(s.Bytes))
			}
			if err := f.Wrote(&s, s.Len); err != nil {
				t.Fatal(err)
			}
		}
		if err := ring.Free(ctx); err != nil {
			t.Fatal(err)
		}
	}
}

func begin(t testing.TB, f *media.Fragments, at int64) *volume {
	t.Helper()
	h, err := f.Begin(at, "")
	if err != nil {
		t.Fatal(err)
	}
	b, err := media.EncodeFragmentHeader(h)
	if err != nil {
		t.Fatal(err)
	}
	return &volume{blocks: [][]byte{b}}
}

func finish(t testing.TB, f *media.Fragments, v *volume, last bool) *volume {
	t.Helper()
	var err error
	if v.Fragment, err = f.Finish(last, nil); err != nil {
		t.Fatal(err)
	}
	v.last = last
	return v
}
