package port

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"testing"

	"capstan/core/pbx"
	"capstan/core/pbx/pbxtest"
	"capstan/core/stream"
)

const benchBlock = 256 << 10

// BenchmarkData measures what a data connection carries: between hosts (TLS) and
// within one (a Unix socket), beside what Go's TLS carries by itself.
func BenchmarkData(b *testing.B) {
	b.Run("TLS alone", benchTLS)
	b.Run("between hosts", func(b *testing.B) { benchConn(b, pbxtest.Client, "client/bpbkar") })
	b.Run("within a host", func(b *testing.B) { benchConn(b, pbxtest.Media, "media/bpbkar") })
}

func benchConn(b *testing.B, from pbx.Identity, self pbx.Addr) {
	d := newDomain(b)
	ctx, in := d.process(b, pbxtest.Media, "media/bptm")
	stop, err := in.Serve(ctx, "bptm", pbx.NewMux(ctx, "bptm", 0))
	if err != nil {
		b.Fatal(err)
	}
	defer stop()
	result := make(chan error, 1)
	go func() {
		ctx, out := d.process(b, from, self)
		c, err := out.Dial(ctx, "media/bptm", "ticket")
		if err == nil {
			err = sendBlocks(ctx, c, b.N)
		}
		result <- err
	}()
	c, err := in.Accept(ctx, "bptm", "ticket", from.Name)
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(benchBlock)
	b.ReportAllocs()
	b.ResetTimer()
	for f := (stream.Frame{}); f.Kind != stream.End; {
		if err := c.Next(ctx, &f); err != nil {
			b.Fatal(err)
		}
	}
	if err := <-result; err != nil {
		b.Fatal(err)
	}
}

func sendBlocks(ctx context.Context, c stream.Conn, n int) error {
	f := stream.Frame{Kind: stream.Data, Bytes: make([]byte, benchBlock), Len: benchBlock}
	for range n {
		if err := c.Put(ctx, &f); err != nil {
			return err
		}
	}
	return c.Put(ctx, &stream.Frame{Kind: stream.End, Total: int64(n) * benchBlock})
}

func benchTLS(b *testing.B) {
	d := newDomain(b)
	l, err := tls.Listen("tcp", "127.0.0.1:0", d.creds["media"].Server("bench"))
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	result := make(chan error, 1)
	go func() {
		c, err := tls.Dial("tcp", l.Addr().String(), d.creds["client"].Client("bench", "media"))
		block := make([]byte, benchBlock)
		for i := 0; i < b.N && err == nil; i++ {
			_, err = c.Write(block)
		}
		if err == nil {
			err = c.Close()
		}
		result <- err
	}()
	c, err := l.Accept()
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(benchBlock)
	b.ResetTimer()
	if _, err := io.CopyBuffer(io.Discard, struct{ net.Conn }{c}, make([]byte, benchBlock)); err != nil {
		b.Fatal(err)
	}
	if err := <-result; err != nil {
		b.Fatal(err)
	}
}

// BenchmarkCall measures one call and its reply.
func BenchmarkCall(b *testing.B) {
	for name, self := range map[string]pbx.Addr{"between hosts": "client/test", "within a host": "media/test", "within a process": ""} {
		b.Run(name, func(b *testing.B) {
			d := newDomain(b)
			ctx, p := d.process(b, pbxtest.Media, "media/guarded")
			mux := pbx.NewMux(ctx, "guarded", 0)
			pbx.Handle(mux, ping, func(context.Context, pbx.Peer, none) (string, error) { return "pong", nil })
			stop, err := p.Serve(ctx, "guarded", mux)
			if err != nil {
				b.Fatal(err)
			}
			defer stop()
			if self != "" {
				ctx, _ = d.process(b, d.creds[self.Host()].Identity, self)
			}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := ping.Call(ctx, "media/guarded", none{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
