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
