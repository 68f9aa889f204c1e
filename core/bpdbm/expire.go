package bpdbm

import (
	"context"
	"errors"
	"slices"
	"time"

	"capstan/core/image"
	"capstan/core/media"
	"capstan/core/nbemm"
	"capstan/core/pbx"
	"capstan/core/rt"
	"capstan/core/status"
	"capstan/core/store"
	"capstan/core/trace"
)

// ExpireImages asks to expire images now, whatever their retention.
type ExpireImages struct {
	Images []string `json:"images"` // backup ids
}

// Cleaned is what an image cleanup has done.
type Cleaned struct {
	Expired []string `json:"expired,omitempty"` // backup ids; they are no longer in the catalog
	Held    []string `json:"held,omitempty"`    // backup ids left alone, as they are being restored
	Freed   []string `json:"freed,omitempty"`   // media ids of cartridges that hold no image any more
	// Pending are expired images of which something is left on a media server that
	// could not be reached. The next cleanup tries again.
	Pending []string `json:"pending,omitempty"`
}

// DiscardImage asks a media server to remove an image's files from a disk unit.
type DiscardImage struct {
	BackupID string `json:"backupId"`
	Path     string `json:"path"`
	// Files are the image's files, if all are known: the directory, which may have
	// very many, is then not searched for them.
	Files []string `json:"files,omitempty"`
}

// The methods of the image cleanup.
var (
	Expire  = pbx.Declare[ExpireImages, Cleaned](Service, "Expire", pbx.Master|pbx.User)
	Cleanup = pbx.Declare[struct{}, Cleaned](Service, "Cleanup", pbx.Master|pbx.User)
	// LetGo says that the restore job of the context needs no image any more.
	LetGo = pbx.Declare[struct{}, struct{}](Service, "LetGo", pbx.Master)
	// Discard is answered by bptm, which imports this package.
	Discard = pbx.Declare[DiscardImage, struct{}]("bptm", "Discard", pbx.Master)
)

// expiring are the headers of images that have left the catalog and of which
// something is left elsewhere.
var expiring = store.Declare[string, image.Header]("expiring_images", 1, store.StringKey, nil)

const (
	cleanupEvery = 12 * time.Hour
	pendingEvery = 10 * time.Minute // while a media server could not be reached
	cleanupBatch = 200              // images in one transaction
)

// StartCleanup runs the image cleanup from now on; master is this host's name.
// It is called once the master's services answer.
func (s *Server) StartCleanup(ctx context.Context, master string) {
	s.lock.Lock()
	s.master = master
	s.lock.Unlock()
	rt.Go(trace.WithRole(ctx, Service), "image cleanup", func(ctx context.Context) {
		for {
			wait := cleanupEvery
			if s.plausible(ctx) {
				c, err := s.cleanup(ctx)
				if err != nil || len(c.Pending) > 0 {
					wait = pendingEvery
				}
			}
			if rt.Sleep(ctx, wait) != nil {
				return
			}
		}
	})
}

// lastCleanup is when the image cleanup last looked at the clock.
var lastCleanup = store.Declare[string, rt.Time]("last_cleanup", 1, store.StringKey, nil)

// longestPause is how long a master may have been down, or its clock have jumped,
// for the image cleanup to go on by itself: a clock that is years ahead would
// expire the whole catalog. A longer one takes a person's word: Cleanup.
const longestPause = 30 * 24 * time.Hour

// plausible tells whether the clock can be believed.
func (s *Server) plausible(ctx context.Context) bool {
	now := rt.Now(ctx)
	ok := true
	err := s.db.Update(ctx, func(tx store.Tx) error {
		last, known, err := lastCleanup.Get(tx, "last")
		if err != nil {
			return err
		}
		if ok = !known || now.Sub(last) <= longestPause; !ok {
			return nil
		}
		return lastCleanup.Put(tx, "last", now)
	})
	if !ok {
		trace.Note(ctx, "", "image cleanup", "the clock is more than 30 days ahead of the last cleanup: ask for a cleanup if it is right")
	}
	return ok && err == nil
}

// believe notes that a person has asked for a cleanup: the clock is right.
func (s *Server) believe(ctx context.Context) error {
	return s.db.Update(ctx, func(tx store.Tx) error { return lastCleanup.Put(tx, "last", rt.Now(ctx)) })
}

// cleanup expires the images whose time has come. Each by itself: an incremental
// does not keep alive the full backup that it builds on, as in the field. Who
// sets the retention sees to it that a full outlives its incrementals; nbpem never
// builds a new incremental on what has expired.
func (s *Server) cleanup(ctx context.Context) (c Cleaned, err error) {
	now := rt.Now(ctx)
	var due []string
	err = s.db.View(ctx, func(tx store.Tx) error {
		due = nil
		return image.Due(tx, now, func(h image.Header) (bool, error) {
			due = append(due, h.ID)
			return true, nil
		})
	})
	if err != nil {
		return c, failed(err)
	}
	return c, s.expireAll(ctx, due, &c)
}

func (s *Server) expire(ctx context.Context, from pbx.Peer, q ExpireImages) (c Cleaned, err error) {
	for _, id := range q.Images {
		if _, err := s.header(ctx, from, id); err != nil {
			return c, err
		}
	}
	return c, s.expireAll(ctx, slices.Clone(q.Images), &c)
}

// expireAll takes images out of the catalog and removes what is left of them.
func (s *Server) expireAll(ctx context.Context, ids []string, c *Cleaned) error {
	slices.Sort(ids)
	for batch := range slices.Chunk(slices.Compact(ids), cleanupBatch) {
		if err := s.withdraw(ctx, batch, c); err != nil {
			return err
		}
	}
	return s.clear(ctx, c)
}

// withdraw takes images out of the catalog. Nothing of them is removed before
// that is durable: a crash leaves an image that is whole, or one that is known
// to be on its way out.
func (s *Server) withdraw(ctx context.Context, ids []string, c *Cleaned) error {
	var mine []string
	s.lock.Lock()
	for _, id := range ids {
		switch {
		case len(s.holders[id]) > 0:
			c.Held = append(c.Held, id)
		case !s.leaving[id]:
			s.leaving[id] = true
			mine = append(mine, id)
		}
	}
	s.lock.Unlock()
	defer func() {
		s.lock.Lock()
		for _, id := range mine {
			delete(s.leaving, id)
		}
		s.lock.Unlock()
	}()
	err := s.db.Update(ctx, func(tx store.Tx) error {
		for _, id := range mine {
			h, ok, err := image.Table.Get(tx, id)
			if err != nil {
				return err
			}
			if !ok {
				continue
			}
			if err := expiring.Put(tx, id, h); err != nil {
				return err
			}
			if err := image.Table.Delete(tx, id); err != nil {
				return err
			}
			if err := nbemm.LoseImage(tx, &h); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return failed(err)
	}
	c.Expired = append(c.Expired, mine...)
	return nil
}

// clear removes what is left of images that are no longer in the catalog. Every
// part of it may be done again, so it needs no memory of how far it came.
func (s *Server) clear(ctx context.Context, c *Cleaned) error {
	var left []image.Header
	err := s.db.View(ctx, func(tx store.Tx) error {
		left = nil
		return expiring.All(tx, func(h image.Header) (bool, error) {
			left = append(left, h)
			return true, nil
		})
	})
	if err != nil {
		return failed(err)
	}
	for batch := range slices.Chunk(left, cleanupBatch) {
		if err := s.clearBatch(ctx, batch, c); err != nil {
			return failed(err)
		}
	}
	s.lock.Lock()
	master := s.master
	s.lock.Unlock()
	c.Freed, err = nbemm.DeassignEmpty.Call(ctx, pbx.At(master, nbemm.Service), struct{}{})
	return err
}

// clearBatch removes what is left of some images, and then notes of all of them at once
// that nothing is.
func (s *Server) clearBatch(ctx context.Context, left []image.Header, c *Cleaned) error {
	var gone []string
	for i := range left {
		h := &left[i]
		if err := s.discardFragments(ctx, h); err != nil {
			c.Pending = append(c.Pending, h.ID)
			continue
		}
		if err := s.removeFiles(ctx, h); err != nil {
			return err
		}
		gone = append(gone, h.ID)
	}
	return s.db.Update(ctx, func(tx store.Tx) error {
		for _, id := range gone {
			if err := expiring.Delete(tx, id); err != nil {
				return err
			}
		}
		return nil
	})
}

// discardFragments has the media servers remove an image's fragments from their
// disks. On tape nothing is removed: the cartridge is free when its last image is.
func (s *Server) discardFragments(ctx context.Context, h *image.Header) error {
	type place struct{ server, path string }
	var done []place
	for _, f := range h.Fragments {
		at := place{f.MediaServer, f.Path}
		if f.OnTape() || slices.Contains(done, at) {
			continue
		}
		q := DiscardImage{BackupID: h.ID, Path: f.Path}
		for _, g := range h.Fragments {
			if g.MediaServer == f.MediaServer && g.Path == f.Path {
				data, trailer := media.DiskName(h.ID, g.Copy, g.Number)
				q.Files = append(q.Files, data, trailer)
			}
		}
		if _, err := Discard.Call(ctx, pbx.At(f.MediaServer, "bptm"), q); err != nil {
			return err
		}
		done = append(done, at)
	}
	return nil
}

// removeFiles removes what the image database has of an image.
func (s *Server) removeFiles(ctx context.Context, h *image.Header) error {
	if err := s.closeReader(ctx, h.ID); err != nil {
		return err
	}
	name := h.FileName()
	errs := []error{s.remove(ctx, name+".f"), s.remove(ctx, name)}
	for _, f := range h.Fragments {
		errs = append(errs, s.remove(ctx, blocksName(h, f.Copy, f.Number)))
	}
	return errors.Join(append(errs, s.removed(ctx, parent(name)))...)
}

// hold keeps an image from being expired while the restore job of the context
// needs it. The restore lets go at its end; after a restart of the master no
// restore runs.
func (s *Server) hold(ctx context.Context, id string) error {
	j := trace.JobOf(ctx)
	if !j.Restore || j.ID == 0 {
		return nil // somebody who only looks
	}
	s.lock.Lock()
	defer s.lock.Unlock()
	if s.leaving[id] {
		return status.Errorf(status.NoImage, "image %s is being expired", id)
	}
	if !slices.Contains(s.holders[id], j.ID) {
		s.holders[id] = append(s.holders[id], j.ID)
		s.holds[j.ID] = append(s.holds[j.ID], id)
	}
	return nil
}

func (s *Server) letGo(ctx context.Context, _ pbx.Peer, _ struct{}) (struct{}, error) {
	id := trace.JobOf(ctx).ID
	s.lock.Lock()
	defer s.lock.Unlock()
	for _, im := range s.holds[id] {
		s.holders[im] = slices.DeleteFunc(s.holders[im], func(j int64) bool { return j == id })
		if len(s.holders[im]) == 0 {
			delete(s.holders, im)
		}
	}
	delete(s.holds, id)
	delete(s.selected, id)
	return struct{}{}, nil
}
