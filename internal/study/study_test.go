package study

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"capstan/reports/answers"
	"capstan/scenarios"
)

const site = `
name: site
start: 2026-11-20T12:00:00Z
length: 1d
seed: 5
master: {name: master}
mediaServers: [{name: media1}]
clients: [{name: "c%02d", count: 3}]
workload: {clients: [{clients: ["*"]}]}
storageUnits: [{name: disk1, kind: disk, mediaServer: media1, path: /backup, maxJobs: 1}]
policies:
  - {name: p, clients: ["c*"], paths: [/data], storage: disk1, schedules: [{name: full, type: full, windows: [{start: "20:00", length: 1h}]}]}
expect: [{jobs: backup}]
`

func plan(t *testing.T, sweep string) *Plan {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{"site.yaml": site, "sweep.yaml": "name: s\nscenario: site.yaml\n" + sweep} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	p, err := Read(filepath.Join(dir, "sweep.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

const twoByTwo = `
replications: 3
parameters:
  - {path: "storageUnits[0].maxJobs", values: [1, 2]}
  - {title: disk, path: "mediaServers[media1].disk", values: [100MBps, 1GBps]}
`

func TestRead(t *testing.T) {
	p := plan(t, twoByTwo)
	var names []string
	for i := range p.Cells {
		names = append(names, p.Cells[i].Name(p.Titles))
	}
	want := []string{
		"storageUnits[0].maxJobs=1 disk=100MBps", "storageUnits[0].maxJobs=1 disk=1GBps",
		"storageUnits[0].maxJobs=2 disk=100MBps", "storageUnits[0].maxJobs=2 disk=1GBps",
	}
	if !reflect.DeepEqual(names, want) || p.Seed != 5 || p.Replications != 3 {
		t.Errorf("%q, seed %d, %d replications", names, p.Seed, p.Replications)
	}
	if s := p.Cells[2].Scenario; s.StorageUnits[0].MaxJobs != 2 || s.MediaServers[0].Disk != 100e6 {
		t.Errorf("cell 2 is %+v", s)
	}
}

// What a run depends on is in its key, and nothing else.
func TestKey(t *testing.T) {
	key := func(version string, cell, replication int, change func(p *Plan, s *scenarios.Scenario)) string {
		p := plan(t, twoByTwo)
		if change != nil {
			change(p, p.Cells[cell].Scenario)
		}
		k, err := p.key(version, cell, replication)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	first := key("v1", 0, 0, nil)
	for what, same := range map[string]string{
		"it again":          key("v1", 0, 0, nil),
		"what is expected":  key("v1", 0, 0, func(_ *Plan, s *scenarios.Scenario) { s.Expect = nil }),
		"how often it runs": key("v1", 0, 0, func(_ *Plan, s *scenarios.Scenario) { s.Replications = 9 }),
		"the seed, however": key("v1", 0, 1, func(p *Plan, _ *scenarios.Scenario) { p.Seed = 4 }),
	} {
		if same != first {
			t.Errorf("%s changes the key", what)
		}
	}
	for what, other := range map[string]string{
		"the program":       key("v2", 0, 0, nil),
		"the seed":          key("v1", 0, 1, nil),
		"a parameter":       key("v1", 1, 0, nil),
		"any other field":   key("v1", 0, 0, func(_ *Plan, s *scenarios.Scenario) { s.Policies[0].Priority = 1 }),
		"the warm-up":       key("v1", 0, 0, func(_ *Plan, s *scenarios.Scenario) { s.WarmUp = 5 }),
		"a law of the load": key("v1", 0, 0, func(_ *Plan, s *scenarios.Scenario) { s.Workload.Clients[0].Bytes = &scenarios.Law{Law: "constant"} }),
	} {
		if other == first {
			t.Errorf("%s does not change the key", what)
		}
	}
}

// A study goes on with what is there, whatever the number of workers, and comes to the
// same.
func TestRunGoesOn(t *testing.T) {
	p, dir := plan(t, twoByTwo), t.TempDir()
	ctx, cancel := context.WithCancelCause(context.Background())
	stop := errors.New("enough")
	_, err := Run(ctx, p, Options{Dir: dir, Version: "v", Workers: 1, Done: func(*Outcome) { cancel(stop) }})
	if !errors.Is(err, stop) {
		t.Fatal(err)
	}
	left, err := filepath.Glob(filepath.Join(dir, "runs", "*.json"))
	if err != nil || len(left) == 0 || len(left) == 12 {
		t.Fatalf("%d runs are there (%v)", len(left), err)
	}
	kept := 0
	again, err := Run(context.Background(), p, Options{Dir: dir, Version: "v", Workers: 3, Done: func(o *Outcome) {
		if o.Kept {
			kept++
		}
	}})
	if err != nil || kept < len(left) {
		t.Fatalf("%d runs of %d were taken: %v", kept, len(left), err)
	}
	fresh, err := Run(context.Background(), p, Options{Workers: 2})
	if err != nil {
		t.Fatal(err)
	}
	for c := range fresh {
		for r := range fresh[c] {
			if a, b := again[c][r], fresh[c][r]; a.Error != "" || !reflect.DeepEqual(a.Metrics, b.Metrics) || a.Seed != b.Seed || a.Seed != 5+int64(r) {
				t.Errorf("cell %d, replication %d: %+v, fresh %+v", c, r, a, b)
			}
		}
	}
	if hidden, _ := filepath.Glob(filepath.Join(dir, "runs", ".*")); len(hidden) > 1 {
		t.Errorf("files that were begun stay: %q", hidden) // one may be of the run that was left
	}
}

func TestResults(t *testing.T) {
	p, dir := plan(t, "replications: 2\nparameters: [{title: jobs, path: \"storageUnits[0].maxJobs\", values: [1, 3, 2]}]\nshow: [wait]"), t.TempDir()
	out := func(values ...float64) (all []Outcome) {
		for i, v := range values {
			all = append(all, Outcome{Replication: i, Seed: 5 + int64(i), Metrics: []answers.Metric{{Name: "wait", Unit: "s", Value: v, Better: "lower"}, {Name: "more", Value: 1}}})
		}
		return all
	}
	failed := out(2, 3)
	failed[1] = Outcome{Replication: 1, Seed: 6, Error: "the disk is full"}
	r := Summarize(p, [][]Outcome{out(10, 20), out(9, 19), failed})
	if len(r.Failed) != 1 || r.Failed[0] != (Failure{"jobs=2", 6, "the disk is full"}) {
		t.Errorf("%+v", r.Failed)
	}
	blocks := r.Blocks()
	if len(blocks) != 1 || blocks[0].Name != "wait" || len(blocks[0].Rows) != 3 {
		t.Fatalf("%+v", blocks)
	}
	if row := blocks[0].Rows[1]; row.Mean != "14 s" || row.Difference != "-1.0 s" || row.Verdict != "better" {
		t.Errorf("%+v", row)
	}
	if row := blocks[0].Rows[2]; row.Interval != "" || row.Difference != "-8.0 s" { // one pair only
		t.Errorf("%+v", row)
	}
	if err := r.Keep(dir); err != nil {
		t.Fatal(err)
	}
	b, _ := os.ReadFile(filepath.Join(dir, "results.csv"))
	if want := "jobs,replication,seed,metric,unit,value\n1,0,5,wait,s,10\n1,0,5,more,,1\n1,1,6,wait,s,20\n"; !strings.HasPrefix(string(b), want) {
		t.Errorf("%s", b)
	}
	b, _ = os.ReadFile(filepath.Join(dir, "results.json"))
	if !json.Valid(b) {
		t.Errorf("%s", b)
	}
}

// A run that cannot be made is an outcome, not the end of the study.
func TestFailingRun(t *testing.T) {
	p := plan(t, "replications: 1\nparameters: [{path: seed, values: [1]}]")
	s := *p.Cells[0].Scenario
	s.Libraries = []scenarios.Library{{Name: "a", Host: "media1"}, {Name: "b", Host: "media1"}}
	p.Cells = append(p.Cells, Cell{Scenario: &s, Values: []string{"2"}})
	all, err := Run(context.Background(), p, Options{})
	if err != nil || all[0][0].Error != "" || !strings.Contains(all[1][0].Error, "two libraries") {
		t.Errorf("%+v, %v", all, err)
	}
}

func TestExamples(t *testing.T) {
	files, err := filepath.Glob("../../docs/examples/sweep*.yaml")
	if err != nil || len(files) < 2 {
		t.Fatalf("%q, %v", files, err)
	}
	for _, f := range files {
		if p, err := Read(f); err != nil || len(p.Cells) < 4 {
			t.Errorf("%s: %v", f, err)
		}
	}
}
