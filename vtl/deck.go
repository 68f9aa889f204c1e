package vtl

import (
	"context"
	"fmt"
	"time"

	"capstan/core/dev"
)

// Deck is a drive below its commands: what the drive's own firmware sees. The
// SCSI target is built on it. [Deck.Do] runs a function in the drive's task; the
// methods from [Deck.Loads] on may be called there only.
type Deck struct{ d *drive }

// Decks are the library's drives, in the order of their elements.
func (l *Library) Decks() []*Deck {
	var all []*Deck
	for _, d := range l.drives {
		all = append(all, &Deck{d})
	}
	return all
}

// Name is the drive's name.
func (k *Deck) Name() string { return k.d.name }

// Serial is the drive's serial number, which its element tells too.
func (k *Deck) Serial() string { return k.d.serial }

// Address is the address of the drive's element.
func (k *Deck) Address() int { return k.d.address }

// Model is the drive's model.
func (k *Deck) Model() *DriveModel { return k.d.model }

// Do runs a function in the drive's task, between two commands, and waits for it.
func (k *Deck) Do(ctx context.Context, run func(ctx context.Context) error) error {
	return k.d.unit.do(ctx, command{run: run})
}

// DeckState is where the cartridge of a drive is.
type DeckState uint8

// The states of a drive.
const (
	DeckEmpty     DeckState = iota // no cartridge
	DeckEjected                    // a cartridge that is not threaded
	DeckLoading                    // it is being threaded
	DeckReady                      // loaded
	DeckUnloading                  // it is being ejected
)

// State answers at once, from any task.
func (k *Deck) State() DeckState {
	k.d.lib.lock.Lock()
	defer k.d.lib.lock.Unlock()
	switch {
	case k.d.cart == nil:
		return DeckEmpty
	case k.d.state == loading:
		return DeckLoading
	case k.d.state == ready:
		return DeckReady
	case k.d.state == unloading:
		return DeckUnloading
	}
	return DeckEjected
}

// CleaningNeeded tells whether the drive asks for a cleaning cartridge.
func (k *Deck) CleaningNeeded() bool {
	k.d.lib.lock.Lock()
	defer k.d.lib.lock.Unlock()
	return k.d.cleaning
}

// Loads and Resets count what made a medium ready and what reset the drive.
func (k *Deck) Loads() int64 { return k.d.loads }

// Resets counts the power cycles.
func (k *Deck) Resets() int64 { return k.d.resets }

// TakeFault is the fault that was injected for an operation, nil mostly. The
// caller lets its delay pass, does what it says and reports its condition.
func (k *Deck) TakeFault(op string) *dev.Fault {
	l := k.d.lib
	l.lock.Lock()
	defer l.lock.Unlock()
	if len(l.faults) == 0 {
		return nil
	}
	barcode := ""
	if k.d.cart != nil {
		barcode = k.d.cart.side.Barcode
	}
	return l.takeFault(k.d.name, barcode, op)
}

// Suffer does to the drive what a condition means beside being reported.
func (k *Deck) Suffer(err error) { k.d.suffer(err) }

// Pass lets some of the device's time pass.
func (k *Deck) Pass(ctx context.Context, t time.Duration) error { return k.d.lib.pass(ctx, t) }

// passed lets the time pass that the drive has spent.
func (k *Deck) passed(ctx context.Context, err error) error {
	k.d.unit.settle(ctx)
	return err
}

func (k *Deck) seek(ctx context.Context, object int64) error {
	k.d.seek(object)
	return k.passed(ctx, nil)
}

// Load threads the medium, or rewinds a loaded one.
func (k *Deck) Load(ctx context.Context) error { return k.passed(ctx, k.d.thread(ctx)) }

// Unload makes the medium durable, rewinds and ejects it.
func (k *Deck) Unload(ctx context.Context) error {
	if k.d.cart == nil {
		return dev.ErrNoMedium
	}
	return k.d.eject(ctx)
}

// Medium is what a drive knows of the cartridge in it.
type Medium struct {
	Model     *MediumModel
	Barcode   string
	Capacity  int64 // native bytes
	Reserve   int64 // bytes from early warning to the end
	Used      int64 // bytes up to the end of data
	Protected bool  // it can be read only
	WORM      bool
	Cleaning  bool // it holds no data
	// Compression is how well its data compresses, in hundredths; 0 is not at all.
	Compression int64
	Memory      *MediumMemory
}

// Medium is the cartridge's; false if there is none. Its chip can be read though
// it is not loaded.
func (k *Deck) Medium() (Medium, bool) {
	l := k.d.lib
	l.lock.Lock()
	defer l.lock.Unlock()
	c := k.d.cart
	if c == nil {
		return Medium{}, false
	}
	s := c.side
	m := Medium{
		Model: c.model, Barcode: s.Barcode, Capacity: s.Capacity, Reserve: s.Reserve,
		Protected: k.d.protected(), WORM: s.WORM, Cleaning: s.Cleaning, Compression: s.Compression, Memory: &s.Memory,
	}
	if c.tape != nil {
		m.Used = c.tape.used()
	}
	return m, true
}

// KeepMemory makes what the cartridge's chip holds durable.
func (k *Deck) KeepMemory(ctx context.Context) error {
	c := k.d.cart
	if c == nil {
		return dev.ErrNoMedium
	}
	if k.d.lib.opts.Dir == nil {
		return nil
	}
	return writeJSON(ctx, k.d.lib.opts.Dir, sidecarName(c.side.Barcode), c.side)
}

// Place is where a loaded drive is.
type Place struct {
	Block, File int64 // logical objects, and filemarks among them, before the position
	Bytes       int64 // of the capacity before it
	End         int64 // the object number of the end of data
}

// Place is the position. The drive must be loaded, here and in all below.
func (k *Deck) Place() Place {
	t := k.d.cart.tape
	b := t.before(k.d.pos)
	return Place{Block: k.d.pos, File: b.marks, Bytes: b.at, End: t.end()}
}

// ObjectKind is the kind of what is on a tape.
type ObjectKind uint8

// The kinds of object; EndOfData and Beginning stand for what bounds them.
const (
	Block ObjectKind = iota
	Sealed
	Filemark
	Bad
	Hollow
	EndOfData
	Beginning
)

// Next is the object at the position, and the bytes that it takes.
func (k *Deck) Next() (ObjectKind, int64) {
	t := k.d.cart.tape
	if k.d.pos >= t.end() {
		return EndOfData, 0
	}
	r := &t.runs[t.find(k.d.pos)]
	switch r.kind {
	case markObject:
		return Filemark, 0
	case sealedObject:
		return Sealed, r.size
	case badObject:
		return Bad, r.size
	case hollowObject:
		return Hollow, r.size
	}
	return Block, r.size
}

// Read reads the first len(p) bytes of the block at the position, and passes it.
func (k *Deck) Read(ctx context.Context, p []byte) error { return k.passed(ctx, k.d.fetch(ctx, p)) }

// Skip passes objects, in no time: a filemark that was read.
func (k *Deck) Skip(n int64) { k.d.step(n) }

// MaxSeal is how many bytes longer than [dev.MaxBlock] a sealed block may be.
const MaxSeal = 1024

// Write writes a block as [dev.Drive] does; a sealed one may be longer.
func (k *Deck) Write(ctx context.Context, p []byte, sealed bool) error {
	kind, most := blockObject, dev.MaxBlock
	if sealed {
		kind, most = sealedObject, dev.MaxBlock+MaxSeal
	}
	if len(p) == 0 || len(p) > most {
		return fmt.Errorf("a block of %d bytes: give 1 to %d: %w", len(p), most, dev.ErrNotSupported)
	}
	return k.passed(ctx, k.d.put(ctx, kind, p))
}

// WriteFilemarks writes n > 0 filemarks, none of them durable before a Flush.
func (k *Deck) WriteFilemarks(ctx context.Context, n int64) error { return k.d.writeMarks(ctx, n) }

// Flush makes durable what was written.
func (k *Deck) Flush(ctx context.Context) error { return k.passed(ctx, k.d.flush(ctx)) }

// Erase makes the medium empty from here on.
func (k *Deck) Erase(ctx context.Context) error { return k.d.wipe(ctx) }

// Rewind goes to the beginning.
func (k *Deck) Rewind(ctx context.Context) error {
	d := k.d
	d.goTo(0, d.model.rewind(d.cart.model, d.spot(d.pos)))
	return k.passed(ctx, nil)
}

// Locate goes to an object, or to the end of data if that comes first.
func (k *Deck) Locate(ctx context.Context, object int64) error {
	k.d.lost = false
	return k.seek(ctx, max(min(object, k.d.cart.tape.end()), 0))
}

// Known ends the state of a lost position: it was asked for.
func (k *Deck) Known() { k.d.lost = false }

// LocateTime is how long the drive takes from one object to another, by its model.
func (k *Deck) LocateTime(from, to int64) time.Duration {
	d, end := k.d, k.d.cart.tape.end()
	return d.model.locate(d.cart.model, d.spot(min(from, end)), d.spot(min(to, end)))
}

// Orders tells whether the drive recommends an order of accesses.
func (k *Deck) Orders() bool { return k.d.model.Orders }

// Order is the order in which extents are read with the least winding, as indices of
// them; at most [MaxAccesses].
func (k *Deck) Order(extents []dev.Extent) []int { return k.d.order(extents) }

// FileStart is the object with which logical file n begins: after n filemarks;
// false if the tape has not so many.
func (k *Deck) FileStart(n int64) (int64, bool) {
	if n <= 0 {
		return 0, n == 0
	}
	m, ok := k.d.cart.tape.mark(n - 1)
	return m + 1, ok
}

// SpaceBlocks moves over n blocks, back if n < 0. It tells how many it passed and
// what stopped it: Block if nothing did, else Filemark (which it passed, in its
// direction), EndOfData or Beginning.
func (k *Deck) SpaceBlocks(ctx context.Context, n int64) (passed int64, met ObjectKind, err error) {
	d, t := k.d, k.d.cart.tape
	marks := t.before(d.pos).marks
	to, met := d.pos, Block
	switch {
	case n > 0:
		stop, isMark := t.mark(marks)
		if !isMark {
			stop = t.end()
		}
		passed = min(n, stop-d.pos)
		to += passed
		if passed < n {
			met = EndOfData
			if isMark {
				met = Filemark
				to++
			}
		}
	case n < 0:
		last, isMark := t.mark(marks - 1) // the mark before the position
		first := int64(0)
		if isMark {
			first = last + 1
		}
		passed = min(-max(n, -1<<62), d.pos-first)
		to -= passed
		if passed < -max(n, -1<<62) {
			met = Beginning
			if isMark {
				met = Filemark
				to--
			}
		}
	}
	return passed, met, k.seek(ctx, to)
}

// SpaceFilemarks moves over n filemarks, back if n < 0, and tells how many it
// passed; if they are fewer, it is at the end of data, or at the beginning.
func (k *Deck) SpaceFilemarks(ctx context.Context, n int64) (passed int64, err error) {
	d, t := k.d, k.d.cart.tape
	before := t.before(d.pos).marks
	switch {
	case n > 0:
		all := t.before(t.end()).marks
		if n > all-before {
			return all - before, k.seek(ctx, t.end())
		}
		m, _ := t.mark(before + n - 1)
		return n, k.seek(ctx, m+1)
	case n < 0:
		if n < -before {
			return before, k.seek(ctx, 0)
		}
		m, _ := t.mark(before + n)
		return -n, k.seek(ctx, m)
	}
	return 0, nil
}

// Name is the library's name, and its robot's.
func (l *Library) Name() string { return l.cfg.Name }

// RobotModel is the model of the robot.
func (l *Library) RobotModel() *RobotModel { return l.model }

// Timed tells whether the devices take time.
func (l *Library) Timed() bool { return l.cfg.TimeScale != 0 }

// InHand runs a function in the robot's task, one after another. Moves that others asked
// for go on beside it.
func (l *Library) InHand(ctx context.Context, run func(ctx context.Context) error) error {
	return l.hand.do(ctx, command{run: run})
}

// MoveInHand is a move for a function that InHand runs.
func (l *Library) MoveInHand(ctx context.Context, from, to int) error { return l.move(ctx, from, to) }

// AuditInHand has the arms read so many barcodes, for a function that InHand runs.
func (l *Library) AuditInHand(ctx context.Context, elements int) error { return l.audit(ctx, elements) }

// OpenMailSlotsInHand opens and closes the mail slots, for a function that InHand runs.
func (l *Library) OpenMailSlotsInHand(ctx context.Context) error { return l.openMailSlots(ctx) }

// Elements are all elements, sorted by address; from any task.
func (l *Library) Elements() []dev.Element {
	l.lock.Lock()
	defer l.lock.Unlock()
	return l.inventory()
}

// Inserted counts what people put into mail slots and took out of them.
func (l *Library) Inserted() int64 {
	l.lock.Lock()
	defer l.lock.Unlock()
	return l.inserted
}

// TakeFault is the fault that was injected for an operation of the robot.
func (l *Library) TakeFault(op string) *dev.Fault {
	l.lock.Lock()
	defer l.lock.Unlock()
	if len(l.faults) == 0 {
		return nil
	}
	return l.takeFault(l.cfg.Name, "", op)
}

// Pass lets some of the devices' time pass.
func (l *Library) Pass(ctx context.Context, t time.Duration) error { return l.pass(ctx, t) }
