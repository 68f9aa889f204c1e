package nbpem

import (
	"context"
	"errors"
	"slices"
	"time"

	"capstan/core/bpdbm"
	"capstan/core/bpjobd"
	"capstan/core/image"
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
	s      *Server
	policy string
	client string
	key    string              // of policy and client, in the tables
	over   bool                // the policy does not back the client up any more; under the server's lock
	pokes  *rt.Queue[struct{}] // to look at the policy, the history and the clock again
	due    Due                 // for the worklist; under the server's lock
}

// request is a backup that somebody asked for.
type request struct {
	id      int64
	storage string
	owner   string
}

func (t *task) poke(ctx context.Context) { _ = t.pokes.Put(ctx, struct{}{}) } // the queue has no limit and is never closed

// plan is what the task will do next.
type plan struct {
	policy   policy.Policy
	schedule policy.Schedule
	at       rt.Time
	span     policy.Span
	ok       bool // there is something to do
}

func (t *task) run(ctx context.Context) {
	for ctx.Err() == nil {
		p, alive, err := t.plan(ctx)
		switch {
		case err != nil: // the database; it may come back
			if rt.Sleep(ctx, time.Minute) != nil {
				return
			}
			continue
		case !alive && t.s.forget(t):
			return
		case !alive: // poked meanwhile: the policy may have come back
			_, _ = t.pokes.TryGet()
			continue
		}
		t.show(&p, 0)
		if due, err := t.wait(ctx, &p); err != nil {
			return
		} else if due {
			t.backup(ctx, &p)
		}
	}
}

// wait waits until the plan is due, or until it may no longer be right: then
// due is false.
func (t *task) wait(ctx context.Context, p *plan) (due bool, err error) {
	stale := false
	for _, poked := t.pokes.TryGet(); poked; _, poked = t.pokes.TryGet() {
		stale = true // as many pokes as came make one new plan
	}
	if stale {
		return false, nil
	}
	if !p.ok {
		_, err := t.pokes.Get(ctx)
		return false, err
	}
	left := p.at.Sub(rt.Now(ctx))
	if left <= 0 {
		return true, nil
	}
	tctx, cancel := rt.WithTimeout(ctx, left)
	defer cancel()
	_, err = t.pokes.Get(tctx)
	if errors.Is(err, context.DeadlineExceeded) {
		return true, nil
	}
	return false, err
}

// plan chooses the schedule that is due first; at the same time a full backup
// comes before an incremental.
func (t *task) plan(ctx context.Context) (best plan, alive bool, err error) {
	h, err := t.history(ctx)
	if err != nil {
		return best, true, err
	}
	if !h.known || t.s.over(t) {
		return best, false, nil
	}
	p := &h.policy
	best.policy = *p
	if !p.Active {
		return best, true, nil
	}
	loc, err := p.Location()
	if err != nil {
		return best, true, err
	}
	now := mayTry(h.failed, rt.Now(ctx))
	for i := range p.Schedules {
		s := &p.Schedules[i]
		at, span, ok := s.Due(h.counting(s), now, loc)
		if ok && (!best.ok || at < best.at || at == best.at && s.Type == policy.Full) {
			best.schedule, best.at, best.span, best.ok = *s, at, span, true
		}
	}
	return best, true, nil
}

// history is a policy, and what has become of the backups of a client by it.
type history struct {
	policy policy.Policy
	known  bool
	failed []rt.Time // tries that count, oldest first
	began  []rt.Time // the last backup of each schedule
}

func (t *task) history(ctx context.Context) (h history, err error) {
	err = t.s.db.View(ctx, func(tx store.Tx) (err error) {
		h = history{}
		if h.policy, h.known, err = policy.Table.Get(tx, t.policy); err != nil || !h.known {
			return err
		}
		if h.failed, _, err = failures.Get(tx, t.key); err != nil {
			return err
		}
		h.began = make([]rt.Time, len(h.policy.Schedules))
		for i := range h.began {
			l, _, err := lastTable.Get(tx, store.PairKey(t.key, h.policy.Schedules[i].Name))
			if err != nil {
				return err
			}
			h.began[i] = l.Began
		}
		return nil
	})
	return h, err
}

// counting is when the last backup began that counts for the frequency of s: for an
// incremental of every schedule, for a full of the full ones.
func (h *history) counting(s *policy.Schedule) (newest rt.Time) {
	for i, began := range h.began {
		if s.Type == policy.Differential || h.policy.Schedules[i].Type == policy.Full {
			newest = max(newest, began)
		}
	}
	return newest
}

// A policy's client is tried twice in twelve hours, judged from what has failed,
// not from a counter, with ten minutes between.
const (
	triesIn    = 12 * time.Hour
	tries      = 2
	retryDelay = 10 * time.Minute
)

// failed are the failed tries that count, oldest first.
func (t *task) failed(ctx context.Context) (times []rt.Time, err error) {
	err = t.s.db.View(ctx, func(tx store.Tx) (err error) {
		times, _, err = failures.Get(tx, t.key)
		return err
	})
	return times, err
}

// mayTry is the earliest time at or after now at which another try is allowed.
func mayTry(failed []rt.Time, now rt.Time) rt.Time {
	at := now
	if n := len(failed); n > 0 {
		at = max(at, failed[n-1].Add(retryDelay))
		if n >= tries {
			at = max(at, failed[n-tries].Add(triesIn))
		}
	}
	return at
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

// forget ends a task; false says that it was poked meanwhile and must look again.
func (s *Server) forget(t *task) bool {
	s.lock.Lock()
	defer s.lock.Unlock()
	if t.pokes.Len() > 0 {
		return false
	}
	if s.tasks[t.key] == t {
		delete(s.tasks, t.key)
	}
	return true
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
			_ = rt.Sleep(ctx, time.Minute) // the databases; they may come back
			return
		}
		q.Retry = t.mayFail(ctx, p)
		how := t.runUntil(ctx, q, p.span.Close)
		if t.record(ctx, p.schedule.Name, how) || !how.Retry {
			return
		}
		if rt.Sleep(ctx, retryDelay) != nil {
			return
		}
		if !t.stillWaits(ctx, id) { // cancelled: as good as a failed try
			t.record(ctx, p.schedule.Name, nbjm.Completed{Status: status.Terminated})
			return
		}
		if !t.stillPlanned(ctx, p) {
			t.giveUp(ctx, how)
			return
		}
	}
}

// mayFail tells whether there may be another try in this window if the one that
// begins now fails: the history must have room for two failures.
func (t *task) mayFail(ctx context.Context, p *plan) bool {
	failed, err := t.failed(ctx)
	if err != nil {
		return false
	}
	now := rt.Now(ctx)
	from := mayTry(append(recent(failed, now), now), now)
	return from == now.Add(retryDelay) && from < p.span.Close
}

// stillPlanned looks at the policy and the history again, before a re-try: the
// policy may have been changed, deactivated or deleted, the window may have
// closed, and a backup by hand may have failed or succeeded meanwhile.
func (t *task) stillPlanned(ctx context.Context, p *plan) bool {
	again, alive, err := t.plan(ctx)
	if err != nil || !alive || !again.ok || again.schedule.Name != p.schedule.Name || again.at > rt.Now(ctx) {
		return false
	}
	*p = again
	return true
}

// stillWaits tells whether a job still waits to be tried again.
func (t *task) stillWaits(ctx context.Context, id int64) bool {
	p, err := bpjobd.List.Call(ctx, pbx.At(t.s.host, bpjobd.Service), bpjobd.Query{ID: id})
	return err == nil && len(p.Jobs) == 1 && p.Jobs[0].State == job.WaitingToRetry
}

// giveUp ends a job that waited to be tried again, with the status of its last try.
func (t *task) giveUp(ctx context.Context, how nbjm.Completed) {
	_, err := bpjobd.Finish.Call(ctx, pbx.At(t.s.host, bpjobd.Service), bpjobd.Update{
		ID: how.Start.ID, State: job.Completed, Status: how.Status, Detail: how.Detail,
	})
	_ = err // bpjobd runs in this very process
}

// onDemand runs a backup that somebody asked for: once, whatever the windows and
// the history, and beside what the task is doing.
func (t *task) onDemand(ctx context.Context, pol policy.Policy, sch policy.Schedule, r request) {
	q, err := t.start(ctx, &plan{policy: pol, schedule: sch}, r.id, 1)
	if err != nil {
		q.Since, q.Type = 0, string(policy.Full) // the databases; a full backup needs nothing of them
	}
	q.Owner = r.owner
	if r.storage != "" {
		q.Storage = r.storage
	}
	t.record(ctx, sch.Name, t.s.run(ctx, q))
	t.poke(ctx)
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
		q.Expires, q.Retention = rt.Now(ctx).Add(kept), kept
	}
	if err := t.s.db.View(ctx, func(tx store.Tx) error {
		own, _, err := lastTable.Get(tx, store.PairKey(t.key, sch.Name))
		q.Expected = own.Bytes
		return err
	}); err != nil {
		return q, err
	}
	if sch.Type == policy.Differential {
		var err error
		if q.Since, err = t.since(ctx, pol); err != nil {
			return q, err
		}
		if q.Since == 0 { // an incremental with nothing to build on is a full backup
			q.Type = string(policy.Full)
		}
	}
	return q, nil
}

// since is the beginning of the backup that an incremental builds on, 0 if there
// is none: the last of the chain that begins with the newest full backup and in
// which each was built on the one before. Images that have expired are not in
// it, nor are those that were built on them: so a restore from the catalog as it
// is now misses nothing. Nor are images of other paths: what a policy names only
// since then is older than the last backup, and an incremental would leave it out.
func (t *task) since(ctx context.Context, pol *policy.Policy) (tip rt.Time, err error) {
	var all []image.Header
	q := bpdbm.Query{Client: t.client, Policy: t.policy}
	for more := true; more; {
		p, err := bpdbm.Images.Call(ctx, pbx.At(t.s.host, bpdbm.Service), q)
		if err != nil {
			return 0, err
		}
		all, more = append(all, p.Images...), p.More
		if more {
			q.After = all[len(all)-1].ID
		}
	}
	return lastOfChain(all, pol.Paths, pol.Exclude), nil
}

func lastOfChain(images []image.Header, paths, exclude []string) (tip rt.Time) {
	for i := range images { // oldest first
		h := &images[i]
		full := h.Type == string(policy.Full)
		switch {
		case full && !(slices.Equal(h.Paths, paths) && slices.Equal(h.Exclude, exclude)):
			tip = 0
		case full || tip != 0 && h.Since == tip:
			tip = h.Began
		}
	}
	return tip
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

// recent are the failures that still count at a time.
func recent(failed []rt.Time, now rt.Time) (kept []rt.Time) {
	for _, f := range failed {
		if now.Sub(f) < triesIn {
			kept = append(kept, f)
		}
	}
	return kept
}

// record notes how a job ended; it tells whether it was a success. A job that
// was never begun, as its window closed, is no try.
func (t *task) record(ctx context.Context, schedule string, c nbjm.Completed) bool {
	ok := c.Status.Succeeded()
	if c.Status == status.WindowClosed {
		return false
	}
	now := rt.Now(ctx)
	err := t.s.db.Update(ctx, func(tx store.Tx) error {
		if ok {
			if err := failures.Delete(tx, t.key); err != nil {
				return err
			}
			return lastTable.Put(tx, store.PairKey(t.key, schedule), last{Began: c.Began, Bytes: c.Bytes})
		}
		old, _, err := failures.Get(tx, t.key)
		if err != nil {
			return err
		}
		return failures.Put(tx, t.key, append(recent(old, now), now))
	})
	_ = err // the job database has the job's own record
	return ok
}
