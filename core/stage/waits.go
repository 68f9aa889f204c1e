package stage

import (
	"context"
	"errors"
	"slices"
	"time"

	"capstan/core/rt"
)

// waits counts those who wait, by user.
type waits struct {
	all int
	of  map[string]int
}

// allWaits is how many times as many files all users may wait for as one may.
const allWaits = 4

// ErrFull is that too many wait already.
var ErrFull = errors.New("too many files are waited for")

// Enter counts one who is about to wait for a file that he opens, until leave is called.
// A wait costs memory wherever it is, so that it is refused, with [ErrFull], and not put
// off, when there are too many.
func (s *Stager) Enter(user string) (leave func(), err error) {
	s.lock.Lock()
	defer s.lock.Unlock()
	if s.waits.of[user] >= s.rules.Waits || s.waits.all >= s.rules.Waits*allWaits {
		return nil, ErrFull
	}
	s.waits.all++
	s.waits.of[user]++
	return func() {
		s.lock.Lock()
		defer s.lock.Unlock()
		s.waits.all--
		if s.waits.of[user]--; s.waits.of[user] == 0 {
			delete(s.waits.of, user)
		}
	}, nil
}

// turn is a job of another kind that waits to be one of those that run.
type turn struct {
	since time.Duration
	begun *rt.Event
}

// Do runs a restore job that is not for the stager, as one of those that [Rules.Jobs]
// bounds: when a place is free, and nobody has waited longer.
func (s *Stager) Do(ctx context.Context, run func(ctx context.Context) error) error {
	t := &turn{since: rt.Mono(ctx), begun: rt.NewEvent(ctx)}
	s.lock.Lock()
	s.turns = append(s.turns, t)
	s.lock.Unlock()
	s.wake(ctx)
	if err := t.begun.Wait(ctx); err != nil {
		s.lock.Lock()
		waited := slices.Contains(s.turns, t)
		s.turns = slices.DeleteFunc(s.turns, func(o *turn) bool { return o == t })
		s.lock.Unlock()
		if !waited {
			s.ended(ctx)
		}
		return err
	}
	defer s.ended(ctx)
	return run(ctx)
}

func (s *Stager) ended(ctx context.Context) {
	s.lock.Lock()
	s.busy--
	s.lock.Unlock()
	s.wake(ctx)
}

// startTurns starts the jobs of another kind that have waited since a time or longer, as
// far as there is place.
func (s *Stager) startTurns(since time.Duration) {
	for len(s.turns) > 0 && s.turns[0].since <= since && s.busy < s.rules.Jobs {
		s.turns[0].begun.Set()
		s.turns = s.turns[1:]
		s.busy++
	}
}
