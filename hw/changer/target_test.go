package changer_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"capstan/core/dev"
	"capstan/core/scsi"
	"capstan/hw/changer"
	"capstan/sim/simtest"
	"capstan/vtl"
	target "capstan/vtl/scsi"
)

// robot is a changer of a new virtual library with its target.
func robot(ctx context.Context, t *testing.T) (*changer.Changer, *target.Target) {
	t.Helper()
	lib, err := vtl.New(ctx, vtl.Demo("robot", 64<<20, 0), vtl.Options{})
	if err != nil {
		t.Fatal(err)
	}
	goal := target.New(ctx, lib, target.Options{EjectFirst: true, StayUnloaded: true})
	c, err := changer.Open(ctx, "robot", goal.Nexus("initiator").LUN(0), changer.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return c, goal
}

// at is where a cartridge is.
func at(ctx context.Context, t *testing.T, c *changer.Changer, barcode string) int {
	t.Helper()
	es, err := c.Inventory(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range es {
		if e.Barcode == barcode {
			return e.Address
		}
	}
	return 0
}

func TestExchange(t *testing.T) {
	simtest.Run(t, func(ctx context.Context) {
		c, _ := robot(ctx, t)
		drive, a, b := c.Places()[dev.DriveElement].First, at(ctx, t, c, "CAP001L9"), at(ctx, t, c, "CAP002L9")
		if err := c.Move(ctx, a, drive); err != nil {
			t.Fatal(err)
		}
		if err := c.Exchange(ctx, b, drive, a); err != nil {
			t.Fatal(err)
		}
		if x, y := at(ctx, t, c, "CAP001L9"), at(ctx, t, c, "CAP002L9"); x != a || y != drive {
			t.Errorf("the cartridges are at %d and %d; want %d and %d", x, y, a, drive)
		}
		if err := c.Exchange(ctx, b, drive, a); !errors.Is(err, dev.ErrSourceEmpty) {
			t.Errorf("from an empty slot: %v", err)
		}
	})
}

// TestOthers: commands that the roles do not need, and a person's hand does.
func TestOthers(t *testing.T) {
	simtest.Run(t, func(ctx context.Context) {
		c, _ := robot(ctx, t)
		for name, do := range map[string]func() error{
			"prevent":    func() error { return c.Prevent(ctx, true) },
			"allow":      func() error { return c.Prevent(ctx, false) },
			"open":       func() error { return c.OpenMailSlots(ctx, true) },
			"close":      func() error { return c.OpenMailSlots(ctx, false) },
			"look":       func() error { return c.Rescan(ctx) },
			"look there": func() error { return c.RescanRange(ctx, c.Places()[dev.Slot]) },
		} {
			if err := do(); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
}

// TestEachSense: every condition at every command of a robot ends as its error, or is
// got over; and the cartridge is in one of its two places, where the elements say.
func TestEachSense(t *testing.T) {
	passing := []dev.Sense{{Key: 6, ASC: 0x29}, {Key: 6, ASC: 0x28, ASCQ: 1}, {Key: 6, ASC: 0x3B, ASCQ: 0x13}, {Key: 6, ASC: 0x2A, ASCQ: 1}, {Key: 2, ASC: 4, ASCQ: 1}}
	lasting := []dev.Sense{
		{Key: 2, ASC: 4, ASCQ: 3}, {Key: 4, ASC: 0x15, ASCQ: 1}, {Key: 4, ASC: 0x40, ASCQ: 0x80}, {Key: 5, ASC: 0x3B, ASCQ: 0x11},
		{Key: 5, ASC: 0x53, ASCQ: 1}, {Key: 5, ASC: 0x53, ASCQ: 2}, {Key: 5, ASC: 0x21, ASCQ: 1}, {Key: 3, ASC: 0x30},
	}
	type trial struct {
		op      int
		sense   dev.Sense
		passing bool
	}
	var cases []trial
	for _, op := range []int{scsi.ReadElementStatus, scsi.MoveMedium, scsi.InitializeElementStatus} {
		for _, s := range passing {
			cases = append(cases, trial{op, s, true})
		}
		for _, s := range lasting {
			cases = append(cases, trial{op, s, false})
		}
	}
	for _, tt := range cases {
		t.Run(fmt.Sprintf("%02X %v", tt.op, tt.sense), func(t *testing.T) {
			simtest.Run(t, func(ctx context.Context) {
				c, goal := robot(ctx, t)
				slot, drive := at(ctx, t, c, "CAP001L9"), c.Places()[dev.DriveElement].First
				times := -1
				if tt.passing {
					times = 1
				}
				goal.Inject(target.Injection{Opcodes: []int{tt.op}, Times: times, Status: scsi.CheckCondition, Sense: scsi.Sense{Sense: tt.sense}})
				var err error
				switch tt.op {
				case scsi.ReadElementStatus:
					_, err = c.Inventory(ctx)
				case scsi.MoveMedium:
					err = c.Move(ctx, slot, drive)
				default:
					err = c.Rescan(ctx)
				}
				s := scsi.Sense{Sense: tt.sense}
				if tt.passing && err != nil || !tt.passing && !errors.Is(err, s.Condition()) {
					t.Errorf("error %v; got over: %v, else it is %v", err, tt.passing, s.Condition())
				}
				goal.ClearInjections()
				want := slot
				if tt.op == scsi.MoveMedium && tt.passing {
					want = drive
				}
				if is := at(ctx, t, c, "CAP001L9"); is != want {
					t.Errorf("the cartridge is at %d; want %d", is, want)
				}
			})
		})
	}
}
