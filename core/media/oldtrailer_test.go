package media_test

import (
	"encoding/binary"
	"hash/crc32"
	"testing"

	"github.com/google/go-cmp/cmp"

	"capstan/core/catalog"
	"capstan/core/media"
	"capstan/core/stream"
)

// firstEntries is an entries payload as it was written before entries had a checksum of
// their contents: a file /data/a of 5 bytes, and a link /data/b to a.
const firstEntries = "\x30\x00\x00\x07/data/a\x00\x0a\x02\x00\x80\x08\x80\x18\x0a\x00\xa4\x03\x00\x00\x00\x00\x00\x00\x00" +
	"\x32\x00\x06\x01b\x01a\x00\x00\x00\x80\x28\x80\x08\x00\x00\xff\x03\x00\x00\x00\x00\x00\x00\x00"

// TestFirstTrailers: trailers that were written so are read.
func TestFirstTrailers(t *testing.T) {
	es := []catalog.Entry{
		{Path: "/data/a", Type: catalog.Regular, Mode: 0o644, Size: 5, MTime: 1, Offset: 512, HeadLen: 1536, DataLen: 5},
		{Path: "/data/b", Type: catalog.Symlink, Mode: 0o777, Link: "a", Offset: 2560, HeadLen: 512},
	}
	var blocks [][]byte
	w, err := media.NewTrailerWriter(media.FragmentHeader{BackupID: "c_1", Copy: 1, Number: 1, BlockSize: media.MinBlockSize},
		func(b []byte) error { blocks = append(blocks, b); return nil })
	if err == nil {
		err = w.Entries(es)
	}
	if err == nil {
		err = w.Close(media.BlockTable{}, true, nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	b := append([]byte(nil), blocks[1][:16]...)
	b[9], b[10] = 0, 0
	b = binary.LittleEndian.AppendUint32(b, uint32(len(firstEntries)))
	sum := crc32.Update(crc32.Checksum(b, stream.Castagnoli), stream.Castagnoli, []byte(firstEntries))
	blocks[1] = append(binary.LittleEndian.AppendUint32(b, sum), firstEntries...)
	got, err := parseTrailer(blocks)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(es, got.entries); d != "" {
		t.Error(d)
	}
}
