package catalog

import (
	"context"
	"fmt"

	"github.com/klauspost/compress/zstd"

	"capstan/core/rt"
	"capstan/core/store"
)

// An external merge sort: entries are gathered in memory, written sorted as runs,
// and the runs merged. A run is a files file itself, larger blocks and all. A
// merge of fanIn runs of one level makes one run of the next, so that an entry is
// written once for each level and the last merge has few inputs whatever the
// number of entries.
const (
	fanIn    = 256
	runBlock = 16 << 10
)

// run is a file of sorted entries.
type run struct {
	name  string
	file  store.File
	out   *fileWriter // nil once it is finished
	level int

	closed bool
}

// close closes the run's file, once.
func (r *run) close() error {
	if r.closed {
		return nil
	}
	r.closed = true
	return r.file.Close()
}

// newRun begins a run.
func (w *Writer) newRun(ctx context.Context, coder *zstd.Encoder, block int) (*run, error) {
	w.made++
	name := runName(w.name, w.made)
	f, err := w.dir.Create(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("spool: %w", err)
	}
	return &run{name: name, file: f, out: newFileWriter(f, coder, block)}, nil
}

// finish completes the run's file; it is not durable yet.
func (r *run) finish() error {
	if r.out == nil {
		return nil
	}
	if err := r.out.finish(); err != nil {
		return fmt.Errorf("spool %s: %w", r.name, err)
	}
	r.out = nil
	return nil
}

// spool writes the entries in memory as a run, and merges runs that have become
// many.
func (w *Writer) spool(ctx context.Context) error {
	w.mem.sort()
	if err := w.mergeInto(ctx, nil, true, 0); err != nil {
		return err
	}
	w.mem.reset()
	for level := 0; ; level++ {
		// Runs stand in the order of addition, so those of a level side by side.
		n := len(w.runs)
		for n > 0 && w.runs[n-1].level == level {
			n--
		}
		same := w.runs[n:]
		if len(same) < fanIn {
			return nil
		}
		if err := w.mergeInto(ctx, same, false, level+1); err != nil {
			return err
		}
		merged := w.runs[len(w.runs)-1]
		if err := w.remove(ctx, same...); err != nil {
			return fmt.Errorf("spool: %w", err)
		}
		w.runs = append(w.runs[:n], merged)
	}
}

// mergeInto appends a run made of others, or of what is in memory, sorted.
func (w *Writer) mergeInto(ctx context.Context, from []*run, mem bool, level int) error {
	r, err := w.newRun(ctx, hasty, runBlock)
	if err != nil {
		return err
	}
	r.level = level
	w.runs = append(w.runs, r)
	if err := w.merge(ctx, from, mem, r.out.add); err != nil {
		return err
	}
	return r.finish()
}

// source gives entries in order: of a run, or of memory.
type source struct {
	entry Entry
	order int // the greater counts, of two entries of one path
	it    *iterator
	mem   *rowBuffer
	next  int // row of mem
}

// advance moves to the next entry; ok is false at the end.
func (s *source) advance(ctx context.Context) (ok bool, err error) {
	if s.it != nil {
		ok, err = s.it.next(ctx)
		if ok {
			s.entry, err = s.it.entry()
		}
		return ok, err
	}
	if s.next == len(s.mem.rows) {
		return false, nil
	}
	c := cursor{b: s.mem.arena[s.mem.rows[s.next].at:]}
	s.entry = c.entry()
	s.next++
	return c.err == nil, c.err
}

// sources is a heap, the lowest path first.
type sources []*source

func (h sources) less(i, j int) bool {
	if c := comparePaths(h[i].entry.Path, h[j].entry.Path); c != 0 {
		return c < 0
	}
	return h[i].order < h[j].order
}

func (h sources) heapify() {
	for i := len(h)/2 - 1; i >= 0; i-- {
		h.sink(i)
	}
}

// sink restores the order of the heap below i.
func (h sources) sink(i int) {
	for {
		low := 2*i + 1
		if low >= len(h) {
			return
		}
		if low+1 < len(h) && h.less(low+1, low) {
			low++
		}
		if !h.less(low, i) {
			return
		}
		h[i], h[low] = h[low], h[i]
		i = low
	}
}

// pop moves the first source on, or drops it at its end.
func (h *sources) pop(ctx context.Context) error {
	old := *h
	ok, err := old[0].advance(ctx)
	if err != nil {
		return err
	}
	if !ok {
		old[0] = old[len(old)-1]
		*h = old[:len(old)-1]
	}
	h.sink(0)
	return nil
}

// merge calls fn for the entries of runs, and of memory if mem is set, in order:
// once for each path, with the entry that counts, which is the last one added that
// is not implied. The entry is fn's until it returns.
func (w *Writer) merge(ctx context.Context, runs []*run, mem bool, fn func(*Entry) error) error {
	h, err := w.sources(ctx, runs, mem)
	if err != nil {
		return err
	}
	for n := 0; len(h) > 0; n++ {
		if n%4096 == 0 && ctx.Err() != nil {
			return rt.Cause(ctx)
		}
		held := h[0].entry
		if err := h.pop(ctx); err != nil {
			return err
		}
		for len(h) > 0 && h[0].entry.Path == held.Path {
			if e := &h[0].entry; !e.Implied() || held.Implied() {
				held = *e
			}
			if err := h.pop(ctx); err != nil {
				return err
			}
		}
		if err := fn(&held); err != nil {
			return err
		}
	}
	return nil
}

func (w *Writer) sources(ctx context.Context, runs []*run, mem bool) (h sources, err error) {
	cache := NewCache(ctx, 0) // no block is read twice
	for i, r := range runs {
		rd, err := newReader(ctx, stored{r.file}, r.name, cache)
		if err != nil {
			return nil, fmt.Errorf("spool: %w", err)
		}
		it, ok, err := rd.seek(ctx, "", "")
		if err != nil {
			return nil, fmt.Errorf("spool: %w", err)
		}
		if !ok {
			continue
		}
		e, err := it.entry()
		if err != nil {
			return nil, fmt.Errorf("spool: %w", err)
		}
		h = append(h, &source{entry: e, order: i, it: it})
	}
	if s := (&source{mem: &w.mem, order: len(runs)}); mem {
		ok, err := s.advance(ctx)
		if err != nil {
			return nil, err
		}
		if ok {
			h = append(h, s)
		}
	}
	h.heapify()
	return h, nil
}
