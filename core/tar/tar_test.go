package tar

import (
	"context"
	"fmt"
	"testing"
	"time"

	"capstan/core/archive"
	"capstan/core/host"
	"capstan/core/pbx"
	"capstan/core/rt"
	"capstan/sim"
)

// A tar that is ready has all other names: the data's connection comes then, and is not
// kept for long while nobody accepts it.
func TestNamesBeforeReady(t *testing.T) {
	const pages = 3
	w := sim.New(sim.Options{Codec: true})
	defer w.Close()
	stop, asked := (*rt.Event)(nil), 0
	w.NewHost("master", pbx.Master|pbx.Media).Spawn("bprd", func(ctx context.Context, env *host.Env) error {
		stop = rt.NewEvent(ctx)
		mux := pbx.NewMux(ctx, "bprd", 0)
		host.HandleAttend(mux, stop)
		pbx.Handle(mux, AskNames, func(ctx context.Context, _ pbx.Peer, q NamesQuery) (Names, error) {
			if q.From != asked {
				return Names{}, fmt.Errorf("page %d begins with name %d", asked, q.From)
			}
			asked++
			name := fmt.Sprint("/", q.From)
			return Names{As: map[string]string{name: name + "x"}, More: asked < pages}, rt.Sleep(ctx, 10*time.Second)
		})
		if _, err := env.Calls.Serve(ctx, "bprd", mux); err != nil {
			return err
		}
		return rt.NewEvent(ctx).Wait(ctx)
	})
	ready := false
	p := w.NewHost("client", pbx.Client).Spawn(Role, func(ctx context.Context, env *host.Env) error {
		_, err := Main(ctx, env, Args{
			Master: "master", Parent: pbx.At("master", "bprd"), Server: "master", Ticket: "t",
			Options: archive.WriteOptions{Target: "/"}, Names: pbx.At("master", "bprd"),
		}, func() {
			if ready = true; asked != pages {
				t.Errorf("ready with %d of %d pages of names", asked, pages)
			}
			stop.Set()
		})
		if err == nil {
			t.Error("the restore is stopped, and has ended well")
		}
		return nil
	})
	if err := w.Run(5 * time.Minute); err != nil {
		t.Fatal(err)
	}
	if !ready || p.Alive() {
		t.Errorf("ready %v, still there %v", ready, p.Alive())
	}
}
