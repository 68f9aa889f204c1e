package loopback

import (
	"context"
	"fmt"
	"time"

	"capstan/core/bpjobd"
	"capstan/core/bprd"
	"capstan/core/bprestore"
	"capstan/core/job"
	"capstan/core/nbpem"
	"capstan/core/pbx"
	"capstan/core/policy"
	"capstan/core/rt"
	"capstan/core/trace"
)

// Those below make their calls in the domain's session: ctx is a task's, such as
// the session's own.

// PutPolicy makes a policy known.
func (d *Domain) PutPolicy(ctx context.Context, p policy.Policy) error {
	_, err := nbpem.PutPolicy.Call(ctx, pbx.At(Master, nbpem.Service), p)
	return err
}

// StartBackup asks for a backup of the client now, to a storage unit or, if that
// is "", to the policy's, and returns its job.
func (d *Domain) StartBackup(ctx context.Context, policy, storage string) (int64, error) {
	ids, err := nbpem.BackupNow.Call(ctx, pbx.At(Master, nbpem.Service), nbpem.Backup{Policy: policy, Client: Client, Storage: storage})
	if err != nil {
		return 0, err
	}
	if len(ids) != 1 {
		return 0, fmt.Errorf("policy %s: %d jobs were started for one client", policy, len(ids))
	}
	return ids[0], nil
}

// Backup is StartBackup and Wait.
func (d *Domain) Backup(ctx context.Context, policy, storage string, watch func(job.Job)) (job.Job, error) {
	id, err := d.StartBackup(ctx, policy, storage)
	if err != nil {
		return job.Job{}, err
	}
	return d.Wait(ctx, id, watch)
}

// StartRestore asks for a restore and returns its job. The client is filled in.
func (d *Domain) StartRestore(ctx context.Context, q bprd.Request) (int64, error) {
	q.Client = Client
	return bprestore.Ask(ctx, Master, q)
}

// Restore is StartRestore and Wait.
func (d *Domain) Restore(ctx context.Context, q bprd.Request, watch func(job.Job)) (job.Job, error) {
	id, err := d.StartRestore(ctx, q)
	if err != nil {
		return job.Job{}, err
	}
	return d.Wait(ctx, id, watch)
}

// Wait follows a job to its end, calling watch, if it is not nil, whenever
// something changed. A job that waits to be tried again has not ended.
func (d *Domain) Wait(ctx context.Context, id int64, watch func(job.Job)) (job.Job, error) {
	revision := int64(-1)
	for {
		p, err := bpjobd.List.Call(ctx, pbx.At(Master, bpjobd.Service), bpjobd.Query{ID: id, Follow: true, Newer: revision})
		if err != nil {
			return job.Job{}, err
		}
		revision = p.Revision
		if len(p.Jobs) == 1 {
			if watch != nil {
				watch(p.Jobs[0])
			}
			if p.Jobs[0].Done() {
				return p.Jobs[0], nil
			}
		}
	}
}

// Lines is the log of a job.
func (d *Domain) Lines(ctx context.Context, id int64) ([]job.Line, error) {
	var all []job.Line
	for {
		q := bpjobd.LogQuery{Job: id}
		if len(all) > 0 {
			q.After = all[len(all)-1].N
		}
		p, err := bpjobd.ReadLog.Call(ctx, pbx.At(Master, bpjobd.Service), q)
		if err != nil {
			return nil, err
		}
		all = append(all, p.Lines...)
		if !p.More {
			return all, nil
		}
	}
}

// Settle times: hosts deliver events within half a second of their happening.
const (
	settleEvery = 200 * time.Millisecond
	settleQuiet = 4
)

// Trace is the trace of a job that has ended, when no more of it has come for a while.
func (d *Domain) Trace(ctx context.Context, id int64) ([]trace.Event, error) {
	if d.session != nil {
		d.session.Flush()
	}
	var all []trace.Event
	after := int64(0)
	for quiet := 0; quiet < settleQuiet; quiet++ {
		p, err := bpjobd.ReadTrace.Call(ctx, pbx.At(Master, bpjobd.Service), bpjobd.TraceQuery{Job: id, After: after})
		if err != nil {
			return nil, err
		}
		if len(p.Events) > 0 {
			all, after, quiet = append(all, p.Events...), p.Next, -1
		}
		if p.More {
			continue
		}
		if err := rt.Sleep(ctx, settleEvery); err != nil {
			return nil, err
		}
	}
	return all, nil
}
