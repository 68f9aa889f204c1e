package fuse

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"strings"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"

	"capstan/core/catalog"
	"capstan/core/rt"
	"capstan/core/stage"
	"capstan/core/status"
)

// Where the contents of a file are, in the words of the storage grids (WLCG).
const (
	online      = "ONLINE"      // on disk
	nearline    = "NEARLINE"    // on tape
	unavailable = "UNAVAILABLE" // on no volume that is known
)

func (n *file) key() string { return keyOf(n.header.ID, n.e.Path) }

func (n *file) locality() string {
	if n.e.Size == 0 || n.e.Type != catalog.Regular {
		return online
	}
	if _, ok := n.s.staged.blocks(n.key()); ok {
		return online
	}
	if len(n.header.Fragments) == 0 {
		return unavailable
	}
	if stage.PlaceOf(n.header, &n.e).Media != "" {
		return nearline
	}
	return online
}

// wanted is the file in the words of package stage.
func (n *file) wanted() stage.File {
	return stage.File{Image: n.header.ID, Client: n.header.Client, Path: n.e.Path, Bytes: n.e.Size, Place: stage.PlaceOf(n.header, &n.e)}
}

// handle is an open file.
type handle struct {
	f *stagedHandle
	n *file
}

var (
	_ fs.FileReader          = (*handle)(nil)
	_ fs.FileFlusher         = (*handle)(nil)
	_ fs.FileReleaser        = (*handle)(nil)
	_ fs.FilePassthroughFder = (*handle)(nil)
	_ fs.FileLseeker         = (*handle)(nil)
)

// PassthroughFd has the kernel read the staged file itself, where it can.
func (h *handle) PassthroughFd() (int, bool) { return int(h.f.file.Fd()), true }

// Read is for kernels that cannot.
func (h *handle) Read(_ context.Context, dest []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	return fuse.ReadResultFd(h.f.file.Fd(), off, len(dest)), 0
}

// Lseek finds data and holes of the staged file, which has those of the original.
func (h *handle) Lseek(_ context.Context, off uint64, whence uint32) (uint64, syscall.Errno) {
	at, err := h.f.file.Seek(int64(off), int(whence))
	return uint64(at), fs.ToErrno(err)
}

// Flush tells who closes the file that the kernel could not write it: what was read may
// have been zeros, which are not to be shown again.
func (h *handle) Flush(context.Context) syscall.Errno {
	err := h.f.written()
	if err != nil {
		_ = h.n.EmbeddedInode().NotifyContent(0, 0) // a kernel that reads the staged file itself has none of it
	}
	return fs.ToErrno(err)
}

// Release closes it.
func (h *handle) Release(context.Context) syscall.Errno { return fs.ToErrno(h.f.close()) }

// Open gives the contents once they are on disk. The wait is here and not in a read: a
// program that waits for an open can be interrupted, and one that waits for a page
// cannot even be killed.
func (n *file) Open(fctx context.Context, flags uint32) (fs.FileHandle, uint32, syscall.Errno) {
	if flags&syscall.O_ACCMODE != syscall.O_RDONLY {
		return nil, 0, syscall.EROFS
	}
	if n.e.Type == catalog.HardLink {
		n.s.log.Warn("a hard link's file is not in its image", "path", n.e.Path, "file", n.e.Link, "image", n.header.ID)
		return nil, 0, syscall.EIO // never the contents of another one, or none
	}
	if n.e.Size == 0 {
		return &textHandle{}, fuse.FOPEN_KEEP_CACHE, 0
	}
	process, user := caller(fctx)
	away := n.locality() != online || n.s.staged.old(n.key()) // or it may prove to be
	if away && (flags&syscall.O_NONBLOCK != 0 || looksOnly(process)) {
		return nil, 0, syscall.EAGAIN
	}
	ctx, end := n.s.unlessInterrupted(fctx, "open")
	defer end()
	if h, err := n.s.staged.open(ctx, n.key(), &n.e); h != nil || err != nil {
		return n.opened(ctx, h, err)
	}
	leave, err := n.s.stager.Enter(user)
	if err != nil {
		n.s.full.say(n.s.log, "an open is refused", "path", n.e.Path, "error", err)
		return nil, 0, syscall.EAGAIN
	}
	failed := n.await(ctx, process, user)
	leave()
	if errors.Is(failed, errInterrupted) {
		return nil, 0, syscall.EINTR
	}
	h, err := n.s.staged.open(ctx, n.key(), &n.e) // it may have come, and another file of its batch not
	if h == nil && err == nil {
		if err = failed; err == nil {
			err = status.Errorf(status.NotAllRestored, "%s did not come with its restore", n.e.Path)
		}
	}
	return n.opened(ctx, h, err)
}

func (n *file) opened(ctx context.Context, h *stagedHandle, err error) (fs.FileHandle, uint32, syscall.Errno) {
	if err != nil {
		return nil, 0, n.s.errno(ctx, "open "+n.e.Path, err)
	}
	if changed := n.e.XHash != 0 || stage.PlaceOf(n.header, &n.e).Media != ""; changed && !n.told.Swap(true) {
		// It may have an ACL now, and what was on tape has other blocks. A kernel that does not know it does not mind.
		_ = n.EmbeddedInode().NotifyContent(-1, 0)
	}
	return &handle{h, n}, fuse.FOPEN_KEEP_CACHE, 0
}

// await waits until the file was fetched, or the kernel says that nobody wants it.
func (n *file) await(ctx context.Context, process, user string) error {
	f := n.wanted()
	dir, copies := n.s.looks.Opened(rt.Mono(ctx), process, user, n.src.key, n.e.Path)
	switch {
	case n.s.stager.Wanted(f): // what comes after it, too: who opens very many at once looks ahead once
	case copies:
		n.s.ahead(ctx, n.src, dir, n.e.Path, user)
	case f.Media == "" && f.Bytes < neighbours:
		n.s.around(ctx, n.src, n.e.Path, user)
	}
	err := n.s.stager.Want(ctx, f, user)
	if _, there := n.s.staged.blocks(n.key()); !there && status.Of(err, status.OK) == status.MediaRead {
		err = n.s.stager.Want(ctx, f, user) // by itself: what is damaged may be another file of its batch
	}
	return err
}

// aheadFiles and aheadPart bound what is fetched because it will probably be wanted: so
// many files, and such a part of the staging directory.
const (
	aheadFiles = 2000
	aheadPart  = 4
)

// neighbours is how many bytes of the files that follow one in its directory come with
// it from a disk: they cost less than the job of the next, if it is wanted.
const neighbours = 16 << 20

// around says that small files beside one on disk may be wanted.
func (s *system) around(ctx context.Context, src *source, file, user string) {
	s.likely(ctx, src, path.Dir(file), file, user, min(neighbours, s.cfg.Limit/aheadPart), true)
}

// ahead says that what is in a directory will probably be wanted: what comes after a
// file first, then what the copier comes back to.
func (s *system) ahead(ctx context.Context, src *source, dir, after, user string) {
	s.likely(ctx, src, dir, after, user, s.cfg.Limit/aheadPart, false)
}

// likely goes through a directory after a file, as long as there is room: through all
// that is below it, or only what is beside the file and on disk.
func (s *system) likely(ctx context.Context, src *source, dir, after, user string, room int64, beside bool) {
	v, err := s.images.view(ctx, src)
	if err != nil {
		return // it costs mounts, later
	}
	var files []stage.File
	again := false
	note := func(found catalog.Found) (bool, error) {
		if beside && path.Dir(found.Path) != dir || again && found.Path == after {
			return false, nil
		}
		n, err := s.node(ctx, src, found)
		if err != nil || n.e.Type != catalog.Regular || n.e.Size == 0 {
			return err == nil, err
		}
		if _, staged := s.staged.blocks(n.key()); staged {
			return true, nil
		}
		f := n.wanted()
		if beside && f.Media != "" {
			return true, nil
		}
		if room -= n.e.Size; room >= 0 {
			files = append(files, f)
		}
		return room > 0 && len(files) < aheadFiles, nil
	}
	err = v.WalkAfter(ctx, dir, after, note)
	if again = !beside && err == nil && room > 0 && len(files) < aheadFiles; again {
		err = v.WalkAfter(ctx, dir, "", note)
	}
	_ = err // as far as it could be read
	s.stager.Ahead(ctx, files, user)
}

// caller is who makes a request: a process by name and number, and a user.
func caller(ctx context.Context) (process, user string) {
	c, ok := fuse.FromContext(ctx)
	if !ok {
		return "", ""
	}
	return fmt.Sprintf("%s %d", command(c.Pid), c.Pid), fmt.Sprint(c.Uid)
}

// command is what a process is called, as the kernel has it: at most 15 bytes.
func command(pid uint32) string {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// lookers are programs that open every file that they see, for pictures and indexes, and
// that nobody waits for. A cartridge is not mounted for them.
var lookers = []string{
	"tumblerd", "ffmpegthumbnail", "evince-thumbnai", "gnome-thumbnail", "totem-video-thu", "glycin", "gdk-pixbuf-thum",
	"baloo", "localsearch", "tracker-", "updatedb", "plocate", "mlocate", "recollindex", "kfilemetadata", "thumbnail.so", "nepomuk", "clamscan", "clamd",
}

func looksOnly(process string) bool {
	for _, name := range lookers {
		if strings.HasPrefix(process, name) {
			return true
		}
	}
	return false
}

// waitFor is about how long a file takes to come: a mount, and its bytes at a moderate
// pace.
func waitFor(mounts int, bytes int64) time.Duration {
	const mount, pace = 90 * time.Second, 100 << 20
	return time.Duration(mounts)*mount + time.Duration(bytes/pace)*time.Second
}
