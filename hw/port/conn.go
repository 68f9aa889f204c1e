package port

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"capstan/core/rt"
	"capstan/core/stream"
)

// ioBuffer is the size of the buffers of a data connection: a block of tape.
const ioBuffer = 256 << 10

// dataConn is one data connection, used by one task at a time. A frame may stay
// in the sender's buffer until more come, the End frame does, or Close.
type dataConn struct {
	c    net.Conn
	w    *bufio.Writer
	r    frameReader
	stop stopper
	err  error  // once the connection is of no more use
	gone func() // tells the port that it is closed
}

// data makes a data connection of c, which ends with the port at the latest.
func (p *Port) data(c net.Conn) *dataConn {
	p.mu.Lock()
	p.conns[c] = struct{}{}
	if p.closed {
		_ = c.Close()
	}
	p.mu.Unlock()
	return &dataConn{
		c: c, w: bufio.NewWriterSize(c, ioBuffer),
		r: frameReader{r: bufio.NewReaderSize(c, ioBuffer)}, stop: stopper{c: c},
		gone: func() {
			p.mu.Lock()
			delete(p.conns, c)
			p.mu.Unlock()
		},
	}
}

// Put sends a frame. For the End frame it waits until the receiver has it:
// data that is lost while a connection closes would go unnoticed otherwise.
func (d *dataConn) Put(ctx context.Context, f *stream.Frame) error {
	rt.MayBlock(ctx)
	if d.err != nil {
		return d.err
	}
	d.stop.on(ctx)
	err := putFrame(d.w, f)
	if err == nil && f.Kind == stream.End {
		err = d.confirm()
	}
	if errors.Is(err, errHollow) {
		return err // nothing was written
	}
	return d.failed(ctx, "sending", err)
}

func (d *dataConn) confirm() error {
	if err := d.w.Flush(); err != nil {
		return err
	}
	var b [1]byte
	if _, err := d.c.Read(b[:]); err != nil {
		return fmt.Errorf("the receiver did not confirm the end: %w", err)
	}
	if b[0] != taken {
		return fmt.Errorf("the receiver answered the end with %#02x", b[0])
	}
	return nil
}

// Next receives a frame, and confirms the End frame.
func (d *dataConn) Next(ctx context.Context, f *stream.Frame) error {
	rt.MayBlock(ctx)
	if d.err != nil {
		return d.err
	}
	d.stop.on(ctx)
	err := d.r.next(f)
	if err == nil && f.Kind == stream.End {
		_, err = d.c.Write([]byte{taken})
	}
	return d.failed(ctx, "receiving", err)
}

// failed keeps the first failure: after half a frame nothing can follow.
func (d *dataConn) failed(ctx context.Context, what string, err error) error {
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		d.err = rt.Cause(ctx)
	default:
		d.err = fmt.Errorf("%w: %s: %w", stream.ErrCut, what, err)
	}
	return d.err
}

// Close ends the connection. What was sent before is flushed, if the receiver
// takes it within a second; without an End frame it counts as cut. It does not
// fail: whether everything arrived was said when the End frame was confirmed.
func (d *dataConn) Close() error {
	d.stop.off()
	d.gone()
	if d.err == nil && d.w.Buffered() > 0 {
		_ = d.c.SetWriteDeadline(time.Now().Add(time.Second))
		_ = d.w.Flush()
	}
	if d.err == nil {
		d.err = net.ErrClosed
	}
	_ = d.c.Close() // TLS says goodbye, perhaps to a peer that is gone
	return nil
}

// stopper ends what waits on a connection when the context does. It keeps
// watching between operations under the same context, because a data connection
// has very many of them.
type stopper struct {
	c   net.Conn
	ctx context.Context //nolint:containedctx // the one watched

	mu     sync.Mutex
	gen    int // of the watch: an older one does nothing any more
	struck bool
	cancel func() bool
}

func (s *stopper) on(ctx context.Context) {
	if s.ctx == ctx {
		return
	}
	s.off()
	s.ctx = ctx
	s.mu.Lock()
	gen := s.gen
	s.mu.Unlock()
	s.cancel = context.AfterFunc(ctx, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.gen == gen {
			s.struck = true
			_ = s.c.SetDeadline(time.Unix(1, 0)) // in the past: everything returns
		}
	})
}

// off ends the watch, and takes back what it did if nothing noticed.
func (s *stopper) off() {
	if s.ctx == nil {
		return
	}
	s.cancel()
	s.ctx = nil
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gen++
	if s.struck {
		s.struck = false
		_ = s.c.SetDeadline(time.Time{})
	}
}
