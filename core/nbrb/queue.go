package nbrb

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"capstan/core/rt"
	"capstan/core/status"
	"capstan/core/trace"
)

// waiting is a request in the queue.
type waiting struct {
	Request
	born  int64
	time  rt.Time
	since time.Duration // monotonic
	line  *line
	apart bool // its client runs as many jobs as it may: it stands beside its line
	gone  bool // answered or cancelled

	entered time.Duration // monotonic: the line, or the place beside it
	before  sums          // of the line then
	waited  sums
}

// want is what nbemm is asked for: what is refused to one is refused to all who
// want the same.
type want struct {
	write         bool
	storage, pool string
	retention     time.Duration
	media, held   string
	server        string // to read: only drives of this media server will do
}

// closed is a want that was refused. What a job gives back is one drive, and one of the
// jobs that a unit takes: so each time one more request may pass, and need ask.
type closed struct {
	refusal
	pass int
}

// lane is what requests of one line have in common: they are served in the order
// in which they came.
type lane struct {
	want     want
	priority int
	policy   string // counts only with perPolicy
	most     int    // jobs of the policy; 0 is no limit
}

// line holds the requests of one lane, oldest first.
type line struct {
	lane
	queue []*waiting
	apart int    // requests that stand beside it
	why   string // the first waits, and with it all others; "" if that was not found out yet

	waited waited
}

// queue is all requests that wait. Its cost for a change is the number of lines,
// not of requests.
type queue struct {
	lines  []*line
	byLane map[lane]*line
	byJob  map[job][]*waiting
	apart  map[string][]*waiting // by client
	births int64
}

// job names the try of a job.
type job struct {
	id  int64
	try int
}

func jobOf(j trace.Job) job { return job{j.ID, j.Try} }

func newQueue() queue {
	return queue{byLane: map[lane]*line{}, byJob: map[job][]*waiting{}, apart: map[string][]*waiting{}}
}

// limited tells whether the limits of policies and clients count for the request:
// a restore is no job of a policy, and a job that goes on has been counted.
func (r *Request) limited() bool { return r.Need.Write && r.Need.Held == "" }

func (r *Request) lane() lane {
	n := &r.Need
	l := lane{want: want{n.Write, n.Storage, n.Pool, n.Retention, n.Media, n.Held, n.Server}, priority: r.Priority}
	if r.limited() && r.PerPolicy > 0 {
		l.policy, l.most = r.Policy, r.PerPolicy
	}
	return l
}

// add puts a new request into its line.
func (q *queue) add(r Request, now rt.Time, since time.Duration) *waiting {
	q.births++
	w := &waiting{Request: r, born: q.births, time: now, since: since}
	at := r.lane()
	w.line = q.byLane[at]
	if w.line == nil {
		w.line = &line{lane: at}
		q.byLane[at] = w.line
		q.lines = append(q.lines, w.line)
	}
	if w.line.first() == nil {
		w.line.because(since, refusal{})
	}
	w.enter(since)
	w.line.queue = append(w.line.queue, w)
	q.byJob[jobOf(r.Job)] = append(q.byJob[jobOf(r.Job)], w)
	return w
}

// remove takes a request out; false if it was out.
func (q *queue) remove(w *waiting, now time.Duration) bool {
	if w.gone {
		return false
	}
	w.leave(now)
	w.gone = true
	j := jobOf(w.Job)
	if q.byJob[j] = without(q.byJob[j], w); len(q.byJob[j]) == 0 {
		delete(q.byJob, j)
	}
	if w.apart {
		w.line.apart--
		if q.apart[w.Client] = without(q.apart[w.Client], w); len(q.apart[w.Client]) == 0 {
			delete(q.apart, w.Client)
		}
	}
	return true // in its line it is passed over
}

func without(ws []*waiting, w *waiting) []*waiting {
	if i := slices.Index(ws, w); i >= 0 {
		return slices.Delete(ws, i, i+1)
	}
	return ws
}

func (q *queue) empty() bool { return len(q.byJob) == 0 }

// standAside takes the first of a line out of it until a job of its client ends.
func (q *queue) standAside(l *line, now time.Duration) {
	w := l.queue[0]
	w.leave(now)
	l.queue[0] = nil
	l.queue = l.queue[1:]
	l.apart++
	w.apart = true
	w.enter(now)
	q.apart[w.Client] = append(q.apart[w.Client], w)
}

// rejoin puts those of a client back in their places.
func (q *queue) rejoin(client string, now time.Duration) {
	for _, w := range q.apart[client] {
		w.leave(now)
		w.apart = false
		w.enter(now)
		l := w.line
		l.apart--
		at, _ := slices.BinarySearchFunc(l.queue, w, func(a, b *waiting) int { return cmp.Compare(a.born, b.born) })
		l.queue = slices.Insert(l.queue, at, w)
	}
	delete(q.apart, client)
}

// first is the first request of a line that is still in the queue, nil if there is none.
func (l *line) first() *waiting {
	for len(l.queue) > 0 && l.queue[0].gone {
		l.queue[0] = nil
		l.queue = l.queue[1:]
	}
	if len(l.queue) == 0 {
		return nil
	}
	return l.queue[0]
}

// sweep forgets the lines in which nobody stands, or stands beside.
func (q *queue) sweep() {
	q.lines = slices.DeleteFunc(q.lines, func(l *line) bool {
		over := l.first() == nil && l.apart == 0
		if over {
			delete(q.byLane, l.lane)
		}
		return over
	})
}

// next is the request that is to be tried now, nil if none is: the first of all
// lines' first that no limit keeps waiting and that want something that is not
// closed. counts are the active jobs of each policy and client.
func (q *queue) next(now time.Duration, closed map[want]*closed, counts map[string]int) (best *waiting) {
	for _, l := range q.lines {
		if why := l.policyLimit(counts); why != "" {
			l.because(now, refusal{status.ServerBusy, why})
			continue
		}
		if c := closed[l.want]; c != nil && c.pass <= 0 {
			l.because(now, c.refusal)
			continue
		}
		w := l.first()
		for w != nil && w.clientLimit(counts) != "" {
			q.standAside(l, now)
			w = l.first()
		}
		if w != nil && (best == nil || compare(w, best, now) < 0) {
			best = w
		}
	}
	return best
}

// policyLimit is why the limit of its policy keeps a line waiting; "" if it does not.
func (l *line) policyLimit(counts map[string]int) string {
	if l.most == 0 {
		return ""
	}
	if n := counts["policy "+l.policy]; n >= l.most {
		return fmt.Sprintf("policy %s runs its %d jobs", l.policy, n)
	}
	return ""
}

// clientLimit is why the limit of its client keeps the request waiting; "" if it does not.
func (w *waiting) clientLimit(counts map[string]int) string {
	most := cmp.Or(w.ThisOne, w.PerClient)
	if most == 0 || !w.limited() {
		return ""
	}
	if n := counts["client "+w.Client]; n >= most {
		return fmt.Sprintf("client %s runs its %d jobs", w.Client, n)
	}
	return ""
}

// why is why a request waits; "" if it was not tried yet.
func (w *waiting) why(counts map[string]int) string {
	if w.apart {
		return w.clientLimit(counts)
	}
	return w.line.why
}

// patience is how long a request waits behind those of higher priority. Whoever
// has waited longer comes before all others: a steady stream of important jobs
// does not starve the rest. It is longer than most windows, so that within a
// night priority is what counts.
const patience = 12 * time.Hour

// compare orders requests as they are served: those that have waited too long,
// then by priority, then by birth.
func compare(a, b *waiting, now time.Duration) int {
	late := func(w *waiting) bool { return now-w.since > patience }
	switch {
	case late(a) && late(b):
		return cmp.Compare(a.born, b.born)
	case late(a):
		return -1
	case late(b):
		return 1
	}
	return cmp.Or(cmp.Compare(b.Priority, a.Priority), cmp.Compare(a.born, b.born))
}

// ordered are all requests in the order in which they are served.
func (q *queue) ordered(now time.Duration) []*waiting {
	var all []*waiting
	for _, l := range q.lines {
		for _, w := range l.queue {
			if !w.gone {
				all = append(all, w)
			}
		}
	}
	for _, ws := range q.apart { //capstan:unordered sorted below
		all = append(all, ws...)
	}
	order(all, now)
	return all
}

func order(ws []*waiting, now time.Duration) {
	slices.SortFunc(ws, func(a, b *waiting) int { return compare(a, b, now) })
}
