package catalog

import (
	"context"
	"fmt"
	"slices"
)

// Find calls fn for the files that a pattern is of, in order and after a path (""
// is from the first), until it returns false. It looks at no more than about budget
// entries (0 is all), and tells how many those were: next is the path to go on after,
// "" at the end. What is [Gone] is found only if the pattern is that one path.
func (r *Reader) Find(ctx context.Context, p *Pattern, after string, budget int, fn func(Entry) (more bool, err error)) (next string, seen int, err error) {
	if after != "" {
		if err := checkKey(after); err != nil {
			return "", 0, fmt.Errorf("files file %s: find: %w", r.name, err)
		}
	}
	if p.Exact() {
		e, ok, err := r.find(ctx, p.text)
		if !ok && err == nil && r.foot.sum.Gone > 0 {
			e, ok, err = r.goneAbove(ctx, p.text)
		}
		if ok && after == "" && !e.Implied() {
			_, err = fn(e)
		}
		return "", 1, err
	}
	s := search{r: r, p: p, after: after, budget: budget, fn: fn}
	spans, err := s.spans(ctx)
	if err != nil {
		return "", 0, err
	}
	for _, sp := range spans {
		if more, err := s.look(ctx, sp); !more || err != nil {
			return s.after, s.seen, err
		}
	}
	return "", s.seen, nil
}

// goneAbove tells whether a path is gone with a directory that it was in.
func (r *Reader) goneAbove(ctx context.Context, path string) (e Entry, ok bool, err error) {
	for dir, _ := split(path); dir != ""; dir, _ = split(dir) {
		for _, at := range [...]string{dir, dir + "/"} {
			if e, ok, err = r.find(ctx, at); ok && e.Type == Gone || err != nil {
				e.Path = path
				return e, ok, err
			}
		}
	}
	return Entry{}, false, nil
}

// search is one Find.
type search struct {
	r      *Reader
	p      *Pattern
	after  string // the last path that was looked at
	budget int
	seen   int
	fn     func(Entry) (bool, error)
}

// span is a part of a file: from a path to the one that begins the next part.
type span struct{ from, to string }

// spans are the parts in which the pattern may be found.
func (s *search) spans(ctx context.Context) ([]span, error) {
	segs, err := s.r.segments(ctx)
	if err != nil {
		return nil, err
	}
	var spans []span
	for i, seg := range segs {
		end := ""
		if i+1 < len(segs) {
			end = segs[i+1].firsts[0]
		}
		bits, err := s.r.groups(ctx, seg, s.p)
		if err != nil {
			return nil, err
		}
		for g, first := range seg.firsts {
			if bits != nil && bits[g/8]>>(g%8)&1 == 0 {
				continue
			}
			to := end
			if g+1 < len(seg.firsts) {
				to = seg.firsts[g+1]
			}
			if n := len(spans); n > 0 && spans[n-1].to == first {
				spans[n-1].to = to
			} else {
				spans = append(spans, span{first, to})
			}
		}
	}
	if len(segs) == 0 {
		spans = append(spans, span{})
	}
	return spans, nil
}

// look looks through one span.
func (s *search) look(ctx context.Context, sp span) (more bool, err error) {
	from := sp.from
	if s.after != "" && (from == "" || comparePaths(s.after, from) > 0) {
		from = s.after
	}
	dir, name := "", ""
	if from != "" {
		dir, name = split(from)
	}
	if compareDirs(dir, s.p.top) < 0 {
		dir, name = s.p.top, ""
	}
	toDir, toName := "", ""
	if sp.to != "" {
		toDir, toName = split(sp.to)
	}
	afterDir, afterName := "", ""
	if s.after != "" {
		afterDir, afterName = split(s.after)
	}
	it, ok, err := s.r.seek(ctx, dir, name)
	for ; ok && err == nil; ok, err = it.next(ctx) {
		b := &it.block
		if sp.to != "" && compare(b.dir, b.name, toDir, toName) >= 0 {
			return true, nil
		}
		if !within(b.dir, s.p.top) {
			return false, s.end()
		}
		if s.after != "" && string(b.name) == afterName && string(b.dir) == afterDir {
			continue
		}
		s.seen++
		if s.p.matches(b.dir, b.name) {
			if more, err := s.found(it); !more || err != nil {
				return false, err
			}
		}
		if s.budget > 0 && s.seen >= s.budget {
			s.after = b.fullPath()
			return false, nil
		}
	}
	return err == nil, err
}

// found is told of an entry that matches.
func (s *search) found(it *iterator) (more bool, err error) {
	e, err := it.entry()
	if err != nil || e.Type == Gone || e.Implied() {
		return true, err
	}
	s.after = e.Path
	return s.fn(e)
}

// end says that nothing follows.
func (s *search) end() error {
	s.after = ""
	return nil
}

// segments are those of the index of names, in order.
func (r *Reader) segments(ctx context.Context) (segs []*segment, err error) {
	for at := r.foot.names; at.length != 0; {
		b, err := r.raw(ctx, at, kindNames)
		if err != nil {
			return nil, err
		}
		seg, err := parseSegment(b.raw, r.foot.size)
		if err == nil && seg.before.length != 0 && seg.before.offset >= at.offset {
			err = fmt.Errorf("a segment of the index of names before which comes one at %d", seg.before.offset)
		}
		if err == nil && len(segs) > 0 && comparePaths(seg.firsts[len(seg.firsts)-1], segs[len(segs)-1].firsts[0]) >= 0 {
			err = fmt.Errorf("segments of the index of names are out of order")
		}
		if err != nil {
			return nil, &DamageError{r.name, at.offset, err}
		}
		segs = append(segs, seg)
		at = seg.before
	}
	slices.Reverse(segs)
	return segs, nil
}

// groups tells, a bit for each group of a segment, whether the pattern may be found
// in it; nil is in all.
func (r *Reader) groups(ctx context.Context, seg *segment, p *Pattern) (bits []byte, err error) {
	rows := chunkRows(width(len(seg.firsts)))
	p.trigrams(func(h uint32) {
		if err != nil {
			return
		}
		at := seg.chunks[int(h)/rows]
		var b *block
		if b, err = r.raw(ctx, at, kindBits); err != nil {
			return
		}
		row, rerr := seg.row(b.raw, h)
		if rerr != nil {
			err = &DamageError{r.name, at.offset, rerr}
			return
		}
		if bits == nil {
			bits = slices.Clone(row)
			return
		}
		for i := range bits {
			bits[i] &= row[i]
		}
	})
	return bits, err
}

// verifyNames reads all of the index of names.
func (r *Reader) verifyNames(ctx context.Context) error {
	segs, err := r.segments(ctx)
	if err != nil {
		return err
	}
	for _, seg := range segs {
		for _, at := range seg.chunks {
			b, err := r.raw(ctx, at, kindBits)
			if err != nil {
				return err
			}
			if _, err := seg.row(b.raw, 0); err != nil {
				return &DamageError{r.name, at.offset, err}
			}
		}
	}
	return nil
}
