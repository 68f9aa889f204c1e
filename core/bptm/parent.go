package bptm

import (
	"context"
	"errors"
	"fmt"
	"time"

	"capstan/core/bpjobd"
	"capstan/core/dev"
	"capstan/core/host"
	"capstan/core/ltid"
	"capstan/core/nbemm"
	"capstan/core/nbrb"
	"capstan/core/pbx"
	"capstan/core/rt"
	"capstan/core/status"
	"capstan/core/stream"
	"capstan/core/trace"
)

// parent owns the device of one job.
type parent struct {
	env    *host.Env
	args   Args
	log    *bpjobd.Log
	told   *rt.Event               // by bpbrm: go
	grants *rt.Queue[nbrb.Grant]   // by nbjm
	tars   *rt.Queue[Connection]   // by bpbrm's child
	stop   *rt.Event               // tells the child to stop
	child  *rt.Queue[childOutcome] // how the child ended
	ring   stream.Ring
}

type childOutcome struct {
	exit host.Exit
	err  error
}

// ringSlots is the number of blocks between the two processes: at 256 KiB it is
// 8 MiB, some tens of milliseconds of a drive's work.
const ringSlots = 32

// Main is the parent's main function.
func Main(ctx context.Context, env *host.Env, args Args, ready func()) (struct{}, error) {
	ctx = trace.WithRole(ctx, Role)
	p := &parent{
		env: env, args: args, log: bpjobd.NewLog(ctx, args.Master), told: rt.NewEvent(ctx), grants: rt.NewQueue[nbrb.Grant](ctx, 0),
		tars: rt.NewQueue[Connection](ctx, 0), stop: rt.NewEvent(ctx), child: rt.NewQueue[childOutcome](ctx, 0),
	}
	stop, err := env.Calls.Serve(ctx, env.Addr.Service(), p.mux(ctx))
	if err != nil {
		return struct{}{}, err
	}
	defer stop()
	defer p.log.Flush(ctx)
	ready()
	ctx, cancel := host.Attend(ctx, args.Bpbrm)
	defer cancel(nil)
	if err := p.told.Wait(ctx); err != nil {
		return struct{}{}, err
	}
	switch {
	case args.Import:
		err = p.importImages(ctx)
	case args.Restore:
		err = p.restore(ctx, cancel)
	default:
		err = p.backup(ctx, cancel)
	}
	if err != nil {
		p.stop.Set()
	}
	return struct{}{}, err
}

func (p *parent) mux(ctx context.Context) *pbx.Mux {
	mux := pbx.NewMux(ctx, Role, 0)
	host.HandleAttend(mux, p.stop)
	pbx.Handle(mux, Go, func(ctx context.Context, from pbx.Peer, _ struct{}) (struct{}, error) {
		if from.Addr != p.args.Bpbrm {
			return struct{}{}, status.Errorf(status.NotAllowed, "%s is not the bpbrm of this job", from.Addr)
		}
		pbx.AfterReply(ctx, p.told.Set)
		return struct{}{}, nil
	})
	pbx.Handle(mux, Grant, func(ctx context.Context, _ pbx.Peer, g nbrb.Grant) (struct{}, error) {
		pbx.AfterReply(ctx, func() { _ = p.grants.Put(rt.WithoutCancel(ctx), g) })
		return struct{}{}, nil
	})
	pbx.Handle(mux, Connect, func(ctx context.Context, from pbx.Peer, c Connection) (struct{}, error) {
		if from.Name != p.env.Host {
			return struct{}{}, status.Errorf(status.NotAllowed, "%s is not of this media server", from)
		}
		pbx.AfterReply(ctx, func() { _ = p.tars.Put(rt.WithoutCancel(ctx), c) })
		return struct{}{}, nil
	})
	return mux
}

func (p *parent) say(ctx context.Context, format string, args ...any) {
	p.log.Say(ctx, fmt.Sprintf(format, args...))
}

// ask asks nbjm for media and waits for the answer (B9; R7 to R11).
func (p *parent) ask(ctx context.Context, q Media) (nbemm.Allocation, error) {
	q.Reply = p.env.Addr
	p.log.Flush(ctx) // what nbjm says of the answer comes behind it
	if _, err := AskMedia.Call(ctx, p.args.Nbjm, q); err != nil {
		return nbemm.Allocation{}, err
	}
	g, err := p.grants.Get(ctx)
	if err != nil {
		return nbemm.Allocation{}, err
	}
	return g.Allocation, g.Err()
}

// makeRing makes the shared memory for blocks of a size.
func (p *parent) makeRing(ctx context.Context, blockSize int) (name string, err error) {
	j := trace.JobOf(ctx)
	name = fmt.Sprintf("%d.%d", j.ID, j.Try)
	p.ring, err = p.env.Rings.Create(ctx, name, ringSlots, blockSize)
	if err != nil {
		return name, status.Errorf(status.SharedMemory, "ring %s of %d blocks of %d bytes: %w", name, ringSlots, blockSize, err)
	}
	if s, ok := p.env.Devices.(sharesMemory); ok {
		if err := s.ShareRing(ctx, p.ring); err != nil {
			return name, status.Errorf(status.SharedMemory, "ring %s and the drives: %w", name, err)
		}
	}
	return name, nil
}

// sharesMemory is implemented by devices in another process, to which a ring's
// memory is made known once so that its blocks need not be copied.
type sharesMemory interface {
	ShareRing(ctx context.Context, r stream.Ring) error
}

// spawn starts the child. When it ends badly, ctx ends.
func (p *parent) spawn(ctx context.Context, step string, args ChildArgs, cancel func(error)) (pbx.Addr, error) {
	args.Parent, args.Restore = p.env.Addr, p.args.Restore
	addr, err := host.StartOn(ctx, step, p.env.Host, Role, childN, p.args.Epoch, args)
	if err != nil {
		return "", status.Errorf(status.SystemCall, "child of bptm: %w", err)
	}
	rt.Go(rt.WithoutCancel(ctx), "await child", func(ctx context.Context) {
		exit, err := host.Await(ctx, addr)
		o := childOutcome{exit, err}
		_ = p.child.Put(ctx, o)
		if e := o.failure(); e != nil {
			cancel(e)
		}
	})
	return addr, nil
}

// childN is the child's number among the processes of the role.
const childN = 1

// failure is why the child ended, nil if all went well.
func (o *childOutcome) failure() error {
	switch {
	case o.err != nil:
		return status.Errorf(status.NetworkBroken, "child of bptm: %w", o.err)
	case o.exit.Killed:
		return status.Errorf(status.MediaManagerKilled, "the child of bptm %s", o.exit.Death())
	case o.exit.Code != 0:
		return status.Errorf(status.Code(o.exit.Code), "child of bptm: %s", o.exit.Detail)
	}
	return nil
}

// causeTime is how long the parent waits to learn that its child is dead, when
// the ring was cut.
const causeTime = 2 * time.Second

// cause is what is behind a failure: the child's death if the ring was cut by
// it, bpbrm's word if that came, else the error itself.
func (p *parent) cause(ctx context.Context, err error) error {
	tctx, cancel := rt.WithTimeout(rt.WithoutCancel(ctx), causeTime)
	defer cancel()
	if o, ok := p.child.TryGet(); ok && o.failure() != nil {
		return o.failure()
	}
	if errors.Is(err, stream.ErrCut) {
		if o, cerr := p.child.Get(tctx); cerr == nil && o.failure() != nil {
			return o.failure()
		}
	}
	if ctx.Err() != nil {
		return rt.Cause(ctx)
	}
	return err
}

// childEnd waits for the child's end, and returns how often it waited for the ring.
func (p *parent) childEnd(ctx context.Context) (w stream.Waits, err error) {
	o, err := p.child.Get(ctx)
	if err != nil {
		return w, err
	}
	if err := o.failure(); err != nil {
		return w, err
	}
	if w, err = host.ReadBody[stream.Waits](o.exit.Result); err != nil {
		return w, status.Errorf(status.SystemError, "result of bptm's child: %w", err)
	}
	return w, nil
}

// sayPace says in the job's log what has ended, and there and in its trace what is
// known of its pace.
func (p *parent) sayPace(ctx context.Context, first string, c *pace) {
	p.log.Say(ctx, append([]string{first}, c.lines()...)...)
	if t := trace.From(ctx); t != nil && !c.hollow {
		s := t.Stamp(ctx)
		t.Emit(ctx, trace.Event{Begin: trace.Stamp{Wall: s.Wall.Add(-c.took)}, End: s, What: trace.Paced, Detail: c.slower().traced()})
	}
}

// mount has ltid bring the allocated cartridge to the drive, and reserves the
// drive for this job.
func (p *parent) mount(ctx context.Context, a *nbemm.Allocation) (*tape, error) {
	p.say(ctx, "mounting %s", a.Media.ID)
	seen, err := ltid.MountIt.Call(ctx, pbx.At(p.env.Host, ltid.Service), ltid.Mount{Drive: a.Drive.Name, Barcode: a.Media.Barcode, From: a.From})
	if err != nil {
		return nil, err
	}
	p.say(ctx, "mounted %s in drive %s", a.Media.ID, a.Drive.Name)
	d, err := p.env.Devices.Drive(ctx, a.Drive.Name)
	if err != nil {
		return nil, status.Errorf(status.MediaOpen, "drive %s: %w", a.Drive.Name, err)
	}
	if err := d.Reserve(ctx, string(p.env.Addr), false); err != nil {
		return nil, status.Errorf(status.ReservationHeld, "drive %s: %w", a.Drive.Name, err)
	}
	t := &tape{drive: d, alloc: a, seen: seen, env: p.env, pool: a.Media.Pool}
	t.hollow, _ = d.(dev.HollowDrive)
	p.sayCondition(ctx, t)
	return t, nil
}

// sayCondition logs what a mounted cartridge and its drive say of themselves, beside
// what decides.
func (p *parent) sayCondition(ctx context.Context, t *tape) {
	if t.seen.CleaningNeeded {
		p.say(ctx, "drive %s asks to be cleaned", t.alloc.Drive.Name)
	}
	if m := t.seen.Memory; m != "" && t.seen.Labelled && m != t.seen.Label.MediaID {
		p.say(ctx, "the memory of cartridge %s says that it is %s: the label on its tape counts", t.seen.Label.MediaID, m)
	}
}

// sayAlerts logs the TapeAlert flags of the tape's drive, and that it asks to be
// cleaned. It is of no consequence to the job, and so are its errors.
func (p *parent) sayAlerts(ctx context.Context, t *tape) {
	if t == nil {
		return
	}
	if t.cleaning && !t.seen.CleaningNeeded {
		p.say(ctx, "drive %s asks to be cleaned", t.alloc.Drive.Name)
	}
	a, ok := t.drive.(dev.TapeAlerter)
	if !ok {
		return
	}
	alerts, err := a.TapeAlerts(ctx)
	if err != nil {
		return
	}
	for _, f := range alerts {
		p.say(ctx, "drive %s, cartridge %s: %v", t.alloc.Drive.Name, t.alloc.Media.ID, f)
	}
}

// release gives the drive back, so that others can open it.
func (p *parent) release(ctx context.Context, t *tape) error {
	p.sayAlerts(ctx, t)
	err := t.drive.Reserve(ctx, "", false)
	if err = errors.Join(err, t.drive.Close()); err != nil {
		return status.Errorf(status.MediaClose, "drive %s: %w", t.alloc.Drive.Name, err)
	}
	return nil
}

// unmount gives the drive back and has ltid take the cartridge home.
func (p *parent) unmount(ctx context.Context, t *tape) error {
	if err := p.release(ctx, t); err != nil {
		return err
	}
	_, err := ltid.UnmountIt.Call(ctx, pbx.At(p.env.Host, ltid.Service), ltid.Drive{Drive: t.alloc.Drive.Name})
	return err
}
