package catalog_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"capstan/core/catalog"
	"capstan/core/catalog/catalogtest"
	"capstan/core/store/storetest"
	"capstan/hw/dir"
)

// benchEntries are how many entries these benchmarks have; internal/bench has more.
const benchEntries = 300_000

func benchDir(b *testing.B) *dir.Dir {
	d, err := dir.Open(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	return d
}

func generate(b *testing.B, order catalogtest.Order) (es []catalog.Entry) {
	err := catalogtest.Generate(benchEntries, 1, order, func(part []catalog.Entry) error {
		es = append(es, part...)
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	return es
}

func write(ctx context.Context, b *testing.B, d *dir.Dir, es []catalog.Entry) {
	w, err := catalog.Create(ctx, d, "x.f", catalog.Options{})
	if err != nil {
		b.Fatal(err)
	}
	for len(es) > 0 {
		n := min(1000, len(es))
		if err := w.Add(ctx, es[:n]); err != nil {
			b.Fatal(err)
		}
		es = es[n:]
	}
	if _, err := w.Seal(ctx); err != nil {
		b.Fatal(err)
	}
}

func BenchmarkWrite(b *testing.B) {
	ctx := storetest.Solo()
	for name, order := range map[string]catalogtest.Order{"sorted": catalogtest.Sorted, "walk": catalogtest.Walk, "shuffled": catalogtest.Shuffled} {
		b.Run(name, func(b *testing.B) {
			es, d := generate(b, order), benchDir(b)
			b.ResetTimer()
			for range b.N {
				write(ctx, b, d, es)
			}
			b.ReportMetric(float64(b.N*len(es))/b.Elapsed().Seconds(), "entries/s")
			f, err := d.Open(ctx, "x.f")
			if err != nil {
				b.Fatal(err)
			}
			size, err := f.Size()
			if err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(float64(size)/float64(len(es)), "B/entry")
		})
	}
}

func BenchmarkRead(b *testing.B) {
	ctx := storetest.Solo()
	es, d := generate(b, catalogtest.Sorted), benchDir(b)
	write(ctx, b, d, es)
	for _, cache := range []int64{1 << 20, 64 << 20} {
		r, err := catalog.Open(ctx, d, "x.f", catalog.NewCache(ctx, cache))
		if err != nil {
			b.Fatal(err)
		}
		defer r.Close()
		rnd := rand.New(rand.NewPCG(5, 6))
		b.Run(fmt.Sprintf("lookup/cache=%dM", cache>>20), func(b *testing.B) {
			for range b.N {
				if _, ok, err := r.Lookup(ctx, es[rnd.IntN(len(es))].Path); !ok || err != nil {
					b.Fatal(ok, err)
				}
			}
		})
		b.Run(fmt.Sprintf("first/cache=%dM", cache>>20), func(b *testing.B) {
			for range b.N {
				path := es[1+rnd.IntN(len(es)-1)].Path
				dir := path[:max(strings.LastIndexByte(path, '/'), 1)]
				if l, err := r.List(ctx, dir, "", 1); len(l) != 1 || err != nil {
					b.Fatal(l, err)
				}
			}
		})
		b.Run(fmt.Sprintf("walk/cache=%dM", cache>>20), func(b *testing.B) {
			for range b.N {
				if err := r.Walk(ctx, "/", func(catalog.Entry) (bool, error) { return true, nil }); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.N*len(es))/b.Elapsed().Seconds(), "entries/s")
		})
	}
	for _, text := range []string{"frame_000123.tif", "journal", "xq"} {
		r, err := catalog.Open(ctx, d, "x.f", catalog.NewCache(ctx, 64<<20))
		if err != nil {
			b.Fatal(err)
		}
		defer r.Close()
		p, err := catalog.NewPattern(text, false)
		if err != nil {
			b.Fatal(err)
		}
		b.Run("find/"+text, func(b *testing.B) {
			n := 0
			for range b.N {
				if _, _, err := r.Find(ctx, p, "", 0, func(catalog.Entry) (bool, error) { n++; return true, nil }); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(n)/float64(b.N), "found")
		})
	}
}
