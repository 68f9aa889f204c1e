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

	lock  rt.Lock
	seen  map[requestNumber]*remembered
	order []requestNumber // oldest first
}

type handler struct {
	allow  Kinds
	query  bool
	decode func([]byte) (any, error)
	handle func(ctx context.Context, from Peer, q any) (any, error)
}

// requestNumber tells a request from others of its caller, and mostly from those
// of all callers.
type requestNumber struct{ inc, seq uint64 }

// remembered is a request under way or answered. The identity is part of what it
// is known by: nobody can spoil, or be given, the reply to another's request by
// using its address.
type remembered struct {
	who   Identity
	from  Addr
	reply *Message    // nil while it is under way
	done  *rt.Event   // for repetitions that came meanwhile; nil if none did
	next  *remembered // of another caller, with the same number
}

// rememberedReplies is how many replies a service keeps for repetitions. A
// caller repeats within seconds; a service answers some thousands in that time.
const rememberedReplies = 4096

// NewMux makes an empty set of methods for a role. A call that carries another
// epoch than the one given is refused; 0 refuses none.
func NewMux(ctx context.Context, role string, epoch uint64) *Mux {
	return &Mux{
		role: role, epoch: epoch, methods: map[string]handler{},
		lock: rt.NewLock(ctx), seen: map[requestNumber]*remembered{},
	}
}

// Handle has fn answer a method. It may be called only before the service is served.
func Handle[Q, P any](mux *Mux, m *Method[Q, P], fn func(ctx context.Context, from Peer, q Q) (P, error)) {
	if _, dup := mux.methods[m.name]; dup {
		panic("pbx: " + m.name + " is handled twice")
	}
	mux.methods[m.name] = handler{
		allow: m.allow,
		query: m.query,
		decode: func(b []byte) (any, error) {
			var q Q
			err := Decode(b, &q)
			return q, err
		},
		handle: func(ctx context.Context, from Peer, q any) (any, error) {
			typed, ok := q.(Q)
			if !ok {
				return nil, fmt.Errorf("%s: request is a %T", m.name, q)
			}
			return fn(ctx, from, typed)
		},
	}
}

// handling is the context of a handler, with what it asked for with [AfterReply];
// nil is nothing. The reply, which is remembered, keeps only that.
type handling struct {
	context.Context
	lock  rt.Lock
	after *afterReply
}

type afterKey struct{}

func (h *handling) Value(key any) any {
	if key == (afterKey{}) {
		return h
	}
	return h.Context.Value(key)
}

// AfterReply has fn run when the handler's reply is on its way and its step has
// ended: for what a request sets going, which must not begin before.
func AfterReply(ctx context.Context, fn func()) {
	h, _ := ctx.Value(afterKey{}).(*handling)
	if h == nil {
		panic("pbx: AfterReply outside a handler")
	}
	h.lock.Lock()
	if h.after == nil {
		h.after = &afterReply{lock: h.lock}
	}
	h.after.fns = append(h.after.fns, fn)
	h.lock.Unlock()
}

// Changes tells whether a call of the method may change anything. A transport may
// end a handler that changes nothing once its caller is gone.
func (x *Mux) Changes(method string) bool { return !x.methods[method].query }

// Serve answers one request from a peer whose identity the transport has
// proven. The transport sends the reply, then calls its Sent.
func (x *Mux) Serve(ctx context.Context, from Identity, req *Message) *Message {
	tr := trace.From(ctx)
	tr.Witness(req.Head.Stamp)
	if x.methods[req.Method].query {
		rep := x.answer(ctx, from, req)
		rep.Method, rep.Head.Stamp = req.Method, tr.Stamp(ctx)
		return rep
	}
	r, again := x.request(from, &req.Head)
	if again {
		return x.repeat(ctx, r)
	}
	rep := x.answer(ctx, from, req)
	rep.Method = req.Method
	rep.Head.Stamp = tr.Stamp(ctx)
	x.lock.Lock()
	r.reply = rep
	done := r.done
	x.lock.Unlock()
	if done != nil {
		done.Set()
	}
	return rep
}

// request finds what is remembered of a request; again is false if it is new.
func (x *Mux) request(from Identity, h *Head) (r *remembered, again bool) {
	n := requestNumber{h.Inc, h.Seq}
	x.lock.Lock()
	defer x.lock.Unlock()
	for r = x.seen[n]; r != nil; r = r.next {
		if r.who == from && r.from == h.From {
			return r, true
		}
	}
	r = &remembered{who: from, from: h.From}
	x.remember(n, r)
	return r, false
}

// repeat is the reply that a request had, or will have.
func (x *Mux) repeat(ctx context.Context, r *remembered) *Message {
	x.lock.Lock()
	if r.reply == nil && r.done == nil {
		r.done = rt.NewEvent(ctx)
	}
	reply, done := r.reply, r.done
	x.lock.Unlock()
	if reply == nil {
		if err := done.Wait(ctx); err != nil {
			return x.failed(ctx, err)
		}
		x.lock.Lock()
		reply = r.reply
		x.lock.Unlock()
	}
	rep := *reply
	return &rep
}

// answered tells whether r and those of the same number are.
func (r *remembered) answered() bool {
	for ; r != nil; r = r.next {
		if r.reply == nil {
			return false
		}
	}
	return true
}

func (x *Mux) remember(n requestNumber, r *remembered) {
	if len(x.order) >= rememberedReplies {
		kept := x.order[:0]
		for i, k := range x.order {
			if i < len(x.order)/2 && x.seen[k].answered() {
				delete(x.seen, k)
			} else {
				kept = append(kept, k)
			}
		}
		x.order = kept
	}
	r.next = x.seen[n]
	x.seen[n] = r
	x.order = append(x.order, n)
}

func (x *Mux) answer(ctx context.Context, from Identity, req *Message) *Message {
	h, ok := x.methods[req.Method]
	if !ok {
		return x.failed(ctx, status.Errorf(status.BadParameter, "%s answers no method %q", x.role, req.Method))
	}
	if !from.Is(h.allow) {
		return x.failed(ctx, status.Errorf(status.NotAllowed, "%s may be called by %s, not by %s", req.Method, h.allow, from))
	}
	if from.Kinds&Hosts != 0 && req.Head.From.Host() != from.Name {
		return x.failed(ctx, status.Errorf(status.NotAllowed, "%s says it is %s", from, req.Head.From))
	}
	if x.epoch != 0 && req.Head.Epoch != 0 && req.Head.Epoch != x.epoch {
		return x.failed(ctx, status.Errorf(status.ServerBusy, "%s of job %d comes from before the master's restart (epoch %d, now %d)",
			req.Method, req.Head.Job.ID, req.Head.Epoch, x.epoch))
	}
	q := req.Body
	if req.Wire != nil {
		var err error
		if q, err = h.decode(req.Wire); err != nil {
			return x.failed(ctx, status.Errorf(status.BadParameter, "%s from %s: %w", req.Method, from, err))
		}
	}
	in := &handling{Context: trace.As(ctx, req.Head.Job, x.role), lock: x.lock}
	body, err := h.handle(in, Peer{Identity: from, Addr: req.Head.From}, q)
	rep := &Message{Body: body}
	if err != nil {
		rep = x.failed(ctx, err)
	}
	x.lock.Lock()
	rep.after = in.after
	x.lock.Unlock()
	return rep
}

func (x *Mux) failed(_ context.Context, err error) *Message {
	return &Message{Code: status.Of(err, status.SystemError), Detail: status.Detail(err)}
}
