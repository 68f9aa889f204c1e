// Package rttest is the conformance suite of the seam of time and tasks: what
// every world's tasks, clocks and random numbers must do for the primitives of
// package rt, and so for the roles, to behave alike.
package rttest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"capstan/core/rt"
)

// World runs body as a task of a fresh process and returns when body has. It
// fails t if that does not come to pass.
//
// Body never stops its task by t.FailNow or t.Fatal: in a world of coroutines
// that would stop the world. It reports by t.Errorf and returns.
type World func(t testing.TB, body func(ctx context.Context))

// Run runs the suite against a world.
func Run(t *testing.T, world World) {
	for _, c := range []struct {
		name string
		test func(ctx context.Context, t *testing.T)
	}{
		{"SleepOrder", sleepOrder},
		{"SleepReachesItsEnd", sleepReachesItsEnd},
		{"ParkTakesToken", parkTakesToken},
		{"ParkForEnds", parkForEnds},
		{"After", after},
		{"QueueOrder", queueOrder},
		{"QueueBound", queueBound},
		{"QueueClose", queueClose},
		{"SemaphoreOrder", semaphoreOrder},
		{"SemaphoreCancelled", semaphoreCancelled},
		{"EventWakesAll", eventWakesAll},
		{"EventInTime", eventInTime},
		{"MutexExcludes", mutexExcludes},
		{"CancelEndsWaits", cancelEndsWaits},
		{"CancelNests", cancelNests},
		{"CancelledParent", cancelledParent},
		{"WithoutCancel", withoutCancel},
		{"Timeout", timeout},
		{"Group", group},
		{"GroupError", groupError},
		{"Rand", random},
		{"SleepUntil", sleepUntil},
		{"Await", await},
	} {
		t.Run(c.name, func(t *testing.T) {
			world(t, func(ctx context.Context) { c.test(ctx, t) })
		})
	}
	t.Run("NoLostWakeUps", func(t *testing.T) { noLostWakeUps(t, world) })
}

const tick = 5 * time.Millisecond

// equal reports a difference.
func equal(t *testing.T, what string, got, want any) {
	t.Helper()
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("%s (-want +got):\n%s", what, d)
	}
}

func isErr(t *testing.T, what string, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Errorf("%s: error %v, want %v", what, got, want)
	}
}

// list gathers what tasks say, in their order.
type list struct {
	lock rt.Lock
	said []string
}

func newList(ctx context.Context) *list { return &list{lock: rt.NewLock(ctx)} }

func (l *list) say(s string) {
	l.lock.Lock()
	l.said = append(l.said, s)
	l.lock.Unlock()
}

// parked lets tasks that have been started come to their waits.
func parked(ctx context.Context, t *testing.T) {
	t.Helper()
	if err := rt.Sleep(ctx, tick); err != nil {
		t.Errorf("sleep: %v", err)
	}
}

func sleepOrder(ctx context.Context, t *testing.T) {
	l := newList(ctx)
	g, gctx := rt.NewGroup(ctx)
	for _, n := range []int{3, 1, 2} {
		g.Go(gctx, "sleeper", func(ctx context.Context) error {
			err := rt.Sleep(ctx, time.Duration(n)*10*tick)
			l.say(fmt.Sprint(n))
			return err
		})
	}
	isErr(t, "group", g.Wait(ctx), nil)
	equal(t, "order of waking", l.said, []string{"1", "2", "3"})
}

func sleepReachesItsEnd(ctx context.Context, t *testing.T) {
	before := rt.Mono(ctx)
	isErr(t, "sleep", rt.Sleep(ctx, tick), nil)
	if d := rt.Mono(ctx) - before; d < tick {
		t.Errorf("slept %v of %v", d, tick)
	}
	isErr(t, "sleep of no time", rt.Sleep(ctx, 0), nil)
	isErr(t, "sleep of less than no time", rt.Sleep(ctx, -time.Hour), nil)
}

func parkTakesToken(ctx context.Context, t *testing.T) {
	task := rt.Current(ctx)
	task.Unpark()
	task.Unpark() // counts once
	task.Park()
	rt.Go(ctx, "unparker", func(ctx context.Context) { task.Unpark() })
	task.Park() // ends by the unparker only
}

func parkForEnds(ctx context.Context, t *testing.T) {
	task := rt.Current(ctx)
	before := task.Mono()
	task.ParkFor(tick)
	if d := task.Mono() - before; d < tick {
		t.Errorf("parked for %v of %v, and nobody unparked", d, tick)
	}
	task.Unpark()
	task.ParkFor(time.Hour)
	if d := task.Mono() - before; d >= time.Hour {
		t.Errorf("an earlier Unpark did not count")
	}
	task.ParkFor(-1)
	task.ParkUntil(task.Now().Add(-time.Hour))
}

func after(ctx context.Context, t *testing.T) {
	task := rt.Current(ctx)
	called, stopped := rt.NewEvent(ctx), rt.NewEvent(ctx)
	task.After(tick, called.Set)
	stop := task.After(tick, stopped.Set)
	stop()
	stop()
	isErr(t, "wait", called.Wait(ctx), nil)
	parked(ctx, t)
	if stopped.IsSet() {
		t.Error("a call that was stopped in time was made")
	}
}

func queueOrder(ctx context.Context, t *testing.T) {
	q := rt.NewQueue[int](ctx, 0)
	var want, got []int
	for i := range 300 {
		isErr(t, "put", q.Put(ctx, i), nil)
		want = append(want, i)
		if i%3 == 0 {
			v, ok := q.TryGet()
			if !ok {
				t.Error("TryGet found a queue empty that is not")
			}
			got = append(got, v)
		}
	}
	equal(t, "length", q.Len(), 200)
	for range 200 {
		v, err := q.Get(ctx)
		isErr(t, "get", err, nil)
		got = append(got, v)
	}
	equal(t, "items", got, want)
	if _, ok := q.TryGet(); ok {
		t.Error("TryGet found something in an empty queue")
	}
}

func queueBound(ctx context.Context, t *testing.T) {
	q := rt.NewQueue[int](ctx, 2)
	g, gctx := rt.NewGroup(ctx)
	g.Go(gctx, "writer", func(ctx context.Context) error {
		for i := range 10 {
			if err := q.Put(ctx, i); err != nil {
				return err
			}
		}
		return nil
	})
	var got []int
	for range 10 {
		if n := q.Len(); n > 2 {
			t.Errorf("%d items in a queue for 2", n)
		}
		v, err := q.Get(ctx)
		isErr(t, "get", err, nil)
		got = append(got, v)
	}
	isErr(t, "writer", g.Wait(ctx), nil)
	equal(t, "items", got, []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9})
}

func queueClose(ctx context.Context, t *testing.T) {
	q, empty := rt.NewQueue[int](ctx, 1), rt.NewQueue[int](ctx, 0)
	isErr(t, "put", q.Put(ctx, 7), nil)
	writer, reader := rt.NewEvent(ctx), rt.NewEvent(ctx)
	rt.Go(ctx, "writer", func(ctx context.Context) {
		isErr(t, "put that waited", q.Put(ctx, 8), rt.ErrClosed)
		writer.Set()
	})
	rt.Go(ctx, "reader", func(ctx context.Context) {
		_, err := empty.Get(ctx)
		isErr(t, "get that waited", err, rt.ErrClosed)
		reader.Set()
	})
	parked(ctx, t)
	q.Close()
	empty.Close()
	isErr(t, "writer", writer.Wait(ctx), nil)
	isErr(t, "reader", reader.Wait(ctx), nil)
	v, err := q.Get(ctx)
	isErr(t, "get of what was left", err, nil)
	equal(t, "what was left", v, 7)
	_, err = q.Get(ctx)
	isErr(t, "get after close", err, rt.ErrClosed)
	isErr(t, "put after close", q.Put(ctx, 9), rt.ErrClosed)
}

func semaphoreOrder(ctx context.Context, t *testing.T) {
	s := rt.NewSemaphore(ctx, 1)
	isErr(t, "acquire", s.Acquire(ctx), nil)
	l := newList(ctx)
	g, gctx := rt.NewGroup(ctx)
	for i := range 5 {
		g.Go(gctx, "waiter", func(ctx context.Context) error {
			err := s.Acquire(ctx)
			l.say(fmt.Sprint(i))
			s.Release()
			return err
		})
		parked(ctx, t) // so that they wait in this order
	}
	if s.TryAcquire() {
		t.Error("TryAcquire took a permit that another has")
	}
	s.Release()
	isErr(t, "waiters", g.Wait(ctx), nil)
	equal(t, "order", l.said, []string{"0", "1", "2", "3", "4"})
	if !s.TryAcquire() {
		t.Error("the permit was lost")
	}
}

func semaphoreCancelled(ctx context.Context, t *testing.T) {
	s := rt.NewSemaphore(ctx, 0)
	cctx, cancel := rt.WithCancel(ctx)
	g, _ := rt.NewGroup(ctx)
	g.Go(cctx, "cancelled", func(ctx context.Context) error {
		if err := s.Acquire(ctx); !errors.Is(err, context.Canceled) {
			return fmt.Errorf("cancelled acquire: %w", err)
		}
		return nil
	})
	parked(ctx, t)
	g.Go(ctx, "next", func(ctx context.Context) error { return s.Acquire(ctx) })
	parked(ctx, t)
	cancel(nil)
	parked(ctx, t)
	s.Release() // for the one that still waits
	isErr(t, "tasks", g.Wait(ctx), nil)
	if s.TryAcquire() {
		t.Error("a cancelled wait made a permit")
	}
}

func eventWakesAll(ctx context.Context, t *testing.T) {
	e := rt.NewEvent(ctx)
	g, gctx := rt.NewGroup(ctx)
	for range 10 {
		g.Go(gctx, "waiter", e.Wait)
	}
	parked(ctx, t)
	if e.IsSet() {
		t.Error("set before Set")
	}
	e.Set()
	e.Set()
	isErr(t, "waiters", g.Wait(ctx), nil)
	isErr(t, "wait for what has happened", e.Wait(ctx), nil)
}

func eventInTime(ctx context.Context, t *testing.T) {
	never, soon := rt.NewEvent(ctx), rt.NewEvent(ctx)
	before := rt.Mono(ctx)
	isErr(t, "wait for what does not happen", never.WaitFor(ctx, 2*tick), context.DeadlineExceeded)
	if d := rt.Mono(ctx) - before; d < 2*tick {
		t.Errorf("gave up after %v of %v", d, 2*tick)
	}
	isErr(t, "wait of no time", never.WaitFor(ctx, 0), context.DeadlineExceeded)
	g, gctx := rt.NewGroup(ctx)
	g.Go(gctx, "waiter", func(ctx context.Context) error { return soon.WaitFor(ctx, time.Hour) })
	parked(ctx, t)
	soon.Set()
	isErr(t, "waiter", g.Wait(ctx), nil)
	isErr(t, "wait for what has happened", soon.WaitFor(ctx, 0), nil)
}

func mutexExcludes(ctx context.Context, t *testing.T) {
	m := rt.NewMutex(ctx)
	cctx, cancel := rt.WithCancel(ctx)
	cancel(nil)
	m.Lock(cctx) // does not end with its context
	equal(t, "mutexes held", rt.Current(ctx).State().Held(), 1)
	m.Unlock(cctx)
	equal(t, "mutexes held", rt.Current(ctx).State().Held(), 0)
	n := 0 // guarded by m: the race detector would object
	g, gctx := rt.NewGroup(ctx)
	for range 8 {
		g.Go(gctx, "adder", func(ctx context.Context) error {
			for range 100 {
				m.Lock(ctx)
				n++
				m.Unlock(ctx)
			}
			return nil
		})
	}
	isErr(t, "group", g.Wait(ctx), nil)
	equal(t, "count", n, 800)
}
