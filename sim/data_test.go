package sim

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"capstan/core/catalog"
	"capstan/core/dev"
	"capstan/core/host"
	"capstan/core/pbx"
	"capstan/core/rt"
	"capstan/core/stream"
)

// connected runs sender on the client and receiver on the server, with the two
// ends of a data connection, the dialing one first or last.
func connected(t *testing.T, w *World, dialFirst bool, sender, receiver func(ctx context.Context, c stream.Conn) error) {
	t.Helper()
	server, client := w.NewHost("server", pbx.Media), w.NewHost("client", pbx.Client)
	done := 0
	wait := func(ctx context.Context, first bool) error {
		if first {
			return nil
		}
		return rt.Sleep(ctx, time.Second)
	}
	finish := func() {
		if done++; done == 2 {
			w.Halt()
		}
	}
	server.Spawn("bptm", func(ctx context.Context, env *host.Env) error {
		defer finish()
		if err := wait(ctx, !dialFirst); err != nil {
			return err
		}
		c, err := env.Data.Accept(ctx, "bptm", "ticket", "client")
		if err != nil {
			return err
		}
		return receiver(ctx, c)
	})
	client.Spawn("bpbkar", func(ctx context.Context, env *host.Env) error {
		defer finish()
		if err := wait(ctx, dialFirst); err != nil {
			return err
		}
		c, err := env.Data.Dial(ctx, "server/bptm", "ticket")
		if err != nil {
			return err
		}
		return sender(ctx, c)
	})
	if err := w.Run(time.Hour); err != nil {
		t.Error(err)
	}
	if done != 2 {
		t.Errorf("%d of the two processes ended", done)
	}
}

func TestConn(t *testing.T) {
	entries := []catalog.Entry{{Path: "/a", Type: catalog.Regular, Size: 3}}
	for _, dialFirst := range []bool{false, true} {
		w := New(Options{})
		defer w.Close()
		connected(t, w, dialFirst,
			func(ctx context.Context, c stream.Conn) error {
				memory := []byte("abc")
				frames := []stream.Frame{
					{Kind: stream.Member, Entries: entries},
					{Kind: stream.Data, Len: 3, Bytes: memory},
					{Kind: stream.Data, Len: 1 << 40, Via: []dev.Resource{{Name: "disk", Rate: 5}}},
					{Kind: stream.End, Total: 1<<40 + 3},
				}
				for i := range frames {
					if err := c.Put(ctx, &frames[i]); err != nil {
						return err
					}
					if frames[i].Bytes != nil {
						copy(memory, "xyz") // a source may use its memory again
					}
				}
				return rt.Sleep(ctx, time.Minute)
			},
			func(ctx context.Context, c stream.Conn) error {
				var got []stream.Frame
				for range 4 {
					var f stream.Frame
					if err := c.Next(ctx, &f); err != nil {
						return err
					}
					f.Bytes = append([]byte(nil), f.Bytes...)
					got = append(got, f)
				}
				want := []stream.Frame{
					{Kind: stream.Member, Entries: entries},
					{Kind: stream.Data, Len: 3, Bytes: []byte("abc")},
					{Kind: stream.Data, Len: 1 << 40, Via: []dev.Resource{{Name: "disk", Rate: 5}, {Name: "link client>server"}}},
					{Kind: stream.End, Total: 1<<40 + 3},
				}
				if d := cmp.Diff(want, got); d != "" {
					t.Errorf("frames (-want +got):\n%s", d)
				}
				return nil
			})
	}
}

// Real bytes take the time that the interfaces of the hosts and their link take.
func TestConnRate(t *testing.T) {
	w := New(Options{Net: NetModel{Link: func(_, _ string) Link { return Link{Rate: 10_000, Stream: 2000} }}})
	defer w.Close()
	connected(t, w, false,
		func(ctx context.Context, c stream.Conn) error {
			w.Host("client").SetRate(1 << 30)
			before := rt.Mono(ctx)
			for range 4 {
				if err := c.Put(ctx, &stream.Frame{Kind: stream.Data, Len: 1000, Bytes: make([]byte, 1000)}); err != nil {
					return err
				}
			}
			if took := rt.Mono(ctx) - before; took != 2*time.Second {
				t.Errorf("4000 bytes at 2000 a second for a stream took %v", took)
			}
			return nil
		},
		func(ctx context.Context, c stream.Conn) error {
			var f stream.Frame
			for range 4 {
				if err := c.Next(ctx, &f); err != nil {
					return err
				}
			}
			return nil
		})
}

// What one connection of a host carries is a limit of its own, each way and also where the
// host's interface has none.
func TestStreamOfHost(t *testing.T) {
	w := New(Options{})
	defer w.Close()
	near, far := w.NewHost("near", pbx.Media), w.NewHost("far", pbx.Client)
	far.SetStream(2000)
	for _, c := range []struct {
		from, to *Host
		nic      string
	}{{far, near, "far nic out"}, {near, far, "far nic in"}} {
		via := w.net.resources(c.from, c.to)
		if want := (dev.Resource{Name: c.nic, Stream: 2000}); !slices.Contains(via, want) {
			t.Errorf("from %s to %s data crosses %+v", c.from.Name(), c.to.Name(), via)
		}
		ends := runTransfers(t, []transfer{{0, via, 4000, 0}, {0, via, 4000, 0}})
		if ends[0] != 2*time.Second || ends[1] != 2*time.Second {
			t.Errorf("two connections with 4000 bytes each take %v", ends)
		}
	}
}

// Whatever ends a connection, what had arrived is read, and then that it was cut.
func TestConnCut(t *testing.T) {
	for _, c := range []struct {
		name  string
		fault func(w *World, c stream.Conn)
		by    time.Duration // when the other end knows at the latest, after 2 s
		lost  bool          // what was under way too
	}{
		{"close", func(_ *World, c stream.Conn) { c.Close() }, time.Second, false},
		{"kill", func(w *World, _ stream.Conn) { w.Kill("client/bpbkar") }, time.Second, false},
		{"crash", func(w *World, _ stream.Conn) { w.Host("client").Crash() }, 61 * time.Second, false},
		{"partition", func(w *World, _ stream.Conn) { w.Cut("client", "server") }, 61 * time.Second, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := New(Options{})
			defer w.Close()
			server, client := w.NewHost("server", pbx.Media), w.NewHost("client", pbx.Client)
			client.Spawn("bpbkar", func(ctx context.Context, env *host.Env) error {
				conn, err := env.Data.Dial(ctx, "server/test", "ticket")
				if err != nil {
					return err
				}
				if err := rt.Sleep(ctx, 2*time.Second-rt.Mono(ctx)); err != nil {
					return err
				}
				if err := conn.Put(ctx, &stream.Frame{Kind: stream.Data, Len: 7}); err != nil {
					return err
				}
				c.fault(w, conn)
				return errorUnlessCancelled(rt.Sleep(ctx, time.Hour))
			})
			do(t, w, server, func(ctx context.Context, env *host.Env) error {
				conn, err := env.Data.Accept(ctx, "test", "ticket", "client")
				if err != nil {
					return err
				}
				var f stream.Frame
				err = conn.Next(ctx, &f)
				if !c.lost {
					if err != nil || f.Len != 7 {
						t.Errorf("what had been sent: %+v, %v", f, err)
					}
					err = conn.Next(ctx, &f)
				}
				if !errors.Is(err, stream.ErrCut) {
					t.Errorf("error is %v, want that the stream was cut", err)
				}
				if at := rt.Mono(ctx) - 2*time.Second; at > c.by {
					t.Errorf("it was noticed after %v", at)
				}
				if err := conn.Put(ctx, &stream.Frame{Kind: stream.End}); !errors.Is(err, stream.ErrCut) {
					t.Errorf("put into it: %v", err)
				}
				return nil
			})
		})
	}
}

func TestConnSurvivesACutThatHeals(t *testing.T) {
	w := New(Options{})
	defer w.Close()
	w.At(2*time.Second, func() { w.Cut("client", "server") })
	w.At(50*time.Second, func() { w.Heal("client", "server") })
	connected(t, w, false,
		func(ctx context.Context, c stream.Conn) error {
			for i := range 60 {
				if err := c.Put(ctx, &stream.Frame{Kind: stream.Data, Len: int64(i + 1)}); err != nil {
					return fmt.Errorf("put %d: %w", i, err)
				}
				if err := rt.Sleep(ctx, time.Second); err != nil {
					return err
				}
			}
			return nil
		},
		func(ctx context.Context, c stream.Conn) error {
			var f stream.Frame
			for i := range 60 {
				if err := c.Next(ctx, &f); err != nil {
					return fmt.Errorf("next %d: %w", i, err)
				}
				if now := rt.Mono(ctx); f.Len != int64(i+1) || now > 2*time.Second && now < 50*time.Second {
					t.Errorf("frame %d came at %v as %+v", i, now, f)
				}
			}
			return nil
		})
}

func TestTickets(t *testing.T) {
	w := New(Options{})
	defer w.Close()
	server, client, thief := w.NewHost("server", pbx.Media), w.NewHost("client", pbx.Client), w.NewHost("thief", pbx.Client)
	dial := func(h *Host, ticket string, delay time.Duration, want error) {
		h.Spawn("dial "+ticket+delay.String(), func(ctx context.Context, env *host.Env) error {
			if err := rt.Sleep(ctx, delay); err != nil {
				return err
			}
			_, err := env.Data.Dial(ctx, "server/test", ticket)
			if !errors.Is(err, want) || want != nil && !errors.Is(err, pbx.ErrUnreachable) {
				t.Errorf("%s with %s after %v: error %v, want %v", h.Name(), ticket, delay, err, want)
			}
			return rt.Sleep(ctx, time.Hour)
		})
	}
	dial(thief, "one", time.Second, errWrongPeer)
	dial(client, "one", 2*time.Second, nil)
	dial(client, "one", 3*time.Second, errTicketUsed)
	dial(thief, "early", 0, errWrongPeer)
	dial(client, "early", 2*time.Second, nil)
	dial(client, "never accepted", 0, errNoAccept)
	do(t, w, server, func(ctx context.Context, env *host.Env) error {
		for _, ticket := range []string{"one", "early"} {
			if _, err := env.Data.Accept(ctx, "test", ticket, "client"); err != nil {
				return err
			}
			if _, err := env.Data.Accept(ctx, "test", ticket, "client"); !errors.Is(err, errTicketUsed) {
				t.Errorf("a second accept of %s: %v", ticket, err)
			}
		}
		tctx, cancel := rt.WithTimeout(ctx, time.Second)
		defer cancel()
		if _, err := env.Data.Accept(tctx, "test", "nobody dials", "client"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("accept of nobody: %v", err)
		}
		return rt.Sleep(ctx, 2*time.Minute)
	})
	do(t, w, client, func(ctx context.Context, env *host.Env) error {
		for _, to := range []pbx.Addr{"nowhere/test", "server/nothing"} {
			if _, err := env.Data.Dial(ctx, to, "x"); !errors.Is(err, pbx.ErrUnreachable) {
				t.Errorf("dialing %s: %v", to, err)
			}
		}
		return nil
	})
}
