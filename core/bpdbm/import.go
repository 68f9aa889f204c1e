package bpdbm

import (
	"context"
	"errors"

	"capstan/core/image"
	"capstan/core/pbx"
	"capstan/core/status"
	"capstan/core/store"
)

// BeginImport begins an image whose data stands on media already: the header says
// all but what [Complete] does, and Imported. From then on it is as one that a
// backup writes: filled by [AddFiles] and [AddFragment], shown only when
// [CompleteImage] has verified it, and gone after a restart before that.
var BeginImport = pbx.Declare[image.Header, struct{}](Service, "BeginImport", pbx.Master)

func (s *Server) beginImport(ctx context.Context, _ pbx.Peer, h image.Header) (struct{}, error) {
	client, time, err := image.ParseID(h.ID)
	if err == nil {
		err = h.CheckNames()
	}
	switch {
	case err != nil:
		return struct{}{}, status.Errorf(status.BadParameter, "image %s: %w", h.ID, err)
	case client != h.Client || time != h.Time || h.Server == "" || h.Imported == 0 || h.Complete || len(h.Fragments) > 0:
		return struct{}{}, status.Errorf(status.BadParameter, "image %s: %+v is not what an import begins with", h.ID, h)
	}
	err = s.db.Update(ctx, func(tx store.Tx) error {
		if old, ok, err := image.Table.Get(tx, h.ID); err != nil {
			return err
		} else if ok && old.Complete {
			return status.Errorf(status.Inconsistent, "image %s is in the catalog", h.ID)
		} else if ok {
			return status.Errorf(status.Inconsistent, "image %s is being written by job %d", h.ID, old.Job)
		}
		if _, ok, err := expiring.Get(tx, h.ID); err != nil {
			return err
		} else if ok {
			return status.Errorf(status.Inconsistent, "image %s has expired, and is being removed from its disk", h.ID)
		}
		// No later backup may get its time.
		c, _, err := clockTable.Get(tx, h.Client)
		if err != nil {
			return err
		}
		if err := clockTable.Put(tx, h.Client, clock{h.Client, max(c.Last, h.Time)}); err != nil {
			return err
		}
		return image.Table.Put(tx, h.ID, h)
	})
	if err != nil {
		return struct{}{}, failed(err)
	}
	if err := s.openFiles(ctx, &h); err != nil {
		return struct{}{}, errors.Join(err, s.discard(ctx, &h))
	}
	return struct{}{}, nil
}
