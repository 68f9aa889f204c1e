package fuse

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"capstan/core/bpdbm"
	"capstan/core/catalog"
	"capstan/core/image"
	"capstan/core/pbx"
	"capstan/core/policy"
	"capstan/core/rt"
)

// images are those that the master shows this host or user.
type images struct {
	s      *system
	remote *bpdbm.Remote

	mu      sync.Mutex
	all     []image.Header // in order of time
	asked   time.Time
	change  time.Time // when they last changed
	readers map[string]*catalog.Reader
	flight  singleflight.Group // of refreshes
}

// fresh is how long the list of images is believed, moment how long one who looks waits
// for it.
const (
	fresh  = 3 * time.Second
	moment = time.Second
)

func newImages(s *system, remote *bpdbm.Remote) *images {
	return &images{s: s, remote: remote, readers: map[string]*catalog.Reader{}}
}

// refresh asks the master.
func (m *images) refresh(ctx context.Context) error {
	var all []image.Header
	for after := ""; ; {
		p, err := bpdbm.Images.Call(ctx, pbx.At(m.s.cfg.Master, bpdbm.Service), bpdbm.Query{After: after})
		if err != nil {
			return err
		}
		all = append(all, p.Images...)
		if !p.More || len(p.Images) == 0 {
			break
		}
		after = p.Images[len(p.Images)-1].ID
	}
	slices.SortStableFunc(all, func(a, b image.Header) int { return int(a.Time - b.Time) })
	m.mu.Lock()
	defer m.mu.Unlock()
	if !slices.EqualFunc(all, m.all, func(a, b image.Header) bool { return a.ID == b.ID && a.Expires == b.Expires }) || m.change.IsZero() {
		m.change = time.Now()
		live := map[string]bool{}
		for i := range all {
			live[all[i].ID] = true
		}
		for id := range m.readers {
			if !live[id] {
				delete(m.readers, id) // what was cached of it ages
			}
		}
	}
	m.all, m.asked = all, time.Now()
	return nil
}

// list is what there is. While the master does not answer it is what there was: it is
// asked in the background, and waited for a moment.
func (m *images) list(ctx context.Context) []image.Header {
	m.mu.Lock()
	old := time.Since(m.asked) > fresh
	if old {
		m.asked = time.Now() // one asks, the others go on with what is known
	}
	m.mu.Unlock()
	if old {
		wctx, cancel := rt.WithTimeout(ctx, moment)
		_, err := shared(wctx, &m.flight, "", func() (struct{}, error) { return struct{}{}, m.refresh(m.s.task("images")) })
		cancel()
		if err != nil {
			m.s.log.Warn("the master does not tell its images", "error", err)
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.all
}

func (m *images) changed() time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.change
}

// of are the images of a client and policy.
func (m *images) of(ctx context.Context, client, policy string) (own []image.Header) {
	for _, h := range m.list(ctx) {
		if h.Client == client && h.Policy == policy {
			own = append(own, h)
		}
	}
	return own
}

// reader opens the catalog of an image, once.
func (m *images) reader(ctx context.Context, id string) (*catalog.Reader, error) {
	m.mu.Lock()
	r := m.readers[id]
	m.mu.Unlock()
	if r != nil {
		return r, nil
	}
	r, err := m.remote.Open(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("the files of image %s: %w", id, err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if other := m.readers[id]; other != nil {
		return other, nil
	}
	m.readers[id] = r
	return r, nil
}

// source is a tree of files: one image, or several that together show a client as it
// was.
type source struct {
	key    string // what it is known by
	images []image.Header
}

// view reads a source.
func (m *images) view(ctx context.Context, src *source) (*catalog.View, error) {
	readers := make([]*catalog.Reader, len(src.images))
	for i := range src.images {
		var err error
		if readers[i], err = m.reader(ctx, src.images[i].ID); err != nil {
			return nil, err
		}
	}
	return catalog.NewView(readers...), nil
}

// only is what exactly one image holds.
func only(h image.Header) *source { return &source{"image " + h.ID, []image.Header{h}} }

// asOf is the client as it was when an image was made. own are the images of its client
// and policy.
func asOf(own []image.Header, h image.Header) *source {
	at := slices.IndexFunc(own, func(o image.Header) bool { return o.ID == h.ID })
	chain := image.Chain(own[:at+1])
	ids := make([]string, len(chain))
	for i := range chain {
		ids[i] = chain[i].ID
	}
	return &source{fmt.Sprintf("as of %s %x", h.ID, inode(ids...)), chain} // one of them may expire
}

// names are the names of a policy's images by time, as they stand below the day: the
// minute and the type. Of two in one minute all but the first have the second, too, and
// every image is also found by that.
func names(own []image.Header, zone *time.Location) map[string]string {
	taken := map[string]bool{}
	all := map[string]string{}
	for i := range own {
		h := &own[i]
		t := time.Unix(h.Time, 0).In(zone)
		day := t.Format("2006/01/02/")
		short, long := t.Format("1504_"), t.Format("150405_")
		name := day + short + typeWord(h)
		if taken[name] {
			name = day + long + typeWord(h)
		}
		taken[name] = true
		all[h.ID] = name
	}
	return all
}

func typeWord(h *image.Header) string {
	switch policy.Type(h.Type) {
	case policy.Full:
		return "full"
	case "":
		return "image"
	}
	return "incr"
}
