package vtl

import (
	"context"
	"fmt"

	"capstan/core/dev"
	"capstan/core/rt"
)

// robot is a handle of the library's robot.
type robot struct{ l *Library }

var (
	_ dev.Overlapping = (*robot)(nil)
	_ dev.Rescanner   = (*robot)(nil)
)

func (r *robot) Name() string { return r.l.cfg.Name }
func (r *robot) Close() error { return nil }

// Inventory answers at once, also while an arm is under way.
func (r *robot) Inventory(ctx context.Context) ([]dev.Element, error) {
	rt.MayBlock(ctx)
	l := r.l
	l.lock.Lock()
	f := l.takeFault(l.cfg.Name, "", dev.OpElementStatus)
	all := l.inventory()
	l.lock.Unlock()
	if f != nil {
		if err := l.pass(ctx, f.Delay); err != nil {
			return nil, err
		}
		if f.Err != nil {
			return nil, report(l.cfg.Name, dev.OpElementStatus, f.Err)
		}
	}
	return all, nil
}

// Move carries a cartridge. The library's file says where it is before Move returns.
// Moves go on beside each other, each by an arm, or waiting for one.
func (r *robot) Move(ctx context.Context, from, to int) error {
	l := r.l
	return report(l.cfg.Name, dev.OpMove, l.movers.do(ctx, command{run: func(ctx context.Context) error {
		return l.move(ctx, from, to)
	}}))
}

// Moves is how many it takes at a time; see [dev.Overlapping].
func (r *robot) Moves() int { return r.l.overlapping() }

// Rescan has the arms read every barcode, in the time that it takes; what is where was
// known before; see [dev.Rescanner].
func (r *robot) Rescan(ctx context.Context) error {
	l := r.l
	return report(l.cfg.Name, dev.OpElementStatus, l.hand.do(ctx, command{run: func(ctx context.Context) error {
		return l.audit(ctx, len(l.elements)-1)
	}}))
}

// claim waits until no other move is about either element, and keeps others from them
// until the function that it returns is called.
func (l *Library) claim(ctx context.Context, from, to int) (free func(), err error) {
	for {
		l.lock.Lock()
		src, dst := l.find(from), l.find(to)
		if src == nil || dst == nil { // nothing to keep others from
			l.lock.Unlock()
			return func() {}, nil
		}
		other := src.claimed
		if other == nil {
			other = dst.claimed
		}
		if other == nil {
			mine := rt.NewEvent(ctx)
			src.claimed, dst.claimed = mine, mine
			l.lock.Unlock()
			return func() {
				l.lock.Lock()
				src.claimed, dst.claimed = nil, nil
				l.lock.Unlock()
				mine.Set()
			}, nil
		}
		l.lock.Unlock()
		if err := other.Wait(ctx); err != nil {
			return nil, err
		}
	}
}

func (l *Library) move(ctx context.Context, from, to int) error {
	free, err := l.claim(ctx, from, to)
	if err != nil {
		return err
	}
	defer free()
	l.lock.Lock()
	cart, err := l.checkMove(from, to)
	var f *dev.Fault
	if err == nil {
		f = l.takeFault(l.cfg.Name, cart.side.Barcode, dev.OpMove)
	}
	l.lock.Unlock()
	if err != nil {
		return err
	}
	if f != nil {
		if err := l.pass(ctx, f.Delay); err != nil {
			return err
		}
		if f.Err != nil && !f.Done && !f.Drop {
			return f.Err
		}
	}
	if err := l.travel(ctx, l.find(from), l.find(to)); err != nil {
		return err
	}
	drop := f != nil && f.Drop
	if err := l.carry(from, to, drop); err != nil {
		return err
	}
	if err := l.save(ctx); err != nil {
		return fmt.Errorf("the cartridge is at element %d, but that could not be recorded: %w", to, err)
	}
	switch {
	case f == nil:
		return nil
	case drop && f.Err == nil:
		return fmt.Errorf("cartridge %s was dropped on its way to %d: %w", cart.side.Barcode, to, dev.ErrHardware)
	}
	return f.Err
}

// checkMove finds the cartridge at from, and what keeps it from going to to. The lock
// is held.
func (l *Library) checkMove(from, to int) (*cartridge, error) {
	src, dst := l.find(from), l.find(to)
	switch {
	case src == nil || src.kind == dev.Transport:
		return nil, fmt.Errorf("source element %d: %w", from, dev.ErrBadElement)
	case dst == nil || dst.kind == dev.Transport:
		return nil, fmt.Errorf("destination element %d: %w", to, dev.ErrBadElement)
	case src.cart == nil:
		return nil, fmt.Errorf("element %d: %w", from, dev.ErrSourceEmpty)
	case src != dst && dst.cart != nil:
		return nil, fmt.Errorf("element %d: %w", to, dev.ErrDestinationFull)
	case src.drive != nil && src.drive.state != ejected:
		return nil, fmt.Errorf("drive %s has not ejected: unload it first: %w", src.drive.name, dev.ErrRemovalPrevented)
	}
	return src.cart, nil
}

// carry moves the cartridge at the end of the arm's way. What may have changed
// meanwhile is looked at again: a drive may have begun to load.
func (l *Library) carry(from, to int, drop bool) error {
	l.lock.Lock()
	defer l.lock.Unlock()
	cart, err := l.checkMove(from, to)
	if err != nil {
		return err
	}
	src, dst := l.find(from), l.find(to)
	origin := from
	if src.drive != nil {
		src.drive.cart = nil
		origin = src.source
	}
	src.cart, src.source = nil, 0
	l.stats.Moves++
	if drop {
		return nil
	}
	dst.cart, dst.source = cart, 0
	if dst.drive != nil {
		dst.source = origin
		dst.drive.cart = cart
	}
	return nil
}

// TakeOut is a person's hand at the mail slots: it takes the cartridge out of the
// library and returns its barcode.
func (l *Library) TakeOut(ctx context.Context, address int) (barcode string, err error) {
	err = l.hand.do(ctx, command{run: func(ctx context.Context) error {
		free, err := l.mailSlots(ctx, address)
		if err != nil {
			return err
		}
		defer free()
		l.lock.Lock()
		e := l.find(address)
		ok := e != nil && e.kind == dev.ImportExport && e.cart != nil
		if ok {
			barcode = e.cart.side.Barcode
			e.cart = nil
			l.inserted++
		}
		l.lock.Unlock()
		if !ok {
			return fmt.Errorf("library %s: element %d is no mail slot with a cartridge in it", l.cfg.Name, address)
		}
		return l.save(ctx)
	}})
	return barcode, err
}

// PutIn is a person's hand at the mail slots: it puts in a cartridge of the
// configuration that is in no element.
func (l *Library) PutIn(ctx context.Context, barcode string, address int) error {
	return l.hand.do(ctx, command{run: func(ctx context.Context) error {
		free, err := l.mailSlots(ctx, address)
		if err != nil {
			return err
		}
		defer free()
		l.lock.Lock()
		e, c := l.find(address), l.cartridge(barcode)
		ok := e != nil && e.kind == dev.ImportExport && e.cart == nil && c != nil && l.holder(c) == nil
		if ok {
			e.cart = c
			l.inserted++
		}
		l.lock.Unlock()
		if !ok {
			return fmt.Errorf("library %s: cartridge %s cannot be put into element %d: give an empty mail slot and a cartridge that is outside", l.cfg.Name, barcode, address)
		}
		return l.save(ctx)
	}})
}

// LockMailSlots keeps people from the mail slots, or lets them again.
func (l *Library) LockMailSlots(locked bool) {
	l.lock.Lock()
	l.locked = locked
	l.lock.Unlock()
}

// mailSlots opens and closes the mail slots, after which their barcodes are read, in the
// time that this takes, and keeps the arms from one of them until free is called.
func (l *Library) mailSlots(ctx context.Context, address int) (free func(), err error) {
	l.lock.Lock()
	locked := l.locked
	l.lock.Unlock()
	if locked {
		return nil, fmt.Errorf("library %s: the mail slots are locked: %w", l.cfg.Name, dev.ErrRemovalPrevented)
	}
	if free, err = l.claim(ctx, address, address); err != nil {
		return nil, err
	}
	if err = l.openMailSlots(ctx); err != nil {
		free()
		return nil, err
	}
	return free, nil
}

func (l *Library) openMailSlots(ctx context.Context) error {
	if err := l.pass(ctx, l.model.MailSlot); err != nil {
		return err
	}
	return l.audit(ctx, l.cfg.ImportExport)
}
