package real_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"capstan/core/bpdbm"
	"capstan/core/bpimport"
	"capstan/core/bprd"
	"capstan/core/image"
	"capstan/core/job"
	"capstan/core/pbx"
	"capstan/core/rt"
	"capstan/core/status"
	"capstan/internal/real"
	"capstan/internal/real/loopback"
	"capstan/scenarios"
)

// lose has the master lose its databases, and start anew.
func (f *fixture) lose(t *testing.T) {
	t.Helper()
	ok(t, f.Kill(loopback.Master))
	state := filepath.Join(f.Dir(loopback.Master), "state")
	for _, name := range []string{"master.db", "master.db-wal", "master.db-shm", "images"} {
		ok(t, os.RemoveAll(filepath.Join(state, name)))
	}
	ok(t, f.Start(f.ctx, loopback.Master))
	ok(t, f.Ready(f.ctx))
}

// catalog are the images that the catalog shows.
func (f *fixture) catalog(t *testing.T) []image.Header {
	t.Helper()
	p, err := bpdbm.Images.Call(f.ctx, pbx.At(loopback.Master, bpdbm.Service), bpdbm.Query{})
	ok(t, err)
	return p.Images
}

// imports runs an import that must end with a status.
func (f *fixture) imports(t *testing.T, q bprd.ImportRequest, want status.Code) {
	t.Helper()
	id, err := bpimport.Ask(f.ctx, loopback.Master, q)
	ok(t, err)
	j, err := f.wait(id)
	f.ended(t, j, err, want)
}

// ids are the backup ids of images, and the cartridges on which they stand.
func ids(all []image.Header) (ids map[string]bool, media []string) {
	ids = map[string]bool{}
	for _, h := range all {
		ids[h.ID] = true
		for _, fr := range h.Fragments {
			if fr.OnTape() && !slices.Contains(media, fr.Media) {
				media = append(media, fr.Media)
			}
		}
	}
	return ids, media
}

// newImporting is a domain with an image that spans cartridges, and one on disk.
func newImporting(t *testing.T, timing int64) (*fixture, []image.Header) {
	l := real.StarterLibrary("vtl1")
	l.Timing = scenarios.Timing(timing)
	l.Cartridges.Capacity = scenarios.Size(20 << 20)
	f := newFixture(t, l)
	write(t, filepath.Join(f.source, "e"), 30<<20, 5)
	f.backUpAs(t, policyName, "tape", status.OK)
	f.backUpAs(t, policyName, "disk", status.OK)
	all := f.catalog(t)
	if _, media := ids(all); len(all) != 2 || len(media) < 2 {
		t.Fatalf("%d images on %v", len(all), media)
	}
	return f, all
}

// The master's databases are gone; the images come back into its catalog as they
// were, from tape and from disk, and every file of them is restored as it was.
func TestImport(t *testing.T) {
	f, before := newImporting(t, 0)
	f.lose(t)
	if left := f.catalog(t); len(left) > 0 {
		t.Fatalf("%d images are left", len(left))
	}
	known, media := ids(before)
	f.imports(t, bprd.ImportRequest{Media: media, Verify: true}, status.OK)
	f.imports(t, bprd.ImportRequest{Storage: "disk", Verify: true}, status.OK)
	own := cmpopts.IgnoreFields(image.Header{}, "Job", "Try", "Ended", "Imported")
	if d := cmp.Diff(before, f.catalog(t), own); d != "" {
		t.Errorf("the images are not as they were: %s", d)
	}
	f.nothingLeft(t, known)
	for _, h := range before {
		f.restoredSame(t, h.ID)
	}
}

// A process of an import, or a daemon, is killed at some moment: nothing half is
// shown, and the next import brings everything.
func TestImportKilled(t *testing.T) {
	f, before := newImporting(t, 500)
	_, media := ids(before)
	q := bprd.ImportRequest{Media: media}
	before = slices.DeleteFunc(before, func(h image.Header) bool { return !h.Fragments[0].OnTape() })
	rng := rand.New(rand.NewPCG(3, 4))
	for _, victim := range []string{"bptm", "bpbrm", loopback.Master, loopback.Media} {
		for range 2 {
			ok(t, os.RemoveAll(f.disk())) // an image on disk is not of interest here
			ok(t, os.Mkdir(f.disk(), 0o700))
			f.lose(t)
			id, err := bpimport.Ask(f.ctx, loopback.Master, q)
			ok(t, err)
			after := time.Duration(rng.Int64N(int64(400 * time.Millisecond)))
			ok(t, rt.Sleep(f.ctx, after))
			if victim == loopback.Master || victim == loopback.Media {
				ok(t, f.Kill(victim))
				ok(t, f.Start(f.ctx, victim))
			} else if _, err := f.KillRole(loopback.Media, victim); err != nil {
				t.Fatal(err)
			}
			j, err := f.wait(id)
			ok(t, err)
			ok(t, f.Ready(f.ctx))
			f.afterKill(t, fmt.Sprintf("%s was killed after %v", victim, after), j, before, q)
		}
	}
}

// afterKill checks what a killed import has left, and imports again.
func (f *fixture) afterKill(t *testing.T, how string, j job.Job, before []image.Header, q bprd.ImportRequest) {
	t.Helper()
	t.Logf("%s: status %d, %s", how, j.Status, j.Detail)
	if !j.Status.Succeeded() && j.Detail == "" {
		t.Errorf("%s: the job says nothing", how)
	}
	have, _ := ids(f.catalog(t))
	f.nothingLeft(t, have)
	f.imports(t, q, status.OK)
	all, _ := ids(before)
	f.nothingLeft(t, all)
	if t.Failed() {
		t.FailNow()
	}
	f.restoredSame(t, before[0].ID)
}
