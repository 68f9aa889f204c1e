package changer

import (
	"context"
	"errors"
	"fmt"

	"capstan/core/dev"
	"capstan/core/scsi"
	lu "capstan/hw/scsi"
)

// moveTries bounds how often a move is sent that the changer has not begun.
const moveTries = 5

// Move carries a cartridge; see [dev.Changer]. The elements are read before, so that
// an outcome that is not told can be seen afterwards.
func (c *Changer) Move(ctx context.Context, from, to int) error {
	before, known := c.read(ctx, from)
	err := c.send(ctx, dev.OpMove, moveCDB(c.hand(), from, to))
	switch {
	case err == nil:
		return nil
	case c.foreign(err, from, to):
		return c.u.Error(dev.OpMove, fmt.Errorf("from %d to %d: %w (%w)", from, to, dev.ErrBadElement, err))
	case errors.Is(err, dev.ErrSourceEmpty), errors.Is(err, dev.ErrDestinationFull):
		return c.reconcile(ctx, from, to, err)
	case known && before.Full && uncertain(err):
		return c.look(ctx, before, to, err)
	}
	return err
}

// hand is the address of the robot's hand; 0 is the library's choice.
func (c *Changer) hand() int { return c.places[dev.Transport].First }

// send sends a move until the changer has begun it: after a unit attention, and while
// the library comes up, it has not.
func (c *Changer) send(ctx context.Context, op string, cdb []byte) error {
	for try := 1; ; try++ {
		r, err := c.u.Do(ctx, op, &scsi.Command{CDB: cdb})
		switch {
		case err == nil || try == moveTries:
			return err
		case r.Sense.Key == scsi.UnitAttention:
		case lu.BecomesReady(err):
			if err := c.u.AwaitReady(ctx, readyTime); err != nil {
				return err
			}
		default:
			return err
		}
	}
}

// foreign tells whether a refusal is of an address that the library does not have:
// some say "invalid field" and not "invalid element address".
func (c *Changer) foreign(err error, addresses ...int) bool {
	if !refused(err) || senseOf(err).ASC != 0x24 {
		return false
	}
	for _, a := range addresses {
		if !c.places.Has(a) {
			return true
		}
	}
	return false
}

// uncertain tells whether an error leaves open what the robot has done.
func uncertain(err error) bool { return errors.Is(err, dev.ErrGone) || errors.Is(err, dev.ErrAborted) }

// read reads an element's state for what may have to be explained later.
func (c *Changer) read(ctx context.Context, address int) (dev.Element, bool) {
	e, err := c.element(ctx, address)
	return e, err == nil
}

// look finds out by the elements whether a move was made whose end was not told.
func (c *Changer) look(ctx context.Context, before dev.Element, to int, err error) error {
	if rerr := c.u.AwaitReady(ctx, readyTime); rerr != nil {
		return err
	}
	src, ok := c.read(ctx, before.Address)
	dst, ok2 := c.read(ctx, to)
	if !ok || !ok2 {
		return err
	}
	switch {
	case !src.Full && dst.Full && dst.Barcode == before.Barcode:
		c.log.Warn("the move has not been answered, and was made", "cartridge", before.Barcode, "to", to, "error", err)
		return nil
	case src.Full && !dst.Full:
		return fmt.Errorf("%w; the cartridge is where it was, in element %d", err, before.Address)
	}
	return fmt.Errorf("%w; element %d is now %s, element %d is %s: look into the library", err, src.Address, state(src), dst.Address, state(dst))
}

// reconcile compares what the changer says of a move, that its source is empty or its
// destination full, with what it says of the elements. If they deny it the move is
// sent once more.
func (c *Changer) reconcile(ctx context.Context, from, to int, err error) error {
	src, ok := c.read(ctx, from)
	dst, ok2 := c.read(ctx, to)
	if !ok || !ok2 {
		return err
	}
	if src.Full && !dst.Full {
		c.log.Warn("the elements say that the move is possible: it is sent once more", "from", from, "to", to, "error", err)
		return c.send(ctx, dev.OpMove, moveCDB(c.hand(), from, to))
	}
	return fmt.Errorf("%w; element %d is %s, element %d is %s", err, from, state(src), to, state(dst))
}

// state is what is in an element, in words.
func state(e dev.Element) string {
	switch {
	case !e.Full:
		return "empty"
	case e.Barcode == "":
		return "full, with a cartridge that has no readable label"
	}
	return "full, with cartridge " + e.Barcode
}

// Exchange carries a cartridge from one element to a second and what was in the second
// to a third, which may be the first. [dev.ErrNotSupported] if the robot cannot.
func (c *Changer) Exchange(ctx context.Context, from, to, next int) error {
	err := c.send(ctx, "EXCHANGE MEDIUM", exchangeCDB(c.hand(), from, to, next))
	if c.foreign(err, from, to, next) {
		return c.u.Error("EXCHANGE MEDIUM", fmt.Errorf("from %d to %d and %d: %w (%w)", from, to, next, dev.ErrBadElement, err))
	}
	return err
}
