package fuse

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"golang.org/x/sync/singleflight"

	"capstan/core/catalog"
	"capstan/core/image"
)

// compareDir is compare/: of two images, <a>..<b>, what was added, removed and changed in
// the client from the one time to the other. Listed are neighbours; any two are found, by
// backup id, or by time as in 2026-11-23_2100.
func (s *system) compareDir(client, policy, at string) *dir {
	of := func(own []image.Header, a, b image.Header) child {
		name := a.ID + ".." + b.ID
		before, after := asOf(own, a), asOf(own, b)
		return child{name: name, of: before.key + after.key, make: func() fs.InodeEmbedder { return s.comparison(join(at, before.key+".."+after.key), before, after) }}
	}
	return &dir{
		s: s, path: at,
		list: func(ctx context.Context) (cs []child, _ error) {
			own := s.images.of(ctx, client, policy)
			for i := 1; i < len(own); i++ {
				cs = append(cs, of(own, own[i-1], own[i]))
			}
			return cs, nil
		},
		find: func(ctx context.Context, name string) (child, bool) {
			own := s.images.of(ctx, client, policy)
			from, to, ok := strings.Cut(name, "..")
			a, oka := s.named(own, from)
			b, okb := s.named(own, to)
			if !ok || !oka || !okb {
				return child{}, false
			}
			c := of(own, a, b)
			c.name = name
			return c, true
		},
	}
}

// named finds an image by its id or its time.
func (s *system) named(own []image.Header, name string) (image.Header, bool) {
	for _, h := range slices.Backward(own) {
		t := time.Unix(h.Time, 0).In(s.cfg.Zone)
		if name == h.ID || name == t.Format("2006-01-02_1504") || name == t.Format("2006-01-02_150405") || name == t.Format("2006-01-02") {
			return h, true
		}
	}
	return image.Header{}, false
}

// comparisons are those that were made last. Each is made when it is looked into first:
// both catalogs are walked once.
type comparisons struct {
	flight singleflight.Group
	mu     sync.Mutex
	made   []compared // the last was used last
}

type compared struct {
	key  string
	what *difference
}

// get gives a comparison, made if need be. Those kept have so many differences together
// as one may have.
func (c *comparisons) get(ctx context.Context, key string, compare func() (*difference, error)) (*difference, error) {
	if d := c.kept(key); d != nil {
		return d, nil
	}
	return shared(ctx, &c.flight, key, func() (*difference, error) {
		if d := c.kept(key); d != nil { // it has come meanwhile
			return d, nil
		}
		d, err := compare()
		if err != nil {
			return nil, err
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.made = append(c.made, compared{key, d})
		n := 0
		for _, m := range c.made {
			n += m.what.count
		}
		for len(c.made) > 1 && n > maxDifferences {
			n -= c.made[0].what.count
			c.made = slices.Delete(c.made, 0, 1)
		}
		return d, nil
	})
}

func (c *comparisons) kept(key string) *difference {
	c.mu.Lock()
	defer c.mu.Unlock()
	at := slices.IndexFunc(c.made, func(m compared) bool { return m.key == key })
	if at < 0 {
		return nil
	}
	m := c.made[at]
	c.made = append(slices.Delete(c.made, at, at+1), m)
	return m.what
}

// comparison is <a>..<b>/.
func (s *system) comparison(at string, a, b *source) *dir {
	get := func(ctx context.Context) (*difference, error) {
		return s.compared.get(ctx, a.key+"\x00"+b.key, func() (*difference, error) { return s.difference(s.task("compare"), a, b) })
	}
	part := func(name string, src *source, of func(d *difference) changes) child {
		return child{name: name, make: func() fs.InodeEmbedder {
			return s.changesDir(join(at, name), "/", src, func(ctx context.Context) (changes, error) {
				d, err := get(ctx)
				if err != nil {
					return nil, err
				}
				return of(d), nil
			})
		}}
	}
	return s.fixed(at, []child{
		part("added", b, func(d *difference) changes { return d.added }),
		part("changed", b, func(d *difference) changes { return d.changed }),
		part("removed", a, func(d *difference) changes { return d.removed }),
	})
}

// changes are what is to be shown, by directory: names, and whether each is itself meant
// or only on the way to what is.
type changes map[string]map[string]*catalog.Found

type difference struct {
	added, changed, removed changes
	count                   int
}

// maxDifferences bounds the memory of a comparison.
const maxDifferences = 500_000

var errTooMany = errors.New("more than 500 000 files differ: compare with capstan list --json")

func (c changes) add(f catalog.Found) {
	for p, what := f.Path, &f; ; what = nil {
		dir, name := path.Dir(p), path.Base(p)
		own := c[dir]
		if own == nil {
			own = map[string]*catalog.Found{}
			c[dir] = own
		}
		if old, there := own[name]; !there || old == nil {
			own[name] = what
		} else if what == nil {
			return
		}
		if dir == "/" {
			return
		}
		p = dir
	}
}

// difference compares two sources, path by path.
func (s *system) difference(ctx context.Context, a, b *source) (*difference, error) {
	before, err := s.walk(ctx, a)
	if err != nil {
		return nil, err
	}
	after, err := s.walk(ctx, b)
	if err != nil {
		return nil, err
	}
	d := &difference{added: changes{}, changed: changes{}, removed: changes{}}
	for before.ok || after.ok {
		order := 0
		switch {
		case !before.ok:
			order = 1
		case !after.ok:
			order = -1
		default:
			order = catalog.ComparePaths(before.at.Path, after.at.Path)
		}
		switch {
		case order < 0:
			d.removed.add(before.at)
			d.count++
		case order > 0:
			d.added.add(after.at)
			d.count++
		case after.at.Type == catalog.Directory && before.at.Type != catalog.Directory:
			d.removed.add(before.at)
			d.added.add(after.at)
			d.count++
		case !same(&before.at.Entry, &after.at.Entry) && after.at.Type != catalog.Directory:
			d.changed.add(after.at)
			d.count++
		}
		if d.count > maxDifferences {
			return nil, errTooMany
		}
		if order <= 0 {
			err = errors.Join(err, before.next(ctx))
		}
		if order >= 0 {
			err = errors.Join(err, after.next(ctx))
		}
		if err != nil {
			return nil, err
		}
	}
	return d, nil
}

// walker gives the entries of a source in order.
type walker struct {
	view *catalog.View
	page []catalog.Found
	at   catalog.Found
	ok   bool
	last bool // page is the last
}

func (s *system) walk(ctx context.Context, src *source) (*walker, error) {
	v, err := s.images.view(ctx, src)
	if err != nil {
		return nil, err
	}
	w := &walker{view: v}
	return w, w.next(ctx)
}

func (w *walker) next(ctx context.Context) error {
	if len(w.page) == 0 && !w.last {
		err := w.view.WalkAfter(ctx, "/", w.at.Path, func(f catalog.Found) (bool, error) {
			w.page = append(w.page, f)
			return len(w.page) < pageSize, nil
		})
		if err != nil {
			return fmt.Errorf("comparing: %w", err)
		}
		w.last = len(w.page) < pageSize
	}
	if w.ok = len(w.page) > 0; w.ok {
		w.at, w.page = w.page[0], w.page[1:]
	}
	return nil
}

// changesDir is a directory of a part of a comparison.
func (s *system) changesDir(at, p string, src *source, get func(ctx context.Context) (changes, error)) *dir {
	return &dir{s: s, path: at, wide: true, list: func(ctx context.Context) (cs []child, _ error) {
		all, err := get(ctx)
		if err != nil {
			return nil, err
		}
		own := all[p]
		for _, name := range slices.Sorted(maps.Keys(own)) {
			f, below := own[name], path.Join(p, name)
			if f == nil || f.Type == catalog.Directory {
				cs = append(cs, child{name: name, make: func() fs.InodeEmbedder { return s.changesDir(join(at, name), below, src, get) }})
				continue
			}
			n, err := s.node(ctx, src, *f)
			if err != nil {
				return nil, err
			}
			cs = append(cs, child{name: name, mode: kind(n.e.Type), make: func() fs.InodeEmbedder { return n }})
		}
		return cs, nil
	}}
}
