package main

import (
	"context"

	"github.com/spf13/cobra"

	"capstan/core/bpdbm"
	"capstan/core/bpjobd"
	"capstan/core/image"
	"capstan/core/job"
	"capstan/core/nbemm"
	"capstan/core/nbpem"
	"capstan/core/pbx"
	"capstan/core/policy"
	"capstan/core/status"
	"capstan/core/trace"
)

// master is a master server, as a command talks to it.
type master string

func (m master) at(service string) pbx.Addr { return pbx.At(string(m), service) }

// withMaster connects to the domain's master and runs fn.
func withMaster(cmd *cobra.Command, fn func(ctx context.Context, m master) error) error {
	ctx, name, done, err := connect(cmd)
	if err != nil {
		return err
	}
	defer done()
	return fn(ctx, master(name))
}

// jobs are the jobs that match, by number, and the revision that they show.
func (m master) jobs(ctx context.Context, q bpjobd.Query) (all []job.Job, revision int64, err error) {
	for {
		p, err := bpjobd.List.Call(ctx, m.at(bpjobd.Service), q)
		if err != nil {
			return nil, 0, err
		}
		if revision == 0 {
			revision = p.Revision // of the first page: what changed since then shows at the next look
		}
		all = append(all, p.Jobs...)
		if !p.More || len(p.Jobs) == 0 {
			return all, revision, nil
		}
		q.After, q.Follow = p.Jobs[len(p.Jobs)-1].ID, false
	}
}

// job is one job.
func (m master) job(ctx context.Context, id int64) (job.Job, error) {
	js, _, err := m.jobs(ctx, bpjobd.Query{ID: id})
	if err != nil {
		return job.Job{}, err
	}
	if len(js) == 0 {
		return job.Job{}, status.Errorf(status.NotFound, "there is no job %d; see capstan jobs", id)
	}
	return js[0], nil
}

func (m master) log(ctx context.Context, id, after int64) (all []job.Line, err error) {
	for {
		p, err := bpjobd.ReadLog.Call(ctx, m.at(bpjobd.Service), bpjobd.LogQuery{Job: id, After: after})
		if err != nil {
			return nil, err
		}
		all = append(all, p.Lines...)
		if !p.More || len(p.Lines) == 0 {
			return all, nil
		}
		after = p.Lines[len(p.Lines)-1].N
	}
}

func (m master) trace(ctx context.Context, id int64) (all []trace.Event, err error) {
	q := bpjobd.TraceQuery{Job: id}
	for {
		p, err := bpjobd.ReadTrace.Call(ctx, m.at(bpjobd.Service), q)
		if err != nil {
			return nil, err
		}
		all = append(all, p.Events...)
		if !p.More || p.Next <= q.After {
			return all, nil
		}
		q.After = p.Next
	}
}

// images are the images that match, each client's oldest first.
func (m master) images(ctx context.Context, q bpdbm.Query) (all []image.Header, err error) {
	for {
		p, err := bpdbm.Images.Call(ctx, m.at(bpdbm.Service), q)
		if err != nil {
			return nil, err
		}
		all = append(all, p.Images...)
		if !p.More || len(p.Images) == 0 {
			return all, nil
		}
		q.After = p.Images[len(p.Images)-1].ID
	}
}

func (m master) policies(ctx context.Context) ([]policy.Policy, error) {
	return nbpem.Policies.Call(ctx, m.at(nbpem.Service), struct{}{})
}

func (m master) policy(ctx context.Context, name string) (policy.Policy, error) {
	ps, err := m.policies(ctx)
	if err != nil {
		return policy.Policy{}, err
	}
	for _, p := range ps {
		if p.Name == name {
			return p, nil
		}
	}
	return policy.Policy{}, status.Errorf(status.NotFound, "there is no policy %s; see capstan policy list", name)
}

// devices is all that nbemm knows.
func (m master) devices(ctx context.Context) (nbemm.List, error) {
	return nbemm.Show.Call(ctx, m.at(nbemm.Service), struct{}{})
}
