package fuse_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"capstan/core/bpdbm"
	"capstan/core/nbpem"
	"capstan/core/pbx"
	"capstan/core/stage"
	"capstan/internal/real/loopback"
)

// TestGlobNames: a file whose name is a glob, or none that ends, is that file, and
// nothing else is restored with it.
func TestGlobNames(t *testing.T) {
	r := newRig(t, 0)
	odd := []string{"a*", "[b]", "c?", `back\slash`, "[open", strings.Repeat("é", 127), "ne\nw"}
	for _, name := range append([]string{"ab", "b", "cc", "backslash"}, odd...) {
		ok(t, os.WriteFile(filepath.Join(r.tree, name), []byte("this is "+name), 0o644))
	}
	r.backup("tape")
	r.show(stage.Rules{Quiet: 10 * time.Millisecond})
	for i, name := range odd {
		out, err := r.try(fmt.Sprintf("dd status=none if='%s/%s'", r.latest(), name))
		if err != nil || out != "this is "+name {
			t.Errorf("%q: %v, %s", name, err, out)
		}
		jobs := r.restores()
		if i == 0 && (len(jobs) != 1 || jobs[0].Files != 1) {
			t.Errorf("%q cost %d jobs, the first of %d files", name, len(jobs), jobs[0].Files)
		}
	}
}

// TestHardLinkReplaced: of two names of a file one is replaced; the other still shows
// what both had.
func TestHardLinkReplaced(t *testing.T) {
	r := newRig(t, 0)
	r.run("cd " + r.tree + " && echo old >a && ln a b && touch -d '2001-01-01' a")
	r.backup("disk")
	time.Sleep(1100 * time.Millisecond)
	r.run("cd " + r.tree + " && echo newer >c && mv c a")
	ids, err := nbpem.BackupNow.Call(r.ctx, pbx.At(loopback.Master, nbpem.Service), nbpem.Backup{Policy: r.policy, Schedule: "incr", Storage: "disk"})
	ok(t, err)
	_, err = r.domain.Wait(r.ctx, ids[0], nil)
	ok(t, err)
	r.show(stage.Rules{})
	for range 2 {
		if got := r.run("cd " + r.latest() + " && cat a b && stat -c %i a b | uniq | wc -l"); got != "newer\nold\n2\n" {
			t.Errorf("a and b are %q", got)
		}
	}
}

// TestFileBecomesDirectory: each image shows what it had, versions show both, and all of
// it can be asked for by the paths that the mount shows.
func TestFileBecomesDirectory(t *testing.T) {
	r := newRig(t, 0)
	r.run("cd " + r.tree + " && echo file >x && echo y >y")
	r.backup("tape")
	time.Sleep(1100 * time.Millisecond)
	r.run("cd " + r.tree + " && rm x && mkdir x && echo below >x/z && echo more >y")
	r.backup("tape")
	r.show(stage.Rules{Quiet: 500 * time.Millisecond})
	top := filepath.Join(r.dir, "clients", loopback.Client, r.policy)
	versions := filepath.Join(top, "versions", r.tree, "x")
	if names := strings.Fields(r.run("ls " + versions)); len(names) != 2 || names[1] != "z" {
		t.Fatalf("versions of x: %v", names)
	}
	// All at once: they are in the way of each other where they are restored to.
	got := r.run("cd " + top + " && (cat @images/*" + r.tree + "/x & cat latest" + r.tree + "/x/z & wait) 2>/dev/null | sort")
	if got != "below\nfile\n" {
		t.Errorf("x and x/z are %q", got)
	}
	r.run(fmt.Sprintf("cd %s && printf '%%s\\n' $PWD/versions%s/x/2* $PWD/compare/*/changed%s/y $PWD/latest%s/x >%s/.restore/new", top, r.tree, r.tree, r.tree, r.dir))
	if text := r.run("cat " + r.dir + "/.restore/status/1"); !strings.Contains(text, "files:     4\n") {
		t.Errorf("a request by all kinds of paths:\n%s", text)
	}
	r.settle()
}

// TestDirSeek: every position of a large directory can be gone back to, and gives the
// name that stood there, with the inode number that stat tells.
func TestDirSeek(t *testing.T) {
	r := newRig(t, 0)
	const files = 2500
	for i := range files {
		ok(t, os.WriteFile(filepath.Join(r.tree, fmt.Sprintf("a rather long name of file %d", i)), nil, 0o644))
	}
	r.backup("disk")
	r.show(stage.Rules{})
	r.run("ls " + r.latest() + " >/dev/null")
	fd, err := unix.Open(r.latest(), unix.O_RDONLY|unix.O_DIRECTORY, 0)
	ok(t, err)
	defer unix.Close(fd)
	type entry struct {
		ino, off uint64
		name     string
	}
	read := func() (es []entry) {
		buf := make([]byte, 4096)
		n, err := unix.Getdents(fd, buf)
		ok(t, err)
		for at := 0; at < n; {
			d := buf[at:]
			size := int(d[16]) | int(d[17])<<8
			name, _, _ := strings.Cut(string(d[19:size]), "\x00")
			es = append(es, entry{le(d), le(d[8:]), name})
			at += size
		}
		return es
	}
	var all []entry
	for es := read(); len(es) > 0; es = read() {
		all = append(all, es...)
	}
	if len(all) < files {
		t.Fatalf("%d names", len(all))
	}
	for i := len(all) - 1; i > 0; i -= 13 {
		_, err := unix.Seek(fd, int64(all[i-1].off), unix.SEEK_SET)
		ok(t, err)
		if es := read(); len(es) == 0 || es[0] != all[i] {
			t.Fatalf("at entry %d: %v, want %v", i, es, all[i])
		}
		var st unix.Stat_t
		ok(t, unix.Fstatat(fd, all[i].name, &st, unix.AT_SYMLINK_NOFOLLOW))
		if all[i].name != ".." && st.Ino != all[i].ino {
			t.Errorf("%s: inode %d by its directory, %d by itself", all[i].name, all[i].ino, st.Ino)
		}
	}
	_, err = unix.Seek(fd, 0, unix.SEEK_SET)
	ok(t, err)
	if es := read(); len(es) == 0 || es[0] != all[0] {
		t.Errorf("rewound: %v, want %v", es, all[0])
	}
}

func le(b []byte) (n uint64) {
	for i := range 8 {
		n |= uint64(b[i]) << (8 * i)
	}
	return n
}

// TestExpiredNeighbour: an image that expires under those who open its files does not
// keep files of other images away that are wanted at the same time.
func TestExpiredNeighbour(t *testing.T) {
	r := newRig(t, 0)
	ok(t, os.WriteFile(filepath.Join(r.tree, "file"), []byte("one"), 0o644))
	r.backup("tape")
	time.Sleep(1100 * time.Millisecond)
	ok(t, os.WriteFile(filepath.Join(r.tree, "file"), []byte("other"), 0o644))
	r.backup("tape")
	r.show(stage.Rules{Quiet: 2 * time.Second})
	images := filepath.Join(r.dir, "clients", loopback.Client, r.policy, "@images")
	ids := strings.Fields(r.run("ls " + images))
	if len(ids) != 2 {
		t.Fatalf("images %v", ids)
	}
	first, second := filepath.Join(images, ids[0], r.tree, "file"), filepath.Join(images, ids[1], r.tree, "file")
	r.run("stat " + first + " " + second)
	_, err := bpdbm.Expire.Call(r.ctx, pbx.At(loopback.Master, bpdbm.Service), bpdbm.ExpireImages{Images: ids[:1]})
	ok(t, err)
	out, err := r.try("cat " + first + " 2>/dev/null & cat " + second)
	if err != nil || out != "other" {
		t.Errorf("a file of the image that is left: %v, %q", err, out)
	}
}
