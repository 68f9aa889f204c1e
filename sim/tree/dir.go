package tree

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"capstan/core/catalog"
	seam "capstan/core/tree"
)

// dir is an open directory.
type dir struct {
	fs     *FS
	n      *node
	path   string // by which it was opened, for errors
	closed bool
}

func (d *dir) fail(op, name string, err error) error {
	return fmt.Errorf("%s %s: %w", op, path.Join(d.path, name), err)
}

// get finds a file of the directory.
func (d *dir) get(op, name string) (*node, error) {
	if err := d.check(op, name); err != nil {
		return nil, err
	}
	n := d.n.children[name]
	if n == nil {
		return nil, d.fail(op, name, seam.ErrNotExist)
	}
	return n, nil
}

func (d *dir) check(op, name string) error {
	switch {
	case d.closed:
		return d.fail(op, name, errors.New("the directory's handle is closed"))
	case name == "", name == ".", name == "..", strings.ContainsAny(name, "/\x00"):
		return fmt.Errorf("%s %q in %s: %w", op, name, d.path, seam.ErrBadName)
	case len(name) > maxName:
		return d.fail(op, name, errors.New("file name too long"))
	}
	return nil
}

func (d *dir) Close() error {
	d.closed = true
	return nil
}

func (d *dir) Names(context.Context) ([]string, error) { return d.n.names(), nil }

func (d *dir) Stat(context.Context) (seam.Info, error) { return d.n.stat(), nil }

func (d *dir) Lstat(_ context.Context, name string) (seam.Info, error) {
	n, err := d.get("lstat", name)
	if err != nil {
		return seam.Info{}, err
	}
	return n.stat(), nil
}

func (d *dir) OpenDir(ctx context.Context, name string) (seam.Dir, error) {
	n, err := d.get("open", name)
	if err != nil {
		return nil, err
	}
	if n.children == nil {
		return nil, d.fail("open", name, seam.ErrNotDir)
	}
	if n, err = d.fs.today(ctx, n); err != nil {
		return nil, d.fail("open", name, err)
	}
	return &dir{fs: d.fs, n: n, path: path.Join(d.path, name)}, nil
}

func (d *dir) OpenFile(_ context.Context, name string) (seam.File, error) {
	n, err := d.get("open", name)
	if err != nil {
		return nil, err
	}
	if n.denied {
		return nil, d.fail("open", name, seam.ErrPermission)
	}
	switch n.info.Type {
	case catalog.Regular:
		return &file{n: n}, nil
	case catalog.Directory:
		return nil, d.fail("open", name, seam.ErrIsDir)
	}
	return nil, d.fail("open", name, seam.ErrNotRegular)
}

func (d *dir) Readlink(_ context.Context, name string) (string, error) {
	n, err := d.get("readlink", name)
	if err != nil {
		return "", err
	}
	if n.info.Type != catalog.Symlink {
		return "", d.fail("readlink", name, errors.New("not a symbolic link"))
	}
	return n.target, nil
}

func (d *dir) Xattrs(_ context.Context, name string) ([]seam.Xattr, error) {
	n, err := d.self("listxattr", name)
	if err != nil {
		return nil, err
	}
	var out []seam.Xattr
	for _, x := range n.xattrs {
		out = append(out, seam.Xattr{Name: x.Name, Value: slices.Clone(x.Value)})
	}
	return out, nil
}

// self is the file by a name, or the directory itself for "".
func (d *dir) self(op, name string) (*node, error) {
	if name == "" {
		return d.n, nil
	}
	return d.get(op, name)
}

// add makes a new file of the directory.
func (d *dir) add(ctx context.Context, op, name string, i seam.Info) (*node, error) {
	if err := d.check(op, name); err != nil {
		return nil, err
	}
	if d.n.children[name] != nil {
		return nil, d.fail(op, name, seam.ErrExist)
	}
	i.Size = 0
	n := d.fs.newNode(i, d.fs.now(ctx))
	d.put(ctx, name, n)
	return n, nil
}

// put gives a file a name, and touches the directory.
func (d *dir) put(ctx context.Context, name string, n *node) {
	d.n.children[name] = n
	d.touch(ctx)
}

func (d *dir) touch(ctx context.Context) {
	now := d.fs.now(ctx)
	d.n.info.MTime, d.n.info.CTime = now, now
}

func (d *dir) Mkdir(ctx context.Context, name string, mode uint32) error {
	n, err := d.add(ctx, "mkdir", name, seam.Info{Type: catalog.Directory, Mode: mode & 0o7777})
	if err == nil {
		n.nlink = 2
		d.n.nlink++
	}
	return err
}

func (d *dir) Create(ctx context.Context, name string, mode uint32) (seam.NewFile, error) {
	n, err := d.add(ctx, "create", name, seam.Info{Type: catalog.Regular, Mode: mode & 0o7777})
	if err != nil {
		return nil, err
	}
	return &file{n: n}, nil
}

func (d *dir) Symlink(ctx context.Context, target, name string) error {
	if target == "" {
		return d.fail("symlink", name, seam.ErrNotExist)
	}
	n, err := d.add(ctx, "symlink", name, seam.Info{Type: catalog.Symlink, Mode: 0o777})
	if err == nil {
		n.target = target
	}
	return err
}

func (d *dir) Link(ctx context.Context, from seam.Dir, old, name string) error {
	f, ok := from.(*dir)
	if !ok || f.fs != d.fs {
		return d.fail("link", name, errors.New("the other directory is of another file system"))
	}
	n, err := f.get("link", old)
	if err != nil {
		return err
	}
	if n.children != nil {
		return f.fail("link", old, seam.ErrPermission)
	}
	if err := d.check("link", name); err != nil {
		return err
	}
	if d.n.children[name] != nil {
		return d.fail("link", name, seam.ErrExist)
	}
	n.nlink++
	n.info.CTime = d.fs.now(ctx)
	d.put(ctx, name, n)
	return nil
}

func (d *dir) Mknod(ctx context.Context, name string, i seam.Info) error {
	switch i.Type {
	case catalog.CharDev, catalog.BlockDev:
	case catalog.FIFO:
		i.Major, i.Minor = 0, 0
	default:
		return d.fail("mknod", name, fmt.Errorf("type %q", i.Type))
	}
	_, err := d.add(ctx, "mknod", name, seam.Info{Type: i.Type, Mode: i.Mode & 0o7777, Major: i.Major, Minor: i.Minor})
	return err
}

func (d *dir) Rename(ctx context.Context, old, name string) error {
	if err := d.check("rename", name); err != nil {
		return err
	}
	n, err := d.get("rename", old)
	if err != nil {
		return err
	}
	was := d.n.children[name]
	if was == n {
		return nil // two names of one file: rename(2) does nothing
	}
	if was != nil {
		if err := replaceable(was, n); err != nil {
			return d.fail("rename", name, err)
		}
		d.drop(was)
	}
	delete(d.n.children, old)
	d.put(ctx, name, n)
	return nil
}

// replaceable tells whether rename(2) puts n in the place of was.
func replaceable(was, n *node) error {
	switch {
	case was.children != nil && n.children == nil:
		return seam.ErrIsDir
	case was.children == nil && n.children != nil:
		return seam.ErrNotDir
	case len(was.children) > 0:
		return errNotEmpty
	}
	return nil
}

var errNotEmpty = errors.New("directory not empty")

// drop takes a name from a file.
func (d *dir) drop(n *node) {
	if n.children != nil {
		n.nlink, d.n.nlink = 0, d.n.nlink-1
		return
	}
	n.nlink--
}

func (d *dir) Remove(ctx context.Context, name string) error {
	n, err := d.get("remove", name)
	if err != nil {
		return err
	}
	if len(n.children) > 0 {
		return d.fail("remove", name, errNotEmpty)
	}
	d.drop(n)
	delete(d.n.children, name)
	d.touch(ctx)
	return nil
}

func (d *dir) SetMeta(ctx context.Context, name string, i seam.Info, xattrs []seam.Xattr) error {
	n, err := d.self("set attributes of", name)
	if err != nil {
		return err
	}
	n.info.UID, n.info.GID = i.UID, i.GID
	if n.info.Type != catalog.Symlink {
		n.info.Mode = i.Mode & 0o7777
	}
	for _, x := range xattrs {
		x.Value = slices.Clone(x.Value)
		k, found := slices.BinarySearchFunc(n.xattrs, x.Name, func(y seam.Xattr, name string) int { return strings.Compare(y.Name, name) })
		if found {
			n.xattrs[k] = x
		} else {
			n.xattrs = slices.Insert(n.xattrs, k, x)
		}
	}
	n.info.MTime, n.info.CTime = i.MTime, d.fs.now(ctx)
	if i.Files > 0 {
		n.info.Files = i.Files
	}
	return nil
}

// file is an open file, for reading or writing.
type file struct{ n *node }

func (f *file) ReadAt(p []byte, off int64) (int, error)  { return f.n.data.readAt(p, off) }
func (f *file) Stat(context.Context) (seam.Info, error)  { return f.n.stat(), nil }
func (f *file) Close() error                             { return nil }
func (f *file) Sync() error                              { return nil }
func (f *file) WriteAt(p []byte, off int64) (int, error) { return f.write(p, off) }

func (f *file) Extents(_ context.Context, size int64) ([]seam.Extent, error) {
	return f.n.data.extents(min(size, f.n.data.size)), nil
}

func (f *file) write(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fmt.Errorf("write at %d", off)
	}
	if len(p) > 0 {
		f.n.data.put(piece{at: off, bytes: p, n: int64(len(p))})
	}
	return len(p), nil
}

func (f *file) Truncate(size int64) error {
	if size < 0 {
		return fmt.Errorf("truncate to %d", size)
	}
	f.n.data.truncate(size)
	return nil
}

func (f *file) WriteHollow(_ context.Context, offset, n int64) error {
	if offset < 0 || n < 0 {
		return fmt.Errorf("write %d hollow bytes at %d", n, offset)
	}
	f.n.data.put(piece{at: offset, n: n})
	f.n.info.Files = max(f.n.info.Files, 1)
	return nil
}

var (
	_ seam.FS      = (*FS)(nil)
	_ seam.Dir     = (*dir)(nil)
	_ seam.File    = (*file)(nil)
	_ seam.NewFile = (*file)(nil)
)
