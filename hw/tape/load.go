package tape

import (
	"context"
	"errors"
	"fmt"
	"time"

	"capstan/core/dev"
	"capstan/core/scsi"
	lu "capstan/hw/scsi"
)

// readyTime is how long a medium may take to become ready: the calibration of a new
// LTO-9 cartridge takes up to two hours, and nothing may disturb it.
const readyTime = 2*time.Hour + 10*time.Minute

// Load makes the medium ready and goes to its beginning; see [dev.Drive].
func (d *Drive) Load(ctx context.Context) error {
	if err := d.ready(ctx, dev.OpLoad); err != nil {
		return err
	}
	err := d.u.AwaitReady(ctx, readyTime)
	if errors.Is(err, dev.ErrNotLoaded) {
		if err = d.move(ctx, dev.OpLoad, loadUnload(true)); err == nil || lu.BecomesReady(err) {
			err = d.u.AwaitReady(ctx, readyTime)
		}
	}
	if err != nil {
		return asOp(err, dev.OpLoad)
	}
	d.settled, d.dirty, d.u.Cleaning = false, false, false
	if err := d.rewind(ctx); err != nil {
		return asOp(err, dev.OpLoad)
	}
	return d.confirm(ctx, dev.OpLoad)
}

func loadUnload(load bool) []byte { return []byte{scsi.LoadUnload, 0, 0, 0, bit(load), 0} }

// Unload makes what was written durable and ejects the medium; see [dev.Drive]. A
// medium that cannot be made durable is ejected too, with the error.
func (d *Drive) Unload(ctx context.Context) error {
	if err := d.ready(ctx, dev.OpUnload); err != nil {
		return err
	}
	err := d.u.AwaitReady(ctx, readyTime)
	switch {
	case errors.Is(err, dev.ErrNotLoaded):
		return nil
	case errors.Is(err, dev.ErrNoMedium):
		return asOp(err, dev.OpUnload)
	}
	kept := d.flush(ctx)
	if d.keyed || d.guarded {
		d.restore(ctx)
	}
	err = d.move(ctx, dev.OpUnload, loadUnload(false))
	if errors.Is(err, dev.ErrRemovalPrevented) { // by a program that has not undone it
		if _, aerr := d.u.Repeat(ctx, "ALLOW MEDIUM REMOVAL", &scsi.Command{CDB: []byte{scsi.PreventAllowRemoval, 0, 0, 0, 0, 0}}); aerr == nil {
			err = d.move(ctx, dev.OpUnload, loadUnload(false))
		}
	}
	d.lose()
	d.settled, d.dirty = false, false
	return errors.Join(kept, err)
}

// flush makes durable what this handle has written.
func (d *Drive) flush(ctx context.Context) error {
	if !d.dirty {
		return nil
	}
	if !d.known {
		return d.fail(dev.OpUnload, fmt.Errorf("%w: blocks that were written last may not be on the medium", dev.ErrPositionLost))
	}
	return d.WriteFilemarks(ctx, 0, false)
}
