package real_test

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"capstan/core/archive"
	"capstan/core/bprd"
	"capstan/core/job"
	"capstan/core/rt"
	"capstan/core/status"
	"capstan/internal/real/loopback"
	"capstan/scenarios"
)

// victim is a process of a job: number n of its role, on a host.
type victim struct {
	host, role string
	n          int
}

func (v victim) String() string { return fmt.Sprintf("%s %d", v.role, v.n) }

// moments is how often each process is killed, each time at another moment;
// longest is the latest after the process was seen first.
const (
	moments = 3
	longest = 250 * time.Millisecond
)

// killing is a domain in which processes are killed, beside another policy's
// jobs, which no kill may harm.
type killing struct {
	*fixture
	rng    *rand.Rand
	images map[string]bool // that there should be
	target string          // of restores
}

const otherPolicy = "other"

func newKilling(t *testing.T) *killing {
	f := newFixture(t, scenarios.Library{})
	write(t, filepath.Join(f.source, "e"), 24<<20, 2)
	other := t.TempDir()
	write(t, filepath.Join(other, "a"), 24<<20, 3)
	f.policy(t, otherPolicy, other)
	return &killing{fixture: f, rng: rand.New(rand.NewPCG(1, 2)), images: map[string]bool{}, target: t.TempDir()}
}

// round starts a job, kills a process of it, and checks what became of that job,
// of another that ran beside it, and of what they used.
func (k *killing) round(t *testing.T, v victim, start func() (int64, error)) job.Job {
	t.Helper()
	beside, err := k.StartBackup(k.ctx, otherPolicy, "tape")
	ok(t, err)
	id, err := start()
	ok(t, err)
	after := time.Duration(k.rng.Int64N(int64(longest)))
	killed := k.kill(t, id, v, after)
	j, err := k.wait(id)
	ok(t, err)
	switch {
	case j.Status == status.OK && j.Type == job.Backup:
		k.images[j.BackupID] = true
	case j.Status == status.OK:
	case !killed:
		t.Errorf("job %d ended with status %d (%s), though nothing was killed", id, j.Status, j.Detail)
	case j.Status < 2 || j.Detail == "" || strings.HasPrefix(j.Status.Message(), "status "):
		t.Errorf("job %d, %s killed after %v: status %d, detail %q", id, v, after, j.Status, j.Detail)
	}
	o, err := k.wait(beside)
	k.ended(t, o, err, status.OK)
	k.images[o.BackupID] = true
	if k.nothingLeft(t, k.images); t.Failed() {
		t.Fatalf("job %d: %s was killed %v after it came: %v; status %d: %s", id, v, after, killed, j.Status, j.Detail)
	}
	return j
}

// kill kills a process of a job some time after it came. It reports false if the
// process had ended by itself.
func (k *killing) kill(t *testing.T, id int64, v victim, after time.Duration) bool {
	t.Helper()
	pid := 0
	k.poll(t, v.String(), func() bool {
		pid = k.pid(t, v.host, fmt.Sprintf("%s/%d/1/%d", v.role, id, v.n))
		return pid != 0
	})
	ok(t, rt.Sleep(k.ctx, after))
	if k.pid(t, v.host, fmt.Sprintf("%s/%d/1/%d", v.role, id, v.n)) != pid {
		return false
	}
	return unix.Kill(pid, unix.SIGKILL) == nil
}

// Any process of a backup is killed at any moment: that job alone fails, with a
// status that users know, and leaves nothing; the next one works.
func TestKillBackup(t *testing.T) {
	k := newKilling(t)
	for _, storage := range []string{"tape", "disk"} {
		for _, v := range []victim{{loopback.Media, "bpbrm", 0}, {loopback.Media, "bptm", 0}, {loopback.Media, "bptm", 1}, {loopback.Client, "bpbkar", 0}} {
			sound := t.Run(storage+" "+v.String(), func(t *testing.T) {
				statuses := map[status.Code]int{}
				for range moments {
					j := k.round(t, v, func() (int64, error) { return k.StartBackup(k.ctx, policyName, storage) })
					statuses[j.Status]++
				}
				t.Logf("statuses: %v", statuses)
				next := k.backUpAs(t, policyName, storage, status.OK)
				k.images[next.BackupID] = true
			})
			if !sound {
				return // what is left would fail the others
			}
		}
	}
}

// The same for a restore.
func TestKillRestore(t *testing.T) {
	k := newKilling(t)
	for _, storage := range []string{"tape", "disk"} {
		image := k.backUpAs(t, policyName, storage, status.OK).BackupID
		k.images[image] = true
		request := bprd.Request{Image: image, StripTo: k.source, Target: k.target, Overwrite: archive.Always}
		victims := []victim{{loopback.Media, "bpbrm", 0}, {loopback.Media, "bpbrm", 1}, {loopback.Media, "bptm", 0}, {loopback.Media, "bptm", 1}, {loopback.Client, "tar", 0}}
		if storage == "tape" {
			victims = append(victims, victim{loopback.Master, "bprd", 0}) // disk has no child
		}
		for _, v := range victims {
			sound := t.Run(storage+" "+v.String(), func(t *testing.T) {
				statuses := map[status.Code]int{}
				for range moments {
					j := k.round(t, v, func() (int64, error) { return k.StartRestore(k.ctx, request) })
					statuses[j.Status]++
				}
				t.Logf("statuses: %v", statuses)
			})
			if !sound {
				return
			}
		}
		k.restore(t, request, status.OK)
		mustBeSame(t, filepath.Join(k.source, "e"), filepath.Join(k.target, "e"))
	}
}
