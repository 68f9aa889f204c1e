package sim

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"capstan/core/pbx"
	"capstan/core/rt"
	"capstan/core/status"
)

// transport carries the calls of one process.
type transport struct{ p *Process }

var _ pbx.Transport = (*transport)(nil)

// service is a name on a host and who answers there.
type service struct {
	proc *Process
	ctx  context.Context // handlers run under it
	mux  *pbx.Mux
}

// stage says what the next event of a call is.
type stage uint8

const (
	arriving  stage = iota // the request, at its host
	handling               // no event: a task of the callee runs
	returning              // the reply or the failure, at the caller
	over
)

// call is one request under way.
type call struct {
	timer
	w       *World
	caller  *task
	to      *Host
	there   *link
	back    *link
	service string
	mux     *pbx.Mux // that answers
	req     *pbx.Request
	rep     *pbx.Reply
	err     error
	sent    int64
	stage   stage
	next    *call // of the network's calls under way
	prev    *call

	holders  int         // who still uses it: the caller, and the task that answers
	finished func() bool // tells whether stage is finished
}

var errRefused = errors.New("connection refused: nobody serves there")

// Self is the process's address.
func (t *transport) Self() pbx.Addr { return t.p.addr }

// Identity is who the process is for its peers.
func (t *transport) Identity() pbx.Identity { return t.p.id }

// Serve answers calls to a service of the process's host until stop.
func (t *transport) Serve(ctx context.Context, name string, mux *pbx.Mux) (stop func(), err error) {
	rt.Current(ctx).Check()
	h := t.p.host
	if s := h.services[name]; s != nil {
		return nil, fmt.Errorf("serving %s on %s: %s serves it already", name, h.name, s.proc.addr)
	}
	s := &service{t.p, ctx, mux}
	h.services[name] = s
	remove := func() {
		if h.services[name] == s {
			delete(h.services, name)
		}
	}
	held := t.p.hold(remove)
	return func() {
		remove()
		held.drop()
	}, nil
}

// Call sends a request and waits for the reply.
func (t *transport) Call(ctx context.Context, to pbx.Addr, m *pbx.Request) (*pbx.Reply, error) {
	caller := rt.Current(ctx).(*task)
	caller.MayBlock()
	w := t.p.w
	name, service, _ := strings.Cut(string(to), "/")
	r := t.p.host.route(name)
	if r == nil {
		return nil, fmt.Errorf("%w: %s: %w", pbx.ErrUnknownHost, name, pbx.ErrUnreachable)
	}
	req, err := w.wireRequest(m)
	if err != nil {
		return nil, err
	}
	c := w.call()
	c.caller, c.to, c.there, c.back = caller, r.to, r.there, r.back
	c.service, c.req, c.sent = service, req, w.clock
	c.send()
	if err := rt.Await(ctx, c.finished); err != nil {
		c.finish(nil, err) // a reply that comes now finds nobody
	}
	rep, err := c.rep, c.err
	c.release()
	return rep, err
}

// call makes a call that its caller holds.
func (w *World) call() *call {
	n := &w.net
	if last := len(n.spare) - 1; last >= 0 {
		c := n.spare[last]
		n.spare = n.spare[:last]
		c.holders = 1
		return c
	}
	c := &call{w: w, holders: 1}
	c.target, c.finished = c, func() bool { return c.stage == over }
	return c
}

// release keeps a call that nobody holds any more for another: there are many.
// That of a caller that was killed is left to the garbage collector.
func (c *call) release() {
	c.holders--
	if c.holders == 0 {
		*c = call{timer: c.timer, w: c.w, finished: c.finished}
		c.w.net.spare = append(c.w.net.spare, c)
	}
}

// send puts the request on its way. A host that is cut off does not even accept
// the connection; a message that is lost on it leaves the outcome unknown.
func (c *call) send() {
	n, l := &c.w.net, c.there
	c.next = n.calls
	if n.calls != nil {
		n.calls.prev = c
	}
	n.calls = c
	if l.cut || !c.to.up {
		c.fail(c.sent+int64(n.model.ConnectTimeout), fmt.Errorf("host %s does not answer: %w", c.to.name, pbx.ErrUnreachable))
		return
	}
	at, ok := l.send(c.w.clock)
	if !ok {
		c.fail(c.sent+int64(n.model.LostAfter), pbx.ErrOutcomeUnknown)
		return
	}
	c.stage = arriving
	c.w.arm(&c.timer, at, normal)
}

func (c *call) fire() {
	switch c.stage {
	case arriving:
		c.arrive()
	case returning:
		c.finish(c.rep, c.err)
	}
}

func (c *call) arrive() {
	n, back := &c.w.net, c.back
	s := c.to.services[c.service]
	switch {
	case !c.to.up || back.cut:
		c.fail(c.sent+int64(n.model.LostAfter), pbx.ErrOutcomeUnknown)
	case s == nil:
		c.fail(c.w.clock+int64(back.Latency+back.delay), fmt.Errorf("%s/%s: %w: %w", c.to.name, c.service, errRefused, pbx.ErrUnreachable))
	default:
		c.stage, c.mux = handling, s.mux
		c.holders++
		s.proc.start(s.ctx, c.req.Method, nil, c)
	}
}

// handle runs in the callee's task.
func (c *call) handle(ctx context.Context) {
	rep := c.mux.Serve(ctx, c.caller.proc.id, c.req)
	c.reply(rep)
	rep.Sent()
}

func (c *call) reply(rep *pbx.Reply) {
	wired, err := c.w.wireReply(rep)
	if err != nil {
		wired = &pbx.Reply{Stamp: rep.Stamp, Code: status.SystemError, Detail: err.Error()}
	}
	if c.stage != handling {
		return // the caller has given up
	}
	at, ok := c.back.send(c.w.clock)
	if p := c.caller.proc; p.loseReplies > 0 {
		p.loseReplies--
		ok = false
	}
	if !ok {
		c.fail(c.w.clock+int64(c.w.net.model.LostAfter), pbx.ErrOutcomeUnknown)
		return
	}
	c.rep, c.stage = wired, returning
	c.w.arm(&c.timer, at, normal)
}

// unanswered is told when the handler's task has ended: without a reply if its
// process died. The peer's kernel says so, unless it is gone as well.
func (c *call) unanswered() {
	if c.stage != handling {
		return
	}
	l := c.back
	d := l.Latency + l.delay
	if !c.to.up || l.cut {
		d = c.w.net.model.LostAfter
	}
	c.fail(c.w.clock+int64(d), pbx.ErrOutcomeUnknown)
}

// fail has the caller learn at a time that the call failed.
func (c *call) fail(at int64, err error) {
	c.w.disarm(&c.timer)
	c.err, c.stage = err, returning
	c.w.arm(&c.timer, at, normal)
}

func (c *call) lostNow() {
	if c.stage != over && c.err == nil {
		c.fail(c.w.clock, pbx.ErrOutcomeUnknown)
	}
}

func (c *call) finish(rep *pbx.Reply, err error) {
	if c.stage == over {
		return
	}
	c.w.disarm(&c.timer)
	c.rep, c.err, c.stage = rep, err, over
	if c.prev != nil {
		c.prev.next = c.next
	} else {
		c.w.net.calls = c.next
	}
	if c.next != nil {
		c.next.prev = c.prev
	}
	c.caller.Unpark()
}

// wireRequest is a request as the other side gets it: as it is, or encoded.
func (w *World) wireRequest(q *pbx.Request) (*pbx.Request, error) {
	if !w.opts.Codec {
		return q, nil
	}
	head, err := pbx.Encode(q.Head)
	if err != nil {
		return nil, err
	}
	got := &pbx.Request{Method: q.Method}
	if err := pbx.Decode(head, &got.Head); err != nil {
		return nil, err
	}
	body, err := pbx.Encode(q.Body)
	got.Body = pbx.Wire(body)
	return got, err
}

// wireReply is a reply as the other side gets it.
func (w *World) wireReply(p *pbx.Reply) (*pbx.Reply, error) {
	if !w.opts.Codec || p.Code != status.OK {
		return p, nil
	}
	body, err := pbx.Encode(p.Body)
	return &pbx.Reply{Stamp: p.Stamp, Body: pbx.Wire(body)}, err
}
