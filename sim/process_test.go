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

type order struct {
	What string `json:"what"`
}

// worker does what its arguments say.
func worker(ctx context.Context, env *host.Env, o order, ready func()) (string, error) {
	switch o.What {
	case "early":
		return "", status.Errorf(status.FileOpen, "no such thing")
	case "panic":
		panic("a process's panic")
	}
	rt.Go(ctx, "left behind", func(ctx context.Context) {
		if rt.Sleep(ctx, time.Minute) == nil {
			trace.Note(ctx, "", "outlived its process", "")
		}
	})
	ready()
	switch o.What {
	case "fail":
		return "", errors.New("something broke")
	case "polite":
		err := rt.Sleep(ctx, time.Hour)
		return "ended at " + rt.Mono(ctx).String(), errorUnlessCancelled(err)
	case "deaf":
		return "", rt.Sleep(rt.WithoutCancel(ctx), time.Hour)
	}
	return o.What + " on " + string(env.Addr) + " for job " + string(rune('0'+trace.JobOf(ctx).ID)), rt.Sleep(ctx, time.Second)
}

func errorUnlessCancelled(err error) error {
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

func TestLocal(t *testing.T) {
	for _, c := range []struct {
		what string
		then func(p host.Process)
		want host.Exit
		at   time.Duration
	}{
		{what: "work", want: host.Exit{Result: host.Value("work on media/worker/3/1/2 for job 3")}, at: time.Second},
		{what: "early", want: host.Exit{Code: int(status.FileOpen), Detail: "no such thing"}},
		{what: "fail", want: host.Exit{Code: int(status.SystemError), Detail: "something broke"}},
		{what: "polite", then: host.Process.Terminate, want: host.Exit{Result: host.Value("ended at 2ms")}},
		{what: "deaf", then: host.Process.Terminate, want: host.Exit{Killed: true, Signal: "SIGKILL", Detail: "it did not end when asked"}, at: 10 * time.Second},
		{what: "deaf", then: host.Process.Kill, want: host.Exit{Killed: true, Signal: "SIGKILL"}},
	} {
		t.Run(c.what, func(t *testing.T) {
			w := New(Options{})
			defer w.Close()
			h := w.NewHost("media", pbx.Media)
			h.Mains = host.Mains{"worker": host.Role(worker)}
			do(t, w, h, func(ctx context.Context, env *host.Env) error {
				p, err := env.Local.Start(ctx, host.Spec{Role: "worker", Job: 3, Try: 1, N: 2, Args: host.Value(order{c.what})})
				if err != nil {
					return err
				}
				if p.Pid() == 0 {
					t.Error("the process has no number")
				}
				if c.then != nil {
					c.then(p)
				}
				got, err := p.Wait(ctx)
				if err != nil {
					return err
				}
				if d := cmp.Diff(c.want, got, cmp.AllowUnexported(host.Body{})); d != "" {
					t.Errorf("exit (-want +got):\n%s", d)
				}
				if at := rt.Mono(ctx) - 2*time.Millisecond; at != c.at { // less the start's time
					t.Errorf("it ended %v after its start, want %v", at, c.at)
				}
				again, err := p.Wait(ctx)
				if err != nil || again.Code != got.Code {
					t.Errorf("a second wait gave %v, %v", again, err)
				}
				return rt.Sleep(ctx, time.Hour)
			})
			if n := len(w.Events()); n != 0 {
				t.Errorf("a task did something after its process ended: %v", w.Events())
			}
		})
	}
}

func TestLocalRefuses(t *testing.T) {
	w := New(Options{})
	defer w.Close()
	h := w.NewHost("media", pbx.Media)
	h.Mains = host.Mains{"worker": host.Role(worker)}
	do(t, w, h, func(ctx context.Context, env *host.Env) error {
		if _, err := env.Local.Start(ctx, host.Spec{Role: "nobody"}); err == nil || !strings.Contains(err.Error(), "no such role") {
			t.Errorf("starting an unknown role: %v", err)
		}
		spec := host.Spec{Role: "worker", Job: 1, Args: host.Value(order{"deaf"})}
		if _, err := env.Local.Start(ctx, spec); err != nil {
			return err
		}
		if _, err := env.Local.Start(ctx, spec); !errors.Is(err, errInUse) {
			t.Errorf("starting a process where one lives: %v", err)
		}
		cctx, cancel := rt.WithCancel(ctx)
		cancel(nil)
		spec.N = 1
		if _, err := env.Local.Start(cctx, spec); !errors.Is(err, context.Canceled) {
			t.Errorf("starting a process under a cancelled context: %v", err)
		}
		err := rt.Sleep(ctx, time.Second)
		if w.Find("media/worker/1/0/1") != nil {
			t.Error("a process lives whose start was given up")
		}
		return err
	})
}

// A process's panic fails the world, as it would end the process.
func TestPanicOfAProcess(t *testing.T) {
	w := New(Options{})
	defer w.Close()
	h := w.NewHost("media", pbx.Media)
	h.Mains = host.Mains{"worker": host.Role(worker)}
	err := w.Do(h, "test", func(ctx context.Context, env *host.Env) error {
		_, err := env.Local.Start(ctx, host.Spec{Role: "worker", Job: 1, Args: host.Value(order{"panic"})})
		return err
	})
	var p *Panic
	if !errors.As(err, &p) || p.Task != "media/worker/1/0/0 main" {
		t.Errorf("error is %v, want the panic of the worker's main task", err)
	}
}

// What a process started is asked to end when the process is gone.
func TestChildrenOfTheDead(t *testing.T) {
	w := New(Options{})
	defer w.Close()
	h := w.NewHost("media", pbx.Media)
	h.Mains = host.Mains{"worker": host.Role(worker)}
	h.Spawn("daemon", func(ctx context.Context, env *host.Env) error {
		for i, what := range []string{"polite", "deaf"} {
			if _, err := env.Local.Start(ctx, host.Spec{Role: "worker", N: i, Args: host.Value(order{what})}); err != nil {
				return err
			}
		}
		return rt.Sleep(ctx, time.Hour)
	})
	alive := func() (a [2]bool) {
		return [2]bool{w.Find("media/worker/0/0/0") != nil, w.Find("media/worker/0/0/1") != nil}
	}
	for _, c := range []struct {
		at   time.Duration
		want [2]bool
	}{{time.Second, [2]bool{true, true}}, {3 * time.Second, [2]bool{false, true}}, {13 * time.Second, [2]bool{false, false}}} {
		w.At(2*time.Second, func() { w.Kill("media/daemon") })
		if err := w.Run(c.at); err != nil {
			t.Fatal(err)
		}
		if got := alive(); got != c.want {
			t.Errorf("at %v the children live: %v, want %v", c.at, got, c.want)
		}
	}
}

// The environment is completed by the world's Setup, for each process.
func TestSetup(t *testing.T) {
	var set []string
	w := New(Options{Setup: func(h *Host, env *host.Env) { set = append(set, h.Name()+" "+string(env.Addr)) }})
	defer w.Close()
	do(t, w, w.NewHost("h", pbx.Master), func(context.Context, *host.Env) error { return nil })
	if d := cmp.Diff([]string{"h h/test"}, set); d != "" {
		t.Errorf("set up (-want +got):\n%s", d)
	}
}
