package catalog

import (
	"encoding/hex"
	"testing"
)

// TestDocumentedRow is the example of docs/format-f.md.
func TestDocumentedRow(t *testing.T) {
	e := Entry{Path: "/a", Type: Regular, Mode: 0o644, UID: 1, GID: 2, Size: 5, Offset: 512, HeadLen: 512, DataLen: 5}
	const want = "3000" + "a4030102" + "0a0000" + "00" + "000000000000" + "800880080a00"
	if got := hex.EncodeToString(appendAttributes(nil, &e)); got != want {
		t.Errorf("row %s, want %s", got, want)
	}
}

// TestDocumentedBlock is the other example of docs/format-f.md.
func TestDocumentedBlock(t *testing.T) {
	var w blockWriter
	w.reset()
	for _, e := range []Entry{
		{Path: "/d", Type: Directory, Mode: 0o755, HeadLen: 512},
		{Path: "/d/a", Type: Regular, Mode: 0o644, UID: 1, GID: 2, Size: 5, Offset: 512, HeadLen: 512, DataLen: 5, MTime: 1_000_000_002, CTime: 1_000_000_002, CRC: 0x04030201},
	} {
		w.add(&e)
	}
	const want = "02" + "080402100202020002020402000004000400" + "010000" + "0100022f64" + "00010001" + "6461" +
		"350000ed03000000" + "303000a403010200" + "0001" + "0005" + "0002" + "0000" + "0000" + "80048004" + "0000" + "02000000" + "01020304"
	if b, plain := w.appendTo(nil); hex.EncodeToString(b) != want || plain != 8 {
		t.Errorf("block %x, %d bytes plain; want %s, 8", b, plain, want)
	}
}
