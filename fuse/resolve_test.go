package fuse

import (
	"context"
	"fmt"
	"log/slog"
	"syscall"
	"testing"

	"github.com/hanwen/go-fuse/v2/fs"

	"capstan/core/catalog"
	"capstan/hw/clock"
)

// TestResolvedOnce: a list of many paths of one directory has each directory on the way
// listed once.
func TestResolvedOnce(t *testing.T) {
	const paths = 1000
	s := &system{log: slog.New(slog.DiscardHandler), cfg: Config{Task: func(name string) context.Context { return clock.Context(t.Context(), name) }}}
	listed := map[string]int{}
	level := func(at string, wide bool, below func() []child) *dir {
		return &dir{s: s, path: at, wide: wide, list: func(context.Context) ([]child, error) {
			listed[at]++
			return below(), nil
		}}
	}
	top := level("/", false, func() []child {
		return []child{{name: "compare", make: func() fs.InodeEmbedder {
			return level("/compare", false, func() []child {
				return []child{{name: "a..b", make: func() fs.InodeEmbedder {
					return level("/compare/a..b", true, func() (cs []child) {
						for i := range paths {
							n := &file{s: s, src: &source{key: "b"}, e: catalog.Entry{Path: fmt.Sprint("/f", i)}}
							cs = append(cs, child{name: fmt.Sprint("f", i), mode: syscall.S_IFREG, make: func() fs.InodeEmbedder { return n }})
						}
						return cs
					})
				}}}
			})
		}}}
	})
	r := &resolver{top, "/mnt", map[string]fs.InodeEmbedder{}}
	for i := range paths {
		src, at, ok := r.resolve(s.task("test"), fmt.Sprint("/mnt/compare/a..b/f", i))
		if !ok || src.key != "b" || at != fmt.Sprint("/f", i) {
			t.Fatalf("path %d: %v, %s, %v", i, src, at, ok)
		}
	}
	if _, _, ok := r.resolve(s.task("test"), "compare/a..b/other"); ok {
		t.Error("what is not there was found")
	}
	// The last is listed anew when its list is old.
	if n := listed["/"] + listed["/compare"] + listed["/compare/a..b"]; n > 10 || len(listed) != 3 {
		t.Errorf("%d paths cost so many lists: %v", paths, listed)
	}
}

// TestComparedOnce: a comparison is made once, whoever looks into it, until others need
// its room; who does not want to wait for it any more leaves, and it is made.
func TestComparedOnce(t *testing.T) {
	ctx := clock.Context(t.Context(), "test")
	var c comparisons
	made := map[string]int{}
	get := func(key string, count int) *difference {
		t.Helper()
		d, err := c.get(ctx, key, func() (*difference, error) {
			made[key]++
			return &difference{count: count}, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	if a := get("a", 10); get("a", 10) != a || made["a"] != 1 {
		t.Errorf("made %v times", made)
	}
	get("b", maxDifferences-20)
	get("a", 10)
	get("c", 20) // b goes, which was used last before a
	get("a", 10)
	get("b", maxDifferences-20)
	if made["a"] != 1 || made["b"] != 2 || made["c"] != 1 {
		t.Errorf("made %v", made)
	}
	hold := make(chan struct{})
	gone, cancel := context.WithCancel(ctx)
	cancel()
	slow := func() (*difference, error) { <-hold; made["slow"]++; return &difference{}, nil }
	if d, err := c.get(gone, "slow", slow); d != nil || err == nil {
		t.Errorf("who was interrupted got %v, %v", d, err)
	}
	close(hold)
	if _, err := c.get(ctx, "slow", slow); err != nil || made["slow"] != 1 {
		t.Errorf("made %d times: %v", made["slow"], err)
	}
}
