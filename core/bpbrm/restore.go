package bpbrm

import (
	"context"

	"capstan/core/bpjobd"
	"capstan/core/bptm"
	"capstan/core/host"
	"capstan/core/pbx"
	"capstan/core/rt"
	"capstan/core/status"
	"capstan/core/stream"
	"capstan/core/tar"
	"capstan/core/trace"
)

// ChildArgs is what a restore's bpbrm starts its child with.
type ChildArgs struct {
	Args   Args     `json:"args"`
	Parent pbx.Addr `json:"parent"`
	Bptm   pbx.Addr `json:"bptm"`
}

// childGo says to the child that the start is complete.
var childGo = pbx.Declare[struct{}, struct{}](Role, "ChildGo", pbx.Media)

// childN is the child's number among the processes of the role.
const childN = 1

// restore starts the child and bptm (R6) and waits for their ends.
func (m *manager) restore(ctx context.Context) Finished {
	a := &m.args
	tm := pbx.ProcessAt(m.env.Host, bptm.Role, trace.JobOf(ctx).ID, trace.JobOf(ctx).Try, 0)
	child, err := host.StartOn(ctx, "R6", m.env.Host, Role, childN, a.Epoch,
		ChildArgs{Args: *a, Parent: m.env.Addr, Bptm: tm})
	if err != nil {
		return failed(status.SystemCall, "child of bpbrm: %v", err)
	}
	if _, err := host.StartOn(ctx, "R6", m.env.Host, bptm.Role, 0, a.Epoch, bptm.Args{
		Master: a.Master, Bpbrm: m.env.Addr, Nbjm: a.Nbjm, Epoch: a.Epoch, Client: a.Client, Restore: true, Needed: a.Starter,
	}); err != nil {
		m.stop.Set()
		m.await(ctx, child)
		return failed(status.SystemCall, "bptm: %v", err)
	}
	m.log.Say(ctx, "started process bptm")
	m.log.Flush(ctx) // what bptm says comes behind it
	for _, p := range []func() error{
		func() error { _, err := childGo.Call(ctx, child, struct{}{}); return err },
		func() error { _, err := bptm.Go.Call(ctx, tm, struct{}{}); return err },
	} {
		if p() != nil {
			m.stop.Set() // the process is gone; its end says why
		}
	}
	os := m.await(ctx, child, tm)
	code, detail := judge(os)
	if code != status.OK {
		return Finished{Status: code, Detail: detail}
	}
	got, err := host.ReadBody[tar.Result](os[0].exit.Result)
	if err != nil {
		return failed(status.SystemError, "result of tar: %v", err)
	}
	f := Finished{Status: allIn(got.Problems), Bytes: got.Bytes, Files: got.Files, Problems: got.Problems}
	f.say("restored as they were")
	return f
}

// importImages starts bptm (R6) and waits for its end.
func (m *manager) importImages(ctx context.Context) Finished {
	a := &m.args
	tm, err := host.StartOn(ctx, "R6", m.env.Host, bptm.Role, 0, a.Epoch, bptm.Args{
		Master: a.Master, Bpbrm: m.env.Addr, Nbjm: a.Nbjm, Epoch: a.Epoch, Restore: true, Import: true, Needed: a.Starter,
	})
	if err != nil {
		return failed(status.SystemCall, "bptm: %v", err)
	}
	m.log.Say(ctx, "started process bptm")
	m.log.Flush(ctx) // what bptm says comes behind it
	if _, err := bptm.Go.Call(ctx, tm, struct{}{}); err != nil {
		m.stop.Set() // the process is gone; its end says why
	}
	code, detail := judge(m.await(ctx, tm))
	return Finished{Status: code, Detail: detail}
}

// Child is the main function of a restore's child: it starts tar on the client
// and hands the connection to bptm (R8), and ends when tar has (R15).
func Child(ctx context.Context, env *host.Env, args ChildArgs, ready func()) (tar.Result, error) {
	ctx = trace.WithRole(ctx, Role)
	m := &manager{env: env, args: args.Args, log: bpjobd.NewLog(ctx, args.Args.Master), stop: rt.NewEvent(ctx), told: rt.NewEvent(ctx), lock: rt.NewLock(ctx)}
	mux := pbx.NewMux(ctx, Role, 0)
	host.HandleAttend(mux, m.stop)
	pbx.Handle(mux, childGo, func(ctx context.Context, _ pbx.Peer, _ struct{}) (struct{}, error) {
		pbx.AfterReply(ctx, m.told.Set)
		return struct{}{}, nil
	})
	stop, err := env.Calls.Serve(ctx, env.Addr.Service(), mux)
	if err != nil {
		return tar.Result{}, err
	}
	defer stop()
	defer m.log.Flush(ctx)
	ready()
	ctx, cancel := host.Attend(ctx, args.Parent)
	defer cancel(nil)
	if err := m.told.Wait(ctx); err != nil {
		return tar.Result{}, err
	}
	a := &args.Args
	ticket := stream.NewTicket(ctx, env.Addr)
	m.log.Say(ctx, "connecting to client "+a.Client)
	var names pbx.Addr
	if a.Named {
		names = a.Starter
	}
	client, err := host.StartOn(ctx, "R8", a.Client, tar.Role, 0, a.Epoch, tar.Args{
		Master: a.Master, Parent: env.Addr, Server: env.Host, Ticket: ticket, Options: a.Options, Names: names,
	})
	if err != nil && ctx.Err() != nil {
		return tar.Result{}, rt.Cause(ctx) // bptm has failed, and says why
	}
	if err != nil {
		return tar.Result{}, status.Errorf(noClient(err), "client %s: %w", a.Client, err)
	}
	m.log.Say(ctx, "connected to client "+a.Client, "started process tar on "+a.Client)
	if _, err := bptm.Connect.Call(ctx, args.Bptm, bptm.Connection{Tar: client, Ticket: ticket}); err != nil {
		m.stop.Set()
	}
	os := m.await(ctx, client)
	if code, detail := judge(os); code != status.OK {
		return tar.Result{}, status.Errorf(code, "%s", detail)
	}
	got, err := host.ReadBody[tar.Result](os[0].exit.Result)
	if err != nil {
		return got, status.Errorf(status.SystemError, "result of tar: %w", err)
	}
	return got, nil
}
