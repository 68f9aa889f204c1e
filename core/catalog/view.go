package catalog

import (
	"context"
	"fmt"
	"strings"
)

// View shows a client as several images show it together: of each path the newest
// image's entry, without what was gone when a later image was made. It costs what
// is looked at: listing a directory costs that directory in each image. One task
// uses it.
//
// An entry of an image hides what older images hold at its path; one that is no
// directory, [Gone] among them, hides also what they hold below it; and so does a
// Gone that ends in "/" with what is below it alone.
type View struct {
	readers []*Reader
	floors  map[string]int // of directories asked for before: see floor
}

// Found is an entry and which image it is from: an index of the view's readers.
type Found struct {
	Entry
	Image int
}

// maxFloors bounds what a view remembers of directories.
const maxFloors = 10_000

// NewView makes a view of images, the oldest first. Their readers stay the
// caller's, and open.
func NewView(readers ...*Reader) *View { return &View{readers: readers, floors: map[string]int{}} }

// Lookup finds the entry of a path; ok is false if there was none at that time.
func (v *View) Lookup(ctx context.Context, path string) (f Found, ok bool, err error) {
	if err := checkPath(path); err != nil {
		return f, false, fmt.Errorf("look up: %w", err)
	}
	dir, _ := split(path)
	from, err := v.floor(ctx, dir)
	if err != nil {
		return f, false, err
	}
	var g group
	for i := from; i < len(v.readers); i++ {
		e, ok, err := v.readers[i].find(ctx, path)
		if err != nil {
			return f, false, err
		}
		if ok {
			g.add(&e, i)
		}
	}
	f, ok = g.shown()
	return f, ok, nil
}

// List is [Reader.List] of the view.
func (v *View) List(ctx context.Context, dir, after string, limit int) (list []Found, err error) {
	if err := checkPath(dir); err != nil {
		return nil, fmt.Errorf("list: %w", err)
	}
	key := dirKey(dir)
	err = v.scan(ctx, key, key, after, func(f Found) (bool, error) {
		d, name := split(f.Path)
		if d != key {
			return false, nil
		}
		if name != after { // "" is that of "/"
			list = append(list, f)
		}
		return limit <= 0 || len(list) < limit, nil
	})
	return list, err
}

// Walk is [Reader.Walk] of the view.
func (v *View) Walk(ctx context.Context, prefix string, fn func(Found) (more bool, err error)) error {
	return v.WalkAfter(ctx, prefix, "", fn)
}

// WalkAfter is [Reader.WalkAfter] of the view.
func (v *View) WalkAfter(ctx context.Context, prefix, after string, fn func(Found) (more bool, err error)) error {
	if after == "" || after == prefix {
		top, ok, err := v.Lookup(ctx, prefix)
		if err != nil {
			return err
		}
		if ok && after == "" && !top.Implied() {
			if more, err := fn(top); !more || err != nil {
				return err
			}
		}
		after = ""
	}
	key := dirKey(prefix)
	dir, name := key, ""
	if after != "" {
		if err := checkPath(after); err != nil {
			return fmt.Errorf("walk: %w", err)
		}
		dir, name = split(after)
	}
	return v.scan(ctx, key, dir, name, func(f Found) (bool, error) {
		if f.Implied() || f.Path == "/" || f.Path == after {
			return true, nil
		}
		return fn(f)
	})
}

// scan calls fn for what the view shows in directory top and below it, from
// (dir, name) on, in order, until it returns false.
func (v *View) scan(ctx context.Context, top, dir, name string, fn func(Found) (bool, error)) error {
	from, err := v.floor(ctx, top)
	if err != nil {
		return err
	}
	var sources []source
	for _, r := range v.readers[from:] {
		sources = append(sources, &fileSource{r: r, dir: dir, name: name})
	}
	m, err := newMerger(ctx, sources)
	if err != nil {
		return err
	}
	w := descent{v: v, dir: dir, name: name, stack: []floored{{top, from}}, hidden: map[string]int{}}
	oldest := from
	for in := m.top(); in != nil; in = m.top() {
		e, err := in.entry()
		if err != nil {
			return err
		}
		path := e.Path
		d, name := split(path)
		if !within(d, top) {
			return nil
		}
		from, err := w.floor(ctx, d)
		if err != nil {
			return err
		}
		var g group
		if err := m.group(ctx, &g, &e, oldest, from); err != nil {
			return err
		}
		if name == "" && d != "" { // what was in d is gone
			w.raise(g.newest.Image)
			continue
		}
		if k := g.barrier; k > 0 {
			w.hidden[path] = k
		}
		if f, ok := g.shown(); ok {
			if more, err := fn(f); !more || err != nil {
				return err
			}
		}
	}
	return nil
}

// group are the entries of one path, added from the oldest image to the newest.
type group struct {
	newest  Found // that is not implied
	implied Found // the newest that is
	any     bool  // newest is there
	parent  bool  // implied is there
	dirs    bool  // a directory was among them
	barrier int   // the image that hides what older ones have below the path; 0 is none
}

func (g *group) add(e *Entry, image int) {
	if e.Type == Directory {
		g.dirs = true
	} else if g.dirs {
		g.barrier = image
	}
	if e.Implied() {
		g.implied, g.parent = Found{*e, image}, true
	} else {
		g.newest, g.any = Found{*e, image}, true
	}
}

// entry is the entry that the source of a scan stands at.
func (in *input) entry() (Entry, error) { return in.source.(*fileSource).it.entry() }

// group adds the entries of one path to g, e the first of them: those of the images
// from one on count. The merger's first source is image oldest.
func (m *merger) group(ctx context.Context, g *group, e *Entry, oldest, from int) (err error) {
	for {
		if image := oldest + m.top().order; image >= from {
			g.add(e, image)
		}
		if err := m.next(ctx); err != nil {
			return err
		}
		in := m.top()
		if in == nil || in.code != codeSame {
			return nil
		}
		if *e, err = in.entry(); err != nil {
			return err
		}
	}
}

// shown is the entry that counts. What newer images hold below a path makes it a
// directory, whatever an older one says.
func (g *group) shown() (f Found, ok bool) {
	switch {
	case g.parent && (!g.any || g.newest.Type != Directory && g.newest.Image < g.implied.Image):
		return g.implied, true
	case g.any:
		return g.newest, g.newest.Type != Gone
	}
	return f, false
}

// floor is the oldest image of which what it holds in a directory counts.
func (v *View) floor(ctx context.Context, dir string) (int, error) {
	if dir == "" || len(v.readers) < 2 {
		return 0, nil
	}
	if f, ok := v.floors[dir]; ok {
		return f, nil
	}
	parent, _ := split(dir)
	f, err := v.floor(ctx, parent)
	if err != nil {
		return 0, err
	}
	if f, err = v.raised(ctx, dir, f); err != nil {
		return 0, err
	}
	if len(v.floors) >= maxFloors {
		clear(v.floors)
	}
	v.floors[dir] = f
	return f, nil
}

// raised is the floor of a directory by its own entries, at least that of its parent.
func (v *View) raised(ctx context.Context, dir string, floor int) (int, error) {
	for k := len(v.readers) - 1; k > floor; k-- {
		r := v.readers[k]
		e, ok, err := r.find(ctx, dir)
		if err != nil {
			return 0, err
		}
		if ok && e.Type != Directory {
			return k, nil
		}
		if r.foot.sum.Gone == 0 {
			continue
		}
		if _, ok, err = r.find(ctx, dir+"/"); ok || err != nil {
			return k, err
		}
	}
	return floor, nil
}

// descent knows the floors of the directories that a scan is in.
type descent struct {
	v         *View
	dir, name string // where the scan began
	stack     []floored
	hidden    map[string]int // floors of directories to come, as their entries told
}

type floored struct {
	dir   string
	floor int
}

// floor is that of a directory at or after the last one asked for.
func (w *descent) floor(ctx context.Context, dir string) (int, error) {
	if len(w.v.readers) < 2 {
		return 0, nil
	}
	for !within(dir, w.stack[len(w.stack)-1].dir) {
		w.stack = w.stack[:len(w.stack)-1]
	}
	for {
		top := w.stack[len(w.stack)-1]
		if len(top.dir) == len(dir) {
			return top.floor, nil
		}
		next := dir
		if i := strings.IndexByte(dir[len(top.dir)+1:], '/'); i >= 0 {
			next = dir[:len(top.dir)+1+i]
		}
		f, err := w.enter(ctx, next, top.floor)
		if err != nil {
			return 0, err
		}
		w.stack = append(w.stack, floored{next, f})
	}
}

func (w *descent) enter(ctx context.Context, dir string, floor int) (int, error) {
	if d, name := split(dir); compare(d, name, w.dir, w.name) < 0 {
		return w.v.raised(ctx, dir, floor) // its entry was not among those scanned
	}
	k := w.hidden[dir]
	delete(w.hidden, dir)
	return max(floor, k), nil
}

// raise is for the directory that floor was last asked for.
func (w *descent) raise(floor int) {
	top := &w.stack[len(w.stack)-1]
	top.floor = max(top.floor, floor)
}
