package archive

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"capstan/core/catalog"
	"capstan/core/rt"
	"capstan/core/status"
	"capstan/core/tree"
)

// Selection says which files to back up.
type Selection struct {
	// Paths are absolute; the last component may be a pattern (path.Match).
	Paths []string `json:"paths"`
	// Exclude are patterns: one that begins with "/" is compared with the whole
	// path, another with the last component. What is excluded is not descended.
	Exclude []string `json:"exclude,omitempty"`
	// Since, if not 0, leaves out files that were neither modified nor changed
	// since then. Directories are always in, so that a restore has their attributes.
	Since rt.Time `json:"since,omitempty"`
	// OneFileSystem does not descend into directories of another file system than
	// that of the path of the selection.
	OneFileSystem bool `json:"oneFileSystem,omitempty"`
}

// check refuses what could not be meant.
func (s *Selection) check() error {
	for _, p := range s.Paths {
		if !strings.HasPrefix(p, "/") || strings.Contains(p, "\x00") {
			return status.Errorf(status.BadParameter, "the file list has %q: write an absolute path", p)
		}
	}
	for _, ps := range [][]string{s.Paths, s.Exclude} {
		for _, p := range ps {
			if _, err := path.Match(p, ""); err != nil {
				return status.Errorf(status.BadParameter, "the pattern %q: %w", p, err)
			}
		}
	}
	return nil
}

func (s *Selection) excluded(full string) bool {
	for _, p := range s.Exclude {
		name := full
		if !strings.HasPrefix(p, "/") {
			name = path.Base(full)
		}
		if ok, _ := path.Match(p, name); ok {
			return true
		}
	}
	return false
}

// wants tells whether a file belongs to the backup by its times.
func (s *Selection) wants(i *tree.Info) bool {
	return s.Since == 0 || i.Type == catalog.Directory || s.touched(i)
}

// tick is how far a file's times may lie behind the clock that Since was read from: the
// kernel takes them from one that goes on with its timer only, at least a hundred times
// a second. What changed just after the last backup has looked at it is not to be missed.
const tick = 10 * time.Millisecond

// touched tells whether a file was modified or changed since.
func (s *Selection) touched(i *tree.Info) bool {
	since := s.Since.Add(-tick)
	return i.MTime >= since || i.CTime >= since
}

// expand finds the paths that exist, sorted, none of them beneath another.
func (s *Selection) expand(ctx context.Context, fs tree.FS, missing func(string, error)) ([]string, error) {
	var found []string
	for _, p := range s.Paths {
		names, err := match(ctx, fs, path.Clean(p))
		if err != nil {
			if ctx.Err() != nil {
				return nil, rt.Cause(ctx)
			}
			missing(p, err)
			continue
		}
		found = append(found, names...)
	}
	slices.SortFunc(found, comparePaths)
	var tops []string
	for _, p := range found {
		if len(tops) == 0 || !beneath(p, tops[len(tops)-1]) {
			tops = append(tops, p)
		}
	}
	if len(tops) == 0 {
		return nil, status.Errorf(status.NoFiles, "nothing of %q exists", s.Paths)
	}
	return tops, nil
}

// match finds the one path that exists by that name, or those that match the
// pattern of the last component.
func match(ctx context.Context, fs tree.FS, p string) ([]string, error) {
	if p == "/" {
		d, err := fs.Open(ctx, p)
		if err != nil {
			return nil, err
		}
		return []string{p}, d.Close()
	}
	d, err := fs.Open(ctx, path.Dir(p))
	if err != nil {
		return nil, err
	}
	defer d.Close()
	base := path.Base(p)
	_, err = d.Lstat(ctx, base)
	if err == nil {
		return []string{p}, nil
	}
	if !strings.ContainsAny(base, `*?[\`) || !errors.Is(err, tree.ErrNotExist) {
		return nil, err
	}
	names, err := d.Names(ctx)
	if err != nil {
		return nil, err
	}
	var found []string
	for _, n := range names {
		if ok, _ := path.Match(base, n); ok {
			found = append(found, path.Join(path.Dir(p), n))
		}
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("no name matches %q: %w", p, tree.ErrNotExist)
	}
	return found, nil
}

// comparePaths orders paths as a walk meets them: component by component.
func comparePaths(a, b string) int {
	return strings.Compare(strings.ReplaceAll(a, "/", "\x00"), strings.ReplaceAll(b, "/", "\x00"))
}

// beneath tells whether p is top or beneath it.
func beneath(p, top string) bool {
	return p == top || top == "/" || strings.HasPrefix(p, top+"/")
}
