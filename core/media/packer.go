package media

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"capstan/core/catalog"
	"capstan/core/dev"
	"capstan/core/stream"
)

// Limits say when a fragment ends. 0 is without limit.
type Limits struct {
	Bytes   int64 // of the image's stream
	Entries int   // of members that begin in it
}

// DefaultEntries is how many entries a fragment has at most, so that its trailer
// can be held in memory.
const DefaultEntries = 1_000_000

// Packer is the sink that cuts an image's stream into the slots of a ring: blocks
// of exactly the slot's size, but shorter where otherwise the headers of a member
// would lie in two, and where a fragment ends. Entries go ahead of the data in
// which their members begin, in slots of kind Member.
//
// A fragment ends between two members if it can, and inside one only if that
// member alone exceeds the limit: then the next Data slot has [stream.CutBefore].
type Packer struct {
	ring   stream.Ring
	size   int64
	limits Limits

	buf     []byte          // of the next slot
	start   int64           // where buf begins in the stream
	cut     bool            // the next Data slot begins a fragment
	entries []catalog.Entry // not yet given: they begin in buf, or after it
	reached int             // how many of entries begin in buf
	amended []catalog.Entry // of entries that were given

	memberEnd int64 // of the member that buf ends in
	headEnd   int64 // of its headers
	fragStart int64
	fragCount int // entries of the fragment
}

// NewPacker makes a packer that fills the ring. A fragment has at least one block,
// whatever the limits say.
func NewPacker(ring stream.Ring, limits Limits) *Packer {
	size := ring.SlotSize()
	if limits.Bytes > 0 {
		limits.Bytes = max(limits.Bytes, int64(size))
	}
	return &Packer{ring: ring, size: int64(size), limits: limits}
}

// Put takes the next frame.
func (p *Packer) Put(ctx context.Context, f *stream.Frame) error {
	switch f.Kind {
	case stream.Member:
		return p.members(f.Entries)
	case stream.Data:
		if f.Hollow() {
			return p.hollow(ctx, f.Len, f.Via)
		}
		return p.data(ctx, f.Bytes)
	case stream.Amend:
		return p.amend(ctx, f.Entries)
	case stream.End:
		if err := p.flush(ctx); err != nil {
			return err
		}
		if err := p.give(ctx, stream.Amend, p.amended); err != nil {
			return err
		}
		return p.fill(ctx, stream.Slot{Kind: stream.End, Bytes: encodeEnd(f.Total, f.Digest)})
	}
	return fmt.Errorf("frame of unknown kind %d", f.Kind)
}

// pos is where the next byte goes in the stream.
func (p *Packer) pos() int64 { return p.start + int64(len(p.buf)) }

// members notes entries; they come in the order of the stream.
func (p *Packer) members(es []catalog.Entry) error {
	last := max(p.pos(), p.memberEnd)
	if n := len(p.entries); n > p.reached {
		last = p.entries[n-1].End()
	}
	for i := range es {
		e := &es[i]
		if e.Offset < last || e.HeadLen < 0 || e.DataLen < 0 || e.Offset%512 != 0 || e.HeadLen%512 != 0 {
			return fmt.Errorf("the entry of %s lies at %d+%d+%d, data is at %d: entries must come in order and ahead of their data",
				e.Path, e.Offset, e.HeadLen, e.DataLen, last)
		}
		last = e.End()
		p.entries = append(p.entries, *e)
	}
	return nil
}

// amendedAtOnce is how many amended entries go into a slot: one for each would be
// another slot for each larger file.
const amendedAtOnce = 128

// amend takes entries that were noted before. They are changed where they still are, or
// go to who has them.
func (p *Packer) amend(ctx context.Context, es []catalog.Entry) error {
	for i := range es {
		if e := p.kept(&es[i]); e != nil {
			e.CRC, e.Damage = es[i].CRC, es[i].Damage
		} else {
			p.amended = append(p.amended, es[i])
		}
	}
	if len(p.amended) < amendedAtOnce {
		return nil
	}
	err := p.give(ctx, stream.Amend, p.amended)
	p.amended = p.amended[:0]
	return err
}

// kept is an entry that was not yet given, nil if it was.
func (p *Packer) kept(e *catalog.Entry) *catalog.Entry {
	i, _ := slices.BinarySearchFunc(p.entries, e.Offset, func(k catalog.Entry, offset int64) int { return cmp.Compare(k.Offset, offset) })
	for ; i < len(p.entries) && p.entries[i].Offset == e.Offset; i++ {
		if p.entries[i].Path == e.Path {
			return &p.entries[i]
		}
	}
	return nil
}

// data takes bytes of the stream.
func (p *Packer) data(ctx context.Context, b []byte) error {
	for len(b) > 0 {
		if err := p.boundary(ctx); err != nil {
			return err
		}
		n := min(int64(len(b)), p.size-int64(len(p.buf)))
		if p.reached < len(p.entries) {
			n = min(n, p.entries[p.reached].Offset-p.pos())
		}
		p.buf = append(p.buf, b[:n]...)
		b = b[n:]
	}
	return nil
}

// boundary closes the slot if it is full, or must end where the stream is now,
// and begins a member if one begins here.
func (p *Packer) boundary(ctx context.Context) error {
	if int64(len(p.buf)) == p.size {
		if err := p.flush(ctx); err != nil {
			return err
		}
	}
	if p.reached < len(p.entries) && p.entries[p.reached].Offset == p.pos() {
		return p.beginMember(ctx)
	}
	if len(p.buf) > 0 || p.pos() >= p.memberEnd || p.pos() < p.headEnd {
		return nil
	}
	// A slot begins inside a member's data.
	if p.exceeds(min(p.size, p.memberEnd-p.pos())) {
		p.cutHere()
	}
	return nil
}

func (p *Packer) beginMember(ctx context.Context) error {
	e := p.entries[p.reached]
	whole := e.End() - e.Offset
	straddles := int64(len(p.buf))+e.HeadLen > p.size
	room := p.size - int64(len(p.buf)) // of the slot in which the member begins
	if straddles {
		room = p.size
	}
	// A member that no fragment holds begins in this one, if at least its first slot fits.
	tooLong := p.exceeds(whole) && (p.limits.Bytes >= whole || p.exceeds(min(whole, room)))
	tooMany := p.limits.Entries > 0 && p.fragCount >= p.limits.Entries
	if tooLong || tooMany || straddles {
		if err := p.flush(ctx); err != nil {
			return err
		}
		if tooLong || tooMany {
			p.cutHere()
		}
	}
	p.memberEnd, p.headEnd = e.End(), e.Offset+e.HeadLen
	p.reached++
	p.fragCount++
	return nil
}

// exceeds tells whether n more bytes would exceed the limit of the fragment.
func (p *Packer) exceeds(n int64) bool {
	return p.limits.Bytes > 0 && p.pos() > p.fragStart && p.pos()-p.fragStart+n > p.limits.Bytes
}

// cutHere lets a fragment begin with the slot that begins here.
func (p *Packer) cutHere() {
	if p.pos() > p.fragStart {
		p.cut, p.fragStart, p.fragCount = true, p.pos(), 0
	}
}

// flush hands over the entries that begin in buf, then buf.
func (p *Packer) flush(ctx context.Context) error {
	if len(p.buf) == 0 {
		return nil
	}
	if err := p.flushEntries(ctx); err != nil {
		return err
	}
	s := stream.Slot{Kind: stream.Data, Flags: p.flags(), Bytes: p.buf, Len: int64(len(p.buf)), Offset: p.start}
	if err := p.fill(ctx, s); err != nil {
		return err
	}
	p.start, p.buf = p.pos(), p.buf[:0]
	return nil
}

func (p *Packer) flags() uint8 {
	if !p.cut {
		return 0
	}
	p.cut = false
	return stream.CutBefore
}

func (p *Packer) flushEntries(ctx context.Context) error {
	if err := p.give(ctx, stream.Member, p.entries[:p.reached]); err != nil {
		return err
	}
	p.entries = p.entries[:copy(p.entries, p.entries[p.reached:])]
	p.reached = 0
	return nil
}

// give hands entries over, in slots of a kind.
func (p *Packer) give(ctx context.Context, kind stream.Kind, es []catalog.Entry) error {
	for len(es) > 0 {
		b, n := encodeEntries(nil, es, int(p.size))
		if n == 0 {
			return fmt.Errorf("the entry of %.100q… needs more than a block of %d bytes", es[0].Path, p.size)
		}
		if err := p.fill(ctx, stream.Slot{Kind: kind, Bytes: b, Len: int64(len(b))}); err != nil {
			return err
		}
		es = es[n:]
	}
	return nil
}

// fill hands one slot over; its bytes are copied into the ring.
func (p *Packer) fill(ctx context.Context, s stream.Slot) error {
	mem, err := p.ring.Empty(ctx)
	if err != nil {
		return err
	}
	if s.Bytes != nil {
		s.Bytes = append(mem[:0], s.Bytes...)
	}
	return p.ring.Fill(ctx, s)
}

// hollow takes n bytes that nobody holds: all of one member, or a part of it.
func (p *Packer) hollow(ctx context.Context, n int64, via []dev.Resource) error {
	if err := p.flush(ctx); err != nil {
		return err
	}
	if p.reached < len(p.entries) && p.entries[p.reached].Offset == p.pos() {
		if err := p.beginMember(ctx); err != nil {
			return err
		}
		if err := p.flushEntries(ctx); err != nil {
			return err
		}
	}
	for n > 0 {
		part := n
		if p.limits.Bytes > 0 {
			room := p.limits.Bytes - (p.pos() - p.fragStart)
			if room <= 0 || room < p.size && room < n {
				p.cutHere()
				room = p.limits.Bytes
			}
			part = min(n, max(room-room%p.size, min(room, p.size)))
		}
		if _, err := p.ring.Empty(ctx); err != nil {
			return err
		}
		s := stream.Slot{Kind: stream.Data, Flags: p.flags(), Len: part, Offset: p.start, Via: via}
		if err := p.ring.Fill(ctx, s); err != nil {
			return err
		}
		p.start += part
		n -= part
	}
	return nil
}

// encodeEnd and decodeEnd: the stream's length and digest, little endian.
func encodeEnd(total int64, digest uint32) []byte {
	b := binary.LittleEndian.AppendUint64(nil, uint64(total))
	return binary.LittleEndian.AppendUint32(b, digest)
}

func decodeEnd(b []byte) (total int64, digest uint32, err error) {
	if len(b) != 12 || binary.LittleEndian.Uint64(b) > 1<<62 {
		return 0, 0, errors.New("a slot of kind End does not hold a total and a digest")
	}
	return int64(binary.LittleEndian.Uint64(b)), binary.LittleEndian.Uint32(b[8:]), nil
}

// Unpacker is the source that turns the slots of a ring back into frames.
type Unpacker struct {
	ring stream.Ring
	held bool // a slot is held whose bytes the last frame shows
}

// NewUnpacker makes an unpacker that takes from the ring.
func NewUnpacker(ring stream.Ring) *Unpacker { return &Unpacker{ring: ring} }

// Next gives the next frame; its bytes are the ring's, valid until the next Next.
func (u *Unpacker) Next(ctx context.Context, f *stream.Frame) error {
	if err := u.free(ctx); err != nil {
		return err
	}
	s, err := u.ring.Full(ctx)
	if err != nil {
		return err
	}
	u.held = true
	*f = stream.Frame{Kind: s.Kind}
	switch s.Kind {
	case stream.Data:
		f.Len, f.Bytes, f.Via = s.Len, s.Bytes, s.Via
		return nil
	case stream.Member:
		if f.Entries, err = DecodeMembers(s); err != nil {
			return err
		}
	case stream.End:
		if f.Total, f.Digest, err = DecodeEnd(s); err != nil {
			return err
		}
	default:
		return fmt.Errorf("slot of unknown kind %d", s.Kind)
	}
	return u.free(ctx)
}

func (u *Unpacker) free(ctx context.Context) error {
	if !u.held {
		return nil
	}
	u.held = false
	return u.ring.Free(ctx)
}

// DecodeMembers reads the entries of a slot of kind Member or Amend.
func DecodeMembers(s stream.Slot) ([]catalog.Entry, error) { return decodeEntries(s.Bytes, false) }

// DecodeEnd reads the total and the digest of a slot of kind End.
func DecodeEnd(s stream.Slot) (total int64, digest uint32, err error) { return decodeEnd(s.Bytes) }

var (
	_ stream.Sink   = (*Packer)(nil)
	_ stream.Source = (*Unpacker)(nil)
)
