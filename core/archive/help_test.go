package archive_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
	"testing"

	"capstan/core/archive"
	"capstan/core/catalog"
	"capstan/core/dev"
	"capstan/core/rt"
	"capstan/core/stream"
	"capstan/core/tree"
	simtree "capstan/sim/tree"
)

var ctx = context.Background()

// simFS is an empty file system in memory whose clock goes on at each look.
func simFS() *simtree.FS {
	now := rt.Time(1_700_000_000_000_000_000)
	return simtree.New(func(context.Context) rt.Time { now += 1_000_000_007; return now }, dev.Resource{Name: "disk", Rate: 1e8})
}

// image is what a reader gave.
type image struct {
	data     []byte
	entries  []catalog.Entry
	problems []archive.Problem
	stats    archive.Stats
	hollow   int64
	via      []dev.Resource
}

// read reads a selection to its end; Splice checks the End frame, put the order.
func read(t testing.TB, fs tree.FS, sel archive.Selection) *image {
	t.Helper()
	img := &image{}
	r, err := archive.NewReader(ctx, fs, sel, func(p archive.Problem) { img.problems = append(img.problems, p) })
	if err != nil {
		t.Fatal(err)
	}
	n, err := stream.Splice(ctx, img, r)
	if err != nil || !n.Ended {
		t.Fatalf("splice: %+v, %v", n, err)
	}
	img.stats = r.Done()
	if img.stats.Bytes != n.Bytes || img.stats.Files != n.Members {
		t.Fatalf("the reader counts %+v, the splice %+v", img.stats, n)
	}
	return img
}

// Put makes an image the sink of a reader. It checks that members come ahead of
// their data.
func (img *image) Put(_ context.Context, f *stream.Frame) error {
	at := int64(len(img.data)) + img.hollow
	switch f.Kind {
	case stream.Member:
		for _, e := range f.Entries {
			if e.Offset < at {
				return fmt.Errorf("%s at %d comes after its data, which is at %d", e.Path, e.Offset, at)
			}
		}
		img.entries = append(img.entries, f.Entries...)
	case stream.Data:
		if f.Hollow() {
			img.hollow += f.Len
			img.via = f.Via
			return nil
		}
		if len(f.Bytes) > archive.FrameSize || int64(len(f.Bytes)) != f.Len {
			return fmt.Errorf("a frame of %d bytes, %d", f.Len, len(f.Bytes))
		}
		img.data = append(img.data, f.Bytes...)
	}
	return nil
}

// write restores bytes of an archive, in frames of a size.
func write(t testing.TB, fs tree.FS, opt archive.WriteOptions, data []byte, size int) ([]archive.Problem, error) {
	t.Helper()
	var problems []archive.Problem
	w, err := archive.NewWriter(ctx, fs, opt, func(p archive.Problem) { problems = append(problems, p) })
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close(ctx)
	for len(data) > 0 {
		n := min(size, len(data))
		if err := w.Put(ctx, &stream.Frame{Kind: stream.Data, Len: int64(n), Bytes: data[:n]}); err != nil {
			return problems, err
		}
		data = data[n:]
	}
	return problems, w.Put(ctx, &stream.Frame{Kind: stream.End})
}

// restore is write of something that must go well.
func restore(t testing.TB, fs tree.FS, opt archive.WriteOptions, data []byte) {
	t.Helper()
	problems, err := write(t, fs, opt, data, 7919)
	if err != nil || len(problems) > 0 {
		t.Fatalf("restore: %v, %v", problems, err)
	}
}

// found is a file of a tree as a test compares it.
type found struct {
	Type     catalog.Type
	Mode     uint32
	UID, GID uint32
	Size     int64
	MTime    rt.Time
	Link     string // of a symbolic link; of a hard link the first path
	Dev      [2]uint32
	Content  string
	Holes    bool
	Xattrs   string
}

// snapshot lists all that lies beneath a directory, and the directory as "".
func snapshot(t testing.TB, fs tree.FS, root string) map[string]found {
	t.Helper()
	d, err := fs.Open(ctx, root)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	out, first := map[string]found{}, map[uint64]string{}
	i, err := d.Stat(ctx)
	if err != nil {
		t.Fatal(err)
	}
	out[""] = describe(t, d, "", i)
	list(t, d, "", out, first)
	return out
}

func list(t testing.TB, d tree.Dir, at string, out map[string]found, first map[uint64]string) {
	t.Helper()
	names, err := d.Names(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range names {
		i, err := d.Lstat(ctx, n)
		if err != nil {
			t.Fatal(err)
		}
		p := path.Join(at, n)
		f := describe(t, d, n, i)
		if i.Nlink > 1 && i.Type == catalog.Regular {
			if first[i.Ino] != "" {
				f.Link = first[i.Ino]
			} else {
				first[i.Ino] = p
			}
		}
		out[p] = f
		if i.Type == catalog.Directory {
			sub, err := d.OpenDir(ctx, n)
			if err != nil {
				t.Fatal(err)
			}
			list(t, sub, p, out, first)
			sub.Close()
		}
	}
}

func describe(t testing.TB, d tree.Dir, name string, i tree.Info) found {
	t.Helper()
	f := found{Type: i.Type, Mode: i.Mode, UID: i.UID, GID: i.GID, MTime: i.MTime, Dev: [2]uint32{i.Major, i.Minor}}
	var err error
	switch i.Type {
	case catalog.Symlink:
		f.Mode = 0
		if f.Link, err = d.Readlink(ctx, name); err != nil {
			t.Fatal(err)
		}
	case catalog.Regular:
		f.Size = i.Size
		f.Content, f.Holes = content(t, d, name, i.Size)
	}
	xs, err := d.Xattrs(ctx, name)
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range xs {
		f.Xattrs += fmt.Sprintf("%s=%x ", x.Name, x.Value)
	}
	return f
}

func content(t testing.TB, d tree.Dir, name string, size int64) (string, bool) {
	t.Helper()
	f, err := d.OpenFile(ctx, name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b := make([]byte, size)
	if n, err := f.ReadAt(b, 0); int64(n) != size || err != nil && !errors.Is(err, io.EOF) {
		t.Fatalf("%s: %d of %d bytes, %v", name, n, size, err)
	}
	ext, err := f.Extents(ctx, size)
	if err != nil {
		t.Fatal(err)
	}
	holes := size > 0 && !(len(ext) == 1 && ext[0].Length == size)
	return string(bytes.TrimRight(b, "\x00")), holes
}

// maker makes files of a tree beneath a directory.
type maker struct {
	t  testing.TB
	fs tree.FS
	d  tree.Dir
}

func newMaker(t testing.TB, fs tree.FS, root string) *maker {
	t.Helper()
	d, err := fs.Open(ctx, root)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return &maker{t, fs, d}
}

func (m *maker) ok(err error) {
	m.t.Helper()
	if err != nil {
		m.t.Fatal(err)
	}
}

// at opens the directory that a relative path lies in, making what is missing.
func (m *maker) at(p string) (tree.Dir, string) {
	m.t.Helper()
	d := m.d
	names := strings.Split(p, "/")
	for _, n := range names[:len(names)-1] {
		next, err := d.OpenDir(ctx, n)
		if errors.Is(err, tree.ErrNotExist) {
			m.ok(d.Mkdir(ctx, n, 0o755))
			next, err = d.OpenDir(ctx, n)
		}
		m.ok(err)
		m.t.Cleanup(func() { next.Close() })
		d = next
	}
	return d, names[len(names)-1]
}

func (m *maker) file(p, content string) {
	m.t.Helper()
	m.pieces(p, int64(len(content)), map[int64]string{0: content})
}

// pieces makes a file of a size with bytes at some offsets, holes between.
func (m *maker) pieces(p string, size int64, parts map[int64]string) {
	m.t.Helper()
	d, n := m.at(p)
	f, err := d.Create(ctx, n, 0o644)
	m.ok(err)
	for off, s := range parts {
		_, err = f.WriteAt([]byte(s), off)
		m.ok(err)
	}
	m.ok(f.Truncate(size))
	m.ok(f.Sync())
	m.ok(f.Close())
}

func (m *maker) dir(p string) {
	m.t.Helper()
	d, n := m.at(p)
	m.ok(d.Mkdir(ctx, n, 0o755))
}

func (m *maker) symlink(target, p string) {
	m.t.Helper()
	d, n := m.at(p)
	m.ok(d.Symlink(ctx, target, n))
}

func (m *maker) link(old, p string) {
	m.t.Helper()
	from, o := m.at(old)
	d, n := m.at(p)
	m.ok(d.Link(ctx, from, o, n))
}

func (m *maker) node(p string, i tree.Info) bool {
	m.t.Helper()
	d, n := m.at(p)
	err := d.Mknod(ctx, n, i)
	if errors.Is(err, tree.ErrPermission) {
		return false
	}
	m.ok(err)
	return true
}

func (m *maker) meta(p string, mode uint32, mtime rt.Time, xs ...tree.Xattr) {
	m.t.Helper()
	d, n := m.at(p)
	i, err := d.Lstat(ctx, n)
	m.ok(err)
	i.Mode, i.MTime = mode, mtime
	m.ok(d.SetMeta(ctx, n, i, xs))
}

func (m *maker) owner(p string, uid, gid uint32) {
	m.t.Helper()
	d, n := m.at(p)
	i, err := d.Lstat(ctx, n)
	m.ok(err)
	i.UID, i.GID = uid, gid
	m.ok(d.SetMeta(ctx, n, i, nil))
}

// aclValue is user::rw-,user:74565:r--,group::r--,mask::r--,other::---, as the kernel gives it.
const aclValue = "\x02\x00\x00\x00" +
	"\x01\x00\x06\x00\xff\xff\xff\xff" +
	"\x02\x00\x04\x00\x45\x23\x01\x00" +
	"\x04\x00\x04\x00\xff\xff\xff\xff" +
	"\x10\x00\x04\x00\xff\xff\xff\xff" +
	"\x20\x00\x00\x00\xff\xff\xff\xff"

// everything makes one of each kind of file.
func (m *maker) everything(root bool) {
	m.t.Helper()
	m.file("empty", "")
	m.file("a", "hello\n")
	m.file("block", strings.Repeat("x", 512))
	m.file("block1", strings.Repeat("y", 513))
	m.file("big", strings.Repeat("0123456789abcdef", 50_000))
	m.file("dir/sub/deep", "deep")
	m.dir("dir/empty")
	m.file("names/not utf-8 \xff\xfe", "1")
	m.file("names/new\nline", "2")
	m.file("names/"+strings.Repeat("n", 255), "3")
	m.file("names/"+strings.Repeat("long/", 60)+"end \xf0", "4")
	m.link("a", "names/hard")
	m.link("big", "zz-hard")
	m.symlink("../a", "dir/rel")
	m.symlink("/nowhere/\xff"+strings.Repeat("t", 150), "dir/dangling")
	m.node("fifo", tree.Info{Type: catalog.FIFO, Mode: 0o640})
	m.pieces("sparse/middle", 1<<20, map[int64]string{65536: strings.Repeat("m", 70_000)})
	m.pieces("sparse/tail", 1<<20+77, map[int64]string{1 << 20: strings.Repeat("t", 77)})
	m.pieces("sparse/hole", 1<<20, nil)
	m.pieces("sparse/many", 1<<21, map[int64]string{0: "a", 1 << 17: "b", 1 << 18: "c", 1 << 19: "d", 1 << 20: "e"})
	m.meta("a", 0o4751, 1_234_567_890_123_456_789, tree.Xattr{Name: "user.k=%e", Value: []byte("v\x00\n=\xff")}, tree.Xattr{Name: "user.empty"})
	m.meta("block", 0o640, -1_500_000_000)
	m.meta("block1", 0o640, 1_000_000_000_000_000_000, tree.Xattr{Name: "system.posix_acl_access", Value: []byte(aclValue)})
	m.meta("dir/sub", 0o2700, 1_111_111_111_000_000_000, tree.Xattr{Name: "user.d", Value: []byte("dir")})
	m.meta("dir", 0o1777, 1_111_111_111_500_000_000)
	m.meta("sparse/many", 0o600, 1_222_222_222_222_222_222)
	if root {
		m.node("char", tree.Info{Type: catalog.CharDev, Mode: 0o600, Major: 1, Minor: 3})
		m.node("blockdev", tree.Info{Type: catalog.BlockDev, Mode: 0o600, Major: 8, Minor: 1_000_000})
		m.owner("empty", 3_000_000, 4_000_000_000)
		m.owner("dir/rel", 5, 6)
	}
}
