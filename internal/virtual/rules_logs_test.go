package virtual

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"capstan/core/bpjobd"
	"capstan/core/bprd"
	"capstan/core/dev"
	"capstan/core/job"
	"capstan/core/pbx"
	"capstan/core/policy"
	"capstan/core/rt"
	"capstan/core/status"
)

// A job's log is kept for 30 days after its end, the job for ever.
func TestOldLogsGo(t *testing.T) {
	n := newTrial(t, small())
	n.until(5 * time.Minute)
	n.put(onDisk(policy.Schedule{Name: "s", Type: policy.Full}))
	old := n.backup("p")
	n.until(25 * day)
	young := n.backup("p")
	for _, c := range []struct {
		after      time.Duration
		old, young bool // have a log
	}{
		{29 * day, true, true},
		{32 * day, false, true},
		{57 * day, false, false},
	} {
		n.until(c.after)
		if got := len(n.logOf(old.ID)) > 0; got != c.old {
			t.Errorf("after %v the first job has a log: %v", c.after, got)
		}
		if got := len(n.logOf(young.ID)) > 0; got != c.young {
			t.Errorf("after %v the second job has a log: %v", c.after, got)
		}
	}
	if js := n.jobs(); len(js) != 2 {
		t.Errorf("%d jobs are left of 2", len(js))
	}
}

// logLines is a job's log.
func logLines(ctx context.Context, id int64) (lines []string, err error) {
	p, err := bpjobd.ReadLog.Call(ctx, pbx.At("master", bpjobd.Service), bpjobd.LogQuery{Job: id})
	for _, l := range p.Lines {
		lines = append(lines, l.Role+": "+l.Text)
	}
	return lines, err
}

// allSaid checks of a job that has just ended that its log is whole: the last line says
// how it ended, and none comes in the minutes after.
func allSaid(ctx context.Context, t *testing.T, id int64) error {
	t.Helper()
	at, err := logLines(ctx, id)
	if err == nil {
		err = rt.Sleep(ctx, 3*time.Minute)
	}
	if err != nil {
		return err
	}
	after, err := logLines(ctx, id)
	if len(at) == 0 || !strings.Contains(at[len(at)-1], ": end of ") || !slices.Equal(at, after) {
		t.Errorf("job %d has ended, and its log is\n%s\nlater\n%s", id, strings.Join(at, "\n"), strings.Join(after, "\n"))
	}
	return err
}

// When a job's status can be read, so can all that was said of it, whichever role has
// ended with an error.
func TestLogsAreWholeAtTheEnd(t *testing.T) {
	backs := func(policyName string) func(context.Context, *World) (job.Job, error) {
		return func(ctx context.Context, _ *World) (job.Job, error) { return backupOnce(ctx, policyName) }
	}
	restores := func(spoil func(ctx context.Context, w *World) error) func(context.Context, *World) (job.Job, error) {
		return func(ctx context.Context, w *World) (job.Job, error) {
			if j, err := backupOnce(ctx, "docs"); err != nil || j.Status != status.OK {
				return j, err
			}
			if err := spoil(ctx, w); err != nil {
				return job.Job{}, err
			}
			return restoreOnce(ctx, bprd.Request{Client: "client1", Target: "/restored"})
		}
	}
	for name, c := range map[string]struct {
		run  func(ctx context.Context, w *World) (job.Job, error)
		code status.Code
		says string
	}{
		"bpbkar": {func(ctx context.Context, w *World) (job.Job, error) {
			if err := w.Files("client1").Deny("/data/dir3/file39"); err != nil {
				return job.Job{}, err
			}
			return backupOnce(ctx, "docs-disk")
		}, status.Partial, "bpbkar: /data/dir3/file39 could not be read"},
		"bptm writing": {func(ctx context.Context, w *World) (job.Job, error) {
			w.Library("media1").Inject(dev.Fault{Op: dev.OpWrite, Skip: 8, Times: -1, Err: dev.ErrMedium})
			return backupOnce(ctx, "docs")
		}, status.MediaWrite, "bptm: begin writing"},
		"bptm reading": {restores(func(_ context.Context, w *World) error {
			w.Library("media1").Inject(dev.Fault{Op: dev.OpRead, Skip: 8, Times: -1, Err: dev.ErrMedium})
			return nil
		}), status.MediaRead, "bptm: begin reading"},
		"bptm positioning": {restores(func(_ context.Context, w *World) error {
			w.Library("media1").Inject(dev.Fault{Op: dev.OpRead, Skip: 1, Times: -1, Err: dev.ErrMedium})
			return nil
		}), status.BadBackupHeader, "bptm: mounted "},
		"tar": {restores(func(ctx context.Context, w *World) error {
			return w.Files("client1").WriteFile(ctx, "/restored/data/dir3/file39/in the way", nil)
		}), status.Partial, "tar: /data/dir3/file39 could not be restored"},
		"bpbrm": {backs("none"), status.CannotConnect, "bpbrm: connecting to client media1"},
		"nbjm":  {backs("nowhere"), status.NoStorageUnit, "nbjm: requesting resource nowhere"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := small()
			cfg.Domain.Policies = append(cfg.Domain.Policies, full("none", "disk", "media1", "/data"), full("nowhere", "nowhere", "client1", "/data"))
			inWorld(t, cfg, func(ctx context.Context, w *World) error {
				j, err := c.run(ctx, w)
				ended(t, j, err, c.code)
				lines, err := logLines(ctx, j.ID)
				if err != nil {
					return err
				}
				if !slices.ContainsFunc(lines, func(l string) bool { return strings.HasPrefix(l, c.says) }) {
					t.Errorf("the log does not say %q:\n%s", c.says, strings.Join(lines, "\n"))
				}
				return allSaid(ctx, t, j.ID)
			})
		})
	}
}
