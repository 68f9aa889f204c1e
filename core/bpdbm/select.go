package bpdbm

import (
	"cmp"
	"context"
	"maps"
	"path"
	"reflect"
	"slices"
	"strings"

	"capstan/core/catalog"
	"capstan/core/image"
	"capstan/core/pbx"
	"capstan/core/status"
	"capstan/core/trace"
)

// Selection asks which parts of an image's stream hold what is to be restored.
type Selection struct {
	BackupID string   `json:"backupId"`
	Paths    []string `json:"paths"` // files, directories with all below them, globs; none is everything
	// Later are the images that show a path otherwise, or no more: newer than this
	// one, oldest first.
	Later []string `json:"later,omitempty"`
	// Literal has paths be names alone, and no globs.
	Literal bool `json:"literal,omitempty"`
	// From is the number of ranges to leave out: those of the pages before. The others
	// are those of other names, of hollow entries and of missing paths.
	From        int `json:"from,omitempty"`
	FromAs      int `json:"fromAs,omitempty"`
	FromHollow  int `json:"fromHollow,omitempty"`
	FromMissing int `json:"fromMissing,omitempty"`
}

// Range is a run of whole members in an image's stream.
type Range struct {
	Offset int64 `json:"o"`
	Length int64 `json:"l"`
}

// Selected is a part of the answer to [Selection], whose lists come page by page; Files
// and Bytes are of all of it.
type Selected struct {
	Ranges []Range `json:"ranges"`
	More   bool    `json:"more"`
	Files  int64   `json:"files"`
	Bytes  int64   `json:"bytes"` // of file contents
	// Hollow are the entries of hollow members: a planning run's.
	Hollow []catalog.Entry `json:"hollow,omitempty"`
	// AnyOrder tells that the members can be written in any order: none is a hard link,
	// which needs its other name, or a directory, which is there before what is in it.
	AnyOrder bool `json:"anyOrder,omitempty"`
	// As names members otherwise: see archive.WriteOptions.
	As map[string]string `json:"as,omitempty"`
	// Missing are the paths that the image does not hold.
	Missing []string `json:"missing,omitempty"`
}

// What one message carries: so many ranges (of at most 23 bytes), so many bytes of other
// names, of hollow entries and of missing paths. Together they are below
// [pbx.MaxMessage].
const (
	maxRanges  = 50_000
	maxAs      = 1 << 20
	maxHollow  = 1 << 18
	maxMissing = 1 << 18
)

// listDir answers [Dir]. What an image shows alone is a chain of one.
func (s *Server) listDir(ctx context.Context, from pbx.Peer, q Dir) (Entries, error) {
	limit := q.Limit
	if limit <= 0 || limit > 2000 {
		limit = 2000
	}
	var p Entries
	take := func(f catalog.Found) (bool, error) {
		if len(p.Entries) == limit {
			p.More = true
			return false, nil
		}
		p.Entries = append(p.Entries, f.Entry)
		return true, nil
	}
	list := func(v *catalog.View) error {
		if q.Recursive {
			return v.WalkAfter(ctx, clean(q.Path), q.After, take)
		}
		found, err := v.List(ctx, clean(q.Path), q.After, limit+1)
		for i := 0; i < len(found) && err == nil; i++ {
			_, err = take(found[i])
		}
		return err
	}
	if q.AsOf {
		err := s.view(ctx, from, q.BackupID, func(v *catalog.View, _ []image.Header) error { return list(v) })
		return p, err
	}
	err := s.with(ctx, from, q.BackupID, func(r *catalog.Reader) error { return list(catalog.NewView(r)) })
	return p, err
}

func clean(p string) string {
	if p == "" {
		return "/"
	}
	return path.Clean(p)
}

// selected is all of the answer to a [Selection].
type selected struct {
	of       Selection // its first page
	Selected           // with all of its lists
	names    []string  // that have another, sorted
}

// selectEntries answers [Selection]. What was found stays while pages of it are to
// come, lest all be looked for again for each: of each restore one selection, at most
// until it lets go. For who only looks nothing is kept.
func (s *Server) selectEntries(ctx context.Context, from pbx.Peer, q Selection) (Selected, error) {
	if err := s.hold(ctx, q.BackupID); err != nil {
		return Selected{}, err
	}
	hs, err := s.headers(ctx, from, append([]string{q.BackupID}, q.Later...))
	if err != nil {
		return Selected{}, err
	}
	of := q
	of.From, of.FromAs, of.FromHollow, of.FromMissing = 0, 0, 0, 0
	j := trace.JobOf(ctx)
	s.lock.Lock()
	all := s.selected[j.ID]
	s.lock.Unlock()
	if all == nil || !reflect.DeepEqual(all.of, of) {
		if all, err = s.choose(ctx, hs, of); err != nil {
			return Selected{}, err
		}
	}
	p, err := all.page(q)
	s.lock.Lock()
	defer s.lock.Unlock()
	if _, held := s.holds[j.ID]; p.More && held {
		s.selected[j.ID] = all
	} else {
		delete(s.selected, j.ID)
	}
	return p, err
}

// page is what one message carries.
func (all *selected) page(q Selection) (Selected, error) {
	for _, c := range []struct {
		what     string
		from, of int
	}{
		{"range", q.From, len(all.Ranges)}, {"other name", q.FromAs, len(all.names)},
		{"hollow entry", q.FromHollow, len(all.Hollow)}, {"missing path", q.FromMissing, len(all.Missing)},
	} {
		if c.from < 0 || c.from > c.of {
			return Selected{}, status.Errorf(status.BadParameter, "image %s: no %s %d of %d", q.BackupID, c.what, c.from, c.of)
		}
	}
	p := all.Selected
	var as, hollow, missing bool
	p.Ranges = slices.Clip(all.Ranges[q.From:min(len(all.Ranges), q.From+maxRanges)])
	p.As, as = PageOf(all.As, all.names[q.FromAs:])
	p.Hollow, hollow = HollowPage(all.Hollow[q.FromHollow:])
	p.Missing, missing = fitting(all.Missing[q.FromMissing:], maxMissing, func(p string) int { return len(p) + 5 })
	p.More = q.From+len(p.Ranges) < len(all.Ranges) || as || hollow || missing
	return p, nil
}

// HollowPage are the first of hollow entries, as many as fit into a message; more says
// that others come after them.
func HollowPage(all []catalog.Entry) (page []catalog.Entry, more bool) {
	const fields = 400 // of an entry's names and numbers, encoded
	return fitting(all, maxHollow, func(e catalog.Entry) int { return fields + len(e.Path) + len(e.Link) })
}

// fitting are the first of all that have at most so many bytes together, one at least.
func fitting[T any](all []T, bytes int, size func(T) int) (page []T, more bool) {
	for i := range all {
		if bytes -= size(all[i]); bytes < 0 && i > 0 {
			return all[:i:i], true
		}
	}
	return slices.Clip(all), false
}

// choose walks what the paths name and joins members that lie side by side into
// ranges: a whole tree is one range.
func (s *Server) choose(ctx context.Context, hs []image.Header, q Selection) (*selected, error) {
	sel := &selected{of: q}
	paths := q.Paths
	if len(paths) == 0 {
		paths = []string{"/"}
	}
	var taken []member
	seen := map[int64]bool{} // by offset: paths may overlap
	err := s.reading(ctx, hs, func(rs []*catalog.Reader) error {
		v := catalog.NewView(rs...)
		for _, p := range paths {
			found := false
			err := match(ctx, v, clean(p), q.Literal, func(f catalog.Found) {
				found = true
				if f.Image > 0 || f.Implied() || seen[f.Offset] {
					return // a directory that is implied has no member
				}
				seen[f.Offset] = true
				if f.Count > 0 {
					sel.Hollow = append(sel.Hollow, f.Entry)
				}
				taken = append(taken, newMember(&f.Entry))
			})
			if err != nil {
				return err
			}
			if !found {
				sel.Missing = append(sel.Missing, p)
			}
		}
		return firstNames(ctx, rs[0], taken, &sel.Selected)
	})
	if err != nil {
		return nil, err
	}
	members := make([]Range, len(taken))
	sel.AnyOrder = true
	for i, m := range taken {
		members[i] = m.Range
		sel.AnyOrder = sel.AnyOrder && m.link == "" && !m.dir
		sel.Files += m.files
		sel.Bytes += m.bytes
	}
	sel.Ranges = join(members)
	sel.names = slices.Sorted(maps.Keys(sel.As))
	return sel, nil
}

// PageOf are those of as that fit into a message, in the order of names; more says
// that others come after them.
func PageOf(as map[string]string, names []string) (page map[string]string, more bool) {
	page = map[string]string{}
	size := 0
	for _, k := range names {
		if size += len(k) + len(as[k]) + 16; size > maxAs && len(page) > 0 {
			return page, true
		}
		page[k] = as[k]
	}
	return page, false
}

// match calls fn for each entry that p names: the entry itself, all below it, and
// if p is a glob, and not taken literally, every entry that matches and all below those. A file may have a
// glob's name, as a list of names to be restored does not say which it is.
func match(ctx context.Context, v *catalog.View, p string, literal bool, fn func(catalog.Found)) error {
	prefix := p
	glob := !literal && strings.ContainsAny(p, `*?[`)
	if _, err := path.Match(p, ""); err != nil {
		glob = false // such as a [ that is never closed: it can only be a name
	}
	if glob {
		prefix = clean(p[:strings.LastIndex(p[:strings.IndexAny(p, `*?[`)], "/")+1])
	}
	depth := strings.Count(p, "/")
	return v.Walk(ctx, prefix, func(f catalog.Found) (bool, error) {
		if top := cut(f.Path, depth); glob && top != p {
			ok, err := path.Match(p, top)
			if err != nil {
				return false, status.Errorf(status.BadParameter, "pattern %s: %w", p, err)
			}
			if !ok {
				return true, nil
			}
		}
		fn(f)
		return true, nil
	})
}

// cut is p up to as many components as a pattern with depth slashes has.
func cut(p string, depth int) string {
	for i := range len(p) {
		if p[i] == '/' {
			if depth == 0 {
				return p[:i]
			}
			depth--
		}
	}
	return p
}

// member is a member of an image's stream that may be restored.
type member struct {
	Range
	files, bytes int64
	path, link   string // of a hard link: its name and the first one
	dir          bool
}

func newMember(e *catalog.Entry) member {
	m := member{Range: Range{e.Offset, e.End() - e.Offset}, files: e.Files(), bytes: e.DataLen, dir: e.Type == catalog.Directory}
	if e.Type == catalog.HardLink {
		m.path, m.link = e.Path, e.Link
	}
	return m
}

// firstNames replaces a hard link whose first name is not taken by the member of
// that name, which has the data, to be written under the link's name.
func firstNames(ctx context.Context, r *catalog.Reader, ms []member, sel *Selected) error {
	have := map[int64]bool{}
	for i := range ms {
		have[ms[i].Offset] = true
	}
	for i, m := range ms {
		if m.link == "" {
			continue
		}
		e, found, err := r.Lookup(ctx, m.link)
		if err != nil {
			return err
		}
		if !found || have[e.Offset] {
			continue // tar reports a link to what is not there
		}
		have[e.Offset] = true
		if sel.As == nil {
			sel.As = map[string]string{}
		}
		sel.As[m.link] = m.path
		ms[i] = newMember(&e)
	}
	return nil
}

// join sorts ranges by offset and joins those that touch.
func join(rs []Range) []Range {
	slices.SortFunc(rs, func(a, b Range) int { return cmp.Compare(a.Offset, b.Offset) })
	var out []Range
	for _, r := range rs {
		if n := len(out); n > 0 && out[n-1].Offset+out[n-1].Length == r.Offset {
			out[n-1].Length += r.Length
		} else {
			out = append(out, r)
		}
	}
	return out
}
