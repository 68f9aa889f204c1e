// Package nbpem is the policy execution manager: it has a PolicyClient task for
// each policy and client, with one timer, and decides when a backup is due.
//
// B1: the timer expires, and the task sends a Job Start to nbjm. B17: the task
// learns how the job ended; it requests a re-try after a failure, or computes
// the new due time after a success.
package nbpem

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"capstan/core/bpjobd"
	"capstan/core/job"
	"capstan/core/nbjm"
	"capstan/core/pbx"
	"capstan/core/policy"
	"capstan/core/rt"
	"capstan/core/status"
	"capstan/core/store"
	"capstan/core/trace"
)

// Service is the role's name on the master.
const Service = "nbpem"

// Backup asks for a backup now, whatever the windows say.
type Backup struct {
	Policy   string `json:"policy"`
	Client   string `json:"client,omitempty"`   // "" is each of the policy's
	Schedule string `json:"schedule,omitempty"` // "" is the policy's first
	Storage  string `json:"storage,omitempty"`  // instead of the policy's
}

// Due is what the worklist says of a policy and client.
type Due struct {
	Policy   string  `json:"policy"`
	Client   string  `json:"client"`
	Schedule string  `json:"schedule,omitempty"`
	At       rt.Time `json:"at,omitempty"` // 0: never, as no schedule has a window
	Running  int64   `json:"running,omitempty"`
}

// The methods of nbpem.
var (
	BackupNow    = pbx.Declare[Backup, []int64](Service, "BackupNow", pbx.Master|pbx.Client|pbx.User)
	PutPolicy    = pbx.Declare[policy.Policy, struct{}](Service, "PutPolicy", pbx.Master|pbx.User)
	DeletePolicy = pbx.Declare[string, struct{}](Service, "DeletePolicy", pbx.Master|pbx.User)
	Policies     = pbx.Declare[struct{}, []policy.Policy](Service, "Policies", pbx.Master|pbx.Media|pbx.User, pbx.Query())
	Worklist     = pbx.Declare[struct{}, []Due](Service, "Worklist", pbx.Master|pbx.Media|pbx.User, pbx.Query())
)

// last is the last successful backup of a policy, client and schedule.
type last struct {
	Began rt.Time `json:"began"`
	Bytes int64   `json:"bytes"`
}

var lastTable = store.Declare[string, last]("last_backups", 1, store.StringKey, nil)

// failures are the times of failed tries of a policy and client.
var failures = store.Declare[string, []rt.Time]("failed_tries", 1, store.StringKey, nil)

// Schemas are the tables of the role.
func Schemas() []*store.Schema {
	return []*store.Schema{policy.Table.Schema(), lastTable.Schema(), failures.Schema()}
}

// Server is the role.
type Server struct {
	host  string
	db    store.DB
	put   *rt.Mutex // of who changes policies, until the tasks know
	lock  rt.Lock
	tasks map[string]*task // by policy and client
	waits map[int64]*waiter
}

type waiter struct {
	ended *rt.Event
	how   nbjm.Completed
}

// New makes the role.
func New(ctx context.Context, hostName string, db store.DB) *Server {
	return &Server{host: hostName, db: db, put: rt.NewMutex(ctx), lock: rt.NewLock(ctx), tasks: map[string]*task{}, waits: map[int64]*waiter{}}
}

// Start starts a task for each client of each policy, once the other roles of
// the master answer.
func (s *Server) Start(ctx context.Context) error {
	ctx = trace.WithRole(ctx, Service)
	ps, err := s.policies(ctx)
	if err != nil {
		return err
	}
	for i := range ps {
		s.schedule(ctx, &ps[i])
	}
	rt.Go(ctx, "clock watch", s.watchClock)
	return nil
}

// Mux is what the role answers.
func (s *Server) Mux(ctx context.Context, epoch uint64) *pbx.Mux {
	mux := pbx.NewMux(ctx, Service, epoch)
	pbx.Handle(mux, BackupNow, s.backupNow)
	pbx.Handle(mux, PutPolicy, func(ctx context.Context, _ pbx.Peer, p policy.Policy) (struct{}, error) {
		return struct{}{}, s.Put(ctx, p)
	})
	pbx.Handle(mux, DeletePolicy, s.deletePolicy)
	pbx.Handle(mux, Policies, func(ctx context.Context, _ pbx.Peer, _ struct{}) ([]policy.Policy, error) { return s.policies(ctx) })
	pbx.Handle(mux, Worklist, s.worklist)
	pbx.Handle(mux, nbjm.Report, func(ctx context.Context, _ pbx.Peer, c nbjm.Completed) (struct{}, error) {
		s.lock.Lock()
		w := s.waits[c.Start.ID]
		delete(s.waits, c.Start.ID)
		s.lock.Unlock()
		if w != nil {
			w.how = c
			pbx.AfterReply(ctx, w.ended.Set)
		}
		return struct{}{}, nil
	})
	return mux
}

func (s *Server) policies(ctx context.Context) (ps []policy.Policy, err error) {
	err = s.db.View(ctx, func(tx store.Tx) error {
		ps = nil
		return policy.Table.All(tx, func(p policy.Policy) (bool, error) {
			ps = append(ps, p)
			return true, nil
		})
	})
	return ps, err
}

func (s *Server) policy(ctx context.Context, name string) (p policy.Policy, ok bool, err error) {
	err = s.db.View(ctx, func(tx store.Tx) (err error) {
		p, ok, err = policy.Table.Get(tx, name)
		return err
	})
	return p, ok, err
}

// Put makes a policy known, or changes it.
func (s *Server) Put(ctx context.Context, p policy.Policy) error {
	if p.Name == "" || len(p.Clients) == 0 || len(p.Paths) == 0 || p.Storage == "" {
		return status.Errorf(status.BadParameter, "a policy needs a name, clients, paths and a storage unit")
	}
	for _, name := range append([]string{p.Name}, p.Clients...) {
		if strings.ContainsAny(name, "/\x00") || strings.HasPrefix(name, ".") {
			return status.Errorf(status.BadParameter, "%q cannot be the name of a policy or client: it becomes a file's", name)
		}
	}
	if _, err := p.Location(); err != nil {
		return status.Errorf(status.BadParameter, "%w", err)
	}
	for _, sch := range p.Schedules {
		if len(sch.Windows) > 0 && sch.Frequency <= 0 {
			return status.Errorf(status.BadParameter, "policy %s, schedule %s: it has windows and no frequency: say how often it is to run", p.Name, sch.Name)
		}
	}
	s.put.Lock(ctx)
	defer s.put.Unlock(ctx)
	if err := s.db.Update(ctx, func(tx store.Tx) error { return policy.Table.Put(tx, p.Name, p) }); err != nil {
		return status.Errorf(status.Database, "policy %s: %w", p.Name, err)
	}
	s.schedule(ctx, &p)
	return nil
}

// PutNew makes a policy known, unless there is one of its name.
func (s *Server) PutNew(ctx context.Context, p policy.Policy) error {
	_, known, err := s.policy(ctx, p.Name)
	if err != nil || known {
		return err
	}
	return s.Put(ctx, p)
}

func (s *Server) deletePolicy(ctx context.Context, _ pbx.Peer, name string) (struct{}, error) {
	p, ok, err := s.policy(ctx, name)
	if err != nil {
		return struct{}{}, status.Errorf(status.Database, "policy %s: %w", name, err)
	}
	if !ok {
		return struct{}{}, status.Errorf(status.NotFound, "there is no policy %s", name)
	}
	s.put.Lock(ctx)
	defer s.put.Unlock(ctx)
	if err := s.db.Update(ctx, func(tx store.Tx) error { return policy.Table.Delete(tx, name) }); err != nil {
		return struct{}{}, status.Errorf(status.Database, "policy %s: %w", name, err)
	}
	p.Clients = nil
	s.schedule(ctx, &p)
	return struct{}{}, nil
}

// schedule starts tasks for the policy's clients that have none, and has the
// others look at the policy again: those that it no longer has end then.
func (s *Server) schedule(ctx context.Context, p *policy.Policy) {
	ctx = trace.As(rt.WithoutCancel(ctx), trace.Job{}, Service)
	s.lock.Lock()
	defer s.lock.Unlock()
	has := make(map[string]bool, len(p.Clients))
	for _, c := range p.Clients {
		has[c] = true
		key := store.PairKey(p.Name, c)
		if s.tasks[key] == nil {
			t := &task{s: s, policy: p.Name, client: c, key: key, pokes: rt.NewQueue[struct{}](ctx, 0)}
			s.tasks[key] = t
			rt.Go(ctx, "PolicyClient "+p.Name+" "+c, t.run)
		}
	}
	for _, key := range s.keys() {
		if t := s.tasks[key]; t.policy == p.Name {
			t.over = !has[t.client]
			t.poke(ctx)
		}
	}
}

// over tells whether a task's policy does not back its client up any more.
func (s *Server) over(t *task) bool {
	s.lock.Lock()
	defer s.lock.Unlock()
	return t.over
}

func (s *Server) keys() []string {
	keys := make([]string, 0, len(s.tasks))
	for k := range s.tasks { //capstan:unordered sorted below
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// watchClock has every task compute its due time again when the wall clock has
// jumped: sleeps are monotonic, due times are not.
func (s *Server) watchClock(ctx context.Context) {
	offset := rt.Now(ctx).Sub(rt.Time(rt.Mono(ctx)))
	for rt.Sleep(ctx, time.Minute) == nil {
		now := rt.Now(ctx).Sub(rt.Time(rt.Mono(ctx)))
		if d := now - offset; d > time.Second || d < -time.Second {
			s.lock.Lock()
			for _, k := range s.keys() {
				s.tasks[k].poke(ctx)
			}
			s.lock.Unlock()
		}
		offset = now
	}
}

func (s *Server) backupNow(ctx context.Context, from pbx.Peer, q Backup) ([]int64, error) {
	p, ok, err := s.policy(ctx, q.Policy)
	if err != nil {
		return nil, status.Errorf(status.Database, "policy %s: %w", q.Policy, err)
	}
	if !ok {
		return nil, status.Errorf(status.NotFound, "there is no policy %s", q.Policy)
	}
	sch, err := p.Schedule(q.Schedule)
	if err != nil {
		return nil, status.Errorf(status.NoSchedule, "%w", err)
	}
	clients := p.Clients
	if q.Client != "" {
		if !p.HasClient(q.Client) {
			return nil, status.Errorf(status.UnknownClient, "policy %s does not back up client %s", p.Name, q.Client)
		}
		clients = []string{q.Client}
	}
	if !from.Is(pbx.Master|pbx.User) && (len(clients) != 1 || clients[0] != from.Name) {
		return nil, status.Errorf(status.ClientNotAllowed, "%s may only back up itself", from)
	}
	var ids []int64
	var jobs []func(ctx context.Context)
	for _, c := range clients {
		id, err := bpjobd.NewID.Call(ctx, pbx.At(s.host, bpjobd.Service), struct{}{})
		if err != nil {
			return ids, err
		}
		s.lock.Lock()
		t := s.tasks[store.PairKey(p.Name, c)]
		s.lock.Unlock()
		if t == nil {
			return ids, status.Errorf(status.NotFound, "policy %s has no task for client %s", p.Name, c)
		}
		jobs = append(jobs, func(ctx context.Context) {
			t.onDemand(ctx, p, sch, request{id: id, storage: q.Storage, owner: from.Identity.String()})
		})
		ids = append(ids, id)
	}
	jctx := trace.As(rt.WithoutCancel(ctx), trace.Job{}, Service)
	pbx.AfterReply(ctx, func() {
		for _, run := range jobs {
			rt.Go(jctx, "backup on demand", run)
		}
	})
	return ids, nil
}

func (s *Server) worklist(ctx context.Context, _ pbx.Peer, _ struct{}) ([]Due, error) {
	s.lock.Lock()
	var ds []Due
	for _, k := range s.keys() {
		ds = append(ds, s.tasks[k].due)
	}
	s.lock.Unlock()
	slices.SortStableFunc(ds, func(a, b Due) int { return cmp.Compare(a.At, b.At) })
	return ds, nil
}

// run sends one Job Start (B1) and waits for its end (B17).
func (s *Server) run(ctx context.Context, q job.Start) nbjm.Completed {
	w := &waiter{ended: rt.NewEvent(ctx)}
	s.lock.Lock()
	s.waits[q.ID] = w
	s.lock.Unlock()
	jctx := trace.WithJob(ctx, trace.Job{ID: q.ID, Try: q.Try})
	if _, err := nbjm.JobStart.Call(jctx, pbx.At(s.host, nbjm.Service), q); err != nil {
		return nbjm.Completed{Start: q, Status: status.Of(err, status.JobManager), Detail: status.Detail(err)}
	}
	if err := w.ended.Wait(ctx); err != nil {
		return nbjm.Completed{Start: q, Status: status.Terminated, Detail: err.Error()}
	}
	return w.how
}
