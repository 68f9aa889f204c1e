package port

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"google.golang.org/grpc"

	"capstan/core/pbx"
	"capstan/core/rt"
)

// service is a name under which this process can be reached: for calls once it
// has a mux, for data while somebody accepts.
type service struct {
	name string
	l    *socket
	uses int // Serve and every Accept
	ans  *answering
}

// answering is the part of a service that answers calls, between Serve and stop.
type answering struct {
	name  string
	ctx   context.Context //nolint:containedctx // of Serve: what handlers run under
	mux   *pbx.Mux
	grpc  *grpc.Server
	calls *handoff
}

func newAnswering(ctx context.Context, s *service, mux *pbx.Mux) *answering {
	return &answering{
		name: s.name, ctx: ctx, mux: mux, grpc: newServer(ctx, s.name, mux),
		calls: &handoff{addr: s.l.Addr(), conns: make(chan net.Conn), done: make(chan struct{})},
	}
}

// open finds or makes a service of this process and keeps it until leave.
func (p *Port) open(name string) (*service, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || p.run == nil {
		return nil, fmt.Errorf("serving %s: this process serves nothing", name)
	}
	s := p.services[name]
	if s == nil {
		l, err := p.run.listen(name)
		if err != nil {
			return nil, err
		}
		s = &service{name: name, l: l}
		p.services[name] = s
		p.wg.Go(func() { p.accept(s) })
	}
	s.uses++
	return s, nil
}

func (p *Port) leave(s *service) {
	p.mu.Lock()
	s.uses--
	last := s.uses == 0
	if last && p.services[s.name] == s {
		delete(p.services, s.name)
	}
	p.mu.Unlock()
	if last {
		_ = s.l.Close()
	}
}

// stop refuses new calls and gives those under way a while. A handler that goes
// on after that has nobody to reply to.
func (a *answering) stop() {
	done := make(chan struct{})
	go func() { a.grpc.GracefulStop(); close(done) }()
	late := time.NewTimer(patience)
	defer late.Stop()
	select {
	case <-done:
	case <-late.C:
		a.grpc.Stop()
	}
}

// call answers a call from within the process.
func (a *answering) call(ctx context.Context, from pbx.Identity, req *envelope) (*pbx.Reply, error) {
	done := rt.NewEvent(ctx)
	var rep *envelope
	rt.Current(ctx).Start(a.ctx, "answer "+a.name, func(ctx context.Context) {
		p := a.mux.Serve(ctx, from, req.request())
		rep = encodeReply(req.Method, p)
		done.Set()
		p.Sent()
	})
	if err := done.Wait(ctx); err != nil {
		return nil, err
	}
	return rep.reply(), nil
}

// accept takes what comes to the service's socket: connections that the Exchange
// hands over, and those of processes of this host.
func (p *Port) accept(s *service) {
	for {
		u, err := s.l.AcceptUnix()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			p.cfg.Log.Error("accepting a local connection", "service", s.name, "error", err)
			time.Sleep(100 * time.Millisecond) // out of descriptors: others must end first
			continue
		}
		if !p.admit() {
			_ = u.Close()
			continue
		}
		go func() {
			defer p.admitted()
			if err := p.greet(s, u); err != nil {
				p.cfg.Log.Warn("connection refused", "service", s.name, "error", err)
			}
		}()
	}
}

func (p *Port) admit() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || p.strangers >= maxStrangers {
		return false
	}
	p.strangers++
	return true
}

func (p *Port) admitted() {
	p.mu.Lock()
	p.strangers--
	p.mu.Unlock()
}

// greet finds out who connects and for what, and hands the connection on.
func (p *Port) greet(s *service, u *net.UnixConn) (err error) {
	c := &knownConn{Conn: u}
	defer func() {
		if err != nil {
			_ = c.Close()
		}
	}()
	tcp, err := receive(u)
	if errors.Is(err, io.EOF) {
		return u.Close()
	}
	if err != nil {
		return err
	}
	if tcp == nil {
		c.id = p.Identity()
	} else if c.Conn, c.id, err = p.handshake(s, u, tcp); err != nil {
		return err
	}
	if _, err := io.ReadFull(c.Conn, c.first[:]); err != nil {
		return fmt.Errorf("%s connected and said nothing: %w", c.id, err)
	}
	switch string(c.first[:]) {
	case dataMagic:
		ticket, err := getTicket(c.Conn)
		if err != nil {
			return fmt.Errorf("from %s: %w", c.id, err)
		}
		return p.tickets.offer(s.name, ticket, c.id, c.Conn)
	case "PRI ": // how the client's preface of HTTP/2 begins (RFC 9113, 3.4)
		if err := c.SetDeadline(time.Time{}); err != nil {
			return fmt.Errorf("from %s: %w", c.id, err)
		}
		return p.handOver(s, c)
	}
	return fmt.Errorf("%s connected and said %q, which begins neither calls nor data", c.id, c.first)
}

// handshake does the TLS of a connection that the Exchange handed over on u.
func (p *Port) handshake(s *service, u *net.UnixConn, tcp *net.TCPConn) (net.Conn, pbx.Identity, error) {
	_ = u.Close()
	t := tls.Server(tcp, p.cfg.Creds.Server(protocolPrefix+s.name))
	err := tcp.SetDeadline(time.Now().Add(p.cfg.Patience))
	if err == nil {
		err = t.HandshakeContext(context.Background())
	}
	if err != nil {
		return t, pbx.Identity{}, fmt.Errorf("%s: %w", tcp.RemoteAddr(), err)
	}
	id, err := p.cfg.Creds.Peer(t.ConnectionState())
	return t, id, err
}

// handOver gives a connection to the service's gRPC server.
func (p *Port) handOver(s *service, c *knownConn) error {
	p.mu.Lock()
	ans := s.ans
	p.mu.Unlock()
	if ans == nil {
		return fmt.Errorf("%s calls a service that answers no calls", c.id)
	}
	return ans.calls.put(c)
}

// knownConn is a connection whose peer is known and whose first bytes were read
// already, to tell calls from data.
type knownConn struct {
	net.Conn
	id    pbx.Identity
	first [4]byte
	again int // how many of first were read again
}

func (c *knownConn) Read(b []byte) (int, error) {
	if c.again < len(c.first) {
		n := copy(b, c.first[c.again:])
		c.again += n
		return n, nil
	}
	return c.Conn.Read(b)
}

// handoff is a net.Listener whose connections come from elsewhere.
type handoff struct {
	addr  net.Addr
	conns chan net.Conn
	once  sync.Once
	done  chan struct{}
}

func (h *handoff) put(c net.Conn) error {
	select {
	case h.conns <- c:
		return nil
	case <-h.done:
		return net.ErrClosed
	}
}

func (h *handoff) Accept() (net.Conn, error) {
	select {
	case c := <-h.conns:
		return c, nil
	case <-h.done:
		return nil, net.ErrClosed
	}
}

func (h *handoff) Addr() net.Addr { return h.addr }

func (h *handoff) Close() error {
	h.once.Do(func() { close(h.done) })
	return nil
}
