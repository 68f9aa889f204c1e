package fuse

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"capstan/core/archive"
	"capstan/core/bpjobd"
	"capstan/core/bprd"
	"capstan/core/bprestore"
	"capstan/core/catalog"
	"capstan/core/job"
	"capstan/core/pbx"
	"capstan/core/rt"
	"capstan/core/stage"
	"capstan/core/status"
)

// How often a restore is asked for again that ended because the master did, and how long
// it is waited for in between.
const (
	attempts = 4
	pause    = 5 * time.Second
)

// fetch has the files of a batch brought.
func (s *system) fetch(ctx context.Context, b stage.Batch) error {
	return s.fetchFiles(ctx, b.Client, b.Files, func(int64) {})
}

// fetchFiles has a restore job bring files, checks them, and keeps them. Files
// of one path from several images are brought by one job each: they would lie on each
// other.
func (s *system) fetchFiles(ctx context.Context, client string, files []stage.File, began func(job int64)) error {
	var errs []error
	for len(files) > 0 {
		var now, later []stage.File
		paths := map[string]bool{}
		for _, f := range files {
			if paths[f.Path] {
				later = append(later, f)
				continue
			}
			paths[f.Path] = true
			now = append(now, f)
		}
		errs = append(errs, s.fetchOnce(ctx, client, now, began))
		files = later
	}
	return errors.Join(errs...)
}

func (s *system) fetchOnce(ctx context.Context, client string, files []stage.File, began func(job int64)) error {
	dir, err := os.MkdirTemp(s.jobsDir(), "job")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	q := bprd.Request{Client: client, To: s.cfg.Host, Parts: parts(files), Target: dir, Overwrite: archive.Always}
	if err := s.restore(ctx, q, began); err != nil {
		return err
	}
	var errs []error
	for _, f := range files {
		r, err := s.images.reader(ctx, f.Image)
		if err != nil {
			return err
		}
		if e, ok, err := r.Lookup(ctx, f.Path); err != nil || ok {
			errs = append(errs, cmp.Or(err, s.take(filepath.Join(dir, f.Path), &e, f.Image)))
		}
	}
	return errors.Join(errs...)
}

// parts are files by image, images in order of time.
func parts(files []stage.File) (ps []bprd.Part) {
	byImage := map[string][]string{}
	for _, f := range files {
		byImage[f.Image] = append(byImage[f.Image], f.Path)
	}
	for _, id := range slices.Sorted(maps.Keys(byImage)) { // client_ctime: a client's are in order of time
		ps = append(ps, bprd.Part{Image: id, Paths: byImage[id]})
	}
	return ps
}

// take keeps a file that came.
func (s *system) take(from string, e *catalog.Entry, image string) error {
	if e.Type != catalog.Regular {
		return nil
	}
	if err := s.staged.accept(from, keyOf(image, e.Path), e); err != nil {
		return fmt.Errorf("image %s: %w", image, err)
	}
	return nil
}

// restore runs a restore job to its end. If the master ends meanwhile, it is asked for
// again when the master is back.
func (s *system) restore(ctx context.Context, q bprd.Request, began func(job int64)) error {
	for try := 1; ; try++ {
		id, err := bprestore.Ask(ctx, s.cfg.Master, q)
		if err == nil {
			began(id)
			err = s.follow(ctx, id)
		}
		if err == nil || try == attempts || !again(err) {
			return err
		}
		s.log.Warn("a restore is asked for again", "job", id, "error", err)
		if err := rt.Sleep(ctx, pause); err != nil {
			return err
		}
	}
}

// again tells whether an error may be gone soon: the master or a process was ended.
func again(err error) bool {
	switch status.Of(err, status.SocketOpen) {
	case status.SocketOpen, status.ClientAborted, status.NetworkBroken, status.NetworkTimeout, status.NetworkRead, status.HostUnreachable:
		return true
	}
	return false
}

// follow waits for the end of a job.
func (s *system) follow(ctx context.Context, id int64) error {
	for revision := int64(-1); ; {
		p, err := bpjobd.List.Call(ctx, pbx.At(s.cfg.Master, bpjobd.Service), bpjobd.Query{ID: id, Follow: true, Newer: revision})
		if err != nil {
			return err
		}
		revision = p.Revision
		if len(p.Jobs) == 1 && p.Jobs[0].Done() {
			return outcome(&p.Jobs[0])
		}
	}
}

func outcome(j *job.Job) error {
	if j.Status.Succeeded() {
		return nil
	}
	return status.Errorf(j.Status, "restore job %d: %s", j.ID, j.Detail)
}
