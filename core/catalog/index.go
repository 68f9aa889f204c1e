package catalog

import (
	"bytes"
	"sort"
)

// index is an index block as it is kept: keys are those of the references' first
// paths, less the bytes that all begin with, and words are their next 8 bytes, which
// lie close together and tell most keys apart.
type index struct {
	refs   []ref
	common []byte
	keys   []string
	words  []uint64
}

func newIndex(refs []ref) *index {
	x := &index{refs: refs, keys: make([]string, len(refs)), words: make([]uint64, len(refs))}
	x.common = x.keyOf(nil, 0)
	last := x.keyOf(nil, len(refs)-1)
	x.common = x.common[:sharedPrefix(x.common, last)] // keys are in order: so all others share it
	var key []byte
	for i := range refs {
		key = x.keyOf(key[:0], i)
		rest := key[len(x.common):]
		x.keys[i], x.words[i] = string(rest), keyWord(rest, 0)
	}
	return x
}

func (x *index) keyOf(b []byte, i int) []byte {
	dir, name := split(x.refs[i].first)
	return appendKey(b, dir, name)
}

// refCost is the memory of a reference beside its bytes, about.
const refCost = 72

func (x *index) cost() (n int) {
	if x == nil {
		return 0
	}
	for i := range x.refs {
		n += refCost + len(x.refs[i].first) + len(x.keys[i])
	}
	return n
}

// find gives the first block that may hold a key: the one before the first that
// begins after it.
func (x *index) find(key []byte) int {
	if !bytes.HasPrefix(key, x.common) {
		if bytes.Compare(key, x.common) < 0 {
			return 0
		}
		return len(x.refs) - 1
	}
	rest := key[len(x.common):]
	word := keyWord(rest, 0)
	i := sort.Search(len(x.words), func(i int) bool {
		if x.words[i] != word {
			return x.words[i] > word
		}
		return x.keys[i] > string(rest)
	})
	return max(i-1, 0)
}
