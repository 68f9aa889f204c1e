package fuse

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path"
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

// fetch has a restore job bring the files of a batch, checks them, and keeps them. Files
// of one path from several images are brought by one job each, for they would lie on each
// other, and so are a file and what is below its path in another image.
func (s *system) fetch(ctx context.Context, b stage.Batch, came func(stage.File)) error {
	files := slices.DeleteFunc(slices.Clone(b.Files), func(f stage.File) bool { // it came when somebody was about to ask
		_, staged := s.staged.blocks(keyOf(f.Image, f.Path))
		if staged {
			came(f)
		}
		return staged
	})
	s.log.Info("fetching", "client", b.Client, "media", b.Media, "files", len(files))
	var errs []error
	for len(files) > 0 {
		var now, later []stage.File
		at := places{}
		for _, f := range files {
			if !at.take(f.Path) {
				later = append(later, f)
				continue
			}
			now = append(now, f)
		}
		errs = append(errs, s.fetchOnce(ctx, b.Client, now, came))
		files = later
	}
	return errors.Join(errs...)
}

// places are paths that are taken in a directory: true for files, false for the
// directories above them.
type places map[string]bool

// take takes a path for a file, if nothing that was taken is in its way.
func (p places) take(file string) bool {
	if _, taken := p[file]; taken {
		return false
	}
	for dir := path.Dir(file); dir != "/"; dir = path.Dir(dir) {
		if p[dir] {
			return false
		}
	}
	p[file] = true
	for dir := path.Dir(file); dir != "/"; dir = path.Dir(dir) {
		p[dir] = false
	}
	return true
}

func (s *system) fetchOnce(ctx context.Context, client string, files []stage.File, came func(stage.File)) error {
	if err := s.staged.room(total(files)); err != nil {
		return err
	}
	dir, err := os.MkdirTemp(s.jobsDir(), "job")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	q := bprd.Request{Client: client, To: s.cfg.Host, Parts: parts(files), Target: dir, Overwrite: archive.Always, Volatile: true}
	if err := s.restore(ctx, q, files); err != nil {
		_ = s.takeAll(ctx, dir, files, came) // what came before it failed is checked as all is
		return s.apart(ctx, client, files, err, came)
	}
	return s.takeAll(ctx, dir, files, came)
}

// takeAll keeps the files of a job. Who waits for one goes on while others are checked.
func (s *system) takeAll(ctx context.Context, dir string, files []stage.File, came func(stage.File)) error {
	var errs []error
	for _, f := range files {
		r, err := s.images.reader(ctx, f.Image)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		e, ok, err := r.Lookup(ctx, f.Path)
		if err == nil && ok {
			err = s.take(filepath.Join(dir, f.Path), &e, f.Image)
		}
		if errs = append(errs, err); err == nil && ok {
			came(f)
		}
	}
	return errors.Join(errs...)
}

// apart fetches files by themselves, image by image, if a job for all of them failed
// because an image or a file is no longer there: an image that has expired does not keep
// those of others away. err is of that job, and what remains if there is nothing to part.
func (s *system) apart(ctx context.Context, client string, files []stage.File, err error, came func(stage.File)) error {
	ps := parts(files)
	if code := status.Of(err, status.RestoreFailed); len(ps) < 2 || code != status.NoImage && code != status.NotFound && code != status.NotAllRestored {
		return err
	}
	var errs []error
	for _, p := range ps {
		own := slices.DeleteFunc(slices.Clone(files), func(f stage.File) bool { return f.Image != p.Image })
		errs = append(errs, s.fetchOnce(ctx, client, own, came))
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
func (s *system) restore(ctx context.Context, q bprd.Request, files []stage.File) error {
	for try := 1; ; try++ {
		id, err := bprestore.Ask(ctx, s.cfg.Master, q)
		if err == nil {
			s.asked.began(id, files)
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
