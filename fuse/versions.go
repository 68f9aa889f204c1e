package fuse

import (
	"context"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"

	"capstan/core/catalog"
	"capstan/core/image"
)

// versions is a directory below versions/: directories as any image has them, and in the
// place of a file a directory of what it was at different times. What has been both has
// both.
func (s *system) versions(client, policy, at string) *dir {
	own := path.Join("/clients", client, policy, "versions")
	return &dir{s: s, path: join(own, at), wide: true, list: func(ctx context.Context) ([]child, error) {
		kinds, err := s.everSeen(ctx, s.images.of(ctx, client, policy), at)
		if err != nil {
			return nil, err
		}
		cs, err := s.versionsOf(ctx, s.images.of(ctx, client, policy), at)
		if err != nil {
			return nil, err
		}
		cs = slices.DeleteFunc(cs, func(c child) bool { // a file that is called like a time goes first
			return slices.ContainsFunc(kinds, func(k seen) bool { return k.name == c.name })
		})
		for _, k := range kinds {
			p := path.Join(at, k.name)
			if k.directory {
				cs = append(cs, child{name: k.name, make: func() fs.InodeEmbedder { return s.versions(client, policy, p) }})
				continue
			}
			cs = append(cs, child{name: k.name, make: func() fs.InodeEmbedder {
				return &dir{s: s, path: join(own, p), list: func(ctx context.Context) ([]child, error) {
					return s.versionsOf(ctx, s.images.of(ctx, client, policy), p)
				}}
			}})
		}
		return cs, nil
	}}
}

// seen is a name that a directory had at some time.
type seen struct {
	name      string
	directory bool
}

// everSeen are the names that a directory has had, in order. What has been a directory
// and a file is a directory.
func (s *system) everSeen(ctx context.Context, own []image.Header, dir string) ([]seen, error) {
	all := map[string]bool{}
	for i := range own {
		r, err := s.images.reader(ctx, own[i].ID)
		if err != nil {
			return nil, err
		}
		for after := ""; ; {
			page, err := r.List(ctx, dir, after, pageSize)
			if err != nil {
				return nil, err
			}
			for k := range page {
				after = path.Base(page[k].Path)
				all[after] = all[after] || page[k].Type == catalog.Directory
			}
			if len(page) < pageSize {
				break
			}
		}
	}
	names := make([]seen, 0, len(all))
	for name, directory := range all {
		names = append(names, seen{name, directory})
	}
	slices.SortFunc(names, func(a, b seen) int { return strings.Compare(a.name, b.name) })
	return names, nil
}

// versionsOf are the versions of a file by the time of the first image that holds each.
func (s *system) versionsOf(ctx context.Context, own []image.Header, p string) (cs []child, err error) {
	var last catalog.Entry
	for _, h := range own {
		r, err := s.images.reader(ctx, h.ID)
		if err != nil {
			return nil, err
		}
		e, ok, err := r.Lookup(ctx, p)
		if err != nil {
			return nil, err
		}
		if !ok || e.Type == catalog.Directory || same(&e, &last) {
			continue
		}
		last = e
		src := only(h)
		n, err := s.node(ctx, src, catalog.Found{Entry: e})
		if err != nil {
			return nil, err
		}
		cs = append(cs, child{
			name: time.Unix(h.Time, 0).In(s.cfg.Zone).Format("2006-01-02_150405"), mode: kind(n.e.Type),
			make: func() fs.InodeEmbedder { return n },
		})
	}
	return cs, nil
}

// same tells whether a file has not changed between two images.
func same(a, b *catalog.Entry) bool {
	return a.Path == b.Path && a.Type == b.Type && a.Size == b.Size && a.MTime == b.MTime && a.CTime == b.CTime &&
		a.Mode == b.Mode && a.UID == b.UID && a.GID == b.GID && a.Link == b.Link && a.XHash == b.XHash && a.CRC == b.CRC
}
