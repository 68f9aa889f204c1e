package nbjm

import (
	"context"
	"fmt"
	"slices"
	"time"

	"capstan/core/archive"
	"capstan/core/bpbrm"
	"capstan/core/bpcompatd"
	"capstan/core/bpdbm"
	"capstan/core/bpjobd"
	"capstan/core/bptm"
	"capstan/core/host"
	"capstan/core/image"
	"capstan/core/job"
	"capstan/core/ltid"
	"capstan/core/media"
	"capstan/core/nbemm"
	"capstan/core/nbproxy"
	"capstan/core/nbrb"
	"capstan/core/pbx"
	"capstan/core/rt"
	"capstan/core/status"
	"capstan/core/trace"
)

// backup leads one try of a backup from B2 to B17.
func (s *Server) backup(ctx context.Context, r *running) {
	ctx = trace.As(ctx, r.job, Service)
	h, f := s.work(ctx, r)
	if ctx.Err() != nil {
		f = failed(rt.Cause(ctx), status.Terminated) // cancelled, whatever that broke
	}
	ctx = rt.WithoutCancel(ctx)

	f = s.end(ctx, r, &h, f)
	retry := s.finish(ctx, r, &h, f)
	s.giveBack(ctx, r)
	s.remove(r.job.ID)
	_, err := Report.Call(ctx, pbx.At(s.host, "nbpem"), Completed{ // B17
		Start: r.start, Status: f.Status, Detail: f.Detail, BackupID: h.ID, Began: h.Began, Bytes: f.Bytes, Retry: retry,
	})
	_ = err // nbpem runs in this very process
}

// work is B2 to B13: until bpbrm has judged, or something on the way has failed.
func (s *Server) work(ctx context.Context, r *running) (image.Header, bpbrm.Finished) {
	q := &r.start
	if _, err := bpjobd.Add.Call(ctx, s.at(bpjobd.Service), bpjobd.Added{ // B2
		Job: job.Job{
			ID: q.ID, Type: job.Backup, State: job.Queued, Try: q.Try, Policy: q.Policy, Schedule: q.Schedule, Client: q.Client,
			StorageUnit: q.Storage, Priority: q.Priority, Owner: q.Owner, Expected: q.Expected,
		},
		Say: []string{"requesting resource " + q.Storage}, Role: Service,
	}); err != nil {
		return image.Header{}, failed(err, status.JobManager)
	}
	if _, err := nbrb.Ask.Call(rt.WithoutCancel(ctx), s.at(nbrb.Service), s.request(r)); err != nil { // B3
		return image.Header{}, failed(err, status.ResourceFailed)
	}
	if err := r.granted.Wait(ctx); err != nil {
		return image.Header{}, failed(err, status.Terminated)
	}
	g := r.granting()
	if err := g.Err(); err != nil {
		return image.Header{}, failed(err, status.ResourceFailed)
	}
	a := &g.Allocation
	if _, err := bpjobd.Activate.Call(ctx, s.at(bpjobd.Service), activation(q.ID, a)); err != nil { // B5
		return image.Header{}, failed(err, status.JobManager)
	}
	h, err := nbproxy.CreateImage.Call(rt.WithoutCancel(ctx), s.at(nbproxy.Service), bpdbm.Create{Start: *q, Server: a.MediaServer}) // B6
	if err != nil {
		return h, failed(err, status.Database)
	}
	// Not cancelled half way: what was started can then be found and ended.
	if err := s.startBpbrm(rt.WithoutCancel(ctx), r, &h); err != nil { // B7
		return h, failed(err, status.CannotConnect)
	}
	return h, s.awaitBpbrm(ctx, r)
}

func (s *Server) at(service string) pbx.Addr { return pbx.At(s.host, service) }

func failed(err error, other status.Code) bpbrm.Finished {
	return bpbrm.Finished{Status: status.Of(err, other), Detail: status.Detail(err)}
}

// activation shows what a job was granted.
func activation(id int64, a *nbemm.Allocation) bpjobd.Update {
	said := []string{"granted resource " + a.Unit.Name}
	if a.OnTape() {
		said = append(said, "granted resource "+a.Media.ID, "granted resource "+a.Drive.Name)
	}
	return bpjobd.Update{
		ID: id, State: job.Active, MediaServer: a.MediaServer, StorageUnit: a.Unit.Name, Drive: a.Drive.Name, Media: a.Media.ID,
		Say: said, Role: Service,
	}
}

// show tells people what a restore, or a job's next volume, was given.
func (s *Server) show(ctx context.Context, a *nbemm.Allocation) {
	u := activation(trace.JobOf(ctx).ID, a)
	u.State = ""
	_, err := bpjobd.Progress.Call(ctx, s.at(bpjobd.Service), []bpjobd.Update{u})
	_ = err // shown, not needed
}

// blocked shows why jobs wait.
func (s *Server) blocked(ctx context.Context, _ pbx.Peer, ws []nbrb.Waiter) (struct{}, error) {
	ctx = trace.WithRole(ctx, Service)
	us := make([]bpjobd.Update, len(ws))
	for i, w := range ws {
		us[i] = bpjobd.Update{ID: w.Job, Waiting: w.Why, Role: Service}
		if s.mayLog(w.Job) {
			us[i].Say = []string{"awaiting resource: " + w.Why}
		}
	}
	_, err := bpjobd.Progress.Call(ctx, s.at(bpjobd.Service), us)
	_ = err // shown, not needed
	return struct{}{}, nil
}

// maxAwaits is how many reasons for waiting a try's log has: in a long queue they
// change with every job that ends.
const maxAwaits = 3

// mayLog counts the reasons that a job's log has.
func (s *Server) mayLog(id int64) bool {
	r := s.find(id)
	if r == nil {
		return false
	}
	s.lock.Lock()
	defer s.lock.Unlock()
	r.awaits++
	return r.awaits <= maxAwaits
}

func (s *Server) startBpbrm(ctx context.Context, r *running, h *image.Header) error {
	q, a := &r.start, r.allocation()
	args := bpbrm.Args{
		Master: s.host, Nbjm: s.at(Service), Starter: s.at(Service), Epoch: s.epoch, Client: q.Client, BackupID: h.ID,
		Selection: archive.Selection{Paths: q.Paths, Exclude: q.Exclude, Since: q.Since}, Expires: q.Expires, Pool: a.Media.Pool,
		Image: media.Image{
			Policy: h.Policy, Schedule: h.Schedule, Type: h.Type, Since: h.Since, Retention: q.Retention, Expires: h.Expires,
			Paths: h.Paths, Exclude: h.Exclude,
		},
	}
	spec := host.Spec{Role: bpbrm.Role, Job: q.ID, Try: q.Try, Epoch: s.epoch, Args: host.Value(args)}
	started, err := bpcompatd.StartIt.Call(ctx, s.at(bpcompatd.Service), bpcompatd.Start{Host: a.MediaServer, Spec: spec})
	u := bpjobd.Update{ID: q.ID, BackupID: h.ID, Role: Service}
	if err == nil {
		u.Say = []string{fmt.Sprintf("started process bpbrm (pid=%d) on %s", started.Pid, a.MediaServer)}
	}
	_, shown := bpjobd.Progress.Call(ctx, s.at(bpjobd.Service), []bpjobd.Update{u})
	_ = shown // not needed
	if err != nil {
		return err
	}
	_, err = bpbrm.Go.Call(ctx, started.Addr, struct{}{})
	return err
}

// stopGrace is how long processes that were told to stop may take to say how
// they ended.
const stopGrace = 30 * time.Second

// awaitBpbrm waits for bpbrm's judgement, or for its end without one.
func (s *Server) awaitBpbrm(ctx context.Context, r *running) bpbrm.Finished {
	addr := pbx.ProcessAt(r.allocation().MediaServer, bpbrm.Role, r.job.ID, r.job.Try, 0)
	var exit host.Exit
	var lost error
	wctx := rt.WithoutCancel(ctx)
	rt.Go(wctx, "await bpbrm", func(ctx context.Context) {
		exit, lost = host.Await(ctx, addr)
		r.gone.Set()
		r.finished.Set() // after which there will be no judgement
	})
	if err := r.finished.Wait(ctx); err != nil { // cancelled
		r.stop.Set()
		tctx, cancel := rt.WithTimeout(wctx, stopGrace)
		_ = r.finished.Wait(tctx) // either it says so in time, or it is killed
		cancel()
		return failed(rt.Cause(ctx), status.Terminated)
	}
	switch {
	case r.result.Status != 0 || r.result.Bytes != 0:
		return r.result
	case !r.gone.IsSet():
		return failed(status.Errorf(status.NoData, "bpbrm reports an empty image"), status.NoData)
	case lost != nil:
		return failed(lost, status.NetworkBroken)
	case exit.Killed:
		return failed(status.Errorf(status.NetworkBroken, "bpbrm on %s %s", addr.Host(), exit.Death()), 0)
	}
	return failed(status.Errorf(status.Code(exit.Code), "bpbrm: %s", exit.Detail), status.SystemError)
}

// end is B14 and B15: the job's processes are ended, the image completed or
// thrown away.
func (s *Server) end(ctx context.Context, r *running, h *image.Header, f bpbrm.Finished) bpbrm.Finished {
	_, err := bpjobd.Ending.Call(ctx, s.at(bpjobd.Service), bpjobd.Update{ID: r.job.ID, State: job.Ending, Detail: f.Detail}) // B14
	_ = err                                                                                                                   // shown, not needed
	if !r.granted.IsSet() {
		_, err := nbrb.Cancel.Call(ctx, s.at(nbrb.Service), r.job)
		_ = err // nbrb runs in this very process
		return f
	}
	g := r.granting()
	if g.Err() != nil {
		return f
	}
	a := &g.Allocation
	if !s.endedWell(ctx, r, f) {
		s.endProcesses(ctx, f.Status.Succeeded(), a.MediaServer, r.start.Client)
	}
	if h.ID == "" {
		return f
	}
	if f.Status.Succeeded() {
		err := s.complete(ctx, r, h, &f)
		if err == nil {
			return f
		}
		f = bpbrm.Finished{Status: status.Of(err, status.Database), Detail: status.Detail(err)}
	}
	s.throwAway(ctx, r, h)
	return f
}

// complete makes the image count. The cartridges are marked before: were it after,
// a crash between would leave an image whose place the next backup takes. A mark
// without an image costs room, until nbemm counts what is on the cartridge again.
func (s *Server) complete(ctx context.Context, r *running, h *image.Header, f *bpbrm.Finished) error {
	for _, w := range f.Written {
		w.Retention = r.start.Retention
		if _, err := nbemm.MarkWritten.Call(ctx, s.at(nbemm.Service), w); err != nil {
			return status.Errorf(status.Of(err, status.Database), "cartridge %s: %w", w.Media, err)
		}
	}
	done, err := nbproxy.CompleteImage.Call(ctx, s.at(nbproxy.Service), bpdbm.Complete{ // B15
		BackupID: h.ID, Status: int(f.Status), Bytes: f.Bytes, Files: f.Files, Began: f.Began,
	})
	if err == nil {
		*h = done
	}
	return err
}

// endedWell tells whether a job's processes have all ended by themselves. A bpbrm
// that reports a success has seen the ends of the others, and ends next.
func (s *Server) endedWell(ctx context.Context, r *running, f bpbrm.Finished) bool {
	if !f.Status.Succeeded() {
		return false
	}
	tctx, cancel := rt.WithTimeout(ctx, stopGrace)
	defer cancel()
	return r.gone.Wait(tctx) == nil
}

// endProcesses returns when nothing runs of the job on hosts, as far as they can
// be reached; processes on the others end by themselves, as they lose nbjm.
func (s *Server) endProcesses(ctx context.Context, well bool, hosts ...string) {
	slices.Sort(hosts)
	for _, h := range slices.Compact(hosts) {
		tctx, cancel := rt.WithTimeout(ctx, stopGrace)
		if err := host.End(tctx, h, !well); err != nil && rt.Cause(tctx) != nil {
			err = host.End(ctx, h, true)
			_ = err // unreachable
		}
		cancel()
	}
}

// throwAway removes what an unsuccessful backup has left: the catalog's files,
// and fragments on a disk. On tape the next backup overwrites it.
func (s *Server) throwAway(ctx context.Context, r *running, h *image.Header) {
	if _, err := nbproxy.AbortImage.Call(ctx, s.at(nbproxy.Service), h.ID); err != nil {
		bpjobd.Say(ctx, s.host, "image "+h.ID+": "+err.Error())
		return // whatever it is, what may be an image's data is not removed
	}
	a := r.allocation()
	if a.OnTape() {
		return
	}
	q := bptm.DiscardImage{BackupID: h.ID, Path: a.Unit.Path}
	if _, err := bptm.Discard.Call(ctx, pbx.At(a.MediaServer, bptm.Role), q); err != nil {
		// The media server is gone. It comes back some time; until then the files
		// stand there under temporary names.
		rt.Go(rt.WithoutCancel(ctx), "discard "+h.ID, func(ctx context.Context) { s.discardLater(ctx, a.MediaServer, q) })
	}
}

func (s *Server) discardLater(ctx context.Context, server string, q bptm.DiscardImage) {
	for wait := time.Minute; ; wait = min(2*wait, time.Hour) {
		if rt.Sleep(ctx, wait) != nil {
			return
		}
		if _, complete, err := s.image(ctx, q.BackupID); err != nil || complete {
			continue // somebody has imported it meanwhile: it stays as long as it is in the catalog
		}
		if _, err := bptm.Discard.Call(ctx, pbx.At(server, bptm.Role), q); err == nil {
			return
		}
	}
}

// finish records the job's status: final, unless nbpem will try again.
func (s *Server) finish(ctx context.Context, r *running, h *image.Header, f bpbrm.Finished) (retry bool) {
	u := bpjobd.Update{
		ID: r.job.ID, State: job.Completed, Status: f.Status, Detail: f.Detail, Bytes: f.Bytes, Files: f.Files,
		Say: []string{fmt.Sprintf("end of try %d: status %d, %s", r.job.Try, f.Status, f.Status.Message())}, Role: Service,
	}
	if f.Status.Succeeded() {
		u.BackupID = h.ID
	} else if r.start.Retry && f.Status != status.Terminated && f.Status != status.WindowClosed {
		retry = true
		u.State = job.WaitingToRetry
	}
	if _, err := bpjobd.Finish.Call(ctx, s.at(bpjobd.Service), u); err != nil {
		bpjobd.Say(ctx, s.host, "recording the job's status: "+err.Error())
	}
	return retry
}

// hasDrive tells whether the job was granted a drive.
func (r *running) hasDrive() bool {
	g := r.granting()
	return g.Err() == nil && g.Allocation.OnTape()
}

// giveBack is B16. A drive whose bptm did not unmount is emptied first; while
// that cannot be done, its media server being away, it is not given to others.
func (s *Server) giveBack(ctx context.Context, r *running) {
	rel := nbemm.Release{Job: r.job.ID, Try: r.job.Try}
	if r.granted.IsSet() && r.hasDrive() && !r.done.IsSet() {
		a := r.allocation()
		if _, err := ltid.Reset.Call(noStep(ctx), pbx.At(a.MediaServer, ltid.Service), ltid.Drive{Drive: a.Drive.Name}); err != nil {
			rel.Quarantine = true
			bpjobd.Say(ctx, s.host, "drive "+a.Drive.Name+" could not be emptied yet: "+err.Error())
			rt.Go(rt.WithoutCancel(ctx), "empty "+a.Drive.Name, func(ctx context.Context) { s.emptyLater(ctx, r.job, a) })
		}
	}
	_, err := nbrb.GiveBack.Call(ctx, s.at(nbrb.Service), rel)
	_ = err // nbrb runs in this very process
}

// emptyLater empties the drive of a job that has ended when its media server is
// back, and only then lets others have it.
func (s *Server) emptyLater(ctx context.Context, j trace.Job, a nbemm.Allocation) {
	for wait := 5 * time.Second; ; wait = min(2*wait, time.Minute) {
		if rt.Sleep(ctx, wait) != nil {
			return
		}
		_, err := ltid.Reset.Call(noStep(ctx), pbx.At(a.MediaServer, ltid.Service), ltid.Drive{Drive: a.Drive.Name})
		if err == nil {
			_, err = nbrb.GiveBack.Call(ctx, s.at(nbrb.Service), nbemm.Release{Job: j.ID, Try: j.Try})
		}
		if err == nil {
			return
		}
	}
}

// noStep is ctx for clean-up, which is no step of the flow.
func noStep(ctx context.Context) context.Context { return trace.WithJob(ctx, trace.Job{}) }

// endRestore gives back what a restore still has when its processes have ended
// without doing so, R16; those that run still are ended.
func (s *Server) endRestore(ctx context.Context, _ pbx.Peer, q RestoreEnded) (struct{}, error) {
	ctx = trace.WithRole(ctx, Service)
	r := s.find(trace.JobOf(ctx).ID)
	well := r == nil || r.done.IsSet()
	s.endProcesses(ctx, well, q.Hosts...)
	// Its bptm may have asked for media until it was ended.
	if r = s.find(trace.JobOf(ctx).ID); r == nil {
		return struct{}{}, nil
	}
	if !r.granted.IsSet() {
		_, err := nbrb.Cancel.Call(ctx, s.at(nbrb.Service), r.job)
		_ = err // nbrb runs in this very process
	}
	s.endOfRestore(ctx, r)
	return struct{}{}, nil
}
