package sim

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"strings"
	"time"

	"capstan/core/host"
	"capstan/core/rt"
	"capstan/core/trace"
)

// Options says what world to make. The zero value is usable.
type Options struct {
	Seed uint64
	// Start is every host's wall clock at the beginning; 0 is 2026-01-01T00:00Z.
	Start rt.Time
	// ShuffleTies orders events at one time by the seed instead of by their
	// sequence: who depends on an order that nothing guarantees shows.
	ShuffleTies bool
	// Codec sends the body of every call through the wire's encoding.
	Codec bool
	Net   NetModel
	// SpawnTime is how long the start of a process takes; 0 is 2 ms.
	SpawnTime time.Duration
	// Setup completes the environment of each process: files, devices, database.
	Setup func(h *Host, env *host.Env)
	// Trace gets every event of the trace as a line of JSON.
	Trace io.Writer
	// Watch is told what happens while it happens.
	Watch Watch
	// NoEvents keeps no events in memory: for long runs. NoHash takes no digest.
	NoEvents, NoHash bool
	// Log gets the processes' logs as lines of JSON; nil discards them.
	Log      io.Writer
	LogLevel slog.Level
}

// Watch are functions that are called while the world runs, in the order of what
// happens. They take no virtual time and may not use the world: watching changes
// nothing.
type Watch struct {
	Event   func(e *trace.Event) // of the trace
	Stretch func(s Stretch)      // of a transfer
}

// World is one simulation. It is used by one goroutine at a time; functions of
// the world that tasks may call as well say so.
type World struct {
	opts    Options
	clock   int64 // ns since the beginning
	seq     uint64
	queue   eventQueue
	tie     *rand.PCG
	running *task
	idle    []*coroutine
	failure error
	halted  bool
	shows   bool   // a task that is resumed shall not go on, but leave here
	stack   string // its stack

	hosts  []*Host
	byName map[string]*Host
	incs   uint64
	net    network
	flows  flows
	slots  slotMemory
	record recorder
	silent *slog.Logger // of all processes, if there is no log
}

// New makes a world with no hosts.
func New(o Options) *World {
	if o.Start == 0 {
		o.Start = rt.FromStd(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
	}
	if o.SpawnTime == 0 {
		o.SpawnTime = 2 * time.Millisecond
	}
	w := &World{opts: o, byName: map[string]*Host{}, slots: slotMemory{}, silent: slog.New(slog.DiscardHandler)}
	if o.ShuffleTies {
		a, b := streamSeed(o.Seed, "world", "ties")
		w.tie = rand.NewPCG(a, b)
	}
	w.net.init(w)
	w.flows.init(w)
	w.record.init(o)
	return w
}

// Mono is virtual time since the beginning.
func (w *World) Mono() time.Duration { return time.Duration(w.clock) }

// Rand is the stream of random numbers named by the seed, entity and purpose.
func (w *World) Rand(entity, purpose string) *rand.Rand {
	return rand.New(rand.NewPCG(streamSeed(w.opts.Seed, entity, purpose)))
}

// arm makes t due at a time. It must not be armed.
func (w *World) arm(t *timer, at int64, priority uint64) {
	w.seq++
	e := event{at: max(at, w.clock), key: priority<<62 | w.seq, on: t, gen: t.gen}
	t.armed = true
	if w.tie != nil {
		e.key = priority<<62 | w.tie.Uint64()>>42<<40 | w.seq&(1<<40-1)
		w.queue.push(e, w.clock)
		return
	}
	if e.at == w.clock && priority == normal {
		w.queue.now = append(w.queue.now, e)
		return
	}
	w.queue.push(e, w.clock)
}

// disarm cancels t if it is armed. Its event stays in the queue, and is known as
// cancelled by its generation.
func (w *World) disarm(t *timer) {
	if !t.armed {
		return
	}
	t.armed = false
	t.gen++
	w.queue.stale++
	w.queue.compact()
}

// next takes the next event that is due not after limit.
func (w *World) next(limit int64) (*timer, bool) {
	q := &w.queue
	for {
		var e event
		soonest := q.soonest()
		switch {
		case soonest != nil && ((*soonest)[0].at == w.clock || q.first == len(q.now)):
			if (*soonest)[0].at > limit {
				return nil, false
			}
			e = soonest.pop()
		case q.first < len(q.now):
			e = q.takeNow()
		default:
			return nil, false
		}
		if e.gen != e.on.gen {
			q.stale--
			continue
		}
		w.clock = e.at
		e.on.armed = false
		e.on.gen++
		return e.on, true
	}
}

// Run runs the world until virtual time until, or [World.Halt]. Its error is the
// failure of a task: a [*Panic].
func (w *World) Run(until time.Duration) error {
	if err := w.run(int64(until)); err != nil || w.halted {
		return err
	}
	w.clock = max(w.clock, int64(until))
	return nil
}

// Drain runs the world until nothing is due. If tasks wait even then, for what
// cannot come, the error is a [*Deadlock].
func (w *World) Drain() error {
	if err := w.run(1<<63 - 1); err != nil || w.halted {
		return err
	}
	return w.deadlock()
}

// Halt has the run under way return once the running event is done; tasks and
// functions given to [World.At] may call it.
func (w *World) Halt() { w.halted = true }

func (w *World) run(limit int64) error {
	if w.running != nil {
		panic("sim: a task runs the world that it is in")
	}
	w.halted = false
	for w.failure == nil && !w.halted {
		t, ok := w.next(limit)
		if !ok {
			break
		}
		t.target.fire()
	}
	return w.failure
}

// Do starts a process on h that runs fn, and runs the world until fn has
// returned. It returns fn's error, or why the world could not go on.
func (w *World) Do(h *Host, name string, fn func(ctx context.Context, env *host.Env) error) error {
	done := false
	var result error
	h.Spawn(name, func(ctx context.Context, env *host.Env) error {
		result = fn(ctx, env)
		done = true
		w.Halt()
		return nil
	})
	if err := w.run(1<<63 - 1); err != nil {
		return err
	}
	if !done {
		return errors.Join(fmt.Errorf("%s on %s did not return", name, h.name), w.deadlock())
	}
	return result
}

// callback is a function that is due.
type callback struct {
	timer
	w    *World
	proc *Process // whose function it is; nil: the world's
	fn   func()
}

func (c *callback) fire() {
	if c.proc == nil || !c.proc.dead {
		c.fn()
	}
}

func (w *World) callAt(at int64, priority uint64, p *Process, fn func()) *callback {
	c := &callback{w: w, proc: p, fn: fn}
	c.target = c
	w.arm(&c.timer, at, priority)
	return c
}

// At has the world run fn, outside any task, when virtual time is at; at once if
// that is past. Tasks may call it.
func (w *World) At(at time.Duration, fn func()) { w.callAt(int64(at), urgent, nil, fn) }

// event has fn run as an event of the world: now if no task runs, else before any
// task runs again.
func (w *World) event(fn func()) {
	if w.running == nil {
		fn()
		return
	}
	w.callAt(w.clock, urgent, nil, fn)
}

// Close kills every process and lets go of the coroutines.
func (w *World) Close() {
	w.running = nil
	for _, h := range w.hosts {
		h.crash()
	}
	for _, co := range w.idle {
		co.stop()
	}
	w.idle = nil
}

// Deadlock says that tasks wait and that nothing is due.
type Deadlock struct {
	At    time.Duration
	Tasks []string // process, name and stack of each task
}

func (d *Deadlock) Error() string {
	return fmt.Sprintf("nothing is due at %v and %d tasks wait:\n%s", d.At, len(d.Tasks), strings.Join(d.Tasks, "\n"))
}

func (w *World) deadlock() error {
	d := &Deadlock{At: w.Mono()}
	for _, h := range w.hosts {
		for _, p := range h.procs {
			for t := p.first; t != nil; t = t.next {
				d.Tasks = append(d.Tasks, fmt.Sprintf("%s: task %s\n%s", p.addr, t.name, t.where()))
			}
		}
	}
	if len(d.Tasks) == 0 {
		return nil
	}
	return d
}
