package vtl_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"capstan/core/dev"
	"capstan/core/rt"
	"capstan/sim/simtest"
	"capstan/vtl"
)

// slowly is a world's flow in which the host has a rate of its own, and the drive's if
// that is less.
func slowly(rate int64) func(ctx context.Context, via []dev.Resource, bytes int64) error {
	return func(ctx context.Context, via []dev.Resource, bytes int64) error {
		r := min(rate, via[len(via)-1].Rate)
		return rt.Sleep(ctx, time.Duration(float64(bytes)/float64(r)*1e9))
	}
}

func demo(model, suffix string, compression int64) vtl.Config {
	cfg := vtl.Demo("robot", 0, 1)
	for i := range cfg.Drives {
		cfg.Drives[i].Model = model
	}
	for i := range cfg.Cartridges {
		cfg.Cartridges[i].Barcode = fmt.Sprintf("CAP%03d%s", i+1, suffix)
		cfg.Cartridges[i].Compression = compression
	}
	return cfg
}

// TestRateAgainstHost: at each of the published speeds, and between, the drive keeps the
// host's rate without a stop (IBM, "Speed matching"); above its own it gives its own;
// below the slowest it keeps it, and stops 3600/(B/(f-a) + B/a) times an hour.
func TestRateAgainstHost(t *testing.T) {
	const mb = 1_000_000
	for _, tt := range []struct {
		model, suffix string
		compression   int64
		host, want    int64 // MB/s
		speed         int64 // of the tape
		stops         int64 // an hour
	}{
		{"LTO-9", "L9", 0, 500, 400, 408, 0},
		{"LTO-9", "L9", 0, 385, 385, 385, 0},
		{"LTO-9", "L9", 0, 300, 300, 305, 0},
		{"LTO-9", "L9", 0, 177, 177, 177, 0},
		{"LTO-9", "L9", 0, 100, 100, 177, 146},
		{"LTO-9", "L9", 0, 1, 1, 177, 3},
		{"LTO-9 HH", "L9", 0, 500, 300, 284, 0},
		{"LTO-9", "L8", 0, 500, 360, 365, 0}, // an older medium is as slow as its own drive
		{"LTO-9", "L8", 0, 112, 112, 112, 0},
		{"LTO-9", "L9", 250, 2000, 750, 305, 0}, // Fibre Channel: 750 MB/s
		{"LTO-9", "L9", 250, 442, 442, 177, 0},
		{"LTO-9", "L9", 250, 250, 250, 177, 146},
		{"LTO-10", "PA", 0, 1000, 400, 407, 0},
		{"LTO-10", "LA", 0, 157, 157, 157, 0},
		{"LTO-10", "PA", 0, 162, 162, 162, 0},
		{"LTO-10", "PA", 0, 181, 181, 181, 0},
		{"LTO-5 HH", "L5", 0, 20, 20, 47, 154},
	} {
		t.Run(fmt.Sprintf("%s %s at %d", tt.model, tt.suffix, tt.host), func(t *testing.T) {
			with(t, demo(tt.model, tt.suffix, tt.compression), vtl.Options{Transfer: slowly(tt.host * mb)}, func(ctx context.Context, l *vtl.Library) {
				_, d := mount(t, ctx, l, 1)
				begin := rt.Mono(ctx)
				var wrote int64
				for rt.Mono(ctx)-begin < time.Hour { // in parts, as a backup comes
					n, err := d.WriteHollow(ctx, tt.host*mb/2, 256<<10, nil)
					if err != nil {
						want(t, "hollow write", err, dev.ErrEarlyWarning)
						break
					}
					wrote += n
				}
				took := rt.Mono(ctx) - begin
				if got := int64(float64(wrote)/took.Seconds()) / mb; got < tt.want-1 || got > tt.want {
					t.Errorf("%d MB/s; want %d", got, tt.want)
				}
				_, drives := l.Stats()
				s := drives[0]
				hour := int64(float64(s.BackHitches) * 3600 / took.Seconds())
				if hour < tt.stops-2 || hour > tt.stops+2 || s.Speed != tt.speed*mb || s.Stalled != 0 {
					t.Errorf("%d stops an hour at %d MB/s, %v lost; want %d at %d", hour, s.Speed/mb, s.Stalled, tt.stops, tt.speed)
				}
				if s.BackHitching != time.Duration(s.BackHitches)*3*time.Second {
					t.Errorf("%d stops took %v", s.BackHitches, s.BackHitching)
				}
			})
		})
	}
}

// TestSlowBlocks: blocks with bytes that come slowly stop the tape as hollow ones do, and
// so do reads; a filemark that is waited for costs a back-hitch, an immediate one nothing.
func TestSlowBlocks(t *testing.T) {
	cfg := demo("LTO-5", "L5", 0)
	with(t, cfg, vtl.Options{}, func(ctx context.Context, l *vtl.Library) {
		_, d := mount(t, ctx, l, 1)
		block := make([]byte, 1<<20)
		stops := func(do func() error) int64 {
			_, before := l.Stats()
			for range 1000 {
				want(t, "block", do(), nil)
				want(t, "sleep", rt.Sleep(ctx, 100*time.Millisecond), nil)
			}
			_, after := l.Stats()
			return after[0].BackHitches - before[0].BackHitches
		}
		// Near 10 MB/s, so a cycle is 256 MiB/(47-10) + 256 MiB/10 = 33 s of some 107.
		if n := stops(func() error { return d.Write(ctx, block) }); n != 3 {
			t.Errorf("slow writes stopped the tape %d times", n)
		}
		begin := rt.Mono(ctx)
		want(t, "immediate filemark", d.WriteFilemarks(ctx, 1, true), nil)
		if took := rt.Mono(ctx) - begin; took != 0 {
			t.Errorf("an immediate filemark takes %v", took)
		}
		want(t, "filemark", d.WriteFilemarks(ctx, 1, false), nil)
		if took := rt.Mono(ctx) - begin; took != 3*time.Second {
			t.Errorf("a synchronous filemark takes %v", took)
		}
		want(t, "rewind", d.Rewind(ctx), nil)
		if n := stops(func() error { _, err := d.Read(ctx, block); return err }); n != 3 && n != 4 {
			t.Errorf("slow reads stopped the tape %d times", n)
		}
	})
}

// TestCompression: a cartridge holds so much more, and positions follow.
func TestCompression(t *testing.T) {
	cfg := demo("LTO-8", "L8", 250)
	with(t, cfg, vtl.Options{}, func(ctx context.Context, l *vtl.Library) {
		_, d := mount(t, ctx, l, 1)
		n, err := d.WriteHollow(ctx, 100e12, 256<<10, nil)
		want(t, "hollow write", err, dev.ErrEarlyWarning)
		if n < 29_700e9 || n > 29_701e9 { // 2.5 × (12 TB - 1 %)
			t.Errorf("%d bytes fit", n)
		}
		s, err := d.Status(ctx)
		want(t, "status", err, nil)
		if s.Written < 11_880e9 || s.Written > 11_881e9 {
			t.Errorf("%d bytes of the tape are used", s.Written)
		}
	})
	for _, bad := range []int64{99, -1, 10_001} {
		simtest.Run(t, func(ctx context.Context) {
			if _, err := vtl.New(ctx, demo("LTO-8", "L8", bad), vtl.Options{}); err == nil {
				t.Errorf("a compression of %d hundredths is taken", bad)
			}
		})
	}
}

// TestFirstLoad: a drive of LTO-9 measures a new cartridge at its first load, and is not
// ready meanwhile; later loads take 17 s. The time is the seed's, and other generations
// take none.
func TestFirstLoad(t *testing.T) {
	first := func(model, suffix string) (took time.Duration, calibrations int64) {
		cfg := demo(model, suffix, 0)
		for i := range cfg.Cartridges {
			cfg.Cartridges[i].Initialized = false
		}
		with(t, cfg, vtl.Options{}, func(ctx context.Context, l *vtl.Library) {
			robot, d := devices(t, ctx, l)
			want(t, "move", robot.Move(ctx, vtl.SlotAddress(1), vtl.DriveAddress(0)), nil)
			begin := rt.Mono(ctx)
			rt.Go(ctx, "looks", func(ctx context.Context) {
				want(t, "sleep", rt.Sleep(ctx, 5*time.Second), nil)
				if s, err := d.Status(ctx); err != nil || s.Ready {
					t.Errorf("while it loads: %+v, %v", s, err)
				}
			})
			want(t, "load", d.Load(ctx), nil)
			took = rt.Mono(ctx) - begin
			want(t, "unload", d.Unload(ctx), nil)
			begin = rt.Mono(ctx)
			want(t, "load again", d.Load(ctx), nil)
			if again := rt.Mono(ctx) - begin; again > 20*time.Second {
				t.Errorf("the second load takes %v", again)
			}
			_, drives := l.Stats()
			calibrations = drives[0].Calibrations
			if calibrations > 0 && drives[0].Calibrating != took-17*time.Second {
				t.Errorf("calibrating took %v of %v", drives[0].Calibrating, took)
			}
		})
		return took, calibrations
	}
	took, n := first("LTO-9", "L9")
	if n != 1 || took < 15*time.Minute || took > 2*time.Hour+time.Minute {
		t.Errorf("LTO-9: %d calibrations, %v", n, took)
	}
	if again, _ := first("LTO-9", "L9"); again != took {
		t.Errorf("one seed gives %v and %v", took, again)
	}
	for _, tt := range [][2]string{{"LTO-10", "LA"}, {"LTO-10", "PA"}, {"LTO-9", "L8"}, {"LTO-8", "L8"}} {
		if took, n := first(tt[0], tt[1]); n != 0 || took > 20*time.Second {
			t.Errorf("%s, %s: %d calibrations, %v", tt[0], tt[1], n, took)
		}
	}
}

// TestCleaningInterval: a drive asks to be cleaned after 39 hours of work, and a cleaning
// cartridge works fifty times.
func TestCleaningInterval(t *testing.T) {
	cfg := demo("LTO-8", "L8", 0)
	cfg.Cartridges = append(cfg.Cartridges, vtl.CartridgeConfig{Barcode: "CLN001L1", Slot: 9})
	with(t, cfg, vtl.Options{}, func(ctx context.Context, l *vtl.Library) {
		robot, d := mount(t, ctx, l, 1)
		asks := func() bool {
			t.Helper()
			s, err := d.Status(ctx)
			want(t, "status", err, nil)
			return s.CleaningNeeded
		}
		for hour := 0; hour < 40; hour += 8 {
			if asks() {
				t.Errorf("the drive asks to be cleaned after %d hours", hour)
			}
			_, err := d.WriteHollow(ctx, 360e6*3600*8, 256<<10, nil)
			want(t, "hollow write", err, nil)
			want(t, "rewind", d.Rewind(ctx), nil)
		}
		if !asks() {
			t.Error("the drive does not ask to be cleaned")
		}
		want(t, "unload", d.Unload(ctx), nil)
		want(t, "move", robot.Move(ctx, vtl.DriveAddress(0), vtl.SlotAddress(1)), nil)
		want(t, "move", robot.Move(ctx, vtl.SlotAddress(9), vtl.DriveAddress(0)), nil)
		begin := rt.Mono(ctx)
		for range 50 {
			want(t, "cleaning", d.Load(ctx), dev.ErrCleaningCartridge)
		}
		if took := rt.Mono(ctx) - begin; took != 50*340*time.Second || asks() {
			t.Errorf("50 cleanings took %v; the drive asks: %v", took, asks())
		}
		want(t, "load of a cleaning cartridge that is used up", d.Load(ctx), dev.ErrCleaningCartridge)
		_, drives := l.Stats()
		if drives[0].Cleanings != 50 {
			t.Errorf("%d cleanings", drives[0].Cleanings)
		}
	})
}

// TestSorter: only drives that recommend an order do, and the order that a role gets is
// the one that the drive's model makes.
func TestSorter(t *testing.T) {
	for _, tt := range []struct {
		model, suffix string
		want          error
	}{
		{"LTO-9", "L9", nil}, {"LTO-10", "LA", nil}, {"LTO-9 HH", "L9", dev.ErrNotSupported}, {"LTO-8", "L8", dev.ErrNotSupported},
	} {
		with(t, demo(tt.model, tt.suffix, 0), vtl.Options{}, func(ctx context.Context, l *vtl.Library) {
			_, d := mount(t, ctx, l, 1)
			_, err := d.WriteHollow(ctx, 2e12, 1<<20, nil)
			want(t, "hollow write", err, nil)
			want(t, "rewind", d.Rewind(ctx), nil)
			extents := []dev.Extent{{First: 120_000, Last: 120_010}, {First: 61_000, Last: 61_010}, {First: 5, Last: 15}, {First: 1_800_000, Last: 9_000_000}}
			order, err := d.(dev.Sorter).Sort(ctx, extents)
			want(t, tt.model, err, tt.want)
			if err != nil {
				return
			}
			read := func(order []int) time.Duration {
				want(t, "rewind", d.Rewind(ctx), nil)
				begin := rt.Mono(ctx)
				for _, i := range order {
					want(t, "locate", d.Locate(ctx, extents[i].First), nil)
				}
				return rt.Mono(ctx) - begin
			}
			if a, b := read(order), read([]int{0, 1, 2, 3}); len(order) != 4 || a >= b {
				t.Errorf("%s: the order %v takes %v, as given %v", tt.model, order, a, b)
			}
			_, err = d.(dev.Sorter).Sort(ctx, make([]dev.Extent, vtl.MaxAccesses+1))
			want(t, "a list that is too long", err, dev.ErrNotSupported)
		})
	}
}
