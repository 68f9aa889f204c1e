package bptm

import (
	"context"
	"errors"
	"fmt"
	"io"

	"capstan/core/avrd"
	"capstan/core/dev"
	"capstan/core/host"
	"capstan/core/image"
	"capstan/core/media"
	"capstan/core/nbemm"
	"capstan/core/rt"
	"capstan/core/status"
	"capstan/core/stream"
)

// tape is a cartridge in a drive. On it stand a label file; for each fragment a
// data file and a trailer file; after the last an end header; tape marks between
// (docs/format-media.md).
type tape struct {
	env    *host.Env
	drive  dev.Drive
	hollow dev.HollowDrive // the drive, if it is one
	alloc  *nbemm.Allocation
	seen   avrd.Seen
	pool   string
	label  media.Label
	file   int64 // number of the tape file that comes next
	block  int64 // logical object number that comes next
	warned bool  // early warning was met

	cleaning bool // the drive asked to be cleaned

	last              string // the last fragment that ended
	endFile, endBlock int64  // where the end header stands
}

// openForAppend proves that the cartridge is the one that was asked for and goes
// to where the next fragment belongs.
func (t *tape) openForAppend(ctx context.Context) error {
	m := &t.alloc.Media
	if t.seen.WriteProtected {
		return status.Errorf(status.WriteProtected, "cartridge %s in drive %s", m.ID, t.alloc.Drive.Name)
	}
	if err := t.checkLabel(); err != nil {
		return err
	}
	if m.Images == 0 {
		return t.writeLabel(ctx)
	}
	if t.seen.WriteOnce { // an append would overwrite the end header
		return status.Errorf(status.WriteProtected, "cartridge %s can be written once, and has images", m.ID)
	}
	t.label = t.seen.Label
	t.file, t.block, t.last = m.NextFile, m.NextBlock, m.Last
	if err := t.provePosition(ctx); err != nil {
		return err
	}
	return t.locate(ctx, t.block)
}

// checkLabel compares what avrd saw with what nbemm knows.
func (t *tape) checkLabel() error {
	m := &t.alloc.Media
	switch {
	case t.seen.Labelled && t.seen.Label.MediaID != m.ID:
		return status.Errorf(status.WrongMedia, "drive %s has cartridge %s, %s was asked for", t.alloc.Drive.Name, t.seen.Label.MediaID, m.ID)
	case t.seen.Labelled && m.Images > 0 && t.seen.Label.UUID != m.UUID:
		return status.Errorf(status.WrongMedia, "cartridge %s was labelled anew since its last image was written: label %s, %s was expected", m.ID, t.seen.Label.UUID, m.UUID)
	case !t.seen.Labelled && m.Images > 0:
		return status.Errorf(status.BadMediaHeader, "cartridge %s has no label of ours, and should have %d images", m.ID, m.Images)
	case t.seen.Labelled && m.Images == 0 && t.seen.Label.UUID != m.UUID && !m.Overwrite:
		// Labelled by Capstan, and not in this master's life: by another domain, or
		// before its database was lost. It may be full of images.
		return status.Errorf(status.OverwriteRefused, "cartridge %s has a label of Capstan's that this master does not know (%s): it may hold images; say that it may be overwritten, or take it out", m.ID, t.seen.Label.UUID)
	case !t.seen.Labelled && !t.seen.Blank && !m.Overwrite:
		return status.Errorf(status.OverwriteRefused, "cartridge %s holds data that is not ours: erase it, or take it out", m.ID)
	}
	return nil
}

func (t *tape) writeLabel(ctx context.Context) error {
	m := &t.alloc.Media
	t.label = media.Label{
		MediaID: m.ID, Barcode: m.Barcode, Pool: t.pool, UUID: m.UUID,
		Written: rt.Now(ctx), BlockSize: t.alloc.Unit.BlockSize,
	}
	b, err := media.EncodeLabel(t.label)
	if err != nil {
		return status.Errorf(status.MediaWrite, "%w", err)
	}
	if err := t.done(t.drive.Rewind(ctx)); err != nil {
		return t.failed(status.MediaPosition, "rewinding", err)
	}
	t.file, t.block = 0, 0
	if _, err := t.write(ctx, b); err != nil {
		return t.failed(status.MediaWrite, "writing the label", err)
	}
	if err := t.mark(ctx, false); err != nil {
		return t.failed(status.MediaWrite, "writing the label", err)
	}
	if l, ok := t.drive.(dev.Labeller); ok {
		// A help to who finds the cartridge. Old drives and cartridges have no memory.
		_ = l.WriteMemory(ctx, avrd.Application, m.ID)
	}
	return nil
}

func (t *tape) failed(code status.Code, doing string, err error) error {
	return status.Errorf(code, "%s of cartridge %s: %w", doing, t.alloc.Media.ID, err)
}

func (t *tape) locate(ctx context.Context, block int64) error {
	if err := t.done(t.drive.Locate(ctx, block)); err != nil {
		return t.failed(status.MediaPosition, fmt.Sprintf("locating block %d", block), err)
	}
	pos, err := t.drive.Position(ctx)
	if err := t.done(err); err != nil {
		return t.failed(status.MediaPosition, "reading the position", err)
	}
	if pos.Block != block {
		return status.Errorf(status.MediaPosition, "drive %s is at block %d of cartridge %s, not at %d", t.alloc.Drive.Name, pos.Block, t.alloc.Media.ID, block)
	}
	t.warned = t.warned || pos.EOP
	return nil
}

// provePosition reads the end header where it should stand. After a crash it may
// be gone, overwritten by a backup that did not end: then the trailer of the
// last fragment in the catalog, just before, proves the position.
func (t *tape) provePosition(ctx context.Context) error {
	if err := t.locate(ctx, t.block); err != nil {
		return err
	}
	head := make([]byte, min(maxHeader, t.label.BlockSize))
	n, err := t.read(ctx, head)
	if err == nil {
		if h, err := media.DecodeEndHeader(head[:n]); err == nil && h.MediaID == t.label.MediaID && h.File == t.file &&
			fragmentName(h.BackupID, h.Copy, h.Number) == t.last {
			return nil
		}
	}
	return t.proveByTrailer(ctx)
}

// maxHeader is longer than any end header.
const maxHeader = 4 << 10

func (t *tape) proveByTrailer(ctx context.Context) error {
	buf := make([]byte, t.label.BlockSize)
	if err := t.locate(ctx, t.block); err != nil {
		return err
	}
	for _, n := range []int{-2, 1} { // before the mark that the trailer file begins after, and past it
		if err := t.done(t.drive.Space(ctx, n)); err != nil {
			return t.failed(status.MediaPosition, "spacing to the last trailer", err)
		}
	}
	var name string
	_, err := media.ReadTrailer(func() ([]byte, error) {
		n, err := t.read(ctx, buf)
		if errors.Is(err, dev.ErrFilemark) {
			return nil, io.EOF
		}
		return buf[:n], err
	}, media.TrailerVisitor{Header: func(h media.FragmentHeader) error {
		name = fragmentName(h.BackupID, h.Copy, h.Number)
		return nil
	}})
	if err != nil {
		return t.failed(status.MediaPosition, "proving the append position", err)
	}
	if name != t.last {
		return status.Errorf(status.MediaPosition, "cartridge %s has the trailer of %s before its append position, that of %s was expected", t.alloc.Media.ID, name, t.last)
	}
	return nil
}

func fragmentName(backupID string, copy, number int) string {
	if backupID == "" {
		return ""
	}
	return fmt.Sprintf("%s C%d F%d", backupID, copy, number)
}

// done takes an error away that only tells, of a command that was done, that the drive
// asks to be cleaned.
func (t *tape) done(err error) error {
	if errors.Is(err, dev.ErrCleaning) {
		t.cleaning = true
		return nil
	}
	return err
}

// read reads one block.
func (t *tape) read(ctx context.Context, p []byte) (int, error) {
	n, err := t.drive.Read(ctx, p)
	return n, t.done(err)
}

// write writes one block and tells whether the end of the medium nears.
func (t *tape) write(ctx context.Context, b []byte) (full bool, err error) {
	err = t.done(t.drive.Write(ctx, b))
	switch {
	case errors.Is(err, dev.ErrEarlyWarning), errors.Is(err, dev.ErrProgrammableWarning):
		t.block++
		t.warned = true
		return true, nil
	case errors.Is(err, dev.ErrVolumeOverflow):
		return true, fmt.Errorf("%w: %w", errNoRoom, err)
	case err != nil:
		return false, err
	}
	t.block++
	return false, nil
}

// mark writes a filemark. Past early warning there is room for it.
func (t *tape) mark(ctx context.Context, immediate bool) error {
	if err := t.done(t.drive.WriteFilemarks(ctx, 1, immediate)); err != nil && !errors.Is(err, dev.ErrEarlyWarning) && !errors.Is(err, dev.ErrProgrammableWarning) {
		return err
	}
	t.block++
	t.file++
	return nil
}

func (t *tape) begin(ctx context.Context, header []byte, f *image.Fragment) error {
	if err := t.checkPosition(ctx); err != nil {
		return err
	}
	f.Media, f.File, f.Block = t.alloc.Media.ID, t.file, t.block
	_, err := t.write(ctx, header)
	t.last = ""
	return err
}

func (t *tape) writeHollow(ctx context.Context, s *stream.Slot, n int64) (int64, bool, error) {
	if t.hollow == nil {
		return 0, false, status.Errorf(status.MediaWrite, "drive %s takes no hollow data", t.alloc.Drive.Name)
	}
	size := int64(t.alloc.Unit.BlockSize)
	written, err := t.hollow.WriteHollow(ctx, n, size, s.Via)
	t.block += (written + size - 1) / size
	full := written < n
	if errors.Is(err, dev.ErrEarlyWarning) || errors.Is(err, dev.ErrVolumeOverflow) {
		t.warned = true
		return written, true, nil
	}
	return written, full, err
}

func (t *tape) end(ctx context.Context, trailer [][]byte) error {
	if err := t.mark(ctx, true); err != nil {
		return t.failed(status.MediaWrite, "filemark", err)
	}
	for _, b := range trailer {
		if _, err := t.write(ctx, b); err != nil {
			return t.failed(status.MediaWrite, "trailer", err)
		}
	}
	// Not immediate: what was written is durable when it returns.
	if err := t.mark(ctx, false); err != nil {
		return t.failed(status.MediaWrite, "filemark", err)
	}
	return t.checkPosition(ctx)
}

// checkPosition compares where the drive is with where all that was written ends:
// had anything moved the tape meanwhile, it would stand elsewhere.
func (t *tape) checkPosition(ctx context.Context) error {
	pos, err := t.drive.Position(ctx)
	if err := t.done(err); err != nil {
		return t.failed(status.MediaPosition, "reading the position", err)
	}
	if pos.Block != t.block {
		return status.Errorf(status.MediaPosition, "drive %s is at block %d of cartridge %s, it should be at %d", t.alloc.Drive.Name, pos.Block, t.alloc.Media.ID, t.block)
	}
	t.warned = t.warned || pos.EOP
	return nil
}

// close writes the end header. The fragments are durable already.
func (t *tape) close(ctx context.Context, frags *media.Fragments) error {
	id, copy, number := frags.Last()
	t.last = fragmentName(id, copy, number)
	t.endFile, t.endBlock = t.file, t.block
	b, err := media.EncodeEndHeader(media.EndHeader{
		MediaID: t.label.MediaID, BackupID: id, Copy: copy, Number: number, File: t.file, Written: rt.Now(ctx),
	})
	if err != nil {
		return err
	}
	if _, err := t.write(ctx, b); err != nil && !errors.Is(err, errNoRoom) {
		return err
	} else if err != nil {
		return nil // a full cartridge: the last trailer proves the position
	}
	return t.mark(ctx, false)
}
