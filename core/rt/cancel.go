package rt

import (
	"context"
	"time"
)

// cancelCtx is a context that ends when told, in a way that both worlds can
// follow: it unparks the tasks that wait under it, and closes Done where the
// world has channels.
type cancelCtx struct {
	context.Context
	task      Task // what Current finds: the way there is long, and gone often
	lock      Lock
	err       error // context.Canceled or context.DeadlineExceeded, once ended
	cause     error
	parent    *cancelCtx
	prev      *cancelCtx // among the parent's children
	next      *cancelCtx
	children  *cancelCtx
	waiting   *TaskState
	done      <-chan struct{}
	closeDone func()
}

type cancelKey struct{}

// WithCancel returns a context that ends when cancel is called or when ctx
// ends. [Cause] of it is then the cause given, or context.Canceled.
func WithCancel(ctx context.Context) (_ context.Context, cancel func(cause error)) {
	c := newCancel(ctx)
	return c, func(cause error) { c.cancel(context.Canceled, cause) }
}

// WithTimeout returns a context that ends after d of monotonic time, with
// context.DeadlineExceeded, or when cancel is called.
func WithTimeout(ctx context.Context, d time.Duration) (_ context.Context, cancel func()) {
	c := newCancel(ctx)
	stop := Current(ctx).After(d, func() { c.cancel(context.DeadlineExceeded, nil) })
	return c, func() {
		stop()
		c.cancel(context.Canceled, nil)
	}
}

// Cause is why ctx ended: the cause given to cancel, else ctx.Err().
func Cause(ctx context.Context) error {
	if ctx.Err() == nil {
		return nil
	}
	if c, _ := ctx.Value(cancelKey{}).(*cancelCtx); c != nil {
		c.lock.Lock()
		cause := c.cause
		c.lock.Unlock()
		if cause != nil {
			return cause
		}
	}
	return context.Cause(ctx)
}

// WithoutCancel returns a context with ctx's values that does not end when ctx
// does: for clean-up that must run after a cancellation.
func WithoutCancel(ctx context.Context) context.Context {
	return &noCancel{ctx}
}

// noCancel is written out because the standard library's allocates at each look-up
// of a value.
type noCancel struct{ values context.Context }

func (*noCancel) Deadline() (time.Time, bool) { return time.Time{}, false }
func (*noCancel) Done() <-chan struct{}       { return nil }
func (*noCancel) Err() error                  { return nil }

func (c *noCancel) Value(key any) any {
	if _, ok := key.(cancelKey); ok {
		return (*cancelCtx)(nil)
	}
	return c.values.Value(key)
}

func newCancel(ctx context.Context) *cancelCtx {
	t := running(ctx)
	c := &cancelCtx{Context: ctx, task: t, lock: t.NewLock()}
	c.done, c.closeDone = t.NewDone()
	p, _ := ctx.Value(cancelKey{}).(*cancelCtx)
	if p == nil {
		return c
	}
	p.lock.Lock()
	err, cause := p.err, p.cause
	if err == nil {
		c.parent = p
		c.next = p.children
		if c.next != nil {
			c.next.prev = c
		}
		p.children = c
	}
	p.lock.Unlock()
	if err != nil {
		c.cancel(err, cause)
	}
	return c
}

func (c *cancelCtx) Deadline() (time.Time, bool) { return time.Time{}, false }
func (c *cancelCtx) Done() <-chan struct{}       { return c.done }

func (c *cancelCtx) Err() error {
	c.lock.Lock()
	err := c.err
	c.lock.Unlock()
	if err == nil {
		err = c.Context.Err()
	}
	return err
}

func (c *cancelCtx) Value(key any) any {
	switch key.(type) {
	case cancelKey:
		return c
	case taskKey:
		return c.task
	}
	return c.Context.Value(key)
}

func (c *cancelCtx) cancel(err, cause error) {
	c.lock.Lock()
	if c.err != nil {
		c.lock.Unlock()
		return
	}
	c.err, c.cause = err, cause
	for s := c.waiting; s != nil; s = s.cancelNext {
		s.unpark()
	}
	kids := c.children
	c.children = nil
	c.closeDone()
	parent := c.parent
	c.lock.Unlock()
	// Nobody changes the list any more: a context that has ended takes no new
	// child, and forget leaves it alone.
	for ; kids != nil; kids = kids.next {
		kids.cancel(err, cause)
	}
	if parent != nil {
		parent.forget(c)
	}
}

func (c *cancelCtx) forget(kid *cancelCtx) {
	c.lock.Lock()
	defer c.lock.Unlock()
	if c.err != nil {
		return // c goes through its children to end them
	}
	if kid.prev != nil {
		kid.prev.next = kid.next
	} else {
		c.children = kid.next
	}
	if kid.next != nil {
		kid.next.prev = kid.prev
	}
	kid.prev, kid.next = nil, nil
}

// watching is a task's place among those that a context's end unparks.
type watching struct{ s *TaskState }

// watch has the end of ctx unpark t until end is called.
func watch(ctx context.Context, t Task) watching {
	c, _ := ctx.Value(cancelKey{}).(*cancelCtx)
	if c == nil {
		return watching{}
	}
	s := t.State()
	c.lock.Lock()
	s.cancelIn = c
	s.cancelPrev, s.cancelNext = nil, c.waiting
	if c.waiting != nil {
		c.waiting.cancelPrev = s
	}
	c.waiting = s
	ended := c.err != nil
	c.lock.Unlock()
	if ended {
		t.Unpark()
	}
	return watching{s}
}

func (w watching) end() {
	if w.s == nil || w.s.cancelIn == nil {
		return
	}
	s, c := w.s, w.s.cancelIn
	c.lock.Lock()
	if s.cancelPrev != nil {
		s.cancelPrev.cancelNext = s.cancelNext
	} else {
		c.waiting = s.cancelNext
	}
	if s.cancelNext != nil {
		s.cancelNext.cancelPrev = s.cancelPrev
	}
	s.cancelPrev, s.cancelNext, s.cancelIn = nil, nil, nil
	c.lock.Unlock()
}
