package sim

import (
	"context"
	"fmt"
	"iter"
	"math/rand/v2"
	"runtime/debug"
	"time"

	"capstan/core/rt"
)

// task is one task of a process. It has a coroutine from its first step to its end.
type task struct {
	rt.TaskState
	w    *World
	proc *Process
	name string
	fn   func(ctx context.Context)
	call *call // what it answers, if it is a handler

	co     *coroutine
	wake   timer
	parked bool
	woken  bool // Unpark came, and the task is due
	token  bool // Unpark came while the task ran
	toWall bool // parked until a wall-clock time
	done   bool

	prev, next *task // of the process, in order of start
}

var _ rt.Task = (*task)(nil)

// unwinding is what a dead process's task panics with. Only the task's wrapper
// recovers it.
type unwinding struct{}

func (unwinding) Error() string { return "the process was killed" }

// Panic is a panic of a task: it ends the run of the world.
type Panic struct {
	Task  string // process and task
	Value any
	Stack []byte // of the panic
}

func (p *Panic) Error() string {
	return fmt.Sprintf("task %s: panic: %v\n\n%s", p.Task, p.Value, p.Stack)
}

// Unwrap is the value of the panic if that is an error.
func (p *Panic) Unwrap() error {
	err, _ := p.Value.(error)
	return err
}

// coroutine runs tasks, one after the other: making one costs more than a task.
type coroutine struct {
	task  *task
	resum func() (struct{}, bool)
	stop  func()
	yield func(struct{}) bool
}

func (w *World) coroutine() *coroutine {
	if n := len(w.idle); n > 0 {
		co := w.idle[n-1]
		w.idle = w.idle[:n-1]
		return co
	}
	co := &coroutine{}
	co.resum, co.stop = iter.Pull(func(yield func(struct{}) bool) {
		co.yield = yield
		for {
			co.task.main()
			co.task = nil
			w.idle = append(w.idle, co)
			if !yield(struct{}{}) {
				return
			}
		}
	})
	return co
}

// fire runs the task until it parks or ends.
func (t *task) fire() {
	if t.co == nil {
		t.co = t.w.coroutine()
		t.co.task = t
	}
	t.woken = false
	t.w.running = t
	t.co.resum()
	t.w.running = nil
}

func (t *task) main() {
	returned := false
	defer func() {
		r := recover()
		switch {
		case returned || t.proc.dead:
		case r == nil: // runtime.Goexit: testing.T's FailNow, called in a task
			t.w.fail(&Panic{Task: t.String(), Value: "runtime.Goexit in a task", Stack: debug.Stack()})
		default:
			t.w.fail(&Panic{Task: t.String(), Value: r, Stack: debug.Stack()})
		}
		t.end()
	}()
	if t.call != nil {
		t.call.handle(t.Context())
	} else {
		t.fn(t.Context())
	}
	returned = true
}

func (w *World) fail(err error) {
	if w.failure == nil {
		w.failure = err
	}
}

// end takes the task out of its process.
func (t *task) end() {
	t.done = true
	t.w.disarm(&t.wake)
	t.proc.unlink(t)
	if t.call != nil {
		t.call.unanswered()
		t.call.release()
	}
}

func (t *task) String() string { return string(t.proc.addr) + " " + t.name }

// where is the stack of a parked task: it is resumed to write it down.
func (t *task) where() string {
	if t.co == nil {
		return "not begun"
	}
	t.w.shows = true
	t.w.running = t
	t.co.resum()
	t.w.running = nil
	t.w.shows = false
	return t.w.stack
}

// Check panics unless t runs and its process lives.
func (t *task) Check() {
	if t.w.running != t {
		t.misused()
	}
	if t.proc.dead {
		panic(unwinding{})
	}
}

func (t *task) misused() {
	who := "no task"
	if r := t.w.running; r != nil {
		who = "task " + r.String()
	}
	panic(fmt.Sprintf("sim: the context of task %s is used while %s runs", t, who))
}

// MayBlock is Check, and refuses a task that holds a mutex.
func (t *task) MayBlock() {
	t.Check()
	if n := t.Held(); n > 0 {
		panic(fmt.Sprintf("sim: task %s holds %d mutexes at a call, a sleep, a process or a device operation", t, n))
	}
}

// State is package rt's part of the task.
func (t *task) State() *rt.TaskState { return &t.TaskState }

// Park waits for Unpark.
func (t *task) Park() { t.park(-1) }

// ParkFor is Park for at most d.
func (t *task) ParkFor(d time.Duration) {
	if d > 0 {
		t.park(addClock(t.w.clock, int64(d)))
	}
}

// ParkUntil is Park until the host's wall clock shows at, or jumps.
func (t *task) ParkUntil(at rt.Time) {
	if d := at.Sub(t.proc.host.Now()); d > 0 {
		t.toWall = true
		t.park(addClock(t.w.clock, int64(d)))
		t.toWall = false
	}
}

// addClock adds without overflow: a sleep for ever is one of 292 years.
func addClock(now, d int64) int64 {
	if d > 1<<63-1-now {
		return 1<<63 - 1
	}
	return now + d
}

func (t *task) park(until int64) {
	t.Check()
	if t.token {
		t.token = false
		return
	}
	if until >= 0 {
		t.w.arm(&t.wake, until, normal)
	}
	t.parked = true
	t.co.yield(struct{}{})
	for t.w.shows {
		t.w.stack = string(debug.Stack())
		t.co.yield(struct{}{})
	}
	t.parked = false
	if t.proc.dead {
		panic(unwinding{})
	}
}

// Unpark ends t's Park, or the next one.
func (t *task) Unpark() {
	switch {
	case t.done || t.proc.dead || t.woken:
	case !t.parked:
		t.token = true
	default:
		t.woken = true
		t.w.disarm(&t.wake)
		t.w.arm(&t.wake, t.w.clock, normal)
	}
}

// Now is the wall clock of the task's host.
func (t *task) Now() rt.Time { return t.proc.host.Now() }

// Mono is virtual time.
func (t *task) Mono() time.Duration { return time.Duration(t.w.clock) }

// Start starts a task of the same process.
func (t *task) Start(ctx context.Context, name string, fn func(ctx context.Context)) {
	t.Check()
	t.proc.start(ctx, name, fn, nil)
}

// After has fn called d from now unless the process has died.
func (t *task) After(d time.Duration, fn func()) (stop func()) {
	t.Check()
	c := t.w.callAt(addClock(t.w.clock, int64(max(d, 0))), normal, t.proc, fn)
	return c.cancel
}

func (c *callback) cancel() { c.w.disarm(&c.timer) }

// lock is a [rt.Lock] of a world in which one task runs at a time, and none is
// interrupted: there is nothing to exclude.
type lock struct{}

func (lock) Lock()   {}
func (lock) Unlock() {}

// NewLock makes a lock.
func (t *task) NewLock() rt.Lock {
	t.Check()
	return lock{}
}

// NewDone returns no channel: nobody receives from one in this world.
func (t *task) NewDone() (<-chan struct{}, func()) { return nil, func() {} }

// Rand is the stream of random numbers for one purpose of one entity.
func (t *task) Rand(entity, purpose string) *rand.Rand {
	t.Check()
	return t.w.Rand(entity, purpose)
}
