package tree

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"capstan/core/catalog"
	"capstan/core/rt"
	seam "capstan/core/tree"
)

// FS is the host's file system.
type FS struct{}

// New gives the host's file system.
func New() FS { return FS{} }

// Open opens a directory, following links on the way.
func (FS) Open(_ context.Context, path string) (seam.Dir, error) {
	if !strings.HasPrefix(path, "/") {
		return nil, fmt.Errorf("open %s: %w: it is not absolute", path, seam.ErrBadName)
	}
	fd, err := retry(func() (int, error) {
		return unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	})
	if err != nil {
		return nil, wrap("open", path, err)
	}
	return newDir(fd, path), nil
}

// wrap says which operation on what failed, and which condition of the seam that is.
func wrap(op, path string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s %s: %w", op, path, condition(err))
}

// condition is the seam's error for an errno; other errors stay what they are.
func condition(err error) error {
	var errno unix.Errno
	if !errors.As(err, &errno) {
		return err
	}
	switch errno {
	case unix.ENOENT:
		return seam.ErrNotExist
	case unix.EEXIST:
		return seam.ErrExist
	case unix.ENOTDIR, unix.ELOOP:
		return seam.ErrNotDir
	case unix.EISDIR:
		return seam.ErrIsDir
	case unix.EACCES, unix.EPERM:
		return seam.ErrPermission
	case unix.ENOSPC, unix.EDQUOT:
		return seam.ErrNoSpace
	}
	return err
}

// retry repeats a system call that a signal interrupted.
func retry[T any](fn func() (T, error)) (T, error) {
	for {
		v, err := fn()
		if !errors.Is(err, unix.EINTR) {
			return v, err
		}
	}
}

func retry0(fn func() error) error {
	_, err := retry(func() (struct{}, error) { return struct{}{}, fn() })
	return err
}

// info converts what stat gives.
func info(st *unix.Stat_t) seam.Info {
	i := seam.Info{
		Type: fileType(st.Mode), Mode: st.Mode & 0o7777, UID: st.Uid, GID: st.Gid, Size: st.Size,
		MTime: rt.Time(st.Mtim.Nano()), CTime: rt.Time(st.Ctim.Nano()),
		Nlink: uint64(st.Nlink), Dev: uint64(st.Dev), Ino: st.Ino,
	}
	if i.Type == catalog.CharDev || i.Type == catalog.BlockDev {
		i.Major, i.Minor = unix.Major(uint64(st.Rdev)), unix.Minor(uint64(st.Rdev))
	}
	return i
}

func fileType(mode uint32) catalog.Type {
	switch mode & unix.S_IFMT {
	case unix.S_IFREG:
		return catalog.Regular
	case unix.S_IFDIR:
		return catalog.Directory
	case unix.S_IFLNK:
		return catalog.Symlink
	case unix.S_IFCHR:
		return catalog.CharDev
	case unix.S_IFBLK:
		return catalog.BlockDev
	case unix.S_IFIFO:
		return catalog.FIFO
	}
	return 0
}

// dir is an open directory.
type dir struct {
	fd   int
	path string // for errors; never used to reach anything
}

func newDir(fd int, path string) *dir { return &dir{fd: fd, path: path} }

// check refuses what is not the name of one entry.
func (d *dir) check(op, name string) error {
	if name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\x00") {
		return fmt.Errorf("%s %q in %s: %w", op, name, d.path, seam.ErrBadName)
	}
	return nil
}

// do checks the name, runs a system call and says what failed.
func (d *dir) do(op, name string, fn func() error) error {
	if err := d.check(op, name); err != nil {
		return err
	}
	return wrap(op, filepath.Join(d.path, name), retry0(fn))
}

func (d *dir) Close() error { return wrap("close", d.path, unix.Close(d.fd)) }

// SyncFS makes what was written to the directory's file system durable.
func (d *dir) SyncFS(context.Context) error {
	return wrap("sync the file system of", d.path, retry0(func() error { return unix.Syncfs(d.fd) }))
}

func (d *dir) Stat(context.Context) (seam.Info, error) {
	var st unix.Stat_t
	if err := retry0(func() error { return unix.Fstat(d.fd, &st) }); err != nil {
		return seam.Info{}, wrap("stat", d.path, err)
	}
	return info(&st), nil
}

func (d *dir) Lstat(_ context.Context, name string) (seam.Info, error) {
	var st unix.Stat_t
	err := d.do("lstat", name, func() error { return unix.Fstatat(d.fd, name, &st, unix.AT_SYMLINK_NOFOLLOW) })
	if err != nil {
		return seam.Info{}, err
	}
	return info(&st), nil
}

// Names reads the directory through a description of its own, so that the
// handle's position does not matter.
func (d *dir) Names(context.Context) ([]string, error) {
	fd, err := d.openat("list", ".", unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), d.path)
	defer f.Close()
	names, err := f.Readdirnames(-1)
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", d.path, err)
	}
	slices.Sort(names)
	return names, nil
}

func (d *dir) openat(op, name string, flags int) (int, error) {
	fd, err := retry(func() (int, error) {
		return unix.Openat(d.fd, name, flags|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	})
	return fd, wrap(op, filepath.Join(d.path, name), err)
}

func (d *dir) OpenDir(_ context.Context, name string) (seam.Dir, error) {
	if err := d.check("open", name); err != nil {
		return nil, err
	}
	fd, err := d.openat("open", name, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return nil, err
	}
	return newDir(fd, filepath.Join(d.path, name)), nil
}

func (d *dir) Readlink(_ context.Context, name string) (string, error) {
	for size := 256; ; size *= 2 {
		b, n := make([]byte, size), 0
		err := d.do("readlink", name, func() (err error) {
			n, err = unix.Readlinkat(d.fd, name, b)
			return err
		})
		if err != nil {
			return "", err
		}
		if n < size {
			return string(b[:n]), nil
		}
	}
}

func (d *dir) Mkdir(_ context.Context, name string, mode uint32) error {
	return d.do("mkdir", name, func() error { return unix.Mkdirat(d.fd, name, mode&0o7777) })
}

func (d *dir) Symlink(_ context.Context, target, name string) error {
	return d.do("symlink", name, func() error { return unix.Symlinkat(target, d.fd, name) })
}

func (d *dir) Link(_ context.Context, from seam.Dir, old, name string) error {
	f, ok := from.(*dir)
	if !ok {
		return fmt.Errorf("link %s: the other directory is of another file system", filepath.Join(d.path, name))
	}
	if err := f.check("link", old); err != nil {
		return err
	}
	return d.do("link", name, func() error { return unix.Linkat(f.fd, old, d.fd, name, 0) })
}

func (d *dir) Mknod(_ context.Context, name string, i seam.Info) error {
	kind, ok := map[catalog.Type]uint32{
		catalog.CharDev: unix.S_IFCHR, catalog.BlockDev: unix.S_IFBLK, catalog.FIFO: unix.S_IFIFO,
	}[i.Type]
	if !ok {
		return fmt.Errorf("mknod %s: type %q", filepath.Join(d.path, name), i.Type)
	}
	dev := 0
	if i.Type != catalog.FIFO {
		dev = int(unix.Mkdev(i.Major, i.Minor))
	}
	return d.do("mknod", name, func() error { return unix.Mknodat(d.fd, name, kind|i.Mode&0o7777, dev) })
}

func (d *dir) Rename(_ context.Context, old, name string) error {
	if err := d.check("rename", old); err != nil {
		return err
	}
	return d.do("rename", name, func() error { return unix.Renameat(d.fd, old, d.fd, name) })
}

// Remove tries unlink first: what a name is may change between a look and a removal.
func (d *dir) Remove(_ context.Context, name string) error {
	return d.do("remove", name, func() error {
		err := unix.Unlinkat(d.fd, name, 0)
		if errors.Is(err, unix.EISDIR) {
			return unix.Unlinkat(d.fd, name, unix.AT_REMOVEDIR)
		}
		return err
	})
}

var (
	_ seam.FS     = FS{}
	_ seam.Dir    = (*dir)(nil)
	_ seam.Syncer = (*dir)(nil)
)
