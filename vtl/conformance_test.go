package vtl_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"

	"capstan/core/dev"
	"capstan/core/dev/devtest"
	"capstan/core/store"
	"capstan/sim/simtest"
	simstore "capstan/sim/store"
	"capstan/vtl"
)

const (
	testCapacity = 4 << 20
	testReserve  = 1 << 20
)

func testConfig(scale int64) vtl.Config {
	c := vtl.Demo("robot", testCapacity, scale)
	for i := range c.Cartridges {
		c.Cartridges[i].Reserve = testReserve
	}
	c.Cartridges[7].WriteProtected = true
	return c
}

// conformance makes the suite's libraries: in memory if newDir is nil.
func conformance(scale int64, newDir func(ctx context.Context) (dir store.Dir, crash func())) devtest.Open {
	return func(ctx context.Context) (*devtest.Library, error) {
		cfg := testConfig(scale)
		var opts vtl.Options
		crash := func() {}
		if newDir != nil {
			opts.Dir, crash = newDir(ctx)
		}
		lib, err := vtl.New(ctx, cfg, opts)
		if err != nil {
			return nil, err
		}
		f := &devtest.Library{
			Finder: lib, Robot: cfg.Name, Drives: lib.DriveNames(),
			Cartridges: []string{"CAP001L9", "CAP002L9", "CAP003L9"}, Protected: "CAP008L9",
			Capacity: testCapacity, Reserve: testReserve,
			Close: func(ctx context.Context) error { return lib.Close(ctx) },
		}
		f.Crash = func(ctx context.Context) (dev.Finder, error) {
			if newDir == nil {
				return lib, lib.PowerCycle(ctx, lib.DriveNames()[0])
			}
			crash()
			lib, err = vtl.New(ctx, cfg, opts) // the old one's files are gone with the crash
			return lib, err
		}
		return f, nil
	}
}

func TestConformance(t *testing.T) {
	for _, tt := range []struct {
		name  string
		scale int64
	}{{"timing off", 0}, {"real time", 1}, {"a hundred times faster", 100}} {
		t.Run(tt.name, func(t *testing.T) {
			devtest.RunDrive(t, simtest.Run, conformance(tt.scale, nil))
			devtest.RunChanger(t, simtest.Run, conformance(tt.scale, nil))
		})
	}
}

// TestConformanceFiles runs the suite on .tap files in a directory that loses,
// at a crash, whatever was not synced.
func TestConformanceFiles(t *testing.T) {
	for seed := range uint64(3) {
		newDir := func(context.Context) (store.Dir, func()) {
			d := simstore.NewDir(0, rand.New(rand.NewPCG(seed, 1)))
			return d, d.Crash
		}
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			devtest.RunDrive(t, simtest.Run, conformance(0, newDir))
			devtest.RunChanger(t, simtest.Run, conformance(0, newDir))
		})
	}
}
