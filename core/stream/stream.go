package stream

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"

	"capstan/core/catalog"
	"capstan/core/dev"
	"capstan/core/pbx"
	"capstan/core/rt"
)

// Kind says what a frame carries.
type Kind uint8

// The kinds of frame.
const (
	// Data carries bytes of the image, in archive order.
	Data Kind = iota + 1
	// Member carries entries whose archive members begin in the data that follows.
	Member
	// End says that the image is complete, and what it must add up to.
	End
	// Amend carries entries that were given before, of members whose data has passed and
	// of which more is known now: the CRC of the content, and its damage.
	Amend
)

// Frame is what moves. A source may use the memory of Bytes again at its next
// Next; a sink that keeps them copies. Entries are changed by nobody who has seen them,
// and may be kept.
type Frame struct {
	Kind    Kind
	Len     int64           // of Data, in bytes; equals len(Bytes) unless hollow
	Bytes   []byte          // of Data; nil if hollow
	Entries []catalog.Entry // of Member and Amend
	Total   int64           // of End: bytes of all Data frames
	Digest  uint32          // of End: CRC-32C of all Data bytes, 0 if any was hollow
	Via     []dev.Resource  // of hollow Data: what it crossed so far
}

// Hollow tells whether the frame stands for data that nobody holds.
func (f *Frame) Hollow() bool { return f.Kind == Data && f.Bytes == nil && f.Len > 0 }

// Source gives frames.
type Source interface {
	// Next fills f with the next frame. After the End frame it is not called again.
	Next(ctx context.Context, f *Frame) error
}

// Sink takes frames.
type Sink interface {
	// Put takes f, all of it, waiting as long as that takes.
	Put(ctx context.Context, f *Frame) error
}

// ErrCut says that a stream ended without its End frame.
var ErrCut = errors.New("the stream was cut off before its end")

// Castagnoli is the table of the CRC-32C that checks everything that moves.
var Castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Count is what a splice moved.
type Count struct {
	Bytes   int64 // of Data frames
	Members int64 // entries, those that a hollow entry stands for included
	Ended   bool  // the End frame passed
}

// Splice moves frames from in to out until the End frame has passed, ctx ends, or
// one side fails. It checks that the End frame's total and digest are those of
// what passed, before the sink gets it.
func Splice(ctx context.Context, out Sink, in Source) (Count, error) {
	var s splice
	var f Frame
	for {
		if ctx.Err() != nil {
			return s.count, rt.Cause(ctx)
		}
		f = Frame{}
		if err := in.Next(ctx, &f); err != nil {
			return s.count, err
		}
		if err := s.take(&f); err != nil {
			return s.count, err
		}
		if err := out.Put(ctx, &f); err != nil {
			return s.count, err
		}
		if f.Kind == End {
			s.count.Ended = true
			return s.count, nil
		}
	}
}

// splice is what passed so far.
type splice struct {
	count  Count
	digest uint32
	hollow bool // of some of it there is no digest
}

func (s *splice) take(f *Frame) error {
	switch f.Kind {
	case Data:
		s.count.Bytes += f.Len
		if f.Bytes != nil {
			s.digest = crc32.Update(s.digest, Castagnoli, f.Bytes)
		} else if f.Len > 0 {
			s.hollow = true
		}
	case Member:
		for i := range f.Entries {
			s.count.Members += f.Entries[i].Files()
		}
	case Amend:
	case End:
		return s.check(f)
	default:
		return fmt.Errorf("frame of unknown kind %d", f.Kind)
	}
	return nil
}

func (s *splice) check(f *Frame) error {
	if f.Total != s.count.Bytes {
		return fmt.Errorf("%w: it says %d bytes, %d came", ErrCut, f.Total, s.count.Bytes)
	}
	if !s.hollow && f.Digest != s.digest {
		return fmt.Errorf("the stream was damaged on its way: CRC-32C %08x, sent as %08x", s.digest, f.Digest)
	}
	return nil
}

// NewTicket draws the one-time secret of a data connection for the process at an
// address.
func NewTicket(ctx context.Context, at pbx.Addr) string {
	r := rt.Rand(ctx, string(at), "ticket")
	return fmt.Sprintf("%016x%016x", r.Uint64(), r.Uint64())
}

// Conn is one direction of data between two processes: frames put in at one end
// come out at the other. Close at the sending end without an End frame cuts it.
type Conn interface {
	Source
	Sink
	Close() error
}

// Net makes data connections. A connection is made to a process's service, the
// same that answers its calls, and shows a ticket that works once.
type Net interface {
	// Dial connects to the process at an address.
	Dial(ctx context.Context, to pbx.Addr, ticket string) (Conn, error)
	// Accept waits for the connection that shows the ticket, made to a service of
	// this process, from a process of the host peer.
	Accept(ctx context.Context, service, ticket, peer string) (Conn, error)
}

// Rings makes the shared memory between the two processes of a tape manager.
type Rings interface {
	// Create makes a ring of slots of size bytes each; Attach, in another process
	// of the host, finds it by its name.
	Create(ctx context.Context, name string, slots, size int) (Ring, error)
	Attach(ctx context.Context, name string) (Ring, error)
}

// Ring is shared memory with a number of slots. One process fills slots, the
// other takes them; which is which depends on the direction of the data.
type Ring interface {
	// SlotSize is the number of bytes that a slot holds: the block size.
	SlotSize() int
	// Empty waits for an empty slot and returns its memory for the caller to fill
	// (len 0, cap SlotSize); it stays the same slot until Fill.
	Empty(ctx context.Context) ([]byte, error)
	// Fill hands the slot over. s.Bytes, if not nil, is the memory that Empty
	// gave. The ring takes the CRC-32C of the bytes.
	Fill(ctx context.Context, s Slot) error
	// Full waits for a filled slot. Its bytes stay valid until Free. The ring
	// checks the CRC-32C.
	Full(ctx context.Context) (Slot, error)
	// Free gives the slot of the last Full back.
	Free(ctx context.Context) error
	// Waits is how often this side waited for a full and for an empty slot.
	Waits() Waits
	// Close ends this side; the other gets [ErrCut] once the ring is drained.
	Close() error
}

// Slot is what a slot holds.
type Slot struct {
	Kind   Kind
	Flags  uint8
	Bytes  []byte // Data bytes, or an encoding of entries or totals; nil if hollow
	Len    int64  // of Data
	Offset int64  // of Data: where it begins in the image's stream
	CRC    uint32 // CRC-32C of Bytes; set by the ring
	Via    []dev.Resource
}

// CutBefore is the flag of a Data slot that must begin a new fragment.
const CutBefore = 1

// Waits counts what bptm's log calls "waited for full buffer" and "waited for
// empty buffer".
type Waits struct {
	Full, Empty int64
}
