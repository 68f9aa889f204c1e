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
	seen  map[replyKey]*remembered
	order []replyKey // oldest first
}

type handler struct {
	allow  Kinds
	query  bool
	decode func([]byte) (any, error)
	handle func(ctx context.Context, from Peer, q any) (any, error)
}

// replyKey names a request. The identity is part of it: nobody can spoil, or be
// given, the reply to another's request by using its address.
type replyKey struct {
	who  Identity
	from Addr
	inc  uint64
	seq  uint64
}

// remembered is a request under way or answered.
type remembered struct {
	done  *rt.Event
	reply *Message
}

// rememberedReplies is how many replies a service keeps for repetitions. A
// caller repeats within seconds; a service answers some thousands in that time.
const rememberedReplies = 4096

// NewMux makes an empty set of methods for a role. A call that carries another
// epoch than the one given is refused; 0 refuses none.
func NewMux(ctx context.Context, role string, epoch uint64) *Mux {
	return &Mux{
		role: role, epoch: epoch, methods: map[string]handler{},
		lock: rt.NewLock(ctx), seen: map[replyKey]*remembered{},
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

type afterKey struct{}

// AfterReply has fn run when the handler's reply is on its way and its step has
// ended: for what a request sets going, which must not begin before.
func AfterReply(ctx context.Context, fn func()) {
	rep, _ := ctx.Value(afterKey{}).(*Message)
	if rep == nil {
		panic("pbx: AfterReply outside a handler")
	}
	rep.after.lock.Lock()
	rep.after.fns = append(rep.after.fns, fn)
	rep.after.lock.Unlock()
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
	key := replyKey{from, req.Head.From, req.Head.Inc, req.Head.Seq}
	x.lock.Lock()
	r, again := x.seen[key]
	if !again {
		r = &remembered{done: rt.NewEvent(ctx)}
		x.remember(key, r)
	}
	x.lock.Unlock()
	if again {
		if err := r.done.Wait(ctx); err != nil {
			return x.failed(ctx, err)
		}
		rep := *r.reply
		return &rep
	}
	rep := x.answer(ctx, from, req)
	rep.Method = req.Method
	rep.Head.Stamp = tr.Stamp(ctx)
	r.reply = rep
	r.done.Set()
	return rep
}

func (x *Mux) remember(key replyKey, r *remembered) {
	if len(x.order) >= rememberedReplies {
		kept := x.order[:0]
		for i, k := range x.order {
			if i < len(x.order)/2 && x.seen[k].done.IsSet() {
				delete(x.seen, k)
			} else {
				kept = append(kept, k)
			}
		}
		x.order = kept
	}
	x.seen[key] = r
	x.order = append(x.order, key)
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
	rep := &Message{after: &afterReply{lock: x.lock}}
	ctx = context.WithValue(ctx, afterKey{}, rep)
	ctx = trace.WithRole(trace.WithJob(ctx, req.Head.Job), x.role)
	body, err := h.handle(ctx, Peer{Identity: from, Addr: req.Head.From}, q)
	if err != nil {
		f := x.failed(ctx, err)
		f.after = rep.after
		return f
	}
	rep.Body = body
	return rep
}

func (x *Mux) failed(_ context.Context, err error) *Message {
	return &Message{Code: status.Of(err, status.SystemError), Detail: status.Detail(err)}
}
