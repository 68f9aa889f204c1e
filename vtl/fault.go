package vtl

import (
	"context"
	"errors"

	"capstan/core/dev"
)

// Inject adds a fault.
func (l *Library) Inject(f dev.Fault) {
	if f.Times == 0 {
		f.Times = 1
	}
	if errors.Is(f.Err, dev.ErrEarlyWarning) || errors.Is(f.Err, dev.ErrProgrammableWarning) || errors.Is(f.Err, dev.ErrCleaning) {
		f.Done = true
	}
	l.lock.Lock()
	l.faults = append(l.faults, &f)
	l.lock.Unlock()
}

// ClearFaults forgets every fault that was not taken yet.
func (l *Library) ClearFaults() {
	l.lock.Lock()
	l.faults = nil
	l.lock.Unlock()
}

// takeFault is the fault that an operation meets; nil mostly. The lock is held.
func (l *Library) takeFault(device, barcode, op string) *dev.Fault {
	for i, f := range l.faults {
		if (f.Device != "" && f.Device != device && f.Device != barcode) || (f.Op != "" && f.Op != op) {
			continue
		}
		if f.Skip > 0 {
			f.Skip--
			continue
		}
		if f.Times > 0 {
			if f.Times--; f.Times == 0 {
				l.faults = append(l.faults[:i:i], l.faults[i+1:]...)
			}
		}
		return f
	}
	return nil
}

// PowerCycle loses what a drive's buffer held and resets it: the medium is at its
// beginning, and reads and writes answer [dev.ErrPositionLost] until the drive
// was asked for its position or sent somewhere.
func (l *Library) PowerCycle(ctx context.Context, name string) error {
	d, err := l.drive(name)
	if err != nil {
		return err
	}
	return d.unit.do(ctx, command{run: func(ctx context.Context) error {
		l.lock.Lock()
		d.holder = ""
		l.lock.Unlock()
		d.pos, d.lost, d.dirty = 0, true, false
		d.epoch++
		d.resets++
		if d.state != ready {
			return nil
		}
		return d.cart.tape.truncate(ctx, d.cart.tape.durable)
	}})
}

// senses is what each condition is in sense data.
var senses = []struct {
	err   error
	sense dev.Sense
}{
	{dev.ErrEncryption, dev.Sense{Key: 7, ASC: 0x74, ASCQ: 0x01}},
	{dev.ErrCleaningCartridge, dev.Sense{Key: 2, ASC: 0x30, ASCQ: 0x03}},
	{dev.ErrNotReady, dev.Sense{Key: 2, ASC: 0x04, ASCQ: 0x02}},
	{dev.ErrNoMedium, dev.Sense{Key: 2, ASC: 0x3A}},
	{dev.ErrFilemark, dev.Sense{ASCQ: 0x01}},
	{dev.ErrEndOfData, dev.Sense{Key: 8, ASCQ: 0x05}},
	{dev.ErrBeginning, dev.Sense{ASCQ: 0x04}},
	{dev.ErrEarlyWarning, dev.Sense{ASCQ: 0x02}},
	{dev.ErrVolumeOverflow, dev.Sense{Key: 0xD, ASCQ: 0x02}},
	{dev.ErrMedium, dev.Sense{Key: 3, ASC: 0x11}},
	{dev.ErrHardware, dev.Sense{Key: 4, ASC: 0x44}},
	{dev.ErrWriteProtected, dev.Sense{Key: 7, ASC: 0x27}},
	{dev.ErrCleaning, dev.Sense{ASCQ: 0x17}},
	{dev.ErrPositionLost, dev.Sense{Key: 6, ASC: 0x29}},
	{dev.ErrIncompatible, dev.Sense{Key: 3, ASC: 0x30}},
	{dev.ErrSourceEmpty, dev.Sense{Key: 5, ASC: 0x3B, ASCQ: 0x0E}},
	{dev.ErrDestinationFull, dev.Sense{Key: 5, ASC: 0x3B, ASCQ: 0x0D}},
	{dev.ErrBadElement, dev.Sense{Key: 5, ASC: 0x21, ASCQ: 0x01}},
	{dev.ErrRemovalPrevented, dev.Sense{Key: 5, ASC: 0x53, ASCQ: 0x02}},
	{dev.ErrNotSupported, dev.Sense{Key: 5, ASC: 0x20}},
}

// report makes the error that a device answers with.
func report(device, op string, err error) error {
	if err == nil {
		return nil
	}
	var e *dev.Error
	if errors.As(err, &e) {
		return err
	}
	e = &dev.Error{Device: device, Op: op, Err: err}
	for _, s := range senses {
		if errors.Is(err, s.err) {
			e.Sense = s.sense
			break
		}
	}
	return e
}
