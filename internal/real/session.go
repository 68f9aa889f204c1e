package real

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"capstan/core/bpjobd"
	"capstan/core/pbx"
	"capstan/core/rt"
	"capstan/core/trace"
	"capstan/hw/clock"
	"capstan/hw/pki"
	"capstan/hw/port"
)

// Session is a person's command at work: it makes calls and serves nothing.
type Session struct {
	ctx    context.Context
	cancel func(error)
	master string
	host   string
	port   *port.Port
	events *gathered
}

// UserDir is where a person's own key and certificates are.
func UserDir() (string, error) {
	dir, err := os.UserConfigDir()
	if err != nil {
		return "", fmt.Errorf("the directory of your own certificate: %w", err)
	}
	return filepath.Join(dir, "capstan"), nil
}

// Open begins a session for a command with the master of the host whose
// configuration is at path: as that host if its key can be read, else as the
// user. It ends with parent, or by Close.
func Open(parent context.Context, path, command string) (*Session, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("the host's configuration: %w", err)
	}
	h, err := parse(path, text)
	if err != nil {
		return nil, err
	}
	if err := h.identifyCaller(); err != nil {
		return nil, err
	}
	self := pbx.At(h.Creds.Identity.Name, fmt.Sprintf("%s/%d", command, os.Getpid()))
	p, err := h.open(self, "", slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, err
	}
	s := &Session{master: h.Master(), host: h.Config.Name, port: p, events: &gathered{}}
	ctx, cancel := rt.WithCancel(clock.Context(parent, command))
	ctx = pbx.With(ctx, p, incarnation(), 0)
	s.ctx, s.cancel = trace.With(ctx, trace.New(ctx, h.Creds.Identity.Name, string(self), s.events)), cancel
	return s, nil
}

// identifyCaller reads the host's credentials, or the user's own.
func (h *Host) identifyCaller() error {
	err := h.identify()
	if err == nil || !errors.Is(err, fs.ErrPermission) && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	dir, derr := UserDir()
	if derr != nil {
		return errors.Join(err, derr)
	}
	if h.Creds, derr = pki.Load(dir); derr != nil {
		return fmt.Errorf("the host's key cannot be read (%w), and you have none of your own: enroll with a token of kind user (%w)", err, derr)
	}
	return nil
}

// Context is what calls are made under.
func (s *Session) Context() context.Context { return s.ctx }

// Master is the name of the domain's master.
func (s *Session) Master() string { return s.master }

// Host is the name of the host whose configuration it is.
func (s *Session) Host() string { return s.host }

// closeTime is how long the end of a command waits for the master to take its trace.
const closeTime = 5 * time.Second

// Close sends what was traced and ends the session.
func (s *Session) Close() {
	s.Flush()
	s.cancel(nil)
	_ = s.port.Close() // nothing was served
}

// Flush sends what was traced.
func (s *Session) Flush() {
	ctx, cancel := rt.WithTimeout(rt.WithoutCancel(s.ctx), closeTime)
	defer cancel()
	if events := s.events.take(); len(events) > 0 {
		_, err := bpjobd.AddTrace.Call(ctx, pbx.At(s.master, bpjobd.Service), events)
		_ = err // the command has done its work; its own step is missing in the job's trace
	}
}

// gathered keeps the events of jobs.
type gathered struct {
	mu     sync.Mutex
	events []trace.Event
}

// Emit takes an event; see [trace.Sink].
func (g *gathered) Emit(_ context.Context, e trace.Event) {
	if e.Job.ID == 0 {
		return
	}
	g.mu.Lock()
	g.events = append(g.events, e)
	g.mu.Unlock()
}

func (g *gathered) take() []trace.Event {
	g.mu.Lock()
	defer g.mu.Unlock()
	events := g.events
	g.events = nil
	return events
}

// Task makes the calling goroutine a task of the session: its calls are the command's,
// and its context does not end by itself.
func (s *Session) Task(name string) context.Context {
	return clock.Context(rt.WithoutCancel(s.ctx), name)
}
