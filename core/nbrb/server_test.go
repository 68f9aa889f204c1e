package nbrb

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"capstan/core/host"
	"capstan/core/nbemm"
	"capstan/core/pbx"
	"capstan/core/rt"
	"capstan/core/status"
	"capstan/core/trace"
	"capstan/sim"
)

// pause is time for nbrb to do what there is to be done, and far less than a minute.
const pause = time.Second

// domain is nbrb with an nbemm that answers as a test says.
type domain struct {
	*Server
	master  string
	allots  func(ctx context.Context, q nbemm.Request) (nbemm.Allocation, error)
	returns func(q nbemm.Release) (nbemm.Released, error)
	granted []int64 // jobs
}

// inDomain runs a test in a domain.
func inDomain(t *testing.T, fn func(ctx context.Context, d *domain) error) {
	t.Helper()
	w := sim.New(sim.Options{})
	defer w.Close()
	if err := w.Do(w.NewHost("master", pbx.Master), "test", func(ctx context.Context, env *host.Env) error {
		d := &domain{Server: New(ctx, env.Host), master: env.Host}
		emm, jobs := pbx.NewMux(ctx, nbemm.Service, 1), pbx.NewMux(ctx, "nbjm", 1)
		pbx.Handle(emm, nbemm.Allocate, func(ctx context.Context, _ pbx.Peer, q nbemm.Request) (nbemm.Allocation, error) {
			return d.allots(ctx, q)
		})
		pbx.Handle(emm, nbemm.ReleaseAll, func(_ context.Context, _ pbx.Peer, q nbemm.Release) (nbemm.Released, error) {
			return d.returns(q)
		})
		pbx.Handle(jobs, Granted, func(_ context.Context, _ pbx.Peer, g Grant) (struct{}, error) {
			d.granted = append(d.granted, g.Job.ID)
			return struct{}{}, nil
		})
		pbx.Handle(jobs, Blocked, func(context.Context, pbx.Peer, []Waiter) (struct{}, error) { return struct{}{}, nil })
		for _, s := range []struct {
			service string
			mux     *pbx.Mux
		}{{nbemm.Service, emm}, {Service, d.Mux(ctx, 1)}, {"nbjm", jobs}} {
			if _, err := env.Calls.Serve(ctx, s.service, s.mux); err != nil {
				return err
			}
		}
		return fn(ctx, d)
	}); err != nil {
		t.Fatal(err)
	}
}

// asks asks for what a job needs, and gives nbrb time to serve it.
func (d *domain) asks(ctx context.Context, job int64, r Request) error {
	r.Job, r.Reply = trace.Job{ID: job, Try: 1}, pbx.At(d.master, "nbjm")
	r.Need.Job, r.Need.Try = job, 1
	if _, err := Ask.Call(trace.WithJob(ctx, r.Job), pbx.At(d.master, Service), r); err != nil {
		return err
	}
	return rt.Sleep(ctx, pause)
}

// giveBackOf is what nbjm calls when a job is over.
func (d *domain) giveBackOf(ctx context.Context, job int64) error {
	_, err := GiveBack.Call(trace.WithJob(ctx, trace.Job{ID: job, Try: 1}), pbx.At(d.master, Service), nbemm.Release{Job: job, Try: 1})
	return errors.Join(err, rt.Sleep(ctx, pause))
}

// A job whose release nbemm fails to store is over nevertheless, and no longer counts.
func TestReleaseFails(t *testing.T) {
	inDomain(t, func(ctx context.Context, d *domain) error {
		d.allots = func(context.Context, nbemm.Request) (nbemm.Allocation, error) { return nbemm.Allocation{}, nil }
		d.returns = func(nbemm.Release) (nbemm.Released, error) { return nbemm.Released{}, errors.New("no space") }
		one := Request{Need: nbemm.Request{Write: true, Storage: "disk"}, Policy: "docs", Client: "desk", PerPolicy: 1}
		if err := errors.Join(d.asks(ctx, 1, one), d.asks(ctx, 2, one)); err != nil {
			return err
		}
		if len(d.granted) != 1 {
			t.Errorf("jobs %v are granted, want one, as the policy allows", d.granted)
		}
		if err := d.giveBackOf(ctx, 1); err == nil {
			t.Error("the error was lost")
		}
		if len(d.granted) != 2 {
			t.Errorf("jobs %v are granted; the second waits for one that is over", d.granted)
		}
		return nil
	})
}

// A restore that goes on to its next cartridge lets go of the one before, which others
// wait for.
func TestNextCartridgeFreesTheOneBefore(t *testing.T) {
	inDomain(t, func(ctx context.Context, d *domain) error {
		has := ""
		d.allots = func(_ context.Context, q nbemm.Request) (nbemm.Allocation, error) {
			if q.Media == has {
				return nbemm.Allocation{}, status.Errorf(status.MediaInUse, "%s is in use", has)
			}
			if q.Job == 1 {
				has = q.Media
			}
			return nbemm.Allocation{}, nil
		}
		first, second := Request{Need: nbemm.Request{Media: "CAP001"}}, Request{Need: nbemm.Request{Media: "CAP002", Held: "drive"}}
		if err := errors.Join(d.asks(ctx, 1, first), d.asks(ctx, 2, first), d.asks(ctx, 1, second)); err != nil {
			return err
		}
		if diff := cmp.Diff([]int64{1, 1, 2}, d.granted); diff != "" {
			t.Error(diff)
		}
		return nil
	})
}

// What was refused is asked for again a minute after the last look at all, whatever
// happened meanwhile.
func TestLookAgain(t *testing.T) {
	inDomain(t, func(ctx context.Context, d *domain) error {
		up := false
		d.allots = func(context.Context, nbemm.Request) (nbemm.Allocation, error) {
			if !up {
				return nbemm.Allocation{}, status.Errorf(status.NoDrive, "no drive is up")
			}
			return nbemm.Allocation{}, nil
		}
		read := Request{Need: nbemm.Request{Media: "CAP001"}}
		if err := d.asks(ctx, 1, read); err != nil {
			return err
		}
		looked := d.looked
		if err := rt.Sleep(ctx, looked+lookAgain-pause-rt.Mono(ctx)); err != nil {
			return err
		}
		up = true
		if err := d.asks(ctx, 2, read); err != nil {
			return err
		}
		if err := rt.Sleep(ctx, pause); err != nil {
			return err
		}
		if len(d.granted) != 2 {
			t.Errorf("jobs %v are granted %v after the last look, want both", d.granted, rt.Mono(ctx)-looked)
		}
		return nil
	})
}

// What is given back while nbemm's refusal is on its way is not lost.
func TestGivenBackDuringRefusal(t *testing.T) {
	inDomain(t, func(ctx context.Context, d *domain) error {
		free := true
		d.allots = func(ctx context.Context, q nbemm.Request) (nbemm.Allocation, error) {
			refused := !free
			if free = false; !refused {
				return nbemm.Allocation{}, nil
			}
			return nbemm.Allocation{}, errors.Join(d.giveBackOf(ctx, 1), status.Errorf(status.NoDrive, "the drive is in use"))
		}
		d.returns = func(nbemm.Release) (nbemm.Released, error) {
			free = true
			return nbemm.Released{For: []string{"tape"}}, nil
		}
		one := Request{Need: nbemm.Request{Write: true, Storage: "tape"}}
		if err := errors.Join(d.asks(ctx, 1, one), d.asks(ctx, 2, one), rt.Sleep(ctx, pause)); err != nil {
			return err
		}
		if diff := cmp.Diff([]int64{1, 2}, d.granted); diff != "" {
			t.Error(diff)
		}
		return nil
	})
}
