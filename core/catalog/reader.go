package catalog

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sort"

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
	file  store.File
	cache *Cache
	id    int64 // in the cache
	foot  *footer
}

// privateCache is the limit of the cache of a reader that was given none.
const privateCache = 4 << 20

// Open opens a sealed file. Blocks are kept in cache; nil gives the reader a
// small one of its own. A damaged file gives a [DamageError].
func Open(ctx context.Context, d store.Dir, name string, cache *Cache) (*Reader, error) {
	f, err := d.Open(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("open files file %s: %w", name, err)
	}
	if cache == nil {
		cache = NewCache(ctx, privateCache)
	}
	r := &Reader{name: name, file: f, cache: cache, id: cache.newReader()}
	if err := r.open(); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return r, nil
}

func (r *Reader) open() (err error) {
	size, err := r.file.Size()
	if err != nil {
		return fmt.Errorf("files file %s: %w", r.name, err)
	}
	if size < headerLen+footerLen {
		return &DamageError{r.name, 0, fmt.Errorf("it has %d bytes: it was cut short", size)}
	}
	head, err := r.read(0, headerLen)
	if err != nil {
		return err
	}
	if err := checkHeader(head); err != nil {
		return &DamageError{r.name, 0, err}
	}
	foot, err := r.read(size-footerLen, footerLen)
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
	r.cache.forget(r.id)
	return r.file.Close()
}

// Summary is what the files amount to.
func (r *Reader) Summary() Summary { return r.foot.sum }

func (r *Reader) read(offset, n int64) ([]byte, error) {
	b := make([]byte, n)
	got, err := r.file.ReadAt(b, offset)
	if got == len(b) {
		return b, nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		return nil, &DamageError{r.name, offset, fmt.Errorf("%d of %d bytes can be read", got, n)}
	}
	return nil, fmt.Errorf("files file %s: read %d bytes at %d: %w", r.name, n, offset, err)
}

// block gives the decoded block at at; level 0 is a data block.
func (r *Reader) block(at ref, level int) (*block, error) {
	key := blockKey{r.id, at.offset}
	if b := r.cache.get(key); b != nil && (b.entries != nil) == (level == 0) {
		return b, nil
	}
	framed, err := r.read(at.offset, at.length)
	if err != nil {
		return nil, err
	}
	kind := kindIndex
	if level == 0 {
		kind = kindData
	}
	b := &block{key: key}
	raw, err := parseFrame(framed, kind, at.offset)
	if err == nil {
		if level == 0 {
			b.entries, err = decodeBlock(raw)
		} else {
			b.refs, err = decodeIndex(raw, level, r.foot.size)
		}
	}
	if err == nil && at.first != "" && at.first != b.first() {
		err = fmt.Errorf("the block begins with %.200q, its index says %.200q", b.first(), at.first)
	}
	if err != nil {
		return nil, &DamageError{r.name, at.offset, err}
	}
	r.cache.put(b)
	return b, nil
}

func (b *block) first() string {
	if len(b.entries) > 0 {
		return b.entries[0].Path
	}
	return b.refs[0].first
}

// scan calls fn for the entries from (dir, name) on, in order, until it returns
// false. ctx is looked at once a block.
func (r *Reader) scan(ctx context.Context, dir, name string, fn func(e *Entry) (bool, error)) error {
	if r.foot.root.length == 0 {
		return nil
	}
	s := scanner{r: r, dir: dir, name: name, fn: fn}
	_, err := s.block(ctx, r.foot.root, r.foot.level)
	return err
}

type scanner struct {
	r         *Reader
	dir, name string
	fn        func(e *Entry) (bool, error)
	last      string // path of the entry before; "" is none
}

func (s *scanner) block(ctx context.Context, at ref, level int) (more bool, err error) {
	if ctx.Err() != nil {
		return false, rt.Cause(ctx)
	}
	b, err := s.r.block(at, level)
	if err != nil {
		return false, err
	}
	if level > 0 {
		// The first block that may hold the start is the one before the first that
		// begins after it.
		i := sort.Search(len(b.refs), func(i int) bool { return s.before(b.refs[i].first) })
		for i = max(i-1, 0); i < len(b.refs); i++ {
			if more, err := s.block(ctx, b.refs[i], level-1); !more || err != nil {
				return false, err
			}
		}
		return true, nil
	}
	i := sort.Search(len(b.entries), func(i int) bool { return s.before(b.entries[i].Path) })
	for ; i < len(b.entries); i++ {
		e := &b.entries[i]
		if s.last != "" && comparePaths(s.last, e.Path) >= 0 {
			return false, &DamageError{s.r.name, at.offset, fmt.Errorf("%.200q after %.200q is out of order", e.Path, s.last)}
		}
		s.last = e.Path
		if more, err := s.fn(e); !more || err != nil {
			return false, err
		}
	}
	return true, nil
}

// before tells whether the start is at path or before it.
func (s *scanner) before(path string) bool {
	dir, name := split(path)
	return compare(s.dir, s.name, dir, name) <= 0
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
	// No name is empty but that of "/": so it is left out, and after with it.
	var list []Entry
	err := r.scan(ctx, key, after, func(e *Entry) (bool, error) {
		d, name := split(e.Path)
		if d != key {
			return false, nil
		}
		if name != after {
			list = append(list, *e)
		}
		return limit <= 0 || len(list) < limit, nil
	})
	return list, err
}

// Lookup finds the entry of a path; ok is false if there is none.
func (r *Reader) Lookup(ctx context.Context, path string) (e Entry, ok bool, err error) {
	if err := checkPath(path); err != nil {
		return e, false, fmt.Errorf("files file %s: look up: %w", r.name, err)
	}
	dir, name := split(path)
	err = r.scan(ctx, dir, name, func(x *Entry) (bool, error) {
		if x.Path == path {
			e, ok = *x, true
		}
		return false, nil
	})
	return e, ok, err
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
	return r.walk(ctx, prefix, after, func(e *Entry) (bool, error) {
		if e.Implied() {
			return true, nil
		}
		return fn(*e)
	})
}

func (r *Reader) walk(ctx context.Context, prefix, after string, fn func(*Entry) (bool, error)) error {
	if after != "" && after != prefix {
		return r.walkBelow(ctx, prefix, after, fn)
	}
	top, ok, err := r.Lookup(ctx, prefix)
	if err != nil {
		return err
	}
	if ok && after == "" {
		if more, err := fn(&top); !more || err != nil {
			return err
		}
	}
	return r.walkBelow(ctx, prefix, "", fn)
}

// walkBelow calls fn for what is below prefix, after the path after.
func (r *Reader) walkBelow(ctx context.Context, prefix, after string, fn func(*Entry) (bool, error)) error {
	key := dirKey(prefix)
	dir, name := key, ""
	if after != "" {
		if err := checkPath(after); err != nil {
			return fmt.Errorf("files file %s: walk: %w", r.name, err)
		}
		dir, name = split(after)
	}
	return r.scan(ctx, dir, name, func(e *Entry) (bool, error) {
		dir, _ := split(e.Path)
		if e.Path == "/" || e.Path == after {
			return true, nil // told already
		}
		if !within(dir, key) {
			return false, nil
		}
		return fn(e)
	})
}

// Verify reads every block and compares what they hold with the summary.
func (r *Reader) Verify(ctx context.Context) error {
	_, err := r.verify(ctx)
	return err
}

// verify gives the sum of all rows, to compare with the writer's.
func (r *Reader) verify(ctx context.Context) (rows rowSum, err error) {
	var sum Summary
	var row []byte
	err = r.walk(ctx, "/", "", func(e *Entry) (bool, error) {
		sum.add(e)
		row = AppendEntry(row[:0], e)
		rows.add(row)
		return true, nil
	})
	if err == nil && sum != r.foot.sum {
		err = &DamageError{r.name, r.foot.size - footerLen, fmt.Errorf("it holds %+v where %+v were written", sum, r.foot.sum)}
	}
	return rows, err
}
