package virtual

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"capstan/core/bpdbm"
	"capstan/core/bpjobd"
	"capstan/core/bprd"
	"capstan/core/bprestore"
	"capstan/core/dev"
	"capstan/core/dismount"
	"capstan/core/host"
	"capstan/core/image"
	"capstan/core/job"
	"capstan/core/nbpem"
	"capstan/core/pbx"
	"capstan/core/rt"
	"capstan/sim"
)

var (
	seeds = flag.Int("seeds", 12, "how many random histories to live through")
	first = flag.Int("seed", 0, "the seed of the first")
)

// A random history of backups and restores with kills, crashes, cuts, lost
// replies and failing devices: every job ends, nothing is left, and every image
// that the catalog shows comes back byte for byte, whatever its job's luck.
func TestSeeds(t *testing.T) {
	if testing.Short() {
		*seeds = min(*seeds, 2)
	}
	for seed := uint64(*first); seed < uint64(*first+*seeds); seed++ {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { history(t, seed) })
	}
}

func history(t *testing.T, seed uint64) {
	cfg := spanning()
	cfg.Libraries[0].Dismount = []dismount.Policy{dismount.Immediate, dismount.LRU, dismount.Policy(5 * time.Minute)}[seed%3]
	cfg.Hosts = append(cfg.Hosts, Host{Name: "desk", Kinds: pbx.User})
	w, err := New(cfg, sim.Options{Seed: seed, ShuffleTies: true})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	r := w.Rand("test", "history")
	desk := w.Host("desk")
	for range 8 {
		trouble(w, r)
		err := w.Do(desk, "ask", func(ctx context.Context, _ *host.Env) error {
			if err := rt.Sleep(ctx, 2*time.Minute); err != nil {
				return err
			}
			return ask(ctx, r)
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Run(w.Mono() + time.Duration(r.IntN(1200))*time.Second); err != nil {
			t.Fatal(err)
		}
	}
	for _, h := range []string{"master", "media1", "client1"} {
		w.Rejoin(h)
	}
	w.Library("media1").ClearFaults()
	// A drive that a hardware error has put down comes up when ltid begins anew.
	w.Host("media1").Restart(time.Second)
	if err := w.Run(w.Mono() + 3*time.Hour); err != nil {
		t.Fatal(err)
	}
	verifyAll(t, w, desk)
	if t.Failed() {
		t.Logf("seed %d", seed)
	}
}

// ask starts a backup or a restore and does not wait for it. A master that is
// down is no failure of the test.
func ask(ctx context.Context, r *rand.Rand) error {
	policyName := []string{"docs", "docs-disk"}[r.IntN(2)]
	if r.IntN(3) == 0 {
		_, err := bprestore.Ask(ctx, "master", bprd.Request{Client: "client1", Policy: policyName, Target: fmt.Sprintf("/r%d", r.IntN(1000))})
		_ = err
		return nil
	}
	_, err := nbpem.BackupNow.Call(ctx, pbx.At("master", nbpem.Service), nbpem.Backup{Policy: policyName})
	_ = err
	return nil
}

// trouble puts one or two faults on the calendar of the next minutes.
func trouble(w *World, r *rand.Rand) {
	hosts := []string{"master", "media1", "client1"}
	for range 1 + r.IntN(2) {
		at := w.Mono() + 2*time.Minute + time.Duration(r.IntN(150_000))*time.Millisecond
		name := hosts[r.IntN(3)]
		n := r.IntN(1 << 20)
		switch r.IntN(6) {
		case 0:
			w.At(at, func() { killOneOf(w, name, n) })
		case 1:
			w.At(at, func() { w.Host(name).Restart(time.Duration(n%120) * time.Second) })
		case 2:
			w.At(at, func() { w.Isolate(name) })
			w.At(at+time.Duration(n%200)*time.Second, func() { w.Rejoin(name) })
		case 3:
			w.At(at, func() { w.Drop(name, hosts[n%3], 1) })
		case 4:
			ops := []string{dev.OpWrite, dev.OpRead, dev.OpFilemarks, dev.OpLocate, dev.OpLoad}
			w.At(at, func() {
				w.Library("media1").Inject(dev.Fault{Op: ops[n%len(ops)], Skip: n % 40, Err: dev.ErrMedium})
			})
		}
	}
}

// killOneOf kills a job's process of a host.
func killOneOf(w *World, name string, n int) {
	var ps []*sim.Process
	for _, p := range w.Host(name).Processes() {
		if strings.Count(string(p.Addr()), "/") > 2 {
			ps = append(ps, p)
		}
	}
	if len(ps) > 0 {
		ps[n%len(ps)].Kill()
	}
}

// verifyAll restores every image and compares.
func verifyAll(t *testing.T, w *World, desk *sim.Host) {
	var images []image.Header
	err := w.Do(desk, "verify", func(ctx context.Context, _ *host.Env) error {
		p, err := bpdbm.Images.Call(ctx, pbx.At("master", bpdbm.Service), bpdbm.Query{})
		if err != nil {
			return err
		}
		images = p.Images
		jobs, err := bpjobd.List.Call(ctx, pbx.At("master", bpjobd.Service), bpjobd.Query{})
		if err != nil {
			return err
		}
		good, ends := 0, map[int]int{}
		for _, j := range jobs.Jobs {
			if j.State != job.Completed {
				t.Errorf("job %d is %s (%s)", j.ID, j.State, j.Waiting)
			}
			ends[int(j.Status)]++
			if j.Type == job.Backup && j.Done() && j.Status.Succeeded() {
				good++
			}
		}
		t.Logf("jobs by status %v, %d images", ends, len(images))
		if good > len(images) {
			t.Errorf("%d backups succeeded, the catalog shows %d images", good, len(images))
		}
		for _, x := range leftovers(ctx, w, len(images)) {
			t.Error(x)
		}
		for i, h := range images {
			j, err := restoreOnce(ctx, bprd.Request{Client: "client1", Image: h.ID, Target: fmt.Sprintf("/v%d", i)})
			if err != nil {
				return err
			}
			if j.Status != 0 {
				t.Errorf("restore of %s: status %d, %s", h.ID, j.Status, j.Detail)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for i, h := range images {
		for k := range spanFiles {
			name := fmt.Sprintf("/v%d/data/%02d/file", i, k)
			if got, err := w.Files("client1").ReadFile(name); err != nil || !bytes.Equal(got, content(k, spanSize)) {
				t.Errorf("%s of image %s: %v, %d bytes", name, h.ID, err, len(got))
			}
		}
	}
}
