// Package dir is the store seam's directory on a real disk: a disk storage unit,
// the image database, spools.
//
// No name leads out of the directory, not even through a symbolic link that
// somebody put there: everything goes through an [os.Root]. What the seam calls
// durable has been through fsync, of the file or of the directory.
package dir

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"slices"

	"golang.org/x/sys/unix"

	"capstan/core/store"
)

const (
	fileMode = 0o600 // images hold everybody's files
	dirMode  = 0o700
)

// Dir is a directory. Goroutines share it.
type Dir struct {
	root *os.Root
}

var _ store.Dir = (*Dir)(nil)

// Open opens the directory at path, which exists.
func Open(path string) (*Dir, error) {
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, convert(err)
	}
	return &Dir{root}, nil
}

// Close closes the directory; files that are open stay open.
func (d *Dir) Close() error { return d.root.Close() }

// convert gives the operating system's error the seam's meaning.
func convert(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		return fmt.Errorf("%w: %w", store.ErrNoSpace, err)
	case errors.Is(err, unix.ENOENT):
		return fmt.Errorf("%w: %w", store.ErrNotFound, err)
	}
	return err
}

// Create implements [store.Dir].
func (d *Dir) Create(_ context.Context, name string) (store.File, error) {
	if err := store.CheckName(name); err != nil {
		return nil, err
	}
	if err := d.makeParents(name); err != nil {
		return nil, err
	}
	return d.openFile(name, os.O_CREATE|os.O_TRUNC)
}

// Open implements [store.Dir].
func (d *Dir) Open(_ context.Context, name string) (store.File, error) {
	if err := store.CheckName(name); err != nil {
		return nil, err
	}
	return d.openFile(name, 0)
}

func (d *Dir) openFile(name string, flags int) (store.File, error) {
	f, err := d.root.OpenFile(name, os.O_RDWR|flags, fileMode)
	if err != nil {
		return nil, convert(err)
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("open %s: it is no regular file but %v", name, info.Mode().Type())
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &file{f}, nil
}

// makeParents makes the directories above name as far as they are missing, and
// makes each durable before the next.
func (d *Dir) makeParents(name string) error {
	parent := path.Dir(name)
	if parent == "." {
		return nil
	}
	if info, err := d.root.Stat(parent); err == nil && info.IsDir() {
		return nil
	}
	if err := d.makeParents(parent); err != nil {
		return err
	}
	if err := d.root.Mkdir(parent, dirMode); err != nil {
		if errors.Is(err, unix.EEXIST) {
			return nil // another task made it, or it is a file, which the caller's step will say
		}
		return convert(err)
	}
	return d.sync(path.Dir(parent))
}

func (d *Dir) sync(dir string) error {
	f, err := d.root.Open(dir)
	if err != nil {
		return convert(err)
	}
	return convert(errors.Join(f.Sync(), f.Close()))
}

// Rename implements [store.Dir].
func (d *Dir) Rename(_ context.Context, old, name string) error {
	if err := errors.Join(store.CheckName(old), store.CheckName(name)); err != nil {
		return err
	}
	info, err := d.root.Lstat(old)
	if err != nil {
		return convert(err)
	}
	if info.IsDir() {
		return fmt.Errorf("rename %s: it is a directory; only files are renamed", old)
	}
	if err := d.makeParents(name); err != nil {
		return err
	}
	return convert(d.root.Rename(old, name))
}

// Remove implements [store.Dir].
func (d *Dir) Remove(_ context.Context, name string) error {
	if err := store.CheckName(name); err != nil {
		return err
	}
	return convert(d.root.Remove(name))
}

// List implements [store.Dir].
func (d *Dir) List(_ context.Context, dir string) ([]string, error) {
	name, err := dirName(dir)
	if err != nil {
		return nil, err
	}
	f, err := d.root.Open(name)
	if errors.Is(err, unix.ENOENT) {
		return nil, nil
	}
	if err != nil {
		return nil, convert(err)
	}
	entries, err := f.ReadDir(-1)
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, convert(err)
	}
	var names []string
	for _, e := range entries {
		if e.IsDir() {
			names = append(names, e.Name()+"/")
		} else {
			names = append(names, e.Name())
		}
	}
	slices.Sort(names)
	return names, nil
}

// dirName is the operating system's name of a directory; "" is the top.
func dirName(dir string) (string, error) {
	if dir == "" {
		return ".", nil
	}
	return dir, store.CheckName(dir)
}

// Sync implements [store.Dir].
func (d *Dir) Sync(_ context.Context, dir string) error {
	name, err := dirName(dir)
	if err != nil {
		return err
	}
	return d.sync(name)
}

// Free implements [store.Dir]: what is free to a process without privileges.
func (d *Dir) Free(context.Context) (int64, error) {
	f, err := d.root.Open(".")
	if err != nil {
		return 0, convert(err)
	}
	var s unix.Statfs_t
	err = unix.Fstatfs(int(f.Fd()), &s)
	if err := errors.Join(err, f.Close()); err != nil {
		return 0, fmt.Errorf("free space of %s: %w", d.root.Name(), err)
	}
	return int64(s.Bavail) * s.Bsize, nil
}

// file implements [store.File].
type file struct{ f *os.File }

// ReadAt implements [store.File].
func (f *file) ReadAt(p []byte, off int64) (int, error) { return f.f.ReadAt(p, off) }

// WriteAt implements [store.File].
func (f *file) WriteAt(p []byte, off int64) (int, error) {
	n, err := f.f.WriteAt(p, off)
	return n, convert(err)
}

// WriteHollow refuses: a real disk holds bytes.
func (f *file) WriteHollow(context.Context, int64, int64) error {
	return fmt.Errorf("write %s: %w", f.f.Name(), store.ErrHollow)
}

// Size implements [store.File].
func (f *file) Size() (int64, error) {
	info, err := f.f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// Truncate implements [store.File].
func (f *file) Truncate(size int64) error { return convert(f.f.Truncate(size)) }

// Sync implements [store.File].
func (f *file) Sync() error { return convert(f.f.Sync()) }

// Close implements [store.File].
func (f *file) Close() error { return convert(f.f.Close()) }
