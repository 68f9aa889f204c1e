package target

import (
	"context"
	"encoding/binary"
	"errors"
	"time"

	"capstan/core/dev"
	"capstan/core/rt"
	"capstan/core/scsi"
	"capstan/vtl"
)

// changer is the device server of the robot.
type changer struct {
	server
	inserted int64 // of the library, that were noticed
}

func newChanger(t *Target) *changer {
	u := &changer{}
	lib := t.lib
	u.server = server{
		target: t, kind: scsi.Changer, name: lib.Name(), serial: serialOf(lib.Name()), product: "VTL LIBRARY",
		task: lib.InHand, refresh: u.refresh, status: func() error { return nil }, fault: lib.TakeFault,
		cleared: func() {}, pass: lib.Pass, suffer: func(error) {}, kept: lib.LockMailSlots,
	}
	u.pages = u.modePages()
	u.logs = []logPage{{0x12, u.alertResponse}, {0x2E, u.tapeAlert}}
	u.register(u.common()...)
	u.register(u.changerCommands()...)
	return u
}

// refresh notices a mail slot that was opened.
func (u *changer) refresh() {
	if n := u.target.lib.Inserted(); n != u.inserted {
		u.inserted = n
		u.attend(mailSlotOpened, nil)
	}
}

func (u *changer) changerCommands() []command {
	const toMoveMedium, toInventory = 5 * time.Minute, 30 * time.Minute
	return []command{
		{scsi.InitializeElementStatus, noAction, "INITIALIZE ELEMENT STATUS", toInventory, writing, u.initialize, false, false, ""},
		{scsi.InitializeElementRange, noAction, "INITIALIZE ELEMENT STATUS WITH RANGE", toInventory, writing, u.initializeRange, false, false, ""},
		{initializeRangeE7, noAction, "INITIALIZE ELEMENT STATUS WITH RANGE", toInventory, writing, u.initializeRange, false, false, ""},
		{openCloseMailSlot, noAction, "OPEN/CLOSE IMPORT/EXPORT ELEMENT", minute, writing, u.openClose, false, false, ""},
		{positionToElement, noAction, "POSITION TO ELEMENT", toMoveMedium, writing, u.position, false, false, ""},
		{scsi.MoveMedium, noAction, "MOVE MEDIUM", toMoveMedium, writing, u.move, false, false, ""},
		{scsi.ExchangeMedium, noAction, "EXCHANGE MEDIUM", 2 * toMoveMedium, writing, u.exchange, false, false, ""},
		{scsi.ReadElementStatus, noAction, "READ ELEMENT STATUS", toMoveMedium, reading, u.elementStatus, false, false, dev.OpElementStatus},
	}
}

// Operation codes that a changer shares with a drive, or that SMC-2 had.
const (
	openCloseMailSlot = 0x1B
	positionToElement = 0x2B
	initializeRangeE7 = 0xE7
)

// modePages are 1Dh, element address assignment, 1Eh, transport geometry, 1Fh,
// device capabilities, and the control page.
func (u *changer) modePages() []*modePage {
	assignment := make([]byte, 18)
	at := 0
	for _, kind := range []dev.ElementKind{dev.Transport, dev.Slot, dev.ImportExport, dev.DriveElement} {
		first, n := u.span(kind)
		binary.BigEndian.PutUint16(assignment[at:], uint16(first))
		binary.BigEndian.PutUint16(assignment[at+2:], uint16(n))
		at += 4
	}
	capabilities := make([]byte, 18)
	capabilities[0] = 0x0E // slots, mail slots and drives store
	for i := 2; i < 6; i++ {
		capabilities[i] = 0x0E // and cartridges move between all of them
	}
	capabilities[2] = 0x00 // from the hand
	for i := 11; i < 14; i++ {
		capabilities[i] = 0x0E // exchanges
	}
	return []*modePage{controlPage(), page(0x1D, 0, assignment, nil), page(0x1E, 0, []byte{0, 0}, nil), page(0x1F, 0, capabilities, nil)}
}

// span is the first address of a kind of element, and how many there are.
func (u *changer) span(kind dev.ElementKind) (first, n int) {
	for _, e := range u.target.lib.Elements() {
		if e.Kind != kind {
			continue
		}
		if n == 0 {
			first = e.Address
		}
		n++
	}
	return first, n
}

// initialize reads every barcode, in the time that this takes.
func (u *changer) initialize(r *request) error {
	return u.target.lib.AuditInHand(r.ctx, len(u.target.lib.Elements())-1)
}

func (u *changer) initializeRange(r *request) error {
	if r.cdb[1]&0x01 == 0 { // all
		return u.initialize(r)
	}
	if !u.exists(int(binary.BigEndian.Uint16(r.cdb[2:]))) {
		return sense(scsi.IllegalRequest, 0x21, 0x01)
	}
	n := len(u.target.lib.Elements()) - 1
	return u.target.lib.AuditInHand(r.ctx, min(int(binary.BigEndian.Uint16(r.cdb[6:])), n))
}

func (u *changer) exists(address int) bool {
	_, ok := u.element(address)
	return ok
}

func (u *changer) element(address int) (dev.Element, bool) {
	for _, e := range u.target.lib.Elements() {
		if e.Address == address {
			return e, true
		}
	}
	return dev.Element{}, false
}

// openClose takes its time and does nothing else that is seen: people put in and take
// out at any time, unless it is prevented.
func (u *changer) openClose(r *request) error {
	e, ok := u.element(int(binary.BigEndian.Uint16(r.cdb[2:])))
	switch {
	case !ok || e.Kind != dev.ImportExport:
		return sense(scsi.IllegalRequest, 0x21, 0x01)
	case r.cdb[4]&0x1F > 1:
		return badField()
	case r.cdb[4]&0x1F == 0 && len(u.preventing) > 0:
		return sense(scsi.IllegalRequest, 0x53, 0x02)
	}
	if r.cdb[4]&0x1F == 0 {
		return nil // the time is taken when they are closed
	}
	return u.target.lib.OpenMailSlotsInHand(r.ctx)
}

// transportOK checks the address of the hand; 0 is the default one.
func transportOK(cdb []byte) error {
	if a := binary.BigEndian.Uint16(cdb[2:]); a != 0 && a != vtl.RobotAddress {
		return sense(scsi.IllegalRequest, 0x21, 0x01)
	}
	return nil
}

func (u *changer) position(r *request) error {
	if err := transportOK(r.cdb); err != nil {
		return err
	}
	if !u.exists(int(binary.BigEndian.Uint16(r.cdb[4:]))) {
		return sense(scsi.IllegalRequest, 0x21, 0x01)
	}
	if r.cdb[8]&0x01 != 0 { // invert
		return badField()
	}
	return nil
}

func (u *changer) move(r *request) error {
	if err := transportOK(r.cdb); err != nil {
		return err
	}
	if r.cdb[10]&0x01 != 0 {
		return badField()
	}
	from, to := int(binary.BigEndian.Uint16(r.cdb[4:])), int(binary.BigEndian.Uint16(r.cdb[6:]))
	return u.carry(r.ctx, from, to)
}

// carry moves a cartridge, out of a drive that unloads it, into one that loads it.
func (u *changer) carry(ctx context.Context, from, to int) error {
	src, ok := u.element(from)
	dst, ok2 := u.element(to)
	switch {
	case !ok || !ok2 || src.Kind == dev.Transport || dst.Kind == dev.Transport:
		return sense(scsi.IllegalRequest, 0x21, 0x01)
	case !src.Full:
		return sense(scsi.IllegalRequest, 0x3B, 0x0E)
	case dst.Full && from != to:
		return sense(scsi.IllegalRequest, 0x3B, 0x0D)
	}
	if d := u.driveAt(from); d != nil {
		if err := u.release(ctx, d); err != nil {
			return err
		}
	}
	if err := u.target.lib.MoveInHand(ctx, from, to); err != nil {
		return err
	}
	if d := u.driveAt(to); d != nil && !u.target.opts.StayUnloaded {
		return u.thread(ctx, d)
	}
	return nil
}

// release has a drive unload, if it may, so that the robot can take the cartridge.
func (u *changer) release(ctx context.Context, d *tape) error {
	return d.task(ctx, func(ctx context.Context) error {
		switch state := d.deck.State(); {
		case state == vtl.DeckEjected || state == vtl.DeckEmpty:
			return nil
		case len(d.preventing) > 0:
			return sense(scsi.IllegalRequest, 0x53, 0x02)
		case u.target.opts.EjectFirst:
			return sense(scsi.IllegalRequest, 0x53, 0x01)
		}
		d.crypt.unloaded()
		return d.deck.Unload(ctx)
	})
}

// thread has a drive load by itself. What goes wrong there is told by the drive. A
// library that takes time answers the robot's command first.
func (u *changer) thread(ctx context.Context, d *tape) error {
	load := func(ctx context.Context) error {
		err := d.task(ctx, func(ctx context.Context) error { _ = d.load(ctx, nil); return nil })
		if errors.Is(err, dev.ErrGone) {
			return nil
		}
		return err
	}
	if !u.target.lib.Timed() {
		return load(ctx)
	}
	rt.Go(ctx, "load "+d.name, func(ctx context.Context) { _ = load(ctx) })
	return nil
}

// driveAt is the drive at an element, or nil.
func (u *changer) driveAt(address int) *tape {
	for _, d := range u.target.tapes {
		if d.deck.Address() == address {
			return d
		}
	}
	return nil
}

// exchange moves a cartridge to where another is, and that one on to a third place.
func (u *changer) exchange(r *request) error {
	if err := transportOK(r.cdb); err != nil {
		return err
	}
	if r.cdb[10]&0x03 != 0 {
		return badField()
	}
	from := int(binary.BigEndian.Uint16(r.cdb[4:]))
	to := int(binary.BigEndian.Uint16(r.cdb[6:]))
	on := int(binary.BigEndian.Uint16(r.cdb[8:]))
	src, ok := u.element(from)
	mid, ok2 := u.element(to)
	dst, ok3 := u.element(on)
	switch {
	case !ok || !ok2 || !ok3 || src.Kind == dev.Transport || mid.Kind == dev.Transport || dst.Kind == dev.Transport || to == on || from == to:
		return sense(scsi.IllegalRequest, 0x21, 0x01)
	case !src.Full || !mid.Full:
		return sense(scsi.IllegalRequest, 0x3B, 0x0E)
	case dst.Full && on != from:
		return sense(scsi.IllegalRequest, 0x3B, 0x0D)
	case on == from:
		return sense(scsi.IllegalRequest, 0x3B, 0x0D) // one hand cannot swap two cartridges
	}
	if err := u.carry(r.ctx, to, on); err != nil {
		return err
	}
	return u.carry(r.ctx, from, to)
}
