package nbemm

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"capstan/core/dismount"
	"capstan/core/pbx"
	"capstan/core/rt"
	"capstan/core/status"
	"capstan/core/store"
	"capstan/core/trace"
)

// Server is the role. What is allocated lives in memory: after a restart of the
// master nothing is, once the jobs that were in flight have been ended.
type Server struct {
	db     store.DB
	lock   *rt.Mutex
	has    map[holder]*Allocation
	drives map[string]holder // who has a drive
	media  map[string]holder // who has a cartridge
	filled map[string]bool   // cartridges that those who have them went on from, as they are full
	jobs   map[string]int    // allocations of each storage unit
	chosen map[string]int64  // of a round robin group's unit: when it was last chosen
	turns  int64
}

type holder struct {
	job int64
	try int
}

// New makes the role on the master's database. No drive is up before its media
// server has said, in this life of the master, that nobody uses it.
func New(ctx context.Context, db store.DB) (*Server, error) {
	s := &Server{
		db: db, lock: rt.NewMutex(ctx), has: map[holder]*Allocation{}, drives: map[string]holder{},
		media: map[string]holder{}, filled: map[string]bool{}, jobs: map[string]int{}, chosen: map[string]int64{},
	}
	return s, db.Update(ctx, func(tx store.Tx) error {
		var up []Drive
		if err := drives.All(tx, func(d Drive) (bool, error) {
			if d.Up {
				d.Up = false
				up = append(up, d)
			}
			return true, nil
		}); err != nil {
			return err
		}
		for _, d := range up {
			if err := drives.Put(tx, d.Name, d); err != nil {
				return err
			}
		}
		return nil
	})
}

// Mux is what the role answers.
func (s *Server) Mux(ctx context.Context, epoch uint64) *pbx.Mux {
	mux := pbx.NewMux(ctx, Service, epoch)
	pbx.Handle(mux, Allocate, s.allocate)
	pbx.Handle(mux, ReleaseAll, s.release)
	pbx.Handle(mux, MarkWritten, s.markWritten)
	pbx.Handle(mux, DeassignEmpty, s.deassignEmpty)
	pbx.Handle(mux, MarkImported, s.markImported)
	pbx.Handle(mux, ChangeMedia, s.changeMedia)
	pbx.Handle(mux, MarkDrive, s.markDrive)
	pbx.Handle(mux, SayHello, s.hello)
	pbx.Handle(mux, Show, s.show)
	pbx.Handle(mux, Configure, s.configure)
	return mux
}

// Later tells whether a request that failed so may succeed when something is
// released. The code says what: a drive ([status.NoDrive]), a cartridge
// ([status.MediaInUse]), or one of the jobs that a limit allows ([status.ServerBusy]).
func Later(err error) bool {
	switch status.Of(err, 0) {
	case status.ServerBusy, status.NoDrive, status.MediaInUse:
		return true
	}
	return false
}

func (s *Server) allocate(ctx context.Context, _ pbx.Peer, q Request) (Allocation, error) {
	s.lock.Lock(ctx)
	defer s.lock.Unlock(ctx)
	h := holder{q.Job, q.Try}
	if a := s.has[h]; a != nil && q.Held == "" {
		return *a, nil // asked again
	}
	var a Allocation
	err := s.db.Update(ctx, func(tx store.Tx) (err error) {
		switch {
		case q.Held != "":
			a, err = s.nextMedia(ctx, tx, q, h)
		case q.Write:
			a, err = s.forWrite(ctx, tx, q)
		default:
			a, err = s.forRead(ctx, tx, q)
		}
		if err != nil || !a.OnTape() {
			return err
		}
		// Only now is it sure that these are the ones.
		if q.Write {
			if a.Media.UUID == "" {
				r := rt.Rand(ctx, Service, fmt.Sprintf("label %s %d", a.Media.ID, rt.Now(ctx)))
				a.Media.UUID = fmt.Sprintf("%016x%016x", r.Uint64(), r.Uint64())
			}
			if err := media.Put(tx, a.Media.ID, a.Media); err != nil {
				return err
			}
		}
		if q.Held != "" {
			return nil // what is in the drive has changed since the job got it
		}
		return drives.Put(tx, a.Drive.Name, a.Drive)
	})
	if err != nil {
		return a, err
	}
	a.Job, a.Try, a.Write = q.Job, q.Try, q.Write
	if old := s.has[h]; old == nil {
		s.count(&a, 1)
	} else if !a.Write {
		// A cartridge that was written stays the job's until the job ends: before its
		// image is recorded nobody else may append to it.
		delete(s.media, old.Media.ID)
	}
	s.has[h] = &a
	if a.OnTape() {
		s.drives[a.Drive.Name], s.media[a.Media.ID] = h, h
	}
	return a, nil
}

// count counts the jobs that write to a storage unit: restores are no part of
// its limit.
func (s *Server) count(a *Allocation, d int) {
	if a.Write {
		s.jobs[a.Unit.Name] += d
	}
}

// candidates are the storage units that a name stands for, in the order in which
// they are to be tried.
func (s *Server) candidates(tx store.Tx, name string) ([]StorageUnit, error) {
	if u, ok, err := units.Get(tx, name); err != nil || ok {
		return []StorageUnit{u}, err
	}
	g, ok, err := groups.Get(tx, name)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, status.Errorf(status.NoStorageUnit, "there is no storage unit or group %q", name)
	}
	us := make([]StorageUnit, 0, len(g.Units))
	for _, n := range g.Units {
		u, ok, err := units.Get(tx, n)
		if err != nil {
			return nil, err
		}
		if ok {
			us = append(us, u)
		}
	}
	if g.RoundRobin {
		slices.SortStableFunc(us, func(a, b StorageUnit) int { return cmp.Compare(s.chosen[a.Name], s.chosen[b.Name]) })
	}
	return us, nil
}

func (s *Server) forWrite(ctx context.Context, tx store.Tx, q Request) (Allocation, error) {
	us, err := s.candidates(tx, q.Storage)
	if err != nil {
		return Allocation{}, err
	}
	var waits, fails error
	for _, u := range us {
		a, err := s.onUnit(ctx, tx, u, q)
		if err == nil {
			s.turns++
			s.chosen[u.Name] = s.turns
			return a, nil
		}
		if Later(err) {
			waits = cmp.Or(waits, err)
		} else {
			fails = cmp.Or(fails, err)
		}
	}
	if err := cmp.Or(waits, fails); err != nil {
		return Allocation{}, err
	}
	return Allocation{}, status.Errorf(status.NoStorageUnit, "group %q has no storage unit", q.Storage)
}

func (s *Server) onUnit(ctx context.Context, tx store.Tx, u StorageUnit, q Request) (Allocation, error) {
	a := Allocation{Unit: u, MediaServer: u.MediaServer}
	if u.MaxJobs > 0 && s.jobs[u.Name] >= u.MaxJobs {
		return a, status.Errorf(status.ServerBusy, "storage unit %s runs its %d jobs", u.Name, u.MaxJobs)
	}
	if u.Kind == Disk {
		return a, nil
	}
	all, err := drivesOf(tx, u.Library)
	if err != nil {
		return a, err
	}
	if a.Media, err = s.mediaForWrite(ctx, tx, u, q, all); err != nil {
		return a, err
	}
	err = s.giveDrive(ctx, &a, all)
	return a, err
}

// drivesOf are the drives of a library.
func drivesOf(tx store.Tx, library string) (all []Drive, err error) {
	return all, drives.By(tx, "library", library, library+"\x00", func(d Drive) (bool, error) {
		all = append(all, d)
		return true, nil
	})
}

// giveDrive chooses one of a library's drives as [dismount.Choose] says, of those that
// the media server has.
func (s *Server) giveDrive(ctx context.Context, a *Allocation, all []Drive) error {
	var free []dismount.Drive
	var users []int64 // jobs that have drives
	for i := range all {
		d := &all[i]
		if by, taken := s.drives[d.Name]; d.MediaServer != a.MediaServer || !d.Up {
			continue
		} else if taken {
			users = append(users, by.job)
		} else {
			free = append(free, dismount.Drive{Name: d.Name, Media: d.Media, LastUsed: int64(d.LastUsed)})
		}
	}
	switch {
	case len(free) > 0:
	case len(users) == 0:
		return status.Errorf(status.NoDrive, "no drive of library %s is up at media server %s", a.Unit.Library, a.MediaServer)
	default:
		return status.Errorf(status.NoDrive, "the %d drives of library %s are in use at media server %s, by jobs %s", len(users), a.Unit.Library, a.MediaServer, list(users))
	}
	name := free[dismount.Choose(free, a.Media.ID)].Name
	a.Drive = all[slices.IndexFunc(all, func(d Drive) bool { return d.Name == name })]
	a.Drive.LastUsed = rt.Now(ctx)
	a.From = elsewhere(all, a)
	return nil
}

// reaches refuses to wait for a media server that has none of a library's drives: no
// release would help. A library whose drives are not known yet may have some.
func reaches(server, library string, all []Drive) error {
	var has []string
	for i := range all {
		has = append(has, all[i].MediaServer)
	}
	if len(has) == 0 || slices.Contains(has, server) {
		return nil
	}
	slices.Sort(has)
	return status.Errorf(status.DrivesDown, "media server %s has no drive of library %s; those that have are %s", server, library, strings.Join(slices.Compact(has), ", "))
}

// elsewhere is the media server that has an allocation's cartridge in one of its drives,
// if it is not the one that is to mount it.
func elsewhere(all []Drive, a *Allocation) string {
	if in := around(all, a.Media.ID); in != nil && in.MediaServer != a.MediaServer {
		return in.MediaServer
	}
	return ""
}

// list joins job numbers for people.
func list(jobs []int64) string {
	slices.Sort(jobs)
	return strings.Trim(fmt.Sprint(slices.Compact(jobs)), "[]")
}

// around finds the drive in which a cartridge is; nil if it is in none.
func around(all []Drive, mediaID string) *Drive {
	for i := range all {
		if all[i].Media == mediaID {
			return &all[i]
		}
	}
	return nil
}

// mediaForWrite chooses a cartridge: one that is mounted, part full and kept as
// long; another part full one; one of the pool without images; one of the
// scratch pool, which then belongs to the pool. A job that has filled a cartridge
// (Held) prefers one without images. Ties: the least recently used. One that stays in
// a drive of another media server comes after all others: that one may want it, or be down.
func (s *Server) mediaForWrite(ctx context.Context, tx store.Tx, u StorageUnit, q Request, all []Drive) (Media, error) {
	pool := cmp.Or(q.Pool, u.Pool, DefaultPool)
	kinds := [][2]string{{pool, partFull}, {pool, empty}, {Scratch, empty}}
	if q.Held != "" {
		kinds = [][2]string{{pool, empty}, {Scratch, empty}, {pool, partFull}}
	}
	var inUse, down string // what could be waited for
	var best, away Media
	for _, k := range kinds {
		if best.ID != "" {
			break
		}
		mounted := false
		from := chosenFrom(k[0], u.Library, k[1])
		if err := media.By(tx, "choice", from, store.PrefixEnd(from), func(m Media) (bool, error) {
			if !fits(&m, &u, &q) {
				return true, nil
			}
			if _, taken := s.media[m.ID]; taken {
				if !s.filled[m.ID] { // else two jobs could wait for each other's for ever
					inUse = m.ID
				}
				return true, nil
			}
			in := around(all, m.ID)
			switch {
			case in != nil && !in.Up:
				down = m.ID
				return true, nil
			case in != nil && in.MediaServer != u.MediaServer:
				if away.ID == "" {
					away = m
				}
				return true, nil
			}
			mounted = in != nil && k[1] == partFull && q.Held == ""
			if best.ID == "" || mounted {
				best = m
			}
			// The first of the kind is the one, unless another of them is mounted.
			return k[1] == partFull && q.Held == "" && !mounted, nil
		}); err != nil {
			return Media{}, err
		}
	}
	if best.ID == "" {
		best = away
	}
	const busy = "every cartridge of pool %s in library %s that could be written is in use, "
	switch {
	case best.ID != "":
		if best.Pool != pool {
			best.Pool, best.FromScratch = pool, true
		}
		best.LastUsed = rt.Now(ctx)
		return best, nil
	case inUse != "":
		return Media{}, status.Errorf(status.MediaInUse, busy+"%s by job %d", pool, u.Library, inUse, s.media[inUse].job)
	case down != "":
		return Media{}, status.Errorf(status.MediaInUse, busy+"%s, which is in a drive that is down", pool, u.Library, down)
	}
	return Media{}, status.Errorf(status.NoMedia, "no cartridge of pool %s or %s in library %s can be written: add cartridges or let images expire", pool, Scratch, u.Library)
}

// fits tells whether a cartridge that can be written can be so for a request.
func fits(m *Media, u *StorageUnit, q *Request) bool {
	switch {
	case slices.Contains(q.Avoid, m.ID), u.Density != "" && m.Density != u.Density:
		return false
	}
	return m.Images == 0 || m.Retention == q.Retention || u.MixRetentions
}

func (s *Server) forRead(ctx context.Context, tx store.Tx, q Request) (Allocation, error) {
	a := Allocation{MediaServer: q.Server, Unit: StorageUnit{Name: q.Storage, MediaServer: q.Server, Path: q.Path, Kind: Disk}}
	if q.Media == "" {
		return a, nil
	}
	m, all, err := s.mediaForRead(tx, q.Media, holder{q.Job, q.Try})
	if err != nil {
		return a, err
	}
	if err := reaches(q.Server, m.Library, all); err != nil {
		return a, err
	}
	a.Unit.Kind, a.Unit.Library, a.Media = Tape, m.Library, m
	err = s.giveDrive(ctx, &a, all)
	return a, err
}

// mediaForRead finds a cartridge, and the drives of its library.
func (s *Server) mediaForRead(tx store.Tx, id string, h holder) (m Media, all []Drive, err error) {
	m, ok, err := media.Get(tx, id)
	switch {
	case err != nil:
		return m, nil, err
	case !ok:
		return m, nil, status.Errorf(status.MediaNotDefined, "cartridge %s is not known: put it into a library and take an inventory", id)
	case m.Library == "":
		return m, nil, status.Errorf(status.MediaMisplaced, "cartridge %s is in no library: put it back and take an inventory", id)
	}
	if by, taken := s.media[id]; taken && by != h {
		return m, nil, status.Errorf(status.MediaInUse, "cartridge %s is in use by job %d", id, by.job)
	}
	if all, err = drivesOf(tx, m.Library); err != nil {
		return m, nil, err
	}
	if in := around(all, id); in != nil && !in.Up {
		return m, nil, status.Errorf(status.MediaInUse, "cartridge %s is in a drive that is down", id)
	}
	return m, all, nil
}

// nextMedia gives a job that keeps its drive another cartridge.
func (s *Server) nextMedia(ctx context.Context, tx store.Tx, q Request, h holder) (Allocation, error) {
	old := s.has[h]
	if old == nil || old.Drive.Name != q.Held {
		return Allocation{}, status.Errorf(status.MediaRequest, "job %d does not hold drive %s", q.Job, q.Held)
	}
	a := *old
	var all []Drive
	var err error
	if q.Write {
		s.filled[old.Media.ID] = true
		if all, err = drivesOf(tx, a.Unit.Library); err == nil {
			a.Media, err = s.mediaForWrite(ctx, tx, a.Unit, q, all)
		}
	} else {
		a.Media, all, err = s.mediaForRead(tx, q.Media, h)
	}
	if err == nil {
		a.From = elsewhere(all, &a)
	}
	return a, err
}

func (s *Server) release(ctx context.Context, _ pbx.Peer, q Release) (r Released, err error) {
	s.lock.Lock(ctx)
	defer s.lock.Unlock(ctx)
	h := holder{q.Job, q.Try}
	a := s.has[h]
	if a == nil {
		return r, nil
	}
	ends := a.OnTape() && !a.Quarantine // of the drive's use; what was quarantined was used until then
	if !a.Quarantine {
		s.count(a, -1)
	}
	if q.Quarantine && a.OnTape() {
		a.Quarantine = true
	} else {
		delete(s.has, h)
		if a.OnTape() {
			maps.DeleteFunc(s.filled, func(m string, _ bool) bool { return s.media[m] == h })
			held := func(_ string, by holder) bool { return by == h }
			maps.DeleteFunc(s.drives, held)
			maps.DeleteFunc(s.media, held)
		}
	}
	in := s.db.View
	if ends {
		in = s.db.Update
	}
	err = in(ctx, func(tx store.Tx) (err error) {
		if ends {
			if err := noteUsed(ctx, tx, a.Drive.Name); err != nil {
				return err
			}
		}
		r.For, err = sharing(tx, &a.Unit)
		return err
	})
	return r, err
}

// noteUsed notes that a job's use of a drive has ended. What is in it may stay, and of
// such drives the least recently used is the first that others get.
func noteUsed(ctx context.Context, tx store.Tx, drive string) error {
	d, ok, err := drives.Get(tx, drive)
	if err != nil || !ok {
		return err
	}
	d.LastUsed = rt.Now(ctx)
	return drives.Put(tx, d.Name, d)
}

// sharing are the storage units that use what u does, and the groups that have one of them.
func sharing(tx store.Tx, u *StorageUnit) (names []string, err error) {
	if err := units.All(tx, func(o StorageUnit) (bool, error) {
		if o.Name == u.Name || o.Kind == Tape && o.Library == u.Library {
			names = append(names, o.Name)
		}
		return true, nil
	}); err != nil {
		return nil, err
	}
	same := len(names)
	return names, groups.All(tx, func(g Group) (bool, error) {
		if slices.ContainsFunc(g.Units, func(n string) bool { return slices.Contains(names[:same], n) }) {
			names = append(names, g.Name)
		}
		return true, nil
	})
}

// markWritten notes what a job has written to a cartridge that it holds.
func (s *Server) markWritten(ctx context.Context, _ pbx.Peer, w Written) (struct{}, error) {
	s.lock.Lock(ctx)
	by := s.media[w.Media]
	s.lock.Unlock(ctx)
	if j := trace.JobOf(ctx); by != (holder{j.ID, j.Try}) {
		return struct{}{}, status.Errorf(status.NotAllowed, "job %d does not hold cartridge %s", j.ID, w.Media)
	}
	return struct{}{}, s.db.Update(ctx, func(tx store.Tx) error {
		m, ok, err := media.Get(tx, w.Media)
		if err != nil {
			return err
		}
		if !ok {
			return status.Errorf(status.MediaNotDefined, "cartridge %s is not known", w.Media)
		}
		if m.Images > 0 && w.NextBlock < m.NextBlock {
			return status.Errorf(status.Inconsistent, "cartridge %s: its end would go back from block %d to %d", w.Media, m.NextBlock, w.NextBlock)
		}
		if m.Images == 0 {
			m.Assigned, m.Expires, m.Retention = rt.Now(ctx), w.Expires, w.Retention
		} else if m.Expires != 0 && (w.Expires == 0 || w.Expires > m.Expires) {
			m.Expires = w.Expires
		}
		if m.UUID != "" && w.UUID != m.UUID {
			return status.Errorf(status.Inconsistent, "cartridge %s has label %s, %s was written", w.Media, m.UUID, w.UUID)
		}
		m.UUID, m.NextFile, m.NextBlock, m.Last, m.Overwrite = w.UUID, w.NextFile, w.NextBlock, w.Last, false
		m.Images += w.Images
		m.Bytes += w.Bytes
		m.Counted = false
		m.Full = m.Full || w.Full
		return media.Put(tx, m.ID, m)
	})
}

func (s *Server) markDrive(ctx context.Context, from pbx.Peer, q DriveMedia) (struct{}, error) {
	return struct{}{}, s.db.Update(ctx, func(tx store.Tx) error {
		d, ok, err := drives.Get(tx, q.Drive)
		if err != nil {
			return err
		}
		if !ok || d.MediaServer != from.Name {
			return status.Errorf(status.NotAllowed, "%s has no drive %s", from, q.Drive)
		}
		if q.Media != "" && q.Media != d.Media {
			if m, ok, err := media.Get(tx, q.Media); err != nil {
				return err
			} else if ok {
				m.Mounts++
				if err := media.Put(tx, m.ID, m); err != nil {
					return err
				}
			}
		}
		d.Media = q.Media
		return drives.Put(tx, d.Name, d)
	})
}

// hello takes a media server's devices as it found them. What is known of a
// cartridge's contents stays; where it is comes from the inventory.
func (s *Server) hello(ctx context.Context, from pbx.Peer, q Hello) (struct{}, error) {
	return struct{}{}, s.db.Update(ctx, func(tx store.Tx) error {
		for _, l := range q.Libraries {
			old, ok, err := libraries.Get(tx, l.Name)
			if err != nil {
				return err
			}
			l.MediaServer = cmp.Or(l.MediaServer, from.Name)
			// The robot may have got another control host: of the two, either may say so.
			if ok && old.MediaServer != l.MediaServer && from.Name != old.MediaServer && from.Name != l.MediaServer {
				return status.Errorf(status.NotAllowed, "the robot of library %s is controlled by media server %s, not by %s as %s says", l.Name, old.MediaServer, l.MediaServer, from.Name)
			}
			if err := libraries.Put(tx, l.Name, l); err != nil {
				return err
			}
			if err := forgetPlaces(tx, l.Name); err != nil {
				return err
			}
		}
		for _, d := range q.Drives {
			old, ok, err := drives.Get(tx, d.Name)
			if err != nil {
				return err
			}
			if ok && old.MediaServer != from.Name {
				return status.Errorf(status.NotAllowed, "drive %s belongs to media server %s, not to %s", d.Name, old.MediaServer, from.Name)
			}
			d.MediaServer, d.Up, d.LastUsed = from.Name, true, old.LastUsed
			if err := drives.Put(tx, d.Name, d); err != nil {
				return err
			}
		}
		for _, found := range q.Media {
			m, ok, err := media.Get(tx, found.ID)
			if err != nil {
				return err
			}
			if !ok {
				m = Media{ID: found.ID, Barcode: found.Barcode, Pool: cmp.Or(found.Pool, Scratch)}
			} else if m.Barcode != found.Barcode {
				return status.Errorf(status.MediaNotDefined, "cartridges %s and %s would both be media id %s: rename one", m.Barcode, found.Barcode, m.ID)
			}
			m.Library, m.Element, m.Density = found.Library, found.Element, found.Density
			if err := media.Put(tx, m.ID, m); err != nil {
				return err
			}
		}
		return nil
	})
}

// forgetPlaces notes that no cartridge is in a library, before an inventory says which are.
func forgetPlaces(tx store.Tx, library string) error {
	var there []Media
	if err := media.All(tx, func(m Media) (bool, error) {
		if m.Library == library {
			there = append(there, m)
		}
		return true, nil
	}); err != nil {
		return err
	}
	for _, m := range there {
		m.Library, m.Element = "", 0
		if err := media.Put(tx, m.ID, m); err != nil {
			return err
		}
	}
	return nil
}

func (s *Server) show(ctx context.Context, _ pbx.Peer, _ struct{}) (List, error) {
	s.lock.Lock(ctx)
	defer s.lock.Unlock(ctx)
	var l List
	err := s.db.View(ctx, func(tx store.Tx) error {
		l = List{}
		for _, err := range []error{
			units.All(tx, func(u StorageUnit) (bool, error) { l.Units = append(l.Units, u); return true, nil }),
			groups.All(tx, func(g Group) (bool, error) { l.Groups = append(l.Groups, g); return true, nil }),
			libraries.All(tx, func(x Library) (bool, error) { l.Libraries = append(l.Libraries, x); return true, nil }),
			media.All(tx, func(m Media) (bool, error) { l.Media = append(l.Media, m); return true, nil }),
			drives.All(tx, func(d Drive) (bool, error) {
				l.Drives = append(l.Drives, DriveState{Drive: d, Job: s.drives[d.Name].job})
				return true, nil
			}),
		} {
			if err != nil {
				return err
			}
		}
		return nil
	})
	return l, err
}

func (s *Server) configure(ctx context.Context, _ pbx.Peer, l List) (struct{}, error) {
	return struct{}{}, s.Configure(ctx, l)
}

// Configure makes storage units and groups known.
func (s *Server) Configure(ctx context.Context, l List) error {
	return s.db.Update(ctx, func(tx store.Tx) error {
		for _, u := range l.Units {
			if u.Kind != Tape && u.Kind != Disk {
				return fmt.Errorf("storage unit %s: kind %q is neither tape nor disk", u.Name, u.Kind)
			}
			if u.BlockSize <= 0 {
				u.BlockSize = 256 << 10
			}
			if err := units.Put(tx, u.Name, u); err != nil {
				return err
			}
		}
		for _, g := range l.Groups {
			if err := groups.Put(tx, g.Name, g); err != nil {
				return err
			}
		}
		return nil
	})
}
