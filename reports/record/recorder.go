package record

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"capstan/core/job"
	"capstan/core/policy"
	"capstan/core/rt"
	"capstan/core/status"
	"capstan/core/trace"
)

// Recorder makes records of what it is told. It keeps what is under way, and the
// hours' use of shared resources; not the jobs that have ended.
type Recorder struct {
	sink   Sink
	kinds  map[string]Kind // of resources, by name
	robots map[string]string
	jobs   map[int64]*progress
	drives map[string]*Mount // what is in them
	moved  map[string]rt.Time
	// When a drive was last emptied, by its name.
	emptied map[string]lapse
	use     map[useKey]*Use
	latest  map[string]*Use // of each resource: most of what is told comes in one hour
	last    map[string]Volumes
	err     error
}

// lapse is the time from one moment to another.
type lapse struct{ from, to rt.Time }

type useKey struct {
	at   rt.Time
	name string
}

// NewRecorder makes a recorder of a domain with these resources.
func NewRecorder(sink Sink, resources []Resource) *Recorder {
	r := &Recorder{
		sink: sink, kinds: map[string]Kind{}, robots: map[string]string{}, jobs: map[int64]*progress{}, drives: map[string]*Mount{},
		moved: map[string]rt.Time{}, emptied: map[string]lapse{}, use: map[useKey]*Use{}, latest: map[string]*Use{}, last: map[string]Volumes{},
	}
	for i := range resources {
		r.kinds[resources[i].Name] = resources[i].Kind
		if resources[i].Kind == Drive {
			r.robots[resources[i].Name] = resources[i].Library
		}
	}
	return r
}

// keep remembers the first error.
func (r *Recorder) keep(err error) { r.err = cmp.Or(r.err, err) }

func (r *Recorder) of(id int64) *progress {
	p := r.jobs[id]
	if p == nil {
		p = &progress{settled: Spent{}}
		r.jobs[id] = p
	}
	return p
}

// UnderWay are the numbers of the jobs that something was told of and that were not
// taken yet, in order.
func (r *Recorder) UnderWay() []int64 { return slices.Sorted(maps.Keys(r.jobs)) }

// Forget drops what was told of a job after it was taken.
func (r *Recorder) Forget(id int64) { delete(r.jobs, id) }

// Event takes an event of the trace. Events come in the order of their ends.
func (r *Recorder) Event(e *trace.Event) {
	from, to := e.Begin.Wall, e.End.Wall
	if e.Job.ID == 0 {
		r.device(e, from, to)
		return
	}
	p := r.of(e.Job.ID)
	p.tries = max(p.tries, e.Job.Try)
	switch e.What {
	case trace.Waited:
		p.waited(map[string]Kind{"limit": Limit, "drive": Queue, "media": Media}[e.Detail], from, to)
	case trace.Mounted, trace.Unmounted, trace.Moved:
		r.device(e, from, to)
	case trace.There:
		p.kept = true
	case "position":
		p.add(rankDevice, Position, from, to)
		r.spread(p.drive, Drive, from, to, func(u *Use, d time.Duration) { u.Position += d })
	case "write blocks", "read blocks":
		p.data(from, to)
	case trace.Paced:
		r.paced(p, e, from, to)
	case "nbjm.Granted":
		p.started = cmp.Or(p.started, to)
	}
}

// device takes what was done with a drive and a cartridge.
func (r *Recorder) device(e *trace.Event, from, to rt.Time) {
	var p *progress
	if e.Job.ID != 0 {
		p = r.of(e.Job.ID)
	}
	switch e.What {
	case trace.Moved:
		p.add(rankMove, Robot, from, to)
		if p != nil {
			p.robot += to.Sub(from)
		}
		robot := r.robots[e.Drive]
		if robot == "" {
			return
		}
		r.spread(robot, Robot, max(from, r.moved[robot]), to, func(u *Use, d time.Duration) { u.Busy += d })
		r.moved[robot] = max(to, r.moved[robot])
		r.spread(e.Drive, Drive, from, to, func(u *Use, d time.Duration) { u.Load -= d }) // it is no work of the drive's
	case trace.Mounted:
		p.add(rankDevice, Position, from, to)
		r.spread(e.Drive, Drive, from, to, func(u *Use, d time.Duration) { u.Load += d })
		// What stayed in the drive was taken home first, which has been counted.
		home := r.emptied[e.Drive]
		r.spread(e.Drive, Drive, max(from, home.from), min(to, home.to), func(u *Use, d time.Duration) { u.Load -= d })
		r.mounted(e, p, from, to)
	case trace.Unmounted:
		p.add(rankDevice, Position, from, to)
		r.spread(e.Drive, Drive, from, to, func(u *Use, d time.Duration) { u.Load += d })
		r.emptied[e.Drive] = lapse{from, to}
		r.empty(e.Drive, from, to)
	case trace.Stayed:
		r.empty(e.Drive, from, 0)
	}
}

func (r *Recorder) mounted(e *trace.Event, p *progress, from, to rt.Time) {
	m := &Mount{Job: e.Job.ID, Drive: e.Drive, Media: e.Media, Status: status.Code(e.Status), Asked: from, Ready: to}
	if p != nil {
		m.Robot, m.Kept = min(p.robot, m.Wait()), p.kept
		p.robot, p.kept, p.drive = 0, false, e.Drive
	}
	if e.Status != 0 {
		r.keep(r.sink.PutMount(m))
		return
	}
	if p != nil {
		p.mounted = cmp.Or(p.mounted, to)
	}
	r.empty(e.Drive, from, from)
	r.drives[e.Drive] = m
}

// empty ends the mount that a drive has; empty is 0 if the cartridge stays.
func (r *Recorder) empty(drive string, released, empty rt.Time) {
	m := r.drives[drive]
	if m == nil {
		return
	}
	delete(r.drives, drive)
	if m.Released = max(released, m.Ready); empty != 0 {
		m.Empty = max(empty, m.Ready)
	}
	r.spread(drive, Drive, m.Ready, m.Released, func(u *Use, d time.Duration) { u.Held += d })
	if j := r.jobs[m.Job]; j != nil {
		j.robot = 0
	}
	r.keep(r.sink.PutMount(m))
}

// paced takes how the two ends of a job kept up: where nobody sees which resource
// was tight, as in the real world.
func (r *Recorder) paced(p *progress, e *trace.Event, from, to rt.Time) {
	kind := map[bool]Kind{true: Drive, false: Server}[p.drive != ""]
	if e.Detail == "source" {
		kind = Source
	}
	p.add(rankPaced, kind, from, to)
	if p.drive == "" {
		return
	}
	r.spread(p.drive, Drive, from, to, func(u *Use, d time.Duration) {
		switch {
		case e.Job.Restore:
			u.Read += d
		case kind == Source:
			u.Slow += d
		default:
			u.Write += d
		}
	})
}

// Moved takes a stretch of a transfer: which job's bytes crossed which resources,
// and which of them was tight.
func (r *Recorder) Moved(j trace.Job, via []string, tight string, from, to rt.Time, bytes int64) {
	kind := cmp.Or(r.kinds[tight], Link)
	if j.ID != 0 {
		p := r.of(j.ID)
		p.add(rankFlow, kind, from, to)
		p.first, p.last = cmp.Or(p.first, from), to
		p.seen = true
	}
	for _, name := range via {
		k := r.kinds[name]
		switch k {
		case Drive:
			r.spreadBytes(name, k, from, to, bytes)
			r.spread(name, k, from, to, func(u *Use, d time.Duration) {
				switch {
				case j.Restore:
					u.Read += d
				case name == tight:
					u.Write += d
				default:
					u.Slow += d
				}
			})
		case Network, Server:
			r.spreadBytes(name, k, from, to, bytes)
		}
	}
}

// hour is the length of a bin of use.
const hour = rt.Time(time.Hour)

// spread gives fn the part of a span that each hour has.
func (r *Recorder) spread(name string, k Kind, from, to rt.Time, fn func(u *Use, d time.Duration)) {
	if name == "" {
		return
	}
	for at := from - from%hour; at < to; at += hour {
		if d := min(to, at+hour).Sub(max(from, at)); d > 0 {
			fn(r.hour(at, name, k), d)
		}
	}
}

// spreadBytes gives each hour its part of the bytes of a span, the last one the rest.
func (r *Recorder) spreadBytes(name string, k Kind, from, to rt.Time, bytes int64) {
	left := bytes
	for at := from - from%hour; at < to; at += hour {
		n := left
		if at+hour < to {
			n = min(left, int64(float64(bytes)*(float64(min(to, at+hour)-max(from, at))/float64(to-from))))
		}
		r.hour(at, name, k).Bytes += n
		left -= n
	}
}

func (r *Recorder) hour(at rt.Time, name string, k Kind) *Use {
	if u := r.latest[name]; u != nil && u.At == at {
		return u
	}
	u := r.use[useKey{at, name}]
	if u == nil {
		u = &Use{At: at, Name: name, Kind: k}
		r.use[useKey{at, name}] = u
	}
	r.latest[name] = u
	return u
}

// Job takes a job that has ended, or at the end of the run one that has not, and
// the window in which it was due.
func (r *Recorder) Job(j *job.Job, window policy.Span, end rt.Time) {
	p := r.of(j.ID)
	delete(r.jobs, j.ID)
	out := Job{
		ID: j.ID, Type: j.Type, Status: j.Status, Open: !j.Done(), Detail: short(j.Detail), Tries: max(p.tries, j.Try), Policy: j.Policy,
		Schedule: j.Schedule, Client: j.Client, Storage: j.StorageUnit, Server: j.MediaServer, Drive: j.Drive,
		Media: j.Media[:min(len(j.Media), MaxMedia)], Bytes: max(j.Bytes, 0), Files: max(j.Files, 0), Opens: window.Open, Closes: window.Close,
		Queued: j.Created, Started: cmp.Or(p.started, j.Started), Mounted: p.mounted, First: p.first, Last: p.last, Ended: j.Ended,
	}
	if out.Open || out.Ended == 0 {
		out.Ended = end
	}
	out.Ended = max(out.Ended, out.Queued)
	if !p.seen && out.Bytes > 0 && j.Drive != "" && p.last > p.first {
		r.spreadBytes(j.Drive, Drive, p.first, p.last, out.Bytes)
	}
	out.Spent = p.spent(out.Queued, out.Ended, j.Drive != "")
	r.keep(r.sink.PutJob(&out))
}

// short cuts a text to what a record has room for.
func short(s string) string {
	if len(s) <= maxText {
		return s
	}
	return string([]rune(s)[:min(len([]rune(s)), maxText/4)]) + " …"
}

// Volumes takes the state of a library's cartridges, if it has changed.
func (r *Recorder) Volumes(v Volumes) {
	last, ok := r.last[v.Library]
	last.At = v.At
	if ok && last == v {
		return
	}
	r.last[v.Library] = v
	r.keep(r.sink.PutVolumes(&v))
}

// Finish ends the record. Every job has been told.
func (r *Recorder) Finish(h Head) error {
	for _, drive := range slices.Sorted(maps.Keys(r.drives)) {
		r.empty(drive, h.End(), h.End())
	}
	use := make([]Use, 0, len(r.use))
	for _, u := range r.use {
		u.Load = max(u.Load, 0)
		if *u != (Use{At: u.At, Name: u.Name, Kind: u.Kind}) {
			use = append(use, *u)
		}
	}
	slices.SortFunc(use, func(a, b Use) int { return cmp.Or(cmp.Compare(a.At, b.At), cmp.Compare(a.Name, b.Name)) })
	r.keep(r.sink.Finish(h, use))
	return r.err
}
