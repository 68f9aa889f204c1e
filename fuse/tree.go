package fuse

import (
	"context"
	"path"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"capstan/core/catalog"
	"capstan/core/image"
	"capstan/core/rt"
)

// file is a file of a client, in a source: a directory, too.
type file struct {
	fs.Inode
	s   *system
	src *source
	e   catalog.Entry
	// header is of the image that holds it.
	header *image.Header
	nlink  uint32
	told   atomic.Bool // the kernel was told that it is staged
}

var (
	_ fs.NodeLookuper       = (*file)(nil)
	_ fs.NodeOpendirHandler = (*file)(nil)
	_ fs.NodeGetattrer      = (*file)(nil)
	_ fs.NodeReadlinker     = (*file)(nil)
	_ fs.NodeOpener         = (*file)(nil)
	_ fs.NodeGetxattrer     = (*file)(nil)
	_ fs.NodeListxattrer    = (*file)(nil)
)

// tree is the root of a source's files.
func (s *system) tree(src *source) *file {
	last := &src.images[len(src.images)-1]
	return &file{s: s, src: src, header: last, nlink: 1, e: catalog.Entry{Path: "/", Type: catalog.Directory, Mode: 0o755, MTime: rt.Time(last.Time * int64(time.Second))}}
}

// blockSize is the unit of transfers that programs are told. It is set for else st_blocks
// would be computed from the size.
const blockSize = 4096

// node makes the node of what a view has found. A hard link is the file that it is a
// name of.
func (s *system) node(ctx context.Context, src *source, f catalog.Found) (*file, error) {
	n := &file{s: s, src: src, e: f.Entry, header: &src.images[f.Image], nlink: 1}
	if f.Type != catalog.HardLink {
		return n, nil
	}
	r, err := s.images.reader(ctx, n.header.ID)
	if err != nil {
		return nil, err
	}
	e, ok, err := r.Lookup(ctx, f.Link)
	if err != nil {
		return nil, err
	}
	if ok && e.Type != catalog.HardLink {
		n.e, n.nlink = e, 2
	}
	return n, nil
}

func (n *file) stable() fs.StableAttr {
	return fs.StableAttr{Mode: kind(n.e.Type), Ino: n.src.inode(n.header, &n.e)}
}

// inode is the number of an entry of one of the source's images. A hard link has that of
// its file, which a newer image may show otherwise at its path: then they are two.
func (src *source) inode(h *image.Header, e *catalog.Entry) uint64 {
	if e.Type == catalog.HardLink {
		return inode(src.key, h.ID, e.Link)
	}
	return inode(src.key, h.ID, e.Path)
}

// kind is the type bits of a mode.
func kind(t catalog.Type) uint32 {
	switch t {
	case catalog.Directory:
		return syscall.S_IFDIR
	case catalog.Symlink:
		return syscall.S_IFLNK
	case catalog.CharDev:
		return syscall.S_IFCHR
	case catalog.BlockDev:
		return syscall.S_IFBLK
	case catalog.FIFO:
		return syscall.S_IFIFO
	}
	return syscall.S_IFREG
}

// attr is what stat(2) says. A file that lies on tape has one block, never none: programs
// that copy holes take a file without blocks for one large hole, and would copy zeros.
func (n *file) attr(out *fuse.Attr) {
	e := &n.e
	out.Ino = n.stable().Ino
	out.Mode = kind(e.Type) | e.Mode&0o7777
	out.Uid, out.Gid, out.Nlink, out.Blksize = e.UID, e.GID, n.nlink, blockSize
	out.Rdev = uint32(unix.Mkdev(e.Major, e.Minor))
	m, c := e.MTime.Std(), e.CTime.Std()
	if e.CTime == 0 {
		c = m
	}
	out.SetTimes(&m, &m, &c)
	switch e.Type {
	case catalog.Symlink:
		out.Size = uint64(len(e.Link))
	case catalog.Regular, catalog.HardLink:
		out.Size = uint64(e.Size)
		if e.Size > 0 {
			out.Blocks = n.blocks()
		}
	}
}

func (n *file) blocks() uint64 {
	if b, ok := n.s.staged.blocks(n.key()); ok {
		return max(b, 1)
	}
	if n.locality() == nearline {
		return 1
	}
	return max((uint64(n.e.DataLen)+511)/512, 1)
}

// Getattr is stat(2).
func (n *file) Getattr(_ context.Context, _ fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	n.attr(&out.Attr)
	out.SetTimeout(forever)
	return 0
}

// Readlink gives a link's target.
func (n *file) Readlink(context.Context) ([]byte, syscall.Errno) { return []byte(n.e.Link), 0 }

// Lookup finds a name in a directory.
func (n *file) Lookup(fctx context.Context, name string, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	ctx, end := n.s.during(fctx, "lookup")
	defer end()
	v, err := n.s.images.view(ctx, n.src)
	if err != nil {
		return nil, n.failed(ctx, err, out)
	}
	f, ok, err := v.Lookup(ctx, path.Join(n.e.Path, name))
	if err != nil {
		return nil, n.failed(ctx, err, out)
	}
	if !ok {
		return nil, syscall.ENOENT
	}
	return n.child(ctx, f, out)
}

// failed is the answer to a lookup that an error ends. The kernel remembers what is not
// there, but not what an error says is not there: that has a time of its own.
func (n *file) failed(ctx context.Context, err error, out *fuse.EntryOut) syscall.Errno {
	out.SetEntryTimeout(soon)
	return n.s.errno(ctx, "lookup", err)
}

func (n *file) child(ctx context.Context, f catalog.Found, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	c, err := n.s.node(ctx, n.src, f)
	if err != nil {
		return nil, n.failed(ctx, err, out)
	}
	in := n.NewInode(context.Background(), c, c.stable())
	if known, ok := in.Operations().(*file); !ok || known.e.Path != c.e.Path || known.header.ID != c.header.ID {
		n.s.log.Error("two files have one inode number", "path", c.e.Path, "image", c.header.ID)
		return nil, syscall.EIO // until the kernel forgets the other one
	}
	c.attr(&out.Attr)
	out.SetEntryTimeout(forever)
	out.SetAttrTimeout(forever)
	return in, 0
}

// listing is an open directory.
type listing struct {
	n     *file
	who   string // the process that lists
	view  *catalog.View
	page  []catalog.Found
	next  int    // of page
	after string // the last name given
	off   uint64
	last  catalog.Found
	done  bool
}

var (
	_ fs.FileReaddirenter = (*listing)(nil)
	_ fs.FileLookuper     = (*listing)(nil)
	_ fs.FileSeekdirer    = (*listing)(nil)
)

const (
	pageSize = 1000
	// attributes are told with so many of the first names of a directory; with very many
	// they would cost memory, there and in the kernel, for programs that want names alone.
	attributes = 20_000
)

// OpendirHandle begins a listing. The kernel may keep it.
func (n *file) OpendirHandle(fctx context.Context, _ uint32) (fs.FileHandle, uint32, syscall.Errno) {
	ctx, end := n.s.during(fctx, "opendir")
	defer end()
	v, err := n.s.images.view(ctx, n.src)
	if err != nil {
		return nil, 0, n.s.errno(ctx, "list", err)
	}
	process, _ := caller(fctx)
	n.s.looks.Listed(rt.Mono(ctx), process, n.src.key, n.e.Path)
	return &listing{n: n, view: v, who: process}, fuse.FOPEN_CACHE_DIR | fuse.FOPEN_KEEP_CACHE, 0
}

// Readdirent gives the next name.
func (l *listing) Readdirent(fctx context.Context) (*fuse.DirEntry, syscall.Errno) {
	if l.next == len(l.page) {
		if errno := l.turn(fctx); errno != 0 || len(l.page) == 0 {
			return nil, errno
		}
	}
	l.last = l.page[l.next]
	l.next++
	l.off++
	l.after = path.Base(l.last.Path)
	return &fuse.DirEntry{Name: l.after, Mode: kind(l.last.Type), Ino: l.n.src.inode(&l.n.src.images[l.last.Image], &l.last.Entry), Off: l.off}, 0
}

// turn gets the next page, which is empty after the last.
func (l *listing) turn(fctx context.Context) syscall.Errno {
	var page []catalog.Found
	if !l.done {
		ctx, end := l.n.s.during(fctx, "readdir")
		defer end()
		var err error
		if page, err = l.view.List(ctx, l.n.e.Path, l.after, pageSize); err != nil {
			return l.n.s.errno(ctx, "list", err)
		}
	}
	l.page, l.next, l.done = page, 0, len(page) < pageSize
	return 0
}

// Lookup gives the attributes of the name that was given last.
func (l *listing) Lookup(fctx context.Context, name string, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	if l.off > attributes || name != l.after {
		return nil, syscall.ENOENT // the name alone
	}
	ctx, end := l.n.s.during(fctx, "lookup")
	defer end()
	return l.n.child(ctx, l.last, out)
}

// Seekdir goes to where a listing was: an earlier offset is found by listing again.
func (l *listing) Seekdir(ctx context.Context, off uint64) syscall.Errno {
	if off < l.off {
		l.page, l.next, l.after, l.off, l.done = nil, 0, "", 0, false
	}
	for l.off < off {
		if e, errno := l.Readdirent(ctx); e == nil {
			return errno
		}
	}
	return 0
}
