package iscsi

import (
	"math/bits"
	"sync"
)

// Sizes of buffers: powers of two.
const (
	smallest = 12 // 4 KiB
	largest  = 24 // 16 MiB
)

// buffer is memory of the pool for the data of one command.
type buffer struct {
	b     []byte // as long as was asked for
	class int
}

// pool keeps buffers for use again, and bounds their sum. It gives memory back
// when more than half of the bound lies unused.
type pool struct {
	mu    sync.Mutex
	free  [largest + 1][]*buffer
	limit int64 // of bytes in use
	used  int64
	idle  int64 // bytes in free
}

// get is a buffer of n bytes, whatever is in them; nil if there is no room.
func (p *pool) get(n int) *buffer {
	class := max(smallest, bits.Len(uint(max(n, 1)-1)))
	if class > largest {
		return nil
	}
	size := int64(1) << class
	p.mu.Lock()
	if p.used+size > p.limit {
		p.mu.Unlock()
		return nil
	}
	p.used += size
	if l := p.free[class]; len(l) > 0 {
		b := l[len(l)-1]
		p.free[class] = l[:len(l)-1]
		p.idle -= size
		p.mu.Unlock()
		b.b = b.b[:n]
		return b
	}
	p.mu.Unlock()
	return &buffer{b: make([]byte, size)[:n], class: class}
}

// put takes a buffer back. Nobody may use it after.
func (p *pool) put(b *buffer) {
	if b == nil {
		return
	}
	size := int64(1) << b.class
	p.mu.Lock()
	p.used -= size
	if p.idle+size <= p.limit/2 {
		p.idle += size
		p.free[b.class] = append(p.free[b.class], b)
	}
	p.mu.Unlock()
}
