package port

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"

	"capstan/core/pbx"
	"capstan/core/pbx/pbxtest"
	"capstan/core/stream"
	"capstan/core/stream/streamtest"
	"capstan/core/trace"
	"capstan/hw/clock"
	"capstan/hw/pki"
)

// domain is a small domain in this process: hosts with their Exchanges, and
// processes that are goroutines with a Port of their own.
type domain struct {
	t     testing.TB
	ca    *pki.Authority
	pki   string // its directory
	hosts *Hosts
	log   *slog.Logger

	mu     sync.Mutex
	run    map[string]string           // host → run directory
	creds  map[string]*pki.Credentials // identity's name → its own
	procs  map[pbx.Addr]*testProcess
	lose   map[pbx.Addr]int
	events []trace.Event
	inc    uint64
}

type testProcess struct {
	port *Port
	end  context.CancelFunc
}

func newCreds(t testing.TB, ca *pki.Authority, id pbx.Identity) *pki.Credentials {
	t.Helper()
	key, csr, err := pki.NewRequest()
	if err != nil {
		t.Fatal(err)
	}
	cert, err := ca.Issue(csr, id)
	if err != nil {
		t.Fatal(err)
	}
	creds, err := pki.New(key, cert, ca.Certificate())
	if err != nil {
		t.Fatal(err)
	}
	return creds
}

func newDomain(t testing.TB) *domain {
	t.Helper()
	pkiDir := t.TempDir()
	ca, err := pki.Init(pkiDir, "example.com", "master", pbx.Master)
	if err != nil {
		t.Fatal(err)
	}
	d := &domain{
		t: t, ca: ca, pki: pkiDir, log: slog.New(slog.NewTextHandler(t.Output(), nil)),
		run: map[string]string{}, creds: map[string]*pki.Credentials{},
		procs: map[pbx.Addr]*testProcess{}, lose: map[pbx.Addr]int{},
	}
	addrs := map[string]string{}
	for _, id := range []pbx.Identity{pbxtest.Master, pbxtest.Media, pbxtest.Client} {
		d.run[id.Name], d.creds[id.Name] = t.TempDir(), newCreds(t, ca, id)
		x, err := Listen(ExchangeConfig{
			Listen: "127.0.0.1:0", Run: d.run[id.Name], Creds: d.creds[id.Name], Enrol: ca, Log: d.log, Patience: 500 * time.Millisecond,
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := x.Close(); err != nil {
				t.Errorf("closing the port of %s: %v", id.Name, err)
			}
		})
		addrs[id.Name] = x.Addr()
	}
	d.creds["alice"] = newCreds(t, ca, pbxtest.Alice)
	d.hosts = NewHosts(addrs)
	return d
}

// open makes a process's port; it lives until the test ends or it is killed.
func (d *domain) open(id pbx.Identity, self pbx.Addr) *Port {
	d.mu.Lock()
	defer d.mu.Unlock()
	p, err := New(Config{
		Self: self, Creds: d.creds[id.Name], Run: d.run[id.Name], Resolve: d.hosts.Resolve,
		Log: d.log, Hold: 300 * time.Millisecond, Patience: 500 * time.Millisecond,
	})
	if err != nil {
		d.t.Errorf("opening the port of %s: %v", self, err)
	}
	return p
}

// start starts a process; its context is made here.
func (d *domain) start(id pbx.Identity, self pbx.Addr, main func(ctx context.Context, p *Port)) {
	p := d.open(id, self)
	base, end := context.WithCancel(context.Background())
	d.mu.Lock()
	d.procs[self] = &testProcess{p, end}
	d.inc++
	inc := d.inc
	d.mu.Unlock()
	go func() {
		ctx := clock.Context(base, string(self))
		ctx = trace.With(ctx, trace.New(ctx, self.Host(), string(self), d))
		main(pbx.With(ctx, &lossy{p, d}, inc, 0), p)
	}()
}

// Emit takes the events of every process.
func (d *domain) Emit(_ context.Context, e trace.Event) {
	d.mu.Lock()
	d.events = append(d.events, e)
	d.mu.Unlock()
}

func (d *domain) Events() []trace.Event {
	d.mu.Lock()
	defer d.mu.Unlock()
	all := slices.Clone(d.events)
	slices.SortStableFunc(all, func(a, b trace.Event) int { return cmp.Or(a.End.Compare(b.End), cmp.Compare(a.Proc, b.Proc)) })
	return all
}

func (d *domain) kill(addr pbx.Addr) {
	d.mu.Lock()
	p := d.procs[addr]
	delete(d.procs, addr)
	d.mu.Unlock()
	if p != nil {
		p.port.kill()
		p.end()
	}
}

// kill ends the port as the end of its process would: nobody is told.
func (p *Port) kill() {
	p.mu.Lock()
	p.closed = true
	var servers []*grpc.Server
	for _, s := range p.services {
		_ = s.l.UnixListener.Close() // the socket stays, as after SIGKILL
		if s.ans != nil {
			servers = append(servers, s.ans.grpc)
		}
	}
	for c := range p.conns {
		_ = c.Close()
	}
	p.mu.Unlock()
	for _, s := range servers {
		s.Stop()
	}
	p.pool.close()
	p.tickets.close()
}

func (d *domain) runMain(self pbx.Addr, main func(ctx context.Context, p *Port)) {
	done := make(chan struct{})
	d.start(d.creds[self.Host()].Identity, self, func(ctx context.Context, p *Port) { defer close(done); main(ctx, p) })
	select {
	case <-done:
	case <-time.After(time.Minute):
		d.t.Error("the test did not end within a minute")
	}
	d.mu.Lock()
	var left []pbx.Addr
	for a := range d.procs {
		left = append(left, a)
	}
	d.mu.Unlock()
	for _, a := range left {
		d.kill(a)
	}
}

// lossy loses replies.
type lossy struct {
	*Port
	d *domain
}

func (l *lossy) Call(ctx context.Context, to pbx.Addr, m *pbx.Request) (*pbx.Reply, error) {
	rep, err := l.Port.Call(ctx, to, m)
	l.d.mu.Lock()
	defer l.d.mu.Unlock()
	if err == nil && l.d.lose[l.Self()] > 0 {
		l.d.lose[l.Self()]--
		return nil, fmt.Errorf("%w: the test lost the reply", pbx.ErrOutcomeUnknown)
	}
	return rep, err
}

// callWorld is the domain as the suite of calls wants it.
type callWorld struct{ *domain }

func (w callWorld) Run(body func(ctx context.Context)) {
	w.runMain("master/test", func(ctx context.Context, _ *Port) { body(ctx) })
}

func (w callWorld) Start(_ context.Context, id pbx.Identity, addr pbx.Addr, main func(ctx context.Context)) {
	w.start(id, addr, func(ctx context.Context, _ *Port) { main(ctx) })
}

func (w callWorld) Kill(_ context.Context, addr pbx.Addr) { w.kill(addr) }

func (w callWorld) LoseReply(_ context.Context, addr pbx.Addr) {
	w.mu.Lock()
	w.lose[addr]++
	w.mu.Unlock()
}

func TestCalls(t *testing.T) {
	pbxtest.Run(t, func(t *testing.T) pbxtest.Fixture { return callWorld{newDomain(t)} })
}

// dataWorld is the domain as the suite of data connections wants it.
type dataWorld struct{ *domain }

// serving has a process answer at its address before main runs.
func serving(t testing.TB, main func(ctx context.Context, net stream.Net)) func(ctx context.Context, p *Port) {
	return func(ctx context.Context, p *Port) {
		if _, err := p.Serve(ctx, p.Self().Service(), pbx.NewMux(ctx, p.Self().Role(), 0)); err != nil {
			t.Errorf("serving %s: %v", p.Self(), err)
		}
		main(ctx, p)
	}
}

func (w dataWorld) Run(body func(ctx context.Context, net stream.Net)) {
	w.runMain("media/bptm/1/1/0", serving(w.t, body))
}

func (w dataWorld) Start(_ context.Context, addr pbx.Addr, main func(ctx context.Context, net stream.Net)) {
	w.start(w.creds[addr.Host()].Identity, addr, serving(w.t, main))
}

func (w dataWorld) Kill(_ context.Context, addr pbx.Addr) { w.kill(addr) }
func (w dataWorld) Hollow() bool                          { return false }

func TestData(t *testing.T) {
	streamtest.Conns(t, func(t *testing.T) streamtest.ConnFixture { return dataWorld{newDomain(t)} })
}
