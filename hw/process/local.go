package process

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"capstan/core/host"
	"capstan/core/rt"
	"capstan/core/status"
	"capstan/core/trace"
)

// Subcommand is the word of the command line after which [Main] shall be called.
const Subcommand = "process"

// DefaultGrace is the time between the steps of an ending: message, SIGTERM, SIGKILL.
const DefaultGrace = 10 * time.Second

// Config says how a host's processes are started.
type Config struct {
	// Exe is the program. "" is the binary that runs, even if its file was
	// replaced meanwhile by an upgrade: daemon and processes are of one version.
	Exe string
	// ExtraArgs come before the subcommand. They are seen by everyone: no secrets.
	ExtraArgs []string
	// World is handed to each process as it is ([Control.World]): where the
	// host's configuration lies, or what else build needs.
	World []byte
	// Env is added to the minimal environment of the processes, as "NAME=value".
	Env []string
	// OnTrace takes the events of a process, in its order; nil drops them. It is
	// called from one goroutine for each process: one that waits slows that process.
	OnTrace func(events []trace.Event)
	// OnLog takes its log records, of every level; nil writes those that Log wants
	// to Log, with role, job and pid. What a process recorded has been taken before
	// Wait returns.
	OnLog func(spec host.Spec, records []slog.Record)
	// Log is the daemon's log, which also gets what processes write to stderr.
	// nil drops it.
	Log *slog.Logger
	// Grace is the time between the steps of an ending; 0 is [DefaultGrace].
	Grace time.Duration
}

// Local starts processes of the operating system.
type Local struct{ cfg Config }

var _ host.Local = (*Local)(nil)

// New makes the Local of a host's daemon.
func New(cfg Config) *Local {
	if cfg.Exe == "" {
		cfg.Exe = "/proc/self/exe"
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Grace <= 0 {
		cfg.Grace = DefaultGrace
	}
	return &Local{cfg: cfg}
}

// level is the lowest level of records that a process need send.
func (c *Config) level() slog.Level {
	if c.OnLog != nil {
		return slog.LevelDebug
	}
	for _, l := range []slog.Level{slog.LevelDebug, slog.LevelInfo, slog.LevelWarn} {
		if c.Log.Enabled(context.Background(), l) {
			return l
		}
	}
	return slog.LevelError
}

// Start starts a process and returns when it is ready or has ended; how it
// ended is then Wait's answer. If ctx ends first the process is killed.
// Errors carry status 130: no process could be made.
func (l *Local) Start(ctx context.Context, s host.Spec) (host.Process, error) {
	rt.MayBlock(ctx)
	if err := ctx.Err(); err != nil {
		return nil, rt.Cause(ctx)
	}
	p, err := l.launch(s)
	if err != nil {
		return nil, status.Errorf(status.SystemError, "starting %s: %w", s.Service(), err)
	}
	select {
	case <-p.ready:
	case <-p.ended:
	case <-ctx.Done():
		p.Kill()
		<-p.ended
		return nil, fmt.Errorf("starting %s: %w", s.Service(), rt.Cause(ctx))
	}
	return p, nil
}

// launch forks and hands the process its start message.
func (l *Local) launch(s host.Spec) (*Process, error) {
	ours, theirs, err := socketPair()
	if err != nil {
		return nil, err
	}
	first, err := encode(&message{Kind: start, Spec: &s, World: l.cfg.World, Level: int(l.cfg.level())})
	if err != nil {
		return nil, errors.Join(err, ours.Close(), theirs.Close())
	}
	p := newProcess(l.cfg, s, ours)
	err = forker().start(p.command(theirs))
	if cerr := theirs.Close(); err == nil && cerr != nil {
		l.cfg.Log.Warn("closing the process's end of its socket", "error", cerr)
	}
	if err != nil {
		return nil, errors.Join(err, ours.Close())
	}
	go p.run(first)
	return p, nil
}

// command is what is executed for p.
func (p *Process) command(socket *os.File) *exec.Cmd {
	c := exec.Command(p.cfg.Exe)
	c.Args = slices.Concat([]string{"capstan"}, p.cfg.ExtraArgs, []string{Subcommand, p.spec.Service()})
	c.Env = append([]string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8"}, p.cfg.Env...)
	c.Dir = "/"
	c.ExtraFiles = []*os.File{socket} // descriptor 3
	c.Stdout, c.Stderr = p.stderr, p.stderr
	c.WaitDelay = time.Second // a program that the process left behind may hold stderr open
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: unix.SIGKILL}
	p.cmd = c
	return c
}

// socketPair makes the socket between daemon and process.
func socketPair() (ours net.Conn, theirs *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("making a socket pair: %w", err)
	}
	theirs = os.NewFile(uintptr(fds[1]), "process socket")
	mine := os.NewFile(uintptr(fds[0]), "daemon socket")
	ours, err = net.FileConn(mine) // a duplicate, known to the poller
	if err = errors.Join(err, mine.Close()); err != nil {
		return nil, nil, errors.Join(err, theirs.Close())
	}
	return ours, theirs, nil
}

// forkThread is the one thread that forks. PR_SET_PDEATHSIG fires when the thread
// that forked ends, and a thread of the Go runtime may end at any time; one
// that a goroutine is locked to, and that never returns, lives as long as the
// process.
type forkThread struct{ starts chan forkRequest }

type forkRequest struct {
	cmd  *exec.Cmd
	done chan<- error
}

var forker = sync.OnceValue(func() *forkThread {
	f := &forkThread{starts: make(chan forkRequest)}
	// What the daemon inherited from its own starter is not for its processes:
	// all that Go opens is closed on exec already, this is the rest. A kernel
	// before 5.11 cannot, and they inherit it.
	_ = unix.CloseRange(3, math.MaxInt32, unix.CLOSE_RANGE_CLOEXEC)
	go func() {
		runtime.LockOSThread()
		for r := range f.starts {
			r.done <- r.cmd.Start()
		}
	}()
	return f
})

func (f *forkThread) start(c *exec.Cmd) error {
	done := make(chan error)
	f.starts <- forkRequest{c, done}
	return <-done
}
