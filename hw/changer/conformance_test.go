package changer_test

import (
	"context"
	"testing"

	"capstan/core/dev"
	"capstan/core/dev/devtest"
	"capstan/hw/changer"
	"capstan/hw/tape"
	"capstan/sim/simtest"
	"capstan/vtl"
	target "capstan/vtl/scsi"
)

// linked gives the devices of a virtual library by SCSI commands, in process.
type linked struct {
	target *target.Target
	nexus  *target.Nexus
}

func (l *linked) Drive(ctx context.Context, name string) (dev.Drive, error) {
	for _, u := range l.target.Units() {
		if u.Name == name {
			return tape.Open(ctx, name, l.nexus.LUN(u.LUN), tape.Options{})
		}
	}
	return nil, dev.ErrGone
}

func (l *linked) Changer(ctx context.Context, name string) (dev.Changer, error) {
	return changer.Open(ctx, name, l.nexus.LUN(0), changer.Options{})
}

const (
	capacity = 4 << 20
	reserve  = 1 << 20
)

// TestConformance: the robot by SCSI commands is a robot as any other.
func TestConformance(t *testing.T) {
	// The suite loads drives itself, and a robot takes nothing that is loaded.
	opts := target.Options{EjectFirst: true, StayUnloaded: true}
	devtest.RunChanger(t, simtest.Run, func(ctx context.Context) (*devtest.Library, error) {
		cfg := vtl.Demo("robot", capacity, 0)
		for i := range cfg.Cartridges {
			cfg.Cartridges[i].Reserve = reserve
		}
		lib, err := vtl.New(ctx, cfg, vtl.Options{})
		if err != nil {
			return nil, err
		}
		goal := target.New(ctx, lib, opts)
		return &devtest.Library{
			Finder: &linked{goal, goal.Nexus("initiator")}, Robot: cfg.Name, Drives: lib.DriveNames(),
			Cartridges: []string{"CAP001L9", "CAP002L9", "CAP003L9"}, Capacity: capacity, Reserve: reserve, Close: lib.Close,
		}, nil
	})
}
