// Package nbjm is the job manager: it has the list of jobs and leads each
// backup from Job Start to its final status, and a restore's resources.
//
// Backup: it takes B1, tells bpjobd (B2, B5, B14), asks nbrb (B3), has bpdbm
// create and complete the image's files by way of nbproxy (B6, B15), starts
// bpbrm by way of bpcompatd (B7), answers bptm over a connection that it opens
// itself (B9), learns that the job has finished (B13), gives the resources back
// (B16) and reports to nbpem (B17).
// Restore: R7 (bptm asks for media), R9 (asks nbrb), R11 (answers bptm), R15
// (bptm has unmounted), R16 (gives the resources back).
package nbjm

import (
	"context"
	"errors"

	"capstan/core/bpbrm"
	"capstan/core/bpjobd"
	"capstan/core/bptm"
	"capstan/core/host"
	"capstan/core/job"
	"capstan/core/nbemm"
	"capstan/core/nbrb"
	"capstan/core/pbx"
	"capstan/core/rt"
	"capstan/core/status"
	"capstan/core/store"
	"capstan/core/trace"
)

// Service is the role's name on the master.
const Service = "nbjm"

// Completed is what nbjm reports of a backup.
type Completed struct {
	Start    job.Start   `json:"start"`
	Status   status.Code `json:"status"`
	Detail   string      `json:"detail"`
	BackupID string      `json:"backupId"`
	Began    rt.Time     `json:"began"` // of the backup: what an incremental builds on
	Bytes    int64       `json:"bytes"`
	Retry    bool        `json:"retry"` // the job waits to be tried again
}

// CancelJob asks to end a job.
type CancelJob struct {
	Job    int64       `json:"job"`
	Status status.Code `json:"status"`           // with which it ends
	Detail string      `json:"detail,omitempty"` // why
	Queued bool        `json:"queued,omitempty"` // only if it has no resources yet
}

// RestoreEnded says that a restore's processes have ended, or shall.
type RestoreEnded struct {
	Hosts []string `json:"hosts"` // on which they ran
}

// The methods of nbjm, and what it tells nbpem.
var (
	JobStart   = pbx.Declare[job.Start, struct{}](Service, "JobStart", pbx.Master, pbx.Step("B1", ""))
	Cancel     = pbx.Declare[CancelJob, struct{}](Service, "Cancel", pbx.Master|pbx.User)
	EndRestore = pbx.Declare[RestoreEnded, struct{}](Service, "EndRestore", pbx.Master)
	Report     = pbx.Declare[Completed, struct{}]("nbpem", "Completed", pbx.Master, pbx.Step("B17", ""))
)

// Server is the role.
type Server struct {
	host  string
	epoch uint64
	db    store.DB
	lock  rt.Lock
	jobs  map[int64]*running
}

// running is a job that has not its final status.
type running struct {
	start job.Start
	job   trace.Job
	stop  *rt.Event // tells bpbrm to stop

	granted  *rt.Event // the first grant has come
	lock     rt.Lock   // of grant and asker
	grant    nbrb.Grant
	asker    pbx.Addr  // the bptm that waits for a grant
	awaits   int       // reasons for waiting so far
	finished *rt.Event // bpbrm has judged
	result   bpbrm.Finished
	gone     *rt.Event // a backup's bpbrm has ended
	done     *rt.Event // bptm is done with the media
	giving   bool      // a restore's resources are being given back
	given    *rt.Event // and were
	cancel   func(error)
}

// New makes the role on the master.
func New(ctx context.Context, hostName string, epoch uint64, db store.DB) *Server {
	return &Server{host: hostName, epoch: epoch, db: db, lock: rt.NewLock(ctx), jobs: map[int64]*running{}}
}

// Mux is what the role answers.
func (s *Server) Mux(ctx context.Context) *pbx.Mux {
	mux := pbx.NewMux(ctx, Service, s.epoch)
	pbx.Handle(mux, JobStart, func(ctx context.Context, _ pbx.Peer, q job.Start) (struct{}, error) {
		jctx, cancel := rt.WithCancel(rt.WithoutCancel(ctx))
		r := s.add(ctx, &running{start: q, job: trace.Job{ID: q.ID, Try: q.Try}, cancel: cancel})
		if r == nil {
			return struct{}{}, status.Errorf(status.JobManager, "job %d runs already", q.ID)
		}
		pbx.AfterReply(ctx, func() { rt.Go(jctx, "job", func(ctx context.Context) { s.backup(ctx, r) }) })
		return struct{}{}, nil
	})
	pbx.Handle(mux, nbrb.Granted, s.granted)
	pbx.Handle(mux, nbrb.Blocked, s.blocked)
	pbx.Handle(mux, bptm.AskMedia, s.askMedia)
	pbx.Handle(mux, bptm.MediaDone, func(ctx context.Context, from pbx.Peer, _ struct{}) (struct{}, error) {
		r, err := s.ofProcess(ctx, from, bptm.Role)
		if err == nil {
			pbx.AfterReply(ctx, func() { s.mediaDone(ctx, r) })
		}
		return struct{}{}, err
	})
	pbx.Handle(mux, bpbrm.JobFinished, func(ctx context.Context, from pbx.Peer, f bpbrm.Finished) (struct{}, error) {
		r, err := s.ofProcess(ctx, from, bpbrm.Role)
		if err == nil {
			r.result = f
			pbx.AfterReply(ctx, r.finished.Set)
		}
		return struct{}{}, err
	})
	pbx.Handle(mux, host.AttendMethod, func(ctx context.Context, _ pbx.Peer, _ struct{}) (bool, error) {
		r := s.find(trace.JobOf(ctx).ID)
		if r == nil || r.job.Try != trace.JobOf(ctx).Try {
			return true, nil
		}
		return host.WaitStop(ctx, r.stop), nil
	})
	pbx.Handle(mux, Cancel, s.cancel)
	pbx.Handle(mux, EndRestore, s.endRestore)
	return mux
}

// add makes a job known; nil if one of its number is.
func (s *Server) add(ctx context.Context, r *running) *running {
	r.stop, r.granted, r.finished, r.done = rt.NewEvent(ctx), rt.NewEvent(ctx), rt.NewEvent(ctx), rt.NewEvent(ctx)
	r.given, r.gone = rt.NewEvent(ctx), rt.NewEvent(ctx)
	r.lock = s.lock
	s.lock.Lock()
	defer s.lock.Unlock()
	if s.jobs[r.job.ID] != nil {
		return nil
	}
	s.jobs[r.job.ID] = r
	return r
}

// granting is what the job was granted last.
func (r *running) granting() nbrb.Grant {
	r.lock.Lock()
	defer r.lock.Unlock()
	return r.grant
}

// allocation is what the job has, if it was granted anything.
func (r *running) allocation() nbemm.Allocation {
	g := r.granting()
	return g.Allocation
}

func (s *Server) find(id int64) *running {
	s.lock.Lock()
	defer s.lock.Unlock()
	return s.jobs[id]
}

func (s *Server) remove(id int64) {
	s.lock.Lock()
	delete(s.jobs, id)
	s.lock.Unlock()
}

// ofProcess finds the job of a call, which must come from that job's own process
// on the media server that the job was given.
func (s *Server) ofProcess(ctx context.Context, from pbx.Peer, role string) (*running, error) {
	j := trace.JobOf(ctx)
	r := s.find(j.ID)
	if r == nil || r.job.Try != j.Try {
		return nil, status.Errorf(status.Inconsistent, "job %d, try %d, does not run", j.ID, j.Try)
	}
	if from.Addr != pbx.ProcessAt(from.Name, role, j.ID, j.Try, 0) ||
		r.granted.IsSet() && from.Name != r.allocation().MediaServer {
		return nil, status.Errorf(status.NotAllowed, "%s is not the %s of job %d", from.Addr, role, j.ID)
	}
	return r, nil
}

// granted takes nbrb's answer: the first one goes to the job, or for a restore
// and for a next volume to the bptm that asked.
func (s *Server) granted(ctx context.Context, _ pbx.Peer, g nbrb.Grant) (struct{}, error) {
	r := s.find(g.Job.ID)
	if r == nil || r.job != g.Job {
		return struct{}{}, status.Errorf(status.Inconsistent, "job %d, try %d, does not run", g.Job.ID, g.Job.Try)
	}
	s.lock.Lock()
	asker := r.asker
	r.asker = ""
	if g.Err() == nil || !r.granted.IsSet() {
		r.grant = g // a next volume that is refused leaves the job what it has
	}
	s.lock.Unlock()
	pbx.AfterReply(ctx, func() {
		r.granted.Set()
		if asker == "" {
			return
		}
		rt.Go(rt.WithoutCancel(ctx), "grant", func(ctx context.Context) {
			ctx = trace.As(ctx, r.job, Service)
			s.show(ctx, &g.Allocation)
			if _, err := bptm.Grant.Call(ctx, asker, g); err != nil {
				r.stop.Set() // bptm is gone; its end says why
			}
		})
	})
	return struct{}{}, nil
}

func (s *Server) askMedia(ctx context.Context, from pbx.Peer, q bptm.Media) (struct{}, error) {
	j := trace.JobOf(ctx)
	if j.Restore && s.find(j.ID) == nil {
		if err := s.checkRestore(ctx, j.ID); err != nil {
			return struct{}{}, err
		}
		s.add(ctx, &running{job: j, cancel: func(error) {}})
	}
	r, err := s.ofProcess(ctx, from, bptm.Role)
	if err != nil {
		return struct{}{}, err
	}
	if q.Reply != from.Addr {
		return struct{}{}, status.Errorf(status.NotAllowed, "%s asks for %s", from.Addr, q.Reply)
	}
	jctx := trace.As(rt.WithoutCancel(ctx), r.job, Service)
	if !j.Restore && !q.Next {
		pbx.AfterReply(ctx, func() {
			rt.Go(jctx, "grant", func(ctx context.Context) {
				if _, err := bptm.Grant.Call(ctx, q.Reply, r.granting()); err != nil {
					r.stop.Set()
				}
			})
		})
		return struct{}{}, nil
	}
	need := q.Need
	need.Job, need.Try, need.Write, need.Retention = j.ID, j.Try, !j.Restore, r.start.Retention
	priority := r.start.Priority
	if j.Restore {
		priority = job.RestorePriority
		need.Server = from.Name // what it reads is read there
	}
	s.lock.Lock()
	r.asker = q.Reply
	s.lock.Unlock()
	pbx.AfterReply(ctx, func() {
		rt.Go(jctx, "ask nbrb", func(ctx context.Context) {
			bpjobd.Say(ctx, s.host, "requesting resource "+wanted(&need))
			_, err := nbrb.Ask.Call(ctx, pbx.At(s.host, nbrb.Service), nbrb.Request{
				Job: r.job, Need: need, Priority: priority, Policy: r.start.Policy, Client: r.start.Client, Reply: pbx.At(s.host, Service),
			})
			_ = err // nbrb runs in this very process
		})
	})
	return struct{}{}, nil
}

// checkRestore checks that a restore, or an import, is under way.
func (s *Server) checkRestore(ctx context.Context, id int64) error {
	return s.db.View(ctx, func(tx store.Tx) error {
		j, ok, err := job.Table.Get(tx, id)
		if err != nil {
			return status.Errorf(status.Database, "job %d: %w", id, err)
		}
		if !ok || j.Type != job.Restore && j.Type != job.Import || j.Done() {
			return status.Errorf(status.Inconsistent, "no restore or import job %d is under way", id)
		}
		return nil
	})
}

// wanted names what a restore, or a job's next volume, asks for.
func wanted(need *nbemm.Request) string {
	switch {
	case need.Media != "":
		return need.Media
	case need.Write:
		return "another cartridge for drive " + need.Held
	}
	return need.Path
}

// mediaDone notes that bptm has unmounted. A restore's resources are given back
// now (R16); a backup's when its image is complete.
func (s *Server) mediaDone(ctx context.Context, r *running) {
	r.done.Set()
	if !r.job.Restore {
		return
	}
	ctx = trace.As(rt.WithoutCancel(ctx), r.job, Service)
	rt.Go(ctx, "give back", func(ctx context.Context) { s.endOfRestore(ctx, r) })
}

// endOfRestore gives a restore's resources back, once; it returns when they are.
func (s *Server) endOfRestore(ctx context.Context, r *running) {
	r.lock.Lock()
	first := !r.giving
	r.giving = true
	r.lock.Unlock()
	if !first {
		_ = r.given.Wait(rt.WithoutCancel(ctx)) // it is always set
		return
	}
	s.giveBack(ctx, r)
	s.remove(r.job.ID)
	r.given.Set()
}

func (s *Server) cancel(ctx context.Context, _ pbx.Peer, q CancelJob) (struct{}, error) {
	r := s.find(q.Job)
	code := q.Status
	if code == status.OK {
		code = status.Terminated
	}
	if r == nil && !q.Queued {
		return struct{}{}, s.cancelWaiting(ctx, q, code)
	}
	if r == nil || r.job.Restore {
		return struct{}{}, status.Errorf(status.NotFound, "no backup job %d runs", q.Job)
	}
	if q.Queued && r.granted.IsSet() {
		return struct{}{}, nil
	}
	cause := &status.Error{Code: code}
	if q.Detail != "" {
		cause.Err = errors.New(q.Detail)
	}
	r.cancel(cause)
	return struct{}{}, nil
}

// cancelWaiting ends a job that waits to be tried again; nbpem, which would start
// it, looks at its state first.
func (s *Server) cancelWaiting(ctx context.Context, q CancelJob, code status.Code) error {
	var j job.Job
	if err := s.db.View(ctx, func(tx store.Tx) (err error) {
		j, _, err = job.Table.Get(tx, q.Job)
		return err
	}); err != nil {
		return status.Errorf(status.Database, "job %d: %w", q.Job, err)
	}
	if j.State != job.WaitingToRetry {
		return status.Errorf(status.NotFound, "no backup job %d runs", q.Job)
	}
	_, err := bpjobd.Finish.Call(ctx, s.at(bpjobd.Service), bpjobd.Update{ID: q.Job, State: job.Completed, Status: code, Detail: q.Detail})
	return err
}

// request is what nbjm asks nbrb for a backup.
func (s *Server) request(r *running) nbrb.Request {
	q := &r.start
	return nbrb.Request{
		Job: r.job,
		Need: nbemm.Request{
			Job: q.ID, Try: q.Try, Write: true, Storage: q.Storage, Pool: q.Pool, Retention: q.Retention,
		},
		Priority: q.Priority, Policy: q.Policy, Client: q.Client,
		PerPolicy: q.PerPolicy, PerClient: q.PerClient, ThisOne: q.ThisOne,
		Reply: pbx.At(s.host, Service),
	}
}
