package media

import (
	"encoding/binary"
	"fmt"
	"sort"
)

// Block is one block of a fragment's data file, the header's block not counted.
type Block struct {
	Len    uint32
	CRC    uint32 // CRC-32C; of a hollow block 0
	Hollow bool   // nobody holds its bytes
}

// BlockTable has the blocks of a fragment's data. Its zero value is empty.
type BlockTable struct{ runs []run }

// run is consecutive blocks of one length; the last of a hollow run may be shorter.
type run struct {
	first  int   // number of its first block
	offset int64 // where that begins, from the fragment's start
	size   uint32
	bytes  int64
	crcs   []uint32 // nil if hollow
}

func (r *run) count() int {
	if r.crcs != nil {
		return len(r.crcs)
	}
	return int((r.bytes + int64(r.size) - 1) / int64(r.size))
}

// Add adds a block.
func (t *BlockTable) Add(length int, crc uint32) {
	if n := len(t.runs); n > 0 {
		if r := &t.runs[n-1]; r.crcs != nil && r.size == uint32(length) {
			r.crcs = append(r.crcs, crc)
			r.bytes += int64(length)
			return
		}
	}
	t.push(run{size: uint32(length), bytes: int64(length), crcs: []uint32{crc}})
}

// AddHollow adds n bytes in blocks of size bytes, the last maybe shorter.
func (t *BlockTable) AddHollow(n int64, size int) {
	if n <= 0 {
		return
	}
	if k := len(t.runs); k > 0 {
		if r := &t.runs[k-1]; r.crcs == nil && r.size == uint32(size) && r.bytes%int64(size) == 0 {
			r.bytes += n
			return
		}
	}
	t.push(run{size: uint32(size), bytes: n})
}

func (t *BlockTable) push(r run) {
	r.first, r.offset = t.Count(), t.Len()
	if t.runs == nil {
		t.runs = make([]run, 0, 4) // most have no more
	}
	t.runs = append(t.runs, r)
}

// Append adds the blocks of u after those of t.
func (t *BlockTable) Append(u BlockTable) {
	for _, r := range u.runs {
		if r.crcs == nil {
			t.AddHollow(r.bytes, int(r.size))
		}
		for _, crc := range r.crcs {
			t.Add(int(r.size), crc)
		}
	}
}

// Count is the number of blocks.
func (t BlockTable) Count() int {
	if len(t.runs) == 0 {
		return 0
	}
	r := &t.runs[len(t.runs)-1]
	return r.first + r.count()
}

// Len is the number of bytes of all blocks.
func (t BlockTable) Len() int64 {
	if len(t.runs) == 0 {
		return 0
	}
	r := &t.runs[len(t.runs)-1]
	return r.offset + r.bytes
}

// Find tells in which block the byte at an offset from the fragment's start lies,
// and how many bytes of that block come before it. At or past the end it is the
// block after the last.
func (t BlockTable) Find(offset int64) (block int, skip int64) {
	i := sort.Search(len(t.runs), func(i int) bool { return t.runs[i].offset > offset }) - 1
	if i < 0 || offset >= t.Len() {
		return t.Count(), max(offset, 0) - t.Len()
	}
	r := &t.runs[i]
	in := offset - r.offset
	return r.first + int(in/int64(r.size)), in % int64(r.size)
}

// Block gives block i, and where it begins from the fragment's start; ok is false
// if there is none.
func (t BlockTable) Block(i int) (b Block, offset int64, ok bool) {
	if i < 0 || i >= t.Count() {
		return Block{}, 0, false
	}
	k := sort.Search(len(t.runs), func(k int) bool { return t.runs[k].first > i }) - 1
	r := &t.runs[k]
	in := int64(i-r.first) * int64(r.size)
	b = Block{Len: uint32(min(int64(r.size), r.bytes-in)), Hollow: r.crcs == nil}
	if !b.Hollow {
		b.CRC = r.crcs[i-r.first]
	}
	return b, r.offset + in, true
}

// HollowFrom gives the bytes of block i and of the blocks after it that are hollow
// too, and the block after those; 0 if block i is not hollow.
func (t BlockTable) HollowFrom(i int) (n int64, next int) {
	for next = i; ; {
		b, _, ok := t.Block(next)
		if !ok || !b.Hollow {
			return n, next
		}
		k := sort.Search(len(t.runs), func(k int) bool { return t.runs[k].first > next }) - 1
		r := &t.runs[k]
		n += r.bytes - int64(next-r.first)*int64(r.size)
		next = r.first + r.count()
	}
}

// EncodeBlocks encodes a table: for each run the length of its blocks, then twice
// their number and the CRCs, or twice the bytes of a hollow run and one.
func EncodeBlocks(t BlockTable) []byte {
	b := make([]byte, 0, 64)
	for i := range t.runs {
		b = appendRun(b, &t.runs[i])
	}
	return b
}

func appendRun(b []byte, r *run) []byte {
	b = binary.AppendUvarint(b, uint64(r.size))
	if r.crcs == nil {
		return binary.AppendUvarint(b, uint64(r.bytes)<<1|1)
	}
	b = binary.AppendUvarint(b, uint64(len(r.crcs))<<1)
	for _, c := range r.crcs {
		b = binary.LittleEndian.AppendUint32(b, c)
	}
	return b
}

// DecodeBlocks reads what [EncodeBlocks] wrote. It holds no more memory than a
// small multiple of len(b).
func DecodeBlocks(b []byte) (BlockTable, error) {
	var t BlockTable
	c := cursor{b: b}
	for len(c.b) > 0 {
		size, n := c.uint(MaxBlockSize), c.uint(1<<60)
		if c.bad || size == 0 || n < 2 {
			return BlockTable{}, fmt.Errorf("block table: %w", ErrDamaged)
		}
		if n&1 == 1 {
			if int64(n>>1) > 1<<60-t.Len() {
				return BlockTable{}, fmt.Errorf("block table: %w", ErrDamaged)
			}
			t.push(run{size: uint32(size), bytes: int64(n >> 1)})
			continue
		}
		if n>>1 > uint64(len(c.b)/4) {
			return BlockTable{}, fmt.Errorf("block table: %w", ErrDamaged)
		}
		raw := c.bytes(n >> 1 * 4)
		crcs := make([]uint32, n>>1)
		for i := range crcs {
			crcs[i] = binary.LittleEndian.Uint32(raw[4*i:])
		}
		t.push(run{size: uint32(size), bytes: int64(size) * int64(len(crcs)), crcs: crcs})
	}
	return t, nil
}
