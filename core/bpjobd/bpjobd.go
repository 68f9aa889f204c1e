// Package bpjobd is the job database: it holds every job's visible state, which
// is what the Activity Monitor shows, the jobs' logs, and their traces.
//
// It is the far end of B2, B5 and B14 (nbjm tells it of a backup), and of R3
// and R17 (bprd tells it of a restore). The steps are the callers'.
package bpjobd

import (
	"context"
	"errors"
	"slices"
	"time"

	"capstan/core/job"
	"capstan/core/pbx"
	"capstan/core/rt"
	"capstan/core/status"
	"capstan/core/store"
	"capstan/core/trace"
)

// Service is the role's name on the master.
const Service = "bpjobd"

// Any is everybody of the domain; what each may see is checked by the handler.
const Any = pbx.Hosts | pbx.User

// Update changes what is shown of a job. Zero fields leave things as they are.
type Update struct {
	ID          int64       `json:"id"`
	State       job.State   `json:"state,omitempty"`
	Status      status.Code `json:"status,omitempty"`
	Detail      string      `json:"detail,omitempty"`
	MediaServer string      `json:"mediaServer,omitempty"`
	StorageUnit string      `json:"storageUnit,omitempty"`
	Drive       string      `json:"drive,omitempty"`
	Media       string      `json:"media,omitempty"` // one more
	BackupID    string      `json:"backupId,omitempty"`
	Bytes       int64       `json:"bytes,omitempty"`
	Files       int64       `json:"files,omitempty"`
	Expected    int64       `json:"expected,omitempty"`
	Waiting     string      `json:"waiting,omitempty"`
	// Say is lines for the job's log that belong to the change, in the words of Role;
	// the master's only.
	Say  []string `json:"say,omitempty"`
	Role string   `json:"role,omitempty"`
}

// Added is a job that begins, with the first lines of its log in the words of Role.
type Added struct {
	Job  job.Job  `json:"job"`
	Say  []string `json:"say,omitempty"`
	Role string   `json:"role,omitempty"`
}

// Query asks for jobs.
type Query struct {
	ID     int64     `json:"id,omitempty"`    // 0 is all
	State  job.State `json:"state,omitempty"` // "" is all
	After  int64     `json:"after,omitempty"` // jobs with greater numbers only
	Limit  int       `json:"limit,omitempty"` // at most; 0 is 1000
	Newer  int64     `json:"newer,omitempty"` // wait until something changed since this revision
	Follow bool      `json:"follow,omitempty"`
}

// Page is a part of the job list; More says that there is another after it.
type Page struct {
	Jobs     []job.Job `json:"jobs"`
	Revision int64     `json:"revision"`
	More     bool      `json:"more"`
}

// TraceQuery asks for a job's events after number N.
type TraceQuery struct {
	Job   int64 `json:"job"`
	After int64 `json:"after"`
}

// TracePage is a part of a job's trace. Next is the After of the next page.
type TracePage struct {
	Events []trace.Event `json:"events"`
	Next   int64         `json:"next"`
	More   bool          `json:"more"`
}

// The methods of bpjobd.
var (
	NewID    = pbx.Declare[struct{}, int64](Service, "NewID", pbx.Master)
	Add      = pbx.Declare[Added, struct{}](Service, "Add", pbx.Master, pbx.Step("B2", "R3"))
	Activate = pbx.Declare[Update, struct{}](Service, "Activate", pbx.Master, pbx.Step("B5", ""))
	Ending   = pbx.Declare[Update, struct{}](Service, "Ending", pbx.Master, pbx.Step("B14", ""))
	Finish   = pbx.Declare[Update, struct{}](Service, "Finish", pbx.Master, pbx.Step("", "R17"))
	// Progress changes what is shown of jobs under way, and passes over those that have ended.
	Progress = pbx.Declare[[]Update, struct{}](Service, "Progress", pbx.Master|pbx.Media)
	AddLines = pbx.Declare[Lines, struct{}](Service, "AddLines", pbx.Hosts)
	List     = pbx.Declare[Query, Page](Service, "List", Any, pbx.Query())
	ReadLog  = pbx.Declare[LogQuery, LogPage](Service, "ReadLog", Any, pbx.Query())
	// AddTrace is how a host's daemon delivers the events of its processes.
	AddTrace  = pbx.Declare[[]trace.Event, struct{}](Service, "AddTrace", Any)
	ReadTrace = pbx.Declare[TraceQuery, TracePage](Service, "ReadTrace", Any, pbx.Query())
)

// event is a trace event in the database, numbered within its job.
type event struct {
	N     int64
	Event trace.Event
}

var eventTable = store.Declare[[2]int64, event]("trace", 1, store.IntPairKey, nil)

// Schemas are the tables of the role.
func Schemas() []*store.Schema {
	return []*store.Schema{job.Table.Schema(), job.Log.Schema(), eventTable.Schema(), cleaned.Schema()}
}

// Server is the role.
type Server struct {
	db       store.DB
	lock     *rt.Mutex
	revision int64
	lines    map[int64]int64 // last line of the logs of live jobs
	events   map[int64]int64 // last event of the traces of live jobs
	changed  *rt.Event       // set at the next change; nil if nobody waits for one
}

// New makes the role on the master's database.
func New(ctx context.Context, db store.DB) *Server {
	return &Server{db: db, lock: rt.NewMutex(ctx), lines: map[int64]int64{}, events: map[int64]int64{}}
}

// Mux is what the role answers.
func (s *Server) Mux(ctx context.Context, epoch uint64) *pbx.Mux {
	mux := pbx.NewMux(ctx, Service, epoch)
	pbx.Handle(mux, NewID, func(ctx context.Context, _ pbx.Peer, _ struct{}) (int64, error) {
		return s.db.Sequence(ctx, "job")
	})
	pbx.Handle(mux, Add, func(ctx context.Context, from pbx.Peer, n Added) (struct{}, error) {
		return struct{}{}, s.add(ctx, from, n)
	})
	for _, m := range []*pbx.Method[Update, struct{}]{Activate, Ending, Finish} {
		pbx.Handle(mux, m, func(ctx context.Context, from pbx.Peer, u Update) (struct{}, error) {
			return struct{}{}, s.commit(ctx, func(tx store.Tx) error { return s.update(ctx, tx, from, u) })
		})
	}
	pbx.Handle(mux, Progress, func(ctx context.Context, from pbx.Peer, us []Update) (struct{}, error) {
		return struct{}{}, s.commit(ctx, func(tx store.Tx) error { return s.progress(ctx, tx, from, us) })
	})
	pbx.Handle(mux, AddLines, func(ctx context.Context, from pbx.Peer, q Lines) (struct{}, error) {
		return struct{}{}, s.addLines(ctx, from, q)
	})
	pbx.Handle(mux, List, s.list)
	pbx.Handle(mux, ReadLog, s.readLog)
	pbx.Handle(mux, AddTrace, s.addTrace)
	pbx.Handle(mux, ReadTrace, s.readTrace)
	return mux
}

func (s *Server) add(ctx context.Context, from pbx.Peer, n Added) error {
	now := rt.Now(ctx)
	return s.commit(ctx, func(tx store.Tx) error {
		j := n.Job
		if j.Try <= 1 && j.Created == 0 {
			j.Created = now
		}
		if j.State == job.Active && j.Started == 0 { // a restore may show as Active from the beginning
			j.Started = now
		}
		old, again, err := job.Table.Get(tx, j.ID)
		if err != nil {
			return err
		}
		if again {
			if old.Client != j.Client || old.Type != j.Type || old.Policy != j.Policy || old.Done() || j.Try <= old.Try {
				return status.Errorf(status.BadParameter, "job %d exists already", j.ID)
			}
			j.Created, j.Media = old.Created, old.Media
		} else if _, known := s.lines[j.ID]; !known {
			s.lines[j.ID] = 0 // its log is empty: nobody needs to look
		}
		return s.put(tx, j, from, now, n.Role, n.Say)
	})
}

// errOver says that an update came after its job's end.
var errOver = errors.New("the job has ended")

// progress changes what is shown of jobs, but nothing that is the job manager's to say.
func (s *Server) progress(ctx context.Context, tx store.Tx, from pbx.Peer, us []Update) error {
	for _, u := range us {
		u.State, u.Status = "", 0
		if !from.Is(pbx.Master) {
			u.BackupID, u.Say = "", nil
		}
		if err := s.update(ctx, tx, from, u); err != nil && !errors.Is(err, errOver) {
			return err
		}
	}
	return nil
}

// update changes a job, and adds what is said of it to its log.
func (s *Server) update(ctx context.Context, tx store.Tx, from pbx.Peer, u Update) error {
	j, ok, err := job.Table.Get(tx, u.ID)
	if err != nil {
		return err
	}
	if !ok {
		return status.Errorf(status.NotFound, "there is no job %d", u.ID)
	}
	if !from.Is(pbx.Master) && j.MediaServer != from.Name {
		return status.Errorf(status.NotAllowed, "job %d does not run on %s", u.ID, from.Name)
	}
	if j.Done() {
		// The final status is recorded once and never taken back.
		return status.Errorf(status.Inconsistent, "job %d: %w with status %d", u.ID, errOver, j.Status)
	}
	now := rt.Now(ctx)
	apply(&j, u, now)
	return s.put(tx, j, from, now, u.Role, u.Say)
}

func apply(j *job.Job, u Update, now rt.Time) {
	if u.State != "" {
		if u.State == job.Active && j.Started == 0 {
			j.Started = now
		}
		if u.State == job.Completed {
			j.Ended = now
		}
		j.State, j.Waiting = u.State, ""
	}
	if u.State == job.Completed || u.Status != 0 {
		j.Status = u.Status
	}
	set(&j.Detail, u.Detail)
	set(&j.MediaServer, u.MediaServer)
	set(&j.StorageUnit, u.StorageUnit)
	set(&j.Drive, u.Drive)
	set(&j.BackupID, u.BackupID)
	set(&j.Waiting, u.Waiting)
	if u.Media != "" && !slices.Contains(j.Media, u.Media) {
		j.Media = append(slices.Clone(j.Media), u.Media)
	}
	j.Bytes, j.Files = max(j.Bytes, u.Bytes), max(j.Files, u.Files)
	if u.Expected != 0 {
		j.Expected = u.Expected
	}
}

func set(field *string, v string) {
	if v != "" {
		*field = v
	}
}

// commit makes a change and tells those who wait for one.
func (s *Server) commit(ctx context.Context, change func(store.Tx) error) error {
	s.lock.Lock(ctx)
	defer s.lock.Unlock(ctx)
	if err := s.db.Update(ctx, change); err != nil {
		return dbError(err)
	}
	s.revision++
	if s.changed != nil {
		s.changed.Set()
		s.changed = nil
	}
	return nil
}

// put puts a job that a change has changed, and what a role says of it.
func (s *Server) put(tx store.Tx, j job.Job, from pbx.Peer, now rt.Time, role string, texts []string) error {
	j.Revision = s.revision + 1
	if err := job.Table.Put(tx, j.ID, j); err != nil {
		return err
	}
	return s.putLines(tx, job.Lines{Job: j.ID, Try: j.Try, Role: role, Host: from.Name, Said: say(now, texts)})
}

func dbError(err error) error {
	if status.Of(err, 0) != 0 {
		return err
	}
	return status.Errorf(status.Database, "job database: %w", err)
}

// followTime is how long a list call waits for a change.
const followTime = 20 * time.Second

func (s *Server) list(ctx context.Context, from pbx.Peer, q Query) (Page, error) {
	s.lock.Lock(ctx)
	revision, follow := s.revision, q.Follow && q.Newer == s.revision
	if follow && s.changed == nil {
		s.changed = rt.NewEvent(ctx)
	}
	changed := s.changed
	s.lock.Unlock(ctx)
	if follow {
		tctx, cancel := rt.WithTimeout(ctx, followTime)
		_ = changed.Wait(tctx) // either there is a change, or the list is as it was
		cancel()
	}
	limit := q.Limit
	if limit <= 0 || limit > 1000 {
		limit = 1000
	}
	var p Page
	take := func(j job.Job) (bool, error) {
		if !mayRead(from, j) || j.ID <= q.After || q.ID != 0 && j.ID != q.ID || q.State != "" && j.State != q.State {
			return true, nil
		}
		if len(p.Jobs) == limit {
			p.More = true
			return false, nil
		}
		p.Jobs = append(p.Jobs, j)
		return true, nil
	}
	err := s.db.View(ctx, func(tx store.Tx) error {
		p.Jobs = nil
		if q.ID != 0 {
			j, ok, err := job.Table.Get(tx, q.ID)
			if err != nil || !ok {
				return err
			}
			_, err = take(j)
			return err
		}
		return job.Table.Range(tx, q.After+1, 1<<62, take)
	})
	s.lock.Lock(ctx)
	p.Revision = revision
	s.lock.Unlock(ctx)
	return p, err
}

// mayRead keeps a client's host to the jobs of that client.
func mayRead(from pbx.Peer, j job.Job) bool {
	if from.Is(pbx.Master | pbx.Media | pbx.User) {
		return true
	}
	return from.Name == j.Client || from.Name == j.To
}

func (s *Server) check(tx store.Tx, from pbx.Peer, id int64) error {
	j, ok, err := job.Table.Get(tx, id)
	if err != nil {
		return err
	}
	if !ok || !mayRead(from, j) {
		return status.Errorf(status.NotFound, "there is no job %d", id)
	}
	return nil
}

func (s *Server) addTrace(ctx context.Context, from pbx.Peer, events []trace.Event) (struct{}, error) {
	s.lock.Lock(ctx)
	defer s.lock.Unlock(ctx)
	next := map[int64]int64{}
	err := s.db.Update(ctx, func(tx store.Tx) error {
		clear(next)
		for _, e := range events {
			// A host speaks for itself; a person's command for nobody's host.
			if from.Is(pbx.Hosts) && e.Host != from.Name {
				return status.Errorf(status.NotAllowed, "%s sends an event of host %s", from, e.Host)
			}
			n, err := s.lastEvent(tx, e.Job.ID, next)
			if err != nil {
				return err
			}
			next[e.Job.ID] = n + 1
			if err := eventTable.Put(tx, [2]int64{e.Job.ID, n + 1}, event{N: n + 1, Event: e}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return struct{}{}, dbError(err)
	}
	for id, n := range next { //capstan:unordered each key is written once
		s.events[id] = n
	}
	return struct{}{}, nil
}

func (s *Server) lastEvent(tx store.Tx, id int64, next map[int64]int64) (int64, error) {
	if n, ok := next[id]; ok {
		return n, nil
	}
	if n, ok := s.events[id]; ok {
		return n, nil
	}
	var last int64
	err := eventTable.Range(tx, [2]int64{id, 0}, [2]int64{id + 1, 0}, func(e event) (bool, error) {
		last = e.N
		return true, nil
	})
	return last, err
}

func (s *Server) readTrace(ctx context.Context, from pbx.Peer, q TraceQuery) (TracePage, error) {
	var p TracePage
	err := s.db.View(ctx, func(tx store.Tx) error {
		p = TracePage{Next: q.After}
		if err := s.check(tx, from, q.Job); err != nil {
			return err
		}
		return eventTable.Range(tx, [2]int64{q.Job, q.After + 1}, [2]int64{q.Job + 1, 0}, func(e event) (bool, error) {
			if len(p.Events) == 1000 {
				p.More = true
				return false, nil
			}
			p.Events, p.Next = append(p.Events, e.Event), e.N
			return true, nil
		})
	})
	return p, err
}
