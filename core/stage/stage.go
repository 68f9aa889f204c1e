package stage

import (
	"cmp"
	"context"
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
	// Files bounds a job, and so how long others wait for the cartridge. 2 000.
	Files int
	// Jobs is how many are run at a time: drives are also wanted by others. 2.
	Jobs int
}

func (r Rules) orDefaults() Rules {
	return Rules{
		Quiet: cmp.Or(r.Quiet, 2*time.Second), Longest: cmp.Or(r.Longest, 10*time.Second), Many: cmp.Or(r.Many, 64),
		Files: cmp.Or(r.Files, 2000), Jobs: cmp.Or(r.Jobs, 2),
	}
}

// Stager gathers what is wanted into jobs. Tasks share it.
type Stager struct {
	rules Rules
	fetch func(ctx context.Context, b Batch) error
	lock  rt.Lock
	lines map[lineKey]*line
	busy  int
	poke  *rt.Queue[struct{}]
}

// lineKey tells what one job can fetch together.
type lineKey struct{ client, media string }

type fileKey struct{ image, path string }

// line is what is wanted of one client from one cartridge.
type line struct {
	key     lineKey
	wants   map[fileKey]*want
	order   []*want // in order of arrival
	running bool
	last    time.Duration // when somebody came last
}

// want is one file.
type want struct {
	File
	user    string // who wants it
	since   time.Duration
	waiters int // 0: it is only likely to be wanted
	started bool
	done    *rt.Event
	err     error
}

// New makes a stager; fetch runs a restore job to its end. Its tasks end with ctx.
func New(ctx context.Context, rules Rules, fetch func(ctx context.Context, b Batch) error) *Stager {
	s := &Stager{rules: rules.orDefaults(), fetch: fetch, lock: rt.NewLock(ctx), lines: map[lineKey]*line{}, poke: rt.NewQueue[struct{}](ctx, 0)}
	rt.Go(ctx, "stage", s.run)
	return s
}

// Want waits until a file was fetched for a user. If the wait is given up before its job
// has begun, and nobody else waits for the file, it is not fetched.
func (s *Stager) Want(ctx context.Context, f File, user string) error {
	now := rt.Mono(ctx)
	s.lock.Lock()
	l := s.line(f)
	w := l.want(ctx, f, user, now)
	if w.waiters == 0 {
		w.since, w.user = now, user
	}
	w.waiters++
	l.last = now
	s.lock.Unlock()
	s.wake(ctx)
	err := w.done.Wait(ctx)
	s.lock.Lock()
	defer s.lock.Unlock()
	if w.waiters--; err != nil {
		if w.waiters == 0 && !w.started {
			l.drop(w)
		}
		return err
	}
	return w.err
}

// Ahead says what will probably be wanted soon. It is fetched with what is waited for
// on the same cartridge, and costs no mount of its own.
func (s *Stager) Ahead(ctx context.Context, files []File, user string) {
	now := rt.Mono(ctx)
	s.lock.Lock()
	defer s.lock.Unlock()
	for _, f := range files {
		s.line(f).want(ctx, f, user, now)
	}
}

// Waiting is how many files are waited for, and how many jobs run.
func (s *Stager) Waiting() (files, jobs int) {
	s.lock.Lock()
	defer s.lock.Unlock()
	for _, l := range s.lines { //capstan:unordered a sum
		for _, w := range l.order {
			if w.waiters > 0 {
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

func (l *line) want(ctx context.Context, f File, user string, now time.Duration) *want {
	k := fileKey{f.Image, f.Path}
	w := l.wants[k]
	if w == nil {
		w = &want{File: f, user: user, since: now, done: rt.NewEvent(ctx)}
		l.wants[k] = w
		l.order = append(l.order, w)
	}
	return w
}

func (l *line) drop(w *want) {
	delete(l.wants, fileKey{w.Image, w.Path})
	l.order = slices.DeleteFunc(l.order, func(o *want) bool { return o == w })
}

func (s *Stager) wake(ctx context.Context) {
	if s.poke.Len() == 0 {
		_ = s.poke.Put(ctx, struct{}{}) // the queue has no limit and is never closed
	}
}
