package virtual

import (
	"context"
	"maps"
	"slices"
	"testing"
	"time"

	"capstan/core/bprd"
	"capstan/core/dismount"
	"capstan/core/ltid"
	"capstan/core/nbemm"
	"capstan/core/nbpem"
	"capstan/core/pbx"
	"capstan/core/status"
	"capstan/core/trace"
	"capstan/vtl"
)

// twoServers is a domain of two media servers that each have two drives of one
// library, of which media1 controls the robot. The other's are the first ones.
func twoServers(p dismount.Policy) Config {
	cfg := staying(small(), p)
	cfg.Hosts = append(cfg.Hosts, Host{Name: "media2", Kinds: pbx.Media})
	l := &cfg.Libraries[0]
	for _, name := range []string{"tld0-d2", "tld0-d3"} {
		l.Config.Drives = append(l.Config.Drives, vtl.DriveConfig{Name: name, Model: "LTO-9"})
	}
	l.Others = map[string]string{d0: "media2", d1: "media2"}
	two := cfg.Domain.Units[0]
	two.Name, two.MediaServer = "tape2", "media2"
	cfg.Domain.Units = append(cfg.Domain.Units, two)
	docs := cfg.Domain.Policies[0]
	docs.Name, docs.Storage, docs.Pool = "docs2", "tape2", "two"
	cfg.Domain.Policies = append(cfg.Domain.Policies, docs)
	docs.Name, docs.Pool = "docs-of-both", ""
	cfg.Domain.Policies = append(cfg.Domain.Policies, docs)
	return cfg
}

// drivesUsed are the drives that a media server's processes have mounted cartridges in.
func (n *trial) drivesUsed() map[string][]string {
	used := map[string][]string{}
	for _, e := range n.Events() {
		if e.What == trace.Mounted && e.Status == 0 && !slices.Contains(used[e.Host], e.Drive) {
			used[e.Host] = append(used[e.Host], e.Drive)
		}
	}
	for _, host := range slices.Sorted(maps.Keys(used)) {
		slices.Sort(used[host])
	}
	return used
}

// Jobs of two media servers on one library each get drives of their own media server,
// also when those of the other are free, and wait when those are in use.
func TestTwoServersOnOneLibrary(t *testing.T) {
	n := newTrial(t, twoServers(dismount.Immediate))
	n.until(5 * time.Minute)
	var ids []int64
	for range 2 {
		for _, p := range []string{"docs", "docs2"} {
			ids = append(ids, n.start(nbpem.Backup{Policy: p})...)
		}
	}
	for _, id := range ids {
		n.as("desk", func(ctx context.Context) error {
			j, err := runJob(ctx, "master", id)
			if j.Status != status.OK {
				t.Errorf("job %d of %s: status %d, %s", id, j.Policy, j.Status, j.Detail)
			}
			return err
		})
	}
	n.as("desk", func(ctx context.Context) error {
		r, err := restoreOnce(ctx, bprd.Request{Client: "client1", Target: "/out"})
		if r.Status != status.OK {
			t.Errorf("restore: status %d, %s", r.Status, r.Detail)
		}
		return err
	})
	for host, names := range n.drivesUsed() {
		for _, name := range names {
			if own := name == d0 || name == d1; own != (host == "media2") {
				t.Errorf("%s has used drive %s", host, name)
			}
		}
	}
	if used := n.drivesUsed(); len(used) != 2 {
		t.Errorf("drives of %v were used, want those of two media servers", used)
	}
}

// A job gets no drive of the other media server, however many of those are free.
func TestOwnDrivesOnly(t *testing.T) {
	n := newTrial(t, twoServers(dismount.Immediate))
	n.until(5 * time.Minute)
	for job, want := range map[int64]status.Code{1: 0, 2: 0} {
		n.as("master", func(ctx context.Context) error {
			a, err := nbemm.Allocate.Call(ctx, pbx.At("master", nbemm.Service), write(job))
			if status.Of(err, 0) != want || a.Drive.MediaServer != "media1" {
				t.Errorf("drive %s of %s, %v", a.Drive.Name, a.Drive.MediaServer, err)
			}
			return nil
		})
	}
	n.as("master", func(ctx context.Context) error {
		_, err := nbemm.Allocate.Call(ctx, pbx.At("master", nbemm.Service), write(3))
		if status.Of(err, 0) != status.NoDrive {
			t.Errorf("a third job of media1: %v, want it to wait for a drive", err)
		}
		q := read(4, "CAP008")
		q.Server = "media2"
		a, err := nbemm.Allocate.Call(ctx, pbx.At("master", nbemm.Service), q)
		if err != nil || a.Drive.MediaServer != "media2" {
			t.Errorf("drive %s of %s, %v", a.Drive.Name, a.Drive.MediaServer, err)
		}
		return nil
	})
}

// A cartridge that stays in a drive of one media server is taken home when the other
// is to mount it, or when it is exported.
func TestCartridgeStaysInTheOthersDrive(t *testing.T) {
	n := newTrial(t, twoServers(dismount.LRU))
	n.until(5 * time.Minute)
	inPool("two", "CAP002", "CAP003", "CAP004", "CAP005", "CAP006", "CAP007", "CAP008")(n) // there is only one
	n.backup("docs-of-both")
	n.holds("after media2's job", map[string]string{d0: "CAP001"})
	n.backup("docs")
	n.holds("after media1's, which appends", map[string]string{"tld0-d2": "CAP001"})
	n.backup("docs-of-both")
	n.holds("after media2's again", map[string]string{d1: "CAP001"})
	n.as("desk", func(ctx context.Context) error {
		r, err := restoreOnce(ctx, bprd.Request{Client: "client1", Target: "/out"})
		if r.Status != status.OK {
			t.Errorf("restore: status %d, %s", r.Status, r.Detail)
		}
		return err
	})
	n.backup("docs-of-both")
	n.as("desk", func(ctx context.Context) error {
		_, err := ltid.Export.Call(ctx, pbx.At("media1", ltid.Service), ltid.Cartridge{Library: "tld0", Media: "CAP001"})
		return err
	})
	n.holds("after the export", none)
}

// A backup takes a cartridge that stays in a drive of the other media server only if
// there is no other.
func TestOtherCartridgesFirst(t *testing.T) {
	n := newTrial(t, twoServers(dismount.LRU))
	n.until(5 * time.Minute)
	n.backup("docs-of-both")
	n.backup("docs")
	both := map[string]string{d0: "CAP001", "tld0-d2": "CAP002"}
	n.holds("after a job of each", both)
	n.backup("docs-of-both")
	n.backup("docs")
	n.holds("after another of each", both)
}

// After a restart of a media server, or of the master, the drives of both are usable.
func TestRestartOfOneOfTwoServers(t *testing.T) {
	for _, host := range []string{"media1", "media2", "master"} {
		t.Run(host, func(t *testing.T) {
			n := newTrial(t, twoServers(dismount.LRU))
			n.until(5 * time.Minute)
			n.backup("docs")
			n.backup("docs2")
			n.Host(host).Restart(time.Minute)
			n.until(n.Mono() + 10*time.Minute)
			n.backup("docs")
			n.backup("docs2")
		})
	}
}

// After a restart of the master the drives come up of a media server, too, that no
// storage unit names.
func TestRestartWithDrivesOfNoUnit(t *testing.T) {
	cfg := twoServers(dismount.LRU)
	cfg.Domain.Units, cfg.Domain.Policies = cfg.Domain.Units[:2], cfg.Domain.Policies[:2]
	n := newTrial(t, cfg)
	n.until(5 * time.Minute)
	n.Host("master").Restart(time.Minute)
	n.until(n.Mono() + 10*time.Minute)
	n.as("desk", func(ctx context.Context) error {
		list, err := nbemm.Show.Call(ctx, pbx.At("master", nbemm.Service), struct{}{})
		for _, d := range list.Drives {
			if !d.Up {
				t.Errorf("drive %s of %s is down", d.Name, d.MediaServer)
			}
		}
		if len(list.Drives) != 4 {
			t.Errorf("%d drives", len(list.Drives))
		}
		return err
	})
}
