// Package clock is the real world's time and tasks: a task is a goroutine, and
// time is the operating system's.
//
// [Context] makes the goroutine that calls it a task, so that it may call the
// roles of core: the main function of a process does so once, a server for each
// call that it handles.
package clock

import (
	"context"
	crand "crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"math/rand/v2"
	"sync"
	"time"

	"capstan/core/rt"
)

// Runtime is the rt.Runtime of an operating system process. Its random numbers
// differ from process to process.
type Runtime struct {
	base time.Time
	seed [32]byte
}

var _ rt.Runtime = (*Runtime)(nil)

// New makes a runtime, with a seed from the operating system.
func New() *Runtime {
	r := &Runtime{base: time.Now()}
	crand.Read(r.seed[:]) //nolint:errcheck // it never fails: it ends the process instead
	return r
}

// process is the runtime of the tasks that Context makes.
var process = New()

// Context returns a context that makes the calling goroutine a task of this
// process. It ends with parent. No other goroutine may wait under it.
func Context(parent context.Context, name string) context.Context {
	return process.Context(parent, name)
}

// Context is like the function, for a task of r.
func (r *Runtime) Context(parent context.Context, name string) context.Context {
	ctx := r.task(parent, name)
	if parent.Done() == nil {
		return ctx
	}
	// The primitives of rt follow contexts of rt. This one follows its parent,
	// whichever kind that is of.
	ctx, cancel := rt.WithCancel(ctx)
	context.AfterFunc(parent, func() { cancel(rt.Cause(parent)) })
	return ctx
}

func (r *Runtime) task(ctx context.Context, name string) context.Context {
	return rt.WithTask(ctx, &task{Runtime: r, name: name, token: make(chan struct{}, 1)})
}

// Now is the operating system's wall clock.
func (r *Runtime) Now() rt.Time { return rt.FromStd(time.Now()) }

// Mono is the time since the runtime was made.
func (r *Runtime) Mono() time.Duration { return time.Since(r.base) }

// Start runs fn in a new goroutine. A panic in it ends the process.
func (r *Runtime) Start(ctx context.Context, name string, fn func(ctx context.Context)) {
	go fn(r.task(ctx, name))
}

// After calls fn in a goroutine of its own, d from now.
func (r *Runtime) After(d time.Duration, fn func()) (stop func()) {
	t := time.AfterFunc(d, fn)
	return func() { t.Stop() }
}

// NewLock makes a sync.Mutex.
func (r *Runtime) NewLock() rt.Lock { return new(sync.Mutex) }

// NewDone makes a channel, for the Done of a context.
func (r *Runtime) NewDone() (<-chan struct{}, func()) {
	c := make(chan struct{})
	return c, func() { close(c) }
}

// Rand is a stream of random numbers, ChaCha8 keyed by the process's seed and the
// length-prefixed names.
func (r *Runtime) Rand(entity, purpose string) *rand.Rand {
	b := append([]byte(nil), r.seed[:]...)
	for _, s := range []string{entity, purpose} {
		b = binary.BigEndian.AppendUint64(b, uint64(len(s)))
		b = append(b, s...)
	}
	return rand.New(rand.NewChaCha8(sha256.Sum256(b)))
}

// maxWallWait bounds a wait for a wall-clock time: that clock may be set
// meanwhile, and nobody tells.
const maxWallWait = time.Minute

// task is a goroutine.
type task struct {
	*Runtime
	rt.TaskState
	name  string
	token chan struct{} // holds one Unpark
	timer *time.Timer   // of ParkFor, made at the first
}

var _ rt.Task = (*task)(nil)

// Check does nothing: a goroutine cannot be told from another cheaply. The
// virtual world checks.
func (t *task) Check() {}

// MayBlock does nothing; the virtual world checks.
func (t *task) MayBlock() {}

// State is package rt's part of the task.
func (t *task) State() *rt.TaskState { return &t.TaskState }

// Park waits for Unpark.
func (t *task) Park() { <-t.token }

// ParkFor waits for Unpark, at most d.
func (t *task) ParkFor(d time.Duration) {
	if d <= 0 {
		return
	}
	if t.timer == nil {
		t.timer = time.NewTimer(d)
	} else {
		t.timer.Reset(d)
	}
	select {
	case <-t.token:
	case <-t.timer.C:
	}
	t.timer.Stop()
}

// ParkUntil waits for Unpark, at most until the wall clock shows at.
func (t *task) ParkUntil(at rt.Time) { t.ParkFor(min(at.Sub(t.Now()), maxWallWait)) }

// Unpark ends t's Park, or the next one.
func (t *task) Unpark() {
	select {
	case t.token <- struct{}{}:
	default:
	}
}

// String is the task's name, for debuggers and messages.
func (t *task) String() string { return t.name }
