package catalog

import (
	"context"
	"errors"
	"fmt"
	"io"

	"capstan/core/rt"
	"capstan/core/store"
)

// DamageError says that a files file is not what was written.
type DamageError struct {
	Name   string // of the file
	Offset int64  // of the block
	Err    error
}

func (e *DamageError) Error() string {
	return fmt.Sprintf("files file %s is damaged at byte %d: %v: restore it from a backup of the catalog, or import the image from its media", e.Name, e.Offset, e.Err)
}

func (e *DamageError) Unwrap() error { return e.Err }

// Reader reads a sealed files file. Tasks may share it.
type Reader struct {
	name  string
	file  File
	cache *Cache
	kept  *shelf // in the cache
	foot  *footer

	lock   rt.Lock
	spare  []*iterator // of look-ups that have ended
	framed []byte      // for the next block that is read
}

// maxFramed is the longest block whose memory is kept for the next.
const maxFramed = 64 << 10

// privateCache is the limit of the cache of a reader that was given none.
const privateCache = 4 << 20

// Open opens a sealed file. Blocks are kept in cache; nil gives the reader a
// small one of its own. A damaged file gives a [DamageError].
func Open(ctx context.Context, d store.Dir, name string, cache *Cache) (*Reader, error) {
	f, err := d.Open(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("open files file %s: %w", name, err)
	}
	return OpenFile(ctx, stored{f}, name, cache)
}

// OpenFile is Open for a file that lies anywhere, and that errors call name. The
// reader closes f; so does OpenFile when it fails.
func OpenFile(ctx context.Context, f File, name string, cache *Cache) (*Reader, error) {
	if cache == nil {
		cache = NewCache(ctx, privateCache)
	}
	r, err := newReader(ctx, f, name, cache)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return r, nil
}

func newReader(ctx context.Context, f File, name string, cache *Cache) (*Reader, error) {
	r := &Reader{name: name, file: f, cache: cache, kept: &shelf{map[int64]*block{}}, lock: rt.NewLock(ctx)}
	return r, r.open(ctx)
}

func (r *Reader) open(ctx context.Context) (err error) {
	size, err := r.file.Size(ctx)
	if err != nil {
		return fmt.Errorf("files file %s: %w", r.name, err)
	}
	if size < headerLen+footerLen {
		return &DamageError{r.name, 0, fmt.Errorf("it has %d bytes: it was cut short", size)}
	}
	head, err := r.read(ctx, 0, headerLen)
	if err != nil {
		return err
	}
	if err := checkHeader(head); err != nil {
		return &DamageError{r.name, 0, err}
	}
	foot, err := r.read(ctx, size-footerLen, footerLen)
	if err != nil {
		return err
	}
	if r.foot, err = parseFooter(foot, size); err != nil {
		return &DamageError{r.name, size - footerLen, err}
	}
	return nil
}

// Close closes the file and forgets its blocks.
func (r *Reader) Close() error {
	r.cache.forget(r.kept)
	return r.file.Close()
}

// Summary is what the files amount to.
func (r *Reader) Summary() Summary { return r.foot.sum }

func (r *Reader) read(ctx context.Context, offset, n int64) ([]byte, error) {
	b := make([]byte, n)
	return b, r.readInto(ctx, b, offset)
}

func (r *Reader) readInto(ctx context.Context, b []byte, offset int64) error {
	got, err := r.file.ReadAt(ctx, b, offset)
	if got == len(b) {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		return &DamageError{r.name, offset, fmt.Errorf("%d of %d bytes can be read", got, len(b))}
	}
	return fmt.Errorf("files file %s: read %d bytes at %d: %w", r.name, len(b), offset, err)
}

// buffer gives memory for a block as it is in the file, until reuse.
func (r *Reader) buffer(n int64) []byte {
	r.lock.Lock()
	defer r.lock.Unlock()
	b := r.framed
	if r.framed = nil; int64(cap(b)) < n {
		b = make([]byte, n)
	}
	return b[:n]
}

func (r *Reader) reuse(b []byte) {
	r.lock.Lock()
	defer r.lock.Unlock()
	if len(b) <= maxFramed {
		r.framed = b
	}
}

// block gives the block at at; level 0 is a data block.
func (r *Reader) block(ctx context.Context, at ref, level int) (*block, error) {
	kind := kindIndex
	if level == 0 {
		kind = kindData
	}
	b, err := r.raw(ctx, at, kind)
	if err != nil || level == 0 || b.index != nil {
		return b, err
	}
	refs, err := decodeIndex(b.raw, level, r.foot.size)
	if err != nil {
		return nil, &DamageError{r.name, at.offset, err}
	}
	b = &block{on: r.kept, offset: at.offset, kind: kind, index: newIndex(refs)}
	r.cache.put(b)
	return b, nil
}

// minMarked is the shortest block that is worth marks, in bytes.
const minMarked = 1 << 10

// marked is block for who begins somewhere in it, as each walk and look-up may.
func (r *Reader) marked(ctx context.Context, at ref) (*block, error) {
	b := r.cache.get(r.kept, at.offset)
	if b == nil || b.kind != kindData {
		return r.block(ctx, at, 0)
	}
	if b.marks != nil || len(b.raw) < minMarked {
		return b, nil
	}
	again := &block{on: r.kept, offset: at.offset, kind: kindData}
	again.raw, again.marks = marked(b.raw)
	r.cache.replace(again)
	return again, nil
}

// raw gives a block of a kind, as it was before compression.
func (r *Reader) raw(ctx context.Context, at ref, kind byte) (*block, error) {
	if b := r.cache.get(r.kept, at.offset); b != nil && b.kind == kind {
		return b, nil
	}
	framed := r.buffer(at.length)
	defer r.reuse(framed)
	if err := r.readInto(ctx, framed, at.offset); err != nil {
		return nil, err
	}
	raw, err := parseFrame(framed, kind, at.offset)
	if err != nil {
		return nil, &DamageError{r.name, at.offset, err}
	}
	b := &block{on: r.kept, offset: at.offset, kind: kind, raw: raw}
	if kind != kindIndex { // of those the references are kept
		r.cache.put(b)
	}
	return b, nil
}

// child gives the index block that another one refers to, or the root.
func (r *Reader) child(ctx context.Context, at ref, level int) (*block, error) {
	b, err := r.block(ctx, at, level)
	if err == nil && at.first != "" && b.index.refs[0].first != at.first {
		err = &DamageError{r.name, at.offset, fmt.Errorf("the block begins with %.200q, its index says %.200q", b.index.refs[0].first, at.first)}
	}
	return b, err
}

// dirKey is the dir part of a directory's children.
func dirKey(path string) string {
	if path == "/" {
		return ""
	}
	return path
}

// List gives the children of a directory in byte order of their names, at most
// limit (0 is all), and only those after a name ("" is from the first). It costs
// what that directory costs. Parents that the image does not hold are listed
// too: see [Entry.Implied]. A path that is no directory has no children.
func (r *Reader) List(ctx context.Context, dir, after string, limit int) ([]Entry, error) {
	if err := checkPath(dir); err != nil {
		return nil, fmt.Errorf("files file %s: list: %w", r.name, err)
	}
	key := dirKey(dir)
	var list []Entry
	it, ok, err := r.seek(ctx, key, after)
	for ; ok && err == nil; ok, err = it.next(ctx) {
		b := &it.block
		if string(b.dir) != key || limit > 0 && len(list) == limit {
			break
		}
		// No name is empty but that of "/": so it is left out, and after with it.
		if string(b.name) == after {
			continue
		}
		e, err := it.entry()
		if err != nil {
			return list, err
		}
		if e.Type != Gone {
			list = append(list, e)
		}
	}
	return list, err
}

// Lookup finds the entry of a path; ok is false if there is none.
func (r *Reader) Lookup(ctx context.Context, path string) (e Entry, ok bool, err error) {
	if path == "" || path[0] != '/' {
		return e, false, fmt.Errorf("files file %s: look up: %w", r.name, checkPath(path))
	}
	e, ok, err = r.find(ctx, path)
	if err == nil && (!ok || e.Type == Gone) { // the path of any other is one
		if err := checkPath(path); err != nil {
			return e, false, fmt.Errorf("files file %s: look up: %w", r.name, err)
		}
	}
	return e, ok && e.Type != Gone, err
}

// find is Lookup that also finds what says that a file is gone.
func (r *Reader) find(ctx context.Context, path string) (e Entry, ok bool, err error) {
	dir, name := split(path)
	it := r.borrow()
	defer r.giveBack(it)
	ok, err = it.seek(ctx, dir, name)
	if !ok || err != nil || string(it.block.dir) != dir || string(it.block.name) != name {
		return e, false, err
	}
	e, err = it.entry()
	return e, err == nil, err
}

// maxSpare is how many iterators are kept: they are large.
const maxSpare = 8

func (r *Reader) borrow() *iterator {
	r.lock.Lock()
	defer r.lock.Unlock()
	n := len(r.spare)
	if n == 0 {
		return &iterator{r: r}
	}
	it := r.spare[n-1]
	r.spare = r.spare[:n-1]
	return it
}

func (r *Reader) giveBack(it *iterator) {
	r.lock.Lock()
	defer r.lock.Unlock()
	if len(r.spare) < maxSpare {
		r.spare = append(r.spare, it)
	}
}

// Walk calls fn for the entry of prefix and for everything below it, until it
// returns false: a directory's children by name, then the subtree of each child,
// the children of "/a" before those of "/a/b". Directories that the image does
// not hold are left out.
func (r *Reader) Walk(ctx context.Context, prefix string, fn func(Entry) (more bool, err error)) error {
	return r.WalkAfter(ctx, prefix, "", fn)
}

// WalkAfter is Walk that begins with the entry after a path that an earlier walk
// of the same prefix has given; "" is from the first. It costs what it gives.
func (r *Reader) WalkAfter(ctx context.Context, prefix, after string, fn func(Entry) (more bool, err error)) error {
	var v View
	v.readers = append(v.readers, r)
	return v.WalkAfter(ctx, prefix, after, func(f Found) (bool, error) { return fn(f.Entry) })
}

// Verify reads every block and compares what they hold with the summary.
func (r *Reader) Verify(ctx context.Context) error {
	_, err := r.verify(ctx)
	return err
}

// verify gives the sum of all rows, to compare with the writer's.
func (r *Reader) verify(ctx context.Context) (rows rowSum, err error) {
	var sum Summary
	it, ok, err := r.seek(ctx, "", "")
	for ; ok && err == nil; ok, err = it.next(ctx) {
		b := &it.block
		if err := it.load(); err != nil {
			return rows, err
		}
		sum.add(&b.num)
		mixEntry(&rows, b.dir, b.name, b.link, &b.num)
	}
	if err == nil {
		err = r.verifyNames(ctx)
	}
	if err == nil && sum != r.foot.sum {
		err = &DamageError{r.name, r.foot.size - footerLen, fmt.Errorf("it holds %+v where %+v were written", sum, r.foot.sum)}
	}
	return rows, err
}
