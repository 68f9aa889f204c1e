package bprd

import (
	"context"
	"fmt"
	"strings"

	"capstan/core/bpdbm"
	"capstan/core/catalog"
	"capstan/core/status"
)

// lackingSearches is how many pages of search results an error is worth.
const lackingSearches = 100

// lacking is the error for a path that the images looked at do not show. It says which
// of the client's images is the newest that holds it, and that it was deleted only if a
// later one says so: a policy may have ceased to take it. How far was searched is bounded.
func (s *Server) lacking(ctx context.Context, q *Request, path string, looked []string) error {
	none := fmt.Sprintf("%s is in no backup of %s that was looked at (%s)", path, q.Client, strings.Join(looked, ", "))
	if q.Image != "" {
		return status.Errorf(status.NotAllRestored, "%s", none)
	}
	all, err := s.images(ctx, q)
	gone, searches := "", 0
	for i := len(all) - 1; i >= 0 && err == nil; i-- {
		h := &all[i]
		search := bpdbm.Search{Client: q.Client, Policy: h.Policy, Pattern: path, Since: h.Time, Until: h.Time}
		for more := true; more; {
			if searches++; searches > lackingSearches {
				return status.Errorf(status.NotAllRestored, "%s, nor in those since %s; older ones were not searched: \"capstan find\" does", none, h.ID)
			}
			var p bpdbm.Matches
			if p, err = bpdbm.Find.Call(ctx, s.at(bpdbm.Service), search); err != nil {
				break
			}
			for _, m := range p.Matches {
				if m.Entry.Type != catalog.Gone {
					return status.Errorf(status.NotAllRestored, "%s is not in the newest backups of %s (%s): image %s of %s still holds %s, %s; restore from that one",
						path, q.Client, strings.Join(looked, ", "), h.ID, day(h.Began), m.Entry.Path, since(gone))
				}
				gone = h.ID
			}
			more, search.After = p.More, p.After
		}
	}
	if err != nil {
		return status.Errorf(status.NotAllRestored, "%s; older ones were not searched: %w", none, err)
	}
	return status.Errorf(status.NotAllRestored, "%s, nor in an older one", none)
}

// since says what became of a path after the last image that holds it; gone is the first
// one that says that it was no more, "" if none does.
func since(gone string) string {
	if gone == "" {
		return "and no later one says what became of it: it was deleted before a full backup, or the policy takes it no more"
	}
	return "and it was deleted before image " + gone
}
