package virtual

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"capstan/core/bpdbm"
	"capstan/core/bprd"
	"capstan/core/bprestore"
	"capstan/core/host"
	"capstan/core/job"
	"capstan/core/nbemm"
	"capstan/core/nbpem"
	"capstan/core/pbx"
	"capstan/core/rt"
	"capstan/sim"
)

// backupOnce runs a backup of a policy to its end.
func backupOnce(ctx context.Context, policyName string) (job.Job, error) {
	ids, err := nbpem.BackupNow.Call(ctx, pbx.At("master", nbpem.Service), nbpem.Backup{Policy: policyName})
	if err != nil {
		return job.Job{}, err
	}
	return runJob(ctx, "master", ids[0])
}

// leftovers says what a job that has ended should not have left.
func leftovers(ctx context.Context, w *World, images int) (wrong []string) {
	for _, h := range w.Hosts() {
		for _, p := range h.Processes() {
			if a := p.Addr(); strings.Count(string(a), "/") > 2 {
				wrong = append(wrong, fmt.Sprintf("process %s is left", a))
			}
		}
	}
	all, err := nbemm.Show.Call(ctx, pbx.At("master", nbemm.Service), struct{}{})
	if err != nil {
		return append(wrong, err.Error())
	}
	for _, d := range all.Drives {
		stays, _ := w.libraries["media1"].stay.Stays()
		if d.Job != 0 || d.Media != "" && !stays || !d.Up {
			wrong = append(wrong, fmt.Sprintf("drive %s: job %d, media %q, up %v", d.Name, d.Job, d.Media, d.Up))
		}
	}
	p, err := bpdbm.Images.Call(ctx, pbx.At("master", bpdbm.Service), bpdbm.Query{})
	if err != nil {
		return append(wrong, err.Error())
	}
	if len(p.Images) != images {
		wrong = append(wrong, fmt.Sprintf("%d images, %d were expected", len(p.Images), images))
	}
	for dir, d := range w.states["media1"].dirs {
		names, err := d.List(ctx, "")
		if err != nil {
			wrong = append(wrong, err.Error())
		}
		for _, n := range names {
			if strings.HasSuffix(n, ".part") || images == 0 {
				wrong = append(wrong, "file "+dir+"/"+n+" is left")
			}
		}
	}
	if d := w.states["master"].dirs[bprd.NeededDir]; d != nil {
		names, _ := d.List(ctx, "")
		for _, n := range names {
			wrong = append(wrong, "neededimage file "+n+" is left")
		}
	}
	return wrong
}

// kills is the number of moments at which each process is killed; few with -short,
// as under the race detector.
func kills() int {
	if testing.Short() {
		return 2
	}
	return 12
}

// A process of a backup is killed, at many moments: that job alone fails, with a
// status that users know, and leaves nothing; the next backup works.
func TestKillBackup(t *testing.T) {
	for _, policyName := range []string{"docs", "docs-disk"} {
		for _, victim := range []string{"media1/bpbrm/1/1/0", "media1/bptm/1/1/0", "media1/bptm/1/1/1", "client1/bpbkar/1/1/0"} {
			t.Run(policyName+" "+victim, func(t *testing.T) {
				statuses := map[int]int{}
				for i := range kills() {
					after := 5*time.Minute + time.Duration(i*i)*time.Second + time.Duration(i)*700*time.Microsecond
					if policyName == "docs-disk" {
						after = 5*time.Minute + time.Duration(i)*1500*time.Microsecond
					}
					code := killOnce(t, uint64(i), policyName, victim, after)
					statuses[code]++
					if t.Failed() {
						t.Fatalf("killed at %v", after)
					}
				}
				t.Logf("statuses %v", statuses)
			})
		}
	}
}

func killOnce(t *testing.T, seed uint64, policyName, victim string, after time.Duration) int {
	w, err := New(small(), sim.Options{Seed: seed, ShuffleTies: true})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	killed := false
	w.At(w.Mono()+after, func() { killed = w.Kill(pbx.Addr(victim)) })
	var first job.Job
	err = w.Do(w.Host("master"), "test", func(ctx context.Context, _ *host.Env) (err error) {
		if err := rt.Sleep(ctx, 5*time.Minute); err != nil {
			return err
		}
		if first, err = backupOnce(ctx, policyName); err != nil {
			return err
		}
		if err := allSaid(ctx, t, first.ID); err != nil {
			return err
		}
		if err := rt.Sleep(ctx, 5*time.Minute); err != nil {
			return err
		}
		images := 0
		if first.Status.Succeeded() {
			images = 1
		}
		if killed && images == 0 && (first.Status < 2 || first.Detail == "") {
			t.Errorf("job ended with status %d, detail %q", first.Status, first.Detail)
		}
		for _, x := range leftovers(ctx, w, images) {
			t.Error(x)
		}
		second, err := backupOnce(ctx, policyName)
		if err != nil {
			return err
		}
		if second.Status != 0 {
			t.Errorf("the next backup: status %d, %s", second.Status, second.Detail)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	if !killed && first.Status != 0 {
		t.Errorf("nothing was killed: status %d, %s", first.Status, first.Detail)
	}
	return int(first.Status)
}

func TestKillRestore(t *testing.T) {
	for _, policyName := range []string{"docs", "docs-disk"} {
		for _, victim := range []string{"media1/bpbrm/2/1/0", "media1/bpbrm/2/1/1", "media1/bptm/2/1/0", "media1/bptm/2/1/1", "client1/tar/2/1/0", "master/bprd/2/1/0"} {
			t.Run(policyName+" "+victim, func(t *testing.T) {
				statuses := map[int]int{}
				for i := range kills() {
					after := time.Duration(i*i)*time.Second + time.Duration(i)*700*time.Microsecond
					if policyName == "docs-disk" {
						after = time.Duration(i) * 1500 * time.Microsecond
					}
					code := killRestoreOnce(t, uint64(i), policyName, victim, after)
					statuses[code]++
					if t.Failed() {
						t.Fatalf("killed %v after the request", after)
					}
				}
				t.Logf("statuses %v", statuses)
			})
		}
	}
}

func killRestoreOnce(t *testing.T, seed uint64, policyName, victim string, after time.Duration) int {
	w, err := New(small(), sim.Options{Seed: seed, ShuffleTies: true})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	killed := false
	var first job.Job
	err = w.Do(w.Host("master"), "test", func(ctx context.Context, _ *host.Env) (err error) {
		if err := rt.Sleep(ctx, 5*time.Minute); err != nil {
			return err
		}
		b, err := backupOnce(ctx, policyName)
		if err != nil || b.Status != 0 {
			return fmt.Errorf("backup: status %d, %w", b.Status, err)
		}
		w.At(w.Mono()+after, func() { killed = w.Kill(pbx.Addr(victim)) })
		id, err := bprestore.Ask(ctx, "master", bprd.Request{Client: "client1", Target: "/restored"})
		if err != nil {
			return err
		}
		if first, err = runJob(ctx, "master", id); err != nil {
			return err
		}
		if err := allSaid(ctx, t, first.ID); err != nil {
			return err
		}
		if err := rt.Sleep(ctx, 5*time.Minute); err != nil {
			return err
		}
		for _, x := range leftovers(ctx, w, 1) {
			t.Error(x)
		}
		id, err = bprestore.Ask(ctx, "master", bprd.Request{Client: "client1", Target: "/restored2"})
		if err != nil {
			return err
		}
		second, err := runJob(ctx, "master", id)
		if err == nil && second.Status != 0 {
			t.Errorf("the next restore: status %d, %s", second.Status, second.Detail)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	if !killed && first.Status != 0 {
		t.Errorf("nothing was killed: status %d, %s", first.Status, first.Detail)
	}
	return int(first.Status)
}

// A host is crashed and started again at many moments of a backup: the job in
// flight fails, nothing is left, and the next backup works.
func TestCrash(t *testing.T) {
	for _, victim := range []string{"master", "media1", "client1"} {
		for _, policyName := range []string{"docs", "docs-disk"} {
			t.Run(victim+" "+policyName, func(t *testing.T) {
				for i := range kills() {
					after := 5*time.Minute + 2*time.Millisecond + time.Duration(i*i)*time.Second + time.Duration(i)*700*time.Microsecond
					if policyName == "docs-disk" {
						after = 5*time.Minute + 2*time.Millisecond + time.Duration(i)*1500*time.Microsecond
					}
					if crashOnce(t, uint64(i), policyName, victim, after); t.Failed() {
						t.Fatalf("crashed at %v", after)
					}
				}
			})
		}
	}
}

func crashOnce(t *testing.T, seed uint64, policyName, victim string, after time.Duration) {
	w, err := New(small(), sim.Options{Seed: seed, ShuffleTies: true})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	w.At(w.Mono()+after, func() { w.Host(victim).Restart(30 * time.Second) })
	err = w.Do(w.Host("master"), "watch", func(ctx context.Context, _ *host.Env) error { return rt.Sleep(ctx, 5*time.Minute) })
	if err != nil {
		t.Fatal(err)
	}
	start := func(ctx context.Context, _ *host.Env) error {
		_, err := nbpem.BackupNow.Call(ctx, pbx.At("master", nbpem.Service), nbpem.Backup{Policy: policyName})
		return err
	}
	if err := w.Do(w.Host("master"), "start", start); err != nil {
		t.Fatal(err)
	}
	if err := w.Run(w.Mono() + 20*time.Minute); err != nil {
		t.Fatal(err)
	}
	var first, second job.Job
	err = w.Do(w.Host("master"), "look", func(ctx context.Context, _ *host.Env) (err error) {
		if first, err = runJob(ctx, "master", 1); err != nil {
			return err
		}
		images := 0
		if first.Status.Succeeded() {
			images = 1
		}
		for _, x := range leftovers(ctx, w, images) {
			t.Error(x)
		}
		second, err = backupOnce(ctx, policyName)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if !first.Status.Succeeded() && first.Detail == "" {
		t.Errorf("job 1 ended with status %d and says nothing", first.Status)
	}
	if second.Status != 0 {
		t.Errorf("the next backup: status %d, %s", second.Status, second.Detail)
	}
}
