package virtual

import (
	"context"
	"fmt"
	"testing"
	"time"

	"capstan/core/bpjobd"
	"capstan/core/bprd"
	"capstan/core/bprestore"
	"capstan/core/daemon"
	"capstan/core/flow"
	"capstan/core/host"
	"capstan/core/job"
	"capstan/core/nbemm"
	"capstan/core/nbpem"
	"capstan/core/pbx"
	"capstan/core/policy"
	"capstan/core/rt"
	"capstan/core/trace"
	"capstan/sim"
	simtree "capstan/sim/tree"
	"capstan/vtl"
)

// small is a domain of three hosts with two drives and a disk unit, and a tree
// of real bytes on the client.
func small() Config {
	return Config{
		Hosts: []Host{
			{Name: "master", Kinds: pbx.Master},
			{Name: "media1", Kinds: pbx.Media},
			{Name: "client1", Kinds: pbx.Client, Fill: func(ctx context.Context, fs *simtree.FS) error {
				for i := range 40 {
					if err := fs.WriteFile(ctx, fmt.Sprintf("/data/dir%d/file%02d", i%4, i), make([]byte, 10_000*i)); err != nil {
						return err
					}
				}
				return nil
			}},
		},
		Libraries: []Library{{Config: vtl.Demo("tld0", 0, 1), Server: "media1"}},
		Domain: daemon.Config{
			Units: []nbemm.StorageUnit{
				{Name: "tape", Kind: nbemm.Tape, MediaServer: "media1", Library: "tld0", BlockSize: 256 << 10},
				{Name: "disk", Kind: nbemm.Disk, MediaServer: "media1", Path: "/backups", BlockSize: 256 << 10},
			},
			Policies: []policy.Policy{
				{Name: "docs", Clients: []string{"client1"}, Paths: []string{"/data"}, Storage: "tape", Schedules: []policy.Schedule{{Name: "full", Type: policy.Full}}},
				{Name: "docs-disk", Clients: []string{"client1"}, Paths: []string{"/data"}, Storage: "disk", Schedules: []policy.Schedule{{Name: "full", Type: policy.Full}}},
			},
		},
	}
}

// runJob waits for a job's end.
func runJob(ctx context.Context, master string, id int64) (job.Job, error) {
	for rev := int64(-1); ; {
		p, err := bpjobd.List.Call(ctx, pbx.At(master, bpjobd.Service), bpjobd.Query{ID: id, Follow: true, Newer: rev})
		if err != nil {
			return job.Job{}, err
		}
		if len(p.Jobs) == 1 && p.Jobs[0].Done() {
			return p.Jobs[0], nil
		}
		rev = p.Revision
		if err := rt.Sleep(ctx, 100*time.Millisecond); err != nil {
			return job.Job{}, err
		}
	}
}

func ofJob(w *World, id int64) (es []trace.Event) {
	for _, e := range w.Events() {
		if e.Job.ID == id {
			es = append(es, e)
		}
	}
	return es
}

func TestFlow(t *testing.T) {
	for _, policyName := range []string{"docs", "docs-disk"} {
		t.Run(policyName, func(t *testing.T) {
			w, err := New(small(), sim.Options{Codec: true})
			if err != nil {
				t.Fatal(err)
			}
			defer w.Close()
			var backup, restore job.Job
			err = w.Do(w.Host("master"), "test", func(ctx context.Context, _ *host.Env) error {
				if err := rt.Sleep(ctx, 5*time.Minute); err != nil {
					return err
				}
				ids, err := nbpem.BackupNow.Call(ctx, pbx.At("master", nbpem.Service), nbpem.Backup{Policy: policyName})
				if err != nil {
					return err
				}
				if backup, err = runJob(ctx, "master", ids[0]); err != nil {
					return err
				}
				id, err := bprestore.Ask(ctx, "master", bprd.Request{Client: "client1", Target: "/restored"})
				if err != nil {
					return err
				}
				restore, err = runJob(ctx, "master", id)
				if err != nil {
					return err
				}
				return rt.Sleep(ctx, time.Minute)
			})
			if err != nil {
				t.Fatal(err)
			}
			tape := policyName == "docs"
			for _, j := range []job.Job{backup, restore} {
				if j.Status != 0 || j.Files != 45 {
					t.Errorf("%s job: status %d (%s), %d files", j.Type, j.Status, j.Detail, j.Files)
				}
				for _, wrong := range flow.Check(ofJob(w, j.ID), flow.Kind{Restore: j.Type == job.Restore, Tape: tape}) {
					t.Errorf("%s: %s", j.Type, wrong)
				}
			}
			if t.Failed() {
				for _, e := range w.Events() {
					if e.Step != "" {
						t.Logf("%v %v job %d %s %s %s -> %s [%d] %s", e.Begin, e.End, e.Job.ID, e.Step, e.Role, e.What, e.To, e.Status, e.Detail)
					}
				}
			}
		})
	}
}
