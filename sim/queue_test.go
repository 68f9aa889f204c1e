package sim

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"capstan/core/dev"
	"capstan/core/host"
	"capstan/core/pbx"
	"capstan/core/rt"
)

// Whatever is scheduled and cancelled, and by whom, functions run in order of
// time, those at one time in order of their scheduling, and none that was cancelled.
func TestEventsComeInOrder(t *testing.T) {
	type due struct{ At, N int }
	rapid.Check(t, func(r *rapid.T) {
		w := New(Options{})
		var want, got []due
		var cancel []func()
		// Some soon, some late, and many at one time.
		soonOrLate := rapid.OneOf(rapid.IntRange(0, 50), rapid.IntRange(nearTime-20, nearTime+20))
		times := rapid.SliceOfN(soonOrLate, 1, 3000).Draw(r, "times")
		for n, at := range times {
			c := w.callAt(int64(at), normal, nil, func() { got = append(got, due{int(w.clock), n}) })
			cancel = append(cancel, c.cancel)
		}
		keep := rapid.IntRange(1, 10).Draw(r, "keep one of")
		for n, at := range times {
			if n%keep == 0 {
				want = append(want, due{at, n})
			} else {
				cancel[n]()
				cancel[n]()
			}
		}
		slices.SortStableFunc(want, func(a, b due) int { return a.At - b.At })
		if err := w.Drain(); err != nil {
			r.Error(err)
		}
		if d := cmp.Diff(want, got); d != "" {
			r.Errorf("order (-want +got):\n%s", d)
		}
	})
}

// Long timeouts that were stopped do not pile up in the queue.
func TestStoppedTimeoutsAreForgotten(t *testing.T) {
	w := New(Options{})
	defer w.Close()
	do(t, w, w.NewHost("h", pbx.Master), func(ctx context.Context, _ *host.Env) error {
		for range 100_000 {
			_, cancel := rt.WithTimeout(ctx, time.Hour)
			cancel()
		}
		return rt.Sleep(ctx, time.Second)
	})
	if n := cap(w.queue.far); n > 4096 {
		t.Errorf("the queue has grown to %d events", n)
	}
}

func TestFaultsOfTheNetwork(t *testing.T) {
	w := New(Options{})
	defer w.Close()
	server, client := w.NewHost("server", pbx.Master), w.NewHost("client", pbx.Client)
	serveEcho(server)
	do(t, w, client, func(ctx context.Context, _ *host.Env) error {
		took := func() time.Duration {
			before := rt.Mono(ctx)
			if _, err := echo.Call(ctx, "server/echo", question{}); err != nil {
				t.Error(err)
			}
			return rt.Mono(ctx) - before
		}
		if err := rt.Sleep(ctx, time.Second); err != nil {
			return err
		}
		if d := took(); d != 400*time.Microsecond {
			t.Errorf("a call took %v, want 400 µs", d)
		}
		w.Delay("client", "server", time.Second)
		if d := took(); d != 2*time.Second+400*time.Microsecond {
			t.Errorf("a delayed call took %v, want 2 s more", d)
		}
		w.Delay("client", "server", 0)
		w.Isolate("server")
		w.At(w.Mono()+15*time.Second, func() { w.Rejoin("server") })
		if _, err := echo.Call(ctx, "server/echo", question{}); err == nil {
			t.Error("a call reached a host that is isolated")
		}
		if err := rt.Sleep(ctx, 10*time.Second); err != nil {
			return err
		}
		if d := took(); d != 400*time.Microsecond {
			t.Errorf("after all faults a call took %v", d)
		}
		return nil
	})
}

// Data that crosses the network crosses both interfaces and the link, and gets 97 % of each.
func TestResourcesOfTheNetwork(t *testing.T) {
	w := New(Options{Net: NetModel{Rate: 900, Link: func(from, _ string) Link {
		if from == "a" {
			return Link{Rate: 210, Stream: 50}
		}
		return Link{}
	}}})
	a, b := w.NewHost("a", pbx.Master), w.NewHost("b", pbx.Media)
	a.SetRate(0)
	for _, c := range []struct {
		from, to *Host
		want     []dev.Resource
	}{
		{a, b, []dev.Resource{{Name: "b nic in", Rate: 873}, {Name: "link a>b", Rate: 203, Stream: 50}}},
		{b, a, []dev.Resource{{Name: "b nic out", Rate: 873}, {Name: "link b>a"}}},
		{b, b, []dev.Resource{{Name: "link b>b"}}},
	} {
		if d := cmp.Diff(c.want, w.net.resources(c.from, c.to)); d != "" {
			t.Errorf("from %s to %s (-want +got):\n%s", c.from.name, c.to.name, d)
		}
	}
}

// A reply that cannot be encoded is a failure of the callee, not a lost reply.
func TestReplyThatCannotBeEncoded(t *testing.T) {
	type opaque struct{ C chan int }
	odd := pbx.Declare[question, opaque]("odd", "Odd", pbx.Hosts)
	w := New(Options{Codec: true})
	defer w.Close()
	h := w.NewHost("h", pbx.Master)
	do(t, w, h, func(ctx context.Context, env *host.Env) error {
		mux := pbx.NewMux(ctx, "odd", 0)
		pbx.Handle(mux, odd, func(context.Context, pbx.Peer, question) (opaque, error) {
			return opaque{make(chan int)}, nil
		})
		if _, err := env.Calls.Serve(ctx, "odd", mux); err != nil {
			return err
		}
		if _, err := env.Calls.Serve(ctx, "odd", mux); err == nil {
			t.Error("a service was served twice")
		}
		if _, err := odd.Call(ctx, "h/odd", question{}); err == nil {
			t.Error("a channel came through the wire")
		}
		return nil
	})
}
