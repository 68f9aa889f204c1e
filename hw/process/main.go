package process

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"capstan/core/host"
	"capstan/core/pbx"
	"capstan/core/rt"
	"capstan/core/status"
	"capstan/core/trace"
	"capstan/hw/clock"
)

// socketFD is the descriptor at which a process finds its socket.
const socketFD = 3

// orphanGrace is how long a role may go on after its daemon has gone.
const orphanGrace = 3 * time.Second

// errOrphan is why the context of a role ends whose daemon is gone.
var errOrphan = status.Errorf(status.Terminated, "the daemon of this host is gone")

// errTerminated is why the context of a role ends that was told to end.
var errTerminated = status.Errorf(status.Terminated, "the process was told to end")

// Build makes the environment of a process. The context it gets is that of a
// task, works for the job, and ends when the process shall; the one it returns,
// with the world's transport and tracer in it, is the role's. closeEnv, if not
// nil, is called when the role has returned.
type Build func(ctx context.Context, spec host.Spec, ctl *Control) (_ context.Context, env *host.Env, closeEnv func(), err error)

// Main is the main function of the hidden subcommand: it learns from the daemon
// what to do, builds the environment, runs the role, and sends the result. What
// it returns is for os.Exit.
func Main(mains host.Mains, build Build) int {
	l, err := inherited()
	if err != nil {
		fmt.Fprintln(os.Stderr, "capstan process: this command is run by the capstan daemon, not by people:", err)
		return 2
	}
	first, err := l.receive()
	if err != nil || first.Kind != start {
		fmt.Fprintln(os.Stderr, "capstan process: no start message from the daemon:", err)
		return 2
	}
	// The name that ps and top show without arguments; 15 bytes of it are kept.
	if err := os.WriteFile("/proc/self/comm", []byte(first.Spec.Role), 0); err != nil {
		fmt.Fprintln(os.Stderr, "capstan process: setting the process's name:", err)
	}
	spec := *first.Spec
	ctl := newControl(l, first)
	ctx, cancel := rt.WithCancel(clock.Context(context.Background(), spec.Service()))
	ctx = trace.As(ctx, trace.Job{ID: spec.Job, Try: spec.Try, Restore: spec.Restore}, spec.Role)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, unix.SIGTERM) // before the role is ready: from then on it ends as it is asked to
	go func() {
		for range signals {
			cancel(errTerminated)
		}
	}()
	go obey(l, cancel)
	b, err := play(ctx, spec, ctl, l, mains, build)
	ctl.flush()
	if err := l.send(&message{Kind: result, Exit: exitOf(b, err)}); err != nil {
		fmt.Fprintln(os.Stderr, "capstan process: sending the result to the daemon:", err)
		return 1
	}
	return 0
}

// inherited is the socket to the daemon.
func inherited() (*link, error) {
	f := os.NewFile(socketFD, "daemon socket")
	if f == nil {
		return nil, errors.New("there is no descriptor 3")
	}
	conn, err := net.FileConn(f) // a duplicate that is closed on exec
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, fmt.Errorf("descriptor 3 is not a socket: %w", err)
	}
	if _, ok := conn.(*net.UnixConn); !ok {
		return nil, errors.Join(errors.New("descriptor 3 is not a Unix socket"), conn.Close())
	}
	return &link{conn: conn}, nil
}

// obey ends the role's context when the daemon says so, or when the daemon is
// gone; then the process ends soon, whatever the role does.
func obey(l *link, cancel func(error)) {
	for {
		m, err := l.receive()
		if err != nil {
			cancel(errOrphan)
			time.Sleep(orphanGrace)
			os.Exit(3)
		}
		if m.Kind == terminate {
			cancel(errTerminated)
		}
	}
}

// play runs the role.
func play(ctx context.Context, spec host.Spec, ctl *Control, l *link, mains host.Mains, build Build) ([]byte, error) {
	main, ok := mains[spec.Role]
	if !ok {
		return nil, status.Errorf(status.BadParameter, "this program has no role %q that runs as a process", spec.Role)
	}
	ctx, env, closeEnv, err := build(ctx, spec, ctl)
	if err != nil {
		return nil, fmt.Errorf("building the environment of %s: %w", spec.Service(), err)
	}
	if closeEnv != nil {
		defer closeEnv()
	}
	var once sync.Once
	r, err := main(ctx, env, spec.Args, func() {
		once.Do(func() {
			// Without a daemon nobody waits to hear it; the socket's end stops us.
			_ = l.send(&message{Kind: ready})
		})
	})
	if err != nil {
		return nil, err
	}
	b, err := r.Encode()
	if err == nil && len(b) > pbx.MaxMessage {
		return nil, status.Errorf(status.SystemError, "the result of %s has %d bytes, more than the %d of a message",
			spec.Service(), len(b), pbx.MaxMessage)
	}
	return b, err
}

// exitOf is what a role's main function returned, as the daemon is told.
func exitOf(b []byte, err error) *host.Exit {
	if err != nil {
		code := status.Of(err, status.SystemError)
		if code == status.OK {
			code = status.SystemError // 0 would say that there was no error
		}
		return &host.Exit{Code: int(code), Detail: clip(status.Detail(err))}
	}
	return &host.Exit{Result: host.Encoded(b)}
}
