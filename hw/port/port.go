package port

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"time"

	"capstan/core/pbx"
	"capstan/core/rt"
	"capstan/core/stream"
	"capstan/hw/pki"
)

// tcpKeepalive finds a peer that is gone while nothing is sent: lost after 60 s.
// There is no TCP_USER_TIMEOUT: Linux would apply it to a receiver that is alive
// and takes nothing for a while, as during the mount of a tape.
var tcpKeepalive = net.KeepAliveConfig{Enable: true, Idle: 10 * time.Second, Interval: 10 * time.Second, Count: 5}

// Config says who a process is on the network.
type Config struct {
	Self    pbx.Addr         // address of the process
	Creds   *pki.Credentials // its host's, or a user's
	Run     string           // the host's run directory; "" for a user's command, which serves nothing
	Resolve func(host string) (addr string, err error)
	Log     *slog.Logger // nil for none
	// Hold is how long a data connection waits for an Accept that takes its
	// ticket; 0 is 10 s.
	Hold time.Duration
	// Patience is how long a peer may take to show who it is; 0 is 5 s.
	Patience time.Duration
}

// Port is one process's part of the network: its calls and its data
// connections.
type Port struct {
	cfg  Config
	run  *runDir // nil without a run directory
	pool *pool

	mu        sync.Mutex
	services  map[string]*service
	conns     map[net.Conn]struct{} // data connections
	strangers int                   // connections that have not said what they want
	closed    bool
	tickets   tickets
	wg        sync.WaitGroup // accept loops
}

var (
	_ pbx.Transport = (*Port)(nil)
	_ stream.Net    = (*Port)(nil)
)

// New makes a process's part of the network. Nothing is opened before it serves,
// calls or dials.
func New(cfg Config) (*Port, error) {
	if cfg.Hold == 0 {
		cfg.Hold = 10 * time.Second
	}
	if cfg.Patience == 0 {
		cfg.Patience = patience
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	p := &Port{cfg: cfg, services: map[string]*service{}, conns: map[net.Conn]struct{}{}}
	p.tickets.hold = cfg.Hold
	p.pool = newPool(p.connect)
	if cfg.Run != "" {
		run, err := openRunDir(cfg.Run)
		if err != nil {
			return nil, err
		}
		p.run = run
	}
	return p, nil
}

// Self is the address of the process.
func (p *Port) Self() pbx.Addr { return p.cfg.Self }

// Identity is who the process is for its peers: its host, or a user.
func (p *Port) Identity() pbx.Identity { return p.cfg.Creds.Identity }

// Close ends everything that the process does on the network. Replies that are
// being sent are given five seconds.
func (p *Port) Close() error {
	p.mu.Lock()
	p.closed = true
	var all []*answering
	for _, s := range p.services {
		_ = s.l.Close()
		if s.ans != nil {
			all = append(all, s.ans)
		}
	}
	for c := range p.conns {
		_ = c.Close()
	}
	p.mu.Unlock()
	for _, a := range all {
		a.stop()
	}
	p.pool.close()
	p.tickets.close()
	p.wg.Wait()
	if p.run == nil {
		return nil
	}
	return p.run.close()
}

// Call sends a request and returns its reply; see [pbx.Transport]. A service of
// this process is called without the network, but its messages are encoded all
// the same: caller and callee share no memory.
func (p *Port) Call(ctx context.Context, to pbx.Addr, q *pbx.Request) (*pbx.Reply, error) {
	req, err := encodeRequest(q)
	if err != nil {
		return nil, err
	}
	if a := p.own(to); a != nil {
		return a.call(ctx, p.Identity(), req)
	}
	rep, err := p.pool.call(ctx, to, req)
	if err != nil {
		return nil, err
	}
	return rep.reply(), nil
}

// own is the service of this very process that answers at an address, or nil.
func (p *Port) own(to pbx.Addr) *answering {
	if to.Host() != p.cfg.Self.Host() {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if s := p.services[to.Service()]; s != nil {
		return s.ans
	}
	return nil
}

// connect opens a connection to a process and proves to each who the other is.
func (p *Port) connect(ctx context.Context, to pbx.Addr) (net.Conn, error) {
	host, service := to.Host(), to.Service()
	if p.run != nil && p.Identity().Is(pbx.Hosts) && host == p.Identity().Name {
		u, err := p.run.connect(ctx, service)
		if err != nil {
			return nil, err
		}
		if _, err := u.Write([]byte{direct}); err != nil {
			return nil, errors.Join(err, u.Close())
		}
		return u, nil
	}
	addr, err := p.cfg.Resolve(host)
	if err != nil {
		return nil, err
	}
	protocol := protocolPrefix + service
	if len(protocol) > 255 {
		return nil, fmt.Errorf("service name of %d bytes is too long", len(service))
	}
	ctx, cancel := context.WithTimeout(ctx, 2*patience)
	defer cancel()
	d := tls.Dialer{
		NetDialer: &net.Dialer{KeepAliveConfig: tcpKeepalive},
		Config:    p.cfg.Creds.Client(protocol, host),
	}
	c, err := d.DialContext(ctx, "tcp", addr)
	if errors.Is(err, io.EOF) {
		err = fmt.Errorf("host %s (%s) closed the connection: does it run %s?", host, addr, service)
	}
	if err != nil {
		return nil, fmt.Errorf("connecting to %s: %w", to, err)
	}
	return c, nil
}

// Serve answers calls to a service of the host until stop. Handlers run under
// ctx's values and end, whatever becomes of their callers: ctx carries the task,
// tracer and transport of the process.
func (p *Port) Serve(ctx context.Context, name string, mux *pbx.Mux) (stop func(), err error) {
	s, err := p.open(name)
	if err != nil {
		return nil, err
	}
	a := newAnswering(ctx, s, mux)
	p.mu.Lock()
	taken := s.ans != nil
	if !taken {
		s.ans = a
	}
	p.mu.Unlock()
	if taken {
		p.leave(s)
		return nil, fmt.Errorf("serving %s: this process serves it already", name)
	}
	go func() { _ = a.grpc.Serve(a.calls) }() // ends with stop
	var once sync.Once
	return func() { once.Do(func() { p.stop(s, a) }) }, nil
}

func (p *Port) stop(s *service, a *answering) {
	p.mu.Lock()
	s.ans = nil
	p.mu.Unlock()
	a.stop()
	p.leave(s)
}

// Dial opens a data connection; see [stream.Net]. Its errors wrap
// [pbx.ErrUnreachable] if nothing could be reached at all.
func (p *Port) Dial(ctx context.Context, to pbx.Addr, ticket string) (stream.Conn, error) {
	rt.MayBlock(ctx)
	c, err := p.connect(ctx, to)
	if err != nil {
		if ctx.Err() != nil {
			return nil, rt.Cause(ctx)
		}
		return nil, fmt.Errorf("%w: data connection: %w", pbx.ErrUnreachable, err)
	}
	d := p.data(c)
	if err := p.show(ctx, d, ticket); err != nil {
		_ = d.Close()
		if ctx.Err() != nil {
			return nil, rt.Cause(ctx)
		}
		return nil, fmt.Errorf("data connection to %s: %w", to, err)
	}
	return d, nil
}

// show shows the ticket and reads what the receiver says to it.
func (p *Port) show(ctx context.Context, d *dataConn, ticket string) error {
	// The stopper undoes the deadline of a context that ended, so this one is set first.
	if err := d.c.SetDeadline(time.Now().Add(p.cfg.Hold + 2*patience)); err != nil {
		return err
	}
	d.stop.on(ctx)
	if err := putTicket(d.c, ticket); err != nil {
		return err
	}
	var b [1]byte
	if _, err := io.ReadFull(d.c, b[:]); err != nil {
		return fmt.Errorf("the receiver said nothing to the ticket: %w", err)
	}
	if b[0] != accepted {
		return errors.New("the receiver refused the ticket: nobody waits for it, it was used, or it is another host's")
	}
	d.stop.off()
	return d.c.SetDeadline(time.Time{})
}

// Accept waits for a data connection; see [stream.Net].
func (p *Port) Accept(ctx context.Context, name, ticket, peer string) (stream.Conn, error) {
	rt.MayBlock(ctx)
	if ticket == "" || len(ticket) > maxTicket || peer == "" {
		return nil, errors.New("accepting data needs a ticket and the name of the host that shows it")
	}
	s, err := p.open(name)
	if err != nil {
		return nil, err
	}
	defer p.leave(s)
	c, err := p.tickets.wait(ctx, name, ticket, peer)
	if err != nil {
		return nil, err
	}
	if err := answerTicket(c, accepted); err != nil {
		return nil, fmt.Errorf("%w: accepting data from %s: %w", stream.ErrCut, peer, errors.Join(err, c.Close()))
	}
	return p.data(c), nil
}
