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
		if l.running {
			continue // with one before it
		}
		since, _ := l.oldest()
		s.startTurns(since)
		if s.busy >= s.rules.Jobs {
			return 0 // the end of one wakes this task
		}
		if wait := s.due(l, now); wait > 0 {
			if next == 0 || wait < next {
				next = wait
			}
			continue
		}
		lines := s.connected(l)
		ws := s.choose(lines)
		for _, o := range lines {
			o.running = true
		}
		s.busy++
		rt.Go(ctx, "stage "+l.key.media, func(ctx context.Context) { s.job(ctx, lines, ws) })
	}
	s.startTurns(now)
	return next
}

// likelyFor is how long a file stays likely to be wanted.
const likelyFor = 10 * time.Minute

// candidates are the lines in which somebody waits, he who waits longest first. What
// was likely to be wanted, and is not, is forgotten.
func (s *Stager) candidates(now time.Duration) []*line {
	var all []*line
	oldest := map[*line]time.Duration{}
	for k, l := range s.lines { //capstan:unordered they are sorted below
		if l.running {
			continue
		}
		l.order = slices.DeleteFunc(l.order, func(w *want) bool {
			if w.waiters == 0 && !w.started && !w.gone && now-w.since > likelyFor {
				l.drop(w)
				s.likely--
			}
			return w.gone
		})
		if len(l.order) == 0 {
			delete(s.lines, k)
			continue
		}
		if at, waits := l.oldest(); waits {
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

// connected are the lines that are best fetched with a line: those that share files with
// it, or with one that does. They are in the order of their media.
func (s *Stager) connected(l *line) []*line {
	var others []*line
	for _, o := range s.lines { //capstan:unordered they are sorted below
		if o != l && o.key.client == l.key.client && !o.running && o.key.media != "" {
			others = append(others, o)
		}
	}
	byMedia := func(a, b *line) int { return cmp.Compare(a.key.media, b.key.media) }
	slices.SortFunc(others, byMedia)
	all := []*line{l}
	for i := 0; i < len(all); i++ {
		for _, o := range others {
			if !slices.Contains(all, o) && (all[i].goesOn(o) || o.goesOn(all[i])) {
				all = append(all, o)
			}
		}
	}
	slices.SortFunc(all, byMedia)
	return all
}

// goesOn tells whether a file of a line goes on on the cartridge of another.
func (l *line) goesOn(o *line) bool {
	return slices.ContainsFunc(l.order, func(w *want) bool { return slices.Contains(w.More, o.key.media) })
}

// choose takes from lines what their next job fetches: what was opened, a file of each
// user in turn, so that one who wants very many does not keep the others out; then what
// is wanted by lists, in the same way; then what is likely to be wanted.
func (s *Stager) choose(lines []*line) []*want {
	var opened, listed, ahead []*want
	for _, l := range lines {
		for _, w := range l.order {
			switch {
			case w.waiters == 0:
				ahead = append(ahead, w)
			case w.listed:
				listed = append(listed, w)
			default:
				opened = append(opened, w)
			}
		}
	}
	room := s.rules.Files
	ws := inTurn(opened, room)
	if len(ws) == 0 {
		room = max(room, len(listed))
	}
	ws = append(ws, inTurn(listed, room-len(ws))...)
	taken := ahead[:min(len(ahead), room-len(ws))]
	s.likely -= len(taken)
	ws = append(ws, taken...)
	for _, w := range ws {
		w.started = true
	}
	slices.SortFunc(ws, func(a, b *want) int {
		return cmp.Or(cmp.Compare(a.Media, b.Media), cmp.Compare(a.Block, b.Block), cmp.Compare(a.Image, b.Image), cmp.Compare(a.Path, b.Path))
	})
	return ws
}

// inTurn takes up to n wants, one of each user in turn.
func inTurn(all []*want, n int) (ws []*want) {
	byUser := map[string][]*want{}
	var users []string
	for _, w := range all {
		if byUser[w.user] == nil {
			users = append(users, w.user)
		}
		byUser[w.user] = append(byUser[w.user], w)
	}
	for turn := 0; len(ws) < min(n, len(all)); turn++ {
		for _, u := range users {
			if turn < len(byUser[u]) && len(ws) < n {
				ws = append(ws, byUser[u][turn])
			}
		}
	}
	return ws
}

// job is one restore job.
func (s *Stager) job(ctx context.Context, lines []*line, ws []*want) {
	b := Batch{Client: lines[0].key.client}
	for _, l := range lines {
		b.Media = append(b.Media, l.key.media)
	}
	for _, w := range ws {
		b.Files = append(b.Files, w.File)
	}
	good := &outcome{}
	out := &outcome{s.fetch(ctx, b, func(f File) {
		s.lock.Lock()
		defer s.lock.Unlock()
		l := s.line(f)
		if w := l.wants[fileKey{f.Image, f.Path}]; w != nil && w.started {
			l.end(w, good)
		}
	})}
	s.lock.Lock()
	for _, w := range ws {
		if !w.gone {
			s.line(w.File).end(w, out)
		}
	}
	for _, l := range lines {
		l.running = false
	}
	s.busy--
	s.lock.Unlock()
	s.wake(ctx)
}

// end tells who waits for a file what became of it.
func (l *line) end(w *want, out *outcome) {
	w.job = out
	l.drop(w)
	w.done.Set()
}
