package vlib_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"capstan/core/dev"
	"capstan/core/dev/devtest"
	"capstan/core/store"
	"capstan/hw/clock"
	"capstan/hw/dir"
	"capstan/hw/vlib"
	"capstan/vtl"
)

const (
	testCapacity = 4 << 20
	testReserve  = 1 << 20
)

func testConfig() vtl.Config {
	c := vtl.Demo("robot", testCapacity, 0)
	for i := range c.Cartridges {
		c.Cartridges[i].Reserve = testReserve
	}
	c.Cartridges[7].WriteProtected = true
	c.Cartridges = append(c.Cartridges[:3], c.Cartridges[7])
	return c
}

// config has the process serve a library of package vtl.
func config(cfg vtl.Config, files store.Dir) vlib.Config {
	return vlib.Config{Log: quiet, Open: func(ctx context.Context) (dev.Library, error) {
		return vtl.New(ctx, cfg, vtl.Options{Dir: files})
	}}
}

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

// TestMain lets the test's binary be a library's process: see startProcess.
func TestMain(m *testing.M) {
	if socket := os.Getenv("VLIB_SOCKET"); socket != "" {
		l, err := vlib.Listen(socket)
		if err == nil {
			err = vlib.Serve(context.Background(), config(testConfig(), mustOpen(os.Getenv("VLIB_DIR"))), l)
		}
		panic(err)
	}
	os.Exit(m.Run())
}

func mustOpen(path string) *dir.Dir {
	d, err := dir.Open(path)
	if err != nil {
		panic(err)
	}
	return d
}

// inMemory is a directory on a file system in memory, if there is one: the model
// test makes a hundred libraries, and each syncs dozens of times.
func inMemory(t *testing.T) string {
	t.Helper()
	tmp, err := os.MkdirTemp("/dev/shm", "vlib")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(tmp) })
	return tmp
}

// server is a library in this process, behind its socket.
type server struct {
	socket string
	stop   func() error
}

func serve(ctx context.Context, socket string, cfg vlib.Config) (*server, error) {
	l, err := vlib.Listen(socket)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan error, 1)
	go func() { ended <- vlib.Serve(ctx, cfg, l) }()
	return &server{socket: socket, stop: func() error { cancel(); return <-ended }}, nil
}

func newSocket(t testing.TB) string {
	t.Helper()
	tmp, err := os.MkdirTemp("", "vlib") // a socket's path is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(tmp) })
	return filepath.Join(tmp, "lib", "socket")
}

func realWorld(t *testing.T, body func(ctx context.Context)) {
	t.Helper()
	body(clock.Context(t.Context(), t.Name()))
}

func library(c *vlib.Client, closing func() error) *devtest.Library {
	return &devtest.Library{
		Finder: c, Robot: "robot", Drives: []string{"robot-d0", "robot-d1"},
		Cartridges: []string{"CAP001L9", "CAP002L9", "CAP003L9"}, Protected: "CAP008L9",
		Capacity: testCapacity, Reserve: testReserve,
		Close: func(context.Context) error { return closing() },
	}
}

func TestConformance(t *testing.T) {
	for _, kind := range []string{"memory", "files"} {
		t.Run(kind, func(t *testing.T) {
			open := func(ctx context.Context) (*devtest.Library, error) {
				var files store.Dir
				if kind == "files" {
					files = mustOpen(inMemory(t))
				}
				s, err := serve(ctx, newSocket(t), config(testConfig(), files))
				if err != nil {
					return nil, err
				}
				c, err := vlib.Dial(ctx, s.socket)
				if err != nil {
					return nil, errors.Join(err, s.stop())
				}
				return library(c, func() error { return errors.Join(c.Close(), s.stop()) }), nil
			}
			devtest.RunDrive(t, realWorld, open)
			devtest.RunChanger(t, realWorld, open)
		})
	}
}

// child is a library in a process of its own.
type child struct{ cmd *exec.Cmd }

func startProcess(ctx context.Context, socket, files string) (*child, *vlib.Client, error) {
	p := &child{exec.Command(os.Args[0])}
	p.cmd.Env = append(os.Environ(), "VLIB_SOCKET="+socket, "VLIB_DIR="+files)
	p.cmd.SysProcAttr = &unix.SysProcAttr{Pdeathsig: unix.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		return nil, nil, err
	}
	for range 2000 { // until it listens
		c, err := vlib.Dial(ctx, socket)
		if err == nil {
			return p, c, nil
		}
		time.Sleep(5 * time.Millisecond)
	}
	p.kill()
	return nil, nil, errors.New("the library's process does not answer")
}

func (p *child) kill() {
	p.cmd.Process.Kill() //nolint:errcheck // it may have ended
	p.cmd.Wait()         //nolint:errcheck // killed
}

// TestKilled runs the suite's crash tests, and the rest of it, on a process that
// is killed and started again.
func TestKilled(t *testing.T) {
	open := func(ctx context.Context) (*devtest.Library, error) {
		socket, files := newSocket(t), t.TempDir()
		p, c, err := startProcess(ctx, socket, files)
		if err != nil {
			return nil, err
		}
		lib := library(c, func() error { p.kill(); return c.Close() })
		lib.Crash = func(ctx context.Context) (dev.Finder, error) {
			p.kill()
			if _, err := lib.Finder.Drive(ctx, "robot-d0"); !errors.Is(err, dev.ErrGone) {
				t.Errorf("a drive of a killed library: %v; want %v", err, dev.ErrGone)
			}
			var second *vlib.Client
			if p, second, err = startProcess(ctx, socket, files); err != nil {
				return nil, err
			}
			return c, second.Close() // the first one connects anew
		}
		return lib, nil
	}
	devtest.RunCrash(t, realWorld, open)
}

// mounted serves a library and loads its first cartridge.
func mounted(t testing.TB, ctx context.Context, cfg vlib.Config) (*vlib.Client, *server) {
	t.Helper()
	s, err := serve(ctx, newSocket(t), cfg)
	if err != nil {
		t.Fatal(err)
	}
	c, err := vlib.Dial(ctx, s.socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Close() //nolint:errcheck // the server's end is what counts
		if err := s.stop(); err != nil {
			t.Error(err)
		}
	})
	robot, err := c.Changer(ctx, "robot")
	if err != nil {
		t.Fatal(err)
	}
	if err := robot.Move(ctx, vtl.SlotAddress(1), vtl.DriveAddress(0)); err != nil {
		t.Fatal(err)
	}
	d, err := c.Drive(ctx, "robot-d0")
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(d.Load(ctx), d.Close()); err != nil {
		t.Fatal(err)
	}
	return c, s
}

func sharedMemory(t testing.TB, size int, seals int) (fd int, mem []byte) {
	t.Helper()
	fd, err := unix.MemfdCreate("test", unix.MFD_ALLOW_SEALING)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Ftruncate(fd, int64(size)); err != nil {
		t.Fatal(err)
	}
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, seals); err != nil {
		t.Fatal(err)
	}
	if mem, err = unix.Mmap(fd, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Munmap(mem); unix.Close(fd) })
	return fd, mem
}

func TestRegion(t *testing.T) {
	ctx := clock.Context(t.Context(), "test")
	c, _ := mounted(t, ctx, config(testConfig(), nil))
	d, err := c.Drive(ctx, "robot-d0")
	if err != nil {
		t.Fatal(err)
	}
	fd, mem := sharedMemory(t, 1<<20, unix.F_SEAL_SHRINK)
	if err := c.RegisterRegion(fd, mem); err != nil {
		t.Fatal(err)
	}
	copy(mem[5000:], "a block in the middle of the region")
	if err := d.Write(ctx, mem[5000:5035]); err != nil {
		t.Fatal(err)
	}
	// The library sees the region itself: what is written to it after the call
	// began, and before the read, comes from there.
	if err := d.Rewind(ctx); err != nil {
		t.Fatal(err)
	}
	last := mem[len(mem)-35:]
	if n, err := d.Read(ctx, last); err != nil || string(last[:n]) != "a block in the middle of the region" {
		t.Fatalf("read %q, %v", last[:n], err)
	}
	c.ForgetRegion(mem)
	if err := d.Write(ctx, mem[5000:5035]); err != nil { // now through the handle's own
		t.Fatalf("write after the region was forgotten: %v", err)
	}
}

func TestRegionRefused(t *testing.T) {
	ctx := clock.Context(t.Context(), "test")
	c, _ := mounted(t, ctx, config(testConfig(), nil))
	fd, mem := sharedMemory(t, 8192, 0)
	if err := c.RegisterRegion(fd, mem); err == nil || !strings.Contains(err.Error(), "sealed") {
		t.Errorf("a region that can shrink: %v; want a refusal", err)
	}
	fd, mem = sharedMemory(t, 8192, unix.F_SEAL_SHRINK)
	if err := c.RegisterRegion(fd, append(mem, 0)); err == nil {
		t.Error("a region longer than its memfd was taken")
	}
}

// TestClientDies: what a client held stays, and another takes it by force.
func TestClientDies(t *testing.T) {
	ctx := clock.Context(t.Context(), "test")
	c, s := mounted(t, ctx, config(testConfig(), nil))
	first, err := vlib.Dial(ctx, s.socket)
	if err != nil {
		t.Fatal(err)
	}
	d, err := first.Drive(ctx, "robot-d0")
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(d.Reserve(ctx, "bptm", false), d.Write(ctx, []byte("one")), d.Write(ctx, []byte("two"))); err != nil {
		t.Fatal(err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if err := d.Write(ctx, []byte("three")); !errors.Is(err, dev.ErrGone) {
		t.Errorf("write on a closed connection: %v; want %v", err, dev.ErrGone)
	}
	next, err := c.Drive(ctx, "robot-d0")
	if err != nil {
		t.Fatal(err)
	}
	if err := next.Reserve(ctx, "ltid", false); !errors.Is(err, dev.ErrReservation) {
		t.Errorf("reserving a dead client's drive: %v; want %v", err, dev.ErrReservation)
	}
	if err := next.Reserve(ctx, "ltid", true); err != nil {
		t.Errorf("reserving it by force: %v", err)
	}
	if p, err := next.Position(ctx); err != nil || p.Block != 2 {
		t.Errorf("position %+v, %v; want block 2", p, err)
	}
}

func TestErrorsKeepTheirText(t *testing.T) {
	ctx := clock.Context(t.Context(), "test")
	c, _ := mounted(t, ctx, config(testConfig(), nil))
	robot, err := c.Changer(ctx, "robot")
	if err != nil {
		t.Fatal(err)
	}
	err = robot.Move(ctx, vtl.SlotAddress(1), vtl.SlotAddress(2))
	var e *dev.Error
	if !errors.Is(err, dev.ErrSourceEmpty) || !errors.As(err, &e) {
		t.Fatalf("move from an empty slot: %v", err)
	}
	want := dev.Error{Device: "robot", Op: "MOVE MEDIUM", Sense: dev.Sense{Key: 5, ASC: 0x3B, ASCQ: 0x0E}}
	if e.Device != want.Device || e.Op != want.Op || e.Sense != want.Sense {
		t.Errorf("error %+v; want %+v", e, want)
	}
	if !strings.Contains(err.Error(), "element 4096") {
		t.Errorf("error %q does not name the element", err)
	}
}

func TestListenTwice(t *testing.T) {
	ctx := clock.Context(t.Context(), "test")
	_, s := mounted(t, ctx, config(testConfig(), nil))
	if l, err := vlib.Listen(s.socket); err == nil {
		l.Close()
		t.Error("two processes listen for one library")
	}
	st, err := os.Stat(filepath.Dir(s.socket))
	if err != nil || st.Mode().Perm() != 0o700 {
		t.Errorf("the socket's directory: %v, %v; want mode 0700", st.Mode(), err)
	}
}

// TestHostileClient: a client that sends nonsense loses its connection, and the
// library goes on.
func TestHostileClient(t *testing.T) {
	ctx := clock.Context(t.Context(), "test")
	c, s := mounted(t, ctx, config(testConfig(), nil))
	for _, b := range [][]byte{
		{0xFF, 0xFF, 0xFF, 0xFF},
		append([]byte{0, 0, 0, 4}, "nope"...),
		{0, 0},
	} {
		raw, err := net.Dial("unix", s.socket)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := raw.Write(b); err != nil {
			t.Fatal(err)
		}
		raw.(*net.UnixConn).CloseWrite()
		if got, err := io.ReadAll(raw); err == nil && len(got) > 0 {
			t.Errorf("%x was answered by %x", b, got)
		}
		raw.Close()
	}
	if _, err := c.Drive(ctx, "robot-d1"); err != nil {
		t.Errorf("the library after nonsense: %v", err)
	}
}

func benchConfig() vtl.Config { return vtl.Demo("robot", 2<<30, 0) }

func BenchmarkDrive(b *testing.B) {
	const size = 256 << 10
	for _, bm := range []struct {
		name string
		dir  func(b *testing.B) store.Dir
	}{
		{"memory", func(*testing.B) store.Dir { return nil }},
		{"file", func(b *testing.B) store.Dir { return mustOpen(b.TempDir()) }},
	} {
		ctx := clock.Context(context.Background(), "bench")
		c, _ := mounted(b, ctx, config(benchConfig(), bm.dir(b)))
		d, err := c.Drive(ctx, "robot-d0")
		if err != nil {
			b.Fatal(err)
		}
		fd, shared := sharedMemory(b, size, unix.F_SEAL_SHRINK)
		if err := c.RegisterRegion(fd, shared); err != nil {
			b.Fatal(err)
		}
		own := bytes.Repeat([]byte{1, 2, 3, 4}, size/4)
		for _, m := range []struct {
			name string
			p    []byte
		}{{"region", shared}, {"copied", own}} {
			b.Run(bm.name+"/write/"+m.name, func(b *testing.B) { benchWrite(ctx, b, d, m.p) })
			b.Run(bm.name+"/read/"+m.name, func(b *testing.B) { benchRead(ctx, b, d, m.p) })
		}
	}
}

func benchWrite(ctx context.Context, b *testing.B, d dev.Drive, p []byte) {
	b.SetBytes(int64(len(p)))
	if err := d.Rewind(ctx); err != nil {
		b.Fatal(err)
	}
	for i := 0; b.Loop(); i++ {
		if i%2000 == 1999 {
			if err := d.Rewind(ctx); err != nil {
				b.Fatal(err)
			}
		}
		if err := d.Write(ctx, p); err != nil {
			b.Fatal(err)
		}
	}
}

func benchRead(ctx context.Context, b *testing.B, d dev.Drive, p []byte) {
	b.SetBytes(int64(len(p)))
	if err := d.Rewind(ctx); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		_, err := d.Read(ctx, p)
		if errors.Is(err, dev.ErrEndOfData) {
			err = d.Rewind(ctx)
		}
		if err != nil {
			b.Fatal(err)
		}
	}
}

func TestManage(t *testing.T) {
	ctx := clock.Context(t.Context(), "test")
	c, _ := mounted(t, ctx, config(testConfig(), nil))
	d, err := c.Drive(ctx, "robot-d0")
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Inject(ctx, dev.Fault{Device: "robot-d0", Op: dev.OpWrite, Skip: 1, Times: -1, Err: dev.ErrMedium}); err != nil {
		t.Fatal(err)
	}
	if err := d.Write(ctx, []byte("x")); err != nil {
		t.Errorf("write before the fault: %v", err)
	}
	if err := d.Write(ctx, []byte("x")); !errors.Is(err, dev.ErrMedium) {
		t.Errorf("write that meets the fault: %v", err)
	}
	if err := c.ClearFaults(ctx); err != nil {
		t.Fatal(err)
	}
	if err := d.Write(ctx, []byte("x")); err != nil {
		t.Errorf("write after the fault: %v", err)
	}
	robot, drives, err := c.Stats(ctx)
	if err != nil || robot.Moves != 1 || len(drives) != 2 || drives[0].BytesWritten != 2 {
		t.Errorf("statistics %+v, %+v, %v", robot, drives, err)
	}
	if err := c.PowerCycle(ctx, "robot-d0"); err != nil {
		t.Fatal(err)
	}
	if err := d.Write(ctx, []byte("x")); !errors.Is(err, dev.ErrPositionLost) {
		t.Errorf("write after a reset: %v", err)
	}
	r, err := c.Changer(ctx, "robot")
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Move(ctx, vtl.SlotAddress(2), vtl.FirstImportExport); err != nil {
		t.Fatal(err)
	}
	if b, err := c.TakeOut(ctx, vtl.FirstImportExport); err != nil || b != "CAP002L9" {
		t.Errorf("took out %q, %v", b, err)
	}
	if err := c.PutIn(ctx, "CAP002L9", vtl.FirstImportExport); err != nil {
		t.Error(err)
	}
	if err := c.PutIn(ctx, "CAP002L9", vtl.FirstImportExport); err == nil {
		t.Error("a cartridge was put in twice")
	}
}

// TestSocketDirectory: a directory that is not this user's alone is refused, and is left
// as it is: /run is one.
// TestBeyondMoves: a robot tells how many moves it takes, and a drive of the order of accesses.
func TestBeyondMoves(t *testing.T) {
	realWorld(t, func(ctx context.Context) {
		cfg := testConfig()
		cfg.Arms = 2
		c, _ := mounted(t, ctx, config(cfg, nil))
		robot, err := c.Changer(ctx, "robot")
		if err != nil {
			t.Fatal(err)
		}
		if m, ok := robot.(dev.Overlapping); !ok || m.Moves() != 2 {
			t.Errorf("%T does not take two moves", robot)
		}
		if err := robot.(dev.Rescanner).Rescan(ctx); err != nil {
			t.Error(err)
		}
		d, err := c.Drive(ctx, "robot-d0")
		if err != nil {
			t.Fatal(err)
		}
		order, err := d.(dev.Sorter).Sort(ctx, []dev.Extent{{First: 0, Last: 1}, {First: 0, Last: 0}})
		if err != nil || len(order) != 2 || order[0]+order[1] != 1 {
			t.Errorf("order %v, %v", order, err)
		}
		if _, err := d.(dev.Sorter).Sort(ctx, make([]dev.Extent, vtl.MaxAccesses+1)); !errors.Is(err, dev.ErrNotSupported) {
			t.Errorf("a list that is too long: %v", err)
		}
	})
}

func TestSocketDirectory(t *testing.T) {
	shared := filepath.Join(t.TempDir(), "run")
	if err := os.Mkdir(shared, 0o755); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(t.TempDir(), link); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{shared, link} {
		if l, err := vlib.Listen(filepath.Join(dir, "s")); err == nil {
			l.Close()
			t.Errorf("a socket was made in %s", dir)
		}
	}
	if st, err := os.Stat(shared); err != nil || st.Mode().Perm() != 0o755 {
		t.Errorf("the directory has mode %v, %v", st.Mode(), err)
	}
}
