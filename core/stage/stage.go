package stage

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"capstan/core/catalog"
	"capstan/core/image"
	"capstan/core/rt"
)

// File is a file that is wanted, and where it lies.
type File struct {
	Image  string // backup id of the image that holds it
	Client string
	Path   string
	Bytes  int64
	Place
}

// Place is where a file begins: a cartridge and a logical object on it, or a disk.
type Place struct {
	Media string // "" is disk
	Block int64
	// More are the cartridges on which it goes on.
	More []string
}

// PlaceOf finds where an entry of an image is, on the copy with the lowest number.
func PlaceOf(h *image.Header, e *catalog.Entry) (p Place) {
	found := false
	for i := range h.Fragments {
		f := &h.Fragments[i]
		switch {
		case f.Copy != h.Fragments[0].Copy:
		case e.Offset >= f.Offset && e.Offset < f.Offset+f.Length:
			p.Media, p.Block, found = f.Media, f.Block+(e.Offset-f.Offset)/int64(max(f.BlockSize, 1)), true
		case found && f.Offset < e.End() && f.Media != p.Media && !slices.Contains(p.More, f.Media):
			p.More = append(p.More, f.Media)
		}
	}
	return p
}

// Batch is what one restore job fetches: files of one client on one cartridge, or on
// disk, in the order in which they stand there. Where files go on on another cartridge,
// from which more is wanted, both are in one batch: each is mounted once.
type Batch struct {
	Client string
	Media  []string
	Files  []File
}

// Rules bound what is gathered. The zero value of a field is the default.
type Rules struct {
	// Quiet is how long nothing new may be wanted of a cartridge before it is mounted:
	// programs open several files at once, and one mount serves them. 2 s.
	Quiet time.Duration
	// Longest is how long the first may be kept waiting so. 10 s.
	Longest time.Duration
	// Many are so many waiting files that nothing more is waited for. 64.
	Many int
	// Files bounds a job, and so how long others wait for the cartridge. A job for lists
	// alone has no such bound: nobody else waits for it. 2 000.
	Files int
	// Jobs is how many are run at a time: drives are also wanted by others. 2.
	Jobs int
	// Waits is how many files one user may wait for at a time by opening them. All users
	// together may wait for four times as many, so that one does not keep the others out.
	// 1 000.
	Waits int
	// Likely bounds the memory of what is only likely to be wanted. 20 000.
	Likely int
}

func (r Rules) orDefaults() Rules {
	return Rules{
		Quiet: cmp.Or(r.Quiet, 2*time.Second), Longest: cmp.Or(r.Longest, 10*time.Second), Many: cmp.Or(r.Many, 64),
		Files: cmp.Or(r.Files, 2000), Jobs: cmp.Or(r.Jobs, 2), Waits: cmp.Or(r.Waits, 1000), Likely: cmp.Or(r.Likely, 20_000),
	}
}

// Stager gathers what is wanted into jobs. Tasks share it.
type Stager struct {
	rules  Rules
	fetch  Fetch
	lock   rt.Lock
	lines  map[lineKey]*line
	likely int // wants that nobody waits for
	turns  []*turn
	busy   int
	waits  waits
	poke   *rt.Queue[struct{}]
}

// lineKey tells what one job can fetch together.
type lineKey struct{ client, media string }

type fileKey struct{ image, path string }

// line is what is wanted of one client from one cartridge.
type line struct {
	key     lineKey
	wants   map[fileKey]*want
	order   []*want // in order of arrival, and some that are gone
	running bool
	last    time.Duration // when somebody came last
}

// want is one file.
type want struct {
	File
	user    string // who wants it
	since   time.Duration
	waiters int  // 0: it is only likely to be wanted
	listed  bool // nobody has opened it: it is waited for as one of a list
	started bool
	gone    bool
	done    *rt.Event
	job     *outcome // that brought it
}

// outcome is what became of a job.
type outcome struct{ err error }

// Fetch runs a restore job to its end. It may say of a file that it has come: who waits
// for it goes on then, whatever becomes of the others.
type Fetch func(ctx context.Context, b Batch, came func(f File)) error

// New makes a stager. Its tasks end with ctx.
func New(ctx context.Context, rules Rules, fetch Fetch) *Stager {
	s := &Stager{rules: rules.orDefaults(), fetch: fetch, lock: rt.NewLock(ctx), lines: map[lineKey]*line{}, poke: rt.NewQueue[struct{}](ctx, 0)}
	s.waits.of = map[string]int{}
	rt.Go(ctx, "stage", s.run)
	return s
}

// Want waits until a file that somebody has opened was fetched for him. If the wait is
// given up before its job has begun, and nobody else waits for the file, it is not
// fetched.
func (s *Stager) Want(ctx context.Context, f File, user string) error {
	return s.await(ctx, []File{f}, user, false)
}

// WantAll is Want for a list of files, each of them once. Files that somebody has opened
// go first on their cartridge; with none of them, a list is one job for each cartridge.
// The error is that of all jobs that failed.
func (s *Stager) WantAll(ctx context.Context, list []File, user string) error {
	return s.await(ctx, list, user, true)
}

func (s *Stager) await(ctx context.Context, files []File, user string, listed bool) error {
	ws := s.enqueue(ctx, files, user, listed)
	s.wake(ctx)
	var errs []error
	told := map[*outcome]bool{}
	for i, w := range ws {
		if err := w.done.Wait(ctx); err != nil {
			s.giveUp(ws[i:])
			return err
		}
		s.lock.Lock()
		w.waiters--
		job := w.job
		s.lock.Unlock()
		if job.err != nil && !told[job] {
			told[job] = true
			errs = append(errs, job.err)
		}
	}
	return errors.Join(errs...)
}

func (s *Stager) enqueue(ctx context.Context, files []File, user string, listed bool) []*want {
	now := rt.Mono(ctx)
	ws := make([]*want, len(files))
	s.lock.Lock()
	defer s.lock.Unlock()
	for i, f := range files {
		l := s.line(f)
		w, isNew := l.want(ctx, f, user, now)
		if w.waiters == 0 {
			w.since, w.user, w.listed = now, user, listed
			if !isNew && !w.started {
				s.likely--
			}
		}
		w.listed = w.listed && listed
		w.waiters++
		l.last = now
		ws[i] = w
	}
	return ws
}

// giveUp drops what nobody waits for any more.
func (s *Stager) giveUp(ws []*want) {
	s.lock.Lock()
	defer s.lock.Unlock()
	for _, w := range ws {
		if w.waiters--; w.waiters == 0 && !w.started && !w.gone {
			s.line(w.File).drop(w)
		}
	}
}

// Ahead says what will probably be wanted soon. It is fetched with what is waited for
// on the same cartridge, and costs no mount of its own. What is too much is forgotten.
func (s *Stager) Ahead(ctx context.Context, files []File, user string) {
	now := rt.Mono(ctx)
	s.lock.Lock()
	defer s.lock.Unlock()
	for _, f := range files {
		if s.likely >= s.rules.Likely {
			return
		}
		if _, isNew := s.line(f).want(ctx, f, user, now); isNew {
			s.likely++
		}
	}
}

// Wanted tells whether a file is waited for already, or likely to be.
func (s *Stager) Wanted(f File) bool {
	s.lock.Lock()
	defer s.lock.Unlock()
	l := s.lines[lineKey{f.Client, f.Media}]
	return l != nil && l.wants[fileKey{f.Image, f.Path}] != nil
}

// Waiting is how many files are waited for, and how many jobs run.
func (s *Stager) Waiting() (files, jobs int) {
	s.lock.Lock()
	defer s.lock.Unlock()
	for _, l := range s.lines { //capstan:unordered a sum
		for _, w := range l.order {
			if w.waiters > 0 && !w.gone {
				files++
			}
		}
	}
	return files, s.busy
}

func (s *Stager) line(f File) *line {
	k := lineKey{f.Client, f.Media}
	l := s.lines[k]
	if l == nil {
		l = &line{key: k, wants: map[fileKey]*want{}}
		s.lines[k] = l
	}
	return l
}

func (l *line) want(ctx context.Context, f File, user string, now time.Duration) (w *want, isNew bool) {
	k := fileKey{f.Image, f.Path}
	w = l.wants[k]
	if w == nil {
		w, isNew = &want{File: f, user: user, since: now, done: rt.NewEvent(ctx)}, true
		l.wants[k] = w
		l.order = append(l.order, w)
	}
	return w, isNew
}

// drop takes a want from its line. It stays in the line's order until that is gone
// through next.
func (l *line) drop(w *want) {
	delete(l.wants, fileKey{w.Image, w.Path})
	w.gone = true
}

func (s *Stager) wake(ctx context.Context) {
	if s.poke.Len() == 0 {
		_ = s.poke.Put(ctx, struct{}{}) // the queue has no limit and is never closed
	}
}
