package catalog

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"capstan/core/store/storetest"
)

// A toyTree is a naive file tree: path to version; directories end in "/".
type toyTree map[string]int64

// step changes a tree at random: files and whole directories come, change, go, and
// are replaced by others of the same name.
func (f toyTree) step(t *rapid.T, version int64) (replaced map[string]bool) {
	replaced = map[string]bool{}
	names := []string{"a", "b", "c!", "c"}
	for range rapid.IntRange(0, 6).Draw(t, "changes") {
		depth := rapid.IntRange(1, 4).Draw(t, "depth")
		var parts []string
		for range depth {
			parts = append(parts, rapid.SampledFrom(names).Draw(t, "name"))
		}
		path := "/" + strings.Join(parts, "/")
		had := f[path+"/"] != 0
		kind := rapid.SampledFrom([]string{"file", "file", "dir", "gone", "new dir"}).Draw(t, "kind")
		if kind != "dir" || !had {
			for p := range f {
				if p == path || strings.HasPrefix(p, path+"/") {
					delete(f, p)
				}
			}
		}
		switch kind {
		case "file":
			f[path] = version
		case "dir", "new dir":
			f[path+"/"] = version
			if had && kind == "new dir" {
				replaced[path] = true
			}
		}
		if kind == "gone" {
			continue
		}
		for i := 1; i < depth; i++ {
			parent := "/" + strings.Join(parts[:i], "/")
			delete(f, parent) // a file in the way
			f[parent+"/"] = version
		}
	}
	// What was replaced and is a directory no more, or was replaced within, is told otherwise.
	maps.DeleteFunc(replaced, func(p string, _ bool) bool { return f[p+"/"] == 0 })
	return replaced
}

// backup are the entries of an incremental of now after before.
func backup(before, now toyTree, replaced map[string]bool, version int64) (es []Entry) {
	under := func(p string) bool { // in a directory that was replaced
		for r := range replaced {
			if strings.HasPrefix(p, r+"/") && p != r+"/" {
				return true
			}
		}
		return false
	}
	for _, p := range slices.Sorted(maps.Keys(now)) {
		if strings.HasSuffix(p, "/") || now[p] == version || under(p) {
			e := entry(p, version*1_000_000+int64(len(es))*1024)
			e.Size = now[p]
			es = append(es, e)
		}
	}
	for p := range replaced {
		es = append(es, Entry{Path: p + "/", Type: Gone})
	}
	for p := range before {
		p = strings.TrimSuffix(p, "/")
		parent := p[:strings.LastIndexByte(p, '/')+1]
		if now[p] == 0 && now[p+"/"] == 0 && (parent == "/" || now[parent] != 0) {
			es = append(es, Entry{Path: p, Type: Gone})
		}
	}
	return es
}

func (f toyTree) below(prefix string) (want []string) {
	for p, version := range f {
		p = strings.TrimSuffix(p, "/")
		if prefix == "/" || p == prefix || strings.HasPrefix(p, prefix+"/") {
			want = append(want, fmt.Sprintf("%s %d", p, version))
		}
	}
	slices.SortFunc(want, func(a, b string) int {
		return comparePaths(a[:strings.LastIndexByte(a, ' ')], b[:strings.LastIndexByte(b, ' ')])
	})
	return want
}

// TestView compares what full and incremental images show together with the tree
// that they are of: walked whole, in pages and in part, listed, looked up.
func TestView(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		ctx := storetest.Solo()
		cache := NewCache(ctx, 1<<20)
		var readers []*Reader
		before := toyTree{}
		for version := int64(1); version <= int64(rapid.IntRange(1, 5).Draw(r, "images")); version++ {
			now := maps.Clone(before)
			replaced := now.step(r, version)
			d := newTestDir()
			seal(ctx, t, d, Options{Block: 60}, backup(before, now, replaced, version))
			rd := open(ctx, t, d, cache)
			readers = append(readers, rd)
			before = now
		}
		v := NewView(readers...)
		text := func(f Found) string { return fmt.Sprintf("%s %d", f.Path, f.Size) }
		for _, prefix := range []string{"/", "/a", "/a/b", "/c", "/c/a"} {
			want := before.below(prefix)
			for _, size := range []int{1, 3, 1000} {
				var got []string
				for after, more := "", true; more; {
					n := 0
					err := v.WalkAfter(ctx, prefix, after, func(f Found) (bool, error) {
						got, after = append(got, text(f)), f.Path
						n++
						return n < size, nil
					})
					if err != nil {
						r.Fatal(err)
					}
					more = n == size
				}
				if d := cmp.Diff(want, got); d != "" {
					r.Fatalf("walk of %s in pages of %d (-want +got):\n%s", prefix, size, d)
				}
			}
			var kids, list []string
			for _, p := range want {
				if dir, _ := split(p[:strings.LastIndexByte(p, ' ')]); dir == dirKey(prefix) {
					kids = append(kids, p)
				}
			}
			for after := ""; ; {
				page, err := v.List(ctx, prefix, after, 2)
				if err != nil {
					r.Fatal(err)
				}
				for _, f := range page {
					list = append(list, text(f))
					_, after = split(f.Path)
				}
				if len(page) < 2 {
					break
				}
			}
			if d := cmp.Diff(kids, list); d != "" {
				r.Fatalf("list of %s (-want +got):\n%s", prefix, d)
			}
			f, ok, err := v.Lookup(ctx, prefix)
			_, dir := before[prefix+"/"]
			_, file := before[prefix]
			if err != nil || prefix != "/" && ok != (dir || file) {
				r.Fatalf("lookup %s: %+v, %v, %v", prefix, f, ok, err)
			}
		}
	})
}
