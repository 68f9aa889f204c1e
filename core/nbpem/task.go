package nbpem

import (
	"context"
	"errors"
	"time"

	"capstan/core/bpjobd"
	"capstan/core/job"
	"capstan/core/nbjm"
	"capstan/core/pbx"
	"capstan/core/policy"
	"capstan/core/rt"
	"capstan/core/status"
	"capstan/core/store"
)

// task is the PolicyClient task of one policy and client.
type task struct {
	s        *Server
	policy   string
	client   string
	requests *rt.Queue[request]
	due      Due // for the worklist; under the server's lock
}

// request wakes a task: for a backup now, or, with id 0, to look at its policy again.
type request struct {
	id       int64
	schedule string
	storage  string
	owner    string
}

func (t *task) poke(ctx context.Context) { _ = t.requests.Put(ctx, request{}) } // the queue has no limit and is never closed

// plan is what the task will do next, if nobody asks for something else.
type plan struct {
	policy   policy.Policy
	schedule policy.Schedule
	at       rt.Time
	span     policy.Span
	ok       bool // there is something to do
}

func (t *task) run(ctx context.Context) {
	for {
		p, alive, err := t.plan(ctx)
		if !alive || ctx.Err() != nil {
			t.s.forget(t)
			return
		}
		if err != nil { // the database; it may come back
			if rt.Sleep(ctx, time.Minute) != nil {
				return
			}
			continue
		}
		t.show(&p, 0)
		q, err := t.wait(ctx, &p)
		switch {
		case errors.Is(err, context.DeadlineExceeded):
			t.backup(ctx, &p)
		case err != nil:
			return
		case q.id != 0:
			t.onDemand(ctx, &p, q)
		}
	}
}

// wait returns a request, or context.DeadlineExceeded when the plan is due.
func (t *task) wait(ctx context.Context, p *plan) (request, error) {
	if !p.ok {
		return t.requests.Get(ctx)
	}
	left := p.at.Sub(rt.Now(ctx))
	if left <= 0 {
		if q, ok := t.requests.TryGet(); ok && q.id != 0 {
			return q, nil
		}
		return request{}, context.DeadlineExceeded
	}
	tctx, cancel := rt.WithTimeout(ctx, left)
	defer cancel()
	return t.requests.Get(tctx)
}

// plan chooses the schedule that is due first; at the same time a full backup
// comes before an incremental.
func (t *task) plan(ctx context.Context) (best plan, alive bool, err error) {
	p, ok, err := t.s.policy(ctx, t.policy)
	if err != nil {
		return best, true, err
	}
	if !ok || !p.HasClient(t.client) {
		return best, false, nil
	}
	best.policy = p
	if !p.Active {
		return best, true, nil
	}
	loc, err := p.Location()
	if err != nil {
		return best, true, err
	}
	now := rt.Now(ctx)
	if from, err := t.mayTry(ctx, now); err != nil {
		return best, true, err
	} else if from > now {
		now = from
	}
	for _, s := range p.Schedules {
		l, err := t.s.lastOf(ctx, t.key(counting(&p, s)...))
		if err != nil {
			return best, true, err
		}
		at, span, ok := s.Due(l.Began, now, loc)
		if ok && (!best.ok || at < best.at || at == best.at && s.Type == policy.Full) {
			best.schedule, best.at, best.span, best.ok = s, at, span, true
		}
	}
	return best, true, nil
}

// counting are the schedules whose backups count for the frequency of s: for an
// incremental every schedule, for a full the full ones.
func counting(p *policy.Policy, s policy.Schedule) (names []string) {
	for _, o := range p.Schedules {
		if s.Type == policy.Differential || o.Type == policy.Full {
			names = append(names, o.Name)
		}
	}
	return names
}

func (t *task) key(schedules ...string) []string {
	keys := make([]string, len(schedules))
	for i, s := range schedules {
		keys[i] = store.PairKey(t.policy, t.client, s)
	}
	return keys
}

// lastOf is the newest of the last backups under some keys.
func (s *Server) lastOf(ctx context.Context, keys []string) (newest last, err error) {
	err = s.db.View(ctx, func(tx store.Tx) error {
		newest = last{}
		for _, k := range keys {
			l, _, err := lastTable.Get(tx, k)
			if err != nil {
				return err
			}
			if l.Began > newest.Began {
				newest = l
			}
		}
		return nil
	})
	return newest, err
}

// A policy's client is tried twice in twelve hours, judged from what has failed,
// not from a counter, with ten minutes between.
const (
	triesIn    = 12 * time.Hour
	tries      = 2
	retryDelay = 10 * time.Minute
)

// mayTry is the earliest time at or after now at which another try is allowed.
func (t *task) mayTry(ctx context.Context, now rt.Time) (rt.Time, error) {
	var failed []rt.Time
	err := t.s.db.View(ctx, func(tx store.Tx) (err error) {
		failed, _, err = failures.Get(tx, store.PairKey(t.policy, t.client))
		return err
	})
	if err != nil || len(failed) == 0 {
		return now, err
	}
	at := max(now, failed[len(failed)-1].Add(retryDelay))
	if len(failed) >= tries {
		at = max(at, failed[len(failed)-tries].Add(triesIn))
	}
	return at, nil
}

func (t *task) show(p *plan, running int64) {
	d := Due{Policy: t.policy, Client: t.client, Running: running}
	if p.ok {
		d.Schedule, d.At = p.schedule.Name, p.at
	}
	t.s.lock.Lock()
	t.due = d
	t.s.lock.Unlock()
}

func (s *Server) forget(t *task) {
	s.lock.Lock()
	defer s.lock.Unlock()
	if key := store.PairKey(t.policy, t.client); s.tasks[key] == t {
		delete(s.tasks, key)
	}
}

// backup runs the planned backup: a first try, and re-tries while they are
// allowed and the window is open.
func (t *task) backup(ctx context.Context, p *plan) {
	id, err := bpjobd.NewID.Call(ctx, pbx.At(t.s.host, bpjobd.Service), struct{}{})
	if err != nil {
		_ = rt.Sleep(ctx, time.Minute)
		return
	}
	for try := 1; ; try++ {
		t.show(p, id)
		q, err := t.start(ctx, p, id, try)
		if err != nil {
			return
		}
		from, err := t.mayTry(ctx, rt.Now(ctx).Add(retryDelay))
		again := err == nil && try < tries && from <= p.span.Close
		q.Retry = again
		how := t.runUntil(ctx, q, p.span.Close)
		if t.record(ctx, p.schedule.Name, how) || !how.Retry {
			return
		}
		if rt.Sleep(ctx, retryDelay) != nil {
			return
		}
	}
}

// onDemand runs a backup that somebody asked for: once, whatever the windows.
func (t *task) onDemand(ctx context.Context, p *plan, r request) {
	sch, err := p.policy.Schedule(r.schedule)
	if err != nil {
		return // the policy has changed since it was asked
	}
	p.schedule, p.ok = sch, true
	t.show(p, r.id)
	q, err := t.start(ctx, p, r.id, 1)
	if err != nil {
		return
	}
	q.Owner = r.owner
	if r.storage != "" {
		q.Storage = r.storage
	}
	t.record(ctx, sch.Name, t.s.run(ctx, q))
}

// start is the Job Start for a plan.
func (t *task) start(ctx context.Context, p *plan, id int64, try int) (job.Start, error) {
	pol, sch := &p.policy, p.schedule
	q := job.Start{
		ID: id, Try: try, Policy: pol.Name, Schedule: sch.Name, Type: string(sch.Type), Client: t.client,
		Paths: pol.Paths, Exclude: pol.Exclude, Storage: pol.Storage, Pool: pol.Pool, Priority: pol.Priority, Owner: Service,
		PerPolicy: pol.Limits.JobsPerPolicy, PerClient: pol.Limits.JobsPerClient, ThisOne: pol.Limits.ThisClient,
	}
	if kept := pol.Kept(sch); kept > 0 {
		q.Expires = rt.Now(ctx).Add(kept)
	}
	own, err := t.s.lastOf(ctx, t.key(sch.Name))
	if err != nil {
		return q, err
	}
	q.Expected = own.Bytes
	if sch.Type == policy.Differential {
		any, err := t.s.lastOf(ctx, t.key(counting(pol, sch)...))
		if err != nil {
			return q, err
		}
		q.Since = any.Began
		if q.Since == 0 { // an incremental with nothing to build on is a full backup
			q.Type = string(policy.Full)
		}
	}
	return q, nil
}

// runUntil runs the job, and has it cancelled if it is still queued when its
// window closes.
func (t *task) runUntil(ctx context.Context, q job.Start, closes rt.Time) nbjm.Completed {
	tctx, cancel := rt.WithCancel(ctx)
	defer cancel(nil)
	rt.Go(tctx, "window", func(ctx context.Context) {
		if rt.SleepUntil(ctx, closes) != nil {
			return
		}
		_, err := nbjm.Cancel.Call(ctx, pbx.At(t.s.host, nbjm.Service), nbjm.CancelJob{
			Job: q.ID, Status: status.WindowClosed, Detail: "the window of schedule " + q.Schedule + " closed before resources were free", Queued: true,
		})
		_ = err // the job has ended meanwhile
	})
	return t.s.run(ctx, q)
}

// record notes how a job ended; it tells whether it was a success.
func (t *task) record(ctx context.Context, schedule string, c nbjm.Completed) bool {
	key := store.PairKey(t.policy, t.client)
	ok := c.Status.Succeeded()
	err := t.s.db.Update(ctx, func(tx store.Tx) error {
		if ok {
			if err := failures.Delete(tx, key); err != nil {
				return err
			}
			return lastTable.Put(tx, store.PairKey(key, schedule), last{Began: c.Began, Bytes: c.Bytes})
		}
		old, _, err := failures.Get(tx, key)
		if err != nil {
			return err
		}
		now := rt.Now(ctx)
		var kept []rt.Time
		for _, f := range old {
			if now.Sub(f) < triesIn {
				kept = append(kept, f)
			}
		}
		return failures.Put(tx, key, append(kept, now))
	})
	_ = err // the job database has the job's own record
	return ok
}
