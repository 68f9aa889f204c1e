package tree

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"capstan/core/catalog"
	seam "capstan/core/tree"
)

// handle is a descriptor of the file itself (O_PATH), whatever it is, without
// opening it for anything. /proc/self/fd/N is a name for exactly that inode, for
// the system calls on attributes that take none but a path.
type handle struct {
	fd    int
	entry string // "/proc/self/fd/N"
}

// withHandle runs fn on the file by a name, or on the directory itself for "".
func (d *dir) withHandle(op, name string, fn func(h handle) error) error {
	path := filepath.Join(d.path, name)
	fd := d.fd
	if name != "" {
		if err := d.check(op, name); err != nil {
			return err
		}
		var err error
		if fd, err = d.openat(op, name, unix.O_PATH); err != nil {
			return err
		}
		defer unix.Close(fd)
	}
	if err := fn(handle{fd, fmt.Sprintf("/proc/self/fd/%d", fd)}); err != nil {
		return wrap(op, path, err)
	}
	return nil
}

// Xattrs lists the attributes. A file system without any, and a symbolic link,
// whose attributes /proc/self/fd cannot reach, have none.
func (d *dir) Xattrs(_ context.Context, name string) ([]seam.Xattr, error) {
	var out []seam.Xattr
	err := d.withHandle("read attributes of", name, func(h handle) error {
		var st unix.Stat_t
		if err := unix.Fstat(h.fd, &st); err != nil || st.Mode&unix.S_IFMT == unix.S_IFLNK {
			return err
		}
		list, err := readAll(func(b []byte) (int, error) { return unix.Listxattr(h.entry, b) })
		if errors.Is(err, unix.ENOTSUP) {
			return nil
		}
		if err != nil {
			return err
		}
		names := strings.FieldsFunc(string(list), func(r rune) bool { return r == 0 })
		slices.Sort(names)
		for _, n := range names {
			v, err := readAll(func(b []byte) (int, error) { return unix.Getxattr(h.entry, n, b) })
			if errors.Is(err, unix.ENODATA) {
				continue // removed since it was listed
			}
			if err != nil {
				return fmt.Errorf("%s: %w", n, condition(err))
			}
			out = append(out, seam.Xattr{Name: n, Value: v})
		}
		return nil
	})
	return out, err
}

// readAll calls a system call that fills a buffer until the buffer is large enough.
func readAll(call func(b []byte) (int, error)) ([]byte, error) {
	for size := 512; ; size *= 4 {
		b := make([]byte, size)
		n, err := retry(func() (int, error) { return call(b) })
		if errors.Is(err, unix.ERANGE) && size < 1<<20 {
			continue
		}
		if err != nil {
			return nil, err
		}
		return b[:n], nil
	}
}

// SetMeta sets what it can: owner first, since that clears setuid; then mode;
// then attributes, ACLs among them, which the mode would overwrite; times last.
func (d *dir) SetMeta(_ context.Context, name string, i seam.Info, xattrs []seam.Xattr) error {
	return d.withHandle("set attributes of", name, func(h handle) error {
		var st unix.Stat_t
		if err := unix.Fstat(h.fd, &st); err != nil {
			return err
		}
		link := st.Mode&unix.S_IFMT == unix.S_IFLNK
		var errs []error
		note := func(what string, err error) {
			if err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", what, condition(err)))
			}
		}
		if st.Uid != i.UID || st.Gid != i.GID {
			note("owner", unix.Fchownat(h.fd, "", int(i.UID), int(i.GID), unix.AT_EMPTY_PATH))
		}
		if !link {
			note("mode", unix.Chmod(h.entry, i.Mode&0o7777))
			for _, x := range xattrs {
				note("attribute "+x.Name, retry0(func() error { return unix.Setxattr(h.entry, x.Name, x.Value, 0) }))
			}
		}
		note("modification time", d.setTime(name, h, link, i))
		return errors.Join(errs...)
	})
}

// setTime sets the modification time; the access time stays.
func (d *dir) setTime(name string, h handle, link bool, i seam.Info) error {
	times := []unix.Timespec{{Nsec: unix.UTIME_OMIT}, unix.NsecToTimespec(int64(i.MTime))}
	if link {
		return unix.UtimesNanoAt(d.fd, name, times, unix.AT_SYMLINK_NOFOLLOW)
	}
	return unix.UtimesNanoAt(unix.AT_FDCWD, h.entry, times, 0)
}

// file is an open regular file.
type file struct {
	fd   int
	path string
}

func (d *dir) OpenFile(_ context.Context, name string) (seam.File, error) {
	if err := d.check("open", name); err != nil {
		return nil, err
	}
	path := filepath.Join(d.path, name)
	fd, err := retry(func() (int, error) {
		return unix.Openat(d.fd, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	})
	if errors.Is(err, unix.ELOOP) || errors.Is(err, unix.ENXIO) {
		return nil, fmt.Errorf("open %s: %w", path, seam.ErrNotRegular)
	}
	if err != nil {
		return nil, wrap("open", path, err)
	}
	f := &file{fd, path}
	i, err := f.Stat(context.Background())
	if err == nil && i.Type == catalog.Directory {
		err = fmt.Errorf("open %s: %w", path, seam.ErrIsDir)
	} else if err == nil && i.Type != catalog.Regular {
		err = fmt.Errorf("open %s: %w", path, seam.ErrNotRegular)
	}
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	return f, nil
}

func (d *dir) Create(_ context.Context, name string, mode uint32) (seam.NewFile, error) {
	if err := d.check("create", name); err != nil {
		return nil, err
	}
	path := filepath.Join(d.path, name)
	fd, err := retry(func() (int, error) {
		return unix.Openat(d.fd, name, unix.O_RDWR|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, mode&0o7777)
	})
	if err != nil {
		return nil, wrap("create", path, err)
	}
	return &file{fd, path}, nil
}
