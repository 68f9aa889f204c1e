package fuse_test

import (
	"bytes"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"capstan/core/bpdbm"
	"capstan/core/pbx"
	"capstan/core/stage"
	"capstan/fuse"
	"capstan/internal/real/loopback"
)

// TestKernelRemembers: what the kernel was told while the catalog is mounted is not
// believed for longer than it is true.
func TestKernelRemembers(t *testing.T) {
	r := newRig(t, 0)
	r.run("echo one >" + r.tree + "/file")
	r.backup("disk")
	r.show(stage.Rules{})
	top := filepath.Join(r.dir, "clients", loopback.Client, r.policy)
	if got := r.run("readlink " + top + "/latest; cat " + r.latest() + "/file"); !strings.HasSuffix(got, "_full\none\n") {
		t.Fatalf("latest is %q", got)
	}
	time.Sleep(1100 * time.Millisecond) // another second, another image
	r.run("echo two >" + r.tree + "/file")
	r.backup("disk")
	want := "_full\ntwo\n"
	got := ""
	for range 20 { // the list of images is asked for every few seconds
		if got = r.run("readlink " + top + "/latest; cat " + r.latest() + "/file"); strings.HasSuffix(got, want) {
			break
		}
		time.Sleep(500 * time.Millisecond)
	}
	if !strings.HasSuffix(got, want) {
		t.Errorf("after another backup latest is %q", got)
	}
}

// TestSignals: what is there is found by a program that gets signals which do not end it,
// though the master lets it wait; one that ends it ends the wait.
func TestSignals(t *testing.T) {
	r := newRig(t, 0)
	r.run("echo one >" + r.tree + "/file")
	r.backup("disk")
	r.show(stage.Rules{})
	latest := r.latest()
	master := r.domain.Pid(loopback.Master)
	ok(t, syscall.Kill(master, syscall.SIGSTOP))
	t.Cleanup(func() { _ = syscall.Kill(master, syscall.SIGCONT) })
	// The first lookup of a file reads the image's catalog, and waits for it.
	killed := exec.Command("bash", "-c", "exec stat "+latest+"/file")
	ok(t, killed.Start())
	time.Sleep(1500 * time.Millisecond)
	ok(t, killed.Process.Signal(syscall.SIGTERM))
	if err := killed.Wait(); err == nil || !strings.Contains(err.Error(), "terminated") {
		t.Errorf("who was to end: %v", err)
	}
	resumed := time.AfterFunc(4*time.Second, func() { _ = syscall.Kill(master, syscall.SIGCONT) })
	defer resumed.Stop()
	if out := r.run("sleep 0.5 & sleep 1 & if [ -e " + latest + "/file ]; then echo there; else echo missing; fi"); out != "there\n" {
		t.Errorf("a file that is there is %s", out)
	}
}

// TestRequestOfOld: a request says done of what lay there before the host was started
// only if it is what was backed up, and who does not wait is not given it unchecked.
func TestRequestOfOld(t *testing.T) {
	r := newRig(t, 0)
	r.run("cd " + r.tree + " && echo good >good && echo kept >kept")
	r.backup("tape")
	r.show(stage.Rules{Quiet: 10 * time.Millisecond})
	r.run("cat " + r.latest() + "/*")
	restores := len(r.restores())
	r.run("umount " + r.dir)
	r.mount.Wait()
	r.client.Close()
	staged := filepath.Join(filepath.Dir(r.dir), "stage")
	r.run("cd " + staged + " && echo another >boot && f=$(grep -l good files/*) && echo 0000 >$f")
	r.show(stage.Rules{Quiet: 10 * time.Millisecond})
	if out, err := r.try("dd iflag=nonblock status=none if=" + r.latest() + "/kept"); err == nil || !strings.Contains(out, "temporarily unavailable") {
		t.Errorf("an open that does not wait: %v, %s", err, out)
	}
	r.run("printf '%s\\n' " + r.latest() + " >" + r.dir + "/.restore/new")
	r.settle()
	if text := r.run("cat " + r.dir + "/.restore/status/*"); !strings.Contains(text, "state:     done\n") {
		t.Error(text)
	}
	if n := len(r.restores()); n != restores+1 {
		t.Errorf("%d restores after %d", n, restores)
	}
	if got := r.run("cd " + r.latest() + " && dd iflag=nonblock status=none if=good && dd iflag=nonblock status=none if=kept"); got != "good\nkept\n" {
		t.Errorf("staged is %q", got)
	}
}

// TestToldAtClose: a program that closes a file which the kernel could not write to the
// staging directory gets an error for it, and the next one what was backed up.
func TestToldAtClose(t *testing.T) {
	r := newRig(t, 0)
	r.run("seq 1000 | head -c 1000 >" + r.tree + "/file")
	r.backup("disk")
	r.show(stage.Rules{})
	want := r.run("cat " + r.latest() + "/file")
	files := filepath.Join(filepath.Dir(r.dir), "stage", "files")
	key := strings.TrimSpace(r.run("ls " + files))
	over, err := fuse.MountFailing(files, key)
	ok(t, err)
	t.Cleanup(func() { _ = exec.Command("umount", "-l", files).Run() }) // it may be unmounted
	if out, err := r.try("cat " + r.latest() + "/file"); err != nil {
		t.Errorf("before the kernel has failed to write it: %v, %s", err, out)
	}
	_, _ = r.try("printf x 1<>" + files + "/" + key) // the shell does not ask how its write ended
	if out, err := r.try("cat " + r.latest() + "/file"); err == nil || !strings.Contains(out, "file: Input/output error") {
		t.Errorf("who has read and closed it: %v, %q", err, out)
	}
	ok(t, over.Unmount())
	restores := len(r.restores())
	if got := r.run("cat " + r.latest() + "/file"); got != want || len(r.restores()) != restores+1 {
		t.Errorf("the next one gets %q after %d restores", got, len(r.restores())-restores)
	}
}

// TestErrorNotRemembered: what an error says is not there is looked up again.
func TestErrorNotRemembered(t *testing.T) {
	r := newRig(t, 0)
	r.run("echo one >" + r.tree + "/file")
	r.backup("disk")
	c := &counting{lines: map[string]int{}}
	log.SetOutput(c)
	t.Cleanup(func() { log.SetOutput(os.Stderr) })
	r.debug = true
	r.show(stage.Rules{})
	at := filepath.Join(r.dir, "clients", loopback.Client, r.policy, "@images")
	id := strings.TrimSpace(r.run("ls " + at))
	looks := exec.Command("bash", "-c", "cd "+at+"/"+id+" && echo && read && for i in 1 2 3; do stat file; done")
	in, err := looks.StdinPipe()
	ok(t, err)
	out, err := looks.StdoutPipe()
	ok(t, err)
	var said bytes.Buffer
	looks.Stderr = &said
	ok(t, looks.Start())
	_, err = out.Read(make([]byte, 1)) // it is in the image's directory, of which nothing was read
	ok(t, err)
	_, err = bpdbm.Expire.Call(r.ctx, pbx.At(loopback.Master, bpdbm.Service), bpdbm.ExpireImages{Images: []string{id}})
	ok(t, err)
	c.mu.Lock()
	clear(c.lines)
	c.mu.Unlock()
	_, err = in.Write([]byte("\n"))
	ok(t, err)
	if err := looks.Wait(); err == nil || strings.Count(said.String(), "No such file") != 3 {
		t.Errorf("%v: %s", err, said.String())
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.lines["LOOKUP"] < 3 {
		t.Errorf("the kernel asked %v", c.lines)
	}
}
