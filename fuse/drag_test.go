package fuse_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"capstan/core/stage"
	"capstan/internal/real"
	"capstan/internal/sametree"
)

// TestDrag: a folder of 1 000 files that lie on three cartridges is dragged out of the
// mount by a program that opens one after the other: three mounts. internal/virtual has
// the same in virtual time, beside what a restore for each file costs.
func TestDrag(t *testing.T) {
	library := real.StarterLibrary("vtl1")
	library.Timing = 0
	library.Cartridges.Capacity = 30 << 20
	r := newRigWith(t, library)
	for i := range 1000 {
		b := make([]byte, 50_003)
		for k := range b {
			b[k] = byte(i*7 + k*13 + k>>8)
		}
		ok(t, os.WriteFile(filepath.Join(r.tree, fmt.Sprintf("%04d", i)), b, 0o644))
	}
	r.backup("tape")
	r.show(stage.Rules{Quiet: 300 * time.Millisecond})
	out := t.TempDir()
	r.run("cp -a " + r.latest() + " " + out + "/cp")
	report, err := sametree.Compare(r.tree, out+"/cp")
	ok(t, err)
	if report.Different > 0 || report.Entries != 1001 {
		t.Errorf("%d entries, %d differ: %v", report.Entries, report.Different, report.Differences)
	}
	mounts, media := 0, map[string]bool{}
	for _, j := range r.restores() {
		events, err := r.domain.Trace(r.ctx, j.ID)
		ok(t, err)
		for _, e := range events {
			if e.What == "ltid.Mount" {
				mounts++
			}
		}
		for _, m := range j.Media {
			media[m] = true
		}
	}
	t.Logf("%d restores, %d cartridges, %d mounts", len(r.restores()), len(media), mounts)
	if mounts != 3 || len(media) != 3 {
		t.Errorf("the folder cost %d mounts of %d cartridges in %d restores", mounts, len(media), len(r.restores()))
	}
}
