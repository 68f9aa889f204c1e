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
func fetch(jobs *int) func(ctx context.Context, b stage.Batch) error {
	return func(ctx context.Context, b stage.Batch) error {
		*jobs++
		q := bprd.Request{Client: b.Client, Target: "/staged", Overwrite: archive.Always, Parts: []bprd.Part{{Image: b.Files[0].Image}}}
		for _, f := range b.Files {
			q.Parts[0].Paths = append(q.Parts[0].Paths, f.Path)
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
		n += int64(d.Mounts)
	}
	return n
}

// drag copies files as a file manager does, one after the other, and returns how long it
// took. ahead says what the mount knows of what comes next.
func drag(ctx context.Context, s *stage.Stager, all []stage.File, ahead bool) (time.Duration, error) {
	began := rt.Mono(ctx)
	came := map[string]bool{}
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
		if ahead { // the whole cartridge came
			for _, o := range all {
				came[o.Path] = came[o.Path] || o.Media == f.Media
			}
		}
	}
	return rt.Mono(ctx) - began, nil
}

// TestDrag: a folder of 1 000 files that lie on three cartridges costs three mounts and
// one pass over each, though whoever drags it opens one file after the other. Beside it
// stands what a restore for each file costs.
func TestDrag(t *testing.T) {
	inWorld(t, folder(), func(ctx context.Context, w *World) error {
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
		good, jobs := w.mounts(), 0
		took, err := drag(ctx, stage.New(ctx, stage.Rules{}, fetch(&jobs)), all, true)
		if err != nil {
			return err
		}
		if good = w.mounts() - good; good != 3 || jobs != 3 {
			t.Errorf("the folder cost %d mounts in %d restores", good, jobs)
		}
		for i := range dragged {
			got, err := w.Files("client1").ReadFile(fmt.Sprintf("/staged/data/folder/%04d", i))
			if err != nil || !bytes.Equal(got, content(i, draggedSize)) {
				t.Errorf("file %d: %v, %d bytes that are not those backed up", i, err, len(got))
			}
		}
		const some = 50 // of the files are enough to see what each costs
		bad, single := w.mounts(), 0
		slow, err := drag(ctx, stage.New(ctx, stage.Rules{Quiet: 1}, fetch(&single)), all[:some], false)
		if err != nil {
			return err
		}
		if bad = w.mounts() - bad; bad != some {
			t.Errorf("%d restores of a file each cost %d mounts", some, bad)
		}
		t.Logf("%d files together: %d mounts, %v; a restore for each: %d mounts, %v", dragged, good, took.Round(time.Second),
			bad*dragged/some, (slow * dragged / some).Round(time.Second))
		if took*50 > slow*dragged/some {
			t.Errorf("gathering them gained too little")
		}
		return nil
	})
}

// TestOnePass: the files of a cartridge are asked for in the order in which they stand.
func TestOnePass(t *testing.T) {
	inWorld(t, folder(), func(ctx context.Context, _ *World) error {
		if b, err := backupOnce(ctx, "docs"); err != nil || b.Status != status.OK {
			t.Fatalf("%v, status %d", err, b.Status)
		}
		all, err := files(ctx)
		if err != nil {
			return err
		}
		passes := 0
		s := stage.New(ctx, stage.Rules{}, func(_ context.Context, b stage.Batch) error {
			passes++
			if !slices.IsSortedFunc(b.Files, func(a, c stage.File) int { return int(a.Block - c.Block) }) {
				t.Errorf("%s is not read in its order", b.Media)
			}
			return nil
		})
		_, err = drag(ctx, s, all, true)
		if passes != 3 {
			t.Errorf("%d passes", passes)
		}
		return err
	})
}
