package virtual

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"capstan/core/bpdbm"
	"capstan/core/bprd"
	"capstan/core/bprestore"
	"capstan/core/daemon"
	"capstan/core/image"
	"capstan/core/job"
	"capstan/core/nbemm"
	"capstan/core/nbpem"
	"capstan/core/pbx"
	"capstan/core/policy"
	"capstan/core/rt"
	"capstan/core/status"
	"capstan/core/store"
	simtree "capstan/sim/tree"
)

// kept is a policy of client1 whose images are kept for a time.
func kept(name, storage string, retention time.Duration) policy.Policy {
	p := onDisk(policy.Schedule{Name: "s", Type: policy.Full})
	p.Name, p.Storage, p.Retention = name, storage, retention
	return p
}

// files are the names of the files in a directory of a host, and below.
func (n *trial) files(host_, dir string) (all []string) {
	n.t.Helper()
	n.as("desk", func(ctx context.Context) error {
		d := n.states[host_].dirs[dir]
		var walk func(at string) error
		walk = func(at string) error {
			names, err := d.List(ctx, strings.TrimSuffix(at, "/"))
			for _, name := range names {
				if strings.HasSuffix(name, "/") {
					err = walk(at + name)
				} else {
					all = append(all, at+name)
				}
			}
			return err
		}
		if d == nil {
			return nil
		}
		return walk("")
	})
	return all
}

func (n *trial) ids() (ids []string) {
	for _, h := range n.images() {
		ids = append(ids, h.ID)
	}
	return ids
}

func (n *trial) cartridge(id string) (m nbemm.Media) {
	n.t.Helper()
	n.as("desk", func(ctx context.Context) error {
		l, err := nbemm.Show.Call(ctx, pbx.At("master", nbemm.Service), struct{}{})
		for _, x := range l.Media {
			if x.ID == id {
				m = x
			}
		}
		return err
	})
	return m
}

func (n *trial) expire(ids ...string) (c bpdbm.Cleaned) {
	n.t.Helper()
	n.as("desk", func(ctx context.Context) (err error) {
		c, err = bpdbm.Expire.Call(ctx, pbx.At("master", bpdbm.Service), bpdbm.ExpireImages{Images: ids})
		return err
	})
	return c
}

// An image is there until its retention is over, and at the next cleanup it is
// gone, with all its files, from the catalog and from the disk.
func TestExpiry(t *testing.T) {
	for _, c := range []struct {
		rule      string
		retention time.Duration
		at        time.Duration // after noon
		left      int
	}{
		{"its time has not come", 2 * day, 2 * day, 1},
		{"its time has come", 2 * day, 2*day + 13*hour, 0},
		{"for ever", 0, 1000 * day, 1},
	} {
		t.Run(c.rule, func(t *testing.T) {
			n := newTrial(t, small())
			n.put(kept("p", "disk", c.retention))
			n.until(hour)
			n.backup("p")
			n.until(c.at)
			if got := len(n.images()); got != c.left {
				t.Errorf("%d images are left, want %d", got, c.left)
			}
			for _, files := range [][]string{n.files("media1", "/backups"), n.files("master", "images")} {
				if (len(files) > 0) != (c.left > 0) {
					t.Errorf("these files are left: %q", files)
				}
			}
		})
	}
}

// A cartridge is free when the last of its images has expired: it returns to the
// scratch pool if it came from there, and is written from its beginning.
func TestExpiryFreesCartridges(t *testing.T) {
	n := newTrial(t, small())
	n.put(kept("a", "tape", week))
	n.until(hour)
	n.backup("a")
	n.backup("a")
	ids := n.ids()
	before := n.cartridge("CAP001")
	if before.Images != 2 || before.Pool != nbemm.DefaultPool || before.Retention != week {
		t.Fatalf("after two backups: %+v", before)
	}
	c := n.expire(ids[0])
	if d := cmp.Diff(bpdbm.Cleaned{Expired: ids[:1]}, c); d != "" {
		t.Error(d)
	}
	if m := n.cartridge("CAP001"); m.Images != 1 || m.UUID != before.UUID || m.Bytes*2 != before.Bytes {
		t.Errorf("after the first has expired: %+v", m)
	}
	if d := cmp.Diff(bpdbm.Cleaned{Expired: ids[1:], Freed: []string{"CAP001"}}, n.expire(ids[1])); d != "" {
		t.Error(d)
	}
	want := nbemm.Media{
		ID: "CAP001", Barcode: before.Barcode, Library: before.Library, Element: before.Element, Density: before.Density,
		Pool: nbemm.Scratch, Mounts: before.Mounts, LastUsed: before.LastUsed, UUID: before.UUID, // the label is on it still
	}
	if d := cmp.Diff(want, n.cartridge("CAP001")); d != "" {
		t.Errorf("after the last has expired: %s", d)
	}
	// It is the pool's again, and holds the next backup at its beginning.
	pool := nbemm.DefaultPool
	change(nbemm.MediaChange{ID: "CAP001", Pool: &pool})(n)
	n.backup("a")
	m := n.cartridge("CAP001")
	if m.Images != 1 || m.UUID != before.UUID || m.NextFile >= before.NextFile || m.FromScratch {
		t.Errorf("written again: %+v", m)
	}
	n.as("desk", func(ctx context.Context) error {
		r, err := restoreOnce(ctx, bprd.Request{Client: "client1", Target: "/again"})
		if r.Status != 0 {
			t.Errorf("restore: status %d, %s", r.Status, r.Detail)
		}
		return err
	})
	n.expire(n.ids()...)
	if m := n.cartridge("CAP001"); m.Pool != nbemm.DefaultPool || m.Images != 0 {
		t.Errorf("a cartridge that did not come from the scratch pool: %+v", m)
	}
}

// A frozen cartridge is not freed; it is when it is thawed.
func TestExpiryOfFrozen(t *testing.T) {
	n := newTrial(t, small())
	n.put(kept("a", "tape", week))
	n.until(hour)
	n.backup("a")
	yes, no := true, false
	change(nbemm.MediaChange{ID: "CAP001", Frozen: &yes})(n)
	if c := n.expire(n.ids()...); len(c.Freed) != 0 {
		t.Errorf("freed %q", c.Freed)
	}
	if m := n.cartridge("CAP001"); m.UUID == "" || m.Images != 0 || !m.Frozen {
		t.Errorf("%+v", m)
	}
	change(nbemm.MediaChange{ID: "CAP001", Frozen: &no})(n)
	if m := n.cartridge("CAP001"); m.Frozen || m.Pool != nbemm.Scratch {
		t.Errorf("%+v", m)
	}
}

// An image that is being restored is left alone, and one that nobody knows is an error.
func TestExpiryAndRestore(t *testing.T) {
	cfg := many(1)
	n := newTrial(t, cfg)
	p := terabytes("a", 0, "disk", "c1")
	p.Retention = 2 * day
	n.put(p)
	n.until(hour)
	n.backup("a")
	ids := n.ids()
	n.until(2*day + 11*hour + 50*time.Minute) // ten minutes before the cleanup
	var restore int64
	n.as("desk", func(ctx context.Context) (err error) {
		restore, err = bprestore.Ask(ctx, "master", bprd.Request{Client: "c1", Target: "/r"})
		return err
	})
	n.until(n.Mono() + time.Minute)
	if d := cmp.Diff(bpdbm.Cleaned{Held: ids}, n.expire(ids...)); d != "" {
		t.Error(d)
	}
	n.until(2*day + 12*hour + time.Minute)
	if got := n.ids(); !slices.Equal(got, ids) {
		t.Errorf("the cleanup has left %q", got)
	}
	var j job.Job
	n.as("desk", func(ctx context.Context) (err error) {
		j, err = runJob(ctx, "master", restore)
		return err
	})
	if j.Status != 0 || j.Ended.Sub(j.Started) < 15*time.Minute {
		t.Errorf("restore: status %d, %s, %v", j.Status, j.Detail, j.Ended.Sub(j.Started))
	}
	n.until(3*day + hour)
	if got := n.ids(); len(got) != 0 {
		t.Errorf("after the restore the cleanup has left %q", got)
	}
	n.as("desk", func(ctx context.Context) error {
		if _, err := bpdbm.Expire.Call(ctx, pbx.At("master", bpdbm.Service), bpdbm.ExpireImages{Images: ids}); err == nil {
			t.Error("an image that there is not was expired")
		}
		return nil
	})
}

// What a media server that is down has of an image is removed when it is back.
func TestExpiryWithoutMediaServer(t *testing.T) {
	n := newTrial(t, small())
	n.put(kept("p", "disk", week))
	n.until(hour)
	n.backup("p")
	ids := n.ids()
	n.Isolate("media1")
	if c := n.expire(ids...); !slices.Equal(c.Pending, ids) || len(n.ids()) != 0 {
		t.Errorf("%+v, in the catalog %q", c, n.ids())
	}
	if len(n.files("media1", "/backups")) == 0 {
		t.Error("the files are gone")
	}
	n.Rejoin("media1")
	n.until(n.Mono() + day)
	if files := append(n.files("media1", "/backups"), n.files("master", "images")...); len(files) != 0 {
		t.Errorf("these files are left: %q", files)
	}
}

// Wherever in an expiry the master goes down, the image is either whole, and can
// be restored, or gone without a trace.
func TestCrashWhileExpiring(t *testing.T) {
	whole, gone := 0, 0
	for after := time.Duration(0); after < 3*time.Millisecond; after += 40 * time.Microsecond {
		n := newTrial(t, small())
		n.put(kept("p", "disk", 30*day), kept("q", "tape", 30*day))
		n.until(hour)
		n.backup("p")
		n.backup("q")
		ids := n.ids()
		n.At(n.Mono()+after, func() { n.Host("master").Restart(time.Second) })
		n.as("desk", func(ctx context.Context) error {
			_, err := bpdbm.Expire.Call(ctx, pbx.At("master", bpdbm.Service), bpdbm.ExpireImages{Images: ids})
			_ = err // the master may be gone
			return rt.Sleep(ctx, 14*hour)
		})
		files := append(n.files("media1", "/backups"), n.files("master", "images")...)
		switch left := n.ids(); len(left) {
		case 0:
			gone++
			if m := n.cartridge("CAP001"); len(files) != 0 || m.Images != 0 || m.Pool != nbemm.Scratch {
				t.Errorf("after %v: files %q, cartridge %+v", after, files, m)
			}
		case 2:
			whole++
			for _, id := range left {
				n.as("desk", func(ctx context.Context) error {
					r, err := restoreOnce(ctx, bprd.Request{Client: "client1", Image: id, Target: fmt.Sprintf("/r%s", id)})
					if r.Status != 0 {
						t.Errorf("after %v: restore of %s: status %d, %s", after, id, r.Status, r.Detail)
					}
					return err
				})
			}
		default:
			t.Errorf("after %v: %q are left", after, left)
		}
		n.Close()
	}
	if whole == 0 || gone == 0 {
		t.Errorf("%d times whole, %d times gone: the crashes miss the expiry", whole, gone)
	}
}

// When the full backup has expired, the next incremental is a full one; when one
// between has, it holds what has changed since the one before that.
func TestIncrementalAfterExpiry(t *testing.T) {
	for _, c := range []struct {
		rule   string
		expire int // which of full, inc, inc
		want   policy.Type
		since  int
	}{
		{"the full", 0, policy.Full, -1},
		{"the first incremental", 1, policy.Differential, 0},
		{"the last incremental", 2, policy.Differential, 1},
	} {
		t.Run(c.rule, func(t *testing.T) {
			n := newTrial(t, small())
			n.put(onDisk(policy.Schedule{Name: "full", Type: policy.Full}, policy.Schedule{Name: "inc", Type: policy.Differential}))
			n.until(hour)
			back := func(schedule string) {
				n.start(nbpem.Backup{Policy: "p", Schedule: schedule})
				n.until(n.Mono() + 10*time.Minute)
			}
			back("full")
			back("inc")
			back("inc")
			old := n.images()
			n.expire(old[c.expire].ID)
			back("inc")
			images := n.images()
			got := images[len(images)-1]
			var since rt.Time
			if c.since >= 0 {
				since = old[c.since].Began
			}
			if len(images) != 3 || got.Type != string(c.want) || got.Since != since {
				t.Errorf("%d images, the last is %s since %v, want %s since %v", len(images), got.Type, got.Since, c.want, since)
			}
		})
	}
}

// The job's log tells in the field's words what was done, in that order.
func TestJobLog(t *testing.T) {
	cfg := small()
	cfg.Hosts[2].Fill = func(ctx context.Context, fs *simtree.FS) error {
		return fs.WriteFile(ctx, "/data/file", content(1, 20<<20))
	}
	n := newTrial(t, cfg)
	n.put(kept("p", "tape", week))
	n.until(hour)
	backup := n.backup("p")
	var restore job.Job
	n.as("desk", func(ctx context.Context) (err error) {
		restore, err = restoreOnce(ctx, bprd.Request{Client: "client1", Target: "/r"})
		return err
	})
	for _, c := range []struct {
		job  int64
		want []string
	}{
		{backup.ID, []string{
			"nbjm: requesting resource tape", "nbjm: granted resource tape", "nbjm: granted resource CAP001", "nbjm: granted resource tld0-d0",
			"nbjm: started process bpbrm", "bpbrm: connecting to client client1", "bpbrm: connected to client client1",
			"bpbrm: started process bpbkar", "bpbrm: started process bptm", "bptm: mounting CAP001", "bptm: mounted CAP001", "bptm: positioning CAP001 to file 1",
			"bptm: positioned CAP001", "bptm: begin writing", "bptm: end writing", "bptm: waited for full buffer ", "bptm: waited for empty buffer ",
			"bptm: wrote ", "nbjm: end of try 1: status 0",
		}},
		{restore.ID, []string{
			"bpbrm: started process bptm", "bptm: restoring image client1_", "nbjm: requesting resource CAP001", "nbjm: granted resource CAP001", "bptm: mounting CAP001",
			"bptm: mounted CAP001", "bptm: positioned CAP001", "bptm: begin reading", "bptm: restored image client1_", "bptm: end reading",
			"bptm: waited for full buffer ", "bptm: waited for empty buffer ", "bptm: read ", "bprd: end of restore: status 0",
		}},
	} {
		lines := n.logOf(c.job)
		at := 0
		for _, want := range c.want {
			i := slices.IndexFunc(lines[at:], func(l string) bool { return strings.HasPrefix(l, want) })
			if i < 0 {
				t.Errorf("job %d: no line %q after %q in\n%s", c.job, want, lines[max(at-1, 0)], strings.Join(lines, "\n"))
				break
			}
			at += i + 1
		}
		if log := strings.Join(lines, "\n"); !strings.Contains(log, "bytes/s; bottleneck: ") {
			t.Errorf("job %d: no rate in\n%s", c.job, log)
		}
	}
}

// A crash of the master in a backup leaves nothing in the image database.
func TestCrashLeavesNoFiles(t *testing.T) {
	for after := 200 * time.Millisecond; after < 2*time.Second; after += 200 * time.Millisecond {
		n := newTrial(t, spanning())
		n.put(kept("p", "tape", week))
		n.until(hour)
		n.start(nbpem.Backup{Policy: "p"})
		blocks := 0
		for range 600 { // until a few fragments stand
			n.until(n.Mono() + 200*time.Millisecond)
			if blocks = len(n.files("master", "images")); blocks > 4 {
				break
			}
		}
		if blocks <= 4 || len(n.images()) != 0 {
			t.Fatalf("%d files, %d images before the crash", blocks, len(n.images()))
		}
		n.until(n.Mono() + after)
		n.Host("master").Restart(time.Second)
		n.until(n.Mono() + time.Hour)
		if files := n.files("master", "images"); len(n.images()) == 0 && len(files) != 0 {
			t.Errorf("these files are left: %q", files)
		}
		n.Close()
	}
}

// With the last image of a time group goes its directory, with a client's last image
// the client's, and the next backup makes them again.
func TestDirectoriesGoWithTheLastImage(t *testing.T) {
	n := newTrial(t, small())
	n.until(5 * time.Minute)
	n.put(kept("p", "disk", 0))
	tops := func() (names []string) {
		n.as("desk", func(ctx context.Context) (err error) {
			d := n.states["master"].dirs[daemon.ImagesDir]
			if names, err = d.List(ctx, ""); err == nil && len(names) > 0 {
				names, err = d.List(ctx, strings.TrimSuffix(names[0], "/"))
			}
			return err
		})
		return names
	}
	n.backup("p")
	n.until(n.Mono() + 12*day) // another group
	n.backup("p")
	n.backup("p")
	ids := n.ids()
	for i, want := range []int{1, 1, 0} {
		if n.expire(ids[i]); len(tops()) != want {
			t.Errorf("after %d images have expired there are the directories %v, want %d", i+1, tops(), want)
		}
	}
	n.backup("p")
	if got := len(tops()); got != 1 {
		t.Errorf("%d directories, want 1", got)
	}
}

// What is left of an image that could not be begun goes at once.
func TestImageThatCannotBegin(t *testing.T) {
	n := newTrial(t, small())
	n.until(5 * time.Minute)
	n.put(kept("p", "disk", 0))
	n.states["master"].dirs[daemon.ImagesDir].SetCapacity(1)
	id := n.start(nbpem.Backup{Policy: "p"})[0]
	n.as("desk", func(ctx context.Context) error {
		j, err := runJob(ctx, "master", id)
		if j.Status != status.Database {
			t.Errorf("the backup ended with status %d, %s", j.Status, j.Detail)
		}
		return err
	})
	if err := n.states["master"].db.Peek(func(tx store.Tx) error {
		return image.Table.All(tx, func(h image.Header) (bool, error) {
			t.Errorf("image %s is left in the database", h.ID)
			return true, nil
		})
	}); err != nil {
		t.Fatal(err)
	}
	if left := n.files("master", daemon.ImagesDir); len(left) > 0 {
		t.Errorf("%v are left", left)
	}
	n.states["master"].dirs[daemon.ImagesDir].SetCapacity(0)
	n.backup("p")
}
