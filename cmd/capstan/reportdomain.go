package main

import (
	"cmp"
	"context"
	"slices"
	"time"

	"capstan/core/bpjobd"
	"capstan/core/job"
	"capstan/core/nbemm"
	"capstan/core/rt"
	"capstan/core/trace"
	"capstan/reports/record"
)

// record makes the record of a domain from the jobs that were queued since a time,
// and their traces.
func (m master) record(ctx context.Context, since time.Time, loc *time.Location, sink record.Sink) error {
	devices, err := m.devices(ctx)
	if err != nil {
		return err
	}
	policies, err := m.policies(ctx)
	if err != nil {
		return err
	}
	all, _, err := m.jobs(ctx, bpjobd.Query{})
	if err != nil {
		return err
	}
	from, now := rt.FromStd(since), rt.FromStd(time.Now())
	jobs := slices.DeleteFunc(all, func(j job.Job) bool { return j.Created < from })
	var events []trace.Event
	for i := range jobs {
		es, err := m.trace(ctx, jobs[i].ID)
		if err != nil {
			return err
		}
		events = append(events, es...)
	}
	slices.SortStableFunc(events, func(a, b trace.Event) int { return a.End.Compare(b.End) })

	resources := domainResources(&devices)
	rec := record.NewRecorder(sink, resources)
	for i := range events {
		rec.Event(&events[i])
	}
	windows := record.NewWindows(policies)
	slices.SortStableFunc(jobs, func(a, b job.Job) int { return cmp.Compare(cmp.Or(a.Ended, now), cmp.Or(b.Ended, now)) })
	first := now
	for i := range jobs {
		first = min(first, jobs[i].Created)
		rec.Job(&jobs[i], windows.Of(&jobs[i]), now)
	}
	each := func(fn func(nbemm.Media)) error {
		for i := range devices.Media {
			fn(devices.Media[i])
		}
		return nil
	}
	if err := record.CountVolumes(each, now, rec.Volumes); err != nil {
		return err
	}
	inUse, err := record.InUse(each)
	if err != nil {
		return err
	}
	start := max(from, first-first%rt.Time(time.Hour))
	return rec.Finish(record.Head{
		Scenario: string(m), Real: true, Start: start, Length: now.Sub(start), Zone: loc.String(), Resources: resources, Cartridges: inUse,
	})
}

// domainResources are the resources that nbemm knows.
func domainResources(l *nbemm.List) (all []record.Resource) {
	for i := range l.Libraries {
		all = append(all, record.Resource{Name: l.Libraries[i].Name, Kind: record.Robot})
	}
	for i := range l.Drives {
		all = append(all, record.Resource{Name: l.Drives[i].Name, Kind: record.Drive, Library: l.Drives[i].Library})
	}
	return all
}
