package catalog

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"path"
	"strings"

	"capstan/core/rt"
	"capstan/core/store"
)

// Options of a [Writer]. The zero value is right for production.
type Options struct {
	// Memory is how many bytes of entries are held before they are spooled;
	// 0 is 64 MiB. A merge needs about 16 MiB beside it.
	Memory int
	// Block is the size of a data block before compression, in bytes; 0 is 16 KiB.
	// A smaller one makes single look-ups cheaper and the file larger.
	Block int
}

const (
	defaultMemory = 64 << 20
	defaultBlock  = 16 << 10
	maxBlock      = 1 << 20
	entriesABlock = 1024 // at which the writer closes a block
	partSuffix    = ".part"
	runSuffix     = ".run"
	seenMemory    = 8 << 20 // bytes for the directories whose parents need not be implied again
)

// Writer makes a files file: entries are added in the order of the archive, and
// sorted and sealed at the end. Until then nothing is under the file's name. One
// task uses it.
type Writer struct {
	dir  store.Dir
	name string
	opt  Options
	seq  uint64 // of the last entry added, from 1; 0 is an implied directory's
	mem  rowBuffer
	runs []*run
	made int             // runs made so far: numbers their files
	seen map[string]bool // directories that have an entry, implied or not
	kept int             // bytes of seen, about
	err  error           // why no more can be done
}

// Create begins a files file. What a crash left of an earlier attempt is removed.
func Create(ctx context.Context, d store.Dir, name string, opt Options) (*Writer, error) {
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
	if err := Abandon(ctx, d, name); err != nil {
		return nil, err
	}
	return &Writer{dir: d, name: name, opt: opt, seen: map[string]bool{}}, nil
}

var errEnded = errors.New("the writer was sealed or aborted")

// Add adds entries. Of several entries of one path the last one counts. An entry
// that [ParseEntry] would refuse is an error and adds nothing of entries.
func (w *Writer) Add(ctx context.Context, entries []Entry) error {
	if w.err != nil {
		return fmt.Errorf("files file %s: %w", w.name, w.err)
	}
	for i := range entries {
		if err := entries[i].check(); err != nil {
			return fmt.Errorf("files file %s: add: %w", w.name, err)
		}
		if entries[i].Implied() {
			return fmt.Errorf("files file %s: add: %.200q has no offset", w.name, entries[i].Path)
		}
	}
	for i := range entries {
		w.imply(entries[i].Path)
		w.seq++
		w.mem.add(w.seq, &entries[i])
		if w.mem.size() < w.opt.Memory {
			continue
		}
		if err := w.spool(ctx); err != nil {
			w.err = err
			return fmt.Errorf("files file %s: %w", w.name, err)
		}
	}
	return nil
}

// imply adds the parents of path that may have no entry of their own. Sorting
// brings them beside the entries that do exist, which then win.
func (w *Writer) imply(path string) {
	dir, _ := split(path)
	for path != "/" && !w.seen[dir] {
		if w.kept += len(dir) + rowCost; w.kept > seenMemory {
			clear(w.seen) // they are implied again, at the price of some sorting
			w.kept = len(dir) + rowCost
		}
		w.seen[dir] = true
		path = dir
		if path == "" {
			path = "/"
		}
		e := impliedDir(path)
		w.mem.add(0, &e)
		dir, _ = split(path)
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
	sum, rows, err := w.write(ctx)
	if err == nil {
		err = w.verify(ctx, sum, rows)
	}
	if err == nil {
		err = w.publish(ctx)
	}
	if err == nil {
		err = w.removeRuns(ctx)
	}
	if err != nil {
		return Summary{}, fmt.Errorf("seal files file %s: %w", w.name, err)
	}
	w.release()
	return sum, nil
}

// publish gives the file its name. A name that may not survive a crash is taken
// back: the caller is told that there is no file.
func (w *Writer) publish(ctx context.Context) error {
	if err := w.dir.Rename(ctx, w.name+partSuffix, w.name); err != nil {
		return err
	}
	err := w.dir.Sync(ctx, parent(w.name))
	if err != nil {
		err = errors.Join(err, w.dir.Remove(rt.WithoutCancel(ctx), w.name))
	}
	return err
}

// write writes the sorted entries to the temporary file and syncs it.
func (w *Writer) write(ctx context.Context) (Summary, rowSum, error) {
	var sum Summary
	var rows rowSum
	f, err := w.dir.Create(ctx, w.name+partSuffix)
	if err != nil {
		return sum, rows, err
	}
	out := newFileWriter(f, w.opt.Block)
	err = w.merge(ctx, w.runs, true, func(r *row) error {
		e, _, err := ParseEntry(r.body)
		if err != nil {
			return fmt.Errorf("spool: %w", err)
		}
		sum.add(&e)
		rows.add(r.body)
		return out.add(&e)
	})
	if err == nil {
		err = out.finish(sum)
	}
	if err == nil {
		err = f.Sync()
	}
	return sum, rows, errors.Join(err, f.Close())
}

func (w *Writer) verify(ctx context.Context, sum Summary, rows rowSum) error {
	r, err := Open(ctx, w.dir, w.name+partSuffix, nil)
	if err != nil {
		return fmt.Errorf("verify: %w", err)
	}
	got, err := r.verify(ctx)
	if err == nil && (got != rows || r.Summary() != sum) {
		err = errors.New("what was read is not what was written")
	}
	if err := errors.Join(err, r.Close()); err != nil {
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
	for _, r := range w.runs {
		if err := r.file.Close(); err != nil {
			return fmt.Errorf("abort files file %s: %w", w.name, err)
		}
	}
	w.release()
	return Abandon(rt.WithoutCancel(ctx), w.dir, w.name)
}

func (w *Writer) release() {
	w.err, w.mem, w.runs, w.seen = errEnded, rowBuffer{}, nil, nil
}

func (w *Writer) removeRuns(ctx context.Context) error {
	var errs error
	for _, r := range w.runs {
		errs = errors.Join(errs, r.file.Close(), w.dir.Remove(ctx, r.name))
	}
	w.runs = nil
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
		if full != name+partSuffix && !isRun(full, name) {
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

// rowSum is a checksum over rows in order.
type rowSum struct {
	n   int64
	crc uint32
}

// add adds the row of an entry, as AppendEntry writes it.
func (s *rowSum) add(row []byte) {
	s.n++
	s.crc = crc32.Update(s.crc, castagnoli, row)
}
