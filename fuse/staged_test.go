package fuse

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"capstan/core/catalog"
	"capstan/core/stage"
)

// arrive puts a file of so many bytes among the staged ones.
func arrive(t *testing.T, s *staged, key string, size int) {
	t.Helper()
	from := filepath.Join(t.TempDir(), key)
	if err := os.WriteFile(from, make([]byte, size), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.accept(from, key, &catalog.Entry{Path: "/" + key, Type: catalog.Regular, Size: int64(size)}); err != nil {
		t.Fatal(err)
	}
}

// TestBatchLargerThanLimit: each file of a batch is there until who waits for it has had
// the time to open it, even if all do not fit.
func TestBatchLargerThanLimit(t *testing.T) {
	s, err := openStaged(t.TempDir(), 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 4 {
		arrive(t, s, fmt.Sprint(i), 600<<10)
	}
	for i := range 4 {
		h, err := s.open(fmt.Sprint(i))
		if h == nil || err != nil {
			t.Fatalf("file %d is gone before it was opened: %v", i, err)
		}
		if err := h.close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestRemovedWhileOpen: a staged file that somebody removes, and that is fetched again,
// can be evicted when nobody has it open.
func TestRemovedWhileOpen(t *testing.T) {
	s, err := openStaged(t.TempDir(), 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	arrive(t, s, "a", 600<<10)
	first, err := s.open("a")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(s.path("a")); err != nil {
		t.Fatal(err)
	}
	if h, err := s.open("a"); h != nil || err != nil {
		t.Fatalf("a file that was removed is opened: %v", err)
	}
	arrive(t, s, "a", 600<<10)
	if err := first.close(); err != nil {
		t.Fatal(err)
	}
	if users := s.files["a"].Value.(*stagedFile).users; users != 0 {
		t.Errorf("%d have it open", users)
	}
}

// TestStagingDirectory: nobody else looks into it, or has put it there.
func TestStagingDirectory(t *testing.T) {
	top := t.TempDir()
	files := filepath.Join(top, "files")
	if err := errors.Join(os.Mkdir(files, 0o777), os.Chmod(files, 0o777)); err != nil {
		t.Fatal(err)
	}
	if _, err := openStaged(top, 1<<20); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(files); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("it has mode %v, %v", info.Mode(), err)
	}
	if err := errors.Join(os.Remove(files), os.Symlink(t.TempDir(), files)); err != nil {
		t.Fatal(err)
	}
	if _, err := openStaged(top, 1<<20); err == nil {
		t.Error("a link was taken for it")
	}
}

// TestPlaces: what would lie on each other is fetched one after the other.
func TestPlaces(t *testing.T) {
	p := places{}
	for _, c := range []struct {
		path string
		free bool
	}{{"/a/b", true}, {"/a/b", false}, {"/a/b/c", false}, {"/a", false}, {"/a/c", true}, {"/a/bc", true}, {"/d", true}, {"/d/e/f", false}} {
		if got := p.take(c.path); got != c.free {
			t.Errorf("%s: %v, want %v", c.path, got, c.free)
		}
	}
}

// TestEndedRequest: of the files of a request that has ended their number is kept alone:
// a thousand requests are remembered.
func TestEndedRequest(t *testing.T) {
	staged, err := openStaged(t.TempDir(), 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	q := newRequests(&system{staged: staged, cfg: Config{Task: func(string) context.Context { return t.Context() }}})
	r := &request{files: make([]stage.File, 3), count: 3}
	q.run(r)
	if text := string(q.text(r)); r.files != nil || !strings.Contains(text, "files:     3\n") || !strings.Contains(text, "done") {
		t.Errorf("%d files are kept:\n%s", len(r.files), text)
	}
}
