package bpdbm

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"capstan/core/catalog"
	"capstan/core/image"
	"capstan/core/pbx"
	"capstan/core/rt"
	"capstan/core/status"
	"capstan/core/store"
)

// readers keeps some .f files open.
type readers struct {
	lock  *rt.Mutex
	open  map[string]*held
	order []string // least recently used first
}

// held is an open .f file.
type held struct {
	*catalog.Reader
	users  int
	closed bool // by the last user: the image leaves the catalog
}

// maxReaders is how many .f files are kept open while nobody reads them.
const maxReaders = 256

func (r *readers) init(ctx context.Context) {
	r.lock = rt.NewMutex(ctx)
	r.open = map[string]*held{}
}

// with runs fn on the reader of an image.
func (s *Server) with(ctx context.Context, from pbx.Peer, id string, fn func(r *catalog.Reader) error) error {
	h, err := s.header(ctx, from, id)
	if err != nil {
		return err
	}
	return s.reading(ctx, []image.Header{h}, func(rs []*catalog.Reader) error { return fn(rs[0]) })
}

// reading runs fn on the readers of images.
func (s *Server) reading(ctx context.Context, hs []image.Header, fn func(rs []*catalog.Reader) error) error {
	var use []*held
	defer func() {
		s.read.lock.Lock(ctx)
		defer s.read.lock.Unlock(ctx)
		for _, h := range use {
			s.read.release(h)
		}
	}()
	rs := make([]*catalog.Reader, len(hs))
	for i := range hs {
		h, err := s.acquire(ctx, &hs[i])
		if err != nil {
			return failed(fmt.Errorf("image %s: %w", hs[i].ID, err))
		}
		use = append(use, h)
		rs[i] = h.Reader
	}
	if err := fn(rs); err != nil {
		if len(hs) == 0 {
			return failed(err)
		}
		return failed(fmt.Errorf("image %s: %w", hs[len(hs)-1].ID, err))
	}
	return nil
}

// acquire opens an image's file, if need be, and keeps it open until release.
func (s *Server) acquire(ctx context.Context, h *image.Header) (*held, error) {
	s.read.lock.Lock(ctx)
	defer s.read.lock.Unlock(ctx)
	x := s.read.open[h.ID]
	if x == nil {
		r, err := catalog.Open(ctx, s.dir, h.FileName()+".f", s.cache)
		if err != nil {
			return nil, err
		}
		x = &held{Reader: r}
		s.read.open[h.ID] = x
		s.read.evict()
	}
	x.users++
	s.read.order = append(slices.DeleteFunc(s.read.order, func(o string) bool { return o == h.ID }), h.ID)
	return x, nil
}

// evict closes the files that nobody reads, those used longest ago first, until few
// enough are open.
func (r *readers) evict() {
	for i := 0; len(r.open) > maxReaders && i < len(r.order); {
		id := r.order[i]
		if r.open[id].users > 0 {
			i++
			continue
		}
		_ = r.open[id].Close() // it was only read
		delete(r.open, id)
		r.order = slices.Delete(r.order, i, i+1)
	}
}

func (r *readers) release(x *held) {
	if x.users--; x.users == 0 && x.closed {
		_ = x.Close() // it was only read
	}
}

// closeReader closes an image's .f file, if it is open, as soon as nobody reads it.
func (s *Server) closeReader(ctx context.Context, id string) error {
	s.read.lock.Lock(ctx)
	defer s.read.lock.Unlock(ctx)
	x := s.read.open[id]
	if x == nil {
		return nil
	}
	delete(s.read.open, id)
	s.read.order = slices.DeleteFunc(s.read.order, func(o string) bool { return o == id })
	if x.closed = true; x.users > 0 {
		return nil
	}
	return x.Close()
}

// chain is an image with those before it that it builds on, oldest first.
func (s *Server) chain(ctx context.Context, h *image.Header) (hs []image.Header, err error) {
	if h.Since == 0 {
		return []image.Header{*h}, nil
	}
	err = s.db.View(ctx, func(tx store.Tx) error {
		hs = nil
		return image.Table.By(tx, "client", image.ClientKey(h.Client, 0), image.ClientKey(h.Client, h.Time), func(o image.Header) (bool, error) {
			if o.Complete && o.Policy == h.Policy {
				hs = append(hs, o)
			}
			return true, nil
		})
	})
	if err != nil {
		return nil, failed(err)
	}
	return image.Chain(append(hs, *h)), nil
}

// chainOf is the chain of an image that is being written: it is asked for once for each
// directory that has changed, and stays what it is.
func (s *Server) chainOf(ctx context.Context, w *writing) (hs []image.Header, err error) {
	w.lock.Lock(ctx)
	defer w.lock.Unlock(ctx)
	if w.chain == nil {
		w.chain, err = s.chain(ctx, &w.header)
	}
	return w.chain, err
}

// view runs fn on what an image shows together with those that it builds on.
func (s *Server) view(ctx context.Context, from pbx.Peer, id string, fn func(v *catalog.View, hs []image.Header) error) error {
	h, err := s.header(ctx, from, id)
	if err != nil {
		return err
	}
	hs, err := s.chain(ctx, &h)
	if err != nil {
		return err
	}
	return s.reading(ctx, hs, func(rs []*catalog.Reader) error { return fn(catalog.NewView(rs...), hs) })
}

// Before asks what the images show that one being written builds on, at a path or,
// page by page, in a directory.
type Before struct {
	BackupID string `json:"backupId"`
	Path     string `json:"path"`
	Names    bool   `json:"names,omitempty"` // in the directory Path
	After    string `json:"after,omitempty"` // the last name of the page before
}

// Known is a part of the answer to [Before].
type Known struct {
	Known []catalog.Known `json:"known"`
	More  bool            `json:"more"`
}

// maxKnown is how many names one message carries.
const maxKnown = 5000

func (s *Server) before(ctx context.Context, from pbx.Peer, q Before) (p Known, err error) {
	w, err := s.writing(from, q.BackupID)
	if err != nil {
		return p, err
	}
	hs, err := s.chainOf(ctx, w)
	if err != nil {
		return p, err
	}
	err = s.reading(ctx, hs[:len(hs)-1], func(rs []*catalog.Reader) error {
		v := catalog.NewView(rs...)
		if !q.Names {
			f, ok, err := v.Lookup(ctx, clean(q.Path))
			if ok {
				p.Known = append(p.Known, catalog.KnownOf(&f.Entry))
			}
			return err
		}
		fs, err := v.List(ctx, clean(q.Path), q.After, maxKnown+1)
		if p.More = len(fs) > maxKnown; p.More {
			fs = fs[:maxKnown]
		}
		for i := range fs {
			p.Known = append(p.Known, catalog.KnownOf(&fs[i].Entry))
		}
		return err
	})
	if errors.Is(err, store.ErrNotFound) { // an image of the chain has just expired
		err = status.Errorf(status.NoImage, "what image %s builds on is gone: %w", q.BackupID, err)
	}
	return p, err
}
