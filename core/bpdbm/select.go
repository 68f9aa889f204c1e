package bpdbm

import (
	"cmp"
	"context"
	"fmt"
	"path"
	"slices"
	"strings"

	"capstan/core/catalog"
	"capstan/core/pbx"
	"capstan/core/rt"
	"capstan/core/status"
)

// Selection asks which parts of an image's stream hold what is to be restored.
type Selection struct {
	BackupID string   `json:"backupId"`
	Paths    []string `json:"paths"` // files, directories with all below them, globs; none is everything
	// Later are the images whose version of a path is wanted instead, newer than this one.
	Later []string `json:"later,omitempty"`
	// From is the number of ranges to leave out: those of the pages before.
	From int `json:"from,omitempty"`
}

// Range is a run of whole members in an image's stream.
type Range struct {
	Offset int64 `json:"o"`
	Length int64 `json:"l"`
}

// Selected is a part of the answer to [Selection]; Files and Bytes are of all of it.
type Selected struct {
	Ranges []Range `json:"ranges"`
	More   bool    `json:"more"`
	Files  int64   `json:"files"`
	Bytes  int64   `json:"bytes"` // of file contents
	// Hollow are the entries of the first page's hollow members: a planning run's.
	Hollow []catalog.Entry `json:"hollow,omitempty"`
	// AnyOrder tells that the members can be written in any order: none is a hard link,
	// which needs its other name, or a directory, which is there before what is in it.
	AnyOrder bool `json:"anyOrder,omitempty"`
	// As names members otherwise: see archive.WriteOptions.
	As map[string]string `json:"as,omitempty"`
	// Missing are the paths that the image does not hold.
	Missing []string `json:"missing,omitempty"`
}

// maxRanges is how many ranges one message carries.
const maxRanges = 50_000

// readers keeps some .f files open.
type readers struct {
	lock  *rt.Mutex
	open  map[string]*catalog.Reader
	order []string // least recently opened first
}

// maxReaders is how many .f files are kept open.
const maxReaders = 32

func (r *readers) init(ctx context.Context) {
	r.lock = rt.NewMutex(ctx)
	r.open = map[string]*catalog.Reader{}
}

// with runs fn on the reader of an image, opened if need be. The lock is held:
// readers are closed only when nobody reads.
func (s *Server) with(ctx context.Context, from pbx.Peer, id string, fn func(r *catalog.Reader) error) error {
	h, err := s.header(ctx, from, id)
	if err != nil {
		return err
	}
	s.read.lock.Lock(ctx)
	defer s.read.lock.Unlock(ctx)
	r := s.read.open[id]
	if r == nil {
		if r, err = catalog.Open(ctx, s.dir, h.FileName()+".f", s.cache); err != nil {
			return failed(fmt.Errorf("image %s: %w", id, err))
		}
		if len(s.read.order) >= maxReaders {
			old := s.read.order[0]
			s.read.order = s.read.order[1:]
			_ = s.read.open[old].Close() // it was only read
			delete(s.read.open, old)
		}
		s.read.open[id] = r
		s.read.order = append(s.read.order, id)
	}
	if err := fn(r); err != nil {
		return failed(fmt.Errorf("image %s: %w", id, err))
	}
	return nil
}

func (s *Server) listDir(ctx context.Context, from pbx.Peer, q Dir) (Entries, error) {
	limit := q.Limit
	if limit <= 0 || limit > 2000 {
		limit = 2000
	}
	var p Entries
	err := s.with(ctx, from, q.BackupID, func(r *catalog.Reader) (err error) {
		if !q.Recursive {
			p.Entries, err = r.List(ctx, clean(q.Path), q.After, limit+1)
			if len(p.Entries) > limit {
				p.Entries, p.More = p.Entries[:limit], true
			}
			return err
		}
		return r.WalkAfter(ctx, clean(q.Path), q.After, func(e catalog.Entry) (bool, error) {
			if len(p.Entries) == limit {
				p.More = true
				return false, nil
			}
			p.Entries = append(p.Entries, e)
			return true, nil
		})
	})
	return p, err
}

func clean(p string) string {
	if p == "" {
		return "/"
	}
	return path.Clean(p)
}

// selectEntries walks what the paths name and joins members that lie side by
// side into ranges: a whole tree is one range.
func (s *Server) selectEntries(ctx context.Context, from pbx.Peer, q Selection) (Selected, error) {
	if err := s.hold(ctx, q.BackupID); err != nil {
		return Selected{}, err
	}
	var sel Selected
	paths := q.Paths
	if len(paths) == 0 {
		paths = []string{"/"}
	}
	var taken []member
	seen := map[int64]bool{} // by offset: paths may overlap
	for _, p := range paths {
		found := false
		err := s.match(ctx, from, q.BackupID, clean(p), func(e catalog.Entry) {
			found = true
			if seen[e.Offset] || e.Implied() {
				return
			}
			seen[e.Offset] = true
			m := newMember(&e)
			if len(q.Later) > 0 || e.Type == catalog.HardLink {
				m.path = e.Path
			}
			if e.Count > 0 && q.From == 0 {
				sel.Hollow = append(sel.Hollow, e)
			}
			taken = append(taken, m)
		})
		if err != nil {
			return Selected{}, err
		}
		if !found {
			sel.Missing = append(sel.Missing, p)
		}
	}
	taken, err := s.newest(ctx, from, q.Later, taken)
	if err != nil {
		return Selected{}, err
	}
	if taken, err = s.firstNames(ctx, from, q.BackupID, taken, &sel); err != nil {
		return Selected{}, err
	}
	members := make([]Range, len(taken))
	sel.AnyOrder = true
	for i, m := range taken {
		members[i] = m.Range
		sel.AnyOrder = sel.AnyOrder && m.link == "" && !m.dir
		sel.Files += m.files
		sel.Bytes += m.bytes
	}
	ranges := join(members)
	if q.From < 0 || q.From > len(ranges) {
		return Selected{}, status.Errorf(status.BadParameter, "image %s: no range %d of %d", q.BackupID, q.From, len(ranges))
	}
	sel.Ranges = ranges[q.From:]
	if len(sel.Ranges) > maxRanges {
		sel.Ranges, sel.More = sel.Ranges[:maxRanges], true
	}
	return sel, nil
}

// match calls fn for each entry that p names: the entry itself, all below it, and
// if p is a glob every entry that matches and all below those. A file may have a
// glob's name, as a list of names to be restored does not say which it is.
func (s *Server) match(ctx context.Context, from pbx.Peer, id, p string, fn func(catalog.Entry)) error {
	prefix := p
	glob := strings.ContainsAny(p, `*?[`)
	if _, err := path.Match(p, ""); err != nil {
		glob = false // such as a [ that is never closed: it can only be a name
	}
	if glob {
		prefix = clean(p[:strings.LastIndex(p[:strings.IndexAny(p, `*?[`)], "/")+1])
	}
	depth := strings.Count(p, "/")
	return s.with(ctx, from, id, func(r *catalog.Reader) error {
		return r.Walk(ctx, prefix, func(e catalog.Entry) (bool, error) {
			if top := cut(e.Path, depth); glob && top != p {
				ok, err := path.Match(p, top)
				if err != nil {
					return false, status.Errorf(status.BadParameter, "pattern %s: %w", p, err)
				}
				if !ok {
					return true, nil
				}
			}
			fn(e)
			return true, nil
		})
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
	path         string // kept only if later images have to be asked, or of a hard link
	link         string // of a hard link: the first name
	dir          bool
}

func newMember(e *catalog.Entry) member {
	m := member{Range: Range{e.Offset, e.End() - e.Offset}, files: e.Files(), bytes: e.DataLen, dir: e.Type == catalog.Directory}
	if e.Type == catalog.HardLink {
		m.link = e.Link
	}
	return m
}

// firstNames replaces a hard link whose first name is not taken by the member of
// that name, which has the data, to be written under the link's name.
func (s *Server) firstNames(ctx context.Context, from pbx.Peer, id string, ms []member, sel *Selected) ([]member, error) {
	have := map[int64]bool{}
	links := false
	for i := range ms {
		have[ms[i].Offset] = true
		links = links || ms[i].link != ""
	}
	if !links {
		return ms, nil
	}
	err := s.with(ctx, from, id, func(r *catalog.Reader) error {
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
	})
	return ms, err
}

// newest leaves out the members whose path a later image holds.
func (s *Server) newest(ctx context.Context, from pbx.Peer, later []string, ms []member) ([]member, error) {
	for _, id := range later {
		kept := ms[:0]
		err := s.with(ctx, from, id, func(r *catalog.Reader) error {
			for _, m := range ms {
				_, found, err := r.Lookup(ctx, m.path)
				if err != nil {
					return err
				}
				if !found {
					kept = append(kept, m)
				}
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
		ms = kept
	}
	return ms, nil
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
