package streamtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"capstan/core/catalog"
	"capstan/core/dev"
	"capstan/core/pbx"
	"capstan/core/rt"
	"capstan/core/stream"
)

// ConnFixture is one world with the hosts master, media and client, for [Conns].
// Each of its processes answers calls at its address before its first task runs.
type ConnFixture interface {
	// Run runs body as the first task of a process at "media/bptm/1/1/0", and
	// returns when body has; what was started meanwhile is killed then. It may be
	// called again.
	Run(body func(ctx context.Context, net stream.Net))
	// Start starts a process of the address's host, and main as its first task.
	// The process lives on when main has returned.
	Start(ctx context.Context, addr pbx.Addr, main func(ctx context.Context, net stream.Net))
	// Kill ends a process as SIGKILL does.
	Kill(ctx context.Context, addr pbx.Addr)
	// Hollow says that the world's connections carry hollow data; else they refuse it.
	Hollow() bool
}

const (
	bptm   = pbx.Addr("media/bptm/1/1/0") // accepts
	bpbkar = pbx.Addr("client/bpbkar/1/1/0")
	ticket = "a ticket"
)

// Conns checks a world's data connections.
func Conns(t *testing.T, open func(t *testing.T) ConnFixture) {
	t.Run("frames arrive in order and unchanged", func(t *testing.T) { connFrames(t, open(t)) })
	cases := []struct {
		name string
		body func(c *connCase) error
	}{
		{"whoever comes first waits", connEitherFirst},
		{"within a host", connSameHost},
		{"close without an end cuts", connCut},
		{"the sender's death cuts", connSenderDies},
		{"the receiver's death fails the sender", connReceiverDies},
		{"a wrong ticket is refused", connWrongTicket},
		{"a ticket works once", connTicketTwice},
		{"a ticket works for its host only", connWrongHost},
		{"a sender waits for its receiver", connBackPressure},
		{"the end is confirmed", connEndConfirmed},
		{"an end that nobody takes fails", connEndLost},
		{"hollow data", connHollow},
		{"waiting ends with its context", connCancel},
		{"a context that ended before is forgotten", connForgets},
	}
	for _, tt := range cases {
		t.Run(tt.name, func(t *testing.T) {
			f := open(t)
			f.Run(func(ctx context.Context, net stream.Net) {
				if err := tt.body(&connCase{ctx: ctx, f: f, net: net}); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// connCase is what a case has of its world.
type connCase struct {
	ctx context.Context //nolint:containedctx // of the case's first task
	f   ConnFixture
	net stream.Net // of the process that accepts
}

// sender is a process that dialed, or tried to.
type sender struct {
	done *rt.Event
	err  error // once done
}

func (s *sender) wait(ctx context.Context) error {
	if err := s.done.Wait(ctx); err != nil {
		return err
	}
	return s.err
}

// dial starts a process that dials the case's and sends.
func (c *connCase) dial(from pbx.Addr, ticket string, send func(ctx context.Context, out stream.Conn) error) *sender {
	s := &sender{done: rt.NewEvent(c.ctx)}
	c.f.Start(c.ctx, from, func(ctx context.Context, net stream.Net) {
		defer s.done.Set()
		out, err := net.Dial(ctx, bptm, ticket)
		if err != nil {
			s.err = fmt.Errorf("dialing from %s: %w", from, err)
			return
		}
		s.err = errors.Join(send(ctx, out), out.Close())
	})
	return s
}

func (c *connCase) accept(peer string) (stream.Conn, error) {
	ctx, cancel := rt.WithTimeout(c.ctx, patience)
	defer cancel()
	in, err := c.net.Accept(ctx, bptm.Service(), ticket, peer)
	if err != nil {
		return nil, fmt.Errorf("accepting from %s: %w", peer, err)
	}
	return in, nil
}

// dataFrame and endFrame make the frames of a stream of known bytes.
func dataFrame(b []byte) stream.Frame {
	return stream.Frame{Kind: stream.Data, Bytes: b, Len: int64(len(b))}
}

func endFrame(all []byte) stream.Frame {
	return stream.Frame{Kind: stream.End, Total: int64(len(all)), Digest: crc32.Checksum(all, stream.Castagnoli)}
}

func put(ctx context.Context, out stream.Sink, frames ...stream.Frame) error {
	for i := range frames {
		if err := out.Put(ctx, &frames[i]); err != nil {
			return fmt.Errorf("frame %d: %w", i, err)
		}
	}
	return nil
}

// hello is a whole stream of few bytes.
func hello(ctx context.Context, out stream.Conn) error {
	return put(ctx, out, dataFrame([]byte("hello")), endFrame([]byte("hello")))
}

// heard reads a whole stream of few bytes, and checks that hello sent it.
func heard(ctx context.Context, in stream.Conn) error {
	var got recorder
	_, err := stream.Splice(ctx, &got, in)
	if err == nil && !(len(got) == 2 && string(got[0].Bytes) == "hello") {
		err = fmt.Errorf("received %+v", got)
	}
	return errors.Join(err, in.Close())
}

// recorder keeps the frames that it is given. Neighbours of one kind are joined:
// a connection may cut long frames and is not asked to keep the cuts.
type recorder []stream.Frame

func (r *recorder) Put(_ context.Context, f *stream.Frame) error {
	n := len(*r)
	switch {
	case f.Kind == stream.Data && f.Len == 0 || (f.Kind == stream.Member || f.Kind == stream.Amend) && len(f.Entries) == 0:
	case n > 0 && f.Kind == (*r)[n-1].Kind:
		last := &(*r)[n-1]
		last.Bytes = append(last.Bytes, f.Bytes...)
		last.Len += f.Len
		last.Entries = append(last.Entries, f.Entries...)
	default:
		g := *f
		g.Bytes, g.Entries = bytes.Clone(f.Bytes), slices.Clip(f.Entries)
		*r = append(*r, g)
	}
	return nil
}

func genFrames() *rapid.Generator[[]stream.Frame] {
	entry := rapid.Custom(func(t *rapid.T) catalog.Entry {
		return catalog.Entry{
			Path: "/" + string(rapid.SliceOfN(rapid.Byte(), 0, 40).Draw(t, "path")), Type: catalog.Regular,
			Mode: rapid.Uint32Max(0o7777).Draw(t, "mode"), Size: rapid.Int64Min(0).Draw(t, "size"),
			MTime: rt.Time(rapid.Int64().Draw(t, "mtime")), Offset: rapid.Int64Min(0).Draw(t, "offset"),
		}
	})
	return rapid.Custom(func(t *rapid.T) []stream.Frame {
		var all []byte
		var frames []stream.Frame
		for range rapid.IntRange(0, 12).Draw(t, "frames") {
			if rapid.Bool().Draw(t, "member") {
				kind := rapid.SampledFrom([]stream.Kind{stream.Member, stream.Amend}).Draw(t, "kind")
				frames = append(frames, stream.Frame{Kind: kind, Entries: rapid.SliceOfN(entry, 1, 5).Draw(t, "entries")})
				continue
			}
			size := rapid.OneOf(rapid.IntRange(0, 700), rapid.IntRange(1<<20-2, 1<<20+2), rapid.Just(3<<20)).Draw(t, "size")
			b := bytes.Repeat([]byte{rapid.Byte().Draw(t, "byte"), 1, 2, 3, 5, 7, 11}, size/7+1)[:size]
			frames, all = append(frames, dataFrame(b)), append(all, b...)
		}
		return append(frames, endFrame(all))
	})
}

func connFrames(t *testing.T, f ConnFixture) {
	rapid.Check(t, func(rt *rapid.T) {
		frames := genFrames().Draw(rt, "frames")
		var want, got recorder
		var err error
		f.Run(func(ctx context.Context, net stream.Net) {
			c := &connCase{ctx: ctx, f: f, net: net}
			s := c.dial(bpbkar, ticket, func(ctx context.Context, out stream.Conn) error { return put(ctx, out, frames...) })
			in, aerr := c.accept("client")
			if aerr != nil {
				err = aerr
				return
			}
			_, serr := stream.Splice(ctx, &got, in)
			err = errors.Join(serr, s.wait(ctx), in.Close())
		})
		for i := range frames {
			_ = want.Put(context.Background(), &frames[i]) // a recorder takes everything
		}
		if err != nil {
			rt.Fatal(err)
		}
		if d := cmp.Diff(want, got, cmp.Comparer(bytes.Equal)); d != "" {
			rt.Fatalf("sent and received differ (-sent +received):\n%s", d)
		}
	})
}

func connEitherFirst(c *connCase) error {
	// Nothing orders the two here; over many runs each comes first.
	s := c.dial(bpbkar, ticket, hello)
	in, err := c.accept("client")
	if err != nil {
		return err
	}
	if err := errors.Join(heard(c.ctx, in), s.wait(c.ctx)); err != nil {
		return err
	}
	// Here the one who dials is first by far.
	c.f.Kill(c.ctx, bpbkar)
	const second = "another ticket"
	s = c.dial(bpbkar, second, hello)
	if err := rt.Sleep(c.ctx, 20*time.Millisecond); err != nil {
		return err
	}
	in, err = c.net.Accept(c.ctx, bptm.Service(), second, "client")
	if err != nil {
		return err
	}
	return errors.Join(heard(c.ctx, in), s.wait(c.ctx))
}

func connSameHost(c *connCase) error {
	s := c.dial("media/bpbkar/1/1/0", ticket, hello)
	in, err := c.accept("media")
	if err != nil {
		return err
	}
	return errors.Join(heard(c.ctx, in), s.wait(c.ctx))
}

// connWantCut reads until the stream ends, which must be by a cut.
func connWantCut(ctx context.Context, in stream.Conn) error {
	var got recorder
	n, err := stream.Splice(ctx, &got, in)
	if !errors.Is(err, stream.ErrCut) || n.Ended {
		return errors.Join(fmt.Errorf("a stream that was cut ends after %+v, not with stream.ErrCut", n), err)
	}
	for _, f := range got {
		if !bytes.HasPrefix([]byte("hello"), f.Bytes) {
			return fmt.Errorf("received %q, which was not sent", f.Bytes)
		}
	}
	return in.Close()
}

func connCut(c *connCase) error {
	s := c.dial(bpbkar, ticket, func(ctx context.Context, out stream.Conn) error {
		return put(ctx, out, dataFrame([]byte("hello")))
	})
	in, err := c.accept("client")
	if err != nil {
		return err
	}
	return errors.Join(connWantCut(c.ctx, in), s.wait(c.ctx))
}

func connSenderDies(c *connCase) error {
	sent := rt.NewEvent(c.ctx)
	c.dial(bpbkar, ticket, func(ctx context.Context, out stream.Conn) error {
		err := put(ctx, out, dataFrame([]byte("hello")))
		sent.Set()
		return errors.Join(err, rt.NewEvent(ctx).Wait(ctx))
	})
	in, err := c.accept("client")
	if err != nil {
		return err
	}
	if err := sent.Wait(c.ctx); err != nil {
		return err
	}
	c.f.Kill(c.ctx, bpbkar)
	return connWantCut(c.ctx, in)
}

func connReceiverDies(c *connCase) error {
	const other = pbx.Addr("client/tar/1/1/0")
	there, got := rt.NewEvent(c.ctx), rt.NewEvent(c.ctx)
	c.f.Start(c.ctx, other, func(ctx context.Context, net stream.Net) {
		there.Set()
		in, err := net.Accept(ctx, other.Service(), ticket, "media")
		var f stream.Frame
		if err == nil && in.Next(ctx, &f) == nil {
			got.Set()
		}
		_ = rt.NewEvent(ctx).Wait(ctx) // until it is killed
	})
	if err := there.Wait(c.ctx); err != nil {
		return err
	}
	out, err := c.net.Dial(c.ctx, other, ticket)
	if err != nil {
		return err
	}
	rt.Go(c.ctx, "killer", func(ctx context.Context) {
		if got.Wait(ctx) == nil {
			c.f.Kill(ctx, other)
		}
	})
	block := make([]byte, 1<<20)
	for range 1 << 10 {
		if err := put(c.ctx, out, dataFrame(block)); err != nil {
			return out.Close()
		}
	}
	return errors.New("1 GiB was sent to a process that died at the first byte")
}

func connWrongTicket(c *connCase) error {
	s := c.dial("client/bpbkar/2/1/0", "another ticket", hello)
	good := c.dial(bpbkar, ticket, hello)
	in, err := c.accept("client")
	if err != nil {
		return err
	}
	if err := errors.Join(heard(c.ctx, in), good.wait(c.ctx)); err != nil {
		return err
	}
	if s.wait(c.ctx) == nil {
		return errors.New("a wrong ticket was accepted")
	}
	return nil
}

func connTicketTwice(c *connCase) error {
	first := c.dial(bpbkar, ticket, hello)
	in, err := c.accept("client")
	if err != nil {
		return err
	}
	if err := errors.Join(heard(c.ctx, in), first.wait(c.ctx)); err != nil {
		return err
	}
	if c.dial("client/bpbkar/1/2/0", ticket, hello).wait(c.ctx) == nil {
		return errors.New("a ticket was accepted twice")
	}
	return nil
}

func connWrongHost(c *connCase) error {
	type accepted struct {
		in  stream.Conn
		err error
	}
	q := rt.NewQueue[accepted](c.ctx, 0)
	rt.Go(c.ctx, "accept", func(ctx context.Context) {
		in, err := c.net.Accept(ctx, bptm.Service(), ticket, "client")
		_ = q.Put(ctx, accepted{in, err}) // never closed
	})
	if c.dial("master/bpbkar/1/1/0", ticket, hello).wait(c.ctx) == nil {
		return errors.New("the ticket of host client was accepted from host master")
	}
	s := c.dial(bpbkar, ticket, hello)
	a, err := q.Get(c.ctx)
	if err := errors.Join(err, a.err); err != nil {
		return fmt.Errorf("accepting from the right host after the wrong one: %w", err)
	}
	return errors.Join(heard(c.ctx, a.in), s.wait(c.ctx))
}

func connBackPressure(c *connCase) error {
	const blocks, size = 128, 1 << 20
	lock, count := rt.NewLock(c.ctx), 0
	sent := func() int {
		lock.Lock()
		defer lock.Unlock()
		return count
	}
	block := make([]byte, size)
	s := c.dial(bpbkar, ticket, func(ctx context.Context, out stream.Conn) error {
		for range blocks {
			if err := put(ctx, out, dataFrame(block)); err != nil {
				return err
			}
			lock.Lock()
			count++
			lock.Unlock()
		}
		return put(ctx, out, endFrame(make([]byte, blocks*size)))
	})
	in, err := c.accept("client")
	if err != nil {
		return err
	}
	for last := -1; last != sent(); {
		last = sent()
		if err := rt.Sleep(c.ctx, 100*time.Millisecond); err != nil {
			return err
		}
	}
	if n := sent(); n == blocks {
		return fmt.Errorf("%d blocks of %d bytes were taken that nobody received", n, size)
	}
	n, err := stream.Splice(c.ctx, discard{}, in)
	if err == nil && n.Bytes != blocks*size {
		err = fmt.Errorf("%d bytes came", n.Bytes)
	}
	return errors.Join(err, s.wait(c.ctx), in.Close())
}

type discard struct{}

func (discard) Put(context.Context, *stream.Frame) error { return nil }

func connEndConfirmed(c *connCase) error {
	lock, asked := rt.NewLock(c.ctx), false
	s := c.dial(bpbkar, ticket, func(ctx context.Context, out stream.Conn) error {
		if err := hello(ctx, out); err != nil {
			return err
		}
		lock.Lock()
		defer lock.Unlock()
		if !asked {
			return errors.New("the end was confirmed before the receiver asked for it")
		}
		return nil
	})
	in, err := c.accept("client")
	if err != nil {
		return err
	}
	var f stream.Frame
	if err := in.Next(c.ctx, &f); err != nil || f.Kind != stream.Data {
		// The data is not here before the end is sent: a sender may hold it back.
		return errors.Join(fmt.Errorf("the first frame is %+v", f), err)
	}
	if err := rt.Sleep(c.ctx, 50*time.Millisecond); err != nil {
		return err
	}
	lock.Lock()
	asked = true
	lock.Unlock()
	if err := in.Next(c.ctx, &f); err != nil || f.Kind != stream.End {
		return errors.Join(fmt.Errorf("the last frame is %+v", f), err)
	}
	return errors.Join(s.wait(c.ctx), in.Close())
}

func connEndLost(c *connCase) error {
	s := c.dial(bpbkar, ticket, hello)
	in, err := c.accept("client")
	if err != nil {
		return err
	}
	var f stream.Frame
	if err := in.Next(c.ctx, &f); err != nil {
		return err
	}
	if err := in.Close(); err != nil {
		return err
	}
	if s.wait(c.ctx) == nil {
		return errors.New("an end was confirmed that the receiver did not take")
	}
	return nil
}

func connHollow(c *connCase) error {
	hollow := stream.Frame{Kind: stream.Data, Len: 1 << 40, Via: []dev.Resource{{Name: "client disk", Rate: 1e8}}}
	s := c.dial(bpbkar, ticket, func(ctx context.Context, out stream.Conn) error {
		f := hollow
		err := out.Put(ctx, &f)
		if !c.f.Hollow() {
			if err == nil {
				return errors.New("hollow data was taken by a connection that cannot carry it")
			}
			return hello(ctx, out)
		}
		return errors.Join(err, put(ctx, out, stream.Frame{Kind: stream.End, Total: hollow.Len}))
	})
	in, err := c.accept("client")
	if err != nil {
		return err
	}
	if !c.f.Hollow() {
		return errors.Join(heard(c.ctx, in), s.wait(c.ctx))
	}
	n, err := stream.Splice(c.ctx, discard{}, in)
	if err == nil && n.Bytes != hollow.Len {
		err = fmt.Errorf("%d hollow bytes came of %d", n.Bytes, hollow.Len)
	}
	return errors.Join(err, s.wait(c.ctx), in.Close())
}

func connCancel(c *connCase) error {
	why := errors.New("the operator changed his mind")
	cancelSoon := func() context.Context {
		ctx, cancel := rt.WithCancel(c.ctx)
		rt.Go(c.ctx, "operator", func(octx context.Context) {
			if rt.Sleep(octx, 20*time.Millisecond) == nil {
				cancel(why)
			}
		})
		return ctx
	}
	if _, err := c.net.Accept(cancelSoon(), bptm.Service(), "never shown", "client"); !errors.Is(err, why) {
		return errors.Join(errors.New("an Accept that was cancelled returns another error"), err)
	}
	c.dial(bpbkar, ticket, func(ctx context.Context, _ stream.Conn) error { return rt.NewEvent(ctx).Wait(ctx) })
	in, err := c.accept("client")
	if err != nil {
		return err
	}
	var f stream.Frame
	if err := in.Next(cancelSoon(), &f); !errors.Is(err, why) {
		return errors.Join(errors.New("a Next that was cancelled returns another error"), err)
	}
	return in.Close()
}

// Each operation has its context. That an earlier one's ends, between two
// operations, is of no concern to the next.
func connForgets(c *connCase) error {
	step := func(ctx context.Context, op func(ctx context.Context) error) error {
		own, cancel := rt.WithCancel(ctx)
		err := op(own)
		cancel(nil)
		return errors.Join(err, rt.Sleep(ctx, time.Millisecond))
	}
	frames := []stream.Frame{dataFrame([]byte("hello")), endFrame([]byte("hello"))}
	s := c.dial(bpbkar, ticket, func(ctx context.Context, out stream.Conn) error {
		for i := range frames {
			if err := step(ctx, func(ctx context.Context) error { return out.Put(ctx, &frames[i]) }); err != nil {
				return err
			}
		}
		return nil
	})
	in, err := c.accept("client")
	if err != nil {
		return err
	}
	for i := range frames {
		var f stream.Frame
		err := step(c.ctx, func(ctx context.Context) error { return in.Next(ctx, &f) })
		if err != nil || f.Kind != frames[i].Kind {
			return errors.Join(fmt.Errorf("frame %d is %+v", i, f), err)
		}
	}
	return errors.Join(s.wait(c.ctx), in.Close())
}
