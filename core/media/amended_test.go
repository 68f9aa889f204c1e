package media_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"hash/crc32"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"

	"capstan/core/archive"
	"capstan/core/catalog"
	"capstan/core/media"
	"capstan/core/stream"
)

var rewrite = flag.Bool("rewrite", false, "write the golden files anew")

// goldenTrailer is a trailer of two entries, of which the second may be amended.
func goldenTrailer(t *testing.T, amend bool) ([]catalog.Entry, []catalog.Entry, []byte) {
	t.Helper()
	es := []catalog.Entry{
		{Path: "/data/a", Type: catalog.Regular, Mode: 0o644, Size: 5, MTime: 1, Offset: 512, HeadLen: 1536, DataLen: 5, CRC: 0x01020304},
		{Path: "/data/big", Type: catalog.Regular, Mode: 0o644, Size: 400_000, MTime: 2, Offset: 2560, HeadLen: 1536, DataLen: 400_000},
	}
	var amended []catalog.Entry
	if amend {
		amended = []catalog.Entry{es[1]}
		amended[0].CRC, amended[0].Damage = 0xa0b0c0d0, catalog.Changed
	}
	var blocks [][]byte
	w, err := media.NewTrailerWriter(media.FragmentHeader{BackupID: "alpha_1700000000", Copy: 1, Number: 1, BlockSize: media.MinBlockSize},
		func(b []byte) error { blocks = append(blocks, b); return nil })
	if err == nil {
		err = errors.Join(w.Entries(es), w.Amend(amended))
	}
	var table media.BlockTable
	table.Add(512, 0xaabbccdd)
	if err == nil {
		err = w.Close(table, true, &media.ImageEnd{Began: 1_700_000_000_250_000_000, Files: 2})
	}
	if err != nil {
		t.Fatal(err)
	}
	return es, amended, bytes.Join(blocks, nil)
}

// TestGoldenTrailers: a trailer without amended entries is what it was before there were
// any, and one with them has them before its end. Both are read.
func TestGoldenTrailers(t *testing.T) {
	for name, amend := range map[string]bool{"plain": false, "amended": true} {
		es, amended, b := goldenTrailer(t, amend)
		file := "testdata/trailer-" + name + ".txt"
		if *rewrite {
			if err := os.WriteFile(file, []byte(hex.Dump(b)), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(string(want), hex.Dump(b)); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
		tr, err := parseTrailer([][]byte{b})
		if err != nil {
			t.Fatal(name, err)
		}
		if d := cmp.Diff(es, tr.entries) + cmp.Diff(amended, tr.amended); d != "" || tr.end.Entries != 2 {
			t.Errorf("%s: %+v, %s", name, tr.end, d)
		}
	}
}

// sending is what bpbkar sends: after each frame what the reader knows more.
type sending struct {
	reader *archive.Reader
	held   *stream.Frame
	late   int // entries that were amended
}

func (s *sending) Next(ctx context.Context, f *stream.Frame) error {
	if s.held != nil {
		*f, s.held = *s.held, nil
		return nil
	}
	if err := s.reader.Next(ctx, f); err != nil {
		return err
	}
	if es := s.reader.Amended(); len(es) > 0 {
		s.late += len(es)
		held := *f
		*f, s.held = stream.Frame{Kind: stream.Amend, Entries: es}, &held
	}
	return nil
}

// TestAmendedInTrailers: whatever the size of blocks and fragments, the trailers together
// have the CRC of every file's content.
func TestAmendedInTrailers(t *testing.T) {
	fs := testFS()
	want := map[string]uint32{}
	for i := range 100 {
		name := fmt.Sprintf("/src/f%03d", i)
		b := content(byte(i), 1000+i*i*40)
		if err := fs.WriteFile(ctx, name, b); err != nil {
			t.Fatal(err)
		}
		want[name] = crc32.Checksum(b, stream.Castagnoli)
	}
	for _, size := range []int{media.MinBlockSize, 256 << 10, 4 << 20} {
		for _, limit := range []int64{0, 3 << 20} {
			r, err := archive.NewReader(ctx, fs, archive.Selection{Paths: []string{"/src"}}, func(p archive.Problem) { t.Error(p) })
			if err != nil {
				t.Fatal(err)
			}
			ring, s := &slots{size: size}, &sending{reader: r}
			if _, err := stream.Splice(ctx, media.NewPacker(ring, media.Limits{Bytes: limit}), s); err != nil {
				t.Fatal(err)
			}
			if s.late < 30 {
				t.Fatalf("%d entries were amended", s.late)
			}
			got := map[string]uint32{}
			late := 0
			for _, v := range record(t, ring, func(int) bool { return false }) {
				tr := readTrailer(t, v)
				late += len(tr.amended)
				for _, e := range append(tr.entries, tr.amended...) {
					if e.Type == catalog.Regular {
						got[e.Path] = e.CRC
					}
				}
			}
			if d := cmp.Diff(want, got); d != "" {
				t.Errorf("blocks of %d, fragments of %d: %s", size, limit, d)
			}
			if size > media.MinBlockSize && late >= s.late {
				t.Errorf("blocks of %d: all %d were told late, though some were still in the packer", size, late)
			}
		}
	}
}
