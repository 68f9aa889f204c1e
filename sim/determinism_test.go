package sim

import (
	"bytes"
	"context"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"capstan/core/dev"
	"capstan/core/host"
	"capstan/core/pbx"
	"capstan/core/rt"
	"capstan/core/trace"
)

// mixed is a program that uses everything the world has, by chance of its seed.
func mixed(t *testing.T, o Options) (hash string, lines []string) {
	t.Helper()
	var out bytes.Buffer
	o.Trace = &out
	o.Net.Jitter = time.Millisecond
	o.Net.Loss = 20_000
	w := New(o)
	defer w.Close()
	server := w.NewHost("server", pbx.Master)
	serveEcho(server)
	for i := range 4 {
		c := w.NewHost(fmt.Sprintf("client%d", i), pbx.Client)
		c.Daemon("worker", func(ctx context.Context, env *host.Env) error { return mixedClient(ctx, w, env) })
		c.Boot()
	}
	w.At(3*time.Second, func() { server.Restart(time.Second) })
	w.At(4*time.Second, func() { w.Cut("client1", "server") })
	w.At(5*time.Second, func() { w.Heal("client1", "server") })
	w.At(6*time.Second, func() { w.Kill("client2/worker") })
	w.At(7*time.Second, func() { w.Host("client0").JumpClock(-time.Hour) })
	if err := w.Run(10 * time.Minute); err != nil {
		t.Fatal(err)
	}
	if w.EventCount() < 100 || int(w.EventCount()) != len(w.Events()) {
		t.Fatalf("the program traced %d events, %d are kept", w.EventCount(), len(w.Events()))
	}
	return w.TraceHash(), strings.Split(out.String(), "\n")
}

func mixedClient(ctx context.Context, w *World, env *host.Env) error {
	rng := rt.Rand(ctx, env.Host, "work")
	q := rt.NewQueue[int](ctx, 3)
	g, gctx := rt.NewGroup(trace.WithJob(ctx, trace.Job{ID: 1 + int64(rng.IntN(100))}))
	g.Go(gctx, "makes", func(ctx context.Context) error {
		for i := range 30 {
			if err := rt.Sleep(ctx, time.Duration(rng.IntN(1000))*time.Millisecond); err != nil {
				return err
			}
			if err := q.Put(ctx, i); err != nil {
				return err
			}
		}
		q.Close()
		return nil
	})
	disk := []dev.Resource{{Name: "shared disk", Rate: 10 << 20}}
	for i := range 3 {
		g.Go(gctx, "takes", func(ctx context.Context) error {
			for {
				n, err := q.Get(ctx)
				if err != nil {
					return nil //nolint:nilerr // closed
				}
				a, err := echo.Call(ctx, "server/echo", question{N: n, Text: env.Host})
				trace.Note(ctx, "", "answered", fmt.Sprintln(i, a.N, err))
				if err := w.Transfer(ctx, disk, int64(n)<<18); err != nil {
					return err
				}
				trace.Note(ctx, "", "moved", fmt.Sprint(n))
			}
		})
	}
	return g.Wait(ctx)
}

func firstDifference(a, b []string) string {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return fmt.Sprintf("line %d:\n%s\n%s", i, a[i], b[i])
		}
	}
	return fmt.Sprintf("%d and %d lines", len(a), len(b))
}

func TestSameSeedSameTrace(t *testing.T) {
	for _, o := range []Options{{Seed: 1}, {Seed: 1, ShuffleTies: true}} {
		hash, lines := mixed(t, o)
		for _, procs := range []int{1, 2} {
			before := runtime.GOMAXPROCS(procs)
			again, others := mixed(t, o)
			runtime.GOMAXPROCS(before)
			if hash != again {
				t.Errorf("two runs differ: %s", firstDifference(lines, others))
			}
		}
		o.Codec = true
		if coded, others := mixed(t, o); coded != hash {
			t.Errorf("the trace with the codec differs: %s", firstDifference(lines, others))
		}
		o.Seed = 2
		if other, _ := mixed(t, o); other == hash {
			t.Error("another seed gave the same trace")
		}
	}
}

// Ties are in order of their scheduling, or in an order of the seed's.
func TestShuffleTies(t *testing.T) {
	order := func(o Options) string {
		w := New(o)
		defer w.Close()
		var b strings.Builder
		do(t, w, w.NewHost("h", pbx.Master), func(ctx context.Context, _ *host.Env) error {
			g, gctx := rt.NewGroup(ctx)
			for i := range 10 {
				g.Go(gctx, "sleeper", func(ctx context.Context) error {
					err := rt.Sleep(ctx, time.Second)
					fmt.Fprint(&b, i)
					return err
				})
			}
			return g.Wait(ctx)
		})
		return b.String()
	}
	if got := order(Options{Seed: 1}); got != "0123456789" {
		t.Errorf("ties came in order %s", got)
	}
	one, two := order(Options{Seed: 1, ShuffleTies: true}), order(Options{Seed: 2, ShuffleTies: true})
	if one == "0123456789" || one == two || len(one) != 10 {
		t.Errorf("shuffled ties came in order %s and, with another seed, %s", one, two)
	}
	if again := order(Options{Seed: 1, ShuffleTies: true}); again != one {
		t.Errorf("one seed gave %s and %s", one, again)
	}
}

// A stream of random numbers does not depend on which others were drawn from.
func TestRandStreamsAreNamed(t *testing.T) {
	w, v := New(Options{Seed: 7}), New(Options{Seed: 7})
	v.Rand("other", "sizes").Uint64()
	if w.Rand("client", "sizes").Uint64() != v.Rand("client", "sizes").Uint64() {
		t.Error("another stream changed this one")
	}
	if w.Rand("client", "sizes").Uint64() == New(Options{Seed: 8}).Rand("client", "sizes").Uint64() {
		t.Error("another seed gave the same stream")
	}
}

// The log's times are those of the process's host.
func TestLogTime(t *testing.T) {
	var out bytes.Buffer
	w := New(Options{Log: &out})
	defer w.Close()
	h := w.NewHost("h", pbx.Master)
	h.JumpClock(time.Hour)
	do(t, w, h, func(ctx context.Context, env *host.Env) error {
		err := rt.Sleep(ctx, time.Minute)
		env.Log.Info("hello", "n", 1)
		return err
	})
	want := `{"time":"2026-01-01T01:01:00Z","level":"INFO","msg":"hello","host":"h","proc":"h/test","n":1}` + "\n"
	if out.String() != want {
		t.Errorf("log is %s, want %s", out.String(), want)
	}
}
