// Package trace is the one record of what the system did: every step of the
// flow, every resource decision and every device operation is an [Event] with
// job, role, host, process and time. Conformance tests check it, job details
// show it, scenarios assert on it.
package trace

import (
	"context"
	"fmt"

	"capstan/core/rt"
)

// Stamp orders events of several hosts: a hybrid logical clock (Kulkarni et
// al., 2014). Wall is the greatest wall clock seen by the process that made it,
// Seq counts events at the same Wall. A stamp travels on every call and reply,
// so that what causes an event is always stamped lower than the event.
type Stamp struct {
	Wall rt.Time `json:"wall" cbor:"w"`
	Seq  uint32  `json:"seq" cbor:"s,omitempty"`
}

// Compare orders stamps: negative if s is before t.
func (s Stamp) Compare(t Stamp) int {
	switch {
	case s.Wall != t.Wall:
		if s.Wall < t.Wall {
			return -1
		}
		return 1
	case s.Seq < t.Seq:
		return -1
	case s.Seq > t.Seq:
		return 1
	}
	return 0
}

func (s Stamp) String() string { return fmt.Sprintf("%v+%d", s.Wall, s.Seq) }

// Job names the job on whose behalf something happens. The zero Job is none. Restore
// says that it takes the steps of a restore: it reads media that are asked for by
// name. An import does, too.
type Job struct {
	ID      int64 `json:"id" cbor:"i"`
	Try     int   `json:"try" cbor:"t"`
	Restore bool  `json:"restore,omitempty" cbor:"r,omitempty"`
}

// Acting is a context that says for which job, and as which role, something is
// done: one value, as both are asked for at each call. It is for who has a context
// of its own to embed it; others use [As].
type Acting struct {
	context.Context
	Job  Job
	Role string
}

type actingKey struct{}

// Value finds the values of the context.
func (a *Acting) Value(key any) any {
	if _, ok := key.(actingKey); ok {
		return a
	}
	return a.Context.Value(key)
}

func actingIn(ctx context.Context) (Job, string) {
	if a, _ := ctx.Value(actingKey{}).(*Acting); a != nil {
		return a.Job, a.Role
	}
	return Job{}, ""
}

// WithJob marks everything done under the context as done for j.
func WithJob(ctx context.Context, j Job) context.Context {
	_, role := actingIn(ctx)
	return &Acting{ctx, j, role}
}

// JobOf is the job that ctx works for.
func JobOf(ctx context.Context) Job {
	j, _ := actingIn(ctx)
	return j
}

// WithRole marks everything done under the context as done by a role.
func WithRole(ctx context.Context, role string) context.Context {
	j, was := actingIn(ctx)
	if role == was {
		return ctx
	}
	return &Acting{ctx, j, role}
}

// As is WithJob and WithRole.
func As(ctx context.Context, j Job, role string) context.Context {
	return &Acting{ctx, j, role}
}

// RoleOf is the role that acts in ctx.
func RoleOf(ctx context.Context) string {
	_, role := actingIn(ctx)
	return role
}

// Event is one thing that happened. A step that is a call begins when the
// caller sends it and ends when the callee has done it.
type Event struct {
	Begin  Stamp  `json:"begin" cbor:"b"`
	End    Stamp  `json:"end" cbor:"e"`
	Host   string `json:"host" cbor:"h"`
	Proc   string `json:"proc" cbor:"p"` // address of the process that acted
	Role   string `json:"role" cbor:"r"`
	Job    Job    `json:"job" cbor:"j"`
	Step   string `json:"step,omitempty" cbor:"s,omitempty"` // B1…B17, R1…R17
	What   string `json:"what" cbor:"w"`                     // the method, device operation or decision
	To     string `json:"to,omitempty" cbor:"t,omitempty"`   // address called
	Status int    `json:"status,omitempty" cbor:"c,omitempty"`
	Detail string `json:"detail,omitempty" cbor:"d,omitempty"`
	Drive  string `json:"drive,omitempty" cbor:"D,omitempty"` // what was done with
	Media  string `json:"media,omitempty" cbor:"M,omitempty"` // media id
}

// What is done with a cartridge and a drive, and how long a request has waited, as
// the What of an event: reports are made of them.
const (
	Mounted   = "mount"                // from the request until the cartridge is ready; Drive, Media
	Unmounted = "unmount"              // until the drive is empty; Drive
	Stayed    = "stays in the drive"   // the end of a job's use of a drive that is not emptied; Drive
	There     = "already in the drive" // a mount of what stayed there
	Moved     = "move"                 // the robot's part of a mount or an unmount, its queue included; Drive
	// Waited ends when a request for resources leaves its queue, and lasts as long as it
	// waited there in all for what Detail says: "drive", "media" or "limit".
	Waited = "waited"
	// Paced spans the data of a job whose two ends were watched: Detail says which of
	// them held the other up, "source", "device" or "neither".
	Paced = "paced"
)

// Sink takes the events of a process. Emit does not wait for anything slow.
type Sink interface {
	Emit(ctx context.Context, e Event)
}

// Tracer stamps and records the events of one process.
type Tracer struct {
	host, proc string
	sink       Sink
	lock       rt.Lock
	last       Stamp
}

// New makes the tracer of one process. The context's task gives the clock's world.
func New(ctx context.Context, host, proc string, sink Sink) *Tracer {
	return &Tracer{host: host, proc: proc, sink: sink, lock: rt.NewLock(ctx)}
}

// traced is a context with a tracer. It is asked for that at each call.
type traced struct {
	context.Context
	tracer *Tracer
}

type tracerKey struct{}

func (c *traced) Value(key any) any {
	if _, ok := key.(tracerKey); ok {
		return c.tracer
	}
	return c.Context.Value(key)
}

// With returns a context whose events go to t.
func With(ctx context.Context, t *Tracer) context.Context { return &traced{ctx, t} }

// From is the context's tracer; nil, which records nothing, if it has none.
func From(ctx context.Context) *Tracer {
	t, _ := ctx.Value(tracerKey{}).(*Tracer)
	return t
}

// Stamp makes the next stamp of the process.
func (t *Tracer) Stamp(ctx context.Context) Stamp {
	if t == nil {
		return Stamp{}
	}
	now := rt.Now(ctx)
	t.lock.Lock()
	defer t.lock.Unlock()
	if now > t.last.Wall {
		t.last = Stamp{Wall: now}
	} else {
		t.last.Seq++
	}
	return t.last
}

// Witness takes note of a stamp that came from elsewhere.
func (t *Tracer) Witness(s Stamp) {
	if t == nil {
		return
	}
	t.lock.Lock()
	if s.Compare(t.last) > 0 {
		t.last = s
	}
	t.lock.Unlock()
}

// Emit records e, filling in host and process, and job and role from the context.
func (t *Tracer) Emit(ctx context.Context, e Event) {
	if t == nil || t.sink == nil {
		return
	}
	e.Host, e.Proc = t.host, t.proc
	job, role := actingIn(ctx)
	if e.Job == (Job{}) {
		e.Job = job
	}
	if e.Role == "" {
		e.Role = role
	}
	t.sink.Emit(ctx, e)
}

// Begin starts an event that is not a call. The function it returns ends it,
// with the detail and error of the end.
func Begin(ctx context.Context, step, what string) func(detail string, status int) {
	t := From(ctx)
	if t == nil {
		return func(string, int) {}
	}
	begin := t.Stamp(ctx)
	return func(detail string, status int) {
		t.Emit(ctx, Event{Begin: begin, End: t.Stamp(ctx), Step: step, What: what, Detail: detail, Status: status})
	}
}

// Note records an event without duration.
func Note(ctx context.Context, step, what, detail string) {
	if t := From(ctx); t != nil {
		s := t.Stamp(ctx)
		t.Emit(ctx, Event{Begin: s, End: s, Step: step, What: what, Detail: detail})
	}
}
