package bpbkar

import (
	"bytes"
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"

	"capstan/core/archive"
	"capstan/core/catalog"
	"capstan/core/dev"
	"capstan/core/rt"
	"capstan/core/stream"
	simtree "capstan/sim/tree"
)

// What is known of a file only when its data was read goes to bpbrm, and into the stream
// if its receiver understands that; the rest of the stream is the same.
func TestAmendedEntries(t *testing.T) {
	ctx := context.Background()
	fs := simtree.New(func(context.Context) rt.Time { return 1 }, dev.Resource{})
	for name, size := range map[string]int{"/d/a": 1000, "/d/big": 3 * archive.FrameSize, "/d/z": 500} {
		if err := fs.WriteFile(ctx, name, bytes.Repeat([]byte(name), size/len(name))); err != nil {
			t.Fatal(err)
		}
	}
	run := func(amends bool) (data []byte, told *Batch, amended []catalog.Entry) {
		r, err := archive.NewReader(ctx, fs, archive.Selection{Paths: []string{"/d"}}, func(p archive.Problem) { t.Error(p) })
		if err != nil {
			t.Fatal(err)
		}
		tell := &teller{}
		src := &tee{Source: r, reader: r, tell: tell, atEnd: func(*stream.Frame) error { return nil }, amends: amends}
		for f := (stream.Frame{}); f.Kind != stream.End; {
			if err := src.Next(ctx, &f); err != nil {
				t.Fatal(err)
			}
			if data = append(data, f.Bytes...); f.Kind == stream.Amend {
				amended = append(amended, f.Entries...)
			}
		}
		return data, &tell.batch, amended
	}
	data, told, amended := run(false)
	if len(amended) > 0 || len(told.Amended) == 0 {
		t.Errorf("to an older receiver %d entries were amended in the stream, %d to bpbrm", len(amended), len(told.Amended))
	}
	withData, withTold, amended := run(true)
	if d := cmp.Diff(withTold.Amended, amended); d != "" || !bytes.Equal(data, withData) || !cmp.Equal(told, withTold) {
		t.Errorf("the stream, or what bpbrm is told, is another: %s", d)
	}
	for _, e := range amended {
		if e.CRC == 0 {
			t.Errorf("%s is amended without its CRC", e.Path)
		}
	}
}
