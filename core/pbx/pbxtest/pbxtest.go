package pbxtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"capstan/core/pbx"
	"capstan/core/rt"
	"capstan/core/status"
	"capstan/core/trace"
)

type text struct {
	S string `json:"s"`
}

type blob struct {
	B []byte `json:"b"`
}

type none struct{}

// The methods of the service that the suite calls.
var (
	echo   = pbx.Declare[text, text]("test", "Echo", pbx.Hosts, pbx.Step("B1", "R1"))
	whoami = pbx.Declare[none, text]("test", "WhoAmI", pbx.Hosts|pbx.User, pbx.Query())
	fail   = pbx.Declare[text, none]("test", "Fail", pbx.Hosts)
	count  = pbx.Declare[none, int]("test", "Count", pbx.Hosts)
	ours   = pbx.Declare[none, none]("test", "MastersOnly", pbx.Master)
	mirror = pbx.Declare[blob, blob]("test", "Mirror", pbx.Hosts)
	hang   = pbx.Declare[none, none]("test", "Hang", pbx.Hosts)
	absent = pbx.Declare[none, none]("test", "Absent", pbx.Hosts)
)

// service is the state of the service under test, shared between processes as
// the real ones' is not: the tests look at it from outside.
type service struct {
	addr    pbx.Addr
	lock    rt.Lock
	counted int
	log     []string
	hanging *rt.Event
	after   *rt.Event
}

func (s *service) note(what string) {
	s.lock.Lock()
	s.log = append(s.log, what)
	s.lock.Unlock()
}

func (s *service) seen() (counted int, log []string) {
	s.lock.Lock()
	defer s.lock.Unlock()
	return s.counted, slices.Clone(s.log)
}

func (s *service) mux(ctx context.Context, epoch uint64) *pbx.Mux {
	mux := pbx.NewMux(ctx, "tester", epoch)
	pbx.Handle(mux, echo, func(ctx context.Context, _ pbx.Peer, q text) (text, error) {
		trace.Note(ctx, "", "handled", q.S)
		return q, nil
	})
	pbx.Handle(mux, whoami, func(_ context.Context, from pbx.Peer, _ none) (text, error) {
		return text{fmt.Sprintf("%s at %s", from.Identity, from.Addr)}, nil
	})
	pbx.Handle(mux, fail, func(_ context.Context, _ pbx.Peer, q text) (none, error) {
		return none{}, status.Errorf(status.MediaWrite, "%s", q.S)
	})
	pbx.Handle(mux, count, func(ctx context.Context, _ pbx.Peer, _ none) (int, error) {
		s.lock.Lock()
		s.counted++
		n := s.counted
		s.lock.Unlock()
		s.note("counted")
		pbx.AfterReply(ctx, func() { s.note("after"); s.after.Set() })
		return n, nil
	})
	pbx.Handle(mux, ours, func(context.Context, pbx.Peer, none) (none, error) { return none{}, nil })
	pbx.Handle(mux, mirror, func(_ context.Context, _ pbx.Peer, q blob) (blob, error) { return q, nil })
	pbx.Handle(mux, hang, func(ctx context.Context, _ pbx.Peer, _ none) (none, error) {
		s.hanging.Set()
		return none{}, rt.NewEvent(ctx).Wait(ctx)
	})
	return mux
}

// start starts a process of Media that serves at "media/test/1/1/0", and waits
// until it does.
func start(ctx context.Context, t *testing.T, f Fixture, epoch uint64) *service {
	s := &service{
		addr: pbx.ProcessAt("media", "test", 1, 1, 0), lock: rt.NewLock(ctx),
		hanging: rt.NewEvent(ctx), after: rt.NewEvent(ctx),
	}
	ready := rt.NewEvent(ctx)
	f.Start(ctx, Media, s.addr, func(ctx context.Context) {
		if _, err := pbx.From(ctx).Serve(ctx, s.addr.Service(), s.mux(ctx, epoch)); err != nil {
			t.Errorf("serving %s: %v", s.addr, err)
		}
		ready.Set()
	})
	if err := ready.Wait(ctx); err != nil {
		t.Errorf("waiting for %s: %v", s.addr, err)
	}
	return s
}

// as runs fn as a process of an identity, and returns when fn has.
func as(ctx context.Context, t *testing.T, f Fixture, id pbx.Identity, addr pbx.Addr, fn func(ctx context.Context)) {
	done := rt.NewEvent(ctx)
	f.Start(ctx, id, addr, func(ctx context.Context) { fn(ctx); done.Set() })
	if err := done.Wait(ctx); err != nil {
		t.Errorf("waiting for %s: %v", addr, err)
	}
}

// Run runs the suite on the worlds that open makes, one for each test.
func Run(t *testing.T, open func(t *testing.T) Fixture) {
	tests := []struct {
		name string
		body func(ctx context.Context, t *testing.T, f Fixture)
	}{
		{"a call brings its reply", testReply},
		{"the callee knows who calls", testPeer},
		{"a failure brings code and detail", testFailure},
		{"only the declared kinds may call", testKinds},
		{"a host cannot call as another", testSpoof},
		{"what is not there cannot be called", testAbsent},
		{"a request whose reply was lost is done once", testLostReply},
		{"what comes after the reply comes once and after", testAfterReply},
		{"calls run beside each other", testConcurrent},
		{"messages up to the limit pass", testBig},
		{"calls of another epoch are refused", testEpoch},
		{"a call is traced as its step", testTrace},
		{"a process calls its own service", testOwn},
		{"a caller can give up", testCancel},
		{"calls to a killed process fail", testKilled},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := open(t)
			f.Run(func(ctx context.Context) { tt.body(ctx, t, f) })
		})
	}
}

func wantStatus(t *testing.T, what string, err error, want status.Code) {
	t.Helper()
	if got := status.Of(err, -1); got != want {
		t.Errorf("%s: status %d, want %d (%v)", what, got, want, err)
	}
}

func testReply(ctx context.Context, t *testing.T, f Fixture) {
	s := start(ctx, t, f, 0)
	for _, q := range []string{"", "hello", "not UTF-8: \xff\xfe"} {
		if p, err := echo.Call(ctx, s.addr, text{q}); err != nil || p.S != q {
			t.Errorf("Echo(%q) = %q, %v", q, p.S, err)
		}
	}
}

func testPeer(ctx context.Context, t *testing.T, f Fixture) {
	s := start(ctx, t, f, 0)
	tests := []struct {
		id   pbx.Identity
		addr pbx.Addr
	}{
		{Client, "client/bpbkar/1/1/0"}, {Media, "media/bptm/1/1/0"}, {Alice, "client/bprestore"},
	}
	for _, tt := range tests {
		as(ctx, t, f, tt.id, tt.addr, func(ctx context.Context) {
			want := fmt.Sprintf("%s at %s", tt.id, tt.addr)
			if p, err := whoami.Call(ctx, s.addr, none{}); err != nil || p.S != want {
				t.Errorf("the callee sees %q (%v), want %q", p.S, err, want)
			}
		})
	}
}

func testFailure(ctx context.Context, t *testing.T, f Fixture) {
	s := start(ctx, t, f, 0)
	_, err := fail.Call(ctx, s.addr, text{"drive on fire"})
	wantStatus(t, "a handler's failure", err, status.MediaWrite)
	if err != nil && status.Detail(err) != "drive on fire" {
		t.Errorf("detail is %q", status.Detail(err))
	}
}

func testKinds(ctx context.Context, t *testing.T, f Fixture) {
	s := start(ctx, t, f, 0)
	_, err := ours.Call(ctx, s.addr, none{})
	wantStatus(t, "the master", err, status.OK)
	as(ctx, t, f, Client, "client/bpbkar/1/1/0", func(ctx context.Context) {
		_, err := ours.Call(ctx, s.addr, none{})
		wantStatus(t, "a client", err, status.NotAllowed)
	})
	as(ctx, t, f, Alice, "client/bprestore", func(ctx context.Context) {
		_, err := echo.Call(ctx, s.addr, text{"hello"})
		wantStatus(t, "a user", err, status.NotAllowed)
	})
}

func testSpoof(ctx context.Context, t *testing.T, f Fixture) {
	s := start(ctx, t, f, 0)
	as(ctx, t, f, Client, "master/impostor", func(ctx context.Context) {
		_, err := count.Call(ctx, s.addr, none{})
		wantStatus(t, "a client that says it is the master's", err, status.NotAllowed)
	})
	if n, _ := s.seen(); n != 0 {
		t.Errorf("the impostor's request was done")
	}
}

func testAbsent(ctx context.Context, t *testing.T, f Fixture) {
	s := start(ctx, t, f, 0)
	_, err := absent.Call(ctx, s.addr, none{})
	wantStatus(t, "no such method", err, status.BadParameter)
	for _, to := range []pbx.Addr{"media/test/2/1/0", "client/nothing", "nowhere/test"} {
		_, err := echo.Call(ctx, to, text{"hello"})
		wantStatus(t, string(to), err, status.SocketOpen)
		if !errors.Is(err, pbx.ErrUnreachable) {
			t.Errorf("call to %s: %v, want pbx.ErrUnreachable", to, err)
		}
		if unknown := to.Host() == "nowhere"; errors.Is(err, pbx.ErrUnknownHost) != unknown {
			t.Errorf("call to %s: %v, want pbx.ErrUnknownHost: %v", to, err, unknown)
		}
	}
	as(ctx, t, f, Client, "client/nothing", func(ctx context.Context) {
		mux := pbx.NewMux(ctx, "late", 0)
		pbx.Handle(mux, echo, func(_ context.Context, _ pbx.Peer, q text) (text, error) { return q, nil })
		if _, err := pbx.From(ctx).Serve(ctx, "nothing", mux); err != nil {
			t.Errorf("serving a name that was called before: %v", err)
		}
	})
	if _, err := echo.Call(ctx, "client/nothing", text{"now"}); err != nil {
		t.Errorf("a service that came late: %v", err)
	}
}

func testLostReply(ctx context.Context, t *testing.T, f Fixture) {
	s := start(ctx, t, f, 0)
	for want := 1; want <= 3; want++ {
		f.LoseReply(ctx, pbx.From(ctx).Self())
		n, err := count.Call(ctx, s.addr, none{})
		if counted, _ := s.seen(); err != nil || n != want || counted != want {
			t.Errorf("reply %d (%v), done %d times, want %d", n, err, counted, want)
		}
	}
}

func testAfterReply(ctx context.Context, t *testing.T, f Fixture) {
	s := start(ctx, t, f, 0)
	f.LoseReply(ctx, pbx.From(ctx).Self())
	if _, err := count.Call(ctx, s.addr, none{}); err != nil {
		t.Errorf("Count: %v", err)
	}
	if err := s.after.Wait(ctx); err != nil {
		t.Errorf("waiting for what comes after: %v", err)
	}
	if _, log := s.seen(); !slices.Equal(log, []string{"counted", "after"}) {
		t.Errorf("a request whose reply was lost did %q", log)
	}
}

func testConcurrent(ctx context.Context, t *testing.T, f Fixture) {
	s := start(ctx, t, f, 0)
	g, gctx := rt.NewGroup(ctx)
	for i := range 50 {
		g.Go(gctx, "caller", func(ctx context.Context) error {
			q := fmt.Sprint("call ", i)
			p, err := echo.Call(ctx, s.addr, text{q})
			if err == nil && p.S != q {
				err = fmt.Errorf("Echo(%q) = %q", q, p.S)
			}
			return err
		})
	}
	if err := g.Wait(ctx); err != nil {
		t.Error(err)
	}
}

func testBig(ctx context.Context, t *testing.T, f Fixture) {
	s := start(ctx, t, f, 0)
	q := blob{bytes.Repeat([]byte("0123456789abcdef"), (pbx.MaxMessage-64)/16)}
	p, err := mirror.Call(ctx, s.addr, q)
	if err != nil || !bytes.Equal(p.B, q.B) {
		t.Errorf("a message of %d bytes: %d came back, %v", len(q.B), len(p.B), err)
	}
}

func testEpoch(ctx context.Context, t *testing.T, f Fixture) {
	s := start(ctx, t, f, 7)
	for epoch, want := range []status.Code{0: status.OK, 6: status.ServerBusy, 7: status.OK, 8: status.ServerBusy} {
		if 0 < epoch && epoch < 6 {
			continue
		}
		ctx := pbx.With(ctx, pbx.From(ctx), 100+uint64(epoch), uint64(epoch))
		_, err := count.Call(ctx, s.addr, none{})
		wantStatus(t, fmt.Sprint("epoch ", epoch), err, want)
	}
}

func testTrace(ctx context.Context, t *testing.T, f Fixture) {
	s := start(ctx, t, f, 0)
	job := trace.Job{ID: 7, Try: 2}
	jctx := trace.As(ctx, job, "caller")
	for _, q := range []string{"first", "second"} {
		if _, err := echo.Call(jctx, s.addr, text{q}); err != nil {
			t.Errorf("Echo: %v", err)
		}
	}
	if _, err := echo.Call(ctx, s.addr, text{"for no job"}); err != nil {
		t.Errorf("Echo: %v", err)
	}
	var steps, handled []trace.Event
	for _, e := range f.Events() {
		switch {
		case e.Step != "":
			steps = append(steps, e)
		case e.What == "handled" && e.Job == job:
			handled = append(handled, e)
		}
	}
	if len(steps) != 2 || len(handled) != 2 {
		t.Errorf("traced %d steps and %d times handled, want 2 of each: %+v", len(steps), len(handled), f.Events())
		return
	}
	for i, e := range steps {
		h := handled[i]
		if e.Step != "B1" || e.Job != job || e.Role != "caller" || e.Host != "master" || e.To != string(s.addr) {
			t.Errorf("step traced as %+v", e)
		}
		if h.Role != "tester" || h.Host != "media" || h.Proc != string(s.addr) {
			t.Errorf("handled traced as %+v", h)
		}
		if e.Begin.Compare(h.Begin) >= 0 || h.End.Compare(e.End) >= 0 {
			t.Errorf("handled %v–%v, not within its call %v–%v", h.Begin, h.End, e.Begin, e.End)
		}
	}
	if steps[0].End.Compare(steps[1].Begin) >= 0 {
		t.Errorf("the first call ends %v, the next begins %v", steps[0].End, steps[1].Begin)
	}
}

func testOwn(ctx context.Context, t *testing.T, _ Fixture) {
	mux := pbx.NewMux(ctx, "self", 0)
	pbx.Handle(mux, mirror, func(context.Context, pbx.Peer, blob) (blob, error) { return blob{[]byte("kept")}, nil })
	pbx.Handle(mux, whoami, func(_ context.Context, from pbx.Peer, _ none) (text, error) {
		return text{from.String()}, nil
	})
	stop, err := pbx.From(ctx).Serve(ctx, "self", mux)
	if err != nil {
		t.Errorf("Serve: %v", err)
		return
	}
	if p, err := whoami.Call(ctx, "master/self", none{}); err != nil || !strings.Contains(p.S, "master") {
		t.Errorf("WhoAmI = %q, %v", p.S, err)
	}
	if _, err := mirror.Call(ctx, "master/self", blob{}); err != nil {
		t.Errorf("Mirror: %v", err)
	}
	stop()
	if _, err := whoami.Call(ctx, "master/self", none{}); !errors.Is(err, pbx.ErrUnreachable) {
		t.Errorf("after stop: %v, want pbx.ErrUnreachable", err)
	}
}

func testCancel(ctx context.Context, t *testing.T, f Fixture) {
	s := start(ctx, t, f, 0)
	cctx, cancel := rt.WithCancel(ctx)
	why := errors.New("the operator changed his mind")
	rt.Go(ctx, "operator", func(ctx context.Context) {
		if err := s.hanging.Wait(ctx); err != nil {
			t.Errorf("waiting for the call to arrive: %v", err)
		}
		cancel(why)
	})
	if _, err := hang.Call(cctx, s.addr, none{}); !errors.Is(err, why) {
		t.Errorf("a call given up returns %v, want %v", err, why)
	}
}

func testKilled(ctx context.Context, t *testing.T, f Fixture) {
	s := start(ctx, t, f, 0)
	rt.Go(ctx, "killer", func(ctx context.Context) {
		if err := s.hanging.Wait(ctx); err != nil {
			t.Errorf("waiting for the call to arrive: %v", err)
		}
		f.Kill(ctx, s.addr)
	})
	began := rt.Mono(ctx)
	_, err := hang.Call(ctx, s.addr, none{})
	wantStatus(t, "a call whose callee dies", err, status.NetworkBroken)
	if !errors.Is(err, pbx.ErrOutcomeUnknown) || errors.Is(err, pbx.ErrUnreachable) {
		t.Errorf("a call whose callee dies returns %v, want pbx.ErrOutcomeUnknown", err)
	}
	if d := rt.Mono(ctx) - began; d > 2*time.Minute {
		t.Errorf("it took %v to notice", d)
	}
	if _, err := echo.Call(ctx, s.addr, text{"hello"}); !errors.Is(err, pbx.ErrUnreachable) {
		t.Errorf("a call to a dead process returns %v, want pbx.ErrUnreachable", err)
	}
}
