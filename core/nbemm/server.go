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
		if a.From, err = otherServer(tx, a.Media.ID, a.MediaServer); err != nil {
			return err
		}
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
	var us []StorageUnit
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
	m, err := s.mediaForWrite(ctx, tx, u, q)
	if err != nil {
		return a, err
	}
	a.Media = m
	a.Drive, err = s.drive(ctx, tx, u.Library, u.MediaServer, m.ID)
	return a, err
}

// drive chooses a drive of a library as [dismount.Choose] says, of those that the
// media server has.
func (s *Server) drive(ctx context.Context, tx store.Tx, library, server, mediaID string) (Drive, error) {
	var all []Drive
	var users []int64 // jobs that have drives
	up := 0
	if err := drives.All(tx, func(d Drive) (bool, error) {
		if d.Library != library || d.MediaServer != server || !d.Up {
			return true, nil
		}
		up++
		if by, taken := s.drives[d.Name]; taken {
			users = append(users, by.job)
		} else {
			all = append(all, d)
		}
		return true, nil
	}); err != nil {
		return Drive{}, err
	}
	if up == 0 {
		return Drive{}, status.Errorf(status.NoDrive, "no drive of library %s is up at media server %s", library, server)
	}
	if len(all) == 0 {
		return Drive{}, status.Errorf(status.NoDrive, "the %d drives of library %s are in use at media server %s, by jobs %s", up, library, server, list(users))
	}
	free := make([]dismount.Drive, len(all))
	for i, d := range all {
		free[i] = dismount.Drive{Name: d.Name, Media: d.Media, LastUsed: int64(d.LastUsed)}
	}
	d := all[dismount.Choose(free, mediaID)]
	d.LastUsed = rt.Now(ctx)
	return d, nil
}

// list joins job numbers for people.
func list(jobs []int64) string {
	slices.Sort(jobs)
	return strings.Trim(fmt.Sprint(slices.Compact(jobs)), "[]")
}

// inDrives tells for each cartridge in a drive which that is.
func inDrives(tx store.Tx) (map[string]Drive, error) {
	in := map[string]Drive{}
	return in, drives.All(tx, func(d Drive) (bool, error) {
		if d.Media != "" {
			in[d.Media] = d
		}
		return true, nil
	})
}

// otherServer is the media server that has a cartridge in one of its drives, if it is
// not the one that is to mount it.
func otherServer(tx store.Tx, mediaID, server string) (string, error) {
	mounted, err := inDrives(tx)
	if d := mounted[mediaID]; err == nil && d.MediaServer != server {
		return d.MediaServer, nil
	}
	return "", err
}

// elsewhere is how much a cartridge comes after all others that stays in a drive of
// another media server: that one may want it, or be down.
const elsewhere = 10

// mediaForWrite chooses a cartridge: one that is mounted, part full and kept as
// long; another part full one; one of the pool without images; one of the
// scratch pool, which then belongs to the pool. Ties: the least recently used.
func (s *Server) mediaForWrite(ctx context.Context, tx store.Tx, u StorageUnit, q Request) (Media, error) {
	pool := cmp.Or(q.Pool, u.Pool, DefaultPool)
	mounted, err := inDrives(tx)
	if err != nil {
		return Media{}, err
	}
	var best Media
	bestRank, wait := 0, ""
	consider := func(m Media) (bool, error) {
		in, inside := mounted[m.ID]
		rank := writeRank(&m, inside && in.MediaServer == u.MediaServer, pool, &u, &q)
		if rank == 0 {
			return true, nil
		}
		if by, taken := s.media[m.ID]; taken {
			if !s.filled[m.ID] { // else two jobs could wait for each other's for ever
				wait = fmt.Sprintf("%s by job %d", m.ID, by.job)
			}
			return true, nil
		}
		if inside && !in.Up {
			wait = m.ID + ", which is in a drive that is down"
			return true, nil
		}
		if inside && in.MediaServer != u.MediaServer {
			rank += elsewhere
		}
		if bestRank == 0 || rank < bestRank || rank == bestRank && less(m, best) {
			best, bestRank = m, rank
		}
		return true, nil
	}
	for _, p := range slices.Compact([]string{pool, Scratch}) {
		key := store.PairKey(p, u.Library)
		if err := media.By(tx, "pool", key, key+"\x00", consider); err != nil {
			return Media{}, err
		}
	}
	switch {
	case bestRank == 0 && wait != "":
		return Media{}, status.Errorf(status.MediaInUse, "every cartridge of pool %s in library %s that could be written is in use, %s", pool, u.Library, wait)
	case bestRank == 0:
		return Media{}, status.Errorf(status.NoMedia, "no cartridge of pool %s or %s in library %s can be written: add cartridges or let images expire", pool, Scratch, u.Library)
	}
	if best.Pool != pool {
		best.Pool, best.FromScratch = pool, true
	}
	best.LastUsed = rt.Now(ctx)
	return best, nil
}

// writeRank orders cartridges for writing; 0 is not at all. A job that has filled
// a cartridge (Held) prefers one without images.
func writeRank(m *Media, mounted bool, pool string, u *StorageUnit, q *Request) int {
	switch {
	case m.Pool == CleaningPool, m.Full, m.Frozen, m.Suspended, slices.Contains(q.Avoid, m.ID), u.Density != "" && m.Density != u.Density:
		return 0
	case m.Images > 0 && (m.Pool != pool || m.Retention != q.Retention && !u.MixRetentions):
		return 0
	case m.Images > 0 && q.Held != "":
		return 5
	case m.Images > 0 && mounted:
		return 1
	case m.Images > 0:
		return 2
	case m.Pool == pool:
		return 3
	default:
		return 4
	}
}

func less(a, b Media) bool {
	return cmp.Or(cmp.Compare(a.LastUsed, b.LastUsed), cmp.Compare(a.ID, b.ID)) < 0
}

func (s *Server) forRead(ctx context.Context, tx store.Tx, q Request) (Allocation, error) {
	a := Allocation{MediaServer: q.Server, Unit: StorageUnit{Name: q.Storage, MediaServer: q.Server, Path: q.Path, Kind: Disk}}
	if q.Media == "" {
		return a, nil
	}
	m, err := s.mediaForRead(tx, q.Media, holder{q.Job, q.Try})
	if err != nil {
		return a, err
	}
	a.Unit.Kind, a.Unit.Library, a.Media = Tape, m.Library, m
	a.Drive, err = s.drive(ctx, tx, m.Library, q.Server, m.ID)
	return a, err
}

func (s *Server) mediaForRead(tx store.Tx, id string, h holder) (Media, error) {
	m, ok, err := media.Get(tx, id)
	switch {
	case err != nil:
		return m, err
	case !ok:
		return m, status.Errorf(status.MediaNotDefined, "cartridge %s is not known: put it into a library and take an inventory", id)
	case m.Library == "":
		return m, status.Errorf(status.MediaMisplaced, "cartridge %s is in no library: put it back and take an inventory", id)
	}
	if by, taken := s.media[id]; taken && by != h {
		return m, status.Errorf(status.MediaInUse, "cartridge %s is in use by job %d", id, by.job)
	}
	if mounted, err := inDrives(tx); err != nil {
		return m, err
	} else if d, inside := mounted[id]; inside && !d.Up {
		return m, status.Errorf(status.MediaInUse, "cartridge %s is in a drive that is down", id)
	}
	return m, nil
}

// nextMedia gives a job that keeps its drive another cartridge.
func (s *Server) nextMedia(ctx context.Context, tx store.Tx, q Request, h holder) (Allocation, error) {
	old := s.has[h]
	if old == nil || old.Drive.Name != q.Held {
		return Allocation{}, status.Errorf(status.MediaRequest, "job %d does not hold drive %s", q.Job, q.Held)
	}
	a := *old
	var err error
	if q.Write {
		s.filled[old.Media.ID] = true
		a.Media, err = s.mediaForWrite(ctx, tx, a.Unit, q)
	} else {
		a.Media, err = s.mediaForRead(tx, q.Media, h)
	}
	return a, err
}

func (s *Server) release(ctx context.Context, _ pbx.Peer, q Release) (struct{}, error) {
	s.lock.Lock(ctx)
	defer s.lock.Unlock(ctx)
	h := holder{q.Job, q.Try}
	a := s.has[h]
	if a == nil {
		return struct{}{}, nil
	}
	ends := a.OnTape() && !a.Quarantine // of the drive's use; what was quarantined was used until then
	if !a.Quarantine {
		s.count(a, -1)
	}
	if q.Quarantine && a.OnTape() {
		a.Quarantine = true
		return struct{}{}, s.noteUsed(ctx, a, ends)
	}
	delete(s.has, h)
	maps.DeleteFunc(s.filled, func(m string, _ bool) bool { return s.media[m] == h })
	held := func(_ string, by holder) bool { return by == h }
	maps.DeleteFunc(s.drives, held)
	maps.DeleteFunc(s.media, held)
	return struct{}{}, s.noteUsed(ctx, a, ends)
}

// noteUsed notes that a job's use of a drive has ended, if it has. What is in it may
// stay, and of such drives the least recently used is the first that others get.
func (s *Server) noteUsed(ctx context.Context, a *Allocation, ends bool) error {
	if !ends {
		return nil
	}
	return s.db.Update(ctx, func(tx store.Tx) error {
		d, ok, err := drives.Get(tx, a.Drive.Name)
		if err != nil || !ok {
			return err
		}
		d.LastUsed = rt.Now(ctx)
		return drives.Put(tx, d.Name, d)
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
			if ok && old.MediaServer != l.MediaServer {
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
