package answers

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"capstan/core/status"
	"capstan/reports/record"
)

func TestLasts(t *testing.T) {
	for _, c := range []struct {
		over []time.Duration
		want int
	}{
		{[]time.Duration{-h, -h, -h}, 3},
		{[]time.Duration{-h, -h, h, -h}, 2},
		{[]time.Duration{h, -h}, 0},
	} {
		if got := Of(nights(c.over...)).Lasts(); got != c.want {
			t.Errorf("%v: %d nights, want %d", c.over, got, c.want)
		}
	}
}

func TestExplainJob(t *testing.T) {
	r := nights(h)
	r.Head.Resources = []record.Resource{{Name: "drive1", Kind: record.Drive, Rate: 360e6}}
	j := &r.Jobs[9] // of 11 hours, from 20:00
	j.Policy, j.Schedule, j.Storage, j.Drive, j.Tries, j.Bytes, j.Files = "web", "full", "tape1", "drive1", 2, 720e9, 1
	j.Started = j.Queued.Add(30 * time.Minute)
	j.First, j.Last = j.Started.Add(time.Minute), j.Started.Add(time.Minute+2*time.Hour)
	j.Spent = record.Spent{record.Queue: 30 * time.Minute, record.Source: 8 * h, record.Drive: 2 * h, record.Robot: 30 * time.Minute}
	for i := range r.Jobs[:6] {
		r.Jobs[i].Storage = "tape1"
		r.Jobs[i].Ended = r.Jobs[i].Started.Add(time.Duration(10*(i+1)) * time.Minute)
	}
	r.Jobs[0].Started = 0 // it never had a drive
	got, err := ExplainJob(r, 10)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"Job 10, a backup of c by policy web, schedule full, ended 11 h 00 min after it was queued, with status 0. It moved 720 GB in 1 file.",
		"It took 2 tries; what the earlier ones did was done again.",
		"It ended 60 min after its window closed at Tue 06:00:00.",
		"30 min of that was waiting for a drive (4.5 %). Meanwhile 5 other jobs worked there, longest job 3 of c (30 min), job 4 of c (30 min), job 5 of c (30 min), job 6 of c (30 min).",
		"From Mon 20:30:00, when it had its resources, it worked for 10 h 30 min, limited 8 h 00 min by clients' disks (76 %), 2 h 00 min by drives' speed (19 %), 30 min by robots (4.8 %).",
		"Its data moved for 2 h 00 min, at 100 MB a second; its drive, drive1, takes 360 MB.",
		"To try: let more clients run at a time, back up less (incrementals, exclusions), or give the slow clients faster disks; more drives alone change little.",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}

	j.Status, j.Started, j.First, j.Last, j.Tries, j.Detail = status.WindowClosed, 0, 0, 0, 1, "the window closed."
	j.Spent = record.Spent{record.Limit: 11 * h}
	got, _ = ExplainJob(r, 10)
	for _, want := range []string{"It failed: ", "(the window closed).", "It was never begun: its window closed at Tue 06:00:00", "11 h 00 min of that was limits of jobs (100 %)."} {
		if text := strings.Join(got, "\n"); !strings.Contains(text, want) {
			t.Errorf("no %q in:\n%s", want, text)
		}
	}
	if _, err := ExplainJob(r, 11); err == nil || err.Error() != "the run has no job 11; its jobs have the numbers up to 10" {
		t.Error(err)
	}
}

func TestExplainNight(t *testing.T) {
	r := nights(-2*h, h)
	r.Head.Warmup = 24 * h
	for _, which := range []string{"2", "2026-11-24"} {
		got, err := ExplainNight(r, which)
		if err != nil {
			t.Fatal(err)
		}
		want := []string{
			"Night 2, of 2026-11-24.",
			"The night does not fit: 9 of 10 backups were done inside their windows (90 %); 1 ended late. The late ones were late by 60 min.",
			"The last backup ended 60 min after its window had closed.",
			"The largest part of the backups' time, 100 %, went to this: drives' speed. To try: add drives and let as many jobs run, or take a faster generation of drive.",
			"Job 20 of c took 11 h 00 min from its request, 100 % of it drives' speed.",
			"Job 11 of c took 60 min from its request, 100 % of it drives' speed.",
			"Job 12 of c took 60 min from its request, 100 % of it drives' speed.",
			"Job 13 of c took 60 min from its request, 100 % of it drives' speed.",
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
	if got, err := ExplainNight(r, "1"); err != nil || !strings.HasPrefix(got[1], "The night fits: 10 of 10") {
		t.Errorf("the night of the warm-up: %q, %v", got, err)
	}
	if _, err := ExplainNight(r, "3"); err == nil || !strings.Contains(err.Error(), "expected 1 to 2, or a date such as 2026-11-23") {
		t.Error(err)
	}
}
