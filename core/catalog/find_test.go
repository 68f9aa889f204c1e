package catalog

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"capstan/core/store/storetest"
)

func TestNewPatternRefuses(t *testing.T) {
	for _, s := range []string{"", "a/b", "[a", "a\x00", "/a/[", "/../a"} {
		if _, err := NewPattern(s, false); err == nil && s != "/../a" {
			t.Errorf("pattern %q is taken", s)
		}
	}
}

// naive tells whether a pattern is of a path, in the plainest way.
func naive(text string, fold bool, p string) bool {
	if fold {
		text, p = string(lower(nil, text)), string(lower(nil, p))
	}
	name := p[strings.LastIndexByte(p, '/')+1:]
	glob := strings.ContainsAny(text, `*?[\`)
	switch {
	case strings.HasPrefix(text, "/") && glob:
		ok, _ := path.Match(text, p)
		return ok
	case strings.HasPrefix(text, "/"):
		return p == text
	case glob:
		ok, _ := path.Match(text, name)
		return ok
	}
	return strings.Contains(name, text)
}

// TestFind compares what is found with what a look at every path finds: in files
// with an index of names of one segment and of none, whole and in pages, and with
// little looked at each time.
func TestFind(t *testing.T) {
	ctx := storetest.Solo()
	var all []Entry
	add := func(format string, args ...any) {
		all = append(all, entry(fmt.Sprintf(format, args...), int64(len(all))*2048))
	}
	for i := range 12_000 {
		switch i % 4 {
		case 0:
			add("/home/u%d/IMG_%05d.jpg", i%50, i)
		case 1:
			add("/home/u%d/Documents/report-%d.txt", i%50, i)
		case 2:
			add("/srv/mail/%02d/%d.M%dP77.host", i%90, 1_700_000_000+i, i*7919)
		default:
			add("/usr/src/m%d/file_%d.go", i%300, i)
		}
	}
	add("/a")
	add("/usr/src/m7/needle in [brackets]*")
	all = append(all, Entry{Path: "/home/u1/IMG_gone.jpg", Type: Gone})
	readers := map[string]*Reader{}
	for name, in := range map[string][]Entry{"large": all, "small": all[len(all)-100:]} {
		d := newTestDir()
		seal(ctx, t, d, Options{}, in)
		readers[name] = open(ctx, t, d, nil)
	}
	if readers["large"].foot.names.length == 0 || readers["small"].foot.names.length != 0 {
		t.Error("a large file has no index of names, or a small one has")
	}
	parts := rapid.SampledFrom([]string{"IMG_", "img_0", "report", "*", "?", "[0-9]", "7", "119", ".go", ".jpg", "needle", " in ", `\[`, "M", "/home", "/u1", "/*", "/usr/src/m7", "/"})
	rapid.Check(t, func(r *rapid.T) {
		text := strings.Join(rapid.SliceOfN(parts, 1, 4).Draw(r, "pattern"), "")
		fold := rapid.Bool().Draw(r, "fold")
		p, err := NewPattern(text, fold)
		if err != nil {
			return
		}
		which := rapid.SampledFrom([]string{"large", "small"}).Draw(r, "file")
		in := all
		if which == "small" {
			in = all[len(all)-100:]
		}
		var want []string
		for i := range in {
			if e := &in[i]; naive(p.text, fold, e.Path) && (e.Type != Gone || p.Exact()) {
				want = append(want, e.Path)
			}
		}
		slices.SortFunc(want, comparePaths)
		page, budget := rapid.SampledFrom([]int{7, 100_000}).Draw(r, "page"), rapid.SampledFrom([]int{0, 3000}).Draw(r, "budget")
		var got []string
		for after, rounds := "", 0; ; rounds++ {
			n := 0
			next, _, err := readers[which].Find(ctx, p, after, budget, func(e Entry) (bool, error) {
				got = append(got, e.Path)
				n++
				return n < page, nil
			})
			if err != nil || rounds > 20_000 {
				r.Fatalf("round %d: %v", rounds, err)
			}
			if after = next; next == "" || len(got) > 300 && page == 7 {
				break
			}
		}
		if page == 7 && len(got) > 300 {
			want = want[:min(len(got), len(want))]
		}
		if d := cmp.Diff(want, got); d != "" {
			r.Fatalf("%q (-want +got):\n%s", text, d)
		}
	})
}
