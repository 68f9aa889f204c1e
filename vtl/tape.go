package vtl

import (
	"context"
	"fmt"
)

// tape is the content of a cartridge: an index, and a body that holds what the
// index finds. It is used by one task at a time, which runs a command of the drive
// that has it loaded.
type tape struct {
	index
	body body
	// durable is the number of objects that survive a loss of power.
	durable int64
	// broken is why the body cannot be trusted any more: what a failed sync or cut
	// left is not known, and a later sync that succeeds proves nothing. Only a new
	// load, which reads the body again, ends it.
	broken error
}

// body holds the bytes of a tape's records.
type body interface {
	// hollow tells whether hollow objects may be indexed over it.
	hollow() bool
	stride(kind objectKind, size int64) int64
	readBlock(off int64, p []byte) error
	writeBlock(off int64, kind objectKind, p []byte) error
	writeMarks(off int64, n int64) error
	// cut makes it durable that the body ends at off, where an older one ended later.
	cut(ctx context.Context, off int64) error
	// sync makes the body durable up to off, its end.
	sync(ctx context.Context, off int64) error
	close() error
}

// newTape makes one of data that compresses by ratio, in hundredths.
func newTape(b body, ratio int64) *tape {
	t := &tape{body: b}
	t.index.stride, t.index.ratio = b.stride, ratio
	return t
}

// truncate makes an object the end of data, before something is written there.
func (t *tape) truncate(ctx context.Context, object int64) error {
	if t.broken != nil || object >= t.end() {
		return t.broken
	}
	t.durable = min(t.durable, object)
	if err := t.body.cut(ctx, t.before(object).off); err != nil {
		t.broken = err
		return err
	}
	t.index.cut(object)
	return nil
}

// write appends a block.
func (t *tape) write(kind objectKind, p []byte) error {
	if err := t.body.writeBlock(t.before(t.end()).off, kind, p); err != nil {
		return err
	}
	return t.add(kind, int64(len(p)), 1)
}

// writeMarks appends filemarks.
func (t *tape) writeMarks(n int64) error {
	if err := t.body.writeMarks(t.before(t.end()).off, n); err != nil {
		return err
	}
	return t.add(markObject, 0, n)
}

// writeHollow appends n bytes in blocks of size, the last one maybe shorter.
func (t *tape) writeHollow(n, size int64) error {
	if whole := n / size; whole > 0 {
		if err := t.add(hollowObject, size, whole); err != nil {
			return err
		}
	}
	if rest := n % size; rest > 0 {
		return t.add(hollowObject, rest, 1)
	}
	return nil
}

// sync makes everything written durable.
func (t *tape) sync(ctx context.Context) error {
	if t.broken == nil && t.durable == t.end() {
		return nil
	}
	return t.keep(ctx)
}

// keep is sync, and has the cartridge's chip remembered too.
func (t *tape) keep(ctx context.Context) error {
	if t.broken != nil {
		return t.broken
	}
	if err := t.body.sync(ctx, t.before(t.end()).off); err != nil {
		t.broken = err
		return err
	}
	t.durable = t.end()
	return nil
}

// hollowRun is the number of objects and bytes of hollow blocks from an object
// on, in at most most bytes of whole blocks.
func (t *tape) hollowRun(object, most int64) (objects, bytes int64) {
	for i := t.find(object); i >= 0 && i < len(t.runs) && object < t.end(); i++ {
		r := &t.runs[i]
		if r.kind != hollowObject {
			break
		}
		left := r.first + r.count - object
		n := min(left, (most-bytes)/r.size)
		objects += n
		bytes += n * r.size
		object += n
		if n < left {
			break
		}
	}
	return objects, bytes
}

// onlyMarks tells whether nothing but filemarks comes from an object on: a WORM
// cartridge lets its last filemarks be overwritten, or nothing could be appended
// to a tape that was closed with two.
func (t *tape) onlyMarks(object int64) bool {
	for i := max(t.find(object), 0); i < len(t.runs) && object < t.end(); i++ {
		if t.runs[i].kind != markObject {
			return false
		}
	}
	return true
}

// memory is a body in memory: chunks of equal size. Behind them, up to its
// capacity, the slice keeps some that were cut, to be written again.
type memory struct{ chunks [][]byte }

const (
	chunkSize   = 1 << 20
	spareChunks = 64
)

func (m *memory) hollow() bool { return true }

func (m *memory) stride(kind objectKind, size int64) int64 {
	if kind == blockObject || kind == sealedObject {
		return size
	}
	return 0
}

func (m *memory) readBlock(off int64, p []byte) error {
	for len(p) > 0 {
		c := off / chunkSize
		if c >= int64(len(m.chunks)) {
			return fmt.Errorf("record at %d is past the cartridge's %d chunks", off, len(m.chunks))
		}
		n := copy(p, m.chunks[c][off%chunkSize:])
		p, off = p[n:], off+int64(n)
	}
	return nil
}

func (m *memory) writeBlock(off int64, _ objectKind, p []byte) error {
	for len(p) > 0 {
		c := off / chunkSize
		for c >= int64(len(m.chunks)) {
			m.grow()
		}
		n := copy(m.chunks[c][off%chunkSize:], p)
		p, off = p[n:], off+int64(n)
	}
	return nil
}

// grow adds a chunk. What a chunk held before is not read before it is written.
func (m *memory) grow() {
	n := len(m.chunks)
	if n == cap(m.chunks) {
		m.chunks = append(m.chunks, nil)
	} else {
		m.chunks = m.chunks[:n+1]
	}
	if m.chunks[n] == nil {
		m.chunks[n] = make([]byte, chunkSize)
	}
}

func (m *memory) writeMarks(int64, int64) error { return nil }

func (m *memory) cut(_ context.Context, off int64) error {
	keep := (off + chunkSize - 1) / chunkSize
	if keep < int64(len(m.chunks)) {
		all := m.chunks[:cap(m.chunks)]
		clear(all[min(keep+spareChunks, int64(len(all))):])
		m.chunks = m.chunks[:keep]
	}
	return nil
}

func (m *memory) sync(context.Context, int64) error { return nil }
func (m *memory) close() error                      { return nil }
