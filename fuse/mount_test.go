package fuse_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"capstan/core/stage"
	"capstan/internal/real/loopback"
)

// TestPrograms: programs that nobody wrote for this mount copy a tree out of it that is
// on tape, and what they copy is what was backed up.
func TestPrograms(t *testing.T) {
	r := newRig(t, 0)
	r.plant()
	r.run("cd " + r.tree + " && git init -q repo && cd repo && cp -r ../dir1 . && git add . && git -c user.name=a -c user.email=a@b commit -qm one && cd .. && find repo . -maxdepth 99 -depth -newermt 2025-01-01 -exec touch -h -d '2024-05-06 07:08:09.123456789' {} +")
	r.backup("tape")
	r.show(stage.Rules{Quiet: 300 * time.Millisecond})
	at, out := r.latest(), t.TempDir()
	shell := func(format string, args ...any) string { t.Helper(); return r.run(fmt.Sprintf(format, args...)) }

	// What is listed is what was backed up, and costs no restore.
	want := shell("cd %s && find . ! -name locked -printf '%%y %%m %%U %%G %%s %%t %%l %%p\\0' | LC_ALL=C sort -z | tr '\\0' '\\n' | sed 's/^d \\([0-9]*\\) 0 0 [0-9]* /d \\1 0 0 /'", r.tree)
	got := shell("cd %s && find . ! -name locked -printf '%%y %%m %%U %%G %%s %%t %%l %%p\\0' | LC_ALL=C sort -z | tr '\\0' '\\n' | sed 's/^d \\([0-9]*\\) 0 0 [0-9]* /d \\1 0 0 /'", at)
	if got != want {
		t.Errorf("find shows\n%s\nfor\n%s", got, want)
	}
	if a, b := shell("ls -lR %s | wc -l", at), shell("ls -lR %s | wc -l", r.tree); a != b {
		t.Errorf("ls -lR: %s lines for %s", a, b)
	}
	if n := len(r.restores()); n > 0 {
		t.Errorf("listing cost %d restores", n)
	}
	// No file that has bytes is one hole, or tar -S would copy zeros.
	if none := shell("find %s -type f -size +0 -printf '%%b %%p\\n' | grep -c '^0 ' || true", at); strings.TrimSpace(none) != "0" {
		t.Errorf("%s files with bytes have no blocks", none)
	}
	shell("cp -a %s %s/cp", at, out)
	r.same("cp -a", out+"/cp")
	jobs := len(r.restores())
	if jobs > 2 { // the first may be begun before the copier has listed anything
		t.Errorf("a copy of a tree on one cartridge cost %d restores", jobs)
	}
	shell("rsync -aHX %s/ %s/rsync", at, out)
	r.same("rsync", out+"/rsync")
	shell("mkdir %s/tar %s/tars && tar -C %s --format=posix -c . | tar -C %s/tar -xp && tar -C %s --format=posix -cS . | tar -C %s/tars -xp", out, out, at, out, at, out)
	r.same("tar", out+"/tar")
	r.same("tar -S", out+"/tars")
	if a, b := shell("cd %s && find . -type f -print0 | sort -z | xargs -0 sha256sum", at), shell("cd %s && find . -type f -print0 | sort -z | xargs -0 sha256sum", r.tree); a != b {
		t.Error("sha256sum differs")
	}
	shell("gio copy file://%s/dir1/deeper/file%%201.txt %s/gio && cmp %s/gio '%s/dir1/deeper/file 1.txt'", at, out, out, r.tree)
	shell("git clone -q --no-hardlinks %s/cp/repo %s/clone && git -C %s/clone fsck --full", out, out, out)
	shell("cp -a %s/repo %s/repo2 && git -C %s/repo2 fsck --full && git -C %s/repo2 status --porcelain", at, out, out, out)
	if n := len(r.restores()); n != jobs {
		t.Errorf("what had been staged was restored again: %d restores, then %d", jobs, n)
	}
	// A file manager looks at the beginning of every file, several at a time.
	shell("cd %s && find . -type f ! -name locked -print0 | xargs -0 -P 8 -n 1 head -c 100 >/dev/null", at)
	shell("test \"$(stat -c %%i %s/sparse)\" = \"$(stat -c %%i %s/hard)\"", at, at)
}

// TestWaits: an open of a file on tape waits and can be interrupted, is refused to those
// who do not wait, and to those who only look.
func TestWaits(t *testing.T) {
	r := newRig(t, 4) // a mount takes some seconds
	r.plant()
	r.backup("tape")
	r.show(stage.Rules{Quiet: 100 * time.Millisecond})
	file := "'" + filepath.Join(r.latest(), "dir0/deeper/file 1.txt") + "'"

	if out, err := r.try("dd iflag=nonblock status=none of=/dev/null if=" + file); err == nil || !strings.Contains(out, "temporarily unavailable") {
		t.Errorf("an open that does not wait: %v, %s", err, out)
	}
	if out, err := r.try("cp /bin/cat /tmp/tumblerd && /tmp/tumblerd " + file + "; s=$?; rm /tmp/tumblerd; exit $s"); err == nil || !strings.Contains(out, "temporarily unavailable") {
		t.Errorf("a thumbnailer: %v, %.100s", err, out)
	}
	if n := len(r.restores()); n > 0 {
		t.Errorf("those who do not wait cost %d restores", n)
	}
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGKILL} {
		c := exec.Command("cat", strings.Trim(file, "'"))
		ok(t, c.Start())
		time.Sleep(300 * time.Millisecond)
		ok(t, c.Process.Signal(sig))
		ended := make(chan error, 1)
		go func() { ended <- c.Wait() }()
		select {
		case err := <-ended:
			if err == nil {
				t.Errorf("%v: the file came before it", sig)
			}
		case <-time.After(3 * time.Second):
			t.Errorf("%v does not end a wait", sig)
		}
	}
	// Who waits gets it; and the mount goes on.
	r.run("cmp " + file + " '" + filepath.Join(r.tree, "dir0/deeper/file 1.txt") + "'")
	// Unmounted under one who waits: he is told.
	c := exec.Command("cat", filepath.Join(r.latest(), "dir3/deeper/file 2.txt"))
	ok(t, c.Start())
	time.Sleep(300 * time.Millisecond)
	r.run("umount -l " + r.dir)
	if err := c.Process.Kill(); err != nil {
		t.Error(err)
	}
	_ = c.Wait()
	if out := r.run("mount | grep -c " + r.dir + " || true"); strings.TrimSpace(out) != "0" {
		t.Errorf("still mounted: %s", out)
	}
}

// TestManyWait: of one who opens very many files at once as many wait as may, the others
// are told to try again; lookups go on, another user's opens wait beside them, and when
// they are gone nothing is left.
func TestManyWait(t *testing.T) {
	r := newRig(t, 0)
	ok(t, os.Chmod(filepath.Dir(r.dir), 0o755))
	r.plant()
	r.run("chmod -R a+rX " + r.tree)
	r.backup("tape")
	r.show(stage.Rules{Waits: 20, Quiet: time.Hour, Longest: time.Hour, Many: 1000})
	waiting := "getfattr --absolute-names --only-values -n user.capstan.request " + r.latest() + "/sparse"
	out := r.run("cd " + r.latest() + `
		for i in {0..1}; do for f in dir$i/deeper/*; do cat "$f" >/dev/null 2>>` + r.dir + `.err & done; done
		while [ $(jobs -r | wc -l) -gt 20 ]; do sleep 0.05; done
		ls -R . | wc -l
		setpriv --reuid=65534 --regid=65534 --clear-groups cat sparse 2>&1 & other=$!
		until ` + waiting + ` | grep -q ^21; do sleep 0.05; done
		kill $(jobs -rp); wait
		` + waiting + `
		grep -c 'temporarily unavailable' ` + r.dir + ".err")
	if want := r.run("ls -R " + r.tree + " | wc -l"); out != want+"0 files waited for, 0 restores running20\n" {
		t.Errorf("%q", out)
	}
}

// TestMasterKilled: while the master is away what was listed is listed, and after it is
// back files come.
func TestMasterKilled(t *testing.T) {
	r := newRig(t, 0)
	r.plant()
	r.backup("tape")
	r.show(stage.Rules{Quiet: 100 * time.Millisecond})
	before := r.run("ls -R " + r.latest())
	ok(t, r.domain.Kill(loopback.Master))
	if now := r.run("ls -R " + r.latest()); now != before {
		t.Error("without the master another list is shown")
	}
	waiting := exec.Command("cmp", filepath.Join(r.latest(), "dir0/deeper/file 1.txt"), filepath.Join(r.tree, "dir0/deeper/file 1.txt"))
	ok(t, waiting.Start())
	time.Sleep(500 * time.Millisecond)
	ok(t, r.domain.Start(r.ctx, loopback.Master))
	ok(t, r.domain.Ready(r.ctx))
	if err := waiting.Wait(); err != nil {
		t.Errorf("who waited meanwhile: %v", err)
	}
	out := t.TempDir()
	r.run("cp -a " + r.latest() + " " + out + "/cp")
	r.same("after a restart", out+"/cp")
}

// TestMasterHangs: while the master neither answers nor is gone, what was listed is
// listed, and who waits for what was not can be interrupted, also if two wait for the
// same. When it answers again all is shown.
func TestMasterHangs(t *testing.T) {
	r := newRig(t, 0)
	r.plant()
	r.backup("disk")
	time.Sleep(1100 * time.Millisecond)
	r.run("echo more >" + r.tree + "/more")
	r.backup("disk")
	r.show(stage.Rules{})
	top := filepath.Join(r.dir, "clients", loopback.Client, r.policy)
	images := strings.Fields(r.run("ls " + top + "/@images"))
	before := r.run("ls -lR " + r.latest())
	master := r.domain.Pid(loopback.Master)
	ok(t, syscall.Kill(master, syscall.SIGSTOP))
	t.Cleanup(func() { _ = syscall.Kill(master, syscall.SIGCONT) })
	if now := r.run("sleep 4; ls -lR " + r.latest()); now != before {
		t.Error("while the master hangs another list is shown")
	}
	for _, at := range []string{"@images/" + images[0] + r.tree, "versions" + r.tree, "compare/" + images[0] + ".." + images[1]} {
		var waiting []*exec.Cmd
		for range 2 {
			c := exec.Command("find", filepath.Join(top, at), "-name", "more*")
			ok(t, c.Start())
			waiting = append(waiting, c)
			time.Sleep(time.Second) // it waits
		}
		// The kernel lets one look for a name and has the other wait for that one, whatever
		// signals it gets: which of the two it is, is not known.
		for _, c := range waiting {
			ok(t, c.Process.Signal(syscall.SIGINT))
		}
		for _, c := range waiting {
			ended := make(chan error, 1)
			go func() { ended <- c.Wait() }()
			select {
			case err := <-ended:
				if err == nil {
					t.Errorf("%s was shown though the master hangs", at)
				}
			case <-time.After(20 * time.Second):
				t.Errorf("%s: a signal does not end the wait", at)
			}
		}
	}
	ok(t, syscall.Kill(master, syscall.SIGCONT))
	if out := r.run("cd " + top + " && find versions" + r.tree + " compare -name 'more*' | wc -l"); out != "2\n" {
		t.Errorf("afterwards: %s", out)
	}
}

// TestTimes: days, versions, comparisons, media and single images.
func TestTimes(t *testing.T) {
	r := newRig(t, 0)
	r.plant()
	r.backup("disk")
	r.run("cd " + r.tree + " && rm dir1/deeper/file\\ 3.txt && echo more >>dir0/deeper/file\\ 1.txt && echo new >dir2/new")
	time.Sleep(1100 * time.Millisecond)
	r.backup("tape")
	r.show(stage.Rules{Quiet: 100 * time.Millisecond})
	top := filepath.Join(r.dir, "clients", loopback.Client, r.policy)
	out := t.TempDir()
	r.run("cp -a " + r.latest() + " " + out + "/cp")
	r.same("latest", out+"/cp")
	versions := strings.Fields(r.run("ls '" + filepath.Join(top, "versions", r.tree, "dir0/deeper/file 1.txt") + "'"))
	if len(versions) != 2 {
		t.Fatalf("versions %v", versions)
	}
	last := r.run("tail -n 1 '" + filepath.Join(top, "versions", r.tree, "dir0/deeper/file 1.txt", versions[1]) + "'")
	if !strings.HasSuffix(last, "more\n") {
		t.Errorf("the last version ends in %q", last)
	}
	compare := r.run("cd " + top + "/compare/* && find . -type f | sort")
	want := fmt.Sprintf("./added%s/dir2/new\n./changed%s/dir0/deeper/file 1.txt\n./removed%s/dir1/deeper/file 3.txt\n", r.tree, r.tree, r.tree)
	if compare != want {
		t.Errorf("compare shows\n%swant\n%s", compare, want)
	}
	if n := strings.Count(r.run("ls "+top+"/@images"), "\n"); n != 2 {
		t.Errorf("%d images", n)
	}
	if media := r.run("ls " + r.dir + "/media/*/"); !strings.Contains(media, loopback.Client+"_") {
		t.Errorf("media: %s", media)
	}
	r.run("cmp " + top + "/compare/*/added" + r.tree + "/dir2/new " + r.tree + "/dir2/new")
	if loc := r.run("getfattr --absolute-names --only-values -n user.capstan.locality " + r.latest() + "/dir2/new"); loc != "ONLINE" {
		t.Errorf("locality of what is staged: %s", loc)
	}
}

// TestRequests: files are asked for by a list, and by what is moved or linked.
func TestRequests(t *testing.T) {
	r := newRig(t, 0)
	r.plant()
	r.backup("tape")
	r.show(stage.Rules{})
	if loc := r.run("getfattr --absolute-names --only-values -n user.capstan.locality " + r.latest() + "/sparse"); loc != "NEARLINE" {
		t.Errorf("locality: %s", loc)
	}
	r.run(fmt.Sprintf("printf '%%s\\n' '%s/dir0' '%s/dir1/deeper/file 1.txt' >%s/.restore/new", r.latest(), r.latest(), r.dir))
	done := r.run("for i in $(seq 100); do grep -q 'done\\|failed' " + r.dir + "/.restore/status/1 && break; sleep 0.1; done; cat " + r.dir + "/.restore/status/1")
	for _, line := range []string{"state:     done\n", "files:     22\n", "mounts:    1\n", "job:       "} {
		if !strings.Contains(done, line) {
			t.Errorf("status %q is not in\n%s", line, done)
		}
	}
	if n := len(r.restores()); n != 1 {
		t.Errorf("%d restores", n)
	}
	r.run("cmp '" + r.latest() + "/dir0/deeper/file 3.txt' '" + r.tree + "/dir0/deeper/file 3.txt'")
	if n := len(r.restores()); n != 1 {
		t.Errorf("what was staged was restored again")
	}
	for _, how := range []string{"ln -s", "mv -n"} {
		r.run("mv " + r.tree + "/dir2 " + r.tree + "/gone")
		r.run(how + " " + r.latest() + "/dir2 " + r.dir + "/.restore/inbox/" + loopback.Client + "/")
		r.run("for i in $(seq 100); do tail -qn +1 " + r.dir + "/.restore/status/* | grep -q 'running\\|estimated' || break; sleep 0.1; done; tail -n +1 " + r.dir + "/.restore/status/*; diff -r " + r.tree + "/dir2 " + r.tree + "/gone")
		r.run("rm -r " + r.tree + "/gone")
	}
	if out, err := r.try("echo clients/nobody/p/latest/x | dd status=none of=" + r.dir + "/.restore/new"); err == nil {
		t.Errorf("a list of what is not there: %s", out)
	}
}

// TestPinsOutlastTheMount: what was staged by request is there after another mount has
// read more than fits, and what does not fit beside it is refused.
func TestPinsOutlastTheMount(t *testing.T) {
	r := newRig(t, 0)
	for _, name := range []string{"kept", "b", "c", "d"} {
		ok(t, os.WriteFile(filepath.Join(r.tree, name), bytes.Repeat([]byte(name), 400_000/len(name)), 0o644))
	}
	r.backup("tape")
	r.limit = 1 << 20
	locality := func(name string) string {
		return r.run("getfattr --absolute-names --only-values -n user.capstan.locality " + r.latest() + "/" + name)
	}
	request := func(names ...string) string {
		r.run("cd " + r.latest() + " && printf \"$PWD/%s\\n\" " + strings.Join(names, " ") + " >" + r.dir + "/.restore/new")
		r.settle()
		return r.run("cat " + r.dir + "/.restore/status/*")
	}
	r.show(stage.Rules{Quiet: 10 * time.Millisecond})
	if text := request("kept"); !strings.Contains(text, "state:     done\n") {
		t.Fatal(text)
	}
	r.run("umount " + r.dir)
	r.mount.Wait()
	r.client.Close()
	r.show(stage.Rules{Quiet: 10 * time.Millisecond})
	for _, name := range []string{"b", "c", "d"} {
		r.run("cmp " + r.latest() + "/" + name + " " + r.tree + "/" + name)
	}
	if kept := locality("kept"); kept != "ONLINE" {
		t.Errorf("what was to stay is %s", kept)
	}
	if text := request("b", "c"); !strings.Contains(text, "state:     failed\n") || !strings.Contains(text, "kept for a day") {
		t.Errorf("what does not fit:\n%s", text)
	}
}

// TestOneQueue: lists, and programs that open the same files meanwhile, have each file
// brought once, by jobs one after the other where one at a time is the rule.
func TestOneQueue(t *testing.T) {
	r := newRig(t, 0)
	r.plant()
	r.backup("tape")
	r.show(stage.Rules{Quiet: 200 * time.Millisecond, Jobs: 1})
	ask := func(dirs ...string) string {
		return "printf '" + r.latest() + "/%s\\n' " + strings.Join(dirs, " ") + " >" + r.dir + "/.restore/new & "
	}
	r.run(ask("dir0", "dir1") + ask("dir1", "dir2") + ask("dir2", "dir0") +
		"cat " + r.latest() + "/dir[0-2]/deeper/* | cmp - <(cat " + r.tree + "/dir[0-2]/deeper/*) && wait")
	r.settle()
	files, running := int64(0), r.restores()
	for _, j := range running {
		files += j.Files
		for _, o := range running {
			if o.ID != j.ID && o.Started < j.Ended && j.Started < o.Ended {
				t.Errorf("jobs %d and %d ran at the same time", o.ID, j.ID)
			}
		}
	}
	if files != 60 {
		t.Errorf("60 files were brought by %d jobs as %d", len(running), files)
	}
	states := r.run("cat " + r.dir + "/.restore/status/*")
	if n := strings.Count(states, "state:     done\n"); n != 3 {
		t.Errorf("%d of 3 requests are done:\n%s", n, states)
	}
}

// TestFirstOpenOnDisk: small files of a directory come from a disk with the first that is
// opened, though the program that opens them has not listed it: the shell has.
func TestFirstOpenOnDisk(t *testing.T) {
	r := newRig(t, 0)
	r.plant()
	r.backup("disk")
	r.show(stage.Rules{})
	r.run("cat " + r.latest() + "/dir1/deeper/* | cmp - <(cat " + r.tree + "/dir1/deeper/*)")
	if n := len(r.restores()); n != 1 {
		t.Errorf("a directory of small files cost %d restores", n)
	}
}

// TestDamagedImage: what a failed restore has brought before it failed can be read, and
// what is damaged is an error.
func TestDamagedImage(t *testing.T) {
	r := newRig(t, 0)
	for i := range 200 {
		ok(t, os.WriteFile(filepath.Join(r.tree, fmt.Sprintf("f%03d", i)), fmt.Appendf(make([]byte, 20_000), "%d", i), 0o644))
	}
	r.backup("disk")
	images, err := filepath.Glob(filepath.Join(filepath.Dir(r.dir), "d/disk/*_F1.tar"))
	ok(t, err)
	if len(images) != 1 {
		t.Fatalf("files of images: %v", images)
	}
	r.run(fmt.Sprintf("size=$(stat -c %%s %s) && head -c 100000 /dev/urandom | dd of=%s bs=1 seek=$((size/2)) conv=notrunc status=none", images[0], images[0]))
	r.show(stage.Rules{})
	r.run("cmp " + r.latest() + "/f000 " + r.tree + "/f000")
	if out, err := r.try("for i in $(seq 100 110); do cmp " + r.latest() + "/f$i " + r.tree + "/f$i; done; cat " + r.latest() + "/f101"); err == nil || strings.Contains(out, "differ") {
		t.Errorf("what is damaged: %v, %.300s", err, out)
	}
}
