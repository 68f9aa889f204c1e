package catalog

import (
	"encoding/hex"
	"testing"
)

// TestDocumentedRow is the example of docs/format-f.md.
func TestDocumentedRow(t *testing.T) {
	e := Entry{Path: "/a", Type: Regular, Mode: 0o644, UID: 1, GID: 2, Size: 5, Offset: 512, HeadLen: 512, DataLen: 5}
	const want = "022f61" + "3000" + "a4030102" + "0a0000" + "00" + "000000000000" + "800880080a00"
	if got := hex.EncodeToString(AppendEntry(nil, &e)); got != want {
		t.Errorf("row %s, want %s", got, want)
	}
}
