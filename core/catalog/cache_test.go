package catalog

import (
	"testing"

	"capstan/hw/clock"
)

// TestReplaced: blocks that are replaced by larger ones push others out, as those do that
// are new.
func TestReplaced(t *testing.T) {
	const limit = 100 << 10
	c := NewCache(clock.Context(t.Context(), "test"), limit)
	s := &shelf{map[int64]*block{}}
	for i := range int64(50) {
		c.put(&block{on: s, offset: i, raw: make([]byte, 1<<10)})
	}
	for i := range int64(50) {
		c.replace(&block{on: s, offset: i, raw: make([]byte, 10<<10)})
		var used int64
		for el := c.turns.Front(); el != nil; el = el.Next() {
			used += el.Value.(*block).cost()
		}
		if used != c.used || used > limit {
			t.Fatalf("after %d were replaced %d bytes are used, %d are counted; the limit is %d", i+1, used, c.used, limit)
		}
	}
}

// TestTurns: a block that was asked for stays when its turn to go comes, also if it was
// replaced since, and a new one stays whatever was asked for.
func TestTurns(t *testing.T) {
	const blocks, size = 10, 1 << 10
	c := NewCache(clock.Context(t.Context(), "test"), blocks*(size+blockCost))
	s := &shelf{map[int64]*block{}}
	fresh := func(offset int64) *block { return &block{on: s, offset: offset, raw: make([]byte, size)} }
	for i := range int64(blocks) {
		c.put(fresh(i))
	}
	c.get(s, 0)
	c.replace(fresh(0))
	c.put(fresh(blocks))
	if s.blocks[0] == nil || s.blocks[1] != nil || s.blocks[blocks] == nil {
		t.Errorf("of one asked for, the next, and a new one there are %v, %v, %v", s.blocks[0] != nil, s.blocks[1] != nil, s.blocks[blocks] != nil)
	}
	for i := range s.blocks {
		c.get(s, i)
	}
	c.put(fresh(2 * blocks))
	if s.blocks[2*blocks] == nil || len(s.blocks) != blocks {
		t.Errorf("all were asked for: a new one is there: %v; there are %d", s.blocks[2*blocks] != nil, len(s.blocks))
	}
}
