package vtl

import (
	"context"
	"time"

	"capstan/core/rt"
)

// rail is what the arms of one string of a library share.
type rail struct {
	free *rt.Semaphore // one for each arm that does nothing
	last int64         // its last column

	arms []arm // guarded by the library's lock
}

// arm is one arm of a robot.
type arm struct {
	at       stand
	busy     bool
	from, to int64 // the columns between which its move takes it
}

func newRail(ctx context.Context, arms int, last int64) *rail {
	r := &rail{free: rt.NewSemaphore(ctx, arms), last: last, arms: make([]arm, arms)}
	for i := range r.arms { // spread over the rail
		if i > 0 {
			r.arms[i].at.column = last * int64(i) / int64(arms-1)
		}
	}
	return r
}

// take is the free arm nearest to from, and the time that it needs to bring a cartridge
// to to. The library's lock is held, and one of free.
//
// An arm in the way costs the model's Aside: one that stands between the columns of the
// move is sent out of them, and one that is under way there is waited for, for as long.
func (r *rail) take(m *RobotModel, from, to stand) (mine *arm, took time.Duration, asides int64) {
	for i := range r.arms {
		a := &r.arms[i]
		if !a.busy && (mine == nil || abs(a.at.column-from.column) < abs(mine.at.column-from.column)) {
			mine = a
		}
	}
	mine.busy = true
	mine.from = min(mine.at.column, from.column, to.column)
	mine.to = max(mine.at.column, from.column, to.column)
	for i := range r.arms {
		a := &r.arms[i]
		switch {
		case a == mine:
		case a.busy && a.from <= mine.to && mine.from <= a.to:
			asides++
		case !a.busy && a.at.column >= mine.from && a.at.column <= mine.to:
			asides++
			a.at.column = r.outside(a.at.column, mine.from, mine.to)
		}
	}
	return mine, m.carry(mine.at, from, to) + time.Duration(asides)*m.Aside, asides
}

// outside is the nearest column that is not between two; if there is none, where it was.
func (r *rail) outside(at, from, to int64) int64 {
	switch {
	case from > 0 && (to >= r.last || at-from <= to-at):
		return from - 1
	case to < r.last:
		return to + 1
	}
	return at
}

// bring has an arm of a string carry a cartridge, in the time that this takes.
func (l *Library) bring(ctx context.Context, r *rail, from, to stand) error {
	if err := r.free.Acquire(ctx); err != nil {
		return err
	}
	l.lock.Lock()
	a, took, asides := r.take(l.model, from, to)
	l.lock.Unlock()
	err := l.pass(ctx, took)
	l.lock.Lock()
	a.busy, a.at = false, to
	l.stats.Busy += took
	l.stats.Asides += asides
	l.lock.Unlock()
	r.free.Release()
	return err
}

// travel carries a cartridge from one element to another: within a string by one arm;
// into another by an arm to the pass-through port at the string's end, through it, and
// by an arm of the other string. Between the two no arm is needed.
func (l *Library) travel(ctx context.Context, from, to *element) error {
	if from.rail == to.rail {
		return l.bring(ctx, l.rails[from.rail], from.at, to.at)
	}
	out, in := l.rails[from.rail], l.rails[to.rail]
	exit, entry := stand{column: out.last}, stand{}
	if to.rail < from.rail {
		exit, entry = stand{}, stand{column: in.last}
	}
	if err := l.bring(ctx, out, from.at, exit); err != nil {
		return err
	}
	strings := abs(int64(to.rail - from.rail))
	if err := l.pass(ctx, l.model.PassThrough*time.Duration(strings)); err != nil {
		return err
	}
	l.lock.Lock()
	l.stats.PassThroughs += strings
	l.lock.Unlock()
	return l.bring(ctx, in, entry, to.at)
}

// audit reads barcodes: each string's arms share the work, and do nothing else.
func (l *Library) audit(ctx context.Context, elements int) error {
	all := 0
	for _, r := range l.rails {
		all += len(r.arms)
		for range r.arms {
			if err := r.free.Acquire(ctx); err != nil {
				return err
			}
		}
	}
	err := l.pass(ctx, l.model.Audit*time.Duration((elements+all-1)/all))
	for _, r := range l.rails {
		for range r.arms {
			r.free.Release()
		}
	}
	return err
}
