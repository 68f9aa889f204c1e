package fuse

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"

	"capstan/core/catalog"
)

// failing is a directory whose files can be read, and which the kernel cannot write back.
type failing struct {
	fs.Inode
	files []string
}

func (d *failing) OnAdd(ctx context.Context) {
	for _, name := range d.files {
		d.AddChild(name, d.NewPersistentInode(ctx, &failingFile{}, fs.StableAttr{Mode: syscall.S_IFREG}), false)
	}
}

func (d *failing) Unlink(context.Context, string) syscall.Errno { return 0 }

type failingFile struct{ fs.Inode }

func (*failingFile) Open(context.Context, uint32) (fs.FileHandle, uint32, syscall.Errno) {
	return nil, 0, 0
}

func (*failingFile) Getattr(_ context.Context, _ fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	out.Mode, out.Size = 0o600, 1000
	return 0
}

func (*failingFile) Setattr(context.Context, fs.FileHandle, *fuse.SetAttrIn, *fuse.AttrOut) syscall.Errno {
	return 0
}

func (*failingFile) Read(_ context.Context, _ fs.FileHandle, dest []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	return fuse.ReadResultData(dest[:max(0, min(int64(len(dest)), 1000-off))]), 0
}

func (*failingFile) Write(context.Context, fs.FileHandle, []byte, int64) (uint32, syscall.Errno) {
	return 0, syscall.EIO
}

// TestNotWrittenWhileOpen: who has a staged file open while the kernel fails to write it is
// told when he closes it, and nobody is shown that file again.
func TestNotWrittenWhileOpen(t *testing.T) {
	s, err := openStaged(t.TempDir(), 1<<20, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"bad", "good"} {
		arrive(t, s, key, 1000)
	}
	server, err := MountFailing(s.dir, "bad", "good")
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := server.Unmount(); err != nil {
			t.Error(err)
		}
	}()
	open := func(key string) *stagedHandle {
		t.Helper()
		h, err := s.open(t.Context(), key, &catalog.Entry{})
		if h == nil || err != nil {
			t.Fatalf("%s: %v, %v", key, h, err)
		}
		if _, err := io.ReadAll(io.NewSectionReader(h.file, 0, 1000)); err != nil {
			t.Fatal(err)
		}
		return h
	}
	first, second, good := open("bad"), open("bad"), open("good")
	for _, h := range []*stagedHandle{first, second, good} {
		if err := h.written(); err != nil {
			t.Errorf("%s before it is written: %v", h.of.key, err)
		}
	}
	w, err := os.OpenFile(filepath.Join(s.dir, "bad"), os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte("contents")); err != nil {
		t.Fatalf("the kernel does not write later: %v", err)
	}
	if err := w.Sync(); !errors.Is(err, syscall.EIO) {
		t.Fatalf("the kernel could write: %v", err)
	}
	_ = w.Close()       // says so once more
	late := open("bad") // the kernel has told the writer, and tells this one nothing
	for _, h := range []*stagedHandle{first, second, late} {
		if err := h.written(); !errors.Is(err, syscall.EIO) || fs.ToErrno(err) != syscall.EIO {
			t.Errorf("who closes what could not be written is told %v", err)
		}
	}
	if err := good.written(); err != nil {
		t.Errorf("another file: %v", err)
	}
	if h, err := s.open(t.Context(), "bad", &catalog.Entry{}); h != nil || err != nil {
		t.Errorf("it is opened once more: %v", err)
	}
	if _, err := os.Lstat(filepath.Join(s.dir, "bad")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it is still there: %v", err)
	}
	for _, h := range []*stagedHandle{first, second, late, good} {
		if err := h.close(); err != nil {
			t.Error(err)
		}
	}
}
