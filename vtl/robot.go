package vtl

import (
	"context"
	"fmt"
	"slices"
	"time"

	"capstan/core/dev"
	"capstan/core/rt"
)

// robot is a handle of the library's robot.
type robot struct{ l *Library }

func (r *robot) Name() string { return r.l.cfg.Name }
func (r *robot) Close() error { return nil }

// Inventory answers at once, also while the hand is under way.
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
func (r *robot) Move(ctx context.Context, from, to int) error {
	l := r.l
	return report(l.cfg.Name, dev.OpMove, l.hand.do(ctx, func(ctx context.Context) error {
		return l.move(ctx, from, to)
	}))
}

func (l *Library) move(ctx context.Context, from, to int) error {
	l.lock.Lock()
	cart, way, err := l.checkMove(from, to)
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
	took := l.model.move(way)
	if err := l.pass(ctx, took); err != nil {
		return err
	}
	drop := f != nil && f.Drop
	if err := l.carry(from, to, took, drop); err != nil {
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

// checkMove finds the cartridge at from, and the way of the hand in mm. The lock
// is held.
func (l *Library) checkMove(from, to int) (*cartridge, int64, error) {
	src, dst := l.find(from), l.find(to)
	switch {
	case src == nil || src.kind == dev.Transport:
		return nil, 0, fmt.Errorf("source element %d: %w", from, dev.ErrBadElement)
	case dst == nil || dst.kind == dev.Transport:
		return nil, 0, fmt.Errorf("destination element %d: %w", to, dev.ErrBadElement)
	case src.cart == nil:
		return nil, 0, fmt.Errorf("element %d: %w", from, dev.ErrSourceEmpty)
	case src != dst && dst.cart != nil:
		return nil, 0, fmt.Errorf("element %d: %w", to, dev.ErrDestinationFull)
	case src.drive != nil && src.drive.state != ejected:
		return nil, 0, fmt.Errorf("drive %s has not ejected: unload it first: %w", src.drive.name, dev.ErrRemovalPrevented)
	}
	a := slices.IndexFunc(l.elements, func(e element) bool { return e.address == from })
	b := slices.IndexFunc(l.elements, func(e element) bool { return e.address == to })
	way := l.model.Pitch * (abs(int64(a-l.at)) + abs(int64(b-a)))
	return src.cart, way, nil
}

// carry moves the cartridge at the end of the hand's way. What may have changed
// meanwhile is looked at again: a person's hand, or a drive that began to load.
func (l *Library) carry(from, to int, took time.Duration, drop bool) error {
	l.lock.Lock()
	defer l.lock.Unlock()
	cart, _, err := l.checkMove(from, to)
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
	l.stats.Busy += took
	l.at = slices.IndexFunc(l.elements, func(e element) bool { return e.address == to })
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
	err = l.hand.do(ctx, func(ctx context.Context) error {
		if err := l.unlocked(); err != nil {
			return err
		}
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
	})
	return barcode, err
}

// PutIn is a person's hand at the mail slots: it puts in a cartridge of the
// configuration that is in no element.
func (l *Library) PutIn(ctx context.Context, barcode string, address int) error {
	return l.hand.do(ctx, func(ctx context.Context) error {
		if err := l.unlocked(); err != nil {
			return err
		}
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
	})
}

// LockMailSlots keeps people from the mail slots, or lets them again.
func (l *Library) LockMailSlots(locked bool) {
	l.lock.Lock()
	l.locked = locked
	l.lock.Unlock()
}

func (l *Library) unlocked() error {
	l.lock.Lock()
	defer l.lock.Unlock()
	if l.locked {
		return fmt.Errorf("library %s: the mail slots are locked: %w", l.cfg.Name, dev.ErrRemovalPrevented)
	}
	return nil
}
