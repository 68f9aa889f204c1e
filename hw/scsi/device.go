package scsi

import (
	"context"
	"errors"
	"fmt"
	"time"

	"capstan/core/dev"
	"capstan/core/rt"
	"capstan/core/scsi"
)

// Device is one logical unit: a drive or a changer. One command at a time.
type Device struct {
	name   string
	t      scsi.Transport
	limits limits
	// OnAttention is told of every unit attention before the command that met it
	// ends, so that none is lost on a command that nobody looks at. It must not send
	// commands. Nil if nobody cares.
	OnAttention func(s *scsi.Sense)
	// Recovered counts the errors that the device says it has recovered from.
	Recovered int64
	// Cleaning is set when the device asks to be cleaned, which it does at the end of a
	// command that went well.
	Cleaning bool
}

// NewDevice makes a device of a transport; name is what errors call it.
func NewDevice(name string, t scsi.Transport) *Device {
	return &Device{name: name, t: t}
}

// Name is what errors call the device.
func (d *Device) Name() string { return d.name }

// Transport is what carries the commands.
func (d *Device) Transport() scsi.Transport { return d.t }

// Close closes the transport.
func (d *Device) Close() error { return d.t.Close() }

// Reply is how a command ended that the device has carried out.
type Reply struct {
	N     int        // bytes transferred, as the transport counts them
	Sense scsi.Sense // zero if there was none
}

// How long a device may say that it is busy before that counts as its failure.
const (
	busyLimit = 2 * time.Minute
	busyPause = 100 * time.Millisecond
	busyLong  = 2 * time.Second
	// mostLate is how many errors of earlier commands may come in a row.
	mostLate = 16
)

// Do sends a command. Its errors are [dev.Error]s: of the sense data's condition (also
// those of commands that were done, like [dev.ErrEarlyWarning]), [dev.ErrReservation],
// or [dev.ErrGone]. A command is sent again only after BUSY and TASK SET FULL, with
// which a device says that it has not begun it (SAM-5 5.3.1), and after a deferred
// error that was recovered, with which it has not begun it either (SPC-5 4.4.3).
func (d *Device) Do(ctx context.Context, op string, c *scsi.Command) (Reply, error) {
	if c.Timeout == 0 {
		c.Timeout = d.limits.of(c.CDB)
	}
	pause, late := busyPause, 0
	for end := time.Duration(0); ; {
		r, err := d.t.Do(ctx, c)
		if err != nil {
			return Reply{}, d.gone(ctx, op, err)
		}
		switch r.Status {
		case scsi.Good, scsi.ConditionMet:
			return Reply{N: r.N}, nil
		case scsi.CheckCondition:
			again, reply, err := d.check(op, r)
			if again && late < mostLate {
				late++
				continue
			}
			if again {
				err = d.Error(op, fmt.Errorf("%w: no end of errors of earlier commands", dev.ErrHardware))
			}
			return reply, err
		case scsi.Busy, scsi.TaskSetFull:
			now := rt.Mono(ctx)
			if end == 0 {
				end = now + busyLimit
			}
			if now >= end {
				return Reply{}, d.Error(op, fmt.Errorf("%w: %v for %v", dev.ErrNotReady, r.Status, busyLimit))
			}
			if err := rt.Sleep(ctx, pause); err != nil {
				return Reply{}, err
			}
			pause = min(2*pause, busyLong)
		case scsi.ReservationConflict:
			return Reply{}, d.Error(op, dev.ErrReservation)
		default:
			return Reply{}, d.Error(op, fmt.Errorf("%w: %v", dev.ErrAborted, r.Status))
		}
	}
}

// gone is the error of a transport; it is the caller's own if the context ended.
func (d *Device) gone(ctx context.Context, op string, err error) error {
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return err
	}
	if !errors.Is(err, dev.ErrGone) && !errors.Is(err, dev.ErrNotSupported) {
		err = fmt.Errorf("%w: %w", dev.ErrGone, err)
	}
	return d.Error(op, err)
}

// check judges sense data. again says that the command was not begun and may be sent
// once more.
func (d *Device) check(op string, r scsi.Result) (again bool, _ Reply, _ error) {
	s, err := scsi.ParseSense(r.Sense)
	if err != nil {
		return false, Reply{}, d.Error(op, fmt.Errorf("%w: CHECK CONDITION with sense data that says nothing: %w", dev.ErrHardware, err))
	}
	if s.Key == scsi.UnitAttention && d.OnAttention != nil {
		d.OnAttention(&s)
	}
	if s.Key == scsi.RecoveredError {
		d.Recovered++
		if s.Deferred {
			return true, Reply{}, nil
		}
	}
	reply := Reply{N: r.N, Sense: s}
	cond := s.Condition()
	if errors.Is(cond, dev.ErrCleaning) && !s.Deferred {
		d.Cleaning, cond = true, nil
	}
	if cond == nil {
		return false, reply, nil
	}
	if s.Deferred {
		cond = fmt.Errorf("an earlier command, whose data may be lost: %w", cond)
	}
	return false, reply, &dev.Error{Device: d.name, Op: op, Sense: s.Sense, Err: cond}
}

// Error is an error of this device that no sense data tells.
func (d *Device) Error(op string, err error) error {
	return &dev.Error{Device: d.name, Op: op, Err: err}
}

// tries is how often a question is asked that the device did not get to answer.
const tries = 5

// Ask sends a command that changes nothing, and asks again when a unit attention came
// in its place or the device aborted it. It returns the bytes that came into in.
func (d *Device) Ask(ctx context.Context, op string, cdb, in []byte) (int, error) {
	r, err := d.Repeat(ctx, op, &scsi.Command{CDB: cdb, In: in})
	if err != nil && !Done(err) {
		return 0, err
	}
	return min(max(r.N, 0), len(in)), nil
}

// Done tells whether an error reports on a command that was carried out: that the end
// of the medium nears.
func Done(err error) bool {
	var e *dev.Error
	return errors.As(err, &e) && e.Sense.Key <= scsi.RecoveredError &&
		(errors.Is(e.Err, dev.ErrEarlyWarning) || errors.Is(e.Err, dev.ErrProgrammableWarning))
}

// Repeat sends a command that may as well be carried out twice.
func (d *Device) Repeat(ctx context.Context, op string, c *scsi.Command) (Reply, error) {
	for try := 1; ; try++ {
		r, err := d.Do(ctx, op, c)
		if err == nil || try == tries || (r.Sense.Key != scsi.UnitAttention && !errors.Is(err, dev.ErrAborted)) {
			return r, err
		}
	}
}

// Ready sends TEST UNIT READY.
func (d *Device) Ready(ctx context.Context) error {
	_, err := d.Do(ctx, dev.OpStatus, &scsi.Command{CDB: []byte{scsi.TestUnitReady, 0, 0, 0, 0, 0}})
	return err
}

// Drain asks until the device has no unit attention left, which queue up (SAM-5
// 5.14), and returns what it says then: nil, or why it is not ready.
func (d *Device) Drain(ctx context.Context) error {
	const most = 64
	var last error
	for range most {
		var e *dev.Error
		last = d.Ready(ctx)
		if last == nil || !errors.As(last, &e) || e.Sense.Key != scsi.UnitAttention {
			return last
		}
	}
	return d.Error(dev.OpStatus, fmt.Errorf("%w: no end of unit attentions: %w", dev.ErrHardware, last))
}

// BecomesReady says whether an error means that the device will be ready by itself:
// it loads, calibrates, formats or cleans.
func BecomesReady(err error) bool {
	var e *dev.Error
	if !errors.As(err, &e) || e.Sense.Key != scsi.NotReady {
		return false
	}
	switch {
	case e.Sense.ASC == 0x04:
		switch e.Sense.ASCQ {
		case 0x00, 0x01, 0x04, 0x07:
			return true
		}
	case e.Sense.ASC == 0x3E && e.Sense.ASCQ == 0x00: // not self-configured yet
		return true
	}
	return false
}

// AwaitReady waits while the device becomes ready, at most so long. Nothing but TEST
// UNIT READY is sent meanwhile: a first load calibrates for up to two hours.
func (d *Device) AwaitReady(ctx context.Context, limit time.Duration) error {
	for end := rt.Mono(ctx) + limit; ; {
		err := d.Drain(ctx)
		if !BecomesReady(err) || rt.Mono(ctx) >= end {
			return err
		}
		if err := rt.Sleep(ctx, time.Second); err != nil {
			return err
		}
	}
}
