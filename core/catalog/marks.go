package catalog

import (
	"encoding/binary"
	"math"
)

// Marks say, after every markEvery entries of a block, how far the columns of numbers
// are decoded then: who looks an entry up begins at the last mark before it. They are
// made, in memory, of blocks that are asked for again. Each has where the columns from
// colClass on go on (u16 each), and the sums that the entry after it builds on: seconds
// of mtime, end in the image's stream, inode (u64 each).
const (
	markEvery   = 16 // entries
	markColumns = columns - colClass
	markLen     = 2*markColumns + 24
)

// marked gives a block with its marks: one after the other in memory, the marks first,
// so that both are on the same few pages. One that is damaged, or that is too long for
// marks, gets none.
func marked(raw []byte) (whole, marks []byte) {
	var r blockReader
	if len(raw) > math.MaxUint16 || r.init(raw) != nil {
		return raw, []byte{}
	}
	n := (r.left - 1) / markEvery * markLen
	b := make([]byte, 0, n+len(raw))
	begins := r.col
	for r.left > markEvery {
		r.skip(markEvery)
		r.left -= markEvery
		for i := colClass; i < columns; i++ {
			if r.col[i].err != nil {
				return raw, []byte{}
			}
			b = binary.LittleEndian.AppendUint16(b, uint16(len(begins[i].b)-len(r.col[i].b)))
		}
		b = binary.LittleEndian.AppendUint64(b, uint64(r.sec))
		b = binary.LittleEndian.AppendUint64(b, uint64(r.end))
		b = binary.LittleEndian.AppendUint64(b, r.num.Ino)
	}
	b = append(b, raw...)
	return b[n:], b[:n:n]
}

// jump goes to the last mark before the current entry, if no numbers are decoded yet.
func (r *blockReader) jump() {
	k := (r.behind - 1) / markEvery
	if r.passed != r.behind || k == 0 || k*markLen > len(r.marks) {
		return
	}
	m := r.marks[(k-1)*markLen : k*markLen]
	for i := range markColumns {
		r.col[colClass+i].advance(int(binary.LittleEndian.Uint16(m[2*i:])))
	}
	m = m[2*markColumns:]
	r.sec, r.end, r.num.Ino = int64(binary.LittleEndian.Uint64(m)), int64(binary.LittleEndian.Uint64(m[8:])), binary.LittleEndian.Uint64(m[16:])
	r.behind -= k * markEvery
}
