package fuse

import (
	"bytes"
	"context"
	"errors"
	"hash/crc32"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"capstan/core/catalog"
	"capstan/core/rt"
	"capstan/core/stream"
	"capstan/hw/clock"
)

// oldFile is a staging directory after the host was started anew, with one file.
func oldFile(t *testing.T, key string, contents []byte) (*staged, *catalog.Entry) {
	t.Helper()
	dir, log := t.TempDir(), slog.New(slog.DiscardHandler)
	s, err := openStaged(dir, 1<<30, log)
	if err != nil {
		t.Fatal(err)
	}
	arrive(t, s, key, len(contents))
	if err := errors.Join(os.WriteFile(s.path(key), contents, 0o600), os.WriteFile(filepath.Join(dir, "boot"), []byte("another\n"), 0o600)); err != nil {
		t.Fatal(err)
	}
	if s, err = openStaged(dir, 1<<30, log); err != nil {
		t.Fatal(err)
	}
	return s, &catalog.Entry{Path: "/" + key, Type: catalog.Regular, Size: int64(len(contents)), CRC: crc32.Checksum(contents, stream.Castagnoli)}
}

// TestOldOpenedByMany: all who open an old file at the same time get it, once it was
// checked.
func TestOldOpenedByMany(t *testing.T) {
	for range 20 {
		s, e := oldFile(t, "a", bytes.Repeat([]byte("x"), 1<<10))
		var all sync.WaitGroup
		for range 64 {
			all.Go(func() {
				h, err := s.open(t.Context(), "a", e)
				if h == nil || err != nil {
					t.Errorf("not opened: %v", err)
					return
				}
				if err := h.close(); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if of := s.files["a"].Value.(*stagedFile); of.old || of.users != 0 {
			t.Errorf("afterwards %+v", of)
		}
	}
}

// TestOldInterrupted: who waits for the check of an old file can be interrupted, and the
// next one gets it.
func TestOldInterrupted(t *testing.T) {
	s, e := oldFile(t, "a", []byte("contents"))
	hold := make(chan struct{})
	checking := s.flight.DoChan("a", func() (any, error) { <-hold; return struct{}{}, nil })
	ctx, cancel := rt.WithCancel(clock.Context(t.Context(), "test"))
	cancel(errInterrupted)
	if h, err := s.open(ctx, "a", e); h != nil || !errors.Is(err, errInterrupted) {
		t.Errorf("%v, %v", h, err)
	}
	close(hold)
	<-checking
	h, err := s.open(context.Background(), "a", e)
	if h == nil || err != nil {
		t.Fatalf("the next one: %v", err)
	}
	if err := h.close(); err != nil || h.of.users != 0 {
		t.Errorf("%d have it open: %v", h.of.users, err)
	}
}

// TestNotWritten: a file that the kernel could not write is not shown, but to those who
// had opened it. A pipe cannot be synced, either.
func TestNotWritten(t *testing.T) {
	s, err := openStaged(t.TempDir(), 1<<20, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	opens := func(key string) bool {
		t.Helper()
		h, err := s.open(t.Context(), key, &catalog.Entry{})
		if err != nil {
			t.Fatal(err)
		}
		if h == nil {
			return false
		}
		if err := h.close(); err != nil {
			t.Error(err)
		}
		return true
	}
	for _, key := range []string{"good", "bad"} {
		arrive(t, s, key, 1000)
		of := s.files[key].Value.(*stagedFile)
		if !opens(key) || of.synced {
			t.Errorf("%s, which has just come: %+v", key, of)
		}
		of.came = of.came.Add(-2 * written)
	}
	at := s.path("bad")
	if err := errors.Join(os.Remove(at), syscall.Mkfifo(at, 0o600)); err != nil {
		t.Fatal(err)
	}
	pipe, err := os.OpenFile(at, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer pipe.Close()
	if opens("bad") || s.files["bad"] != nil {
		t.Error("what was not written is shown")
	}
	if _, err := os.Lstat(at); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it is still there: %v", err)
	}
	if of := s.files["good"].Value.(*stagedFile); !opens("good") || !of.synced || of.doubtful() || time.Since(of.came) < written {
		t.Errorf("what was written: %+v", of)
	}
}
