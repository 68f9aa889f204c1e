package catalog

import (
	"bytes"
	"cmp"
	"context"
	"slices"
)

// rowBuffer holds entries in memory, encoded, to be sorted. Sorting compares 8 bytes
// of the keys at a time, as numbers beside each other.
type rowBuffer struct {
	arena []byte // of each entry the key and the row, in the order of addition
	rows  []row

	touched byte // of no meaning
}

// row is one entry in the arena.
type row struct {
	word uint64 // the 8 bytes of the key that are being compared
	at   uint32
	key  uint16 // length
	rest uint16 // length of what follows the key
}

const rowCost = 16

func (b *rowBuffer) size() int { return len(b.arena) + len(b.rows)*rowCost }

func (b *rowBuffer) reset() { b.arena, b.rows = b.arena[:0], b.rows[:0] }

func (b *rowBuffer) add(e *Entry) {
	dir, name := split(e.Path)
	at := len(b.arena)
	b.arena = appendKey(b.arena, dir, name)
	end := len(b.arena)
	b.arena = appendAttributes(b.arena, e)
	b.rows = append(b.rows, row{at: uint32(at), key: uint16(end - at), rest: uint16(len(b.arena) - end)})
}

func (b *rowBuffer) key(r row) []byte { return b.arena[r.at : r.at+uint32(r.key)] }

// append adds the rows of another buffer.
func (b *rowBuffer) append(from *rowBuffer) {
	for _, r := range from.rows {
		r.at += uint32(len(b.arena))
		b.rows = append(b.rows, r)
	}
	b.arena = append(b.arena, from.arena...)
}

// get gives a key and its row.
func (b *rowBuffer) get(i int) (key, rest []byte) {
	r := b.rows[i]
	at := r.at + uint32(r.key)
	return b.key(r), b.arena[at : at+uint32(r.rest)]
}

// fetched is how many rows, or entries, are fetched at once.
const fetched = 16

// fetch reads a byte of some rows: once sorted, they are anywhere in the arena. See
// blockReader.fetch.
func (b *rowBuffer) fetch(from int) {
	for _, r := range b.rows[from:min(from+fetched, len(b.rows))] {
		b.touched |= b.arena[r.at] | b.arena[r.at+uint32(r.key)]
	}
}

// sort orders the rows by key, those of one key as they were added.
func (b *rowBuffer) sort() { b.sortFrom(b.rows, 0) }

// few is how many rows are compared byte by byte: so many slices sorts by insertion.
const few = 12

// sortFrom sorts rows whose keys are the same up to a byte.
func (b *rowBuffer) sortFrom(rows []row, from int) {
	if len(rows) <= few {
		slices.SortFunc(rows, func(x, y row) int {
			return cmp.Or(bytes.Compare(b.key(x)[from:], b.key(y)[from:]), cmp.Compare(x.at, y.at))
		})
		return
	}
	same := b.key(rows[0])[from:]
	for _, r := range rows {
		same = same[:sharedPrefix(same, b.key(r)[from:])]
	}
	from += len(same)
	for i := range rows {
		rows[i].word = keyWord(b.key(rows[i]), from)
	}
	slices.SortFunc(rows, func(x, y row) int { return cmp.Compare(x.word, y.word) })
	for len(rows) > 0 {
		n := 1
		for n < len(rows) && rows[n].word == rows[0].word {
			n++
		}
		same := rows[:n]
		switch rows = rows[n:]; {
		case n == 1:
		case int(same[0].key) < from+8: // it has ended, and so have all
			slices.SortFunc(same, func(x, y row) int { return cmp.Compare(x.at, y.at) })
		default:
			b.sortFrom(same, from+8)
		}
	}
}

// rowSource gives the rows of a buffer that was sorted.
type rowSource struct {
	mem  *rowBuffer
	next int
}

func (s *rowSource) advance(_ context.Context, in *input) (ok bool, err error) {
	if s.next == len(s.mem.rows) {
		return false, nil
	}
	if s.next%fetched == 0 {
		s.mem.fetch(s.next)
	}
	key, row := s.mem.get(s.next)
	s.next++
	in.shared = sharedPrefix(in.key, key)
	in.key, in.row = key, row
	return true, nil
}
