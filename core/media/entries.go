package media

import (
	"encoding/binary"
	"fmt"

	"capstan/core/catalog"
	"capstan/core/rt"
)

// Bounds of an encoding's text, in bytes: of one path or link, and of all paths
// together, since a path that repeats the one before takes only few bytes.
const (
	maxText  = 1 << 20
	maxPaths = 64 << 20
)

// appendEntry encodes an entry: varints, and the path without what it has in
// common with the one before.
func appendEntry(b []byte, e *catalog.Entry, before string) []byte {
	same := 0
	for same < len(before) && same < len(e.Path) && before[same] == e.Path[same] {
		same++
	}
	b = append(b, byte(e.Type), e.Damage)
	b = binary.AppendUvarint(b, uint64(same))
	b = appendText(b, e.Path[same:])
	b = appendText(b, e.Link)
	for _, n := range [...]int64{e.Size, int64(e.MTime), int64(e.CTime), e.Offset, e.HeadLen, e.DataLen, e.Count} {
		b = binary.AppendVarint(b, n)
	}
	for _, n := range [...]uint64{uint64(e.Mode), uint64(e.UID), uint64(e.GID), uint64(e.Major), uint64(e.Minor), e.Dev, e.Ino, e.XHash, uint64(e.CRC)} {
		b = binary.AppendUvarint(b, n)
	}
	return b
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// cursor reads an encoding; after the first error it gives zeros.
type cursor struct {
	b   []byte
	bad bool
	old bool // entries have no checksum of their contents
}

func (c *cursor) uint(most uint64) uint64 {
	n, k := binary.Uvarint(c.b)
	if k <= 0 || n > most {
		c.bad, c.b = true, nil
		return 0
	}
	c.b = c.b[k:]
	return n
}

func (c *cursor) int() int64 {
	n, k := binary.Varint(c.b)
	if k <= 0 {
		c.bad, c.b = true, nil
		return 0
	}
	c.b = c.b[k:]
	return n
}

// length is an int that is not negative.
func (c *cursor) length() int64 {
	n := c.int()
	if n < 0 || n > 1<<62 {
		c.bad, c.b = true, nil
		return 0
	}
	return n
}

func (c *cursor) bytes(n uint64) []byte {
	if uint64(len(c.b)) < n {
		c.bad, c.b = true, nil
		return nil
	}
	p := c.b[:n]
	c.b = c.b[n:]
	return p
}

func (c *cursor) text() string { return string(c.bytes(c.uint(maxText))) }

func (c *cursor) entry(before string) catalog.Entry {
	var e catalog.Entry
	head := c.bytes(2)
	if c.bad {
		return e
	}
	e.Type, e.Damage = catalog.Type(head[0]), head[1]
	same := c.uint(uint64(len(before)))
	e.Path = before[:same] + string(c.bytes(c.uint(maxText)))
	e.Link = c.text()
	e.Size, e.MTime, e.CTime = c.length(), rt.Time(c.int()), rt.Time(c.int())
	e.Offset, e.HeadLen, e.DataLen, e.Count = c.length(), c.length(), c.length(), c.length()
	e.Mode, e.UID, e.GID = uint32(c.uint(07777)), uint32(c.uint(1<<32-1)), uint32(c.uint(1<<32-1))
	e.Major, e.Minor = uint32(c.uint(1<<32-1)), uint32(c.uint(1<<32-1))
	e.Dev, e.Ino, e.XHash = c.uint(1<<64-1), c.uint(1<<64-1), c.uint(1<<64-1)
	if !c.old {
		e.CRC = uint32(c.uint(1<<32 - 1))
	}
	if len(e.Path) > maxText || e.Offset > 1<<62-e.HeadLen-e.DataLen {
		c.bad = true
	}
	return e
}

// encodeEntries encodes as many entries as fit into size bytes, and tells how many.
func encodeEntries(b []byte, es []catalog.Entry, size int) ([]byte, int) {
	before, paths := "", 0
	for i := range es {
		with := appendEntry(b, &es[i], before)
		if paths += len(es[i].Path); len(with) > size || paths > maxPaths {
			return b, i
		}
		b, before = with, es[i].Path
	}
	return b, len(es)
}

// usualEntry is about what an entry takes that was encoded.
const usualEntry = 64

// decodeEntries reads what encodeEntries wrote, or what it wrote when entries had no
// checksum of their contents (old).
func decodeEntries(b []byte, old bool) ([]catalog.Entry, error) {
	es := make([]catalog.Entry, 0, len(b)/usualEntry+1)
	c := cursor{b: b, old: old}
	before, paths := "", 0
	for len(c.b) > 0 {
		e := c.entry(before)
		if paths += len(e.Path); c.bad || paths > maxPaths {
			return nil, fmt.Errorf("entries: %w", ErrDamaged)
		}
		es = append(es, e)
		before = e.Path
	}
	return es, nil
}
