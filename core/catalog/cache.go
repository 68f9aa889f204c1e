package catalog

import (
	"container/list"
	"context"

	"capstan/core/rt"
)

// Cache keeps blocks of open files as they are before compression, up to a number of
// bytes: one that was asked for since it was last its turn to go stays for another
// (Corbató, "A Paging Experiment with the Multics System", 1968). To ask for a block
// writes nothing but that, so that what is likely not in the processor's caches is
// not fetched to keep an order. Readers share it.
type Cache struct {
	lock  rt.Lock
	limit int64
	used  int64
	turns *list.List // of *block; the back's turn to go is next
}

// shelf has the blocks of one reader by their offsets.
type shelf struct{ blocks map[int64]*block }

// block is a block that was read and checked: the columns of a data block, the
// references of an index block, or the bits of a names block. But for what the cache
// notes, it is not changed.
type block struct {
	on     *shelf
	offset int64
	turn   *list.Element // of the cache
	kind   byte
	asked  bool // for since its last turn; the cache's lock guards it
	raw    []byte
	marks  []byte // of a data block that was asked for again, before raw in memory
	index  *index
}

// blockCost is the memory of a block beside its bytes, about.
const blockCost = 200

func (b *block) cost() int64 {
	return int64(blockCost + len(b.raw) + len(b.marks) + b.index.cost())
}

// NewCache makes a cache for about limit bytes of blocks.
func NewCache(ctx context.Context, limit int64) *Cache {
	return &Cache{lock: rt.NewLock(ctx), limit: limit, turns: list.New()}
}

func (c *Cache) get(s *shelf, offset int64) *block {
	c.lock.Lock()
	defer c.lock.Unlock()
	b := s.blocks[offset]
	if b != nil && !b.asked {
		b.asked = true
	}
	return b
}

// replace puts a block in the place of one that says the same.
func (c *Cache) replace(b *block) {
	c.lock.Lock()
	defer c.lock.Unlock()
	if old := b.on.blocks[b.offset]; old != nil {
		c.used += b.cost() - old.cost()
		b.turn, b.asked = old.turn, old.asked
		b.turn.Value = b
		b.on.blocks[b.offset] = b
		c.evict(1)
	}
}

func (c *Cache) put(b *block) {
	c.lock.Lock()
	defer c.lock.Unlock()
	if b.on.blocks[b.offset] != nil {
		return // another task decoded it meanwhile
	}
	c.used += b.cost()
	c.evict(0) // before it has a turn: it would be the one that nobody asked for
	b.on.blocks[b.offset] = b
	b.turn = c.turns.PushFront(b)
}

// maxSpared is how many blocks are spared at once, so that the lock is not held for long.
const maxSpared = 64

// evict drops what is too much, down to so many blocks.
func (c *Cache) evict(least int) {
	for spared := 0; c.used > c.limit && c.turns.Len() > least; {
		b := c.turns.Back().Value.(*block)
		if b.asked && spared < maxSpared {
			b.asked = false
			c.turns.MoveToFront(b.turn)
			spared++
			continue
		}
		c.drop(b)
	}
}

func (c *Cache) drop(b *block) {
	c.turns.Remove(b.turn)
	delete(b.on.blocks, b.offset)
	c.used -= b.cost()
}

// forget drops the blocks of a reader that was closed.
func (c *Cache) forget(s *shelf) {
	c.lock.Lock()
	defer c.lock.Unlock()
	for el := c.turns.Front(); el != nil; {
		b := el.Value.(*block)
		if el = el.Next(); b.on == s {
			c.drop(b)
		}
	}
}
