package catalog

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"capstan/core/store/storetest"
)

// drawPaths draws some paths that share much, some of them more than once.
func drawPaths(r *rapid.T, label string) []string {
	part := rapid.SampledFrom([]string{"a", "ab", "abcdefg", "abcdefgh", "abcdefghi", "a!", "a\x01", "\x01", "a\xff", "\xff", "b"})
	path := rapid.Custom(func(r *rapid.T) (path string) {
		for range rapid.IntRange(1, 4).Draw(r, "depth") {
			path += "/" + part.Draw(r, "part")
		}
		return path
	})
	return rapid.SliceOfN(path, 0, 60).Draw(r, label)
}

func keyOf(path string) []byte {
	dir, name := split(path)
	return appendKey(nil, dir, name)
}

// Keys sort as paths do, and give the path back.
func TestKeys(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		all := append(drawPaths(r, "paths"), "/", "/a/")
		for _, a := range all {
			if back, ok := keyPath(nil, keyOf(a)); string(back) != a || !ok {
				r.Errorf("%q came back as %q, %v", a, back, ok)
			}
			for _, b := range all {
				if got, want := bytes.Compare(keyOf(a), keyOf(b)), comparePaths(a, b); sign(got) != sign(want) {
					r.Errorf("keys of %q and %q: %d, paths %d", a, b, got, want)
				}
			}
		}
	})
}

func sign(n int) int { return min(max(n, -1), 1) }

// buffer holds entries of paths, the count of each telling where it stood.
func buffer(paths []string, from int) *rowBuffer {
	b := &rowBuffer{}
	for i, p := range paths {
		e := entry(p, 0)
		e.Count = int64(from + i)
		b.add(&e)
	}
	b.sort()
	return b
}

// A sort gives the order of paths, and of one path that of addition.
func TestSort(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		paths := drawPaths(r, "paths")
		order := make([]int, len(paths))
		for i := range order {
			order[i] = i
		}
		slices.SortStableFunc(order, func(x, y int) int { return comparePaths(paths[x], paths[y]) })
		b := buffer(paths, 0)
		for i, want := range order {
			key, row := b.get(i)
			c := cursor{b: row}
			e := c.attributes()
			if !bytes.Equal(key, keyOf(paths[want])) || e.Count != int64(want) || c.err != nil || len(c.b) != 0 {
				r.Fatalf("%d: %q of %d, want %d, %v", i, key, e.Count, want, c.err)
			}
		}
	})
}

// A merge of sources in memory and in runs gives each path once, in order, with the
// last row of it.
func TestMerge(t *testing.T) {
	ctx := storetest.Solo()
	rapid.Check(t, func(r *rapid.T) {
		var sources []source
		last := map[string]int64{}
		n := 0
		for i := range rapid.IntRange(0, 7).Draw(r, "sources") {
			paths := drawPaths(r, "paths")
			b := buffer(paths, n)
			for j, p := range paths {
				last[p] = int64(n + j)
			}
			n += len(paths)
			if i%2 == 0 {
				sources = append(sources, &rowSource{mem: b})
				continue
			}
			run := &run{name: "x", file: &testFile{d: newTestDir()}}
			for j := range b.rows {
				if _, err := run.add(b.get(j)); err != nil {
					r.Fatal(err)
				}
			}
			if err := run.finish(); err != nil {
				r.Fatal(err)
			}
			sources = append(sources, &runSource{run: run})
		}
		before := ""
		err := merge(ctx, sources, func(key, row []byte) error {
			path, ok := keyPath(nil, key)
			c := cursor{b: row}
			e := c.attributes()
			if want, there := last[string(path)]; !ok || !there || e.Count != want {
				return fmt.Errorf("%q of %d, want %d, %v", path, e.Count, want, there)
			}
			delete(last, string(path))
			if before != "" && comparePaths(before, string(path)) >= 0 {
				return fmt.Errorf("%q after %q", path, before)
			}
			before = string(path)
			return nil
		})
		if err != nil || len(last) > 0 {
			r.Errorf("%v, %v did not come", err, last)
		}
	})
}

// A run that is damaged, or shorter than it was, is refused.
func TestRunDamage(t *testing.T) {
	ctx := storetest.Solo()
	f := &testFile{d: newTestDir()}
	run := &run{name: "x", file: f}
	b := buffer([]string{"/a", "/b", "/c/d"}, 0)
	for i := range b.rows {
		if _, err := run.add(b.get(i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := run.finish(); err != nil {
		t.Fatal(err)
	}
	whole := f.b
	read := func() (n int, err error) {
		err = merge(ctx, []source{&runSource{run: run}}, func(_, _ []byte) error { n++; return nil })
		return n, err
	}
	if n, err := read(); n != 3 || err != nil {
		t.Fatal(n, err)
	}
	for i := range whole {
		f.b = slices.Clone(whole)
		f.b[i] ^= 1
		if n, err := read(); n != 0 || err == nil {
			t.Errorf("byte %d changed: %d entries, %v", i, n, err)
		}
		f.b = whole[:i]
		if n, err := read(); n != 0 || err == nil {
			t.Errorf("cut at %d: %d entries, %v", i, n, err)
		}
	}
}
