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

	"capstan/core/trace"
)

// recorder takes the trace of the whole world, in the order of its events.
type recorder struct {
	out    io.Writer
	keep   bool
	hash   hash.Hash // nil: none is wanted
	events []trace.Event
	count  int64
	err    error
}

var _ trace.Sink = (*recorder)(nil)

func (r *recorder) init(o Options) {
	r.out, r.keep = o.Trace, !o.NoEvents
	if !o.NoHash {
		r.hash = sha256.New()
	}
}

// Emit records e.
func (r *recorder) Emit(_ context.Context, e trace.Event) {
	r.count++
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
		return slog.New(slog.DiscardHandler)
	}
	h := slog.NewJSONHandler(p.w.opts.Log, &slog.HandlerOptions{Level: p.w.opts.LogLevel})
	return slog.New(hostTime{h, p.host}).With("host", p.host.name, "proc", string(p.addr))
}

// hostTime stamps records with a host's clock.
type hostTime struct {
	slog.Handler
	host *Host
}

func (h hostTime) Handle(ctx context.Context, r slog.Record) error {
	r.Time = h.host.Now().Std()
	return h.Handler.Handle(ctx, r)
}

func (h hostTime) WithAttrs(as []slog.Attr) slog.Handler {
	return hostTime{h.Handler.WithAttrs(as), h.host}
}

func (h hostTime) WithGroup(name string) slog.Handler {
	return hostTime{h.Handler.WithGroup(name), h.host}
}
