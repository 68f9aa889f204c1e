package sim

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"

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
	slots []stream.Slot
	empty *rt.Queue[int] // numbers of empty slots
	full  *rt.Queue[int] // and of filled ones
	// A hollow slot may stand for more than the whole ring: while one does, the
	// filler waits as it would for bytes, so that it is not done before its time.
	hollow int64
	filler *task
	sides  int
	closed bool
}

// none is no slot's number.
const none = -1

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
	fills  int    // the slot that Empty gave and Fill did not take yet
	memory []byte // its memory
	takes  int    // the slot that Full gave and Free did not take yet
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
	g := &ring{host: h, name: name, size: size, slots: make([]stream.Slot, slots)}
	g.empty, g.full = rt.NewQueue[int](ctx, 0), rt.NewQueue[int](ctx, 0)
	for i := range slots {
		if err := g.empty.Put(ctx, i); err != nil {
			return nil, err
		}
	}
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
	s := &side{ring: g, fills: none, takes: none}
	s.held = p.hold(g.close)
	return s
}

// close ends the ring for both sides: what is filled can still be taken.
func (g *ring) close() {
	g.closed = true
	g.wake()
	g.empty.Close()
	g.full.Close()
	if g.host.rings[g.name] == g {
		delete(g.host.rings, g.name)
	}
}

// wake lets the filler look again whether there is room.
func (g *ring) wake() {
	if g.filler != nil {
		g.filler.Unpark()
	}
}

// room waits while hollow slots fill the ring.
func (g *ring) room(ctx context.Context) error {
	g.filler = rt.Current(ctx).(*task)
	err := rt.Await(ctx, func() bool { return g.closed || !g.crowded() })
	g.filler = nil
	return err
}

func (g *ring) crowded() bool { return g.hollow >= int64(len(g.slots))*int64(g.size) }

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
	if s.fills != none {
		return s.memory, nil
	}
	if g.empty.Len() == 0 || g.crowded() {
		s.waits.Empty++
	}
	if g.crowded() {
		if err := g.room(ctx); err != nil {
			return nil, err
		}
	}
	i, err := g.empty.Get(ctx)
	if errors.Is(err, rt.ErrClosed) || err == nil && g.closed {
		return nil, g.cut()
	}
	if err != nil {
		return nil, err
	}
	s.fills = i
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
	i := s.fills
	slot.CRC = 0
	if slot.Bytes != nil {
		slot.CRC = crc32.Checksum(slot.Bytes, stream.Castagnoli)
	} else {
		g.host.w.slots.keep(s.memory)
	}
	g.hollow += hollowBytes(&slot)
	s.fills, s.memory = none, nil
	g.slots[i] = slot
	if err := g.full.Put(ctx, i); err != nil {
		return g.cut()
	}
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
	case s.fills == none:
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
	if s.takes == none {
		if g.full.Len() == 0 && !g.closed {
			s.waits.Full++
		}
		i, err := g.full.Get(ctx)
		if errors.Is(err, rt.ErrClosed) {
			return stream.Slot{}, g.cut()
		}
		if err != nil {
			return stream.Slot{}, err
		}
		s.takes = i
	}
	slot := g.slots[s.takes]
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
	g, i := s.ring, s.takes
	if i == none {
		return fmt.Errorf("freeing a slot of ring %s: Free without Full", g.name)
	}
	if b := g.slots[i].Bytes; b != nil {
		g.host.w.slots.keep(b)
	}
	if n := hollowBytes(&g.slots[i]); n > 0 {
		g.hollow -= n
		g.wake()
	}
	g.slots[i], s.takes = stream.Slot{}, none
	if err := g.empty.Put(ctx, i); err != nil && !errors.Is(err, rt.ErrClosed) {
		return err
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
