package catalog

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"capstan/core/rt"
	"capstan/core/store/storetest"
)

// realistic makes n entries of a home-like tree in the order of a walk.
func realistic(n int) []Entry {
	rnd := rand.New(rand.NewPCG(1, 2))
	in := make([]Entry, 0, n)
	at := int64(0)
	for i := range n {
		e := entry(fmt.Sprintf("/home/user%02d/project%03d/src/module%04d/file_%05d.go", i/100000, i/5000, i/50, i), at)
		e.Size = rnd.Int64N(1 << uint(8+rnd.IntN(12)))
		e.DataLen, e.Ino, e.Dev = e.Size, uint64(1_000_000+i*3+rnd.IntN(3)), 2049
		e.MTime = rt.Time(1_700_000_000_000_000_000 + rnd.Int64N(1e16))
		e.CTime = e.MTime
		at = e.End()
		in = append(in, e)
	}
	return in
}

func BenchmarkWrite(b *testing.B) {
	ctx := storetest.Solo()
	for _, shuffled := range []bool{false, true} {
		b.Run(fmt.Sprintf("shuffled=%v", shuffled), func(b *testing.B) {
			in := realistic(1_000_000)
			if shuffled {
				rand.New(rand.NewPCG(3, 4)).Shuffle(len(in), func(i, j int) { in[i], in[j] = in[j], in[i] })
			}
			for range b.N {
				d := newTestDir()
				seal(ctx, b, d, Options{}, in)
				b.ReportMetric(float64(len(d.files["img/x.f"].b))/float64(len(in)), "B/entry")
			}
			b.ReportMetric(float64(b.N*len(in))/b.Elapsed().Seconds(), "entries/s")
		})
	}
}

func BenchmarkRead(b *testing.B) {
	ctx := storetest.Solo()
	in := realistic(1_000_000)
	d := newTestDir()
	seal(ctx, b, d, Options{}, in)
	r := open(ctx, b, d, NewCache(ctx, 64<<20))
	rnd := rand.New(rand.NewPCG(5, 6))
	b.Run("Lookup", func(b *testing.B) {
		for range b.N {
			if _, ok, err := r.Lookup(ctx, in[rnd.IntN(len(in))].Path); !ok || err != nil {
				b.Fatal(ok, err)
			}
		}
	})
	b.Run("FirstOfDirectory", func(b *testing.B) {
		for range b.N {
			dir, _ := split(in[rnd.IntN(len(in))].Path)
			if l, err := r.List(ctx, dir, "", 1); len(l) != 1 || err != nil {
				b.Fatal(l, err)
			}
		}
	})
}
