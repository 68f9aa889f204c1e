package vtl_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"capstan/core/dev"
	"capstan/core/rt"
	"capstan/sim/simtest"
	simstore "capstan/sim/store"
	"capstan/vtl"
)

// TestStrings: a cartridge that goes to another string is carried twice, and passes
// through the port between, for each string on its way.
func TestStrings(t *testing.T) {
	cfg := robotConfig("rack", 60, 3, 1)
	cfg.Strings, cfg.RobotTimes.PassThrough = 3, 100*time.Second
	with(t, cfg, vtl.Options{}, func(ctx context.Context, l *vtl.Library) {
		robot, _ := devices(t, ctx, l)
		for i, tt := range []struct {
			slot, drive int
			least, most time.Duration
			passes      int64
		}{
			{1, 0, 8 * time.Second, 12 * time.Second, 0},
			{2, 1, 116 * time.Second, 124 * time.Second, 1},
			{3, 2, 216 * time.Second, 224 * time.Second, 3},
		} {
			begin := rt.Mono(ctx)
			want(t, "move", robot.Move(ctx, vtl.SlotAddress(tt.slot), vtl.DriveAddress(tt.drive)), nil)
			s, _ := l.Stats()
			if took := rt.Mono(ctx) - begin; took < tt.least || took > tt.most || s.PassThroughs != tt.passes {
				t.Errorf("move %d: %v and %d passes in all; want %v to %v, %d", i, took, s.PassThroughs, tt.least, tt.most, tt.passes)
			}
		}
		begin := rt.Mono(ctx)
		want(t, "back", robot.Move(ctx, vtl.DriveAddress(2), vtl.SlotAddress(3)), nil)
		if took := rt.Mono(ctx) - begin; took < 216*time.Second || took > 224*time.Second {
			t.Errorf("the way back takes %v", took)
		}
	})
}

// TestMovesBesideEachOther: two arms carry at a time, three moves of two arms take two
// rounds, and two moves of one cartridge, or into one element, never meet.
func TestMovesBesideEachOther(t *testing.T) {
	with(t, robotConfig("rack", 40, 4, 2), vtl.Options{Dir: simstore.NewDir(0, rand.New(rand.NewPCG(1, 1)))}, func(ctx context.Context, l *vtl.Library) {
		robot, _ := devices(t, ctx, l)
		if m, ok := robot.(dev.Overlapping); !ok || m.Moves() != 2 {
			t.Error("the robot does not take two moves")
		}
		together := func(moves ...[2]int) (took time.Duration, errs []error) {
			begin := rt.Mono(ctx)
			errs = make([]error, len(moves))
			g, ctx := rt.NewGroup(ctx)
			for i, m := range moves {
				g.Go(ctx, "move", func(ctx context.Context) error {
					errs[i] = robot.Move(ctx, m[0], m[1])
					return nil
				})
			}
			want(t, "moves", g.Wait(ctx), nil)
			return rt.Mono(ctx) - begin, errs
		}
		slot, drive := vtl.SlotAddress, vtl.DriveAddress
		took, errs := together([2]int{slot(1), drive(0)}, [2]int{slot(30), drive(1)})
		want(t, "two moves", errors.Join(errs...), nil)
		if took > 16*time.Second {
			t.Errorf("two moves of two arms take %v", took)
		}
		took, errs = together([2]int{slot(2), drive(2)}, [2]int{slot(31), drive(3)}, [2]int{slot(3), slot(40)})
		want(t, "three moves", errors.Join(errs...), nil)
		if took < 16*time.Second || took > 30*time.Second {
			t.Errorf("three moves of two arms take %v", took)
		}
		took, errs = together([2]int{slot(5), slot(39)}, [2]int{slot(5), slot(38)}, [2]int{slot(6), slot(39)})
		want(t, "the first of three", errs[0], nil)
		want(t, "one whose cartridge is gone", errs[1], dev.ErrSourceEmpty)
		want(t, "one whose place is taken", errs[2], dev.ErrDestinationFull)
		if took > 16*time.Second {
			t.Errorf("moves that cannot be done take %v", took)
		}
		s, _ := l.Stats()
		if s.Moves != 6 || s.Arms != 2 {
			t.Errorf("%+v", s)
		}
	})
}

// TestStringsWorkBesideEachOther: moves that wait for the arm of one string do not keep
// the other's from work.
func TestStringsWorkBesideEachOther(t *testing.T) {
	cfg := robotConfig("rack", 40, 4, 1)
	cfg.Strings = 2
	with(t, cfg, vtl.Options{}, func(ctx context.Context, l *vtl.Library) {
		robot, _ := devices(t, ctx, l)
		begin := rt.Mono(ctx)
		g, ctx := rt.NewGroup(ctx)
		for i := range 2 {
			g.Go(ctx, "first string", func(ctx context.Context) error {
				return robot.Move(ctx, vtl.SlotAddress(i+1), vtl.DriveAddress(i))
			})
		}
		g.Go(ctx, "second string", func(ctx context.Context) error {
			err := robot.Move(ctx, vtl.SlotAddress(21), vtl.DriveAddress(2))
			if took := rt.Mono(ctx) - begin; took > 12*time.Second {
				t.Errorf("the move in the idle string took %v", took)
			}
			return err
		})
		want(t, "moves", g.Wait(ctx), nil)
	})
}

// TestArmInTheWay: it is sent aside, or waited for.
func TestArmInTheWay(t *testing.T) {
	cfg := robotConfig("rack", 200, 2, 2) // one arm at the first column, one at the last
	with(t, cfg, vtl.Options{}, func(ctx context.Context, l *vtl.Library) {
		robot, _ := devices(t, ctx, l)
		asides := func() int64 {
			s, _ := l.Stats()
			return s.Asides
		}
		want(t, "near the first arm", robot.Move(ctx, vtl.SlotAddress(1), vtl.DriveAddress(0)), nil)
		if n := asides(); n != 0 {
			t.Errorf("%d arms were in the way", n)
		}
		want(t, "past the second arm", robot.Move(ctx, vtl.SlotAddress(2), vtl.SlotAddress(200)), nil)
		if n := asides(); n != 1 {
			t.Errorf("%d arms were in the way; want one", n)
		}
	})
}

// TestAudit: reading all barcodes takes its time for each, shared by the arms; opening
// the mail slots takes time, and reads theirs.
func TestAudit(t *testing.T) {
	for _, tt := range []struct {
		arms int
		want time.Duration
	}{{1, 405 * time.Second / 10}, {2, 205 * time.Second / 10}} {
		cfg := robotConfig("rack", 77, 3, tt.arms) // 81 elements
		cfg.RobotTimes.Audit, cfg.RobotTimes.MailSlot = 500*time.Millisecond, 7*time.Second
		with(t, cfg, vtl.Options{}, func(ctx context.Context, l *vtl.Library) {
			robot, _ := devices(t, ctx, l)
			begin := rt.Mono(ctx)
			want(t, "rescan", robot.(dev.Rescanner).Rescan(ctx), nil)
			if took := rt.Mono(ctx) - begin; took != tt.want {
				t.Errorf("%d arms read 81 barcodes in %v; want %v", tt.arms, took, tt.want)
			}
			begin = rt.Mono(ctx)
			_, err := robot.Inventory(ctx)
			want(t, "inventory", err, nil)
			if took := rt.Mono(ctx) - begin; took != 0 {
				t.Errorf("what the robot remembers takes %v", took)
			}
			want(t, "to the mail slot", robot.Move(ctx, vtl.SlotAddress(1), vtl.FirstImportExport), nil)
			begin = rt.Mono(ctx)
			_, err = l.TakeOut(ctx, vtl.FirstImportExport)
			want(t, "taking it out", err, nil)
			if took := rt.Mono(ctx) - begin; took != 7500*time.Millisecond {
				t.Errorf("opening the mail slot takes %v", took)
			}
		})
	}
}

// TestOwnTimes: a model's times can be set anew; nonsense is refused.
func TestOwnTimes(t *testing.T) {
	cfg := robotConfig("TS4500", 10, 1, 1)
	cfg.RobotTimes = vtl.RobotTimes{Pick: 10 * time.Second, Put: 20 * time.Second, Overhead: 30 * time.Second}
	with(t, cfg, vtl.Options{}, func(ctx context.Context, l *vtl.Library) {
		robot, _ := devices(t, ctx, l)
		begin := rt.Mono(ctx)
		want(t, "move", robot.Move(ctx, vtl.SlotAddress(1), vtl.SlotAddress(10)), nil)
		if took := rt.Mono(ctx) - begin; took < time.Minute || took > 61*time.Second {
			t.Errorf("a move takes %v", took)
		}
	})
	for _, edit := range []func(c *vtl.Config){
		func(c *vtl.Config) { c.Arms = -1 },
		func(c *vtl.Config) { c.Arms = 17 },
		func(c *vtl.Config) { c.Strings = 11 },
		func(c *vtl.Config) { c.RobotTimes.Put = -1 },
	} {
		simtest.Run(t, func(ctx context.Context) {
			bad := robotConfig("rack", 10, 1, 1)
			edit(&bad)
			if _, err := vtl.New(ctx, bad, vtl.Options{}); err == nil {
				t.Errorf("%+v is taken", bad)
			}
		})
	}
}
