package port

import (
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"capstan/core/pbx"
	"capstan/core/pbx/pbxtest"
	"capstan/hw/clock"
	"capstan/hw/pki"
)

type none struct{}

var ping = pbx.Declare[none, string]("guarded", "Ping", pbx.Hosts|pbx.User)

// guard serves "guarded" on the host media, and returns what says how often it
// was called.
func guard(t *testing.T, d *domain) (calls func() int) {
	t.Helper()
	ctx, p := d.process(t, pbxtest.Media, "media/guarded")
	n := make(chan int, 100)
	mux := pbx.NewMux(ctx, "guarded", 0)
	pbx.Handle(mux, ping, func(_ context.Context, from pbx.Peer, _ none) (string, error) {
		n <- 1
		return from.Identity.String(), nil
	})
	stop, err := p.Serve(ctx, "guarded", mux)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	return func() int { return len(n) }
}

// process is a process whose first task is the test.
func (d *domain) process(t testing.TB, id pbx.Identity, self pbx.Addr) (context.Context, *Port) {
	t.Helper()
	p := d.open(id, self)
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Errorf("closing the port of %s: %v", self, err)
		}
	})
	ctx := clock.Context(context.Background(), string(self))
	return pbx.With(ctx, p, 1, 0), p
}

func (d *domain) addr(host string) string {
	a, err := d.hosts.Resolve(host)
	if err != nil {
		d.t.Error(err)
	}
	return a
}

// wantClosed checks that the other end closes the connection without an answer,
// but for a TLS alert.
func wantClosed(t *testing.T, c net.Conn) {
	t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(c)
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		t.Error("the connection was not closed")
	}
	if len(b) > 16 {
		t.Errorf("the connection answered %q", b)
	}
}

func dialTCP(t *testing.T, addr string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// Whoever is not of the domain reaches no handler.
func TestStrangersAreRefused(t *testing.T) {
	d := newDomain(t)
	calls := guard(t, d)
	foreign, err := pki.Init(t.TempDir(), "example.com", "client", pbx.Client)
	if err != nil {
		t.Fatal(err)
	}
	good := d.creds["client"]
	tests := []struct {
		name string
		edit func(c *tls.Config)
	}{
		{"no certificate", func(c *tls.Config) { c.Certificates = nil }},
		{"another domain of the same name", func(c *tls.Config) {
			c.Certificates = []tls.Certificate{newCreds(t, foreign, pbxtest.Client).Cert}
		}},
		{"an expired certificate", func(c *tls.Config) { c.Certificates = []tls.Certificate{expired(t, d)} }},
		{"an older TLS", func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS12, tls.VersionTLS12 }},
		{"another service than it says", func(c *tls.Config) { c.NextProtos = []string{"h2"} }},
		{"a service that is not there", func(c *tls.Config) { c.NextProtos = []string{"capstan:absent"} }},
		{"a path for a service", func(c *tls.Config) { c.NextProtos = []string{"capstan:../../etc/passwd"} }},
		{"two services", func(c *tls.Config) { c.NextProtos = []string{"capstan:guarded", "capstan:absent"} }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg := good.Client(protocolPrefix+"guarded", "media")
			tt.edit(cfg)
			c := tls.Client(dialTCP(t, d.addr("media")), cfg)
			if err := c.Handshake(); err != nil {
				return // refused before the end of the handshake
			}
			_, _ = c.Write([]byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")) // TLS 1.3 refuses clients after it
			wantClosed(t, c)
		})
	}
	if n := calls(); n != 0 {
		t.Errorf("the handler was called %d times", n)
	}
	ctx, _ := d.process(t, pbxtest.Client, "client/test")
	if _, err := ping.Call(ctx, "media/guarded", none{}); err != nil || calls() != 1 {
		t.Errorf("who is of the domain: %v, the handler was called %d times", err, calls())
	}
}

// expired is a certificate of the domain's authority whose time is over.
func expired(t *testing.T, d *domain) tls.Certificate {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(d.pki, "ca", "ca.key"))
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(b)
	caKey, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	template := *d.creds["client"].Cert.Leaf
	template.NotAfter = time.Now().Add(-time.Minute)
	key := d.creds["client"].Cert.PrivateKey.(*ecdsa.PrivateKey)
	raw, err := x509.CreateCertificate(rand.Reader, &template, d.creds["client"].Authority, &key.PublicKey, caKey)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{raw}, PrivateKey: key}
}

// A caller goes on with nobody but the host that it addresses.
func TestServersAreVerified(t *testing.T) {
	d := newDomain(t)
	guard(t, d)
	foreign, err := pki.Init(t.TempDir(), "example.com", "media", pbx.Media)
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name  string
		self  pbx.Addr // of who calls
		creds *pki.Credentials
		hosts map[string]string
	}{
		{"another host of the domain answers", "client/test", d.creds["client"], map[string]string{"other": d.addr("media")}},
		{"a host of another domain answers", "media/test", newCreds(t, foreign, pbxtest.Client), map[string]string{"media": d.addr("media")}},
		{"nobody answers", "client/test", d.creds["client"], map[string]string{"media": "127.0.0.1:1"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p, err := New(Config{Self: tt.self, Creds: tt.creds, Resolve: NewHosts(tt.hosts).Resolve, Log: d.log})
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = p.Close() }()
			ctx := pbx.With(clock.Context(context.Background(), "test"), p, 1, 0)
			for host := range tt.hosts {
				if _, err := ping.Call(ctx, pbx.At(host, "guarded"), none{}); !errors.Is(err, pbx.ErrUnreachable) {
					t.Errorf("Ping: %v, want pbx.ErrUnreachable", err)
				}
			}
		})
	}
}

// What is no TLS, or comes too slowly, is closed; nothing stays of it.
func TestGarbageAndSilence(t *testing.T) {
	d := newDomain(t)
	calls := guard(t, d)
	before := runtime.NumGoroutine()
	hello := recordHello(t, "capstan:guarded")
	huge := append([]byte{22, 3, 1, 0x40, 0, 1, 0xff, 0xff, 0xff}, make([]byte, 1<<14)...)
	tests := map[string][]byte{
		"nothing":           nil,
		"a web browser":     []byte("GET / HTTP/1.1\r\nHost: media\r\n\r\n"),
		"half a hello":      hello[:len(hello)/2],
		"a hello, then":     hello, // goes to the process, which waits for the rest of the handshake
		"a huge hello":      huge,
		"gRPC without TLS":  []byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
		"data without TLS":  []byte(dataMagic + "\x01\x00\x01x"),
		"zeros":             make([]byte, 100<<10),
		"empty TLS records": []byte(strings.Repeat("\x16\x03\x01\x00\x00", 100)),
	}
	for name, b := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := dialTCP(t, d.addr("media"))
			_, _ = c.Write(b) // it may be closed before all of it is sent
			if err := c.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
				t.Fatal(err)
			}
			_, err := io.Copy(io.Discard, c) // a whole hello is answered
			var timeout net.Error
			if errors.As(err, &timeout) && timeout.Timeout() {
				t.Error("the connection was not closed")
			}
		})
	}
	t.Cleanup(func() {
		if n := calls(); n != 0 {
			t.Errorf("the handler was called %d times", n)
		}
		for i := 0; runtime.NumGoroutine() > before+5; i++ {
			if i == 1000 {
				t.Errorf("%d goroutines before, %d after", before, runtime.NumGoroutine())
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
	})
}

// Silent connections from one address take no more than their share, and when
// they are gone others get through.
func TestStrangersAreLimited(t *testing.T) {
	d := newDomain(t)
	guard(t, d)
	var open []net.Conn
	for range maxStrangersPerHost + 20 {
		open = append(open, dialTCP(t, d.addr("media")))
	}
	began := time.Now()
	for _, c := range open {
		wantClosed(t, c)
	}
	if time.Since(began) > 20*time.Second {
		t.Error("silent connections were kept")
	}
	ctx, _ := d.process(t, pbxtest.Client, "client/test")
	if _, err := ping.Call(ctx, "media/guarded", none{}); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

// A hello may come in as many segments as it likes.
func TestSlowHello(t *testing.T) {
	d := newDomain(t)
	guard(t, d)
	c := tls.Client(&dribble{Conn: dialTCP(t, d.addr("media"))}, d.creds["client"].Client(protocolPrefix+"guarded", "media"))
	if err := c.Handshake(); err != nil {
		t.Fatal(err)
	}
	id, err := d.creds["client"].Peer(c.ConnectionState())
	if err != nil || id != pbxtest.Media {
		t.Errorf("answered by %s (%v), want %s", id, err, pbxtest.Media)
	}
}

// dribble writes a byte at a time.
type dribble struct{ net.Conn }

func (d *dribble) Write(b []byte) (int, error) {
	for i := range b {
		if _, err := d.Conn.Write(b[i : i+1]); err != nil {
			return i, err
		}
	}
	return len(b), nil
}

func TestEnrol(t *testing.T) {
	d := newDomain(t)
	want := pbx.Identity{Kinds: pbx.Client | pbx.Media, Name: "newcomer"}
	token, err := d.ca.NewToken(want.Name, want.Kinds, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	if _, err := Enrol(ctx, d.addr("media"), token, t.TempDir()); err == nil {
		t.Error("a host that is not the master enrolled another")
	}
	foreign, err := pki.Init(t.TempDir(), "example.com", "master", pbx.Master)
	if err != nil {
		t.Fatal(err)
	}
	other, err := foreign.NewToken(want.Name, want.Kinds, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Enrol(ctx, d.addr("master"), other, t.TempDir()); err == nil {
		t.Error("the token of another domain enrolled")
	}
	dir := t.TempDir()
	creds, err := Enrol(ctx, d.addr("master"), token, dir)
	if err != nil {
		t.Fatal(err)
	}
	if creds.Identity != want {
		t.Errorf("enrolled as %s, want %s", creds.Identity, want)
	}
	if _, err := Enrol(ctx, d.addr("master"), token, t.TempDir()); err == nil || !strings.Contains(err.Error(), "token") {
		t.Errorf("a token that was used: %v", err)
	}
	guard(t, d)
	d.creds[want.Name], d.run[want.Name] = creds, t.TempDir()
	pctx, _ := d.process(t, want, "newcomer/test")
	if who, err := ping.Call(pctx, "media/guarded", none{}); err != nil || who != want.String() {
		t.Errorf("the newcomer calls as %q, %v", who, err)
	}
}

// recordHello is the hello that Go's TLS sends.
func recordHello(tb testing.TB, protocols ...string) []byte {
	tb.Helper()
	a, b := net.Pipe()
	go func() {
		_ = tls.Client(a, &tls.Config{ServerName: "media", NextProtos: protocols, MinVersion: tls.VersionTLS13}).Handshake()
	}()
	buf := make([]byte, 16<<10)
	n, err := b.Read(buf)
	if err != nil {
		tb.Fatal(err)
	}
	_, _ = a.Close(), b.Close()
	return buf[:n]
}

// A reply that was begun arrives, although its service ends at once: as when a
// process answers its last call and exits.
func TestLastReplyArrives(t *testing.T) {
	d := newDomain(t)
	ctx, _ := d.process(t, pbxtest.Client, "client/test")
	for i := range 20 {
		sctx, p := d.process(t, pbxtest.Media, "media/guarded")
		mux := pbx.NewMux(sctx, "guarded", 0)
		stopped := make(chan struct{})
		var stop func()
		pbx.Handle(mux, ping, func(ctx context.Context, _ pbx.Peer, _ none) (string, error) {
			pbx.AfterReply(ctx, func() { stop(); close(stopped) })
			return strings.Repeat("pong", 1000), nil
		})
		var err error
		if stop, err = p.Serve(sctx, "guarded", mux); err != nil {
			t.Fatal(err)
		}
		if rep, err := ping.Call(ctx, "media/guarded", none{}); err != nil || len(rep) != 4000 {
			t.Errorf("call %d: %d bytes, %v", i, len(rep), err)
		}
		<-stopped
	}
}
