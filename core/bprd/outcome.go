package bprd

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"capstan/core/bpbrm"
	"capstan/core/bpdbm"
	"capstan/core/image"
	"capstan/core/nbemm"
	"capstan/core/rt"
	"capstan/core/status"
)

// fail gives an image up: what was taken of it is thrown away, and the cartridges on
// which it stands keep it.
func (r *reading) fail(ctx context.Context, im *found, why string) {
	im.why = cmp.Or(im.why, why)
	for _, v := range im.on {
		v.left = true
	}
	if !im.begun {
		return
	}
	im.begun = false
	if _, err := bpdbm.AbortImage.Call(ctx, r.service(bpdbm.Service), im.id); err != nil {
		r.say(ctx, "image %s: %v", im.id, err)
	}
}

// end settles what has become of every image, and of every cartridge: one that is
// in the catalog with all that is on it may be written again when that has expired.
func (r *reading) end(ctx context.Context) {
	for _, im := range r.order {
		switch {
		case im.known != nil:
			r.say(ctx, "image %s is in the catalog already", im.id)
			continue
		case !im.done && im.why == "":
			r.fail(ctx, im, im.lacks())
		}
		if im.why != "" {
			r.say(ctx, "image %s is not imported: %s", im.id, im.why)
			continue
		}
		r.say(ctx, "%s", im.told(r.q.DryRun))
	}
	var ended []nbemm.Imported
	for _, v := range r.volumes {
		if v.label.UUID == "" || r.q.DryRun {
			continue
		}
		q := nbemm.Imported{Media: v.Media, UUID: v.label.UUID, Ended: true, Whole: v.read && !v.left && len(v.waits) == 0}
		if ended = append(ended, q); !q.Whole {
			r.say(ctx, "cartridge %s holds what is not in the catalog: it stays frozen", v.Media)
		}
	}
	if len(ended) == 0 {
		return
	}
	if _, err := nbemm.MarkImported.Call(ctx, r.service(nbemm.Service), ended); err != nil {
		r.say(ctx, "the cartridges stay frozen: %v", err)
	}
}

// told says in a line what was imported.
func (im *found) told(dry bool) string {
	var on []string
	for i := range im.got {
		if name := cmp.Or(im.got[i].Media, im.got[i].Path); !slices.Contains(on, name) {
			on = append(on, name)
		}
	}
	did := "imported, kept " + im.until
	if dry {
		did = "can be imported"
	}
	says := &im.head.Image
	return fmt.Sprintf("image %s (policy %s, %s): %s, %d files and %d bytes on %s: %s", im.id,
		cmp.Or(says.Policy, unknown), cmp.Or(says.Type, "type unknown"), span("fragment", 1, len(im.got)), im.files, im.bytes, strings.Join(on, ", "), did)
}

// lacks says what of an image was not found.
func (im *found) lacks() string {
	var gaps []string
	at := len(im.got) + 1
	if f, read := im.seen[at]; read {
		return fmt.Sprintf("fragment %d, on %s, has no trailer: its backup did not end, or the trailer is on the cartridge that follows", at, where(&f))
	}
	for _, n := range slices.Sorted(maps.Keys(im.seen)) {
		if n > at {
			gaps = append(gaps, span("fragment", at, n-1)+" not found")
		}
		at = max(at, n+1)
	}
	if len(gaps) == 0 {
		last := im.seen[len(im.got)]
		return fmt.Sprintf("it goes on after fragment %d, on %s: give the cartridge that follows, too, unless its backup did not end", len(im.got), where(&last))
	}
	text := strings.Join(gaps, ", ")
	if im.head.Before != "" {
		text += fmt.Sprintf(" (fragment %d says that the one before it is on %s)", im.head.Number, im.head.Before)
	}
	return text + ": give the cartridges that hold them, too"
}

// finish is how the job ended: f and err are bpbrm's end of it.
func (r *reading) finish(ctx context.Context, f bpbrm.Finished, err error) bpbrm.Finished {
	if aerr := r.turn.Acquire(ctx); aerr == nil { // what bptm said last is done
		defer r.turn.Release()
	}
	if !r.over.IsSet() {
		r.end(ctx)
		r.over.Set()
	}
	var failures []string
	done, known := 0, 0
	for _, im := range r.order {
		switch {
		case im.done:
			done++
		case im.known != nil:
			known++
		default:
			failures = append(failures, fmt.Sprintf("image %s: %s", im.id, im.why))
		}
	}
	failures = slices.Concat(r.refused, failures, r.copies)
	left := slices.ContainsFunc(r.volumes, func(v *volume) bool { return v.left })
	out := bpbrm.Finished{Files: r.files, Bytes: r.bytes, Detail: summary(done, known, failures, left)}
	switch {
	case err != nil:
		out.Status, out.Detail = status.Of(err, status.ImportImpossible), status.Detail(err)
	case f.Status != status.OK:
		out.Status, out.Detail = f.Status, f.Detail
	case done > 0 && (left || len(failures) > 0):
		out.Status = status.Partial
	case done > 0:
		out.Detail = ""
	case len(r.refused) == len(r.volumes):
		out.Status = cmp.Or(r.code, status.ImportImpossible)
	case left || len(failures) > 0:
		out.Status = status.NothingImported
	case known == 0:
		out.Status, out.Detail = status.NoImage, "there is no image on the media"
	}
	return out
}

// summary says what became of what was found: of what failed, the first.
func summary(done, known int, failures []string, left bool) string {
	text := fmt.Sprintf("%d images imported, %d in the catalog already, %d failures", done, known, len(failures))
	if len(failures) > 0 {
		text += ": " + failures[0]
	}
	if len(failures) > 1 || left && len(failures) == 0 {
		text += "; the job's log has what else is not in the catalog"
	}
	return text
}

// where says where a fragment stands.
func where(f *image.Fragment) string {
	if f.OnTape() {
		return fmt.Sprintf("%s, file %d", f.Media, f.File)
	}
	return f.Path
}

// day is a time for people.
func day(t rt.Time) string { return t.Std().Format("2006-01-02 15:04") }

// span names numbers that follow each other.
func span(what string, from, to int) string {
	if from == to {
		return fmt.Sprintf("%s %d", what, from)
	}
	return fmt.Sprintf("%ss %d to %d", what, from, to)
}
