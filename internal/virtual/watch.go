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
	next      rt.Time // when to look at the master again
	recorded  numbers
}

// newWatcher makes the watcher of a run; nil, which does nothing, without a sink.
func newWatcher(sink record.Sink, s *scenarios.Scenario, cfg *Config) *watcher {
	if sink == nil {
		return nil
	}
	t := &watcher{s: s, windows: record.NewWindows(cfg.Domain.Policies)}
	t.resources = shared(s, cfg)
	t.rec = record.NewRecorder(sink, append(clientsOwn(s), t.resources...))
	return t
}

// clientsOwn are the resources of the clients.
func clientsOwn(s *scenarios.Scenario) (all []record.Resource) {
	for _, c := range s.EachClient() {
		for _, nic := range []string{c.Name + " nic out", c.Name + " nic in"} {
			all = append(all, record.Resource{Name: nic, Kind: record.Link}, record.Resource{Name: sim.OneStream(nic), Kind: record.Connection})
		}
		all = append(all, record.Resource{Name: c.Name + " disk", Kind: record.Source})
	}
	return all
}

// shared are the resources that jobs share.
func shared(s *scenarios.Scenario, cfg *Config) (all []record.Resource) {
	for _, m := range append([]scenarios.Server{s.Master}, s.MediaServers...) {
		for _, way := range []string{" nic in", " nic out"} {
			all = append(all, record.Resource{Name: m.Name + way, Kind: record.Network, Rate: sim.Usable(int64(m.Link))})
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
	t.w.peek(func(tx store.Tx) error {
		for _, id := range t.rec.UnderWay() {
			j, ok, err := job.Table.Get(tx, id)
			switch {
			case err != nil:
				return err
			case t.recorded.has(id):
				t.rec.Forget(id)
			case ok && j.Done() && now.Sub(j.Ended) > time.Minute: // nothing more is told of it
				t.take(&j, now)
			}
		}
		return t.volumes(tx, now)
	})
}

// rest records the jobs that are left at the end, those that nothing was told of, too.
func (t *watcher) rest() {
	now := t.now()
	t.w.peek(func(tx store.Tx) error {
		if err := job.Table.All(tx, func(j job.Job) (bool, error) {
			if !t.recorded.has(j.ID) {
				t.take(&j, now)
			}
			return true, nil
		}); err != nil {
			return err
		}
		return t.volumes(tx, now)
	})
}

func (t *watcher) take(j *job.Job, now rt.Time) {
	t.recorded.add(j.ID)
	t.rec.Job(j, t.windows.Of(j), now)
}

// peek looks at the master's database from outside the world: it takes no time.
func (w *World) peek(fn func(tx store.Tx) error) {
	if err := w.states[w.master].db.Peek(fn); err != nil {
		panic(fmt.Sprintf("virtual: looking at the master's database: %v", err)) // it is memory
	}
}

// numbers is a set of job numbers, a bit for each.
type numbers []uint64

func (n numbers) has(id int64) bool { return int(id/64) < len(n) && n[id/64]>>(id%64)&1 == 1 }

func (n *numbers) add(id int64) {
	for int(id/64) >= len(*n) {
		*n = append(*n, 0)
	}
	(*n)[id/64] |= 1 << (id % 64)
}

// volumes counts the cartridges of each library.
func (t *watcher) volumes(tx store.Tx, now rt.Time) error {
	return record.CountVolumes(cartridges(tx), now, t.rec.Volumes)
}

// cartridges shows all that the master knows.
func cartridges(tx store.Tx) func(fn func(nbemm.Media)) error {
	return func(fn func(nbemm.Media)) error {
		return nbemm.EachMedia(tx, func(m nbemm.Media) (bool, error) { fn(m); return true, nil })
	}
}

// finish ends the record.
func (t *watcher) finish(seed int64, replication int) error {
	if t == nil {
		return nil
	}
	t.rest()
	_, drives := t.w.Stats()
	for i := range t.resources {
		r := &t.resources[i]
		for k := range drives {
			if r.Kind == record.Drive && r.Name == drives[k].Name {
				r.Rate, r.BackHitches = t.rateOf(r.Name), drives[k].BackHitches
			}
		}
	}
	var inUse []record.Cartridge
	t.w.peek(func(tx store.Tx) (err error) {
		inUse, err = record.InUse(cartridges(tx))
		return err
	})
	return t.rec.Finish(record.Head{
		Cartridges: inUse, Scenario: t.s.Name, Seed: seed, Replication: replication, Start: rt.FromStd(t.s.Start), Length: t.s.Length.Std(),
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
