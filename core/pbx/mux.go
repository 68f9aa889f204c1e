package pbx

import (
	"context"
	"fmt"

	"capstan/core/rt"
	"capstan/core/status"
	"capstan/core/trace"
)

// Mux holds the methods that a service answers.
type Mux struct {
	role    string
	epoch   uint64
	methods map[string]handler

	lock   rt.Lock
	memory memory
}

// handler answers one method.
type handler interface {
	allows() Kinds
	queries() bool
	decode(wire []byte) (any, error)
	handle(ctx context.Context, from Peer, q any) (any, error)
}

// answering is a handler of a method by a function.
type answering[Q, P any] struct {
	*Method[Q, P]
	fn func(ctx context.Context, from Peer, q Q) (P, error)
}

func (a *answering[Q, P]) allows() Kinds { return a.allow }
func (a *answering[Q, P]) queries() bool { return a.query }

func (a *answering[Q, P]) decode(wire []byte) (any, error) {
	var q Q
	err := Decode(wire, &q)
	return q, err
}

func (a *answering[Q, P]) handle(ctx context.Context, from Peer, q any) (any, error) {
	typed, ok := q.(Q)
	if !ok {
		return nil, fmt.Errorf("%s: request is a %T", a.name, q)
	}
	return a.fn(ctx, from, typed)
}

// NewMux makes an empty set of methods for a role. A call that carries another
// epoch than the one given is refused; 0 refuses none.
func NewMux(ctx context.Context, role string, epoch uint64) *Mux {
	return &Mux{
		role: role, epoch: epoch, methods: map[string]handler{},
		lock: rt.NewLock(ctx), memory: memory{highest: map[uint64]*remembered{}},
	}
}

// Handle has fn answer a method. It may be called only before the service is served.
func Handle[Q, P any](mux *Mux, m *Method[Q, P], fn func(ctx context.Context, from Peer, q Q) (P, error)) {
	if _, dup := mux.methods[m.name]; dup {
		panic("pbx: " + m.name + " is handled twice")
	}
	mux.methods[m.name] = &answering[Q, P]{m, fn}
}

// handling is the context of a handler, with what it asked for with [AfterReply];
// nil is nothing. The reply, which is remembered, keeps only that.
type handling struct {
	trace.Acting
	lock  rt.Lock
	after *afterReply
}

type afterKey struct{}

func (h *handling) Value(key any) any {
	if _, ok := key.(afterKey); ok {
		return h
	}
	return h.Acting.Value(key)
}

// AfterReply has fn run when the handler's reply is on its way and its step has
// ended: for what a request sets going, which must not begin before.
func AfterReply(ctx context.Context, fn func()) {
	h, _ := ctx.Value(afterKey{}).(*handling)
	if h == nil {
		panic("pbx: AfterReply outside a handler")
	}
	h.lock.Lock()
	defer h.lock.Unlock()
	if h.after == nil {
		h.after = &afterReply{h.lock, fn}
		return
	}
	first := h.after.fn
	if first == nil {
		panic("pbx: AfterReply after the reply")
	}
	h.after.fn = func() { first(); fn() }
}

// Changes tells whether a call of the method may change anything. A transport may
// end a handler that changes nothing once its caller is gone.
func (x *Mux) Changes(method string) bool {
	h := x.methods[method]
	return h == nil || !h.queries()
}

// Serve answers one request from a peer whose identity the transport has
// proven. The transport sends the reply, then calls its Sent.
func (x *Mux) Serve(ctx context.Context, from Identity, req *Request) *Reply {
	tr := trace.From(ctx)
	tr.Witness(req.Head.Stamp)
	h := x.methods[req.Method]
	if h == nil || h.queries() {
		rep := &Reply{}
		x.answer(ctx, from, h, req, rep)
		rep.Stamp = tr.Stamp(ctx)
		return rep
	}
	now := rt.Mono(ctx)
	x.lock.Lock()
	r, again := x.memory.find(from, &req.Head, now)
	x.lock.Unlock()
	if again {
		return x.repeat(ctx, r)
	}
	x.answer(ctx, from, h, req, &r.reply)
	r.reply.Stamp = tr.Stamp(ctx)
	now = rt.Mono(ctx)
	x.lock.Lock()
	r.ended, r.at = true, now
	done := r.done
	x.lock.Unlock()
	if done != nil {
		done.Set()
	}
	return &r.reply
}

// answer makes the reply to a request.
func (x *Mux) answer(ctx context.Context, from Identity, h handler, req *Request, rep *Reply) {
	q, err := x.accept(from, h, req)
	if err != nil {
		rep.fail(err)
		return
	}
	in := &handling{Acting: trace.Acting{Context: ctx, Job: req.Head.Job, Role: x.role}, lock: x.lock}
	body, err := h.handle(in, Peer{Identity: from, Addr: req.Head.From}, q)
	if err != nil {
		rep.fail(err)
	} else {
		rep.Body = body
	}
	x.lock.Lock()
	rep.after = in.after
	x.lock.Unlock()
}

// accept refuses a request that may not be made, and gives what it asks.
func (x *Mux) accept(from Identity, h handler, req *Request) (any, error) {
	switch {
	case h == nil:
		return nil, status.Errorf(status.BadParameter, "%s answers no method %q", x.role, req.Method)
	case !from.Is(h.allows()):
		return nil, status.Errorf(status.NotAllowed, "%s may be called by %s, not by %s", req.Method, h.allows(), from)
	case from.Kinds&Hosts != 0 && req.Head.From.Host() != from.Name:
		return nil, status.Errorf(status.NotAllowed, "%s says it is %s", from, req.Head.From)
	case x.epoch != 0 && req.Head.Epoch != 0 && req.Head.Epoch != x.epoch:
		return nil, status.Errorf(status.ServerBusy, "%s of job %d comes from before the master's restart (epoch %d, now %d)",
			req.Method, req.Head.Job.ID, req.Head.Epoch, x.epoch)
	}
	wire, encoded := req.Body.(Wire)
	if !encoded {
		return req.Body, nil
	}
	q, err := h.decode(wire)
	if err != nil {
		return nil, status.Errorf(status.BadParameter, "%s from %s: %w", req.Method, from, err)
	}
	return q, nil
}

func (p *Reply) fail(err error) {
	p.Code, p.Detail = status.Of(err, status.SystemError), status.Detail(err)
}
