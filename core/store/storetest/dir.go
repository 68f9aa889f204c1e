package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"testing"

	"capstan/core/rt"
	"capstan/core/store"
)

// Directory is a directory on a disk, with what the suite needs to know of it.
type Directory struct {
	Dir store.Dir
	// Hollow tells whether hollow ranges are kept.
	Hollow bool
}

// RunDir runs the suite; fresh makes an empty directory.
func RunDir(t *testing.T, run Run, fresh func(t *testing.T) Directory) {
	for _, c := range []struct {
		name string
		body func(ctx context.Context, t *testing.T, d Directory)
	}{
		{"ReadWrite", testReadWrite},
		{"Names", testNames},
		{"Rename", testRename},
		{"List", testList},
		{"Remove", testRemove},
		{"Missing", testMissing},
		{"Hollow", testHollow},
		{"SharedByTasks", testShared},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := fresh(t)
			run(t, func(ctx context.Context) { c.body(ctx, t, d) })
		})
	}
}

// RunNoSpace runs the case of a disk that is full; small makes an empty
// directory on a disk that holds fewer than 1 MiB.
func RunNoSpace(t *testing.T, run Run, small func(t *testing.T) store.Dir) {
	d := small(t)
	run(t, func(ctx context.Context) { testNoSpace(ctx, t, d) })
}

// Crash ends the host and gives the directory as it is after it.
type Crash func(ctx context.Context) store.Dir

// RunDirCrash runs the suite of what a crash of the host may and may not take
// away, for implementations whose host a test can crash; fresh makes an empty
// directory.
func RunDirCrash(t *testing.T, run Run, fresh func(t *testing.T) (store.Dir, Crash)) {
	for _, c := range []struct {
		name string
		body func(ctx context.Context, t *testing.T, dir store.Dir, crash Crash)
	}{
		{"SyncedSurvives", testSynced},
		{"RenameIsAtomic", testRenameCrash},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir, crash := fresh(t)
			run(t, func(ctx context.Context) { c.body(ctx, t, dir, crash) })
		})
	}
}

func ok(t *testing.T, what string, err error) {
	t.Helper()
	if err != nil {
		t.Errorf("%s: %v", what, err)
	}
}

// write makes a file with content, synced.
func write(ctx context.Context, t *testing.T, d store.Dir, name, content string) {
	t.Helper()
	f, err := d.Create(ctx, name)
	if err != nil {
		t.Errorf("create %s: %v", name, err)
		return
	}
	n, err := f.WriteAt([]byte(content), 0)
	if n != len(content) || err != nil {
		t.Errorf("write %s: %d, %v", name, n, err)
	}
	ok(t, "sync", f.Sync())
	ok(t, "close", f.Close())
}

// read gives a file's content; what names a missing file is "-".
func read(ctx context.Context, t *testing.T, d store.Dir, name string) string {
	t.Helper()
	f, err := d.Open(ctx, name)
	if errors.Is(err, store.ErrNotFound) {
		return "-"
	}
	if err != nil {
		t.Errorf("open %s: %v", name, err)
		return ""
	}
	size, err := f.Size()
	ok(t, "size", err)
	b := make([]byte, size)
	if n, err := f.ReadAt(b, 0); n != len(b) || err != nil && !errors.Is(err, io.EOF) {
		t.Errorf("read %s: %d of %d, %v", name, n, size, err)
	}
	ok(t, "close", f.Close())
	return string(b)
}

func testReadWrite(ctx context.Context, t *testing.T, d Directory) {
	f, err := d.Dir.Create(ctx, "a")
	if err != nil {
		t.Errorf("create: %v", err)
		return
	}
	big := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	for _, w := range []struct {
		b   []byte
		off int64
	}{{big, 10}, {[]byte("hello"), 100}, {[]byte("end"), int64(len(big)) + 20}, {[]byte("x"), 10}} {
		if n, err := f.WriteAt(w.b, w.off); n != len(w.b) || err != nil {
			t.Errorf("write at %d: %d, %v", w.off, n, err)
		}
	}
	want := make([]byte, len(big)+23)
	copy(want[10:], big)
	copy(want[100:], "hello")
	copy(want[len(big)+20:], "end")
	want[10] = 'x'
	got := make([]byte, len(want)+5)
	if n, err := f.ReadAt(got, 0); n != len(want) || !errors.Is(err, io.EOF) || !bytes.Equal(got[:n], want) {
		t.Errorf("read beyond the end: %d of %d, %v, equal %v", n, len(want), err, bytes.Equal(got[:n], want))
	}
	if n, err := f.ReadAt(got[:7], 98); n != 7 || err != nil || string(got[:7]) != string(want[98:105]) {
		t.Errorf("read in the middle: %q, %v", got[:n], err)
	}
	ok(t, "truncate", f.Truncate(50))
	ok(t, "truncate to more", f.Truncate(60))
	size, err := f.Size()
	if size != 60 || err != nil {
		t.Errorf("size after truncate: %d, %v", size, err)
	}
	if n, err := f.ReadAt(got[:20], 40); n != 20 || err != nil && !errors.Is(err, io.EOF) || string(got[:20]) != string(want[40:50])+string(make([]byte, 10)) {
		t.Errorf("read after truncate: %q, %v", got[:n], err)
	}
	ok(t, "close", f.Close())
	if _, err := f.ReadAt(got[:1], 0); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("read of a closed file: %v", err)
	}
	write(ctx, t, d.Dir, "a", "") // empties it
	same(t, "emptied", read(ctx, t, d.Dir, "a"), "")
}

func testNames(ctx context.Context, t *testing.T, d Directory) {
	for _, name := range []string{"", ".", "..", "/", "/etc/passwd", "../a", "a/../../b", "a/./b", "a//b", "a/", "a\x00b"} {
		if f, err := d.Dir.Create(ctx, name); err == nil {
			t.Errorf("create %q is no error", name)
			ok(t, "close", f.Close())
		}
		if _, err := d.Dir.Open(ctx, name); err == nil {
			t.Errorf("open %q is no error", name)
		}
		if err := d.Dir.Remove(ctx, name); err == nil {
			t.Errorf("remove %q is no error", name)
		}
		write(ctx, t, d.Dir, "x", "x")
		if err := d.Dir.Rename(ctx, "x", name); err == nil {
			t.Errorf("rename to %q is no error", name)
		}
	}
	for _, name := range []string{"..", "/", "a/..", "a/"} {
		if _, err := d.Dir.List(ctx, name); err == nil {
			t.Errorf("list %q is no error", name)
		}
		if err := d.Dir.Sync(ctx, name); err == nil {
			t.Errorf("sync %q is no error", name)
		}
	}
	for _, name := range []string{"...", "a b", "\xff\xfe", "d/..e/f"} {
		write(ctx, t, d.Dir, name, name)
		same(t, "content", read(ctx, t, d.Dir, name), name)
	}
}

func testRename(ctx context.Context, t *testing.T, d Directory) {
	write(ctx, t, d.Dir, "a", "1")
	write(ctx, t, d.Dir, "x/b", "2")
	ok(t, "rename", d.Dir.Rename(ctx, "a", "x/b"))
	same(t, "old name", read(ctx, t, d.Dir, "a"), "-")
	same(t, "new name", read(ctx, t, d.Dir, "x/b"), "1")
	ok(t, "rename into a new directory", d.Dir.Rename(ctx, "x/b", "y/z/c"))
	same(t, "new directory", read(ctx, t, d.Dir, "y/z/c"), "1")
	ok(t, "rename to itself", d.Dir.Rename(ctx, "y/z/c", "y/z/c"))
	same(t, "renamed to itself", read(ctx, t, d.Dir, "y/z/c"), "1")
	if err := d.Dir.Rename(ctx, "y/z/c", "x"); err == nil {
		t.Error("rename to a directory's name is no error")
	}
	if _, err := d.Dir.Create(ctx, "y/z/c/d"); err == nil {
		t.Error("create below a file is no error")
	}
}

func testList(ctx context.Context, t *testing.T, d Directory) {
	for _, name := range []string{"b", "a", "c/x", "B", "c/y/z", "a.b"} {
		write(ctx, t, d.Dir, name, "")
	}
	//capstan:unordered each is looked at alone
	for dir, want := range map[string][]string{
		"": {"B", "a", "a.b", "b", "c/"}, "c": {"x", "y/"}, "c/y": {"z"}, "none": nil,
	} {
		got, err := d.Dir.List(ctx, dir)
		ok(t, "list "+dir, err)
		same(t, "names in "+dir, got, want)
	}
}

func testRemove(ctx context.Context, t *testing.T, d Directory) {
	write(ctx, t, d.Dir, "x/a", "1")
	if err := d.Dir.Remove(ctx, "x"); err == nil {
		t.Error("remove of a directory that is not empty is no error")
	}
	ok(t, "remove", d.Dir.Remove(ctx, "x/a"))
	same(t, "removed", read(ctx, t, d.Dir, "x/a"), "-")
	ok(t, "remove the empty directory", d.Dir.Remove(ctx, "x"))
	got, err := d.Dir.List(ctx, "")
	ok(t, "list", err)
	same(t, "names", len(got), 0)
	write(ctx, t, d.Dir, "x", "now a file")
	same(t, "file", read(ctx, t, d.Dir, "x"), "now a file")
}

func testMissing(ctx context.Context, t *testing.T, d Directory) {
	_, err := d.Dir.Open(ctx, "a/b")
	//capstan:unordered each is looked at alone
	for op, err := range map[string]error{"open": err, "remove": d.Dir.Remove(ctx, "a/b"), "rename": d.Dir.Rename(ctx, "a", "b")} {
		if !errors.Is(err, store.ErrNotFound) {
			t.Errorf("%s of a missing file: %v, want ErrNotFound", op, err)
		}
	}
}

func testHollow(ctx context.Context, t *testing.T, d Directory) {
	f, err := d.Dir.Create(ctx, "a")
	if err != nil {
		t.Errorf("create: %v", err)
		return
	}
	err = f.WriteHollow(ctx, 5, 1<<40)
	if !d.Hollow {
		if !errors.Is(err, store.ErrHollow) {
			t.Errorf("write of a hollow range: %v, want ErrHollow", err)
		}
		return
	}
	ok(t, "write hollow", err)
	if _, err := f.WriteAt([]byte("tail"), 1<<40+5); err != nil {
		t.Errorf("write behind: %v", err)
	}
	b := make([]byte, 4)
	if _, err := f.ReadAt(b, 1<<40+5); err != nil || string(b) != "tail" {
		t.Errorf("read behind: %q, %v", b, err)
	}
	if n, err := f.ReadAt(b, 3); n != 2 || !errors.Is(err, store.ErrHollow) {
		t.Errorf("read into the hollow range: %d, %v", n, err)
	}
	ok(t, "close", f.Close())
}

func testNoSpace(ctx context.Context, t *testing.T, full store.Dir) {
	free, err := full.Free(ctx)
	if err != nil || free < 0 || free > 1<<20 {
		t.Errorf("free: %d, %v", free, err)
	}
	f, err := full.Create(ctx, "a")
	if err != nil {
		t.Errorf("create: %v", err)
		return
	}
	if _, err := f.WriteAt(make([]byte, 2<<20), 0); !errors.Is(err, store.ErrNoSpace) {
		t.Errorf("write of 2 MiB: %v, want ErrNoSpace", err)
	}
	ok(t, "close", f.Close())
	ok(t, "remove", full.Remove(ctx, "a"))
	write(ctx, t, full, "b", "there is space again")
}

func testSynced(ctx context.Context, t *testing.T, dir store.Dir, crash Crash) {
	write(ctx, t, dir, "x/a", "1")
	ok(t, "sync x", dir.Sync(ctx, "x"))
	f, err := dir.Open(ctx, "x/a")
	ok(t, "open", err)
	if _, err := f.WriteAt([]byte("not synced"), 1); err != nil {
		t.Errorf("write: %v", err)
	}
	after := crash(ctx)
	got := read(ctx, t, after, "x/a")
	if len(got) == 0 || got[0] != '1' {
		t.Errorf("what was synced is now %q", got)
	}
	if _, err := f.WriteAt([]byte("x"), 0); err == nil {
		t.Error("a file that was open before the crash can be written")
	}
}

// testRenameCrash replaces a file as every careful writer does: at any moment
// one of the two contents is there, whole.
func testRenameCrash(ctx context.Context, t *testing.T, dir store.Dir, crash Crash) {
	last := "0"
	write(ctx, t, dir, "a", last)
	ok(t, "sync", dir.Sync(ctx, ""))
	lost := 0
	for i := range 100 {
		next := fmt.Sprint(i)
		write(ctx, t, dir, "a.new", next)
		ok(t, "rename", dir.Rename(ctx, "a.new", "a"))
		synced := i%2 == 0
		if synced {
			ok(t, "sync", dir.Sync(ctx, ""))
		}
		dir = crash(ctx)
		switch got := read(ctx, t, dir, "a"); {
		case got == next:
			last = next
		case got == last && !synced:
			lost++
		default:
			t.Errorf("round %d: %q after %q, synced %v", i, got, last, synced)
			return
		}
	}
	if lost == 0 {
		t.Error("no unsynced rename was lost in 50 crashes: the crash is none")
	}
}

func testShared(ctx context.Context, t *testing.T, d Directory) {
	f, err := d.Dir.Create(ctx, "a")
	if err != nil {
		t.Errorf("create: %v", err)
		return
	}
	g, gctx := rt.NewGroup(ctx)
	for i := range 4 {
		g.Go(gctx, "writer", func(context.Context) error {
			for k := range 16 {
				if _, err := f.WriteAt([]byte{byte('a' + i)}, int64(k*4+i)); err != nil {
					return err
				}
			}
			return nil
		})
	}
	ok(t, "writers", g.Wait(ctx))
	ok(t, "close", f.Close())
	same(t, "content", read(ctx, t, d.Dir, "a"), string(bytes.Repeat([]byte("abcd"), 16)))
}
