package fuse

import (
	"cmp"
	"context"
	"fmt"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"capstan/core/archive"
	"capstan/core/bprd"
	"capstan/core/bprestore"
	"capstan/core/catalog"
	"capstan/core/stage"
	"capstan/core/status"
)

// requests are what was asked for by .restore/, by number.
type requests struct {
	s   *system
	mu  sync.Mutex
	all []*request
}

// request is one: files to be staged here, or to be restored to a client.
type request struct {
	id     int
	to     string // the client that receives; "" is this mount's staging directory
	asked  time.Time
	files  []stage.File // until it has ended
	count  int
	bytes  int64
	media  []string
	job    int64
	state  string // "estimated", "running", "done", "failed"
	detail string
	ended  time.Time
}

// Bounds of requests: how many are remembered, and how many files one has.
const (
	rememberedRequests = 1000
	maxRequestFiles    = 200_000
)

func newRequests(s *system) *requests { return &requests{s: s} }

// begin notes a request, tells its cost, and starts it.
func (q *requests) begin(to string, files []stage.File) *request {
	r := &request{to: to, asked: time.Now(), files: files, count: len(files), state: "estimated"}
	for _, f := range files {
		r.bytes += f.Bytes
		if f.Media != "" && !slices.Contains(r.media, f.Media) {
			r.media = append(r.media, f.Media)
		}
	}
	q.mu.Lock()
	r.id = 1
	if n := len(q.all); n > 0 {
		r.id = q.all[n-1].id + 1
	}
	if q.all = append(q.all, r); len(q.all) > rememberedRequests {
		q.all = q.all[1:]
	}
	q.mu.Unlock()
	go q.run(r)
	return r
}

// run is the request's one restore job.
func (q *requests) run(r *request) {
	ctx := q.s.task("request")
	var err error
	if r.to == "" {
		err = q.stage(ctx, r)
	} else {
		err = q.send(ctx, r)
	}
	q.set(func() {
		r.state, r.ended, r.files = "done", time.Now(), nil
		if err != nil {
			r.state, r.detail = "failed", err.Error()
		}
	})
}

// set changes a request.
func (q *requests) set(change func()) {
	q.mu.Lock()
	defer q.mu.Unlock()
	change()
}

// stage brings files to this host.
func (q *requests) stage(ctx context.Context, r *request) error {
	var missing []stage.File
	for _, f := range r.files {
		if _, there := q.s.staged.blocks(keyOf(f.Image, f.Path)); !there && f.Bytes > 0 {
			missing = append(missing, f)
		}
	}
	if bytes := total(missing); !q.s.staged.fits(bytes) {
		return fmt.Errorf("%d bytes do not fit into the staging directory, which holds %d and keeps for a day what was staged", bytes, q.s.cfg.Limit)
	}
	var err error
	if len(missing) > 0 {
		q.set(func() { r.state = "running" })
		slices.SortStableFunc(missing, byPlace)
		err = q.s.fetchFiles(ctx, r.files[0].Client, missing, func(id int64) { q.set(func() { r.job = id }) })
	}
	for _, f := range r.files {
		q.s.staged.pin(keyOf(f.Image, f.Path), time.Now().Add(pinned))
	}
	return err
}

func total(files []stage.File) (bytes int64) {
	for i := range files {
		bytes += files[i].Bytes
	}
	return bytes
}

// pinned is how long staged files stay that somebody has asked for.
const pinned = 24 * time.Hour

func byPlace(a, b stage.File) int {
	if a.Media != b.Media {
		return strings.Compare(a.Media, b.Media)
	}
	return int(a.Block - b.Block)
}

// send restores files to a client, at their places; what exists there stays.
func (q *requests) send(ctx context.Context, r *request) error {
	id, err := bprestore.Ask(ctx, q.s.cfg.Master, bprd.Request{Client: r.files[0].Client, To: r.to, Parts: parts(r.files), Overwrite: archive.Never})
	if err != nil {
		return err
	}
	q.set(func() { r.state, r.job = "running", id })
	return q.s.follow(ctx, id)
}

// text is what can be read of a request.
func (q *requests) text(r *request) []byte {
	q.mu.Lock()
	defer q.mu.Unlock()
	var b strings.Builder
	line := func(key string, value any) { fmt.Fprintf(&b, "%-10s %v\n", key+":", value) }
	line("request", r.id)
	if r.to != "" {
		line("to", r.to)
	}
	line("state", r.state)
	line("files", r.count)
	line("bytes", r.bytes)
	line("mounts", len(r.media))
	line("media", strings.Join(r.media, " "))
	line("estimate", waitFor(len(r.media), r.bytes))
	line("asked", r.asked.Format(time.DateTime))
	if r.job != 0 {
		line("job", r.job)
	}
	if !r.ended.IsZero() {
		line("ended", r.ended.Format(time.DateTime))
	}
	if r.detail != "" {
		line("detail", r.detail)
	}
	return []byte(b.String())
}

func (q *requests) list() []*request {
	q.mu.Lock()
	defer q.mu.Unlock()
	return slices.Clone(q.all)
}

// below are the files at and below a file of a source that somebody may read. What he
// names himself he must be able to read.
func (s *system) below(ctx context.Context, src *source, p string, who person) (files []stage.File, err error) {
	v, err := s.images.view(ctx, src)
	if err != nil {
		return nil, err
	}
	if ok, err := who.reaches(ctx, v, p); err != nil || !ok {
		return nil, cmp.Or(err, errForbidden)
	}
	closed := map[string]bool{} // directories that he may not search
	err = v.Walk(ctx, p, func(f catalog.Found) (bool, error) {
		n, err := s.node(ctx, src, f)
		if err != nil {
			return false, err
		}
		isDir := n.e.Type == catalog.Directory
		if closed[path.Dir(f.Path)] || isDir && !who.may(&n.e, searchable) || !isDir && !who.may(&n.e, readable) {
			closed[f.Path] = isDir
			if f.Path == p {
				return false, errForbidden
			}
			return true, nil
		}
		if n.e.Type != catalog.Directory || f.Path == p {
			files = append(files, n.wanted())
		}
		if len(files) > maxRequestFiles {
			return false, fmt.Errorf("%s holds more than %d files: ask for less, or use capstan restore", path.Join("/", p), maxRequestFiles)
		}
		return true, nil
	})
	if err == nil && len(files) == 0 {
		err = status.Errorf(status.NotFound, "%s is not there", p)
	}
	return files, err
}
