package bprd

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"capstan/core/bpdbm"
	"capstan/core/bpjobd"
	"capstan/core/bptm"
	"capstan/core/image"
	"capstan/core/media"
	"capstan/core/nbemm"
	"capstan/core/pbx"
	"capstan/core/policy"
	"capstan/core/rt"
	"capstan/core/status"
	"capstan/core/trace"
)

// reading is an import under way: what its bptm has found so far, and what has become
// of it. An image is begun with its first fragment, filled in order, and completed
// with its last; one that is not complete at the end is thrown away.
type reading struct {
	host    string // the master's
	q       *ImportRequest
	turn    *rt.Semaphore // one call of bptm at a time
	over    *rt.Event     // every volume was read, and what became of it recorded
	volumes []*volume
	at      int  // of the volume that is read
	again   bool // every volume was given once
	images  map[string]*found
	order   []*found // as they were found
	refused []string // volumes that could not be read, and why
	copies  []string // of images, that are not imported
	code    status.Code
	files   int64 // in what was imported
	bytes   int64
}

// volume is a cartridge, or a disk unit's directory.
type volume struct {
	bptm.Volume
	label media.Label // of a cartridge of ours
	stop  bool        // it could not be read to its end
	read  bool        // it was
	left  bool        // something on it is not in the catalog, and will not be
	waits []waiting   // fragments on it that come after one that was not taken yet
}

// waiting is a fragment that was found before the one that it follows was taken.
type waiting struct {
	im     *found
	number int
}

// due tells whether a fragment on the volume that waited can be taken now.
func (v *volume) due() bool {
	return slices.ContainsFunc(v.waits, func(w waiting) bool { return w.im.why == "" && w.number == len(w.im.got)+1 })
}

func (v *volume) name() string { return cmp.Or(v.Media, v.Path) }

// found is an image of which fragments were found.
type found struct {
	id    string
	head  media.FragmentHeader // of the fragment that was found first
	known *image.Header        // in the catalog already
	begun bool                 // bpdbm has it open
	done  bool                 // it is in the catalog; in a dry run, it could be
	why   string               // it cannot be imported
	got   []image.Fragment     // taken, in order
	seen  map[int]image.Fragment
	on    []*volume
	batch int64
	bytes int64
	files int64
	until string // it is kept, for people
}

func newReading(ctx context.Context, host string, q *ImportRequest, vs []*volume) *reading {
	return &reading{
		host: host, q: q, turn: rt.NewSemaphore(ctx, 1), over: rt.NewEvent(ctx), volumes: vs, at: -1, images: map[string]*found{},
	}
}

// readingOf is the import that a call is about.
func (s *Server) readingOf(ctx context.Context, from pbx.Peer) (*reading, error) {
	j := trace.JobOf(ctx)
	s.lock.Lock()
	r := s.live[j.ID]
	s.lock.Unlock()
	if r == nil || r.reads == nil || from.Addr != pbx.ProcessAt(r.server, bptm.Role, j.ID, j.Try, 0) {
		return nil, status.Errorf(status.NotAllowed, "%s has no part in an import that is led here", from)
	}
	return r.reads, nil
}

func (r *reading) service(name string) pbx.Addr { return pbx.At(r.host, name) }

func (r *reading) say(ctx context.Context, format string, args ...any) {
	bpjobd.Say(ctx, r.host, fmt.Sprintf(format, args...))
}

// next gives the next volume. When all were read, one is read again on which a fragment
// waited that can be taken now, as the one that it follows was found later: cartridges
// may be named in any order. A volume that could bring nothing is not read again.
func (r *reading) next(ctx context.Context, _ struct{}) (bptm.Volume, error) {
	if r.at >= 0 {
		v := r.volumes[r.at]
		v.read = !v.stop
	}
	r.again = r.again || r.at+1 == len(r.volumes)
	if r.again {
		r.at = slices.IndexFunc(r.volumes, (*volume).due)
	} else {
		r.at++
	}
	if r.at < 0 {
		r.end(ctx)
		r.over.Set()
		return bptm.Volume{Done: true}, nil
	}
	v := r.volumes[r.at]
	v.waits = nil
	return v.Volume, nil
}

// opened takes the label of the cartridge that is read.
func (r *reading) opened(ctx context.Context, l media.Label) (struct{}, error) {
	v := r.volumes[r.at]
	if l.UUID == "" {
		return struct{}{}, status.Errorf(status.ImportImpossible, "the label of cartridge %s has no UUID", v.Media)
	}
	v.label = l
	r.say(ctx, "reading cartridge %s of pool %s, labelled %s", l.MediaID, l.Pool, day(l.Written))
	if r.q.DryRun {
		return struct{}{}, nil
	}
	return nbemm.MarkImported.Call(ctx, r.service(nbemm.Service), []nbemm.Imported{{Media: v.Media, UUID: l.UUID, Pool: l.Pool}})
}

// found takes a fragment's header; wanted says whether its trailer is to be read.
func (r *reading) found(ctx context.Context, q bptm.Found) (wanted bool, err error) {
	v, f, n := r.volumes[r.at], q.Fragment, q.Fragment.Number
	if f.Media != v.Media || f.Path != v.Path || f.MediaServer == "" || f.Number != q.Header.Number || f.Copy != q.Header.Copy || f.Offset != q.Header.Start {
		return false, status.Errorf(status.BadParameter, "fragment %+v is not one of %s", f, v.name())
	}
	if f.Copy != 1 {
		v.left = true
		text := fmt.Sprintf("copy %d of image %s is not imported: only copy 1 of an image is", f.Copy, q.Header.BackupID)
		if !slices.Contains(r.copies, text) {
			r.copies = append(r.copies, text)
			r.say(ctx, "%s: %s", where(&f), text)
		}
		return false, nil
	}
	im, err := r.image(ctx, q.Header.BackupID)
	if err != nil {
		return false, err
	}
	if im.head.BackupID == "" {
		im.head = q.Header
	}
	if !slices.Contains(im.on, v) {
		im.on = append(im.on, v)
	}
	if im.known != nil {
		r.compare(ctx, v, im, &f)
		return false, nil
	}
	if old, ok := im.seen[n]; ok && where(&old) != where(&f) {
		v.left = true
		r.say(ctx, "fragment %d of %s stands twice: on %s, and on %s, where it is not looked at", n, im.id, where(&old), where(&f))
		return false, nil
	}
	im.seen[n] = f
	switch {
	case im.why != "":
		v.left = true
		return false, nil
	case n <= len(im.got):
		return false, nil // read before
	case n > len(im.got)+1:
		v.waits = append(v.waits, waiting{im, n})
		return false, nil
	}
	if !r.q.DryRun && !im.begun {
		if err := r.begin(ctx, im, &q); err != nil {
			r.fail(ctx, im, status.Detail(err))
			return false, nil
		}
	}
	return true, nil
}

// image finds what is known of an image.
func (r *reading) image(ctx context.Context, id string) (*found, error) {
	if im := r.images[id]; im != nil {
		return im, nil
	}
	im := &found{id: id, seen: map[int]image.Fragment{}}
	p, err := bpdbm.Images.Call(ctx, r.service(bpdbm.Service), bpdbm.Query{BackupID: id})
	if err != nil {
		return nil, err
	}
	if len(p.Images) == 1 {
		im.known = &p.Images[0]
	}
	r.images[id] = im
	r.order = append(r.order, im)
	return im, nil
}

// compare looks whether a fragment of an image that is in the catalog already is the
// one that the catalog means.
func (r *reading) compare(ctx context.Context, v *volume, im *found, f *image.Fragment) {
	if !slices.ContainsFunc(im.known.Fragments, func(o image.Fragment) bool { return o.Number == f.Number && where(&o) == where(f) }) {
		v.left = true
		r.say(ctx, "%s: fragment %d of %s: the catalog has that image elsewhere", where(f), f.Number, im.id)
	}
}

// unknown is the policy of images whose media do not say which they are of. Not
// knowing which are full backups, a restore puts all of them together.
const unknown = "imported"

// ahead is how far in the future an image may be: later backups of its client are given
// later times.
const ahead = 24 * time.Hour

// begin has bpdbm begin an image.
func (r *reading) begin(ctx context.Context, im *found, q *bptm.Found) error {
	client, at, err := image.ParseID(im.id)
	if err != nil {
		return err
	}
	now, says := rt.Now(ctx), &q.Header.Image
	if at > now.Add(ahead).Unix() {
		return fmt.Errorf("it is of %s, which is to come: the clock of this master is wrong, or was of the one that wrote it", day(rt.FromStd(time.Unix(at, 0))))
	}
	h := image.Header{
		ID: im.id, Client: client, Time: at, Policy: says.Policy, Schedule: says.Schedule, Type: says.Type, Since: says.Since,
		Paths: says.Paths, Exclude: says.Exclude, Job: r.q.Job, Server: q.Fragment.MediaServer, Began: rt.FromStd(time.Unix(at, 0)), Imported: now,
	}
	kept := r.q.Retention
	if kept == 0 {
		kept = says.Retention
	}
	if says.Policy == "" {
		h.Policy, h.Type = unknown, string(policy.Differential)
		r.say(ctx, "image %s: its media were written before they said of which policy and type it is: it is imported as one of policy %q", im.id, unknown)
	}
	im.until = "for ever"
	if kept > 0 {
		h.Expires = now.Add(kept)
		im.until = "until " + day(h.Expires)
	}
	if says.Expires != 0 && says.Expires <= now && r.q.Retention == 0 {
		r.say(ctx, "image %s was to be kept until %s: it is kept as long again from now on, %s", im.id, day(says.Expires), im.until)
	}
	_, err = bpdbm.BeginImport.Call(ctx, r.service(bpdbm.Service), h)
	im.begun = err == nil
	return err
}

// filled takes entries of the fragment that was found last.
func (r *reading) filled(ctx context.Context, q bptm.FoundFiles) (struct{}, error) {
	im := r.images[q.BackupID]
	if im == nil || im.done || im.known != nil {
		return struct{}{}, status.Errorf(status.Inconsistent, "nobody asked for the files of %s", q.BackupID)
	}
	for i := range q.Entries {
		im.files += q.Entries[i].Files()
	}
	if !im.begun {
		return struct{}{}, nil // a dry run, or it has failed
	}
	_, err := bpdbm.AddFiles.Call(ctx, r.service(bpdbm.Service), bpdbm.Files{BackupID: im.id, Seq: im.batch, Entries: slices.Concat(q.Entries, q.Amended)})
	if im.batch++; err != nil {
		r.fail(ctx, im, status.Detail(err))
	}
	return struct{}{}, nil
}

// stands takes a fragment that is whole.
func (r *reading) stands(ctx context.Context, q bptm.Stands) (struct{}, error) {
	im := r.images[q.Done.BackupID]
	if im == nil || im.done || im.known != nil || q.Done.Fragment.Number != len(im.got)+1 {
		return struct{}{}, status.Errorf(status.Inconsistent, "nobody asked for fragment %d of %s", q.Done.Fragment.Number, q.Done.BackupID)
	}
	if im.begun {
		if _, err := bpdbm.AddFragment.Call(ctx, r.service(bpdbm.Service), q.Done); err != nil {
			r.fail(ctx, im, status.Detail(err))
		}
	}
	if q.Done.More || im.why != "" {
		return struct{}{}, nil
	}
	im.got = append(im.got, q.Done.Fragment)
	im.bytes += q.Done.Fragment.Length
	if q.End.Last {
		r.complete(ctx, im, q.End.Image)
	}
	return struct{}{}, nil
}

// complete has bpdbm verify an image of which all fragments were found.
func (r *reading) complete(ctx context.Context, im *found, end *media.ImageEnd) {
	if im.begun {
		c := bpdbm.Complete{BackupID: im.id, Bytes: im.bytes, Files: -1}
		if end != nil {
			c.Files, c.Status, c.Began = end.Files, end.Status, end.Began
		}
		if _, err := bpdbm.CompleteImage.Call(ctx, r.service(bpdbm.Service), c); err != nil {
			r.fail(ctx, im, status.Detail(err))
			return
		}
	}
	im.begun, im.done = false, true
	r.files += im.files
	r.bytes += im.bytes
	_, err := bpjobd.Progress.Call(ctx, r.service(bpjobd.Service), []bpjobd.Update{{ID: r.q.Job, Files: r.files, Bytes: r.bytes}})
	_ = err // shown, not needed
}

// trouble takes what bptm says of something that cannot be read.
func (r *reading) trouble(ctx context.Context, q bptm.Trouble) (struct{}, error) {
	v := r.volumes[r.at]
	v.left = true
	if q.Volume {
		v.stop = true
		r.refused, r.code = append(r.refused, q.Text), cmp.Or(r.code, q.Code)
	}
	r.say(ctx, "%s: %s", q.Where, q.Text)
	if q.BackupID == "" {
		return struct{}{}, nil
	}
	im, err := r.image(ctx, q.BackupID)
	if err == nil && !im.done && im.known == nil {
		r.fail(ctx, im, q.Text)
	}
	return struct{}{}, err
}
