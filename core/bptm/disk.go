package bptm

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"capstan/core/dev"
	"capstan/core/host"
	"capstan/core/image"
	"capstan/core/media"
	"capstan/core/nbemm"
	"capstan/core/pbx"
	"capstan/core/status"
	"capstan/core/store"
	"capstan/core/stream"
)

// disk is the directory of a disk unit. A fragment is two files, its data and
// its trailer, under temporary names until both are durable.
type disk struct {
	image string // its backup id
	env   *host.Env
	alloc *nbemm.Allocation
	dir   store.Dir
	name  string // of the data file
	trl   string // of the trailer file
	data  store.File
	at    int64
}

// unfinished ends the names of files that do not count yet.
const unfinished = ".part"

func newDisk(env *host.Env, a *nbemm.Allocation, image string) *disk {
	return &disk{image: image, env: env, alloc: a, dir: env.Dir(a.Unit.Path)}
}

// full maps a full disk to the status that users know.
func (d *disk) full(err error) error {
	if errors.Is(err, store.ErrNoSpace) {
		return status.Errorf(status.DiskFull, "storage unit %s: %w", d.alloc.Unit.Name, err)
	}
	return err
}

func (d *disk) begin(ctx context.Context, header []byte, f *image.Fragment) (err error) {
	d.name, d.trl = media.DiskName(d.image, f.Copy, f.Number)
	if d.data, err = d.dir.Create(ctx, d.name+unfinished); err != nil {
		return d.full(err)
	}
	f.Path, d.at = d.alloc.Unit.Path, 0
	_, err = d.write(ctx, header)
	return err
}

func (d *disk) write(_ context.Context, b []byte) (full bool, err error) {
	if _, err := d.data.WriteAt(b, d.at); err != nil {
		return false, d.full(err)
	}
	d.at += int64(len(b))
	return false, nil
}

func (d *disk) writeHollow(ctx context.Context, s *stream.Slot, n int64) (int64, bool, error) {
	if d.env.Transfer != nil {
		via := append(append([]dev.Resource(nil), s.Via...), dev.Resource{Name: d.env.Host + " " + d.alloc.Unit.Path, Rate: diskRate})
		if err := d.env.Transfer(ctx, via, n); err != nil {
			return 0, false, err
		}
	}
	if err := d.data.WriteHollow(ctx, d.at, n); err != nil {
		return 0, false, d.full(err)
	}
	d.at += n
	return n, false, nil
}

// diskRate is what a disk unit takes in planning runs, in bytes a second: a
// RAID-6 of twelve nearline disks under several sequential streams.
const diskRate = 1_000_000_000

func (d *disk) end(ctx context.Context, trailer [][]byte) error {
	if err := errors.Join(d.data.Sync(), d.data.Close()); err != nil {
		return d.full(err)
	}
	t, err := d.dir.Create(ctx, d.trl+unfinished)
	if err != nil {
		return d.full(err)
	}
	at := int64(0)
	for _, b := range trailer {
		if _, err := t.WriteAt(b, at); err != nil {
			return errors.Join(d.full(err), t.Close())
		}
		at += int64(len(b))
	}
	if err := errors.Join(t.Sync(), t.Close()); err != nil {
		return d.full(err)
	}
	for _, name := range []string{d.name, d.trl} {
		if err := d.dir.Rename(ctx, name+unfinished, name); err != nil {
			return err
		}
	}
	return d.dir.Sync(ctx, "")
}

// Service is what a media server's daemon answers under the role's name: clean-up
// after backups whose processes are gone.
func Service(ctx context.Context, env *host.Env) *pbx.Mux {
	mux := pbx.NewMux(ctx, Role, 0)
	pbx.Handle(mux, Discard, func(ctx context.Context, _ pbx.Peer, q DiscardImage) (struct{}, error) {
		return struct{}{}, discard(ctx, env.Dir(q.Path), &q)
	})
	return mux
}

// discard removes the files of one image that has expired, or will never be complete.
func discard(ctx context.Context, dir store.Dir, q *DiscardImage) error {
	if q.BackupID == "" || strings.ContainsAny(q.BackupID, "/\x00") {
		return status.Errorf(status.BadParameter, "%q is not a backup id", q.BackupID)
	}
	names := q.Files
	if len(names) == 0 {
		var err error
		if names, err = dir.List(ctx, ""); err != nil {
			return status.Errorf(status.SystemCall, "cleaning up after %s: %w", q.BackupID, err)
		}
	}
	for _, n := range names {
		if !strings.HasPrefix(n, q.BackupID+"_C") {
			continue // another image's, whoever says that it is this one's
		}
		if err := dir.Remove(ctx, n); err != nil && !errors.Is(err, store.ErrNotFound) {
			return status.Errorf(status.SystemCall, "removing %s: %w", n, err)
		}
	}
	if err := dir.Sync(ctx, ""); err != nil {
		return fmt.Errorf("cleaning up after %s: %w", q.BackupID, err)
	}
	return nil
}
