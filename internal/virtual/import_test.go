package virtual

import (
	"bytes"
	"context"
	"fmt"
	"testing"
	"time"

	"capstan/core/bpimport"
	"capstan/core/bprd"
	"capstan/core/daemon"
	"capstan/core/host"
	"capstan/core/job"
	"capstan/core/rt"
	"capstan/sim"
	simstore "capstan/sim/store"
)

func importOnce(ctx context.Context, q bprd.ImportRequest) (job.Job, error) {
	id, err := bpimport.Ask(ctx, "master", q)
	if err != nil {
		return job.Job{}, err
	}
	return runJob(ctx, "master", id)
}

func TestImportDraft(t *testing.T) {
	w, err := New(spanning(), sim.Options{Codec: true})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	onMaster := func(fn func(ctx context.Context) error) {
		t.Helper()
		if err := w.Do(w.Host("master"), "test", func(ctx context.Context, _ *host.Env) error {
			if err := rt.Sleep(ctx, 5*time.Minute); err != nil {
				return err
			}
			return fn(ctx)
		}); err != nil {
			t.Fatal(err)
		}
	}
	var media []string
	onMaster(func(ctx context.Context) error {
		if b, err := backupOnce(ctx, "docs"); err != nil || b.Status != 0 {
			t.Errorf("%v, status %d", err, b.Status)
		} else {
			media = b.Media
		}
		return nil
	})
	lose(w)
	onMaster(func(ctx context.Context) error {
		j, err := importOnce(ctx, bprd.ImportRequest{Media: media})
		t.Log(j, err)
		says(ctx, t, j.ID, "nonsense")
		r, err := restoreOnce(ctx, bprd.Request{Client: "client1", Target: "/all"})
		if err != nil || r.Status != 0 {
			t.Errorf("restore: %v, status %d, %s", err, r.Status, r.Detail)
		}
		return nil
	})
	got, err := w.Files("client1").ReadFile("/all/data/big")
	fmt.Println(err, bytes.Equal(got, content(99, 21<<20)))
}

// lose has the master lose all that it knew, and start anew.
func lose(w *World) {
	h, st := w.Host("master"), w.states["master"]
	h.Restart(time.Second)
	st.db, st.dirs = simstore.NewDB(daemon.Schemas()...), map[string]*simstore.Dir{}
}
