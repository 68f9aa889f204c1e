package loopback

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"capstan/core/host"
	"capstan/core/nbemm"
	"capstan/core/pbx"
	"capstan/core/rt"
	"capstan/core/status"
	"capstan/internal/real"
)

// daemon is the running daemon of a host.
type daemon struct {
	pid   int
	ended chan struct{}
	err   error // how, once ended is closed
}

// startTime is how long a daemon, or the drives, may take to come up; stopTime
// how long to end.
const (
	startTime = time.Minute
	stopTime  = time.Minute
)

// Start starts the daemon of a host and returns when it answers.
func (d *Domain) Start(ctx context.Context, name string) error {
	h := d.host(name)
	log, err := os.OpenFile(d.Log(name), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	c := d.opts.Command(h.kind, d.Config(name))
	c.Stdout, c.Stderr = log, log
	// A group of its own: Ctrl-C is for who runs the domain, and that one ends the
	// daemons. They do not outlive it either.
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: unix.SIGKILL}
	started, err := launch(c)
	if err := errors.Join(err, log.Close()); err != nil {
		return fmt.Errorf("starting the daemon of %s: %w", name, err)
	}
	h.daemon = started
	return d.answers(ctx, h)
}

// launch starts a command from a thread that lives as long as the command: the
// kernel's signal at the parent's death is bound to the thread.
func launch(c *exec.Cmd) (*daemon, error) {
	d := &daemon{ended: make(chan struct{})}
	begun := make(chan error)
	go func() {
		runtime.LockOSThread()
		err := c.Start()
		if err == nil {
			d.pid = c.Process.Pid
		}
		begun <- err
		if err == nil {
			d.err = c.Wait()
			close(d.ended)
		}
	}()
	return d, <-begun
}

// answers waits until the daemon of a host answers calls.
func (d *Domain) answers(ctx context.Context, h *hosting) error {
	s, err := d.Session(ctx)
	if err != nil {
		return err
	}
	none := host.WaitFor{Addr: pbx.At(h.name, "none")}
	err = d.until(s.Context(), func(ctx context.Context) (bool, error) {
		select {
		case <-h.daemon.ended:
			return false, fmt.Errorf("the daemon of %s has ended: %w\n%s", h.name, h.daemon.err, d.tail(h.name))
		default:
		}
		_, err := host.WaitMethod.Call(ctx, pbx.At(h.name, host.Service), none)
		return status.Of(err, 0) == status.NotFound, nil
	})
	if err != nil {
		return fmt.Errorf("waiting for the daemon of %s: %w", h.name, err)
	}
	return nil
}

// until calls done again and again until it says so.
func (d *Domain) until(ctx context.Context, done func(ctx context.Context) (bool, error)) error {
	ctx, cancel := rt.WithTimeout(ctx, startTime)
	defer cancel()
	for {
		if ok, err := done(ctx); ok || err != nil {
			return err
		}
		if err := rt.Sleep(ctx, 50*time.Millisecond); err != nil {
			return err
		}
	}
}

// Ready waits until the media server's drives can be used.
func (d *Domain) Ready(ctx context.Context) error {
	s, err := d.Session(ctx)
	if err != nil {
		return err
	}
	err = d.until(s.Context(), func(ctx context.Context) (bool, error) {
		l, err := nbemm.Show.Call(ctx, pbx.At(Master, nbemm.Service), struct{}{})
		up := 0
		for i := range l.Drives {
			if l.Drives[i].Up {
				up++
			}
		}
		return err == nil && up == d.drives, nil
	})
	if err != nil {
		return fmt.Errorf("waiting for the drives: %w\n%s", err, d.tail(Media))
	}
	return nil
}

// tail is the end of a host's log.
func (d *Domain) tail(name string) string {
	b, err := os.ReadFile(d.Log(name))
	if err != nil {
		return err.Error()
	}
	lines := bytes.Split(bytes.TrimSpace(b), []byte("\n"))
	return string(bytes.Join(lines[max(0, len(lines)-20):], []byte("\n")))
}

// Stop asks the daemon of a host to end and waits for that.
func (d *Domain) Stop(name string) error {
	h := d.host(name)
	if err := d.end(h, unix.SIGTERM); err != nil {
		return fmt.Errorf("the daemon of %s ended badly: %w\n%s", name, err, d.tail(name))
	}
	return nil
}

// Kill ends the daemon of a host with SIGKILL.
func (d *Domain) Kill(name string) error {
	err := d.end(d.host(name), unix.SIGKILL)
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return nil // as it should
	}
	return err
}

func (d *Domain) end(h *hosting, sig unix.Signal) error {
	if h.daemon == nil {
		return nil
	}
	if err := unix.Kill(h.daemon.pid, sig); err != nil && !errors.Is(err, unix.ESRCH) {
		return err
	}
	late := time.NewTimer(stopTime)
	defer late.Stop()
	select {
	case <-h.daemon.ended:
	case <-late.C:
		err := unix.Kill(h.daemon.pid, unix.SIGKILL)
		<-h.daemon.ended
		return errors.Join(fmt.Errorf("it did not end within %v and was killed", stopTime), err)
	}
	err := h.daemon.err
	h.daemon = nil
	return err
}

// Pid is the process of the daemon of a host, 0 while it does not run.
func (d *Domain) Pid(name string) int {
	if h := d.host(name); h.daemon != nil {
		return h.daemon.pid
	}
	return 0
}

// Process is a process that a daemon has started.
type Process struct {
	Pid  int
	Role string // "bptm", "library" …
	Name string // role/job/try/n
}

// Processes are the processes that the daemon of a host has started and that run.
func (d *Domain) Processes(name string) ([]Process, error) {
	h := d.host(name)
	if h.daemon == nil {
		return nil, nil
	}
	return processes(func(parent int) bool { return parent == h.daemon.pid })
}

// KillRole kills, with SIGKILL, each process of a role that runs on a host, and
// returns how many there were.
func (d *Domain) KillRole(name, role string) (int, error) {
	all, err := d.Processes(name)
	if err != nil {
		return 0, err
	}
	n := 0
	for _, p := range all {
		if p.Role != role {
			continue
		}
		if err := unix.Kill(p.Pid, unix.SIGKILL); err != nil && !errors.Is(err, unix.ESRCH) {
			return n, err
		}
		n++
	}
	return n, nil
}

// Left are the processes of hosts whose daemons do not run: there should be none.
// They are known by the files and sockets' directories that they have open.
func (d *Domain) Left() ([]Process, error) {
	var down []string
	for _, h := range d.hosts {
		if h.daemon == nil {
			down = append(down, d.Dir(h.name)+"/")
		}
	}
	var left []Process
	// The kernel takes a moment to end what it was told to.
	for range 50 {
		all, err := processes(func(int) bool { return true })
		if err != nil {
			return nil, err
		}
		left = slices.DeleteFunc(all, func(p Process) bool { return !uses(p.Pid, down) })
		if len(left) == 0 {
			return nil, nil
		}
		time.Sleep(20 * time.Millisecond)
	}
	return left, nil
}

// uses tells whether a process has files below one of some directories open.
func uses(pid int, dirs []string) bool {
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	fds, err := os.ReadDir(dir)
	if err != nil {
		return false // it has ended
	}
	for _, fd := range fds {
		to, err := os.Readlink(filepath.Join(dir, fd.Name()))
		if err == nil && slices.ContainsFunc(dirs, func(d string) bool { return strings.HasPrefix(to, d) }) {
			return true
		}
	}
	return false
}

// processes are the processes of this program's subcommand for processes for
// whose parent want says so.
func processes(want func(parent int) bool) ([]Process, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	var all []Process
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		line, err := os.ReadFile(filepath.Join("/proc", e.Name(), "cmdline"))
		args := strings.Split(strings.TrimRight(string(line), "\x00"), "\x00")
		if err != nil || len(args) < 3 || args[len(args)-2] != "process" {
			continue
		}
		if parent, ok := parentOf(pid); ok && want(parent) {
			name := args[len(args)-1]
			role, _, _ := strings.Cut(name, "/")
			all = append(all, Process{Pid: pid, Role: role, Name: name})
		}
	}
	return all, nil
}

// parentOf reads a process's parent: the second field after the name, which is
// in parentheses (proc(5), /proc/pid/stat).
func parentOf(pid int) (int, bool) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, false
	}
	fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	if len(fields) < 2 || fields[0] == "Z" {
		return 0, false
	}
	parent, err := strconv.Atoi(fields[1])
	return parent, err == nil
}

// Session is the session with the master in which the domain's own calls are
// made: as the master's host. It is the domain's.
func (d *Domain) Session(ctx context.Context) (*real.Session, error) {
	if d.session == nil {
		s, err := real.Open(ctx, d.Config(Master), "loopback")
		if err != nil {
			return nil, err
		}
		d.session = s
	}
	return d.session, nil
}
