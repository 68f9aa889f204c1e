package fuse

import (
	"bytes"
	"container/list"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"capstan/core/catalog"
	"capstan/core/stage"
	"capstan/core/stream"
	"capstan/hw/clock"
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
	s, err := openStaged(t.TempDir(), 1<<20, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	for i := range 4 {
		arrive(t, s, fmt.Sprint(i), 600<<10)
	}
	for i := range 4 {
		h, err := s.open(t.Context(), fmt.Sprint(i), &catalog.Entry{})
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
	s, err := openStaged(t.TempDir(), 1<<20, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	arrive(t, s, "a", 600<<10)
	first, err := s.open(t.Context(), "a", &catalog.Entry{})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(s.path("a")); err != nil {
		t.Fatal(err)
	}
	if h, err := s.open(t.Context(), "a", &catalog.Entry{}); h != nil || err != nil {
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
	if _, err := openStaged(top, 1<<20, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(files); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("it has mode %v, %v", info.Mode(), err)
	}
	if err := errors.Join(os.Remove(files), os.Symlink(t.TempDir(), files)); err != nil {
		t.Fatal(err)
	}
	if _, err := openStaged(top, 1<<20, slog.New(slog.DiscardHandler)); err == nil {
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
	staged, err := openStaged(t.TempDir(), 1<<20, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	sys := &system{staged: staged, cfg: Config{Task: func(name string) context.Context { return clock.Context(t.Context(), name) }}}
	sys.stager = stage.New(sys.task("test"), stage.Rules{}, func(context.Context, stage.Batch, func(stage.File)) error { return nil })
	q := newRequests(sys)
	r := &request{files: make([]stage.File, 3), count: 3}
	q.run(r)
	if text := string(q.text(r)); r.files != nil || !strings.Contains(text, "files:     3\n") || !strings.Contains(text, "done") {
		t.Errorf("%d files are kept:\n%s", len(r.files), text)
	}
}

// TestClaims: of requests that do not fit beside each other the later one is refused,
// though nothing of the first has come; what comes is pinned, and what does not come
// keeps no room.
func TestClaims(t *testing.T) {
	s, err := openStaged(t.TempDir(), 1<<20, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	file := func(name string) stage.File { return stage.File{Image: "i", Path: "/" + name, Bytes: 400 << 10} }
	key := func(name string) string { return keyOf("i", "/"+name) }
	claim := func(want bool, names ...string) *claimed {
		t.Helper()
		var files []stage.File
		for _, name := range names {
			files = append(files, file(name))
		}
		c, err := s.claim(files)
		if (err == nil) != want {
			t.Fatalf("%v: %v", names, err)
		}
		return c
	}
	arrive(t, s, key("old"), 400<<10)
	first := claim(true, "a", "b", "a")
	claim(false, "c")
	same := claim(true, "b", "a")
	arrive(t, s, key("a"), 400<<10)
	if s.bytes > 1<<20 || s.files[key("old")] != nil && s.bytes > 800<<10 {
		t.Errorf("%d bytes are staged", s.bytes)
	}
	release := func(c *claimed) {
		t.Helper()
		if err := c.release(); err != nil {
			t.Error(err)
		}
	}
	release(first)
	claim(false, "c")
	release(same)
	release(claim(true, "c"))
	if left := s.files[key("a")].Value.(*stagedFile); !left.kept(time.Now()) || len(s.claims) != 0 {
		t.Errorf("what came is pinned until %v; claims %v", left.pinned, s.claims)
	}
	claim(false, "c", "d")
}

// TestPinsLast: the next mount keeps what was to stay for a day, and evicts what was not,
// whichever was used last.
func TestPinsLast(t *testing.T) {
	dir := t.TempDir()
	log := slog.New(slog.DiscardHandler)
	s, err := openStaged(dir, 1<<20, log)
	if err != nil {
		t.Fatal(err)
	}
	c, err := s.claim([]stage.File{{Image: "i", Path: "/a", Bytes: 400 << 10}})
	if err != nil {
		t.Fatal(err)
	}
	arrive(t, s, keyOf("i", "/a"), 400<<10)
	if err := c.release(); err != nil {
		t.Fatal(err)
	}
	arrive(t, s, keyOf("i", "/b"), 400<<10)
	next, err := openStaged(dir, 500<<10, log)
	if err != nil {
		t.Fatal(err)
	}
	if a := next.files[keyOf("i", "/a")]; a == nil || next.files[keyOf("i", "/b")] != nil {
		t.Errorf("the next mount has %v", next.files)
	} else if left := time.Until(a.Value.(*stagedFile).pinned); left < pinned-time.Hour || left > pinned {
		t.Errorf("it stays for %v", left)
	}
	if err := replaceFile(filepath.Join(dir, "files"), nil); err == nil {
		t.Error("a directory was replaced by a file")
	}
	if begun, err := filepath.Glob(filepath.Join(dir, "jobs", ".*")); err != nil || len(begun) > 0 {
		t.Errorf("what was begun stays: %q, %v", begun, err)
	}
	if err := os.WriteFile(filepath.Join(dir, pinsFile), []byte("what is this\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	if _, err = openStaged(dir, 500<<10, slog.New(slog.NewTextHandler(&said, nil))); err != nil || !strings.Contains(said.String(), "line 1 is no pin") {
		t.Errorf("a damaged file of pins: %v, %s", err, said.String())
	}
}

// TestHostStarted: what came before the host was started is compared with the catalog when
// it is opened, and kept if it is right; a mount that only was ended goes on with all.
func TestHostStarted(t *testing.T) {
	dir := t.TempDir()
	entry := func(key, contents string) *catalog.Entry {
		return &catalog.Entry{Path: "/" + key, Type: catalog.Regular, Size: int64(len(contents)), CRC: crc32.Checksum([]byte(contents), stream.Castagnoli)}
	}
	mount := func() *staged {
		t.Helper()
		s, err := openStaged(dir, 1<<20, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	opens := func(s *staged, key string, e *catalog.Entry) bool {
		t.Helper()
		h, err := s.open(t.Context(), key, e)
		if err != nil {
			t.Fatal(err)
		}
		if h == nil {
			return false
		}
		b, err := io.ReadAll(h.file)
		if err != nil || string(b) != "right" {
			t.Errorf("%s is %q: %v", key, b, err)
		}
		if err := h.close(); err != nil {
			t.Error(err)
		}
		return true
	}
	first := mount()
	for _, key := range []string{"good", "bad", "short", "unknown"} {
		from := filepath.Join(t.TempDir(), key)
		if err := os.WriteFile(from, []byte("right"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := first.accept(from, key, entry(key, "right")); err != nil {
			t.Fatal(err)
		}
	}
	if again := mount(); !opens(again, "good", nil) || len(again.files) != 4 {
		t.Errorf("after a mount that ended: %v", again.files)
	}
	// What the power took: contents, the end of a file, and when all of it was.
	for key, contents := range map[string]string{"bad": "wrong", "short": "rig", "../boot": "another\n"} {
		if err := os.WriteFile(first.path(key), []byte(contents), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 { // whether what is not opened by one mount, or by the next
		s := mount()
		for _, key := range []string{"bad", "short"} {
			if opens(s, key, entry(key, "right")) {
				t.Errorf("%s is shown", key)
			}
		}
		if len(s.files) != 2 {
			t.Errorf("staged are %v", s.files)
		}
	}
	s := mount()
	if !opens(s, "good", entry("good", "right")) || !opens(mount(), "good", nil) {
		t.Error("what is right is gone")
	}
	unknown := entry("unknown", "right")
	if unknown.CRC = 0; opens(s, "unknown", unknown) || len(s.files) != 1 {
		t.Error("what cannot be checked is shown")
	}
}

// TestParsePins: what is read of a file of pins, at the second 1000.
func TestParsePins(t *testing.T) {
	key := func(c string) string { return strings.Repeat(c, 2*keySize) }
	for _, c := range []struct {
		text string
		want map[string]int64
		bad  bool
	}{
		{"", map[string]int64{}, false},
		{key("a") + " 2000\n" + key("b") + " 999\n" + key("c") + " 99999999999\n", map[string]int64{key("a"): 2000, key("c"): 1000 + 86400}, false},
		{key("a") + " 2000", map[string]int64{key("a"): 2000}, false},
		{key("a") + " 2000\nx 2000\n" + key("b") + " 2000\n", map[string]int64{key("a"): 2000}, true},
		{key("a")[1:] + " 2000\n", map[string]int64{}, true},
		{key("a") + " 2000 \n", map[string]int64{}, true},
		{key("g") + " 2000\n", map[string]int64{}, true},
		{key("a") + "\n", map[string]int64{}, true},
		{key("a") + " 9223372036854775807\n", map[string]int64{key("a"): 1000 + 86400}, false},
		{key("a") + " -9223372036854775808\n", map[string]int64{}, false},
		{key("a") + " " + strings.Repeat("0", 1000) + "2000\n", map[string]int64{}, true},
	} {
		pins, err := parsePins(strings.NewReader(c.text), time.Unix(1000, 0))
		got := map[string]int64{}
		for key, until := range pins {
			got[key] = until.Unix()
		}
		if !maps.Equal(got, c.want) || (err != nil) != c.bad {
			t.Errorf("%q: %v, %v; want %v", c.text, got, err, c.want)
		}
	}
}

// FuzzPins: whatever is in the file, no pin is longer than a day, and what is written of
// them is read as the same.
func FuzzPins(f *testing.F) {
	f.Add([]byte(strings.Repeat("a", 40) + " 2000\n"))
	f.Add([]byte("x\n"))
	now := time.Unix(1000, 0)
	f.Fuzz(func(t *testing.T, text []byte) {
		pins, err := parsePins(bytes.NewReader(text), now)
		s := &staged{files: map[string]*list.Element{}, recent: list.New()}
		for key, until := range pins {
			if left := until.Sub(now); len(key) != 2*keySize || left <= 0 || left > pinned {
				t.Fatalf("%q: %q until %v, %v", text, key, until, err)
			}
			if until.Sub(now) > grace {
				s.files[key] = s.recent.PushFront(&stagedFile{key: key, pinned: until})
			}
		}
		again, err := parsePins(bytes.NewReader(s.pins(now)), now)
		if err != nil || len(again) != len(s.files) {
			t.Fatalf("%d pins are read as %d: %v", len(s.files), len(again), err)
		}
		for key, until := range again {
			if !pins[key].Equal(until) {
				t.Fatalf("%s until %v is read as until %v", key, pins[key], until)
			}
		}
	})
}

// TestRequestsBounded: requests that have not ended are bounded, and so is the text of
// those that are being written.
func TestRequestsBounded(t *testing.T) {
	staged, err := openStaged(t.TempDir(), 1<<20, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	sys := &system{staged: staged, log: slog.New(slog.DiscardHandler), cfg: Config{Task: func(name string) context.Context { return clock.Context(t.Context(), name) }}}
	hold := make(chan struct{})
	sys.stager = stage.New(sys.task("test"), stage.Rules{}, func(context.Context, stage.Batch, func(stage.File)) error { <-hold; return nil })
	sys.asked = newRequests(sys)
	for range openRequests {
		if _, err := sys.asked.begin("", "0", []stage.File{{Path: "/a", Bytes: 1}}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := sys.asked.begin("", "0", nil); !errors.Is(err, syscall.EAGAIN) {
		t.Errorf("one more: %v", err)
	}
	close(hold)
	for ended := 0; ended < openRequests; {
		ended = 0
		for _, r := range sys.asked.list() {
			if bytes.Contains(sys.asked.text(r), []byte("\nended:")) {
				ended++
			}
		}
		time.Sleep(time.Millisecond)
	}
	if _, err := sys.asked.begin("", "0", make([]stage.File, 1)); err != nil {
		t.Errorf("when they have ended: %v", err)
	}
	full := &paths{s: sys}
	for i := range maxList >> 20 {
		if _, errno := full.Write(t.Context(), make([]byte, 1<<20), int64(i)<<20); errno != 0 {
			t.Fatal(errno)
		}
	}
	if _, errno := full.Write(t.Context(), []byte{1}, maxList); errno != syscall.EFBIG {
		t.Errorf("a list that is too long: %v", errno)
	}
	sys.asked.writes(maxText - maxList)
	other := &paths{s: sys}
	if _, errno := other.Write(t.Context(), []byte{1}, 0); errno != syscall.ENOSPC {
		t.Errorf("too many lists: %v", errno)
	}
	full.Release(t.Context())
	if _, errno := other.Write(t.Context(), []byte{1}, 0); errno != 0 {
		t.Errorf("when one is gone: %v", errno)
	}
}
