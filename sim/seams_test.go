package sim

import (
	"context"
	"testing"
	"time"

	"capstan/core/host"
	"capstan/core/host/hosttest"
	"capstan/core/pbx"
	"capstan/core/pbx/pbxtest"
	"capstan/core/rt"
	"capstan/core/rt/rttest"
	"capstan/core/stream"
	"capstan/core/stream/streamtest"
	"capstan/core/trace"
)

// variants are the ways to run a world that no role may tell apart.
func variants(t *testing.T, test func(t *testing.T, o Options)) {
	for _, v := range []struct {
		name string
		o    Options
	}{{"plain", Options{}}, {"codec", Options{Codec: true}}, {"shuffled", Options{Seed: 5, ShuffleTies: true}}} {
		t.Run(v.name, func(t *testing.T) { test(t, v.o) })
	}
}

func TestConformanceOfTime(t *testing.T) {
	variants(t, func(t *testing.T, o Options) {
		rttest.Run(t, func(t testing.TB, body func(ctx context.Context)) {
			w := New(o)
			defer w.Close()
			err := w.Do(w.NewHost("h", pbx.Master), "test", func(ctx context.Context, _ *host.Env) error {
				body(ctx)
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		})
	})
}

// fixture is a domain for the suites of calls and data connections.
type fixture struct {
	t *testing.T
	w *World
}

func newFixture(t *testing.T, o Options) fixture {
	w := New(o)
	t.Cleanup(w.Close)
	w.NewHost("master", pbx.Master)
	w.NewHost("media", pbx.Media)
	w.NewHost("client", pbx.Client)
	return fixture{t, w}
}

// start starts a process that lives on when main has returned.
func (f fixture) start(id pbx.Identity, addr pbx.Addr, main func(ctx context.Context, env *host.Env)) {
	h := f.w.Host(id.Name)
	if h == nil {
		h = f.w.Host(addr.Host())
	}
	p := h.newProcess(host.Spec{}, addr, id)
	p.run(func(ctx context.Context, env *host.Env) (host.Body, error) {
		main(ctx, env)
		return host.Body{}, rt.Await(ctx, func() bool { return false })
	})
}

// run runs body as a process at addr, and kills everything then.
func (f fixture) run(id pbx.Identity, addr pbx.Addr, body func(ctx context.Context, env *host.Env)) {
	done := false
	f.start(id, addr, func(ctx context.Context, env *host.Env) {
		body(ctx, env)
		done = true
		f.w.Halt()
	})
	if err := f.w.Drain(); err != nil {
		f.t.Error(err)
	}
	if !done {
		f.t.Errorf("%s did not return", addr)
	}
	for _, h := range f.w.Hosts() {
		h.Restart(0)
	}
	if err := f.w.Run(f.w.Mono() + time.Hour); err != nil {
		f.t.Error(err)
	}
}

type callsFixture struct{ fixture }

func (f callsFixture) Run(body func(ctx context.Context)) {
	f.run(pbxtest.Master, "master/test", func(ctx context.Context, _ *host.Env) { body(ctx) })
}

func (f callsFixture) Start(_ context.Context, id pbx.Identity, addr pbx.Addr, main func(ctx context.Context)) {
	f.start(id, addr, func(ctx context.Context, _ *host.Env) { main(ctx) })
}

func (f callsFixture) Kill(_ context.Context, addr pbx.Addr) { f.w.Kill(addr) }

func (f callsFixture) LoseReply(_ context.Context, addr pbx.Addr) { f.w.DropReply(addr) }

func (f callsFixture) Events() []trace.Event { return f.w.Events() }

func TestConformanceOfCalls(t *testing.T) {
	variants(t, func(t *testing.T, o Options) {
		pbxtest.Run(t, func(t *testing.T) pbxtest.Fixture { return callsFixture{newFixture(t, o)} })
	})
}

type connFixture struct{ fixture }

func (f connFixture) Run(body func(ctx context.Context, net stream.Net)) {
	f.run(pbxtest.Media, "media/bptm/1/1/0", func(ctx context.Context, env *host.Env) { body(ctx, env.Data) })
}

func (f connFixture) Start(_ context.Context, addr pbx.Addr, main func(ctx context.Context, net stream.Net)) {
	f.start(f.w.Host(addr.Host()).Identity(), addr, func(ctx context.Context, env *host.Env) { main(ctx, env.Data) })
}

func (f connFixture) Kill(_ context.Context, addr pbx.Addr) { f.w.Kill(addr) }

func (f connFixture) Hollow() bool { return true }

func TestConformanceOfConns(t *testing.T) {
	variants(t, func(t *testing.T, o Options) {
		streamtest.Conns(t, func(t *testing.T) streamtest.ConnFixture { return connFixture{newFixture(t, o)} })
	})
}

func TestConformanceOfRings(t *testing.T) {
	variants(t, func(t *testing.T, o Options) {
		streamtest.Rings(t, streamtest.RingWorld{Run: func(t testing.TB, body func(ctx context.Context, f streamtest.RingFixture)) {
			w := New(o)
			defer w.Close()
			h := w.NewHost("media", pbx.Media)
			b := h.Spawn("B", func(ctx context.Context, _ *host.Env) error { return rt.NewEvent(ctx).Wait(ctx) })
			err := w.Do(h, "A", func(ctx context.Context, env *host.Env) error {
				if err := rt.Sleep(ctx, time.Second); err != nil {
					return err
				}
				body(ctx, streamtest.RingFixture{
					A: env.Rings, B: b.Env().Rings, Hollow: true,
					GoB:    func(_ context.Context, name string, fn func(ctx context.Context)) { b.Go(name, fn) },
					KillB:  func(context.Context) { b.Kill() },
					Damage: func(r stream.Ring, slot int) { r.(*side).ring.slots[slot].Bytes[0] ^= 1 },
				})
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		}})
	})
}

func TestConformanceOfProcesses(t *testing.T) {
	variants(t, func(t *testing.T, o Options) {
		hosttest.Local(t, hosttest.World{Run: func(t *testing.T, body func(ctx context.Context, local host.Local)) {
			w := New(o)
			defer w.Close()
			h := w.NewHost("media", pbx.Media)
			h.Mains = hosttest.Mains()
			do(t, w, h, func(ctx context.Context, env *host.Env) error {
				body(ctx, env.Local)
				return nil
			})
		}})
	})
}
