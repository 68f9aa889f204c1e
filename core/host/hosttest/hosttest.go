// Package hosttest checks that a world's processes are what core/host says:
// started with their arguments, ready or ended when Start returns, ended by
// their own will, by request or by force, and waited for.
//
// The suite's own main functions ([Mains]) are what the processes run; a world
// whose processes are other programs makes them known there.
package hosttest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"capstan/core/host"
	"capstan/core/pbx"
	"capstan/core/rt"
	"capstan/core/status"
)

// World is a world under test.
type World struct {
	// Run makes a host whose processes know [Mains], runs body as a task of its
	// daemon, and returns when body has.
	Run func(t *testing.T, body func(ctx context.Context, local host.Local))
}

// patience is how long the suite waits for what must happen. The ending of a
// process that does not want to takes 20 seconds.
const patience = 60 * time.Second

// slowReady is how long the role "slow" takes to become ready.
const slowReady = 50 * time.Millisecond

// sumArgs and sumResult are what the role "sum" takes and gives.
type (
	sumArgs   struct{ A, B int }
	sumResult struct {
		Sum  int
		Addr pbx.Addr
	}
)

// Mains are the main functions that the suite starts.
func Mains() host.Mains {
	return host.Mains{
		// echo gives its arguments back, without having been ready.
		"echo": func(_ context.Context, _ *host.Env, args host.Body, _ func()) (host.Body, error) { return args, nil },
		"sum": host.Role(func(_ context.Context, env *host.Env, a sumArgs, ready func()) (sumResult, error) {
			ready()
			return sumResult{a.A + a.B, env.Addr}, nil
		}),
		// fail ends with an error that has a status, plain with one that has none.
		"fail": func(_ context.Context, _ *host.Env, args host.Body, ready func()) (host.Body, error) {
			ready()
			return host.Body{}, status.Errorf(status.MediaWrite, "writing %s: broken", wire(args))
		},
		"plain": func(context.Context, *host.Env, host.Body, func()) (host.Body, error) {
			return host.Body{}, errors.New("no status here")
		},
		// slow is ready after a while; server is ready at once. Both then wait to be told.
		"slow": func(ctx context.Context, _ *host.Env, _ host.Body, ready func()) (host.Body, error) {
			if err := rt.Sleep(ctx, slowReady); err != nil {
				return host.Body{}, err
			}
			ready()
			return host.Encoded([]byte("told to end")), waitForEnd(ctx)
		},
		"server": func(ctx context.Context, _ *host.Env, _ host.Body, ready func()) (host.Body, error) {
			ready()
			ready() // saying it twice is no harm
			return host.Encoded([]byte("told to end")), waitForEnd(ctx)
		},
		// deaf does not end when it is told to.
		"deaf": func(ctx context.Context, _ *host.Env, _ host.Body, ready func()) (host.Body, error) {
			ready()
			return host.Body{}, rt.Sleep(rt.WithoutCancel(ctx), 24*time.Hour)
		},
		// never does not become ready.
		"never": func(ctx context.Context, _ *host.Env, _ host.Body, _ func()) (host.Body, error) {
			return host.Body{}, waitForEnd(ctx)
		},
	}
}

// waitForEnd returns nil when ctx has ended, as it shall.
func waitForEnd(ctx context.Context) error {
	if err := rt.Sleep(ctx, 24*time.Hour); err == nil {
		return errors.New("nobody told the process to end")
	}
	return nil
}

// Local checks a world's processes.
func Local(t *testing.T, w World) {
	for _, c := range []struct {
		name string
		body func(ctx context.Context, l host.Local) error
	}{
		{"arguments and result", echoes},
		{"typed arguments and result", sums},
		{"an error's code and detail", fails},
		{"a large result", large},
		{"start returns when it is ready", readies},
		{"a role that there is not", noRole},
		{"terminate is honoured", terminates},
		{"terminate that is ignored ends in a kill", deafness},
		{"kill", kills},
		{"kill before ready", killsBeforeReady},
		{"wait ends with its context", waitCancelled},
		{"wait after the end, and by several", waits},
		{"what ends a process that has ended", endsTwice},
		{"many at a time", many},
	} {
		t.Run(c.name, func(t *testing.T) {
			w.Run(t, func(ctx context.Context, l host.Local) {
				ctx, cancel := rt.WithTimeout(ctx, patience)
				defer cancel()
				if err := c.body(ctx, l); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// spec is a process of the suite.
func spec(role string, n int, args []byte) host.Spec {
	return host.Spec{Role: role, Job: 7, Try: 1, N: n, Epoch: 1, Args: host.Encoded(args)}
}

// run starts a process and waits for its end.
func run(ctx context.Context, l host.Local, s host.Spec) (host.Exit, error) {
	p, err := l.Start(ctx, s)
	if err != nil {
		return host.Exit{}, fmt.Errorf("Start of %s: %w", s.Role, err)
	}
	e, err := p.Wait(ctx)
	if err != nil {
		return e, fmt.Errorf("Wait for %s: %w", s.Role, err)
	}
	return e, nil
}

// want compares how a process ended; a killed one's detail is free.
func want(got, want host.Exit) error {
	if got.Killed && want.Killed {
		got.Detail = ""
	}
	if got.Code != want.Code || got.Detail != want.Detail || got.Killed != want.Killed || got.Signal != want.Signal ||
		!bytes.Equal(wire(got.Result), wire(want.Result)) {
		return fmt.Errorf("the process ended as %s, not as %s", show(got), show(want))
	}
	return nil
}

// wire is a result's CBOR, or why it has none.
func wire(b host.Body) []byte {
	w, err := b.Encode()
	if err != nil {
		return []byte(err.Error())
	}
	return w
}

func show(e host.Exit) string {
	return fmt.Sprintf("{result %.40q (%d bytes), code %d, detail %q, killed %v, signal %q}",
		wire(e.Result), len(wire(e.Result)), e.Code, e.Detail, e.Killed, e.Signal)
}

func echoes(ctx context.Context, l host.Local) error {
	for _, args := range [][]byte{nil, []byte("\x00some bytes\xff")} {
		e, err := run(ctx, l, spec("echo", 1, args))
		if err = errors.Join(err, want(e, host.Exit{Result: host.Encoded(args)})); err != nil {
			return err
		}
	}
	return nil
}

func sums(ctx context.Context, l host.Local) error {
	s := spec("sum", 3, nil)
	s.Args = host.Value(sumArgs{20, 22})
	e, err := run(ctx, l, s)
	if err != nil {
		return err
	}
	r, err := host.ReadBody[sumResult](e.Result)
	if err != nil {
		return fmt.Errorf("result of %s: %w", show(e), err)
	}
	if r.Sum != 42 || r.Addr.Service() != "sum/7/1/3" {
		return fmt.Errorf("the process at %s says the sum is %d; sum/7/1/3 says 42", r.Addr, r.Sum)
	}
	return nil
}

func fails(ctx context.Context, l host.Local) error {
	e, err := run(ctx, l, spec("fail", 1, []byte("A00001")))
	err = errors.Join(err, want(e, host.Exit{Code: int(status.MediaWrite), Detail: "writing A00001: broken"}))
	e, perr := run(ctx, l, spec("plain", 1, nil))
	return errors.Join(err, perr, want(e, host.Exit{Code: int(status.SystemError), Detail: "no status here"}))
}

func large(ctx context.Context, l host.Local) error {
	args := bytes.Repeat([]byte("0123456789abcdef"), 2<<20/16)
	e, err := run(ctx, l, spec("echo", 1, args))
	return errors.Join(err, want(e, host.Exit{Result: host.Encoded(args)}))
}

func readies(ctx context.Context, l host.Local) error {
	before := rt.Mono(ctx)
	p, err := l.Start(ctx, spec("slow", 1, nil))
	if err != nil {
		return err
	}
	if d := rt.Mono(ctx) - before; d < slowReady {
		err = fmt.Errorf("Start returned after %v, the process is ready after %v", d, slowReady)
	}
	if p.Pid() <= 0 {
		err = errors.Join(err, fmt.Errorf("pid %d", p.Pid()))
	}
	p.Terminate()
	e, werr := p.Wait(ctx)
	return errors.Join(err, werr, want(e, host.Exit{Result: host.Encoded([]byte("told to end"))}))
}

func noRole(ctx context.Context, l host.Local) error {
	p, err := l.Start(ctx, spec("nobody", 1, nil))
	if err != nil {
		return nil // a world may know it at once
	}
	e, err := p.Wait(ctx)
	if err == nil && e.Code == 0 && !e.Killed {
		err = fmt.Errorf("a role that there is not ended as %s", show(e))
	}
	return err
}

func terminates(ctx context.Context, l host.Local) error {
	p, err := l.Start(ctx, spec("server", 1, nil))
	if err != nil {
		return err
	}
	p.Terminate()
	p.Terminate()
	e, err := p.Wait(ctx)
	return errors.Join(err, want(e, host.Exit{Result: host.Encoded([]byte("told to end"))}))
}

func deafness(ctx context.Context, l host.Local) error {
	p, err := l.Start(ctx, spec("deaf", 1, nil))
	if err != nil {
		return err
	}
	p.Terminate()
	e, err := p.Wait(ctx)
	if !e.Killed || !e.Result.IsZero() || e.Code != 0 {
		err = errors.Join(err, fmt.Errorf("a process that ignores its end ended as %s", show(e)))
	}
	return err
}

func kills(ctx context.Context, l host.Local) error {
	p, err := l.Start(ctx, spec("deaf", 1, nil))
	if err != nil {
		return err
	}
	p.Kill()
	e, err := p.Wait(ctx)
	return errors.Join(err, want(e, host.Exit{Killed: true, Signal: "SIGKILL"}))
}

// killsBeforeReady cancels a Start that waits: the process does not stay behind,
// and a second one with the same name can be started.
func killsBeforeReady(ctx context.Context, l host.Local) error {
	cause := errors.New("no longer wanted")
	short, cancel := rt.WithCancel(ctx)
	rt.Go(ctx, "cancel", func(ctx context.Context) {
		_ = rt.Sleep(ctx, slowReady) // an end of ctx cancels too
		cancel(cause)
	})
	if p, err := l.Start(short, spec("never", 1, nil)); !errors.Is(err, cause) {
		if p != nil {
			p.Kill()
		}
		return fmt.Errorf("Start of a process that is never ready, cancelled, gave error %w", err)
	}
	e, err := run(ctx, l, spec("echo", 1, []byte("again")))
	return errors.Join(err, want(e, host.Exit{Result: host.Encoded([]byte("again"))}))
}

func waitCancelled(ctx context.Context, l host.Local) error {
	p, err := l.Start(ctx, spec("server", 1, nil))
	if err != nil {
		return err
	}
	short, cancel := rt.WithTimeout(ctx, slowReady)
	defer cancel()
	if e, werr := p.Wait(short); werr == nil {
		err = fmt.Errorf("Wait for a process that runs gave %s", show(e))
	}
	p.Terminate() // it runs on: its result proves it
	e, werr := p.Wait(ctx)
	return errors.Join(err, werr, want(e, host.Exit{Result: host.Encoded([]byte("told to end"))}))
}

func waits(ctx context.Context, l host.Local) error {
	p, err := l.Start(ctx, spec("server", 1, nil))
	if err != nil {
		return err
	}
	exit := host.Exit{Result: host.Encoded([]byte("told to end"))}
	g, gctx := rt.NewGroup(ctx)
	for range 3 {
		g.Go(gctx, "wait", func(ctx context.Context) error {
			e, err := p.Wait(ctx)
			return errors.Join(err, want(e, exit))
		})
	}
	p.Terminate()
	err = g.Wait(ctx)
	for range 2 {
		e, werr := p.Wait(ctx)
		err = errors.Join(err, werr, want(e, exit))
	}
	return err
}

func endsTwice(ctx context.Context, l host.Local) error {
	p, err := l.Start(ctx, spec("echo", 1, []byte("done")))
	if err != nil {
		return err
	}
	for range 2 {
		e, werr := p.Wait(ctx)
		err = errors.Join(err, werr, want(e, host.Exit{Result: host.Encoded([]byte("done"))}))
		p.Terminate()
		p.Kill()
	}
	return err
}

// many starts processes side by side; one that is killed takes no other along.
func many(ctx context.Context, l host.Local) error {
	const count = 8
	processes := make([]host.Process, count)
	g, gctx := rt.NewGroup(ctx)
	for i := range processes {
		g.Go(gctx, "start", func(ctx context.Context) (err error) {
			processes[i], err = l.Start(ctx, spec("server", i, nil))
			return err
		})
	}
	if err := g.Wait(ctx); err != nil {
		return err
	}
	pids := map[int]bool{}
	var err error
	for i, p := range processes {
		pids[p.Pid()] = true
		exit := host.Exit{Result: host.Encoded([]byte("told to end"))}
		if i%2 == 0 {
			p.Kill()
			exit = host.Exit{Killed: true, Signal: "SIGKILL"}
		} else {
			p.Terminate()
		}
		e, werr := p.Wait(ctx)
		err = errors.Join(err, werr, want(e, exit))
	}
	if len(pids) != count {
		err = errors.Join(err, fmt.Errorf("%d processes have %d pids", count, len(pids)))
	}
	return err
}
