package main

import (
	"encoding/binary"
	"errors"

	"capstan/core/catalog"
	"capstan/core/rt"
)

// appendRow appends an entry as Pebble keeps it: path (text), type, damage (bytes),
// mode, uid, gid (uvarint), size, mtime, ctime in ns (varint), link (text), major,
// minor, dev, ino, xattr digest, CRC (uvarint), offset, header length, data length,
// count (varint). A text is its length (uvarint) and bytes.
func appendRow(b []byte, e *catalog.Entry) []byte {
	b = appendText(b, e.Path)
	b = append(b, byte(e.Type), e.Damage)
	for _, v := range [...]uint64{uint64(e.Mode), uint64(e.UID), uint64(e.GID)} {
		b = binary.AppendUvarint(b, v)
	}
	for _, v := range [...]int64{e.Size, int64(e.MTime), int64(e.CTime)} {
		b = binary.AppendVarint(b, v)
	}
	b = appendText(b, e.Link)
	for _, v := range [...]uint64{uint64(e.Major), uint64(e.Minor), e.Dev, e.Ino, e.XHash, uint64(e.CRC)} {
		b = binary.AppendUvarint(b, v)
	}
	for _, v := range [...]int64{e.Offset, e.HeadLen, e.DataLen, e.Count} {
		b = binary.AppendVarint(b, v)
	}
	return b
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// parseRow is the inverse of appendRow.
func parseRow(b []byte) (catalog.Entry, error) {
	r := rowReader{b: b}
	e := catalog.Entry{Path: r.text(), Type: catalog.Type(r.byte()), Damage: r.byte()}
	e.Mode, e.UID, e.GID = uint32(r.uint()), uint32(r.uint()), uint32(r.uint())
	e.Size, e.MTime, e.CTime = r.int(), rt.Time(r.int()), rt.Time(r.int())
	e.Link = r.text()
	e.Major, e.Minor = uint32(r.uint()), uint32(r.uint())
	e.Dev, e.Ino, e.XHash, e.CRC = r.uint(), r.uint(), r.uint(), uint32(r.uint())
	e.Offset, e.HeadLen, e.DataLen, e.Count = r.int(), r.int(), r.int(), r.int()
	if r.bad || len(r.b) != 0 {
		return e, errors.New("a row that does not end with its fields")
	}
	return e, nil
}

// rowReader gives zeros after what is too short.
type rowReader struct {
	b   []byte
	bad bool
}

func (r *rowReader) bytes(n uint64) []byte {
	if n > uint64(len(r.b)) {
		r.b, r.bad = nil, true
		return nil
	}
	v := r.b[:n]
	r.b = r.b[n:]
	return v
}

func (r *rowReader) byte() byte {
	if b := r.bytes(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *rowReader) uint() uint64 {
	if len(r.b) > 0 && r.b[0] < 0x80 { // most are that short
		v := uint64(r.b[0])
		r.b = r.b[1:]
		return v
	}
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.b, r.bad = nil, true
		return 0
	}
	r.b = r.b[n:]
	return v
}

// int reads a number in zigzag.
func (r *rowReader) int() int64 {
	v := r.uint()
	return int64(v>>1) ^ -int64(v&1)
}

func (r *rowReader) text() string { return string(r.bytes(r.uint())) }
