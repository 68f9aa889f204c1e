package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"capstan/core/bpjobd"
	"capstan/core/job"
	"capstan/core/rt"
	"capstan/core/status"
	"capstan/reports"
)

// waitFor follows jobs until all have ended, showing their progress on w, and
// gives them back as they ended, in the order of ids.
func waitFor(ctx context.Context, m master, ids []int64, w io.Writer) ([]job.Job, error) {
	var show watcher = &lines{w: w, said: map[int64]string{}}
	if isTerminal(w) {
		show = &bars{progress: mpb.New(mpb.WithOutput(w)), bars: map[int64]*bar{}}
	}
	defer show.end()
	ended := map[int64]job.Job{}
	err := m.follow(ctx, bpjobd.Query{After: slices.Min(ids) - 1}, func(js []job.Job) (more bool) {
		for i := range js {
			if _, known := ended[js[i].ID]; known || !slices.Contains(ids, js[i].ID) {
				continue
			}
			show.job(&js[i])
			if js[i].Done() {
				ended[js[i].ID] = js[i]
			}
		}
		return len(ended) < len(ids)
	})
	if err != nil {
		return nil, fmt.Errorf("the outcome of %s is not known, the work goes on: %w", numbers(ids), err)
	}
	js := make([]job.Job, len(ids))
	for i, id := range ids {
		js[i] = ended[id]
	}
	return js, nil
}

// Jobs change all the time, and are looked at the less often the longer they have
// been followed: a short one is seen to end at once, and a long one costs little.
const (
	firstPause = 5 * time.Millisecond
	longPause  = 250 * time.Millisecond
	pauseShare = 20 // of the time that they were followed
)

// follow gives fn the jobs that match, and again whenever any job has changed,
// until fn returns false or ctx ends.
func (m master) follow(ctx context.Context, q bpjobd.Query, fn func([]job.Job) (more bool)) error {
	began := rt.Mono(ctx)
	for {
		js, revision, err := m.jobs(ctx, q)
		if err != nil {
			return err
		}
		if !fn(js) {
			return nil
		}
		pause := min(max((rt.Mono(ctx)-began)/pauseShare, firstPause), longPause)
		if err := rt.Sleep(ctx, pause); err != nil {
			return err
		}
		q.Follow, q.Newer = true, revision
	}
}

func numbers(ids []int64) string {
	if len(ids) == 1 {
		return fmt.Sprintf("job %d", ids[0])
	}
	return fmt.Sprintf("%d jobs", len(ids))
}

// watcher shows the progress of jobs.
type watcher interface {
	job(j *job.Job)
	end()
}

// lines says in a line what a job came to, whenever that changes.
type lines struct {
	w    io.Writer
	said map[int64]string
}

func (l *lines) job(j *job.Job) {
	text := fmt.Sprintf("job %d, %s of %s: %s", j.ID, j.Type, subject(j), describe(j))
	if l.said[j.ID] != text {
		l.said[j.ID] = text
		fmt.Fprintln(l.w, text)
	}
}

func (l *lines) end() {}

// subject is whose job it is: a client, or of an import the media.
func subject(j *job.Job) string {
	return cmp.Or(j.Client, strings.Join(j.Media, ", "), j.StorageUnit, "media")
}

// describe says in a few words what a job does, or how it ended.
func describe(j *job.Job) string {
	switch {
	case j.Done() && j.Detail != "" && j.Status != status.OK:
		return fmt.Sprintf("ended with status %d, %s: %s", j.Status, j.Status.Message(), j.Detail)
	case j.Done():
		return fmt.Sprintf("ended with status %d, %s", j.Status, j.Status.Message())
	case j.Waiting != "":
		return string(j.State) + ": " + j.Waiting
	}
	return string(j.State)
}

// bars draws a bar for each job.
type bars struct {
	progress *mpb.Progress
	bars     map[int64]*bar
}

type bar struct {
	*mpb.Bar
	text chan string // the newest description
}

func (b *bars) job(j *job.Job) {
	one := b.bars[j.ID]
	if one == nil {
		one = b.add(j)
		b.bars[j.ID] = one
	}
	select {
	case <-one.text:
	default:
	}
	one.text <- beside(j)
	one.SetTotal(max(j.Expected, j.Bytes+1), false)
	one.SetCurrent(j.Bytes)
	switch {
	case j.Done() && j.Status.Succeeded():
		one.SetTotal(j.Bytes, true)
	case j.Done():
		one.Abort(false)
	}
}

// beside is what stands beside a job's bar: short enough for most terminals.
func beside(j *job.Job) string {
	switch {
	case j.Done():
		return fmt.Sprintf("%s, status %d", reports.Size(j.Bytes), j.Status)
	case j.Bytes > 0 && j.Expected >= j.Bytes:
		return fmt.Sprintf("%s of about %s", reports.Size(j.Bytes), reports.Size(j.Expected))
	case j.Bytes > 0:
		return fmt.Sprintf("%s, %s", reports.Size(j.Bytes), j.State)
	}
	return describe(j)
}

func (b *bars) add(j *job.Job) *bar {
	one := &bar{text: make(chan string, 1)}
	text := ""
	one.Bar = b.progress.New(0, mpb.BarStyle(), mpb.BarWidth(24),
		mpb.PrependDecorators(decor.Name(fmt.Sprintf("job %d, %s", j.ID, j.Client))),
		mpb.AppendDecorators(decor.Any(func(decor.Statistics) string {
			select {
			case text = <-one.text:
			default:
			}
			return text
		})))
	return one
}

// end leaves the bars as they are: of jobs that are not followed to their end too.
func (b *bars) end() {
	for _, one := range b.bars {
		if !one.Completed() {
			one.Abort(false)
		}
	}
	b.progress.Wait()
}

// judge is the error, with its exit code, of jobs that were waited for.
func judge(js []job.Job) error {
	code := exitOK
	var worst *job.Job
	for i := range js {
		c := exitJob
		switch {
		case js[i].Status == status.OK:
			continue
		case js[i].Status.Succeeded():
			c = exitPartial
		}
		if c > code {
			code, worst = c, &js[i]
		}
	}
	if worst == nil {
		return nil
	}
	return &exitError{code, fmt.Errorf("job %d %s", worst.ID, describe(worst))}
}
