package nbemm

import (
	"context"

	"capstan/core/image"
	"capstan/core/pbx"
	"capstan/core/rt"
	"capstan/core/status"
	"capstan/core/store"
)

// contents is what the image catalog says of a cartridge.
type contents struct {
	images  int
	bytes   int64
	expires rt.Time // of the image that is kept longest; 0 is never
	last    int64   // block at which the last of their fragments begins
}

// deassignEmpty frees the cartridges that the catalog knows no image on any more:
// they are written from their beginning, by whoever needs one. The catalog and
// the cartridges are read and changed in one transaction, and a cartridge that a
// job has is left for the next time: so an image is never counted out that a job
// is just adding. What is counted is what stands in the catalog, so that doing
// it again, or after a crash half way, is right too; cartridges on which nothing has
// changed since they were counted are passed over.
func (s *Server) deassignEmpty(ctx context.Context, _ pbx.Peer, _ struct{}) (freed []string, err error) {
	s.lock.Lock(ctx)
	defer s.lock.Unlock(ctx)
	err = s.db.Update(ctx, func(tx store.Tx) error {
		freed = nil
		var changed []Media
		if err := media.All(tx, func(m Media) (bool, error) {
			if _, taken := s.media[m.ID]; m.Images > 0 && !m.Counted && !taken {
				changed = append(changed, m)
			}
			return true, nil
		}); err != nil {
			return err
		}
		for _, m := range changed {
			c, err := count(tx, m.ID)
			if err != nil {
				return err
			}
			switch {
			case c.images == 0 && m.Frozen:
				m.Images, m.Bytes = 0, 0 // it keeps all else, and is not written
			case c.images == 0:
				m = free(m)
				freed = append(freed, m.ID)
			default:
				m.Images, m.Bytes, m.Expires, m.Counted = c.images, c.bytes, c.expires, true
			}
			if err := media.Put(tx, m.ID, m); err != nil {
				return err
			}
		}
		return nil
	})
	return freed, err
}

// free is a cartridge without what was known of its contents, returned to the
// scratch pool if it came from there.
func free(m Media) Media {
	f := Media{
		ID: m.ID, Barcode: m.Barcode, Library: m.Library, Element: m.Element, Density: m.Density,
		Pool: m.Pool, Mounts: m.Mounts, LastUsed: m.LastUsed,
		UUID: m.UUID, // it is on the cartridge still, and tells that what is there is ours and may go
	}
	if m.FromScratch {
		f.Pool = Scratch
	}
	return f
}

// LoseImage notes, in the transaction in which an image leaves the catalog, that its
// cartridges have to be counted anew.
func LoseImage(tx store.Tx, h *image.Header) error {
	last := ""
	for i := range h.Fragments {
		f := &h.Fragments[i]
		if !f.OnTape() || f.Media == last {
			continue
		}
		last = f.Media
		m, ok, err := media.Get(tx, f.Media)
		if err != nil {
			return err
		}
		if ok && m.Counted {
			m.Counted = false
			if err := media.Put(tx, m.ID, m); err != nil {
				return err
			}
		}
	}
	return nil
}

// count counts the images on a cartridge.
func count(tx store.Tx, id string) (c contents, err error) {
	return c, image.OnMedia(tx, id, func(h image.Header) (bool, error) {
		on := false
		for i := range h.Fragments {
			if f := &h.Fragments[i]; f.Media == id {
				on = true
				c.bytes += f.Length
				c.last = max(c.last, f.Block)
			}
		}
		if !on {
			return true, nil
		}
		if c.images == 0 || h.Expires == 0 || c.expires != 0 && h.Expires > c.expires {
			c.expires = h.Expires
		}
		c.images++
		return true, nil
	})
}

func (s *Server) changeMedia(ctx context.Context, _ pbx.Peer, q MediaChange) (struct{}, error) {
	s.lock.Lock(ctx)
	defer s.lock.Unlock(ctx)
	return struct{}{}, s.db.Update(ctx, func(tx store.Tx) error {
		m, ok, err := media.Get(tx, q.ID)
		if err != nil {
			return err
		}
		if !ok {
			return status.Errorf(status.MediaNotDefined, "cartridge %s is not known", q.ID)
		}
		if q.Pool != nil && *q.Pool != m.Pool {
			if _, taken := s.media[m.ID]; taken || m.Images > 0 {
				return status.Errorf(status.MediaInUse, "cartridge %s has images of pool %s, or a job: expire its images first", m.ID, m.Pool)
			}
			m.Pool, m.FromScratch = *q.Pool, false
		}
		if q.Frozen != nil {
			unknown := m.ByImport && m.Images == 0
			m.Frozen, m.ByImport = *q.Frozen, false
			if !m.Frozen && m.Images == 0 {
				m = free(m) // its images expired while it was frozen
				if unknown {
					m.UUID = "" // they were never in the catalog: it takes more than this word to overwrite them
				}
			}
		}
		if q.Overwrite != nil {
			if m.Images > 0 {
				return status.Errorf(status.MediaInUse, "cartridge %s has images: expire them first", m.ID)
			}
			m.Overwrite = *q.Overwrite
		}
		if q.Suspended != nil {
			m.Suspended = *q.Suspended
		}
		return media.Put(tx, m.ID, m)
	})
}
