package media_test

import (
	"encoding/hex"
	"os"
	"strings"
	"testing"
	"time"

	"capstan/core/catalog"
	"capstan/core/media"
)

// TestDocumentedBytes: the examples of docs/format-media.md are what is written.
func TestDocumentedBytes(t *testing.T) {
	doc, err := os.ReadFile("../../docs/format-media.md")
	if err != nil {
		t.Fatal(err)
	}
	for name, b := range examples(t) {
		if !strings.Contains(string(doc), hex.Dump(b)) {
			t.Errorf("docs/format-media.md does not show these bytes of %s:\n%s", name, hex.Dump(b))
		}
	}
}

// examples are the worked examples.
func examples(t *testing.T) map[string][]byte {
	t.Helper()
	h := media.FragmentHeader{
		BackupID: "alpha_1700000000", Copy: 1, Number: 2, Start: 262144, BlockSize: 262144,
		Continued: &media.Continuation{Path: "data/big", Size: 300000, Offset: 260608},
	}
	head, err := media.EncodeFragmentHeader(h)
	if err != nil {
		t.Fatal(err)
	}
	h.Before = "A00001"
	h.Image = media.Image{
		Policy: "docs", Schedule: "daily", Type: "INCR", Since: 1_699_900_000_500_000_000, Retention: 14 * 24 * time.Hour,
		Expires: 1_701_209_600_000_000_000, Paths: []string{"/data"},
	}
	full, err := media.EncodeFragmentHeader(h)
	if err != nil {
		t.Fatal(err)
	}
	h.Before, h.Image = "", media.Image{}
	var table media.BlockTable
	table.Add(262144, 0x11223344)
	table.Add(37888, 0x55667788)
	table.AddHollow(1<<40, 262144)

	ring := &slots{size: 4096}
	es := []catalog.Entry{
		{Path: "/data/a", Type: '0', Mode: 0o644, Size: 5, MTime: 1, Offset: 512, HeadLen: 1536, DataLen: 5},
		{Path: "/data/b", Type: '2', Mode: 0o777, Link: "a", Offset: 2560, HeadLen: 512},
	}
	if err := media.NewFeeder(ring).Members(ctx, es); err != nil {
		t.Fatal(err)
	}
	var trailer [][]byte
	w, err := media.NewTrailerWriter(h, func(b []byte) error { trailer = append(trailer, b); return nil })
	if err != nil {
		t.Fatal(err)
	}
	var small media.BlockTable
	small.Add(512, 0xaabbccdd)
	if err := w.Close(small, true, nil); err != nil {
		t.Fatal(err)
	}
	w, err = media.NewTrailerWriter(h, func(b []byte) error { trailer = append(trailer, b); return nil })
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Close(small, true, &media.ImageEnd{Began: 1_700_000_000_250_000_000, Files: 3, Status: 1}); err != nil {
		t.Fatal(err)
	}
	records := func(b []byte) []byte { return b[512 : 512+strings.IndexByte(string(b[512:]), 0)] }
	// What the full header says of the image, and after it.
	of := records(full)
	of = of[strings.Index(string(of), " CAPSTAN.policy")-2:]
	return map[string][]byte{
		"the records of a fragment header": records(head),
		"the records of an image":          of,
		"the end of an image":              trailer[5],
		"a block table":                    media.EncodeBlocks(table),
		"entries":                          ring.list[0].Bytes,
		"a trailer's block of CRCs":        trailer[1],
		"a trailer's last block":           trailer[2],
	}
}
