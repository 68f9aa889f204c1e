package vtl

import (
	"context"
	"time"

	"capstan/core/dev"
	"capstan/core/rt"
)

// unit is the tasks of a device, one mostly, and the queue of its commands.
type unit struct {
	lib   *Library
	queue *rt.Queue[*queued]
	ended []*rt.Event // of each task
	lock  rt.Lock
	idle  []*queued // that have ended, for use again: no block allocates one

	turn *rt.Semaphore // of those that run a command. Who has it uses what follows:
	owed time.Duration // what a brief command takes of the device's time
	busy time.Duration // monotonic time until which the last one has it at work
}

// command is what a device does. A brief one lets no time pass in its model as it runs
// (files on disk may take theirs), but says how much it takes ([drive.spend]): what it changes is so at its beginning, for whoever can
// see it before its end.
type command struct {
	run   func(ctx context.Context) error
	brief bool
	// Of a command to a drive, whose it is and what it needs.
	handle *driveHandle
	op     string
	want   need
}

func (c *command) do(ctx context.Context) error {
	if c.handle == nil {
		return c.run(ctx)
	}
	return c.handle.command(ctx, c.op, c.want, c.run)
}

type queued struct {
	command
	done *rt.Queue[error] // takes one, its end
}

func startUnit(ctx context.Context, l *Library, name string, tasks int) *unit {
	u := &unit{lib: l, queue: rt.NewQueue[*queued](ctx, 0), turn: rt.NewSemaphore(ctx, tasks), lock: rt.NewLock(ctx)}
	for range tasks {
		ended := rt.NewEvent(ctx)
		u.ended = append(u.ended, ended)
		rt.Go(ctx, "device "+name, func(ctx context.Context) {
			u.serve(rt.WithoutCancel(ctx))
			ended.Set()
		})
	}
	return u
}

// serve runs commands until there will be no more.
func (u *unit) serve(ctx context.Context) {
	for {
		c, err := u.queue.Get(ctx)
		if err != nil {
			return
		}
		u.acquire(ctx)
		end := c.do(ctx)
		u.settle(ctx)
		u.turn.Release()
		if err := c.done.Put(ctx, end); err != nil {
			panic("vtl: the end of a command: " + err.Error())
		}
	}
}

// acquire takes the turn for the device's own task, when the last command has ended.
func (u *unit) acquire(ctx context.Context) {
	_ = u.turn.Acquire(ctx) // is never cancelled
	_ = rt.Sleep(ctx, u.busy-rt.Mono(ctx))
}

// settle lets the time pass that a brief command takes.
func (u *unit) settle(ctx context.Context) {
	if owed := u.owed; owed > 0 {
		u.owed = 0
		_ = u.lib.pass(ctx, owed)
	}
}

// free takes the turn for a caller's task if the device does nothing.
func (u *unit) free(ctx context.Context) bool {
	if u.queue.Len() > 0 || !u.turn.TryAcquire() {
		return false
	}
	if u.busy > rt.Mono(ctx) {
		u.turn.Release()
		return false
	}
	return true
}

// now runs a brief command in the task of its caller, who has the turn: the device's own
// need not be woken. Should the caller be killed meanwhile, the device is at work for as
// long as if he lived.
func (u *unit) now(ctx context.Context, what command) error {
	err := what.do(rt.WithoutCancel(ctx))
	took := u.lib.lasts(u.owed)
	u.owed, u.busy = 0, rt.Mono(ctx)+took
	u.turn.Release()
	if took > 0 {
		_ = rt.Sleep(rt.WithoutCancel(ctx), took)
	}
	return err
}

// do has the device run a command and waits for its end, as long as it takes: a
// device's command cannot be taken back.
func (u *unit) do(ctx context.Context, what command) error {
	rt.MayBlock(ctx)
	if ctx.Err() != nil {
		return rt.Cause(ctx)
	}
	if what.brief && u.free(ctx) {
		return u.now(ctx, what)
	}
	c := u.unused(ctx)
	c.command = what
	if err := u.queue.Put(ctx, c); err != nil {
		return dev.ErrGone
	}
	end, err := c.done.Get(rt.WithoutCancel(ctx))
	if err != nil {
		return err
	}
	c.command = command{}
	u.lock.Lock()
	u.idle = append(u.idle, c)
	u.lock.Unlock()
	return end
}

// unused is one that is not in use. A caller that is killed while it waits keeps
// its own.
func (u *unit) unused(ctx context.Context) *queued {
	u.lock.Lock()
	defer u.lock.Unlock()
	if n := len(u.idle); n > 0 {
		c := u.idle[n-1]
		u.idle = u.idle[:n-1]
		return c
	}
	return &queued{done: rt.NewQueue[error](ctx, 0)}
}

func (u *unit) stop(ctx context.Context) {
	u.queue.Close()
	for _, e := range u.ended {
		if err := e.Wait(ctx); err != nil {
			panic("vtl: waiting for a device's task: " + err.Error())
		}
		u.acquire(ctx) // for good: nothing runs any more
	}
}
