package virtual

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"capstan/core/bpdbm"
	"capstan/core/bpjobd"
	"capstan/core/image"
	"capstan/core/job"
	"capstan/core/nbjm"
	"capstan/core/nbpem"
	"capstan/core/pbx"
	"capstan/core/policy"
	"capstan/core/rt"
	simtree "capstan/sim/tree"
)

// nowhere is a storage unit that does not exist: every job for it fails at once with 213.
const nowhere = "nowhere"

// seen is how a job looks in the tables below.
func seen(j *job.Job) string {
	s := fmt.Sprintf("%s %s", wall(j.Created), j.Schedule)
	if !j.Done() {
		return s + " " + string(j.State)
	}
	return fmt.Sprintf("%s %d", s, j.Status)
}

func (n *trial) seen() (all []string) {
	n.t.Helper()
	js := n.jobs()
	for i := range js {
		all = append(all, seen(&js[i]))
	}
	return all
}

// What runs when, by frequency and window.
func TestSchedules(t *testing.T) {
	full := func(frequency time.Duration, w []policy.Window) policy.Schedule {
		return policy.Schedule{Name: "full", Type: policy.Full, Frequency: frequency, Windows: w}
	}
	inc := func(frequency time.Duration, w []policy.Window) policy.Schedule {
		return policy.Schedule{Name: "inc", Type: policy.Differential, Frequency: frequency, Windows: w}
	}
	evening := from(18*hour, 6*hour)
	inactive := onDisk(full(day, evening))
	inactive.Active = false
	berlin := onDisk(full(day, evening))
	berlin.Zone = "Europe/Berlin"
	for _, c := range []struct {
		rule   string
		policy policy.Policy
		length time.Duration
		want   []string // jobs: when, schedule, status
		types  []string // of their images
	}{
		{"a full backup each day, when the window opens", onDisk(full(day, evening)), 2 * day,
			[]string{"Wed 18:00 full 0", "Thu 18:00 full 0"}, []string{"FULL", "FULL"}},
		{"a full once a week and an incremental on the other days", onDisk(inc(day, evening), full(7*day, evening)), 8 * day,
			[]string{"Wed 18:00 full 0", "Thu 18:00 inc 0", "Fri 18:00 inc 0", "Sat 18:00 inc 0", "Sun 18:00 inc 0", "Mon 18:00 inc 0", "Tue 18:00 inc 0", "Wed 18:00 full 0"},
			[]string{"FULL", "INCR", "INCR", "INCR", "INCR", "INCR", "INCR", "FULL"}},
		{"an incremental with nothing to build on is a full backup", onDisk(inc(day, evening)), 2 * day,
			[]string{"Wed 18:00 inc 0", "Thu 18:00 inc 0"}, []string{"FULL", "INCR"}},
		{"each schedule in its own window", onDisk(full(7*day, []policy.Window{{Days: []time.Weekday{time.Friday}, Start: 20 * hour, Length: hour}}), inc(day, evening)), 3 * day,
			[]string{"Wed 18:00 inc 0", "Thu 18:00 inc 0", "Fri 18:00 inc 0", "Fri 20:00 full 0"}, []string{"FULL", "INCR", "INCR", "FULL"}},
		{"several times in one window", onDisk(full(2*hour, evening)), 12 * hour,
			[]string{"Wed 18:00 full 0", "Wed 20:00 full 0", "Wed 22:00 full 0"}, []string{"FULL", "FULL", "FULL"}},
		{"in the policy's zone", berlin, 12 * hour, []string{"Wed 16:00 full 0"}, []string{"FULL"}},
		{"an inactive policy does nothing", inactive, 2 * day, nil, nil},
		{"a schedule without a window is for backups by hand", onDisk(full(day, nil)), 2 * day, nil, nil},
	} {
		t.Run(c.rule, func(t *testing.T) {
			n := newTrial(t, small())
			n.put(c.policy)
			n.until(c.length)
			if d := cmp.Diff(c.want, n.seen()); d != "" {
				t.Error(d)
			}
			images := n.images()
			var types []string
			for i, h := range images {
				types = append(types, h.Type)
				if h.Type == string(policy.Differential) && h.Since != images[i-1].Began {
					t.Errorf("%s holds what changed since %v, the backup before began at %v", h.ID, h.Since, images[i-1].Began)
				}
			}
			if d := cmp.Diff(c.types, types); d != "" {
				t.Error(d)
			}
		})
	}
}

func (n *trial) images() (all []image.Header) {
	n.t.Helper()
	n.as("desk", func(ctx context.Context) error {
		p, err := bpdbm.Images.Call(ctx, pbx.At("master", bpdbm.Service), bpdbm.Query{})
		all = p.Images
		return err
	})
	return all
}

// A schedule with a window and no frequency would never stop.
func TestScheduleNeedsFrequency(t *testing.T) {
	n := newTrial(t, small())
	n.as("desk", func(ctx context.Context) error {
		_, err := nbpem.PutPolicy.Call(ctx, pbx.At("master", nbpem.Service), onDisk(policy.Schedule{Name: "s", Type: policy.Full, Windows: from(0, hour)}))
		if err == nil {
			t.Error("a schedule with a window and no frequency is taken")
		}
		return nil
	})
}

// Two tries in twelve hours, judged from what has failed, ten minutes apart.
func TestTries(t *testing.T) {
	failing := func(windows ...policy.Window) policy.Policy {
		p := onDisk(policy.Schedule{Name: "s", Type: policy.Full, Frequency: day, Windows: windows})
		p.Storage = nowhere
		return p
	}
	w := func(start, length time.Duration) policy.Window { return policy.Window{Start: start, Length: length} }
	for _, c := range []struct {
		rule   string
		policy policy.Policy
		byHand []time.Duration // after noon
		want   []string
		tries  []int
	}{
		{"one more try of the same job, and one whenever a failure has aged out", failing(w(18*hour, 14*hour)), nil,
			[]string{"Wed 18:00 s 213", "Thu 06:00 s 213", "Thu 06:10 s 213"}, []int{2, 1, 1}},
		{"failures by hand at 18:00 and 20:00: none at 23:00, one at 06:30", failing(w(23*hour, hour/2), w(6*hour+hour/2, hour)), []time.Duration{6 * hour, 8 * hour},
			[]string{"Wed 18:00 s 213", "Wed 20:00 s 213", "Thu 06:30 s 213"}, []int{1, 1, 1}},
		{"no second try once the window has closed", failing(w(18*hour, 5*time.Minute)), nil,
			[]string{"Wed 18:00 s 213"}, []int{1}},
		{"one failure by hand leaves room for one try", failing(w(20*hour, hour)), []time.Duration{6 * hour},
			[]string{"Wed 18:00 s 213", "Wed 20:00 s 213"}, []int{1, 1}},
	} {
		t.Run(c.rule, func(t *testing.T) {
			n := newTrial(t, small())
			n.put(c.policy)
			for _, at := range c.byHand {
				n.until(at)
				n.start(nbpem.Backup{Policy: "p"})
			}
			n.until(19*hour + 55*time.Minute)
			if d := cmp.Diff(c.want, n.seen()); d != "" {
				t.Error(d)
			}
			var tries []int
			for _, j := range n.jobs() {
				tries = append(tries, j.Try)
				if j.Try == 2 && j.Ended.Sub(j.Created).Round(time.Minute) != 10*time.Minute {
					t.Errorf("the second try ended %v after the first began", j.Ended.Sub(j.Created))
				}
			}
			if d := cmp.Diff(c.tries, tries); d != "" {
				t.Error(d)
			}
		})
	}
}

// A success wipes out what has failed before.
func TestSuccessForgivesFailures(t *testing.T) {
	n := newTrial(t, small())
	p := onDisk(policy.Schedule{Name: "s", Type: policy.Full, Frequency: hour, Windows: from(20*hour, 4*hour)})
	n.put(p)
	n.until(6 * hour)
	for range 2 {
		n.start(nbpem.Backup{Policy: "p", Storage: nowhere})
		n.until(n.Mono() + time.Minute)
	}
	n.start(nbpem.Backup{Policy: "p"})
	n.until(8*hour + 30*time.Minute)
	if d := cmp.Diff([]string{"Wed 18:00 s 213", "Wed 18:01 s 213", "Wed 18:02 s 0", "Wed 20:00 s 0"}, n.seen()); d != "" {
		t.Error(d)
	}
}

// A job that is still queued when its window closes ends with 196, which is no
// failed try; one that runs goes on.
func TestWindowCloses(t *testing.T) {
	s := policy.Schedule{Name: "s", Type: policy.Full, Frequency: hour, Windows: []policy.Window{{Start: 18 * hour, Length: 10 * time.Minute}, {Start: 20 * hour, Length: 10 * time.Minute}, {Start: 22 * hour, Length: 10 * time.Minute}}}
	t.Run("queued", func(t *testing.T) {
		n := newTrial(t, small())
		n.until(time.Minute)
		n.Isolate("media1")
		n.Host("master").Restart(time.Second) // which cannot learn that the drives are up
		n.until(2 * time.Minute)
		p := onDisk(s)
		p.Storage = "tape"
		n.put(p)
		n.until(6*hour + 5*time.Minute)
		if js := n.jobs(); len(js) != 1 || js[0].Waiting != "no drive of library tld0 is up at media server media1" {
			t.Errorf("%+v", js)
		}
		n.until(11 * hour)
		if d := cmp.Diff([]string{"Wed 18:00 s 196", "Wed 20:00 s 196", "Wed 22:00 s 196"}, n.seen()); d != "" {
			t.Error(d)
		}
		for _, j := range n.jobs() {
			if d := j.Ended.Sub(j.Created).Round(time.Second); d != 10*time.Minute || j.Started != 0 {
				t.Errorf("job %d was cancelled after %v", j.ID, d)
			}
		}
	})
	t.Run("active", func(t *testing.T) {
		n := newTrial(t, many(1))
		p := onDisk(s)
		p.Clients = []string{"c1"}
		n.put(p)
		n.until(7 * hour)
		js := n.jobs()
		if len(js) != 1 || js[0].Status != 0 || js[0].Ended.Sub(js[0].Created) < 15*time.Minute {
			t.Errorf("%+v", js)
		}
	})
}

// many is a domain with clients c1 to cN, each with a terabyte of hollow data,
// which takes the disk unit a thousand seconds alone, and half an hour or so a drive.
func many(clients int) Config {
	cfg := small()
	cfg.Hosts = cfg.Hosts[:2]
	for i := range clients {
		name := fmt.Sprintf("c%d", i+1)
		cfg.Hosts = append(cfg.Hosts, Host{Name: name, Kinds: pbx.Client, Fill: func(ctx context.Context, fs *simtree.FS) error {
			return fs.AddHollow(ctx, "/data", simtree.Hollow{Files: 1000, Bytes: 1e12}, rt.Rand(ctx, name, "files"))
		}})
	}
	cfg.Domain.Policies = nil
	return cfg
}

// A backup by hand waits neither for a window nor for the task's own job, nor for
// what has failed.
func TestByHandDoesNotWait(t *testing.T) {
	n := newTrial(t, small())
	p := onDisk(policy.Schedule{Name: "s", Type: policy.Full, Frequency: day, Windows: from(18*hour, 2*hour)})
	p.Storage = nowhere
	n.put(p)
	n.until(6*hour + 5*time.Minute) // the planned job waits for its second try
	for range 3 {
		n.start(nbpem.Backup{Policy: "p", Storage: "disk"})
	}
	n.until(6*hour + 6*time.Minute)
	want := []string{"Wed 18:00 s Waiting to Retry", "Wed 18:05 s 0", "Wed 18:05 s 0", "Wed 18:05 s 0"}
	if d := cmp.Diff(want, n.seen()); d != "" {
		t.Error(d)
	}
	n.until(10 * hour)
	want[0] = "Wed 18:00 s 213" // the backups by hand did its work
	if d := cmp.Diff(want, n.seen()); d != "" {
		t.Error(d)
	}
}

// What a jump of the wall clock does to a plan: the clock is what counts.
func TestClockJumps(t *testing.T) {
	for _, c := range []struct {
		rule string
		at   time.Duration // after noon
		jump time.Duration
		want time.Duration // after noon, by a clock that did not jump, to the minute
	}{
		{"none", hour, 0, 6 * hour},
		{"forward, into the window", hour, 6 * hour, hour},
		{"forward, not yet into it", hour, 3 * hour, 3 * hour},
		{"back", 5 * hour, -2 * hour, 8 * hour},
		{"forward, over the window to the next", hour, 13 * hour, hour + 16*hour},
	} {
		t.Run(c.rule, func(t *testing.T) {
			n := newTrial(t, small())
			n.put(onDisk(policy.Schedule{Name: "s", Type: policy.Full, Frequency: 7 * day, Windows: from(18*hour, 4*hour)}))
			n.until(c.at)
			n.Host("master").JumpClock(c.jump)
			if c.want > c.at {
				n.until(c.want - 10*time.Second)
			}
			if js := n.jobs(); len(js) != 0 && c.want > c.at {
				t.Fatalf("it ran too early: %s", seen(&js[0]))
			}
			n.until(c.want + 3*time.Minute)
			if js := n.jobs(); len(js) != 1 || js[0].Status != 0 {
				t.Errorf("%d jobs", len(js))
			}
		})
	}
}

// What is done to a policy while its task waits counts at once.
func TestPolicyChanges(t *testing.T) {
	base := onDisk(policy.Schedule{Name: "s", Type: policy.Full, Frequency: day, Windows: from(18*hour, 4*hour)})
	change := func(fn func(p *policy.Policy)) func(n *trial) {
		return func(n *trial) {
			p := base
			p.Storage = "disk"
			fn(&p)
			n.put(p)
		}
	}
	remove := func(n *trial) {
		n.as("desk", func(ctx context.Context) error {
			_, err := nbpem.DeletePolicy.Call(ctx, pbx.At("master", nbpem.Service), "p")
			return err
		})
	}
	earlier := []policy.Schedule{{Name: "early", Type: policy.Full, Frequency: day, Windows: from(15*hour, hour)}}
	for _, c := range []struct {
		rule    string
		storage string
		at      time.Duration // after noon
		change  func(n *trial)
		want    []string
	}{
		{"another window", "disk", 2 * hour, change(func(p *policy.Policy) { p.Schedules = earlier }), []string{"Wed 15:00 early 0"}},
		{"deactivated", "disk", 2 * hour, change(func(p *policy.Policy) { p.Active = false }), nil},
		{"deleted", "disk", 2 * hour, remove, nil},
		{"deleted and put again", "disk", 2 * hour, func(n *trial) { remove(n); n.put(base) }, []string{"Wed 18:00 s 0"}},
		{"without the client", "disk", 2 * hour, change(func(p *policy.Policy) { p.Clients = []string{"media1"} }), []string{"Wed 18:00 s 58 media1"}},
		{"mended before the second try", nowhere, 6*hour + 5*time.Minute, change(func(*policy.Policy) {}), []string{"Wed 18:00 s 0"}},
		{"deactivated before the second try", nowhere, 6*hour + 5*time.Minute, change(func(p *policy.Policy) { p.Active = false }), []string{"Wed 18:00 s 213"}},
		{"deleted before the second try", nowhere, 6*hour + 5*time.Minute, remove, []string{"Wed 18:00 s 213"}},
	} {
		t.Run(c.rule, func(t *testing.T) {
			n := newTrial(t, small())
			p := base
			p.Storage = c.storage
			n.put(p)
			n.until(c.at)
			c.change(n)
			n.until(9 * hour)
			var got []string
			for _, j := range n.jobs() {
				s := seen(&j)
				if j.Client != "client1" {
					s += " " + j.Client
				}
				got = append(got, s)
			}
			if d := cmp.Diff(c.want, got); d != "" {
				t.Error(d)
			}
		})
	}
}

// The master's restart forgets neither what has succeeded nor what has failed.
func TestRestartKeepsHistory(t *testing.T) {
	for _, c := range []struct {
		rule    string
		storage string
		length  time.Duration
		want    []string
	}{
		{"a success", "disk", 30*hour + 5*time.Minute, []string{"Wed 18:00 s 0", "Thu 18:00 s 0"}},
		{"two failures", nowhere, 29 * hour, []string{"Wed 18:00 s 213", "Thu 06:00 s 213", "Thu 06:10 s 213"}},
	} {
		t.Run(c.rule, func(t *testing.T) {
			n := newTrial(t, small())
			p := onDisk(policy.Schedule{Name: "s", Type: policy.Full, Frequency: day, Windows: from(18*hour, 13*hour)})
			p.Storage = c.storage
			n.put(p)
			for range 3 {
				n.until(n.Mono() + 7*hour)
				n.Host("master").Restart(time.Minute)
			}
			n.until(c.length)
			if d := cmp.Diff(c.want, n.seen()); d != "" {
				t.Error(d)
			}
		})
	}
}

// The worklist says what a task will do next.
func TestWorklistShowsThePlan(t *testing.T) {
	n := newTrial(t, small())
	n.put(onDisk(policy.Schedule{Name: "s", Type: policy.Full, Frequency: day, Windows: from(18*hour, hour)}))
	n.as("desk", func(ctx context.Context) error {
		if err := rt.Sleep(ctx, time.Second); err != nil {
			return err
		}
		due, err := nbpem.Worklist.Call(ctx, pbx.At("master", nbpem.Service), struct{}{})
		want := nbpem.Due{Policy: "p", Client: "client1", Schedule: "s", At: noon.Add(6 * hour)}
		for _, d := range due {
			if d.Policy == "p" {
				if diff := cmp.Diff(want, d); diff != "" {
					t.Error(diff)
				}
				return err
			}
		}
		t.Errorf("the worklist is %+v", due)
		return err
	})
}

// logOf is the text of a job's log.
func (n *trial) logOf(id int64) (lines []string) {
	n.t.Helper()
	n.as("desk", func(ctx context.Context) error {
		p, err := bpjobd.ReadLog.Call(ctx, pbx.At("master", bpjobd.Service), bpjobd.LogQuery{Job: id})
		for _, l := range p.Lines {
			lines = append(lines, l.Role+": "+l.Text)
		}
		return err
	})
	return lines
}

// A job that waits to be tried again can be cancelled; it counts as a second
// failure, so that nothing starts in its place.
func TestCancelWaiting(t *testing.T) {
	n := newTrial(t, small())
	p := onDisk(policy.Schedule{Name: "s", Type: policy.Full, Frequency: day, Windows: from(18*hour, 6*hour)})
	p.Storage = nowhere
	n.put(p)
	n.until(6*hour + 5*time.Minute)
	n.as("desk", func(ctx context.Context) error {
		_, err := nbjm.Cancel.Call(ctx, pbx.At("master", nbjm.Service), nbjm.CancelJob{Job: 1})
		return err
	})
	n.until(12 * hour)
	if d := cmp.Diff([]string{"Wed 18:00 s 150"}, n.seen()); d != "" {
		t.Error(d)
	}
}
