package virtual

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"capstan/core/bprd"
	"capstan/core/policy"
	"capstan/core/status"
	"capstan/sim/tree"
)

// lacks restores paths of which one is not in the newest backups, and checks what the job says of it.
func (n *trial) lacks(path string, words ...string) {
	n.t.Helper()
	n.as("desk", func(ctx context.Context) error {
		r, err := restoreOnce(ctx, bprd.Request{Client: "client1", Paths: []string{path}, Target: "/out"})
		if r.Status != status.NotAllRestored {
			n.t.Errorf("restore of %s: status %d, %s", path, r.Status, r.Detail)
		}
		for _, w := range words {
			if not, ok := strings.CutPrefix(w, "-"); ok == strings.Contains(r.Detail, not) {
				n.t.Errorf("restore of %s: %q, about %q", path, r.Detail, w)
			}
		}
		return err
	})
}

// Of a path that the newest backups lack it is said that it was deleted only if a backup
// says so; and which is the last that holds it.
func TestWhatTheNewestBackupsLack(t *testing.T) {
	n := newTrial(t, small())
	fs := n.Files("client1")
	n.until(5 * time.Minute)
	p := policy.Policy{Name: "p", Clients: []string{"client1"}, Paths: []string{"/data"}, Storage: "disk",
		Schedules: []policy.Schedule{{Name: "full", Type: policy.Full}, {Name: "inc", Type: policy.Differential}}}
	n.put(p)
	n.as("client1", func(ctx context.Context) error { return fs.WriteFile(ctx, "/data/scratch/x", content(3, 9)) })
	n.backs("p", "full")
	first := n.images()[0].ID
	n.rest(time.Hour)
	n.as("client1", func(ctx context.Context) error {
		d, err := fs.Open(ctx, "/data/dir1")
		if err != nil {
			return err
		}
		defer d.Close()
		return d.Remove(ctx, "file01")
	})
	n.backs("p", "inc")
	second := n.images()[1].ID
	n.lacks("/data/dir1/file01", "image "+first, "still holds /data/dir1/file01, and it was deleted before image "+second)
	n.lacks("/data/dir1/file[0]1", "image "+first, "-was deleted before image", "no later one says what became of it")
	n.rest(time.Hour)
	p.Exclude = []string{"/data/scratch"}
	n.put(p)
	n.backs("p", "full")
	n.lacks("/data/scratch/x", "image "+first, "-was deleted before image", "the policy takes it no more")
	n.lacks("/data/never", "is in no backup of client1", "nor in an older one")
	n.lacks("/data/[", "older ones were not searched", "pattern")
}

// What is looked for to say so is bounded.
func TestLackingIsBounded(t *testing.T) {
	cfg := small()
	cfg.Hosts[2].Fill = nil
	n := newTrial(t, cfg)
	n.until(5 * time.Minute)
	n.put(onDisk(policy.Schedule{Name: "s", Type: policy.Full}))
	n.as("client1", func(ctx context.Context) error { return n.Files("client1").WriteFile(ctx, "/data/old", content(3, 9)) })
	n.backup("p")
	n.as("client1", func(ctx context.Context) error {
		d, err := n.Files("client1").Open(ctx, "/data")
		if err != nil {
			return err
		}
		defer d.Close()
		return d.Remove(ctx, "old")
	})
	for i := range 101 {
		if n.backup("p"); i == 50 {
			n.lacks("/data/old", "still holds /data/old")
		}
	}
	n.lacks("/data/old", "older ones were not searched")
}

// A directory that no backup has itself, and of which all that was in it is gone, is
// nothing to restore.
func TestNothingButImpliedDirectories(t *testing.T) {
	cfg := small()
	cfg.Hosts[2].Fill = func(ctx context.Context, fs *tree.FS) error {
		return errors.Join(fs.WriteFile(ctx, "/a/file1", content(1, 100)), fs.WriteFile(ctx, "/b/file2", content(2, 100)))
	}
	n := newTrial(t, cfg)
	fs := n.Files("client1")
	n.until(5 * time.Minute)
	n.put(policy.Policy{Name: "p", Clients: []string{"client1"}, Paths: []string{"/a/file1", "/b/file2"}, Storage: "disk",
		Schedules: []policy.Schedule{{Name: "full", Type: policy.Full}, {Name: "inc", Type: policy.Differential}}})
	n.backs("p", "full")
	n.rest(time.Hour)
	n.as("client1", func(ctx context.Context) error {
		for dir, name := range map[string]string{"/a": "file1", "/b": "file2"} {
			d, err := fs.Open(ctx, dir)
			if err != nil {
				return err
			}
			defer d.Close()
			if err := d.Remove(ctx, name); err != nil {
				return err
			}
		}
		return fs.WriteFile(ctx, "/b/file2", content(3, 100))
	})
	n.backs("p", "inc")
	n.as("desk", func(ctx context.Context) error {
		r, err := restoreOnce(ctx, bprd.Request{Client: "client1", Paths: []string{"/a"}, Target: "/out"})
		if r.Status != status.NotAllRestored {
			t.Errorf("restore: status %d, %s", r.Status, r.Detail)
		}
		return err
	})
	n.restores("client1", "/out")
	n.same("client1", "/out/b/file2", content(3, 100))
}
