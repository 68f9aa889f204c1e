package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vbauerster/mpb/v8"

	"capstan/core/job"
	"capstan/core/status"
)

// life is what is seen of a job from its start to its end.
func life(id int64, end status.Code) []job.Job {
	j := job.Job{ID: id, Type: job.Backup, Client: "web1", State: job.Queued, Waiting: "no drive is free", Expected: 2 << 30}
	all := []job.Job{j, j}
	j.State, j.Waiting = job.Active, ""
	all = append(all, j)
	j.Bytes = 1 << 30
	all = append(all, j)
	j.State, j.Bytes, j.Status, j.Detail = job.Completed, 3<<30, end, "drive1: medium error"
	return append(all, j)
}

// Where no bars can be drawn there is a line for each change.
func TestLines(t *testing.T) {
	var b bytes.Buffer
	l := &lines{w: &b, said: map[int64]string{}}
	for _, j := range life(3, status.MediaWrite) {
		l.job(&j)
	}
	l.end()
	want := `job 3, Backup of web1: Queued: no drive is free
job 3, Backup of web1: Active
job 3, Backup of web1: ended with status 84, media write error: drive1: medium error
`
	if d := cmp.Diff(want, b.String()); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

// Bars show how each job ended; one that is not followed to its end does not
// keep the command from ending.
func TestBars(t *testing.T) {
	var b bytes.Buffer
	show := &bars{progress: mpb.New(mpb.WithOutput(&b), mpb.WithAutoRefresh()), bars: map[int64]*bar{}}
	lives := [][]job.Job{life(3, status.MediaWrite), life(4, status.OK), life(5, status.OK)[:4]}
	for _, l := range lives {
		for i := range l {
			show.job(&l[i])
		}
	}
	show.end()
	for _, want := range []string{
		"job 3, web1 [", "] 3.0 GiB, status 84", "job 4, web1 [", "] 3.0 GiB, status 0", "job 5, web1 [", "] 1.0 GiB of about 2.0 GiB",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
}
