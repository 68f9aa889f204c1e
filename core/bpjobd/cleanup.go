package bpjobd

import (
	"context"
	"time"

	"capstan/core/job"
	"capstan/core/rt"
	"capstan/core/store"
)

// keepLogs is how long a job's log and its trace are kept after its end. The job
// itself stays in the list: it is small beside them.
const keepLogs = 30 * 24 * time.Hour

const (
	cleanEvery = 24 * time.Hour
	cleanBatch = 100 // jobs in one transaction
)

// cleaned is the last job whose log was looked at: all before are done with.
var cleaned = store.Declare[string, int64]("job_logs_cleaned", 1, store.StringKey, nil)

// StartCleanup removes old logs and traces from now on, once a day.
func (s *Server) StartCleanup(ctx context.Context) {
	rt.Go(ctx, "job log cleanup", func(ctx context.Context) {
		for rt.Sleep(ctx, cleanEvery) == nil {
			for more := true; more; {
				var err error
				if more, err = s.cleanLogs(ctx); err != nil {
					break // the database; it may come back by tomorrow
				}
			}
		}
	})
}

// cleanLogs removes the logs of some old jobs; more says that there are others. A
// job that has not ended in all that time is passed over, and keeps its log.
func (s *Server) cleanLogs(ctx context.Context) (more bool, err error) {
	s.lock.Lock(ctx)
	defer s.lock.Unlock(ctx)
	old := rt.Now(ctx).Add(-keepLogs)
	var done []int64
	err = s.db.Update(ctx, func(tx store.Tx) error {
		done = nil
		last, _, err := cleaned.Get(tx, "")
		if err != nil {
			return err
		}
		n := 0
		if err := job.Table.Range(tx, last+1, 1<<62, func(j job.Job) (bool, error) {
			if j.Created > old || j.Done() && j.Ended > old || n == cleanBatch {
				return false, nil
			}
			n++
			last = j.ID
			if j.Done() {
				done = append(done, j.ID)
			}
			return true, nil
		}); err != nil || n == 0 {
			return err
		}
		more = n == cleanBatch
		for _, id := range done {
			if err := removeLog(tx, id); err != nil {
				return err
			}
		}
		return cleaned.Put(tx, "", last)
	})
	if err != nil {
		return false, dbError(err)
	}
	for _, id := range done {
		delete(s.lines, id)
		delete(s.events, id)
	}
	return more, nil
}

// removeLog removes the log and the trace of a job.
func removeLog(tx store.Tx, id int64) error {
	from, to := [2]int64{id, 0}, [2]int64{id + 1, 0}
	var lines, events [][2]int64
	if err := job.Log.Range(tx, from, to, func(l job.Lines) (bool, error) {
		lines = append(lines, [2]int64{id, l.N})
		return true, nil
	}); err != nil {
		return err
	}
	if err := eventTable.Range(tx, from, to, func(e event) (bool, error) {
		events = append(events, [2]int64{id, e.N})
		return true, nil
	}); err != nil {
		return err
	}
	for _, k := range lines {
		if err := job.Log.Delete(tx, k); err != nil {
			return err
		}
	}
	for _, k := range events {
		if err := eventTable.Delete(tx, k); err != nil {
			return err
		}
	}
	return nil
}
