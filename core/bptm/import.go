package bptm

import (
	"context"
	"errors"
	"fmt"
	"io"

	"capstan/core/catalog"
	"capstan/core/image"
	"capstan/core/media"
	"capstan/core/nbemm"
	"capstan/core/status"
)

// importImages reads headers and trailers of the volumes that bprd names (R7, R12),
// and gives the media back (R15). What it finds is told as it is found; what is to
// become of it is bprd's to say.
func (p *parent) importImages(ctx context.Context) error {
	im := &importer{p: p}
	if err := im.run(ctx); err != nil {
		p.sayAlerts(ctx, im.tape)
		return p.cause(ctx, err)
	}
	if im.tape != nil {
		if err := p.unmount(ctx, im.tape); err != nil {
			return err
		}
	}
	_, err := MediaDone.Call(ctx, p.args.Nbjm, struct{}{})
	return err
}

// importer reads the volumes of an import, one after the other.
type importer struct {
	p      *parent
	volume Volume
	alloc  nbemm.Allocation
	tape   *tape
	// pending is a fragment whose trailer is to come: on the next cartridge, if this
	// one was full.
	pending *Found
	// unwanted: the fragment that was read last, whose trailer comes, is not wanted.
	unwanted bool
}

func (im *importer) run(ctx context.Context) error {
	for {
		v, err := NextVolume.Call(ctx, im.p.args.Needed, struct{}{})
		if err != nil {
			return err
		}
		if v.Done {
			return nil
		}
		im.volume = v
		if v.Media == "" {
			err = im.disk(ctx)
		} else {
			err = im.cartridge(ctx)
		}
		if err != nil {
			return err
		}
	}
}

// trouble tells of something that cannot be imported.
func (im *importer) trouble(ctx context.Context, where, id string, err error) error {
	return im.say(ctx, Trouble{Where: where, BackupID: id, Code: status.Of(err, status.MediaRead), Text: status.Detail(err)})
}

func (im *importer) say(ctx context.Context, t Trouble) error {
	_, err := SayTrouble.Call(ctx, im.p.args.Needed, t)
	return err
}

// refuse tells that a volume is not read any further.
func (im *importer) refuse(ctx context.Context, err error) error {
	return im.say(ctx, Trouble{Where: im.volume.Media + im.volume.Path, Code: status.Of(err, status.ImportImpossible), Text: status.Detail(err), Volume: true})
}

// forget tells that the trailer of the pending fragment did not come.
func (im *importer) forget(ctx context.Context) error {
	f := im.pending
	im.pending = nil
	if f == nil {
		return nil
	}
	return im.trouble(ctx, place(f), f.Header.BackupID, status.Errorf(status.BadBackupHeader, "fragment %d of %s has no trailer: its backup did not end, or the trailer is on a cartridge that was not given next",
		f.Header.Number, f.Header.BackupID))
}

// place says where a fragment begins, for people.
func place(f *Found) string {
	if f.Fragment.OnTape() {
		return fmt.Sprintf("%s, file %d", f.Fragment.Media, f.Fragment.File)
	}
	name, _ := media.DiskName(f.Header.BackupID, f.Header.Copy, f.Header.Number)
	return f.Fragment.Path + "/" + name
}

// found tells of a fragment; wanted says whether its trailer is.
func (im *importer) found(ctx context.Context, f Found) (wanted bool, err error) {
	f.Fragment.Copy, f.Fragment.Number = f.Header.Copy, f.Header.Number
	f.Fragment.StorageUnit, f.Fragment.MediaServer = im.volume.Storage, im.p.env.Host
	f.Fragment.BlockSize, f.Fragment.Offset = f.Header.BlockSize, f.Header.Start
	im.pending = &f
	wanted, err = SayFound.Call(ctx, im.p.args.Needed, f)
	if im.unwanted = !wanted; !wanted {
		im.pending = nil
	}
	return wanted, err
}

// trailer reads the trailer of the pending fragment, and tells of what it holds. end
// is nil if it is not as it should be, which then was told.
func (im *importer) trailer(ctx context.Context, next func() ([]byte, error)) (end *media.TrailerEnd, table media.BlockTable, err error) {
	f := im.pending
	var broken error // a call's, not the trailer's
	got, err := media.ReadTrailer(next, media.TrailerVisitor{
		Header: func(h media.FragmentHeader) error {
			if h.BackupID != f.Header.BackupID || h.Copy != f.Header.Copy || h.Number != f.Header.Number || h.Start != f.Header.Start {
				return fmt.Errorf("it is that of fragment %d of %s: %w", h.Number, h.BackupID, media.ErrDamaged)
			}
			return nil
		},
		Entries: func(es []catalog.Entry) error {
			broken = im.files(ctx, es, false)
			return broken
		},
		Amended: func(es []catalog.Entry) error {
			broken = im.files(ctx, es, true)
			return broken
		},
		Blocks: func(t media.BlockTable) error {
			table.Append(t)
			return nil
		},
	})
	switch {
	case broken != nil:
		return nil, table, broken
	case err != nil:
		im.pending = nil
		return nil, table, im.trouble(ctx, place(f), f.Header.BackupID, status.Errorf(status.BadBackupHeader, "fragment %d of %s: %w", f.Header.Number, f.Header.BackupID, err))
	}
	f.Fragment.Length = got.Bytes
	return &got, table, nil
}

// fileBatch is about how long a message with entries is, in bytes.
const fileBatch = 256 << 10

// files tells of entries, or of what takes the place of some, a batch at a time.
func (im *importer) files(ctx context.Context, es []catalog.Entry, amended bool) error {
	for len(es) > 0 {
		n, size := 0, 0
		for n < len(es) && size < fileBatch {
			size += 120 + len(es[n].Path) + len(es[n].Link)
			n++
		}
		q := FoundFiles{BackupID: im.pending.Header.BackupID}
		if amended {
			q.Amended = es[:n:n]
		} else {
			q.Entries = es[:n:n]
		}
		if _, err := SayFiles.Call(ctx, im.p.args.Needed, q); err != nil {
			return err
		}
		es = es[n:]
	}
	return nil
}

// stands tells that the pending fragment is whole.
func (im *importer) stands(ctx context.Context, end media.TrailerEnd, table media.BlockTable) error {
	f := im.pending
	im.pending = nil
	return inParts(table, func(blocks []byte, more bool) error {
		_, err := SayStands.Call(ctx, im.p.args.Needed, Stands{
			Done: FragmentDone{BackupID: f.Header.BackupID, Fragment: f.Fragment, Blocks: blocks, More: more}, End: end,
		})
		return err
	})
}

// verify reads every block of the pending fragment; false says that one was not as it
// had been written, which then was told.
func (im *importer) verify(ctx context.Context, v readVolume, table media.BlockTable) (bool, error) {
	defer v.done()
	f := im.pending
	if err := readAll(ctx, v, &f.Fragment, table); err != nil {
		im.pending = nil
		return false, im.trouble(ctx, place(f), f.Header.BackupID, err)
	}
	return true, nil
}

func readAll(ctx context.Context, v readVolume, f *image.Fragment, table media.BlockTable) error {
	if err := v.seek(ctx, 0); err != nil {
		return err
	}
	buf := make([]byte, f.BlockSize)
	for i := 0; i < table.Count(); {
		if n, after := table.HollowFrom(i); n > 0 {
			if err := v.readHollow(ctx, n); err != nil {
				return status.Errorf(status.MediaRead, "fragment %d on %s: %w", f.Number, v.name(), err)
			}
			i = after
			continue
		}
		n, err := v.read(ctx, i, buf)
		if err != nil && !errors.Is(err, io.EOF) {
			return status.Errorf(status.MediaRead, "block %d of fragment %d on %s: %w", i, f.Number, v.name(), err)
		}
		if err := table.CheckBlock(i, buf[:n]); err != nil {
			return status.Errorf(status.MediaRead, "fragment %d on %s: %w", f.Number, v.name(), err)
		}
		i++
	}
	return nil
}
