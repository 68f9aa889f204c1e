package fuse

import (
	"context"
	"hash/fnv"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sync/singleflight"
)

// dir is a directory that no client has: a level above the images. It is small.
type dir struct {
	fs.Inode
	s    *system
	path string // from the mount's root: what it is known by
	// list gives what is in it now.
	list func(ctx context.Context) ([]child, error)
	// find, if it is set, gives what is in it and not listed.
	find func(ctx context.Context, name string) (child, bool)
	// wide is a dir that may be large and costs to list: a list is used for as long as
	// the kernel keeps its names, or who lists it with attributes would list it for each.
	wide   bool
	flight singleflight.Group
	kept   atomic.Pointer[listed]
}

// listed is what was listed in a wide dir.
type listed struct {
	children []child
	names    map[string]child
	at       time.Time
}

// child is a name in a dir.
type child struct {
	name string
	mode uint32 // type bits; 0 is a directory
	of   string // what it shows, if a name may mean another thing later
	make func() fs.InodeEmbedder
}

var (
	_ fs.NodeLookuper  = (*dir)(nil)
	_ fs.NodeReaddirer = (*dir)(nil)
	_ fs.NodeGetattrer = (*dir)(nil)
)

// fixed is a dir that always holds the same.
func (s *system) fixed(path string, children []child) *dir {
	return &dir{s: s, path: path, list: func(context.Context) ([]child, error) { return children, nil }}
}

// inode is the number of what is known by a path from the mount's root, the same in
// every mount: FNV-1a in 63 bits. Two of a billion names have the
// same number with a probability of 5 %.
func inode(parts ...string) uint64 {
	h := fnv.New64a()
	for _, p := range parts {
		h.Write([]byte(p))
		h.Write([]byte{0xFF})
	}
	return max(h.Sum64()&^(1<<63), 2)
}

// children is the list, and by name if it is kept.
func (d *dir) children(ctx context.Context) ([]child, map[string]child, error) {
	if !d.wide {
		cs, err := d.list(ctx)
		return cs, nil, err
	}
	l := d.kept.Load()
	if l == nil || time.Since(l.at) > soon {
		var err error
		if l, err = shared(ctx, &d.flight, "", d.listAnew); err != nil {
			return nil, nil, err
		}
	}
	return l.children, l.names, nil
}

func (d *dir) listAnew() (*listed, error) {
	cs, err := d.list(d.s.task("list"))
	if err != nil {
		return nil, err
	}
	l := &listed{cs, make(map[string]child, len(cs)), time.Now()}
	for _, c := range cs {
		l.names[c.name] = c
	}
	d.kept.Store(l)
	return l, nil
}

// child is what has a name: it may be one that is not listed.
func (d *dir) child(ctx context.Context, name string) (c child, ok bool, err error) {
	cs, names, err := d.children(ctx)
	if err != nil {
		return c, false, err
	}
	if names != nil {
		c, ok = names[name]
		return c, ok, nil
	}
	if at := slices.IndexFunc(cs, func(c child) bool { return c.name == name }); at >= 0 {
		return cs[at], true, nil
	}
	if d.find == nil {
		return c, false, nil
	}
	c, ok = d.find(ctx, name)
	return c, ok, nil
}

// Lookup finds a name.
func (d *dir) Lookup(fctx context.Context, name string, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	ctx, end := d.s.during(fctx, "lookup")
	defer end()
	c, ok, err := d.child(ctx, name)
	if err != nil {
		return nil, d.s.errno(ctx, "list "+d.path, err)
	}
	if !ok {
		out.SetEntryTimeout(soon) // it may come
		return nil, syscall.ENOENT
	}
	node := c.make()
	in := d.NewInode(context.Background(), node, fs.StableAttr{Mode: c.kind(), Ino: d.ino(&c)})
	out.SetEntryTimeout(soon)
	out.SetAttrTimeout(soon)
	var a fuse.AttrOut
	if g, ok := in.Operations().(fs.NodeGetattrer); ok {
		if errno := g.Getattr(fctx, nil, &a); errno != 0 {
			return nil, errno
		}
	}
	out.Attr = a.Attr
	return in, 0
}

func (d *dir) ino(c *child) uint64 { return inode(d.path, c.name, c.of) }

func (c *child) kind() uint32 {
	if c.mode == 0 {
		return syscall.S_IFDIR
	}
	return c.mode
}

// Readdir lists the names.
func (d *dir) Readdir(fctx context.Context) (fs.DirStream, syscall.Errno) {
	ctx, end := d.s.during(fctx, "readdir")
	defer end()
	cs, _, err := d.children(ctx)
	if err != nil {
		return nil, d.s.errno(ctx, "list "+d.path, err)
	}
	es := make([]fuse.DirEntry, len(cs))
	for i, c := range cs {
		es[i] = fuse.DirEntry{Name: c.name, Mode: c.kind(), Ino: d.ino(&c), Off: uint64(i + 1)}
	}
	return fs.NewListDirStream(es), 0
}

// Getattr tells that everybody may look.
func (d *dir) Getattr(_ context.Context, _ fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	out.Mode = syscall.S_IFDIR | 0o555
	out.Nlink, out.Blksize = 2, blockSize
	when := d.s.images.changed()
	out.SetTimes(nil, &when, &when)
	out.SetTimeout(soon)
	return 0
}

// link is a symbolic link. The kernel keeps the target for as long as it knows the inode:
// one that leads elsewhere is another.
type link struct {
	fs.Inode
	target string
}

var (
	_ fs.NodeReadlinker = (*link)(nil)
	_ fs.NodeGetattrer  = (*link)(nil)
)

// Readlink gives the target.
func (l *link) Readlink(context.Context) ([]byte, syscall.Errno) { return []byte(l.target), 0 }

// Getattr gives the target's length.
func (l *link) Getattr(_ context.Context, _ fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	out.Mode, out.Nlink, out.Size = syscall.S_IFLNK|0o777, 1, uint64(len(l.target))
	out.SetTimeout(soon)
	return 0
}

// text is a small file whose contents are made when it is opened.
type text struct {
	fs.Inode
	s    *system
	read func() []byte
}

var (
	_ fs.NodeOpener    = (*text)(nil)
	_ fs.NodeGetattrer = (*text)(nil)
)

type textHandle struct{ bytes []byte }

var _ fs.FileReader = (*textHandle)(nil)

// Open makes the contents.
func (t *text) Open(_ context.Context, flags uint32) (fs.FileHandle, uint32, syscall.Errno) {
	if flags&syscall.O_ACCMODE != syscall.O_RDONLY {
		return nil, 0, syscall.EROFS
	}
	return &textHandle{t.read()}, fuse.FOPEN_DIRECT_IO, 0
}

// Getattr gives the length as it is now.
func (t *text) Getattr(_ context.Context, _ fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	out.Mode, out.Nlink, out.Size = syscall.S_IFREG|0o444, 1, uint64(len(t.read()))
	out.Blocks, out.Blksize = (out.Size+511)/512, blockSize
	return 0
}

// Read reads.
func (h *textHandle) Read(_ context.Context, dest []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	if off >= int64(len(h.bytes)) {
		return fuse.ReadResultData(nil), 0
	}
	return fuse.ReadResultData(h.bytes[off:min(int64(len(h.bytes)), off+int64(len(dest)))]), 0
}

func join(parts ...string) string {
	return strings.TrimSuffix(parts[0], "/") + "/" + strings.Join(parts[1:], "/")
}
