package tape_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"capstan/core/dev"
	"capstan/core/scsi"
	"capstan/hw/tape"
	"capstan/sim/simtest"
	"capstan/vtl"
	target "capstan/vtl/scsi"
)

// withDrive has a drive of the virtual library loaded with the cartridge of a slot.
func withDrive(t *testing.T, slot int, body func(ctx context.Context, h *hosts, d *tape.Drive)) {
	t.Helper()
	simtest.Run(t, func(ctx context.Context) {
		cfg := vtl.Demo("robot", capacity, 0)
		for i := range cfg.Cartridges {
			cfg.Cartridges[i].Reserve = reserve
		}
		cfg.Cartridges[6].WORM = true
		lib, err := vtl.New(ctx, cfg, vtl.Options{})
		if err != nil {
			t.Fatal(err)
		}
		h := &hosts{lib: lib, tgt: target.New(ctx, lib, target.Options{})}
		robot, err := lib.Changer(ctx, cfg.Name)
		if err != nil {
			t.Fatal(err)
		}
		if err := robot.Move(ctx, vtl.SlotAddress(slot), vtl.DriveAddress(0)); err != nil {
			t.Fatal(err)
		}
		d, err := h.Drive(ctx, lib.DriveNames()[0])
		if err != nil {
			t.Fatal(err)
		}
		if err := d.Load(ctx); err != nil {
			t.Fatal(err)
		}
		body(ctx, h, d.(*tape.Drive))
		if err := errors.Join(d.Close(), lib.Close(ctx)); err != nil {
			t.Error(err)
		}
	})
}

func want(t *testing.T, what string, err, condition error) {
	t.Helper()
	if (condition == nil) != (err == nil) || !errors.Is(err, condition) {
		t.Errorf("%s: %v; want %v", what, err, condition)
	}
}

func TestAlertsAndMemory(t *testing.T) {
	withDrive(t, 1, func(ctx context.Context, h *hosts, d *tape.Drive) {
		want(t, "alert", h.tgt.Alert(ctx, d.Name(), 0x14), nil)
		want(t, "alert", h.tgt.Alert(ctx, d.Name(), 0x03), nil)
		s, err := d.Status(ctx)
		want(t, "status", err, nil)
		if !s.CleaningNeeded {
			t.Errorf("status %+v; want cleaning needed", s)
		}
		got, err := d.TapeAlerts(ctx)
		want(t, "alerts", err, nil)
		if !slices.Equal(got, []dev.Alert{0x03, dev.AlertCleanNow}) {
			t.Errorf("alerts %v", got)
		}
		want(t, "writing the memory", d.WriteMemory(ctx, "CAPSTAN", "CAP001"), nil)
		app, label, err := d.ReadMemory(ctx)
		want(t, "reading the memory", err, nil)
		if app != "CAPSTAN" || label != "CAP001" {
			t.Errorf("memory says %q, %q", app, label)
		}
		want(t, "write", d.Write(ctx, make([]byte, 1<<20)), nil)
		want(t, "flush", d.WriteFilemarks(ctx, 1, false), nil)
		v, err := d.Volume(ctx)
		want(t, "volume statistics", err, nil)
		if v.Mounts == 0 || v.WORM {
			t.Errorf("volume %+v", v)
		}
	})
}

func TestAccessOrder(t *testing.T) {
	withDrive(t, 1, func(ctx context.Context, h *hosts, d *tape.Drive) {
		for range 40 {
			want(t, "write", d.Write(ctx, make([]byte, 64<<10)), nil)
		}
		in := []dev.Extent{{First: 30, Last: 31}, {First: 2, Last: 3}, {First: 20, Last: 20}}
		got, err := d.Sort(ctx, in)
		want(t, "sort", err, nil)
		seen := slices.Sorted(slices.Values(got))
		if !slices.Equal(seen, []int{0, 1, 2}) {
			t.Errorf("order %v", got)
		}
	})
}

func TestWORMCartridge(t *testing.T) {
	withDrive(t, 7, func(ctx context.Context, h *hosts, d *tape.Drive) {
		want(t, "write", d.Write(ctx, make([]byte, 100)), nil)
		want(t, "write", d.Write(ctx, make([]byte, 100)), nil)
		want(t, "filemark", d.WriteFilemarks(ctx, 1, false), nil)
		s, err := d.Status(ctx)
		want(t, "status", err, nil)
		if !s.WriteOnce {
			t.Errorf("status %+v; want it write-once", s)
		}
		want(t, "locate", d.Locate(ctx, 1), nil)
		want(t, "overwrite", d.Write(ctx, make([]byte, 100)), dev.ErrWriteProtected)
		want(t, "locate", d.Locate(ctx, 3), nil)
		want(t, "append", d.Write(ctx, make([]byte, 100)), nil)
	})
}

// TestTwoHosts: a reservation keeps another host from everything that could harm, and
// lasts until it is taken by force; a reset ends it, and it is taken anew.
func TestTwoHosts(t *testing.T) {
	withDrive(t, 1, func(ctx context.Context, h *hosts, d *tape.Drive) {
		want(t, "reserve", d.Reserve(ctx, "host a", false), nil)
		want(t, "write", d.Write(ctx, make([]byte, 100)), nil)
		other, err := h.Drive(ctx, d.Name())
		want(t, "opening by another host", err, nil)
		for what, do := range map[string]func() error{
			"write":  func() error { return other.Write(ctx, make([]byte, 100)) },
			"rewind": func() error { return other.Rewind(ctx) },
			"unload": func() error { return other.Unload(ctx) },
			"locate": func() error { return other.Locate(ctx, 0) },
		} {
			if err := do(); !errors.Is(err, dev.ErrReservation) {
				t.Errorf("%s by another host: %v", what, err)
			}
		}
		want(t, "reserve by another host", other.Reserve(ctx, "host b", false), dev.ErrReservation)
		want(t, "power cycle", h.lib.PowerCycle(ctx, d.Name()), nil)
		want(t, "write after a power cycle", d.Write(ctx, make([]byte, 100)), dev.ErrPositionLost)
		want(t, "rewind", d.Rewind(ctx), nil)
		want(t, "reserve by another host after a power cycle", other.Reserve(ctx, "host b", false), dev.ErrReservation)
		want(t, "reserve by force", other.Reserve(ctx, "host b", true), nil)
		want(t, "write after the drive was taken", d.Write(ctx, make([]byte, 100)), dev.ErrReservation)
		want(t, "free the drive", d.Reserve(ctx, "", true), nil)
		want(t, "write after the drive was freed", other.Write(ctx, make([]byte, 100)), dev.ErrReservation)
	})
}

// TestInjected: conditions of the virtual library's own faults and of SCSI injections.
func TestInjected(t *testing.T) {
	withDrive(t, 1, func(ctx context.Context, h *hosts, d *tape.Drive) {
		inject := func(op byte, key, asc, ascq uint8) {
			h.tgt.Inject(target.Injection{Unit: d.Name(), Opcodes: []int{int(op)}, Status: scsi.CheckCondition,
				Sense: scsi.Sense{Sense: dev.Sense{Key: key, ASC: asc, ASCQ: ascq}}})
		}
		want(t, "write", d.Write(ctx, make([]byte, 100)), nil)
		want(t, "filemark", d.WriteFilemarks(ctx, 1, false), nil)
		inject(scsi.Write6, scsi.HardwareError, 0x10, 0x01)
		want(t, "a block that was changed on its way", d.Write(ctx, make([]byte, 100)), nil)
		h.tgt.Inject(target.Injection{Unit: d.Name(), Opcodes: []int{scsi.Write6}, Lost: true, Done: true})
		want(t, "a block whose answer was lost", d.Write(ctx, make([]byte, 100)), dev.ErrGone)
		want(t, "write after it", d.Write(ctx, make([]byte, 100)), dev.ErrPositionLost)
		p, err := d.Position(ctx)
		want(t, "position", err, nil)
		if p.Block != 4 || p.File != 1 {
			t.Errorf("position %+v", p)
		}
		h.lib.Inject(dev.Fault{Device: d.Name(), Op: dev.OpWrite, Err: dev.ErrMedium})
		want(t, "write error", d.Write(ctx, make([]byte, 100)), dev.ErrMedium)
		want(t, "write after it", d.Write(ctx, make([]byte, 100)), dev.ErrPositionLost)
		want(t, "space to end", d.SpaceToEnd(ctx), nil)
		want(t, "write", d.Write(ctx, make([]byte, 100)), nil)
	})
}
