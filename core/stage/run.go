package stage

import (
	"cmp"
	"context"
	"slices"
	"time"

	"capstan/core/rt"
)

// run starts jobs when they are due.
func (s *Stager) run(ctx context.Context) {
	for ctx.Err() == nil {
		wctx, cancel := ctx, func() {}
		if next := s.start(ctx); next > 0 {
			wctx, cancel = rt.WithTimeout(ctx, next)
		}
		_, err := s.poke.Get(wctx)
		_ = err // the time has passed, or the mount ends
		cancel()
	}
}

// start starts every job that is due, and tells how long it is until the next is; 0 if
// none waits for its time.
func (s *Stager) start(ctx context.Context) (next time.Duration) {
	now := rt.Mono(ctx)
	s.lock.Lock()
	defer s.lock.Unlock()
	for _, l := range s.candidates(now) {
		if s.busy >= s.rules.Jobs {
			return 0 // the end of one wakes this task
		}
		if wait := s.due(l, now); wait > 0 {
			if next == 0 || wait < next {
				next = wait
			}
			continue
		}
		ws := s.choose(l)
		l.running = true
		s.busy++
		rt.Go(ctx, "stage "+l.key.media, func(ctx context.Context) { s.job(ctx, l, ws) })
	}
	return next
}

// likely is how long a file stays likely to be wanted.
const likely = 10 * time.Minute

// candidates are the lines in which somebody waits, he who waits longest first. What
// was likely to be wanted, and is not, is forgotten.
func (s *Stager) candidates(now time.Duration) []*line {
	var all []*line
	oldest := map[*line]time.Duration{}
	for k, l := range s.lines { //capstan:unordered they are sorted below
		for _, w := range slices.Clone(l.order) {
			if w.waiters == 0 && !w.started && now-w.since > likely {
				l.drop(w)
			}
		}
		if len(l.order) == 0 && !l.running {
			delete(s.lines, k)
			continue
		}
		if at, waits := l.oldest(); waits && !l.running {
			oldest[l] = at
			all = append(all, l)
		}
	}
	slices.SortFunc(all, func(a, b *line) int {
		return cmp.Or(cmp.Compare(oldest[a], oldest[b]), cmp.Compare(a.key.client, b.key.client), cmp.Compare(a.key.media, b.key.media))
	})
	return all
}

// oldest is since when somebody waits.
func (l *line) oldest() (since time.Duration, waits bool) {
	for _, w := range l.order {
		if w.waiters > 0 && !w.started && (!waits || w.since < since) {
			since, waits = w.since, true
		}
	}
	return since, waits
}

// due is how long a line's job waits on for more to be wanted of the same cartridge.
// What lies on disk waits for nothing.
func (s *Stager) due(l *line, now time.Duration) time.Duration {
	since, _ := l.oldest()
	waiting := 0
	for _, w := range l.order {
		if w.waiters > 0 {
			waiting++
		}
	}
	if l.key.media == "" || waiting >= s.rules.Many {
		return 0
	}
	return max(min(l.last+s.rules.Quiet, since+s.rules.Longest)-now, 0)
}

// choose takes from a line what its next job fetches: what is waited for, a file of each
// user in turn, so that one who wants very many does not keep the others out; then what
// is likely to be wanted.
func (s *Stager) choose(l *line) []*want {
	byUser := map[string][]*want{}
	var users []string
	var ahead []*want
	for _, w := range l.order {
		switch {
		case w.waiters == 0:
			ahead = append(ahead, w)
		default:
			if byUser[w.user] == nil {
				users = append(users, w.user)
			}
			byUser[w.user] = append(byUser[w.user], w)
		}
	}
	var ws []*want
	for turn := 0; len(ws) < s.rules.Files; turn++ {
		more := false
		for _, u := range users {
			if turn < len(byUser[u]) && len(ws) < s.rules.Files {
				ws = append(ws, byUser[u][turn])
				more = true
			}
		}
		if !more {
			break
		}
	}
	ws = append(ws, ahead[:min(len(ahead), s.rules.Files-len(ws))]...)
	for _, w := range ws {
		w.started = true
	}
	slices.SortFunc(ws, func(a, b *want) int {
		return cmp.Or(cmp.Compare(a.Block, b.Block), cmp.Compare(a.Image, b.Image), cmp.Compare(a.Path, b.Path))
	})
	return ws
}

// job is one restore job.
func (s *Stager) job(ctx context.Context, l *line, ws []*want) {
	b := Batch{Client: l.key.client, Media: l.key.media}
	for _, w := range ws {
		b.Files = append(b.Files, w.File)
	}
	err := s.fetch(ctx, b)
	s.lock.Lock()
	for _, w := range ws {
		w.err = err
		l.drop(w)
		w.done.Set()
	}
	l.running = false
	s.busy--
	s.lock.Unlock()
	s.wake(ctx)
}
