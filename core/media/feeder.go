package media

import (
	"context"
	"fmt"
	"hash/crc32"
	"sort"

	"capstan/core/catalog"
	"capstan/core/dev"
	"capstan/core/stream"
)

// Feeder fills a ring with the members to be restored, from the side that owns
// the device: for each block, Empty gives the memory to read into, Data hands
// over what of it is wanted. End says how much that was and its digest.
type Feeder struct {
	ring   stream.Ring
	total  int64
	digest uint32
	hollow bool
}

// NewFeeder makes a feeder of the ring.
func NewFeeder(ring stream.Ring) *Feeder { return &Feeder{ring: ring} }

// Members hands over the entries of members whose data follows. Hollow members
// need it; others have their headers.
func (f *Feeder) Members(ctx context.Context, es []catalog.Entry) error {
	return fillEntries(ctx, f.ring, stream.Member, es)
}

// fillEntries fills slots of a kind with entries.
func fillEntries(ctx context.Context, ring stream.Ring, kind stream.Kind, es []catalog.Entry) error {
	for len(es) > 0 {
		mem, err := ring.Empty(ctx)
		if err != nil {
			return err
		}
		b, n := encodeEntries(mem[:0], es, ring.SlotSize())
		if n == 0 {
			return fmt.Errorf("the entry of %.100q… needs more than a block of %d bytes", es[0].Path, ring.SlotSize())
		}
		if err := ring.Fill(ctx, stream.Slot{Kind: kind, Bytes: b, Len: int64(len(b))}); err != nil {
			return err
		}
		es = es[n:]
	}
	return nil
}

// Empty waits for an empty slot and gives its memory, of the slot's size, to read
// a block into. It stays the same until Data.
func (f *Feeder) Empty(ctx context.Context) ([]byte, error) {
	mem, err := f.ring.Empty(ctx)
	if err != nil {
		return nil, err
	}
	return mem[:f.ring.SlotSize()], nil
}

// Data hands over the first bytes of the memory that Empty gave; offset is where
// they lie in the image's stream. Without bytes the slot is kept for the next.
func (f *Feeder) Data(ctx context.Context, b []byte, offset int64) error {
	if len(b) == 0 {
		return nil
	}
	f.total += int64(len(b))
	f.digest = crc32.Update(f.digest, stream.Castagnoli, b)
	return f.ring.Fill(ctx, stream.Slot{Kind: stream.Data, Bytes: b, Len: int64(len(b)), Offset: offset})
}

// Hollow hands over n bytes that nobody holds.
func (f *Feeder) Hollow(ctx context.Context, n, offset int64, via []dev.Resource) error {
	if n == 0 {
		return nil
	}
	if _, err := f.ring.Empty(ctx); err != nil {
		return err
	}
	f.total += n
	f.hollow = true
	return f.ring.Fill(ctx, stream.Slot{Kind: stream.Data, Len: n, Offset: offset, Via: via})
}

// End says that all is handed over.
func (f *Feeder) End(ctx context.Context) error {
	mem, err := f.ring.Empty(ctx)
	if err != nil {
		return err
	}
	digest := f.digest
	if f.hollow {
		digest = 0
	}
	b := append(mem[:0], encodeEnd(f.total, digest)...)
	return f.ring.Fill(ctx, stream.Slot{Kind: stream.End, Bytes: b, Len: int64(len(b))})
}

// Picker picks wanted members out of an image's stream.
type Picker struct{ spans []span }

// span is a range of the stream.
type span struct{ from, to int64 }

// NewPicker makes a picker of whole members: their headers, data and padding.
func NewPicker(wanted []catalog.Entry) *Picker {
	p := &Picker{}
	for i := range wanted {
		p.spans = append(p.spans, span{wanted[i].Offset, wanted[i].End()})
	}
	sort.Slice(p.spans, func(i, j int) bool { return p.spans[i].from < p.spans[j].from })
	merged := p.spans[:0]
	for _, s := range p.spans {
		if n := len(merged); n > 0 && s.from <= merged[n-1].to {
			merged[n-1].to = max(merged[n-1].to, s.to)
		} else if s.to > s.from {
			merged = append(merged, s)
		}
	}
	p.spans = merged
	return p
}

// Next is where the next wanted byte lies in the stream; ok is false when all
// have been picked.
func (p *Picker) Next() (offset int64, ok bool) {
	if len(p.spans) == 0 {
		return 0, false
	}
	return p.spans[0].from, true
}

// Split takes off what is wanted before an offset, and gives it in parts, each with a
// picker of its own: two ranges are in one part if together says so of the end of the one
// and the beginning of the next. A range that goes on after the offset stays, from there.
func (p *Picker) Split(end int64, together func(to, from int64) bool) []*Picker {
	var parts []*Picker
	for len(p.spans) > 0 && p.spans[0].from < end {
		s := p.spans[0]
		if s.to > end {
			s.to, p.spans[0].from = end, end
		} else {
			p.spans = p.spans[1:]
		}
		if n := len(parts); n > 0 && together(parts[n-1].End(), s.from) {
			parts[n-1].spans = append(parts[n-1].spans, s)
		} else {
			parts = append(parts, &Picker{spans: []span{s}})
		}
	}
	return parts
}

// End is the offset after the last wanted byte, 0 if none is.
func (p *Picker) End() int64 {
	if len(p.spans) == 0 {
		return 0
	}
	return p.spans[len(p.spans)-1].to
}

// Pick moves the wanted bytes of a block to its beginning and gives them; offset
// is where the block lies in the stream. Blocks come in the stream's order.
func (p *Picker) Pick(block []byte, offset int64) []byte {
	n := 0
	p.each(offset, int64(len(block)), func(from, to int64) {
		n += copy(block[n:], block[from-offset:to-offset])
	})
	return block[:n]
}

// PickHollow is Pick for n hollow bytes: how many of them are wanted.
func (p *Picker) PickHollow(n, offset int64) int64 {
	var sum int64
	p.each(offset, n, func(from, to int64) { sum += to - from })
	return sum
}

// each calls fn for the wanted parts of [offset, offset+n), and takes them off.
func (p *Picker) each(offset, n int64, fn func(from, to int64)) {
	end := offset + n
	for len(p.spans) > 0 && p.spans[0].from < end {
		s := &p.spans[0]
		from, to := max(s.from, offset), min(s.to, end)
		if from < to {
			fn(from, to)
		}
		if s.to > end {
			s.from = end
			return
		}
		p.spans = p.spans[1:]
	}
}
