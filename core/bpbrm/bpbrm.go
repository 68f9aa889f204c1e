// Package bpbrm is the backup and restore manager of one job on the media server.
//
// Backup: it starts bpbkar on the client and bptm (B8), forwards what bpbkar
// says of the files to bpdbm (B11), tells bpbkar when it may send, and tells
// nbjm that the job has finished, with the status that it alone decides (B13).
// Restore: it starts its child and bptm (R6); the child starts tar on the client
// and hands the connection to bptm (R8); at the end it reports to bprd (R17).
// Import: it starts bptm (R6) and reports (R17).
package bpbrm

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"capstan/core/archive"
	"capstan/core/bpbkar"
	"capstan/core/bpdbm"
	"capstan/core/bpjobd"
	"capstan/core/bptm"
	"capstan/core/host"
	"capstan/core/media"
	"capstan/core/nbemm"
	"capstan/core/pbx"
	"capstan/core/rt"
	"capstan/core/status"
	"capstan/core/tar"
	"capstan/core/trace"
)

// Role is the role's name. The manager is its process 0, a restore's child 1.
const Role = "bpbrm"

// Args is what it is started with.
type Args struct {
	Master    string            `json:"master"`
	Nbjm      pbx.Addr          `json:"nbjm"`
	Starter   pbx.Addr          `json:"starter"` // whom it attends to, and reports a restore to
	Epoch     uint64            `json:"epoch"`
	Client    string            `json:"client"` // backup: whose files; restore: who receives
	BackupID  string            `json:"backupId,omitempty"`
	Selection archive.Selection `json:"selection,omitzero"`
	Expires   rt.Time           `json:"expires,omitempty"`
	Pool      string            `json:"pool,omitempty"`
	Image     media.Image       `json:"image,omitzero"` // backup: what the media say of it

	Restore bool                 `json:"restore,omitempty"`
	Import  bool                 `json:"import,omitempty"` // with Restore: only bptm is started, to read what stands on media
	Options archive.WriteOptions `json:"options,omitzero"`
	Named   bool                 `json:"named,omitempty"` // tar asks who leads the restore for other names
}

// Finished is how a job ended, as bpbrm judges.
type Finished struct {
	Status   status.Code     `json:"status"`
	Detail   string          `json:"detail,omitempty"`
	Bytes    int64           `json:"bytes"`
	Files    int64           `json:"files"`
	Problems int64           `json:"problems,omitempty"`
	Began    rt.Time         `json:"began,omitempty"` // of a backup, by the client's clock
	Written  []nbemm.Written `json:"written,omitempty"`
}

// What bpbrm answers, and what it tells those who started it.
var (
	// Go says that its start is complete.
	Go          = pbx.Declare[struct{}, struct{}](Role, "Go", pbx.Master, pbx.Step("B7", "R5"))
	JobFinished = pbx.Declare[Finished, struct{}]("nbjm", "JobFinished", pbx.Media, pbx.Step("B13", ""))
	Report      = pbx.Declare[Finished, struct{}]("bprd", "Report", pbx.Media, pbx.Step("", "R17"))
)

// manager is one job's bpbrm.
type manager struct {
	env  *host.Env
	args Args
	log  *bpjobd.Log
	job  trace.Job
	stop *rt.Event // tells those that it started to stop

	told  *rt.Event // by the starter: go
	ready *rt.Event // by bptm: media mounted and positioned
	media bptm.Ready
	lock  rt.Lock
	done  bptm.Done // by bptm
	batch int64     // of entries forwarded
	ends  *media.ImageEnd
}

// Main is the process's main function.
func Main(ctx context.Context, env *host.Env, args Args, ready func()) (struct{}, error) {
	ctx = trace.WithRole(ctx, Role)
	m := &manager{env: env, args: args, log: bpjobd.NewLog(ctx, args.Master), job: trace.JobOf(ctx), stop: rt.NewEvent(ctx), told: rt.NewEvent(ctx), ready: rt.NewEvent(ctx), lock: rt.NewLock(ctx)}
	stop, err := env.Calls.Serve(ctx, env.Addr.Service(), m.mux(ctx))
	if err != nil {
		return struct{}{}, err
	}
	defer stop()
	ready()
	ctx, cancel := host.Attend(ctx, args.Starter)
	defer cancel(nil)
	if err := m.told.Wait(ctx); err != nil {
		return struct{}{}, err
	}
	run, tell, to := m.backup, JobFinished, args.Nbjm
	if args.Restore {
		run, tell, to = m.restore, Report, args.Starter
	}
	if args.Import {
		run = m.importImages
	}
	f := run(ctx)
	m.log.Flush(ctx)
	_, err = tell.Call(rt.WithoutCancel(ctx), to, f)
	return struct{}{}, err
}

func (m *manager) mux(ctx context.Context) *pbx.Mux {
	mux := pbx.NewMux(ctx, Role, 0)
	host.HandleAttend(mux, m.stop)
	pbx.Handle(mux, Go, func(ctx context.Context, _ pbx.Peer, _ struct{}) (struct{}, error) {
		pbx.AfterReply(ctx, m.told.Set)
		return struct{}{}, nil
	})
	pbx.Handle(mux, bpbkar.Files, m.forward)
	pbx.Handle(mux, bpbkar.Ends, m.imageEnds)
	pbx.Handle(mux, bptm.AskEnd, func(_ context.Context, from pbx.Peer, _ struct{}) (*media.ImageEnd, error) {
		m.lock.Lock()
		defer m.lock.Unlock()
		return m.ends, m.mine(from, bptm.Role, m.env.Host)
	})
	pbx.Handle(mux, bpbkar.AskBefore, m.before)
	pbx.Handle(mux, bptm.MediaReady, func(_ context.Context, from pbx.Peer, r bptm.Ready) (struct{}, error) {
		if err := m.mine(from, bptm.Role, m.env.Host); err != nil {
			return struct{}{}, err
		}
		m.media = r
		m.ready.Set()
		return struct{}{}, nil
	})
	pbx.Handle(mux, bptm.AddFragment, func(ctx context.Context, from pbx.Peer, f bptm.FragmentDone) (struct{}, error) {
		if err := m.mine(from, bptm.Role, m.env.Host); err != nil {
			return struct{}{}, err
		}
		return bpdbm.AddFragment.Call(ctx, pbx.At(m.args.Master, bpdbm.Service), f)
	})
	pbx.Handle(mux, bptm.AllDone, func(_ context.Context, from pbx.Peer, d bptm.Done) (struct{}, error) {
		if err := m.mine(from, bptm.Role, m.env.Host); err != nil {
			return struct{}{}, err
		}
		m.lock.Lock()
		m.done = d
		m.lock.Unlock()
		return struct{}{}, nil
	})
	return mux
}

// mine checks that a caller is a process of this very job.
func (m *manager) mine(from pbx.Peer, role, hostName string) error {
	if from.Addr != pbx.ProcessAt(hostName, role, m.job.ID, m.job.Try, 0) {
		return status.Errorf(status.NotAllowed, "%s is not the %s of job %d", from.Addr, role, m.job.ID)
	}
	return nil
}

// forward passes what bpbkar says of the files on to bpdbm (B11).
func (m *manager) forward(ctx context.Context, from pbx.Peer, b bpbkar.Batch) (struct{}, error) {
	if err := m.mine(from, bpbkar.Role, m.args.Client); err != nil {
		return struct{}{}, err
	}
	_, err := bpdbm.AddFiles.Call(ctx, pbx.At(m.args.Master, bpdbm.Service),
		bpdbm.Files{BackupID: m.args.BackupID, Seq: b.Seq, Entries: slices.Concat(b.Entries, b.Amended)})
	if err != nil {
		return struct{}{}, err
	}
	if b.Last {
		return struct{}{}, nil // the job's end will show it
	}
	u := bpjobd.Update{ID: trace.JobOf(ctx).ID}
	for i := range b.Entries {
		u.Files += b.Entries[i].Files()
		u.Bytes = max(u.Bytes, b.Entries[i].End())
	}
	m.lock.Lock()
	m.batch += u.Files
	u.Files = m.batch
	m.lock.Unlock()
	_, err = bpjobd.Progress.Call(ctx, pbx.At(m.args.Master, bpjobd.Service), []bpjobd.Update{u})
	_ = err // shown, not needed
	return struct{}{}, nil
}

// imageEnds keeps what bpbkar says of the image, until bptm asks for it.
func (m *manager) imageEnds(_ context.Context, from pbx.Peer, r bpbkar.Result) (struct{}, error) {
	if err := m.mine(from, bpbkar.Role, m.args.Client); err != nil {
		return struct{}{}, err
	}
	end := &media.ImageEnd{Began: r.Began, Files: r.Files, Status: int(allIn(r.Problems))}
	m.lock.Lock()
	m.ends = end
	m.lock.Unlock()
	return struct{}{}, nil
}

// before passes on what bpbkar asks of the backups that this one builds on.
func (m *manager) before(ctx context.Context, from pbx.Peer, q bpbkar.Before) (bpbkar.Known, error) {
	if err := m.mine(from, bpbkar.Role, m.args.Client); err != nil {
		return bpbkar.Known{}, err
	}
	p, err := bpdbm.AskBefore.Call(ctx, pbx.At(m.args.Master, bpdbm.Service),
		bpdbm.Before{BackupID: m.args.BackupID, Path: q.Path, Names: q.Names, After: q.After})
	return bpbkar.Known(p), err
}

// outcome is how one process of the job ended.
type outcome struct {
	role string
	host string
	exit host.Exit
	err  error // its host was lost
}

// code is the status that the end of the process speaks for.
func (o *outcome) code() status.Code {
	switch {
	case o.err != nil:
		return status.Of(o.err, status.NetworkBroken)
	case o.exit.Killed && (o.role == bpbkar.Role || o.role == tar.Role):
		return status.ClientAborted
	case o.exit.Killed && o.role == bptm.Role:
		return status.MediaManagerKilled
	case o.exit.Killed:
		return status.KilledBySignal
	}
	return status.Code(o.exit.Code)
}

func (o *outcome) detail() string {
	switch {
	case o.err != nil:
		return o.err.Error()
	case o.exit.Killed:
		return fmt.Sprintf("%s on %s %s", o.role, o.host, o.exit.Death())
	}
	return o.role + ": " + o.exit.Detail
}

// rank orders what may be behind a failure: when one process fails the others
// fail after it, with what they saw of it. A killed process and a device's error
// are causes; a broken connection is what the others see.
func (o *outcome) rank() int {
	switch c := o.code(); {
	case c == status.OK:
		return 100
	case o.exit.Killed:
		return 1
	case c == status.Terminated:
		return 50
	case c == status.NetworkRead || c == status.NetworkBroken || c == status.SocketOpen || c == status.TarError:
		return 30
	case c >= status.MediaManagerKilled && c < 100 || c == status.DiskFull:
		return 2
	}
	return 10
}

// judge decides the job's status from how its processes ended.
func judge(os []outcome) (status.Code, string) {
	best := &outcome{}
	for i := range os {
		if o := &os[i]; o.rank() < best.rank() {
			best = o
		}
	}
	if best.rank() == 100 {
		return status.OK, ""
	}
	return best.code(), best.detail()
}

// await waits for the ends of processes. When one ends badly, or ctx ends, the
// others are told to stop.
func (m *manager) await(ctx context.Context, addrs ...pbx.Addr) []outcome {
	os := make([]outcome, len(addrs))
	wctx := rt.WithoutCancel(ctx)
	left, all := len(addrs), rt.NewEvent(ctx)
	for i, a := range addrs {
		os[i].role, os[i].host = a.Role(), a.Host()
		rt.Go(wctx, "await "+string(a), func(ctx context.Context) {
			os[i].exit, os[i].err = host.Await(ctx, a)
			if os[i].code() != status.OK {
				m.stop.Set()
			}
			m.lock.Lock()
			left--
			last := left == 0
			m.lock.Unlock()
			if last {
				all.Set()
			}
		})
	}
	if all.Wait(ctx) != nil {
		m.stop.Set() // cancelled: the processes attend to this event
		_ = all.Wait(wctx)
		cause := rt.Cause(ctx)
		return append(os, outcome{role: Role, exit: host.Exit{Code: int(status.Of(cause, status.Terminated)), Detail: status.Detail(cause)}})
	}
	return os
}

func (m *manager) backup(ctx context.Context) Finished {
	a := &m.args
	job := trace.JobOf(ctx)
	bptmArgs := bptm.Args{
		Master: a.Master, Bpbrm: m.env.Addr, Nbjm: a.Nbjm, Epoch: a.Epoch, Client: a.Client,
		BackupID: a.BackupID, Expires: a.Expires, Pool: a.Pool, Image: a.Image,
	}
	m.log.Say(ctx, "connecting to client "+a.Client)
	client, err := host.StartOn(ctx, "B8", a.Client, bpbkar.Role, 0, a.Epoch,
		bpbkar.Args{Master: a.Master, Bpbrm: m.env.Addr, Selection: a.Selection})
	if err != nil {
		return failed(noClient(err), "client %s: %v", a.Client, err)
	}
	m.log.Say(ctx, "connected to client "+a.Client, "started process bpbkar on "+a.Client)
	tm, err := host.StartOn(ctx, "B8", m.env.Host, bptm.Role, 0, a.Epoch, bptmArgs)
	if err != nil {
		m.stop.Set()
		m.await(ctx, client)
		return failed(status.SystemCall, "bptm: %v", err)
	}
	m.log.Say(ctx, "started process bptm")
	m.log.Flush(ctx) // what bptm says comes behind it
	if _, err := bptm.Go.Call(ctx, tm, struct{}{}); err != nil {
		m.stop.Set()
	}
	rt.Go(ctx, "media ready", func(ctx context.Context) {
		if m.ready.Wait(ctx) != nil {
			return
		}
		if _, err := bpbkar.Send.Call(ctx, client, bpbkar.Target{Addr: m.media.Addr, Ticket: m.media.Ticket, Amends: m.media.Amends}); err != nil {
			m.stop.Set()
		}
	})
	os := m.await(ctx, client, tm)
	code, detail := judge(os)
	if code != status.OK {
		return Finished{Status: code, Detail: detail}
	}
	sent, err := host.ReadBody[bpbkar.Result](os[0].exit.Result)
	if err != nil {
		return failed(status.SystemError, "result of bpbkar: %v", err)
	}
	if sent.Bytes != m.done.Bytes {
		return failed(status.Inconsistent, "job %d: bpbkar sent %d bytes, bptm wrote %d", job.ID, sent.Bytes, m.done.Bytes)
	}
	f := Finished{Status: allIn(sent.Problems), Bytes: sent.Bytes, Files: sent.Files, Problems: sent.Problems, Began: sent.Began, Written: m.done.Written}
	f.say("backed up as they are")
	return f
}

// allIn is the status of a job whose processes ended well, by the number of files that
// are not as they should be.
func allIn(problems int64) status.Code {
	if problems > 0 {
		return status.Partial
	}
	return status.OK
}

// say says what files with problems were not.
func (f *Finished) say(what string) {
	if f.Status == status.Partial {
		f.Detail = fmt.Sprintf("%d files were not %s: see the job's log", f.Problems, what)
	}
}

// noClient is the status of a client on which nothing could be started.
func noClient(err error) status.Code {
	if errors.Is(err, pbx.ErrUnknownHost) {
		return status.UnknownClient
	}
	return status.CannotConnect
}

func failed(code status.Code, format string, args ...any) Finished {
	return Finished{Status: code, Detail: fmt.Sprintf(format, args...)}
}
