package tape_test

import (
	"bytes"
	"context"
	"errors"
	"testing"

	"capstan/core/dev"
	"capstan/core/dev/devtest"
	"capstan/core/scsi"
	"capstan/hw/tape"
	"capstan/sim/simtest"
)

// tgt has a drive answer as that of tgt 1.0.85 was seen to: no LOCATE, ERASE, LOG SENSE,
// attributes, encryption or reservations, mode pages that cannot be set, a medium that is
// said to be write-once, block 0 for every position, and the ends of data and medium in
// other words than the standards'.
type tgt struct{ scsi.Transport }

func refused(asc uint8) scsi.Result {
	s := scsi.Sense{Sense: dev.Sense{Key: scsi.IllegalRequest, ASC: asc}}
	return scsi.Result{Status: scsi.CheckCondition, Sense: s.Fixed()}
}

func (t *tgt) Do(ctx context.Context, c *scsi.Command) (scsi.Result, error) {
	switch c.CDB[0] {
	case scsi.Locate10, scsi.Locate16, scsi.Space16, scsi.Erase6, scsi.Erase16, scsi.FormatMedium, scsi.LogSense, scsi.ReportDensitySupport,
		scsi.ReadAttribute, scsi.WriteAttribute, scsi.SecurityProtocolIn, scsi.SecurityProtocolOut, scsi.Reserve6, scsi.Release6,
		scsi.PersistentReserveIn, scsi.PersistentReserveOut, scsi.ModeSelect10, scsi.MaintenanceIn, scsi.MaintenanceOut:
		return refused(0x20), nil
	case scsi.ReadPosition: // the long form's flags say that it knows
		clear(c.In)
		if c.CDB[1] == 0 {
			c.In[0] = 0x14
		}
		return scsi.Result{N: len(c.In)}, nil
	case scsi.ModeSense10, scsi.ModeSense6:
		if page := c.CDB[2] & 0x3F; page == 0x11 || c.CDB[3] != 0 {
			return refused(0x24), nil
		}
	case scsi.ModeSelect6:
		if len(c.Out) > 12 {
			return refused(0x26), nil
		}
	}
	r, err := t.Transport.Do(ctx, c)
	switch {
	case err != nil:
	case c.CDB[0] == scsi.Inquiry && c.CDB[1] == 0:
		copy(c.In[8:], "IET     VIRTUAL-TAPE    0001")
	case c.CDB[0] == scsi.ModeSense10 && c.CDB[2]&0x3F == 0x1D && len(c.In) > 18:
		c.In[18] |= 1 // the medium can be written once
	case c.CDB[0] == scsi.ModeSense10 && c.CDB[2]&0x3F == 0x0F && len(c.In) > 32:
		clear(c.In[18:32])
	}
	if err != nil || r.Status != scsi.CheckCondition {
		return r, err
	}
	s, err := scsi.ParseSense(r.Sense)
	switch {
	case err != nil:
		return r, err
	case s.Key == scsi.BlankCheck:
		s.ASCQ, s.EOM = 0, true
	case s.Key == scsi.NoSense && s.EOM:
		s.ASCQ = 0
	case s.ILI && s.Information < 0:
		r.N = 0
	case s.ILI:
		r.N = min(r.N, int(s.Information))
		clear(c.In[r.N:])
	}
	r.Sense = s.Fixed()
	return r, nil
}

// TestTgt does what the roles do with a drive, each with a handle of its own: load, look
// at the label, write it, append, and read back.
func TestTgt(t *testing.T) {
	simtest.Run(t, func(ctx context.Context) {
		lib, err := library(t, tape.Options{LockDir: "each"}, func(t scsi.Transport) scsi.Transport { return &tgt{t} })(ctx)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = lib.Close(ctx) }()
		roles(ctx, t, lib)
	})
}

func roles(ctx context.Context, t *testing.T, lib *devtest.Library) {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Error(err)
		}
	}
	robot, err := lib.Finder.Changer(ctx, lib.Robot)
	must(err)
	all, err := robot.Inventory(ctx)
	must(err)
	slot, drive := 0, 0
	for _, e := range all {
		if e.Barcode == lib.Cartridges[0] {
			slot = e.Address
		}
		if e.Kind == dev.DriveElement && drive == 0 {
			drive = e.Address
		}
	}
	must(robot.Move(ctx, slot, drive))
	open := func() dev.Drive {
		t.Helper()
		d, err := lib.Finder.Drive(ctx, lib.Drives[0])
		must(err)
		return d
	}
	ltid := open()
	must(ltid.Load(ctx))
	must(ltid.Close())
	avrd := open()
	must(avrd.Rewind(ctx))
	if _, err := avrd.Read(ctx, make([]byte, 1000)); !errors.Is(err, dev.ErrEndOfData) {
		t.Errorf("read of a blank cartridge: %v", err)
	}
	must(avrd.Close())

	block := func(n int) []byte { return bytes.Repeat([]byte{byte(n)}, 500+n) }
	bptm := open()
	must(bptm.Reserve(ctx, "job 1", false))
	must(bptm.Rewind(ctx))
	for n := range 3 { // three files of a block and a filemark
		must(bptm.Write(ctx, block(n)))
		must(bptm.WriteFilemarks(ctx, 1, n == 1))
	}
	if p, err := bptm.Position(ctx); err != nil || p.Block != 6 || p.File != 3 {
		t.Errorf("after writing: %+v, %v", p, err)
	}
	must(bptm.Reserve(ctx, "", false))
	must(bptm.Close())

	again := open()
	must(again.Reserve(ctx, "job 2", false))
	if err := again.Write(ctx, block(9)); !errors.Is(err, dev.ErrPositionLost) {
		t.Errorf("a write before anybody knows where the drive is: %v", err)
	}
	must(again.Locate(ctx, 6))
	must(again.Space(ctx, -2))
	must(again.Space(ctx, 1))
	p := make([]byte, 2000)
	if n, err := again.Read(ctx, p); err != nil || !bytes.Equal(p[:n], block(2)) {
		t.Errorf("the last block: %d bytes, %v", n, err)
	}
	must(again.Locate(ctx, 6))
	must(again.Write(ctx, block(3)))
	must(again.WriteFilemarks(ctx, 1, false))
	must(again.Locate(ctx, 0))
	for n := range 4 {
		if got, err := again.Read(ctx, p); err != nil || !bytes.Equal(p[:got], block(n)) {
			t.Errorf("block %d: %d bytes, %v", n, got, err)
		}
		if _, err := again.Read(ctx, p); !errors.Is(err, dev.ErrFilemark) {
			t.Errorf("after block %d: %v", n, err)
		}
	}
	if n, err := again.Read(ctx, p[:100]); n != 0 || !errors.Is(err, dev.ErrEndOfData) {
		t.Errorf("at the end: %d bytes, %v", n, err)
	}
	must(again.Locate(ctx, 0))
	if _, err := again.Read(ctx, p[:100]); !errors.Is(err, dev.ErrBlockTooLong) {
		t.Errorf("a block that is too long: %v", err)
	}
	must(again.Unload(ctx))
	must(robot.Move(ctx, drive, slot))
}
