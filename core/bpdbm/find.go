package bpdbm

import (
	"context"

	"capstan/core/catalog"
	"capstan/core/image"
	"capstan/core/pbx"
	"capstan/core/status"
	"capstan/core/store"
)

// Search asks in which images of a client the files are that a pattern is of: see
// [catalog.Pattern].
type Search struct {
	Client  string `json:"client"`
	Policy  string `json:"policy,omitempty"`
	Pattern string `json:"pattern"`
	Fold    bool   `json:"fold,omitempty"`  // ASCII letters of both cases are the same
	Since   int64  `json:"since,omitempty"` // backup time at least
	Until   int64  `json:"until,omitempty"` // backup time at most; 0 is any
	After   Place  `json:"after,omitzero"`  // where the page before ended
}

// Place is how far a search has come.
type Place struct {
	BackupID string `json:"backupId"`
	Path     string `json:"path,omitempty"` // looked at; "" is all of the image
}

// Match is a file that was found. Its type is [catalog.Gone] if the pattern is one
// path, and the image says that it was no more, or a directory that it may have
// been in.
type Match struct {
	BackupID string        `json:"backupId"`
	Time     int64         `json:"time"` // of the backup
	Entry    catalog.Entry `json:"entry"`
}

// Matches is a part of the answer to [Search]: by image, the oldest first, and by
// path. It may be empty and still have more after it.
type Matches struct {
	Matches []Match `json:"matches"`
	More    bool    `json:"more"`
	After   Place   `json:"after,omitzero"` // to be asked after, if there is more
}

// What one call looks at, at most: so that it returns after some tenths of a second.
const (
	searchMatches = 1000
	searchEntries = 2_000_000
	searchImages  = 100
)

func (s *Server) find(ctx context.Context, from pbx.Peer, q Search) (p Matches, err error) {
	if !from.Is(pbx.Master|pbx.Media|pbx.User) && q.Client != from.Name {
		return p, status.Errorf(status.ClientNotAllowed, "%s may not search the images of %s", from, q.Client)
	}
	pattern, err := catalog.NewPattern(q.Pattern, q.Fold)
	if err != nil {
		return p, status.Errorf(status.BadParameter, "%w", err)
	}
	hs, err := s.searched(ctx, &q)
	if err != nil {
		return p, err
	}
	left := searchEntries
	for i := range hs {
		h := &hs[i]
		if i == searchImages || left <= 0 {
			p.More, p.After = true, Place{BackupID: hs[i-1].ID}
			return p, nil
		}
		after := ""
		if h.ID == q.After.BackupID {
			after = q.After.Path
		}
		next, seen, err := s.findIn(ctx, h, pattern, after, left, &p)
		if err != nil {
			return p, err
		}
		if next != "" {
			p.More, p.After = true, Place{h.ID, next}
			return p, nil
		}
		left -= seen
	}
	return p, nil
}

// findIn adds the matches of one image.
func (s *Server) findIn(ctx context.Context, h *image.Header, pattern *catalog.Pattern, after string, budget int, p *Matches) (next string, seen int, err error) {
	err = s.reading(ctx, []image.Header{*h}, func(rs []*catalog.Reader) (err error) {
		next, seen, err = rs[0].Find(ctx, pattern, after, budget, func(e catalog.Entry) (bool, error) {
			p.Matches = append(p.Matches, Match{h.ID, h.Time, e})
			return len(p.Matches) < searchMatches, nil
		})
		return err
	})
	return next, seen, err
}

// searched are the images that a search has not done with, oldest first.
func (s *Server) searched(ctx context.Context, q *Search) (hs []image.Header, err error) {
	first, last := image.ClientKey(q.Client, q.Since), store.PrefixEnd(store.PairKey(q.Client, ""))
	err = s.db.View(ctx, func(tx store.Tx) error {
		hs = nil
		if q.After.BackupID != "" {
			h, ok, err := image.Table.Get(tx, q.After.BackupID)
			if err != nil {
				return err
			}
			if !ok || h.Client != q.Client {
				return status.Errorf(status.NoImage, "image %s is gone: search again", q.After.BackupID)
			}
			if first = image.ClientKey(h.Client, h.Time); q.After.Path == "" {
				first += "\x00"
			}
		}
		return image.Table.By(tx, "client", first, last, func(h image.Header) (bool, error) {
			if q.Until != 0 && h.Time > q.Until {
				return false, nil
			}
			if h.Complete && (q.Policy == "" || h.Policy == q.Policy) {
				hs = append(hs, h)
			}
			return len(hs) <= searchImages, nil
		})
	})
	if err != nil {
		return nil, failed(err)
	}
	return hs, nil
}
