package sim

import (
	"context"
	"testing"
	"time"

	"capstan/core/host"
	"capstan/core/pbx"
	"capstan/core/rt"
	"capstan/core/status"
	"capstan/core/trace"
)

// benchmark runs fn in a process of a host whose PBX starts workers.
func benchmark(b *testing.B, fn func(ctx context.Context, h *Host) error) {
	w := New(Options{NoEvents: true, NoHash: true})
	defer w.Close()
	h := w.NewHost("media", pbx.Media)
	h.Mains = host.Mains{"worker": host.Role(func(ctx context.Context, env *host.Env, master pbx.Addr, ready func()) (string, error) {
		ctx, stop := host.Attend(ctx, master)
		defer stop(nil)
		ready()
		return "done", rt.Sleep(ctx, time.Second)
	})}
	b.ReportAllocs()
	err := w.Do(h, "bench", func(ctx context.Context, env *host.Env) error {
		mux := pbx.NewMux(ctx, host.Service, 0)
		host.NewDaemon(ctx, env, func(pbx.Peer, host.Spec) error { return nil }).Handle(mux)
		host.HandleAttend(mux, rt.NewEvent(ctx))
		stop, err := env.Calls.Serve(ctx, host.Service, mux)
		if err != nil {
			return err
		}
		defer stop()
		return fn(trace.WithJob(ctx, trace.Job{ID: 1, Try: 1}), h)
	})
	if err != nil {
		b.Fatal(err)
	}
}

// BenchmarkProcess is a process of a job, from the call that starts it to the one
// that waits for its end.
func BenchmarkProcess(b *testing.B) {
	benchmark(b, func(ctx context.Context, h *Host) error {
		master := pbx.At(h.Name(), host.Service)
		for b.Loop() {
			addr, err := host.StartOn(ctx, "B8", h.Name(), "worker", 1, 0, master)
			if err != nil {
				return err
			}
			exit, err := host.Await(ctx, addr)
			if err != nil || exit.Code != 0 {
				return status.Errorf(status.SystemError, "it ended with %v, %w", exit, err)
			}
		}
		return nil
	})
}

// BenchmarkSleep is a task that waits for time to pass, while another does.
func BenchmarkSleep(b *testing.B) {
	benchmark(b, func(ctx context.Context, _ *Host) error {
		ctx, stop := rt.WithCancel(ctx)
		defer stop(nil)
		rt.Go(ctx, "other", func(ctx context.Context) {
			for rt.Sleep(ctx, time.Second) == nil {
			}
		})
		for b.Loop() {
			if err := rt.Sleep(ctx, time.Second); err != nil {
				return err
			}
		}
		return nil
	})
}
