package catalog

import (
	"context"
	"errors"
	"io"
	"maps"
	"slices"
	"strings"

	"capstan/core/store"
)

// testDir is a directory in memory, without crashes. A write fails when budget
// bytes were written, if it is not 0.
type testDir struct {
	files  map[string]*testFile
	budget int64
}

func newTestDir() *testDir { return &testDir{files: map[string]*testFile{}} }

func (d *testDir) Create(_ context.Context, name string) (store.File, error) {
	f := &testFile{d: d}
	d.files[name] = f
	return f, nil
}

func (d *testDir) Open(_ context.Context, name string) (store.File, error) {
	if f := d.files[name]; f != nil {
		return f, nil
	}
	return nil, store.ErrNotFound
}

func (d *testDir) Rename(_ context.Context, old, name string) error {
	d.files[name] = d.files[old]
	delete(d.files, old)
	return nil
}

func (d *testDir) Remove(_ context.Context, name string) error {
	if d.files[name] == nil {
		return store.ErrNotFound
	}
	delete(d.files, name)
	return nil
}

// List ignores directories below dir: nobody here asks for them.
func (d *testDir) List(_ context.Context, dir string) ([]string, error) {
	var names []string
	for _, name := range slices.Sorted(maps.Keys(d.files)) {
		if parent(name) == dir {
			names = append(names, name[strings.LastIndexByte(name, '/')+1:])
		}
	}
	return names, nil
}

func (d *testDir) Sync(context.Context, string) error  { return nil }
func (d *testDir) Free(context.Context) (int64, error) { return 1 << 40, nil }

type testFile struct {
	d *testDir
	b []byte
}

func (f *testFile) ReadAt(p []byte, off int64) (int, error) {
	if off >= int64(len(f.b)) {
		return 0, io.EOF
	}
	n := copy(p, f.b[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (f *testFile) WriteAt(p []byte, off int64) (int, error) {
	if f.d.budget != 0 {
		if f.d.budget -= int64(len(p)); f.d.budget <= 0 {
			f.d.budget = -1
			return 0, store.ErrNoSpace
		}
	}
	if need := int(off) + len(p); need > len(f.b) {
		f.b = slices.Grow(f.b, need-len(f.b))[:need]
	}
	return copy(f.b[off:], p), nil
}

func (f *testFile) WriteHollow(context.Context, int64, int64) error { return errors.ErrUnsupported }
func (f *testFile) Size() (int64, error)                            { return int64(len(f.b)), nil }
func (f *testFile) Truncate(int64) error                            { return errors.ErrUnsupported }
func (f *testFile) Sync() error                                     { return nil }
func (f *testFile) Close() error                                    { return nil }
