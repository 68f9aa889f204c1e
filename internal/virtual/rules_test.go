package virtual

import (
	"context"
	"testing"
	"time"

	"capstan/core/bpjobd"
	"capstan/core/host"
	"capstan/core/job"
	"capstan/core/nbpem"
	"capstan/core/pbx"
	"capstan/core/policy"
	"capstan/core/rt"
	"capstan/sim"
)

// noon is when the worlds of these tests begin: Wednesday, 10 June 2026, 12:00 UTC.
var noon = rt.FromStd(time.Date(2026, 6, 10, 12, 0, 0, 0, time.UTC))

// A trial is a world that begins at noon, and that tests ask from a desk which no
// fault reaches.
type trial struct {
	*World
	t *testing.T
}

func newTrial(t *testing.T, cfg Config) *trial {
	t.Helper()
	cfg.Hosts = append(cfg.Hosts, Host{Name: "desk", Kinds: pbx.User})
	w, err := New(cfg, sim.Options{Start: noon, Codec: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	return &trial{w, t}
}

// until lives on to a time after noon.
func (n *trial) until(d time.Duration) {
	n.t.Helper()
	if err := n.Run(d); err != nil {
		n.t.Fatal(err)
	}
}

// as does something on a host.
func (n *trial) as(host_ string, fn func(ctx context.Context) error) {
	n.t.Helper()
	if err := n.Do(n.Host(host_), "test", func(ctx context.Context, _ *host.Env) error { return fn(ctx) }); err != nil {
		n.t.Fatal(err)
	}
}

// put makes policies known.
func (n *trial) put(ps ...policy.Policy) {
	n.t.Helper()
	n.as("desk", func(ctx context.Context) error {
		for _, p := range ps {
			if _, err := nbpem.PutPolicy.Call(ctx, pbx.At("master", nbpem.Service), p); err != nil {
				return err
			}
		}
		return nil
	})
}

// start begins a backup by hand and returns its job.
func (n *trial) start(q nbpem.Backup) (ids []int64) {
	n.t.Helper()
	n.as("desk", func(ctx context.Context) (err error) {
		ids, err = nbpem.BackupNow.Call(ctx, pbx.At("master", nbpem.Service), q)
		return err
	})
	return ids
}

// backup runs a backup by hand, which must succeed.
func (n *trial) backup(policyName string) (j job.Job) {
	n.t.Helper()
	id := n.start(nbpem.Backup{Policy: policyName})[0]
	n.as("desk", func(ctx context.Context) (err error) {
		j, err = runJob(ctx, "master", id)
		return err
	})
	if j.Status != 0 {
		n.t.Fatalf("backup of %s: status %d, %s", policyName, j.Status, j.Detail)
	}
	return j
}

func (n *trial) jobs() (all []job.Job) {
	n.t.Helper()
	n.as("desk", func(ctx context.Context) error {
		p, err := bpjobd.List.Call(ctx, pbx.At("master", bpjobd.Service), bpjobd.Query{})
		all = p.Jobs
		return err
	})
	return all
}

// wall is a time as people write it.
func wall(t rt.Time) string { return t.Std().Format("Mon 15:04") }

// onDisk is a policy of client1 to the disk unit, with schedules.
func onDisk(schedules ...policy.Schedule) policy.Policy {
	return policy.Policy{Name: "p", Active: true, Clients: []string{"client1"}, Paths: []string{"/data"}, Storage: "disk", Schedules: schedules}
}

// from is a window of every day.
func from(start, length time.Duration) []policy.Window {
	return []policy.Window{{Start: start, Length: length}}
}

const (
	hour = time.Hour
	day  = 24 * hour
)
