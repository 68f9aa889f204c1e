package tape

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"

	"capstan/core/dev"
	"capstan/core/scsi"
	lu "capstan/hw/scsi"
)

// Other hosts are kept out by the drive: by a persistent reservation whose key is made
// of the holder's name, or by RESERVE(6). Processes of this host share its path to the
// drive, and the drive cannot tell them apart: they are kept out by a lock.

// keyOf is the reservation key of a holder; zero is none's.
func keyOf(holder string) lu.Key {
	sum := sha256.Sum256([]byte("capstan " + holder))
	return lu.Key(binary.BigEndian.Uint64(sum[:]) | 1)
}

// passing is the holder that a drive has while it is taken from another to be free.
const passing = "(being freed)"

// resetter is a transport that can reset the logical unit.
type resetter interface {
	Reset(ctx context.Context) error
}

// Reserve takes the drive or gives it back; see [dev.Drive].
func (d *Drive) Reserve(ctx context.Context, holder string, force bool) error {
	d.last = ctx
	if holder == "" && d.holder != "" {
		d.restore(ctx) // while it is still this holder's
	}
	if err := d.takeLock(holder, force); err != nil {
		return d.fail(dev.OpReserve, err)
	}
	if err := d.reserve(ctx, holder, force); err != nil {
		if holder != "" && !errors.Is(err, dev.ErrGone) && holder != d.holder {
			d.lock.release()
			d.lock = nil
		}
		return asOp(err, dev.OpReserve)
	}
	if holder == "" && d.lock != nil {
		d.lock.release()
		d.lock = nil
	}
	d.holder, d.taken, d.unheld = holder, false, false
	if holder == "" {
		return nil
	}
	// Whoever had the drive before may have moved the tape and set other parameters.
	d.settled = false
	if d.known {
		losses := d.losses
		if p, err := d.ask(ctx); err == nil && d.losses == losses {
			d.adopt(p)
		}
	}
	return nil
}

func (d *Drive) reserve(ctx context.Context, holder string, force bool) error {
	if d.can.persist != no {
		err := d.persist(ctx, holder, force)
		if !lacking(err) {
			return err
		}
		d.can.persist = no
	}
	if d.can.reserve != no {
		err := d.reserve6(ctx, holder, force)
		if !lacking(err) {
			return err
		}
		d.can.reserve = no
	}
	if holder != "" {
		d.log.Warn("the drive knows no reservations: other hosts that reach it are not kept out")
	}
	return nil
}

// lacking tells whether a drive does not have a command, or not its service action. To
// have no room for another registration, say, is something else.
func lacking(err error) bool {
	var e *dev.Error
	return errors.As(err, &e) && e.Sense.Key == scsi.IllegalRequest && (e.Sense.ASC == 0x20 || e.Sense.ASC == 0x24)
}

// persist is the reservation by key.
func (d *Drive) persist(ctx context.Context, holder string, force bool) error {
	r, err := d.u.Reservation(ctx)
	if err != nil {
		return err
	}
	if holder == "" {
		return d.unpersist(ctx, r, force)
	}
	key := keyOf(holder)
	if r.Held && r.Key != key && !force {
		return d.fail(dev.OpReserve, fmt.Errorf("%w: another holds it, with key %016X", dev.ErrReservation, uint64(r.Key)))
	}
	return d.claim(ctx, r, key)
}

// claim registers a key and has it hold the reservation.
func (d *Drive) claim(ctx context.Context, r lu.Reservation, key lu.Key) error {
	if err := d.u.ReserveOut(ctx, lu.RegisterIgnored, 0, key); err != nil {
		return err
	}
	if r.Held && r.Key != key {
		now, err := d.u.Reservation(ctx) // it has the new key if it was this host's
		if err != nil {
			return err
		}
		if now.Held && now.Key != key {
			return d.u.ReserveOut(ctx, lu.PreemptAbort, key, now.Key)
		}
	}
	err := d.u.ReserveOut(ctx, lu.Reserve, key, 0)
	if errors.Is(err, dev.ErrReservation) && r.Held && r.Key == key { // the same holder, by another path
		err = d.u.ReserveOut(ctx, lu.PreemptAbort, key, key)
	}
	return err
}

func (d *Drive) unpersist(ctx context.Context, r lu.Reservation, force bool) error {
	key := keyOf(d.holder)
	switch {
	case !r.Held && (d.holder == "" || d.unheld):
		return nil
	case r.Held && (d.holder == "" || r.Key != key):
		if !force {
			return d.fail(dev.OpReserve, fmt.Errorf("%w: another holds it, with key %016X", dev.ErrReservation, uint64(r.Key)))
		}
		key = keyOf(passing)
		if err := d.claim(ctx, r, key); err != nil {
			return err
		}
	}
	if err := d.u.ReserveOut(ctx, lu.Release, key, 0); err != nil {
		return err
	}
	return d.u.ReserveOut(ctx, lu.Register, key, 0)
}

// reserve6 is the reservation of older drives, which have no key. To break another's
// the unit must be reset.
func (d *Drive) reserve6(ctx context.Context, holder string, force bool) error {
	code := byte(scsi.Reserve6)
	if holder == "" && !force {
		code = scsi.Release6
	}
	command := func() error {
		_, err := d.u.Repeat(ctx, dev.OpReserve, &scsi.Command{CDB: []byte{code, 0, 0, 0, 0, 0}})
		return err
	}
	err := command()
	if errors.Is(err, dev.ErrReservation) && force {
		t, ok := d.u.Transport().(resetter)
		if !ok {
			return d.fail(dev.OpReserve, fmt.Errorf("%w: another host holds it, and this path cannot reset the drive", dev.ErrReservation))
		}
		d.log.Warn("the drive is reset, to end another host's reservation")
		if err := t.Reset(ctx); err != nil {
			return d.fail(dev.OpReserve, fmt.Errorf("%w: %w", dev.ErrReservation, err))
		}
		d.lose()
		_ = d.u.Drain(ctx) // the reset's unit attention; what else it says, the next command will
		err = command()
	}
	if err == nil && holder == "" && force {
		code = scsi.Release6
		err = command()
	}
	return err
}

// held says that another has the drive now, and takes it anew if a reset has ended
// the reservation.
func (d *Drive) held(ctx context.Context, op string) error {
	if d.lock != nil && !d.lock.mine() {
		d.taken = true
	}
	if d.taken {
		return d.fail(op, fmt.Errorf("%w: it was taken from %s", dev.ErrReservation, d.holder))
	}
	if d.unheld {
		if err := d.reserve(ctx, d.holder, false); err != nil {
			return asOp(err, op)
		}
		d.unheld = false
	}
	return ctx.Err()
}
