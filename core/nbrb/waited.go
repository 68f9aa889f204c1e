package nbrb

import (
	"context"
	"time"

	"capstan/core/rt"
	"capstan/core/status"
	"capstan/core/trace"
)

// refusal is why a request waits on. Its code is the cause: status.NoDrive,
// status.MediaInUse, or status.ServerBusy for a limit.
type refusal struct {
	code status.Code
	why  string
}

// causes are the causes of waiting as [trace.Waited] names them.
var causes = [...]struct {
	code status.Code
	name string
}{{status.ServerBusy, "limit"}, {status.NoDrive, "drive"}, {status.MediaInUse, "media"}}

// sums are times by cause.
type sums [len(causes)]time.Duration

func (s *sums) add(code status.Code, d time.Duration) {
	for i := range causes {
		if causes[i].code == code {
			s[i] += d
		}
	}
}

// waited adds up for what the first of a line waits, and with it all others. Who
// stands in the line takes the difference of the sums: so a change costs the same
// however long the line is.
type waited struct {
	code  status.Code // the cause now, 0 if it is not known yet
	until time.Duration
	sums  sums
}

func (c *waited) tick(now time.Duration) {
	c.sums.add(c.code, now-c.until)
	c.until = now
}

// because notes what a line waits for from now on.
func (l *line) because(now time.Duration, no refusal) {
	l.waited.tick(now)
	l.waited.code, l.why = no.code, no.why
}

// enter begins a request's time in its line, or beside it.
func (w *waiting) enter(now time.Duration) {
	w.line.waited.tick(now)
	w.entered, w.before = now, w.line.waited.sums
}

// leave ends it: what was waited for in the line, or beside it for the client's limit.
func (w *waiting) leave(now time.Duration) {
	if w.apart {
		w.waited.add(status.ServerBusy, now-w.entered)
		return
	}
	w.line.waited.tick(now)
	for i, d := range w.line.waited.sums {
		w.waited[i] += d - w.before[i]
	}
}

// left records how long a request has waited that is answered or cancelled, and for what.
func (w *waiting) left(ctx context.Context) {
	t := trace.From(ctx)
	if t == nil {
		return
	}
	for i, d := range w.waited {
		if d > 0 {
			s := t.Stamp(ctx)
			t.Emit(ctx, trace.Event{
				Begin: trace.Stamp{Wall: s.Wall.Add(-d)}, End: s, Role: Service, Job: w.Job, What: trace.Waited, Detail: causes[i].name,
			})
		}
	}
}

// remove takes a request out of the queue and records what it has waited for; false
// if it was out.
func (s *Server) remove(ctx context.Context, w *waiting) bool {
	out := s.queue.remove(w, rt.Mono(ctx))
	if out {
		w.left(ctx)
	}
	return out
}
