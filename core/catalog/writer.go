package catalog

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"capstan/core/rt"
	"capstan/core/store"
)

// Options of a [Writer]. The zero value is right for production.
type Options struct {
	// Memory is how many bytes of entries are held before they are spooled;
	// 0 is 16 MiB. Sorting takes about 40 MiB beside it: a writer of ten million
	// shuffled entries took 55 in all (docs/benchmarks.md).
	Memory int
	// Block is the size of a data block before compression, in bytes; 0 is 8 KiB.
	// A smaller one makes single look-ups cheaper and the file larger.
	Block int
}

const (
	defaultMemory = 16 << 20
	defaultBlock  = 8 << 10
	maxBlock      = 1 << 20
	entriesABlock = 1024 // at which the writer closes a block
	runSuffix     = ".run"
	seenMemory    = 12 << 20 // bytes for the directories whose parents need not be implied again
	dirCost       = 80       // bytes of each beside its name, about
)

// Writer makes a files file: entries are added in any order, sorted, and sealed at
// the end. Until then nothing is under the file's name. One task uses it.
//
// Entries that come in the order of the file go straight into a file that may
// become the sealed one; the others are sorted beside it and merged at the end.
type Writer struct {
	dir    store.Dir
	name   string
	opt    Options
	direct *run // of entries that came in order; nil before the first
	mem    rowBuffer
	runs   []*run          // of the others, in the order of addition
	made   int             // runs made so far: numbers their files
	last   string          // directory of the last entry added, which has an entry
	any    bool            // there is one
	seen   map[string]bool // directories that have an entry, implied or not: something in it has one, too
	kept   int             // bytes of seen, about
	err    error           // why no more can be done

	touched byte // of no meaning
}

// Create begins a files file. What a crash may have left of an earlier attempt is for
// [Abandon], and does no harm.
func Create(_ context.Context, d store.Dir, name string, opt Options) (*Writer, error) {
	if err := store.CheckName(name); err != nil {
		return nil, fmt.Errorf("create files file: %w", err)
	}
	if opt.Memory <= 0 {
		opt.Memory = defaultMemory
	}
	if opt.Block <= 0 {
		opt.Block = defaultBlock
	}
	opt.Block = min(opt.Block, maxBlock)
	return &Writer{dir: d, name: name, opt: opt, seen: map[string]bool{}}, nil
}

var errEnded = errors.New("the writer was sealed or aborted")

// Add adds entries. Of several entries of one path the last one counts. An entry
// that no walk of a file tree gives is an error and adds nothing of entries.
func (w *Writer) Add(ctx context.Context, entries []Entry) error {
	if w.err != nil {
		return fmt.Errorf("files file %s: %w", w.name, w.err)
	}
	for i := range entries {
		if i%fetched == 0 {
			w.fetch(entries[i:min(i+fetched, len(entries))])
		}
		if err := entries[i].check(); err != nil {
			return fmt.Errorf("files file %s: add: %w", w.name, err)
		}
		if entries[i].Implied() {
			return fmt.Errorf("files file %s: add: %.200q has no offset", w.name, entries[i].Path)
		}
	}
	for i := range entries {
		if err := w.addOne(ctx, &entries[i]); err != nil {
			w.err = err
			return fmt.Errorf("files file %s: %w", w.name, err)
		}
	}
	return nil
}

// fetch reads a byte of some paths: of a shuffled list none is near the one before.
// See blockReader.fetch.
func (w *Writer) fetch(entries []Entry) {
	for i := range entries {
		if p := entries[i].Path; p != "" {
			w.touched |= p[0]
		}
	}
}

func (w *Writer) addOne(ctx context.Context, e *Entry) error {
	if w.direct != nil && w.direct.out == nil { // what entries imply is told when they are sorted
		return w.put(ctx, e)
	}
	for _, p := range w.parents(e.Path) {
		parent := impliedDir(p)
		if err := w.put(ctx, &parent); err != nil {
			return err
		}
	}
	if err := w.put(ctx, e); err != nil {
		return err
	}
	w.last, w.any = e.Path[:strings.LastIndexByte(e.Path, '/')], true
	if e.Type == Directory {
		w.seeDir(e.Path)
	}
	return nil
}

// put adds one entry to those that came in order, or to the others: after the first
// that is out of order all are sorted.
func (w *Writer) put(ctx context.Context, e *Entry) (err error) {
	if w.direct == nil {
		if w.direct, err = w.newWhole(ctx); err != nil {
			return err
		}
	}
	if out := w.direct.out; out != nil {
		if out.last == "" || comparePaths(out.last, e.Path) < 0 {
			return out.add(e)
		}
		out.names = nil // it will not be searched
		if err := w.direct.finish(); err != nil {
			return err
		}
	}
	if w.mem.add(e); w.mem.size() < w.opt.Memory {
		return nil
	}
	return w.spool(ctx)
}

// parents are those of a path that may have no entry of their own, the highest first.
// Implied ones come to stand beside the entries that do exist, which then win.
func (w *Writer) parents(path string) (parents []string) {
	for path != "/" {
		dir, _ := split(path)
		if dir == w.last && w.any {
			break
		}
		entered, ok := w.seen[dir]
		if !entered {
			w.see(dir, true)
		}
		if ok {
			break
		}
		if path = dir; path == "" {
			path = "/"
		}
		parents = append(parents, path)
	}
	slices.Reverse(parents)
	return parents
}

// seeDir notes that a directory has an entry.
func (w *Writer) seeDir(path string) {
	if _, ok := w.seen[dirKey(path)]; !ok {
		w.see(dirKey(path), false)
	}
}

// see notes that a directory has an entry, and whether something in it has. When
// there are too many, those are forgotten that have: what comes in order does not
// come back to them, and what does is implied again, at the price of some sorting.
func (w *Writer) see(dir string, entered bool) {
	if _, ok := w.seen[dir]; !ok {
		w.kept += len(dir) + dirCost
	}
	w.seen[dir] = entered
	if w.kept <= seenMemory {
		return
	}
	maps.DeleteFunc(w.seen, func(d string, entered bool) bool {
		if entered {
			w.kept -= len(d) + dirCost
		}
		return entered
	})
	if w.kept > seenMemory/2 {
		clear(w.seen)
		w.kept = 0
	}
}

// Seal sorts the entries, writes the file, reads it again and compares, and
// gives it its name. When it returns nil the file is durable. After an error
// there is no file; call Abort to remove what was spooled.
func (w *Writer) Seal(ctx context.Context) (Summary, error) {
	if w.err != nil {
		return Summary{}, fmt.Errorf("files file %s: %w", w.name, w.err)
	}
	w.err = errEnded
	sum, err := w.seal(ctx)
	if err != nil {
		return Summary{}, fmt.Errorf("seal files file %s: %w", w.name, err)
	}
	w.release()
	return sum, nil
}

func (w *Writer) seal(ctx context.Context) (sum Summary, err error) {
	if w.direct == nil { // of nothing
		if w.direct, err = w.newWhole(ctx); err != nil {
			return sum, err
		}
	}
	if w.direct.out == nil { // not all came in order
		if err := w.mergeAll(ctx); err != nil {
			return sum, err
		}
	}
	r := w.direct
	out := r.out
	if err := errors.Join(r.finish(), r.file.Sync()); err != nil {
		return sum, err
	}
	if err := w.verify(ctx, r, out.sum, out.rows); err != nil {
		return sum, err
	}
	if err := r.close(); err != nil {
		return sum, err
	}
	w.direct = nil
	return out.sum, w.publish(ctx, r.name)
}

// publish gives the file its name. A name that may not survive a crash is taken
// back: the caller is told that there is no file.
func (w *Writer) publish(ctx context.Context, part string) error {
	if err := w.dir.Rename(ctx, part, w.name); err != nil {
		return err
	}
	err := w.dir.Sync(ctx, parent(w.name))
	if err != nil {
		err = errors.Join(err, w.dir.Remove(rt.WithoutCancel(ctx), w.name))
	}
	return err
}

// verify reads a run again and compares it with what was written.
func (w *Writer) verify(ctx context.Context, run *run, sum Summary, rows rowSum) error {
	cache := NewCache(ctx, privateCache)
	r, err := newReader(ctx, stored{run.file}, run.name, cache)
	if err == nil {
		var got rowSum
		got, err = r.verify(ctx)
		if err == nil && (got != rows || r.Summary() != sum) {
			err = errors.New("what was read is not what was written")
		}
	}
	if err != nil {
		return fmt.Errorf("verify: %w", err)
	}
	return nil
}

// Abort removes everything that was written. It does nothing after a Seal that
// succeeded.
func (w *Writer) Abort(ctx context.Context) error {
	if w.seen == nil {
		return nil // released
	}
	runs := w.runs
	if w.direct != nil {
		runs = append(runs, w.direct)
	}
	for _, r := range runs {
		if err := r.close(); err != nil {
			return fmt.Errorf("abort files file %s: %w", w.name, err)
		}
	}
	w.release()
	return Abandon(rt.WithoutCancel(ctx), w.dir, w.name)
}

func (w *Writer) release() {
	w.err, w.mem, w.runs, w.direct, w.seen = errEnded, rowBuffer{}, nil, nil, nil
}

func (w *Writer) remove(ctx context.Context, runs ...*run) (errs error) {
	for _, r := range runs {
		errs = errors.Join(errs, r.close(), w.dir.Remove(ctx, r.name))
	}
	return errs
}

// Abandon removes what a crash left of a writer of name; a sealed file stays.
func Abandon(ctx context.Context, d store.Dir, name string) error {
	dir := parent(name)
	names, err := d.List(ctx, dir)
	if err != nil {
		return fmt.Errorf("abandon files file %s: %w", name, err)
	}
	removed := false
	for _, n := range names {
		full := path.Join(dir, n)
		if !isRun(full, name) {
			continue
		}
		if err := d.Remove(ctx, full); err != nil {
			return fmt.Errorf("abandon files file %s: %w", name, err)
		}
		removed = true
	}
	if !removed {
		return nil
	}
	return d.Sync(ctx, dir)
}

func runName(name string, n int) string { return fmt.Sprintf("%s%s%d", name, runSuffix, n) }

func isRun(file, name string) bool {
	n, ok := strings.CutPrefix(file, name+runSuffix)
	return ok && n != "" && strings.Trim(n, "0123456789") == ""
}

// parent is the directory of a name in a [store.Dir]; "" is the top.
func parent(name string) string {
	if i := strings.LastIndexByte(name, '/'); i >= 0 {
		return name[:i]
	}
	return ""
}
