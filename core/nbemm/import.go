package nbemm

import (
	"cmp"
	"context"

	"capstan/core/pbx"
	"capstan/core/rt"
	"capstan/core/status"
	"capstan/core/store"
	"capstan/core/trace"
)

// Imported says how far the images on a cartridge were read back into the catalog.
type Imported struct {
	Media string `json:"media"`
	UUID  string `json:"uuid"` // of its label
	Pool  string `json:"pool"` // likewise
	Ended bool   `json:"ended"`
	// Whole, when it has ended: every image on it is in the catalog.
	Whole bool `json:"whole"`
}

// markImported has a cartridge written by another master, or before this one lost
// its database, become this master's. From before its first image is imported until
// all of them are it is frozen: a crash, or an image that cannot be imported, leaves
// a cartridge that nobody writes to and that is not freed. What is counted is what
// stands in the catalog, and nothing is appended behind what this master has not
// written itself.
func (s *Server) markImported(ctx context.Context, _ pbx.Peer, qs []Imported) (struct{}, error) {
	s.lock.Lock(ctx)
	defer s.lock.Unlock(ctx)
	j := trace.JobOf(ctx)
	for _, q := range qs {
		if by := s.media[q.Media]; !q.Ended && by != (holder{j.ID, j.Try}) {
			return struct{}{}, status.Errorf(status.NotAllowed, "job %d does not hold cartridge %s", j.ID, q.Media)
		}
	}
	return struct{}{}, s.db.Update(ctx, func(tx store.Tx) error {
		for _, q := range qs {
			m, ok, err := media.Get(tx, q.Media)
			if err != nil {
				return err
			}
			if !ok {
				return status.Errorf(status.MediaNotDefined, "cartridge %s is not known", q.Media)
			}
			if q.Ended {
				c, err := count(tx, m.ID)
				if err != nil {
					return err
				}
				afterImport(&m, &q, &c)
			} else if err := beforeImport(&m, &q, rt.Now(ctx)); err != nil {
				return err
			}
			if err := media.Put(tx, m.ID, m); err != nil {
				return err
			}
		}
		return nil
	})
}

func beforeImport(m *Media, q *Imported, now rt.Time) error {
	if m.UUID != q.UUID && m.Images > 0 {
		return status.Errorf(status.ImportImpossible, "the catalog has %d images of cartridge %s with label %s, its label is %s now: expire those first", m.Images, m.ID, m.UUID, q.UUID)
	}
	if m.Images == 0 {
		m.UUID, m.Pool, m.FromScratch, m.Overwrite = q.UUID, cmp.Or(q.Pool, DefaultPool), false, false
		m.Assigned, m.Full, m.NextFile, m.NextBlock, m.Last = now, true, 0, 0, ""
	}
	m.Counted = false
	if !m.Frozen {
		m.Frozen, m.ByImport = true, true
	}
	return nil
}

// afterImport counts what is on a cartridge now: c is what the catalog says of it.
func afterImport(m *Media, q *Imported, c *contents) {
	if m.UUID != q.UUID {
		return // nothing was imported from it
	}
	m.Images, m.Bytes = c.images, c.bytes
	if c.images > 0 {
		m.Expires = c.expires
		m.Full = m.Full || c.last >= m.NextBlock
	}
	if q.Whole && m.Images == 0 {
		m.Full = false // it has a label and nothing else
	}
	if q.Whole && m.ByImport {
		m.Frozen, m.ByImport = false, false
	}
}
