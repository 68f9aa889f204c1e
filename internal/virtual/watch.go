package virtual

import (
	"fmt"
	"time"

	"capstan/core/job"
	"capstan/core/nbemm"
	"capstan/core/rt"
	"capstan/core/store"
	"capstan/core/trace"
	"capstan/reports/record"
	"capstan/scenarios"
	"capstan/sim"
)

// watcher records a run for reports. It looks on from outside: it takes no virtual
// time, and a run that is watched is the run that it would have been. What it reads
// of the master it reads once in an hour, when something next happens.
type watcher struct {
	w         *World
	s         *scenarios.Scenario
	rec       *record.Recorder
	resources []record.Resource // that the record lists
	windows   *record.Windows
	next      rt.Time        // when to look at the master again
	low       int64          // every job with a lower number is recorded
	recorded  map[int64]bool // jobs with greater numbers that are, too
}

// newWatcher makes the watcher of a run; nil, which does nothing, without a sink.
func newWatcher(sink record.Sink, s *scenarios.Scenario, cfg *Config) *watcher {
	if sink == nil {
		return nil
	}
	t := &watcher{s: s, windows: record.NewWindows(cfg.Domain.Policies), recorded: map[int64]bool{}, low: 1}
	t.resources = shared(s, cfg)
	t.rec = record.NewRecorder(sink, append(clientsOwn(s), t.resources...))
	return t
}

// clientsOwn are the resources of the clients.
func clientsOwn(s *scenarios.Scenario) (all []record.Resource) {
	for _, c := range s.EachClient() {
		all = append(all, record.Resource{Name: c.Name + " nic out", Kind: record.Link}, record.Resource{Name: c.Name + " nic in", Kind: record.Link})
		all = append(all, record.Resource{Name: c.Name + " disk", Kind: record.Source})
	}
	return all
}

// shared are the resources that jobs share.
func shared(s *scenarios.Scenario, cfg *Config) (all []record.Resource) {
	for _, m := range append([]scenarios.Server{s.Master}, s.MediaServers...) {
		for _, way := range []string{" nic in", " nic out"} {
			all = append(all, record.Resource{Name: m.Name + way, Kind: record.Network, Rate: int64(m.Link)})
		}
	}
	for i := range cfg.Domain.Units {
		if u := &cfg.Domain.Units[i]; u.Kind == nbemm.Disk {
			all = append(all, record.Resource{Name: u.MediaServer + " " + u.Path, Kind: record.Server})
		}
	}
	for i := range cfg.Libraries {
		l := &cfg.Libraries[i].Config
		all = append(all, record.Resource{Name: l.Name, Kind: record.Robot, Slots: l.Slots})
		for _, d := range l.Drives {
			all = append(all, record.Resource{Name: d.Name, Kind: record.Drive, Library: l.Name, Model: d.Model})
		}
	}
	return all
}

// functions are what the world calls.
func (t *watcher) functions() sim.Watch {
	if t == nil {
		return sim.Watch{}
	}
	return sim.Watch{
		Event: func(e *trace.Event) {
			t.rec.Event(e)
			t.look()
		},
		Stretch: func(s sim.Stretch) { t.rec.Moved(s.Job, s.Via, s.Tight, s.From, s.To, s.Bytes) },
	}
}

// begin gives the watcher the world that it watches.
func (t *watcher) begin(w *World) {
	if t != nil {
		t.w = w
	}
}

func (t *watcher) now() rt.Time { return rt.FromStd(t.s.Start).Add(t.w.Mono()) }

// look records the jobs that have ended, and the cartridges, when an hour has passed.
func (t *watcher) look() {
	if t.w == nil || t.now() < t.next {
		return
	}
	now := t.now()
	t.next = now - now%rt.Time(time.Hour) + rt.Time(time.Hour)
	t.record(now, func(j *job.Job) bool { return j.Done() && now.Sub(j.Ended) > time.Minute })
}

// record takes the jobs that a function picks.
func (t *watcher) record(now rt.Time, pick func(j *job.Job) bool) {
	db := t.w.states[t.w.master].db
	err := db.Peek(func(tx store.Tx) error {
		if err := job.Table.Range(tx, t.low, 1<<62, func(j job.Job) (bool, error) {
			if !t.recorded[j.ID] && pick(&j) {
				t.recorded[j.ID] = true
				t.rec.Job(&j, t.windows.Of(&j), now)
			}
			return true, nil
		}); err != nil {
			return err
		}
		return t.volumes(tx, now)
	})
	if err != nil {
		panic(fmt.Sprintf("virtual: looking at the master's database: %v", err)) // it is memory
	}
	for t.recorded[t.low] {
		delete(t.recorded, t.low)
		t.low++
	}
}

// volumes counts the cartridges of each library.
func (t *watcher) volumes(tx store.Tx, now rt.Time) error {
	return record.CountVolumes(func(fn func(nbemm.Media)) error {
		return nbemm.EachMedia(tx, func(m nbemm.Media) (bool, error) { fn(m); return true, nil })
	}, now, t.rec.Volumes)
}

// finish ends the record.
func (t *watcher) finish(seed int64, replication int) error {
	if t == nil {
		return nil
	}
	t.record(t.now(), func(*job.Job) bool { return true })
	for i := range t.resources {
		if r := &t.resources[i]; r.Kind == record.Drive {
			r.Rate = t.rateOf(r.Name)
		}
	}
	return t.rec.Finish(record.Head{
		Scenario: t.s.Name, Seed: seed, Replication: replication, Start: rt.FromStd(t.s.Start), Length: t.s.Length.Std(),
		Warmup: t.s.WarmUp.Std(), Zone: t.s.Timezone, Resources: t.resources,
	})
}

// rateOf is a drive's native rate with the cartridges of its own generation.
func (t *watcher) rateOf(drive string) int64 {
	for _, l := range t.w.devices {
		if l.lib == nil {
			continue
		}
		for _, k := range l.lib.Decks() {
			if k.Name() == drive {
				return k.Model().Rate
			}
		}
	}
	return 0
}
