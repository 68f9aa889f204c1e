package archive

import (
	"context"
	"path"
	"strings"

	"capstan/core/catalog"
	"capstan/core/rt"
	"capstan/core/tree"
)

// item is one file that the walk met.
type item struct {
	path string
	dir  tree.Dir // that holds it; open until the next item
	name string   // in dir; "" is dir itself
	info tree.Info
}

// entry is what the catalog keeps of it, without its place in the stream.
func (it *item) entry() catalog.Entry {
	i := &it.info
	return catalog.Entry{
		Path: it.path, Type: i.Type, Mode: i.Mode & 0o7777, UID: i.UID, GID: i.GID,
		Size: i.Size, MTime: i.MTime, CTime: i.CTime, Major: i.Major, Minor: i.Minor,
		Dev: i.Dev, Ino: i.Ino,
	}
}

func (it *item) archiveName() string { return Name(it.path, it.info.Type) }

// Name is the name in the archive of the file with an absolute path: relative, a
// directory's with "/" at its end.
func Name(p string, t catalog.Type) string {
	name := strings.TrimPrefix(p, "/")
	switch {
	case t != catalog.Directory:
		return name
	case name == "":
		return "./"
	default:
		return name + "/"
	}
}

// walker gives the files of some trees, each directory before what is in it, the
// names of a directory sorted by bytes.
type walker struct {
	fs      tree.FS
	sel     *Selection
	tops    []string
	problem func(path, what string, err error)
	base    Base              // nil if the backup builds on none
	gone    func(path string) // told of what the base shows and the tree has no more
	stack   []*level
	it      item   // the one given last
	dev     uint64 // of the file system of the current top
	err     error  // of the base
}

// level is an open directory and its names still to come.
type level struct {
	dir   tree.Dir
	path  string
	names []string
	top   bool      // a directory opened only to reach a path of the selection
	dev   uint64    // of the directory
	empty bool      // it had no names
	fresh bool      // the base does not show it: all in it is new
	old   *previous // its names in the base; nil if they need not be compared
}

// coming is how many names of the present directory are still to come.
func (w *walker) coming() int {
	if len(w.stack) == 0 {
		return 0
	}
	return len(w.stack[len(w.stack)-1].names)
}

func (w *walker) give(it item) *item {
	w.it = it
	return &w.it
}

// next gives the next file to back up, nil after the last. It is valid until the next one.
func (w *walker) next(ctx context.Context) (*item, error) {
	for {
		if ctx.Err() != nil {
			return nil, rt.Cause(ctx)
		}
		if w.err != nil {
			return nil, w.err
		}
		if len(w.stack) == 0 {
			if len(w.tops) == 0 {
				return nil, nil
			}
			if it := w.enterTop(ctx); it != nil {
				return it, nil
			}
			continue
		}
		l := w.stack[len(w.stack)-1]
		if len(l.names) == 0 {
			w.rest(ctx, l)
			l.dir.Close()
			w.stack = w.stack[:len(w.stack)-1]
			continue
		}
		name := l.names[0]
		l.names = l.names[1:]
		if it := w.look(ctx, l, name); it != nil {
			return it, nil
		}
	}
}

// enterTop opens the directory that holds the next path of the selection; the
// root is an item at once, since nothing holds it.
func (w *walker) enterTop(ctx context.Context) *item {
	p := w.tops[0]
	w.tops = w.tops[1:]
	dir, err := w.fs.Open(ctx, path.Dir(p))
	if err != nil {
		w.fail(ctx, p, err)
		return nil
	}
	info, err := dir.Stat(ctx)
	if err != nil {
		dir.Close()
		w.fail(ctx, p, err)
		return nil
	}
	if p != "/" {
		w.stack = append(w.stack, &level{dir: dir, path: path.Dir(p), names: []string{path.Base(p)}, top: true, dev: info.Dev})
		return nil
	}
	w.dev = info.Dev
	w.enter(ctx, dir, p, &info, false)
	return w.give(item{path: p, dir: dir, info: info})
}

// look decides about one name of a directory.
func (w *walker) look(ctx context.Context, l *level, name string) *item {
	full := l.path + "/" + name
	if l.path == "/" {
		full = "/" + name
	}
	known := w.recall(ctx, l, name)
	if !l.top && w.sel.excluded(full) {
		return nil
	}
	info, err := l.dir.Lstat(ctx, name)
	if err != nil {
		w.fail(ctx, full, err)
		return nil
	}
	if l.top {
		w.dev = info.Dev
	}
	if info.Type == 0 {
		if known != nil {
			w.gone(full)
		}
		w.problem(full, Socket, nil)
		return nil
	}
	it := w.give(item{path: full, dir: l.dir, name: name, info: info})
	fresh := w.moved(ctx, l, it, known)
	if info.Type != catalog.Directory {
		if !fresh && !w.sel.wants(&info) {
			return nil
		}
		return it
	}
	if !w.sel.OneFileSystem || info.Dev == w.dev {
		d, err := l.dir.OpenDir(ctx, name)
		if err != nil {
			w.fail(ctx, full, err)
			return it
		}
		w.enter(ctx, d, full, &info, fresh)
	}
	return it
}

// enter pushes a directory whose names come next. If they cannot be listed, the
// directory itself is still backed up.
func (w *walker) enter(ctx context.Context, d tree.Dir, full string, info *tree.Info, fresh bool) {
	names, err := d.Names(ctx)
	if err != nil {
		w.fail(ctx, full, err)
	}
	l := &level{dir: d, path: full, names: names, dev: info.Dev, empty: len(names) == 0 && full != "/", fresh: fresh}
	if err == nil && !fresh && w.changed(info) {
		l.old = &previous{base: w.base, dir: full}
	}
	w.stack = append(w.stack, l)
}

func (w *walker) fail(ctx context.Context, path string, err error) {
	if ctx.Err() == nil {
		w.problem(path, whatFailed(err), err)
	}
}

func (w *walker) close() {
	for _, l := range w.stack {
		l.dir.Close()
	}
	w.stack, w.tops = nil, nil
}

func whatFailed(err error) string {
	if absent(err) {
		return Vanished
	}
	return Unreadable
}
