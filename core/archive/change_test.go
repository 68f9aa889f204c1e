package archive_test

import (
	"context"
	"errors"
	"net"
	"os"
	"strings"
	"testing"

	"capstan/core/archive"
	"capstan/core/catalog"
	"capstan/core/stream"
	"capstan/core/tree"
	hwtree "capstan/hw/tree"
	simtree "capstan/sim/tree"
)

// meddler is a sink that does something when the first data comes.
type meddler struct {
	*image
	do func()
}

func (m *meddler) Put(ctx context.Context, f *stream.Frame) error {
	if f.Kind == stream.Data && m.do != nil {
		m.do()
		m.do = nil
	}
	return m.image.Put(ctx, f)
}

// TestChangesMeanwhile changes a tree while it is read: the archive stays whole,
// and says by its length what its headers said.
func TestChangesMeanwhile(t *testing.T) {
	const size = 900_000
	for _, c := range []struct {
		name, path, what string
		do               func(m *maker)
	}{
		{"shrunk", "/d/a", archive.ShrunkFile, func(m *maker) { resize(m, "a", 300_000) }},
		{"shrunk to nothing", "/d/a", archive.ShrunkFile, func(m *maker) { resize(m, "a", 0) }},
		{"grown", "/d/a", archive.GrownFile, func(m *maker) { resize(m, "a", size+5) }},
		{"touched", "/d/a", archive.ChangedNow, func(m *maker) { m.meta("a", 0o600, 77) }},
		{"vanished", "/d/b", archive.Vanished, func(m *maker) { m.ok(m.d.Remove(ctx, "b")) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			fs := simFS()
			newMaker(t, fs, "/").dir("d")
			m := newMaker(t, fs, "/d")
			m.file("a", strings.Repeat("a", size))
			m.file("b", "b")
			m.file("c", "c")
			img := readMeddling(t, fs, func() { c.do(m) })
			if len(img.problems) != 1 || img.problems[0].What != c.what || img.problems[0].Path != c.path {
				t.Fatalf("%v", img.problems)
			}
			to := simFS()
			restore(t, to, archive.WriteOptions{}, img.data)
			if b, err := to.ReadFile("/d/c"); err != nil || string(b) != "c" {
				t.Errorf("what comes after: %q, %v", b, err)
			}
			if b, err := to.ReadFile("/d/a"); err != nil || len(b) != size {
				t.Errorf("the copy has %d bytes, %v", len(b), err)
			}
		})
	}
}

func resize(m *maker, name string, size int64) {
	b, err := m.fs.(*simtree.FS).ReadFile("/d/" + name)
	m.ok(err)
	m.ok(m.d.Rename(ctx, name, name)) // nothing: the same inode is resized
	f, err := m.d.OpenFile(ctx, name)
	m.ok(err)
	m.ok(f.(tree.NewFile).Truncate(size))
	if size > int64(len(b)) {
		_, err = f.(tree.NewFile).WriteAt([]byte("more!"), int64(len(b)))
		m.ok(err)
	}
}

func readMeddling(t *testing.T, fs tree.FS, do func()) *image {
	t.Helper()
	img := &image{}
	r, err := archive.NewReader(ctx, fs, archive.Selection{Paths: []string{"/d"}}, func(p archive.Problem) { img.problems = append(img.problems, p) })
	if err != nil {
		t.Fatal(err)
	}
	if n, err := stream.Splice(ctx, &meddler{img, do}, r); err != nil || !n.Ended {
		t.Fatalf("%+v, %v", n, err)
	}
	if got := r.Done().Problems; got != int64(len(img.problems)) {
		t.Errorf("%d problems are counted, %d were reported", got, len(img.problems))
	}
	return img
}

// TestDamageOfSmallFiles: what is known before the entry is given is in it.
func TestDamageOfSmallFiles(t *testing.T) {
	fs := &failing{FS: simFS()}
	m := newMaker(t, fs.FS, "/")
	m.file("d/bad", strings.Repeat("x", 1000))
	m.file("d/good", "good")
	var problems []archive.Problem
	r, err := archive.NewReader(ctx, fs, archive.Selection{Paths: []string{"/d"}}, func(p archive.Problem) { problems = append(problems, p) })
	if err != nil {
		t.Fatal(err)
	}
	img := &image{}
	if _, err := stream.Splice(ctx, img, r); err != nil {
		t.Fatal(err)
	}
	if len(problems) != 1 || problems[0].What != archive.Unreadable || !errors.Is(problems[0].Err, errBadSector) {
		t.Fatal(problems)
	}
	if e := img.entries[1]; e.Path != "/d/bad" || e.Damage != catalog.Changed {
		t.Errorf("%+v", e)
	}
	if e := img.entries[2]; e.Path != "/d/good" || e.Damage != 0 {
		t.Errorf("%+v", e)
	}
	to := simFS()
	restore(t, to, archive.WriteOptions{}, img.data)
	if b, err := to.ReadFile("/d/bad"); err != nil || string(b) != strings.Repeat("\x00", 1000) {
		t.Errorf("%q, %v", b, err)
	}
}

// failing is a file system in which files named bad cannot be read.
type failing struct {
	*simtree.FS
	closes int // of bad files
}

var errBadSector = errors.New("input/output error")

func (f *failing) Open(ctx context.Context, p string) (tree.Dir, error) {
	d, err := f.FS.Open(ctx, p)
	return &failingDir{d, f}, err
}

type failingDir struct {
	tree.Dir
	fs *failing
}

func (d *failingDir) OpenDir(ctx context.Context, name string) (tree.Dir, error) {
	sub, err := d.Dir.OpenDir(ctx, name)
	return &failingDir{sub, d.fs}, err
}

func (d *failingDir) OpenFile(ctx context.Context, name string) (tree.File, error) {
	f, err := d.Dir.OpenFile(ctx, name)
	if name == "bad" {
		return &failingFile{f, &d.fs.closes}, err
	}
	return f, err
}

type failingFile struct {
	tree.File
	closes *int
}

func (f *failingFile) Close() error {
	*f.closes++
	return f.File.Close()
}

func (f *failingFile) ReadAt([]byte, int64) (int, error) { return 0, errBadSector }

func TestSocketsAreSkipped(t *testing.T) {
	dir := t.TempDir()
	l, err := net.Listen("unix", dir+"/sock")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := os.WriteFile(dir+"/f", []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	img := read(t, hwtree.New(), archive.Selection{Paths: []string{dir}})
	if len(img.entries) != 2 || len(img.problems) != 1 || img.problems[0].What != archive.Socket || img.stats.Problems != 0 {
		t.Fatalf("%d entries, %v, %+v", len(img.entries), img.problems, img.stats)
	}
}

func TestReaderEndsWithContext(t *testing.T) {
	fs := simFS()
	newMaker(t, fs, "/").file("d/f", "x")
	r, err := archive.NewReader(ctx, fs, archive.Selection{Paths: []string{"/d"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	ended, cancel := context.WithCancel(ctx)
	cancel()
	var f stream.Frame
	if err := r.Next(ended, &f); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
}

// TestReaderClosesOnce: a descriptor closed twice may be somebody else's by then.
func TestReaderClosesOnce(t *testing.T) {
	fs := &failing{FS: simFS()}
	newMaker(t, fs.FS, "/").file("bad", strings.Repeat("x", 3*archive.FrameSize))
	r, err := archive.NewReader(ctx, fs, archive.Selection{Paths: []string{"/bad"}}, func(archive.Problem) {})
	if err != nil {
		t.Fatal(err)
	}
	var f stream.Frame
	if err := r.Next(ctx, &f); err != nil {
		t.Fatal(err)
	}
	if err := r.Next(ctx, &f); err != nil {
		t.Fatal(err)
	}
	ended, cancel := context.WithCancel(ctx)
	cancel()
	if err := r.Next(ended, &f); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	r.Close()
	r.Close()
	if err := r.Next(ctx, &f); err == nil {
		t.Error("a closed reader gives frames")
	}
	if fs.closes != 1 {
		t.Errorf("the file was closed %d times", fs.closes)
	}
}

// TestOneFileSystem: a directory of another file system is in, its files are not.
func TestOneFileSystem(t *testing.T) {
	fs := &mounted{simFS()}
	m := newMaker(t, fs.FS, "/")
	m.file("d/a", "")
	m.file("d/mnt/b", "")
	for one, want := range map[bool]string{false: "/d /d/a /d/mnt /d/mnt/b", true: "/d /d/a /d/mnt"} {
		var got []string
		for _, e := range read(t, fs, archive.Selection{Paths: []string{"/d"}, OneFileSystem: one}).entries {
			got = append(got, e.Path)
		}
		if s := strings.Join(got, " "); s != want {
			t.Errorf("one file system %v: %s, want %s", one, s, want)
		}
	}
}

// mounted is a file system in which what is named mnt belongs to another.
type mounted struct{ *simtree.FS }

func (f *mounted) Open(ctx context.Context, p string) (tree.Dir, error) {
	d, err := f.FS.Open(ctx, p)
	return &mountedDir{d}, err
}

type mountedDir struct{ tree.Dir }

func (d *mountedDir) OpenDir(ctx context.Context, name string) (tree.Dir, error) {
	sub, err := d.Dir.OpenDir(ctx, name)
	return &mountedDir{sub}, err
}

func (d *mountedDir) Lstat(ctx context.Context, name string) (tree.Info, error) {
	i, err := d.Dir.Lstat(ctx, name)
	if name == "mnt" {
		i.Dev = 99
	}
	return i, err
}
