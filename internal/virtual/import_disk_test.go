package virtual

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"capstan/core/bprd"
	"capstan/core/image"
	"capstan/core/nbpem"
	"capstan/core/status"
	"capstan/core/store"
	simtree "capstan/sim/tree"
)

// threeOnDisk is a domain that has three images on a disk unit, the files of each in
// several fragments, and lost its master.
func threeOnDisk(t *testing.T) (*trial, []image.Header) {
	t.Helper()
	cfg := small()
	cfg.Domain.Units[1].FragmentSize = 1 << 20
	cfg.Hosts[2].Fill = func(ctx context.Context, fs *simtree.FS) error {
		return fs.WriteFile(ctx, "/data/file", content(1, 2_500_000))
	}
	n := newTrial(t, cfg)
	n.until(hour)
	for range 3 {
		n.backup("docs-disk")
	}
	all := n.images()
	if len(all) != 3 || len(all[1].Fragments) != 3 {
		t.Fatalf("%d images, %d fragments", len(all), len(all[1].Fragments))
	}
	n.lose()
	return n, all
}

// unit does something to the files of the disk unit.
func (n *trial) unit(fn func(ctx context.Context, dir store.Dir) error) {
	n.t.Helper()
	n.as("media1", func(ctx context.Context) error { return fn(ctx, n.states["media1"].dirs["/backups"]) })
}

// open opens a file of the disk unit and gives its size.
func open(ctx context.Context, dir store.Dir, name string) (store.File, int64, error) {
	f, err := dir.Open(ctx, name)
	if err != nil {
		return nil, 0, err
	}
	size, err := f.Size()
	return f, size, err
}

// flipped changes a byte of a file; at counts from the end if it is negative.
func flipped(name string, at int64) func(ctx context.Context, dir store.Dir, id string) error {
	return func(ctx context.Context, dir store.Dir, id string) error {
		f, size, err := open(ctx, dir, id+name)
		if err != nil {
			return err
		}
		if at < 0 {
			at += size
		}
		b := make([]byte, 1)
		_, rerr := f.ReadAt(b, at)
		b[0] ^= 1
		_, werr := f.WriteAt(b, at)
		return errors.Join(rerr, werr, f.Close())
	}
}

// The second of three images on a disk has something wrong. The others come back, and
// it is said what is wrong with that one.
func TestImportDamagedDisk(t *testing.T) {
	cut := func(name string, by int64) func(ctx context.Context, dir store.Dir, id string) error {
		return func(ctx context.Context, dir store.Dir, id string) error {
			f, size, err := open(ctx, dir, id+name)
			if err != nil {
				return err
			}
			return errors.Join(f.Truncate(size-by), f.Close())
		}
	}
	gone := func(name string) func(ctx context.Context, dir store.Dir, id string) error {
		return func(ctx context.Context, dir store.Dir, id string) error { return dir.Remove(ctx, id+name) }
	}
	for _, tt := range []struct {
		name   string
		spoil  func(ctx context.Context, dir store.Dir, id string) error
		verify bool
		lost   bool
		says   string
	}{
		{"a damaged header", flipped("_C1_F2.tar", 700), false, true, "_C1_F2.tar: fragment header: "},
		{"a damaged trailer", flipped("_C1_F2.trl", 30), false, true, "fragment 2 of %s: trailer: block 0: its CRC"},
		{"the end of the trailer is gone", cut("_C1_F3.trl", 3), false, true, "fragment 3 of %s: trailer: it ends after"},
		{"no trailer", gone("_C1_F3.trl"), false, true, "fragment 3 of %s has no trailer"},
		{"no data", gone("_C1_F2.tar"), false, true, "fragment 2 not found"},
		{"no first fragment", gone("_C1_F1.tar"), false, true, "fragment 1 not found"},
		{"no last fragment", gone("_C1_F3.tar"), false, true, "it goes on after fragment 2"},
		{"a byte too little", cut("_C1_F3.tar", 1), false, true, "its trailer says"},
		{"a byte too much", cut("_C1_F3.tar", -1), false, true, "its trailer says"},
		{"another's name", func(ctx context.Context, dir store.Dir, id string) error {
			return dir.Rename(ctx, id+"_C1_F3.tar", id+"_C1_F4.tar")
		}, false, true, "it has the header of fragment 3"},
		{"altered data, not looked at", flipped("_C1_F2.tar", -99), false, false, ""},
		{"altered data", flipped("_C1_F2.tar", -99), true, true, "CRC-32C"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n, all := threeOnDisk(t)
			n.unit(func(ctx context.Context, dir store.Dir) error {
				for _, stray := range []string{"README", "x_1_C1_F1.tar.part", "_C1_F1.tar", "x_C0_F1.tar", "x_C1_F01.tar"} {
					f, err := dir.Create(ctx, stray)
					if err != nil {
						return err
					}
					if err := f.Close(); err != nil {
						return err
					}
				}
				return tt.spoil(ctx, dir, all[1].ID)
			})
			want, code, words := idsOf(all), status.OK, []string{}
			if tt.lost {
				want, code, words = slices.Delete(want, 1, 2), status.Partial, []string{all[1].ID, named(tt.says, all[1].ID)}
			}
			n.imported(bprd.ImportRequest{Storage: "disk", Verify: tt.verify}, code, words...)
			if got := n.ids(); !slices.Equal(got, want) {
				t.Errorf("the catalog has %v, want %v", got, want)
			}
			n.restores("client1", "/back")
			n.same("client1", "/back/data/file", content(1, 2_500_000))
			n.expire(want...) // what was not imported is not removed either
			left := slices.ContainsFunc(n.files("media1", "/backups"), func(name string) bool { return strings.HasPrefix(name, all[1].ID) })
			if left != tt.lost {
				t.Errorf("the files of %s are left: %v", all[1].ID, left)
			}
		})
	}
}

// An image that a backup is writing is left to it, and what the backup does not finish
// goes, whatever was imported meanwhile.
func TestImportBesideABackup(t *testing.T) {
	n, all := threeOnDisk(t)
	n.Host("client1").SetRate(100_000) // slow enough to be met
	id := n.start(nbpem.Backup{Policy: "docs-disk"})[0]
	n.rest(20 * time.Second)
	n.imported(bprd.ImportRequest{Storage: "disk"}, status.Partial, "is being written by job")
	if got := n.ids(); !slices.Equal(got, idsOf(all)) {
		t.Errorf("the catalog has %v, want %v", got, idsOf(all))
	}
	n.as("desk", func(ctx context.Context) error {
		j, err := runJob(ctx, "master", id)
		if j.Status != 0 {
			t.Errorf("the backup: status %d, %s", j.Status, j.Detail)
		}
		return err
	})
	if got := n.images(); len(got) != len(all)+1 {
		t.Errorf("%d images", len(got))
	}
	n.imported(bprd.ImportRequest{Storage: "disk"}, status.OK, "in the catalog already")
}

// The times of images that were imported are not given to backups, even if the clock
// has gone back.
func TestImportKeepsTimes(t *testing.T) {
	n, all := threeOnDisk(t)
	n.Host("master").JumpClock(-2 * hour)
	n.imported(bprd.ImportRequest{Storage: "disk"}, status.OK)
	n.backup("docs-disk")
	got := n.images()
	if len(got) != 4 || got[3].Time <= all[2].Time {
		t.Errorf("the backup has time %v, the last that was imported %v", got[len(got)-1].Time, all[2].Time)
	}
}

// An image that has expired while its media server was away is on its way out: it is
// not imported before its files are removed.
func TestImportOfWhatExpires(t *testing.T) {
	n, all := threeOnDisk(t)
	q := bprd.ImportRequest{Storage: "disk"}
	n.imported(q, status.OK)
	n.Host("media1").Crash()
	if c := n.expire(all[1].ID); len(c.Pending) != 1 {
		t.Fatalf("%+v", c)
	}
	n.Host("media1").Boot()
	n.rest(time.Minute)
	n.imported(q, status.NothingImported, "image "+all[1].ID+" has expired, and is being removed")
	if c := n.expire(); len(c.Pending) > 0 {
		t.Errorf("%+v", c)
	}
	n.imported(q, status.OK)
	if got := n.ids(); !slices.Equal(got, []string{all[0].ID, all[2].ID}) {
		t.Errorf("the catalog has %v", got)
	}
}
