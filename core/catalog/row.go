package catalog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"strings"

	"capstan/core/rt"
)

// appendAttributes appends the row of e to b: what a sort keeps of an entry beside the
// key of its path. Numbers are varints (those that may be negative in zigzag), the
// link is preceded by its length; docs/format-f.md lists the fields.
func appendAttributes(b []byte, e *Entry) []byte {
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

// attributes reads a row.
func (c *cursor) attributes() (e Entry) {
	e.Type, e.Damage = Type(c.byte()), c.byte()
	e.Mode, e.UID, e.GID = c.uint32(), c.uint32(), c.uint32()
	e.Size, e.MTime, e.CTime = c.int(), rt.Time(c.int()), rt.Time(c.int())
	e.Link = c.text(MaxPath)
	e.Major, e.Minor = c.uint32(), c.uint32()
	e.Dev, e.Ino, e.XHash, e.CRC = c.uint(), c.uint(), c.uint(), c.uint32()
	e.Offset, e.HeadLen, e.DataLen, e.Count = c.int(), c.int(), c.int(), c.int()
	return e
}

// check refuses an entry that no walk of a file tree gives.
func (e *Entry) check() error {
	path := e.Path
	if e.Type == Gone && len(path) > 1 {
		path = strings.TrimSuffix(path, "/")
	}
	if err := checkPath(path); err != nil {
		return err
	}
	if len(e.Link) > MaxPath {
		return fmt.Errorf("%.200q: a link's target of %d bytes: at most %d are kept", e.Path, len(e.Link), MaxPath)
	}
	if err := e.checkNumbers(); err != nil {
		return fmt.Errorf("%.200q: %w", e.Path, err)
	}
	return nil
}

func (e *Entry) checkNumbers() error {
	switch {
	case (e.Type < Regular || e.Type > FIFO) && e.Type != Gone:
		return fmt.Errorf("type %q: want one of 0 to 6, or -", byte(e.Type))
	case e.Mode > 0o7777:
		return fmt.Errorf("mode %o: want permission bits, at most 7777", e.Mode)
	case e.Size < 0 || e.Offset < -1 || e.HeadLen < 0 || e.DataLen < 0 || e.Count < 0:
		return errors.New("a negative size, offset, length or count")
	case e.Offset > maxStream || e.HeadLen > maxStream || e.DataLen > maxStream:
		return fmt.Errorf("an offset or length over %d", int64(maxStream))
	}
	return nil
}

// maxStream bounds offsets and lengths in an image's stream so that sums of
// them do not overflow: 1 EiB.
const maxStream = 1 << 60

func appendText(b []byte, s string) []byte {
	b = binary.AppendUvarint(b, uint64(len(s)))
	return append(b, s...)
}

var errShort = errors.New("it ends too early")

// cursor reads what may be damaged: after an error it gives zeros.
type cursor struct {
	b   []byte
	err error
}

func (c *cursor) fail(err error) {
	if c.err == nil {
		c.b, c.err = nil, err
	}
}

func (c *cursor) byte() byte {
	if len(c.b) == 0 {
		c.fail(errShort)
		return 0
	}
	v := c.b[0]
	c.b = c.b[1:]
	return v
}

func (c *cursor) uint() uint64 {
	if len(c.b) > 0 && c.b[0] < 0x80 { // most are that short
		v := uint64(c.b[0])
		c.b = c.b[1:]
		return v
	}
	return c.long()
}

func (c *cursor) long() uint64 {
	v, n := binary.Uvarint(c.b)
	if n <= 0 {
		c.fail(errShort)
		return 0
	}
	c.b = c.b[n:]
	return v
}

// int reads a number in zigzag.
func (c *cursor) int() int64 {
	return unzigzag(c.uint())
}

func unzigzag(v uint64) int64 { return int64(v>>1) ^ -int64(v&1) }

// sum adds up n numbers, in zigzag or not.
func (c *cursor) sum(n int, zigzag bool) (sum int64) {
	b, i := c.b, 0
	var v uint64
	for range n {
		if v, i = varint(b, i); zigzag {
			v = uint64(unzigzag(v))
		}
		sum += int64(v)
	}
	c.advance(i)
	return sum
}

// varint reads the number at i of b and tells where the next one is, which is after
// the end of b if there was none.
func varint(b []byte, i int) (v uint64, next int) {
	if i < len(b) && b[i] < 0x80 {
		return uint64(b[i]), i + 1
	}
	return longVarint(b, i)
}

func longVarint(b []byte, i int) (uint64, int) {
	if i+1 < len(b) && b[i+1] < 0x80 {
		return uint64(b[i]&0x7f) | uint64(b[i+1])<<7, i + 2
	}
	if i >= len(b) {
		return 0, len(b) + 1
	}
	v, n := binary.Uvarint(b[i:])
	if n <= 0 {
		return 0, len(b) + 1
	}
	return v, i + n
}

// advance passes what varint has read.
func (c *cursor) advance(i int) {
	if i > len(c.b) {
		c.fail(errShort)
		return
	}
	c.b = c.b[i:]
}

// skip passes n numbers: each ends with a byte whose highest bit is 0.
func (c *cursor) skip(n int) {
	i := 0
	for ; n > 8 && i+8 <= len(c.b); i += 8 {
		n -= bits.OnesCount64(^word(c.b[i:i+8]) & 0x8080808080808080)
	}
	for ; n > 0 && i < len(c.b); i++ {
		if c.b[i] < 0x80 {
			n--
		}
	}
	if n > 0 {
		c.fail(errShort)
		return
	}
	c.b = c.b[i:]
}

// count reads a number of at most limit.
func (c *cursor) count(limit int) int {
	v := c.uint()
	if v > uint64(limit) {
		c.fail(fmt.Errorf("a count of %d where at most %d is possible", v, limit))
		return 0
	}
	return int(v)
}

func (c *cursor) uint32() uint32 {
	v := c.uint()
	if v>>32 != 0 {
		c.fail(fmt.Errorf("%d where a number of 32 bits is kept", v))
		return 0
	}
	return uint32(v)
}

// fixed32 reads a number of 4 bytes.
func (c *cursor) fixed32() uint32 {
	b := c.bytes(4)
	if b == nil {
		return 0
	}
	return binary.LittleEndian.Uint32(b)
}

func (c *cursor) bytes(n int) []byte {
	if n > len(c.b) {
		c.fail(errShort)
		return nil
	}
	v := c.b[:n]
	c.b = c.b[n:]
	return v
}

func (c *cursor) text(limit int) string { return string(c.bytes(c.count(limit))) }
