package fuse_test

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"capstan/core/stage"
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
