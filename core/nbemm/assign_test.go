package nbemm

import (
	"context"
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"capstan/core/image"
	"capstan/core/pbx"
	"capstan/core/rt"
	"capstan/core/store"
	"capstan/sim/simtest"
	simstore "capstan/sim/store"
)

// Whatever was written and has expired, also while jobs had the cartridges: what is known
// of those that no job has is what looking at the whole catalog says.
func TestCountIsTheCatalogs(t *testing.T) {
	simtest.Run(t, func(ctx context.Context) {
		rapid.Check(t, func(r *rapid.T) { checkCount(ctx, r) })
	})
}

func checkCount(ctx context.Context, r *rapid.T) {
	db := simstore.NewDB(append(Schemas(), image.Table.Schema())...)
	s := &Server{db: db, lock: rt.NewMutex(ctx), media: map[string]holder{}}
	update := func(fn func(tx store.Tx) error) {
		if err := db.Update(ctx, fn); err != nil {
			r.Fatal(err)
		}
	}
	ids := []string{"A", "B", "C"}
	update(func(tx store.Tx) error {
		for _, id := range ids {
			if err := media.Put(tx, id, Media{ID: id, Pool: "Night"}); err != nil {
				return err
			}
		}
		return nil
	})
	var kept []image.Header
	for n := range rapid.IntRange(1, 30).Draw(r, "steps") {
		switch id := rapid.SampledFrom(ids).Draw(r, "cartridge"); rapid.IntRange(0, 4).Draw(r, "step") {
		case 0, 1:
			h := drawImage(r, n, ids)
			kept = append(kept, h)
			update(func(tx store.Tx) error { return write(tx, &h) })
		case 2:
			if len(kept) == 0 {
				continue
			}
			i := rapid.IntRange(0, len(kept)-1).Draw(r, "expires")
			h := kept[i]
			kept = append(kept[:i], kept[i+1:]...)
			update(func(tx store.Tx) error {
				if err := image.Table.Delete(tx, h.ID); err != nil {
					return err
				}
				return LoseImage(tx, &h)
			})
		case 3:
			if _, taken := s.media[id]; taken {
				delete(s.media, id)
			} else {
				s.media[id] = holder{job: 1}
			}
		case 4:
			if _, err := s.deassignEmpty(ctx, pbx.Peer{}, struct{}{}); err != nil {
				r.Fatal(err)
			}
			if err := db.View(ctx, func(tx store.Tx) error { return s.compare(tx, ids, kept) }); err != nil {
				r.Fatal(err)
			}
		}
	}
}

func drawImage(r *rapid.T, n int, ids []string) image.Header {
	h := image.Header{ID: fmt.Sprint("c_", n), Client: "c", Time: int64(n), Complete: true, Expires: rt.Time(rapid.IntRange(0, 3).Draw(r, "expiry"))}
	for _, id := range rapid.SliceOfN(rapid.SampledFrom(append(ids, "")), 1, 4).Draw(r, "fragments") {
		h.Fragments = append(h.Fragments, image.Fragment{Media: id, Length: int64(n + 1)})
	}
	return h
}

// write does what a job does that writes an image.
func write(tx store.Tx, h *image.Header) error {
	for _, f := range h.Fragments {
		m, ok, err := media.Get(tx, f.Media)
		if err != nil {
			return err
		}
		if m.Images++; ok { // too many, if the image has several fragments on it: counting corrects it
			m.Counted = false
			if err := media.Put(tx, m.ID, m); err != nil {
				return err
			}
		}
	}
	return image.Table.Put(tx, h.ID, *h)
}

// compare compares the cartridges that no job has with a list of images.
func (s *Server) compare(tx store.Tx, ids []string, kept []image.Header) error {
	for _, id := range ids {
		if _, taken := s.media[id]; taken {
			continue
		}
		var want Media
		for _, h := range kept {
			on := false
			for _, f := range h.Fragments {
				if f.Media == id {
					on = true
					want.Bytes += f.Length
				}
			}
			if !on {
				continue
			}
			if want.Images == 0 || h.Expires == 0 || want.Expires != 0 && h.Expires > want.Expires {
				want.Expires = h.Expires
			}
			want.Images++
		}
		m, _, err := media.Get(tx, id)
		if err != nil {
			return err
		}
		if m.Images != want.Images || m.Bytes != want.Bytes || m.Expires != want.Expires {
			return fmt.Errorf("cartridge %s has %d images, %d bytes, until %d; the catalog says %d, %d, %d",
				id, m.Images, m.Bytes, m.Expires, want.Images, want.Bytes, want.Expires)
		}
	}
	return nil
}
