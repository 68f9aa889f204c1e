package main

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"capstan/core/catalog"
	"capstan/core/image"
	"capstan/core/job"
	"capstan/core/nbemm"
	"capstan/core/nbpem"
	"capstan/core/nbrb"
	"capstan/core/policy"
	"capstan/core/rt"
	"capstan/core/status"
	"capstan/core/trace"
	"capstan/reports"
)

var night = time.Date(2026, 11, 23, 21, 0, 0, 0, time.UTC)

func at(d time.Duration) rt.Time { return rt.FromStd(night.Add(d)) }

func TestJobRow(t *testing.T) {
	j := job.Job{
		ID: 3, Type: job.Backup, State: job.Queued, Client: "web1", Policy: "home", StorageUnit: "tape1", Try: 1,
		Created: at(0), Detail: "drive1: medium error", Waiting: "no drive is free",
	}
	want := reports.Job{
		ID: 3, Type: "backup", State: "queued", Client: "web1", Policy: "home", Storage: "tape1", Try: 1,
		Queued: night, Detail: "no drive is free",
	}
	if d := cmp.Diff(want, jobRow(&j)); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	j.State, j.Waiting, j.Started, j.Ended = job.Completed, "", at(time.Minute), at(time.Hour)
	r := jobRow(&j)
	if !r.Done() || r.Elapsed(night) != 59*time.Minute || r.Detail != "drive1: medium error" {
		t.Errorf("completed: %+v", r)
	}
}

func TestImageRow(t *testing.T) {
	h := image.Header{ID: "web1_1795468800", Client: "web1", Type: "INCR", Time: night.Unix(), Fragments: []image.Fragment{
		{Copy: 1, Number: 1, StorageUnit: "tape1", Media: "CAP001"}, {Copy: 1, Number: 2, StorageUnit: "tape1", Media: "CAP002"},
		{Copy: 1, Number: 3, StorageUnit: "tape1", Media: "CAP002"}, {Copy: 2, Number: 1, StorageUnit: "disk1", Path: "/backup"},
	}}
	want := reports.Image{
		BackupID: "web1_1795468800", Client: "web1", Type: "differential", Time: night, Copies: 2, Fragments: 3,
		Where: []string{"CAP001", "CAP002", "disk1"},
	}
	if d := cmp.Diff(want, imageRow(&h)); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

func TestFileRow(t *testing.T) {
	for mode, e := range map[string]catalog.Entry{
		"drwxr-xr-x": {Type: catalog.Directory, Mode: 0o755},
		"-rwsr-xr-x": {Type: catalog.Regular, Mode: 0o4755},
		"lrwxrwxrwx": {Type: catalog.Symlink, Mode: 0o777},
		"crw-rw-rw-": {Type: catalog.CharDev, Mode: 0o666},
		"brw-rw----": {Type: catalog.BlockDev, Mode: 0o660},
		"prw-------": {Type: catalog.FIFO, Mode: 0o600},
		"-rw-r-----": {Type: catalog.HardLink, Mode: 0o640},
	} {
		r := fileRow(&e)
		if got := reports.ModeString(r.Mode); got != mode {
			t.Errorf("type %c, mode %o: %s, want %s", e.Type, e.Mode, got, mode)
		}
	}
}

func TestMediaState(t *testing.T) {
	drives := []nbemm.DriveState{{Drive: nbemm.Drive{Name: "drive1", Media: "CAP001"}}}
	for want, m := range map[string]nbemm.Media{
		"frozen":    {Frozen: true, Full: true},
		"full":      {Full: true, Images: 3},
		"active":    {Assigned: at(0)},
		"scratch":   {Pool: nbemm.Scratch},
		"available": {Pool: nbemm.DefaultPool},
	} {
		if got := mediaRow(&m, drives).State; got != want {
			t.Errorf("%+v is %s, want %s", m, got, want)
		}
	}
	in := nbemm.Media{ID: "CAP001", Element: 7}
	if r := mediaRow(&in, drives); r.Slot != 0 {
		t.Errorf("a cartridge in a drive lies in slot %d", r.Slot)
	}
}

func TestPolicyRows(t *testing.T) {
	ps := []policy.Policy{{Name: "a", Schedules: []policy.Schedule{{Name: "x"}, {Name: "y"}}}, {Name: "b"}}
	due := []nbpem.Due{{Policy: "b"}, {Policy: "a", At: at(2 * time.Hour)}, {Policy: "a", At: at(time.Hour)}}
	want := []reports.Policy{
		{Name: "a", Schedules: []string{"x", "y"}, Next: night.Add(time.Hour)}, {Name: "b", Schedules: []string{}},
	}
	if d := cmp.Diff(want, policyRows(ps, due)); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

// Steps come in the order in which they began, also if they lie at one instant
// and hosts sent them in another order.
func TestSteps(t *testing.T) {
	event := func(step string, wall rt.Time, seq uint32) trace.Event {
		return trace.Event{Step: step, What: "x", Begin: trace.Stamp{Wall: wall, Seq: seq}, End: trace.Stamp{Wall: wall + 5}}
	}
	events := []trace.Event{event("B3", at(0), 2), event("", at(0), 1), event("B1", at(-1), 0), event("B2", at(0), 0)}
	var got []string
	for _, s := range steps(events, false) {
		got = append(got, s.Step)
	}
	if d := cmp.Diff([]string{"B1", "B2", "B3"}, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	if all := steps(events, true); len(all) != 4 || all[2].Step != "" {
		t.Errorf("with --all: %+v", all)
	}
}

func TestJudge(t *testing.T) {
	done := func(c status.Code) job.Job { return job.Job{ID: int64(c) + 1, State: job.Completed, Status: c} }
	for _, tt := range []struct {
		jobs []job.Job
		code int
	}{
		{nil, exitOK}, {[]job.Job{done(0), done(0)}, exitOK}, {[]job.Job{done(0), done(1)}, exitPartial},
		{[]job.Job{done(84), done(1), done(0)}, exitJob}, {[]job.Job{done(1), done(150)}, exitJob},
	} {
		if got := exitCode(judge(tt.jobs)); got != tt.code {
			t.Errorf("%+v: exit code %d, want %d", tt.jobs, got, tt.code)
		}
	}
}

func TestExplain(t *testing.T) {
	devices := nbemm.List{
		Units:  []nbemm.StorageUnit{{Name: "tape1", Library: "vtl1"}, {Name: "tape2", Library: "vtl2"}, {Name: "disk1"}},
		Groups: []nbemm.Group{{Name: "tapes", Units: []string{"tape1"}}},
		Drives: []nbemm.DriveState{
			{Drive: nbemm.Drive{Name: "drive1", Library: "vtl1", Up: true}, Job: 1},
			{Drive: nbemm.Drive{Name: "drive2", Library: "vtl1"}},
			{Drive: nbemm.Drive{Name: "drive9", Library: "vtl2", Up: true}, Job: 2},
		},
	}
	active := []job.Job{
		{ID: 1, Client: "db1", State: job.Active}, {ID: 2, Client: "db1", State: job.Active}, {ID: 3, Client: "web1", State: job.Active},
	}
	waiters := []nbrb.Waiter{{Job: 7, Why: "no drive is free"}, {Job: 5, Why: "all drives are in use", Since: at(0)}}
	j := job.Job{ID: 5, Type: job.Backup, State: job.Queued, Policy: "home", Client: "web1"}
	y := explain(&j, waiters, &devices, active, []policy.Policy{{Name: "home", Storage: "tapes"}})
	if y.Why != "all drives are in use" || !y.Since.Equal(night) || y.Storage != "tapes" {
		t.Errorf("%+v", y)
	}
	if d := cmp.Diff([]int64{7}, y.Ahead); d != "" {
		t.Errorf("ahead (-want +got):\n%s", d)
	}
	var drives []string
	for _, d := range y.Drives {
		drives = append(drives, d.Name+" "+d.State)
	}
	if d := cmp.Diff([]string{"drive1 up", "drive2 down"}, drives); d != "" {
		t.Errorf("drives (-want +got):\n%s", d)
	}
	var running []int64
	for _, r := range y.Running {
		running = append(running, r.ID)
	}
	if d := cmp.Diff([]int64{1, 3}, running); d != "" {
		t.Errorf("running (-want +got):\n%s", d)
	}
}

func TestExplainWhatDoesNotWait(t *testing.T) {
	for state, want := range map[job.State]string{
		job.Completed:      "it does not wait: it has ended with status 0, " + status.OK.Message(),
		job.Active:         "it waits for no resources",
		job.WaitingToRetry: "its last try failed, and the next is not due yet: drive1: medium error",
	} {
		y := explain(&job.Job{ID: 5, State: state, Detail: "drive1: medium error"}, nil, &nbemm.List{}, nil, nil)
		if y.Why != want {
			t.Errorf("%s: %q, want %q", state, y.Why, want)
		}
	}
}

func TestParseTime(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]time.Time{
		"2026-11-23T18:00:00Z": time.Date(2026, 11, 23, 18, 0, 0, 0, time.UTC),
		"2026-11-23 18:00":     time.Date(2026, 11, 23, 17, 0, 0, 0, time.UTC),
		"2026-07-01T18:00:05":  time.Date(2026, 7, 1, 16, 0, 5, 0, time.UTC),
		"2026-11-23":           time.Date(2026, 11, 22, 23, 0, 0, 0, time.UTC),
	} {
		if got, err := parseTime(text, berlin); err != nil || !got.Equal(want) {
			t.Errorf("%s: %v, %v, want %v", text, got, err, want)
		}
	}
	if _, err := parseTime("noon", berlin); exitCode(err) != exitUsage {
		t.Errorf("noon: %v", err)
	}
}
