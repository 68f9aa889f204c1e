package catalog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
)

// An external merge sort: entries are gathered in memory, written sorted as runs,
// and the runs merged. A merge of fanIn runs of one level makes one run of the next,
// so that an entry is written once for each level and the last merge has few inputs
// whatever the number of entries.
const fanIn = 256

// newRun begins a run.
func (w *Writer) newRun(ctx context.Context, level int) (*run, error) {
	w.made++
	name := runName(w.name, w.made)
	f, err := w.dir.Create(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("spool: %w", err)
	}
	return &run{name: name, file: f, level: level}, nil
}

// spool writes the entries in memory as a run, and merges runs that have become
// many. In memory there is then what they imply.
func (w *Writer) spool(ctx context.Context) error {
	w.mem.sort()
	r, err := w.newRun(ctx, 0)
	if err != nil {
		return err
	}
	w.runs = append(w.runs, r)
	implied, err := w.implyAll(r.add)
	if err == nil {
		err = r.finish()
	}
	if err != nil {
		return err
	}
	w.mem.reset()
	w.mem.append(&implied)
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
		merged, err := w.mergeRuns(ctx, same, level+1)
		if err != nil {
			return err
		}
		if err := w.remove(ctx, same...); err != nil {
			return fmt.Errorf("spool: %w", err)
		}
		w.runs = append(w.runs[:n], merged)
	}
}

// implyAll calls fn for the rows in memory, which are sorted, and gives the parents
// that may have no entry of their own. fn tells how many bytes of the key are those of
// the one before.
func (w *Writer) implyAll(fn func(key, row []byte) (shared int, err error)) (implied rowBuffer, err error) {
	same := 1 << 20 // as many bytes have the keys of the directory
	var path []byte
	for i := range w.mem.rows {
		if i%fetched == 0 {
			w.mem.fetch(i)
		}
		key, row := w.mem.get(i)
		shared, err := fn(key, row)
		if err != nil {
			return implied, err
		}
		isDir := Type(row[0]) == Directory
		if shared >= same && !isDir {
			continue
		}
		same = bytes.LastIndexByte(key, 0) + 1
		path, _ = keyPath(path[:0], key)
		if entered := w.seen[string(path[:same-2])]; !entered {
			for _, p := range w.parents(string(path)) {
				e := impliedDir(p)
				implied.add(&e)
			}
		}
		if isDir {
			w.seeDir(string(path))
		}
	}
	implied.sort()
	return implied, nil
}

func runSources(runs []*run) (all []source) {
	for _, r := range runs {
		all = append(all, &runSource{run: r})
	}
	return all
}

// mergeRuns makes one run of several.
func (w *Writer) mergeRuns(ctx context.Context, from []*run, level int) (*run, error) {
	r, err := w.newRun(ctx, level)
	if err != nil {
		return nil, err
	}
	w.runs = append(w.runs, r)
	if err := merge(ctx, runSources(from), func(key, row []byte) error { _, err := r.add(key, row); return err }); err != nil {
		return nil, err
	}
	return r, r.finish()
}

// mergeAll makes one file of all that was added, in the place of direct.
func (w *Writer) mergeAll(ctx context.Context) error {
	rd, err := newReader(ctx, stored{w.direct.file}, w.direct.name, NewCache(ctx, 0)) // no block is read twice
	if err != nil {
		return fmt.Errorf("spool: %w", err)
	}
	var implied rowBuffer
	if len(w.runs) > 0 { // what memory holds is a run, too, so that the merge has the memory
		if err := w.spool(ctx); err != nil {
			return err
		}
		implied.append(&w.mem)
		w.mem, w.seen = rowBuffer{}, map[string]bool{}
	} else {
		var last []byte
		w.mem.sort()
		if implied, err = w.implyAll(func(key, _ []byte) (int, error) {
			shared := sharedPrefix(last, key)
			last = key
			return shared, nil
		}); err != nil {
			return err
		}
	}
	sources := append([]source{&sealedRows{fileSource{r: rd}}}, runSources(w.runs)...)
	sources = append(sources, &rowSource{mem: &w.mem}, &rowSource{mem: &implied})
	old := append([]*run{w.direct}, w.runs...)
	whole, err := w.newWhole(ctx)
	if err != nil {
		return err
	}
	w.direct, w.runs = whole, old
	if err := merge(ctx, sources, whole.addRow); err != nil {
		return err
	}
	w.mem, w.runs = rowBuffer{}, nil
	return w.remove(ctx, old...)
}

// newWhole begins a run that may become the sealed file.
func (w *Writer) newWhole(ctx context.Context) (*run, error) {
	r, err := w.newRun(ctx, 0)
	if err == nil {
		r.out = newFileWriter(r.file, encoder, w.opt.Block)
		r.out.names = &names{}
	}
	return r, err
}

// addRow adds a row to a run that may become the sealed file.
func (r *run) addRow(key, row []byte) error {
	c := cursor{b: row}
	e := c.attributes()
	path, ok := keyPath(r.buf[:0], key)
	if r.buf = path; c.err != nil || !ok {
		return fmt.Errorf("spool: %w", errors.Join(errors.New("a row that no entry has"), c.err))
	}
	e.Path = string(path)
	return r.out.add(&e)
}

// impliedRow tells whether a row is of an entry that is implied.
func impliedRow(row []byte) bool {
	c := cursor{b: row}
	e := c.attributes()
	return e.Implied()
}

// sealedRows gives the rows of a run that did not become the sealed file.
type sealedRows struct{ fileSource }

func (s *sealedRows) advance(ctx context.Context, in *input) (ok bool, err error) {
	if ok, err = s.fileSource.advance(ctx, in); !ok || err != nil {
		return false, err
	}
	if err := s.it.load(); err != nil {
		return false, err
	}
	b := &s.it.block
	e := b.num
	e.Link = string(b.link)
	in.row = appendAttributes(in.row[:0], &e)
	return true, nil
}
