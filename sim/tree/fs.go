package tree

import (
	"context"
	"fmt"
	"path"
	"sort"
	"strings"

	"capstan/core/catalog"
	"capstan/core/dev"
	"capstan/core/rt"
	seam "capstan/core/tree"
)

// maxName is the longest name of a directory entry, in bytes, as Linux has it.
const maxName = 255

// maxLinks is how many symbolic links Open follows at most.
const maxLinks = 40

// FS is a file system in memory. It belongs to one host; tasks of that host use
// it one at a time, as every task of a virtual world runs alone.
type FS struct {
	now  func(ctx context.Context) rt.Time
	disk dev.Resource
	root *node
	ino  uint64
	// lives is how many living trees there are: each has inodes of its own, apart from others'.
	lives uint64
}

// New makes an empty file system. now is the host's clock ([rt.Now] in a world);
// disk is the resource that hollow data crosses when it is read.
func New(now func(ctx context.Context) rt.Time, disk dev.Resource) *FS {
	fs := &FS{now: now, disk: disk}
	fs.root = fs.newNode(seam.Info{Type: catalog.Directory, Mode: 0o755}, 0)
	fs.root.nlink = 2
	return fs
}

// Disk is the resource that hollow data of this file system crosses.
func (fs *FS) Disk() dev.Resource { return fs.disk }

// node is an inode.
type node struct {
	info     seam.Info
	nlink    uint64
	children map[string]*node
	target   string // of a symbolic link
	data     data   // of a regular file
	denied   bool   // it cannot be opened
	xattrs   []seam.Xattr
	living   *living // of a directory that is another one each day
}

func (fs *FS) newNode(i seam.Info, now rt.Time) *node {
	fs.ino++
	i.Dev, i.Ino, i.MTime, i.CTime = 1, fs.ino, now, now
	n := &node{info: i, nlink: 1}
	if i.Type == catalog.Directory {
		n.children = map[string]*node{}
	}
	return n
}

// stat is what lstat says.
func (n *node) stat() seam.Info {
	i := n.info
	i.Nlink = n.nlink
	switch i.Type {
	case catalog.Regular:
		i.Size = n.data.size
	case catalog.Symlink:
		i.Size = int64(len(n.target))
	}
	return i
}

// Open opens a directory, following links.
func (fs *FS) Open(ctx context.Context, p string) (seam.Dir, error) {
	if !strings.HasPrefix(p, "/") {
		return nil, fmt.Errorf("open %s: %w: it is not absolute", p, seam.ErrBadName)
	}
	n, err := fs.resolve(p, maxLinks)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", p, err)
	}
	if n.children == nil {
		return nil, fmt.Errorf("open %s: %w", p, seam.ErrNotDir)
	}
	if n, err = fs.today(ctx, n); err != nil {
		return nil, fmt.Errorf("open %s: %w", p, err)
	}
	return &dir{fs: fs, n: n, path: path.Clean(p)}, nil
}

// today is a directory as it is now.
func (fs *FS) today(ctx context.Context, n *node) (*node, error) {
	if n.living == nil {
		return n, nil
	}
	return n.living.on(n, fs.now(ctx))
}

// resolve finds the file at an absolute path, following links. ".." is taken
// from the path's text, which is enough for an administrator's links.
func (fs *FS) resolve(p string, links int) (*node, error) {
	n, at := fs.root, "/"
	for _, name := range components(p) {
		if n.children == nil {
			return nil, seam.ErrNotDir
		}
		next := n.children[name]
		if next == nil {
			return nil, seam.ErrNotExist
		}
		if next.info.Type == catalog.Symlink {
			if links--; links < 0 {
				return nil, fmt.Errorf("more than %d symbolic links", maxLinks)
			}
			to := next.target
			if !strings.HasPrefix(to, "/") {
				to = path.Join(at, to)
			}
			var err error
			if next, err = fs.resolve(to, links); err != nil {
				return nil, err
			}
		}
		n, at = next, path.Join(at, name)
	}
	return n, nil
}

// components are the names in a path.
func components(p string) []string {
	p = strings.Trim(path.Clean(p), "/")
	if p == "" {
		return nil
	}
	return strings.Split(p, "/")
}

// names are the names in a directory, sorted.
func (n *node) names() []string {
	out := make([]string, 0, len(n.children))
	for name := range n.children {
		out = append(out, name)
	}
	sort.Strings(out)
	return out
}
