package catalog

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// The index finds what a search by whole paths does.
func TestIndex(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		paths := append(drawPaths(r, "paths"), "/a")
		slices.SortFunc(paths, comparePaths)
		paths = slices.Compact(paths)
		var refs []ref
		for _, p := range paths {
			refs = append(refs, ref{first: p})
		}
		x := newIndex(refs)
		for _, p := range append(drawPaths(r, "sought"), append(paths, "/", "/a/")...) {
			want, ok := slices.BinarySearchFunc(paths, p, comparePaths)
			if !ok {
				want = max(want-1, 0)
			}
			if got := x.find(keyOf(p)); got != want {
				r.Errorf("%q is in block %d of %q, want %d", p, got, paths, want)
			}
		}
	})
}
