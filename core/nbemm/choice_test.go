package nbemm

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"capstan/core/rt"
	"capstan/core/status"
	"capstan/core/store"
	"capstan/sim/simtest"
	simstore "capstan/sim/store"
)

// rank is the rule by which a cartridge is chosen for writing, lowest first; 0 is not at all.
func rank(m *Media, mounted bool, pool string, q *Request) int {
	switch {
	case m.Full, m.Frozen, m.Suspended, m.Pool == CleaningPool, m.Pool != pool && m.Pool != Scratch, slices.Contains(q.Avoid, m.ID):
		return 0
	case m.Images > 0 && (m.Pool != pool || m.Retention != q.Retention):
		return 0
	case m.Images > 0 && q.Held != "":
		return 5
	case m.Images > 0 && mounted:
		return 1
	case m.Images > 0:
		return 2
	case m.Pool == pool:
		return 3
	}
	return 4
}

// The cartridge that is found by the index is the one that looking at all would choose.
func TestChoiceIsTheRule(t *testing.T) {
	simtest.Run(t, func(ctx context.Context) {
		rapid.Check(t, func(r *rapid.T) { checkChoice(ctx, r) })
	})
}

func checkChoice(ctx context.Context, r *rapid.T) {
	const pool = "Night"
	s := &Server{media: map[string]holder{}, filled: map[string]bool{}}
	u, q := StorageUnit{Name: "tape", Kind: Tape, Library: "lib", MediaServer: "here"}, Request{Pool: pool, Retention: 7}
	if rapid.Bool().Draw(r, "next volume") {
		q.Held = "d"
	}
	oneIn := func(n int, what string) bool { return rapid.IntRange(1, n).Draw(r, what) == 1 }
	var all []Media
	var in []Drive
	for i := range rapid.IntRange(0, 30).Draw(r, "cartridges") {
		m := Media{
			ID: fmt.Sprintf("CAP%03d", i), Library: "lib", Pool: rapid.SampledFrom([]string{pool, pool, pool, pool, Scratch, "Day", CleaningPool}).Draw(r, "pool"),
			Images: rapid.IntRange(0, 1).Draw(r, "images"), LastUsed: rt.Time(rapid.IntRange(0, 300).Draw(r, "last used")),
			Retention: q.Retention, Full: oneIn(5, "full"), Frozen: oneIn(9, "frozen"), Suspended: oneIn(9, "suspended"),
		}
		if oneIn(4, "kept for another time") {
			m.Retention++
		}
		if oneIn(3, "mounted") {
			in = append(in, Drive{Media: m.ID, Up: !oneIn(3, "down"), MediaServer: rapid.SampledFrom([]string{"here", "there"}).Draw(r, "server")})
		}
		if oneIn(3, "taken") {
			s.media[m.ID] = holder{job: 1}
		}
		if oneIn(9, "avoided") {
			q.Avoid = append(q.Avoid, m.ID)
		}
		all = append(all, m)
	}
	best, waits := Media{}, false
	for i := range all {
		m := &all[i]
		d := around(in, m.ID)
		mounted := d != nil && d.MediaServer == u.MediaServer
		if rank(m, mounted, pool, &q) == 0 {
			continue
		}
		if _, taken := s.media[m.ID]; taken || d != nil && !d.Up {
			waits = true
			continue
		}
		order := func(m *Media) int {
			d := around(in, m.ID)
			if d != nil && d.MediaServer != u.MediaServer {
				return rank(m, false, pool, &q) + 10
			}
			return rank(m, d != nil, pool, &q)
		}
		if best.ID == "" || cmp.Or(cmp.Compare(order(m), order(&best)), cmp.Compare(m.LastUsed, best.LastUsed), cmp.Compare(m.ID, best.ID)) < 0 {
			best = *m
		}
	}
	db := simstore.NewDB(Schemas()...)
	if err := db.Update(ctx, func(tx store.Tx) error {
		for _, m := range all {
			if err := media.Put(tx, m.ID, m); err != nil {
				return err
			}
		}
		got, err := s.mediaForWrite(ctx, tx, u, q, in)
		code := status.OK
		switch {
		case best.ID == "" && waits:
			code = status.MediaInUse
		case best.ID == "":
			code = status.NoMedia
		}
		if got.ID != best.ID || status.Of(err, status.OK) != code {
			r.Fatalf("chose %q (%v), want %q, status %d", got.ID, err, best.ID, code)
		}
		return nil
	}); err != nil {
		r.Fatal(err)
	}
}
