package sim

import (
	"context"
	"testing"
	"time"

	"capstan/core/host"
	"capstan/core/pbx"
	"capstan/core/rt"
)

type question struct {
	N    int    `json:"n"`
	Text string `json:"text"`
}

var (
	echo   = pbx.Declare[question, question]("echo", "Echo", pbx.Hosts, pbx.Step("B1", "R1"))
	linger = pbx.Declare[question, question]("echo", "Linger", pbx.Hosts)
)

// serveEcho has h answer echo.
func serveEcho(h *Host) {
	h.Daemon("echod", func(ctx context.Context, env *host.Env) error {
		mux := pbx.NewMux(ctx, "echod", 0)
		pbx.Handle(mux, echo, func(_ context.Context, _ pbx.Peer, q question) (question, error) {
			q.N++
			return q, nil
		})
		pbx.Handle(mux, linger, func(ctx context.Context, _ pbx.Peer, q question) (question, error) {
			return q, rt.Sleep(ctx, time.Duration(q.N))
		})
		if _, err := env.Calls.Serve(ctx, "echo", mux); err != nil {
			return err
		}
		return rt.Await(ctx, func() bool { return false })
	})
	h.Boot()
}

func BenchmarkCall(b *testing.B) {
	for _, codec := range []bool{false, true} {
		name := "plain"
		if codec {
			name = "codec"
		}
		b.Run(name, func(b *testing.B) {
			w := New(Options{NoEvents: true, NoHash: true, Codec: codec})
			defer w.Close()
			master, client := w.NewHost("master", pbx.Master), w.NewHost("client", pbx.Client)
			serveEcho(master)
			b.ReportAllocs()
			err := w.Do(client, "caller", func(ctx context.Context, _ *host.Env) error {
				if err := rt.Sleep(ctx, time.Second); err != nil {
					return err
				}
				b.ResetTimer()
				for i := range b.N {
					if _, err := echo.Call(ctx, "master/echo", question{N: i}); err != nil {
						return err
					}
				}
				return nil
			})
			if err != nil {
				b.Fatal(err)
			}
		})
	}
}

func benchmarkSleep(b *testing.B, tasks int) {
	w := New(Options{NoHash: true})
	defer w.Close()
	h := w.NewHost("h", pbx.Master)
	left := b.N
	h.Spawn("bench", func(ctx context.Context, _ *host.Env) error {
		for i := range tasks {
			rt.Go(ctx, "sleeper", func(ctx context.Context) {
				for d := time.Duration(i*7919%1000 + 1); left > 0; left-- {
					d = (d*48271 + 11) % 100_003
					if rt.Sleep(ctx, d+1) != nil {
						return
					}
				}
			})
		}
		return rt.Sleep(ctx, 1<<62)
	})
	if err := w.Run(time.Nanosecond); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.ResetTimer()
	for left > 0 {
		if err := w.Run(w.Mono() + time.Second); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSleep10(b *testing.B)     { benchmarkSleep(b, 10) }
func BenchmarkSleep1000(b *testing.B)   { benchmarkSleep(b, 1000) }
func BenchmarkSleep100000(b *testing.B) { benchmarkSleep(b, 100000) }

func BenchmarkTask(b *testing.B) {
	w := New(Options{NoHash: true})
	defer w.Close()
	b.ReportAllocs()
	err := w.Do(w.NewHost("h", pbx.Master), "bench", func(ctx context.Context, _ *host.Env) error {
		done := rt.NewSemaphore(ctx, 0)
		for range b.N {
			rt.Go(ctx, "short", func(context.Context) { done.Release() })
			if err := done.Acquire(ctx); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
}
