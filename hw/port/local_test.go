package port

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"capstan/core/pbx"
	"capstan/core/pbx/pbxtest"
	"capstan/hw/clock"
)

// newLocal is a process of the host media whose run directory is given.
func newLocal(t *testing.T, d *domain, run string, self pbx.Addr) (context.Context, *Port) {
	t.Helper()
	p, err := New(Config{Self: self, Creds: d.creds["media"], Run: run, Resolve: d.hosts.Resolve, Log: d.log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return pbx.With(clock.Context(context.Background(), string(self)), p, 1, 0), p
}

func servePing(t *testing.T, ctx context.Context, p *Port, service string) (stop func(), err error) { //nolint:revive // t first, as in all tests
	t.Helper()
	mux := pbx.NewMux(ctx, "guarded", 0)
	pbx.Handle(mux, ping, func(context.Context, pbx.Peer, none) (string, error) { return string(p.Self()), nil })
	return p.Serve(ctx, service, mux)
}

// The path of a Unix socket has 107 bytes; run directories and services may be longer.
func TestLongNames(t *testing.T) {
	d := newDomain(t)
	run := filepath.Join(t.TempDir(), strings.Repeat("deep/", 60))
	services := []string{"nbjm", "bptm/1234567890/99/9", strings.Repeat("long", 50), "../../escape", "a b%2Fc"}
	ctx, p := newLocal(t, d, run, "media/callee")
	cctx, _ := newLocal(t, d, run, "media/caller")
	for _, s := range services {
		if _, err := servePing(t, ctx, p, s); err != nil {
			t.Errorf("serving %q: %v", s, err)
			continue
		}
		if who, err := ping.Call(cctx, pbx.At("media", s), none{}); err != nil || who != "media/callee" {
			t.Errorf("calling %q: %q, %v", s, who, err)
		}
	}
	files, err := os.ReadDir(filepath.Join(run, "s"))
	if err != nil || len(files) != len(services) {
		t.Errorf("%d sockets for %d services (%v)", len(files), len(services), err)
	}
}

// A service belongs to one process until that ends, however it ends.
func TestOneProcessServes(t *testing.T) {
	d := newDomain(t)
	run := t.TempDir()
	ctx1, p1 := newLocal(t, d, run, "media/first")
	ctx2, p2 := newLocal(t, d, run, "media/second")
	cctx, _ := newLocal(t, d, run, "media/caller")
	want := func(who string) {
		t.Helper()
		if got, err := ping.Call(cctx, "media/guarded", none{}); err != nil || got != who {
			t.Errorf("answered by %q (%v), want %q", got, err, who)
		}
	}
	stop, err := servePing(t, ctx1, p1, "guarded")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := servePing(t, ctx1, p1, "guarded"); err == nil {
		t.Error("a process serves a service twice")
	}
	if _, err := servePing(t, ctx2, p2, "guarded"); err == nil {
		t.Error("two processes serve one service")
	}
	want("media/first")
	stop()
	if _, err := servePing(t, ctx2, p2, "guarded"); err != nil {
		t.Errorf("after the first stopped: %v", err)
	}
	want("media/second")
	p2.kill()
	if _, err := servePing(t, ctx1, p1, "guarded"); err != nil {
		t.Errorf("after the second was killed: %v", err)
	}
	want("media/first")
}

// What killed processes left is removed when the host's port is opened, what
// live ones have is not.
func TestSweep(t *testing.T) {
	d := newDomain(t)
	run := t.TempDir()
	ctx, p := newLocal(t, d, run, "media/live")
	if _, err := servePing(t, ctx, p, "live"); err != nil {
		t.Fatal(err)
	}
	dctx, dead := newLocal(t, d, run, "media/dead")
	if _, err := servePing(t, dctx, dead, "dead"); err != nil {
		t.Fatal(err)
	}
	dead.kill()
	x, err := Listen(ExchangeConfig{Listen: "127.0.0.1:0", Run: run, Creds: d.creds["media"], Log: d.log})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = x.Close() }()
	files, err := filepath.Glob(filepath.Join(run, "s", "*"))
	if err != nil || len(files) != 1 || filepath.Base(files[0]) != "live.sock" {
		t.Errorf("left are %q (%v), want live.sock alone", files, err)
	}
}

// A directory of sockets that others may enter is refused.
func TestRunDirMustBeClosed(t *testing.T) {
	run := t.TempDir()
	if err := os.Mkdir(filepath.Join(run, "s"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(run, "s"), 0o750); err != nil {
		t.Fatal(err)
	}
	if dir, err := openRunDir(run); err == nil {
		t.Error("a directory that a group may enter was taken")
		_ = dir.close()
	}
}

// What comes to a process's socket in no known form is closed.
func TestLocalGarbage(t *testing.T) {
	d := newDomain(t)
	calls := guard(t, d)
	run, err := openRunDir(d.run["media"])
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = run.close() }()
	for name, b := range map[string]string{
		"an unknown first byte":     "X",
		"a connection not passed":   "P",
		"neither calls nor data":    "DGET /",
		"data of another version":   "DCAPD\x02\x00\x01x",
		"a ticket of no length":     "DCAPD\x01\x00\x00",
		"a ticket that is too long": "DCAPD\x01\xff\xff",
	} {
		t.Run(name, func(t *testing.T) {
			c, err := run.connect(context.Background(), "guarded")
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = c.Close() }()
			if _, err := c.Write([]byte(b)); err != nil {
				t.Fatal(err)
			}
			if err := c.CloseWrite(); err != nil {
				t.Fatal(err)
			}
			wantClosed(t, c)
		})
	}
	if n := calls(); n != 0 {
		t.Errorf("the handler was called %d times", n)
	}
	ctx, _ := d.process(t, pbxtest.Media, "media/test")
	if _, err := ping.Call(ctx, "media/guarded", none{}); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}
