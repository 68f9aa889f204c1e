package real_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"capstan/core/bprd"
	"capstan/core/flow"
	"capstan/core/job"
	"capstan/core/policy"
	"capstan/core/rt"
	"capstan/core/status"
	"capstan/internal/real"
	"capstan/internal/real/loopback"
	"capstan/internal/sametree"
	"capstan/scenarios"
)

// TestMain lets the test binary be what it starts: daemons and their processes.
func TestMain(m *testing.M) {
	loopback.Reexec()
	os.Exit(m.Run())
}

// fixture is a domain with a policy for a small tree.
type fixture struct {
	*loopback.Domain
	ctx    context.Context
	source string
	units  string // directory of the disk unit, if it is not the domain's own
}

const policyName = "p"

func newFixture(t *testing.T, library scenarios.Library) *fixture {
	t.Helper()
	return newDomain(t, loopback.Options{Library: library})
}

// newDomain starts a domain in a directory of its own, with the commands of this
// test unless the options have others.
func newDomain(t *testing.T, o loopback.Options) *fixture {
	t.Helper()
	if testing.Short() {
		t.Skip("a whole domain of processes: run without -short")
	}
	dir, err := os.MkdirTemp("", "capstan") // shorter than the test's own: sockets are below it
	ok(t, err)
	t.Cleanup(func() { ok(t, os.RemoveAll(dir)) })
	o.Dir = dir
	if o.Command == nil {
		o.Command = loopback.Self
	}
	d, err := loopback.New(t.Context(), o)
	ok(t, err)
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
		for _, h := range []string{loopback.Master, loopback.Media, loopback.Client} {
			if b, err := os.ReadFile(d.Log(h)); err == nil && t.Failed() {
				t.Logf("log of %s:\n%s", h, b)
			}
		}
	})
	s, err := d.Session(context.WithoutCancel(t.Context()))
	ok(t, err)
	f := &fixture{Domain: d, ctx: s.Context(), source: plant(t)}
	ok(t, d.PutPolicy(f.ctx, policy.Policy{
		Name: policyName, Active: true, Clients: []string{loopback.Client}, Paths: []string{f.source}, Storage: "tape",
		Schedules: []policy.Schedule{{Name: "full", Type: policy.Full}},
	}))
	return f
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// plant makes a tree: small files, one of several megabytes, links, holes.
func plant(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	ok(t, os.Mkdir(filepath.Join(dir, "d"), 0o750))
	for i := range 20 {
		ok(t, os.WriteFile(filepath.Join(dir, "d", fmt.Sprintf("f%02d", i)), []byte(strings.Repeat("x", 1000*i)), 0o640))
	}
	big := make([]byte, 5<<20)
	for i := range big {
		big[i] = byte(i * i >> 7)
	}
	ok(t, os.WriteFile(filepath.Join(dir, "big"), big, 0o600))
	ok(t, os.Truncate(filepath.Join(dir, "big"), 20<<20))
	ok(t, os.Link(filepath.Join(dir, "d/f03"), filepath.Join(dir, "hard")))
	ok(t, os.Symlink("d/f03", filepath.Join(dir, "soft")))
	return dir
}

// ended fails the test, with the job's log, if the job did not end with the status.
func (f *fixture) ended(t *testing.T, j job.Job, err error, want status.Code) {
	t.Helper()
	ok(t, err)
	if j.Status == want {
		return
	}
	lines, err := f.Lines(f.ctx, j.ID)
	ok(t, err)
	for _, l := range lines {
		t.Log(l.Time, l.Host, l.Role, l.Text)
	}
	t.Fatalf("%s job %d ended with status %d (%s), want %d", j.Type, j.ID, j.Status, j.Detail, want)
}

// backUp makes a backup that must end well, and gives its image.
func (f *fixture) backUp(t *testing.T, storage string) job.Job {
	t.Helper()
	j, err := f.Backup(f.ctx, policyName, storage, nil)
	f.ended(t, j, err, status.OK)
	return j
}

// same restores an image and compares it with what was backed up.
func (f *fixture) same(t *testing.T, image string) job.Job {
	t.Helper()
	to := t.TempDir()
	j, err := f.Restore(f.ctx, bprd.Request{Image: image, StripTo: filepath.Dir(f.source), Target: to}, nil)
	f.ended(t, j, err, status.OK)
	r, err := sametree.Compare(f.source, filepath.Join(to, filepath.Base(f.source)))
	ok(t, err)
	if r.Different > 0 || r.Entries != 25 {
		t.Errorf("what was restored of %s differs: %+v", image, r)
	}
	return j
}

// inOrder checks the trace of a job that ended well against the flow.
func (f *fixture) inOrder(t *testing.T, id int64, k flow.Kind) {
	t.Helper()
	events, err := f.Trace(f.ctx, id)
	ok(t, err)
	for _, wrong := range flow.Check(events, k) {
		t.Errorf("job %d: %s", id, wrong)
	}
}

func TestBackupAndRestore(t *testing.T) {
	f := newFixture(t, scenarios.Library{})
	for _, storage := range []string{"tape", "disk"} {
		t.Run(storage, func(t *testing.T) {
			b := f.backUp(t, storage)
			f.inOrder(t, b.ID, flow.Kind{Tape: storage == "tape"})
			r := f.same(t, b.BackupID)
			f.inOrder(t, r.ID, flow.Kind{Restore: true, Tape: storage == "tape"})
		})
	}
}

// slowLibrary takes some seconds for a mount, so that a job can be met in it.
func slowLibrary() scenarios.Library {
	l := real.StarterLibrary("vtl1")
	l.Timing = 10
	return l
}

// meet starts a backup to tape and waits until a process of it runs.
func (f *fixture) meet(t *testing.T, host, role string) int64 {
	t.Helper()
	id, err := f.StartBackup(f.ctx, policyName, "tape")
	ok(t, err)
	for range 500 {
		all, err := f.Processes(host)
		ok(t, err)
		// The log says that who started it knows: a start that was not answered would
		// be repeated, and rightly succeed.
		lines, err := f.Lines(f.ctx, id)
		if slices.ContainsFunc(all, func(p loopback.Process) bool { return p.Role == role }) && err == nil &&
			slices.ContainsFunc(lines, func(l job.Line) bool { return strings.Contains(l.Text, "started process "+role) }) {
			return id
		}
		ok(t, rt.Sleep(f.ctx, 20*time.Millisecond))
	}
	t.Fatalf("no %s runs on %s", role, host)
	return 0
}

// Whichever process of a job is killed, the job fails, and the next one does not.
func TestKilledProcess(t *testing.T) {
	f := newFixture(t, slowLibrary())
	for _, c := range []struct{ host, role string }{
		{loopback.Media, "bptm"}, {loopback.Media, "bpbrm"}, {loopback.Client, "bpbkar"},
	} {
		t.Run(c.role, func(t *testing.T) {
			id := f.meet(t, c.host, c.role)
			n, err := f.KillRole(c.host, c.role)
			if err != nil || n == 0 {
				t.Fatalf("%d processes were killed, %v", n, err)
			}
			j, err := f.Wait(f.ctx, id, nil)
			ok(t, err)
			if j.Status.Succeeded() {
				t.Errorf("the job ended with status %d though its %s was killed", j.Status, c.role)
			}
		})
	}
	f.same(t, f.backUp(t, "tape").BackupID)
}

// A library's process that dies is started again, with its cartridges.
func TestKilledLibrary(t *testing.T) {
	f := newFixture(t, scenarios.Library{})
	before := f.backUp(t, "tape")
	if n, err := f.KillRole(loopback.Media, real.LibraryRole); n != 1 || err != nil {
		t.Fatalf("%d libraries were killed, %v; want 1", n, err)
	}
	f.same(t, f.backUp(t, "tape").BackupID)
	f.same(t, before.BackupID)
}

// A daemon that is killed leaves no process; one that comes back goes on.
func TestKilledDaemon(t *testing.T) {
	f := newFixture(t, slowLibrary())
	for _, host := range []string{loopback.Media, loopback.Client, loopback.Master} {
		t.Run(host, func(t *testing.T) {
			role := map[string]string{loopback.Media: "bptm", loopback.Client: "bpbkar", loopback.Master: "bptm"}[host]
			on := map[string]string{loopback.Media: host, loopback.Client: host, loopback.Master: loopback.Media}[host]
			id := f.meet(t, on, role)
			ok(t, f.Kill(host))
			if left, err := f.Left(); len(left) > 0 || err != nil {
				t.Fatalf("processes were left: %v, %v", left, err)
			}
			ok(t, f.Start(f.ctx, host))
			j, err := f.Wait(f.ctx, id, nil)
			ok(t, err)
			if j.Status.Succeeded() && j.Try == 1 {
				t.Errorf("the job ended with status %d in its first try though the daemon of %s was killed", j.Status, host)
			}
		})
	}
	ok(t, f.Ready(f.ctx))
	f.same(t, f.backUp(t, "tape").BackupID)
}
