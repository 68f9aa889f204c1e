package archive_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"capstan/core/archive"
	"capstan/core/archive/pax"
	"capstan/core/rt"
	"capstan/core/status"
	"capstan/core/stream"
	"capstan/core/tree"
	hwtree "capstan/hw/tree"
	simtree "capstan/sim/tree"
)

// members writes members of an archive, as somebody might who wants to do harm.
func members(t testing.TB, hs ...member) []byte {
	t.Helper()
	var b []byte
	var err error
	for _, h := range hs {
		h.Size, h.Mode, h.MTime = int64(len(h.data)), 0o644, 1e18
		if b, err = h.Append(b); err != nil {
			t.Fatal(err)
		}
		b = append(b, h.data...)
		b = append(b, pax.Padding(h.Size)...)
	}
	return b
}

type member struct {
	pax.Header
	data string
}

func file(name, data string) member { return member{pax.Header{Name: name, Type: '0'}, data} }
func dir(name string) member        { return member{pax.Header{Name: name, Type: '5'}, ""} }
func symlink(to, name string) member {
	return member{pax.Header{Name: name, Type: '2', Link: to}, ""}
}
func hardlink(to, name string) member {
	return member{pax.Header{Name: name, Type: '1', Link: to}, ""}
}

// hostile are images that want to write outside the target.
var hostile = []struct {
	name    string
	members []member
	what    string // the problem that must be reported
}{
	{"dotdot", []member{file("../outside", "x")}, archive.Refused},
	{"dotdot in the middle", []member{file("a/../../outside", "x")}, archive.Refused},
	{"dotdot at the end", []member{dir("a/..")}, archive.Refused},
	{"NUL", []member{{pax.Header{Name: "x", Type: '0', Records: []pax.Record{{Key: "path", Value: "a\x00/../outside"}}}, "x"}}, archive.Refused},
	{"planted link to a directory", []member{symlink("../outside-dir", "l"), file("l/f", "x")}, archive.NotWritten},
	{"planted absolute link", []member{symlink("/", "l"), file("l/outside", "x")}, archive.NotWritten},
	{"planted link deeper", []member{dir("a"), symlink("../../outside-dir", "a/l"), dir("a/l"), file("a/l/f", "x")}, archive.NotWritten},
	{"link in the place of a directory", []member{dir("d"), symlink("../outside-dir", "d"), file("d/f", "x")}, archive.NotWritten},
	{"planted link to a file", []member{symlink("../secret", "s"), file("s", "x")}, ""},
	{"hard link to outside", []member{hardlink("../secret", "h"), file("h", "x")}, archive.NotWritten},
	{"hard link through a planted link", []member{symlink("..", "up"), hardlink("up/secret", "h")}, archive.NotWritten},
	{"hard link to a link", []member{symlink("../secret", "s"), hardlink("s", "h"), file("h", "x")}, ""},
	{"hard link to the target", []member{hardlink("./", "h")}, archive.NotWritten},
	{"the target as a file", []member{file("./", "x")}, archive.NotWritten},
	{"of no known type", []member{{pax.Header{Name: "x", Type: 'Z'}, "its data is passed over"}, file("y", "")}, archive.NotWritten},
}

// TestNothingOutside restores hostile images in both worlds with every mode, and
// looks whether anything beside the target has changed.
func TestNothingOutside(t *testing.T) {
	for _, c := range hostile {
		for _, mode := range []archive.Mode{archive.Never, archive.Older, archive.Always} {
			t.Run(c.name, func(t *testing.T) {
				base := t.TempDir()
				attack(t, hwtree.New(), base, c.members, mode, c.what)
				sim := simFS()
				newMaker(t, sim, "/").dir("base")
				attack(t, sim, "/base", c.members, mode, c.what)
			})
		}
	}
}

func attack(t *testing.T, fs tree.FS, base string, ms []member, mode archive.Mode, what string) {
	t.Helper()
	m := newMaker(t, fs, base)
	m.file("secret", "secret")
	m.file("outside-dir/g", "untouched")
	m.dir("target")
	before := snapshot(t, fs, base)
	problems, err := write(t, fs, archive.WriteOptions{Target: base + "/target", Overwrite: mode}, members(t, ms...), 300)
	if err != nil {
		t.Fatal(err)
	}
	after := snapshot(t, fs, base)
	for p := range after {
		if strings.HasPrefix(p, "target") {
			delete(after, p)
			delete(before, p)
		}
	}
	if d := cmp.Diff(before, after); d != "" {
		t.Errorf("outside the target: -was +is:\n%s", d)
	}
	if what != "" && !slices.ContainsFunc(problems, func(p archive.Problem) bool { return p.What == what }) {
		t.Errorf("nothing was reported as %q: %v", what, problems)
	}
}

func TestOverwrite(t *testing.T) {
	for _, c := range []struct {
		mode  archive.Mode
		mtime rt.Time // of what exists; the copy's is 1e18
		want  string
	}{
		{archive.Never, 1, "old"}, {archive.Older, 1, "new"}, {archive.Older, 1e18, "old"},
		{archive.Older, 2e18, "old"}, {archive.Always, 2e18, "new"},
	} {
		fs := simFS()
		m := newMaker(t, fs, "/")
		m.file("f", "old")
		m.meta("f", 0o600, c.mtime)
		problems, err := write(t, fs, archive.WriteOptions{Overwrite: c.mode}, members(t, file("f", "new")), 512)
		if err != nil {
			t.Fatal(err)
		}
		if b, _ := fs.ReadFile("/f"); string(b) != c.want {
			t.Errorf("mode %d over %d: %q", c.mode, c.mtime, b)
		}
		if kept := c.want == "old"; kept != (len(problems) == 1 && problems[0].What == archive.Exists) {
			t.Errorf("mode %d over %d: %v", c.mode, c.mtime, problems)
		}
	}
}

// syncs counts how often files, and file systems, are made durable.
type syncs struct {
	tree.FS
	files, all int
}

type syncDir struct {
	tree.Dir
	of *syncs
}

type syncFile struct {
	tree.NewFile
	of *syncs
}

func (s *syncs) Open(ctx context.Context, path string) (tree.Dir, error) {
	d, err := s.FS.Open(ctx, path)
	return &syncDir{d, s}, err
}

func (d *syncDir) Create(ctx context.Context, name string, mode uint32) (tree.NewFile, error) {
	f, err := d.Dir.Create(ctx, name, mode)
	return &syncFile{f, d.of}, err
}

func (d *syncDir) SyncFS(context.Context) error { d.of.all++; return nil }
func (f *syncFile) Sync() error                 { f.of.files++; return f.NewFile.Sync() }

// TestDurable: what is new is made durable at the end, all at once, or not at all if it is
// to be volatile; what takes the place of a file is durable before, in any case.
func TestDurable(t *testing.T) {
	for _, c := range []struct {
		volatile   bool
		files, all int
	}{{false, 1, 1}, {true, 1, 0}} {
		s := &syncs{FS: simFS()}
		newMaker(t, s.FS.(*simtree.FS), "/").file("old", "old")
		opt := archive.WriteOptions{Overwrite: archive.Always, Volatile: c.volatile}
		if _, err := write(t, s, opt, members(t, file("new", "x"), file("old", "y"), file("newer", "z")), 512); err != nil {
			t.Fatal(err)
		}
		if s.files != c.files || s.all != c.all {
			t.Errorf("volatile %v: %d files and %d times all were made durable", c.volatile, s.files, s.all)
		}
	}
}

func TestDirectoryInTheWay(t *testing.T) {
	fs := simFS()
	newMaker(t, fs, "/").file("f/inside", "kept")
	problems, err := write(t, fs, archive.WriteOptions{Overwrite: archive.Always}, members(t, file("f", "new")), 512)
	if err != nil || len(problems) != 1 || !errors.Is(problems[0].Err, tree.ErrIsDir) {
		t.Fatalf("%v, %v", problems, err)
	}
	if b, _ := fs.ReadFile("/f/inside"); string(b) != "kept" {
		t.Error("a directory was replaced by a file")
	}
}

func TestStripTo(t *testing.T) {
	fs := simFS()
	ms := members(t, file("data/x/f", "1"), file("data/xy", "2"), file("data/x/d/g", "3"))
	problems, err := write(t, fs, archive.WriteOptions{Target: "/new/place", StripTo: "/data/x"}, ms, 512)
	if err != nil || len(problems) != 1 || problems[0].Path != "/data/xy" || problems[0].What != archive.Refused {
		t.Fatalf("%v, %v", problems, err)
	}
	for p, want := range map[string]string{"/new/place/f": "1", "/new/place/d/g": "3"} {
		if b, err := fs.ReadFile(p); err != nil || string(b) != want {
			t.Errorf("%s: %q, %v", p, b, err)
		}
	}
}

func TestOwnerIsLeftOut(t *testing.T) {
	fs := simFS()
	h := file("f", "x")
	h.UID, h.GID = 5, 6
	b := members(t, h)
	for _, owner := range []bool{false, true} {
		if problems, err := write(t, fs, archive.WriteOptions{Owner: owner, Overwrite: archive.Always}, b, 512); err != nil || len(problems) > 0 {
			t.Fatal(problems, err)
		}
		if f := snapshot(t, fs, "/")["f"]; (f.UID == 5 && f.GID == 6) != owner {
			t.Errorf("owner %v: %+v", owner, f)
		}
	}
}

// TestCutOff: a stream that ends inside a member leaves nothing half written.
func TestCutOff(t *testing.T) {
	whole := members(t, file("a", "first"), file("b", strings.Repeat("b", 2000)))
	for _, n := range []int{100, 600, 1024 + 512 + 700, len(whole) - 1} {
		fs := simFS()
		problems, err := write(t, fs, archive.WriteOptions{}, whole[:n], 333)
		if err != nil || len(problems) != 1 || problems[0].What != archive.Incomplete {
			t.Errorf("%d bytes: %v, %v", n, problems, err)
		}
		for p := range snapshot(t, fs, "/") {
			if strings.Contains(p, "capstan") {
				t.Errorf("%d bytes: %s was left behind", n, p)
			}
		}
	}
}

func TestCloseAbandons(t *testing.T) {
	fs := simFS()
	w, err := archive.NewWriter(ctx, fs, archive.WriteOptions{}, func(p archive.Problem) { t.Error(p) })
	if err != nil {
		t.Fatal(err)
	}
	b := members(t, file("f", strings.Repeat("x", 5000)))[:2000]
	if err := w.Put(ctx, &stream.Frame{Kind: stream.Data, Len: 2000, Bytes: b}); err != nil {
		t.Fatal(err)
	}
	w.Close(ctx)
	if got := snapshot(t, fs, "/"); len(got) != 1 {
		t.Errorf("left behind: %v", got)
	}
}

func TestNotAnArchive(t *testing.T) {
	_, err := write(t, simFS(), archive.WriteOptions{}, []byte(strings.Repeat("this is no archive. ", 100)), 512)
	if status.Of(err, 0) != status.TarError {
		t.Fatal(err)
	}
}

// TestHollow carries a hollow tree and hollow single files through.
func TestHollow(t *testing.T) {
	fs := simFS()
	h := simtree.Hollow{Files: 3_000_000, Bytes: 5 << 40}
	if err := fs.AddHollow(ctx, "/data", h, rand.New(rand.NewPCG(1, 1))); err != nil {
		t.Fatal(err)
	}
	m := newMaker(t, fs, "/data")
	m.file("real", "bytes")
	f, err := m.d.Create(ctx, "one", 0o600)
	m.ok(err)
	m.ok(f.WriteHollow(ctx, 0, 1<<40))
	img := read(t, fs, archive.Selection{Paths: []string{"/data"}})
	if img.hollow < h.Bytes+1<<40 || img.stats.Files != h.Files+3 || img.via[0].Name != "disk" {
		t.Fatalf("%+v, %d hollow, via %v", img.stats, img.hollow, img.via)
	}
	if len(img.entries) > simtree.MaxHollow+3 {
		t.Errorf("%d entries", len(img.entries))
	}

	to := simFS()
	r, err := archive.NewReader(ctx, fs, archive.Selection{Paths: []string{"/data"}}, nil)
	m.ok(err)
	w, err := archive.NewWriter(ctx, to, archive.WriteOptions{Owner: true}, func(p archive.Problem) { t.Error(p) })
	m.ok(err)
	if _, err := stream.Splice(ctx, w, r); err != nil {
		t.Fatal(err)
	}
	if got := w.Done(); got != img.stats {
		t.Errorf("restored %+v, backed up %+v", got, img.stats)
	}
	again := read(t, to, archive.Selection{Paths: []string{"/data"}})
	if again.hollow != img.hollow || again.stats != img.stats {
		t.Errorf("a backup of the restore has %+v, %d hollow; the first %+v, %d", again.stats, again.hollow, img.stats, img.hollow)
	}
}

// TestRoundTripProperty draws trees and restores them, in frames of any size.
func TestRoundTripProperty(t *testing.T) {
	real := hwtree.New()
	n := 0
	rapid.Check(t, func(r *rapid.T) {
		fs := simFS()
		newMaker(t, fs, "/").dir("src")
		draw(t, r, fs)
		img := read(t, fs, archive.Selection{Paths: []string{"/src"}})
		size := rapid.SampledFrom([]int{1, 100, 512, 4096, 1 << 20}).Draw(r, "frame")
		opt := archive.WriteOptions{Target: "/dst", StripTo: "/src", Owner: true, Overwrite: archive.Always}
		if problems, err := write(t, fs, opt, img.data, size); err != nil || len(problems) > 0 {
			r.Fatalf("%v, %v", problems, err)
		}
		if d := cmp.Diff(snapshot(t, fs, "/src"), snapshot(t, fs, "/dst")); d != "" {
			r.Fatalf("-was +restored:\n%s", d)
		}
		if n++; n > 10 { // files of the real world take their time
			return
		}
		opt.Target, opt.Owner = filepath.Join(t.TempDir(), "dst"), isRoot()
		if problems, err := write(t, real, opt, img.data, size); err != nil || len(problems) > 0 {
			r.Fatalf("%v, %v", problems, err)
		}
		back := read(t, real, archive.Selection{Paths: []string{opt.Target}})
		if len(back.entries) != len(img.entries) {
			r.Fatalf("%d files, want %d", len(back.entries), len(img.entries))
		}
		if isRoot() {
			want, got := snapshot(t, fs, "/src"), snapshot(t, real, opt.Target)
			for p := range want { // where holes are is the real file system's affair
				a, b := want[p], got[p]
				a.Holes, b.Holes = false, false
				want[p], got[p] = a, b
			}
			if d := cmp.Diff(want, got); d != "" {
				r.Fatalf("real: -was +restored:\n%s", d)
			}
		}
	})
}

func draw(t *testing.T, r *rapid.T, fs *simtree.FS) {
	m := newMaker(t, fs, "/src")
	names := rapid.SliceOfNDistinct(rapid.StringMatching(`[a-c\xff ]{1,3}(/[d-f]{1,2}){0,2}`), 0, 8, rapid.ID[string]).Draw(r, "names")
	slices.Sort(names)
	used := map[string]bool{}
	last := ""
	for _, n := range names {
		if taken(used, n) {
			continue
		}
		used[n] = true
		switch kind := rapid.IntRange(0, 5).Draw(r, "kind"); {
		case kind == 0:
			m.symlink(rapid.StringN(1, 200, 300).Filter(func(s string) bool { return !strings.Contains(s, "\x00") }).Draw(r, "target"), n)
		case kind == 1 && last != "":
			m.link(last, n)
		case kind == 2:
			m.pieces(n, rapid.Int64Range(0, 1<<18).Draw(r, "size"), nil)
		default:
			m.file(n, rapid.StringN(0, 3000, 3000).Draw(r, "content"))
			m.meta(n, uint32(rapid.IntRange(0, 0o7777).Draw(r, "mode")), rt.Time(rapid.Int64Range(-1<<60, 1<<61).Draw(r, "mtime")))
			last = n
		}
	}
}

// taken tells whether a name, or a part of its path, is there already.
func taken(used map[string]bool, n string) bool {
	for u := range used {
		if u == n || strings.HasPrefix(u, n+"/") || strings.HasPrefix(n, u+"/") {
			return true
		}
	}
	return false
}

// FuzzWriter restores whatever comes and looks whether anything lies outside.
func FuzzWriter(f *testing.F) {
	for _, c := range hostile {
		f.Add(members(f, c.members...))
	}
	fs := simFS()
	newMaker(f, fs, "/").everything(true)
	img := read(f, fs, archive.Selection{Paths: []string{"/sparse", "/a", "/names"}})
	f.Add(img.data[:min(len(img.data), 60_000)])
	f.Fuzz(func(t *testing.T, b []byte) {
		fs := simFS()
		m := newMaker(t, fs, "/")
		m.file("secret", "secret")
		m.dir("target")
		_, err := write(t, fs, archive.WriteOptions{Target: "/target", Overwrite: archive.Always}, b, 1000)
		if err != nil && status.Of(err, 0) != status.TarError {
			t.Fatal(err)
		}
		d, err := fs.Open(ctx, "/")
		if err != nil {
			t.Fatal(err)
		}
		names, _ := d.Names(ctx)
		if s, err := fs.ReadFile("/secret"); err != nil || string(s) != "secret" || !cmp.Equal(names, []string{"secret", "target"}) {
			t.Fatalf("outside the target: %v, %q, %v", names, s, err)
		}
	})
}
