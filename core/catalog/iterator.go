package catalog

import (
	"context"
	"fmt"

	"capstan/core/rt"
)

// iterator goes through the entries of a file in order. It decodes what it passes
// and makes an [Entry] only of what is asked for. One task uses it.
type iterator struct {
	r     *Reader
	key   []byte    // that was sought
	path  []indexed // the index blocks above the data block, the root first
	at    ref       // of the data block
	block blockReader
	first bool // the block's first entry is not yet compared with the index
	after bool // dir and name are those of the last entry of the block before
	dir   []byte
	name  []byte
}

// indexed is an index block and the reference that was followed.
type indexed struct {
	refs []ref
	i    int
}

// seek makes an iterator and moves it to the first entry at or after (dir, name);
// ok is false if there is none. What holds the entry is valid until next.
func (r *Reader) seek(ctx context.Context, dir, name string) (it *iterator, ok bool, err error) {
	it = &iterator{r: r}
	ok, err = it.seek(ctx, dir, name)
	return it, ok, err
}

func (it *iterator) seek(ctx context.Context, dir, name string) (ok bool, err error) {
	it.path, it.after = it.path[:0], false
	at := it.r.foot.root
	if at.length == 0 {
		return false, nil
	}
	if it.r.foot.level > 0 {
		it.key = appendKey(it.key[:0], dir, name)
	}
	for level := it.r.foot.level; level > 0; level-- {
		b, err := it.r.child(ctx, at, level)
		if err != nil {
			return false, err
		}
		i := b.index.find(it.key)
		it.path = append(it.path, indexed{b.index.refs, i})
		at = b.index.refs[i]
	}
	if err := it.enter(ctx, at); err != nil {
		return false, err
	}
	if ok, err = it.block.seek(dir, name); err != nil {
		return false, it.damaged(err)
	}
	it.first = false // it may have been passed
	if !ok {         // the first one of the next block is after the start
		return it.next(ctx)
	}
	return true, nil
}

// enter begins with a data block.
func (it *iterator) enter(ctx context.Context, at ref) error {
	if ctx.Err() != nil {
		return rt.Cause(ctx)
	}
	b, err := it.r.marked(ctx, at)
	if err != nil {
		return err
	}
	it.at, it.first = at, true
	if err := it.block.begin(b.raw, b.marks); err != nil {
		return it.damaged(err)
	}
	return nil
}

func (it *iterator) damaged(err error) error {
	return &DamageError{it.r.name, it.at.offset, err}
}

// next moves to the next entry; ok is false after the last.
func (it *iterator) next(ctx context.Context) (ok bool, err error) {
	for {
		ok, err = it.block.next()
		if err != nil {
			return false, it.damaged(err)
		}
		if ok {
			break
		}
		it.after = true
		it.dir, it.name = append(it.dir[:0], it.block.dir...), append(it.name[:0], it.block.name...)
		at, ok, err := it.nextBlock(ctx)
		if !ok || err != nil {
			return false, err
		}
		if err := it.enter(ctx, at); err != nil {
			return false, err
		}
	}
	if it.first {
		it.first = false
		return true, it.checkFirst()
	}
	return true, nil
}

// load decodes the rest of the entry that it stands at.
func (it *iterator) load() error {
	if err := it.block.load(); err != nil {
		return it.damaged(err)
	}
	return nil
}

// entry is the entry that it stands at.
func (it *iterator) entry() (Entry, error) {
	if err := it.load(); err != nil {
		return Entry{}, err
	}
	return it.block.entry(), nil
}

// checkFirst compares a block's first entry with the index and the block before.
func (it *iterator) checkFirst() error {
	b := &it.block
	if len(it.path) > 0 {
		if dir, name := split(it.at.first); string(b.dir) != dir || string(b.name) != name {
			return it.damaged(fmt.Errorf("the block begins with %.200q, its index says %.200q", b.fullPath(), it.at.first))
		}
	}
	if it.after && compare(it.dir, it.name, b.dir, b.name) >= 0 {
		return it.damaged(fmt.Errorf("%.200q after %.200q in %.200q is out of order", b.fullPath(), it.name, it.dir))
	}
	return nil
}

// nextBlock finds the data block after the current one.
func (it *iterator) nextBlock(ctx context.Context) (at ref, ok bool, err error) {
	up := len(it.path) - 1
	for ; up >= 0 && it.path[up].i+1 == len(it.path[up].refs); up-- {
	}
	if up < 0 {
		return ref{}, false, nil
	}
	it.path[up].i++
	at = it.path[up].refs[it.path[up].i]
	for up++; up < len(it.path); up++ {
		b, err := it.r.child(ctx, at, it.r.foot.level-up)
		if err != nil {
			return ref{}, false, err
		}
		it.path[up] = indexed{b.index.refs, 0}
		at = b.index.refs[0]
	}
	return at, true, nil
}

// fileSource gives the entries of a file from (dir, name) on, without rows: it stands
// at the entry whose key the input has.
type fileSource struct {
	r         *Reader
	dir, name string
	it        *iterator // nil before the first
	last      []byte    // a key that is not needed any more
}

func (s *fileSource) advance(ctx context.Context, in *input) (ok bool, err error) {
	if s.it == nil {
		s.it, ok, err = s.r.seek(ctx, s.dir, s.name)
	} else {
		ok, err = s.it.next(ctx)
	}
	if !ok || err != nil {
		return false, err
	}
	b := &s.it.block
	if b.shared >= 0 { // in the directory of the one before
		in.shared = len(b.dir) + 2 + b.shared
		in.key = append(in.key[:in.shared], b.name[b.shared:]...)
		return true, nil
	}
	in.key, s.last = appendKey(s.last[:0], b.dir, b.name), in.key
	in.shared = sharedPrefix(s.last, in.key)
	return true, nil
}
