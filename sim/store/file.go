package store

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"sort"

	"capstan/core/store"
)

// maxExtent is where appending to an extent ends and a new one begins.
const maxExtent = 1 << 20

// sector is the unit that a disk writes whole: a torn write ends at a multiple.
const sector = 512

// extent is a range of a file that holds bytes, or is hollow. Its bytes are not
// changed, so that several versions of a file share them.
type extent struct {
	off, n int64
	data   []byte // nil if hollow
}

func (e extent) end() int64 { return e.off + e.n }

// cut is the part of e from a to b.
func (e extent) cut(a, b int64) extent {
	c := extent{off: a, n: b - a}
	if e.data != nil {
		c.data = e.data[a-e.off : b-e.off : b-e.off]
	}
	return c
}

// content is what a file holds: extents in order; between them are zeros.
type content struct {
	ext  []extent
	size int64
}

func (c *content) clone() content { return content{slices.Clone(c.ext), c.size} }

// held is the number of bytes that take up space.
func (c *content) held() int64 {
	var n int64
	for _, e := range c.ext {
		n += e.n
	}
	return n
}

// find is the index of the first extent that ends after off.
func (c *content) find(off int64) int {
	return sort.Search(len(c.ext), func(i int) bool { return c.ext[i].end() > off })
}

// clear makes a hole of [a, b).
func (c *content) clear(a, b int64) {
	i := c.find(a)
	j := i
	var keep []extent
	for ; j < len(c.ext) && c.ext[j].off < b; j++ {
		e := c.ext[j]
		if e.off < a {
			keep = append(keep, e.cut(e.off, a))
		}
		if e.end() > b {
			keep = append(keep, e.cut(b, e.end()))
		}
	}
	if j > i {
		c.ext = slices.Replace(c.ext, i, j, keep...)
	}
}

func (c *content) write(e extent) {
	if e.n == 0 {
		return
	}
	c.size = max(c.size, e.end())
	c.clear(e.off, e.end())
	i := c.find(e.off)
	if i > 0 {
		p := &c.ext[i-1]
		if p.end() == e.off && (p.data == nil) == (e.data == nil) && (e.data == nil || p.n+e.n <= maxExtent) {
			p.data = append(p.data, e.data...)
			p.n += e.n
			return
		}
	}
	c.ext = slices.Insert(c.ext, i, e)
}

func (c *content) truncate(size int64) {
	if size < c.size {
		c.clear(size, c.size)
	}
	c.size = size
}

func (c *content) readAt(p []byte, off int64) (int, error) {
	n := int(min(int64(len(p)), max(c.size-off, 0)))
	end := off + int64(n)
	clear(p[:n])
	for i := c.find(off); i < len(c.ext) && c.ext[i].off < end; i++ {
		e := c.ext[i]
		a, b := max(e.off, off), min(e.end(), end)
		if e.data == nil {
			return int(a - off), store.ErrHollow
		}
		copy(p[a-off:b-off], e.data[a-e.off:b-e.off])
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// fileOp is a change of a file that was not synced: a write, or a truncation
// to off if e.n is 0.
type fileOp struct {
	e        extent
	truncate bool
}

func (o fileOp) apply(c *content) {
	if o.truncate {
		c.truncate(o.e.off)
	} else {
		c.write(o.e)
	}
}

// torn is what of the operation reaches the disk when the host crashes before
// it is synced: all, nothing, or the beginning of it.
func (o fileOp) torn(rnd *rand.Rand) (fileOp, bool) {
	switch k := rnd.IntN(3); {
	case k == 0:
		return o, false
	case k == 1 || o.truncate || o.e.n <= sector:
		return o, true
	}
	n := rnd.Int64N(o.e.n/sector+1) * sector
	return fileOp{e: o.e.cut(o.e.off, o.e.off+n)}, n > 0
}

// inode is a file whatever its names.
type inode struct {
	now     content  // what a reader sees
	durable content  // what a crash leaves for certain
	pending []fileOp // what turns durable into now
	gone    bool     // it has no name: its bytes are not counted
}

func (n *inode) change(o fileOp) {
	o.apply(&n.now)
	n.pending = append(n.pending, o)
}

func (n *inode) sync() {
	n.durable, n.pending = n.now.clone(), nil
}

// crash leaves what was synced and, of the rest, what chance has it.
func (n *inode) crash(rnd *rand.Rand) {
	for _, o := range n.pending {
		if o, ok := o.torn(rnd); ok {
			o.apply(&n.durable)
		}
	}
	n.now, n.pending = n.durable.clone(), nil
}

// file is an open file.
type file struct {
	d      *Dir
	n      *inode
	name   string
	boot   int // of the host when it was opened
	closed bool
}

var errClosed = errors.New("the file is closed")

// begin checks that the file can be used.
func (f *file) begin(op string) error {
	if f.closed || f.boot != f.d.boot {
		return f.d.fail(op, f.name, errClosed)
	}
	return nil
}

// ReadAt implements [store.File].
func (f *file) ReadAt(p []byte, off int64) (int, error) {
	if err := f.begin("read"); err != nil {
		return 0, err
	}
	if off < 0 {
		return 0, f.d.fail("read", f.name, errors.New("negative offset"))
	}
	n, err := f.n.now.readAt(p, off)
	if err != nil && !errors.Is(err, io.EOF) {
		err = f.d.fail("read", f.name, err)
	}
	return n, err
}

// WriteAt implements [store.File].
func (f *file) WriteAt(p []byte, off int64) (int, error) {
	if err := f.begin("write"); err != nil {
		return 0, err
	}
	if err := f.write(extent{off, int64(len(p)), slices.Clone(p)}); err != nil {
		return 0, err
	}
	return len(p), nil
}

// WriteHollow implements [store.File].
func (f *file) WriteHollow(_ context.Context, off, n int64) error {
	if err := f.begin("write"); err != nil {
		return err
	}
	return f.write(extent{off: off, n: n})
}

func (f *file) write(e extent) error {
	if e.off < 0 || e.n < 0 {
		return f.d.fail("write", f.name, errors.New("negative offset or length"))
	}
	if e.n == 0 {
		return nil
	}
	more := e.n - f.n.now.overlap(e.off, e.end())
	if f.d.capacity > 0 && more > f.d.capacity-f.d.used {
		return f.d.fail("write", f.name, store.ErrNoSpace)
	}
	if !f.n.gone {
		f.d.used += more
	}
	f.n.change(fileOp{e: e})
	return nil
}

// overlap is how many bytes of [a, b) are held.
func (c *content) overlap(a, b int64) (n int64) {
	for i := c.find(a); i < len(c.ext) && c.ext[i].off < b; i++ {
		n += min(c.ext[i].end(), b) - max(c.ext[i].off, a)
	}
	return n
}

// HollowAt is how many bytes from off on are hollow: 0 where there are bytes.
func (f *file) HollowAt(off int64) int64 {
	if i := f.n.now.find(off); i < len(f.n.now.ext) {
		if e := f.n.now.ext[i]; e.off <= off && e.data == nil {
			return e.end() - off
		}
	}
	return 0
}

// Size implements [store.File].
func (f *file) Size() (int64, error) {
	if err := f.begin("size"); err != nil {
		return 0, err
	}
	return f.n.now.size, nil
}

// Truncate implements [store.File].
func (f *file) Truncate(size int64) error {
	if err := f.begin("truncate"); err != nil {
		return err
	}
	if size < 0 {
		return f.d.fail("truncate", f.name, errors.New("negative size"))
	}
	if size < f.n.now.size && !f.n.gone {
		f.d.used -= f.n.now.overlap(size, f.n.now.size)
	}
	f.n.change(fileOp{e: extent{off: size}, truncate: true})
	return nil
}

// Sync implements [store.File].
func (f *file) Sync() error {
	if err := f.begin("sync"); err != nil {
		return err
	}
	f.n.sync()
	return nil
}

// Close implements [store.File].
func (f *file) Close() error {
	if err := f.begin("close"); err != nil {
		return err
	}
	f.closed = true
	return nil
}
