package virtual

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"capstan/core/bpdbm"
	"capstan/core/bprd"
	"capstan/core/daemon"
	"capstan/core/dev"
	"capstan/core/host"
	"capstan/core/image"
	"capstan/core/job"
	"capstan/core/ltid"
	"capstan/core/nbpem"
	"capstan/core/pbx"
	"capstan/core/policy"
	"capstan/core/rt"
	"capstan/core/status"
	"capstan/core/store"
	"capstan/internal/expect"
	"capstan/sim"
	"capstan/vtl"
)

// inWorld runs a test as a process of the master, when the drives are up.
func inWorld(t *testing.T, cfg Config, fn func(ctx context.Context, w *World) error) {
	t.Helper()
	w, err := New(cfg, sim.Options{Codec: true, ShuffleTies: true})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	err = w.Do(w.Host("master"), "test", func(ctx context.Context, _ *host.Env) error {
		if err := rt.Sleep(ctx, 5*time.Minute); err != nil {
			return err
		}
		return fn(ctx, w)
	})
	if err != nil {
		t.Error(err)
	}
}

// full is a policy with one schedule by hand.
func full(name, storage string, client string, paths ...string) policy.Policy {
	return policy.Policy{
		Name: name, Clients: []string{client}, Paths: paths, Storage: storage, Schedules: []policy.Schedule{{Name: "full", Type: policy.Full}},
	}
}

// ended checks how a job ended: its status, and that its detail says the words.
func ended(t *testing.T, j job.Job, err error, code status.Code, words ...string) {
	t.Helper()
	if err != nil || j.Status != code {
		t.Errorf("%s: %v, status %d, %s; want status %d", j.Type, err, j.Status, j.Detail, code)
	}
	for _, word := range words {
		if !strings.Contains(j.Detail, word) {
			t.Errorf("%s: the detail %q does not say %q", j.Type, j.Detail, word)
		}
	}
}

// refused checks that a request was refused, with a status and words.
func refused(t *testing.T, err error, code status.Code, words ...string) {
	t.Helper()
	if status.Of(err, 0) != code {
		t.Errorf("%v; want status %d", err, code)
		return
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("%q does not say %q", err, word)
		}
	}
}

// says checks that a job's log has a line with a text.
func says(ctx context.Context, t *testing.T, id int64, text string) {
	t.Helper()
	out, err := expect.Collect(ctx, "master", true)
	if err != nil {
		t.Error(err)
		return
	}
	var all []string
	for _, l := range out.Logs[id] {
		all = append(all, l.Text)
	}
	if !strings.Contains(strings.Join(all, "\n"), text) {
		t.Errorf("the log of job %d does not say %q:\n%s", id, text, strings.Join(all, "\n"))
	}
}

func images(ctx context.Context) ([]image.Header, error) {
	p, err := bpdbm.Images.Call(ctx, pbx.At("master", bpdbm.Service), bpdbm.Query{})
	return p.Images, err
}

// A job that cannot work says why, in the field's codes, and leaves nothing.
func TestBadInput(t *testing.T) {
	for name, c := range map[string]struct {
		policy policy.Policy
		code   status.Code
		says   []string
	}{
		"unknown client":         {full("p", "tape", "ghost", "/data"), status.UnknownClient, []string{"ghost"}},
		"client that is a media": {full("p", "disk", "media1", "/data"), status.CannotConnect, []string{"media1", "may not start bpbkar"}},
		"nothing to match":       {full("p", "tape", "client1", "/nothing", "/data/*.doc"), status.NoFiles, []string{"/nothing"}},
		"unknown storage unit":   {full("p", "nowhere", "client1", "/data"), status.NoStorageUnit, []string{"nowhere"}},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := small()
			cfg.Domain.Policies = append(cfg.Domain.Policies, c.policy)
			inWorld(t, cfg, func(ctx context.Context, w *World) error {
				j, err := backupOnce(ctx, "p")
				ended(t, j, err, c.code, c.says...)
				if err := rt.Sleep(ctx, 5*time.Minute); err != nil {
					return err
				}
				for _, x := range leftovers(ctx, w, 0) {
					t.Error(x)
				}
				j, err = backupOnce(ctx, "docs")
				ended(t, j, err, status.OK)
				return nil
			})
		})
	}
}

// A request that names what is not there is refused at once.
func TestBadRequests(t *testing.T) {
	cfg := small()
	none := full("none", "tape", "client1", "/data")
	none.Schedules = nil
	cfg.Domain.Policies = append(cfg.Domain.Policies, none)
	inWorld(t, cfg, func(ctx context.Context, _ *World) error {
		for _, c := range []struct {
			ask  nbpem.Backup
			code status.Code
			says string
		}{
			{nbpem.Backup{Policy: "none"}, status.NoSchedule, "none"},
			{nbpem.Backup{Policy: "docs", Schedule: "weekly"}, status.NoSchedule, "weekly"},
			{nbpem.Backup{Policy: "docs", Client: "ghost"}, status.UnknownClient, "ghost"},
			{nbpem.Backup{Policy: "nothing"}, status.NotFound, "nothing"},
		} {
			_, err := nbpem.BackupNow.Call(ctx, pbx.At("master", nbpem.Service), c.ask)
			refused(t, err, c.code, c.says)
		}
		j, err := restoreOnce(ctx, bprd.Request{Client: "ghost"})
		ended(t, j, err, status.NoImage, "ghost")
		return nil
	})
}

// A file that cannot be read makes the backup partly successful, and is named.
func TestUnreadableFile(t *testing.T) {
	inWorld(t, small(), func(ctx context.Context, w *World) error {
		if err := w.Files("client1").Deny("/data/dir1/file05"); err != nil {
			return err
		}
		j, err := backupOnce(ctx, "docs")
		ended(t, j, err, status.Partial, "1 files")
		says(ctx, t, j.ID, "/data/dir1/file05 could not be read")
		r, err := restoreOnce(ctx, bprd.Request{Client: "client1", Target: "/restored"})
		ended(t, r, err, status.OK)
		if _, err := w.Files("client1").ReadFile("/restored/data/dir1/file09"); err != nil {
			t.Errorf("the other files: %v", err)
		}
		return nil
	})
}

// A backup that the disk has no room for ends with 129 and leaves nothing; one
// that has room works.
func TestDiskFull(t *testing.T) {
	cfg := spanning()
	cfg.Hosts[1].DiskSize = 25 << 20
	cfg.Domain.Policies = append(cfg.Domain.Policies, full("little", "disk", "client1", "/data/0*"))
	inWorld(t, cfg, func(ctx context.Context, w *World) error {
		j, err := backupOnce(ctx, "docs-disk")
		ended(t, j, err, status.DiskFull, "storage unit disk", "no space left")
		if err := rt.Sleep(ctx, 5*time.Minute); err != nil {
			return err
		}
		for _, x := range leftovers(ctx, w, 0) {
			t.Error(x)
		}
		j, err = backupOnce(ctx, "little")
		ended(t, j, err, status.OK)
		return nil
	})
}

// Without cartridges a backup ends with 96, at its beginning and in the middle.
func TestNoCartridgeLeft(t *testing.T) {
	for name, left := range map[string]int{"at first": 0, "in the middle": 2} {
		t.Run(name, func(t *testing.T) {
			cfg := spanning()
			l := &cfg.Libraries[0].Config
			l.Cartridges = l.Cartridges[:left]
			cfg.Domain.Policies = append(cfg.Domain.Policies, full("little", "tape", "client1", "/data/0*"))
			inWorld(t, cfg, func(ctx context.Context, w *World) error {
				j, err := backupOnce(ctx, "docs")
				ended(t, j, err, status.NoMedia, "no cartridge of pool", "tld0", "add cartridges")
				if err := rt.Sleep(ctx, 5*time.Minute); err != nil {
					return err
				}
				for _, x := range leftovers(ctx, w, 0) {
					t.Error(x)
				}
				if left > 0 { // what the failed backup wrote does not count
					j, err = backupOnce(ctx, "little")
					ended(t, j, err, status.OK)
				}
				return nil
			})
		})
	}
}

// takeOut takes a cartridge out of the library: the robot brings it to the mail
// slot, a person takes it.
func takeOut(ctx context.Context, lib *vtl.Library, id string) error {
	c, err := lib.Changer(ctx, "tld0")
	if err != nil {
		return err
	}
	all, err := c.Inventory(ctx)
	if err != nil {
		return err
	}
	for _, e := range all {
		if e.Full && strings.HasPrefix(e.Barcode, id) {
			if err := c.Move(ctx, e.Address, vtl.FirstImportExport); err != nil {
				return err
			}
			_, err := lib.TakeOut(ctx, vtl.FirstImportExport)
			return err
		}
	}
	return fmt.Errorf("cartridge %s is not in the library", id)
}

// A cartridge was taken out of the library before a restore: the restore fails
// and names it, whether nbemm knows yet or not; put back, it can be read.
func TestCartridgeRemoved(t *testing.T) {
	inWorld(t, small(), func(ctx context.Context, w *World) error {
		b, err := backupOnce(ctx, "docs")
		ended(t, b, err, status.OK)
		if len(b.Media) != 1 {
			return fmt.Errorf("the backup is on %v", b.Media)
		}
		id, lib := b.Media[0], w.Library("media1")
		if err := takeOut(ctx, lib, id); err != nil {
			return err
		}
		q := bprd.Request{Client: "client1", Target: "/restored"}
		r, err := restoreOnce(ctx, q)
		ended(t, r, err, status.MediaMisplaced, id, "take an inventory")
		w.Host("media1").Restart(time.Second) // which takes an inventory
		if err := rt.Sleep(ctx, 5*time.Minute); err != nil {
			return err
		}
		r, err = restoreOnce(ctx, q)
		ended(t, r, err, status.MediaMisplaced, id, "in no library")
		if err := lib.PutIn(ctx, id+"L9", vtl.FirstImportExport); err != nil {
			return err
		}
		if _, err := ltid.Import.Call(ctx, pbx.At("media1", ltid.Service), "tld0"); err != nil {
			return err
		}
		r, err = restoreOnce(ctx, q)
		ended(t, r, err, status.OK)
		for _, x := range leftovers(ctx, w, 1) {
			t.Error(x)
		}
		return nil
	})
}

// The .f file of one image was cut short: what needs it fails, and says of which
// image and what to do; other images and the next backup are not affected.
func TestFilesFileCutShort(t *testing.T) {
	inWorld(t, small(), func(ctx context.Context, w *World) error {
		for range 2 {
			b, err := backupOnce(ctx, "docs-disk")
			ended(t, b, err, status.OK)
		}
		all, err := images(ctx)
		if err != nil || len(all) != 2 {
			return fmt.Errorf("%d images: %w", len(all), err)
		}
		bad, good := all[1], all[0]
		if err := cutShort(ctx, w, bad.FileName()+".f"); err != nil {
			return err
		}
		words := []string{bad.ID, "cut short", "restore it from a backup of the catalog"}
		_, err = bpdbm.ListDir.Call(ctx, pbx.At("master", bpdbm.Service), bpdbm.Dir{BackupID: bad.ID, Path: "/data"})
		refused(t, err, status.Database, words...)
		r, err := restoreOnce(ctx, bprd.Request{Client: "client1", Image: bad.ID, Target: "/bad"})
		ended(t, r, err, status.Database, words...)

		r, err = restoreOnce(ctx, bprd.Request{Client: "client1", Image: good.ID, Target: "/good"})
		ended(t, r, err, status.OK)
		b, err := backupOnce(ctx, "docs-disk")
		ended(t, b, err, status.OK)
		return nil
	})
}

// cutShort cuts a file of the image database to half its length.
func cutShort(ctx context.Context, w *World, name string) error {
	f, err := w.states["master"].dirs[daemon.ImagesDir].Open(ctx, name)
	if err != nil {
		return err
	}
	n, err := f.Size()
	return errors.Join(err, f.Truncate(n/2), f.Sync(), f.Close())
}

// A block of a cartridge cannot be read, or reads as other bytes than were
// written: the restore fails with 85, names the cartridge, and no file is there
// that is not as it was backed up.
func TestCorruptBlock(t *testing.T) {
	for name, spoil := range map[string]func(ctx context.Context, lib *vtl.Library, id string) error{
		"unreadable": func(_ context.Context, lib *vtl.Library, _ string) error {
			lib.Inject(dev.Fault{Op: dev.OpRead, Skip: 20, Times: -1, Err: dev.ErrMedium})
			return nil
		},
		"altered": func(ctx context.Context, lib *vtl.Library, id string) error {
			return rewrite(ctx, lib, id, func(b []byte) []byte { b[len(b)/2] ^= 1; return b })
		},
		"shorter": func(ctx context.Context, lib *vtl.Library, id string) error {
			return rewrite(ctx, lib, id, func(b []byte) []byte { return b[:len(b)-512] })
		},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := small()
			cfg.Hosts[2].Fill = spanning().Hosts[2].Fill
			inWorld(t, cfg, func(ctx context.Context, w *World) error {
				b, err := backupOnce(ctx, "docs")
				ended(t, b, err, status.OK)
				if len(b.Media) != 1 {
					return fmt.Errorf("the backup is on %v", b.Media)
				}
				lib := w.Library("media1")
				if err := spoil(ctx, lib, b.Media[0]); err != nil {
					return err
				}
				r, err := restoreOnce(ctx, bprd.Request{Client: "client1", Target: "/restored"})
				ended(t, r, err, status.MediaRead, b.Media[0])
				whole(t, w)
				lib.ClearFaults()
				if err := rt.Sleep(ctx, 5*time.Minute); err != nil {
					return err
				}
				for _, x := range leftovers(ctx, w, 1) {
					t.Error(x)
				}
				return nil
			})
		})
	}
}

// whole checks that what was restored are first files, each as it was backed up.
func whole(t *testing.T, w *World) {
	t.Helper()
	restored := 0
	for i := range spanFiles {
		got, err := w.Files("client1").ReadFile(fmt.Sprintf("/restored/data/%02d/file", i))
		if err != nil {
			continue
		}
		restored++
		if !bytes.Equal(got, content(i, spanSize)) {
			t.Errorf("file %d was restored with %d bytes that are not those backed up", i, len(got))
		}
	}
	if restored == 0 || restored == spanFiles {
		t.Errorf("%d of %d files were restored", restored, spanFiles)
	}
	if got, err := w.Files("client1").ReadFile("/restored/data/big"); err == nil && !bytes.Equal(got, content(99, 21<<20)) {
		t.Error("the large file was restored with other bytes")
	}
}

// rewrite copies a cartridge over itself with one block changed, in the middle.
func rewrite(ctx context.Context, lib *vtl.Library, id string, change func([]byte) []byte) error {
	return remake(ctx, lib, id, func(blocks [][]byte) [][]byte {
		at := len(blocks) / 2 // not the last blocks, which are a trailer, nor the first
		blocks[at] = change(blocks[at])
		return blocks
	})
}

// remake copies a cartridge over itself with its blocks changed; a filemark is nil.
func remake(ctx context.Context, lib *vtl.Library, id string, change func([][]byte) [][]byte) error {
	robot, err := lib.Changer(ctx, "tld0")
	if err != nil {
		return err
	}
	all, err := robot.Inventory(ctx)
	if err != nil {
		return err
	}
	slot := slices.IndexFunc(all, func(e dev.Element) bool { return e.Full && strings.HasPrefix(e.Barcode, id) })
	d, err := lib.Drive(ctx, lib.DriveNames()[0])
	if err != nil || slot < 0 {
		return fmt.Errorf("cartridge %s at %d: %w", id, slot, err)
	}
	if err := errors.Join(robot.Move(ctx, all[slot].Address, vtl.DriveAddress(0)), d.Load(ctx)); err != nil {
		return err
	}
	blocks, err := readAll(ctx, d)
	if err != nil {
		return err
	}
	if err := d.Rewind(ctx); err != nil {
		return err
	}
	for _, b := range change(blocks) {
		if b == nil {
			err = d.WriteFilemarks(ctx, 1, false)
		} else {
			err = d.Write(ctx, b)
		}
		if err != nil && !errors.Is(err, dev.ErrEarlyWarning) {
			return err
		}
	}
	return errors.Join(d.Unload(ctx), robot.Move(ctx, vtl.DriveAddress(0), all[slot].Address))
}

// readAll reads a cartridge; a filemark is nil.
func readAll(ctx context.Context, d dev.Drive) (blocks [][]byte, err error) {
	buf := make([]byte, 1<<20)
	for {
		n, err := d.Read(ctx, buf)
		switch {
		case errors.Is(err, dev.ErrFilemark):
			blocks = append(blocks, nil)
		case errors.Is(err, dev.ErrEndOfData):
			return blocks, nil
		case err != nil:
			return nil, err
		default:
			blocks = append(blocks, bytes.Clone(buf[:n]))
		}
	}
}

// A fragment on disk was altered, or cut short: as with tape, 85 and no wrong byte.
func TestCorruptFragment(t *testing.T) {
	for name, spoil := range map[string]func(f store.File, size int64) error{
		"altered": func(f store.File, size int64) error {
			b := make([]byte, 1)
			if _, err := f.ReadAt(b, size/2); err != nil {
				return err
			}
			b[0] ^= 1
			_, err := f.WriteAt(b, size/2)
			return err
		},
		"cut short": func(f store.File, size int64) error { return f.Truncate(size / 2) },
	} {
		t.Run(name, func(t *testing.T) {
			cfg := small()
			cfg.Hosts[2].Fill = spanning().Hosts[2].Fill
			inWorld(t, cfg, func(ctx context.Context, w *World) error {
				b, err := backupOnce(ctx, "docs-disk")
				ended(t, b, err, status.OK)
				file := b.BackupID + "_C1_F1.tar"
				f, err := w.states["media1"].dirs["/backups"].Open(ctx, file)
				if err != nil {
					return err
				}
				size, err := f.Size()
				if err := errors.Join(err, spoil(f, size), f.Close()); err != nil {
					return err
				}
				r, err := restoreOnce(ctx, bprd.Request{Client: "client1", Target: "/restored"})
				ended(t, r, err, status.MediaRead, file)
				whole(t, w)
				return nil
			})
		})
	}
}
