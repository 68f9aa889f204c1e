package catalog

import (
	"container/list"
	"context"

	"capstan/core/rt"
)

// Cache keeps blocks of open files as they are before compression, those used
// last, up to a number of bytes. Readers share it.
type Cache struct {
	lock    rt.Lock
	limit   int64
	used    int64
	readers int64 // opened so far: names them in keys
	blocks  map[blockKey]*list.Element
	recent  *list.List // of *block; the front was used last
}

type blockKey struct{ reader, offset int64 }

// block is a block that was read and checked: the columns of a data block, the
// references of an index block, or the bits of a names block. It is not changed.
type block struct {
	key     blockKey
	kind    byte
	raw     []byte
	refs    []ref
	keys    []string // of the references
	outline *outline // of a data block that was asked for again
}

// The memory of a block, and of one reference, beside their bytes, about.
const (
	blockCost = 200
	refCost   = 64
)

func (b *block) cost() int64 {
	n := blockCost + len(b.raw) + len(b.refs)*refCost + b.outline.cost()
	for i := range b.refs {
		n += len(b.refs[i].first) + len(b.keys[i])
	}
	return int64(n)
}

// NewCache makes a cache for about limit bytes of blocks.
func NewCache(ctx context.Context, limit int64) *Cache {
	return &Cache{lock: rt.NewLock(ctx), limit: limit, blocks: map[blockKey]*list.Element{}, recent: list.New()}
}

func (c *Cache) newReader() int64 {
	c.lock.Lock()
	defer c.lock.Unlock()
	c.readers++
	return c.readers
}

func (c *Cache) get(k blockKey) *block {
	c.lock.Lock()
	defer c.lock.Unlock()
	el := c.blocks[k]
	if el == nil {
		return nil
	}
	c.recent.MoveToFront(el)
	return el.Value.(*block)
}

// replace puts a block in the place of one that says the same.
func (c *Cache) replace(b *block) {
	c.lock.Lock()
	defer c.lock.Unlock()
	if el := c.blocks[b.key]; el != nil {
		c.used += b.cost() - el.Value.(*block).cost()
		el.Value = b
		c.evict()
	}
}

func (c *Cache) put(b *block) {
	c.lock.Lock()
	defer c.lock.Unlock()
	if c.blocks[b.key] != nil {
		return // another task decoded it meanwhile
	}
	c.blocks[b.key] = c.recent.PushFront(b)
	c.used += b.cost()
	c.evict()
}

// evict drops what is too much.
func (c *Cache) evict() {
	for c.used > c.limit && c.recent.Len() > 1 {
		c.drop(c.recent.Back())
	}
}

func (c *Cache) drop(el *list.Element) {
	b := c.recent.Remove(el).(*block)
	delete(c.blocks, b.key)
	c.used -= b.cost()
}

// forget drops the blocks of a reader that was closed.
func (c *Cache) forget(reader int64) {
	c.lock.Lock()
	defer c.lock.Unlock()
	for el := c.recent.Front(); el != nil; {
		next := el.Next()
		if el.Value.(*block).key.reader == reader {
			c.drop(el)
		}
		el = next
	}
}
