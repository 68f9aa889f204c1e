package real

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"capstan/core/store"
	"capstan/hw/dir"
)

// dirs are the directories that a process has opened: relative paths are below
// the host's state.
type dirs struct {
	state string
	mu    sync.Mutex
	open  map[string]*dir.Dir
}

func newDirs(state string) *dirs { return &dirs{state: state, open: map[string]*dir.Dir{}} }

// dir opens a directory. One of the host's own state is made if it is not there;
// one by an absolute path is not: it may be the mount point of a disk that is
// missing, and its file system too small.
func (d *dirs) dir(path string) store.Dir {
	full := path
	if !filepath.IsAbs(path) {
		full = filepath.Join(d.state, path)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if o := d.open[full]; o != nil {
		return o
	}
	if full != path {
		if err := os.MkdirAll(full, 0o700); err != nil {
			return noDir{err}
		}
	}
	o, err := dir.Open(full)
	if err != nil {
		return noDir{fmt.Errorf("%w (if it is to be used, make it)", err)}
	}
	d.open[full] = o
	return o
}

func (d *dirs) close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	var errs []error
	for _, o := range d.open {
		errs = append(errs, o.Close())
	}
	clear(d.open)
	return errors.Join(errs...)
}

// noDir is a directory that could not be opened: all that is done to it says so.
type noDir struct{ err error }

func (n noDir) Create(context.Context, string) (store.File, error) { return nil, n.err }
func (n noDir) Open(context.Context, string) (store.File, error)   { return nil, n.err }
func (n noDir) Rename(context.Context, string, string) error       { return n.err }
func (n noDir) Remove(context.Context, string) error               { return n.err }
func (n noDir) List(context.Context, string) ([]string, error)     { return nil, n.err }
func (n noDir) Sync(context.Context, string) error                 { return n.err }
func (n noDir) Free(context.Context) (int64, error)                { return 0, n.err }
