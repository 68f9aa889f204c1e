package fuse

import (
	"cmp"
	"context"
	"fmt"
	"path"
	"slices"
	"strings"
	"sync"
	"syscall"
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
	s       *system
	mu      sync.Mutex
	all     []*request
	open    int // how many have not ended
	files   int // of these
	writing int // bytes of lists that are being written
}

// request is one: files to be staged here, or to be restored to a client.
type request struct {
	id     int
	to     string // the client that receives; "" is this mount's staging directory
	user   string
	asked  time.Time
	files  []stage.File // by image and path, until it has ended
	count  int
	bytes  int64
	media  []string
	jobs   []int64
	state  string // "estimated", "running", "done", "failed"
	detail string
	ended  time.Time
}

// Bounds of requests: how many are remembered, how many have not ended, and how many
// files one of these has, and all of them.
const (
	rememberedRequests = 1000
	openRequests       = 100
	maxRequestFiles    = 200_000
	maxOpenFiles       = 2 * maxRequestFiles
)

// errTooBusy is that too much is asked for at a time.
var errTooBusy = fmt.Errorf("too many requests have not ended: ask when they have: %w", syscall.EAGAIN)

func newRequests(s *system) *requests { return &requests{s: s} }

// begin notes a request, tells its cost, and starts it.
func (q *requests) begin(to, user string, files []stage.File) (*request, error) {
	slices.SortFunc(files, byName)
	files = slices.CompactFunc(files, func(a, b stage.File) bool { return byName(a, b) == 0 })
	r := &request{to: to, user: user, asked: time.Now(), files: files, count: len(files), state: "estimated"}
	for _, f := range files {
		r.bytes += f.Bytes
		if f.Media != "" && !slices.Contains(r.media, f.Media) {
			r.media = append(r.media, f.Media)
		}
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.open >= openRequests || q.files+len(files) > maxOpenFiles {
		return nil, errTooBusy
	}
	q.open++
	q.files += len(files)
	r.id = 1
	if n := len(q.all); n > 0 {
		r.id = q.all[n-1].id + 1
	}
	if q.all = append(q.all, r); len(q.all) > rememberedRequests {
		q.all = q.all[1:]
	}
	go q.run(r)
	return r, nil
}

func byName(a, b stage.File) int {
	return cmp.Or(strings.Compare(a.Image, b.Image), strings.Compare(a.Path, b.Path))
}

// run has a request's files brought.
func (q *requests) run(r *request) {
	ctx := q.s.task("request")
	var err error
	if r.to == "" {
		err = q.stage(ctx, r)
	} else {
		err = q.s.stager.Do(ctx, func(ctx context.Context) error { return q.send(ctx, r) })
	}
	q.set(func() {
		q.open--
		q.files -= r.count
		r.state, r.ended, r.files = "done", time.Now(), nil
		if err != nil {
			r.state, r.detail = "failed", err.Error()
		}
	})
}

// writes counts the text that is being written, and tells whether there is room for it.
func (q *requests) writes(bytes int) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if bytes > 0 && q.writing+bytes > maxText {
		return false
	}
	q.writing += bytes
	return true
}

// set changes a request.
func (q *requests) set(change func()) {
	q.mu.Lock()
	defer q.mu.Unlock()
	change()
}

// stage brings files to this host, and keeps them.
func (q *requests) stage(ctx context.Context, r *request) error {
	if err := q.checkOld(ctx, r); err != nil {
		return err
	}
	claimed, err := q.s.staged.claim(r.files)
	if err != nil {
		return err
	}
	err = q.s.stager.WantAll(ctx, q.missing(r), r.user)
	kept := claimed.release()
	switch n := len(q.missing(r)); {
	case n == 0:
		return kept // whatever the jobs say: what was damaged was another's, in the same job
	case err == nil:
		return fmt.Errorf("%d files did not come with their restores", n)
	}
	return err
}

// checkOld has the old files of a request checked: those that are bad are missing then.
func (q *requests) checkOld(ctx context.Context, r *request) error {
	for _, f := range r.files {
		key := keyOf(f.Image, f.Path)
		if !q.s.staged.old(key) {
			continue
		}
		of, err := q.s.images.reader(ctx, f.Image)
		if err != nil {
			return err
		}
		e, _, err := of.Lookup(ctx, f.Path)
		if err != nil {
			return err
		}
		h, err := q.s.staged.open(ctx, key, &e)
		if h != nil {
			err = h.close()
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// missing are the files of a request that have contents, and are not staged.
func (q *requests) missing(r *request) (files []stage.File) {
	for _, f := range r.files {
		if _, there := q.s.staged.blocks(keyOf(f.Image, f.Path)); !there && f.Bytes > 0 {
			files = append(files, f)
		}
	}
	return files
}

// began notes a job that brings files: with the requests that want one of them.
func (q *requests) began(job int64, files []stage.File) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, r := range q.all {
		if r.to == "" && slices.ContainsFunc(files, func(f stage.File) bool {
			_, wants := slices.BinarySearchFunc(r.files, f, byName)
			return wants
		}) {
			r.state, r.jobs = "running", append(r.jobs, job)
		}
	}
}

func total(files []stage.File) (bytes int64) {
	for i := range files {
		bytes += files[i].Bytes
	}
	return bytes
}

// send restores files to a client, at their places; what exists there stays.
func (q *requests) send(ctx context.Context, r *request) error {
	id, err := bprestore.Ask(ctx, q.s.cfg.Master, bprd.Request{Client: r.files[0].Client, To: r.to, Parts: parts(r.files), Overwrite: archive.Never})
	if err != nil {
		return err
	}
	q.set(func() { r.state, r.jobs = "running", []int64{id} })
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
	if len(r.jobs) > 0 {
		line("job", strings.Trim(fmt.Sprint(r.jobs), "[]"))
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
