package real_test

import (
	"fmt"
	"path/filepath"
	"testing"

	"capstan/core/status"
	"capstan/internal/real"
	"capstan/internal/real/loopback"
	"capstan/scenarios"
)

// A host's daemon is killed in the middle of a backup, and started again: the
// job ends, with a status that says why, nothing is left, and the next works.
func TestDaemonKilledMeanwhile(t *testing.T) {
	f := newFixture(t, scenarios.Library{})
	big := filepath.Join(f.source, "e")
	write(t, big, 64<<20, 4)
	images := map[string]bool{}
	for _, storage := range []string{"tape", "disk"} {
		for _, host := range []string{loopback.Master, loopback.Media, loopback.Client} {
			sound := t.Run(host+" "+storage, func(t *testing.T) {
				id, err := f.StartBackup(f.ctx, policyName, storage)
				ok(t, err)
				resume := f.stop(t, loopback.Client, fmt.Sprintf("bpbkar/%d/1/0", id), big)
				ok(t, f.Kill(host))
				if host != loopback.Client { // else the process died with its daemon
					resume()
				}
				if left, err := f.Left(); len(left) > 0 || err != nil {
					t.Fatalf("processes were left: %v, %v", left, err)
				}
				ok(t, f.Start(f.ctx, host))
				j, err := f.wait(id)
				ok(t, err)
				if want := j.Status == status.ClientAborted; j.Status.Succeeded() || j.Detail == "" || host == loopback.Master && !want {
					t.Errorf("the job ended with status %d (%s) when the daemon of %s was killed", j.Status, j.Detail, host)
				}
				t.Logf("status %d: %s", j.Status, j.Detail)
				ok(t, f.Ready(f.ctx))
				f.nothingLeft(t, images)
				images[f.backUpAs(t, policyName, storage, status.OK).BackupID] = true
			})
			if !sound {
				return
			}
		}
	}
}

// The process of a library is killed while a cartridge is being written.
func TestLibraryKilledMeanwhile(t *testing.T) {
	f := newFixture(t, scenarios.Library{})
	big := filepath.Join(f.source, "e")
	write(t, big, 64<<20, 4)
	before := f.backUpAs(t, policyName, "tape", status.OK)
	id, err := f.StartBackup(f.ctx, policyName, "tape")
	ok(t, err)
	resume := f.stop(t, loopback.Client, fmt.Sprintf("bpbkar/%d/1/0", id), big)
	n, err := f.KillRole(loopback.Media, real.LibraryRole)
	if n != 1 || err != nil {
		t.Fatalf("%d libraries were killed, %v; want 1", n, err)
	}
	resume()
	j, err := f.wait(id)
	ok(t, err)
	// bptm was writing, or had written all and asked for the position.
	if (j.Status != status.MediaWrite && j.Status != status.MediaPosition) || j.Detail == "" {
		t.Errorf("the job ended with status %d (%s), want %d or %d", j.Status, j.Detail, status.MediaWrite, status.MediaPosition)
	}
	ok(t, f.Ready(f.ctx))
	f.nothingLeft(t, map[string]bool{before.BackupID: true})
	after := f.backUpAs(t, policyName, "tape", status.OK)
	for _, j := range []string{before.BackupID, after.BackupID} {
		f.restoredSame(t, j)
	}
}
