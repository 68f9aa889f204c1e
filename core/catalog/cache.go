package catalog

import (
	"container/list"
	"context"

	"capstan/core/rt"
)

// Cache keeps decoded blocks of open files, those used last, up to a number of
// bytes. Readers share it.
type Cache struct {
	lock    rt.Lock
	limit   int64
	used    int64
	readers int64 // opened so far: names them in keys
	blocks  map[blockKey]*list.Element
	recent  *list.List // of *block; the front was used last
}

type blockKey struct{ reader, offset int64 }

// block is a decoded block: entries of a data block, or references of an index
// block. It is not changed.
type block struct {
	key     blockKey
	entries []Entry
	refs    []ref
	cost    int64
}

// The memory of one entry or reference beside its texts, about.
const (
	entryCost = 224
	refCost   = 48
)

// NewCache makes a cache for about limit bytes of decoded blocks.
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

func (c *Cache) put(b *block) {
	b.cost = int64(len(b.entries))*entryCost + int64(len(b.refs))*refCost
	for i := range b.entries {
		b.cost += int64(len(b.entries[i].Path) + len(b.entries[i].Link))
	}
	for i := range b.refs {
		b.cost += int64(len(b.refs[i].first))
	}
	c.lock.Lock()
	defer c.lock.Unlock()
	if c.blocks[b.key] != nil {
		return // another task decoded it meanwhile
	}
	c.blocks[b.key] = c.recent.PushFront(b)
	c.used += b.cost
	for c.used > c.limit && c.recent.Len() > 1 {
		c.drop(c.recent.Back())
	}
}

func (c *Cache) drop(el *list.Element) {
	b := c.recent.Remove(el).(*block)
	delete(c.blocks, b.key)
	c.used -= b.cost
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
