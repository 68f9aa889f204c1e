package process

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"capstan/core/host"
	"capstan/core/rt"
)

// Process is a process of the operating system that runs a role.
type Process struct {
	cfg    Config
	spec   host.Spec
	cmd    *exec.Cmd
	link   link
	stderr *stderrLog

	ready chan struct{} // closed when the process said that it is ready
	ended chan struct{} // closed when exit is set
	exit  host.Exit

	terminating sync.Once
}

var _ host.Process = (*Process)(nil)

func newProcess(cfg Config, s host.Spec, conn net.Conn) *Process {
	return &Process{
		cfg: cfg, spec: s, link: link{conn: conn},
		stderr: &stderrLog{log: cfg.Log.With("role", s.Role, "job", s.Job, "try", s.Try, "n", s.N)},
		ready:  make(chan struct{}), ended: make(chan struct{}),
	}
}

// Pid is the number that the kernel gave.
func (p *Process) Pid() int { return p.cmd.Process.Pid }

// Wait waits for the end of the process, or of ctx. It may be called again, and
// by several tasks.
func (p *Process) Wait(ctx context.Context) (host.Exit, error) {
	rt.MayBlock(ctx)
	select {
	case <-p.ended:
		return p.exit, nil
	default:
	}
	select {
	case <-p.ended:
		return p.exit, nil
	case <-ctx.Done():
		return host.Exit{}, rt.Cause(ctx)
	}
}

// Kill ends the process with SIGKILL.
func (p *Process) Kill() { p.signal(unix.SIGKILL) }

// Terminate asks the process to end: by a message that ends its role's context,
// after the grace by SIGTERM, after the same time again by SIGKILL. It does not
// wait.
func (p *Process) Terminate() {
	p.terminating.Do(func() { go p.endInSteps() })
}

func (p *Process) endInSteps() {
	// A process that reads nothing must not hold up the steps that follow.
	if err := p.link.conn.SetWriteDeadline(time.Now().Add(p.cfg.Grace)); err == nil {
		_ = p.link.send(&message{Kind: terminate}) // a process that is gone needs no message
	}
	for _, sig := range []unix.Signal{unix.SIGTERM, unix.SIGKILL} {
		step := time.NewTimer(p.cfg.Grace)
		select {
		case <-p.ended:
			step.Stop()
			return
		case <-step.C:
			p.cfg.Log.Warn("process does not end", "process", p.spec.Service(), "pid", p.Pid(), "sending", unix.SignalName(sig))
			p.signal(sig)
		}
	}
}

// signal reaches this process or none: os.Process holds a pidfd, and knows when
// the process was reaped.
func (p *Process) signal(sig os.Signal) {
	if err := p.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		p.cfg.Log.Error("signalling a process", "process", p.spec.Service(), "pid", p.Pid(), "signal", sig, "error", err)
	}
}

// run serves the process's socket from its first message to its end, and reaps it.
func (p *Process) run(first []byte) {
	if err := p.link.write(first); err != nil {
		p.cfg.Log.Debug("process ended before it was told what to do", "process", p.spec.Service(), "error", err)
	}
	returned, err := p.serve()
	if err != nil {
		p.cfg.Log.Error("process speaks nonsense: killing it", "process", p.spec.Service(), "pid", p.Pid(), "error", err)
	}
	// The socket has ended, or is of no more use: what is left is to die.
	lingering := time.AfterFunc(p.cfg.Grace, p.Kill)
	if returned == nil && err != nil {
		p.Kill()
	}
	p.link.conn.Close()
	werr := p.cmd.Wait()
	lingering.Stop()
	p.stderr.flush()
	p.exit = p.exitOf(returned, err, werr)
	close(p.ended)
}

// serve takes the process's messages until its socket ends. returned is nil if
// it ended without a result.
func (p *Process) serve() (returned *host.Exit, err error) {
	isReady := false
	for {
		m, err := p.link.receive()
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, unix.ECONNRESET):
			return nil, nil // it died, maybe within a message: how, its exit status says
		case err != nil:
			return nil, err
		}
		switch m.Kind {
		case ready:
			if !isReady {
				isReady = true
				close(p.ready)
			}
		case notes:
			p.take(m)
		case result:
			m.Exit.Killed, m.Exit.Signal = false, ""
			return m.Exit, nil
		default:
			return nil, fmt.Errorf("%w (kind %d)", errBadKind, m.Kind)
		}
	}
}

// take passes on what the process recorded.
func (p *Process) take(m *message) {
	if len(m.Events) > 0 && p.cfg.OnTrace != nil {
		p.cfg.OnTrace(m.Events)
	}
	if len(m.Records) == 0 {
		return
	}
	records := make([]slog.Record, len(m.Records))
	for i := range m.Records {
		records[i] = m.Records[i].slog()
	}
	if p.cfg.OnLog != nil {
		p.cfg.OnLog(p.spec, records)
		return
	}
	h := p.stderr.log.Handler().WithAttrs([]slog.Attr{slog.Int("pid", p.Pid())})
	for _, r := range records {
		if h.Enabled(context.Background(), r.Level) {
			_ = h.Handle(context.Background(), r) // a log that cannot be written has nowhere to say so
		}
	}
}

// exitOf says how the process ended: as its result says, if it sent one, else
// as the kernel says.
func (p *Process) exitOf(returned *host.Exit, protocol, wait error) host.Exit {
	if returned != nil {
		return *returned
	}
	e := host.Exit{Killed: true}
	if ps := p.cmd.ProcessState; ps != nil {
		if ws, ok := ps.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
			e.Signal = unix.SignalName(ws.Signal())
		}
		e.Detail = ps.String()
	} else if wait != nil {
		e.Detail = wait.Error()
	}
	if s := p.stderr.reason(); s != "" {
		e.Detail += ": " + s
	}
	if protocol != nil {
		e.Detail = protocol.Error() + "; " + e.Detail
	}
	return e
}
