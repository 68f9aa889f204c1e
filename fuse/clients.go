package fuse

import (
	"context"
	"maps"
	"path"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"

	"capstan/core/image"
)

// clientsDir is clients/.
func (s *system) clientsDir() *dir {
	return &dir{s: s, path: "/clients", list: func(ctx context.Context) ([]child, error) {
		return s.level(ctx, "/clients", func(h *image.Header) string { return h.Client }, func(h *image.Header, at string) *dir {
			return s.clientDir(h.Client, at)
		}), nil
	}}
}

// level is one directory for each value that images have.
func (s *system) level(ctx context.Context, at string, of func(h *image.Header) string, below func(h *image.Header, at string) *dir) []child {
	found := map[string]image.Header{}
	for _, h := range s.images.list(ctx) {
		if name := of(&h); name != "" {
			found[name] = h
		}
	}
	var cs []child
	for _, name := range slices.Sorted(maps.Keys(found)) {
		h := found[name]
		cs = append(cs, child{name: name, make: func() fs.InodeEmbedder { return below(&h, join(at, name)) }})
	}
	return cs
}

// clientDir is clients/<client>/.
func (s *system) clientDir(client, at string) *dir {
	return &dir{s: s, path: at, list: func(ctx context.Context) ([]child, error) {
		return s.level(ctx, at, func(h *image.Header) string {
			if h.Client != client {
				return ""
			}
			return h.Policy
		}, func(h *image.Header, at string) *dir { return s.policyDir(client, h.Policy, at) }), nil
	}}
}

// policyDir is clients/<client>/<policy>/: years, and what the years do not show.
func (s *system) policyDir(client, policy, at string) *dir {
	return &dir{s: s, path: at, list: func(ctx context.Context) ([]child, error) {
		own := s.images.of(ctx, client, policy)
		if len(own) == 0 {
			return nil, nil
		}
		newest := names(own, s.cfg.Zone)[own[len(own)-1].ID]
		cs := []child{
			{name: "@images", make: func() fs.InodeEmbedder { return s.imagesDir(client, policy, join(at, "@images")) }},
			{name: "compare", make: func() fs.InodeEmbedder { return s.compareDir(client, policy, join(at, "compare")) }},
			{name: "latest", mode: syscall.S_IFLNK, of: newest, make: func() fs.InodeEmbedder { return &link{target: newest} }},
			{name: "versions", make: func() fs.InodeEmbedder { return s.versions(client, policy, "/") }},
		}
		return append(cs, s.days(client, policy, at, own, "")...), nil
	}}
}

// days are the names below a part of a date: years, months, days, and in a day images.
func (s *system) days(client, policy, at string, own []image.Header, below string) (cs []child) {
	all := names(own, s.cfg.Zone)
	seen := map[string]bool{}
	for i := range own {
		rest, ok := strings.CutPrefix(all[own[i].ID], below)
		if !ok {
			continue
		}
		name, deeper, _ := strings.Cut(rest, "/")
		if seen[name] {
			continue
		}
		seen[name] = true
		if deeper == "" {
			src := asOf(own, own[i])
			cs = append(cs, child{name: name, of: src.key, make: func() fs.InodeEmbedder { return s.tree(src) }})
			continue
		}
		cs = append(cs, child{name: name, make: func() fs.InodeEmbedder { return s.dayDir(client, policy, join(at, name), below+name+"/") }})
	}
	return cs
}

// dayDir is a year, a month or a day. An image is found in its day by its second, too.
func (s *system) dayDir(client, policy, at, below string) *dir {
	return &dir{
		s: s, path: at,
		list: func(ctx context.Context) ([]child, error) {
			return s.days(client, policy, at, s.images.of(ctx, client, policy), below), nil
		},
		find: func(ctx context.Context, name string) (child, bool) {
			own := s.images.of(ctx, client, policy)
			for _, h := range own {
				if time.Unix(h.Time, 0).In(s.cfg.Zone).Format("2006/01/02/150405_")+typeWord(&h) == below+name {
					src := asOf(own, h)
					return child{name: name, of: src.key, make: func() fs.InodeEmbedder { return s.tree(src) }}, true
				}
			}
			return child{}, false
		},
	}
}

// imagesDir is @images/: each is exactly what one image holds.
func (s *system) imagesDir(client, policy, at string) *dir {
	return &dir{s: s, path: at, list: func(ctx context.Context) ([]child, error) {
		return s.imageTrees(s.images.of(ctx, client, policy)), nil
	}}
}

func (s *system) imageTrees(own []image.Header) (cs []child) {
	for _, h := range own {
		cs = append(cs, child{name: h.ID, make: func() fs.InodeEmbedder { return s.tree(only(h)) }})
	}
	return cs
}

// mediaDir is media/: cartridges by barcode, and the images of which each holds a part.
func (s *system) mediaDir() *dir {
	return &dir{s: s, path: "/media", list: func(ctx context.Context) ([]child, error) {
		on := map[string][]image.Header{}
		for _, h := range s.images.list(ctx) {
			for i := range h.Fragments {
				m := h.Fragments[i].Media
				if own := on[m]; m != "" && (len(own) == 0 || own[len(own)-1].ID != h.ID) {
					on[m] = append(own, h)
				}
			}
		}
		var cs []child
		for _, m := range slices.Sorted(maps.Keys(on)) {
			cs = append(cs, child{name: m, make: func() fs.InodeEmbedder {
				return &dir{s: s, path: path.Join("/media", m), list: func(context.Context) ([]child, error) { return s.imageTrees(on[m]), nil }}
			}})
		}
		return cs, nil
	}}
}
