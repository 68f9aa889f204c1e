package pbx

import (
	"context"
	"errors"
	"fmt"
	"time"

	"capstan/core/rt"
	"capstan/core/status"
	"capstan/core/trace"
)

// ErrUnreachable says that a request was not delivered.
var ErrUnreachable = errors.New("peer is unreachable")

// ErrUnknownHost says that a request was not delivered because nobody knows the
// host's address. It comes with [ErrUnreachable].
var ErrUnknownHost = errors.New("host is not known")

// ErrOutcomeUnknown says that a request was sent and no reply came.
var ErrOutcomeUnknown = errors.New("no reply: the outcome is unknown")

// Head travels with every request.
type Head struct {
	From  Addr        `json:"from,omitempty"`
	Inc   uint64      `json:"inc,omitempty"` // incarnation of the process that calls
	Seq   uint64      `json:"seq,omitempty"` // number of the request within it
	Job   trace.Job   `json:"job"`
	Epoch uint64      `json:"epoch,omitempty"` // the master's, in which the job was started
	Stamp trace.Stamp `json:"stamp"`
}

// Wire is a body that [Encode] wrote. The body of a message is a Go value on the way
// out; on the way in it is either that value (worlds that do not encode) or Wire.
type Wire []byte

// Request is what a caller sends.
type Request struct {
	Method string
	Head   Head
	Body   any
}

// Reply is what it gets.
type Reply struct {
	Stamp  trace.Stamp
	Body   any
	Code   status.Code
	Detail string // if it failed

	after *afterReply
}

// afterReply is what a handler asked for with [AfterReply]: it is run once, by the
// reply that goes out first. A reply that is lost is followed by a repetition.
type afterReply struct {
	lock rt.Lock
	fn   func() // nil once it has run
}

// Sent runs what a handler asked for with [AfterReply]. A transport calls it
// once the reply is on its way.
func (p *Reply) Sent() {
	if p.after == nil {
		return
	}
	p.after.lock.Lock()
	fn := p.after.fn
	p.after.fn = nil
	p.after.lock.Unlock()
	if fn != nil {
		fn()
	}
}

// Transport carries messages in one world, for one process.
type Transport interface {
	// Self is the address of the process.
	Self() Addr
	// Identity is who the process is for its peers.
	Identity() Identity
	// Call sends q and returns the reply. Errors are [ErrUnreachable] and
	// [ErrOutcomeUnknown], wrapped, or ctx's cause.
	Call(ctx context.Context, to Addr, q *Request) (*Reply, error)
	// Serve answers calls to a service of this process's host until stop.
	Serve(ctx context.Context, service string, mux *Mux) (stop func(), err error)
}

// caller is what a process needs to make calls, and a context that has it.
type caller struct {
	context.Context
	t     Transport
	inc   uint64
	epoch uint64
	lock  rt.Lock
	seq   uint64
}

type callerKey struct{}

func (c *caller) Value(key any) any {
	if _, ok := key.(callerKey); ok {
		return c
	}
	return c.Context.Value(key)
}

// With returns a context whose calls go through t. The incarnation tells this
// process from an earlier one at the same address; epoch is the master's, or 0.
func With(ctx context.Context, t Transport, inc, epoch uint64) context.Context {
	return &caller{Context: ctx, t: t, inc: inc, epoch: epoch, lock: rt.NewLock(ctx)}
}

// From is the transport of ctx.
func From(ctx context.Context) Transport { return callerOf(ctx).t }

func callerOf(ctx context.Context) *caller {
	c, _ := ctx.Value(callerKey{}).(*caller)
	if c == nil {
		panic("pbx: the context carries no transport")
	}
	return c
}

// Method is one thing that a service does for others.
type Method[Q, P any] struct {
	name    string
	allow   Kinds
	backup  string // the step that a call is in a backup
	restore string // and in a restore
	query   bool
}

// Option says more of a method.
type Option func(*options)

type options struct {
	backup, restore string
	query           bool
}

// Step says which step of the flow a call of the method is, in a backup and in a
// restore; "" for none.
func Step(backup, restore string) Option {
	return func(o *options) { o.backup, o.restore = backup, restore }
}

// Query says that the method changes nothing: a repetition may do it again, and
// its replies need not be remembered.
func Query() Option { return func(o *options) { o.query = true } }

// Declare declares a method: the service's name, the method's name, who may call it.
func Declare[Q, P any](service, name string, allow Kinds, opts ...Option) *Method[Q, P] {
	if allow == 0 {
		panic("pbx: method " + service + "." + name + " declares nobody who may call it")
	}
	var o options
	for _, opt := range opts {
		opt(&o)
	}
	return &Method[Q, P]{name: service + "." + name, allow: allow, backup: o.backup, restore: o.restore, query: o.query}
}

// Name is "service.Method".
func (m *Method[Q, P]) Name() string { return m.name }

func (m *Method[Q, P]) step(j trace.Job) string {
	switch {
	case j.ID == 0:
		return ""
	case j.Restore:
		return m.restore
	default:
		return m.backup
	}
}

// retryDelays are the waits before a request whose outcome is unknown is repeated.
var retryDelays = [...]time.Duration{100 * time.Millisecond, 400 * time.Millisecond, 1600 * time.Millisecond}

// deliver sends a request, and repeats it as long as its outcome is unknown. A
// repetition that cannot be delivered leaves the first one's outcome unknown.
func (c *caller) deliver(ctx context.Context, to Addr, req *Request) (*Reply, error) {
	rep, err := c.t.Call(ctx, to, req)
	if !errors.Is(err, ErrOutcomeUnknown) {
		return rep, err
	}
	for _, d := range retryDelays {
		if serr := rt.Sleep(ctx, d); serr != nil {
			return nil, serr
		}
		rep, err = c.t.Call(ctx, to, req)
		if !errors.Is(err, ErrOutcomeUnknown) && !errors.Is(err, ErrUnreachable) {
			return rep, err
		}
	}
	if errors.Is(err, ErrUnreachable) {
		err = fmt.Errorf("%w: its repetition: %v", ErrOutcomeUnknown, err) //nolint:errorlint // it is not unreachable for the caller
	}
	return nil, err
}

// Call asks the service at an address. An error that the callee returned is a
// *status.Error with its code; one of the way there wraps [ErrUnreachable] or
// [ErrOutcomeUnknown] and carries status 25 or 40.
func (m *Method[Q, P]) Call(ctx context.Context, to Addr, q Q) (P, error) {
	rt.MayBlock(ctx)
	var none P
	c := callerOf(ctx)
	c.lock.Lock()
	c.seq++
	seq := c.seq
	c.lock.Unlock()
	tr := trace.From(ctx)
	begin := tr.Stamp(ctx)
	job := trace.JobOf(ctx)
	req := &Request{
		Method: m.name, Body: q,
		Head: Head{From: c.t.Self(), Inc: c.inc, Seq: seq, Job: job, Epoch: c.epoch, Stamp: begin},
	}
	rep, err := c.deliver(ctx, to, req)
	if err != nil && ctx.Err() != nil {
		return none, rt.Cause(ctx)
	}
	if err != nil {
		code := status.NetworkBroken
		if errors.Is(err, ErrUnreachable) {
			code = status.SocketOpen
		}
		return none, &status.Error{Code: code, Err: fmt.Errorf("%s at %s: %w", m.name, to, err)}
	}
	tr.Witness(rep.Stamp)
	if step := m.step(job); step != "" {
		tr.Emit(ctx, trace.Event{
			Begin: begin, End: rep.Stamp, Step: step, What: m.name, To: string(to), Status: int(rep.Code),
		})
	}
	if rep.Code != status.OK {
		return none, &status.Error{Code: rep.Code, Err: errors.New(rep.Detail)}
	}
	wire, encoded := rep.Body.(Wire)
	if !encoded {
		p, _ := rep.Body.(P)
		return p, nil
	}
	var p P
	if err := Decode(wire, &p); err != nil {
		return none, status.Errorf(status.NetworkRead, "reply of %s at %s: %w", m.name, to, err)
	}
	return p, nil
}
