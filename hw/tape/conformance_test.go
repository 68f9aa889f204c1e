package tape_test

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"capstan/core/dev"
	"capstan/core/dev/devtest"
	"capstan/core/scsi"
	lu "capstan/hw/scsi"
	"capstan/hw/tape"
	"capstan/sim/simtest"
	"capstan/vtl"
	target "capstan/vtl/scsi"
)

const (
	capacity = 4 << 20
	reserve  = 1 << 20
)

// hosts opens the drives of a virtual library by SCSI: each time as another host does,
// or, with a lock directory, as another process of the same host.
type hosts struct {
	lib    *vtl.Library
	tgt    *target.Target
	opts   tape.Options
	opened int
	wrap   func(t scsi.Transport) scsi.Transport
}

func (h *hosts) Drive(ctx context.Context, name string) (dev.Drive, error) {
	at := slices.IndexFunc(h.tgt.Units(), func(u target.Unit) bool { return u.Name == name && u.Type == scsi.Sequential })
	if at < 0 {
		return nil, fmt.Errorf("no drive %s", name)
	}
	initiator := "iqn.test:host"
	if h.opts.LockDir == "" {
		h.opened++
		initiator = fmt.Sprint(initiator, h.opened)
	}
	var t scsi.Transport = h.tgt.Nexus(initiator).LUN(h.tgt.Units()[at].LUN)
	if h.opts.LockDir == "" { // a host that has been there for a while
		_ = lu.NewDevice(name, t).Drain(ctx)
	}
	if h.wrap != nil {
		t = h.wrap(t)
	}
	d, err := tape.Open(ctx, name, t, h.opts)
	if err != nil {
		return nil, err
	}
	return d, nil
}

func (h *hosts) Changer(ctx context.Context, name string) (dev.Changer, error) {
	return h.lib.Changer(ctx, name)
}

func library(t *testing.T, o tape.Options, wrap func(scsi.Transport) scsi.Transport) devtest.Open {
	return func(ctx context.Context) (*devtest.Library, error) {
		if o.LockDir != "" {
			o.LockDir = t.TempDir() // a lock is of one library
		}
		cfg := vtl.Demo("robot", capacity, 0)
		for i := range cfg.Cartridges {
			cfg.Cartridges[i].Reserve = reserve
		}
		cfg.Cartridges[7].WriteProtected = true
		lib, err := vtl.New(ctx, cfg, vtl.Options{})
		if err != nil {
			return nil, err
		}
		h := &hosts{lib: lib, tgt: target.New(ctx, lib, target.Options{}), opts: o, wrap: wrap}
		return &devtest.Library{
			Finder: h, Robot: cfg.Name, Drives: lib.DriveNames(),
			Cartridges: []string{"CAP001L9", "CAP002L9", "CAP003L9"}, Protected: "CAP008L9",
			Capacity: capacity, Reserve: reserve,
			Crash: func(ctx context.Context) (dev.Finder, error) { return h, lib.PowerCycle(ctx, lib.DriveNames()[0]) },
			Close: func(ctx context.Context) error { return lib.Close(ctx) },
		}, nil
	}
}

// TestConformance: the suite of all drives, through SCSI commands to the virtual
// library. The robot is the library's own.
func TestConformance(t *testing.T) {
	t.Run("hosts", func(t *testing.T) { devtest.RunDrive(t, simtest.Run, library(t, tape.Options{}, nil)) })
	t.Run("processes of one host", func(t *testing.T) {
		devtest.RunDrive(t, simtest.Run, library(t, tape.Options{LockDir: "each"}, nil))
	})
	t.Run("compressed and encrypted", func(t *testing.T) {
		devtest.RunDrive(t, simtest.Run, library(t, tape.Options{Compress: true, Key: slices.Repeat([]byte{7}, 32)}, nil))
	})
}
