package virtual

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"capstan/core/bprd"
	"capstan/core/dev"
	"capstan/core/dismount"
	"capstan/core/ltid"
	"capstan/core/nbemm"
	"capstan/core/pbx"
	"capstan/core/policy"
	"capstan/core/trace"
)

// staying is a domain whose cartridges stay in the drives.
func staying(cfg Config, p dismount.Policy) Config {
	cfg.Libraries[0].Dismount = p
	return cfg
}

// loaded tells what is in the drives: as the robot sees it, and as nbemm knows it.
func (n *trial) loaded() map[string]string {
	n.t.Helper()
	in := map[string]string{}
	n.as("desk", func(ctx context.Context) error {
		list, err := nbemm.Show.Call(ctx, pbx.At("master", nbemm.Service), struct{}{})
		if err != nil {
			return err
		}
		c, err := n.Library("media1").Changer(ctx, "tld0")
		if err != nil {
			return err
		}
		elements, err := c.Inventory(ctx)
		if err != nil {
			return err
		}
		at := map[int]string{}
		for _, e := range elements {
			if e.Kind == dev.DriveElement && e.Full {
				at[e.Address] = ltid.MediaID(e.Barcode)
			}
		}
		for _, d := range list.Drives {
			if d.Media != at[d.Element] {
				n.t.Errorf("drive %s holds %q, nbemm has %q", d.Name, at[d.Element], d.Media)
			}
			if d.Media != "" {
				in[d.Name] = d.Media
			}
		}
		return nil
	})
	return in
}

// holds compares what is in the drives.
func (n *trial) holds(when string, want map[string]string) {
	n.t.Helper()
	if d := cmp.Diff(want, n.loaded()); d != "" {
		n.t.Errorf("%s, in the drives (-want +got):\n%s", when, d)
	}
}

// mounts is how often a drive has loaded a cartridge.
func (n *trial) mounts() (sum int64) {
	_, drives := n.Stats()
	for _, d := range drives {
		sum += d.Mounts
	}
	return sum
}

// inPools are policies that each write to cartridges of their own.
func (n *trial) inPools(names ...string) {
	for _, name := range names {
		n.put(policy.Policy{Name: name, Clients: []string{"client1"}, Paths: []string{"/data"}, Storage: "tape", Pool: name, Schedules: []policy.Schedule{{Name: "full", Type: policy.Full}}})
	}
}

var none = map[string]string{}

func TestDismountAtOnce(t *testing.T) {
	n := newTrial(t, small())
	n.until(5 * time.Minute)
	n.backup("docs")
	n.holds("after the job", none)
	n.backup("docs")
	if got := n.mounts(); got != 2 {
		t.Errorf("%d mounts, want 2", got)
	}
}

// A job that wants a cartridge that stayed gets its drive, and no mount; so does
// the restore of what was written.
func TestStayingCartridgeIsUsedAgain(t *testing.T) {
	for name, cfg := range map[string]Config{"directly": small(), "by SCSI commands": bySCSI(small())} {
		t.Run(name, func(t *testing.T) {
			n := newTrial(t, staying(cfg, dismount.LRU))
			n.until(5 * time.Minute)
			n.inPools("a", "b")
			n.backup("a")
			n.holds("after the first job", map[string]string{d0: "CAP001"})
			n.backup("b")
			both := map[string]string{d0: "CAP001", d1: "CAP002"}
			n.holds("after the second", both)
			n.backup("a")
			n.backup("b")
			n.as("desk", func(ctx context.Context) error {
				j, err := restoreOnce(ctx, bprd.Request{Client: "client1", Target: "/r"})
				if j.Status != 0 {
					t.Errorf("restore: status %d, %s", j.Status, j.Detail)
				}
				return err
			})
			n.holds("after all", both)
			if got := n.mounts(); got != 2 {
				t.Errorf("%d mounts, want 2", got)
			}
		})
	}
}

// When its time is over a cartridge goes home; a job that uses it meanwhile begins the time anew.
func TestDismountDelay(t *testing.T) {
	n := newTrial(t, staying(small(), dismount.Policy(10*time.Minute)))
	n.until(5 * time.Minute)
	n.backup("docs")
	first := n.Mono()
	there := map[string]string{d0: "CAP001"}
	n.until(first + 6*time.Minute)
	n.holds("before the time is over", there)
	n.backup("docs")
	again := n.Mono()
	n.until(again + 9*time.Minute)
	n.holds("after the first job's time, before the second's", there)
	n.until(again + 12*time.Minute)
	n.holds("after the time", none)
	if got := n.mounts(); got != 1 {
		t.Errorf("%d mounts, want 1", got)
	}
}

// A job that finds only drives with cartridges that nobody uses gets the one that
// was not used for longest.
func TestLeastRecentlyUsedMakesRoom(t *testing.T) {
	n := newTrial(t, staying(small(), dismount.LRU))
	n.until(5 * time.Minute)
	n.inPools("a", "b", "c")
	n.backup("a")
	n.backup("b")
	n.backup("a")
	n.backup("c")
	n.holds("a was used after b", map[string]string{d0: "CAP001", d1: "CAP003"})
	n.backup("b")
	n.holds("c was used after a", map[string]string{d0: "CAP002", d1: "CAP003"})
	if got := n.mounts(); got != 4 {
		t.Errorf("%d mounts, want 4", got)
	}
}

// Who watches the drives is told of each that is emptied, also to make room.
func TestMakingRoomIsTold(t *testing.T) {
	n := newTrial(t, staying(small(), dismount.LRU))
	n.until(5 * time.Minute)
	n.inPools("a", "b", "c", "d")
	for _, p := range []string{"a", "b", "c", "d", "a"} {
		n.backup(p)
	}
	in := map[string]string{}
	emptied := 0
	for _, e := range n.Events() {
		switch {
		case e.What == trace.Unmounted:
			emptied++
			delete(in, e.Drive)
		case e.What == trace.Mounted && in[e.Drive] != "" && in[e.Drive] != e.Media:
			t.Errorf("%s is mounted in drive %s, which nobody emptied of %s", e.Media, e.Drive, in[e.Drive])
		case e.What == trace.Mounted:
			in[e.Drive] = e.Media
		}
	}
	if emptied != 3 {
		t.Errorf("drives were emptied %d times, want 3", emptied)
	}
}

// Whoever restarts, the drives are emptied, and the next job works.
func TestRestartEmptiesDrives(t *testing.T) {
	for _, host := range []string{"media1", "master"} {
		t.Run(host, func(t *testing.T) {
			n := newTrial(t, staying(small(), dismount.Policy(time.Hour)))
			n.until(5 * time.Minute)
			n.backup("docs")
			n.holds("after the job", map[string]string{d0: "CAP001"})
			n.Host(host).Restart(time.Minute)
			n.until(n.Mono() + 10*time.Minute)
			n.holds("after the restart", none)
			n.backup("docs")
			there := map[string]string{d1: "CAP001"} // of two empty drives the one that was not used
			n.holds("after the next job", there)
			n.until(n.Mono() + 55*time.Minute) // the time of the first job's is over
			n.holds("before its time is over", there)
			n.until(n.Mono() + 10*time.Minute)
			n.holds("after its time", none)
		})
	}
}

// A cartridge that just stays in a drive can be exported; one that a job uses cannot.
func TestExportOfStayingCartridge(t *testing.T) {
	n := newTrial(t, staying(small(), dismount.LRU))
	n.until(5 * time.Minute)
	n.backup("docs")
	n.as("desk", func(ctx context.Context) error {
		_, err := ltid.Export.Call(ctx, pbx.At("media1", ltid.Service), ltid.Cartridge{Library: "tld0", Media: "CAP001"})
		return err
	})
	n.holds("after the export", none)
}
