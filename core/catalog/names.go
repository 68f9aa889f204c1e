package catalog

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// The index of names finds the parts of a file in which a name may be that has
// some bytes in it. Data blocks form groups; of each group a row of bits says which
// trigrams (three bytes in a row, of names with NUL before and behind, letters in
// lower case) its names have, hashed. Groups form segments, and in a segment the
// rows are turned: for each trigram the bits of all its groups stand together. So a
// search reads a few bytes of each segment for each trigram of what it looks for.
// The scheme is that of bit-sliced signature files (Faloutsos and Christodoulakis,
// "Signature Files", ACM TOIS 2(4), 1984).
const (
	groupEntries  = 2048
	segmentGroups = 512
	trigramBits   = 15
	trigrams      = 1 << trigramBits
	rowChunk      = 8 << 10 // bytes of turned rows in one block, at least a row
)

// trigram is where the bit of three bytes is; the factor is Knuth's (The Art of
// Computer Programming, vol. 3, 6.4).
func trigram(a, b, c byte) uint32 {
	return (uint32(a) | uint32(b)<<8 | uint32(c)<<16) * 2654435761 >> (32 - trigramBits)
}

// names gathers the index of a segment.
type names struct {
	groups  [][]byte // rows of bits, the last one's still being set
	firsts  []string // paths that the groups begin with
	entries int      // of the last group
	last    []byte   // the name before, lowered, with NUL before and behind
	name    []byte
	few     []string // the first paths of a file, until there are many
	many    bool
}

// fewNames is up to how many names have no bits yet: most files have many, and those
// that stay small need no index.
const fewNames = 64

// add adds the name of the next entry.
func (n *names) add(path string) {
	if n.many {
		n.addBits(path)
		return
	}
	if n.few = append(n.few, path); len(n.few) < fewNames {
		return
	}
	for _, p := range n.few {
		n.addBits(p)
	}
	n.few, n.many = nil, true
}

func (n *names) addBits(path string) {
	_, name := split(path)
	if n.entries == 0 {
		n.groups = append(n.groups, make([]byte, trigrams/8))
		n.firsts = append(n.firsts, path)
		n.last = n.last[:0]
	}
	n.entries++
	n.name = append(lower(append(n.name[:0], 0), name), 0)
	bits := n.groups[len(n.groups)-1]
	// The trigrams within what it shares with the name before are set.
	for i := max(sharedPrefix(n.last, n.name)-2, 0); i+3 <= len(n.name); i++ {
		h := trigram(n.name[i], n.name[i+1], n.name[i+2])
		bits[h>>3] |= 1 << (h & 7)
	}
	n.name, n.last = n.last, n.name
}

// endBlock is told of the end of a data block: a group ends with one.
func (n *names) endBlock() {
	if n.entries >= groupEntries {
		n.entries = 0
	}
}

// full tells whether the segment is to be written.
func (n *names) full() bool { return len(n.groups) == segmentGroups && n.entries == 0 }

func (n *names) reset() { *n = names{last: n.last[:0], name: n.name, many: n.many} }

// width is how many bytes the bits of some groups take.
func width(groups int) int { return (groups + 7) / 8 }

// chunkRows is how many turned rows of a width are in one block.
func chunkRows(width int) int {
	rows := trigrams
	for rows > 1 && rows*width > rowChunk {
		rows /= 2
	}
	return rows
}

// turned appends the turned rows from one on: for each trigram a bit for each group.
func (n *names) turned(b []byte, from, rows int) []byte {
	w := width(len(n.groups))
	start := len(b)
	b = append(b, make([]byte, rows*w)...)
	out := b[start:]
	for g, bits := range n.groups {
		for i, v := range bits[from/8 : (from+rows+7)/8] {
			for ; v != 0; v &= v - 1 {
				row := i*8 + lowest(v) - from%8
				if row >= 0 && row < rows {
					out[row*w+g/8] |= 1 << (g % 8)
				}
			}
		}
	}
	return b
}

func lowest(v byte) (n int) {
	for ; v&1 == 0; v >>= 1 {
		n++
	}
	return n
}

// segment is what a block of kind N says: where the bits of a segment are.
type segment struct {
	before ref      // block of the segment before; its length is 0 if there is none
	firsts []string // of the groups
	chunks []ref    // the blocks of turned rows
}

func (s *segment) append(b []byte) []byte {
	for _, v := range [...]uint64{uint64(s.before.offset), uint64(s.before.length), trigramBits, uint64(len(s.firsts))} {
		b = binary.AppendUvarint(b, v)
	}
	last := ""
	for _, f := range s.firsts {
		shared := sharedPrefix(last, f)
		b = appendText(binary.AppendUvarint(b, uint64(shared)), f[shared:])
		last = f
	}
	b = binary.AppendUvarint(b, uint64(len(s.chunks)))
	for _, c := range s.chunks {
		b = binary.AppendUvarint(binary.AppendUvarint(b, uint64(c.offset)), uint64(c.length))
	}
	return b
}

func parseSegment(raw []byte, size int64) (*segment, error) {
	c := cursor{b: raw}
	s := &segment{before: ref{offset: int64(c.uint()), length: int64(c.uint())}}
	if bits := c.uint(); bits != trigramBits && c.err == nil {
		c.fail(fmt.Errorf("rows of %d bits", bits))
	}
	last, text := "", 0
	for n := c.count(segmentGroups); n > 0 && c.err == nil; n-- {
		first := last[:c.count(len(last))]
		first += c.text(MaxPath + 1)
		if c.err == nil {
			c.err = checkKey(first)
		}
		if text += len(first); text > maxBlockText*2 {
			c.fail(fmt.Errorf("more than %d bytes of paths", maxBlockText*2))
		}
		if c.err == nil && last != "" && comparePaths(last, first) >= 0 {
			c.fail(fmt.Errorf("%.200q after %.200q is out of order", first, last))
		}
		s.firsts = append(s.firsts, first)
		last = first
	}
	chunks := c.count(trigrams)
	for range chunks {
		s.chunks = append(s.chunks, ref{offset: int64(c.uint()), length: int64(c.uint())})
		if c.err != nil {
			break
		}
		if err := s.chunks[len(s.chunks)-1].check(size); err != nil {
			c.fail(err)
		}
	}
	if c.err != nil {
		return nil, c.err
	}
	if s.before.length != 0 {
		if err := s.before.check(size); err != nil {
			return nil, err
		}
	}
	w := width(len(s.firsts))
	if len(s.firsts) == 0 || chunks != trigrams/chunkRows(w) || len(c.b) != 0 {
		return nil, errors.New("a segment of the index of names whose parts do not fit together")
	}
	return s, nil
}

// row gives the bits of a trigram in a block of turned rows.
func (s *segment) row(chunk []byte, h uint32) ([]byte, error) {
	w := width(len(s.firsts))
	rows := chunkRows(w)
	if len(chunk) != rows*w {
		return nil, fmt.Errorf("a block of %d bytes of the index of names where %d belong", len(chunk), rows*w)
	}
	at := int(h) % rows * w
	return chunk[at : at+w], nil
}
