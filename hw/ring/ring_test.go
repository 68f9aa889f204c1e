package ring

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"capstan/core/rt"
	"capstan/core/status"
	"capstan/core/stream"
	"capstan/core/stream/streamtest"
	"capstan/hw/clock"
)

// The test binary is the other process too: CAPSTAN_RING_PEER says what it does,
// with the run directory as its argument. It says "ready" on stdout.
const peerEnv = "CAPSTAN_RING_PEER"

func TestMain(m *testing.M) {
	if what := os.Getenv(peerEnv); what != "" {
		ctx := clock.Context(context.Background(), "peer")
		if err := peers[what](ctx, os.Args[1]); err != nil {
			fmt.Fprintln(os.Stderr, what+":", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// peers are what the other process can be.
var peers = map[string]func(ctx context.Context, run string) error{
	"fill for ever": func(ctx context.Context, run string) error { return peerFill(ctx, run, 1<<62) },
	"fill": func(ctx context.Context, run string) error {
		n, err := strconv.Atoi(os.Args[2])
		return errors.Join(err, peerFill(ctx, run, n))
	},
	"echo": peerEcho,
	"take one and sleep": func(ctx context.Context, run string) error {
		r, err := New(run, nil).Attach(ctx, "test")
		if err != nil {
			return err
		}
		if _, err := r.Full(ctx); err != nil {
			return err
		}
		fmt.Println("ready")
		return rt.Sleep(ctx, time.Hour)
	},
}

func peerFill(ctx context.Context, run string, n int) error {
	r, err := New(run, nil).Attach(ctx, "test")
	if err != nil {
		return err
	}
	fmt.Println("ready")
	data := make([]byte, r.SlotSize())
	for i := range n {
		mem, err := r.Empty(ctx)
		if err != nil {
			return err
		}
		binary.NativeEndian.PutUint64(data, uint64(i))
		mem = append(mem, data...)
		err = r.Fill(ctx, stream.Slot{Kind: stream.Data, Bytes: mem, Len: int64(len(mem)), Offset: int64(i) * int64(len(mem))})
		if err != nil {
			return err
		}
	}
	return r.Close()
}

// peerEcho sends what comes in one ring back in another.
func peerEcho(ctx context.Context, run string) error {
	in, err := New(run, nil).Attach(ctx, "ping")
	if err != nil {
		return err
	}
	out, err := New(run, nil).Attach(ctx, "pong")
	if err != nil {
		return err
	}
	fmt.Println("ready")
	for {
		if _, err := in.Full(ctx); errors.Is(err, stream.ErrCut) {
			return nil
		} else if err != nil {
			return err
		}
		if err := in.Free(ctx); err != nil {
			return err
		}
		if err := put(ctx, out, "pong"); err != nil {
			return err
		}
	}
}

func put(ctx context.Context, r stream.Ring, text string) error {
	mem, err := r.Empty(ctx)
	if err != nil {
		return err
	}
	mem = append(mem, text...)
	return r.Fill(ctx, stream.Slot{Kind: stream.Data, Bytes: mem, Len: int64(len(mem))})
}

// startPeer starts the other process and waits until it is ready.
func startPeer(t testing.TB, what, run string, args ...string) *exec.Cmd {
	t.Helper()
	c := exec.Command("/proc/self/exe", append([]string{run}, args...)...)
	c.Env = append(os.Environ(), peerEnv+"="+what)
	c.Stderr = os.Stderr
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: unix.SIGKILL}
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Process.Kill()
		c.Wait()
	})
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		t.Fatalf("the other process said %q: %v", line, err)
	}
	return c
}

func task(t testing.TB) context.Context {
	ctx, cancel := rt.WithTimeout(clock.Context(context.Background(), t.Name()), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func create(t testing.TB, ctx context.Context, run, name string, slots, size int) *Ring {
	t.Helper()
	r, err := New(run, nil).Create(ctx, name, slots, size)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r.(*Ring)
}

// attached does to its rings what the kernel does at the death of their process.
// Here B is no process of its own; TestKilledFiller kills a real one.
type attached struct {
	*Rings
	rings []*Ring
}

func (a *attached) Attach(ctx context.Context, name string) (stream.Ring, error) {
	r, err := a.Rings.Attach(ctx, name)
	if err == nil {
		a.rings = append(a.rings, r.(*Ring))
	}
	return r, err
}

func (a *attached) kill(context.Context) {
	for _, r := range a.rings {
		r.peer.close()
	}
}

func TestConformance(t *testing.T) {
	streamtest.Rings(t, streamtest.RingWorld{Run: func(t testing.TB, body func(context.Context, streamtest.RingFixture)) {
		run, err := os.MkdirTemp(t.TempDir(), "run")
		if err != nil {
			t.Fatal(err)
		}
		b := &attached{Rings: New(run, nil)}
		body(clock.Context(context.Background(), "A"), streamtest.RingFixture{
			A: New(run, nil), B: b,
			GoB:   func(ctx context.Context, name string, fn func(context.Context)) { rt.Go(ctx, name, fn) },
			KillB: b.kill,
			Damage: func(r stream.Ring, slot int) {
				ring := r.(*Ring)
				ring.m.data(uint64(slot))[0] ^= 0x40
			},
		})
	}})
}

// mapping finds the memfd of a ring in a process's maps and returns its inode.
func mapping(t *testing.T, pid int, name string) string {
	t.Helper()
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(maps)) {
		if f := strings.Fields(line); len(f) > 5 && f[5] == "/memfd:capstan-ring-"+name && f[1] == "rw-s" {
			return f[4]
		}
	}
	return ""
}

func TestBothProcessesMapOneMemory(t *testing.T) {
	ctx, run := task(t), t.TempDir()
	r := create(t, ctx, run, "test", 4, 4096)
	if err := put(ctx, r, "hello"); err != nil {
		t.Fatal(err)
	}
	c := startPeer(t, "take one and sleep", run)
	ours, theirs := mapping(t, os.Getpid(), "test"), mapping(t, c.Process.Pid, "test")
	if ours == "" || ours != theirs {
		t.Fatalf("inode of the memory is %q here and %q in the other process", ours, theirs)
	}
	within(t, "the socket is still there after both sides have come", func() bool {
		_, err := os.Lstat(filepath.Join(run, "r", "test.sock"))
		return errors.Is(err, fs.ErrNotExist)
	})
}

func TestKilledFiller(t *testing.T) {
	ctx, run := task(t), t.TempDir()
	r := create(t, ctx, run, "test", 8, 64<<10)
	c := startPeer(t, "fill for ever", run)
	for i := range int64(1 << 40) {
		s, err := r.Full(ctx)
		if errors.Is(err, stream.ErrCut) {
			if i < 100 {
				t.Fatalf("cut after %d blocks, before the process was killed", i)
			}
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if got := binary.NativeEndian.Uint64(s.Bytes); got != uint64(i) {
			t.Fatalf("block %d came as %d", got, i)
		}
		if err := r.Free(ctx); err != nil {
			t.Fatal(err)
		}
		if i == 100 {
			if err := c.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestKilledTaker(t *testing.T) {
	ctx, run := task(t), t.TempDir()
	r := create(t, ctx, run, "test", 2, 4096)
	if err := put(ctx, r, "one"); err != nil {
		t.Fatal(err)
	}
	c := startPeer(t, "take one and sleep", run)
	if err := put(ctx, r, "two"); err != nil {
		t.Fatal(err)
	}
	if err := c.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := put(ctx, r, "three"); !errors.Is(err, stream.ErrCut) { // both slots are full
		t.Fatalf("filling for a process that was killed gave %v", err)
	}
}

func descriptors(t *testing.T) int {
	t.Helper()
	e, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(e)
}

// within waits, looking again and again, for what happens in another goroutine.
func within(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for range 2000 {
		if ok() {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatal(what)
}

func TestNothingIsLeft(t *testing.T) {
	ctx, run := task(t), t.TempDir()
	use := func() {
		a := create(t, ctx, run, "leak", 2, 4096)
		if _, err := New(run, nil).Create(ctx, "leak", 2, 4096); !errors.Is(err, fs.ErrExist) {
			t.Fatalf("a second ring of one name: %v", err)
		}
		b, err := New(run, nil).Attach(ctx, "leak")
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(put(ctx, b, "x"), b.Close(), a.Close()); err != nil {
			t.Fatal(err)
		}
		if err := create(t, ctx, run, "nobody comes", 2, 4096).Close(); err != nil {
			t.Fatal(err)
		}
	}
	use() // what is made once: the poller's descriptors
	before := descriptors(t)
	for range 20 {
		use()
	}
	within(t, "descriptors are left open", func() bool { return descriptors(t) <= before })
	if ino := mapping(t, os.Getpid(), "leak"); ino != "" {
		t.Fatal("memory of a closed ring is still mapped")
	}
	if e, err := os.ReadDir(filepath.Join(run, "r")); err != nil || len(e) != 0 {
		t.Fatalf("sockets are left: %v %v", e, err)
	}
}

func TestStaleSocketIsTakenOver(t *testing.T) {
	ctx, run := task(t), t.TempDir()
	create(t, ctx, run, "other", 1, 1) // makes the directory
	l, err := net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: filepath.Join(run, "r", "test.sock")})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close() // as SIGKILL leaves it
	create(t, ctx, run, "test", 1, 1)
	b, err := New(run, nil).Attach(ctx, "test")
	if err != nil {
		t.Fatal(err)
	}
	b.Close()
}

func TestLongRunDirectory(t *testing.T) {
	ctx := task(t)
	run := filepath.Join(t.TempDir(), strings.Repeat("long/", 40))
	a := create(t, ctx, run, "test", 1, 16)
	b, err := New(run, nil).Attach(ctx, "test")
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(put(ctx, a, "x"), b.Close()); err != nil {
		t.Fatal(err)
	}
}

func TestDirectoryOfOthersIsRefused(t *testing.T) {
	ctx, run := task(t), t.TempDir()
	if err := os.Mkdir(filepath.Join(run, "r"), 0o755); err != nil {
		t.Fatal(err)
	}
	_, err := New(run, nil).Create(ctx, "test", 1, 1)
	if status.Of(err, 0) != status.SharedMemory || !strings.Contains(err.Error(), "0700") {
		t.Fatalf("Create in a directory that others can read: %v", err)
	}
}

func TestAttachToNoRing(t *testing.T) {
	ctx, run := task(t), t.TempDir()
	for _, with := range []string{"no directory", "an empty directory"} {
		if _, err := New(run, nil).Attach(ctx, "test"); status.Of(err, 0) != status.SharedMemory || !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("Attach with %s: %v", with, err)
		}
		create(t, ctx, run, with, 1, 1)
	}
	for _, name := range []string{"", strings.Repeat("x", maxName+1)} {
		if _, err := New(run, nil).Create(ctx, name, 1, 1); status.Of(err, 0) != status.SharedMemory {
			t.Errorf("Create of %q: %v", name, err)
		}
	}
}

func TestBadGeometry(t *testing.T) {
	ctx, run := task(t), t.TempDir()
	for _, c := range []struct{ slots, size int }{
		{0, 4096}, {-1, 4096}, {MaxSlots + 1, 1}, {1, 0}, {1, -1}, {1, MaxSlotSize + 1}, {MaxSlots, MaxSlotSize},
	} {
		r, err := New(run, nil).Create(ctx, "test", c.slots, c.size)
		if status.Of(err, 0) != status.SharedMemory {
			t.Errorf("Create of %d slots of %d bytes: %v", c.slots, c.size, err)
		}
		if err == nil {
			r.Close()
		}
	}
}

// TestStrangers connects what is no peer: the ring still waits for the right one.
func TestStrangers(t *testing.T) {
	ctx, run := task(t), t.TempDir()
	create(t, ctx, run, "test", 1, 16)
	s, err := New(run, nil).socket("test", false)
	if err != nil {
		t.Fatal(err)
	}
	defer s.dir.Close()
	for _, say := range []string{"", "GET / HTTP/1.1\r\n\r\n", hello[:5]} {
		c, err := s.dial(ctx)
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(c, say)
		c.CloseWrite()
		if b, err := io.ReadAll(c); len(b) != 0 {
			t.Errorf("after %q it said %q, %v", say, b, err)
		}
		c.Close()
	}
	b, err := New(run, nil).Attach(ctx, "test")
	if err != nil {
		t.Fatal(err)
	}
	b.Close()
}

// TestHostileMemory writes into the memory what no peer writes.
func TestHostileMemory(t *testing.T) {
	slot := func(m *memory) int { return m.header(0) }
	for _, c := range []struct {
		name   string
		damage func(m *memory)
	}{
		{"tail far ahead", func(m *memory) { m.u64(tailAt).Store(99) }},
		{"tail before head", func(m *memory) { m.u64(tailAt).Store(^uint64(0)) }},
		{"no kind", func(m *memory) { m.u32(slot(m)).Store(0) }},
		{"wide flags", func(m *memory) { m.u32(slot(m)).Store(1 << 20) }},
		{"more bytes than a slot", func(m *memory) { m.u64(slot(m) + 8).Store(17) }},
		{"very many bytes", func(m *memory) { m.u64(slot(m) + 8).Store(1 << 63) }},
		{"negative length", func(m *memory) { m.u64(slot(m) + 16).Store(1 << 63) }},
		{"another length", func(m *memory) { m.u64(slot(m) + 16).Store(2) }},
		{"negative offset", func(m *memory) { m.u64(slot(m) + 24).Store(1 << 63) }},
		{"wrong checksum", func(m *memory) { m.u32(slot(m) + 4).Add(1) }},
		{"fewer bytes", func(m *memory) { m.u64(slot(m) + 8).Store(1); m.u64(slot(m) + 16).Store(1) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx, run := task(t), t.TempDir()
			a := create(t, ctx, run, "test", 4, 16)
			if err := put(ctx, a, "data"); err != nil {
				t.Fatal(err)
			}
			c.damage(a.m)
			b, err := New(run, nil).Attach(ctx, "test")
			if err != nil {
				t.Fatal(err)
			}
			defer b.Close()
			if s, err := b.Full(ctx); !errors.Is(err, ErrDamaged) {
				t.Fatalf("Full gave %+v, %v", s, err)
			}
		})
	}
	t.Run("head ahead of tail", func(t *testing.T) {
		ctx, run := task(t), t.TempDir()
		a := create(t, ctx, run, "test", 4, 16)
		a.m.u64(headAt).Store(1)
		if _, err := a.Empty(ctx); !errors.Is(err, ErrDamaged) {
			t.Fatalf("Empty gave %v", err)
		}
	})
}

func TestUnsealedMemoryIsRefused(t *testing.T) {
	g := geometry{1, 16}
	fd, err := unix.MemfdCreate("unsealed", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Ftruncate(fd, int64(g.total())); err != nil {
		t.Fatal(err)
	}
	if _, err := mapMemory(fd, g); err == nil || !strings.Contains(err.Error(), "not sealed") {
		t.Fatalf("memory that can be cut short: %v", err)
	}
}

func TestRegion(t *testing.T) {
	ctx, run := task(t), t.TempDir()
	r := create(t, ctx, run, "test", 4, 5000)
	fd, mem := r.Region()
	if err := put(ctx, r, "skip"); err != nil {
		t.Fatal(err)
	}
	p, err := r.Empty(ctx)
	if err != nil {
		t.Fatal(err)
	}
	p = append(p, "over there"...)
	at, ok := r.Offset(p)
	if !ok || at%page != 0 || !bytes.Equal(mem[at:at+10], p) {
		t.Fatalf("Offset gave %d, %v", at, ok)
	}
	got := make([]byte, 10)
	if _, err := unix.Pread(fd, got, at); err != nil || !bytes.Equal(got, p) {
		t.Fatalf("the descriptor holds %q there, %v", got, err)
	}
	if _, ok := r.Offset([]byte("elsewhere")); ok {
		t.Fatal("bytes of no ring have an offset")
	}
}

func TestAfterClose(t *testing.T) {
	ctx, run := task(t), t.TempDir()
	r := create(t, ctx, run, "test", 4, 16)
	if err := errors.Join(r.Close(), r.Close()); err != nil {
		t.Fatal(err)
	}
	_, e1 := r.Empty(ctx)
	_, e2 := r.Full(ctx)
	for i, err := range []error{e1, e2, r.Free(ctx), r.Fill(ctx, stream.Slot{Kind: stream.End})} {
		if !errors.Is(err, ErrClosed) {
			t.Errorf("call %d of a closed ring gave %v", i, err)
		}
	}
	if fd, mem := r.Region(); fd != -1 || mem != nil {
		t.Error("a closed ring has a region")
	}
}

func FuzzGrant(f *testing.F) {
	f.Add(geometry{32, 256 << 10}.grant())
	f.Add(geometry{MaxSlots, MaxSlotSize}.grant())
	f.Add([]byte("CAPSRING"))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		g, err := parseGrant(b)
		if err != nil {
			return
		}
		if g.check() != nil {
			t.Fatalf("%x was taken as %+v", b, g)
		}
		if !bytes.Equal(g.grant(), b) {
			t.Fatalf("%x became %x", b, g.grant())
		}
	})
}

// BenchmarkTwoProcesses passes blocks of 256 KiB through 32 slots, copied and
// summed by one process, summed by the other.
func BenchmarkTwoProcesses(b *testing.B) {
	const size = 256 << 10
	ctx, run := task(b), b.TempDir()
	r := create(b, ctx, run, "test", 32, size)
	startPeer(b, "fill", run, strconv.Itoa(b.N))
	b.SetBytes(size)
	b.ResetTimer()
	for range b.N {
		if _, err := r.Full(ctx); err != nil {
			b.Fatal(err)
		}
		if err := r.Free(ctx); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(r.Waits().Full)/float64(b.N), "waits/op")
}

// BenchmarkPingPong wakes the other process, and is woken, for each operation.
func BenchmarkPingPong(b *testing.B) {
	ctx, run := task(b), b.TempDir()
	ping, pong := create(b, ctx, run, "ping", 1, 16), create(b, ctx, run, "pong", 1, 16)
	startPeer(b, "echo", run)
	b.ResetTimer()
	for range b.N {
		if err := put(ctx, ping, "ping"); err != nil {
			b.Fatal(err)
		}
		if _, err := pong.Full(ctx); err != nil {
			b.Fatal(err)
		}
		if err := pong.Free(ctx); err != nil {
			b.Fatal(err)
		}
	}
}
