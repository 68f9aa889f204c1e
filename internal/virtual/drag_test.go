package virtual

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"capstan/core/archive"
	"capstan/core/bpdbm"
	"capstan/core/bprd"
	"capstan/core/pbx"
	"capstan/core/rt"
	"capstan/core/stage"
	"capstan/core/status"
	simtree "capstan/sim/tree"
)

// The folder that is dragged: so many files of so many bytes, on cartridges that hold a
// third of them.
const (
	dragged     = 1000
	draggedSize = 50_003
)

// folder is a world whose client has the folder.
func folder() Config {
	cfg := small()
	l := &cfg.Libraries[0].Config
	for i := range l.Cartridges {
		l.Cartridges[i].Capacity, l.Cartridges[i].Reserve = 20<<20, 1<<20
	}
	cfg.Domain.Units[0].FragmentSize = 5 << 20
	cfg.Hosts[2].Fill = func(ctx context.Context, fs *simtree.FS) error {
		for i := range dragged {
			if err := fs.WriteFile(ctx, fmt.Sprintf("/data/folder/%04d", i), content(i, draggedSize)); err != nil {
				return err
			}
		}
		return nil
	}
	return cfg
}

// files are the folder's files where they lie, in an order that has nothing to do with it.
func files(ctx context.Context) ([]stage.File, error) {
	p, err := bpdbm.Images.Call(ctx, pbx.At("master", bpdbm.Service), bpdbm.Query{Client: "client1"})
	if err != nil {
		return nil, err
	}
	h := &p.Images[0]
	var all []stage.File
	for after := ""; ; {
		list, err := bpdbm.ListDir.Call(ctx, pbx.At("master", bpdbm.Service), bpdbm.Dir{BackupID: h.ID, Path: "/data/folder", After: after})
		if err != nil {
			return nil, err
		}
		for i := range list.Entries {
			e := &list.Entries[i]
			all = append(all, stage.File{Image: h.ID, Client: h.Client, Path: e.Path, Bytes: e.Size, Place: stage.PlaceOf(h, e)})
			after = e.Path[len("/data/folder/"):]
		}
		if !list.More {
			break
		}
	}
	rnd := rand.New(rand.NewPCG(7, 7))
	rnd.Shuffle(len(all), func(i, k int) { all[i], all[k] = all[k], all[i] })
	return all, nil
}

// fetch is what the mount does with a batch.
func fetch(jobs *int, came map[string]bool) stage.Fetch {
	return func(ctx context.Context, b stage.Batch, _ func(stage.File)) error {
		*jobs++
		q := bprd.Request{Client: b.Client, Target: "/staged", Overwrite: archive.Always, Parts: []bprd.Part{{Image: b.Files[0].Image}}}
		for _, f := range b.Files {
			q.Parts[0].Paths = append(q.Parts[0].Paths, f.Path)
			came[f.Path] = true
		}
		j, err := restoreOnce(ctx, q)
		if err == nil && j.Status != status.OK {
			err = status.Errorf(j.Status, "%s", j.Detail)
		}
		return err
	}
}

// mounts is how often a cartridge was loaded so far.
func (w *World) mounts() (n int64) {
	_, drives := w.Stats()
	for _, d := range drives {
		n += d.Mounts
	}
	return n
}

// drag copies files as a file manager does, one after the other, and returns how long it
// took. ahead says that the mount knows what comes next, came what has come already.
func drag(ctx context.Context, s *stage.Stager, all []stage.File, ahead bool, came map[string]bool) (time.Duration, error) {
	began := rt.Mono(ctx)
	for i, f := range all {
		if came[f.Path] {
			continue
		}
		if ahead {
			s.Ahead(ctx, all[i+1:], "u")
		}
		if err := s.Want(ctx, f, "u"); err != nil {
			return 0, err
		}
	}
	return rt.Mono(ctx) - began, nil
}

// TestDrag: a folder of 1 000 files that lie on three cartridges costs three mounts and
// one pass over each, though whoever drags it opens one file after the other. Beside it stands what a restore for each file costs.
func TestDrag(t *testing.T) {
	good := dragIn(t, folder(), stage.Rules{}, dragged, true)
	if good.mounts != 3 {
		t.Errorf("the folder cost %d mounts in %d restores", good.mounts, good.jobs)
	}
	const some = 50 // of the files are enough to see what each costs
	bad := dragIn(t, folder(), stage.Rules{Quiet: 1}, some, false)
	if bad.mounts < some {
		t.Errorf("%d restores of a file each cost %d mounts", some, bad.mounts)
	}
	t.Logf("%d files gathered: %d restores, %d mounts, %v; a restore for each: %d restores, %d mounts, %v", dragged, good.jobs, good.mounts, good.took,
		dragged, bad.mounts*dragged/some, bad.took*dragged/some)
	if good.took*50 > bad.took*dragged/some {
		t.Error("gathering them gains too little")
	}
}

// TestListed: the folder as a list, which somebody asks for before he opens anything, is a
// restore for each cartridge, however short the jobs of those who open files are.
func TestListed(t *testing.T) {
	inWorld(t, folder(), func(ctx context.Context, w *World) error {
		if b, err := backupOnce(ctx, "docs"); err != nil || b.Status != status.OK {
			t.Fatalf("%v, status %d: %s", err, b.Status, b.Detail)
		}
		all, err := files(ctx)
		if err != nil {
			return err
		}
		if err := rt.Sleep(ctx, time.Hour); err != nil { // the backup's cartridges are back in their slots
			return err
		}
		before, jobs, came := w.mounts(), 0, map[string]bool{}
		if err := stage.New(ctx, stage.Rules{Files: 10, Jobs: 1}, fetch(&jobs, came)).WantAll(ctx, all, "u"); err != nil {
			return err
		}
		if n := w.mounts() - before; n != 3 || jobs > 3 || len(came) != dragged {
			t.Errorf("%d files cost %d mounts in %d restores", len(came), n, jobs)
		}
		return nil
	})
}

// cost is what a drag cost.
type cost struct {
	jobs   int
	mounts int64
	took   time.Duration
}

// dragIn backs the folder up in a world, and then drags its first n files in their
// scattered order.
func dragIn(t *testing.T, cfg Config, rules stage.Rules, n int, ahead bool) (c cost) {
	t.Helper()
	inWorld(t, cfg, func(ctx context.Context, w *World) error {
		b, err := backupOnce(ctx, "docs")
		if err != nil || b.Status != status.OK {
			t.Fatalf("%v, status %d: %s", err, b.Status, b.Detail)
		}
		all, err := files(ctx)
		if err != nil {
			return err
		}
		var media []string
		for _, f := range all {
			if !slices.Contains(media, f.Media) {
				media = append(media, f.Media)
			}
		}
		if len(all) != dragged || len(media) != 3 {
			t.Fatalf("%d files on %d cartridges: %v", len(all), len(media), media)
		}
		if err := rt.Sleep(ctx, time.Hour); err != nil { // the backup's cartridges are back in their slots
			return err
		}
		before, came := w.mounts(), map[string]bool{}
		if c.took, err = drag(ctx, stage.New(ctx, rules, fetch(&c.jobs, came)), all[:n], ahead, came); err != nil {
			return err
		}
		c.mounts = w.mounts() - before
		for _, f := range all[:n] {
			var i int
			fmt.Sscanf(f.Path, "/data/folder/%d", &i)
			got, err := w.Files("client1").ReadFile("/staged" + f.Path)
			if err != nil || !bytes.Equal(got, content(i, draggedSize)) {
				t.Errorf("%s: %v, %d bytes that are not those backed up", f.Path, err, len(got))
			}
		}
		return nil
	})
	return c
}
