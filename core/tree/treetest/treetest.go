// Package treetest is the conformance suite of the seam core/tree: each world's
// implementation passes it.
package treetest

import (
	"context"
	"errors"
	"io"
	"testing"

	"github.com/google/go-cmp/cmp"

	"capstan/core/catalog"
	"capstan/core/rt"
	"capstan/core/tree"
)

// World is an implementation under test.
type World struct {
	Ctx  context.Context
	FS   tree.FS
	Root string // an empty directory
}

// Run runs the suite; open gives an empty directory for each test.
func Run(t *testing.T, open func(t *testing.T) World) {
	for _, c := range []struct {
		name string
		fn   func(t *testing.T, c *check)
	}{
		{"names", testNames},
		{"bad names", testBadNames},
		{"missing", testMissing},
		{"file", testFile},
		{"holes", testHoles},
		{"hollow", testHollow},
		{"links are not followed", testNoFollow},
		{"hard links", testHardLinks},
		{"special files", testSpecial},
		{"rename", testRename},
		{"remove", testRemove},
		{"attributes", testMeta},
		{"open follows", testOpenFollows},
		{"handles survive", testHandles},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := open(t)
			d, err := w.FS.Open(w.Ctx, w.Root)
			if err != nil {
				t.Fatal(err)
			}
			defer d.Close()
			c.fn(t, &check{t: t, World: w, d: d, ctx: w.Ctx})
		})
	}
}

// check has what every test needs.
type check struct {
	World
	t   *testing.T
	ctx context.Context
	d   tree.Dir
}

func (c *check) ok(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}

func (c *check) is(err, want error) {
	c.t.Helper()
	if !errors.Is(err, want) {
		c.t.Errorf("error %v, want %v", err, want)
	}
}

func (c *check) equal(got, want any) {
	c.t.Helper()
	if d := cmp.Diff(want, got); d != "" {
		c.t.Errorf("-want +got:\n%s", d)
	}
}

func (c *check) write(d tree.Dir, name, content string) {
	c.t.Helper()
	f, err := d.Create(c.ctx, name, 0o600)
	c.ok(err)
	_, err = f.WriteAt([]byte(content), 0)
	c.ok(err)
	c.ok(f.Sync())
	c.ok(f.Close())
}

func (c *check) read(d tree.Dir, name string) string {
	c.t.Helper()
	f, err := d.OpenFile(c.ctx, name)
	c.ok(err)
	defer f.Close()
	i, err := f.Stat(c.ctx)
	c.ok(err)
	b := make([]byte, i.Size+1)
	n, err := f.ReadAt(b, 0)
	c.is(err, io.EOF)
	return string(b[:n])
}

func (c *check) mkdir(name string) tree.Dir {
	c.t.Helper()
	c.ok(c.d.Mkdir(c.ctx, name, 0o700))
	d, err := c.d.OpenDir(c.ctx, name)
	c.ok(err)
	c.t.Cleanup(func() { d.Close() })
	return d
}

func testNames(t *testing.T, c *check) {
	names := []string{" ", "-", "A", "a", "a\nb", "b", "z.txt", "\xff\xfe not utf-8"}
	for i := range names {
		c.write(c.d, names[len(names)-1-i], "")
	}
	for range 2 { // a handle can be listed again
		got, err := c.d.Names(c.ctx)
		c.ok(err)
		c.equal(got, names)
	}
}

func testBadNames(t *testing.T, c *check) {
	for _, n := range []string{"", ".", "..", "a/b", "/", "a\x00b"} {
		_, err := c.d.Lstat(c.ctx, n)
		c.is(err, tree.ErrBadName)
		_, err = c.d.OpenDir(c.ctx, n)
		c.is(err, tree.ErrBadName)
		_, err = c.d.OpenFile(c.ctx, n)
		c.is(err, tree.ErrBadName)
		_, err = c.d.Readlink(c.ctx, n)
		c.is(err, tree.ErrBadName)
		_, err = c.d.Create(c.ctx, n, 0o600)
		c.is(err, tree.ErrBadName)
		c.is(c.d.Mkdir(c.ctx, n, 0o700), tree.ErrBadName)
		c.is(c.d.Symlink(c.ctx, "x", n), tree.ErrBadName)
		c.is(c.d.Link(c.ctx, c.d, n, "y"), tree.ErrBadName)
		c.is(c.d.Mknod(c.ctx, n, tree.Info{Type: catalog.FIFO}), tree.ErrBadName)
		c.is(c.d.Remove(c.ctx, n), tree.ErrBadName)
		c.is(c.d.Rename(c.ctx, n, "y"), tree.ErrBadName)
		c.is(c.d.Rename(c.ctx, "y", n), tree.ErrBadName)
		if n != "" { // "" is the directory itself
			c.is(c.d.SetMeta(c.ctx, n, tree.Info{}, nil), tree.ErrBadName)
			_, err = c.d.Xattrs(c.ctx, n)
			c.is(err, tree.ErrBadName)
		}
	}
	_, err := c.FS.Open(c.ctx, "relative")
	c.is(err, tree.ErrBadName)
}

func testMissing(t *testing.T, c *check) {
	_, err := c.FS.Open(c.ctx, c.Root+"/none")
	c.is(err, tree.ErrNotExist)
	_, err = c.d.Lstat(c.ctx, "none")
	c.is(err, tree.ErrNotExist)
	_, err = c.d.OpenFile(c.ctx, "none")
	c.is(err, tree.ErrNotExist)
	_, err = c.d.OpenDir(c.ctx, "none")
	c.is(err, tree.ErrNotExist)
	c.is(c.d.Remove(c.ctx, "none"), tree.ErrNotExist)
	c.is(c.d.Rename(c.ctx, "none", "x"), tree.ErrNotExist)
	c.is(c.d.Link(c.ctx, c.d, "none", "x"), tree.ErrNotExist)
	c.write(c.d, "f", "")
	_, err = c.d.Create(c.ctx, "f", 0o600)
	c.is(err, tree.ErrExist)
	c.is(c.d.Mkdir(c.ctx, "f", 0o700), tree.ErrExist)
	c.is(c.d.Symlink(c.ctx, "x", "f"), tree.ErrExist)
	_, err = c.d.OpenDir(c.ctx, "f")
	c.is(err, tree.ErrNotDir)
	c.ok(c.d.Mkdir(c.ctx, "d", 0o700))
	_, err = c.d.OpenFile(c.ctx, "d")
	c.is(err, tree.ErrIsDir)
}

func testFile(t *testing.T, c *check) {
	f, err := c.d.Create(c.ctx, "f", 0o640)
	c.ok(err)
	_, err = f.WriteAt([]byte("world"), 6)
	c.ok(err)
	_, err = f.WriteAt([]byte("hello "), 0)
	c.ok(err)
	_, err = f.WriteAt([]byte("W"), 6)
	c.ok(err)
	c.ok(f.Sync())
	c.ok(f.Close())
	c.equal(c.read(c.d, "f"), "hello World")
	i, err := c.d.Lstat(c.ctx, "f")
	c.ok(err)
	c.equal([]any{i.Type, i.Size, i.Nlink, i.Files}, []any{catalog.Regular, int64(11), uint64(1), int64(0)})
	r, err := c.d.OpenFile(c.ctx, "f")
	c.ok(err)
	defer r.Close()
	b := make([]byte, 4)
	n, err := r.ReadAt(b, 9)
	c.is(err, io.EOF)
	c.equal(string(b[:n]), "ld")
	n, err = r.ReadAt(b, 100)
	c.is(err, io.EOF)
	c.equal(n, 0)
}

func testHoles(t *testing.T, c *check) {
	const block = 64 << 10
	data := make([]byte, block)
	for i := range data {
		data[i] = byte(i) | 1
	}
	f, err := c.d.Create(c.ctx, "f", 0o600)
	c.ok(err)
	_, err = f.WriteAt(data, 4*block)
	c.ok(err)
	_, err = f.WriteAt(data, block)
	c.ok(err)
	c.ok(f.Truncate(16 * block))
	c.ok(f.Sync())
	c.ok(f.Close())
	r, err := c.d.OpenFile(c.ctx, "f")
	c.ok(err)
	defer r.Close()
	ext, err := r.Extents(c.ctx, 16*block)
	c.ok(err)
	c.equal(ext, []tree.Extent{{Offset: block, Length: block}, {Offset: 4 * block, Length: block}})
	whole := make([]byte, 16*block)
	if n, err := r.ReadAt(whole, 0); n != len(whole) || err != nil && !errors.Is(err, io.EOF) {
		t.Fatalf("read %d bytes, %v", n, err)
	}
	c.equal(whole[0] == 0 && whole[block] == 1 && whole[2*block] == 0 && whole[15*block] == 0, true)

	c.write(c.d, "full", "no holes")
	full, err := c.d.OpenFile(c.ctx, "full")
	c.ok(err)
	defer full.Close()
	ext, err = full.Extents(c.ctx, 8)
	c.ok(err)
	c.equal(ext, []tree.Extent{{Length: 8}})
}

// testHollow: a world keeps hollow files, or refuses them.
func testHollow(t *testing.T, c *check) {
	f, err := c.d.Create(c.ctx, "f", 0o600)
	c.ok(err)
	defer f.Close()
	if err := f.WriteHollow(c.ctx, 0, 1<<40); err != nil {
		c.is(err, tree.ErrHollow)
		return
	}
	i, err := c.d.Lstat(c.ctx, "f")
	c.ok(err)
	c.equal([]int64{i.Size, i.Files}, []int64{1 << 40, 1})
	r, err := c.d.OpenFile(c.ctx, "f")
	c.ok(err)
	defer r.Close()
	_, err = r.ReadAt(make([]byte, 1), 5)
	c.is(err, tree.ErrHollow)
}

func testNoFollow(t *testing.T, c *check) {
	inside := c.mkdir("dir")
	c.write(inside, "f", "secret")
	c.ok(c.d.Symlink(c.ctx, "dir", "toDir"))
	c.ok(c.d.Symlink(c.ctx, "dir/f", "toFile"))
	c.ok(c.d.Symlink(c.ctx, "/nowhere/\xff", "dangling"))
	_, err := c.d.OpenDir(c.ctx, "toDir")
	c.is(err, tree.ErrNotDir)
	_, err = c.d.OpenFile(c.ctx, "toFile")
	c.is(err, tree.ErrNotRegular)
	to, err := c.d.Readlink(c.ctx, "dangling")
	c.ok(err)
	c.equal(to, "/nowhere/\xff")
	i, err := c.d.Lstat(c.ctx, "toDir")
	c.ok(err)
	c.equal(i.Type, catalog.Symlink)
	_, err = c.d.Create(c.ctx, "dangling", 0o600)
	c.is(err, tree.ErrExist)

	before, err := inside.Lstat(c.ctx, "f")
	c.ok(err)
	li, err := c.d.Lstat(c.ctx, "toFile")
	c.ok(err)
	li.MTime = 12345
	c.ok(c.d.SetMeta(c.ctx, "toFile", li, nil))
	after, err := inside.Lstat(c.ctx, "f")
	c.ok(err)
	c.equal(after, before)
	li, err = c.d.Lstat(c.ctx, "toFile")
	c.ok(err)
	c.equal(li.MTime, rt.Time(12345))
	if _, err := c.d.Readlink(c.ctx, "dir"); err == nil {
		t.Error("a directory was read as a link")
	}
}

func testHardLinks(t *testing.T, c *check) {
	sub := c.mkdir("sub")
	c.write(c.d, "f", "x")
	c.ok(sub.Link(c.ctx, c.d, "f", "g"))
	c.is(sub.Link(c.ctx, c.d, "f", "g"), tree.ErrExist)
	c.is(sub.Link(c.ctx, c.d, "sub", "h"), tree.ErrPermission)
	a, err := c.d.Lstat(c.ctx, "f")
	c.ok(err)
	b, err := sub.Lstat(c.ctx, "g")
	c.ok(err)
	c.equal(a, b)
	c.equal(a.Nlink, uint64(2))
	// A link to a symbolic link is one more name of the link.
	c.ok(c.d.Symlink(c.ctx, "f", "s"))
	c.ok(c.d.Link(c.ctx, c.d, "s", "s2"))
	i, err := c.d.Lstat(c.ctx, "s2")
	c.ok(err)
	c.equal(i.Type, catalog.Symlink)
	c.ok(c.d.Remove(c.ctx, "f"))
	c.equal(c.read(sub, "g"), "x")
}

func testSpecial(t *testing.T, c *check) {
	c.ok(c.d.Mknod(c.ctx, "fifo", tree.Info{Type: catalog.FIFO, Mode: 0o600}))
	i, err := c.d.Lstat(c.ctx, "fifo")
	c.ok(err)
	c.equal(i.Type, catalog.FIFO)
	_, err = c.d.OpenFile(c.ctx, "fifo") // must not wait for a writer
	c.is(err, tree.ErrNotRegular)
	for _, want := range []tree.Info{
		{Type: catalog.CharDev, Mode: 0o600, Major: 1, Minor: 3},
		{Type: catalog.BlockDev, Mode: 0o600, Major: 259, Minor: 70000},
	} {
		name := "device-" + string(want.Type)
		err := c.d.Mknod(c.ctx, name, want)
		if errors.Is(err, tree.ErrPermission) {
			t.Logf("device nodes are not allowed here: %v", err)
			continue
		}
		c.ok(err)
		i, err := c.d.Lstat(c.ctx, name)
		c.ok(err)
		c.equal([]any{i.Type, i.Major, i.Minor}, []any{want.Type, want.Major, want.Minor})
	}
	if err := c.d.Mknod(c.ctx, "x", tree.Info{Type: catalog.Regular}); err == nil {
		t.Error("mknod made a regular file")
	}
}

func testRename(t *testing.T, c *check) {
	c.write(c.d, "a", "new")
	c.write(c.d, "b", "old")
	c.ok(c.d.Rename(c.ctx, "a", "b"))
	c.equal(c.read(c.d, "b"), "new")
	_, err := c.d.Lstat(c.ctx, "a")
	c.is(err, tree.ErrNotExist)
	c.ok(c.d.Mkdir(c.ctx, "d", 0o700))
	c.is(c.d.Rename(c.ctx, "b", "d"), tree.ErrIsDir)
	c.is(c.d.Rename(c.ctx, "d", "b"), tree.ErrNotDir)
	// Two names of one file: nothing happens.
	c.ok(c.d.Link(c.ctx, c.d, "b", "b2"))
	c.ok(c.d.Rename(c.ctx, "b2", "b"))
	names, err := c.d.Names(c.ctx)
	c.ok(err)
	c.equal(names, []string{"b", "b2", "d"})
}

func testRemove(t *testing.T, c *check) {
	sub := c.mkdir("d")
	c.write(sub, "f", "")
	if err := c.d.Remove(c.ctx, "d"); err == nil {
		t.Error("a directory that is not empty was removed")
	}
	c.ok(sub.Remove(c.ctx, "f"))
	c.ok(c.d.Remove(c.ctx, "d"))
	c.ok(c.d.Symlink(c.ctx, "x", "s"))
	c.ok(c.d.Remove(c.ctx, "s"))
	names, err := c.d.Names(c.ctx)
	c.ok(err)
	c.equal(len(names), 0)
}

func testMeta(t *testing.T, c *check) {
	sub := c.mkdir("d")
	c.write(c.d, "f", "")
	for _, name := range []string{"f", ""} {
		d := c.d
		if name == "" {
			d = sub
		}
		i := c.stat(d, name)
		i.Mode, i.MTime = 0o2751, 1234567890_123456789
		xs := []tree.Xattr{{Name: "user.a", Value: []byte("\x00\xff=")}, {Name: "user.b", Value: []byte("")}}
		err := d.SetMeta(c.ctx, name, i, xs)
		c.ok(err)
		got := c.stat(d, name)
		c.equal([]any{got.Mode, got.MTime, got.UID, got.GID}, []any{i.Mode, i.MTime, i.UID, i.GID})
		back, err := d.Xattrs(c.ctx, name)
		c.ok(err)
		c.equal(len(back), 2)
		c.equal(string(back[0].Value), "\x00\xff=")
		// What was there stays, what is set again is replaced.
		c.ok(d.SetMeta(c.ctx, name, i, []tree.Xattr{{Name: "user.a", Value: []byte("2")}}))
		back, err = d.Xattrs(c.ctx, name)
		c.ok(err)
		c.equal(len(back), 2)
		c.equal(string(back[0].Value), "2")
	}
	i := c.stat(c.d, "f")
	i.MTime = -1_500_000_000 // before the epoch
	c.ok(c.d.SetMeta(c.ctx, "f", i, nil))
	c.equal(c.stat(c.d, "f").MTime, rt.Time(-1_500_000_000))
	c.is(c.d.SetMeta(c.ctx, "none", i, nil), tree.ErrNotExist)
}

func (c *check) stat(d tree.Dir, name string) tree.Info {
	c.t.Helper()
	i, err := d.Stat(c.ctx)
	if name != "" {
		i, err = d.Lstat(c.ctx, name)
	}
	c.ok(err)
	return i
}

func testOpenFollows(t *testing.T, c *check) {
	sub := c.mkdir("d")
	c.write(sub, "f", "x")
	c.ok(c.d.Symlink(c.ctx, "d", "rel"))
	c.ok(c.d.Symlink(c.ctx, c.Root+"/d", "abs"))
	for _, p := range []string{"/d", "/rel", "/abs", "/d/"} {
		d, err := c.FS.Open(c.ctx, c.Root+p)
		c.ok(err)
		c.equal(c.read(d, "f"), "x")
		c.ok(d.Close())
	}
	_, err := c.FS.Open(c.ctx, c.Root+"/d/f")
	c.is(err, tree.ErrNotDir)
}

// testHandles: a handle stays with its directory when the name goes elsewhere.
func testHandles(t *testing.T, c *check) {
	sub := c.mkdir("d")
	c.ok(c.d.Rename(c.ctx, "d", "moved"))
	c.ok(c.d.Symlink(c.ctx, "/", "d"))
	c.write(sub, "f", "here")
	moved, err := c.d.OpenDir(c.ctx, "moved")
	c.ok(err)
	defer moved.Close()
	c.equal(c.read(moved, "f"), "here")
}
