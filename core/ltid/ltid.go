// Package ltid is the device daemon of a media server: it holds the queue of
// mounts for each drive, has txxd and txxcd bring cartridges, loads them, and
// asks avrd what was loaded (B10, R12).
package ltid

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	"capstan/core/avrd"
	"capstan/core/dev"
	"capstan/core/dismount"
	"capstan/core/nbemm"
	"capstan/core/pbx"
	"capstan/core/rt"
	"capstan/core/status"
	"capstan/core/trace"
	"capstan/core/txxd"
)

// Service is the role's name on a media server.
const Service = "ltid"

// Library is a robot whose drives this host has.
type Library struct {
	Name    string
	Control string   // the robot control host
	Drives  []string // names, in the order of their elements unless Places says which
	// Places are where the drives of a hardware library stand, by name; nil is by order.
	Places map[string]Place
	// Dismount is how long a cartridge stays in a drive after a job.
	Dismount dismount.Policy
}

// Mount asks for a cartridge, ready in a drive.
type Mount struct {
	Drive   string `json:"drive"`
	Barcode string `json:"barcode"`
	// From is another media server, in a drive of which the cartridge stays.
	From string `json:"from,omitempty"`
}

// Drive names a drive.
type Drive struct {
	Drive string `json:"drive"`
}

// Inventory asks for an inventory of a library.
type Inventory struct {
	Library string `json:"library"`
	// Rescan has the robot look at every element first, which takes minutes; otherwise
	// it tells what it remembers.
	Rescan bool `json:"rescan,omitempty"`
}

// The methods of ltid.
var (
	MountIt   = pbx.Declare[Mount, avrd.Seen](Service, "Mount", pbx.Media, pbx.Step("B10", "R12"))
	UnmountIt = pbx.Declare[Drive, struct{}](Service, "Unmount", pbx.Media, pbx.Step("", "R15"))
	// Dismount takes a cartridge home, by its barcode, that stays in a drive of this host
	// and is to be mounted by another.
	Dismount = pbx.Declare[string, struct{}](Service, "Dismount", pbx.Media)
	// Reset empties a drive whoever holds it: for after a job whose processes did
	// not end well.
	Reset = pbx.Declare[Drive, struct{}](Service, "Reset", pbx.Master)
	// Begin empties all drives, takes an inventory of every library and says hello
	// to nbemm: for after a restart of the master, when no job runs.
	Begin = pbx.Declare[struct{}, struct{}](Service, "Begin", pbx.Master)
	// TakeInventory asks a library what is where and tells nbemm.
	TakeInventory = pbx.Declare[Inventory, struct{}](Service, "TakeInventory", pbx.Master|pbx.Media|pbx.User)
)

// Server is the role.
type Server struct {
	host, master string
	devices      dev.Finder
	libraries    []Library
	log          *slog.Logger
	lock         rt.Lock
	spent        map[string]bool // cleaning cartridges that did not clean, until they are taken out
	drives       map[string]*drive
	beginning    *rt.Semaphore
	begun        *rt.Event // in this life of the daemon
}

// drive is one drive's place: which robot serves it, and the queue before it.
type drive struct {
	name    string
	library Library
	element int
	turn    *rt.Semaphore
	kept
}

// New makes the role for the libraries of a host.
func New(ctx context.Context, host, master string, devices dev.Finder, libraries []Library, log *slog.Logger) *Server {
	s := &Server{host: host, master: master, devices: devices, libraries: libraries, log: log, lock: rt.NewLock(ctx), spent: map[string]bool{}, drives: map[string]*drive{},
		beginning: rt.NewSemaphore(ctx, 1), begun: rt.NewEvent(ctx)}
	for _, l := range libraries {
		for _, name := range l.Drives {
			s.drives[name] = &drive{name: name, library: l, turn: rt.NewSemaphore(ctx, 1)}
		}
	}
	return s
}

// Mux is what the role answers.
func (s *Server) Mux(ctx context.Context) *pbx.Mux {
	mux := pbx.NewMux(ctx, Service, 0)
	pbx.Handle(mux, MountIt, func(ctx context.Context, from pbx.Peer, q Mount) (seen avrd.Seen, err error) {
		if err := s.own(from); err != nil {
			return seen, err
		}
		if err := s.awaitBegun(ctx); err != nil {
			return seen, err
		}
		return seen, traced(ctx, trace.Mounted, q.Drive, MediaID(q.Barcode), func() error {
			if err := s.freeElsewhere(ctx, q); err != nil {
				return err
			}
			return s.inTurn(ctx, q.Drive, func(d *drive) (err error) {
				seen, err = s.mount(ctx, d, q.Barcode)
				return err
			})
		})
	})
	pbx.Handle(mux, UnmountIt, func(ctx context.Context, from pbx.Peer, q Drive) (struct{}, error) {
		if err := s.own(from); err != nil {
			return struct{}{}, err
		}
		return struct{}{}, s.inTurn(ctx, q.Drive, func(d *drive) error { return s.unmount(ctx, d) })
	})
	pbx.Handle(mux, Dismount, func(ctx context.Context, _ pbx.Peer, barcode string) (struct{}, error) {
		if err := s.awaitBegun(ctx); err != nil {
			return struct{}{}, err
		}
		return struct{}{}, s.freeElsewhere(ctx, Mount{Barcode: barcode})
	})
	pbx.Handle(mux, Reset, func(ctx context.Context, _ pbx.Peer, q Drive) (struct{}, error) {
		return struct{}{}, s.inTurn(ctx, q.Drive, func(d *drive) error { return s.reset(ctx, d) })
	})
	pbx.Handle(mux, TakeInventory, func(ctx context.Context, _ pbx.Peer, q Inventory) (struct{}, error) {
		return struct{}{}, s.takeInventory(ctx, q)
	})
	pbx.Handle(mux, Export, func(ctx context.Context, _ pbx.Peer, q Cartridge) (int, error) { return s.export(ctx, q) })
	pbx.Handle(mux, Import, func(ctx context.Context, _ pbx.Peer, library string) ([]string, error) {
		return s.importAll(ctx, library)
	})
	pbx.Handle(mux, Begin, func(ctx context.Context, _ pbx.Peer, _ struct{}) (struct{}, error) {
		return struct{}{}, s.beginOnce(ctx, s.known)
	})
	return mux
}

// beginTime is how long a mount waits for the drives to be emptied after a start:
// the master may have given a drive out that it knows from before.
const beginTime = 10 * time.Minute

func (s *Server) awaitBegun(ctx context.Context) error {
	if s.begun.IsSet() {
		return nil
	}
	tctx, cancel := rt.WithTimeout(ctx, beginTime)
	defer cancel()
	if s.begun.Wait(tctx) == nil {
		return nil
	}
	if ctx.Err() != nil {
		return rt.Cause(ctx)
	}
	return status.Errorf(status.DriveNotReady, "host %s has not emptied its drives in %v: see its log", s.host, beginTime)
}

// own refuses a caller of another host: a drive is used by its own host's jobs.
func (s *Server) own(from pbx.Peer) error {
	if from.Name != s.host {
		return status.Errorf(status.NotAllowed, "%s has no part in the drives of %s", from, s.host)
	}
	return nil
}

// inTurn runs fn when the drive's queue comes to it.
func (s *Server) inTurn(ctx context.Context, name string, fn func(d *drive) error) error {
	d := s.drives[name]
	if d == nil {
		return status.Errorf(status.DriveNotReady, "host %s has no drive %s", s.host, name)
	}
	if err := d.turn.Acquire(ctx); err != nil {
		return err
	}
	defer d.turn.Release()
	if d.element == 0 {
		return status.Errorf(status.DriveNotReady, "the robot of library %s does not know drive %s: see the log of host %s", d.library.Name, name, s.host)
	}
	return fn(d)
}

// readyTime is how long a cartridge may take to become ready: the calibration of
// a new LTO-9 cartridge takes up to two hours.
const readyTime = 2 * time.Hour

func (s *Server) mount(ctx context.Context, d *drive, barcode string) (avrd.Seen, error) {
	s.inUse(d)
	if err := s.with(ctx, d, func(dr dev.Drive) error { return s.bring(ctx, d, dr, barcode) }); err != nil {
		return avrd.Seen{}, err
	}
	// The handle is closed: some drives have one user at a time.
	seen, err := avrd.LookAt.Call(ctx, pbx.At(s.host, avrd.Service), avrd.Look{Drive: d.name})
	if err != nil {
		return seen, err
	}
	return seen, s.mark(ctx, d.name, MediaID(barcode))
}

// with opens a drive for fn.
func (s *Server) with(ctx context.Context, d *drive, fn func(dr dev.Drive) error) error {
	dr, err := s.devices.Drive(ctx, d.name)
	if err != nil {
		return status.Errorf(status.MediaOpen, "drive %s: %w", d.name, err)
	}
	defer dr.Close()
	return fn(dr)
}

// bring has a cartridge brought and makes it ready.
func (s *Server) bring(ctx context.Context, d *drive, dr dev.Drive, barcode string) error {
	m, err := s.fetch(ctx, d, barcode)
	if err == nil && m.Other != "" {
		if err := traced(ctx, trace.Unmounted, d.name, "", func() error { return s.takeHome(ctx, d, dr) }); err != nil {
			return err
		}
		if m, err = s.fetch(ctx, d, barcode); err == nil && m.Other != "" {
			err = status.Errorf(status.DriveNotReady, "drive %s: cartridge %s is in it, which was to go home", d.name, m.Other)
		}
	}
	if err != nil {
		return err
	}
	if err := load(ctx, dr); err != nil {
		return status.Errorf(status.MountTimeout, "cartridge %s in drive %s: %w", barcode, d.name, err)
	}
	s.holds(d, barcode)
	return nil
}

// fetch has a cartridge moved into a drive, if it is not there and no other is.
func (s *Server) fetch(ctx context.Context, d *drive, barcode string) (m txxd.Mounted, err error) {
	begin := trace.From(ctx).Stamp(ctx)
	m, err = txxd.MountIt.Call(ctx, pbx.At(s.host, txxd.Service), txxd.Mount{
		Library: d.library.Name, Control: d.library.Control, Barcode: barcode, Element: d.element,
	})
	if !m.There && m.Other == "" {
		done(ctx, begin, trace.Moved, d.name, MediaID(barcode), err)
	}
	return m, err
}

// load makes the cartridge ready, waiting while the drive says that it becomes so.
func load(ctx context.Context, d dev.Drive) error {
	ctx, cancel := rt.WithTimeout(ctx, readyTime)
	defer cancel()
	for {
		err := d.Load(ctx)
		if errors.Is(err, dev.ErrCleaning) { // it is loaded
			return nil
		}
		if !errors.Is(err, dev.ErrNotReady) {
			return err
		}
		if serr := rt.Sleep(ctx, time.Second); serr != nil {
			return err
		}
	}
}

// unmount is the end of a job's use of a drive: its cartridge goes home, or stays as
// the library's policy says. A drive that must be cleaned is emptied for that.
func (s *Server) unmount(ctx context.Context, d *drive) error {
	dirty := false
	if err := s.with(ctx, d, func(dr dev.Drive) error {
		st, err := dr.Status(ctx)
		dirty = err == nil && st.CleaningNeeded
		if err == nil && st.Ready && !dirty && s.keep(ctx, d) {
			return traced(ctx, trace.Stayed, d.name, "", func() error { return nil })
		}
		return traced(ctx, trace.Unmounted, d.name, "", func() error { return s.takeHome(ctx, d, dr) })
	}); err != nil {
		return err
	}
	if dirty {
		s.say(ctx, d, "must be cleaned, which is done when no job needs it")
		s.cleanLater(ctx, d)
	}
	return nil
}

// takeHome ejects what is in the drive and tells nbemm.
func (s *Server) takeHome(ctx context.Context, d *drive, dr dev.Drive) error {
	if err := s.eject(ctx, d, dr); err != nil {
		return err
	}
	return s.mark(ctx, d.name, "")
}

// eject unloads the drive and has the robot take the cartridge home.
func (s *Server) eject(ctx context.Context, d *drive, dr dev.Drive) error {
	if err := dr.Unload(ctx); err != nil && !errors.Is(err, dev.ErrNoMedium) && !errors.Is(err, dev.ErrCleaning) {
		return status.Errorf(status.MediaClose, "unloading drive %s: %w", d.name, err)
	}
	err := traced(ctx, trace.Moved, d.name, "", func() error {
		_, err := txxd.UnmountIt.Call(ctx, pbx.At(s.host, txxd.Service), txxd.Unmount{
			Library: d.library.Name, Control: d.library.Control, Element: d.element,
		})
		return err
	})
	if err == nil {
		s.holds(d, "")
	}
	return err
}

// traced records what fn does with a drive and a cartridge, and how long it takes.
func traced(ctx context.Context, what, drive, media string, fn func() error) error {
	begin := trace.From(ctx).Stamp(ctx)
	err := fn()
	done(ctx, begin, what, drive, media, err)
	return err
}

// done records what was done with a drive and a cartridge since begin.
func done(ctx context.Context, begin trace.Stamp, what, drive, media string, err error) {
	code := status.OK
	if err != nil {
		code = status.Of(err, status.SystemError)
	}
	t := trace.From(ctx)
	t.Emit(ctx, trace.Event{Begin: begin, End: t.Stamp(ctx), What: what, Drive: drive, Media: media, Status: int(code)})
}

// reset empties the drive and tells nbemm.
func (s *Server) reset(ctx context.Context, d *drive) error {
	if err := s.empty(ctx, d); err != nil {
		return err
	}
	return s.mark(ctx, d.name, "")
}

// empty takes the drive from a holder that is gone and ejects what is in it.
func (s *Server) empty(ctx context.Context, d *drive) error {
	return s.with(ctx, d, func(dr dev.Drive) error {
		if err := dr.Reserve(ctx, "", true); err != nil {
			return status.Errorf(status.ReservationHeld, "drive %s: %w", d.name, err)
		}
		return s.eject(ctx, d, dr)
	})
}

func (s *Server) mark(ctx context.Context, drive, media string) error {
	_, err := nbemm.MarkDrive.Call(ctx, pbx.At(s.master, nbemm.Service), nbemm.DriveMedia{Drive: drive, Media: media})
	return err
}

// MediaID is the name of a cartridge in the media database: the last six
// characters of its barcode, without a suffix that tells its generation.
func MediaID(barcode string) string {
	if Density(barcode) != "" {
		return barcode[:6]
	}
	return barcode[max(0, len(barcode)-6):]
}

// Density is what a barcode's suffix says of the cartridge: L8 is LTO-8, LA is LTO-10,
// PA its cartridge of 40 TB.
func Density(barcode string) string {
	if len(barcode) != 8 {
		return ""
	}
	switch suffix := barcode[6:]; {
	case suffix == "LA":
		return "LTO-10"
	case suffix == "PA":
		return "LTO-10P"
	case suffix[0] == 'L':
		return "LTO-" + suffix[1:]
	}
	return ""
}

// Start empties the drives, which no job can be using yet, and says hello to
// nbemm. It tries until that has worked, as the master may come up later.
func (s *Server) Start(ctx context.Context, log func(error)) error {
	for wait := time.Second; ; wait = min(2*wait, time.Minute) {
		err := s.beginOnce(ctx, func(context.Context) (bool, error) { return s.begun.IsSet(), nil })
		if err == nil || ctx.Err() != nil {
			return err
		}
		log(err)
		if err := rt.Sleep(ctx, wait); err != nil {
			return err
		}
	}
}

// beginOnce begins unless that was done already: by now jobs may use the drives.
// This daemon's start and the master's both ask for it, in any order.
func (s *Server) beginOnce(ctx context.Context, done func(context.Context) (bool, error)) error {
	if err := s.beginning.Acquire(ctx); err != nil {
		return err
	}
	defer s.beginning.Release()
	if ok, err := done(ctx); ok || err != nil {
		return err
	}
	if err := s.begin(ctx); err != nil {
		return err
	}
	s.begun.Set()
	return nil
}

// known tells whether the master has this host's hello since it came up: it
// takes every drive for down before that.
func (s *Server) known(ctx context.Context) (bool, error) {
	list, err := nbemm.Show.Call(ctx, pbx.At(s.master, nbemm.Service), struct{}{})
	if err != nil {
		return false, err
	}
	return slices.ContainsFunc(list.Drives, func(d nbemm.DriveState) bool { return d.Up && s.drives[d.Name] != nil }), nil
}

func (s *Server) begin(ctx context.Context) error {
	if _, err := s.inventory(ctx); err != nil { // learns the drives' elements
		return err
	}
	for _, l := range s.libraries {
		for _, name := range l.Drives {
			if s.drives[name].element == 0 {
				continue // it is down, and was said to be
			}
			if err := s.inTurn(ctx, name, func(d *drive) error { return s.empty(ctx, d) }); err != nil {
				return err
			}
		}
	}
	hello, err := s.inventory(ctx)
	if err != nil {
		return err
	}
	_, err = nbemm.SayHello.Call(ctx, pbx.At(s.master, nbemm.Service), hello)
	return err
}
