package record

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"capstan/core/job"
	"capstan/core/policy"
	"capstan/core/rt"
	"capstan/core/status"
	"capstan/core/trace"
)

const sec = rt.Time(time.Second)

// noon is when the tests' runs begin.
var noon = rt.FromStd(time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC))

func event(j int64, what string, from, to rt.Time) trace.Event {
	return trace.Event{Begin: trace.Stamp{Wall: noon + from}, End: trace.Stamp{Wall: noon + to}, Job: trace.Job{ID: j, Try: 1}, What: what}
}

// told records one backup to tape whose every second is accounted for.
func told(t *testing.T, sink Sink) {
	t.Helper()
	resources := []Resource{{Name: "lib", Kind: Robot}, {Name: "d1", Kind: Drive, Library: "lib", Rate: 100}, {Name: "media1 nic in", Kind: Network, Rate: 1000}}
	r := NewRecorder(sink, append(resources, Resource{Name: "c1 disk", Kind: Source}))
	waited := func(why string, d, to rt.Time) trace.Event {
		e := event(1, trace.Waited, to-d, to)
		e.Detail = why
		return e
	}
	device := func(what, media string, from, to rt.Time) trace.Event {
		e := event(1, what, from, to)
		e.Drive, e.Media = "d1", media
		return e
	}
	send := func(es ...trace.Event) {
		for i := range es {
			r.Event(&es[i])
		}
	}
	send(waited("limit", 20*sec, 100*sec), waited("drive", 80*sec, 100*sec))
	send(event(1, "nbjm.Granted", 100*sec, 100*sec))
	send(device(trace.Moved, "A1", 101*sec, 111*sec), device(trace.Mounted, "A1", 101*sec, 126*sec))
	send(event(1, "position", 126*sec, 140*sec))
	r.Moved(trace.Job{ID: 1}, []string{"c1 disk", "media1 nic in", "d1"}, "c1 disk", noon+140*sec, noon+200*sec, 3000)
	r.Moved(trace.Job{ID: 1}, []string{"c1 disk", "media1 nic in", "d1"}, "d1", noon+200*sec, noon+300*sec, 10_000)
	send(event(1, "write blocks", 140*sec, 310*sec))
	send(device(trace.Moved, "", 400*sec, 408*sec), device(trace.Unmounted, "", 310*sec, 408*sec))
	j := job.Job{
		ID: 1, Type: job.Backup, State: job.Completed, Try: 1, Policy: "p", Schedule: "full", Client: "c1", MediaServer: "media1", StorageUnit: "tape",
		Drive: "d1", Media: []string{"A1"}, Bytes: 13_000, Files: 2, Created: noon, Started: noon + 100*sec, Ended: noon + 410*sec,
	}
	r.Job(&j, policy.Span{Open: noon, Close: noon + 3600*sec}, noon+3600*sec)
	queued := job.Job{ID: 2, Type: job.Restore, State: job.Queued, Client: "c1", Created: noon + 500*sec}
	r.Job(&queued, policy.Span{}, noon+3600*sec)
	r.Volumes(Volumes{At: noon, Library: "lib", Scratch: 3})
	r.Volumes(Volumes{At: noon + 10*sec, Library: "lib", Scratch: 3}) // nothing new
	r.Volumes(Volumes{At: noon + 3600*sec, Library: "lib", Scratch: 2, Active: 1, Bytes: 13_000})
	if err := r.Finish(Head{Scenario: "one job", Seed: 7, Start: noon, Length: time.Hour, Resources: resources}); err != nil {
		t.Fatal(err)
	}
}

func TestRecorder(t *testing.T) {
	var run Run
	told(t, &run)
	const s = time.Second
	want := Spent{Limit: 20 * s, Queue: 80 * s, Robot: 18 * s, Position: 15*s + 14*s + 10*s + 90*s, Source: 60 * s, Drive: 100 * s, Other: 3 * s}
	j := &run.Jobs[0]
	if d := cmp.Diff(want, j.Spent); d != "" || j.Spent.Total() != j.Elapsed() {
		t.Errorf("where the time went: %s", d)
	}
	if j.Started != noon+100*sec || j.Mounted != noon+126*sec || j.First != noon+140*sec || j.Last != noon+300*sec || j.Closes != noon+3600*sec {
		t.Errorf("the job's times: %+v", j)
	}
	if o := &run.Jobs[1]; !o.Open || o.Ended != noon+3600*sec || o.Spent.Total() != o.Elapsed() {
		t.Errorf("the job that waits still: %+v", o)
	}
	mounts := []Mount{{Job: 1, Drive: "d1", Media: "A1", Asked: noon + 101*sec, Robot: 10 * s, Ready: noon + 126*sec, Released: noon + 310*sec, Empty: noon + 408*sec}}
	if d := cmp.Diff(mounts, run.Mounts); d != "" {
		t.Error(d)
	}
	use := []Use{
		{At: noon, Name: "d1", Kind: Drive, Bytes: 13_000, Write: 100 * s, Slow: 60 * s, Position: 14 * s, Load: 15*s + 90*s, Held: 184 * s},
		{At: noon, Name: "lib", Kind: Robot, Busy: 18 * s},
		{At: noon, Name: "media1 nic in", Kind: Network, Bytes: 13_000},
	}
	if d := cmp.Diff(use, run.Use); d != "" {
		t.Error(d)
	}
	if len(run.Volumes) != 2 {
		t.Errorf("counts of cartridges: %+v", run.Volumes)
	}
}

// The time in which what stayed in a drive is taken home, before another cartridge is
// mounted there, counts once.
func TestMountThatMakesRoom(t *testing.T) {
	var run Run
	r := NewRecorder(&run, []Resource{{Name: "d1", Kind: Drive}})
	for _, e := range []trace.Event{
		event(1, trace.Unmounted, 0, 5*sec),
		event(2, trace.Unmounted, 10*sec, 30*sec), event(2, trace.Mounted, 8*sec, 60*sec),
	} {
		e.Drive = "d1"
		r.Event(&e)
	}
	if err := r.Finish(Head{Start: noon, Length: time.Hour}); err != nil {
		t.Fatal(err)
	}
	if got := run.Use[0].Load; got != 57*time.Second {
		t.Errorf("the drive loaded for %v, want 57s", got)
	}
}

// What the real world knows: nobody sees which resource was tight, but the job's
// two ends were watched.
func TestPaced(t *testing.T) {
	for _, c := range []struct {
		detail string
		want   Kind
	}{{"source", Source}, {"device", Drive}, {"neither", Drive}} {
		var run Run
		r := NewRecorder(&run, []Resource{{Name: "d1", Kind: Drive, Library: "lib"}})
		mount := event(1, trace.Mounted, 0, 10*sec)
		mount.Drive = "d1"
		write := event(1, "write blocks", 10*sec, 100*sec)
		paced := event(1, trace.Paced, 10*sec, 100*sec)
		paced.Detail = c.detail
		for _, e := range []trace.Event{mount, write, paced} {
			r.Event(&e)
		}
		j := job.Job{ID: 1, Type: job.Backup, State: job.Completed, Drive: "d1", Bytes: 900, Created: noon, Ended: noon + 100*sec}
		r.Job(&j, policy.Span{}, 0)
		if err := r.Finish(Head{Start: noon, Length: time.Hour}); err != nil {
			t.Fatal(err)
		}
		if got := run.Jobs[0].Spent; got[c.want] != 90*time.Second || got[Position] != 10*time.Second {
			t.Errorf("%s: %v", c.detail, got)
		}
		if u := run.Use[0]; u.Bytes != 900 || u.Slow+u.Write != 90*time.Second || (u.Slow > 0) != (c.want == Source) {
			t.Errorf("%s: use %+v", c.detail, u)
		}
	}
}

// Whatever is told of a job, and in however many stretches, its time adds up; and
// adding up early changes nothing of what transfers are attributed to.
func TestSpentAddsUp(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		at := rt.Time(0)
		var early, late progress
		early.settled, late.settled = Spent{}, Spent{}
		for range rapid.IntRange(0, 60).Draw(t, "stretches") {
			from := at + rt.Time(rapid.IntRange(0, 3).Draw(t, "pause"))
			at = from + rt.Time(rapid.IntRange(1, 50).Draw(t, "length"))
			k := rapid.SampledFrom(Kinds()).Draw(t, "kind")
			early.add(rankFlow, k, noon+from, noon+at)
			late.add(rankFlow, k, noon+from, noon+at)
			if rapid.Bool().Draw(t, "settle") {
				early.settle(noon + at)
			}
		}
		for range rapid.IntRange(0, 5).Draw(t, "others") {
			from := rt.Time(rapid.IntRange(0, 3000).Draw(t, "from"))
			late.add(rank(rapid.IntRange(1, int(ranks)-1).Draw(t, "rank")), rapid.SampledFrom(Kinds()).Draw(t, "kind"), noon+from, noon+from+10)
		}
		queued, ended := noon, noon+at+rt.Time(rapid.IntRange(0, 10).Draw(t, "rest"))
		a, b := early.spent(queued, ended, true), late.spent(queued, ended, true)
		if a.Total() != ended.Sub(queued) || b.Total() != ended.Sub(queued) {
			t.Fatalf("%v of %v, %v", a.Total(), ended.Sub(queued), b.Total())
		}
	})
}

func TestDirectory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	w, err := Create(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Read(dir); err == nil || !strings.Contains(err.Error(), "not finished") {
		t.Errorf("a run that is not finished: %v", err)
	}
	told(t, w)
	var want Run
	told(t, &want)
	got, err := Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(&want, got); d != "" {
		t.Error(d)
	}
	if _, err := Create(dir); err == nil {
		t.Error("a run was written over")
	}
	all, err := ReadAll(filepath.Dir(dir))
	if err != nil || len(all) != 1 {
		t.Errorf("%d runs, %v", len(all), err)
	}
	line, _ := os.ReadFile(filepath.Join(dir, jobsFile))
	if n := strings.IndexByte(string(line), '\n'); n > 1024 {
		t.Errorf("a job takes %d bytes", n)
	}
}

// files are those of a small run.
func files(t *testing.T) fstest.MapFS {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "run")
	w, err := Create(dir)
	if err != nil {
		t.Fatal(err)
	}
	told(t, w)
	m := fstest.MapFS{}
	for _, name := range []string{headFile, jobsFile, mountsFile, mediaFile, useFile} {
		b, err := fs.ReadFile(os.DirFS(dir), name)
		if err != nil {
			t.Fatal(err)
		}
		m[name] = &fstest.MapFile{Data: b}
	}
	return m
}

func TestDamage(t *testing.T) {
	for _, c := range []struct{ file, old, new, want string }{
		{headFile, `"version": 1`, `"version": 9`, "version 9, this program reads 1"},
		{headFile, `{`, `[`, "run.json: "},
		{headFile, `"jobs": 2`, `"jobs": 3`, "2 lines, run.json says 3"},
		{headFile, `"jobs": 2`, `"jobs": 1`, "more than the 1 lines"},
		{headFile, `"jobs": 2`, `"jobs": -2`, "-2 records"},
		{headFile, `"length": 36`, `"warmup": 7200000000000, "length": 36`, "to be left out"},
		{headFile, `"length": 36`, `"cartridges": [{"library": "lib", "taken": -1}], "length": 36`, "cartridge 0 of library lib: a time is below 0"},
		{jobsFile, `"id":1,`, `"id":-1,`, "jobs.ndjson:1: a job has number -1"},
		{jobsFile, `"type":"Restore"`, `"type":"Rest"`, `jobs.ndjson:2: job 2: type "Rest"`},
		{jobsFile, `"limit":20000000000`, `"limit":20000000001`, "adds up to"},
		{jobsFile, `"limit":`, `"luck":`, `on "luck"`},
		{jobsFile, `"client":"c1"`, `"client":"` + strings.Repeat("x", maxLine) + `"`, "jobs.ndjson:1: "},
		{mountsFile, `"robot":10`, `"robot":-10`, "mounts.ndjson:1: "},
		{mediaFile, `"scratch":3`, `"scratch":-3`, "media.ndjson:1: "},
		{useFile, `"kind":"robot"`, `"kind":"wheel"`, `use.ndjson:2: use of lib: kind "wheel"`},
	} {
		m := files(t)
		b := string(m[c.file].Data)
		if !strings.Contains(b, c.old) {
			t.Fatalf("%s has no %s:\n%s", c.file, c.old, b)
		}
		m[c.file] = &fstest.MapFile{Data: []byte(strings.Replace(b, c.old, c.new, 1))}
		if _, err := read(m, "RUN"); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s with %.60s: %v; want %q", c.file, c.new, err, c.want)
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte(`{"id":1,"type":"Backup","queued":1,"ended":3,"spent":{"drive":2}}`+"\n"), []byte(`{"version":1,"jobs":1}`))
	f.Add([]byte("{}\n{}\n"), []byte(`{"version":1,"jobs":2,"start":-1}`))
	f.Fuzz(func(t *testing.T, jobs, head []byte) {
		m := fstest.MapFS{mountsFile: {}, mediaFile: {}, useFile: {}, jobsFile: {Data: jobs}, headFile: {Data: head}}
		r, err := read(m, "RUN")
		if err != nil {
			return
		}
		for i := range r.Jobs {
			if r.Jobs[i].Spent.Total() != r.Jobs[i].Elapsed() {
				t.Errorf("job %+v was read", r.Jobs[i])
			}
		}
	})
}

func TestWindows(t *testing.T) {
	p := policy.Policy{Name: "p", Zone: "UTC", Schedules: []policy.Schedule{{Name: "full", Windows: []policy.Window{{Start: 20 * time.Hour, Length: 10 * time.Hour}}}}}
	w := NewWindows([]policy.Policy{p})
	at := func(h int) rt.Time { return noon.Add(time.Duration(h) * time.Hour) }
	for _, c := range []struct {
		j    job.Job
		want policy.Span
	}{
		{job.Job{Type: job.Backup, Policy: "p", Schedule: "full", Created: at(9)}, policy.Span{Open: at(8), Close: at(18)}},
		{job.Job{Type: job.Backup, Policy: "p", Schedule: "full", Created: at(17)}, policy.Span{Open: at(8), Close: at(18)}},
		{job.Job{Type: job.Backup, Policy: "p", Schedule: "full", Created: at(19)}, policy.Span{}},
		{job.Job{Type: job.Backup, Policy: "p", Schedule: "none", Created: at(9)}, policy.Span{}},
		{job.Job{Type: job.Restore, Created: at(9)}, policy.Span{}},
	} {
		if got := w.Of(&c.j); got != c.want {
			t.Errorf("%+v: %v, want %v", c.j, got, c.want)
		}
	}
}

// A long text does not make a long record.
func TestShort(t *testing.T) {
	var run Run
	r := NewRecorder(&run, nil)
	j := job.Job{ID: 1, Type: job.Backup, State: job.Completed, Status: status.MediaWrite, Detail: strings.Repeat("ö", 5000), Created: noon, Ended: noon + sec, Media: make([]string, 100)}
	r.Job(&j, policy.Span{}, 0)
	if got := run.Jobs[0]; len(got.Detail) > maxText || len(got.Media) != MaxMedia || got.Status != status.MediaWrite {
		t.Errorf("%+v", got)
	}
}
