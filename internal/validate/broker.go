package validate

import (
	"context"
	"fmt"
	"time"

	"capstan/core/host"
	"capstan/core/nbemm"
	"capstan/core/nbrb"
	"capstan/core/pbx"
	"capstan/core/rt"
	"capstan/core/status"
	"capstan/core/trace"
	"capstan/sim"
	"capstan/sim/store"
)

// broker is nbrb with nbemm behind it, and customers before it who come as nbjm
// does, by calls: a station is a disk storage unit that takes as many jobs at a
// time as the station has servers; a customer is a job that asks for it, keeps it
// for its service, and gives it back.
type broker struct {
	host     string
	stations []*station
	asked    map[int64]*visit
	last     int64 // job number
}

// station is one storage unit, and what is counted of it.
type station struct {
	name    string
	waiting area // requests without a grant
	serving area // jobs that have it
	waited  time.Duration
	served  time.Duration // as drawn
}

// visit is a customer's visit at a station.
type visit struct {
	station  *station
	service  time.Duration
	priority int
	hurried  bool // he goes if he would have to wait

	decided *rt.Event
	left    bool
	err     error
}

// newBroker starts nbrb and nbemm in the caller's process, for stations with so
// many servers each.
func (r *replication) newBroker(ctx context.Context, env *host.Env, servers ...int) (*broker, error) {
	b := &broker{host: env.Host, asked: map[int64]*visit{}}
	var list nbemm.List
	for i, n := range servers {
		st := r.station(fmt.Sprintf("station%d", i+1))
		b.stations = append(b.stations, st)
		list.Units = append(list.Units, nbemm.StorageUnit{Name: st.name, Kind: nbemm.Disk, MediaServer: env.Host, MaxJobs: n})
	}
	emm, err := nbemm.New(ctx, store.NewDB(nbemm.Schemas()...))
	if err != nil {
		return nil, err
	}
	if err := emm.Configure(ctx, list); err != nil {
		return nil, err
	}
	jobs := pbx.NewMux(ctx, "nbjm", 1)
	pbx.Handle(jobs, nbrb.Granted, b.granted)
	pbx.Handle(jobs, nbrb.Blocked, b.blocked)
	for _, s := range []struct {
		service string
		mux     *pbx.Mux
	}{{nbemm.Service, emm.Mux(ctx, 1)}, {nbrb.Service, nbrb.New(ctx, env.Host).Mux(ctx, 1)}, {"nbjm", jobs}} {
		if _, err := env.Calls.Serve(ctx, s.service, s.mux); err != nil {
			return nil, err
		}
	}
	return b, nil
}

func (r *replication) station(name string) *station {
	return &station{name: name, waiting: r.area(), serving: r.area()}
}

func (b *broker) granted(_ context.Context, _ pbx.Peer, g nbrb.Grant) (struct{}, error) {
	v := b.asked[g.Job.ID]
	if v == nil || v.decided.IsSet() {
		return struct{}{}, status.Errorf(status.NotAllowed, "job %d does not wait for a grant", g.Job.ID)
	}
	v.err = g.Err()
	v.decided.Set()
	return struct{}{}, nil
}

func (b *broker) blocked(_ context.Context, _ pbx.Peer, ws []nbrb.Waiter) (struct{}, error) {
	for _, w := range ws {
		if v := b.asked[w.Job]; v != nil && v.hurried {
			v.left = true
			v.decided.Set()
		}
	}
	return struct{}{}, nil
}

// visit has a customer wait, be served and leave; he waits for no time if he leaves at once.
func (b *broker) visit(ctx context.Context, v *visit) (waited time.Duration, err error) {
	b.last++
	j := trace.Job{ID: b.last, Try: 1}
	ctx = trace.WithJob(ctx, j)
	v.decided = rt.NewEvent(ctx)
	b.asked[j.ID] = v
	defer delete(b.asked, j.ID)
	st, came := v.station, rt.Mono(ctx)
	st.waiting.add(came, 1)
	if _, err := nbrb.Ask.Call(ctx, pbx.At(b.host, nbrb.Service), nbrb.Request{
		Job: j, Priority: v.priority, Reply: pbx.At(b.host, "nbjm"),
		Need: nbemm.Request{Job: j.ID, Try: j.Try, Write: true, Storage: st.name},
	}); err != nil {
		return 0, err
	}
	if err := v.decided.Wait(ctx); err != nil {
		return 0, err
	}
	began := rt.Mono(ctx)
	st.waiting.add(began, -1)
	st.waited += began - came
	if v.left {
		_, err := nbrb.Cancel.Call(ctx, pbx.At(b.host, nbrb.Service), j)
		return 0, err
	}
	if v.err != nil {
		return 0, v.err
	}
	st.serving.add(began, 1)
	st.served += v.service
	err = rt.Sleep(ctx, v.service)
	st.serving.add(rt.Mono(ctx), -1)
	if err != nil {
		return 0, err
	}
	_, err = nbrb.GiveBack.Call(ctx, pbx.At(b.host, nbrb.Service), nbemm.Release{Job: j.ID, Try: j.Try})
	return began - came, err
}

// laws of every run, which hold exactly: at the end nobody is there; the integral
// of the number that waits is the sum of all waits (Little's law, for a run that
// begins and ends empty), that of the number served the sum of all services as they were
// drawn (the utilisation law).
func (st *station) laws() error {
	switch {
	case st.waiting.now != 0 || st.serving.now != 0:
		return fmt.Errorf("%s: %d wait and %d are served at the end of the run", st.name, st.waiting.now, st.serving.now)
	case st.waiting.whole != int64(st.waited):
		return fmt.Errorf("%s: Little's law: the integral of the number waiting is %d, the sum of waits %d ns", st.name, st.waiting.whole, st.waited)
	case st.serving.whole != int64(st.served):
		return fmt.Errorf("%s: utilisation law: the integral of the number served is %d, the sum of services %d ns", st.name, st.serving.whole, st.served)
	}
	return nil
}

// atBroker runs a replication at a broker: come starts the customers in a group.
func (r *replication) atBroker(servers []int, begin func(ctx context.Context, g *rt.Group, b *broker) error) (*broker, error) {
	var b *broker
	err := r.inWorld(func(ctx context.Context, env *host.Env, _ *sim.World) (err error) {
		if b, err = r.newBroker(ctx, env, servers...); err != nil {
			return err
		}
		g, gctx := rt.NewGroup(ctx)
		if err := begin(gctx, g, b); err != nil {
			return err
		}
		if err := g.Wait(ctx); err != nil {
			return err
		}
		for _, st := range b.stations {
			if err := st.laws(); err != nil {
				return err
			}
		}
		return nil
	})
	return b, err
}
