package sametree_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"capstan/internal/sametree"
)

// plant makes a small tree with one of each.
func plant(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	at := time.Unix(1_700_000_000, 123456789)
	ok(t, os.Mkdir(filepath.Join(dir, "d"), 0o750))
	ok(t, os.WriteFile(filepath.Join(dir, "d/f"), []byte("contents"), 0o640))
	ok(t, os.Link(filepath.Join(dir, "d/f"), filepath.Join(dir, "d/g")))
	ok(t, os.Symlink("f", filepath.Join(dir, "d/l")))
	ok(t, unix.Mkfifo(filepath.Join(dir, "d/p"), 0o600))
	for _, n := range []string{"d/f", "d/p", "d", "."} {
		ok(t, os.Chtimes(filepath.Join(dir, n), at, at))
	}
	ts := unix.NsecToTimespec(at.UnixNano())
	ok(t, unix.UtimesNanoAt(unix.AT_FDCWD, filepath.Join(dir, "d/l"), []unix.Timespec{ts, ts}, unix.AT_SYMLINK_NOFOLLOW))
	return dir
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestEqualTrees(t *testing.T) {
	r, err := sametree.Compare(plant(t), plant(t))
	ok(t, err)
	if r.Different != 0 || r.Entries != 6 || r.Bytes != 16 {
		t.Errorf("got %+v, want no differences in 6 entries of 16 bytes", r)
	}
}

func TestDifferencesAreSeen(t *testing.T) {
	keepTime := func(dir, name string, fn func(path string) error) error {
		path := filepath.Join(dir, name)
		var s unix.Stat_t
		if err := unix.Lstat(path, &s); err != nil {
			return err
		}
		if err := fn(path); err != nil {
			return err
		}
		return unix.UtimesNanoAt(unix.AT_FDCWD, path, []unix.Timespec{s.Atim, s.Mtim}, unix.AT_SYMLINK_NOFOLLOW)
	}
	for _, c := range []struct {
		name   string
		change func(dir string) error
		want   string // in what is said
	}{
		{"a byte", func(dir string) error {
			return keepTime(dir, "d/f", func(p string) error { return os.WriteFile(p, []byte("cOntents"), 0o640) })
		}, "d/f: the contents differ"},
		{"the size", func(dir string) error {
			return keepTime(dir, "d/f", func(p string) error { return os.Truncate(p, 3) })
		}, "d/f: size 8 became 3"},
		{"a mode", func(dir string) error { return os.Chmod(filepath.Join(dir, "d/f"), 0o600) }, "d/f: mode 0640 became 0600"},
		{"a time", func(dir string) error { return os.Chtimes(filepath.Join(dir, "d"), time.Time{}, time.Unix(1, 0)) }, "d: modification time"},
		{"a missing file", func(dir string) error { return os.Remove(filepath.Join(dir, "d/p")) }, "d/p: is missing"},
		{"a new file", func(dir string) error { return os.WriteFile(filepath.Join(dir, "d/new"), nil, 0o600) }, "d/new: is new"},
		{"a copy instead of a link", func(dir string) error {
			g := filepath.Join(dir, "d/g")
			if err := os.Remove(g); err != nil {
				return err
			}
			return os.WriteFile(g, []byte("contents"), 0o640)
		}, "d/g: was one file with d/f, is one with d/g"},
		{"another target", func(dir string) error {
			return keepTime(dir, "d", func(p string) error {
				l := filepath.Join(p, "l")
				if err := os.Remove(l); err != nil {
					return err
				}
				return os.Symlink("g", l)
			})
		}, `d/l: link to "f" became one to "g"`},
		{"another type", func(dir string) error {
			p := filepath.Join(dir, "d/p")
			if err := os.Remove(p); err != nil {
				return err
			}
			return os.Mkdir(p, 0o600)
		}, "d/p: type 0010000 became 0040000"},
	} {
		t.Run(c.name, func(t *testing.T) {
			want, got := plant(t), plant(t)
			ok(t, c.change(got))
			r, err := sametree.Compare(want, got)
			ok(t, err)
			if said := strings.Join(r.Differences, "\n"); r.Different == 0 || !strings.Contains(said, c.want) {
				t.Errorf("said %q, want it to contain %q", said, c.want)
			}
		})
	}
}

func TestAttributes(t *testing.T) {
	want, got := plant(t), plant(t)
	if err := unix.Lsetxattr(filepath.Join(want, "d/f"), "user.note", []byte("x"), 0); err != nil {
		t.Skip("needs a file system with extended attributes:", err)
	}
	r, err := sametree.Compare(want, got)
	ok(t, err)
	// Both names of the file show it.
	if r.Different != 2 || !strings.Contains(r.Differences[0], "extended attribute user.note is missing") {
		t.Errorf("got %+v, want the attribute to be missing twice", r)
	}
}
