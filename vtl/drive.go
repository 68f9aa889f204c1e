package vtl

import (
	"context"
	"errors"
	"fmt"
	"time"

	"capstan/core/dev"
	"capstan/core/rt"
)

// driveState is where a cartridge in a drive is. A drive without one is ejected.
type driveState uint8

const (
	ejected driveState = iota // the robot can take the cartridge, if there is one
	loading
	ready
	unloading
)

// drive is one tape drive.
type drive struct {
	lib     *Library
	unit    *unit
	name    string
	serial  string
	address int
	model   *DriveModel

	// Guarded by the library's lock.
	state    driveState
	cart     *cartridge    // in the drive, loaded or not
	holder   string        // of the reservation
	cleaning bool          // it asks to be cleaned
	worked   time.Duration // since it was
	written  int64         // of the loaded tape
	stats    dev.DriveStats

	// Used by who runs the drive's command only.
	pos           int64 // the logical object before which the head is
	lost          bool  // a reset came; see [Library.PowerCycle]
	loads, resets int64 // since the library was made
	moved         int64 // bytes since the load
	dirty         bool  // data was written since the last flush
	epoch         int64 // counts commands that change or leave the position
	buffer        buffer
	run           streaming // what was transferred without a pause of the drive's own
}

// driveHandle is one user's access to a drive.
//
// It is refused once it has reserved the drive and another holds it since. One
// that never reserved is let through, as any process of a host is that shares
// the host's path to a real drive.
type driveHandle struct {
	d      *drive
	holder string // guarded by the library's lock
}

var (
	_ dev.HollowDrive = (*driveHandle)(nil)
	_ dev.Sorter      = (*driveHandle)(nil)
)

func (h *driveHandle) Name() string { return h.d.name }

// Close lets go of the handle. Reservation, position and medium stay.
func (h *driveHandle) Close() error { return nil }

// Status answers at once, also while the drive is busy.
func (h *driveHandle) Status(ctx context.Context) (dev.DriveStatus, error) {
	rt.MayBlock(ctx)
	d, l := h.d, h.d.lib
	l.lock.Lock()
	s := dev.DriveStatus{CleaningNeeded: d.cleaning, Loaded: d.cart != nil && d.state != ejected, Ready: d.state == ready}
	f := l.takeFault(d.name, "", dev.OpStatus)
	if d.cart != nil && s.Ready {
		s.WriteProtected = d.protected()
		s.Density, s.Capacity = d.cart.side.Density, d.cart.side.Capacity
		s.Written = d.written
	}
	l.lock.Unlock()
	if f != nil {
		if err := l.pass(ctx, f.Delay); err != nil {
			return s, err
		}
		return s, report(d.name, dev.OpStatus, f.Err)
	}
	return s, nil
}

// protected tells whether the cartridge can be read only. The lock is held, or
// who runs its command asks.
func (d *drive) protected() bool {
	return d.cart.side.WriteProtected || !d.model.writes(d.cart.model.Generation)
}

// Reserve answers at once, also while the drive is busy.
func (h *driveHandle) Reserve(ctx context.Context, holder string, force bool) error {
	rt.MayBlock(ctx)
	d, l := h.d, h.d.lib
	l.lock.Lock()
	defer l.lock.Unlock()
	if f := l.takeFault(d.name, "", dev.OpReserve); f != nil && f.Err != nil {
		return report(d.name, dev.OpReserve, f.Err)
	}
	mine := d.holder == "" || d.holder == h.holder || d.holder == holder
	if !mine && !force {
		return report(d.name, dev.OpReserve, fmt.Errorf("%w: %s holds it", dev.ErrReservation, d.holder))
	}
	d.holder, h.holder = holder, holder
	return nil
}

// do runs a brief command of the drive; want is what the medium must be.
func (h *driveHandle) do(ctx context.Context, op string, want need, run func(ctx context.Context) error) error {
	l := h.d.lib
	l.lock.Lock()
	brief := len(l.faults) == 0 // which may let time pass
	l.lock.Unlock()
	return report(h.d.name, op, h.d.unit.do(ctx, command{run, brief, h, op, want}))
}

// long is do for a command that lets time pass as it runs.
func (h *driveHandle) long(ctx context.Context, op string, want need, run func(ctx context.Context) error) error {
	return report(h.d.name, op, h.d.unit.do(ctx, command{run, false, h, op, want}))
}

// spend says that the drive's command takes t.
func (d *drive) spend(t time.Duration) { d.unit.owed += max(t, 0) }

// need is what a command needs of the medium.
type need uint8

const (
	needMedium   need = iota // a cartridge in the drive
	needReady                // a loaded one; clears a lost position
	needPosition             // a loaded one, and a known position
)

func (h *driveHandle) command(ctx context.Context, op string, want need, run func(ctx context.Context) error) error {
	d, l := h.d, h.d.lib
	l.lock.Lock()
	err := h.admit(want)
	barcode := ""
	if d.cart != nil {
		barcode = d.cart.side.Barcode
	}
	var f *dev.Fault
	if err == nil {
		f = l.takeFault(d.name, barcode, op)
	}
	l.lock.Unlock()
	if err != nil {
		return err
	}
	if f == nil {
		return h.arrive(want, run(ctx))
	}
	if err := l.pass(ctx, f.Delay); err != nil {
		return err
	}
	if f.Err == nil || f.Done {
		if err := h.arrive(want, run(ctx)); err != nil {
			return err
		}
	}
	d.suffer(f.Err)
	return f.Err
}

// arrive notes that a command that knows where it goes has got there.
func (h *driveHandle) arrive(want need, err error) error {
	if want == needReady && err == nil {
		h.d.lost = false
	}
	return err
}

// suffer is what an injected condition does to the drive beside being reported.
func (d *drive) suffer(err error) {
	switch {
	case errors.Is(err, dev.ErrPositionLost):
		d.lost = true
	case errors.Is(err, dev.ErrCleaning):
		d.lib.lock.Lock()
		d.cleaning = true
		d.lib.lock.Unlock()
	}
}

// admit checks the reservation and the medium. The lock is held.
func (h *driveHandle) admit(want need) error {
	d := h.d
	switch {
	case h.holder != "" && d.holder != "" && d.holder != h.holder:
		return fmt.Errorf("%w: %s holds it", dev.ErrReservation, d.holder)
	case h.holder != "" && d.holder == "":
		h.holder = "" // a reset gave the reservation back
	}
	switch {
	case d.cart == nil:
		return dev.ErrNoMedium
	case want == needMedium:
		return nil
	case d.state != ready:
		return dev.ErrNotReady
	case want == needPosition && d.lost:
		return dev.ErrPositionLost
	}
	return nil
}

func (d *drive) setState(s driveState) {
	d.lib.lock.Lock()
	d.state = s
	d.lib.lock.Unlock()
}

// count adds to the drive's statistics.
func (d *drive) count(add func(s *dev.DriveStats)) {
	d.lib.lock.Lock()
	before := d.stats.Busy()
	add(&d.stats)
	d.worked += d.stats.Busy() - before
	d.cleaning = d.cleaning || d.worked >= d.model.CleanAfter
	if d.cart != nil && d.cart.tape != nil {
		d.written = d.cart.tape.used()
	}
	d.lib.lock.Unlock()
}

// Load threads the medium. A loaded one is rewound.
func (h *driveHandle) Load(ctx context.Context) error {
	return h.long(ctx, dev.OpLoad, needMedium, func(ctx context.Context) error {
		return h.arrive(needReady, h.d.thread(ctx))
	})
}

// thread makes the medium ready, at its beginning.
func (d *drive) thread(ctx context.Context) error {
	if d.state == ready {
		d.seek(0)
		return nil
	}
	d.lib.lock.Lock()
	taken := d.cart == nil // by the robot, since the command was admitted
	if !taken {
		d.state = loading
	}
	d.lib.lock.Unlock()
	if taken {
		return dev.ErrNoMedium
	}
	if err := d.load(ctx); err != nil {
		d.setState(ejected)
		return err
	}
	d.setState(ready)
	return nil
}

func (d *drive) load(ctx context.Context) error {
	c := d.cart
	if c.side.Cleaning {
		return d.clean(ctx)
	}
	if err := d.lib.pass(ctx, d.model.Load); err != nil {
		return err
	}
	if !d.model.reads(c.model.Generation) {
		return fmt.Errorf("%w: %s is %s, the drive %s", dev.ErrIncompatible, c.side.Barcode, c.side.Density, d.model.Name)
	}
	if c.tape == nil {
		t, err := openTap(ctx, d.lib.opts.Dir, c.side)
		if err != nil {
			return fmt.Errorf("%w: %w", dev.ErrMedium, err)
		}
		c.tape = t
	}
	if err := d.calibrate(ctx); err != nil {
		return err
	}
	c.side.Memory.Loads++
	c.side.Memory.Drive = d.name
	d.pos, d.lost, d.moved, d.dirty = 0, false, 0, false
	d.buffer = d.bufferWith(c)
	d.run = streaming{}
	d.epoch++
	d.loads++
	d.count(func(s *dev.DriveStats) { s.Mounts++; s.Loading += d.model.Load })
	return nil
}

// clean is the load of a cleaning cartridge, which is then ejected. One that is used up
// cleans no more.
func (d *drive) clean(ctx context.Context) error {
	if err := d.lib.pass(ctx, cleanTime); err != nil {
		return err
	}
	m := &d.cart.side.Memory
	if m.Loads++; m.Loads > cleanings {
		return dev.ErrCleaningCartridge
	}
	d.count(func(s *dev.DriveStats) { s.Cleanings++; s.Cleaning += cleanTime })
	d.lib.lock.Lock()
	d.cleaning, d.worked = false, 0
	d.lib.lock.Unlock()
	return dev.ErrCleaningCartridge
}

// calibrate has a new cartridge measured, if the drive does that; it stays not ready
// meanwhile.
func (d *drive) calibrate(ctx context.Context) error {
	c := d.cart
	if !d.model.Calibrates || c.model.Generation != d.model.Generation || c.side.Initialized || c.side.Memory.Loads > 0 {
		return nil
	}
	t := calibration(rt.Rand(ctx, d.lib.cfg.Name+" "+c.side.Barcode, "media optimization"))
	if err := d.lib.pass(ctx, t); err != nil {
		return err
	}
	d.count(func(s *dev.DriveStats) { s.Calibrations++; s.Calibrating += t })
	return nil
}

// Unload makes the medium durable, rewinds and ejects it. A medium that cannot be
// made durable is ejected too, with [dev.ErrMedium]: its next load finds what is.
func (h *driveHandle) Unload(ctx context.Context) error {
	return h.long(ctx, dev.OpUnload, needMedium, h.d.eject)
}

func (d *drive) eject(ctx context.Context) error {
	if d.state == ejected {
		return nil
	}
	kept := d.flush(ctx)
	if kept == nil {
		kept = d.cart.tape.keep(ctx) // also what its chip counts
	}
	d.unit.settle(ctx)
	d.setState(unloading)
	t := d.model.unload(d.cart.model, d.spot(d.pos), d.moved)
	if err := d.lib.pass(ctx, t); err != nil {
		return err
	}
	d.pos, d.lost, d.run = 0, false, streaming{}
	d.epoch++
	d.count(func(s *dev.DriveStats) { s.Unloading += t })
	if kept != nil {
		kept = fmt.Errorf("%w: %w", dev.ErrMedium, errors.Join(kept, d.cart.tape.body.close()))
		d.cart.tape = nil
	}
	d.setState(ejected)
	return kept
}

// Rewind goes to the beginning.
func (h *driveHandle) Rewind(ctx context.Context) error {
	return h.do(ctx, dev.OpRewind, needReady, func(ctx context.Context) error {
		d := h.d
		d.goTo(0, d.model.rewind(d.cart.model, d.spot(d.pos)))
		return nil
	})
}

// Locate goes to an object; past the end it stops there with end of data.
func (h *driveHandle) Locate(ctx context.Context, block int64) error {
	return h.do(ctx, dev.OpLocate, needReady, func(ctx context.Context) error {
		d := h.d
		if block < 0 {
			return fmt.Errorf("object %d: %w", block, dev.ErrBeginning)
		}
		end := d.cart.tape.end()
		d.seek(min(block, end))
		if block > end {
			return dev.ErrEndOfData
		}
		return nil
	})
}

// Space moves over filemarks.
func (h *driveHandle) Space(ctx context.Context, filemarks int) error {
	return h.do(ctx, dev.OpSpace, needPosition, func(ctx context.Context) error {
		d := h.d
		t := d.cart.tape
		passed := t.before(d.pos).marks
		switch {
		case filemarks > 0:
			m, ok := t.mark(passed + int64(filemarks) - 1)
			if !ok {
				d.seek(t.end())
				return dev.ErrEndOfData
			}
			d.seek(m + 1)
		case filemarks < 0:
			m, ok := t.mark(passed + int64(filemarks))
			if !ok {
				d.seek(0)
				return dev.ErrBeginning
			}
			d.seek(m)
		}
		return nil
	})
}

// SpaceToEnd goes to the end of data.
func (h *driveHandle) SpaceToEnd(ctx context.Context) error {
	return h.do(ctx, dev.OpSpace, needReady, func(ctx context.Context) error {
		h.d.seek(h.d.cart.tape.end())
		return nil
	})
}

// Position says where the drive is, and ends the state of a lost position.
func (h *driveHandle) Position(ctx context.Context) (dev.Position, error) {
	var p dev.Position
	err := h.do(ctx, dev.OpPosition, needReady, func(context.Context) error {
		d := h.d
		at := d.cart.tape.before(d.pos)
		side := d.cart.side
		p = dev.Position{Block: d.pos, File: at.marks, BOP: d.pos == 0, EOP: at.at > side.Capacity-side.Reserve}
		return nil
	})
	return p, err
}

func (d *drive) spot(object int64) spot {
	c := d.cart
	return c.model.spotOf(c.tape.before(object).at, c.side.Capacity)
}

// seek locates to an object, in the time that takes.
func (d *drive) seek(object int64) {
	d.goTo(object, d.model.locate(d.cart.model, d.spot(d.pos), d.spot(object)))
}

func (d *drive) goTo(object int64, t time.Duration) {
	d.spend(t)
	if object != d.pos {
		d.epoch++
		d.run = streaming{}
	}
	d.pos = object
	d.count(func(s *dev.DriveStats) { s.Locating += t })
}

// close ends the drive's task and makes what was written durable.
func (d *drive) close(ctx context.Context) error {
	d.unit.stop(ctx)
	if d.cart == nil || d.cart.tape == nil {
		return nil
	}
	return d.cart.tape.sync(ctx)
}
