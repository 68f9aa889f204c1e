package archive

import (
	"context"
	"errors"
	"path"
	"slices"
	"strings"

	"capstan/core/catalog"
	"capstan/core/tree"
)

// Base tells what the backups that an incremental builds on show.
type Base interface {
	// Lookup is what they show at a path; ok is false if nothing.
	Lookup(ctx context.Context, path string) (k catalog.Known, ok bool, err error)
	// Names are the names in a directory after one, sorted by bytes; more says that
	// there are others behind them.
	Names(ctx context.Context, dir, after string) (ks []catalog.Known, more bool, err error)
}

// BuildOn makes an incremental complete: times alone show neither what is gone nor
// what was moved with its times. A directory whose names have changed since has
// itself changed. Such a directory is compared with the base: what is gone is told
// by entries of type [catalog.Gone], and what is not the same file as before is
// taken with all below it, whatever its times. It is called before the first Next.
func (r *Reader) BuildOn(b Base) {
	if r.sel.Since != 0 {
		r.walk.base = b
	}
}

// gone notes an entry that has no member.
func (r *Reader) gone(path string) {
	r.pending = append(r.pending, catalog.Entry{Path: path, Type: catalog.Gone, Offset: r.offset})
}

// goneTops tells of the paths of the selection that exist no more.
func (r *Reader) goneTops(ctx context.Context) error {
	w := r.walk
	for _, p := range r.looked {
		p = path.Clean(p)
		if slices.ContainsFunc(w.tops, func(top string) bool { return beneath(p, top) }) {
			continue
		}
		if _, ok, err := w.base.Lookup(ctx, p); err != nil {
			return err
		} else if ok {
			r.gone(p)
			continue
		}
		dir, pattern := path.Split(p)
		if !strings.ContainsAny(pattern, `*?[\`) {
			continue
		}
		old := previous{base: w.base, dir: path.Clean(dir)}
		for {
			k, err := old.next(ctx)
			if err != nil {
				return err
			}
			if k == nil {
				break
			}
			full := path.Join(dir, k.Name)
			if ok, _ := path.Match(pattern, k.Name); ok && !slices.ContainsFunc(w.tops, func(top string) bool { return beneath(full, top) }) {
				r.gone(full)
			}
		}
	}
	return nil
}

// previous goes through the names that the base shows in a directory.
type previous struct {
	base Base
	dir  string
	page []catalog.Known
	last string // name of the last page's last
	done bool   // page is the last one
}

// next gives the next name, nil at the end.
func (p *previous) next(ctx context.Context) (*catalog.Known, error) {
	k, err := p.peek(ctx)
	if k != nil {
		p.page = p.page[1:]
	}
	return k, err
}

func (p *previous) peek(ctx context.Context) (*catalog.Known, error) {
	for len(p.page) == 0 && !p.done {
		ks, more, err := p.base.Names(ctx, p.dir, p.last)
		if err != nil {
			return nil, err
		}
		p.page, p.done = ks, !more || len(ks) == 0
		if len(ks) > 0 {
			p.last = ks[len(ks)-1].Name
		}
	}
	if len(p.page) == 0 {
		return nil, nil
	}
	return &p.page[0], nil
}

// changed tells whether names may have come into a directory, or gone, since the
// backup that this one builds on.
func (w *walker) changed(i *tree.Info) bool {
	return w.base != nil && w.sel.touched(i)
}

// recall gives what the base shows of a name of a directory that is compared with
// it, and tells of the names before it that are gone.
func (w *walker) recall(ctx context.Context, l *level, name string) *catalog.Known {
	for l.old != nil {
		k, err := l.old.peek(ctx)
		if err != nil {
			w.err = err
			return nil
		}
		if k == nil || k.Name > name {
			return nil
		}
		l.old.page = l.old.page[1:]
		if k.Name == name {
			return k
		}
		w.gone(path.Join(l.path, k.Name))
	}
	return nil
}

// rest tells of the names after the last one of a directory. Where none is left,
// one entry says so of all.
func (w *walker) rest(ctx context.Context, l *level) {
	for l.old != nil {
		k, err := l.old.next(ctx)
		if err != nil {
			w.err = err
			return
		}
		switch {
		case k == nil:
			return
		case l.empty:
			w.gone(strings.TrimSuffix(l.path, "/") + "/")
			return
		}
		w.gone(path.Join(l.path, k.Name))
	}
}

// moved tells whether a file is another one than the base shows at its path. Only
// what is in a directory that is compared can be, what is mounted, and what the
// selection names.
func (w *walker) moved(ctx context.Context, l *level, it *item, k *catalog.Known) bool {
	switch {
	case w.base == nil || l.fresh:
		return w.base != nil
	case l.old == nil:
		if !(l.top && w.changed(&it.info)) && it.info.Dev == l.dev {
			return false
		}
		known, ok, err := w.base.Lookup(ctx, it.path)
		if err != nil {
			w.err = err
			return false
		}
		if k = nil; ok {
			k = &known
		}
	}
	isDir := it.info.Type == catalog.Directory
	if k != nil && k.Dir == isDir && (k.Ino == it.info.Ino || k.Ino == 0) {
		return false
	}
	if k != nil && k.Dir && isDir {
		w.gone(it.path + "/") // what was in the directory that had this name
	}
	return true
}

// absent tells whether an error says that there is no such file.
func absent(err error) bool { return errors.Is(err, tree.ErrNotExist) }
