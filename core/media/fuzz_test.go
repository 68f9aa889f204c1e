package media_test

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"

	"capstan/core/catalog"
	"capstan/core/media"
	"capstan/core/stream"
)

func FuzzHeaders(f *testing.F) {
	l, _ := media.EncodeLabel(media.Label{MediaID: "A00001", Pool: "p", BlockSize: media.DefaultBlockSize})
	h, _ := media.EncodeFragmentHeader(media.FragmentHeader{
		BackupID: "c_1", Copy: 1, Number: 2, Start: 5, BlockSize: media.DefaultBlockSize,
		Continued: &media.Continuation{Path: "a/b", Size: 5, Offset: 6},
	})
	i, _ := media.EncodeFragmentHeader(media.FragmentHeader{BackupID: "c_1", Copy: 1, Number: 2, BlockSize: media.DefaultBlockSize, Image: full, Before: "A00001"})
	e, _ := media.EncodeEndHeader(media.EndHeader{MediaID: "A00001", File: 1})
	for _, b := range [][]byte{l, h, i, e, nil, make([]byte, 1024)} {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if h, n, err := media.DecodeFragmentHeader(b); err == nil {
			if n < 1024 || n > len(b) {
				t.Fatalf("the data begins at %d of %d", n, len(b))
			}
			again, err := media.EncodeFragmentHeader(h)
			if err != nil {
				return // larger than its block size, or a name that ustar cannot have
			}
			if back, _, err := media.DecodeFragmentHeader(again); err != nil || !cmp.Equal(back, h) {
				t.Fatalf("%+v became %+v, %v", h, back, err)
			}
		}
		if l, err := media.DecodeLabel(b); err == nil && l.BlockSize < media.MinBlockSize {
			t.Fatalf("%+v", l)
		}
		if e, err := media.DecodeEndHeader(b); err == nil && e.File < 0 {
			t.Fatalf("%+v", e)
		}
	})
}

func FuzzBlocks(f *testing.F) {
	var table media.BlockTable
	table.Add(512, 1)
	table.Add(512, 2)
	table.AddHollow(1<<40, 1<<18)
	f.Add(media.EncodeBlocks(table))
	f.Add([]byte{})
	f.Add(bytes.Repeat([]byte{0xff}, 30))
	f.Fuzz(func(t *testing.T, b []byte) {
		table, err := media.DecodeBlocks(b)
		if err != nil {
			return
		}
		back, err := media.DecodeBlocks(media.EncodeBlocks(table))
		if err != nil || back.Len() != table.Len() || back.Count() != table.Count() {
			t.Fatalf("%d bytes in %d blocks became %d in %d, %v", table.Len(), table.Count(), back.Len(), back.Count(), err)
		}
		if i, skip := table.Find(table.Len() / 2); table.Len() > 0 {
			x, off, ok := table.Block(i)
			if !ok || off+skip != table.Len()/2 || skip >= int64(x.Len) {
				t.Fatalf("the middle of %d bytes is found in block %d at %d", table.Len(), i, skip)
			}
		}
	})
}

func FuzzMembers(f *testing.F) {
	ring := &slots{size: 4096}
	es := []catalog.Entry{{Path: "/a/b", Type: '0', Size: 5, Mode: 0o644, Offset: 512, HeadLen: 512, DataLen: 5, MTime: -1}, {Path: "/a/c", Type: '2', Link: "x"}}
	if err := media.NewFeeder(ring).Members(ctx, es); err != nil {
		f.Fatal(err)
	}
	f.Add(ring.list[0].Bytes)
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		es, err := media.DecodeMembers(stream.Slot{Kind: stream.Member, Bytes: b})
		if err != nil || len(es) == 0 {
			return
		}
		ring := &slots{size: 1 << 22}
		if err := media.NewFeeder(ring).Members(ctx, es); err != nil {
			return // an entry longer than a slot
		}
		var back []catalog.Entry
		for _, s := range ring.list {
			some, err := media.DecodeMembers(s)
			if err != nil {
				t.Fatal(err)
			}
			back = append(back, some...)
		}
		if d := cmp.Diff(es, back); d != "" {
			t.Fatal(d)
		}
	})
}

func FuzzTrailer(f *testing.F) {
	var blocks [][]byte
	w, err := media.NewTrailerWriter(media.FragmentHeader{BackupID: "c_1", Copy: 1, Number: 1, BlockSize: media.MinBlockSize},
		func(b []byte) error { blocks = append(blocks, b); return nil })
	if err != nil {
		f.Fatal(err)
	}
	var table media.BlockTable
	table.Add(1024, 7)
	if err := w.Entries([]catalog.Entry{{Path: "/x", Type: '0', HeadLen: 512, DataLen: 5}}); err != nil {
		f.Fatal(err)
	}
	if err := w.Amend([]catalog.Entry{{Path: "/x", Type: '0', HeadLen: 512, DataLen: 5, CRC: 9, Damage: 1}}); err != nil {
		f.Fatal(err)
	}
	if err := w.Close(table, true, &media.ImageEnd{Began: -1, Files: 2, Status: 1}); err != nil {
		f.Fatal(err)
	}
	whole := bytes.Join(blocks, nil)
	f.Add(whole)
	f.Add(whole[:100])
	f.Fuzz(func(t *testing.T, b []byte) {
		tr, err := parseTrailer([][]byte{b})
		if err == nil && (tr.end.Entries != int64(len(tr.entries)) || tr.end.Bytes != tr.blocks.Len()) {
			t.Fatalf("%+v, %d entries, %d bytes", tr.end, len(tr.entries), tr.blocks.Len())
		}
	})
}
