package sim

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"capstan/core/dev"
	"capstan/core/pbx"
	"capstan/core/rt"
	"capstan/core/stream"
)

// window is how many frames a connection holds between its ends.
const window = 16

// dataNet makes the data connections of one process.
type dataNet struct{ p *Process }

var _ stream.Net = (*dataNet)(nil)

// ticketKey names a connection to be made to a host.
type ticketKey struct{ service, ticket string }

// rendezvous is where the two ends of a connection meet, whichever comes first.
type rendezvous struct {
	acceptor *task  // waits for the connection,
	peer     string // from this host
	dials    []*dial
	conn     *conn // made; the ticket works no more
}

// dial is one that waits to be accepted.
type dial struct {
	task *task
	conn *conn
	err  error // refused
}

// Refusals of a connection. They wrap [pbx.ErrUnreachable]: nothing was delivered.
var (
	errTicketUsed = errors.New("the ticket was used before")
	errWrongPeer  = errors.New("the ticket is another host's")
	errNoAccept   = errors.New("nobody accepted the connection")
)

// Dial connects to the process at an address.
func (d *dataNet) Dial(ctx context.Context, to pbx.Addr, ticket string) (stream.Conn, error) {
	rt.MayBlock(ctx)
	refused := func(err error) (stream.Conn, error) {
		return nil, fmt.Errorf("data connection to %s: %w: %w", to, err, pbx.ErrUnreachable)
	}
	w := d.p.w
	h := w.byName[to.Host()]
	if h == nil {
		return refused(errors.New("no such host"))
	}
	there, back := w.net.link(d.p.host, h), w.net.link(h, d.p.host)
	if there.cut || back.cut || !h.up {
		if err := rt.Sleep(ctx, w.net.model.ConnectTimeout); err != nil {
			return nil, err
		}
		return refused(fmt.Errorf("host %s does not answer", h.name))
	}
	if err := rt.Sleep(ctx, there.Latency+there.delay); err != nil {
		return nil, err
	}
	key := ticketKey{to.Service(), ticket}
	r := h.meeting(key)
	if r.acceptor == nil && r.conn == nil && h.services[key.service] == nil && w.Find(to) == nil {
		h.forget(key, r)
		return refused(errRefused)
	}
	c, err := d.meet(ctx, r)
	h.forget(key, r)
	if err != nil {
		if ctx.Err() != nil {
			return nil, rt.Cause(ctx)
		}
		return refused(err)
	}
	return &c.dialed, rt.Sleep(ctx, back.Latency+back.delay)
}

func (h *Host) meeting(k ticketKey) *rendezvous {
	r := h.tickets[k]
	if r == nil {
		r = &rendezvous{}
		h.tickets[k] = r
	}
	return r
}

// forget drops a meeting to which nobody waits to come.
func (h *Host) forget(k ticketKey, r *rendezvous) {
	if r.acceptor == nil && r.conn == nil && len(r.dials) == 0 && h.tickets[k] == r {
		delete(h.tickets, k)
	}
}

// meet makes the connection if its other end waits for it, else waits until it
// is accepted.
func (d *dataNet) meet(ctx context.Context, r *rendezvous) (*conn, error) {
	switch {
	case r.conn != nil:
		return nil, errTicketUsed
	case r.acceptor != nil && r.peer != d.p.host.name:
		return nil, errWrongPeer
	case r.acceptor != nil:
		r.conn = d.p.w.net.connect(ctx, d.p, r.acceptor.proc)
		r.acceptor.Unpark()
		return r.conn, nil
	}
	x := &dial{task: rt.Current(ctx).(*task)}
	r.dials = append(r.dials, x)
	leave := func() { r.dials = slices.DeleteFunc(r.dials, func(y *dial) bool { return x == y }) }
	held := d.p.hold(leave)
	tctx, cancel := rt.WithTimeout(ctx, d.p.w.net.model.LostAfter)
	err := rt.Await(tctx, func() bool { return x.conn != nil || x.err != nil })
	cancel()
	held.drop()
	leave()
	switch {
	case err == nil:
		return x.conn, x.err
	case ctx.Err() == nil:
		err = errNoAccept
	}
	return nil, err
}

// Accept waits for the connection that shows the ticket.
func (d *dataNet) Accept(ctx context.Context, service, ticket, peer string) (stream.Conn, error) {
	rt.MayBlock(ctx)
	h, key := d.p.host, ticketKey{service, ticket}
	r := h.meeting(key)
	if r.conn != nil || r.acceptor != nil {
		return nil, fmt.Errorf("accepting a data connection to %s on %s: %w", service, h.name, errTicketUsed)
	}
	// The ticket is known as used for as long as the process lives.
	held := d.p.hold(func() { delete(h.tickets, key) })
	for _, x := range r.dials {
		switch {
		case x.task.proc.host.name != peer:
			x.err = errWrongPeer
		case r.conn != nil:
			x.err = errTicketUsed
		default:
			x.conn = d.p.w.net.connect(ctx, x.task.proc, d.p)
			r.conn = x.conn
		}
		x.task.Unpark()
	}
	r.dials = nil
	if r.conn != nil {
		return &r.conn.accepted, nil
	}
	r.acceptor, r.peer = rt.Current(ctx).(*task), peer
	err := rt.Await(ctx, func() bool { return r.conn != nil })
	r.acceptor = nil
	if err != nil {
		held.drop()
		h.forget(key, r)
		return nil, err
	}
	return &r.conn.accepted, nil
}

// conn is a data connection: a pipe for each direction.
type conn struct {
	w                *World
	there, back      pipe
	dialed, accepted end
	held             [2]*holding
}

// end is one end of a connection.
type end struct {
	conn    *conn
	in, out *pipe
}

var _ stream.Conn = (*end)(nil)

// pipe carries frames from one process to another.
type pipe struct {
	conn      *conn
	from, to  *Process
	link      *link
	via       []dev.Resource
	limited   bool // a resource of via has a rate
	frames    *rt.Queue[*frame]
	last      int64  // when the last frame arrives
	closed    bool   // no more frames are put
	endTaken  bool   // the reader has the End frame
	sender    *task  // waits for that
	cutOff    bool   // nothing more arrives, not even what is under way
	reader    *task  // waits for the link to heal
	delivered *frame // whose memory the reader may still use
}

// frame is a frame on its way.
type frame struct {
	stream.Frame
	at     int64 // when it arrives
	memory []byte
}

func (n *network) connect(ctx context.Context, from, to *Process) *conn {
	c := &conn{w: n.w}
	c.there.init(ctx, n, c, from, to)
	c.back.init(ctx, n, c, to, from)
	c.dialed = end{c, &c.back, &c.there}
	c.accepted = end{c, &c.there, &c.back}
	n.conns = append(n.conns, &c.there, &c.back)
	c.held = [2]*holding{from.hold(func() { c.peerDied(from) }), to.hold(func() { c.peerDied(to) })}
	return c
}

func (p *pipe) init(ctx context.Context, n *network, c *conn, from, to *Process) {
	*p = pipe{conn: c, from: from, to: to, link: n.link(from.host, to.host), via: n.resources(from.host, to.host)}
	p.frames = rt.NewQueue[*frame](ctx, window)
	for _, r := range p.via {
		p.limited = p.limited || r.Rate > 0 || r.Stream > 0
	}
}

// peerDied is told when a process of the connection has died. What it sent still
// arrives; then the other end learns of its death, at once from a kernel that
// lives, by silence else.
func (c *conn) peerDied(p *Process) {
	if p.host.up {
		c.close()
		return
	}
	c.w.callAt(addClock(c.w.clock, int64(c.w.net.model.LostAfter)), urgent, nil, c.cut)
}

// close refuses more frames; those on their way arrive.
func (c *conn) close() {
	for _, p := range []*pipe{&c.there, &c.back} {
		p.closed = true
		p.frames.Close()
		if p.sender != nil {
			p.sender.Unpark()
		}
	}
	c.forget()
}

// cut closes the connection, and what is on its way is lost.
func (c *conn) cut() {
	for _, p := range []*pipe{&c.there, &c.back} {
		p.cutOff = true
		p.healed()
	}
	c.close()
}

func (c *conn) forget() {
	for _, x := range c.held {
		x.drop()
	}
	n := &c.w.net
	n.conns = slices.DeleteFunc(n.conns, func(p *pipe) bool { return p.conn == c })
}

func (p *pipe) healed() {
	if t := p.reader; t != nil {
		t.Unpark()
	}
}

// Close ends the connection from this side.
func (e *end) Close() error {
	e.conn.close()
	return nil
}

// Put sends a frame. That of an End frame returns when the other end has taken it.
func (e *end) Put(ctx context.Context, f *stream.Frame) error {
	rt.MayBlock(ctx)
	p := e.out
	if p.cutOff {
		return p.broken()
	}
	if p.limited && len(f.Bytes) > 0 {
		if err := p.conn.w.Transfer(ctx, p.via, int64(len(f.Bytes))); err != nil {
			return err
		}
	}
	g := p.conn.w.net.frame()
	g.Frame = *f
	if f.Bytes != nil {
		g.memory = append(g.memory[:0], f.Bytes...)
		g.Bytes = g.memory
	}
	if f.Hollow() {
		g.Via = slices.Concat(f.Via, p.via)
	}
	p.last = max(p.last, p.conn.w.clock+int64(p.link.Latency+p.link.delay))
	g.at = p.last
	if err := p.frames.Put(ctx, g); err != nil {
		if errors.Is(err, rt.ErrClosed) {
			return p.broken()
		}
		return err
	}
	if f.Kind == stream.End {
		return p.confirm(ctx)
	}
	return nil
}

// confirm waits until the reader has taken the End frame: a stream that was sent
// is one that arrived.
func (p *pipe) confirm(ctx context.Context) error {
	p.sender = rt.Current(ctx).(*task)
	err := rt.Await(ctx, func() bool { return p.endTaken || p.closed })
	p.sender = nil
	if err != nil {
		return err
	}
	if !p.endTaken {
		return p.broken()
	}
	back := p.conn.w.net.link(p.to.host, p.from.host)
	return rt.Sleep(ctx, back.Latency+back.delay)
}

// frame is one that no connection uses, with the memory that it had.
func (n *network) frame() *frame {
	last := len(n.frames) - 1
	if last < 0 {
		return &frame{}
	}
	g := n.frames[last]
	n.frames = n.frames[:last]
	return g
}

func (p *pipe) broken() error {
	return fmt.Errorf("data connection from %s to %s: %w", p.from.addr, p.to.addr, stream.ErrCut)
}

// Next receives a frame. Its bytes are valid until the next Next.
func (e *end) Next(ctx context.Context, f *stream.Frame) error {
	rt.MayBlock(ctx)
	p := e.in
	if p.delivered != nil {
		p.conn.w.net.frames = append(p.conn.w.net.frames, p.delivered)
		p.delivered = nil
	}
	g, err := p.frames.Get(ctx)
	if errors.Is(err, rt.ErrClosed) {
		return p.broken()
	}
	if err != nil {
		return err
	}
	if left := g.at - p.conn.w.clock; left > 0 {
		if err := rt.Sleep(ctx, time.Duration(left)); err != nil {
			return err
		}
	}
	if p.link.cut || p.cutOff {
		p.reader = rt.Current(ctx).(*task)
		err := rt.Await(ctx, func() bool { return p.cutOff || !p.link.cut })
		p.reader = nil
		if err != nil {
			return err
		}
	}
	if p.cutOff {
		return p.broken()
	}
	*f = g.Frame
	p.delivered = g
	if f.Kind == stream.End {
		p.endTaken = true
		if p.sender != nil {
			p.sender.Unpark()
		}
	}
	return nil
}
