package sim

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"capstan/core/host"
	"capstan/core/pbx"
	"capstan/core/rt"
	"capstan/core/status"
	"capstan/core/trace"
)

// do runs fn as a process of h and fails t if it fails.
func do(t *testing.T, w *World, h *Host, fn func(ctx context.Context, env *host.Env) error) {
	t.Helper()
	if err := w.Do(h, "test", fn); err != nil {
		t.Error(err)
	}
}

// What a process would do at its end does not happen when it is killed, and none
// of its tasks goes on.
func TestKill(t *testing.T) {
	var log strings.Builder
	w := New(Options{Log: &log})
	defer w.Close()
	h := w.NewHost("h", pbx.Master)
	var did []string
	victim := h.Spawn("victim", func(ctx context.Context, env *host.Env) error {
		rt.Go(ctx, "other", func(ctx context.Context) {
			defer func() { did = append(did, "defer ran, with no effect on the world") }()
			defer trace.Note(ctx, "", "dead", "")
			defer trace.From(ctx).Emit(ctx, trace.Event{What: "dead"})
			defer env.Log.Info("dead")
			defer rt.Go(ctx, "ghost", func(context.Context) { did = append(did, "a dead process's new task") })
			for rt.Sleep(ctx, time.Second) == nil {
				did = append(did, "tick")
			}
		})
		rt.Go(ctx, "stubborn", func(ctx context.Context) {
			for i := 0; i < 3; i++ {
				func() {
					defer func() { _ = recover() }()
					_ = rt.Sleep(ctx, time.Hour)
					did = append(did, "slept after death")
				}()
			}
		})
		rt.Current(ctx).After(5*time.Second, func() { did = append(did, "a dead process's timer") })
		return rt.Sleep(ctx, time.Hour)
	})
	w.At(2500*time.Millisecond, victim.Kill)
	if err := w.Run(time.Minute); err != nil {
		t.Fatal(err)
	}
	want := []string{"tick", "tick", "defer ran, with no effect on the world"}
	if d := cmp.Diff(want, did); d != "" {
		t.Errorf("what was done (-want +got):\n%s", d)
	}
	if log.Len() > 0 || len(w.Events()) > 0 {
		t.Errorf("a dead process logged %q and traced %v", log.String(), w.Events())
	}
	if victim.Alive() || w.Find("h/victim") != nil {
		t.Error("the victim lives")
	}
}

// A permit that was handed to a task that died before it ran is not lost, and a
// dead waiter is not handed one.
func TestKillOfWaiters(t *testing.T) {
	w := New(Options{})
	defer w.Close()
	h := w.NewHost("h", pbx.Master)
	do(t, w, h, func(ctx context.Context, _ *host.Env) error {
		s := rt.NewSemaphore(ctx, 0)
		wait := func(ctx context.Context, _ *host.Env) error { return s.Acquire(ctx) }
		first, second := h.Spawn("first", wait), h.Spawn("second", wait)
		if err := rt.Sleep(ctx, time.Second); err != nil {
			return err
		}
		second.Kill()
		s.Release() // to first, which dies before it runs
		first.Kill()
		if err := rt.Sleep(ctx, time.Second); err != nil {
			return err
		}
		tctx, cancel := rt.WithTimeout(ctx, time.Second)
		defer cancel()
		return s.Acquire(tctx)
	})
}

func TestCallOutcomes(t *testing.T) {
	call := func(ctx context.Context, method *pbx.Method[question, question], to pbx.Addr) error {
		_, err := method.Call(ctx, to, question{N: int(time.Hour)})
		return err
	}
	for _, c := range []struct {
		name  string
		fault func(w *World) // before the call
		later func(w *World) // 1 s after it began
		to    pbx.Addr
		want  error
		code  status.Code
		took  time.Duration // at least
	}{
		{name: "no host", to: "nowhere/echo", want: pbx.ErrUnreachable, code: status.SocketOpen},
		{name: "no service", to: "server/nothing", want: pbx.ErrUnreachable, code: status.SocketOpen},
		{name: "host is down", fault: func(w *World) { w.Host("server").Crash() }, want: pbx.ErrUnreachable, took: 10 * time.Second},
		{name: "link is cut", fault: func(w *World) { w.Cut("client", "server") }, want: pbx.ErrUnreachable, took: 10 * time.Second},
		// Repeated, the call finds nobody; that does not tell what the first did.
		{name: "process dies", later: func(w *World) { w.Kill("server/echod") }, want: pbx.ErrOutcomeUnknown, took: time.Second},
		{name: "host crashes", later: func(w *World) { w.Host("server").Crash() }, want: pbx.ErrOutcomeUnknown, took: 60 * time.Second},
		{name: "link is cut for long", later: func(w *World) { w.Cut("client", "server") }, want: pbx.ErrOutcomeUnknown, took: 60 * time.Second},
		{name: "all messages are lost", fault: func(w *World) { w.SetLoss("client", "server", 1_000_000) }, want: pbx.ErrOutcomeUnknown, code: status.NetworkBroken, took: 4 * time.Minute},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := New(Options{})
			defer w.Close()
			server, client := w.NewHost("server", pbx.Master), w.NewHost("client", pbx.Client)
			serveEcho(server)
			if c.to == "" {
				c.to = "server/echo"
			}
			do(t, w, client, func(ctx context.Context, _ *host.Env) error {
				if err := rt.Sleep(ctx, time.Second); err != nil {
					return err
				}
				if c.fault != nil {
					c.fault(w)
					if err := rt.Sleep(ctx, 1); err != nil { // a crash comes once this task waits
						return err
					}
				}
				if c.later != nil {
					w.At(w.Mono()+time.Second, func() { c.later(w) })
				}
				before := rt.Mono(ctx)
				err := call(ctx, linger, c.to)
				if !errors.Is(err, c.want) {
					t.Errorf("error is %v, want %v", err, c.want)
				}
				if c.code != 0 && status.Of(err, 0) != c.code {
					t.Errorf("status is %d, want %d", status.Of(err, 0), c.code)
				}
				if took := rt.Mono(ctx) - before; took < c.took || took > c.took+20*time.Second && c.took < time.Minute {
					t.Errorf("it took %v, want about %v", took, c.took)
				}
				return nil
			})
		})
	}
}

// A request or a reply that is lost once is repeated, and done once.
func TestLostMessageIsRepeated(t *testing.T) {
	for _, drop := range [][2]string{{"client", "server"}, {"server", "client"}} {
		w := New(Options{})
		defer w.Close()
		server, client := w.NewHost("server", pbx.Master), w.NewHost("client", pbx.Client)
		done := 0
		server.Spawn("counter", func(ctx context.Context, env *host.Env) error {
			mux := pbx.NewMux(ctx, "counter", 0)
			pbx.Handle(mux, echo, func(context.Context, pbx.Peer, question) (question, error) {
				done++
				return question{N: done}, nil
			})
			if _, err := env.Calls.Serve(ctx, "echo", mux); err != nil {
				return err
			}
			return rt.Await(ctx, func() bool { return false })
		})
		do(t, w, client, func(ctx context.Context, _ *host.Env) error {
			if err := rt.Sleep(ctx, time.Second); err != nil {
				return err
			}
			w.Drop(drop[0], drop[1], 1)
			got, err := echo.Call(ctx, "server/echo", question{})
			if err != nil || got.N != 1 {
				t.Errorf("message from %s lost: reply %d, error %v", drop[0], got.N, err)
			}
			return nil
		})
		if done != 1 {
			t.Errorf("message from %s lost: done %d times", drop[0], done)
		}
	}
}

// A cut that heals in time is noticed by nobody who waits for a long call.
func TestCutThatHeals(t *testing.T) {
	w := New(Options{})
	defer w.Close()
	server, client := w.NewHost("server", pbx.Master), w.NewHost("client", pbx.Client)
	serveEcho(server)
	w.At(2*time.Second, func() { w.Cut("client", "server") })
	w.At(30*time.Second, func() { w.Heal("server", "client") })
	do(t, w, client, func(ctx context.Context, _ *host.Env) error {
		if err := rt.Sleep(ctx, time.Second); err != nil {
			return err
		}
		_, err := linger.Call(ctx, "server/echo", question{N: int(time.Minute)})
		return err
	})
}

func TestPanicFailsTheWorld(t *testing.T) {
	w := New(Options{})
	defer w.Close()
	h := w.NewHost("h", pbx.Master)
	boom := errors.New("boom")
	h.Spawn("bad", func(ctx context.Context, _ *host.Env) error {
		rt.Go(ctx, "worse", func(ctx context.Context) {
			if rt.Sleep(ctx, time.Second) == nil {
				explode(boom)
			}
		})
		return rt.Sleep(ctx, time.Hour)
	})
	err := w.Run(time.Minute)
	var p *Panic
	if !errors.As(err, &p) || p.Task != "h/bad worse" || !errors.Is(err, boom) || !strings.Contains(err.Error(), "explode") {
		t.Errorf("error is %v, want the panic with its stack", err)
	}
	if w.Mono() != time.Second {
		t.Errorf("the world went on to %v", w.Mono())
	}
}

//go:noinline
func explode(err error) { panic(err) }

func TestMisuseIsRefused(t *testing.T) {
	for _, c := range []struct {
		name, want string
		body       func(ctx context.Context, w *World) error
	}{
		{"another task's context", "is used while", func(ctx context.Context, _ *World) error {
			rt.Go(ctx, "thief", func(context.Context) { rt.Now(ctx) })
			return rt.Sleep(ctx, time.Second)
		}},
		{"a sleep under a mutex", "holds 1 mutexes", func(ctx context.Context, _ *World) error {
			m := rt.NewMutex(ctx)
			m.Lock(ctx)
			return rt.Sleep(ctx, time.Second)
		}},
		{"a call under a mutex", "holds 1 mutexes", func(ctx context.Context, _ *World) error {
			m := rt.NewMutex(ctx)
			m.Lock(ctx)
			_, err := echo.Call(ctx, "h/echo", question{})
			return err
		}},
		{"a task that runs its world", "runs the world", func(_ context.Context, w *World) error { return w.Drain() }},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := New(Options{})
			defer w.Close()
			err := w.Do(w.NewHost("h", pbx.Master), "test", func(ctx context.Context, _ *host.Env) error {
				return c.body(ctx, w)
			})
			var p *Panic
			if !errors.As(err, &p) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error is %v, want a panic that says %q", err, c.want)
			}
		})
	}
}

func TestDeadlockTellsWhoWaitsWhere(t *testing.T) {
	w := New(Options{})
	defer w.Close()
	h := w.NewHost("h", pbx.Master)
	h.Spawn("p", func(ctx context.Context, _ *host.Env) error {
		return waitForEver(ctx, rt.NewEvent(ctx))
	})
	var d *Deadlock
	if err := w.Drain(); !errors.As(err, &d) || len(d.Tasks) != 1 {
		t.Fatalf("error is %v, want a deadlock of one task", err)
	}
	for _, want := range []string{"h/p: task main", "waitForEver"} {
		if !strings.Contains(d.Error(), want) {
			t.Errorf("the report lacks %q:\n%v", want, d)
		}
	}
	if err := w.Drain(); !errors.As(err, &d) {
		t.Errorf("the report changed the world: %v", err)
	}
}

//go:noinline
func waitForEver(ctx context.Context, e *rt.Event) error { return e.Wait(ctx) }

func TestCrashAndRestart(t *testing.T) {
	w := New(Options{})
	defer w.Close()
	h := w.NewHost("h", pbx.Master)
	var ran []time.Duration
	h.Daemon("d", func(ctx context.Context, _ *host.Env) error {
		ran = append(ran, rt.Mono(ctx))
		return rt.Sleep(ctx, time.Hour)
	})
	h.Boot()
	w.At(time.Minute, func() { h.Restart(10 * time.Second) })
	if err := w.Run(2 * time.Minute); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]time.Duration{0, 70 * time.Second}, ran); d != "" {
		t.Errorf("starts of the daemon (-want +got):\n%s", d)
	}
}

func TestClockJumps(t *testing.T) {
	w := New(Options{})
	defer w.Close()
	h := w.NewHost("h", pbx.Master)
	w.At(time.Minute, func() { h.JumpClock(-30 * time.Minute) })
	w.At(2*time.Minute, func() { h.JumpClock(50 * time.Minute) })
	do(t, w, h, func(ctx context.Context, _ *host.Env) error {
		at := rt.Now(ctx).Add(time.Hour)
		timer := rt.NewEvent(ctx)
		rt.Go(ctx, "monotonic", func(ctx context.Context) {
			if rt.Sleep(ctx, 10*time.Minute) == nil {
				timer.Set()
			}
		})
		if err := timer.Wait(ctx); err != nil {
			return err
		}
		if got := rt.Mono(ctx); got != 10*time.Minute {
			t.Errorf("a sleep of 10 minutes ended at %v", got)
		}
		if err := rt.SleepUntil(ctx, at); err != nil {
			return err
		}
		if got := rt.Mono(ctx); got != 40*time.Minute {
			t.Errorf("the clock showed the time at %v, not at 40 minutes", got)
		}
		w.At(50*time.Minute, func() { h.JumpClock(24 * time.Hour) })
		if err := rt.SleepUntil(ctx, at.Add(24*time.Hour)); err != nil {
			return err
		}
		if got := rt.Mono(ctx); got != 50*time.Minute {
			t.Errorf("the sleep ended at %v, not when the clock jumped over its end", got)
		}
		return nil
	})
}
