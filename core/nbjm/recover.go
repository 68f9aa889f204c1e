package nbjm

import (
	"context"
	"slices"
	"time"

	"capstan/core/bpjobd"
	"capstan/core/bptm"
	"capstan/core/host"
	"capstan/core/image"
	"capstan/core/job"
	"capstan/core/ltid"
	"capstan/core/nbemm"
	"capstan/core/pbx"
	"capstan/core/rt"
	"capstan/core/status"
	"capstan/core/store"
	"capstan/core/trace"
)

// Unfinished are the jobs that were in flight when the master went down. It is
// asked before any service of the master answers: later there are new ones.
func Unfinished(ctx context.Context, db store.DB) (left []job.Job, err error) {
	err = db.View(ctx, func(tx store.Tx) error {
		left = nil
		for _, st := range []job.State{job.Active, job.Ending, job.Queued, job.WaitingToRetry} {
			if err := job.Table.By(tx, "state", string(st), string(st)+"\x00", func(j job.Job) (bool, error) {
				left = append(left, j)
				return true, nil
			}); err != nil {
				return err
			}
		}
		return nil
	})
	return left, err
}

// Recover ends the jobs that were in flight when the master went down: they get
// their status now, and what they left on the media servers is cleaned up as
// soon as those can be reached. It is called once the master's services answer.
func (s *Server) Recover(ctx context.Context, left []job.Job) error {
	ctx = trace.WithRole(ctx, Service)
	for i := range left {
		j := &left[i]
		u := bpjobd.Update{ID: j.ID, State: job.Completed, Status: status.ClientAborted, Detail: "the master server was restarted"}
		h, complete, err := s.image(ctx, j.BackupID)
		if err != nil {
			return err
		}
		if complete { // it went down between the image's completion and the job's
			u.Status, u.Detail, u.Bytes, u.Files = status.Code(h.Status), "", h.Bytes, h.Files
			j.BackupID = "" // nothing of it is to be cleaned up
		}
		if _, err := bpjobd.Finish.Call(ctx, s.at(bpjobd.Service), u); err != nil {
			return err
		}
	}
	known, err := nbemm.Show.Call(ctx, s.at(nbemm.Service), struct{}{})
	if err != nil {
		return err
	}
	var servers []string
	for _, u := range known.Units {
		servers = append(servers, u.MediaServer)
	}
	for _, d := range known.Drives { // no unit need name the host of a drive: what it wrote is read there
		servers = append(servers, d.MediaServer)
	}
	for i, name := range servers {
		if !slices.Contains(servers[:i], name) {
			rt.Go(ctx, "recover "+name, func(ctx context.Context) { s.recoverServer(ctx, name, left, known.Units) })
		}
	}
	return nil
}

func (s *Server) recoverServer(ctx context.Context, server string, left []job.Job, units []nbemm.StorageUnit) {
	for wait := time.Second; ; wait = min(2*wait, time.Minute) {
		if s.tryRecover(ctx, server, left, units) == nil || rt.Sleep(ctx, wait) != nil {
			return
		}
	}
}

func (s *Server) tryRecover(ctx context.Context, server string, left []job.Job, units []nbemm.StorageUnit) error {
	for _, j := range left {
		if _, err := host.EndMethod.Call(ctx, pbx.At(server, host.Service), host.EndJob{Job: j.ID, Try: j.Try, Kill: true}); err != nil {
			return err
		}
		for _, u := range units {
			if u.Kind != nbemm.Disk || u.Name != j.StorageUnit || u.MediaServer != server || j.BackupID == "" || j.Type != job.Backup {
				continue
			}
			q := bptm.DiscardImage{BackupID: j.BackupID, Path: u.Path}
			if _, err := bptm.Discard.Call(ctx, pbx.At(server, bptm.Role), q); err != nil {
				return err
			}
		}
	}
	_, err := ltid.Begin.Call(ctx, pbx.At(server, ltid.Service), struct{}{})
	return err
}

// image finds the image of a backup if it is complete.
func (s *Server) image(ctx context.Context, id string) (h image.Header, complete bool, err error) {
	if id == "" {
		return h, false, nil
	}
	err = s.db.View(ctx, func(tx store.Tx) error {
		h, complete, err = image.Table.Get(tx, id)
		return err
	})
	return h, complete && h.Complete, err
}
