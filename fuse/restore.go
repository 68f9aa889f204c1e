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
                 all of them are fetched by one restore job:
                   printf '%s\n' clients/web1/docs/latest/home/anna >.restore/new
                 Paths are those of this mount, from its root or absolute.
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
func (a *asking) Open(context.Context, uint32) (fs.FileHandle, uint32, syscall.Errno) {
	return &paths{s: a.s}, fuse.FOPEN_DIRECT_IO, 0
}

// paths is a request that is being written. Whoever reads it gets its number.
type paths struct {
	s    *system
	mu   sync.Mutex
	text []byte
	id   int
}

var (
	_ fs.FileWriter  = (*paths)(nil)
	_ fs.FileReader  = (*paths)(nil)
	_ fs.FileFlusher = (*paths)(nil)
)

// maxList bounds a request's text.
const maxList = 16 << 20

// Write takes paths.
func (l *paths) Write(_ context.Context, data []byte, off int64) (uint32, syscall.Errno) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if off != int64(len(l.text)) || len(l.text)+len(data) > maxList {
		return 0, syscall.EFBIG
	}
	l.text = append(l.text, data...)
	return uint32(len(data)), 0
}

// Flush makes a request of what was written. Its errors are those of close(2).
func (l *paths) Flush(context.Context) syscall.Errno {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.ask()
}

// Read gives the request's number.
func (l *paths) Read(_ context.Context, dest []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if errno := l.ask(); errno != 0 {
		return nil, errno
	}
	var b []byte
	if l.id != 0 {
		b = fmt.Appendf(nil, "%d\n", l.id)
	}
	return fuse.ReadResultData(b[min(int64(len(b)), off):]), 0
}

func (l *paths) ask() syscall.Errno {
	named := split(l.text)
	if len(named) == 0 || l.id != 0 {
		return 0
	}
	ctx := l.s.task("request")
	var files []stage.File
	for _, p := range named {
		src, at, ok := l.s.resolve(ctx, p)
		if !ok {
			l.s.log.Warn("a request names what is no file of an image", "path", p)
			return syscall.ENOENT
		}
		more, err := l.s.below(ctx, src, at)
		if err != nil {
			return l.s.errno("request", err)
		}
		if files = append(files, more...); len(files) > 0 && files[len(files)-1].Client != files[0].Client {
			l.s.log.Warn("a request has files of two clients", "path", p)
			return syscall.EXDEV
		}
	}
	l.id = l.s.asked.begin("", files).id
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

// resolve finds what a path of this mount means: a source, and a path in it.
func (s *system) resolve(ctx context.Context, p string) (*source, string, bool) {
	p = path.Clean("/" + strings.TrimPrefix(strings.TrimPrefix(p, s.mountpoint), "/"))
	part := strings.Split(strings.TrimPrefix(p, "/"), "/")
	at := func(n int) string { return "/" + strings.Join(part[min(n, len(part)):], "/") }
	if len(part) > 2 && part[0] == "media" {
		return s.byID(ctx, part[2], at(3))
	}
	if len(part) < 4 || part[0] != "clients" {
		return nil, "", false
	}
	own := s.images.of(ctx, part[1], part[2])
	switch {
	case len(own) == 0:
		return nil, "", false
	case part[3] == "latest":
		return asOf(own, own[len(own)-1]), at(4), true
	case part[3] == "@images" && len(part) > 4:
		return s.byID(ctx, part[4], at(5))
	case len(part) < 7:
		return nil, "", false
	}
	all := names(own, s.cfg.Zone)
	for _, h := range own {
		if all[h.ID] == strings.Join(part[3:7], "/") {
			return asOf(own, h), at(7), true
		}
	}
	return nil, "", false
}

func (s *system) byID(ctx context.Context, id, at string) (*source, string, bool) {
	for _, h := range s.images.list(ctx) {
		if h.ID == id {
			return only(h), at, true
		}
	}
	return nil, "", false
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
	out.Uid, out.Gid = uint32(os.Getuid()), uint32(os.Getgid())
	return 0
}

// Lookup finds nothing: what was put in was a request, and may be one again.
func (b *inbox) Lookup(context.Context, string, *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	return nil, syscall.ENOENT
}

// Symlink asks for what the link leads to.
func (b *inbox) Symlink(_ context.Context, target, _ string, _ *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	ctx := b.s.task("inbox")
	if !strings.HasPrefix(target, "/") {
		target = path.Join("/.restore/inbox", b.client, target)
	}
	src, at, ok := b.s.resolve(ctx, target)
	if !ok {
		return nil, syscall.ENOENT
	}
	return b.take(ctx, src, at, target)
}

func (b *inbox) take(ctx context.Context, src *source, at, target string) (*fs.Inode, syscall.Errno) {
	files, err := b.s.below(ctx, src, at)
	if err != nil {
		return nil, b.s.errno("inbox", err)
	}
	b.s.asked.begin(b.client, files)
	return b.NewInode(context.Background(), &link{target: func() string { return target }}, fs.StableAttr{Mode: syscall.S_IFLNK}), 0
}

// Rename asks for a file that is moved to an inbox. It stays where it is.
func (n *file) Rename(_ context.Context, name string, to fs.InodeEmbedder, _ string, _ uint32) syscall.Errno {
	b, ok := to.(*inbox)
	if !ok {
		return syscall.EROFS
	}
	_, errno := b.take(n.s.task("inbox"), n.src, filepath.Join(n.e.Path, name), "")
	return errno
}
