package host

import (
	"context"
	"errors"
	"slices"
	"time"

	"capstan/core/pbx"
	"capstan/core/rt"
	"capstan/core/status"
	"capstan/core/trace"
)

// Service is the name at which a host's daemon starts processes for others.
const Service = "pbx"

// Started is the answer to [Start].
type Started struct {
	Addr pbx.Addr `json:"addr"`
	Pid  int      `json:"pid"`
}

// WaitFor asks for the end of a process.
type WaitFor struct {
	Addr pbx.Addr `json:"addr"`
}

// Waited is the answer: Ended is false if the time of one call has passed.
type Waited struct {
	Ended bool `json:"ended"`
	Exit  Exit `json:"exit"`
}

// EndJob asks to end what runs of a try of a job.
type EndJob struct {
	Job  int64 `json:"job"`
	Try  int   `json:"try"`
	Kill bool  `json:"kill"` // at once, without asking the processes
}

// The methods of the daemon. Who may start what is checked by [Daemon.Start].
var (
	StartMethod = pbx.Declare[Spec, Started](Service, "Start", pbx.Hosts)
	WaitMethod  = pbx.Declare[WaitFor, Waited](Service, "Wait", pbx.Hosts, pbx.Query())
	EndMethod   = pbx.Declare[EndJob, struct{}](Service, "End", pbx.Master)
	// AttendMethod is answered by a process that started others: it returns when
	// they shall stop. A process whose parent is gone gets an error instead.
	AttendMethod = pbx.Declare[struct{}, bool]("process", "Attend", pbx.Hosts, pbx.Query())
)

// pollTime is how long one call for something slow lasts at most: the caller
// makes it again. A broken connection is noticed by the transport much earlier.
const pollTime = 10 * time.Minute

// lostAfter is how long a host may be silent before what runs there counts as lost.
const lostAfter = 60 * time.Second

// Daemon starts processes of its host for roles on any host.
type Daemon struct {
	env    *Env
	allow  func(from pbx.Peer, s Spec) error
	lock   rt.Lock
	procs  map[pbx.Addr]*running
	live   []*running // those of procs that run, in order of start
	reaped []*running // those that have ended, in this order
	// starting are those that do not answer yet: an end of their job reaches them too.
	starting []*running
}

type running struct {
	addr  pbx.Addr
	job   int64
	try   int
	proc  Process // nil while it is starting, and when it has ended
	over  bool    // its job was ended meanwhile
	ended *rt.Event
	exit  Exit
	at    time.Duration // of the end, monotonic
}

// NewDaemon makes the daemon of a host. allow decides who may start what.
func NewDaemon(ctx context.Context, env *Env, allow func(pbx.Peer, Spec) error) *Daemon {
	return &Daemon{env: env, allow: allow, lock: rt.NewLock(ctx), procs: map[pbx.Addr]*running{}}
}

// Handle registers the daemon's methods.
func (d *Daemon) Handle(mux *pbx.Mux) {
	pbx.Handle(mux, StartMethod, func(ctx context.Context, from pbx.Peer, s Spec) (Started, error) {
		if err := d.allow(from, s); err != nil {
			return Started{}, err
		}
		return d.Start(ctx, s)
	})
	pbx.Handle(mux, WaitMethod, d.wait)
	pbx.Handle(mux, EndMethod, d.end)
}

// Start starts a process and returns when it answers calls.
func (d *Daemon) Start(ctx context.Context, s Spec) (Started, error) {
	addr := pbx.Addr(d.env.Host + "/" + s.Service())
	r := &running{addr: addr, job: s.Job, try: s.Try, ended: rt.NewEvent(ctx)}
	d.lock.Lock()
	d.starting = append(d.starting, r)
	d.lock.Unlock()
	held := rt.WithoutCancel(ctx)
	p, err := d.env.Local.Start(held, s)
	d.lock.Lock()
	d.starting = slices.DeleteFunc(d.starting, func(o *running) bool { return o == r })
	if err == nil {
		r.proc = p
		d.procs[addr] = r
		d.live = append(d.live, r)
	}
	over := r.over
	d.lock.Unlock()
	if err != nil {
		r.ended.Set()
		return Started{}, status.Errorf(status.SystemCall, "starting %s: %w", addr, err)
	}
	rt.Go(held, "reap", func(ctx context.Context) {
		exit, err := p.Wait(ctx)
		if err != nil {
			exit = Exit{Killed: true, Detail: err.Error()}
		}
		d.reap(r, exit, rt.Mono(ctx))
	})
	// Whoever asked may have been killed: then nobody would ever end the process.
	if over || ctx.Err() != nil {
		p.Kill()
		return Started{}, status.Errorf(status.Terminated, "the job of %s was ended while it started", addr)
	}
	return Started{Addr: addr, Pid: p.Pid()}, nil
}

// reap takes note of a process's end, and forgets those that ended so long ago that
// nobody needs to know: whoever waits asks again within lostAfter.
func (d *Daemon) reap(r *running, exit Exit, now time.Duration) {
	d.lock.Lock()
	r.proc, r.exit, r.at = nil, exit, now
	d.live = slices.DeleteFunc(d.live, func(o *running) bool { return o == r })
	d.reaped = append(d.reaped, r)
	n := 0
	for ; d.reaped[n].at < now-2*lostAfter; n++ {
		if old := d.reaped[n]; d.procs[old.addr] == old {
			delete(d.procs, old.addr)
		}
	}
	d.reaped = slices.Delete(d.reaped, 0, n)
	d.lock.Unlock()
	r.ended.Set()
}

func (d *Daemon) wait(ctx context.Context, _ pbx.Peer, q WaitFor) (Waited, error) {
	d.lock.Lock()
	r := d.procs[q.Addr]
	d.lock.Unlock()
	if r == nil {
		return Waited{}, status.Errorf(status.NotFound, "no process %s runs here", q.Addr)
	}
	if err := r.ended.WaitFor(ctx, pollTime); err != nil {
		return Waited{}, nil //nolint:nilerr // the time of one call has passed
	}
	return Waited{Ended: true, Exit: r.exit}, nil
}

func (d *Daemon) end(ctx context.Context, _ pbx.Peer, q EndJob) (struct{}, error) {
	all, procs := d.ofJob(q.Job, q.Try)
	for _, p := range procs {
		if q.Kill {
			p.Kill()
		} else {
			p.Terminate()
		}
	}
	for _, r := range all {
		if err := r.ended.Wait(ctx); err != nil {
			return struct{}{}, err
		}
	}
	return struct{}{}, nil
}

// ofJob is what there is of a try that is being ended, and the processes that run:
// what is still being started will be killed as soon as it answers.
func (d *Daemon) ofJob(job int64, try int) (all []*running, procs []Process) {
	d.lock.Lock()
	defer d.lock.Unlock()
	for _, r := range d.starting {
		if r.job == job && r.try == try {
			r.over = true
			all = append(all, r)
		}
	}
	for _, r := range d.live {
		if r.job == job && r.try == try {
			all, procs = append(all, r), append(procs, r.proc)
		}
	}
	return all, procs
}

// StartOn has a host's daemon start a process with args for its main function,
// as a step of the flow. It returns when the process answers calls.
func StartOn(ctx context.Context, step, host, role string, n int, epoch uint64, args any) (pbx.Addr, error) {
	j := trace.JobOf(ctx)
	s := Spec{Role: role, Job: j.ID, Try: j.Try, N: n, Epoch: epoch, Args: Value(args), Restore: j.Restore}
	end := trace.Begin(ctx, step, "start "+role+" on "+host)
	started, err := StartMethod.Call(ctx, pbx.At(host, Service), s)
	end(string(started.Addr), int(status.Of(err, status.SystemError)))
	return started.Addr, err
}

// Await waits for the end of a process. A host that cannot be reached for a
// minute counts as gone, with its processes.
func Await(ctx context.Context, addr pbx.Addr) (Exit, error) {
	lostSince := time.Duration(-1)
	for {
		w, err := WaitMethod.Call(ctx, pbx.At(addr.Host(), Service), WaitFor{Addr: addr})
		switch {
		case ctx.Err() != nil:
			return Exit{}, rt.Cause(ctx)
		case err == nil && w.Ended:
			return w.Exit, nil
		case err == nil:
			lostSince = -1
			continue
		case !errors.Is(err, pbx.ErrUnreachable) && !errors.Is(err, pbx.ErrOutcomeUnknown):
			return Exit{Killed: true, Detail: err.Error()}, nil
		}
		now := rt.Mono(ctx)
		if lostSince < 0 {
			lostSince = now
		} else if now-lostSince >= lostAfter {
			return Exit{}, status.Errorf(status.NetworkBroken, "host %s does not answer since %v: %w", addr.Host(), now-lostSince, err)
		}
		if err := rt.Sleep(ctx, 5*time.Second); err != nil {
			return Exit{}, err
		}
	}
}

// End ends what runs of the context's job on a host, and returns when it is gone.
func End(ctx context.Context, host string, kill bool) error {
	j := trace.JobOf(ctx)
	_, err := EndMethod.Call(ctx, pbx.At(host, Service), EndJob{Job: j.ID, Try: j.Try, Kill: kill})
	return err
}

// HandleAttend has a process answer [AttendMethod]: stop is set when those who
// attend to it shall stop.
func HandleAttend(mux *pbx.Mux, stop *rt.Event) {
	pbx.Handle(mux, AttendMethod, func(ctx context.Context, _ pbx.Peer, _ struct{}) (bool, error) {
		return WaitStop(ctx, stop), nil
	})
}

// WaitStop is the answer to [AttendMethod]: whether stop was set in the time of
// one call.
func WaitStop(ctx context.Context, stop *rt.Event) bool {
	return stop.WaitFor(ctx, pollTime) == nil
}

// Attend ends the context that it returns when the process at addr says so, or
// is gone: then what was started by it has nobody left to work for.
func Attend(ctx context.Context, addr pbx.Addr) (context.Context, func(error)) {
	ctx, cancel := rt.WithCancel(ctx)
	rt.Go(ctx, "attend "+string(addr), func(ctx context.Context) {
		lostSince := time.Duration(-1)
		for ctx.Err() == nil {
			stop, err := AttendMethod.Call(ctx, addr, struct{}{})
			now := rt.Mono(ctx)
			switch {
			case err == nil && stop:
				cancel(status.Errorf(status.Terminated, "%s ended the job", addr))
				return
			case err == nil:
				lostSince = -1
				continue
			case errors.Is(err, pbx.ErrUnreachable), errors.Is(err, pbx.ErrOutcomeUnknown):
				if lostSince < 0 {
					lostSince = now
				} else if now-lostSince >= lostAfter {
					cancel(status.Errorf(status.NetworkBroken, "%s does not answer: %w", addr, err))
					return
				}
				if rt.Sleep(ctx, 5*time.Second) != nil {
					return
				}
			default:
				cancel(err)
				return
			}
		}
	})
	return ctx, cancel
}
