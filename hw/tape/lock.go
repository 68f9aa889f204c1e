package tape

import (
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"

	"capstan/core/dev"
)

// lock is a file that names the holder of a drive among the processes of this host. It
// outlives the process: a holder that died keeps the drive until somebody who knows
// that it is dead takes it by force.
type lock struct {
	path string
	info fs.FileInfo // of the file as this holder made or found it
}

// takeLock takes the drive's lock for a holder; with "" it checks that it may go.
func (d *Drive) takeLock(holder string, force bool) error {
	if d.opts.LockDir == "" {
		return nil
	}
	path := filepath.Join(d.opts.LockDir, url.PathEscape(d.Name())+".lock")
	has, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return fmt.Errorf("lock: %w", err)
	case string(has) != holder && !force && (d.lock == nil || !d.lock.mine()):
		return fmt.Errorf("%w: %s holds it", dev.ErrReservation, has)
	}
	if holder == "" {
		if err == nil && d.lock == nil {
			d.lock = &lock{path: path}
		}
		return nil
	}
	l, err := makeLock(path, holder, err == nil)
	if err == nil {
		d.lock = l
	}
	return err
}

// makeLock makes the file with its content in one step. over says that it may take
// the place of another.
func makeLock(path, holder string, over bool) (*lock, error) {
	f, err := os.CreateTemp(filepath.Dir(path), "lock-*")
	if err != nil {
		return nil, fmt.Errorf("lock: %w", err)
	}
	defer os.Remove(f.Name())
	_, err = f.WriteString(holder)
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, fmt.Errorf("lock: %w", err)
	}
	info, err := os.Stat(f.Name())
	if err != nil {
		return nil, fmt.Errorf("lock: %w", err)
	}
	if over {
		err = os.Rename(f.Name(), path)
	} else {
		err = os.Link(f.Name(), path) // fails if somebody was faster
	}
	if errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("%w: another process took it just now", dev.ErrReservation)
	}
	if err != nil {
		return nil, fmt.Errorf("lock: %w", err)
	}
	return &lock{path: path, info: info}, nil
}

// mine tells whether the lock is still the one that was taken.
func (l *lock) mine() bool {
	now, err := os.Stat(l.path)
	return err == nil && l.info != nil && os.SameFile(now, l.info)
}

func (l *lock) release() {
	if l != nil {
		os.Remove(l.path)
	}
}
