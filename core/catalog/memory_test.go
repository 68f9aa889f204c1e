package catalog_test

import (
	"runtime"
	"testing"

	"capstan/core/catalog"
	"capstan/core/catalog/catalogtest"
	"capstan/core/store/storetest"
	"capstan/hw/dir"
)

// inUse is what the heap holds after a collection.
func inUse() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// What a file takes of memory, to write and to read, does not grow with it: here it
// is a quarter of what its entries would take.
func TestMemory(t *testing.T) {
	const (
		entries = 300_000
		most    = 28 << 20
	)
	ctx := storetest.Solo()
	d, err := dir.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	before := inUse()
	check := func(what string, n int) {
		t.Helper()
		if got := inUse() - before; got > most {
			t.Errorf("%s, after %d entries: %d bytes of memory, want at most %d", what, n, got, most)
		}
	}
	w, err := catalog.Create(ctx, d, "x.f", catalog.Options{Memory: 4 << 20})
	if err != nil {
		t.Fatal(err)
	}
	n, parts := 0, 0
	err = catalogtest.Generate(entries, 3, catalogtest.Walk, func(es []catalog.Entry) error {
		n += len(es)
		err := w.Add(ctx, es)
		if parts++; parts%8 == 0 {
			check("writing", n)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	sum, err := w.Seal(ctx)
	if err != nil || sum.Entries != int64(n) {
		t.Fatalf("%+v of %d: %v", sum, n, err)
	}
	check("sealed", n)
	r, err := catalog.Open(ctx, d, "x.f", catalog.NewCache(ctx, 2<<20))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	walked := 0
	err = r.Walk(ctx, "/", func(catalog.Entry) (bool, error) {
		if walked++; walked%50_000 == 0 {
			check("walking", walked)
		}
		return true, nil
	})
	if err != nil || walked != n {
		t.Errorf("%d of %d were walked: %v", walked, n, err)
	}
}
