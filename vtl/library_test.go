package vtl_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"capstan/core/dev"
	"capstan/core/host"
	"capstan/core/pbx"
	"capstan/core/rt"
	"capstan/core/store"
	"capstan/sim"
	"capstan/sim/simtest"
	simstore "capstan/sim/store"
	"capstan/vtl"
)

// want checks an error's condition; nil is success.
func want(t *testing.T, what string, err, condition error) {
	t.Helper()
	if (condition == nil && err != nil) || (condition != nil && !errors.Is(err, condition)) {
		t.Errorf("%s: %v; want %v", what, err, condition)
	}
}

// with runs body with a new library of the test's configuration.
func with(t *testing.T, cfg vtl.Config, opts vtl.Options, body func(ctx context.Context, l *vtl.Library)) {
	t.Helper()
	simtest.Run(t, func(ctx context.Context) {
		l, err := vtl.New(ctx, cfg, opts)
		if err != nil {
			t.Error(err)
			return
		}
		body(ctx, l)
		want(t, "close", l.Close(ctx), nil)
	})
}

func devices(t *testing.T, ctx context.Context, l dev.Finder) (robot dev.Changer, d dev.HollowDrive) {
	t.Helper()
	robot, err := l.Changer(ctx, "robot")
	want(t, "robot", err, nil)
	drive, err := l.Drive(ctx, "robot-d0")
	want(t, "drive", err, nil)
	return robot, drive.(dev.HollowDrive)
}

// mount loads the cartridge of a slot into the first drive.
func mount(t *testing.T, ctx context.Context, l dev.Finder, slot int) (dev.Changer, dev.HollowDrive) {
	t.Helper()
	robot, d := devices(t, ctx, l)
	want(t, "move", robot.Move(ctx, vtl.SlotAddress(slot), vtl.DriveAddress(0)), nil)
	want(t, "load", d.Load(ctx), nil)
	return robot, d
}

func TestDemo(t *testing.T) {
	with(t, vtl.Demo("robot", 2<<30, 0), vtl.Options{}, func(ctx context.Context, l *vtl.Library) {
		robot, d := mount(t, ctx, l, 1)
		all, err := robot.Inventory(ctx)
		want(t, "inventory", err, nil)
		count := map[dev.ElementKind]int{}
		full := 0
		for _, e := range all {
			count[e.Kind]++
			if e.Full {
				full++
			}
		}
		if d := cmp.Diff(map[dev.ElementKind]int{dev.Transport: 1, dev.DriveElement: 2, dev.ImportExport: 1, dev.Slot: 10}, count); d != "" {
			t.Error(d)
		}
		s, err := d.Status(ctx)
		want(t, "status", err, nil)
		if full != 8 || s.Density != "LTO-9" || s.Capacity != 2<<30 {
			t.Errorf("%d cartridges, status %+v", full, s)
		}
	})
}

func TestTimes(t *testing.T) {
	cfg := testConfig(1)
	with(t, cfg, vtl.Options{}, func(ctx context.Context, l *vtl.Library) {
		took := func(what string, want time.Duration, fn func() error) {
			t.Helper()
			begin := rt.Mono(ctx)
			if err := fn(); err != nil {
				t.Errorf("%s: %v", what, err)
			}
			if got := rt.Mono(ctx) - begin; got != want {
				t.Errorf("%s took %v; want %v", what, got, want)
			}
		}
		robot, d := devices(t, ctx, l)
		// A column of 2 drives, the mail slot, and slots from the fourth row on. From the
		// arm to slot 1 are 3 rows, to the drive 3, of 30 mm at 0.5 m/s.
		took("move", 8*time.Second+360*time.Millisecond, func() error {
			return robot.Move(ctx, vtl.SlotAddress(1), vtl.DriveAddress(0))
		})
		took("load", 17*time.Second, func() error { return d.Load(ctx) })
		block := make([]byte, 400_000)
		took("write", time.Millisecond, func() error { return d.Write(ctx, block) })
		took("filemark", 3*time.Second, func() error { return d.WriteFilemarks(ctx, 1, false) })
		took("filemark with nothing written", 0, func() error { return d.WriteFilemarks(ctx, 0, false) })
		took("unload", 85*time.Second, func() error { return d.Unload(ctx) })
		r, drives := l.Stats()
		if r.Moves != 1 || r.Busy != 8360*time.Millisecond {
			t.Errorf("robot: %+v", r)
		}
		s := dev.DriveStats{
			Name: "robot-d0", Mounts: 1, BytesWritten: 400_000, Filemarks: 1, Loading: 17 * time.Second,
			Unloading: 85 * time.Second, Transferring: time.Millisecond, Flushing: 3 * time.Second, Speed: 408e6,
		}
		if d := cmp.Diff(s, drives[0]); d != "" {
			t.Error(d)
		}
	})
}

// TestHollowFlow: hollow data takes the time of the flow that the world gives,
// with the drive among the resources, and the slowest rate without one.
func TestHollowFlow(t *testing.T) {
	cfg := vtl.Demo("robot", 0, 1)
	via := []dev.Resource{{Name: "client", Rate: 100e6}}
	var saw []dev.Resource
	with(t, cfg, vtl.Options{Transfer: func(_ context.Context, via []dev.Resource, n int64) error {
		saw = via
		if n != 1e12 {
			return fmt.Errorf("%d bytes", n)
		}
		return nil
	}}, func(ctx context.Context, l *vtl.Library) {
		_, d := mount(t, ctx, l, 1)
		n, err := d.WriteHollow(ctx, 1e12, 256<<10, via)
		want(t, "hollow write", err, nil)
		if n != 1e12 {
			t.Errorf("%d bytes written", n)
		}
		if d := cmp.Diff([]dev.Resource{via[0], {Name: "robot-d0", Rate: 400e6}}, saw); d != "" {
			t.Error(d)
		}
	})
	with(t, cfg, vtl.Options{}, func(ctx context.Context, l *vtl.Library) {
		_, d := mount(t, ctx, l, 1)
		begin := rt.Mono(ctx)
		_, err := d.WriteHollow(ctx, 1e12, 256<<10, via)
		want(t, "hollow write", err, nil)
		if took := rt.Mono(ctx) - begin; took != 10000*time.Second {
			t.Errorf("1 TB at 100 MB/s took %v", took)
		}
		begin = rt.Mono(ctx)
		_, err = d.WriteHollow(ctx, 1e12, 256<<10, []dev.Resource{{Name: "client", Rate: 100e6, Stream: 50e6}})
		want(t, "hollow write", err, nil)
		if took := rt.Mono(ctx) - begin; took != 20000*time.Second {
			t.Errorf("1 TB at 50 MB/s for one transfer took %v", took)
		}
	})
}

// TestHollowInterrupted: another command while hollow data is on its way makes
// the position uncertain, and nothing is written.
func TestHollowInterrupted(t *testing.T) {
	with(t, vtl.Demo("robot", 0, 1), vtl.Options{}, func(ctx context.Context, l *vtl.Library) {
		_, d := mount(t, ctx, l, 1)
		want(t, "write", d.Write(ctx, []byte("label")), nil)
		ctx2 := ctx
		rt.Go(ctx, "other", func(ctx context.Context) {
			want(t, "sleep", rt.Sleep(ctx, time.Second), nil)
			want(t, "rewind by another", d.Rewind(ctx), nil)
		})
		n, err := d.WriteHollow(ctx2, 1e12, 256<<10, nil)
		want(t, "hollow write", err, dev.ErrPositionLost)
		if s, err := d.Status(ctx); n != 0 || err != nil || s.Written != 5 {
			t.Errorf("%d bytes said to be written, status %+v, %v", n, s, err)
		}
	})
}

func TestFaults(t *testing.T) {
	block := []byte("block")
	with(t, testConfig(0), vtl.Options{}, func(ctx context.Context, l *vtl.Library) {
		robot, d := mount(t, ctx, l, 1)
		wantAt := func(block int64) {
			t.Helper()
			if p, err := d.Position(ctx); err != nil || p.Block != block {
				t.Errorf("position %+v, %v; want block %d", p, err, block)
			}
		}
		l.Inject(dev.Fault{Device: "robot-d0", Op: dev.OpWrite, Skip: 1, Times: 2, Err: dev.ErrMedium})
		want(t, "write before the fault", d.Write(ctx, block), nil)
		want(t, "first failing write", d.Write(ctx, block), dev.ErrMedium)
		want(t, "second failing write", d.Write(ctx, block), dev.ErrMedium)
		want(t, "write after the fault", d.Write(ctx, block), nil)
		wantAt(2)

		l.Inject(dev.Fault{Device: "CAP001L9", Op: dev.OpWrite, Err: dev.ErrEarlyWarning})
		want(t, "write with early warning", d.Write(ctx, block), dev.ErrEarlyWarning)
		wantAt(3) // it was done

		l.Inject(dev.Fault{Op: dev.OpWrite, Err: dev.ErrGone, Done: true})
		want(t, "write with a lost answer", d.Write(ctx, block), dev.ErrGone)
		wantAt(4)

		l.Inject(dev.Fault{Op: dev.OpWrite, Err: dev.ErrPositionLost})
		want(t, "write that meets a reset", d.Write(ctx, block), dev.ErrPositionLost)
		want(t, "write at an unknown position", d.Write(ctx, block), dev.ErrPositionLost)
		wantAt(4)
		want(t, "write at a known position", d.Write(ctx, block), nil)

		l.Inject(dev.Fault{Op: dev.OpRewind, Err: dev.ErrCleaning})
		want(t, "rewind", d.Rewind(ctx), dev.ErrCleaning)
		if s, err := d.Status(ctx); err != nil || !s.CleaningNeeded {
			t.Errorf("status %+v, %v; want cleaning needed", s, err)
		}

		l.Inject(dev.Fault{Device: "robot-d0", Times: -1, Err: dev.ErrGone})
		want(t, "rewind of a drive that is gone", d.Rewind(ctx), dev.ErrGone)
		_, err := d.Status(ctx)
		want(t, "status of a drive that is gone", err, dev.ErrGone)
		l.ClearFaults()
		want(t, "rewind of a drive that is back", d.Rewind(ctx), nil)

		l.Inject(dev.Fault{Device: "CAP002L9", Op: dev.OpMove, Drop: true})
		want(t, "move of a cartridge that is dropped", robot.Move(ctx, vtl.SlotAddress(2), vtl.SlotAddress(10)), dev.ErrHardware)
		want(t, "move of a dropped cartridge", robot.Move(ctx, vtl.SlotAddress(2), vtl.SlotAddress(10)), dev.ErrSourceEmpty)
		want(t, "the drop's destination", robot.Move(ctx, vtl.SlotAddress(10), vtl.SlotAddress(2)), dev.ErrSourceEmpty)
		want(t, "putting it back", l.PutIn(ctx, "CAP002L9", vtl.FirstImportExport), nil)
		want(t, "move from the mail slot", robot.Move(ctx, vtl.FirstImportExport, vtl.SlotAddress(2)), nil)
	})
}

func TestHungDrive(t *testing.T) {
	with(t, testConfig(1), vtl.Options{}, func(ctx context.Context, l *vtl.Library) {
		_, d := mount(t, ctx, l, 1)
		l.Inject(dev.Fault{Op: dev.OpRewind, Delay: time.Hour})
		begin := rt.Mono(ctx)
		want(t, "rewind", d.Rewind(ctx), nil)
		if took := rt.Mono(ctx) - begin; took != time.Hour {
			t.Errorf("the rewind took %v", took)
		}
	})
}

// TestCallerIsKilled: a command that began ends though its caller is killed, and
// the device serves the next one.
func TestCallerIsKilled(t *testing.T) {
	w := sim.New(sim.Options{Seed: 1})
	defer w.Close()
	h := w.NewHost("media", pbx.Media)
	h.Boot()
	if err := w.Do(h, "test", func(ctx context.Context, _ *host.Env) error {
		l, err := vtl.New(ctx, testConfig(1), vtl.Options{})
		if err != nil {
			return err
		}
		victim := h.Spawn("victim", func(ctx context.Context, _ *host.Env) error {
			robot, _ := devices(t, ctx, l)
			err := robot.Move(ctx, vtl.SlotAddress(1), vtl.DriveAddress(0))
			t.Errorf("the victim lives: %v", err)
			return nil
		})
		if err := rt.Sleep(ctx, time.Second); err != nil {
			return err
		}
		victim.Kill()
		robot, _ := devices(t, ctx, l)
		want(t, "the next move", robot.Move(ctx, vtl.SlotAddress(2), vtl.DriveAddress(1)), nil)
		want(t, "a move into the drive that the victim filled", robot.Move(ctx, vtl.SlotAddress(3), vtl.DriveAddress(0)), dev.ErrDestinationFull)
		return l.Close(ctx)
	}); err != nil {
		t.Error(err)
	}
}

// TestCallerIsKilledAtDrive: a drive is at work for as long as if the caller of its
// command lived, and then where that went.
func TestCallerIsKilledAtDrive(t *testing.T) {
	w := sim.New(sim.Options{Seed: 1})
	defer w.Close()
	h := w.NewHost("media", pbx.Media)
	h.Boot()
	if err := w.Do(h, "test", func(ctx context.Context, _ *host.Env) error {
		l, err := vtl.New(ctx, testConfig(1), vtl.Options{})
		if err != nil {
			return err
		}
		_, d := mount(t, ctx, l, 1)
		want(t, "write", d.Write(ctx, make([]byte, 400_000)), nil)
		victim := h.Spawn("victim", func(ctx context.Context, _ *host.Env) error {
			_, d := devices(t, ctx, l)
			t.Errorf("the victim lives: %v", d.WriteFilemarks(ctx, 1, false)) // takes 3 s
			return nil
		})
		if err := rt.Sleep(ctx, time.Second); err != nil {
			return err
		}
		victim.Kill()
		begin := rt.Mono(ctx)
		p, err := d.Position(ctx)
		want(t, "position", err, nil)
		if took := rt.Mono(ctx) - begin; took != 2*time.Second || p.Block != 2 {
			t.Errorf("after %v the drive is at %+v; want it after 2s at block 2", took, p)
		}
		begin = rt.Mono(ctx)
		want(t, "the next write", d.Write(ctx, make([]byte, 400_000)), nil)
		if took := rt.Mono(ctx) - begin; took != time.Millisecond {
			t.Errorf("the next write took %v", took)
		}
		return l.Close(ctx)
	}); err != nil {
		t.Error(err)
	}
}

func TestCancelledBefore(t *testing.T) {
	with(t, testConfig(0), vtl.Options{}, func(ctx context.Context, l *vtl.Library) {
		_, d := mount(t, ctx, l, 1)
		ctx, cancel := rt.WithCancel(ctx)
		cause := errors.New("told to end")
		cancel(cause)
		want(t, "write", d.Write(ctx, []byte("x")), cause)
	})
}

func TestPlacementIsKept(t *testing.T) {
	dir := simstore.NewDir(0, rand.New(rand.NewPCG(1, 1)))
	cfg := testConfig(0)
	var before []dev.Element
	with(t, cfg, vtl.Options{Dir: dir}, func(ctx context.Context, l *vtl.Library) {
		robot, d := mount(t, ctx, l, 3)
		want(t, "write", d.Write(ctx, []byte("kept")), nil)
		want(t, "move", robot.Move(ctx, vtl.SlotAddress(1), vtl.SlotAddress(9)), nil)
		want(t, "to the mail slot", robot.Move(ctx, vtl.SlotAddress(2), vtl.FirstImportExport), nil)
		b, err := l.TakeOut(ctx, vtl.FirstImportExport)
		want(t, "taking it out", err, nil)
		if b != "CAP002L9" {
			t.Errorf("took out %s", b)
		}
		before, err = robot.Inventory(ctx)
		want(t, "inventory", err, nil)
	})
	with(t, cfg, vtl.Options{Dir: dir}, func(ctx context.Context, l *vtl.Library) {
		robot, d := devices(t, ctx, l)
		after, err := robot.Inventory(ctx)
		want(t, "inventory", err, nil)
		if d := cmp.Diff(before, after); d != "" {
			t.Error(d)
		}
		want(t, "rewind of what is in the drive, not loaded", d.Rewind(ctx), dev.ErrNotReady)
		want(t, "load", d.Load(ctx), nil)
		p := make([]byte, 10)
		if n, err := d.Read(ctx, p); err != nil || string(p[:n]) != "kept" {
			t.Errorf("read %q, %v", p[:n], err)
		}
	})
	cfg.Cartridges = cfg.Cartridges[1:]
	simtest.Run(t, func(ctx context.Context) {
		if _, err := vtl.New(ctx, cfg, vtl.Options{Dir: dir}); err == nil || !strings.Contains(err.Error(), "CAP001L9") {
			t.Errorf("a library that has lost a cartridge's configuration: %v", err)
		}
	})
}

func TestImportTap(t *testing.T) {
	dir := simstore.NewDir(0, rand.New(rand.NewPCG(1, 1)))
	put := func(ctx context.Context, name string, b []byte) {
		f, err := dir.Create(ctx, name)
		want(t, "create", err, nil)
		_, err = f.WriteAt(b, 0)
		want(t, "write", err, nil)
		want(t, "sync", errors.Join(f.Sync(), f.Close(), dir.Sync(ctx, "")), nil)
	}
	foreign := []byte("\x03\x00\x00\x00abc\x00\x03\x00\x00\x00\x00\x00\x00\x00\x09\x00\x00\x00to")
	simtest.Run(t, func(ctx context.Context) {
		put(ctx, "CAP001L9.tap", foreign)
	})
	with(t, testConfig(0), vtl.Options{Dir: dir}, func(ctx context.Context, l *vtl.Library) {
		_, d := mount(t, ctx, l, 1)
		p := make([]byte, 10)
		if n, err := d.Read(ctx, p); err != nil || string(p[:n]) != "abc" {
			t.Errorf("read %q, %v", p[:n], err)
		}
		_, err := d.Read(ctx, p)
		want(t, "read", err, dev.ErrFilemark)
		_, err = d.Read(ctx, p)
		want(t, "read of the torn record", err, dev.ErrEndOfData)
		_, err = d.WriteHollow(ctx, 1000, 100, nil)
		want(t, "hollow write to a .tap file", err, dev.ErrNotSupported)
		want(t, "write", d.Write(ctx, []byte("more")), nil)
		want(t, "flush", d.WriteFilemarks(ctx, 0, false), nil)
	})
	simtest.Run(t, func(ctx context.Context) { put(ctx, "CAP001L9.tap", foreign) })
	with(t, testConfig(0), vtl.Options{Dir: dir}, func(ctx context.Context, l *vtl.Library) {
		_, d := devices(t, ctx, l)
		want(t, "load of a file that lost what was durable", d.Load(ctx), dev.ErrMedium)
	})
}

func TestIncompatible(t *testing.T) {
	cfg := testConfig(0)
	cfg.Drives[0].Model = "LTO-7"
	cfg.Drives[1].Model = "LTO-8"
	cfg.Cartridges[0] = vtl.CartridgeConfig{Barcode: "OLD001L5", Capacity: testCapacity, Reserve: testReserve, Slot: 1}
	with(t, cfg, vtl.Options{}, func(ctx context.Context, l *vtl.Library) {
		robot, d := mount(t, ctx, l, 1)
		want(t, "write of a medium two generations old", d.Write(ctx, []byte("x")), dev.ErrWriteProtected)
		_, err := d.Read(ctx, make([]byte, 1))
		want(t, "read of it", err, dev.ErrEndOfData)
		want(t, "unload", d.Unload(ctx), nil)
		want(t, "move", robot.Move(ctx, vtl.DriveAddress(0), vtl.SlotAddress(1)), nil)
		want(t, "move", robot.Move(ctx, vtl.SlotAddress(2), vtl.DriveAddress(0)), nil)
		want(t, "load of a newer medium", d.Load(ctx), dev.ErrIncompatible)
		want(t, "taking it out", robot.Move(ctx, vtl.DriveAddress(0), vtl.SlotAddress(2)), nil)
	})
}

func TestClosed(t *testing.T) {
	simtest.Run(t, func(ctx context.Context) {
		l, err := vtl.New(ctx, testConfig(0), vtl.Options{})
		want(t, "new", err, nil)
		robot, d := mount(t, ctx, l, 1)
		want(t, "close", l.Close(ctx), nil)
		want(t, "rewind", d.Rewind(ctx), dev.ErrGone)
		want(t, "move", robot.Move(ctx, vtl.SlotAddress(2), vtl.SlotAddress(10)), dev.ErrGone)
	})
}

func TestConfigErrors(t *testing.T) {
	for _, tt := range []struct {
		name string
		edit func(c *vtl.Config)
		want string
	}{
		{"no name", func(c *vtl.Config) { c.Name = "" }, "no name"},
		{"no slots", func(c *vtl.Config) { c.Slots = 0 }, "0 slots"},
		{"drive twice", func(c *vtl.Config) { c.Drives[1].Name = c.Drives[0].Name }, "used twice"},
		{"drive model", func(c *vtl.Config) { c.Drives[0].Model = "LTO-77" }, `"LTO-77"`},
		{"robot model", func(c *vtl.Config) { c.Robot = "arm" }, `"arm"`},
		{"barcode", func(c *vtl.Config) { c.Cartridges[0].Barcode = "../x" }, "barcode"},
		{"barcode twice", func(c *vtl.Config) { c.Cartridges[0].Barcode = c.Cartridges[1].Barcode }, "twice"},
		{"density", func(c *vtl.Config) { c.Cartridges[0].Barcode = "ABC" }, "density"},
		{"slot taken", func(c *vtl.Config) { c.Cartridges[0].Slot = 2 }, "slot"},
		{"slot beyond", func(c *vtl.Config) { c.Cartridges[0].Slot = 11 }, "1 to 10"},
		{"all reserve", func(c *vtl.Config) { c.Cartridges[0].Capacity = 100; c.Cartridges[0].Reserve = 0 }, "nothing can be written"},
		{"time", func(c *vtl.Config) { c.TimeScale = -1 }, "time scale"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			simtest.Run(t, func(ctx context.Context) {
				cfg := testConfig(0)
				tt.edit(&cfg)
				if _, err := vtl.New(ctx, cfg, vtl.Options{}); err == nil || !strings.Contains(err.Error(), tt.want) {
					t.Errorf("error %v; want one with %q", err, tt.want)
				}
			})
		})
	}
}

// flaky is a directory whose files cannot be synced while failing is set.
type flaky struct {
	store.Dir
	failing bool
}

type flakyFile struct {
	store.File
	dir *flaky
}

var errDisk = errors.New("the disk is broken")

func (d *flaky) Open(ctx context.Context, name string) (store.File, error) {
	f, err := d.Dir.Open(ctx, name)
	return &flakyFile{f, d}, err
}

func (f *flakyFile) Sync() error {
	if f.dir.failing {
		return errDisk
	}
	return f.File.Sync()
}

// TestFailedSync: after a sync that failed no later one is believed; a new load
// finds what was durable before.
func TestFailedSync(t *testing.T) {
	dir := &flaky{Dir: simstore.NewDir(0, rand.New(rand.NewPCG(1, 1)))}
	with(t, testConfig(0), vtl.Options{Dir: dir}, func(ctx context.Context, l *vtl.Library) {
		robot, d := mount(t, ctx, l, 1)
		want(t, "write", d.Write(ctx, []byte("one")), nil)
		want(t, "flush", d.WriteFilemarks(ctx, 0, false), nil)
		want(t, "write", d.Write(ctx, []byte("two")), nil)
		dir.failing = true
		want(t, "flush on a broken disk", d.WriteFilemarks(ctx, 0, false), dev.ErrMedium)
		dir.failing = false
		want(t, "flush after one that failed", d.WriteFilemarks(ctx, 0, false), errDisk)
		want(t, "write after a flush that failed", d.Write(ctx, []byte("three")), dev.ErrMedium)
		want(t, "unload", d.Unload(ctx), dev.ErrMedium)
		want(t, "taking it out", robot.Move(ctx, vtl.DriveAddress(0), vtl.SlotAddress(1)), nil)
		want(t, "putting it in", robot.Move(ctx, vtl.SlotAddress(1), vtl.DriveAddress(0)), nil)
		want(t, "load", d.Load(ctx), nil)
		p := make([]byte, 10)
		if n, err := d.Read(ctx, p); err != nil || string(p[:n]) != "one" {
			t.Errorf("read %q, %v", p[:n], err)
		}
		_, err := d.Read(ctx, p)
		want(t, "read of what was not durable", err, dev.ErrEndOfData)
	})
}

func TestServe(t *testing.T) {
	simtest.Run(t, func(ctx context.Context) {
		var l *vtl.Library
		up := rt.NewEvent(ctx)
		down := rt.NewEvent(ctx)
		inner, cancel := rt.WithCancel(ctx)
		rt.Go(inner, "library", func(ctx context.Context) {
			want(t, "serve", vtl.Serve(ctx, testConfig(0), vtl.Options{}, func(made *vtl.Library) {
				l = made
				up.Set()
			}), nil)
			down.Set()
		})
		want(t, "wait", up.Wait(ctx), nil)
		_, d := mount(t, ctx, l, 1)
		cancel(nil)
		want(t, "wait", down.Wait(ctx), nil)
		want(t, "rewind", d.Rewind(ctx), dev.ErrGone)
	})
}

func TestManyFilemarks(t *testing.T) {
	dir := simstore.NewDir(0, rand.New(rand.NewPCG(1, 1)))
	cfg := vtl.Demo("robot", 1<<30, 0)
	for _, opts := range []vtl.Options{{}, {Dir: dir}} {
		with(t, cfg, opts, func(ctx context.Context, l *vtl.Library) {
			_, d := mount(t, ctx, l, 1)
			want(t, "write", d.Write(ctx, []byte("x")), nil)
			want(t, "40000 filemarks", d.WriteFilemarks(ctx, 40000, false), nil)
			want(t, "write", d.Write(ctx, []byte("y")), nil)
			want(t, "more than one command has", d.WriteFilemarks(ctx, 1<<24, false), dev.ErrNotSupported)
			want(t, "more than fit", d.WriteFilemarks(ctx, 3<<20, false), dev.ErrVolumeOverflow)
			want(t, "space", d.Space(ctx, -40000), nil)
			if p, err := d.Position(ctx); err != nil || p.Block != 1 {
				t.Errorf("position %+v, %v; want block 1", p, err)
			}
			want(t, "unload", d.Unload(ctx), nil)
			want(t, "load", d.Load(ctx), nil)
			want(t, "locate", d.Locate(ctx, 40001), nil)
			p := make([]byte, 2)
			if n, err := d.Read(ctx, p); err != nil || string(p[:n]) != "y" {
				t.Errorf("read %q, %v", p[:n], err)
			}
		})
	}
}

// TestCleaningAndWORM is what cartridges of other kinds say to the roles.
func TestCleaningAndWORM(t *testing.T) {
	cfg := vtl.Demo("robot", 16<<20, 0)
	cfg.Cartridges[1].WORM = true
	cfg.Cartridges = append(cfg.Cartridges, vtl.CartridgeConfig{Barcode: "CLN001L1", Slot: 9})
	with(t, cfg, vtl.Options{}, func(ctx context.Context, l *vtl.Library) {
		robot, d := mount(t, ctx, l, 2)
		want(t, "write", d.Write(ctx, []byte("kept")), nil)
		want(t, "filemark", d.WriteFilemarks(ctx, 1, false), nil)
		want(t, "append", d.Write(ctx, []byte("more")), nil)
		want(t, "rewind", d.Rewind(ctx), nil)
		want(t, "overwrite", d.Write(ctx, []byte("lost")), dev.ErrWriteProtected)
		want(t, "erase", d.Erase(ctx), dev.ErrWriteProtected)
		b := make([]byte, 10)
		n, err := d.Read(ctx, b)
		want(t, "read", err, nil)
		if string(b[:n]) != "kept" {
			t.Errorf("a WORM cartridge lost its first block: %q", b[:n])
		}
		l.Inject(dev.Fault{Op: dev.OpRewind, Err: dev.ErrCleaning})
		want(t, "rewind", d.Rewind(ctx), dev.ErrCleaning)
		s, err := d.Status(ctx)
		want(t, "status", err, nil)
		if !s.CleaningNeeded {
			t.Error("the drive does not ask to be cleaned")
		}
		want(t, "unload", d.Unload(ctx), nil)
		want(t, "move", robot.Move(ctx, vtl.DriveAddress(0), vtl.SlotAddress(2)), nil)
		want(t, "move", robot.Move(ctx, vtl.SlotAddress(9), vtl.DriveAddress(0)), nil)
		want(t, "load", d.Load(ctx), dev.ErrCleaningCartridge)
		s, err = d.Status(ctx)
		want(t, "status", err, nil)
		if s.CleaningNeeded || s.Ready {
			t.Errorf("after the cleaning: %+v", s)
		}
		want(t, "move", robot.Move(ctx, vtl.DriveAddress(0), vtl.SlotAddress(9)), nil)
	})
}
