package archive_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"capstan/core/archive"
	"capstan/core/catalog"
	"capstan/core/status"
	hwtree "capstan/hw/tree"
)

// hwTrees makes a real tree of everything, and an empty directory beside it.
func hwTrees(t *testing.T) (fs hwtree.FS, src, dst string) {
	t.Helper()
	fs = hwtree.New()
	src, dst = t.TempDir()+"/src", t.TempDir()+"/dst"
	for _, d := range []string{src, dst} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	newMaker(t, fs, src).everything(os.Geteuid() == 0)
	return fs, src, dst
}

func isRoot() bool { return os.Geteuid() == 0 }

func TestRoundTripHW(t *testing.T) {
	fs, src, dst := hwTrees(t)
	img := read(t, fs, archive.Selection{Paths: []string{src}})
	if len(img.problems) > 0 {
		t.Fatal(img.problems)
	}
	restore(t, fs, archive.WriteOptions{Target: dst, StripTo: src, Owner: isRoot(), Overwrite: archive.Always}, img.data)
	if d := cmp.Diff(snapshot(t, fs, src), snapshot(t, fs, dst)); d != "" {
		t.Fatalf("-was +restored:\n%s", d)
	}
	// Once more over what is there: nothing changes, nothing is left over.
	restore(t, fs, archive.WriteOptions{Target: dst, StripTo: src, Owner: isRoot(), Overwrite: archive.Always}, img.data)
	if d := cmp.Diff(snapshot(t, fs, src), snapshot(t, fs, dst)); d != "" {
		t.Fatalf("the second time: -was +restored:\n%s", d)
	}
}

func TestRoundTripSim(t *testing.T) {
	fs := simFS()
	m := newMaker(t, fs, "/")
	m.dir("src")
	newMaker(t, fs, "/src").everything(true)
	img := read(t, fs, archive.Selection{Paths: []string{"/src"}})
	restore(t, fs, archive.WriteOptions{Target: "/some/where", StripTo: "/src", Owner: true, Overwrite: archive.Always}, img.data)
	if d := cmp.Diff(snapshot(t, fs, "/src"), snapshot(t, fs, "/some/where")); d != "" {
		t.Fatalf("-was +restored:\n%s", d)
	}
}

// TestEntries checks the entries against the archive itself: a member alone, cut
// out by its entry, restores alone.
func TestEntries(t *testing.T) {
	fs := simFS()
	newMaker(t, fs, "/").everything(true)
	img := read(t, fs, archive.Selection{Paths: []string{"/"}})
	last := int64(0)
	for _, e := range img.entries {
		if e.Offset != last || e.HeadLen%512 != 0 || e.HeadLen < 512 || e.DataLen < 0 {
			t.Fatalf("%s lies at %d+%d+%d, the one before ends at %d", e.Path, e.Offset, e.HeadLen, e.DataLen, last)
		}
		last = e.End()
		if e.Type == catalog.HardLink {
			continue
		}
		to := simFS()
		restore(t, to, archive.WriteOptions{}, img.data[e.Offset:e.End()])
		if e.Path == "/big" && e.DataLen != 800_000 {
			t.Errorf("big has %d bytes of data", e.DataLen)
		}
		if e.Type == catalog.Regular {
			want, _ := fs.ReadFile(e.Path)
			got, err := to.ReadFile(e.Path)
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("%s alone: %d bytes, %v; want %d", e.Path, len(got), err, len(want))
			}
		}
	}
	if rest := img.data[last:]; !bytes.Equal(rest, make([]byte, 1024)) {
		t.Errorf("after the last member there are %d bytes, want 1024 zeros", len(rest))
	}
}

func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8", "TZ=UTC")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
	return string(out)
}

func gnuTar(t *testing.T) {
	t.Helper()
	if out, err := exec.Command("tar", "--version").Output(); err != nil || !strings.Contains(string(out), "GNU tar") {
		t.Skip("GNU tar is not installed")
	}
}

// TestGNUTarExtracts has GNU tar restore what we wrote.
func TestGNUTarExtracts(t *testing.T) {
	gnuTar(t)
	fs, src, dst := hwTrees(t)
	img := read(t, fs, archive.Selection{Paths: []string{src}})
	file := filepath.Join(t.TempDir(), "image.tar")
	if err := os.WriteFile(file, img.data, 0o600); err != nil {
		t.Fatal(err)
	}
	strip := strings.Count(src, "/")
	out := run(t, "tar", "-x", "-p", "-f", file, "--xattrs", "--xattrs-include=user.*", "--acls", "--numeric-owner",
		"--warning=no-timestamp", "--strip-components", fmt.Sprint(strip), "-C", dst)
	if out != "" {
		t.Errorf("GNU tar says: %s", out)
	}
	if d := cmp.Diff(beneathTop(snapshot(t, fs, src)), beneathTop(snapshot(t, fs, dst))); d != "" {
		t.Fatalf("-was +extracted by GNU tar:\n%s", d)
	}
}

// beneathTop leaves the top directory out: with --strip-components it has no name.
func beneathTop(m map[string]found) map[string]found {
	delete(m, "")
	return m
}

// TestExtractGNUTar restores what GNU tar wrote.
func TestExtractGNUTar(t *testing.T) {
	gnuTar(t)
	fs, src, dst := hwTrees(t)
	file := filepath.Join(t.TempDir(), "gnu.tar")
	for _, format := range []string{"pax", "gnu"} {
		t.Run(format, func(t *testing.T) {
			args := []string{"-c", "--format=" + format, "-f", file, "--numeric-owner", "-C", src}
			if format == "pax" {
				args = append(args, "-S", "--xattrs", "--xattrs-include=user.*", "--acls")
			}
			run(t, "tar", append(args, ".")...)
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			to := filepath.Join(dst, format)
			restore(t, fs, archive.WriteOptions{Target: to, Owner: isRoot(), Overwrite: archive.Always}, data)
			want, got := snapshot(t, fs, src), snapshot(t, fs, to)
			if format == "gnu" { // it has no attributes, no nanoseconds and no holes
				want, got = coarse(want), coarse(got)
			}
			if d := cmp.Diff(want, got); d != "" {
				t.Fatalf("-was +restored:\n%s", d)
			}
		})
	}
}

func coarse(m map[string]found) map[string]found {
	out := map[string]found{}
	for p, f := range m {
		f.Xattrs, f.Holes, f.MTime = "", false, 0
		f.Link = strings.Repeat("l", min(1, len(f.Link))) // which name is first depends on the order of the directory
		f.Mode &^= 0o070                                  // of a file with an ACL it is the mask
		out[p] = f
	}
	return out
}

// TestGoTarReads has the standard library read what we wrote.
func TestGoTarReads(t *testing.T) {
	fs := simFS()
	newMaker(t, fs, "/").everything(true)
	img := read(t, fs, archive.Selection{Paths: []string{"/"}})
	r := tar.NewReader(bytes.NewReader(img.data))
	for _, e := range img.entries {
		h, err := r.Next()
		if err != nil {
			t.Fatalf("before %s: %v", e.Path, err)
		}
		want := archive.Name(e.Path, e.Type)
		if h.Name != want || h.Typeflag != byte(e.Type) || h.ModTime.UnixNano() != int64(e.MTime) ||
			h.Uid != int(e.UID) || h.Gid != int(e.GID) || h.Mode != int64(e.Mode) || h.Size != e.Size {
			t.Errorf("%s: archive/tar reads %+v, the entry is %+v", want, h, e)
		}
		b, err := io.ReadAll(r)
		if err != nil {
			t.Fatalf("%s: %v", e.Path, err)
		}
		if e.Type == catalog.Regular {
			was, _ := fs.ReadFile(e.Path)
			if !bytes.Equal(b, was) {
				t.Errorf("%s: archive/tar reads %d bytes that differ", e.Path, len(b))
			}
		}
	}
	if _, err := r.Next(); !errors.Is(err, io.EOF) {
		t.Errorf("after the last member: %v", err)
	}
}

func TestDeepPath(t *testing.T) {
	fs := simFS()
	m := newMaker(t, fs, "/")
	deep := strings.Repeat(strings.Repeat("d", 200)+"/", 30) + "f" // 6031 bytes
	m.file(deep, "down here")
	img := read(t, fs, archive.Selection{Paths: []string{"/"}})
	to := simFS()
	restore(t, to, archive.WriteOptions{}, img.data)
	if b, err := to.ReadFile("/" + deep); err != nil || string(b) != "down here" {
		t.Fatalf("%q, %v", b, err)
	}
}

func TestNothingExists(t *testing.T) {
	var missing []archive.Problem
	_, err := archive.NewReader(ctx, simFS(), archive.Selection{Paths: []string{"/a", "/b*"}}, func(p archive.Problem) { missing = append(missing, p) })
	if status.Of(err, 0) != status.NoFiles || len(missing) != 2 || missing[0].What != archive.Missing {
		t.Fatalf("%v, %v", err, missing)
	}
	_, err = archive.NewReader(ctx, simFS(), archive.Selection{Paths: []string{"relative"}}, nil)
	if status.Of(err, 0) != status.BadParameter {
		t.Fatal(err)
	}
}

func TestSelection(t *testing.T) {
	fs := simFS()
	m := newMaker(t, fs, "/")
	for _, f := range []string{"a/1.txt", "a/2.log", "a/b/3.txt", "a-b/x", "c1/x", "c2/y", "tmp/z"} {
		m.file(f, f)
	}
	m.meta("a/1.txt", 0o600, 5)
	for _, c := range []struct {
		name string
		sel  archive.Selection
		want string
	}{
		{"one", archive.Selection{Paths: []string{"/a/b"}}, "/a/b /a/b/3.txt"},
		{"a file", archive.Selection{Paths: []string{"/a/2.log"}}, "/a/2.log"},
		{"sorted, beneath another only once", archive.Selection{Paths: []string{"/tmp", "/a/b", "/a-b", "/a", "/a"}},
			"/a /a/1.txt /a/2.log /a/b /a/b/3.txt /a-b /a-b/x /tmp /tmp/z"},
		{"pattern", archive.Selection{Paths: []string{"/c?"}}, "/c1 /c1/x /c2 /c2/y"},
		{"exclude names", archive.Selection{Paths: []string{"/a"}, Exclude: []string{"*.txt"}}, "/a /a/2.log /a/b"},
		{"exclude a path", archive.Selection{Paths: []string{"/a"}, Exclude: []string{"/a/b"}}, "/a /a/1.txt /a/2.log"},
		{"since", archive.Selection{Paths: []string{"/a"}, Since: 1 << 62}, "/a /a/b"},
		{"root", archive.Selection{Paths: []string{"/"}, Exclude: []string{"a*", "c*"}}, "/ /tmp /tmp/z"},
	} {
		t.Run(c.name, func(t *testing.T) {
			img := read(t, fs, c.sel)
			var got []string
			for _, e := range img.entries {
				got = append(got, e.Path)
			}
			if s := strings.Join(got, " "); s != c.want {
				t.Errorf("got  %s\nwant %s", s, c.want)
			}
		})
	}
}

func TestSinceLooksAtBothTimes(t *testing.T) {
	fs := simFS()
	m := newMaker(t, fs, "/")
	m.file("d/old", "x")
	m.meta("d/old", 0o600, 5) // modified long ago, changed now
	img := read(t, fs, archive.Selection{Paths: []string{"/d"}, Since: 1_600_000_000_000_000_000})
	if len(img.entries) != 2 {
		t.Fatalf("%d entries", len(img.entries))
	}
}
