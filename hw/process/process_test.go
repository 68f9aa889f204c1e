package process

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"capstan/core/host"
	"capstan/core/host/hosttest"
	"capstan/core/pbx"
	"capstan/core/rt"
	"capstan/core/status"
	"capstan/core/trace"
	"capstan/hw/clock"
)

// The test binary is also the program that processes run, as capstan is, and
// with "daemon" a daemon of its own that can be killed.
func TestMain(m *testing.M) {
	switch {
	case len(os.Args) > 1 && os.Args[1] == Subcommand:
		os.Exit(Main(mains(), build))
	case len(os.Args) > 1 && os.Args[1] == "daemon":
		os.Exit(daemon(os.Args[2]))
	}
	os.Exit(m.Run())
}

func build(ctx context.Context, s host.Spec, ctl *Control) (context.Context, *host.Env, func(), error) {
	log := slog.New(ctl.Handler())
	if string(ctl.World()) == "broken" {
		return nil, nil, nil, errors.New("the configuration is broken")
	}
	addr := pbx.ProcessAt("here", s.Role, s.Job, s.Try, s.N)
	ctx = trace.With(ctx, trace.New(ctx, "here", string(addr), ctl))
	closeEnv := func() { log.Info("closed") }
	return ctx, &host.Env{Host: "here", Addr: addr, Log: log}, closeEnv, nil
}

// mains are the suite's and those of this file.
func mains() host.Mains {
	m := hosttest.Mains()
	m["panic"] = func(context.Context, *host.Env, host.Body, func()) (host.Body, error) {
		panic("no such thing")
	}
	m["exit"] = func(context.Context, *host.Env, host.Body, func()) (host.Body, error) {
		fmt.Fprintln(os.Stderr, "cannot go on")
		os.Exit(17)
		return host.Body{}, nil
	}
	m["too much"] = func(context.Context, *host.Env, host.Body, func()) (host.Body, error) {
		return host.Encoded(make([]byte, pbx.MaxMessage+1)), nil
	}
	m["garble"] = func(ctx context.Context, _ *host.Env, _ host.Body, _ func()) (host.Body, error) {
		for fd := 4; fd < 100; fd++ { // the socket's duplicate is among them
			unix.Sendto(fd, []byte("\xff\xff\xff\xff no message"), unix.MSG_NOSIGNAL, nil)
		}
		return host.Body{}, rt.Sleep(ctx, time.Hour)
	}
	m["chatty"] = func(ctx context.Context, env *host.Env, _ host.Body, _ func()) (host.Body, error) {
		for i := range 10_000 {
			trace.Note(ctx, "B12", "block", strconv.Itoa(i))
		}
		env.Log.Debug("not wanted")
		env.Log.With("a", 1).WithGroup("g").Warn("said", "b", "two", slog.Group("h", "c", 3*time.Second))
		return host.Body{}, nil
	}
	m["look"] = func(_ context.Context, _ *host.Env, _ host.Body, _ func()) (host.Body, error) {
		seen, err := look()
		return host.Encoded(seen), err
	}
	m["deaf and blind"] = func(ctx context.Context, _ *host.Env, _ host.Body, ready func()) (host.Body, error) {
		ready()
		if err := unix.Kill(os.Getpid(), unix.SIGSTOP); err != nil {
			return host.Body{}, err
		}
		return host.Body{}, rt.Sleep(rt.WithoutCancel(ctx), time.Hour) // this thread may go on before all stop
	}
	return m
}

// deathSignal is the signal that this process gets when its parent dies. The
// kernel keeps it for the main thread, on which init runs.
var deathSignal int32

func init() {
	if err := unix.Prctl(unix.PR_GET_PDEATHSIG, uintptr(unsafe.Pointer(&deathSignal)), 0, 0, 0); err != nil {
		panic(err)
	}
}

// text is the result of a process that gave bytes.
func text(t *testing.T, e host.Exit) string {
	t.Helper()
	b, err := e.Result.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// look is what a process sees of itself.
func look() ([]byte, error) {
	var b bytes.Buffer
	for _, f := range []string{"cmdline", "environ"} {
		text, err := os.ReadFile("/proc/self/" + f)
		if err != nil {
			return nil, err
		}
		seen := strings.ReplaceAll(string(text), "\x00", "|")
		if cover, after, ok := strings.Cut(seen, "GOCOVERDIR="); ok { // the test's, not the product's
			_, after, _ = strings.Cut(after, "|")
			seen = cover + after
		}
		fmt.Fprintf(&b, "%s: %s\n", f, seen)
	}
	comm, err := os.ReadFile("/proc/self/comm")
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(&b, "comm: %s", comm)
	fmt.Fprintf(&b, "group: %v\n", unix.Getpgrp() == os.Getpid())
	fmt.Fprintf(&b, "death signal: %d\n", deathSignal)
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return nil, err
	}
	for _, e := range fds {
		// Pollers are the runtime's, and it reads its limits from /sys.
		target, err := os.Readlink("/proc/self/fd/" + e.Name())
		kind, _, _ := strings.Cut(target, ":")
		if err == nil && kind != "anon_inode" && !strings.HasPrefix(kind, "/proc/") && !strings.HasPrefix(kind, "/sys/") {
			fmt.Fprintf(&b, "fd: %s\n", kind)
		}
	}
	return b.Bytes(), nil
}

// task is a task of the daemon.
func task(t *testing.T) context.Context {
	ctx, cancel := rt.WithTimeout(clock.Context(context.Background(), t.Name()), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// coverEnv is what keeps processes that measure their coverage from complaining.
func coverEnv(t *testing.T) []string {
	if testing.CoverMode() == "" {
		return nil
	}
	return []string{"GOCOVERDIR=" + t.TempDir()}
}

// run runs a process to its end.
func run(t *testing.T, cfg Config, s host.Spec) host.Exit {
	t.Helper()
	ctx := task(t)
	cfg.Env = append(cfg.Env, coverEnv(t)...)
	p, err := New(cfg).Start(ctx, s)
	if err != nil {
		t.Fatal(err)
	}
	e, err := p.Wait(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestConformance(t *testing.T) {
	hosttest.Local(t, hosttest.World{Run: func(t *testing.T, body func(context.Context, host.Local)) {
		body(clock.Context(context.Background(), "daemon"), New(Config{Grace: 300 * time.Millisecond}))
	}})
}

func TestWhatEveryoneSees(t *testing.T) {
	secret := "the secret ticket"
	if err := os.Setenv("CAPSTAN_TEST_SECRET", secret); err != nil {
		t.Fatal(err)
	}
	defer os.Unsetenv("CAPSTAN_TEST_SECRET")
	f, err := unix.Open("/dev/zero", unix.O_RDONLY|unix.O_CLOEXEC, 0) // a descriptor of the daemon's
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(f)
	cfg := Config{World: []byte(secret), Env: []string{"EXTRA=1"}}
	e := run(t, cfg, host.Spec{Role: "look", Job: 12, Try: 2, N: 1, Args: host.Encoded([]byte(secret))})
	want := `cmdline: capstan|process|look/12/2/1|
environ: PATH=/usr/sbin:/usr/bin:/sbin:/bin|LANG=C.UTF-8|EXTRA=1|
comm: look
group: true
death signal: 9
fd: /dev/null
fd: pipe
fd: pipe
fd: socket
`
	if diff := cmp.Diff(want, text(t, e)); diff != "" {
		t.Errorf("(-want +got)\n%s%s", diff, e.Detail)
	}
}

func TestEndsOfOtherKinds(t *testing.T) {
	for _, c := range []struct {
		role   string
		cfg    Config
		want   host.Exit
		detail string
	}{
		{role: "panic", want: host.Exit{Killed: true}, detail: "exit status 2: panic: no such thing"},
		{role: "exit", want: host.Exit{Killed: true}, detail: "exit status 17: cannot go on"},
		{role: "too much", want: host.Exit{Code: int(status.SystemError)}, detail: "the result of too much/1/1/1 has 3145729 bytes"},
		{role: "garble", want: host.Exit{Killed: true, Signal: "SIGKILL"}, detail: "message is too long"},
		{role: "nobody", want: host.Exit{Code: int(status.BadParameter)}, detail: `no role "nobody"`},
		{
			role: "echo", cfg: Config{World: []byte("broken")},
			want: host.Exit{Code: int(status.SystemError)}, detail: "the configuration is broken",
		},
		{role: "echo", cfg: Config{Exe: "/bin/false"}, want: host.Exit{Killed: true}, detail: "exit status 1"},
	} {
		t.Run(c.role, func(t *testing.T) {
			e := run(t, c.cfg, host.Spec{Role: c.role, Job: 1, Try: 1, N: 1})
			if !strings.Contains(e.Detail, c.detail) {
				t.Errorf("detail is %q, not %q", e.Detail, c.detail)
			}
			e.Detail = ""
			if diff := cmp.Diff(c.want, e, cmp.AllowUnexported(host.Body{})); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestStartOfNoProgram(t *testing.T) {
	before := descriptors(t)
	_, err := New(Config{Exe: "/no/such/program"}).Start(task(t), host.Spec{Role: "bptm", Job: 3})
	if status.Of(err, 0) != status.SystemError || !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "bptm/3") {
		t.Errorf("Start of no program: %v", err)
	}
	within(t, "descriptors are left open", func() bool { return descriptors(t) <= before })
}

// TestRunByAPerson runs the hidden subcommand without a daemon.
func TestRunByAPerson(t *testing.T) {
	for name, files := range map[string][]*os.File{"nothing": nil, "no socket": {os.Stdin}} {
		c := exec.Command("/proc/self/exe", Subcommand, "bptm/1/1/1")
		c.Env = coverEnv(t)
		c.ExtraFiles = files
		out, err := c.CombinedOutput()
		if c.ProcessState.ExitCode() != 2 || !strings.Contains(string(out), "run by the capstan daemon, not by people") {
			t.Errorf("with %s as descriptor 3: %v, %q", name, err, out)
		}
	}
}

func TestSigterm(t *testing.T) {
	ctx := task(t)
	p, err := New(Config{}).Start(ctx, host.Spec{Role: "server", Job: 1})
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Kill(p.Pid(), unix.SIGTERM); err != nil { // a person's kill
		t.Fatal(err)
	}
	if e, err := p.Wait(ctx); err != nil || text(t, e) != "told to end" {
		t.Fatalf("after SIGTERM: %+v, %v", e, err)
	}
}

// TestStopped ends a process that cannot run at all: it reads no message and no
// SIGTERM.
func TestStopped(t *testing.T) {
	ctx := task(t)
	p, err := New(Config{Grace: 100 * time.Millisecond}).Start(ctx, host.Spec{Role: "deaf and blind", Job: 1})
	if err != nil {
		t.Fatal(err)
	}
	p.Terminate()
	if e, err := p.Wait(ctx); err != nil || e.Signal != "SIGKILL" {
		t.Fatalf("a stopped process: %+v, %v", e, err)
	}
}

func TestTraceAndLog(t *testing.T) {
	var events []trace.Event // written by one goroutine, read after Wait
	var log bytes.Buffer
	cfg := Config{
		OnTrace: func(e []trace.Event) { events = append(events, e...) },
		Log: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey || a.Key == "pid" {
				return slog.Attr{}
			}
			return a
		}})),
	}
	run(t, cfg, host.Spec{Role: "chatty", Job: 5, Try: 2, N: 1, Restore: true})
	if len(events) != 10_000 {
		t.Fatalf("%d events came of 10000", len(events))
	}
	for i, e := range events {
		e.Begin, e.End = trace.Stamp{}, trace.Stamp{}
		want := trace.Event{
			Host: "here", Proc: "here/chatty/5/2/1", Role: "chatty", Job: trace.Job{ID: 5, Try: 2, Restore: true},
			Step: "B12", What: "block", Detail: strconv.Itoa(i),
		}
		if e != want {
			t.Fatalf("event %d is %+v, not %+v", i, e, want)
		}
	}
	want := `level=WARN msg=said role=chatty job=5 try=2 n=1 a=1 g.b=two g.h.c=3s
level=INFO msg=closed role=chatty job=5 try=2 n=1
`
	if diff := cmp.Diff(want, log.String()); diff != "" {
		t.Errorf("log (-want +got)\n%s", diff)
	}
}

// TestOneKilledOfTwo kills a process from outside.
func TestOneKilledOfTwo(t *testing.T) {
	ctx := task(t)
	l := New(Config{})
	var p [2]host.Process
	for i := range p {
		var err error
		if p[i], err = l.Start(ctx, host.Spec{Role: "server", Job: int64(i)}); err != nil {
			t.Fatal(err)
		}
		if exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", p[i].Pid())); err != nil || exe != mine(t) {
			t.Fatalf("process %d runs %s, %v", p[i].Pid(), exe, err)
		}
	}
	if err := unix.Kill(p[0].Pid(), unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if e, err := p[0].Wait(ctx); err != nil || !e.Killed || e.Signal != "SIGKILL" {
		t.Fatalf("killed from outside: %+v, %v", e, err)
	}
	p[1].Terminate()
	if e, err := p[1].Wait(ctx); err != nil || e.Killed {
		t.Fatalf("the other: %+v, %v", e, err)
	}
}

func mine(t *testing.T) string {
	t.Helper()
	exe, err := os.Readlink("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	return exe
}

func descriptors(t *testing.T) int {
	t.Helper()
	e, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(e)
}

// within waits, looking again and again, for what happens outside this process.
func within(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for range 4000 {
		if ok() {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatal(what)
}

func TestNothingIsLeft(t *testing.T) {
	ctx := task(t)
	l := New(Config{})
	pids := []int{}
	cycle := func() {
		for i, role := range []string{"echo", "fail", "server", "panic"} {
			p, err := l.Start(ctx, host.Spec{Role: role, N: i})
			if err != nil {
				t.Fatal(err)
			}
			pids = append(pids, p.Pid())
			p.Kill()
			if _, err := p.Wait(ctx); err != nil {
				t.Fatal(err)
			}
		}
	}
	cycle()
	before := descriptors(t)
	for range 5 {
		cycle()
	}
	within(t, "descriptors are left open", func() bool { return descriptors(t) <= before })
	for _, pid := range pids {
		if stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)); err == nil && strings.Contains(string(stat), ") Z ") {
			t.Errorf("process %d is a zombie", pid)
		}
	}
}

// daemon starts processes and prints their pids, then waits to be killed.
func daemon(roles string) int {
	ctx := clock.Context(context.Background(), "daemon")
	for role := range strings.SplitSeq(roles, ",") {
		p, err := New(Config{}).Start(ctx, host.Spec{Role: role, Job: 1})
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		fmt.Println(p.Pid())
	}
	os.Stdout.Close()
	select {}
}

// alive tells whether a process runs: one that nobody reaped does not.
func alive(pid int) bool {
	stat, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return false
	}
	_, state, _ := strings.Cut(string(stat), ") ")
	return state != "" && state[0] != 'Z' && state[0] != 'X'
}

// TestDaemonKilled kills a daemon by SIGKILL: its processes end, willing or not.
func TestDaemonKilled(t *testing.T) {
	c := exec.Command("/proc/self/exe", "daemon", "server,deaf,deaf and blind")
	c.Stderr = os.Stderr
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: unix.SIGKILL}
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(out)
	if err != nil {
		t.Fatal(err)
	}
	var pids []int
	for _, f := range strings.Fields(string(text)) {
		pid, err := strconv.Atoi(f)
		if err != nil || !alive(pid) {
			t.Fatalf("the daemon says it started process %q, %v", f, err)
		}
		pids = append(pids, pid)
	}
	if len(pids) != 3 {
		t.Fatalf("the daemon started %d processes, not 3", len(pids))
	}
	if err := c.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	c.Wait()
	for _, pid := range pids {
		within(t, fmt.Sprintf("process %d outlives its daemon", pid), func() bool { return !alive(pid) })
	}
}

// TestSocketEnd ends the socket of processes whose daemon lives on: without the
// kernel's signal, too, they end, willing or not.
func TestSocketEnd(t *testing.T) {
	for role, want := range map[string]host.Exit{
		"server": {Result: host.Encoded([]byte("told to end"))},
		"deaf":   {Killed: true, Detail: "exit status 3"},
	} {
		t.Run(role, func(t *testing.T) {
			t.Parallel() // the deaf one is given time
			ctx := task(t)
			p, err := New(Config{Env: coverEnv(t)}).Start(ctx, host.Spec{Role: role, Job: 1})
			if err != nil {
				t.Fatal(err)
			}
			if err := p.(*Process).link.conn.(*net.UnixConn).CloseWrite(); err != nil {
				t.Fatal(err)
			}
			e, err := p.Wait(ctx)
			if diff := cmp.Diff(want, e, cmp.AllowUnexported(host.Body{})); diff != "" || err != nil {
				t.Fatalf("a process whose socket ended (-want +got)\n%s%v", diff, err)
			}
		})
	}
}

// TestSlowDaemon has the daemon take events slowly: none is lost, and the result
// comes after the last.
func TestSlowDaemon(t *testing.T) {
	var mu sync.Mutex
	n := 0
	cfg := Config{OnTrace: func(e []trace.Event) {
		time.Sleep(time.Millisecond)
		mu.Lock()
		n += len(e)
		mu.Unlock()
	}}
	run(t, cfg, host.Spec{Role: "chatty", Job: 5})
	mu.Lock()
	defer mu.Unlock()
	if n != 10_000 {
		t.Fatalf("%d events came of 10000", n)
	}
}

func FuzzMessage(f *testing.F) {
	for _, m := range []*message{
		{Kind: ready},
		{Kind: start, Spec: &host.Spec{Role: "bptm", Job: 1, Args: host.Encoded([]byte{1})}, World: []byte("w")},
		{Kind: notes, Events: []trace.Event{{What: "x"}}, Records: []record{{Text: "y", Attrs: [][2]string{{"k", "v"}}}}},
		{Kind: result, Exit: &host.Exit{Result: host.Encoded([]byte("r"))}},
	} {
		b, err := encode(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte{0, 0, 0, 1})
	f.Add([]byte{255, 255, 255, 255, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := decode(bytes.NewReader(b))
		if err != nil {
			return
		}
		if !m.whole() {
			t.Fatalf("%x was taken as %+v", b, m)
		}
		again, err := encode(m)
		if err != nil {
			t.Fatal(err)
		}
		if n, err := decode(bytes.NewReader(again)); err != nil || n.Kind != m.Kind {
			t.Fatalf("%+v became %+v, %v", m, n, err)
		}
	})
}
