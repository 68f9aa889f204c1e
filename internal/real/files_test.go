package real_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"capstan/core/bpdbm"
	"capstan/core/bprd"
	"capstan/core/image"
	"capstan/core/pbx"
	"capstan/core/status"
	"capstan/internal/real"
	"capstan/internal/real/loopback"
	"capstan/scenarios"
)

// plantKinds makes a file of every kind, and some with what few have.
func plantKinds(t *testing.T, dir string) {
	t.Helper()
	in := func(name string) string { return filepath.Join(dir, name) }
	for _, d := range []string{"", "dir", "empty-dir", "acl-dir"} {
		ok(t, os.Mkdir(in(d), 0o751))
	}
	for name, text := range map[string]string{
		"regular": "some text\n", "empty": "", "dir/\xff\xfe not UTF-8 \x01": "x", "new\nline": "y", " blanks ": "z", "old": "o", "acl": "a", "xattr": "b",
		"dir/" + strings.Repeat("n", 255): "a long name",
	} {
		ok(t, os.WriteFile(in(name), []byte(text), 0o640))
	}
	ok(t, os.Link(in("regular"), in("dir/hard")))
	ok(t, os.Symlink("regular", in("soft")))
	ok(t, os.Symlink("/nowhere/"+strings.Repeat("far/", 60), in("dangling")))
	ok(t, unix.Mkfifo(in("fifo"), 0o622))
	write(t, in("setuid"), 5000, 5)
	ok(t, unix.Chmod(in("setuid"), 0o6755))
	write(t, in("sparse"), 100_000, 6)
	f, err := os.OpenFile(in("sparse"), os.O_WRONLY, 0)
	ok(t, err)
	_, err = f.WriteAt([]byte("in the middle"), 40<<20)
	ok(t, err)
	ok(t, f.Truncate(60<<20))
	ok(t, f.Close())
	ok(t, unix.Setxattr(in("xattr"), "user.note", []byte("a=b%c\x00\xff"), 0))
	ok(t, unix.Setxattr(in("acl"), "system.posix_acl_access", acl(), 0))
	ok(t, unix.Setxattr(in("acl-dir"), "system.posix_acl_default", acl(), 0))
	if os.Geteuid() == 0 {
		ok(t, unix.Mknod(in("char"), unix.S_IFCHR|0o640, int(unix.Mkdev(1, 3))))
		ok(t, unix.Mknod(in("block"), unix.S_IFBLK|0o640, int(unix.Mkdev(7, 300))))
		ok(t, os.Chown(in("old"), 12345, 3_000_000))
	}
	ok(t, os.Chtimes(in("old"), time.Unix(-86400, 0), time.Unix(-86400, 500)))
}

// acl is u::rw- u:4242:r-- g::r-- m::r-- o::---, as Linux stores it.
func acl() []byte {
	b := []byte{2, 0, 0, 0}
	for _, e := range []struct {
		tag, perm uint16
		id        uint32
	}{{1, 6, 1<<32 - 1}, {2, 4, 4242}, {4, 4, 1<<32 - 1}, {16, 4, 1<<32 - 1}, {32, 0, 1<<32 - 1}} {
		b = binary.LittleEndian.AppendUint16(b, e.tag)
		b = binary.LittleEndian.AppendUint16(b, e.perm)
		b = binary.LittleEndian.AppendUint32(b, e.id)
	}
	return b
}

// plantDeep makes directories whose path is longer than a system call takes, and
// a file at their end.
func plantDeep(t *testing.T, dir string) {
	t.Helper()
	at, err := unix.Open(dir, unix.O_DIRECTORY, 0)
	ok(t, err)
	name := strings.Repeat("d", 200)
	for range 25 {
		ok(t, unix.Mkdirat(at, name, 0o755))
		next, err := unix.Openat(at, name, unix.O_DIRECTORY, 0)
		ok(t, err)
		ok(t, unix.Close(at))
		at = next
	}
	fd, err := unix.Openat(at, "bottom", unix.O_CREAT|unix.O_WRONLY, 0o600)
	ok(t, err)
	_, err = unix.Write(fd, []byte("deep"))
	ok(t, err)
	ok(t, unix.Close(fd))
	ok(t, unix.Close(at))
}

// smallVolumes is a library of cartridges of 20 MiB, and a disk that cuts images
// into small fragments.
func smallVolumes(t *testing.T) *fixture {
	l := real.StarterLibrary("vtl1")
	l.Cartridges.Capacity = scenarios.Size(20 << 20)
	disk := t.TempDir()
	units := real.StarterUnits(loopback.Media, "vtl1", disk)
	units[1].FragmentSize = scenarios.Size(4 << 20)
	f := newDomain(t, loopback.Options{Library: l, Units: units})
	f.units = disk
	return f
}

// fragments are the fragments of an image, in order.
func (f *fixture) fragments(t *testing.T, id string) []image.Fragment {
	t.Helper()
	p, err := bpdbm.Images.Call(f.ctx, pbx.At(loopback.Master, bpdbm.Service), bpdbm.Query{BackupID: id})
	ok(t, err)
	if len(p.Images) != 1 {
		t.Fatalf("there are %d images %s", len(p.Images), id)
	}
	return p.Images[0].Fragments
}

// gnuTar has the system's tar restore an image of the source from its volumes, and
// compares. It is nobody's code of this project that reads here.
func (f *fixture) gnuTar(t *testing.T, volumes []string) {
	t.Helper()
	to := t.TempDir()
	args := []string{"-x", "-M", "-C", to, "-p", "--same-owner", "--numeric-owner", "--xattrs", "--xattrs-include=*", "--acls"}
	for _, v := range volumes {
		args = append(args, "-f", v)
	}
	var said bytes.Buffer
	c := exec.CommandContext(t.Context(), "tar", args...)
	c.Stdout, c.Stderr = &said, &said
	if err := c.Run(); err != nil {
		t.Fatalf("tar %v: %v\n%s", args, err, &said)
	}
	mustBeSame(t, f.source, filepath.Join(to, f.source))
}

// tapFile writes the records of a tape file of a cartridge to a file. The format
// is SIMH's: each record between its lengths, 0 for a filemark.
func tapFile(t *testing.T, cartridge string, number int64, to string) {
	t.Helper()
	in, err := os.ReadFile(cartridge)
	ok(t, err)
	out, err := os.Create(to)
	ok(t, err)
	defer func() { ok(t, out.Close()) }()
	for r := bytes.NewReader(in); number >= 0; {
		var n uint32
		ok(t, binary.Read(r, binary.LittleEndian, &n))
		if n == 0 {
			number--
			continue
		}
		record := make([]byte, n+n%2+4)
		_, err := io.ReadFull(r, record)
		ok(t, err)
		if number == 0 {
			_, err = out.Write(record[:n])
			ok(t, err)
		}
	}
}

// Files of every kind come back from both kinds of storage, over many fragments
// and cartridges; and GNU tar reads the same images.
func TestKindsOfFiles(t *testing.T) {
	f := smallVolumes(t)
	plantKinds(t, filepath.Join(f.source, "kinds"))
	write(t, filepath.Join(f.source, "span"), 30<<20, 7)
	disk := f.backUpAs(t, policyName, "disk", status.OK)
	tape := f.backUpAs(t, policyName, "tape", status.OK)
	t.Run("restored from disk", func(t *testing.T) { f.restoredSame(t, disk.BackupID) })
	t.Run("restored from tape", func(t *testing.T) { f.restoredSame(t, tape.BackupID) })
	t.Run("GNU tar, disk", func(t *testing.T) {
		var volumes []string
		for _, r := range f.fragments(t, disk.BackupID) {
			volumes = append(volumes, filepath.Join(f.units, fmt.Sprintf("%s_C%d_F%d.tar", disk.BackupID, r.Copy, r.Number)))
		}
		if len(volumes) < 5 {
			t.Errorf("the image has %d fragments of 4 MiB at most", len(volumes))
		}
		f.gnuTar(t, volumes)
	})
	t.Run("GNU tar, tape", func(t *testing.T) {
		var volumes []string
		dir := t.TempDir()
		for _, r := range f.fragments(t, tape.BackupID) {
			to := filepath.Join(dir, fmt.Sprint(r.Number))
			tapFile(t, filepath.Join(f.Dir(loopback.Media), "state/libraries/vtl1", r.Media+"L8.tap"), r.File, to)
			volumes = append(volumes, to)
		}
		f.gnuTar(t, volumes)
	})
}

// An image that needs three cartridges; what comes after it; and both after the
// media server was started anew.
func TestSpanning(t *testing.T) {
	f := smallVolumes(t)
	write(t, filepath.Join(f.source, "span"), 30<<20, 8)
	spans := f.backUpAs(t, policyName, "tape", status.OK)
	var media []string
	for _, r := range f.fragments(t, spans.BackupID) {
		if !slices.Contains(media, r.Media) {
			media = append(media, r.Media)
		}
	}
	if len(media) < 3 {
		t.Errorf("the image is on cartridges %v, want three", media)
	}
	f.policy(t, "small", filepath.Join(f.source, "d"))
	after := f.backUpAs(t, "small", "tape", status.OK)
	if r := f.fragments(t, after.BackupID)[0]; r.File < 3 || !slices.Contains(media, r.Media) {
		t.Errorf("the next image begins at file %d of %s, want after the first on one of %v", r.File, r.Media, media)
	}
	ok(t, f.Stop(loopback.Media))
	ok(t, f.Start(f.ctx, loopback.Media))
	ok(t, f.Ready(f.ctx))
	again := f.backUpAs(t, "small", "tape", status.OK)
	f.restoredSame(t, spans.BackupID)
	for _, id := range []string{after.BackupID, again.BackupID} {
		to := t.TempDir()
		f.restore(t, bprd.Request{Image: id, StripTo: f.source, Target: to}, status.OK)
		mustBeSame(t, filepath.Join(f.source, "d"), filepath.Join(to, "d"))
	}
}

// Paths longer than a system call takes, and a file over 8 GiB.
func TestDeepAndHuge(t *testing.T) {
	f := newFixture(t, scenarios.Library{})
	const size = 9 << 30
	deep, huge := t.TempDir(), filepath.Join(t.TempDir(), "huge")
	plantDeep(t, deep)
	ok(t, os.WriteFile(huge, []byte("begin"), 0o600))
	file, err := os.OpenFile(huge, os.O_WRONLY, 0)
	ok(t, err)
	_, err = file.WriteAt([]byte("end"), size-3)
	ok(t, err)
	ok(t, file.Close())
	f.policy(t, "extreme", deep, huge)
	for _, storage := range []string{"tape", "disk"} {
		j := f.backUpAs(t, "extreme", storage, status.OK)
		to := t.TempDir()
		f.restore(t, bprd.Request{Image: j.BackupID, Target: to}, status.OK)
		mustBeSame(t, deep, filepath.Join(to, deep))
		var s unix.Stat_t
		ok(t, unix.Stat(filepath.Join(to, huge), &s))
		if s.Size != size || s.Blocks*512 > 1<<20 {
			t.Errorf("%s: the huge file has %d bytes, and takes %d", storage, s.Size, s.Blocks*512)
		}
		got, err := os.Open(filepath.Join(to, huge))
		ok(t, err)
		begin, end := make([]byte, 5), make([]byte, 3)
		_, err = got.ReadAt(begin, 0)
		ok(t, err)
		_, err = got.ReadAt(end, size-3)
		ok(t, err)
		ok(t, got.Close())
		if string(begin) != "begin" || string(end) != "end" {
			t.Errorf("%s: the huge file begins %q and ends %q", storage, begin, end)
		}
	}
}

// Files that change while they are read: the job is partial, its log names them,
// and the image holds the rest.
func TestChangesMeanwhile(t *testing.T) {
	f := newFixture(t, scenarios.Library{})
	in := func(name string) string { return filepath.Join(f.source, name) }
	for _, c := range []struct {
		name, named string
		do          func(t *testing.T)
	}{
		{"shrinks", "a became shorter while it was read", func(t *testing.T) { ok(t, os.Truncate(in("a"), 1000)) }},
		{"grows", "a became longer while it was read", func(t *testing.T) { ok(t, os.Truncate(in("a"), 65<<20)) }},
		{"vanishes", "v vanished while it was backed up", func(t *testing.T) { ok(t, os.Remove(in("v"))) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			write(t, in("a"), 64<<20, 9)
			ok(t, os.WriteFile(in("v"), []byte("here"), 0o600))
			id, err := f.StartBackup(f.ctx, policyName, "tape")
			ok(t, err)
			resume := f.stop(t, loopback.Client, fmt.Sprintf("bpbkar/%d/1/0", id), in("a"))
			c.do(t)
			resume()
			j, err := f.wait(id)
			f.ended(t, j, err, status.Partial)
			lines, err := f.Lines(f.ctx, id)
			ok(t, err)
			named := false
			for _, l := range lines {
				named = named || strings.Contains(l.Text, in("")+"/"+c.named)
			}
			if !named {
				t.Errorf("the job's log does not say %q", c.named)
			}
			to := t.TempDir()
			f.restore(t, bprd.Request{Image: j.BackupID, StripTo: f.source, Target: to}, status.OK)
			for _, same := range []string{"d", "big", "hard"} {
				mustBeSame(t, in(same), filepath.Join(to, same))
			}
			if s, err := os.Stat(filepath.Join(to, "a")); err != nil || s.Size() != 64<<20 {
				t.Errorf("the file that changed: %v, %v", s, err)
			}
		})
	}
}
