package vtl

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"capstan/core/dev"
	"capstan/core/rt"
)

// Library is a robot with its slots, drives and cartridges. It is a [dev.Finder]
// whose every answer is a new handle.
type Library struct {
	cfg   Config
	opts  Options
	model *RobotModel
	// hand has the commands that go one after another, movers the moves, which wait for
	// an arm each.
	hand, movers *unit
	rails        []*rail       // of the strings
	saving       *rt.Semaphore // one writes library.json at a time

	drives []*drive
	carts  []*cartridge // sorted by barcode

	lock     rt.Lock // guards what follows, and the drives' own guarded fields
	elements []element
	faults   []*dev.Fault
	stats    dev.RobotStats
	inserted int64 // cartridges that people put in or took out
	locked   bool  // the mail slots, for people
}

var _ dev.Library = (*Library)(nil)

// element is one place for a cartridge.
type element struct {
	address int
	kind    dev.ElementKind
	cart    *cartridge
	source  int // where cart came from
	drive   *drive
	rail    int       // the string that it is in
	at      stand     // where an arm stands before it
	claimed *rt.Event // by a move that is under way, which ends then
}

// cartridge is one cartridge. Its tape belongs to the drive that has it loaded.
type cartridge struct {
	side  *sidecar
	model *MediumModel
	tape  *tape // nil until the first load of a file's
}

// New makes the library and starts its devices' tasks, which live until
// [Library.Close] in the process of ctx's task: one that outlives its users.
func New(ctx context.Context, cfg Config, opts Options) (*Library, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	model, err := robotModel(cfg.Robot, &cfg.RobotTimes)
	if err != nil {
		return nil, err
	}
	l := &Library{cfg: cfg, opts: opts, model: model, lock: rt.NewLock(ctx), saving: rt.NewSemaphore(ctx, 1)}
	for i := range cfg.Drives {
		m, err := driveModel(cfg.Drives[i].Model)
		if err != nil {
			return nil, fmt.Errorf("drive %s: %w", cfg.Drives[i].Name, err)
		}
		l.drives = append(l.drives, &drive{
			lib: l, name: cfg.Drives[i].Name, address: DriveAddress(i), model: m,
			serial: fmt.Sprintf("VTL%s%03d", cfg.Name, i+1),
		})
	}
	l.layOut(ctx)
	if err := l.fill(ctx); err != nil {
		return nil, err
	}
	l.hand = startUnit(ctx, l, cfg.Name, 1)
	l.movers = startUnit(ctx, l, cfg.Name+" move", l.overlapping())
	for _, d := range l.drives {
		d.unit = startUnit(ctx, l, d.name, 1)
	}
	return l, nil
}

// Serve runs a library as the main function of a process: it hands the library
// to ready, and closes it when ctx ends.
func Serve(ctx context.Context, cfg Config, opts Options, ready func(l *Library)) error {
	l, err := New(ctx, cfg, opts)
	if err != nil {
		return err
	}
	ready(l)
	if err := rt.NewEvent(ctx).Wait(ctx); err == nil {
		panic("vtl: an event that nobody sets has happened")
	}
	return l.Close(ctx)
}

// layOut makes the elements, sorted by address, and the strings with their arms.
// Drives, mail slots and slots are shared out evenly among the strings, in their order.
// A string's elements fill its columns in the same order, from the top down.
func (l *Library) layOut(ctx context.Context) {
	count := max(l.cfg.Strings, 1)
	filled := make([]int64, count) // elements of each string
	add := func(n, first int, kind dev.ElementKind) {
		for i := range n {
			e := element{address: first + i, kind: kind, rail: i * count / n}
			if kind == dev.DriveElement {
				e.drive = l.drives[i]
			}
			if kind != dev.Transport {
				k := filled[e.rail]
				filled[e.rail]++
				e.at = stand{k / int64(l.model.Rows), k % int64(l.model.Rows)}
			}
			l.elements = append(l.elements, e)
		}
	}
	add(1, RobotAddress, dev.Transport)
	add(len(l.drives), FirstDrive, dev.DriveElement)
	add(l.cfg.ImportExport, FirstImportExport, dev.ImportExport)
	add(l.cfg.Slots, FirstSlot, dev.Slot)
	for _, n := range filled {
		l.rails = append(l.rails, newRail(ctx, max(l.cfg.Arms, 1), max(n-1, 0)/int64(l.model.Rows)))
	}
	l.stats.Arms = l.armCount()
}

// armCount is the number of arms of all strings.
func (l *Library) armCount() int { return max(l.cfg.Arms, 1) * max(l.cfg.Strings, 1) }

// overlapping is how many moves are taken at a time: so many that those which wait for an
// arm of one string do not keep the arms of the others from work.
func (l *Library) overlapping() int { return l.armCount() * max(l.cfg.Strings, 1) }

// find is the element with an address, or nil.
func (l *Library) find(address int) *element {
	i, ok := slices.BinarySearchFunc(l.elements, address, func(e element, a int) int { return e.address - a })
	if !ok {
		return nil
	}
	return &l.elements[i]
}

// fill makes the cartridges and puts each where it was last, or where the
// configuration says.
func (l *Library) fill(ctx context.Context) error {
	if err := l.makeCartridges(ctx); err != nil {
		return err
	}
	known, err := l.restore(ctx)
	if err != nil {
		return err
	}
	for i := range l.cfg.Cartridges { // those with a slot of their own first
		c := &l.cfg.Cartridges[i]
		if c.Slot == 0 || known[c.Barcode] {
			continue
		}
		if c.Slot < 0 || c.Slot > l.cfg.Slots {
			return fmt.Errorf("cartridge %s: slot %d: the library %s has 1 to %d", c.Barcode, c.Slot, l.cfg.Name, l.cfg.Slots)
		}
		e := l.find(SlotAddress(c.Slot))
		if e.cart != nil {
			return fmt.Errorf("cartridge %s: slot %d holds %s: give it another", c.Barcode, c.Slot, e.cart.side.Barcode)
		}
		e.cart = l.cartridge(c.Barcode)
	}
	next := 1
	for i := range l.cfg.Cartridges {
		c := &l.cfg.Cartridges[i]
		if c.Slot != 0 || known[c.Barcode] {
			continue
		}
		for next <= l.cfg.Slots && l.find(SlotAddress(next)).cart != nil {
			next++
		}
		if next > l.cfg.Slots {
			return fmt.Errorf("cartridge %s: no free slot for it in library %s: add slots", c.Barcode, l.cfg.Name)
		}
		l.find(SlotAddress(next)).cart = l.cartridge(c.Barcode)
	}
	return l.save(ctx)
}

// cartridge is the one with a barcode, or nil.
func (l *Library) cartridge(barcode string) *cartridge {
	i, ok := slices.BinarySearchFunc(l.carts, barcode, func(c *cartridge, b string) int { return strings.Compare(c.side.Barcode, b) })
	if !ok {
		return nil
	}
	return l.carts[i]
}

// makeCartridges makes the cartridges, or finds the files that they already have.
func (l *Library) makeCartridges(ctx context.Context) error {
	var names []string
	if l.opts.Dir != nil {
		var err error
		if names, err = l.opts.Dir.List(ctx, ""); err != nil {
			return fmt.Errorf("library %s: its directory: %w", l.cfg.Name, err)
		}
	}
	for i := range l.cfg.Cartridges {
		k, err := l.makeCartridge(ctx, &l.cfg.Cartridges[i], names)
		if err != nil {
			return fmt.Errorf("cartridge %s: %w", l.cfg.Cartridges[i].Barcode, err)
		}
		l.carts = append(l.carts, k)
	}
	slices.SortFunc(l.carts, func(a, b *cartridge) int { return strings.Compare(a.side.Barcode, b.side.Barcode) })
	for i := 1; i < len(l.carts); i++ {
		if b := l.carts[i].side.Barcode; b == l.carts[i-1].side.Barcode {
			return fmt.Errorf("cartridge %s: it is configured twice", b)
		}
	}
	return nil
}

func (l *Library) makeCartridge(ctx context.Context, c *CartridgeConfig, names []string) (*cartridge, error) {
	if !barcodeOK(c.Barcode) {
		return nil, fmt.Errorf("a barcode has 1 to 16 of A-Z, 0-9, - and _")
	}
	side, err := l.sidecar(ctx, c, names)
	if err != nil {
		return nil, err
	}
	m, err := mediumModel(side.Density)
	if err != nil {
		return nil, err
	}
	k := &cartridge{side: side, model: m}
	if l.opts.Dir == nil {
		k.tape = newTape(&memory{}, side.Compression)
	}
	return k, nil
}

// sidecar is the cartridge's own, if it has one, else one made as configured.
// names are the files there are, sorted.
func (l *Library) sidecar(ctx context.Context, c *CartridgeConfig, names []string) (*sidecar, error) {
	side, err := newSidecar(c)
	if err != nil || l.opts.Dir == nil {
		return side, err
	}
	if _, ok := slices.BinarySearch(names, sidecarName(c.Barcode)); ok {
		if side, err = readSidecar(ctx, l.opts.Dir, c.Barcode); err != nil {
			return nil, err
		}
		side.WriteProtected = side.WriteProtected || c.WriteProtected
		return side, nil
	}
	if _, ok := slices.BinarySearch(names, tapName(c.Barcode)); ok {
		return side, importTap(ctx, l.opts.Dir, side)
	}
	return side, createTap(ctx, l.opts.Dir, side)
}

func newSidecar(c *CartridgeConfig) (*sidecar, error) {
	m, err := mediumModel(c.density())
	if err != nil {
		return nil, err
	}
	s := &sidecar{Version: sidecarVersion, Barcode: c.Barcode, Density: m.Density, Capacity: m.Capacity,
		WriteProtected: c.WriteProtected, WORM: c.WORM, Cleaning: c.cleaning(), Reserve: c.Reserve,
		Compression: c.Compression, Initialized: c.Initialized}
	if !ratioOK(c.Compression) {
		return nil, fmt.Errorf("compression %d, in hundredths: give 100 to %d, or 0 for none", c.Compression, maxRatio)
	}
	if c.Capacity != 0 {
		s.Capacity = c.Capacity
	}
	if s.Reserve == 0 {
		s.Reserve = max(s.Capacity/100, 8<<20)
	}
	if s.Reserve < 0 || s.Capacity <= s.Reserve {
		return nil, fmt.Errorf("capacity %d with %d kept after early warning: nothing can be written; set capacity or reserve", s.Capacity, s.Reserve)
	}
	return s, nil
}

// placement is the file library.json: which cartridge is where.
type placement struct {
	Version  int           `json:"version"` // 1
	Elements []dev.Element `json:"elements"`
	Outside  []string      `json:"outside,omitempty"` // cartridges that are in no element
}

const placementName = "library.json"

// save writes library.json.
func (l *Library) save(ctx context.Context) error {
	if l.opts.Dir == nil {
		return nil
	}
	if err := l.saving.Acquire(ctx); err != nil {
		return err
	}
	defer l.saving.Release()
	p := placement{Version: 1}
	inside := map[string]bool{}
	l.lock.Lock()
	for _, e := range l.inventory() {
		if e.Full {
			p.Elements = append(p.Elements, e)
			inside[e.Barcode] = true
		}
	}
	l.lock.Unlock()
	for _, c := range l.carts {
		if !inside[c.side.Barcode] {
			p.Outside = append(p.Outside, c.side.Barcode)
		}
	}
	return writeJSON(ctx, l.opts.Dir, placementName, &p)
}

// restore puts cartridges where library.json says and returns those it named.
func (l *Library) restore(ctx context.Context) (map[string]bool, error) {
	if l.opts.Dir == nil {
		return nil, nil
	}
	names, err := l.opts.Dir.List(ctx, "")
	if err != nil || !slices.Contains(names, placementName) {
		return nil, err
	}
	b, err := readFile(ctx, l.opts.Dir, placementName, 1<<26)
	if err != nil {
		return nil, err
	}
	known, err := l.putBack(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", placementName, err)
	}
	return known, nil
}

func (l *Library) putBack(b []byte) (map[string]bool, error) {
	var p placement
	if err := json.Unmarshal(b, &p); err != nil {
		return nil, err
	}
	if p.Version != 1 {
		return nil, fmt.Errorf("version %d, this program knows 1: use the newer program", p.Version)
	}
	known := map[string]bool{}
	for _, e := range p.Elements {
		c, at := l.cartridge(e.Barcode), l.find(e.Address)
		switch {
		case c == nil:
			return nil, fmt.Errorf("it holds cartridge %q, which is not configured: add it", e.Barcode)
		case known[e.Barcode] || at == nil || at.cart != nil || at.kind == dev.Transport:
			return nil, fmt.Errorf("cartridge %s cannot be at element %d: the library was made smaller or the file damaged", e.Barcode, e.Address)
		}
		at.cart, at.source, known[e.Barcode] = c, e.Source, true
		if at.drive != nil {
			at.drive.cart = c
		}
	}
	for _, b := range p.Outside {
		known[b] = true
	}
	return known, nil
}

// holder is the element that a cartridge is in, or nil.
func (l *Library) holder(c *cartridge) *element {
	for i := range l.elements {
		if l.elements[i].cart == c {
			return &l.elements[i]
		}
	}
	return nil
}

// inventory is every element's state. The lock is held.
func (l *Library) inventory() []dev.Element {
	all := make([]dev.Element, len(l.elements))
	for i := range l.elements {
		e := &l.elements[i]
		all[i] = dev.Element{Address: e.address, Kind: e.kind, Full: e.cart != nil, Source: e.source}
		if e.cart != nil {
			all[i].Barcode = e.cart.side.Barcode
		}
		if e.drive != nil {
			all[i].Serial = e.drive.serial
		}
	}
	return all
}

// Drive gives a handle of a drive.
func (l *Library) Drive(_ context.Context, name string) (dev.Drive, error) {
	d, err := l.drive(name)
	if err != nil {
		return nil, err
	}
	return &driveHandle{d: d}, nil
}

func (l *Library) drive(name string) (*drive, error) {
	for _, d := range l.drives {
		if d.name == name {
			return d, nil
		}
	}
	return nil, fmt.Errorf("library %s has no drive %q", l.cfg.Name, name)
}

// Changer gives the robot.
func (l *Library) Changer(_ context.Context, name string) (dev.Changer, error) {
	if name != l.cfg.Name {
		return nil, fmt.Errorf("no robot %q here: the library is %s", name, l.cfg.Name)
	}
	return &robot{l}, nil
}

// DriveNames are the names of the drives, in the order of their elements.
func (l *Library) DriveNames() []string {
	names := make([]string, len(l.drives))
	for i, d := range l.drives {
		names[i] = d.name
	}
	return names
}

// Close lets each device end its command, makes what was written durable and
// ends the devices' tasks. Commands after it answer [dev.ErrGone].
func (l *Library) Close(ctx context.Context) error {
	ctx = rt.WithoutCancel(ctx)
	l.movers.stop(ctx)
	l.hand.stop(ctx)
	var errs []error
	for _, d := range l.drives {
		errs = append(errs, d.close(ctx))
	}
	for _, c := range l.carts {
		if c.tape != nil {
			errs = append(errs, c.tape.body.close())
		}
	}
	return errors.Join(errs...)
}

// pass lets d of the devices' time pass.
func (l *Library) pass(ctx context.Context, d time.Duration) error {
	if d = l.lasts(d); d > 0 {
		return rt.Sleep(ctx, d)
	}
	return nil
}

// lasts is how long d of the devices' time is.
func (l *Library) lasts(d time.Duration) time.Duration {
	if l.cfg.TimeScale == 0 || d <= 0 {
		return 0
	}
	return d / time.Duration(l.cfg.TimeScale)
}
