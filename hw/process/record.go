package process

import (
	"context"
	"log/slog"
	"strings"
	"time"
)

// record is a log record on its way to the daemon. Values are text: that is what
// becomes of them there.
type record struct {
	Time  int64       `cbor:"t"` // ns since 1970
	Level int         `cbor:"l"`
	Text  string      `cbor:"m"`
	Attrs [][2]string `cbor:"a,omitempty"` // groups joined by dots
}

// Bounds of a record and of an event's free text: a batch of them stays far
// below maxMessage.
const (
	maxText  = 8 << 10
	maxAttrs = 64
)

func clip(s string) string {
	if len(s) > maxText {
		s = s[:maxText]
	}
	return strings.ToValidUTF8(s, "\ufffd") // CBOR text is UTF-8; a file name may not be
}

// size is about what r needs in a message.
func (r *record) size() int {
	n := len(r.Text) + 32
	for _, a := range r.Attrs {
		n += len(a[0]) + len(a[1]) + 8
	}
	return n
}

// slog makes the record that the process logged.
func (r *record) slog() slog.Record {
	out := slog.NewRecord(time.Unix(0, r.Time), slog.Level(r.Level), r.Text, 0)
	for _, a := range r.Attrs {
		out.AddAttrs(slog.String(a[0], a[1]))
	}
	return out
}

// logHandler sends a process's log to its daemon.
type logHandler struct {
	send  func(record)
	level slog.Level // what the daemon wants at least
	attrs [][2]string
	group string // prefix of the names that follow
}

// Handler is the handler of the process's log.
func (c *Control) Handler() slog.Handler { return &logHandler{send: c.log, level: c.level} }

func (h *logHandler) Enabled(_ context.Context, l slog.Level) bool { return l >= h.level }

func (h *logHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	g := *h
	g.attrs = append(make([][2]string, 0, len(h.attrs)+len(attrs)), h.attrs...)
	for _, a := range attrs {
		g.attrs = flatten(g.attrs, h.group, a)
	}
	return &g
}

func (h *logHandler) WithGroup(name string) slog.Handler {
	if name == "" {
		return h
	}
	g := *h
	g.group += name + "."
	return &g
}

func (h *logHandler) Handle(_ context.Context, r slog.Record) error {
	out := record{Time: r.Time.UnixNano(), Level: int(r.Level), Text: clip(r.Message)}
	out.Attrs = append(make([][2]string, 0, len(h.attrs)+r.NumAttrs()), h.attrs...)
	r.Attrs(func(a slog.Attr) bool {
		out.Attrs = flatten(out.Attrs, h.group, a)
		return true
	})
	h.send(out)
	return nil
}

// flatten adds a, with the names of its groups before its own.
func flatten(to [][2]string, prefix string, a slog.Attr) [][2]string {
	v := a.Value.Resolve()
	if v.Kind() == slog.KindGroup {
		if a.Key != "" {
			prefix += a.Key + "."
		}
		for _, b := range v.Group() {
			to = flatten(to, prefix, b)
		}
		return to
	}
	if len(to) >= maxAttrs || a.Equal(slog.Attr{}) {
		return to
	}
	return append(to, [2]string{clip(prefix + a.Key), clip(v.String())})
}
