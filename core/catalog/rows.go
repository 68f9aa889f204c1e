package catalog

import (
	"cmp"
	"math/bits"
	"slices"
)

// rowBuffer holds entries in memory, encoded, to be sorted. Sorting compares
// numbers for the most part: the rank of the directory, then how the name begins.
type rowBuffer struct {
	arena   []byte // rows, as AppendEntry writes them, in the order of addition
	rows    []row
	dirs    map[string]uint32
	names   []string // of the directories, by number
	text    int      // bytes of names
	lastDir string
	last    uint32 // number of lastDir
}

// row is one entry in the arena.
type row struct {
	begins uint64 // the first 8 bytes of the name
	dir    uint32
	at     uint32
}

// Memory of a row beside its bytes, and of a directory beside its name, about.
const (
	rowCost = 2 * 16 // append may have doubled the memory
	dirCost = 80
)

func (b *rowBuffer) size() int {
	return cap(b.arena) + len(b.rows)*rowCost + b.text + len(b.names)*dirCost
}

func (b *rowBuffer) reset() {
	clear(b.dirs)
	*b = rowBuffer{arena: b.arena[:0], rows: b.rows[:0], dirs: b.dirs, names: b.names[:0]}
}

func (b *rowBuffer) add(e *Entry) {
	if b.dirs == nil {
		b.dirs = map[string]uint32{}
	}
	dir, name := split(e.Path)
	if dir != b.lastDir || len(b.rows) == 0 {
		n, ok := b.dirs[dir]
		if !ok {
			n = uint32(len(b.names))
			b.dirs[dir] = n
			b.names = append(b.names, dir)
			b.text += len(dir)
		}
		b.lastDir, b.last = dir, n
	}
	b.rows = append(b.rows, row{begins(name), b.last, uint32(len(b.arena))})
	b.arena = AppendEntry(b.arena, e)
}

// begins is the first 8 bytes of a name as a number that sorts like them; a
// shorter name is filled up with zeros, which no name has.
func begins(name string) (n uint64) {
	if len(name) >= 8 {
		return bits.ReverseBytes64(word(name))
	}
	for i := range len(name) {
		n |= uint64(name[i]) << (56 - 8*i)
	}
	return n
}

// name is the row's, without parsing the rest of it.
func (b *rowBuffer) name(r row) []byte {
	c := cursor{b: b.arena[r.at:]}
	path := c.bytes(c.count(MaxPath + 1))
	return path[len(b.names[r.dir])+1:]
}

// sort orders the rows by path, those of one path as they were added.
func (b *rowBuffer) sort() {
	order := make([]uint32, len(b.names))
	for i := range order {
		order[i] = uint32(i)
	}
	slices.SortFunc(order, func(x, y uint32) int { return compareDirs(b.names[x], b.names[y]) })
	rank := make([]uint32, len(order))
	for i, n := range order {
		rank[n] = uint32(i)
	}
	slices.SortFunc(b.rows, func(x, y row) int {
		if x.dir != y.dir {
			return cmp.Compare(rank[x.dir], rank[y.dir])
		}
		if x.begins != y.begins {
			return cmp.Compare(x.begins, y.begins)
		}
		xn, yn := b.name(x), b.name(y)
		if c := compare("", string(xn), "", string(yn)); c != 0 {
			return c
		}
		return cmp.Compare(x.at, y.at)
	})
}

// rowSum is a checksum over entries in order.
type rowSum struct {
	n   int64
	sum uint64
}

func (s *rowSum) add(e *Entry) {
	dir, name := split(e.Path)
	mixEntry(s, dir, name, e.Link, e)
}

func mixEntry[A, B text](s *rowSum, dir, name A, link B, e *Entry) {
	h := mixText(mixText(mixText(s.sum, dir), name), link)
	for _, v := range [...]uint64{
		uint64(e.Type) | uint64(e.Damage)<<8 | uint64(e.Mode)<<16 | uint64(e.UID)<<32, uint64(e.GID) | uint64(e.CRC)<<32,
		uint64(e.Size), uint64(e.MTime), uint64(e.CTime), uint64(e.Major) | uint64(e.Minor)<<32,
		e.Dev, e.Ino, e.XHash, uint64(e.Offset), uint64(e.HeadLen), uint64(e.DataLen), uint64(e.Count),
	} {
		h = mix(h, v)
	}
	s.n, s.sum = s.n+1, h
}

// mix is one step of a multiplicative hash; the factor is the golden ratio's.
func mix(h, v uint64) uint64 {
	h = (h ^ v) * 0x9e3779b97f4a7c15
	return h ^ h>>29
}

func mixText[T text](h uint64, s T) uint64 {
	h = mix(h, uint64(len(s)))
	i := 0
	for ; i+8 <= len(s); i += 8 {
		h = mix(h, word(s[i:i+8]))
	}
	for ; i < len(s); i++ {
		h = mix(h, uint64(s[i]))
	}
	return h
}
