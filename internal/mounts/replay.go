package mounts

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"capstan/core/dev"
	"capstan/core/dismount"
	"capstan/core/host"
	"capstan/core/rt"
	"capstan/sim"
	"capstan/vtl"
)

// Served is what became of a request.
type Served struct {
	Request
	Drive string
	Ready time.Duration // when the cartridge was ready, since the trace's beginning
	Ended time.Duration // when the drive was free for others
	Hit   bool          // it was in the drive already
}

// Use is what a drive or the robot did.
type Use struct {
	Name  string
	Loads int64         // of the robot: moves
	Held  time.Duration // by requests, from their getting it to its being free
	Busy  time.Duration // it moved, loaded or unloaded
}

// Result is what came out of a replay.
type Result struct {
	Served []Served // in the order of the trace
	Drives []Use
	Robot  Use
	Span   time.Duration // from the first request to the end of the last
}

// replay is the desk that requests come to.
type replay struct {
	policy dismount.Policy
	robot  dev.Changer
	drives []*drive
	carts  map[string]*cartridge
	queue  []*waiting // in the order of their coming
	group  *rt.Group
}

type drive struct {
	name     string
	address  int
	device   dev.Drive
	turn     *rt.Semaphore // one mount or dismount at a time
	used     bool          // by a request
	uses     int64
	cart     *cartridge // in it
	lastUsed time.Duration
	held     time.Duration
}

type cartridge struct {
	barcode string
	slot    int
	home    *rt.Semaphore // taken while it is not in its slot
	used    bool          // by a request
}

type waiting struct {
	served *Served
	cart   *cartridge
}

// UnknownCartridge is a mistake in a trace.
type UnknownCartridge struct{ error }

// Replay runs the requests, which are in the order of their times, against a library
// whose cartridges are in its slots. An [UnknownCartridge] names the line of a request
// for a cartridge that the library has not; nothing was replayed then.
func Replay(cfg vtl.Config, p dismount.Policy, requests []Request, file string) (*Result, error) {
	out := &Result{Served: make([]Served, len(requests))}
	names, err := resolve(&cfg, requests, file)
	if err != nil {
		return nil, err
	}
	if len(cfg.Drives) == 0 {
		return nil, fmt.Errorf("library %s has no drives", cfg.Name)
	}
	w := sim.New(sim.Options{NoEvents: true, NoHash: true})
	defer w.Close()
	err = w.Do(w.NewHost("library", 0), "mounts", func(ctx context.Context, _ *host.Env) error {
		lib, err := vtl.New(ctx, cfg, vtl.Options{})
		if err != nil {
			return err
		}
		r, err := newReplay(ctx, &cfg, lib, p)
		if err != nil {
			return err
		}
		g, gctx := rt.NewGroup(ctx)
		r.group = g
		began := rt.Mono(ctx)
		g.Go(gctx, "requests", func(ctx context.Context) error { return r.arrive(ctx, requests, names, out.Served) })
		if err := g.Wait(ctx); err != nil {
			return err
		}
		for i := range out.Served {
			out.Served[i].Ready -= began
			out.Served[i].Ended -= began
			out.Span = max(out.Span, out.Served[i].Ended-requests[0].At)
		}
		out.use(lib, r, cfg.TimeScale)
		return lib.Close(ctx)
	})
	return out, err
}

// resolve finds the barcode of each request's cartridge.
func resolve(cfg *vtl.Config, requests []Request, file string) ([]string, error) {
	known := map[string]string{}
	for i := range cfg.Cartridges {
		b := cfg.Cartridges[i].Barcode
		known[b] = b
		if len(b) == 8 { // media id and generation
			known[b[:6]] = b
		}
	}
	names := make([]string, len(requests))
	var wrong []error
	for i, q := range requests {
		if names[i] = known[q.Cartridge]; names[i] == "" && len(wrong) < mistakes {
			wrong = append(wrong, UnknownCartridge{fmt.Errorf("%s:%d: library %s has no cartridge %q; expected one of its barcodes or media ids", file, q.Line, cfg.Name, q.Cartridge)})
		}
	}
	return names, errors.Join(wrong...)
}

func newReplay(ctx context.Context, cfg *vtl.Config, lib *vtl.Library, p dismount.Policy) (*replay, error) {
	r := &replay{policy: p, carts: map[string]*cartridge{}}
	var err error
	if r.robot, err = lib.Changer(ctx, cfg.Name); err != nil {
		return nil, err
	}
	elements, err := r.robot.Inventory(ctx)
	if err != nil {
		return nil, err
	}
	for _, e := range elements {
		if e.Full {
			r.carts[e.Barcode] = &cartridge{barcode: e.Barcode, slot: e.Address, home: rt.NewSemaphore(ctx, 1)}
		}
	}
	for n, name := range lib.DriveNames() {
		d := &drive{name: name, address: vtl.DriveAddress(n), turn: rt.NewSemaphore(ctx, 1)}
		if d.device, err = lib.Drive(ctx, name); err != nil {
			return nil, err
		}
		r.drives = append(r.drives, d)
	}
	return r, nil
}

// arrive has each request come at its time.
func (r *replay) arrive(ctx context.Context, requests []Request, names []string, served []Served) error {
	began := rt.Mono(ctx)
	for i := range requests {
		if err := rt.Sleep(ctx, began+requests[i].At-rt.Mono(ctx)); err != nil {
			return err
		}
		served[i].Request = requests[i]
		r.queue = append(r.queue, &waiting{&served[i], r.carts[names[i]]})
		r.serve(ctx)
	}
	return nil
}

// serve gives drives to the requests that can have one, first come first served. As
// with nbrb, one whose cartridge is in use does not keep others waiting.
func (r *replay) serve(ctx context.Context) {
	r.queue = slices.DeleteFunc(r.queue, func(q *waiting) bool {
		if q.cart.used {
			return false
		}
		d := r.choose(q.cart)
		if d == nil {
			return false
		}
		d.used, q.cart.used, d.lastUsed = true, true, rt.Mono(ctx)
		r.group.Go(ctx, d.name, func(ctx context.Context) error { return r.use(ctx, d, q) })
		return true
	})
}

// choose is the drive that a request for a cartridge gets, nil if all are used.
func (r *replay) choose(c *cartridge) *drive {
	var free []*drive
	var view []dismount.Drive
	for _, d := range r.drives {
		if d.used {
			continue
		}
		v := dismount.Drive{Name: d.name, LastUsed: int64(d.lastUsed)}
		if d.cart != nil {
			v.Media = d.cart.barcode
		}
		free, view = append(free, d), append(view, v)
	}
	if i := dismount.Choose(view, c.barcode); i >= 0 {
		return free[i]
	}
	return nil
}

// use is a request's use of its drive.
func (r *replay) use(ctx context.Context, d *drive, q *waiting) error {
	got := rt.Mono(ctx)
	if err := d.turn.Acquire(ctx); err != nil {
		return err
	}
	d.uses++
	q.served.Drive, q.served.Hit = d.name, d.cart == q.cart
	err := r.mount(ctx, d, q.cart)
	d.turn.Release()
	if err != nil {
		return err
	}
	q.served.Ready = rt.Mono(ctx)
	if err := rt.Sleep(ctx, q.served.Hold); err != nil {
		return err
	}
	stays, delay := r.policy.Stays()
	if !stays {
		if err := r.inTurn(ctx, d, func() error { return r.dismount(ctx, d) }); err != nil {
			return err
		}
	} else if delay > 0 {
		uses := d.uses
		r.group.Go(ctx, "dismount "+d.name, func(ctx context.Context) error { return r.later(ctx, d, uses, delay) })
	}
	d.used, q.cart.used, d.lastUsed = false, false, rt.Mono(ctx)
	d.held += rt.Mono(ctx) - got
	q.served.Ended = rt.Mono(ctx)
	r.serve(ctx)
	return nil
}

// later dismounts what has stayed for its time and was not used again.
func (r *replay) later(ctx context.Context, d *drive, uses int64, delay time.Duration) error {
	if err := rt.Sleep(ctx, delay); err != nil {
		return err
	}
	return r.inTurn(ctx, d, func() error {
		if d.used || d.uses != uses {
			return nil
		}
		return r.dismount(ctx, d)
	})
}

func (r *replay) inTurn(ctx context.Context, d *drive, fn func() error) error {
	if err := d.turn.Acquire(ctx); err != nil {
		return err
	}
	defer d.turn.Release()
	return fn()
}

// mount makes a cartridge ready in a drive, whatever is in it. One that is just
// being taken out of another drive is waited for.
func (r *replay) mount(ctx context.Context, d *drive, c *cartridge) error {
	if d.cart != c {
		if err := r.dismount(ctx, d); err != nil {
			return err
		}
		if err := c.home.Acquire(ctx); err != nil {
			return err
		}
		if err := r.robot.Move(ctx, c.slot, d.address); err != nil {
			return err
		}
		d.cart = c
	}
	return d.device.Load(ctx)
}

// dismount takes what is in a drive home.
func (r *replay) dismount(ctx context.Context, d *drive) error {
	c := d.cart
	if c == nil {
		return nil
	}
	if err := d.device.Unload(ctx); err != nil {
		return err
	}
	if err := r.robot.Move(ctx, d.address, c.slot); err != nil {
		return err
	}
	d.cart = nil
	c.home.Release()
	return nil
}

// use collects what the devices did. Their statistics are in the devices' own time,
// of which 1/scale has passed, or nothing.
func (out *Result) use(lib *vtl.Library, r *replay, scale int64) {
	passed := func(d time.Duration) time.Duration {
		if scale == 0 {
			return 0
		}
		return d / time.Duration(scale)
	}
	robot, drives := lib.Stats()
	out.Robot = Use{Name: r.robot.Name(), Loads: robot.Moves, Busy: passed(robot.Busy)}
	for i, d := range r.drives {
		out.Drives = append(out.Drives, Use{Name: d.name, Loads: drives[i].Mounts, Held: d.held, Busy: passed(drives[i].Busy())})
	}
}
