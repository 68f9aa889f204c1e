package bptm

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"capstan/core/image"
	"capstan/core/media"
	"capstan/core/nbemm"
	"capstan/core/status"
	"capstan/core/store"
	"capstan/core/trace"
)

// dataFile is the name of a fragment's data file, and what it says.
type dataFile struct {
	name, id     string
	copy, number int
}

// disk reads the directory of a disk unit, each image's fragments in their order.
func (im *importer) disk(ctx context.Context) error {
	a, err := im.p.ask(ctx, Media{Need: nbemm.Request{Storage: im.volume.Storage, Server: im.p.env.Host, Path: im.volume.Path}})
	if err != nil {
		return im.refuse(ctx, err)
	}
	im.alloc = a
	trace.Note(ctx, "R12", "disk ready", im.volume.Path)
	dir := im.p.env.Dir(im.volume.Path)
	names, err := dir.List(ctx, "")
	if err != nil {
		return im.refuse(ctx, status.Errorf(status.MediaOpen, "%s: %w", im.volume.Path, err))
	}
	var files []dataFile
	for _, n := range names {
		if id, copy, number, ok := media.ParseDiskName(n); ok {
			files = append(files, dataFile{n, id, copy, number})
		}
	}
	slices.SortFunc(files, func(a, b dataFile) int {
		return cmp.Or(cmp.Compare(a.id, b.id), cmp.Compare(a.copy, b.copy), cmp.Compare(a.number, b.number))
	})
	for i := range files {
		if err := im.fragmentFile(ctx, dir, &files[i]); err != nil {
			return err
		}
	}
	return nil
}

// fragmentFile reads the header of a data file, and the trailer file beside it.
func (im *importer) fragmentFile(ctx context.Context, dir store.Dir, d *dataFile) error {
	where := im.volume.Path + "/" + d.name
	h, length, err := readHeader(ctx, dir, d.name)
	if err == nil && (h.BackupID != d.id || h.Copy != d.copy || h.Number != d.number) {
		err = fmt.Errorf("it has the header of fragment %d of %s", h.Number, h.BackupID)
	}
	if err != nil {
		return im.trouble(ctx, where, d.id, status.Errorf(status.BadBackupHeader, "%w", err))
	}
	wanted, err := im.found(ctx, Found{Header: h, Fragment: image.Fragment{Path: im.volume.Path}})
	if err != nil || !wanted {
		return err
	}
	_, trl := media.DiskName(d.id, d.copy, d.number)
	f, err := dir.Open(ctx, trl)
	if errors.Is(err, store.ErrNotFound) {
		return im.forget(ctx)
	}
	if err != nil {
		im.pending = nil
		return im.trouble(ctx, where, d.id, status.Errorf(status.MediaOpen, "%w", err))
	}
	end, table, err := im.trailer(ctx, media.TrailerFile(f))
	if cerr := f.Close(); err != nil || cerr != nil {
		return errors.Join(err, cerr)
	}
	if end == nil {
		return nil
	}
	if length != end.Bytes {
		im.pending = nil
		return im.trouble(ctx, where, d.id, status.Errorf(status.MediaRead, "it holds %d bytes of the image, its trailer says %d", length, end.Bytes))
	}
	if im.volume.Verify {
		v, err := openDiskFragment(ctx, im.p.env, d.id, &im.pending.Fragment, table)
		if err != nil {
			im.pending = nil
			return im.trouble(ctx, where, d.id, err)
		}
		if ok, err := im.verify(ctx, v, table); err != nil || !ok {
			return err
		}
	}
	return im.stands(ctx, *end, table)
}

// readHeader reads a fragment's header, and tells how many bytes of the image follow.
func readHeader(ctx context.Context, dir store.Dir, name string) (h media.FragmentHeader, length int64, err error) {
	f, err := dir.Open(ctx, name)
	if err != nil {
		return h, 0, err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return h, 0, err
	}
	for _, most := range []int64{media.DefaultBlockSize, media.MaxBlockSize} { // the first is nearly always enough
		buf := make([]byte, min(size, most))
		n, rerr := f.ReadAt(buf, 0)
		var head int
		if h, head, err = media.DecodeFragmentHeader(buf[:n]); err == nil {
			return h, size - int64(head), nil
		}
		if rerr != nil && !errors.Is(rerr, io.EOF) && !errors.Is(rerr, store.ErrHollow) {
			return h, 0, rerr
		}
		if size <= most {
			break
		}
	}
	return h, 0, err
}
