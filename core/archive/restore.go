package archive

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"capstan/core/catalog"
	"capstan/core/status"
	"capstan/core/tree"
)

// handles are the open directories from the target down to where the last file
// went: members come in order of path, so that most lie beside the one before.
type handles struct {
	root  tree.Dir
	names []string
	dirs  []tree.Dir
}

// open gives the directory at rel beneath the root. What is missing is made if
// mkdir says so. The handle is valid until the next open.
func (h *handles) open(ctx context.Context, rel string, mkdir bool) (tree.Dir, error) {
	var want []string
	if rel != "" && rel != "." {
		want = strings.Split(rel, "/")
	}
	same := 0
	for same < len(h.names) && same < len(want) && h.names[same] == want[same] {
		same++
	}
	h.cut(same)
	for _, name := range want[same:] {
		up := h.last()
		d, err := up.OpenDir(ctx, name)
		if errors.Is(err, tree.ErrNotExist) && mkdir {
			if err = up.Mkdir(ctx, name, 0o755); err == nil || errors.Is(err, tree.ErrExist) {
				d, err = up.OpenDir(ctx, name)
			}
		}
		if err != nil {
			return nil, err
		}
		h.names, h.dirs = append(h.names, name), append(h.dirs, d)
	}
	return h.last(), nil
}

func (h *handles) last() tree.Dir {
	if len(h.dirs) == 0 {
		return h.root
	}
	return h.dirs[len(h.dirs)-1]
}

// cut closes the directories deeper than n components.
func (h *handles) cut(n int) {
	for len(h.dirs) > n {
		h.last().Close()
		h.names, h.dirs = h.names[:len(h.names)-1], h.dirs[:len(h.dirs)-1]
	}
}

func (h *handles) close() {
	h.cut(0)
	h.root.Close()
}

// restoring is a file that is being restored, under a temporary name.
type restoring struct {
	path string // on the client that was backed up
	dir  tree.Dir
	name string
	temp string
	sync bool // before it has its name: it replaces a file, or nothing syncs it later
	info tree.Info
	xs   []tree.Xattr
	file tree.NewFile // of a regular file
	end  int64        // of what was written to it
}

// abandon removes what was written.
func (r *restoring) abandon(ctx context.Context) {
	if r.file != nil {
		r.file.Close()
	}
	// What is left behind if this fails has a name that says what it is.
	_ = r.dir.Remove(ctx, r.temp)
}

// start decides whether a file is to be restored; nil means that what exists is kept.
func (w *Writer) start(full, rel string, info tree.Info, xs []tree.Xattr) (*restoring, error) {
	if rel == "" {
		return nil, fmt.Errorf("the target itself is a directory: %w", tree.ErrIsDir)
	}
	dir, err := w.root.open(w.ctx, parent(rel), true)
	if err != nil {
		return nil, err
	}
	name := path.Base(rel)
	old, err := dir.Lstat(w.ctx, name)
	switch {
	case errors.Is(err, tree.ErrNotExist):
	case err != nil:
		return nil, err
	case old.Type == catalog.Directory:
		return nil, fmt.Errorf("a directory is in its place: %w", tree.ErrIsDir)
	case w.opt.Overwrite == Never, w.opt.Overwrite == Older && old.MTime >= info.MTime:
		w.problem(full, Exists, nil)
		return nil, nil
	}
	temp, err := w.tempName(dir)
	if err != nil {
		return nil, err
	}
	synced := w.opt.Volatile
	if !synced {
		if synced, err = w.noteMount(dir, parent(rel)); err != nil {
			return nil, err
		}
	}
	return &restoring{
		path: full, dir: dir, name: name, temp: temp, info: info, xs: xs,
		sync: !synced || old.Type != 0,
	}, nil
}

// mount is a file system that was written to, and a directory of it.
type mount struct {
	dev uint64
	rel string
}

// noteMount remembers the file system of a directory; ok says that it will be
// made durable as a whole at the end.
func (w *Writer) noteMount(dir tree.Dir, rel string) (ok bool, err error) {
	if _, ok = dir.(tree.Syncer); !ok {
		return false, nil
	}
	if n := len(w.mounts); n > 0 && w.mounts[n-1].rel == rel {
		return true, nil
	}
	i, err := dir.Stat(w.ctx)
	if err != nil {
		return false, err
	}
	if !slices.ContainsFunc(w.mounts, func(m mount) bool { return m.dev == i.Dev }) {
		w.mounts = append(w.mounts, mount{i.Dev, rel})
	}
	return true, nil
}

// syncMounts makes what was restored durable.
func (w *Writer) syncMounts(ctx context.Context) error {
	for _, m := range w.mounts {
		dir, err := w.root.open(ctx, m.rel, false)
		if err == nil {
			err = dir.(tree.Syncer).SyncFS(ctx)
		}
		if err != nil {
			return status.Errorf(status.FileWrite, "what was restored may not be durable: %w", err)
		}
	}
	return nil
}

func parent(rel string) string {
	if i := strings.LastIndexByte(rel, '/'); i >= 0 {
		return rel[:i]
	}
	return ""
}

// tempName finds a name that nothing has. One left behind by a restore that was
// killed is passed over.
func (w *Writer) tempName(dir tree.Dir) (string, error) {
	for {
		w.temp++
		name := fmt.Sprintf(".capstan-restore-%d", w.temp)
		_, err := dir.Lstat(w.ctx, name)
		if errors.Is(err, tree.ErrNotExist) {
			return name, nil
		}
		if err != nil {
			return "", err
		}
	}
}

// link makes a hard link to a file of the same restore, or of an earlier one. Its
// other name is found as every path is: never through a link, never outside.
func (w *Writer) link(r *restoring, to string) error {
	rel, ok := w.place(to)
	if !ok || rel == "" {
		return fmt.Errorf("its other name %q lies outside the target", to)
	}
	other := &handles{root: w.root.root}
	defer other.cut(0)
	dir, err := other.open(w.ctx, parent(rel), false)
	if err == nil {
		err = r.dir.Link(w.ctx, dir, path.Base(rel), r.temp)
	}
	if err != nil {
		return fmt.Errorf("link to its other name %q, which must be restored too: %w", to, err)
	}
	return nil
}

// complete gives a file its attributes and its name.
func (w *Writer) complete(r *restoring) {
	if err := w.settle(r); err != nil {
		r.abandon(w.ctx)
		w.problem(r.path, NotWritten, err)
		return
	}
	w.stats.Files++
}

func (w *Writer) settle(r *restoring) error {
	if r.file != nil && r.end != r.info.Size { // it ends with a hole
		if err := r.file.Truncate(r.info.Size); err != nil {
			return err
		}
	}
	if r.info.Type != catalog.HardLink {
		if err := w.setMeta(r.dir, r.temp, r.info, r.xs); err != nil {
			w.problem(r.path, NoMetadata, err)
		}
	}
	if r.file != nil {
		var err error
		if r.sync {
			err = r.file.Sync()
		}
		err = errors.Join(err, r.file.Close())
		r.file = nil
		if err != nil {
			return err
		}
	}
	if err := r.dir.Rename(w.ctx, r.temp, r.name); err != nil {
		return err
	}
	if r.info.Type == catalog.HardLink {
		// rename(2) does nothing if both names are of one file already.
		if err := r.dir.Remove(w.ctx, r.temp); err != nil && !errors.Is(err, tree.ErrNotExist) {
			return err
		}
	}
	return nil
}

// setMeta sets attributes as the options say.
func (w *Writer) setMeta(dir tree.Dir, name string, i tree.Info, xs []tree.Xattr) error {
	if !w.opt.Owner {
		now, err := lstat(w.ctx, dir, name)
		if err != nil {
			return err
		}
		i.UID, i.GID = now.UID, now.GID
		i.Mode &^= 0o6000 // they would give the rights of another owner than they were made for
	}
	return dir.SetMeta(w.ctx, name, i, xs)
}

func lstat(ctx context.Context, dir tree.Dir, name string) (tree.Info, error) {
	if name == "" {
		return dir.Stat(ctx)
	}
	return dir.Lstat(ctx, name)
}

// dirMeta are a directory's attributes, set when all is in it.
type dirMeta struct {
	path, rel string
	info      tree.Info
	xs        []tree.Xattr
}

// makeDir makes a directory, or takes the one that exists.
func (w *Writer) makeDir(full, rel string, info tree.Info, xs []tree.Xattr) error {
	if rel == "" && w.opt.Overwrite == Never {
		w.stats.Files++ // the target has its attributes already
		return nil
	}
	if rel != "" {
		dir, err := w.root.open(w.ctx, parent(rel), true)
		if err != nil {
			return err
		}
		old, err := dir.Lstat(w.ctx, path.Base(rel))
		switch {
		case errors.Is(err, tree.ErrNotExist):
			err = dir.Mkdir(w.ctx, path.Base(rel), 0o700)
		case err == nil && old.Type == catalog.Directory && w.opt.Overwrite == Never:
			w.stats.Files++ // it is there; its attributes are kept
			return nil
		case err == nil && old.Type != catalog.Directory:
			err = fmt.Errorf("something else is in its place: %w", tree.ErrNotDir)
		}
		if err != nil {
			return err
		}
	}
	w.dirs = append(w.dirs, dirMeta{full, rel, info, xs})
	return nil
}

// finishDirs sets the attributes of directories, the deepest first.
func (w *Writer) finishDirs(ctx context.Context) {
	slices.SortStableFunc(w.dirs, func(a, b dirMeta) int {
		if n := cmp.Compare(strings.Count(b.rel, "/"), strings.Count(a.rel, "/")); n != 0 {
			return n
		}
		return strings.Compare(b.rel, a.rel) // the root, "", after its children
	})
	for _, d := range w.dirs {
		dir, err := w.root.open(ctx, d.rel, false)
		if err == nil {
			err = w.setMeta(dir, "", d.info, d.xs)
		}
		if err != nil {
			w.problem(d.path, NoMetadata, err)
			continue
		}
		w.stats.Files++
	}
	w.dirs = nil
}

// hollowRun is a hollow file that is being restored.
type hollowRun struct {
	entry catalog.Entry
	file  *restoring // nil if it is kept or failed
	left  int64      // bytes of its member still to come
	data  int64      // bytes of its file written
}

// putHollow takes n bytes of hollow members: their headers count too.
func (w *Writer) putHollow(ctx context.Context, n int64) error {
	for n > 0 {
		if w.run == nil {
			if len(w.hollow) == 0 {
				return fmt.Errorf("hollow data of %d bytes came without the entry it belongs to", n)
			}
			w.startHollow(w.hollow[0])
			w.hollow = w.hollow[1:]
		}
		r := w.run
		step := min(n, r.left)
		r.left, n = r.left-step, n-step
		w.writeHollow(ctx, min(step, r.entry.Size-r.data))
		if r.left == 0 {
			w.run = nil
			if r.file != nil {
				before := w.stats.Files
				w.complete(r.file)
				if w.stats.Files > before {
					w.stats.Files += r.entry.Files() - 1
				}
			}
		}
	}
	return nil
}

func (w *Writer) startHollow(e catalog.Entry) {
	w.run = &hollowRun{entry: e, left: e.End() - e.Offset}
	rel, ok := w.place(e.Path)
	if !ok {
		w.problem(e.Path, Refused, nil)
		return
	}
	info := tree.Info{
		Type: catalog.Regular, Mode: e.Mode, UID: e.UID, GID: e.GID, Size: e.Size,
		MTime: e.MTime, Files: e.Count,
	}
	r, err := w.start(e.Path, rel, info, nil)
	if err == nil && r != nil {
		r.file, err = r.dir.Create(w.ctx, r.temp, 0o600)
	}
	if err != nil {
		w.problem(e.Path, NotWritten, err)
		return
	}
	w.run.file = r
}

func (w *Writer) writeHollow(ctx context.Context, n int64) {
	r := w.run
	if r.file == nil || n <= 0 {
		return
	}
	if err := r.file.file.WriteHollow(ctx, r.data, n); err != nil {
		w.problem(r.entry.Path, NotWritten, err)
		r.file.abandon(ctx)
		r.file = nil
		return
	}
	r.data += n
}
