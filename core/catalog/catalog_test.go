package catalog

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"capstan/core/rt"
	"capstan/core/store"
	"capstan/core/store/storetest"
)

// seal makes a files file of entries, added in batches.
func seal(ctx context.Context, t testing.TB, d store.Dir, opt Options, entries []Entry) Summary {
	t.Helper()
	w, err := Create(ctx, d, "img/x.f", opt)
	if err != nil {
		t.Fatal(err)
	}
	for batch := range slices.Chunk(entries, 1000) {
		if err := w.Add(ctx, batch); err != nil {
			t.Fatal(err)
		}
	}
	sum, err := w.Seal(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return sum
}

func open(ctx context.Context, t testing.TB, d store.Dir, cache *Cache) *Reader {
	t.Helper()
	r, err := Open(ctx, d, "img/x.f", cache)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return r
}

func entry(path string, offset int64) Entry {
	e := Entry{Path: path, Type: Regular, Mode: 0o644, UID: 1000, GID: 100, Size: 700, DataLen: 700, HeadLen: 512, Offset: offset, MTime: 1_700_000_000_123_456_789}
	if strings.HasSuffix(path, "/") && path != "/" {
		e.Path = path[:len(path)-1]
	}
	if e.Path != path || path == "/" {
		e.Type, e.Mode, e.Size, e.DataLen = Directory, 0o755, 0, 0
	}
	return e
}

func paths(entries []Entry) []string {
	var p []string
	for _, e := range entries {
		p = append(p, e.Path)
	}
	return p
}

func walkPaths(ctx context.Context, t *testing.T, r *Reader, prefix string) []string {
	t.Helper()
	var p []string
	err := r.Walk(ctx, prefix, func(e Entry) (bool, error) {
		p = append(p, e.Path)
		return true, nil
	})
	if err != nil {
		t.Errorf("walk %s: %v", prefix, err)
	}
	return p
}

func TestOrder(t *testing.T) {
	// Each before the next: a directory's children together, then the subtrees.
	want := []string{"/", "/a", "/a!", "/ab", "/a/\x01", "/a/x", "/a/y", "/a/\x01/b", "/a/y/z", "/a/y/z/q", "/a!/x", "/ab/x", "/\xff/x"}
	got := slices.Clone(want)
	slices.Reverse(got)
	slices.SortFunc(got, comparePaths)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("order (-want +got):\n%s", diff)
	}
}

func TestImpliedParents(t *testing.T) {
	ctx := storetest.Solo()
	d := newTestDir()
	sum := seal(ctx, t, d, Options{}, []Entry{entry("/home/x/f", 0), entry("/home/x/g", 2048), entry("/srv/", 4096)})
	if diff := cmp.Diff(Summary{Files: 2, Dirs: 1, Bytes: 1400, Entries: 3}, sum); diff != "" {
		t.Errorf("summary (-want +got):\n%s", diff)
	}
	r := open(ctx, t, d, nil)
	for dir, want := range map[string][]string{
		"/": {"/home", "/srv"}, "/home": {"/home/x"}, "/home/x": {"/home/x/f", "/home/x/g"}, "/srv": nil, "/none": nil, "/home/x/f": nil,
	} {
		got, err := r.List(ctx, dir, "", 0)
		if err != nil {
			t.Errorf("list %s: %v", dir, err)
		}
		if diff := cmp.Diff(want, paths(got)); diff != "" {
			t.Errorf("list %s (-want +got):\n%s", dir, diff)
		}
	}
	for path, implied := range map[string]bool{"/": true, "/home": true, "/home/x": true, "/srv": false} {
		e, ok, err := r.Lookup(ctx, path)
		if !ok || err != nil || e.Implied() != implied || e.Type != Directory {
			t.Errorf("lookup %s: %+v, %v, %v", path, e, ok, err)
		}
	}
	if _, ok, err := r.Lookup(ctx, "/home/y"); ok || err != nil {
		t.Errorf("lookup of what is not there: %v, %v", ok, err)
	}
	got := walkPaths(ctx, t, r, "/")
	if diff := cmp.Diff([]string{"/srv", "/home/x/f", "/home/x/g"}, got); diff != "" {
		t.Errorf("walk (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"/home/x/g"}, walkPaths(ctx, t, r, "/home/x/g")); diff != "" {
		t.Errorf("walk of a file (-want +got):\n%s", diff)
	}
}

func TestEmpty(t *testing.T) {
	ctx := storetest.Solo()
	d := newTestDir()
	if sum := seal(ctx, t, d, Options{}, nil); sum != (Summary{}) {
		t.Errorf("summary of nothing: %+v", sum)
	}
	r := open(ctx, t, d, nil)
	if list, err := r.List(ctx, "/", "", 0); len(list) != 0 || err != nil {
		t.Errorf("list: %v, %v", list, err)
	}
	if err := r.Verify(ctx); err != nil {
		t.Errorf("verify: %v", err)
	}
}

func TestLongPaths(t *testing.T) {
	ctx := storetest.Solo()
	d := newTestDir()
	var in []Entry
	for i := range 100 { // 2 MB of text: blocks are closed by their text
		in = append(in, entry(fmt.Sprintf("%s/%02d", strings.Repeat("/"+strings.Repeat("d", 255), 80), i), int64(i)*2048))
	}
	seal(ctx, t, d, Options{Memory: 1 << 20, Block: 1 << 20}, in)
	r := open(ctx, t, d, nil)
	if err := r.Verify(ctx); err != nil {
		t.Fatal(err)
	}
	e, ok, err := r.Lookup(ctx, in[3].Path)
	if diff := cmp.Diff(in[3], e); !ok || err != nil || diff != "" {
		t.Errorf("lookup: %v, %v, differs: %v", ok, err, diff != "")
	}
}

func TestAddRefuses(t *testing.T) {
	ctx := storetest.Solo()
	for _, c := range []struct {
		name string
		edit func(e *Entry)
	}{
		{"relative path", func(e *Entry) { e.Path = "a" }},
		{"empty path", func(e *Entry) { e.Path = "" }},
		{"dot dot", func(e *Entry) { e.Path = "/a/../b" }},
		{"slash at the end", func(e *Entry) { e.Path = "/a/" }},
		{"NUL", func(e *Entry) { e.Path = "/a\x00b" }},
		{"long path", func(e *Entry) { e.Path = "/" + strings.Repeat("a", MaxPath) }},
		{"type", func(e *Entry) { e.Type = 'x' }},
		{"slashes at the end", func(e *Entry) { e.Type, e.Path = Gone, "/a//" }},
		{"mode", func(e *Entry) { e.Mode = 0o100644 }},
		{"size", func(e *Entry) { e.Size = -1 }},
		{"no offset", func(e *Entry) { e.Offset = -1 }},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := newTestDir()
			w, err := Create(ctx, d, "img/x.f", Options{})
			if err != nil {
				t.Fatal(err)
			}
			bad := entry("/b", 0)
			c.edit(&bad)
			if err := w.Add(ctx, []Entry{entry("/a", 0), bad}); err == nil {
				t.Error("no error")
			}
			if sum, err := w.Seal(ctx); err != nil || sum.Entries != 0 {
				t.Errorf("seal after a refusal: %+v, %v", sum, err)
			}
		})
	}
}

// drawEntry draws an entry among few paths, so that directories have several
// children and paths come twice.
func drawEntry(t *rapid.T) Entry {
	names := rapid.SampledFrom([]string{"a", "b", "ab", "a.", "\x01", "\xff\xfe", "é", "A"})
	parts := rapid.SliceOfN(names, 0, 4).Draw(t, "path")
	small, number := rapid.Int64Range(0, 1<<20), rapid.Int64Range(0, maxStream)
	e := Entry{
		Path: "/" + strings.Join(parts, "/"), Type: Type(rapid.IntRange('0', '6').Draw(t, "type")),
		Mode: rapid.Uint32Range(0, 0o7777).Draw(t, "mode"), UID: rapid.Uint32().Draw(t, "uid"), GID: rapid.Uint32().Draw(t, "gid"),
		Size: rapid.OneOf(small, number).Draw(t, "size"), MTime: rt.Time(rapid.Int64().Draw(t, "mtime")), CTime: rt.Time(rapid.Int64().Draw(t, "ctime")),
		Link:  rapid.SampledFrom([]string{"", "", "x", "../\xff"}).Draw(t, "link"),
		Major: rapid.Uint32Range(0, 3).Draw(t, "major"), Minor: rapid.Uint32Range(0, 3).Draw(t, "minor"),
		Dev: rapid.Uint64().Draw(t, "dev"), Ino: rapid.Uint64().Draw(t, "ino"), XHash: rapid.SampledFrom([]uint64{0, 1, 1 << 63}).Draw(t, "xhash"), CRC: rapid.SampledFrom([]uint32{0, 1, 1 << 31}).Draw(t, "crc"),
		Offset: rapid.OneOf(small, number).Draw(t, "offset"), HeadLen: small.Draw(t, "head"), DataLen: rapid.OneOf(small, number).Draw(t, "data"),
		Count: rapid.SampledFrom([]int64{0, 0, 1, 1000}).Draw(t, "count"), Damage: uint8(rapid.IntRange(0, 7).Draw(t, "damage")),
	}
	return e
}

// TestModel compares a file with a map.
func TestModel(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		ctx := storetest.Solo()
		in := rapid.SliceOfN(rapid.Custom(drawEntry), 0, 60).Draw(r, "entries")
		opt := Options{Memory: rapid.IntRange(300, 8000).Draw(r, "memory"), Block: rapid.IntRange(1, 300).Draw(r, "block")}
		d := newTestDir()
		sum := seal(ctx, t, d, opt, in)
		if len(d.files) != 1 {
			r.Fatalf("%d files are left, want 1", len(d.files))
		}
		model := map[string]Entry{}
		for _, e := range in {
			model[e.Path] = e
		}
		var want []Entry
		var wantSum Summary
		for _, e := range model {
			want = append(want, e)
			wantSum.add(&e)
		}
		if sum != wantSum {
			r.Fatalf("summary %+v, want %+v", sum, wantSum)
		}
		slices.SortFunc(want, func(a, b Entry) int { return comparePaths(a.Path, b.Path) })
		rd := open(ctx, t, d, NewCache(ctx, 4000))
		checkWalk(ctx, r, rd, want)
		checkLists(ctx, r, rd, model)
	})
}

// Walking page by page gives what one walk gives.
func TestWalkAfter(t *testing.T) {
	ctx, d := storetest.Solo(), newTestDir()
	var all []Entry
	for i := range 500 {
		all = append(all, entry(fmt.Sprintf("/a/d%d/e%d/f%03d", i%7, i%3, i), int64(i)*1536))
	}
	all = append(all, entry("/a/", 1<<30), entry("/", 1<<31))
	seal(ctx, t, d, Options{Block: 700}, all)
	r := open(ctx, t, d, nil)
	for _, prefix := range []string{"/", "/a", "/a/d3", "/a/d3/e1/f010", "/none"} {
		want := walkPaths(ctx, t, r, prefix)
		for _, size := range []int{1, 2, 7, 100} {
			var got []string
			for after, more := "", true; more; {
				n := 0
				err := r.WalkAfter(ctx, prefix, after, func(e Entry) (bool, error) {
					got = append(got, e.Path)
					after = e.Path
					n++
					return n < size, nil
				})
				if err != nil {
					t.Fatal(err)
				}
				more = n == size
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("walk of %s in pages of %d (-want +got):\n%s", prefix, size, diff)
			}
		}
	}
}

func checkWalk(ctx context.Context, r *rapid.T, rd *Reader, want []Entry) {
	for _, prefix := range []string{"/", "/a", "/a/b", "/ab", "/\xff\xfe", "/none"} {
		var sub, got []Entry
		for _, e := range want {
			if prefix == "/" || e.Path == prefix || strings.HasPrefix(e.Path, prefix+"/") {
				sub = append(sub, e)
			}
		}
		err := rd.Walk(ctx, prefix, func(e Entry) (bool, error) {
			got = append(got, e)
			return true, nil
		})
		if diff := cmp.Diff(sub, got); err != nil || diff != "" {
			r.Fatalf("walk %s: %v (-want +got):\n%s", prefix, err, diff)
		}
	}
}

func checkLists(ctx context.Context, r *rapid.T, rd *Reader, model map[string]Entry) {
	kids := map[string]map[string]bool{} // of every directory, implied ones too
	for path := range model {
		for path != "/" {
			dir, name := split(path)
			if dir == "" {
				dir = "/"
			}
			if kids[dir] == nil {
				kids[dir] = map[string]bool{}
			}
			kids[dir][name] = true
			path = dir
		}
	}
	for dir, names := range kids {
		var want, got []string
		for name := range names {
			want = append(want, name)
		}
		slices.Sort(want)
		for after := ""; ; { // in pages
			page, err := rd.List(ctx, dir, after, 2)
			if err != nil {
				r.Fatalf("list %s: %v", dir, err)
			}
			for _, e := range page {
				_, after = split(e.Path)
				got = append(got, after)
				m, ok := model[e.Path]
				if ok != !e.Implied() || ok && !cmp.Equal(m, e) {
					r.Fatalf("listed %+v, added %+v", e, m)
				}
			}
			if len(page) < 2 {
				break
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			r.Fatalf("list %s (-want +got):\n%s", dir, diff)
		}
	}
	for path, want := range model {
		if got, ok, err := rd.Lookup(ctx, path); !ok || err != nil || !cmp.Equal(got, want) {
			r.Fatalf("lookup %s: %+v, %v, %v", path, got, ok, err)
		}
	}
}

func TestRows(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		e := drawEntry(r)
		b := appendAttributes([]byte("x"), &e)
		c := cursor{b: append(b, "rest"...)[1:]}
		got := c.attributes()
		got.Path = e.Path // the key has it
		if diff := cmp.Diff(e, got); c.err != nil || diff != "" || string(c.b) != "rest" {
			r.Fatalf("%v, rest %q (-want +got):\n%s", c.err, c.b, diff)
		}
		c = cursor{b: b[1 : len(b)-1]}
		if c.attributes(); c.err == nil {
			r.Fatal("a row that was cut short is no error")
		}
	})
}

// Every byte of a file is covered: one that changed is found, and so is the
// loss of the end.
func TestDamage(t *testing.T) {
	ctx := storetest.Solo()
	d := newTestDir()
	var in []Entry
	for i := range 60 {
		in = append(in, entry(fmt.Sprintf("/d%d/f%d", i%7, i), int64(i)*2048))
	}
	seal(ctx, t, d, Options{Block: 500}, in)
	f := d.files["img/x.f"]
	whole := slices.Clone(f.b)
	check := func(what string) {
		t.Helper()
		r, err := Open(ctx, d, "img/x.f", nil)
		if err == nil {
			err = errors.Join(r.Verify(ctx), r.Close())
		}
		var damage *DamageError
		if !errors.As(err, &damage) || damage.Name != "img/x.f" {
			t.Fatalf("%s: %v, want a DamageError", what, err)
		}
	}
	for i := range whole {
		f.b = slices.Clone(whole)
		f.b[i] ^= 1 << (i % 8)
		check(fmt.Sprintf("byte %d of %d changed", i, len(whole)))
	}
	for n := 0; n < len(whole); n += 31 {
		f.b = whole[:n:n]
		check(fmt.Sprintf("cut to %d of %d bytes", n, len(whole)))
	}
	f.b = append(slices.Clone(whole), 0)
	check("a byte longer")
}

func TestNoSpace(t *testing.T) {
	ctx := storetest.Solo()
	for budget := int64(1); ; budget += 997 {
		d := newTestDir()
		d.budget = budget
		w, err := Create(ctx, d, "img/x.f", Options{Memory: 4000})
		if err != nil {
			t.Fatal(err)
		}
		for i := range 200 {
			if err = w.Add(ctx, []Entry{entry(fmt.Sprintf("/f%d", i*7919%200), int64(i)*2048)}); err != nil {
				break
			}
		}
		if err == nil {
			_, err = w.Seal(ctx)
		}
		if err == nil {
			return // there was enough
		}
		if !errors.Is(err, store.ErrNoSpace) {
			t.Fatalf("with %d bytes: %v, want ErrNoSpace", budget, err)
		}
		if err := w.Abort(ctx); err != nil {
			t.Fatal(err)
		}
		if len(d.files) != 0 {
			t.Fatalf("with %d bytes: files are left: %v", budget, d.files)
		}
		if err := w.Add(ctx, nil); err == nil {
			t.Fatal("an aborted writer takes entries")
		}
	}
}

// Abandon removes what is its writer's, and nothing else.
func TestAbandon(t *testing.T) {
	ctx := storetest.Solo()
	d := newTestDir()
	for _, name := range []string{"img/x.f", "img/x.f.run1", "img/x.f.run22", "img/x.f.run", "img/x.f.runner", "img/y.f.run1", "x.f.run1"} {
		if _, err := d.Create(ctx, name); err != nil {
			t.Fatal(err)
		}
	}
	if err := Abandon(ctx, d, "img/x.f"); err != nil {
		t.Fatal(err)
	}
	want := []string{"x.f", "x.f.run", "x.f.runner", "y.f.run1"}
	got, err := d.List(ctx, "img")
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("left: %v (-want +got):\n%s", err, diff)
	}
}

func TestCache(t *testing.T) {
	ctx := storetest.Solo()
	c := NewCache(ctx, 10_000)
	var shelves [3]*shelf
	for i := range shelves {
		shelves[i] = &shelf{map[int64]*block{}}
		for at := range int64(20) {
			c.put(&block{on: shelves[i], offset: at, raw: make([]byte, 700)})
		}
	}
	if want := int64(10_000 / 900 * 900); c.used != want {
		t.Errorf("%d bytes are kept, want %d", c.used, want)
	}
	if c.get(shelves[2], 19) == nil || c.get(shelves[0], 0) != nil {
		t.Error("not the blocks used last are kept")
	}
	c.forget(shelves[2])
	if c.used != 0 || len(shelves[2].blocks) != 0 {
		t.Errorf("after forget: %d bytes, %d blocks", c.used, len(shelves[2].blocks))
	}
}
