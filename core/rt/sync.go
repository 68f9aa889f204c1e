package rt

import (
	"context"
	"errors"
	"time"
)

// ErrClosed is returned by a [Queue] that was closed.
var ErrClosed = errors.New("queue closed")

// waitList holds tasks in the order in which they began to wait.
type waitList struct{ head, tail *TaskState }

func (l *waitList) push(s *TaskState) {
	s.in, s.ready = l, false
	s.prev, s.next = l.tail, nil
	if l.tail != nil {
		l.tail.next = s
	} else {
		l.head = s
	}
	l.tail = s
}

func (l *waitList) remove(s *TaskState) {
	if s.in != l {
		return
	}
	if s.prev != nil {
		s.prev.next = s.next
	} else {
		l.head = s.next
	}
	if s.next != nil {
		s.next.prev = s.prev
	} else {
		l.tail = s.prev
	}
	s.in, s.prev, s.next = nil, nil, nil
}

// wake ends the wait of the first task, if there is one.
func (l *waitList) wake() bool {
	s := l.head
	if s == nil {
		return false
	}
	l.remove(s)
	s.ready = true
	s.unpark()
	return true
}

func (l *waitList) wakeAll() {
	for l.wake() {
	}
}

// noEnd is no limit of a wait.
const noEnd = time.Duration(-1)

// wait parks the caller in l until it is woken, monotonic time end is reached, or ctx
// ends. The lock is held at the call and again at the return.
//
// A task that is killed here leaves the list as it unwinds, because tasks of
// other processes may wait in it too.
func wait(ctx context.Context, lock Lock, l *waitList, end time.Duration) error {
	t := Current(ctx)
	s := t.State()
	l.push(s)
	lock.Unlock()
	w := watch(ctx, t)
	returns := false
	defer func() {
		if !returns {
			l.remove(s)
			w.end()
		}
	}()
	timedOut := false
	for {
		lock.Lock()
		timedOut = end != noEnd && t.Mono() >= end
		if s.ready || ctx.Err() != nil || timedOut {
			break
		}
		lock.Unlock()
		if end == noEnd {
			t.Park()
		} else {
			t.ParkFor(end - t.Mono())
		}
	}
	returns = true
	woken := s.ready
	l.remove(s)
	lock.Unlock()
	w.end()
	lock.Lock()
	switch {
	case woken:
		return nil
	case ctx.Err() == nil:
		return context.DeadlineExceeded
	}
	return Cause(ctx)
}

// Queue is a first-in first-out queue between tasks. A limit of 0 means none.
type Queue[T any] struct {
	lock    Lock
	items   []T
	first   int
	limit   int
	closed  bool
	readers waitList
	writers waitList
}

// NewQueue makes a queue for at most limit items; 0 is no limit.
func NewQueue[T any](ctx context.Context, limit int) *Queue[T] {
	return &Queue[T]{lock: NewLock(ctx), limit: limit}
}

// Len is the number of items waiting in the queue.
func (q *Queue[T]) Len() int {
	q.lock.Lock()
	defer q.lock.Unlock()
	return len(q.items) - q.first
}

// Put adds v, waiting while the queue is full. It returns [ErrClosed] after Close.
func (q *Queue[T]) Put(ctx context.Context, v T) error {
	running(ctx)
	q.lock.Lock()
	defer q.lock.Unlock()
	for !q.closed && q.limit > 0 && len(q.items)-q.first >= q.limit {
		if err := wait(ctx, q.lock, &q.writers, noEnd); err != nil {
			return err
		}
	}
	if q.closed {
		return ErrClosed
	}
	q.items = append(q.items, v)
	q.readers.wake()
	return nil
}

// Get takes the oldest item, waiting for one. After Close it drains what is
// left, then returns [ErrClosed].
func (q *Queue[T]) Get(ctx context.Context) (T, error) {
	running(ctx)
	q.lock.Lock()
	defer q.lock.Unlock()
	var none T
	for len(q.items) == q.first {
		if q.closed {
			return none, ErrClosed
		}
		if err := wait(ctx, q.lock, &q.readers, noEnd); err != nil {
			return none, err
		}
	}
	return q.take(), nil
}

// TryGet takes the oldest item if there is one.
func (q *Queue[T]) TryGet() (v T, ok bool) {
	q.lock.Lock()
	defer q.lock.Unlock()
	if len(q.items) == q.first {
		return v, false
	}
	return q.take(), true
}

func (q *Queue[T]) take() T {
	var none T
	v := q.items[q.first]
	q.items[q.first] = none
	q.first++
	if q.first == len(q.items) {
		q.items, q.first = q.items[:0], 0
	} else if q.first > 64 && q.first*2 > len(q.items) {
		n := copy(q.items, q.items[q.first:])
		clear(q.items[n:])
		q.items, q.first = q.items[:n], 0
	}
	if len(q.items) > q.first {
		q.readers.wake()
	}
	q.writers.wake()
	return v
}

// Close refuses further items; readers get what is left, then [ErrClosed].
func (q *Queue[T]) Close() {
	q.lock.Lock()
	q.closed = true
	q.readers.wakeAll()
	q.writers.wakeAll()
	q.lock.Unlock()
}

// Event happens once; tasks wait for it.
type Event struct {
	lock    Lock
	set     bool
	waiting waitList
}

// NewEvent makes an event that has not happened.
func NewEvent(ctx context.Context) *Event { return &Event{lock: NewLock(ctx)} }

// Set makes the event happen. More calls do nothing.
func (e *Event) Set() {
	e.lock.Lock()
	e.set = true
	e.waiting.wakeAll()
	e.lock.Unlock()
}

// IsSet tells whether the event has happened.
func (e *Event) IsSet() bool {
	e.lock.Lock()
	defer e.lock.Unlock()
	return e.set
}

// Wait returns when the event has happened, or ctx's cause when that ends first.
func (e *Event) Wait(ctx context.Context) error { return e.wait(ctx, noEnd) }

// WaitFor is Wait for at most d of monotonic time: then it returns
// context.DeadlineExceeded.
func (e *Event) WaitFor(ctx context.Context, d time.Duration) error {
	return e.wait(ctx, running(ctx).Mono()+d)
}

func (e *Event) wait(ctx context.Context, end time.Duration) error {
	running(ctx)
	e.lock.Lock()
	defer e.lock.Unlock()
	for !e.set {
		if err := wait(ctx, e.lock, &e.waiting, end); err != nil {
			return err
		}
	}
	return nil
}

// Semaphore hands out a number of permits, in the order in which tasks asked.
type Semaphore struct {
	lock    Lock
	free    int
	waiting waitList
}

// NewSemaphore makes a semaphore with n permits.
func NewSemaphore(ctx context.Context, n int) *Semaphore {
	return &Semaphore{lock: NewLock(ctx), free: n}
}

// Acquire takes a permit, waiting for one.
func (s *Semaphore) Acquire(ctx context.Context) error {
	running(ctx)
	s.lock.Lock()
	defer s.lock.Unlock()
	if s.free > 0 && s.waiting.head == nil {
		s.free--
		return nil
	}
	returns := false
	defer func() { // killed after Release handed the permit over: others need it
		if !returns && Current(ctx).State().ready {
			s.Release()
		}
	}()
	err := wait(ctx, s.lock, &s.waiting, noEnd) // Release hands the permit over
	returns = true
	return err
}

// TryAcquire takes a permit if one is free.
func (s *Semaphore) TryAcquire() bool {
	s.lock.Lock()
	defer s.lock.Unlock()
	if s.free == 0 || s.waiting.head != nil {
		return false
	}
	s.free--
	return true
}

// Release gives a permit back.
func (s *Semaphore) Release() {
	s.lock.Lock()
	if !s.waiting.wake() {
		s.free++
	}
	s.lock.Unlock()
}

// Mutex excludes other tasks for as long as a transaction takes. It may be held
// across a store transaction, never across a call, a sleep, a process or a
// device operation: the virtual world panics at the first such operation.
type Mutex struct{ s *Semaphore }

// NewMutex makes an unlocked mutex.
func NewMutex(ctx context.Context) *Mutex { return &Mutex{NewSemaphore(ctx, 1)} }

// Lock takes the mutex. It does not end with ctx: what it guards is short.
func (m *Mutex) Lock(ctx context.Context) {
	t := running(ctx)
	if !m.s.TryAcquire() {
		if err := m.s.Acquire(WithoutCancel(ctx)); err != nil {
			panic("rt: Mutex.Lock: " + err.Error())
		}
	}
	t.State().held++
}

// Unlock gives the mutex back.
func (m *Mutex) Unlock(ctx context.Context) {
	Current(ctx).State().held--
	m.s.Release()
}

// Group runs tasks and waits for all of them.
type Group struct {
	lock    Lock
	running int
	err     error
	waiting waitList
	cancel  func(error)
}

// NewGroup makes a group, and a context for its tasks that ends when one of
// them fails.
func NewGroup(ctx context.Context) (*Group, context.Context) {
	ctx, cancel := WithCancel(ctx)
	return &Group{lock: NewLock(ctx), cancel: cancel}, ctx
}

// Go starts a task of the group. The first error ends the group's context.
func (g *Group) Go(ctx context.Context, name string, fn func(ctx context.Context) error) {
	g.lock.Lock()
	g.running++
	g.lock.Unlock()
	Go(ctx, name, func(ctx context.Context) {
		err := fn(ctx)
		g.lock.Lock()
		first := err != nil && g.err == nil
		if first {
			g.err = err
		}
		g.running--
		if g.running == 0 {
			g.waiting.wakeAll()
		}
		g.lock.Unlock()
		if first {
			g.cancel(err)
		}
	})
}

// Wait waits for every task and returns the first error. It does not end with
// ctx: a task that was told to stop is still waited for.
func (g *Group) Wait(ctx context.Context) error {
	ctx = WithoutCancel(ctx)
	g.lock.Lock()
	for g.running > 0 {
		if err := wait(ctx, g.lock, &g.waiting, noEnd); err != nil {
			break
		}
	}
	err := g.err
	g.lock.Unlock()
	g.cancel(nil)
	return err
}
