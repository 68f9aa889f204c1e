package media_test

import (
	"encoding/hex"
	"os"
	"strings"
	"testing"

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
	records := head[512 : 512+strings.IndexByte(string(head[512:]), 0)]
	return map[string][]byte{
		"the records of a fragment header": records,
		"a block table":                    media.EncodeBlocks(table),
		"entries":                          ring.list[0].Bytes,
		"a trailer's block of CRCs":        trailer[1],
		"a trailer's last block":           trailer[2],
	}
}
