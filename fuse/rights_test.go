package fuse_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"capstan/core/stage"
	"capstan/internal/real/loopback"
)

// TestOtherUsers: another user of the host reads what modes let him, has that staged and
// nothing else, and has nothing restored to clients.
func TestOtherUsers(t *testing.T) {
	r := newRig(t, 0)
	r.plant()
	ok(t, os.Chmod(filepath.Dir(r.dir), 0o755))
	r.run("cd " + r.tree + " && chmod 755 . && echo mine >group && chgrp 65533 group && chmod 640 group")
	r.backup("tape")
	r.show(stage.Rules{Quiet: 50 * time.Millisecond})
	as := func(groups, command string) (string, error) {
		return r.try("setpriv --reuid=65534 --regid=65534 " + groups + " bash -c '" + command + "'")
	}
	const none = "--clear-groups"
	at, inbox := r.latest(), filepath.Join(r.dir, ".restore/inbox", loopback.Client)
	for _, forbidden := range []string{
		"cat " + at + "/locked", "ls " + at + "/dir0", "cat " + at + "/group",
		"echo " + at + "/locked | dd status=none of=" + r.dir + "/.restore/new",
		"echo " + at + "/dir0 | dd status=none of=" + r.dir + "/.restore/new",
		"echo " + at + "/dir0/deeper | dd status=none of=" + r.dir + "/.restore/new",
		"ln -s " + at + "/sparse " + inbox + "/", "mv " + at + "/sparse " + inbox + "/",
		"ls " + filepath.Dir(r.dir) + "/stage",
	} {
		if out, err := as(none, forbidden); err == nil || !strings.Contains(out, "ermission denied") {
			t.Errorf("%s: %v, %s", forbidden, err, out)
		}
	}
	if n := len(r.restores()); n != 0 {
		t.Errorf("what is forbidden cost %d restores", n)
	}
	for i, c := range []struct {
		groups string
		files  int
	}{{none, 6}, {"--groups=65533", 7}} {
		out, err := as(c.groups, fmt.Sprintf("echo %s >%s/.restore/new && cat %s/.restore/status/%d", at, r.dir, r.dir, i+1))
		// the directory, the odd name, a pipe, a link, a file of two names, and one without bytes
		if err != nil || !strings.Contains(out, fmt.Sprintf("files:     %d\n", c.files)) {
			t.Errorf("%s: what he may read, %d files: %v\n%s", c.groups, c.files, err, out)
		}
	}
	if out, err := as(none, "head -c 100 "+at+"/sparse >/dev/null"); err != nil {
		t.Errorf("what he may read: %v %s", err, out)
	}
	r.settle()
}

// settle waits until all that was asked for has ended: what goes on logs.
func (r *rig) settle() {
	r.Helper()
	r.run("for i in $(seq 600); do [ -z \"$(grep -L ^ended " + r.dir + "/.restore/status/*)\" ] && exit; sleep 0.1; done; exit 1")
}

// TestTwoWriters: two programs that write into one open .restore/new, as in a shell's
// parentheses, ask for all that both have written.
func TestTwoWriters(t *testing.T) {
	r := newRig(t, 0)
	r.plant()
	r.backup("tape")
	r.show(stage.Rules{Quiet: 50 * time.Millisecond})
	r.run(fmt.Sprintf("(/bin/echo %s/dir0; /bin/echo %s/dir1) >%s/.restore/new", r.latest(), r.latest(), r.dir))
	if n := strings.Fields(r.run("ls " + r.dir + "/.restore/status")); len(n) != 2 {
		t.Errorf("requests %v, want 2", n)
	}
	r.settle()
}
