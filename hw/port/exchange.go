package port

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"capstan/hw/pki"
)

// Protocol names (ALPN).
const (
	protocolPrefix = "capstan:"
	enrolProtocol  = "capstan-enroll"
)

// Limits on connections that have not shown who they are.
const (
	maxStrangers        = 256 // at one time
	maxStrangersPerHost = 64  // of them from one IP address
)

// ExchangeConfig says what an Exchange serves.
type ExchangeConfig struct {
	Listen string           // "host:port"; "" as host is all addresses
	Run    string           // the host's run directory
	Creds  *pki.Credentials // the host's
	// Enrol, on the master, answers enrolment; nil refuses it.
	Enrol *pki.Authority
	Log   *slog.Logger // nil for none
	// Patience is how long a connection may take to say what it wants; 0 is 5 s.
	Patience time.Duration
}

// Exchange is the host's one port (PBX): it hands each connection to the process
// that serves what the connection asks for.
type Exchange struct {
	cfg ExchangeConfig
	l   *net.TCPListener
	run *runDir

	mu     sync.Mutex
	open   map[*net.TCPConn]struct{} // not yet handed over
	from   map[netip.Addr]int        // how many of them from where
	closed bool
	wg     sync.WaitGroup
}

// Listen opens the host's port and serves it until Close. Sockets of processes
// that died are removed.
func Listen(cfg ExchangeConfig) (*Exchange, error) {
	if cfg.Patience == 0 {
		cfg.Patience = patience
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	run, err := openRunDir(cfg.Run)
	if err != nil {
		return nil, err
	}
	if err := run.sweep(); err != nil {
		return nil, errors.Join(err, run.close())
	}
	lc := net.ListenConfig{KeepAliveConfig: tcpKeepalive}
	l, err := lc.Listen(context.Background(), "tcp", cfg.Listen)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("the host's port: %w", err), run.close())
	}
	x := &Exchange{
		cfg: cfg, l: l.(*net.TCPListener), run: run, //nolint:forcetypeassert // what the net package gives for "tcp"
		open: map[*net.TCPConn]struct{}{}, from: map[netip.Addr]int{},
	}
	x.wg.Go(x.accept)
	return x, nil
}

// Addr is the address that the Exchange listens on, "ip:port".
func (x *Exchange) Addr() string { return x.l.Addr().String() }

// Close closes the port and the connections that were not handed over yet. Those
// that were are the processes' own.
func (x *Exchange) Close() error {
	x.mu.Lock()
	x.closed = true
	for c := range x.open {
		_ = c.Close()
	}
	x.mu.Unlock()
	err := x.l.Close()
	x.wg.Wait()
	return errors.Join(err, x.run.close())
}

func (x *Exchange) accept() {
	for {
		c, err := x.l.AcceptTCP()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			// Out of descriptors or memory: others must end before this can go on.
			x.cfg.Log.Error("accepting a connection", "error", err)
			time.Sleep(100 * time.Millisecond)
			continue
		}
		if !x.admit(c) {
			_ = c.Close()
			continue
		}
		x.wg.Go(func() {
			defer x.release(c)
			if err := x.route(c); err != nil {
				x.cfg.Log.Warn("connection refused", "peer", c.RemoteAddr(), "error", err)
			}
		})
	}
}

func remoteIP(c net.Conn) netip.Addr {
	a, ok := c.RemoteAddr().(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	return a.AddrPort().Addr()
}

func (x *Exchange) admit(c *net.TCPConn) bool {
	ip := remoteIP(c)
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.closed || len(x.open) >= maxStrangers || x.from[ip] >= maxStrangersPerHost {
		return false
	}
	x.open[c] = struct{}{}
	x.from[ip]++
	return true
}

// release closes this process's hold on the connection; one handed over stays
// open in the process that has it.
func (x *Exchange) release(c *net.TCPConn) {
	ip := remoteIP(c)
	_ = c.Close()
	x.mu.Lock()
	defer x.mu.Unlock()
	delete(x.open, c)
	if x.from[ip]--; x.from[ip] <= 0 {
		delete(x.from, ip)
	}
}

// route finds out what a connection asks for and hands it over.
func (x *Exchange) route(c *net.TCPConn) error {
	protocol, err := peekProtocol(c, x.cfg.Patience)
	if err != nil {
		return err
	}
	if protocol == enrolProtocol && x.cfg.Enrol != nil {
		return x.enrol(c)
	}
	service, ok := strings.CutPrefix(protocol, protocolPrefix)
	if !ok || service == "" {
		return fmt.Errorf("it asks for %q, which is no service", protocol)
	}
	to, err := x.run.connect(context.Background(), service)
	if err != nil {
		return err
	}
	return errors.Join(pass(to, c), to.Close())
}

// peekProtocol reads the protocol name of a connection's TLS hello and leaves
// every byte where it is.
func peekProtocol(c *net.TCPConn, patience time.Duration) (protocol string, err error) {
	if err := c.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return "", fmt.Errorf("waiting for a hello: %w", err)
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return "", fmt.Errorf("waiting for a hello: %w", err)
	}
	buf := make([]byte, 4<<10)
	perr := errPartial
	err = raw.Read(func(fd uintptr) (done bool) {
		// Returning false waits for the socket's next readiness, which the
		// poller reports once for each arrival, not as long as bytes are there.
		for {
			n, _, rerr := unix.Recvfrom(int(fd), buf, unix.MSG_PEEK|unix.MSG_DONTWAIT)
			switch {
			case errors.Is(rerr, unix.EINTR):
				continue
			case errors.Is(rerr, unix.EAGAIN):
				return false
			case rerr != nil:
				perr = rerr
				return true
			case n == 0:
				perr = errors.New("closed before its hello")
				return true
			}
			protocol, perr = helloProtocol(buf[:n])
			if !errors.Is(perr, errPartial) {
				return true
			}
			if n < len(buf) {
				return false
			}
			if len(buf) >= maxHello {
				perr = errHello
				return true
			}
			buf = make([]byte, 2*len(buf))
		}
	})
	if err == nil {
		err = perr
	}
	if err != nil {
		return "", fmt.Errorf("waiting for a hello: %w", err)
	}
	return protocol, c.SetReadDeadline(time.Time{})
}

// enrol answers one enrolment. It is the only protocol whose client shows no
// certificate: it shows a token.
func (x *Exchange) enrol(c *net.TCPConn) error {
	if err := c.SetDeadline(time.Now().Add(x.cfg.Patience)); err != nil {
		return fmt.Errorf("enrolment: %w", err)
	}
	cfg := x.cfg.Creds.Server(enrolProtocol)
	cfg.ClientAuth = tls.NoClientCert
	cfg.VerifyConnection = nil
	// The host has nothing but the authority's fingerprint: it gets the certificate with ours.
	cfg.Certificates = []tls.Certificate{{
		Certificate: [][]byte{x.cfg.Creds.Cert.Certificate[0], x.cfg.Creds.Authority.Raw},
		PrivateKey:  x.cfg.Creds.Cert.PrivateKey,
	}}
	t := tls.Server(c, cfg)
	err := answerEnrolment(t, x.cfg.Enrol, x.cfg.Log)
	return errors.Join(err, t.Close())
}
