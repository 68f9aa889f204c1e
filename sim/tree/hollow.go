package tree

import (
	"context"
	"fmt"
	"math/rand/v2"

	"capstan/core/catalog"
	seam "capstan/core/tree"
)

// MaxHollow is how many entries a generated tree has at most: a planning run
// costs events in proportion to jobs, not to files. Four are enough for what depends
// on there being several: members of different lengths, fragments that end between
// two of them or inside one, a restore of some of them.
const MaxHollow = 4

// Hollow says what a generated tree stands for.
type Hollow struct {
	Files int64
	Bytes int64 // of all files together
}

// AddHollow fills a directory, which is made if it does not exist, with hollow
// entries that stand for h.Files files of together h.Bytes bytes. How both are
// shared out among the entries is drawn from r.
func (fs *FS) AddHollow(ctx context.Context, path string, h Hollow, r *rand.Rand) error {
	if h.Files < 1 || h.Bytes < 0 || h.Bytes > 1<<60 || h.Files > 1<<40 {
		return fmt.Errorf("hollow tree %s: %d files of %d bytes cannot be", path, h.Files, h.Bytes)
	}
	d, err := fs.makeAll(ctx, path)
	if err != nil {
		return err
	}
	n := min(h.Files, MaxHollow)
	files, bytes := share(h.Files-n, n, r), share(h.Bytes, n, r)
	for i := range n {
		node, err := d.add(ctx, "create", fmt.Sprintf("files-%02d", i), seam.Info{Type: catalog.Regular, Mode: 0o644})
		if err != nil {
			return err
		}
		node.data.put(piece{n: bytes[i]})
		node.info.Files = files[i] + 1
	}
	return nil
}

// share cuts total into n parts of random weights; they add up to total exactly.
func share(total, n int64, r *rand.Rand) []int64 {
	weights := make([]int64, n)
	for i := range weights {
		weights[i] = 1 + r.Int64N(1000)
	}
	return parts(total, weights)
}

// makeAll opens a directory, making what is missing of its path.
func (fs *FS) makeAll(ctx context.Context, p string) (*dir, error) {
	d := &dir{fs: fs, n: fs.root, path: "/"}
	for _, name := range components(p) {
		if d.n.children[name] == nil {
			if err := d.Mkdir(ctx, name, 0o755); err != nil {
				return nil, err
			}
		}
		next, err := d.OpenDir(ctx, name)
		if err != nil {
			return nil, err
		}
		d = next.(*dir)
	}
	return d, nil
}

// WriteFile makes a file with bytes, and the directories that hold it: how a test
// or a scenario prepares a tree.
func (fs *FS) WriteFile(ctx context.Context, p string, b []byte) error {
	names := components(p)
	if len(names) == 0 {
		return fmt.Errorf("write %s: %w", p, seam.ErrIsDir)
	}
	d, err := fs.makeAll(ctx, p[:len(p)-len(names[len(names)-1])])
	if err != nil {
		return err
	}
	n, err := d.add(ctx, "create", names[len(names)-1], seam.Info{Type: catalog.Regular, Mode: 0o644})
	if err == nil {
		n.data.put(piece{bytes: append([]byte{}, b...), n: int64(len(b))})
	}
	return err
}

// Deny makes the file at a path one that cannot be opened.
func (fs *FS) Deny(p string) error {
	n, err := fs.resolve(p, maxLinks)
	if err != nil {
		return fmt.Errorf("deny %s: %w", p, err)
	}
	n.denied = true
	return nil
}

// ReadFile gives the bytes of the file at a path.
func (fs *FS) ReadFile(p string) ([]byte, error) {
	n, err := fs.resolve(p, maxLinks)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", p, err)
	}
	b := make([]byte, n.data.size)
	if len(b) > 0 {
		_, err = n.data.readAt(b, 0)
	}
	return b, err
}
