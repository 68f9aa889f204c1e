package virtual

import (
	"context"
	"fmt"
	"maps"
	"time"

	"capstan/core/archive"
	"capstan/core/bpbkar"
	"capstan/core/bpbrm"
	"capstan/core/bprd"
	"capstan/core/bprestore"
	"capstan/core/host"
	"capstan/core/job"
	"capstan/core/nbpem"
	"capstan/core/pbx"
	"capstan/core/rt"
	"capstan/core/store"
	"capstan/core/trace"
	seam "capstan/core/tree"
	"capstan/internal/workload"
	"capstan/scenarios"
	"capstan/sim"
	simtree "capstan/sim/tree"
)

// load is the workload of a scenario in a world.
type load struct {
	s       *scenarios.Scenario
	src     workload.Source
	begins  rt.Time // of day 1
	clients map[string]*loaded
	w       *World
}

// loaded is one client of it.
type loaded struct {
	*workload.Client
	slowest int64           // rate of what its data crosses first
	day     int             // of the latest job
	jobs    map[int64]begun // by number: those of that day and the day before
	nights  map[night]int   // how many of jobs are of each
}

// night is a schedule of a policy on a day.
type night struct {
	policy, schedule string
	day              int
}

// begun is a job that has begun: when, and which of that night's it is.
type begun struct {
	night
	nth int
}

// try tells which try of the client's backups a job's is. The job's number in its
// night stays, whatever else begins before it is tried again. Jobs that are not
// through by the end of the next day are forgotten, lest all be remembered.
func (c *loaded) try(j *job.Job, day int) workload.Try {
	if day > c.day {
		c.day = day
		maps.DeleteFunc(c.jobs, func(_ int64, b begun) bool { return b.day < day-1 })
		maps.DeleteFunc(c.nights, func(n night, _ int) bool { return n.day < day-1 })
	}
	b, ok := c.jobs[j.ID]
	if !ok {
		n := night{j.Policy, j.Schedule, day}
		c.nights[n]++
		b = begun{n, c.nights[n]}
		c.jobs[j.ID] = b
	}
	return workload.Try{Policy: j.Policy, Schedule: j.Schedule, Day: b.day, Job: b.nth, Try: j.Try}
}

const dayLength = 24 * time.Hour

// newLoad makes the workload. A day begins at noon in the scenario's zone, between
// the nights.
func newLoad(s *scenarios.Scenario, seed int64) *load {
	loc, err := time.LoadLocation(s.Timezone)
	if err != nil {
		loc = time.UTC // the loader has refused such a zone
	}
	y, m, d := s.Start.In(loc).Date()
	noon := time.Date(y, m, d, 12, 0, 0, 0, loc)
	if !noon.After(s.Start) {
		noon = noon.AddDate(0, 0, 1)
	}
	l := &load{s: s, src: workload.Source(uint64(seed)), begins: rt.FromStd(noon), clients: map[string]*loaded{}}
	for _, c := range s.EachClient() {
		one := &loaded{slowest: int64(min(c.Link, c.Disk)), jobs: map[int64]begun{}, nights: map[night]int{}}
		if c.PerConnection > 0 {
			one.slowest = min(one.slowest, int64(c.PerConnection))
		}
		switch i := s.Workload.Of(c.Name); {
		case c.Data != nil:
			one.Client = workload.Fixed(c.Name, c.Data)
		case i >= 0:
			one.Client = workload.NewClient(l.src, c.Name, &s.Workload.Clients[i])
		default:
			continue // it has jobs that are played back
		}
		l.clients[c.Name] = one
	}
	return l
}

// fill makes a client's files.
func (l *load) fill(ctx context.Context, name string, fs *simtree.FS) error {
	c := l.clients[name]
	if c == nil {
		return nil
	}
	return fs.AddLiving(ctx, c.Root(), simtree.Living{
		Begins: l.begins,
		Day:    func(n int) simtree.Day { return simtree.Day(c.Day(n)) },
	}, rt.Rand(ctx, name, "files"))
}

// files are what a backup's process on a client sees of its files: all, unless the
// client is misconfigured, or the process is about to die.
func (l *load) files(h *sim.Host, env *host.Env, fs *simtree.FS) seam.FS {
	c := l.clients[h.Name()]
	if c == nil || env.Addr.Role() != bpbkar.Role {
		return fs
	}
	return &ailing{FS: fs, l: l, c: c}
}

// ailing is a client's file system as one process sees it.
type ailing struct {
	*simtree.FS
	l      *load
	c      *loaded
	looked bool
}

// Open is the file system's. The first one of a process decides what is wrong with it.
func (a *ailing) Open(ctx context.Context, p string) (seam.Dir, error) {
	now := rt.Now(ctx)
	if a.c.Ill(float64(now.Sub(rt.FromStd(a.l.s.Start))) / float64(dayLength)) {
		return nil, fmt.Errorf("open %s: the client is misconfigured: %w", p, seam.ErrPermission)
	}
	if !a.looked {
		a.looked = true
		a.mayDie(ctx, simtree.DayAt(a.l.begins, now))
	}
	return a.FS.Open(ctx, p)
}

// mayDie has the job's process on the media server killed in the midst of its work, if
// that was drawn for this try: at a part of the time that what has changed
// takes at least. The client's own process is done before the data is on tape.
func (a *ailing) mayDie(ctx context.Context, day int) {
	w := a.l.w
	which := trace.JobOf(ctx)
	j, ok := w.job(which.ID)
	if !ok {
		return
	}
	j.Try = which.Try
	after, dies := a.c.Dies(a.c.try(&j, simtree.DayAt(a.l.begins, j.Created)))
	if !dies {
		return
	}
	work := float64(max(a.c.Day(day).ChangedBytes, 1)) / float64(max(a.c.slowest, 1))
	w.At(w.Mono()+time.Duration(after*work*float64(time.Second)), func() {
		for _, h := range w.Hosts() {
			w.Kill(pbx.ProcessAt(h.Name(), bpbrm.Role, j.ID, j.Try, 0))
		}
	})
}

// job is a job of the master's, seen from outside the world.
func (w *World) job(id int64) (j job.Job, ok bool) {
	w.peek(func(tx store.Tx) (err error) {
		j, ok, err = job.Table.Get(tx, id)
		return err
	})
	return j, ok
}

// begin puts the restores and the jobs of the workload on the world's calendar.
func (l *load) begin(w *World) {
	l.w = w
	for i, q := range workload.Restores(l.src, l.s) {
		w.At(q.At, func() { l.restore(w, i, &q) })
	}
	for i := range l.s.Workload.Jobs {
		j := &l.s.Workload.Jobs[i]
		w.At(j.At.Std(), func() { l.replay(w, i, j) })
	}
}

// operator runs something as a person on the master would.
func (w *World) operator(name string, fn func(ctx context.Context)) {
	w.Host(w.master).SpawnAs(pbx.Identity{Kinds: pbx.User, Name: "operator"}, name, func(ctx context.Context, _ *host.Env) error {
		fn(ctx)
		return nil
	})
}

// restored is where restores of a workload go; a day later they are removed.
const restored = "/restored"

func (l *load) restore(w *World, i int, q *workload.Restore) {
	fs, c := w.Files(q.Client), l.clients[q.Client]
	if c == nil {
		return // the loader refuses restores by clients whose jobs are played back
	}
	to := fmt.Sprintf("%s/%d", restored, i)
	w.operator(fmt.Sprintf("restore/%d", i), func(ctx context.Context) {
		paths, err := fs.Pick(ctx, c.Root(), q.Bytes)
		if err != nil {
			return // a fixed client's directory was removed by a restore
		}
		r := bprd.Request{Client: q.Client, Paths: paths, Target: to}
		// Nothing is as old as that on the first days.
		if then := rt.Now(ctx).Add(-q.Age); then > rt.FromStd(l.s.Start).Add(dayLength) {
			r.Before = then
		}
		_, err = bprestore.Ask(ctx, w.master, r)
		_ = err // the job says what became of it
		rctx := rt.WithoutCancel(ctx)
		if rt.Sleep(rctx, dayLength) == nil {
			fs.RemoveAll(rctx, to)
		}
	})
}

// replay starts a job that is played back, on files that are so many and so large.
func (l *load) replay(w *World, i int, j *scenarios.TracedJob) {
	fs := w.Files(j.Client)
	w.operator(fmt.Sprintf("replay/%d", i), func(ctx context.Context) {
		for _, p := range l.s.Policies {
			if p.Name != j.Policy {
				continue
			}
			// What a job copied is an image's stream: the files, each with its headers, and one
			// of them is the directory.
			h := simtree.Hollow{Files: max(1, j.Files-1), Bytes: max(0, int64(j.Bytes)-j.Files*archive.HollowHead)}
			if err := fs.SetHollow(ctx, p.Paths[0], h, rt.Rand(ctx, j.Client, fmt.Sprintf("replay %d", i))); err != nil {
				return // such a size was refused by the loader
			}
		}
		_, err := nbpem.BackupNow.Call(ctx, pbx.At(w.master, nbpem.Service), nbpem.Backup{Policy: j.Policy, Client: j.Client, Schedule: j.Schedule})
		_ = err // the master is away, or the policy is gone: then it is not run, as it would be
	})
}
