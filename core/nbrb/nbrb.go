// Package nbrb is the resource broker: it holds the queue of resource requests,
// applies the consumption limits that each carries, and is the only role that
// asks nbemm for resources.
//
// It is the far end of B3 and R9 (nbjm asks), makes B4 and R10 (asks nbemm),
// begins the way back of B5 and R11 (the allocation), and takes B16 and R16.
package nbrb

import (
	"context"
	"maps"
	"slices"
	"time"

	"capstan/core/nbemm"
	"capstan/core/pbx"
	"capstan/core/rt"
	"capstan/core/status"
	"capstan/core/trace"
)

// Service is the role's name on the master.
const Service = "nbrb"

// Request asks for what a job needs, within the limits that its policy says.
type Request struct {
	Job       trace.Job     `json:"job"`
	Need      nbemm.Request `json:"need"`
	Priority  int           `json:"priority"`
	Policy    string        `json:"policy,omitempty"`
	Client    string        `json:"client,omitempty"`
	PerPolicy int           `json:"perPolicy,omitempty"` // most jobs of the policy at a time; 0 is no limit
	PerClient int           `json:"perClient,omitempty"` // most jobs of a client
	ThisOne   int           `json:"thisOne,omitempty"`   // most jobs of this client, instead of PerClient
	Reply     pbx.Addr      `json:"reply"`               // who answers [Granted]
}

// Grant is the answer: an allocation, or why there is none.
type Grant struct {
	Job        trace.Job        `json:"job"`
	Allocation nbemm.Allocation `json:"allocation"`
	Code       status.Code      `json:"code,omitempty"`
	Detail     string           `json:"detail,omitempty"`
}

// Err is the refusal, nil for an allocation.
func (g *Grant) Err() error {
	if g.Code == status.OK {
		return nil
	}
	return status.Errorf(g.Code, "%s", g.Detail)
}

// Waiter is a request that waits, for people.
type Waiter struct {
	Job      int64   `json:"job"`
	Priority int     `json:"priority"`
	Since    rt.Time `json:"since"`
	Why      string  `json:"why"`
}

// The methods of nbrb.
var (
	Ask      = pbx.Declare[Request, struct{}](Service, "Ask", pbx.Master, pbx.Step("B3", "R9"))
	Cancel   = pbx.Declare[trace.Job, struct{}](Service, "Cancel", pbx.Master)
	GiveBack = pbx.Declare[nbemm.Release, struct{}](Service, "GiveBack", pbx.Master, pbx.Step("B16", "R16"))
	Waiters  = pbx.Declare[struct{}, []Waiter](Service, "Waiters", pbx.Hosts|pbx.User, pbx.Query())
	// Granted is how nbrb answers a request, at the address that it names.
	Granted = pbx.Declare[Grant, struct{}]("nbjm", "Granted", pbx.Master, pbx.Step("B5", "R11"))
	// Blocked tells the same address why requests wait that have just come.
	Blocked = pbx.Declare[[]Waiter, struct{}]("nbjm", "Blocked", pbx.Master)
)

// Server is the role.
type Server struct {
	master string
	lock   *rt.Mutex
	queue  queue
	fresh  []*waiting       // whose reason for waiting nobody was told
	active map[job]*waiting // granted and not yet given back
	counts map[string]int   // active jobs of each policy and client
	closed map[want]*closed // what nbemm has refused since the last look at all
	backs  int64            // how often something was given back
	looked time.Duration    // of the last look at all, monotonic
	work   *rt.Queue[struct{}]
}

// New makes the role, and the task that evaluates the queue whenever something
// in it or in what it waits for has changed.
func New(ctx context.Context, master string) *Server {
	s := &Server{
		master: master, lock: rt.NewMutex(ctx), queue: newQueue(), active: map[job]*waiting{}, counts: map[string]int{},
		closed: map[want]*closed{}, work: rt.NewQueue[struct{}](ctx, 0),
	}
	rt.Go(ctx, "nbrb evaluate", s.run)
	return s
}

// Mux is what the role answers.
func (s *Server) Mux(ctx context.Context, epoch uint64) *pbx.Mux {
	mux := pbx.NewMux(ctx, Service, epoch)
	pbx.Handle(mux, Ask, s.ask)
	pbx.Handle(mux, Cancel, s.cancel)
	pbx.Handle(mux, GiveBack, s.giveBack)
	pbx.Handle(mux, Waiters, s.waiters)
	return mux
}

func (s *Server) ask(ctx context.Context, _ pbx.Peer, q Request) (struct{}, error) {
	s.lock.Lock(ctx)
	s.fresh = append(s.fresh, s.queue.add(q, rt.Now(ctx), rt.Mono(ctx)))
	s.lock.Unlock(ctx)
	pbx.AfterReply(ctx, func() { s.changed(ctx) })
	return struct{}{}, nil
}

// changed has the queue evaluated; many changes at once make one evaluation.
func (s *Server) changed(ctx context.Context) {
	if s.work.Len() == 0 {
		_ = s.work.Put(ctx, struct{}{}) // the queue has no limit and is never closed
	}
}

func (s *Server) cancel(ctx context.Context, _ pbx.Peer, j trace.Job) (struct{}, error) {
	s.lock.Lock(ctx)
	defer s.lock.Unlock(ctx)
	for _, w := range slices.Clone(s.queue.byJob[jobOf(j)]) {
		s.remove(ctx, w)
	}
	return struct{}{}, nil
}

func (s *Server) giveBack(ctx context.Context, _ pbx.Peer, q nbemm.Release) (struct{}, error) {
	j := trace.JobOf(ctx)
	r, err := nbemm.ReleaseAll.Call(trace.WithRole(ctx, Service), pbx.At(s.master, nbemm.Service), q)
	s.lock.Lock(ctx)
	if w := s.active[jobOf(j)]; w != nil {
		delete(s.active, jobOf(j))
		s.count(w, -1)
		s.queue.rejoin(w.Client, rt.Mono(ctx))
	}
	s.reopen(r, err)
	s.lock.Unlock(ctx)
	s.changed(ctx)
	return struct{}{}, err // the job is over all the same
}

// reopen lets requests through that were refused, as something was given back: all of
// them if nbemm failed to say for whom.
func (s *Server) reopen(r nbemm.Released, err error) {
	s.backs++
	if err != nil {
		clear(s.closed)
		return
	}
	for w, c := range s.closed { //capstan:unordered each by itself
		if w.write && !slices.Contains(r.For, w.storage) {
			continue
		}
		if c.code == status.MediaInUse {
			delete(s.closed, w) // a job may give back several cartridges
		} else {
			c.pass++
		}
	}
}

func (s *Server) count(w *waiting, d int) {
	if !w.Need.Write {
		return
	}
	for _, key := range []string{"policy " + w.Policy, "client " + w.Client} {
		if s.counts[key] += d; s.counts[key] == 0 {
			delete(s.counts, key)
		}
	}
}

// lookAgain is how often nbemm is asked without a reason for what it has refused: what
// requests wait for may be a drive that comes up, or a cartridge that is put in.
const lookAgain = time.Minute

func (s *Server) run(ctx context.Context) {
	for ctx.Err() == nil {
		s.await(ctx)
		s.evaluate(ctx)
	}
}

// await returns when something has changed, or, if requests wait, when it is time to look again.
func (s *Server) await(ctx context.Context) {
	s.lock.Lock(ctx)
	waiting := !s.queue.empty()
	s.lock.Unlock(ctx)
	if waiting {
		tctx, cancel := rt.WithTimeout(ctx, s.looked+lookAgain-rt.Mono(ctx))
		defer cancel()
		ctx = tctx
	}
	_, err := s.work.Get(ctx)
	_ = err // the time has passed, or the daemon ends
}

// evaluate tries the requests in the order in which they are served. What one was
// refused for the moment is not asked for again by those behind it that want the
// same, until something is given back; those that want something else are served,
// whatever the priority of who waits.
func (s *Server) evaluate(ctx context.Context) {
	if now := rt.Mono(ctx); now-s.looked >= lookAgain {
		s.lock.Lock(ctx)
		clear(s.closed)
		s.lock.Unlock(ctx)
		s.looked = now
	}
	for ctx.Err() == nil {
		s.lock.Lock(ctx)
		w := s.queue.next(rt.Mono(ctx), s.closed, s.counts)
		backs := s.backs
		s.lock.Unlock(ctx)
		if w == nil {
			break
		}
		s.try(ctx, w, backs)
	}
	s.tellFresh(ctx)
}

// tellFresh tells the requests that are new why they wait, once. Later reasons are
// for who asks: telling each to all who wait would cost the square of their number.
func (s *Server) tellFresh(ctx context.Context) {
	s.lock.Lock(ctx)
	s.queue.sweep()
	blocked := map[pbx.Addr][]Waiter{}
	fresh := slices.DeleteFunc(s.fresh, func(w *waiting) bool { return w.gone })
	order(fresh, rt.Mono(ctx))
	s.fresh = nil
	for _, w := range fresh {
		if why := w.why(s.counts); why != "" {
			blocked[w.Reply] = append(blocked[w.Reply], w.shown(why))
		} else {
			s.fresh = append(s.fresh, w) // it came in this moment
		}
	}
	s.lock.Unlock(ctx)
	for _, to := range slices.Sorted(maps.Keys(blocked)) {
		for ws := range slices.Chunk(blocked[to], maxBlocked) {
			_, err := Blocked.Call(ctx, to, ws)
			_ = err // the jobs are over
		}
	}
}

// maxBlocked bounds a call that tells of many requests.
const maxBlocked = 1000

// shown is what people are told of a request that waits.
func (w *waiting) shown(why string) Waiter {
	return Waiter{Job: w.Job.ID, Priority: w.Priority, Since: w.time, Why: why}
}

// try asks nbemm, and answers the request unless it must wait on. If something was given
// back since backs was read, a refusal may be of before: it closes nothing, and nbemm is
// asked again.
func (s *Server) try(ctx context.Context, w *waiting, backs int64) {
	jctx := trace.As(ctx, w.Job, Service)
	a, err := nbemm.Allocate.Call(jctx, pbx.At(s.master, nbemm.Service), w.Need)
	s.lock.Lock(ctx)
	if nbemm.Later(err) {
		if s.backs == backs {
			s.closed[w.line.want] = &closed{refusal: refusal{status.Of(err, status.ServerBusy), status.Detail(err)}}
		}
		s.lock.Unlock(ctx)
		return
	}
	if c := s.closed[w.line.want]; c != nil && err == nil { // one that failed has used nothing up
		c.pass--
	}
	waited := s.remove(ctx, w)
	if waited && err == nil && s.active[jobOf(w.Job)] == nil {
		s.active[jobOf(w.Job)] = w
		s.count(w, 1)
	}
	if err == nil && w.Need.Held != "" && !w.Need.Write {
		// The restore no longer has the cartridge before this one.
		maps.DeleteFunc(s.closed, func(_ want, c *closed) bool { return c.code == status.MediaInUse })
	}
	s.lock.Unlock(ctx)
	g := Grant{Job: w.Job, Allocation: a}
	switch {
	case err != nil:
		g = Grant{Job: w.Job, Code: status.Of(err, status.ResourceFailed), Detail: status.Detail(err)}
	case !waited: // cancelled meanwhile
		r, err := nbemm.ReleaseAll.Call(ctx, pbx.At(s.master, nbemm.Service), nbemm.Release{Job: w.Job.ID, Try: w.Job.Try})
		s.lock.Lock(ctx)
		s.reopen(r, err)
		s.lock.Unlock(ctx)
		s.changed(ctx)
		return
	}
	if _, err := Granted.Call(jctx, w.Reply, g); err != nil && g.Err() == nil {
		// The job is over: nobody else would give it back.
		_, err := s.giveBack(jctx, pbx.Peer{}, nbemm.Release{Job: w.Job.ID, Try: w.Job.Try})
		_ = err // nbemm runs in this very process
	}
}

func (s *Server) waiters(ctx context.Context, _ pbx.Peer, _ struct{}) ([]Waiter, error) {
	s.lock.Lock(ctx)
	defer s.lock.Unlock(ctx)
	queue := s.queue.ordered(rt.Mono(ctx))
	ws := make([]Waiter, 0, len(queue))
	for _, w := range queue {
		ws = append(ws, w.shown(w.why(s.counts)))
	}
	return ws, nil
}
