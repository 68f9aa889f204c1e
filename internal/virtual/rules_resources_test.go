package virtual

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"capstan/core/job"
	"capstan/core/nbemm"
	"capstan/core/nbpem"
	"capstan/core/nbrb"
	"capstan/core/pbx"
	"capstan/core/policy"
	"capstan/core/status"
)

// shelf prepares what nbemm knows, step by step.
type shelf func(n *trial)

func call[Q, R any](m *pbx.Method[Q, R], service string, q Q) shelf {
	return func(n *trial) {
		n.t.Helper()
		n.as("master", func(ctx context.Context) error {
			_, err := m.Call(ctx, pbx.At("master", service), q)
			return err
		})
	}
}

func inPool(pool string, ids ...string) shelf {
	return func(n *trial) {
		for _, id := range ids {
			call(nbemm.ChangeMedia, nbemm.Service, nbemm.MediaChange{ID: id, Pool: &pool})(n)
		}
	}
}

func change(q nbemm.MediaChange) shelf { return call(nbemm.ChangeMedia, nbemm.Service, q) }

// written has an image that is kept for a time on a cartridge of the default pool.
func written(id string, retention time.Duration, full bool) shelf {
	return func(n *trial) {
		inPool(nbemm.DefaultPool, id)(n)
		call(nbemm.MarkWritten, nbemm.Service, nbemm.Written{Media: id, UUID: "u", Images: 1, Retention: retention, Full: full})(n)
	}
}

// in puts a cartridge into a drive.
func in(drive, id string) shelf {
	return func(n *trial) {
		n.t.Helper()
		n.as("media1", func(ctx context.Context) error {
			_, err := nbemm.MarkDrive.Call(ctx, pbx.At("master", nbemm.Service), nbemm.DriveMedia{Drive: drive, Media: id})
			return err
		})
	}
}

// taken has a job take what it can get, and keep it; used gives it back.
func taken(q nbemm.Request) shelf { return call(nbemm.Allocate, nbemm.Service, q) }

func used(q nbemm.Request) shelf {
	return func(n *trial) {
		taken(q)(n)
		n.until(n.Mono() + time.Second)
		call(nbemm.ReleaseAll, nbemm.Service, nbemm.Release{Job: q.Job, Try: q.Try})(n)
	}
}

const (
	d0, d1 = "tld0-d0", "tld0-d1"
	week   = 7 * day
)

func write(job int64) nbemm.Request {
	return nbemm.Request{Job: job, Try: 1, Write: true, Storage: "tape", Retention: week}
}

func read(job int64, id string) nbemm.Request {
	return nbemm.Request{Job: job, Try: 1, Media: id, Server: "media1"}
}

// Which cartridge a backup gets, and which drive.
func TestChoice(t *testing.T) {
	yes := true
	own := []string{"CAP005", "CAP006", "CAP007"}
	mix := small().Domain.Units[0]
	mix.MixRetentions = true
	all := []string{"CAP001", "CAP002", "CAP003", "CAP004", "CAP005", "CAP006", "CAP007", "CAP008"}
	for _, c := range []struct {
		rule  string
		shelf []shelf
		q     nbemm.Request
		media string
		drive string
		fails status.Code
	}{
		{"nothing in the pool: of the scratch pool", nil, write(1), "CAP001", d0, 0},
		{"an unassigned one of the pool before the scratch pool", []shelf{inPool(nbemm.DefaultPool, "CAP005")}, write(1), "CAP005", d0, 0},
		{"a part full one before those", []shelf{inPool(nbemm.DefaultPool, own...), written("CAP006", week, false)}, write(1), "CAP006", d0, 0},
		{"a mounted part full one before the others", []shelf{written("CAP006", week, false), written("CAP007", week, false), in(d1, "CAP007")}, write(1), "CAP007", d1, 0},
		{"not one with images that are kept for another time", []shelf{inPool(nbemm.DefaultPool, own...), written("CAP006", 2*week, false)}, write(1), "CAP005", d0, 0},
		{"unless the unit allows it", []shelf{inPool(nbemm.DefaultPool, own...), written("CAP006", 2*week, false), call(nbemm.Configure, nbemm.Service, nbemm.List{Units: []nbemm.StorageUnit{mix}})}, write(1), "CAP006", d0, 0},
		{"not a full one", []shelf{written("CAP006", week, true), inPool(nbemm.DefaultPool, "CAP007")}, write(1), "CAP007", d0, 0},
		{"not a frozen one", []shelf{written("CAP006", week, false), change(nbemm.MediaChange{ID: "CAP006", Frozen: &yes}), inPool(nbemm.DefaultPool, "CAP007")}, write(1), "CAP007", d0, 0},
		{"not a suspended one", []shelf{written("CAP006", week, false), change(nbemm.MediaChange{ID: "CAP006", Suspended: &yes}), inPool(nbemm.DefaultPool, "CAP007")}, write(1), "CAP007", d0, 0},
		{"not one of another pool", []shelf{inPool("Other", "CAP001", "CAP002")}, write(1), "CAP003", d0, 0},
		{"not one that a job has", []shelf{written("CAP006", week, false), written("CAP007", week, false), taken(write(9))}, write(1), "CAP007", d1, 0},
		{"of equals the least recently used", []shelf{inPool(nbemm.DefaultPool, own...), used(write(9))}, write(1), "CAP006", d1, 0},
		{"no cartridge: 96", []shelf{inPool("Other", all...)}, write(1), "", "", status.NoMedia},
		{"the only cartridge is in use: wait", []shelf{inPool("Other", all[1:]...), taken(write(9))}, write(1), "", "", status.MediaInUse},
		{"all drives are in use: wait", []shelf{taken(write(8)), taken(write(9))}, write(1), "", "", status.NoDrive},
		{"no such unit: 213", nil, nbemm.Request{Job: 1, Try: 1, Write: true, Storage: nowhere}, "", "", status.NoStorageUnit},

		{"the drive that has the cartridge", []shelf{in(d1, "CAP003")}, read(1, "CAP003"), "CAP003", d1, 0},
		{"else an empty one", []shelf{in(d0, "CAP004")}, read(1, "CAP003"), "CAP003", d1, 0},
		{"else the least recently used", []shelf{in(d0, "CAP004"), in(d1, "CAP005"), used(read(9, "CAP004"))}, read(1, "CAP003"), "CAP003", d1, 0},
		{"of two empty ones the least recently used", []shelf{used(read(9, "CAP004"))}, read(1, "CAP003"), "CAP003", d1, 0},
		{"a cartridge that another restore reads: wait", []shelf{taken(read(9, "CAP003"))}, read(1, "CAP003"), "", "", status.MediaInUse},
		{"an unknown cartridge", nil, read(1, "XYZ999"), "", "", status.MediaNotDefined},
	} {
		t.Run(c.rule, func(t *testing.T) {
			n := newTrial(t, small())
			n.until(5 * time.Minute)
			for _, fn := range c.shelf {
				fn(n)
			}
			n.as("master", func(ctx context.Context) error {
				a, err := nbemm.Allocate.Call(ctx, pbx.At("master", nbemm.Service), c.q)
				if got := status.Of(err, 0); got != c.fails {
					t.Errorf("status %d (%v), want %d", got, err, c.fails)
				}
				if err == nil && (a.Media.ID != c.media || a.Drive.Name != c.drive) {
					t.Errorf("%s in %s, want %s in %s", a.Media.ID, a.Drive.Name, c.media, c.drive)
				}
				return nil
			})
		})
	}
}

// terabytes is a policy of clients of [many].
func terabytes(name string, priority int, storage string, clients ...string) policy.Policy {
	return policy.Policy{
		Name: name, Active: true, Clients: clients, Paths: []string{"/data"}, Storage: storage, Priority: priority,
		Schedules: []policy.Schedule{{Name: "s", Type: policy.Full}},
	}
}

// most is how many jobs were active at one time.
func most(js []job.Job) (n int) {
	for _, a := range js {
		k := 0
		for _, b := range js {
			if b.Started <= a.Started && a.Started < b.Ended {
				k++
			}
		}
		n = max(n, k)
	}
	return n
}

// How many jobs run at a time.
func TestLimits(t *testing.T) {
	both := []string{"c1", "c2", "c3", "c4"}
	limited := func(p policy.Policy, l policy.Limits) policy.Policy { p.Limits = l; return p }
	one := limited(terabytes("a", 0, "disk", "c1"), policy.Limits{JobsPerClient: 1})
	two := one
	two.Name = "b"
	exempt := limited(one, policy.Limits{JobsPerClient: 1, ThisClient: 2})
	exempt2 := exempt
	exempt2.Name = "b"
	for _, c := range []struct {
		rule     string
		policies []policy.Policy
		maxJobs  int // of the disk unit
		want     int
	}{
		{"no limit", []policy.Policy{terabytes("a", 0, "disk", both...)}, 0, 4},
		{"jobs of a policy", []policy.Policy{limited(terabytes("a", 0, "disk", both...), policy.Limits{JobsPerPolicy: 2})}, 0, 2},
		{"jobs of a policy do not count for another", []policy.Policy{limited(terabytes("a", 0, "disk", "c1", "c2"), policy.Limits{JobsPerPolicy: 1}), limited(terabytes("b", 0, "disk", "c3", "c4"), policy.Limits{JobsPerPolicy: 1})}, 0, 2},
		{"jobs of a client, over all policies", []policy.Policy{one, two}, 0, 1},
		{"jobs of this client, instead of each client's", []policy.Policy{exempt, exempt2}, 0, 2},
		{"jobs of a client do not count for another", []policy.Policy{limited(terabytes("a", 0, "disk", both...), policy.Limits{JobsPerClient: 1})}, 0, 4},
		{"jobs of a storage unit", []policy.Policy{terabytes("a", 0, "disk", both...)}, 3, 3},
		{"drives", []policy.Policy{terabytes("a", 0, "tape", both...)}, 0, 2},
	} {
		t.Run(c.rule, func(t *testing.T) {
			cfg := many(4)
			cfg.Domain.Units[1].MaxJobs = c.maxJobs
			n := newTrial(t, cfg)
			n.until(5 * time.Minute)
			n.put(c.policies...)
			for _, p := range c.policies {
				n.start(nbpem.Backup{Policy: p.Name})
			}
			n.until(day)
			js := n.jobs()
			for _, j := range js {
				if j.Status != 0 || !j.Done() {
					t.Errorf("job %d: %s, status %d, %s", j.ID, j.State, j.Status, j.Detail)
				}
			}
			if got := most(js); got != c.want {
				t.Errorf("%d jobs ran at a time, want %d", got, c.want)
			}
		})
	}
}

// Who comes first, and what nbrb says of those who wait.
func TestPriority(t *testing.T) {
	cfg := many(4)
	cfg.Domain.Units[1].MaxJobs = 1
	n := newTrial(t, cfg)
	n.until(5 * time.Minute)
	n.put(terabytes("first", 0, "disk", "c1"), terabytes("low", 10, "disk", "c2"), terabytes("high", 500, "disk", "c3"), terabytes("low too", 10, "disk", "c4"),
		terabytes("elsewhere", 0, "tape", "c1"))
	for _, p := range []string{"first", "low", "high", "low too", "elsewhere"} {
		n.start(nbpem.Backup{Policy: p})
		n.until(n.Mono() + time.Second)
	}
	var ws []nbrb.Waiter
	n.as("desk", func(ctx context.Context) (err error) {
		ws, err = nbrb.Waiters.Call(ctx, pbx.At("master", nbrb.Service), struct{}{})
		return err
	})
	var ids []int64
	for _, w := range ws {
		ids = append(ids, w.Job)
		if w.Why != "storage unit disk runs its 1 jobs" {
			t.Errorf("job %d waits because %s", w.Job, w.Why)
		}
	}
	if d := cmp.Diff([]int64{3, 2, 4}, ids); d != "" {
		t.Errorf("the queue: %s", d)
	}
	n.until(day)
	js := n.jobs()
	slices.SortFunc(js, func(a, b job.Job) int { return int(a.Started - b.Started) })
	var order []string
	for _, j := range js {
		order = append(order, j.Policy)
	}
	if d := cmp.Diff([]string{"first", "elsewhere", "high", "low", "low too"}, order); d != "" {
		t.Error(d)
	}
}

// Which unit of a group a job gets.
func TestGroups(t *testing.T) {
	for _, c := range []struct {
		rule    string
		group   nbemm.Group
		maxJobs int
		want    string
	}{
		{"by priority: the first that is free", nbemm.Group{Units: []string{"disk", "disk2"}}, 0, "disk disk disk disk"},
		{"by priority: the next when it is busy", nbemm.Group{Units: []string{"disk", "disk2"}}, 3, "disk disk disk disk2"},
		{"by priority: in the order given", nbemm.Group{Units: []string{"disk2", "disk"}}, 0, "disk2 disk2 disk2 disk2"},
		{"round robin: the least recently chosen", nbemm.Group{RoundRobin: true, Units: []string{"disk", "disk2"}}, 0, "disk disk2 disk disk2"},
		{"round robin: the other when it is busy", nbemm.Group{RoundRobin: true, Units: []string{"disk", "disk2"}}, 1, "disk disk2 disk2 disk2"},
		{"a unit that does not exist is left out", nbemm.Group{Units: []string{nowhere, "disk2"}}, 0, "disk2 disk2 disk2 disk2"},
	} {
		t.Run(c.rule, func(t *testing.T) {
			cfg := many(4)
			c.group.Name = "group"
			other := cfg.Domain.Units[1]
			other.Name, other.Path = "disk2", "/backups2"
			cfg.Domain.Units[1].MaxJobs = c.maxJobs
			cfg.Domain.Units = append(cfg.Domain.Units, other)
			cfg.Domain.Groups = []nbemm.Group{c.group}
			n := newTrial(t, cfg)
			n.until(5 * time.Minute)
			n.put(terabytes("a", 0, "group", "c1", "c2", "c3", "c4"))
			n.start(nbpem.Backup{Policy: "a"})
			n.until(n.Mono() + time.Minute)
			var units []string
			for _, j := range n.jobs() {
				units = append(units, j.StorageUnit)
			}
			if got := strings.Join(units, " "); got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
		})
	}
}
