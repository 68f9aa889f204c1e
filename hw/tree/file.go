package tree

import (
	"context"
	"errors"
	"fmt"
	"io"

	"golang.org/x/sys/unix"

	seam "capstan/core/tree"
)

func (f *file) Close() error { return wrap("close", f.path, unix.Close(f.fd)) }

func (f *file) Stat(context.Context) (seam.Info, error) {
	var st unix.Stat_t
	if err := retry0(func() error { return unix.Fstat(f.fd, &st) }); err != nil {
		return seam.Info{}, wrap("stat", f.path, err)
	}
	return info(&st), nil
}

// ReadAt fills p unless the file ends before.
func (f *file) ReadAt(p []byte, off int64) (int, error) {
	n := 0
	for n < len(p) {
		k, err := retry(func() (int, error) { return unix.Pread(f.fd, p[n:], off+int64(n)) })
		if err != nil {
			return n, wrap("read", f.path, err)
		}
		if k == 0 {
			return n, io.EOF
		}
		n += k
	}
	return n, nil
}

// WriteAt writes all of p.
func (f *file) WriteAt(p []byte, off int64) (int, error) {
	n := 0
	for n < len(p) {
		k, err := retry(func() (int, error) { return unix.Pwrite(f.fd, p[n:], off+int64(n)) })
		if err != nil {
			return n, wrap("write", f.path, err)
		}
		n += k
	}
	return n, nil
}

func (f *file) Truncate(size int64) error {
	return wrap("truncate", f.path, retry0(func() error { return unix.Ftruncate(f.fd, size) }))
}

func (f *file) Sync() error {
	return wrap("sync", f.path, retry0(func() error { return unix.Fsync(f.fd) }))
}

func (f *file) WriteHollow(context.Context, int64, int64) error {
	return fmt.Errorf("write %s: %w", f.path, seam.ErrHollow)
}

// Extents asks only files that occupy fewer blocks than their size needs: for the
// others it would cost two system calls and say nothing.
func (f *file) Extents(_ context.Context, size int64) ([]seam.Extent, error) {
	var st unix.Stat_t
	if err := retry0(func() error { return unix.Fstat(f.fd, &st) }); err != nil {
		return nil, wrap("stat", f.path, err)
	}
	whole := []seam.Extent{{Length: size}}
	if size == 0 || st.Blocks*512 >= size {
		return whole, nil
	}
	var out []seam.Extent
	for at := int64(0); at < size; {
		from, err := unix.Seek(f.fd, at, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			break // no data after at
		}
		if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOTSUP) {
			return whole, nil // a file system that does not tell
		}
		if err != nil {
			return nil, wrap("find the data of", f.path, err)
		}
		if from >= size {
			break
		}
		to, err := unix.Seek(f.fd, from, unix.SEEK_HOLE)
		if err != nil {
			return nil, wrap("find the holes of", f.path, err)
		}
		to = min(to, size)
		if to <= from {
			break // the file was cut short meanwhile
		}
		out = append(out, seam.Extent{Offset: from, Length: to - from})
		at = to
	}
	return out, nil
}

var (
	_ seam.File    = (*file)(nil)
	_ seam.NewFile = (*file)(nil)
)
