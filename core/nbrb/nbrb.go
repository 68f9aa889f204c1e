// Package nbrb is the resource broker: it holds the queue of resource requests,
// applies the consumption limits that each carries, and is the only role that
// asks nbemm for resources.
//
// It is the far end of B3 and R9 (nbjm asks), makes B4 and R10 (asks nbemm),
// begins the way back of B5 and R11 (the allocation), and takes B16 and R16.
package nbrb

import (
	"cmp"
	"context"
	"fmt"
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
	// Blocked tells the same address why a request waits, when that changes.
	Blocked = pbx.Declare[Grant, struct{}]("nbjm", "Blocked", pbx.Master)
)

// waiting is a request in the queue.
type waiting struct {
	Request
	born  int64
	time  rt.Time
	since time.Duration // monotonic
	why   string

	cause  status.Code                   // of the refusal why: status.ServerBusy is a limit
	until  time.Duration                 // monotonic: up to when waited is right
	waited map[status.Code]time.Duration // by cause
}

// refusal is why a request waits on: nil is not at all.
type refusal struct {
	code status.Code
	why  string
}

// waits adds the time that has passed since it was last called to the cause for
// which the request has waited.
func (w *waiting) waits(ctx context.Context) {
	now := rt.Mono(ctx)
	if w.cause != 0 {
		if w.waited == nil {
			w.waited = map[status.Code]time.Duration{}
		}
		w.waited[w.cause] += now - w.until
	}
	w.until = now
}

// causes are the causes of waiting as [trace.Waited] names them.
var causes = []struct {
	code status.Code
	name string
}{{status.ServerBusy, "limit"}, {status.NoDrive, "drive"}, {status.MediaInUse, "media"}}

// left records how long a request has waited that leaves the queue, and for what.
func (w *waiting) left(ctx context.Context) {
	w.waits(ctx)
	t := trace.From(ctx)
	if t == nil {
		return
	}
	for _, c := range causes {
		if d := w.waited[c.code]; d > 0 {
			s := t.Stamp(ctx)
			t.Emit(ctx, trace.Event{
				Begin: trace.Stamp{Wall: s.Wall.Add(-d)}, End: s, Role: Service, Job: w.Job, What: trace.Waited, Detail: c.name,
			})
		}
	}
}

// Server is the role.
type Server struct {
	master string
	lock   *rt.Mutex
	queue  []*waiting // in order of birth
	births int64
	active map[trace.Job]*waiting // granted and not yet given back
	counts map[string]int         // active jobs of each policy and client
	work   *rt.Queue[struct{}]
}

// New makes the role, and the task that evaluates the queue whenever something
// in it or in what it waits for has changed.
func New(ctx context.Context, master string) *Server {
	s := &Server{
		master: master, lock: rt.NewMutex(ctx), active: map[trace.Job]*waiting{}, counts: map[string]int{},
		work: rt.NewQueue[struct{}](ctx, 0),
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
	s.births++
	s.queue = append(s.queue, &waiting{Request: q, born: s.births, time: rt.Now(ctx), since: rt.Mono(ctx)})
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
	s.queue = slices.DeleteFunc(s.queue, func(w *waiting) bool {
		is := w.Job.ID == j.ID && w.Job.Try == j.Try
		if is {
			w.left(ctx)
		}
		return is
	})
	return struct{}{}, nil
}

func (s *Server) giveBack(ctx context.Context, _ pbx.Peer, q nbemm.Release) (struct{}, error) {
	j := trace.JobOf(ctx)
	if _, err := nbemm.ReleaseAll.Call(trace.WithRole(ctx, Service), pbx.At(s.master, nbemm.Service), q); err != nil {
		return struct{}{}, err
	}
	s.lock.Lock(ctx)
	if w := s.active[j]; w != nil {
		delete(s.active, j)
		s.count(w, -1)
	}
	s.lock.Unlock(ctx)
	s.changed(ctx)
	return struct{}{}, nil
}

func (s *Server) count(w *waiting, d int) {
	if w.Need.Write {
		s.counts["policy "+w.Policy] += d
		s.counts["client "+w.Client] += d
	}
}

// lookAgain is how often waiting requests are evaluated without a reason: what they
// wait for may be a drive that comes up, or a cartridge that is put in.
const lookAgain = time.Minute

func (s *Server) run(ctx context.Context) {
	for ctx.Err() == nil {
		s.await(ctx)
		s.evaluate(ctx)
	}
}

// await returns when something has changed, or after a while if requests wait.
func (s *Server) await(ctx context.Context) {
	s.lock.Lock(ctx)
	waiting := len(s.queue) > 0
	s.lock.Unlock(ctx)
	if waiting {
		tctx, cancel := rt.WithTimeout(ctx, lookAgain)
		defer cancel()
		ctx = tctx
	}
	_, err := s.work.Get(ctx)
	_ = err // the time has passed, or the daemon ends
}

// patience is how long a request waits behind those of higher priority. Whoever
// has waited longer comes before all others: a steady stream of important jobs
// does not starve the rest. It is longer than most windows, so that within a
// night priority is what counts.
const patience = 12 * time.Hour

// order puts requests in the order in which they are served: those that have
// waited too long, then by priority, then by birth.
func order(queue []*waiting, now time.Duration) {
	late := func(w *waiting) int {
		if now-w.since > patience {
			return 0
		}
		return 1
	}
	slices.SortFunc(queue, func(a, b *waiting) int {
		if l := cmp.Compare(late(a), late(b)); l != 0 || late(a) == 0 {
			return cmp.Or(l, cmp.Compare(a.born, b.born))
		}
		return cmp.Or(cmp.Compare(b.Priority, a.Priority), cmp.Compare(a.born, b.born))
	})
}

// ordered is the queue in the order in which it is served.
func (s *Server) ordered(ctx context.Context) []*waiting {
	s.lock.Lock(ctx)
	queue := slices.Clone(s.queue)
	s.lock.Unlock(ctx)
	order(queue, rt.Mono(ctx))
	return queue
}

// waits tells whether a request is still in the queue.
func (s *Server) waits(ctx context.Context, w *waiting) bool {
	s.lock.Lock(ctx)
	defer s.lock.Unlock(ctx)
	return slices.Contains(s.queue, w)
}

// evaluate goes through the queue once. What one request was refused for the
// moment is not asked for again by those behind it that want the same; those that
// want something else are served, whatever the priority of who waits.
func (s *Server) evaluate(ctx context.Context) {
	refused := map[string]*refusal{}
	for _, w := range s.ordered(ctx) {
		if !s.waits(ctx, w) {
			continue // cancelled meanwhile
		}
		want := fmt.Sprintf("%v %q %q %v %q %q", w.Need.Write, w.Need.Storage, w.Need.Pool, w.Need.Retention, w.Need.Media, w.Need.Held)
		no, again := refused[want]
		if !again {
			no = s.limit(ctx, w)
			if no == nil {
				if no = s.try(ctx, w); no != nil {
					refused[want] = no
				}
			}
		}
		if no != nil && s.note(ctx, w, no) {
			err := s.tell(ctx, Blocked, w, Grant{Job: w.Job, Code: no.code, Detail: no.why})
			_ = err // the job is over
		}
	}
}

// note keeps why a request waits; it tells whether it has not been told before.
// Later reasons are for who asks: telling each to all who wait would cost the
// square of their number.
func (s *Server) note(ctx context.Context, w *waiting, no *refusal) (first bool) {
	s.lock.Lock(ctx)
	defer s.lock.Unlock(ctx)
	w.waits(ctx)
	first = w.why == ""
	w.why, w.cause = no.why, no.code
	return first
}

// limit is why a limit keeps the request waiting; nil if none does.
func (s *Server) limit(ctx context.Context, w *waiting) *refusal {
	s.lock.Lock(ctx)
	defer s.lock.Unlock(ctx)
	if !w.Need.Write || w.Need.Held != "" {
		return nil
	}
	if n := s.counts["policy "+w.Policy]; w.PerPolicy > 0 && n >= w.PerPolicy {
		return &refusal{status.ServerBusy, fmt.Sprintf("policy %s runs its %d jobs", w.Policy, n)}
	}
	most := cmp.Or(w.ThisOne, w.PerClient)
	if n := s.counts["client "+w.Client]; most > 0 && n >= most {
		return &refusal{status.ServerBusy, fmt.Sprintf("client %s runs its %d jobs", w.Client, n)}
	}
	return nil
}

// try asks nbemm; the result is why the request must wait on, nil if it was answered.
func (s *Server) try(ctx context.Context, w *waiting) *refusal {
	jctx := trace.WithRole(trace.WithJob(ctx, w.Job), Service)
	a, err := nbemm.Allocate.Call(jctx, pbx.At(s.master, nbemm.Service), w.Need)
	if nbemm.Later(err) {
		return &refusal{status.Of(err, status.ServerBusy), status.Detail(err)}
	}
	s.lock.Lock(ctx)
	at := slices.Index(s.queue, w)
	if at >= 0 {
		s.queue = slices.Delete(s.queue, at, at+1)
		w.left(ctx)
	}
	if at >= 0 && err == nil && s.active[w.Job] == nil {
		s.active[w.Job] = w
		s.count(w, 1)
	}
	s.lock.Unlock(ctx)
	g := Grant{Job: w.Job, Allocation: a}
	switch {
	case err != nil:
		g = Grant{Job: w.Job, Code: status.Of(err, status.ResourceFailed), Detail: status.Detail(err)}
	case at < 0: // cancelled meanwhile
		_, err := nbemm.ReleaseAll.Call(ctx, pbx.At(s.master, nbemm.Service), nbemm.Release{Job: w.Job.ID, Try: w.Job.Try})
		_ = err // nbemm runs in this very process
		s.changed(ctx)
		return nil
	}
	if err := s.tell(ctx, Granted, w, g); err != nil && g.Err() == nil {
		// The job is over: nobody else would give it back.
		_, err := s.giveBack(jctx, pbx.Peer{}, nbemm.Release{Job: w.Job.ID, Try: w.Job.Try})
		_ = err // nbemm runs in this very process
	}
	return nil
}

func (s *Server) tell(ctx context.Context, m *pbx.Method[Grant, struct{}], w *waiting, g Grant) error {
	jctx := trace.WithRole(trace.WithJob(ctx, w.Job), Service)
	_, err := m.Call(jctx, w.Reply, g)
	return err
}

func (s *Server) waiters(ctx context.Context, _ pbx.Peer, _ struct{}) ([]Waiter, error) {
	queue := s.ordered(ctx)
	ws := make([]Waiter, 0, len(queue))
	s.lock.Lock(ctx)
	defer s.lock.Unlock(ctx)
	for _, w := range queue {
		ws = append(ws, Waiter{Job: w.Job.ID, Priority: w.Priority, Since: w.time, Why: w.why})
	}
	return ws, nil
}
