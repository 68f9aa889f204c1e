package ring

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"capstan/core/rt"
	"capstan/core/stream"
)

// ErrClosed is returned by a ring that this side has closed.
var ErrClosed = errors.New("the ring is closed")

// ErrDamaged says that the memory holds what no filler wrote: a wrong checksum,
// or numbers that cannot be.
var ErrDamaged = errors.New("the shared memory is damaged")

// Ring is one side of a ring. One task fills it, or one task takes from it.
type Ring struct {
	name string
	geometry

	mu     sync.RWMutex // held for reading while the memory is touched, for writing while it goes
	m      *memory
	closed chan struct{}
	once   sync.Once

	offered chan struct{} // of the side that created: closed when the offer has ended
	peer    peer

	mine  uint64 // slots that this side handed over or gave back
	held  bool   // a slot of Empty or of Full is with the caller
	waits struct{ full, empty atomic.Int64 }
}

var _ stream.Ring = (*Ring)(nil)

func newRing(name string, m *memory) *Ring {
	return &Ring{
		name: name, geometry: m.geometry, m: m, closed: make(chan struct{}),
		peer: peer{wake: make(chan struct{}, 1), here: make(chan struct{}), gone: make(chan struct{})},
	}
}

// SlotSize is the number of bytes that a slot holds.
func (r *Ring) SlotSize() int { return r.size }

// Waits is how often this side waited.
func (r *Ring) Waits() stream.Waits {
	return stream.Waits{Full: r.waits.full.Load(), Empty: r.waits.empty.Load()}
}

// Region is the shared memory: its descriptor, to be mapped by the process that
// owns a device, and this side's mapping. Both belong to the ring until Close.
func (r *Ring) Region() (fd int, mem []byte) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if r.m == nil {
		return -1, nil
	}
	return r.m.fd, r.m.mem
}

// Offset is where bytes of a slot lie in the region; ok is false if they are not
// of this ring.
func (r *Ring) Offset(p []byte) (at int64, ok bool) {
	_, mem := r.Region()
	if len(mem) == 0 || cap(p) == 0 {
		return 0, false
	}
	first := uintptr(unsafe.Pointer(unsafe.SliceData(p)))
	base := uintptr(unsafe.Pointer(unsafe.SliceData(mem)))
	if first < base || first-base > uintptr(len(mem)-len(p)) {
		return 0, false
	}
	return int64(first - base), true
}

// Empty waits for an empty slot.
func (r *Ring) Empty(ctx context.Context) ([]byte, error) {
	free := func() (bool, error) {
		select {
		case <-r.peer.gone: // what is handed over now nobody takes
			return false, stream.ErrCut
		default:
		}
		taken := r.m.u64(headAt).Load()
		if r.mine-taken > uint64(r.slots) {
			return false, r.damaged("%d slots were given back, %d handed over", taken, r.mine)
		}
		return r.mine-taken < uint64(r.slots), nil
	}
	if err := r.await(ctx, fillWaitAt, &r.waits.empty, free); err != nil {
		return nil, err
	}
	r.mu.RLock()
	defer r.mu.RUnlock()
	if r.m == nil {
		return nil, ErrClosed
	}
	r.held = true
	return r.m.data(r.mine)[:0], nil
}

// Fill hands over the slot that the last Empty gave.
func (r *Ring) Fill(_ context.Context, s stream.Slot) error {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if r.m == nil {
		return ErrClosed
	}
	if err := r.fillable(&s); err != nil {
		return fmt.Errorf("ring %s: %w", r.name, err)
	}
	h := r.m.header(r.mine)
	r.m.u32(h).Store(uint32(s.Kind) | uint32(s.Flags)<<8)
	r.m.u32(h + 4).Store(crc32.Checksum(s.Bytes, stream.Castagnoli))
	r.m.u64(h + 8).Store(uint64(len(s.Bytes)))
	r.m.u64(h + 16).Store(uint64(s.Len))
	r.m.u64(h + 24).Store(uint64(s.Offset))
	r.mine++
	r.held = false
	r.m.u64(tailAt).Store(r.mine)
	r.wakePeer(takeWaitAt)
	return nil
}

// fillable refuses what a caller must not hand over.
func (r *Ring) fillable(s *stream.Slot) error {
	switch {
	case !r.held:
		return errors.New("Fill without Empty")
	case s.Kind == 0:
		return errors.New("a slot without a kind")
	case s.Bytes == nil && s.Kind == stream.Data && s.Len != 0, len(s.Via) > 0:
		return fmt.Errorf("a hollow slot of %d bytes: shared memory carries bytes", s.Len)
	case len(s.Bytes) > r.size:
		return fmt.Errorf("%d bytes in a slot of %d", len(s.Bytes), r.size)
	case len(s.Bytes) > 0 && unsafe.SliceData(s.Bytes) != unsafe.SliceData(r.m.data(r.mine)):
		return errors.New("the bytes are not in the memory that Empty gave")
	case s.Kind == stream.Data && s.Len != int64(len(s.Bytes)):
		return fmt.Errorf("a data slot says %d bytes and holds %d", s.Len, len(s.Bytes))
	case s.Len < 0 || s.Offset < 0:
		return fmt.Errorf("a slot of length %d at offset %d", s.Len, s.Offset)
	}
	return nil
}

// Full waits for a filled slot and checks it.
func (r *Ring) Full(ctx context.Context) (stream.Slot, error) {
	filled := func() (bool, error) {
		// Who dies hands over nothing more: look for its end first, then at the
		// tail, and the tail is final if there was an end.
		gone := false
		select {
		case <-r.peer.gone:
			gone = true
		default:
		}
		tail := r.m.u64(tailAt).Load()
		switch {
		case tail-r.mine > uint64(r.slots):
			return false, r.damaged("%d slots were handed over, %d given back", tail, r.mine)
		case tail == r.mine && gone:
			return false, stream.ErrCut
		}
		return tail != r.mine, nil
	}
	if err := r.await(ctx, takeWaitAt, &r.waits.full, filled); err != nil {
		return stream.Slot{}, err
	}
	r.mu.RLock()
	defer r.mu.RUnlock()
	if r.m == nil {
		return stream.Slot{}, ErrClosed
	}
	s, err := r.read()
	r.held = err == nil
	return s, err
}

// read takes the slot at this side's count. Each word is read once, then checked.
func (r *Ring) read() (stream.Slot, error) {
	h := r.m.header(r.mine)
	slot := r.mine % uint64(r.slots)
	word, crc := r.m.u32(h).Load(), r.m.u32(h+4).Load()
	n, length, offset := r.m.u64(h+8).Load(), r.m.u64(h+16).Load(), r.m.u64(h+24).Load()
	kind, flags := word&0xff, word>>8
	if n > uint64(r.size) || length > math.MaxInt64 || offset > math.MaxInt64 || kind == 0 || flags > 0xff {
		return stream.Slot{}, r.damaged("the header of slot %d (block %d) says kind %d, flags %#x, %d bytes, length %d, offset %d",
			slot, r.mine, kind, flags, n, length, offset)
	}
	s := stream.Slot{Kind: stream.Kind(kind), Flags: uint8(flags), Len: int64(length), Offset: int64(offset), CRC: crc}
	if n > 0 {
		s.Bytes = r.m.data(r.mine)[:n]
	}
	if s.Kind == stream.Data && length != n {
		return stream.Slot{}, r.damaged("slot %d (block %d) says %d bytes of data and holds %d", slot, r.mine, length, n)
	}
	if got := crc32.Checksum(s.Bytes, stream.Castagnoli); got != crc {
		return stream.Slot{}, r.damaged("slot %d (block %d): CRC-32C %08x, %08x when it was filled", slot, r.mine, got, crc)
	}
	return s, nil
}

// Free gives the slot of the last Full back.
func (r *Ring) Free(context.Context) error {
	r.mu.RLock()
	defer r.mu.RUnlock()
	switch {
	case r.m == nil:
		return ErrClosed
	case !r.held:
		return fmt.Errorf("ring %s: Free without Full", r.name)
	}
	r.mine++
	r.held = false
	r.m.u64(headAt).Store(r.mine)
	r.wakePeer(fillWaitAt)
	return nil
}

// Close ends this side and unmaps the memory: bytes of its slots must no longer
// be touched. The other side gets [stream.ErrCut] when it has taken what was filled.
func (r *Ring) Close() error {
	var err error
	r.once.Do(func() {
		close(r.closed) // who waits returns
		if r.offered != nil {
			<-r.offered
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		err = errors.Join(r.peer.close(), r.m.close())
		r.m = nil
	})
	return err
}

func (r *Ring) damaged(format string, args ...any) error {
	return fmt.Errorf("ring %s: %w: %s", r.name, ErrDamaged, fmt.Sprintf(format, args...))
}

// await returns when ok says so: at once, or after waiting with the word at
// waitAt set.
func (r *Ring) await(ctx context.Context, waitAt int, waits *atomic.Int64, ok func() (bool, error)) error {
	rt.MayBlock(ctx)
	for first := true; ; first = false {
		if ctx.Err() != nil {
			return rt.Cause(ctx)
		}
		done, err := r.look(waitAt, ok)
		if done || err != nil {
			return err
		}
		if first {
			waits.Add(1)
		}
		select {
		case <-r.peer.wake:
		case <-r.peer.gone:
		case <-r.closed:
			return ErrClosed
		case <-ctx.Done():
		}
	}
}

// look asks ok; if it says no, sets the waiting word and asks again, for what
// came between.
func (r *Ring) look(waitAt int, ok func() (bool, error)) (bool, error) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if r.m == nil {
		return false, ErrClosed
	}
	if done, err := ok(); done || err != nil {
		return done, err
	}
	r.m.u32(waitAt).Store(1)
	done, err := ok()
	if done || err != nil {
		r.m.u32(waitAt).Store(0)
	}
	return done, err
}

// wakePeer writes the byte that the peer waits for, if it does.
func (r *Ring) wakePeer(waitAt int) {
	if r.m.u32(waitAt).Load() != 0 && r.m.u32(waitAt).Swap(0) != 0 {
		r.peer.knock()
	}
}

// peer is the connection to the other side. It carries bytes that mean "look
// again", and its end.
type peer struct {
	mu     sync.Mutex
	conn   *net.UnixConn // nil until the other side has come
	closed bool
	wake   chan struct{} // holds one when there is something to look at
	here   chan struct{} // closed when the other side has come
	gone   chan struct{} // closed when it has ended
}

// connected begins to listen to the other side. It takes conn over.
func (p *peer) connected(conn *net.UnixConn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		conn.Close()
		return
	}
	p.conn = conn
	close(p.here)
	go p.listen(conn)
	p.look() // what was filled before it came needs no byte, but a side may wait already
	// The other side has the memory since before we knew of it: it may wait already
	// for what we did then, with no connection to say so.
	p.knockLocked()
}

func (p *peer) listen(conn *net.UnixConn) {
	var b [64]byte
	for {
		if _, err := conn.Read(b[:]); err != nil {
			close(p.gone)
			return
		}
		p.look()
	}
}

func (p *peer) look() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// knock writes a byte. It does not wait: where no byte fits, many lie unread.
func (p *peer) knock() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.conn != nil { // else connected knocks
		p.knockLocked()
	}
}

func (p *peer) knockLocked() {
	raw, err := p.conn.SyscallConn()
	if err != nil {
		return // closed: listen says so
	}
	_ = raw.Write(func(fd uintptr) bool {
		for {
			err := unix.Sendto(int(fd), []byte{1}, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, nil)
			if !errors.Is(err, syscall.EINTR) {
				return true // a broken connection is listen's to tell
			}
		}
	})
}

func (p *peer) close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	if p.conn == nil {
		return nil
	}
	return p.conn.Close()
}
