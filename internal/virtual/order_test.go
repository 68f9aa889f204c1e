package virtual

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"capstan/core/bpjobd"
	"capstan/core/bprd"
	"capstan/core/dev"
	"capstan/core/host"
	"capstan/core/pbx"
	"capstan/core/rt"
	"capstan/sim"
	simtree "capstan/sim/tree"
	"capstan/vtl"
)

// unsorted gives a library's drives without what sorts extents.
type unsorted struct{ dev.Finder }

func (u unsorted) Drive(ctx context.Context, name string) (dev.Drive, error) {
	d, err := u.Finder.Drive(ctx, name)
	return struct{ dev.HollowDrive }{d.(dev.HollowDrive)}, err
}

// scattered restores every third file of a backup that lies on many wraps, each by its
// path, and perhaps a directory, and tells how long the drives located for it and what the job's log
// says of an order.
func scattered(t *testing.T, driver func(ctx context.Context, lib *vtl.Library, server string) dev.Finder, dirs bool) (locating time.Duration, ordered int) {
	t.Helper()
	const files, size = 90, 700_001
	cfg := small()
	l := &cfg.Libraries[0]
	l.Driver = driver
	for i := range l.Config.Cartridges {
		l.Config.Cartridges[i].Capacity, l.Config.Cartridges[i].Reserve = 128<<20, 1<<20
	}
	cfg.Domain.Units[0].FragmentSize = 20 << 20
	cfg.Hosts[2].Fill = func(ctx context.Context, fs *simtree.FS) error {
		for i := range files {
			if err := fs.WriteFile(ctx, fmt.Sprintf("/data/dir%02d/file", i), content(i, size)); err != nil {
				return err
			}
		}
		return nil
	}
	w, err := New(cfg, sim.Options{Codec: true})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	err = w.Do(w.Host("master"), "test", func(ctx context.Context, _ *host.Env) error {
		if err := rt.Sleep(ctx, 5*time.Minute); err != nil {
			return err
		}
		if b, err := backupOnce(ctx, "docs"); err != nil || b.Status != 0 {
			return fmt.Errorf("backup: status %d, %w", b.Status, err)
		}
		located := func() (sum time.Duration) {
			_, drives := w.Stats()
			for _, d := range drives {
				sum += d.Locating
			}
			return sum
		}
		before := located()
		q := bprd.Request{Client: "client1", Target: "/out"}
		for i := 0; i < files; i += 3 {
			q.Paths = append(q.Paths, fmt.Sprintf("/data/dir%02d/file", i))
		}
		if dirs {
			q.Paths = append(q.Paths, "/data/dir01")
		}
		r, err := restoreOnce(ctx, q)
		if err != nil || r.Status != 0 {
			return fmt.Errorf("restore: status %d, %s, %w", r.Status, r.Detail, err)
		}
		locating = located() - before
		for i := 0; i < files; i += 3 {
			b, err := w.Files("client1").ReadFile(fmt.Sprintf("/out/data/dir%02d/file", i))
			if err != nil || !bytes.Equal(b, content(i, size)) {
				t.Errorf("file %d: %d bytes, %v", i, len(b), err)
			}
		}
		lines, err := bpjobd.ReadLog.Call(ctx, pbx.At("master", bpjobd.Service), bpjobd.LogQuery{Job: r.ID})
		if err != nil {
			return err
		}
		for _, line := range lines.Lines {
			if strings.Contains(line.Text, "order that the drive recommends") {
				ordered++
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return locating, ordered
}

// TestRestoreInTheDrivesOrder: files that lie scattered over a cartridge come back in the
// order that the drive recommends, whole, with less winding than in the order of the
// stream. With a directory among them that order is kept: it comes before what is in it.
func TestRestoreInTheDrivesOrder(t *testing.T) {
	sorted, n := scattered(t, nil, false)
	if n < 3 {
		t.Errorf("%d fragments were read in the drive's order", n)
	}
	plain, m := scattered(t, func(_ context.Context, lib *vtl.Library, _ string) dev.Finder { return unsorted{lib} }, false)
	if m != 0 {
		t.Error("a drive that knows no order has recommended one")
	}
	if sorted > plain*3/4 {
		t.Errorf("in the drive's order it located for %v, in the stream's for %v", sorted, plain)
	}
	if _, n := scattered(t, nil, true); n != 0 {
		t.Error("a restore with a directory was read in another order than the stream's")
	}
}
