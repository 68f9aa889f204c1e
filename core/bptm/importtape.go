package bptm

import (
	"context"
	"errors"
	"fmt"
	"io"

	"capstan/core/dev"
	"capstan/core/image"
	"capstan/core/media"
	"capstan/core/nbemm"
	"capstan/core/status"
)

// cartridge reads one cartridge. What is wrong with it alone is told; an error is the
// drive's, or the end of the job.
func (im *importer) cartridge(ctx context.Context) error {
	a, err := im.p.ask(ctx, Media{Next: im.tape != nil, Need: nbemm.Request{
		Media: im.volume.Media, Storage: im.volume.Storage, Held: im.alloc.Drive.Name,
	}})
	if err != nil {
		return im.refuse(ctx, err)
	}
	if im.tape != nil {
		if err := im.p.release(ctx, im.tape); err != nil {
			return err
		}
	}
	im.alloc = a
	if im.tape, err = im.p.mount(ctx, &im.alloc); err != nil {
		return err
	}
	t := im.tape
	if err := t.checkForImport(); err != nil {
		return im.refuse(ctx, err)
	}
	t.label, im.unwanted = t.seen.Label, false
	if _, err := SayLabel.Call(ctx, im.p.args.Needed, t.label); err != nil {
		return im.refuse(ctx, err)
	}
	if err := t.locate(ctx, firstFile); err != nil {
		return im.refuse(ctx, err)
	}
	for t.file = 1; ; t.file++ {
		more, err := im.file(ctx)
		if err != nil || !more {
			return err
		}
	}
}

// firstFile is where the first file after the label begins: behind the label's block
// and its filemark.
const firstFile = 2

// checkForImport compares the label with the cartridge's barcode alone: nbemm does not
// know yet what else it should say.
func (t *tape) checkForImport() error {
	m := &t.alloc.Media
	switch {
	case t.seen.Blank:
		return status.Errorf(status.ImportImpossible, "cartridge %s is blank", m.ID)
	case !t.seen.Labelled:
		return status.Errorf(status.ImportImpossible, "cartridge %s has no label of ours, or a damaged one: it is left alone", m.ID)
	case t.seen.Label.MediaID != m.ID:
		return status.Errorf(status.WrongMedia, "cartridge %s has the label of %s: give it the barcode that it had, or import it where it has", m.ID, t.seen.Label.MediaID)
	}
	return nil
}

// file reads the tape file that the drive stands before; more is false when there is
// nothing behind it.
func (im *importer) file(ctx context.Context) (more bool, err error) {
	t := im.tape
	pos, err := t.drive.Position(ctx)
	if err := t.done(err); err != nil {
		return false, im.refuse(ctx, t.failed(status.MediaPosition, "reading the position", err))
	}
	where := fmt.Sprintf("%s, file %d", im.volume.Media, t.file)
	buf := make([]byte, t.label.BlockSize)
	n, err := t.read(ctx, buf)
	switch {
	case errors.Is(err, dev.ErrEndOfData):
		return false, nil // a crash left no end header, or the cartridge is full
	case errors.Is(err, dev.ErrFilemark):
		return true, im.trouble(ctx, where, "", status.Errorf(status.BadBackupHeader, "the file is empty"))
	case err != nil:
		return im.skip(ctx, im.trouble(ctx, where, "", status.Errorf(status.BadBackupHeader, "its first block cannot be read: %w", err)))
	}
	b := buf[:n]
	if media.IsTrailer(b) {
		return im.trailerFile(ctx, where, b)
	}
	im.unwanted = false
	if err := im.forget(ctx); err != nil { // what comes is not its trailer
		return false, err
	}
	h, _, err := media.DecodeFragmentHeader(b)
	if err == nil {
		f := Found{Header: h, Fragment: image.Fragment{Media: t.alloc.Media.ID, File: t.file, Block: pos.Block}}
		if _, err := im.found(ctx, f); err != nil {
			return false, err
		}
		return im.skip(ctx, nil)
	}
	if e, eerr := media.DecodeEndHeader(b); eerr == nil && e.MediaID == t.label.MediaID && e.File == t.file {
		return false, nil
	}
	return im.skip(ctx, im.trouble(ctx, where, "", status.Errorf(status.BadBackupHeader, "%w", err)))
}

// skip goes to the next file, unless err says that the job is over.
func (im *importer) skip(ctx context.Context, err error) (more bool, _ error) {
	if err != nil {
		return false, err
	}
	switch err := im.tape.done(im.tape.drive.Space(ctx, 1)); {
	case errors.Is(err, dev.ErrEndOfData):
		return false, nil
	case err != nil:
		return false, im.refuse(ctx, im.tape.failed(status.MediaPosition, fmt.Sprintf("going on after file %d", im.tape.file), err))
	}
	return true, nil
}

// trailerFile reads a trailer of which the first block was read.
func (im *importer) trailerFile(ctx context.Context, where string, first []byte) (more bool, err error) {
	t := im.tape
	f := im.pending
	if f == nil {
		err := im.unclaimed(ctx, where, first)
		im.unwanted = false
		return im.skip(ctx, err)
	}
	buf := make([]byte, max(f.Header.BlockSize, t.label.BlockSize))
	n := copy(buf, first)
	marked := false // the filemark behind the trailer was met
	end, table, err := im.trailer(ctx, func() ([]byte, error) {
		if n > 0 {
			b := buf[:n]
			n = 0
			return b, nil
		}
		k, err := t.read(ctx, buf)
		if errors.Is(err, dev.ErrFilemark) || errors.Is(err, dev.ErrEndOfData) {
			marked = errors.Is(err, dev.ErrFilemark)
			return nil, io.EOF
		}
		return buf[:k], err
	})
	if err != nil {
		return false, err
	}
	more = true
	if !marked {
		if more, err = im.skip(ctx, nil); err != nil {
			return false, err
		}
	}
	if end == nil {
		return more, nil
	}
	if im.volume.Verify {
		if ok, err := im.verifyHere(ctx, table); err != nil || !ok {
			return more, err
		}
	}
	return more, im.stands(ctx, *end, table)
}

// verifyHere verifies the pending fragment and returns to behind its trailer.
func (im *importer) verifyHere(ctx context.Context, table media.BlockTable) (bool, error) {
	t, f := im.tape, im.pending
	if f.Fragment.Media != t.alloc.Media.ID {
		im.pending = nil
		return false, im.trouble(ctx, place(f), f.Header.BackupID, status.Errorf(status.MediaPosition, "fragment %d of %s cannot be verified: its trailer is on %s",
			f.Header.Number, f.Header.BackupID, t.alloc.Media.ID))
	}
	pos, err := t.drive.Position(ctx)
	if err := t.done(err); err != nil {
		return false, t.failed(status.MediaPosition, "reading the position", err)
	}
	ok, err := im.verify(ctx, &tapeFragment{t: t, id: f.Header.BackupID, f: &f.Fragment}, table)
	if err != nil {
		return false, err
	}
	return ok, t.locate(ctx, pos.Block)
}

// unclaimed tells of a trailer whose fragment has a header that cannot be read, or is
// on a cartridge that was not given: the trailer says which it is.
func (im *importer) unclaimed(ctx context.Context, where string, first []byte) error {
	if im.unwanted {
		return nil
	}
	var h media.FragmentHeader
	next := func() ([]byte, error) {
		b := first
		if first = nil; b == nil {
			return nil, io.EOF
		}
		return b, nil
	}
	_, err := media.ReadTrailer(next, media.TrailerVisitor{Header: func(got media.FragmentHeader) error {
		h = got
		return nil
	}})
	if h.BackupID == "" {
		return im.trouble(ctx, where, "", status.Errorf(status.BadBackupHeader, "a trailer without its fragment: %w", err))
	}
	return im.trouble(ctx, where, h.BackupID, status.Errorf(status.BadBackupHeader, "the trailer of fragment %d of %s, whose header cannot be read, or is on a cartridge that was not given just before",
		h.Number, h.BackupID))
}
