package rttest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"capstan/core/rt"
)

var errWhy = errors.New("the cause")

func cancelEndsWaits(ctx context.Context, t *testing.T) {
	q, full := rt.NewQueue[int](ctx, 0), rt.NewQueue[int](ctx, 1)
	isErr(t, "put", full.Put(ctx, 1), nil)
	s, e := rt.NewSemaphore(ctx, 0), rt.NewEvent(ctx)
	waits := []struct {
		name string
		wait func(ctx context.Context) error
	}{
		{"Sleep", func(ctx context.Context) error { return rt.Sleep(ctx, time.Hour) }},
		{"SleepUntil", func(ctx context.Context) error { return rt.SleepUntil(ctx, rt.Now(ctx).Add(time.Hour)) }},
		{"Get", func(ctx context.Context) error { _, err := q.Get(ctx); return err }},
		{"Put", func(ctx context.Context) error { return full.Put(ctx, 2) }},
		{"Acquire", s.Acquire},
		{"Event", e.Wait},
		{"Event in time", func(ctx context.Context) error { return e.WaitFor(ctx, time.Hour) }},
		{"Await", func(ctx context.Context) error { return rt.Await(ctx, func() bool { return false }) }},
	}
	cctx, cancel := rt.WithCancel(ctx)
	g, _ := rt.NewGroup(ctx)
	for range 2 { // the second time the context has ended before
		for _, w := range waits {
			g.Go(cctx, w.name, func(ctx context.Context) error {
				if err := w.wait(ctx); !errors.Is(err, errWhy) {
					return fmt.Errorf("%s under a cancelled context: %w", w.name, err)
				}
				return nil
			})
		}
		parked(ctx, t)
		cancel(errWhy)
	}
	isErr(t, "waits", g.Wait(ctx), nil)
	isErr(t, "Err", cctx.Err(), context.Canceled)
	isErr(t, "Cause", rt.Cause(cctx), errWhy)
	if ctx.Err() != nil || rt.Cause(ctx) != nil {
		t.Error("a child's end ended the parent")
	}
}

func cancelNests(ctx context.Context, t *testing.T) {
	outer, cancel := rt.WithCancel(ctx)
	inner := outer
	var last func(error)
	for range 5 {
		inner, last = rt.WithCancel(inner)
	}
	beside, _ := rt.WithCancel(outer)
	g, _ := rt.NewGroup(ctx)
	for _, c := range []context.Context{inner, beside} {
		g.Go(c, "waiter", func(ctx context.Context) error {
			if err := rt.Sleep(ctx, time.Hour); !errors.Is(err, errWhy) {
				return fmt.Errorf("sleep: %w", err)
			}
			return nil
		})
	}
	parked(ctx, t)
	cancel(errWhy)
	last(errors.New("too late to be the cause"))
	cancel(errors.New("too late to be the cause"))
	isErr(t, "waiters", g.Wait(ctx), nil)
	for _, c := range []context.Context{outer, inner, beside} {
		isErr(t, "Err", c.Err(), context.Canceled)
		isErr(t, "Cause", rt.Cause(c), errWhy)
	}
}

func cancelledParent(ctx context.Context, t *testing.T) {
	outer, cancel := rt.WithCancel(ctx)
	kid, endKid := rt.WithCancel(outer)
	endKid(errWhy) // leaves the parent's list
	if outer.Err() != nil {
		t.Error("a child's end ended the parent")
	}
	cancel(nil)
	isErr(t, "cause of the child that ended first", rt.Cause(kid), errWhy)
	late, _ := rt.WithCancel(outer)
	isErr(t, "child of a context that has ended", late.Err(), context.Canceled)
	isErr(t, "sleep under it", rt.Sleep(late, time.Hour), context.Canceled)
}

func withoutCancel(ctx context.Context, t *testing.T) {
	type key struct{}
	cctx, cancel := rt.WithCancel(context.WithValue(ctx, key{}, "value"))
	free := rt.WithoutCancel(cctx)
	cancel(errWhy)
	isErr(t, "Err", free.Err(), nil)
	isErr(t, "Cause", rt.Cause(free), nil)
	isErr(t, "sleep", rt.Sleep(free, tick), nil)
	equal(t, "value", free.Value(key{}), any("value"))
	kid, end := rt.WithCancel(free)
	isErr(t, "child", kid.Err(), nil)
	end(nil)
	isErr(t, "child", kid.Err(), context.Canceled)
}

func timeout(ctx context.Context, t *testing.T) {
	before := rt.Mono(ctx)
	tctx, cancel := rt.WithTimeout(ctx, 2*tick)
	defer cancel()
	isErr(t, "wait", rt.NewEvent(ctx).Wait(tctx), context.DeadlineExceeded)
	if d := rt.Mono(ctx) - before; d < 2*tick {
		t.Errorf("timed out after %v of %v", d, 2*tick)
	}
	isErr(t, "Cause", rt.Cause(tctx), context.DeadlineExceeded)
	early, stop := rt.WithTimeout(ctx, time.Hour)
	stop()
	isErr(t, "stopped", early.Err(), context.Canceled)
	longer, stop := rt.WithTimeout(tctx, time.Hour)
	defer stop()
	isErr(t, "longer than its parent", longer.Err(), context.DeadlineExceeded)
}

func group(ctx context.Context, t *testing.T) {
	g, gctx := rt.NewGroup(ctx)
	l := newList(ctx)
	for range 20 {
		g.Go(gctx, "member", func(ctx context.Context) error {
			err := rt.Sleep(ctx, tick)
			l.say("done")
			return err
		})
	}
	cctx, cancel := rt.WithCancel(ctx)
	cancel(nil)
	isErr(t, "wait, which does not end with its context", g.Wait(cctx), nil)
	equal(t, "done", len(l.said), 20)
	isErr(t, "the group's context, after", gctx.Err(), context.Canceled)
	none, _ := rt.NewGroup(ctx)
	isErr(t, "wait for nobody", none.Wait(ctx), nil)
}

func groupError(ctx context.Context, t *testing.T) {
	g, gctx := rt.NewGroup(ctx)
	g.Go(gctx, "waits", func(ctx context.Context) error { return rt.Sleep(ctx, time.Hour) })
	g.Go(gctx, "fails", func(context.Context) error { return errWhy })
	isErr(t, "first error", g.Wait(ctx), errWhy)
	isErr(t, "cause of the group's context", rt.Cause(gctx), errWhy)
}

func random(ctx context.Context, t *testing.T) {
	draw := func(entity, purpose string) (n [4]uint64) {
		r := rt.Rand(ctx, entity, purpose)
		for i := range n {
			n[i] = r.Uint64()
		}
		return n
	}
	a := draw("client", "sizes")
	equal(t, "the same names", draw("client", "sizes"), a)
	for _, other := range [][2]string{{"client", "times"}, {"other", "sizes"}, {"clients", "izes"}, {"", "clientsizes"}} {
		if draw(other[0], other[1]) == a {
			t.Errorf("the stream %q begins like that of other names", other)
		}
	}
}

func sleepUntil(ctx context.Context, t *testing.T) {
	at := rt.Now(ctx).Add(2 * tick)
	isErr(t, "sleep", rt.SleepUntil(ctx, at), nil)
	if now := rt.Now(ctx); now < at {
		t.Errorf("woke at %v, not after %v", now, at)
	}
	isErr(t, "until what is past", rt.SleepUntil(ctx, at.Add(-time.Hour)), nil)
}

func await(ctx context.Context, t *testing.T) {
	task, lock, done := rt.Current(ctx), rt.NewLock(ctx), false
	isDone := func() bool {
		lock.Lock()
		defer lock.Unlock()
		return done
	}
	rt.Go(ctx, "other", func(ctx context.Context) {
		task.Unpark() // early: it waits again
		lock.Lock()
		done = true
		lock.Unlock()
		task.Unpark()
	})
	isErr(t, "await", rt.Await(ctx, isDone), nil)
}

// noLostWakeUps has tasks pass items through a bounded queue under permits, some
// giving up by timeouts: whatever they do, everything put is got once, and
// everybody ends.
func noLostWakeUps(t *testing.T, world World) {
	rapid.Check(t, func(r *rapid.T) {
		writers, readers := rapid.IntRange(1, 4).Draw(r, "writers"), rapid.IntRange(1, 4).Draw(r, "readers")
		limit, permits := rapid.IntRange(0, 3).Draw(r, "limit"), rapid.IntRange(1, 2).Draw(r, "permits")
		items := rapid.IntRange(1, 20).Draw(r, "items")
		patience := time.Duration(rapid.IntRange(0, 300).Draw(r, "patience")) * time.Microsecond
		var got, want []int
		world(t, func(ctx context.Context) {
			q, s := rt.NewQueue[int](ctx, limit), rt.NewSemaphore(ctx, permits)
			lock := rt.NewLock(ctx)
			ws, _ := rt.NewGroup(ctx)
			rs, _ := rt.NewGroup(ctx)
			for w := range writers {
				for i := range items {
					want = append(want, w*100+i)
				}
				ws.Go(ctx, "writer", func(ctx context.Context) error {
					return write(ctx, q, s, w*100, items, patience)
				})
			}
			for range readers {
				rs.Go(ctx, "reader", func(ctx context.Context) error {
					for {
						v, err := q.Get(ctx)
						if err != nil {
							return nil //nolint:nilerr // closed
						}
						lock.Lock()
						got = append(got, v)
						lock.Unlock()
					}
				})
			}
			isErr(t, "writers", ws.Wait(ctx), nil)
			q.Close()
			isErr(t, "readers", rs.Wait(ctx), nil)
		})
		slices.Sort(got)
		if !slices.Equal(got, want) {
			r.Errorf("got %v, want %v", got, want)
		}
	})
}

func write(ctx context.Context, q *rt.Queue[int], s *rt.Semaphore, from, n int, patience time.Duration) error {
	for i := 0; i < n; {
		tctx, cancel := rt.WithTimeout(ctx, patience)
		err := s.Acquire(tctx)
		cancel()
		if err != nil {
			tctx, cancel = rt.WithTimeout(ctx, time.Hour)
			err = s.Acquire(tctx)
			cancel()
		}
		if err != nil {
			return err
		}
		err = q.Put(ctx, from+i)
		s.Release()
		if err != nil {
			return err
		}
		i++
	}
	return nil
}
