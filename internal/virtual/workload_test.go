package virtual

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"capstan/core/job"
	"capstan/core/status"
	"capstan/internal/workload"
	"capstan/reports/answers"
	"capstan/reports/record"
	"capstan/scenarios"
)

// livingSite is a small site with a workload, for some days.
func livingSite(t *testing.T, drives, clients int, workload string) *scenarios.Scenario {
	t.Helper()
	s, err := scenarios.Load[scenarios.Scenario]("site.yaml", []byte(fmt.Sprintf(`
name: site
start: 2026-11-20T12:00:00Z
length: 8d
master: {name: master}
mediaServers: [{name: media1, link: 100Gbps, disk: 10GBps, diskSize: 1000TB}]
clients: [{name: "c%%02d", count: %d, link: 10Gbps}]
workload: %s
libraries:
  - {name: lib, host: media1, slots: 40, drives: [{name: "d%%d", count: %d, model: LTO-9}], cartridges: {count: 40, density: LTO-9}}
storageUnits:
  - {name: tape, kind: tape, mediaServer: media1, library: lib, density: LTO-9}
policies:
  - name: all
    clients: ["c*"]
    paths: [/data]
    storage: tape
    schedules:
      - {name: full, type: full, frequency: 30d, windows: [{start: "20:00", length: 10h}]}
      - {name: inc, type: differential, windows: [{start: "20:00", length: 10h}]}
`, clients, workload, drives)))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func runSite(t *testing.T, s *scenarios.Scenario) *Result {
	t.Helper()
	r, err := Run(s, Options{})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// Incremental backups take what has changed since the last, each night as much as the
// workload says; a full takes all.
func TestIncrementalsTakeWhatChanged(t *testing.T) {
	r := runSite(t, livingSite(t, 2, 3, `{clients: [{clients: ["*"], bytes: {law: constant, value: 100GB}, files: {law: constant, value: 10000}, change: {law: constant, value: 5%}}]}`))
	fulls, incrementals := 0, 0
	for _, j := range r.Jobs {
		want, files := 100e9, 10_000.
		if j.Schedule == "inc" {
			// Changed files are 1.08 times as large as others.
			want, files = 5e9, 500*52_033/34.9*47.1/75_916
			incrementals++
		} else {
			fulls++
		}
		if j.Status != status.OK || math.Abs(float64(j.Bytes)-want) > .01*want || math.Abs(float64(j.Files)-files) > .01*files+2 {
			t.Errorf("job %d, %s of %s: status %d, %d bytes in %d files, want about %g in %g", j.ID, j.Schedule, j.Client, j.Status, j.Bytes, j.Files, want, files)
		}
	}
	if fulls != 3 || incrementals != 3*7 {
		t.Errorf("%d full and %d incremental backups", fulls, incrementals)
	}
}

// key tells a job from all others, whatever its number.
type key struct {
	client, schedule string
	night            time.Duration
	restore          bool
}

func sizes(s *scenarios.Scenario, r *Result) map[key][2]int64 {
	all := map[key][2]int64{}
	for _, j := range r.Jobs {
		day := j.Created.Std().Sub(s.Start).Truncate(24 * time.Hour)
		all[key{j.Client, j.Schedule, day, j.Type == job.Restore}] = [2]int64{j.Bytes, j.Files}
	}
	return all
}

// Common random numbers, through whole runs: with more drives, and with a client more,
// each job that is in both moves the same bytes.
func TestWhatIfKeepsTheRest(t *testing.T) {
	const load = `{clients: [{clients: ["*"], nightly: {law: log-normal, mean: 1, sigma: 0.5}, growth: 30%, bursts: 20}]}`
	few, wide, many := livingSite(t, 1, 6, load), livingSite(t, 4, 6, load), livingSite(t, 1, 7, load)
	a, b, c := sizes(few, runSite(t, few)), sizes(wide, runSite(t, wide)), sizes(many, runSite(t, many))
	if len(a) != 6*8 {
		t.Fatalf("%d jobs", len(a))
	}
	if diff := cmp.Diff(a, b); diff != "" {
		t.Errorf("three drives more change what jobs move:\n%s", diff)
	}
	for k := range c {
		if k.client == "c07" {
			delete(c, k)
		}
	}
	if diff := cmp.Diff(a, c); diff != "" {
		t.Errorf("a client more changes what others' jobs move:\n%s", diff)
	}
}

// Some tries fail in their midst and are cured by the next; a misconfigured client
// fails until it is fixed, whatever is tried.
func TestFailuresOfTheWorkload(t *testing.T) {
	r := runSite(t, livingSite(t, 4, 20, `{clients: [{clients: ["*"], bytes: {law: constant, value: 50GB}, change: {law: constant, value: 20%}, transient: 20%}]}`))
	again, failed := 0, 0
	for _, j := range r.Jobs {
		if j.Try > 1 {
			again++
		}
		if !j.Status.Succeeded() {
			failed++
		}
	}
	// Of 160 jobs a fifth needs a second try, and a fifth of those fails again.
	if again < 20 || again > 50 || failed < 1 || failed > 16 {
		t.Errorf("of %d jobs %d were tried again and %d failed", len(r.Jobs), again, failed)
	}

	r = runSite(t, livingSite(t, 4, 20, `{clients: [{clients: ["*"], misconfigured: 20, fixed: {law: constant, value: 2.5}}]}`))
	nights := map[string]int{}
	for _, j := range r.Jobs {
		switch {
		case j.Status == status.NoFiles:
			nights[j.Client]++
		case !j.Status.Succeeded():
			t.Errorf("job %d of %s: status %d, %s", j.ID, j.Client, j.Status, j.Detail)
		}
	}
	if len(nights) < 3 || len(nights) > 15 {
		t.Errorf("%d of 20 clients were misconfigured in a week: %v", len(nights), nights)
	}
}

// Which tries fail depends on the policy, the schedule and the day, not on the order in
// which jobs run: two policies of the same clients fail alike whichever comes first, and
// whether the other is there at all.
func TestFailuresKeepTheirPolicies(t *testing.T) {
	type which struct {
		policy, schedule, client string
		night, nth               int
	}
	type how struct {
		Tries  int
		Status status.Code
	}
	fails := func(starts map[string]string) map[which]how {
		s := livingSite(t, 2, 6, `{clients: [{clients: ["*"], bytes: {law: constant, value: 20GB}, transient: 30%}]}`)
		one := s.Policies[0]
		s.Policies = nil
		for _, name := range slices.Sorted(maps.Keys(starts)) {
			p := one
			p.Name, p.Schedules = name, slices.Clone(one.Schedules)
			for i := range p.Schedules {
				sch := &p.Schedules[i]
				sch.Windows = []scenarios.Window{one.Schedules[i].Windows[0]}
				if err := sch.Windows[0].Start.UnmarshalText([]byte(starts[name])); err != nil {
					t.Fatal(err)
				}
			}
			s.Policies = append(s.Policies, p)
		}
		all := map[which]how{}
		for _, j := range runSite(t, s).Jobs {
			w := which{policy: j.Policy, schedule: j.Schedule, client: j.Client, night: int(j.Created.Std().Sub(s.Start).Hours() / 24)}
			for all[w] != (how{}) {
				w.nth++
			}
			all[w] = how{j.Try, j.Status}
		}
		return all
	}
	first := fails(map[string]string{"files": "20:00", "mail": "23:00"})
	again := 0
	for _, h := range first {
		if h.Tries > 1 {
			again++
		}
	}
	if again < 15 {
		t.Fatalf("%d jobs of %d were tried again", again, len(first))
	}
	if diff := cmp.Diff(first, fails(map[string]string{"files": "23:00", "mail": "20:00"})); diff != "" {
		t.Errorf("in another order other jobs fail:\n%s", diff)
	}
	maps.DeleteFunc(first, func(w which, _ how) bool { return w.policy != "mail" })
	if diff := cmp.Diff(first, fails(map[string]string{"mail": "23:00"})); diff != "" {
		t.Errorf("without the other policy other jobs fail:\n%s", diff)
	}
}

// Jobs of one schedule on one day are drawn each for itself.
func TestFailuresOfOneDay(t *testing.T) {
	s := livingSite(t, 2, 4, `{clients: [{clients: ["*"], bytes: {law: constant, value: 1GB}, transient: 30%}]}`)
	inc := &s.Policies[0].Schedules[1]
	for _, set := range []struct {
		to   *scenarios.Duration
		text string
	}{{&inc.Frequency, "1h"}, {&s.Length, "2d"}} {
		if err := set.to.UnmarshalText([]byte(set.text)); err != nil {
			t.Fatal(err)
		}
	}
	type night struct {
		client string
		day    int
	}
	once, again := map[night]int{}, map[night]int{}
	for _, j := range runSite(t, s).Jobs {
		n := night{j.Client, int(j.Created.Std().Sub(s.Start).Hours() / 24)}
		if j.Try == 1 {
			once[n]++
		} else {
			again[n]++
		}
	}
	mixed := 0
	for n := range again {
		if once[n] > 0 {
			mixed++
		}
	}
	if mixed < 4 {
		t.Errorf("in %d of 8 nights of a client some jobs were tried again and others not: once %v, again %v", mixed, once, again)
	}
}

func TestRestoresOfTheWorkload(t *testing.T) {
	r := runSite(t, livingSite(t, 2, 5, `{clients: [{clients: ["*"], bytes: {law: constant, value: 100GB}, change: {law: constant, value: 10%}}], restores: [{clients: ["*"], perDay: 4, bytes: {law: uniform, from: 10GB, to: 60GB}, age: {law: constant, value: 0}}]}`))
	n, sum := 0, int64(0)
	for _, j := range r.Jobs {
		if j.Type != job.Restore || !j.Done() {
			continue
		}
		if j.Status != status.OK || j.Bytes > 65e9 {
			t.Errorf("restore %d of %s: status %d, %d bytes, %s", j.ID, j.Client, j.Status, j.Bytes, j.Detail)
		}
		n, sum = n+1, sum+j.Bytes
	}
	if mean := float64(sum) / float64(n); n < 15 || n > 45 || mean < 20e9 || mean > 45e9 {
		t.Errorf("%d restores of %g bytes in the mean", n, mean)
	}
}

// How many cartridges will be free, as a week of a site foresees it, is what five weeks of
// it come to: its images are kept for five days, and more cartridges are never in use than
// those days take. A trend of that week would have them run out.
func TestSupplyIsForeseen(t *testing.T) {
	run := func(days int) (*answers.Answers, int) {
		s, err := scenarios.Load[scenarios.Scenario]("tapes.yaml", []byte(fmt.Sprintf(`
name: tapes
start: 2026-11-20T12:00:00Z
length: %dd
master: {name: master}
mediaServers: [{name: media1, link: 100Gbps}]
clients: [{name: "c%%02d", count: 6, link: 10Gbps, disk: 400MBps}]
workload: {clients: [{clients: ["*"], bytes: {law: uniform, from: 800GB, to: 1200GB}, change: {law: constant, value: 100%%}}]}
libraries:
  - {name: lib, host: media1, slots: 40, drives: [{name: "d%%d", count: 3, model: LTO-5}], cartridges: {count: 40, density: LTO-5}}
storageUnits: [{name: tape, kind: tape, mediaServer: media1, library: lib, density: LTO-5}]
policies:
  - {name: all, clients: ["c*"], paths: [/data], storage: tape, retention: 5d, schedules: [{name: full, type: full, windows: [{start: "20:00", length: 12h}]}]}
`, days)))
		if err != nil {
			t.Fatal(err)
		}
		var r record.Run
		if _, err := Run(s, Options{Record: &r, Quiet: true}); err != nil {
			t.Fatal(err)
		}
		fewest := s.Libraries[0].Cartridges.Count
		for _, l := range answers.Levels(&r) {
			fewest = min(fewest, l.Free)
		}
		return answers.Of(&r), fewest
	}
	week, _ := run(7)
	later, fewest := run(35)
	m := &week.Media
	if days := float64(m.Scratch) / m.PerDay; days > 10 {
		t.Fatalf("a trend would have the cartridges last for %.0f days: this tests nothing", days)
	}
	if !m.Lasts || m.Fewest < fewest-2 || m.Fewest > fewest+2 {
		t.Errorf("after a week: %+v; after five weeks the fewest were %d", m, fewest)
	}
	if rate := m.Taken / later.Media.Taken; !later.Media.Lasts || rate < .9 || rate > 1.1 {
		t.Errorf("after a week: %+v; after five weeks: %+v", m, later.Media)
	}
}

// Jobs that are played back begin when the trace says and move what it says.
func TestTraceIsPlayedBack(t *testing.T) {
	s := livingSite(t, 2, 3, `{jobs: [
  {at: 30h, client: c01, policy: all, schedule: full, bytes: 50GB, files: 20000},
  {at: 54h, client: c01, policy: all, schedule: inc, bytes: 3GB, files: 100},
  {at: 54h1m, client: c02, policy: all, bytes: 7GB},
  {at: 55h, client: c03, policy: all, schedule: inc, bytes: 800MB, files: 9}]}`)
	s.Policies[0].Active = false
	r := runSite(t, s)
	if len(r.Jobs) != len(s.Workload.Jobs) {
		t.Fatalf("%d jobs", len(r.Jobs))
	}
	for i, j := range r.Jobs {
		want := &s.Workload.Jobs[i]
		at := j.Created.Std().Sub(s.Start)
		if j.Status != status.OK || j.Client != want.Client || at < want.At.Std() || at > want.At.Std()+time.Second {
			t.Errorf("job %d of %s at %v: status %d, %s", j.ID, j.Client, at, j.Status, j.Detail)
		}
		// The directories that lead to the files are in the image too.
		if d := j.Bytes - int64(want.Bytes); d < 0 || d > 10_000 || j.Files-want.Files > 2 {
			t.Errorf("job %d moved %d bytes in %d files, want %d in %d", j.ID, j.Bytes, j.Files, want.Bytes, want.Files)
		}
	}
}

// A job keeps its number when it is tried again, whatever began meanwhile, and what was
// begun is not remembered for ever.
func TestTriesKeepTheirJobs(t *testing.T) {
	c := newLoad(livingSite(t, 1, 2, `{clients: [{clients: ["*"]}]}`), 1).clients["c01"]
	for _, q := range []struct {
		id            int64
		schedule      string
		day, try, nth int
	}{
		{10, "inc", 1, 1, 1},
		{11, "inc", 1, 1, 2},
		{10, "inc", 1, 2, 1},
		{12, "full", 1, 1, 1},
		{11, "inc", 1, 2, 2},
		{13, "inc", 2, 1, 1},
		{11, "inc", 1, 3, 2}, // after midday
		{14, "inc", 1, 1, 3}, // had waited
		{13, "inc", 2, 2, 1},
	} {
		want := workload.Try{Policy: "all", Schedule: q.schedule, Day: q.day, Job: q.nth, Try: q.try}
		if got := c.try(&job.Job{ID: q.id, Policy: "all", Schedule: q.schedule, Try: q.try}, q.day); got != want {
			t.Errorf("job %d: %+v, want %+v", q.id, got, want)
		}
	}
	for i := range 200 {
		c.try(&job.Job{ID: int64(100 + i), Policy: "all", Schedule: "inc", Try: 1}, 3+i/2)
	}
	if len(c.jobs) > 4 {
		t.Errorf("%d jobs are remembered of two a day", len(c.jobs))
	}
}
