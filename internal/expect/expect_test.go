package expect

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"capstan/core/dev"
	"capstan/core/image"
	"capstan/core/job"
	"capstan/core/nbemm"
	"capstan/core/policy"
	"capstan/core/rt"
	"capstan/core/trace"
	"capstan/scenarios"
)

// head is a scenario but for its expectations, of which the first is on line 10.
const head = `name: test
start: 2026-11-23T18:00:00Z
length: 10h
master: {name: master}
mediaServers: [{name: media1}]
clients: [{name: web1, data: {files: 10, bytes: 1GB}}, {name: db1, data: {files: 10, bytes: 1GB}}]
storageUnits: [{name: disk1, kind: disk, mediaServer: media1, path: /backup}]
policies: [{name: p, clients: [web1, db1], paths: [/], storage: disk1}, {name: q, clients: [web1], paths: [/], storage: disk1}]
expect:
`

// outcome is four jobs: a backup of web1 that waited an hour, one of db1 that
// failed, one of web1 that is still queued, and a restore.
func outcome() *Outcome {
	start := rt.FromStd(time.Date(2026, 11, 23, 18, 0, 0, 0, time.UTC))
	at := func(d time.Duration) rt.Time { return start.Add(d) }
	return &Outcome{
		Start: start,
		Jobs: []job.Job{
			{ID: 1, Type: job.Backup, State: job.Completed, Client: "web1", Policy: "p", Try: 1, Created: at(time.Hour), Started: at(2 * time.Hour), Ended: at(3 * time.Hour)},
			{ID: 2, Type: job.Backup, State: job.Completed, Status: 96, Detail: "no cartridge of pool X", Client: "db1", Policy: "p", Try: 1, Created: at(time.Hour), Ended: at(time.Hour)},
			{ID: 3, Type: job.Backup, State: job.Queued, Client: "web1", Policy: "q", Try: 1, Created: at(4 * time.Hour), Waiting: "the 2 drives are in use"},
			{ID: 4, Type: job.Restore, State: job.Completed, Client: "web1", Try: 1, Created: at(5 * time.Hour), Started: at(5 * time.Hour), Ended: at(6 * time.Hour)},
		},
		Logs: map[int64][]job.Line{1: {{Text: "awaiting resource: no drive is up"}, {Text: "begin writing"}}},
		Events: []trace.Event{
			{Job: trace.Job{ID: 1, Try: 1}, Step: "B12", What: "send data", Role: "bpbkar", Host: "web1"},
			{Job: trace.Job{ID: 1, Try: 1}, Step: "B10", What: "start bptm on media1", Role: "bptm", Host: "media1"},
		},
		Images: []image.Header{{ID: "web1_1", Client: "web1", Policy: "p", Type: string(policy.Full)}},
		Media: []nbemm.Media{
			{ID: "CAP001", Pool: nbemm.DefaultPool, Images: 2, Full: true}, {ID: "CAP002", Pool: nbemm.Scratch}, {ID: "CAP003", Pool: "X", Images: 1},
		},
		Drives: []dev.DriveStats{{Name: "drive1", Mounts: 3}, {Name: "drive2", Mounts: 5}},
	}
}

func load(t *testing.T, expectations string) (*scenarios.Scenario, scenarios.Places) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "test.yaml")
	if err := os.WriteFile(file, []byte(head+expectations), 0o600); err != nil {
		t.Fatal(err)
	}
	s, places, err := scenarios.ReadPlaced[scenarios.Scenario](file)
	if err != nil {
		t.Fatal(err)
	}
	return s, places
}

// Each expectation holds, or fails with what was wanted (-) and what came (+).
func TestCheck(t *testing.T) {
	for _, c := range []struct {
		expect string
		fails  []string // parts of the text; none if it holds
	}{
		{`{jobs: backup}`, nil},
		{`{jobs: backup, count: 1}`, nil},
		{`{jobs: any, count: 2}`, nil},
		{`{jobs: any, status: any, count: 4}`, nil},
		{`{jobs: any, status: 0 or 96, count: 3}`, nil},
		{`{jobs: backup, status: failed, client: db1, count: 1, detail: no cartridge}`, nil},
		{`{jobs: backup, count: 2-4}`, []string{`"jobs": "2-4"`, `"jobs": "1"`, "job 2, backup of db1 by policy p: Completed with status 96 after 1h, no cartridge", "waits: the 2 drives"}},
		{`{jobs: restore, status: failed}`, []string{`"at least 1"`, `"0"`}},
		{`{jobs: backup, client: web1, count: 0}`, []string{"of client web1", `"0"`, `"1"`}},
		{`{jobs: backup, status: 96, detail: full}`, []string{`job 2, backup of db1: detail`, `"… full …"`, `"no cartridge of pool X"`}},
		{`{jobs: any, status: any, endBy: 7h}`, []string{`"ended by 7h"`, `"is Queued"`, "job 3"}},
		{`{jobs: backup, endBy: 3h}`, nil},
		{`{jobs: backup, endBy: 2h59m}`, []string{`"job 1, backup of web1": "ended by 2h59m"`, `"ended after 3h"`}},
		{`{jobs: backup, waitAtMost: 1h}`, nil},
		{`{jobs: backup, waitAtMost: 59m}`, []string{`"at most 59m"`, `"1h"`}},
		{`{jobs: backup, log: begin writing}`, nil},
		{`{jobs: backup, log: end writing}`, []string{`"… end writing …"`, "2 lines without it", "\n  begin writing"}},
		{`{jobs: backup, status: any, policy: q, waiting: drives are in use}`, nil},
		{`{jobs: backup, policy: p, waiting: no drive is up}`, nil},
		{`{jobs: backup, policy: p, waiting: in use}`, []string{"waited for", `"… in use …"`}},
		{`{steps: in order, client: db1}`, []string{"jobs that succeeded on one volume", `"at least 1"`, `"0"`}},
		{`{steps: in order, policy: p}`, []string{`"job 1, backup of web1": "in order"`, "B1 did not happen; B2 did not happen"}},
		{`{event: send data, step: "B1*", role: bpbkar, host: "web?", count: 1}`, nil},
		{`{event: start bptm*, count: 1}`, nil},
		{`{event: "*", host: "[^m]*", role: bptm, count: 0}`, nil},
		{`{event: start tar*}`, []string{"events start tar*", `"at least 1"`}},
		{`{event: "*", host: media1, count: 0}`, []string{"on host media1", "start bptm on media1"}},
		{`{mounts: drive1, count: 3}`, nil},
		{`{mounts: drive*, count: 1-4}`, []string{`"drive2": "1-4"`, `"drive2": "5"`}},
		{`{mounts: robot, count: 0}`, []string{`"drives": "robot"`, `"none"`}},
		{`{images: any, count: 1}`, nil},
		{`{images: full, client: web1, policy: p, count: 1}`, nil},
		{`{images: differential}`, []string{"differential images", "web1_1: FULL of policy p"}},
		{`{images: any, client: db1}`, []string{"of client db1"}},
		{`{media: full, count: 1}`, nil},
		{`{media: written, count: 2}`, nil},
		{`{media: any, pool: Default, count: 1}`, nil},
		{`{media: scratch, count: 3}`, []string{`"cartridges": "3"`, `"cartridges": "1"`, "CAP003 in pool X: 1 images"}},
	} {
		s, places := load(t, "  - "+c.expect+"\n")
		failures := Check(s, places, outcome())
		if (len(failures) == 0) != (c.fails == nil) {
			t.Errorf("%s: %v", c.expect, failures)
			continue
		}
		for _, part := range c.fails {
			text := failures[0].String()
			if !strings.Contains(text, part) || !strings.Contains(text, "test.yaml:10:5: ") {
				t.Errorf("%s: the failure does not say %q:\n%s", c.expect, part, text)
			}
		}
	}
}

// In the real world bounds on times and mounts hold, and nothing else; what is
// for one world is checked there only.
func TestWorlds(t *testing.T) {
	s, places := load(t, `  - {jobs: any, status: any, endBy: 1h, waitAtMost: 1m}
  - {jobs: backup, endBy: 1h, count: 9}
  - {mounts: drive1, count: 9}
  - {images: any, count: 9, world: virtual}
  - {images: any, count: 8, world: real}
`)
	if NeedsLogs(s) || NeedsEvents(s) {
		t.Error("the needs of the scenario are misjudged")
	}
	for _, c := range []struct {
		real      bool
		lines     []string
		unchecked int
	}{
		{false, []string{"test.yaml:10:5", "test.yaml:11:5", "test.yaml:12:5", "test.yaml:13:5"}, 1},
		{true, []string{"test.yaml:11:5", "test.yaml:14:5"}, 4},
	} {
		o := outcome()
		o.Real = c.real
		var lines []string
		for _, f := range Check(s, places, o) {
			lines = append(lines, filepath.Base(f.Where))
		}
		if !slices.Equal(lines, c.lines) || Unchecked(s, o) != c.unchecked {
			t.Errorf("real %v: %v fail and %d are not checked; want %v and %d", c.real, lines, Unchecked(s, o), c.lines, c.unchecked)
		}
	}
}
