package sim

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"io"
	"log/slog"

	"capstan/core/rt"
	"capstan/core/trace"
)

// recorder takes the trace of the whole world, in the order of its events.
type recorder struct {
	out    io.Writer
	watch  func(e *trace.Event)
	keep   bool
	hash   hash.Hash // nil: none is wanted
	events []trace.Event
	count  int64
	err    error
}

var _ trace.Sink = (*recorder)(nil)

func (r *recorder) init(o Options) {
	r.out, r.keep, r.watch = o.Trace, !o.NoEvents, o.Watch.Event
	if !o.NoHash {
		r.hash = sha256.New()
	}
}

// Emit records e, if anybody wants it: what record is given goes to the heap.
func (r *recorder) Emit(ctx context.Context, e trace.Event) {
	rt.Current(ctx).Check()
	r.count++
	if r.watch != nil || r.keep || r.out != nil || r.hash != nil {
		r.record(e)
	}
}

func (r *recorder) record(e trace.Event) {
	if r.watch != nil {
		r.watch(&e)
	}
	if r.keep {
		r.events = append(r.events, e)
	}
	if r.out == nil && r.hash == nil {
		return
	}
	line, err := json.Marshal(e)
	if err != nil {
		panic(fmt.Sprintf("sim: an event cannot be written: %v", err))
	}
	line = append(line, '\n')
	if r.hash != nil {
		r.hash.Write(line)
	}
	if r.out != nil && r.err == nil {
		_, r.err = r.out.Write(line)
	}
}

// Events is the trace so far, unless Options.NoEvents.
func (w *World) Events() []trace.Event { return w.record.events }

// EventCount is the number of events in the trace so far.
func (w *World) EventCount() int64 { return w.record.count }

// TraceHash is the SHA-256 of the trace so far, one line of JSON an event; ""
// with Options.NoHash.
func (w *World) TraceHash() string {
	if w.record.hash == nil {
		return ""
	}
	return hex.EncodeToString(w.record.hash.Sum(nil))
}

// TraceError is the first error of writing to Options.Trace.
func (w *World) TraceError() error { return w.record.err }

// logger makes the process's log, whose times are those of its host.
func (p *Process) logger() *slog.Logger {
	if p.w.opts.Log == nil {
		return p.w.silent
	}
	h := slog.NewJSONHandler(p.w.opts.Log, &slog.HandlerOptions{Level: p.w.opts.LogLevel})
	return slog.New(procLog{h, p}).With("host", p.host.name, "proc", string(p.addr))
}

// procLog stamps records with the clock of a process's host. The dead say nothing.
type procLog struct {
	slog.Handler
	proc *Process
}

func (l procLog) Handle(ctx context.Context, r slog.Record) error {
	if l.proc.dead {
		return nil
	}
	r.Time = l.proc.host.Now().Std()
	return l.Handler.Handle(ctx, r)
}

func (l procLog) WithAttrs(as []slog.Attr) slog.Handler {
	return procLog{l.Handler.WithAttrs(as), l.proc}
}

func (l procLog) WithGroup(name string) slog.Handler {
	return procLog{l.Handler.WithGroup(name), l.proc}
}
