package sim

import (
	"context"
	"errors"
	"fmt"
	"time"

	"capstan/core/host"
	"capstan/core/pbx"
	"capstan/core/rt"
	"capstan/core/status"
	"capstan/core/trace"
)

// Process is one incarnation of a program on a host: a set of tasks, and what
// they hold of the world. It is a [host.Process] of whoever started it.
type Process struct {
	w     *World
	host  *Host
	addr  pbx.Addr
	id    pbx.Identity
	spec  host.Spec
	pid   int
	inc   uint64
	ctx   context.Context // of its first task; handlers run under it
	env   host.Env
	seams seams
	first *task // that live, in order of start
	last  *task

	dead    bool
	ready   bool
	ending  bool // asked to end
	exit    host.Exit
	cancel  func(error)
	waiters []*task  // that wait for ready or the end
	held    *holding // what is taken from the process when it dies
	kids    []*Process

	loseReplies int // of those to its calls, a fault
}

var _ host.Process = (*Process)(nil)

// seams are how a process reaches its world.
type seams struct {
	calls transport
	data  dataNet
	rings rings
	local local
}

// killDelay is how long a process that was asked to end may take.
const killDelay = 10 * time.Second

const sigkill = "SIGKILL"

func (h *Host) newProcess(s host.Spec, addr pbx.Addr, id pbx.Identity) *Process {
	w := h.w
	w.incs++
	h.lastPid++
	p := &Process{w: w, host: h, addr: addr, id: id, spec: s, pid: h.lastPid, inc: w.incs}
	h.procs = append(h.procs, p)
	return p
}

// run starts the first task, which runs main in the environment of the process.
func (p *Process) run(main func(ctx context.Context, env *host.Env) (host.Body, error)) {
	p.start(context.Background(), "main", func(ctx context.Context) {
		ctx, p.cancel = rt.WithCancel(ctx)
		ctx = trace.With(ctx, trace.New(ctx, p.host.name, string(p.addr), &p.w.record))
		var job trace.Job
		if p.spec.Job != 0 {
			job = trace.Job{ID: p.spec.Job, Try: p.spec.Try, Restore: p.spec.Restore}
		}
		ctx = trace.As(ctx, job, p.addr.Role())
		p.seams = seams{transport{p}, dataNet{p}, rings{p}, local{p}}
		p.ctx = pbx.With(ctx, &p.seams.calls, p.inc, p.spec.Epoch)
		p.env = host.Env{
			Host: p.host.name, Addr: p.addr, Calls: &p.seams.calls, Data: &p.seams.data, Rings: &p.seams.rings,
			Local: &p.seams.local, Log: p.logger(),
		}
		if p.w.opts.Setup != nil {
			p.w.opts.Setup(p.host, &p.env)
		}
		if p.ending {
			p.cancel(nil)
		}
		result, err := main(p.ctx, &p.env)
		p.returned(result, err)
	}, nil)
}

// returned ends the process: its other tasks end with it.
func (p *Process) returned(result host.Body, err error) {
	e := host.Exit{Result: result}
	if err != nil {
		e = host.Exit{Code: int(status.Of(err, status.SystemError)), Detail: status.Detail(err)}
	}
	p.w.event(func() { p.die(e) })
}

// start makes a task; c is the call that it answers, if any.
func (p *Process) start(ctx context.Context, name string, fn func(ctx context.Context), c *call) {
	t := &task{w: p.w, proc: p, name: name, fn: fn, call: c}
	t.wake.target = t
	rt.WithTask(ctx, t)
	t.prev = p.last
	if p.last != nil {
		p.last.next = t
	} else {
		p.first = t
	}
	p.last = t
	p.w.arm(&t.wake, p.w.clock, normal)
}

func (p *Process) unlink(t *task) {
	if t.prev != nil {
		t.prev.next = t.next
	} else {
		p.first = t.next
	}
	if t.next != nil {
		t.next.prev = t.prev
	} else {
		p.last = t.prev
	}
	t.prev, t.next = nil, nil
}

// holding is something that the kernel takes from a process at its death.
type holding struct {
	proc       *Process
	release    func() // nil once it was called or dropped
	prev, next *holding
}

// hold has release called when p dies, unless the holding is dropped before.
func (p *Process) hold(release func()) *holding {
	x := &holding{proc: p, release: release, next: p.held}
	if p.held != nil {
		p.held.prev = x
	}
	p.held = x
	return x
}

// drop has nothing released any more.
func (x *holding) drop() {
	switch {
	case x.release == nil:
		return
	case x.prev != nil:
		x.prev.next = x.next
	default:
		x.proc.held = x.next
	}
	if x.next != nil {
		x.next.prev = x.prev
	}
	x.release, x.prev, x.next = nil, nil, nil
}

// die ends the process. It is an event of the world, never run in a task.
func (p *Process) die(e host.Exit) {
	if p.dead {
		return
	}
	p.dead, p.exit = true, e
	for x := p.held; x != nil; x = p.held {
		p.held = x.next
		release := x.release
		x.release = nil
		release()
	}
	for p.first != nil {
		if p.first.co == nil {
			p.first.end()
		} else {
			p.first.fire() // its Park panics
		}
	}
	h := p.host
	for i, q := range h.procs {
		if q == p {
			h.procs = append(h.procs[:i], h.procs[i+1:]...)
			break
		}
	}
	p.wakeWaiters()
	for _, k := range p.kids { // they see the end of the socket to their parent
		k.Terminate()
	}
	p.kids = nil
}

func (p *Process) wakeWaiters() {
	for _, t := range p.waiters {
		t.Unpark()
	}
	p.waiters = nil
}

// Go starts a task of the process, which must have begun to run. Tasks of other
// processes may call it: to make something happen in the process from outside.
func (p *Process) Go(name string, fn func(ctx context.Context)) {
	if !p.dead {
		p.start(p.ctx, name, fn, nil)
	}
}

// Env is the environment of the process, which must have begun to run.
func (p *Process) Env() *host.Env { return &p.env }

// Addr is the process's address.
func (p *Process) Addr() pbx.Addr { return p.addr }

// Alive tells whether the process has not ended.
func (p *Process) Alive() bool { return !p.dead }

// Pid is the process's number on its host.
func (p *Process) Pid() int { return p.pid }

// Kill ends the process at once, as SIGKILL does.
func (p *Process) Kill() {
	p.w.event(func() { p.die(host.Exit{Killed: true, Signal: sigkill}) })
}

// Terminate ends the process's context, and kills it 10 s later.
func (p *Process) Terminate() {
	if p.dead || p.ending {
		return
	}
	p.ending = true
	if p.cancel != nil {
		p.cancel(nil)
	}
	p.w.callAt(addClock(p.w.clock, int64(killDelay)), urgent, nil, func() {
		p.die(host.Exit{Killed: true, Signal: sigkill, Detail: "it did not end when asked"})
	})
}

// Wait waits for the end of the process.
func (p *Process) Wait(ctx context.Context) (host.Exit, error) {
	rt.MayBlock(ctx)
	err := p.await(ctx, func() bool { return p.dead })
	return p.exit, err
}

// await waits for something that wakes p's waiters.
func (p *Process) await(ctx context.Context, done func() bool) error {
	t := rt.Current(ctx).(*task)
	return rt.Await(ctx, func() bool {
		if done() {
			return true
		}
		p.waiters = append(p.waiters, t)
		return false
	})
}

// local starts processes for one process.
type local struct{ p *Process }

var _ host.Local = (*local)(nil)

var errInUse = errors.New("the address is in use by a process that lives")

func (l *local) Start(ctx context.Context, s host.Spec) (host.Process, error) {
	rt.MayBlock(ctx)
	h := l.p.host
	main := h.Mains[s.Role]
	if main == nil {
		return nil, fmt.Errorf("starting %s on %s: the host has no such role", s.Role, h.name)
	}
	addr := pbx.Addr(h.name + "/" + s.Service())
	if h.w.Find(addr) != nil {
		return nil, fmt.Errorf("starting %s: %w", addr, errInUse)
	}
	p := h.newProcess(s, addr, h.Identity())
	l.p.kids = append(l.p.adopted(), p)
	h.w.callAt(addClock(h.w.clock, int64(h.w.opts.SpawnTime)), normal, p, func() {
		p.run(func(ctx context.Context, env *host.Env) (host.Body, error) {
			return main(ctx, env, p.spec.Args, p.answers)
		})
	})
	if err := p.await(ctx, func() bool { return p.ready || p.dead }); err != nil {
		p.Kill()
		return nil, fmt.Errorf("starting %s: %w", addr, err)
	}
	return p, nil
}

// answers is told that p answers calls.
func (p *Process) answers() {
	p.ready = true
	p.wakeWaiters()
}

// adopted are p's children that live.
func (p *Process) adopted() []*Process {
	alive := p.kids[:0]
	for _, k := range p.kids {
		if !k.dead {
			alive = append(alive, k)
		}
	}
	clear(p.kids[len(alive):])
	return alive
}
