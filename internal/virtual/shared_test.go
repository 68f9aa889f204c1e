package virtual

import (
	"bytes"
	"context"
	"fmt"
	"testing"
	"time"

	"capstan/core/bprd"
	"capstan/core/dev"
	"capstan/core/host"
	"capstan/core/media"
	"capstan/core/nbemm"
	"capstan/core/nbpem"
	"capstan/core/pbx"
	"capstan/core/policy"
	"capstan/core/rt"
	"capstan/core/status"
	"capstan/sim"
	simtree "capstan/sim/tree"
	"capstan/vtl"
)

// Two jobs that fill cartridges of one pool at the same time do not write over
// each other: a cartridge stays a job's until the job has ended. Nor does either
// wait for a cartridge that the other has filled.
func TestTwoJobsSpanOnePool(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) { twoJobsSpanOnePool(t, seed) })
	}
}

func twoJobsSpanOnePool(t *testing.T, seed uint64) {
	t.Helper()
	cfg := spanning()
	cfg.Hosts = append(cfg.Hosts, Host{Name: "client2", Kinds: pbx.Client, Fill: func(ctx context.Context, fs *simtree.FS) error {
		for i := range spanFiles {
			if err := fs.WriteFile(ctx, fmt.Sprintf("/data/%02d/file", i), content(i+500, spanSize)); err != nil {
				return err
			}
		}
		return nil
	}})
	cfg.Domain.Policies[0].Clients = append(cfg.Domain.Policies[0].Clients, "client2")
	w, err := New(cfg, sim.Options{ShuffleTies: true, Seed: seed})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	err = w.Do(w.Host("master"), "test", func(ctx context.Context, _ *host.Env) error {
		if err := rt.Sleep(ctx, 5*time.Minute); err != nil {
			return err
		}
		for range 2 { // the second time both append
			ids, err := nbpem.BackupNow.Call(ctx, pbx.At("master", nbpem.Service), nbpem.Backup{Policy: "docs"})
			if err != nil {
				return err
			}
			for _, id := range ids {
				if j, err := runJob(ctx, "master", id); err != nil || j.Status != status.OK && j.Status != status.NoMedia {
					t.Errorf("job %d: %v, status %d, %s", id, err, j.Status, j.Detail)
				}
			}
		}
		for _, c := range []string{"client1", "client2"} {
			r, err := restoreOnce(ctx, bprd.Request{Client: c, Target: "/out"})
			if err != nil || r.Status != status.OK {
				t.Errorf("restore of %s: %v, status %d, %s", c, err, r.Status, r.Detail)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for c, first := range map[string]int{"client1": 0, "client2": 500} {
		for i := range spanFiles {
			name := fmt.Sprintf("/out/data/%02d/file", i)
			if got, err := w.Files(c).ReadFile(name); err != nil || !bytes.Equal(got, content(i+first, spanSize)) {
				t.Errorf("%s of %s: %v, %d bytes", name, c, err, len(got))
			}
		}
	}
}

// Nobody can start a restore under a job's number that another has drawn, or end
// another's job so.
func TestForeignJobNumber(t *testing.T) {
	w, err := New(small(), sim.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	id := int64(0)
	err = w.Do(w.Host("master"), "draw", func(ctx context.Context, _ *host.Env) (err error) {
		id, err = bprd.NewID.Call(ctx, pbx.At("master", bprd.Service), struct{}{})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	err = w.Do(w.Host("client1"), "steal", func(ctx context.Context, _ *host.Env) error {
		for _, n := range []int64{id, id + 1, 0, -1} {
			_, err := bprd.Restore.Call(ctx, pbx.At("master", bprd.Service), bprd.Request{Job: n, Client: "client1"})
			if status.Of(err, 0) != status.BadParameter {
				t.Errorf("a restore as job %d: %v", n, err)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// An incremental takes what changed since the last backup by the client's clock,
// however wrong that is.
func TestClientClockIsBehind(t *testing.T) {
	cfg := small()
	cfg.Domain.Policies[1].Schedules = append(cfg.Domain.Policies[1].Schedules, incremental)
	w, err := New(cfg, sim.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	w.Host("client1").JumpClock(-20 * time.Minute)
	fs := w.Files("client1")
	err = w.Do(w.Host("master"), "test", func(ctx context.Context, _ *host.Env) error {
		if err := rt.Sleep(ctx, 30*time.Minute); err != nil {
			return err
		}
		if b, err := backupOnce(ctx, "docs-disk"); err != nil || b.Status != 0 {
			return fmt.Errorf("full: status %d, %w", b.Status, err)
		}
		return rt.Sleep(ctx, 2*time.Minute)
	})
	if err != nil {
		t.Fatal(err)
	}
	// By the client's clock this is before the full began, by the master's.
	if err := w.Do(w.Host("client1"), "write", func(ctx context.Context, _ *host.Env) error {
		return fs.WriteFile(ctx, "/data/new", []byte("written after the full backup"))
	}); err != nil {
		t.Fatal(err)
	}
	err = w.Do(w.Host("master"), "test", func(ctx context.Context, _ *host.Env) error {
		ids, err := nbpem.BackupNow.Call(ctx, pbx.At("master", nbpem.Service), nbpem.Backup{Policy: "docs-disk", Schedule: incremental.Name})
		if err != nil {
			return err
		}
		if b, err := runJob(ctx, "master", ids[0]); err != nil || b.Status != 0 {
			return fmt.Errorf("incremental: status %d, %s, %w", b.Status, b.Detail, err)
		}
		r, err := restoreOnce(ctx, bprd.Request{Client: "client1", Target: "/out"})
		if err != nil || r.Status != 0 {
			return fmt.Errorf("restore: status %d, %s, %w", r.Status, r.Detail, err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fs.ReadFile("/out/data/new"); err != nil {
		t.Errorf("the file that changed after the full is in no backup: %v", err)
	}
}

// A cartridge that another domain has labelled, or this master before it lost its
// database, is not overwritten until somebody says so.
func TestUnknownLabelIsNotOverwritten(t *testing.T) {
	w, err := New(small(), sim.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	err = w.Do(w.Host("media1"), "label", func(ctx context.Context, env *host.Env) error {
		if err := rt.Sleep(ctx, 5*time.Minute); err != nil {
			return err
		}
		return labelAll(ctx, env)
	})
	if err != nil {
		t.Fatal(err)
	}
	err = w.Do(w.Host("master"), "test", func(ctx context.Context, _ *host.Env) error {
		j, err := backupOnce(ctx, "docs")
		if err != nil || j.Status != status.OverwriteRefused {
			t.Errorf("backup to a cartridge of another domain: %v, status %d, %s", err, j.Status, j.Detail)
		}
		yes := true
		all, err := nbemm.Show.Call(ctx, pbx.At("master", nbemm.Service), struct{}{})
		if err != nil {
			return err
		}
		for _, m := range all.Media {
			if _, err := nbemm.ChangeMedia.Call(ctx, pbx.At("master", nbemm.Service), nbemm.MediaChange{ID: m.ID, Overwrite: &yes}); err != nil {
				return err
			}
		}
		for range 2 { // the second one appends: the label is known now
			if j, err = backupOnce(ctx, "docs"); err != nil || j.Status != status.OK {
				t.Errorf("after an operator's word: %v, status %d, %s", err, j.Status, j.Detail)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// labelAll puts another domain's label on every cartridge.
func labelAll(ctx context.Context, env *host.Env) error {
	robot, err := env.Devices.Changer(ctx, "tld0")
	if err != nil {
		return err
	}
	drive, err := env.Devices.Drive(ctx, "tld0-d0")
	if err != nil {
		return err
	}
	elements, err := robot.Inventory(ctx)
	if err != nil {
		return err
	}
	for _, e := range elements {
		if e.Kind != dev.Slot || !e.Full {
			continue
		}
		b, err := media.EncodeLabel(media.Label{MediaID: e.Barcode[:6], Pool: "theirs", UUID: "theirs", BlockSize: 256 << 10})
		if err != nil {
			return err
		}
		for _, step := range []func() error{
			func() error { return robot.Move(ctx, e.Address, vtl.DriveAddress(0)) },
			func() error { return drive.Load(ctx) },
			func() error { return drive.Write(ctx, b) },
			func() error { return drive.WriteFilemarks(ctx, 1, false) },
			func() error { return drive.Unload(ctx) },
			func() error { return robot.Move(ctx, vtl.DriveAddress(0), e.Address) },
		} {
			if err := step(); err != nil {
				return err
			}
		}
	}
	return nil
}

var incremental = policy.Schedule{Name: "inc", Type: policy.Differential}
