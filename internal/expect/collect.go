package expect

import (
	"context"

	"capstan/core/bpdbm"
	"capstan/core/bpjobd"
	"capstan/core/job"
	"capstan/core/nbemm"
	"capstan/core/pbx"
)

// Collect asks the master of a domain for the jobs, the images and the media that
// there are, and for the jobs' logs.
func Collect(ctx context.Context, master string, logs bool) (*Outcome, error) {
	o := &Outcome{Logs: map[int64][]job.Line{}}
	for after := int64(0); ; {
		p, err := bpjobd.List.Call(ctx, pbx.At(master, bpjobd.Service), bpjobd.Query{After: after})
		if err != nil {
			return nil, err
		}
		o.Jobs = append(o.Jobs, p.Jobs...)
		if !p.More {
			break
		}
		after = p.Jobs[len(p.Jobs)-1].ID
	}
	for after := ""; ; {
		p, err := bpdbm.Images.Call(ctx, pbx.At(master, bpdbm.Service), bpdbm.Query{After: after})
		if err != nil {
			return nil, err
		}
		o.Images = append(o.Images, p.Images...)
		if !p.More {
			break
		}
		after = p.Images[len(p.Images)-1].ID
	}
	all, err := nbemm.Show.Call(ctx, pbx.At(master, nbemm.Service), struct{}{})
	if err != nil {
		return nil, err
	}
	o.Media = all.Media
	for i := 0; logs && i < len(o.Jobs); i++ {
		if o.Logs[o.Jobs[i].ID], err = logOf(ctx, master, o.Jobs[i].ID); err != nil {
			return nil, err
		}
	}
	return o, nil
}

func logOf(ctx context.Context, master string, id int64) (lines []job.Line, err error) {
	for {
		q := bpjobd.LogQuery{Job: id}
		if len(lines) > 0 {
			q.After = lines[len(lines)-1].N
		}
		p, err := bpjobd.ReadLog.Call(ctx, pbx.At(master, bpjobd.Service), q)
		if err != nil {
			return nil, err
		}
		lines = append(lines, p.Lines...)
		if !p.More {
			return lines, nil
		}
	}
}
