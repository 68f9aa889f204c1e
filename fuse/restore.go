package fuse

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"

	"capstan/core/image"
	"capstan/core/stage"
)

const readme = `new              write paths into it, one a line, or with a NUL after each; when it is closed
                 all of them are fetched, by one restore for each cartridge:
                   printf '%s\n' clients/web1/docs/latest/home/anna >.restore/new
                 Paths are those of this mount, from its root or absolute; of a directory
                 what you may read is fetched.
status/N         what becomes of the Nth request: its cost, then its job, then its end
inbox/CLIENT/    what is moved or linked here is restored to CLIENT, at its original place;
                 files that exist there stay. Only for the user who mounted:
                   ln -s "$PWD/thesis.tex" /mnt/.restore/inbox/laptop7/
`

// restoreDir is .restore/.
func (s *system) restoreDir() *dir {
	return s.fixed("/.restore", []child{
		{name: "README", mode: syscall.S_IFREG, make: func() fs.InodeEmbedder { return &text{s: s, read: func() []byte { return []byte(readme) }} }},
		{name: "inbox", make: func() fs.InodeEmbedder { return s.inboxDir() }},
		{name: "new", mode: syscall.S_IFREG, make: func() fs.InodeEmbedder { return &asking{s: s} }},
		{name: "status", make: func() fs.InodeEmbedder { return s.statusDir() }},
	})
}

func (s *system) statusDir() *dir {
	return &dir{s: s, path: "/.restore/status", list: func(context.Context) (cs []child, _ error) {
		for _, r := range s.asked.list() {
			cs = append(cs, child{name: fmt.Sprint(r.id), mode: syscall.S_IFREG, make: func() fs.InodeEmbedder {
				return &text{s: s, read: func() []byte { return s.asked.text(r) }}
			}})
		}
		return cs, nil
	}}
}

// asking is .restore/new.
type asking struct {
	fs.Inode
	s *system
}

var (
	_ fs.NodeOpener    = (*asking)(nil)
	_ fs.NodeGetattrer = (*asking)(nil)
	_ fs.NodeSetattrer = (*asking)(nil)
)

// Getattr tells that everybody may write.
func (a *asking) Getattr(_ context.Context, _ fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	out.Mode, out.Nlink = syscall.S_IFREG|0o666, 1
	return 0
}

// Setattr lets the file be cut short, which it always is.
func (a *asking) Setattr(ctx context.Context, f fs.FileHandle, _ *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	return a.Getattr(ctx, f, out)
}

// Open begins a request.
func (a *asking) Open(ctx context.Context, _ uint32) (fs.FileHandle, uint32, syscall.Errno) {
	return &paths{s: a.s, who: personOf(ctx)}, fuse.FOPEN_DIRECT_IO, 0
}

// paths is a request that is being written. Whoever reads it gets its number. What is
// written after it was closed once, as by the second of two programs that write into one
// open file, is another request.
type paths struct {
	s    *system
	who  person
	mu   sync.Mutex
	text []byte
	base int64 // where text begins
	id   int
}

var (
	_ fs.FileWriter   = (*paths)(nil)
	_ fs.FileReader   = (*paths)(nil)
	_ fs.FileFlusher  = (*paths)(nil)
	_ fs.FileReleaser = (*paths)(nil)
)

// maxList bounds a request's text, maxText that of all that are being written.
const (
	maxList = 16 << 20
	maxText = 64 << 20
)

// Write takes paths.
func (l *paths) Write(_ context.Context, data []byte, off int64) (uint32, syscall.Errno) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if off != l.base+int64(len(l.text)) || len(l.text)+len(data) > maxList {
		return 0, syscall.EFBIG
	}
	if !l.s.asked.writes(len(data)) {
		return 0, syscall.ENOSPC
	}
	l.text = append(l.text, data...)
	return uint32(len(data)), 0
}

// Release forgets what was written after the last close.
func (l *paths) Release(context.Context) syscall.Errno {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.take()
	return 0
}

// take takes what was written.
func (l *paths) take() (text []byte) {
	text, l.text = l.text, nil
	l.base += int64(len(text))
	l.s.asked.writes(-len(text))
	return text
}

// Flush makes a request of what was written. Its errors are those of close(2).
func (l *paths) Flush(fctx context.Context) syscall.Errno {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.ask(fctx)
}

// Read gives the request's number.
func (l *paths) Read(fctx context.Context, dest []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if errno := l.ask(fctx); errno != 0 {
		return nil, errno
	}
	var b []byte
	if l.id != 0 {
		b = fmt.Appendf(nil, "%d\n", l.id)
	}
	return fuse.ReadResultData(b[min(int64(len(b)), off):]), 0
}

func (l *paths) ask(fctx context.Context) syscall.Errno {
	named := split(l.take())
	if len(named) == 0 {
		return 0
	}
	ctx, end := l.s.unlessInterrupted(fctx, "request")
	defer end()
	var files []stage.File
	resolver := l.s.resolver()
	for _, p := range named {
		src, at, ok := resolver.resolve(ctx, p)
		if !ok {
			l.s.log.Warn("a request names what is no file of an image", "path", p)
			return syscall.ENOENT
		}
		more, err := l.s.below(ctx, src, at, l.who)
		if err != nil {
			return l.s.errno(ctx, "request", err)
		}
		if files = append(files, more...); len(files) > 0 && files[len(files)-1].Client != files[0].Client {
			l.s.log.Warn("a request has files of two clients", "path", p)
			return syscall.EXDEV
		}
		if len(files) > maxRequestFiles {
			l.s.log.Warn("a request has too many files", "limit", maxRequestFiles)
			return syscall.EFBIG
		}
	}
	r, err := l.s.asked.begin("", l.who.name(), files)
	if err != nil {
		return l.s.errno(ctx, "request", err)
	}
	l.id = r.id
	return 0
}

// split parts a list: at NUL bytes if it has any, else at line ends.
func split(text []byte) (paths []string) {
	sep := []byte("\n")
	if bytes.IndexByte(text, 0) >= 0 {
		sep = []byte{0}
	}
	for p := range bytes.SplitSeq(text, sep) {
		if len(p) > 0 {
			paths = append(paths, string(p))
		}
	}
	return paths
}

// resolver finds what paths of this mount mean. It goes down as the kernel does, to the
// first file or directory of a client, and remembers what it has passed.
type resolver struct {
	top        *dir
	mountpoint string
	passed     map[string]fs.InodeEmbedder // by the path that it is known by
}

func (s *system) resolver() *resolver {
	return &resolver{s.root(), s.mountpoint, map[string]fs.InodeEmbedder{}}
}

// resolve gives a source, and a path in it.
func (r *resolver) resolve(ctx context.Context, p string) (*source, string, bool) {
	if below, ok := strings.CutPrefix(p, r.mountpoint+"/"); ok {
		p = below
	}
	at := r.top
	for parts := strings.Split(path.Clean("/" + p)[1:], "/"); len(parts) > 0; {
		next := r.next(ctx, at, parts[0])
		parts = parts[1:]
		switch n := next.(type) {
		case *dir:
			at = n
		case *file:
			return n.src, path.Join(n.e.Path, path.Join(parts...)), true
		case *link:
			parts = append(strings.Split(n.target, "/"), parts...)
		default:
			return nil, "", false
		}
	}
	return nil, "", false
}

// next is what has a name in a dir, nil if nothing has.
func (r *resolver) next(ctx context.Context, at *dir, name string) fs.InodeEmbedder {
	key := join(at.path, name)
	if n, ok := r.passed[key]; ok {
		return n
	}
	c, ok, err := at.child(ctx, name)
	if err != nil || !ok {
		return nil
	}
	n := c.make()
	if _, isFile := n.(*file); !isFile || c.kind() == syscall.S_IFDIR { // of single files there may be very many
		r.passed[key] = n
	}
	return n
}

// inboxDir is .restore/inbox/: a directory for each client, whether it has images or not.
func (s *system) inboxDir() *dir {
	of := func(name string) child {
		return child{name: name, make: func() fs.InodeEmbedder { return &inbox{s: s, client: name} }}
	}
	return &dir{
		s: s, path: "/.restore/inbox",
		list: func(ctx context.Context) (cs []child, _ error) {
			for _, c := range s.level(ctx, "/.restore/inbox", func(h *image.Header) string { return h.Client }, nil) {
				cs = append(cs, of(c.name))
			}
			return cs, nil
		},
		find: func(_ context.Context, name string) (child, bool) { return of(name), true },
	}
}

// inbox is .restore/inbox/<client>/.
type inbox struct {
	fs.Inode
	s      *system
	client string
}

var (
	_ fs.NodeSymlinker = (*inbox)(nil)
	_ fs.NodeLookuper  = (*inbox)(nil)
	_ fs.NodeGetattrer = (*inbox)(nil)
	_ fs.NodeRenamer   = (*file)(nil)
)

// Getattr tells that only whoever mounted may put something in: what is restored comes
// with the mount's rights, whoever may read or write it, to any client.
func (b *inbox) Getattr(_ context.Context, _ fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	out.Mode, out.Nlink = syscall.S_IFDIR|0o700, 2
	out.Uid, out.Gid = uint32(os.Geteuid()), uint32(os.Getegid())
	return 0
}

// Lookup finds nothing: what was put in was a request, and may be one again.
func (b *inbox) Lookup(_ context.Context, _ string, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	out.SetEntryTimeout(soon)
	return nil, syscall.ENOENT
}

// Symlink asks for what the link leads to.
func (b *inbox) Symlink(fctx context.Context, target, _ string, _ *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	ctx, end := b.s.during(fctx, "inbox")
	defer end()
	if !strings.HasPrefix(target, "/") {
		target = path.Join("/.restore/inbox", b.client, target)
	}
	src, at, ok := b.s.resolver().resolve(ctx, target)
	if !ok {
		return nil, syscall.ENOENT
	}
	return b.take(ctx, src, at, target, personOf(fctx))
}

func (b *inbox) take(ctx context.Context, src *source, at, target string, who person) (*fs.Inode, syscall.Errno) {
	if !who.owns() {
		return nil, syscall.EACCES
	}
	files, err := b.s.below(ctx, src, at, who)
	if err != nil {
		return nil, b.s.errno(ctx, "inbox", err)
	}
	if _, err := b.s.asked.begin(b.client, who.name(), files); err != nil {
		return nil, b.s.errno(ctx, "inbox", err)
	}
	return b.NewInode(context.Background(), &link{target: target}, fs.StableAttr{Mode: syscall.S_IFLNK}), 0
}

// Rename asks for a file that is moved to an inbox. It stays where it is.
func (n *file) Rename(fctx context.Context, name string, to fs.InodeEmbedder, _ string, _ uint32) syscall.Errno {
	b, ok := to.(*inbox)
	if !ok {
		return syscall.EROFS
	}
	ctx, end := n.s.during(fctx, "inbox")
	defer end()
	_, errno := b.take(ctx, n.src, filepath.Join(n.e.Path, name), "", personOf(fctx))
	return errno
}
