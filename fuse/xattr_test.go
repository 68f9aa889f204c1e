package fuse_test

import (
	"bytes"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"capstan/core/stage"
)

// TestAttributes: what is staged has its ACL and attributes, and is copied with them; of
// labels there are none.
func TestAttributes(t *testing.T) {
	r := newRig(t, 0)
	ok(t, os.Chmod(filepath.Dir(r.dir), 0o755))
	r.run("cd " + r.tree + " && echo 1 >acl && chmod 640 acl && setfacl -m u:65533:r,g:65532:- acl && echo 2 >attr && setfattr -n user.note -v kept attr && echo 3 >plain")
	r.backup("tape")
	r.show(stage.Rules{Quiet: 50 * time.Millisecond})
	at, out := r.latest(), t.TempDir()
	r.run("ls -l " + at)
	r.run("cat " + at + "/* >/dev/null")
	show := func(dir string) string {
		return r.run("cd " + dir + " && getfacl -n acl attr plain && getfattr -d acl attr plain && stat -c '%n %a' acl attr plain")
	}
	want := show(r.tree)
	if got := show(at); got != want || !strings.Contains(got, "65533:r--") || !strings.Contains(got, `user.note="kept"`) {
		t.Errorf("shown are\n%swant\n%s", got, want)
	}
	r.run("cp -a " + at + " " + out + "/cp && rsync -aAX " + at + "/ " + out + "/rsync")
	for _, copied := range []string{"cp", "rsync"} {
		if got := show(filepath.Join(out, copied)); got != want {
			t.Errorf("%s has copied\n%swant\n%s", copied, got, want)
		}
	}
	if s, err := r.try("getfattr -n security.selinux " + at + "/plain"); err == nil || !strings.Contains(s, "not supported") {
		t.Errorf("a label: %v, %s", err, s)
	}
	for user, may := range map[int]bool{65532: false, 65533: true} {
		if s, err := r.try(fmt.Sprintf("setpriv --reuid=%d --regid=65532 --clear-groups cat %s/acl", user, at)); (err == nil) != may {
			t.Errorf("user %d reads it by its ACL: %v, %s; he may: %v", user, err, s, may)
		}
	}
}

// counting counts the lines that it is given, by what they hold.
type counting struct {
	mu    sync.Mutex
	lines map[string]int
}

func (c *counting) Write(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for line := range bytes.Lines(b) {
		if words := bytes.Fields(line); len(words) > 4 && string(words[2]) == "rx" { // date, time, rx, number:, what
			c.lines[string(words[4])]++
		}
	}
	return len(b), nil
}

// TestListedAgain: who lists with all attributes costs a request for some hundred files,
// not some for each; the second time none is asked for again, not even what is not there.
func TestListedAgain(t *testing.T) {
	r := newRig(t, 0)
	const files = 1000
	for i := range files {
		ok(t, os.WriteFile(filepath.Join(r.tree, fmt.Sprint(i)), nil, 0o644))
	}
	r.backup("disk")
	c := &counting{lines: map[string]int{}}
	log.SetOutput(c)
	t.Cleanup(func() { log.SetOutput(os.Stderr) })
	r.debug = true
	r.show(stage.Rules{})
	for _, again := range []bool{false, true} {
		c.mu.Lock()
		clear(c.lines)
		c.mu.Unlock()
		r.run("cd " + r.latest() + " && ls -lR . && for i in {1..200}; do [ ! -e missing$i ] || exit 1; done")
		c.mu.Lock()
		t.Logf("requests: %v", c.lines)
		all := 0
		for what, n := range c.lines {
			if again || what != "GETXATTR" && what != "LOOKUP" {
				all += n
			}
		}
		if all > 100 || all == 0 || c.lines["GETXATTR"] > files+100 {
			t.Errorf("%d files cost %v", files, c.lines)
		}
		c.mu.Unlock()
	}
}
