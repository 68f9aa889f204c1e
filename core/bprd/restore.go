package bprd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"capstan/core/archive"
	"capstan/core/bpbrm"
	"capstan/core/bpdbm"
	"capstan/core/bpjobd"
	"capstan/core/bptm"
	"capstan/core/host"
	"capstan/core/nbjm"
	"capstan/core/pbx"
	"capstan/core/rt"
	"capstan/core/status"
	"capstan/core/store"
	"capstan/core/tar"
	"capstan/core/trace"
)

// ChildArgs is what bprd starts its child with.
type ChildArgs struct {
	Needed string `json:"needed"` // name of the neededimage file
	Epoch  uint64 `json:"epoch"`
}

// NeededDir is the directory of neededimage files, of the master's state.
const NeededDir = "neededimage"

// What bprd tells its child.
var (
	childGo   = pbx.Declare[struct{}, struct{}](Role, "Go", pbx.Master)
	childStop = pbx.Declare[struct{}, struct{}](Role, "Stop", pbx.Master)
)

// led is one restore, or one group of its images, or an import, as its leader sees it.
type led struct {
	env    *host.Env
	addr   pbx.Addr // at which its processes find the leader
	server string   // the media server that takes part
	args   bpbrm.Args
	needed *Needed  // of a restore
	names  []string // of members that have another, sorted
	reads  *reading // of an import
	stop   *rt.Event
	told   *rt.Event // bpbrm has reported
	named  *rt.Event // tar has all other names, if members have such
	result bpbrm.Finished
	// reported: result is what bpbrm said, be it that nothing came.
	reported bool
}

func newLed(ctx context.Context, env *host.Env, addr pbx.Addr, epoch uint64, server string, stop *rt.Event) *led {
	return &led{
		env: env, addr: addr, server: server, stop: stop, told: rt.NewEvent(ctx), named: rt.NewEvent(ctx),
		args: bpbrm.Args{Master: env.Host, Nbjm: pbx.At(env.Host, nbjm.Service), Starter: addr, Epoch: epoch, Restore: true},
	}
}

func newRestore(ctx context.Context, env *host.Env, addr pbx.Addr, epoch uint64, n *Needed, stop *rt.Event) *led {
	r := newLed(ctx, env, addr, epoch, n.Server, stop)
	q := &n.Request
	r.needed, r.args.Client = n, q.To
	r.args.Options = archive.WriteOptions{Target: q.Target, StripTo: q.StripTo, Overwrite: q.Overwrite, Owner: true, Volatile: q.Volatile}
	r.names = slices.Sorted(maps.Keys(n.As))
	r.args.Named = len(r.names) > 0
	return r
}

// run is R5 to R17: it starts bpbrm and waits for its report.
func (r *led) run(ctx context.Context) (bpbrm.Finished, error) {
	addr, err := host.StartOn(ctx, "R5", r.server, bpbrm.Role, 0, r.args.Epoch, r.args)
	if err != nil {
		return bpbrm.Finished{}, status.Errorf(status.CannotConnect, "media server %s: %w", r.server, err)
	}
	bpjobd.Say(ctx, r.env.Host, "started process bpbrm on "+r.server)
	if _, err := bpbrm.Go.Call(ctx, addr, struct{}{}); err != nil { // R5
		return bpbrm.Finished{}, err
	}
	var exit host.Exit
	var lost error
	gone := rt.NewEvent(ctx)
	rt.Go(rt.WithoutCancel(ctx), "await bpbrm", func(ctx context.Context) {
		exit, lost = host.Await(ctx, addr)
		gone.Set()
		r.told.Set()
	})
	if err := r.told.Wait(ctx); err != nil {
		return bpbrm.Finished{}, err
	}
	switch {
	case !gone.IsSet():
		tctx, cancel := rt.WithTimeout(ctx, time.Minute)
		_ = gone.Wait(tctx) // its processes exit before the restore is finished
		cancel()
		return r.result, nil
	case r.reported || r.reads != nil && r.reads.over.IsSet():
		return r.result, nil
	case lost != nil:
		return bpbrm.Finished{}, lost
	case exit.Killed:
		return bpbrm.Finished{}, status.Errorf(status.NetworkBroken, "bpbrm on %s %s", addr.Host(), exit.Death())
	}
	return bpbrm.Finished{}, status.Errorf(cmp.Or(status.Code(exit.Code), status.SystemError), "bpbrm ended without a report: %s", exit.Detail)
}

// report takes bpbrm's report (R17).
func (r *led) report(ctx context.Context, from pbx.Peer, f bpbrm.Finished) error {
	j := trace.JobOf(ctx)
	if from.Addr != pbx.ProcessAt(r.server, bpbrm.Role, j.ID, j.Try, 0) {
		return status.Errorf(status.NotAllowed, "%s is not the bpbrm of job %d", from.Addr, j.ID)
	}
	r.result, r.reported = f, true
	pbx.AfterReply(ctx, r.told.Set)
	return nil
}

// pageRanges is how many ranges a message to bptm carries.
const pageRanges = 50_000

// namesTime is how long tar may take to start and to ask for all other names.
const namesTime = 2 * time.Minute

// page answers bptm: what is needed of one image. No data comes before tar has all
// other names: one that does not ask for them would write files under wrong names.
func (r *led) page(ctx context.Context, from pbx.Peer, q bptm.NeededQuery) (bptm.Needed, error) {
	if r.needed == nil || from.Name != r.server {
		return bptm.Needed{}, status.Errorf(status.NotAllowed, "%s has no part in a restore that is led here", from)
	}
	if q.Image < 0 || q.Image >= len(r.needed.Images) ||
		q.From < 0 || q.From > len(r.needed.Images[q.Image].Ranges) || q.FromHollow < 0 || q.FromHollow > len(r.needed.Images[q.Image].Hollow) {
		return bptm.Needed{}, status.Errorf(status.BadParameter, "restore %d has no range %d or no hollow entry %d of image %d", r.needed.Job, q.From, q.FromHollow, q.Image)
	}
	if r.args.Named {
		if err := r.named.WaitFor(ctx, namesTime); errors.Is(err, context.DeadlineExceeded) {
			return bptm.Needed{}, status.Errorf(status.RestoreFailed, "tar on %s did not ask which files have other names: Capstan is older there", r.args.Client)
		} else if err != nil {
			return bptm.Needed{}, err
		}
	}
	im := &r.needed.Images[q.Image]
	n := bptm.Needed{Images: len(r.needed.Images), BackupID: im.BackupID, Fragments: im.Fragments, AnyOrder: im.AnyOrder}
	for i := range r.needed.Images {
		for _, f := range r.needed.Images[i].Fragments {
			n.BlockSize = max(n.BlockSize, f.BlockSize)
		}
	}
	n.Ranges = slices.Clip(im.Ranges[q.From:min(len(im.Ranges), q.From+pageRanges)])
	n.Hollow, n.More = bpdbm.HollowPage(im.Hollow[q.FromHollow:])
	n.More = n.More || q.From+len(n.Ranges) < len(im.Ranges)
	return n, nil
}

// otherNames answers tar: which members are written under another name.
func (r *led) otherNames(ctx context.Context, from pbx.Peer, q tar.NamesQuery) (tar.Names, error) {
	j := trace.JobOf(ctx)
	if r.needed == nil || from.Addr != pbx.ProcessAt(r.args.Client, tar.Role, j.ID, j.Try, 0) {
		return tar.Names{}, status.Errorf(status.NotAllowed, "%s has no part in a restore that is led here", from)
	}
	if q.From < 0 || q.From > len(r.names) {
		return tar.Names{}, status.Errorf(status.BadParameter, "restore %d has no other name %d", r.needed.Job, q.From)
	}
	as, more := bpdbm.PageOf(r.needed.As, r.names[q.From:])
	if !more {
		r.named.Set()
	}
	return tar.Names{As: as, More: more}, nil
}

// Child is the main function of bprd's child: it reads the neededimage file and
// leads one restore from tape (R4 to R17).
func Child(ctx context.Context, env *host.Env, args ChildArgs, ready func()) (bpbrm.Finished, error) {
	ctx = trace.WithRole(ctx, Role)
	dir := env.Dir(NeededDir)
	n, err := readNeeded(ctx, dir, args.Needed)
	if err != nil {
		return bpbrm.Finished{}, status.Errorf(status.FileRead, "neededimage file: %w", err)
	}
	stop, told := rt.NewEvent(ctx), rt.NewEvent(ctx)
	r := newRestore(ctx, env, env.Addr, args.Epoch, n, stop)
	mux := pbx.NewMux(ctx, Role, 0)
	handleProcesses(mux, func(context.Context) (*led, error) { return r, nil })
	handleEvent(mux, childGo, told)
	handleEvent(mux, childStop, stop)
	end, err := env.Calls.Serve(ctx, env.Addr.Service(), mux)
	if err != nil {
		return bpbrm.Finished{}, err
	}
	defer end()
	ready()
	if err := told.Wait(ctx); err != nil { // R4 ends when bprd says so
		return bpbrm.Finished{}, err
	}
	f, err := r.run(ctx)
	if rerr := removeNeeded(ctx, dir, args.Needed); rerr != nil { // R17
		bpjobd.Say(ctx, env.Host, "neededimage file: "+rerr.Error())
	}
	return f, err
}

// handleEvent has a call of m make an event happen.
func handleEvent(mux *pbx.Mux, m *pbx.Method[struct{}, struct{}], ev *rt.Event) {
	pbx.Handle(mux, m, func(ctx context.Context, _ pbx.Peer, _ struct{}) (struct{}, error) {
		pbx.AfterReply(ctx, ev.Set)
		return struct{}{}, nil
	})
}

func neededName(job int64) string { return fmt.Sprintf("%d.neededimage", job) }

// The neededimage file is one value as a message has it: names are the bytes that they are.
func writeNeeded(ctx context.Context, dir store.Dir, name string, n *Needed) error {
	b, err := pbx.EncodeFile(n)
	if err != nil {
		return err
	}
	f, err := dir.Create(ctx, name)
	if err != nil {
		return err
	}
	_, werr := f.WriteAt(b, 0)
	return errors.Join(werr, f.Sync(), f.Close())
}

func readNeeded(ctx context.Context, dir store.Dir, name string) (*Needed, error) {
	f, err := dir.Open(ctx, name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	b := make([]byte, size)
	if _, err := f.ReadAt(b, 0); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	n := &Needed{}
	if err := pbx.DecodeFile(b, n); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if len(n.Images) == 0 {
		return nil, fmt.Errorf("%s names no image", name)
	}
	return n, nil
}

func removeNeeded(ctx context.Context, dir store.Dir, name string) error {
	if err := dir.Remove(ctx, name); err != nil {
		return err
	}
	return dir.Sync(ctx, "")
}
