package vtl_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"capstan/core/rt"
	"capstan/vtl"
)

// robotConfig is a library of a robot, full but for some slots.
func robotConfig(model string, slots, drives, arms int) vtl.Config {
	c := vtl.Config{Name: "robot", Robot: model, Arms: arms, Slots: slots, ImportExport: 1, TimeScale: 1}
	for i := range drives {
		c.Drives = append(c.Drives, vtl.DriveConfig{Name: fmt.Sprintf("robot-d%d", i), Model: "LTO-8"})
	}
	for i := range slots * 9 / 10 {
		c.Cartridges = append(c.Cartridges, vtl.CartridgeConfig{Barcode: fmt.Sprintf("A%05dL8", i), Slot: i + 1})
	}
	return c
}

// shuttle moves random cartridges from slots to drives and back, one mover for each
// arm, and tells what a move took on average, and all together.
func shuttle(t *testing.T, cfg vtl.Config, moves int) (mean, all time.Duration) {
	t.Helper()
	with(t, cfg, vtl.Options{}, func(ctx context.Context, l *vtl.Library) {
		robot, _ := devices(t, ctx, l)
		rnd := rand.New(rand.NewPCG(1, 1))
		arms := max(cfg.Arms, 1)
		g, ctx := rt.NewGroup(ctx)
		for i := range arms {
			g.Go(ctx, "mover", func(ctx context.Context) error {
				for k := range moves / arms / 2 {
					// Each mover has its own drives, and slots that no other is about.
					drive := vtl.DriveAddress(i + arms*(k%(len(cfg.Drives)/arms)))
					slot := vtl.SlotAddress(1 + i + arms*rnd.IntN(len(cfg.Cartridges)/arms-1))
					begin := rt.Mono(ctx)
					want(t, "to the drive", robot.Move(ctx, slot, drive), nil)
					want(t, "and back", robot.Move(ctx, drive, slot), nil)
					mean += rt.Mono(ctx) - begin
				}
				return nil
			})
		}
		begin := rt.Mono(ctx)
		want(t, "movers", g.Wait(ctx), nil)
		all = rt.Mono(ctx) - begin
		mean /= time.Duration(moves / arms / 2 * arms * 2)
	})
	return mean, all
}

// TestRobotMoves judges the robots by what is published of their moves.
func TestRobotMoves(t *testing.T) {
	for _, tt := range []struct {
		model         string
		slots, drives int
		least, most   time.Duration
		source        string
	}{
		{"TS4500", 660, 12, time.Second, 3 * time.Second, "IBM Redbook SG24-8235: typical moves take less than 3 s"},
		{"SL8500", 3000, 16, 4 * time.Second, 15 * time.Second, "Oracle: on average less than 11 s of travel; 10 to 15 s at 3000 slots with the command's way"},
		{"rack", 40, 3, 8 * time.Second, 12 * time.Second, "moves of rack libraries, as people report them"},
		// A full exchange is two moves: Magnum 1x7 26 s, Quantum's autoloader of 8 slots less than 45 s.
		{"autoloader", 8, 1, 10 * time.Second, 45 * time.Second / 2, "Magnum 1x7, Quantum: data sheets"},
	} {
		mean, _ := shuttle(t, robotConfig(tt.model, tt.slots, tt.drives, 1), 200)
		t.Logf("%s: %v", tt.model, mean)
		if mean < tt.least || mean > tt.most {
			t.Errorf("%s: a move takes %v; %v to %v: %s", tt.model, mean, tt.least, tt.most, tt.source)
		}
	}
}

// TestTwoArms: two arms do nearly twice the work of one (IBM TS4500, dual accessors).
func TestTwoArms(t *testing.T) {
	for _, model := range []string{"TS4500", "SL8500", "rack"} {
		_, one := shuttle(t, robotConfig(model, 600, 8, 1), 400)
		_, two := shuttle(t, robotConfig(model, 600, 8, 2), 400)
		if gain := 100 * one / two; gain < 130 || gain > 200 {
			t.Errorf("%s: one arm %v, two arms %v: %d %% of the speed; want up to 200", model, one, two, gain)
		}
	}
}
