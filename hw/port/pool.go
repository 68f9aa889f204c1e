package port

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"

	"capstan/core/pbx"
	"capstan/core/rt"
)

// maxIdle is how many connections without calls a process keeps: processes of
// jobs come and go, and nobody says when one will not be called again.
const maxIdle = 64

// pool keeps one connection for calls to each address.
type pool struct {
	dial func(ctx context.Context, to pbx.Addr) (net.Conn, error)

	mu     sync.Mutex
	clock  int64 // counts uses
	peers  map[pbx.Addr]*pooled
	closed bool
}

type pooled struct {
	cc    *grpc.ClientConn
	calls int   // under way
	used  int64 // the pool's clock at the last use
	stale bool  // nobody shall find it any more; the last call closes it
	// strange says that the last attempt to connect found no address of the host:
	// gRPC passes on the text of an error only.
	strange atomic.Bool
}

func newPool(dial func(ctx context.Context, to pbx.Addr) (net.Conn, error)) *pool {
	return &pool{dial: dial, peers: map[pbx.Addr]*pooled{}}
}

// call makes one call and tells what is known of a failure.
func (p *pool) call(ctx context.Context, to pbx.Addr, req *envelope) (*envelope, error) {
	c, err := p.take(to)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", pbx.ErrUnreachable, err)
	}
	var state call
	var rep envelope
	err = c.cc.Invoke(context.WithValue(ctx, callKey{}, &state), callMethod, req, &rep)
	// A connection that could not be made waits longer and longer before it
	// tries again; the next call shall try at once.
	p.put(to, c, err != nil && !state.sent)
	switch {
	case err == nil:
		return &rep, nil
	case ctx.Err() != nil:
		return nil, rt.Cause(ctx)
	case state.sent:
		return nil, fmt.Errorf("%w: %w", pbx.ErrOutcomeUnknown, err)
	case c.strange.Load():
		return nil, fmt.Errorf("%w: %w: %w", pbx.ErrUnknownHost, pbx.ErrUnreachable, err)
	default:
		return nil, fmt.Errorf("%w: %w", pbx.ErrUnreachable, err)
	}
}

func (p *pool) take(to pbx.Addr) (*pooled, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, errors.New("this process ends")
	}
	c := p.peers[to]
	if c == nil {
		c = &pooled{}
		cc, err := p.connect(to, c)
		if err != nil {
			return nil, err
		}
		p.evict()
		c.cc = cc
		p.peers[to] = c
	}
	p.clock++
	c.calls, c.used = c.calls+1, p.clock
	return c, nil
}

func (p *pool) put(to pbx.Addr, c *pooled, forget bool) {
	p.mu.Lock()
	c.calls--
	if forget && !c.stale {
		c.stale = true
		delete(p.peers, to)
	}
	last := c.stale && c.calls == 0
	p.mu.Unlock()
	if last {
		_ = c.cc.Close()
	}
}

// evict closes the connection that was not used for longest, if there are too many.
func (p *pool) evict() {
	var oldest pbx.Addr
	idle := 0
	for to, c := range p.peers {
		if c.calls > 0 {
			continue
		}
		idle++
		if oldest == "" || c.used < p.peers[oldest].used {
			oldest = to
		}
	}
	if idle >= maxIdle {
		_ = p.peers[oldest].cc.Close()
		delete(p.peers, oldest)
	}
}

func (p *pool) connect(to pbx.Addr, c *pooled) (*grpc.ClientConn, error) {
	return grpc.NewClient("passthrough:///capstan",
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			conn, err := p.dial(ctx, to)
			var lookup *net.DNSError
			c.strange.Store(errors.Is(err, pbx.ErrUnknownHost) || errors.As(err, &lookup) && lookup.IsNotFound)
			return conn, err
		}),
		grpc.WithTransportCredentials(insecure.NewCredentials()), // the dialer has done TLS
		grpc.WithDefaultCallOptions(grpc.ForceCodec(codec{}),
			grpc.MaxCallRecvMsgSize(maxEnvelope), grpc.MaxCallSendMsgSize(maxEnvelope)),
		grpc.WithStatsHandler(clientStats{}), grpc.WithNoProxy(),
		grpc.WithDisableServiceConfig(), grpc.WithDisableRetry(),
		grpc.WithStaticStreamWindowSize(window), grpc.WithStaticConnWindowSize(2*window),
		grpc.WithIdleTimeout(time.Minute),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: keepaliveEvery, Timeout: keepaliveWait}),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 2 * time.Second},
			MinConnectTimeout: 2 * patience,
		}),
	)
}

func (p *pool) close() {
	p.mu.Lock()
	p.closed = true
	peers := p.peers
	p.peers = map[pbx.Addr]*pooled{}
	for _, c := range peers {
		c.stale = true
	}
	p.mu.Unlock()
	for _, c := range peers {
		_ = c.cc.Close()
	}
}
