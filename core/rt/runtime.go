package rt

import (
	"context"
	"math/rand/v2"
	"time"
)

// Time is wall-clock time: nanoseconds since the Unix epoch, UTC. It belongs to
// one host and may jump; durations are measured with [Mono].
type Time int64

// FromStd converts from the standard library's time.
func FromStd(t time.Time) Time { return Time(t.UnixNano()) }

// Std converts to the standard library's time, in UTC.
func (t Time) Std() time.Time { return time.Unix(0, int64(t)).UTC() }

// Unix is t in whole seconds since the epoch, rounded down.
func (t Time) Unix() int64 { return t.Std().Unix() }

// Add returns t+d.
func (t Time) Add(d time.Duration) Time { return t + Time(d) }

// Sub returns t-u.
func (t Time) Sub(u Time) time.Duration { return time.Duration(t - u) }

// String is RFC 3339 with nanoseconds, in UTC.
func (t Time) String() string { return t.Std().Format("2006-01-02T15:04:05.000000000Z") }

// Runtime is what a world gives to the tasks of one process.
type Runtime interface {
	// Now is the host's wall clock.
	Now() Time
	// Mono is time since some fixed instant of the world; it never goes back.
	Mono() time.Duration
	// Start starts a task of the same process. The context it hands to fn
	// carries ctx's values and cancellation, and the new task's handle.
	Start(ctx context.Context, name string, fn func(ctx context.Context))
	// After calls fn once, d from now, outside any task: fn must not wait. Stop
	// forgets the call if it has not begun.
	After(d time.Duration, fn func()) (stop func())
	// NewLock makes a lock for state that tasks share. It is held for a few
	// instructions, never while parked.
	NewLock() Lock
	// NewDone makes what a context's Done returns, and the function that closes
	// it. A world in which nobody may receive from a channel returns nil.
	NewDone() (done <-chan struct{}, closeDone func())
	// Rand is the stream of random numbers named by the world's seed, entity
	// and purpose. Two calls with the same names give streams that begin alike.
	Rand(entity, purpose string) *rand.Rand
}

// Task is the handle of one running task. A world's type embeds [TaskState].
type Task interface {
	Runtime
	// Check panics if the caller is not the running task, or its process is dead.
	Check()
	// MayBlock is Check, and panics in the virtual world if the task holds a
	// [Mutex]: it is called before a call, a sleep, a process or a device operation.
	MayBlock()
	// Park waits for Unpark; one that came earlier, since the last Park, counts.
	// It may return early, so callers wait in a loop.
	Park()
	// ParkFor is Park that returns at the latest after d of monotonic time.
	ParkFor(d time.Duration)
	// ParkUntil is Park that returns at the latest when the host's wall clock shows
	// at, or soon after that clock jumped.
	ParkUntil(at Time)
	// Unpark ends a Park of this task. Any task, and a function given to After, may call it.
	Unpark()
	// State is the part of the handle that package rt keeps for itself.
	State() *TaskState
}

// Lock excludes other tasks for a few instructions.
type Lock interface {
	Lock()
	Unlock()
}

// TaskState is what the primitives of this package keep of a task: it waits for
// one thing at a time, so that the place in that thing's list is part of it and
// no wait allocates.
type TaskState struct {
	ready      bool  // set by whoever ends the wait, under the primitive's lock
	held       int32 // mutexes held
	prev, next *TaskState
	in         *waitList

	cancelPrev, cancelNext *TaskState
	cancelIn               *cancelCtx

	context taskContext // what WithTask returned
}

// Held is the number of mutexes the task holds.
func (s *TaskState) Held() int { return int(s.held) }

// Context is what [WithTask] returned for the task.
func (s *TaskState) Context() context.Context { return &s.context }

func (s *TaskState) unpark() { s.context.task.Unpark() }

type taskKey struct{}

// taskContext carries the running task. It is part of the task's state, as each
// task has one.
type taskContext struct {
	context.Context
	task Task
}

func (c *taskContext) Value(key any) any {
	if _, ok := key.(taskKey); ok { // faster than to compare with one
		return c.task
	}
	return c.Context.Value(key)
}

// WithTask returns a context that carries t as the running task. Worlds call it,
// once for each task.
func WithTask(ctx context.Context, t Task) context.Context {
	s := t.State()
	s.context = taskContext{ctx, t}
	return &s.context
}

// Current is the running task of ctx. It panics if ctx carries none: a role was
// started outside any world.
func Current(ctx context.Context) Task {
	switch c := ctx.(type) { // as most are, without the way there
	case *taskContext:
		return c.task
	case *cancelCtx:
		return c.task
	}
	t, _ := ctx.Value(taskKey{}).(Task)
	if t == nil {
		panic("rt: the context carries no task; start roles through a world")
	}
	return t
}

func running(ctx context.Context) Task {
	t := Current(ctx)
	t.Check()
	return t
}

// Now is the wall-clock time of the task's host.
func Now(ctx context.Context) Time { return running(ctx).Now() }

// Mono is monotonic time: only differences mean anything.
func Mono(ctx context.Context) time.Duration { return running(ctx).Mono() }

// Go starts a task beside the caller, in the same process.
func Go(ctx context.Context, name string, fn func(ctx context.Context)) {
	running(ctx).Start(ctx, name, fn)
}

// Rand is the stream of random numbers for one purpose of one entity.
func Rand(ctx context.Context, entity, purpose string) *rand.Rand {
	return running(ctx).Rand(entity, purpose)
}

// MayBlock says that the caller is about to wait for another process, a device
// or time. Seams call it first.
func MayBlock(ctx context.Context) { Current(ctx).MayBlock() }

// NewLock makes a lock of the task's world, for state shared between tasks
// outside this package's primitives.
func NewLock(ctx context.Context) Lock { return Current(ctx).NewLock() }

// Sleep waits for d of monotonic time, or until ctx ends.
func Sleep(ctx context.Context, d time.Duration) error {
	t := Current(ctx)
	t.MayBlock()
	if ctx.Err() != nil {
		return Cause(ctx)
	}
	end := t.Mono() + d
	w := watch(ctx, t)
	defer w.end()
	for left := d; left > 0; left = end - t.Mono() {
		t.ParkFor(left)
		if ctx.Err() != nil {
			return Cause(ctx)
		}
	}
	return nil
}

// SleepUntil waits until the host's wall clock shows at, or ctx ends. The clock
// may jump either way meanwhile: what counts is what it shows.
func SleepUntil(ctx context.Context, at Time) error {
	t := Current(ctx)
	t.MayBlock()
	if ctx.Err() != nil {
		return Cause(ctx)
	}
	w := watch(ctx, t)
	defer w.end()
	for t.Now() < at {
		t.ParkUntil(at)
		if ctx.Err() != nil {
			return Cause(ctx)
		}
	}
	return nil
}

// Await parks the caller until done returns true, or ctx ends. Whoever makes it
// true unparks the task afterwards. It is for the worlds, which complete what a
// task waits for from outside; roles use the primitives of this package.
func Await(ctx context.Context, done func() bool) error {
	t := running(ctx)
	w := watch(ctx, t)
	defer w.end()
	for !done() {
		if ctx.Err() != nil {
			return Cause(ctx)
		}
		t.Park()
	}
	return nil
}
