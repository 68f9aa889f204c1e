package real_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"capstan/core/archive"
	"capstan/core/bprd"
	"capstan/core/rt"
	"capstan/core/status"
	"capstan/internal/real/loopback"
)

const client2 = "client2"

// restoredSame restores an image of the source to a new place and compares.
func (f *fixture) restoredSame(t *testing.T, image string) {
	t.Helper()
	to := t.TempDir()
	f.restore(t, bprd.Request{Image: image, StripTo: filepath.Dir(f.source), Target: to}, status.OK)
	mustBeSame(t, f.source, filepath.Join(to, filepath.Base(f.source)))
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	ok(t, err)
	return string(b)
}

// The variants of a restore, on the real file system.
func TestRestoreVariants(t *testing.T) {
	f := newDomain(t, loopback.Options{Clients: []string{client2}})
	note := filepath.Join(f.source, "note")
	ok(t, os.WriteFile(note, []byte("first"), 0o600))
	first := f.backUpAs(t, policyName, "tape", status.OK)
	ok(t, os.WriteFile(note, []byte("second"), 0o600))
	ok(t, os.WriteFile(filepath.Join(f.source, "later"), []byte("later"), 0o600))
	f.backUpAs(t, policyName, "disk", status.OK)
	into := func(to string) bprd.Request { return bprd.Request{StripTo: f.source, Target: to} }

	t.Run("original place", func(t *testing.T) {
		aside := f.source + "-aside"
		ok(t, os.Rename(f.source, aside))
		f.restore(t, bprd.Request{}, status.OK)
		mustBeSame(t, aside, f.source)
		ok(t, os.RemoveAll(aside))
	})
	t.Run("another client", func(t *testing.T) {
		to := t.TempDir()
		q := bprd.Request{To: client2, StripTo: filepath.Dir(f.source), Target: to}
		j := f.restore(t, q, status.OK)
		if j.To != client2 {
			t.Errorf("the job restored to %s", j.To)
		}
		mustBeSame(t, f.source, filepath.Join(to, filepath.Base(f.source)))
		lines, err := f.Lines(f.ctx, j.ID)
		ok(t, err)
		found := false
		for _, l := range lines {
			found = found || strings.Contains(l.Text, "started process tar on "+client2)
		}
		if !found {
			t.Error("no tar was started on " + client2)
		}
	})
	t.Run("as of a time", func(t *testing.T) {
		to := t.TempDir()
		q := into(to)
		at, err := strconv.ParseInt(strings.TrimPrefix(first.BackupID, loopback.Client+"_"), 10, 64)
		ok(t, err)
		q.Before = rt.FromStd(time.Unix(at, 0))
		f.restore(t, q, status.OK)
		if got := read(t, filepath.Join(to, "note")); got != "first" {
			t.Errorf("the file is %q, want that of the first backup", got)
		}
		if _, err := os.Lstat(filepath.Join(to, "later")); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("a file that came later was restored (%v)", err)
		}
	})
	for _, c := range []struct {
		name  string
		paths []string
		want  []string
	}{
		{"a file", []string{"d/f03"}, []string{"d/f03"}},
		{"a later name of a hard link", []string{"hard"}, []string{"hard"}},
		{"a directory and a file", []string{"d", "soft"}, append(twenty(0, 20), "soft")},
		{"a glob", []string{"d/f1*"}, twenty(10, 20)},
	} {
		t.Run(c.name, func(t *testing.T) {
			to := t.TempDir()
			q := into(to)
			for _, p := range c.paths {
				q.Paths = append(q.Paths, filepath.Join(f.source, p))
			}
			f.restore(t, q, status.OK)
			if got := files(t, to); !slices.Equal(got, c.want) {
				t.Errorf("restored: %v, want %v", got, c.want)
			}
			for _, p := range c.want {
				if p != "soft" && read(t, filepath.Join(to, p)) != read(t, filepath.Join(f.source, p)) {
					t.Errorf("%s has other contents", p)
				}
			}
		})
	}
	t.Run("what is in no backup", func(t *testing.T) {
		q := into(t.TempDir())
		q.Paths = []string{filepath.Join(f.source, "absent")}
		f.restore(t, q, status.NotAllRestored)
	})
	t.Run("overwrite", func(t *testing.T) { f.overwrites(t, into) })
	t.Run("links planted before", func(t *testing.T) { f.plantedLinks(t, into) })
}

// twenty are the names of small files from one number to before another.
func twenty(from, to int) (names []string) {
	for i := from; i < to; i++ {
		names = append(names, "d/f"+string(rune('0'+i/10))+string(rune('0'+i%10)))
	}
	return names
}

func (f *fixture) overwrites(t *testing.T, into func(string) bprd.Request) {
	long := time.Date(2001, 2, 3, 4, 5, 6, 0, time.UTC)
	future := time.Now().Add(time.Hour)
	for _, c := range []struct {
		mode     archive.Mode
		old, new string // what becomes of an older file, and of a newer one
		status   status.Code
	}{
		{archive.Never, "mine", "mine", status.Partial},
		{archive.Older, "second", "mine", status.Partial},
		{archive.Always, "second", "later", status.OK},
	} {
		to := t.TempDir()
		for name, at := range map[string]time.Time{"note": long, "later": future} {
			ok(t, os.WriteFile(filepath.Join(to, name), []byte("mine"), 0o600))
			ok(t, os.Chtimes(filepath.Join(to, name), at, at))
		}
		q := into(to)
		q.Overwrite = c.mode
		f.restore(t, q, c.status)
		if o, n := read(t, filepath.Join(to, "note")), read(t, filepath.Join(to, "later")); o != c.old || n != c.new {
			t.Errorf("mode %d: the older file is %q, the newer %q; want %q, %q", c.mode, o, n, c.old, c.new)
		}
	}
}

// A link that stands in the target and leads out of it is not followed.
func (f *fixture) plantedLinks(t *testing.T, into func(string) bprd.Request) {
	to, outside := t.TempDir(), t.TempDir()
	victim := filepath.Join(outside, "victim")
	ok(t, os.WriteFile(victim, []byte("untouched"), 0o600))
	ok(t, os.Symlink(outside, filepath.Join(to, "d")))   // in a directory's place
	ok(t, os.Symlink(victim, filepath.Join(to, "note"))) // in a file's
	q := into(to)
	q.Overwrite = archive.Always
	id, err := f.StartRestore(f.ctx, q)
	ok(t, err)
	j, err := f.wait(id)
	ok(t, err)
	if j.Status != status.Partial { // what would have gone through the link was refused
		t.Errorf("the job ended with status %d: %s", j.Status, j.Detail)
	}
	if got := files(t, outside); !slices.Equal(got, []string{"victim"}) || read(t, victim) != "untouched" {
		t.Errorf("outside the target there are %v, the victim is %q", got, read(t, victim))
	}
	if got := read(t, filepath.Join(to, "note")); got != "second" {
		t.Errorf("the file in whose place a link stood is %q", got)
	}
}
