package tree

import (
	"io"
	"slices"
	"sort"

	seam "capstan/core/tree"
)

// data is a file's content: pieces in order that do not overlap, holes between.
type data struct {
	size   int64
	pieces []piece
}

// piece is bytes at an offset, or n hollow ones.
type piece struct {
	at    int64
	bytes []byte // nil if hollow
	n     int64
}

func (p *piece) end() int64 { return p.at + p.n }

// find is the index of the first piece that ends after an offset.
func (d *data) find(at int64) int {
	return sort.Search(len(d.pieces), func(i int) bool { return d.pieces[i].end() > at })
}

// put puts a piece in the place of what was there.
func (d *data) put(p piece) {
	if p.n == 0 {
		return
	}
	d.size = max(d.size, p.end())
	if n := len(d.pieces); n > 0 && d.pieces[n-1].end() == p.at { // writing on at the end
		l := &d.pieces[n-1]
		if l.bytes == nil == (p.bytes == nil) {
			l.bytes, l.n = append(l.bytes, p.bytes...), l.n+p.n
			return
		}
	}
	d.punch(p.at, p.end())
	i := d.find(p.at)
	if p.bytes != nil {
		p.bytes = append([]byte(nil), p.bytes...)
	}
	d.pieces = slices.Insert(d.pieces, i, p)
}

// punch makes a hole from one offset to another.
func (d *data) punch(from, to int64) {
	var out []piece
	for _, p := range d.pieces {
		if p.end() <= from || p.at >= to {
			out = append(out, p)
			continue
		}
		if p.at < from {
			out = append(out, p.cut(p.at, from))
		}
		if p.end() > to {
			out = append(out, p.cut(to, p.end()))
		}
	}
	d.pieces = out
}

// cut is the part of a piece between two offsets.
func (p *piece) cut(from, to int64) piece {
	q := piece{at: from, n: to - from}
	if p.bytes != nil {
		q.bytes = p.bytes[from-p.at : to-p.at : to-p.at]
	}
	return q
}

func (d *data) truncate(size int64) {
	d.punch(size, 1<<62)
	d.size = size
}

// readAt is io.ReaderAt's.
func (d *data) readAt(b []byte, at int64) (int, error) {
	if at >= d.size {
		return 0, io.EOF
	}
	n := int(min(int64(len(b)), d.size-at))
	clear(b[:n])
	for i := d.find(at); i < len(d.pieces) && d.pieces[i].at < at+int64(n); i++ {
		p := &d.pieces[i]
		if p.bytes == nil {
			return 0, seam.ErrHollow
		}
		from := max(p.at, at)
		copy(b[from-at:n], p.bytes[from-p.at:])
	}
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

// extents are the ranges with data.
func (d *data) extents(size int64) []seam.Extent {
	var out []seam.Extent
	for _, p := range d.pieces {
		to := min(p.end(), size)
		if p.at >= to {
			break
		}
		if n := len(out); n > 0 && out[n-1].Offset+out[n-1].Length == p.at {
			out[n-1].Length = to - out[n-1].Offset
		} else {
			out = append(out, seam.Extent{Offset: p.at, Length: to - p.at})
		}
	}
	return out
}
