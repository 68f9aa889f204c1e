package sim

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"

	"capstan/core/rt"
	"capstan/core/stream"
)

// rings makes the shared memory of one process with others of its host.
type rings struct{ p *Process }

var _ stream.Rings = (*rings)(nil)

// ring is shared memory between two processes of a host.
type ring struct {
	host  *Host
	name  string
	size  int
	count int           // of slots
	slots []stream.Slot // those that are full, in order, the taken one too
	// A hollow slot may stand for more than the whole ring: while one does, the
	// filler waits as it would for bytes, so that it is not done before its time.
	hollow int64
	filler *task // waits for an empty slot
	taker  *task // waits for a full one
	sides  int
	closed bool
}

// slotMemory is the memory of slots that are neither being filled nor full, of all
// rings, by its size: a ring of hollow slots needs that of one slot, and only for
// a while.
type slotMemory map[int][][]byte

func (m slotMemory) take(size int) []byte {
	spare := m[size]
	if len(spare) == 0 {
		return make([]byte, 0, size)
	}
	last := len(spare) - 1
	m[size] = spare[:last]
	return spare[last]
}

func (m slotMemory) keep(b []byte) { m[cap(b)] = append(m[cap(b)], b[:0]) }

// side is a ring as one of its two processes has it.
type side struct {
	ring   *ring
	held   *holding
	fills  bool   // Empty gave a slot that Fill did not take yet
	memory []byte // its memory
	takes  bool   // Full gave a slot that Free did not take yet
	waits  stream.Waits
	gone   bool
}

var _ stream.Ring = (*side)(nil)

// Create makes a ring.
func (r *rings) Create(ctx context.Context, name string, slots, size int) (stream.Ring, error) {
	rt.Current(ctx).Check()
	h := r.p.host
	if h.rings[name] != nil {
		return nil, fmt.Errorf("creating the ring %s on %s: it exists", name, h.name)
	}
	if slots < 1 || size < 1 {
		return nil, fmt.Errorf("creating the ring %s: %d slots of %d bytes", name, slots, size)
	}
	g := &ring{host: h, name: name, size: size, count: slots, slots: make([]stream.Slot, 0, min(slots, 4))}
	h.rings[name] = g
	return g.join(r.p), nil
}

// Attach finds a ring that another process of the host has created.
func (r *rings) Attach(ctx context.Context, name string) (stream.Ring, error) {
	rt.Current(ctx).Check()
	h := r.p.host
	g := h.rings[name]
	if g == nil || g.closed {
		return nil, fmt.Errorf("attaching the ring %s on %s: there is none", name, h.name)
	}
	if g.sides == 2 {
		return nil, fmt.Errorf("attaching the ring %s on %s: it has both its sides", name, h.name)
	}
	return g.join(r.p), nil
}

func (g *ring) join(p *Process) *side {
	g.sides++
	s := &side{ring: g}
	s.held = p.hold(g.close)
	return s
}

// close ends the ring for both sides: what is filled can still be taken.
func (g *ring) close() {
	g.closed = true
	wake(g.filler)
	wake(g.taker)
	if g.host.rings[g.name] == g {
		delete(g.host.rings, g.name)
	}
}

// wake lets a side that waits look again.
func wake(t *task) {
	if t != nil {
		t.Unpark()
	}
}

// room tells whether a slot can be filled.
func (g *ring) room() bool { return len(g.slots) < g.count && !g.crowded() }

// await waits, as the filler or the taker, for what the other does, or for the end.
func (g *ring) await(ctx context.Context, who **task, done func() bool) error {
	*who = rt.Current(ctx).(*task)
	err := rt.Await(ctx, func() bool { return g.closed || done() })
	*who = nil
	return err
}

func (g *ring) crowded() bool { return g.hollow >= int64(g.count)*int64(g.size) }

func (g *ring) cut() error {
	return fmt.Errorf("ring %s on %s: %w", g.name, g.host.name, stream.ErrCut)
}

// SlotSize is the number of bytes of a slot.
func (s *side) SlotSize() int { return s.ring.size }

// Empty waits for an empty slot.
func (s *side) Empty(ctx context.Context) ([]byte, error) {
	rt.MayBlock(ctx)
	g := s.ring
	if g.closed {
		return nil, g.cut()
	}
	if s.fills {
		return s.memory, nil
	}
	if !g.room() {
		s.waits.Empty++
		if err := g.await(ctx, &g.filler, g.room); err != nil {
			return nil, err
		}
		if g.closed {
			return nil, g.cut()
		}
	}
	s.fills = true
	s.memory = g.host.w.slots.take(g.size)
	return s.memory, nil
}

// Fill hands over the slot that Empty gave.
func (s *side) Fill(ctx context.Context, slot stream.Slot) error {
	rt.Current(ctx).Check()
	g := s.ring
	if err := s.refuse(&slot); err != nil {
		return fmt.Errorf("filling a slot of ring %s: %w", g.name, err)
	}
	if g.closed {
		return g.cut()
	}
	slot.CRC = 0
	if slot.Bytes != nil {
		slot.CRC = crc32.Checksum(slot.Bytes, stream.Castagnoli)
	} else {
		g.host.w.slots.keep(s.memory)
	}
	g.hollow += hollowBytes(&slot)
	s.fills, s.memory = false, nil
	g.slots = append(g.slots, slot)
	wake(g.taker)
	return nil
}

// hollowBytes is what a hollow slot stands for.
func hollowBytes(s *stream.Slot) int64 {
	if s.Kind == stream.Data && s.Bytes == nil {
		return s.Len
	}
	return 0
}

// refuse says what is wrong with a slot to be filled.
func (s *side) refuse(slot *stream.Slot) error {
	switch {
	case !s.fills:
		return errors.New("Fill without Empty")
	case len(slot.Bytes) > s.ring.size:
		return fmt.Errorf("%d bytes, %d is what it holds", len(slot.Bytes), s.ring.size)
	case len(slot.Bytes) > 0 && &slot.Bytes[0] != &s.memory[:1][0]:
		return errors.New("the bytes are not in the memory that Empty gave")
	case slot.Kind == stream.Data && slot.Bytes != nil && slot.Len != int64(len(slot.Bytes)):
		return fmt.Errorf("length %d of %d bytes", slot.Len, len(slot.Bytes))
	}
	return nil
}

// Full waits for a filled slot.
func (s *side) Full(ctx context.Context) (stream.Slot, error) {
	rt.MayBlock(ctx)
	g := s.ring
	if s.gone {
		return stream.Slot{}, g.cut()
	}
	if len(g.slots) == 0 {
		if !g.closed {
			s.waits.Full++
		}
		if err := g.await(ctx, &g.taker, func() bool { return len(g.slots) > 0 }); err != nil {
			return stream.Slot{}, err
		}
		if len(g.slots) == 0 {
			return stream.Slot{}, g.cut()
		}
	}
	s.takes = true
	slot := g.slots[0]
	if slot.Bytes != nil {
		if sum := crc32.Checksum(slot.Bytes, stream.Castagnoli); sum != slot.CRC {
			return stream.Slot{}, fmt.Errorf("ring %s: a slot was damaged: CRC-32C %08x, filled with %08x", g.name, sum, slot.CRC)
		}
	}
	return slot, nil
}

// Free gives the slot of the last Full back.
func (s *side) Free(ctx context.Context) error {
	rt.Current(ctx).Check()
	g := s.ring
	if !s.takes {
		return fmt.Errorf("freeing a slot of ring %s: Free without Full", g.name)
	}
	slot := &g.slots[0]
	if slot.Bytes != nil {
		g.host.w.slots.keep(slot.Bytes)
	}
	g.hollow -= hollowBytes(slot)
	g.slots, s.takes = slices.Delete(g.slots, 0, 1), false
	if g.room() {
		wake(g.filler)
	}
	return nil
}

// Waits is how often this side waited.
func (s *side) Waits() stream.Waits { return s.waits }

// Close ends this side.
func (s *side) Close() error {
	if !s.gone {
		s.gone = true
		s.held.drop()
		s.ring.close()
	}
	return nil
}
