package main

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	plans "capstan/reports/answers"
)

const planned = `
name: NAME
start: 2026-11-20T12:00:00Z
length: 3d
warmUp: 1d
seed: 5
master: {name: master}
mediaServers: [{name: media1, link: 25Gbps}]
clients: [{name: "c%02d", count: 6, disk: 500MBps, link: 10Gbps}]
workload:
  clients: [{clients: ["*"], bytes: {law: uniform, from: 100GB, to: 700GB}, change: {law: constant, value: 90%}, nightly: {law: uniform, from: 0.5, to: 1.5}}]
libraries:
  - {name: lib1, host: media1, slots: 20, drives: [{name: "drive%d", count: DRIVES, model: LTO-8}], cartridges: {count: 12, density: LTO-8}}
storageUnits: [{name: tape1, kind: tape, mediaServer: media1, library: lib1, density: LTO-8}]
policies:
  - name: servers
    clients: ["c*"]
    paths: [/data]
    storage: tape1
    schedules: [{name: inc, type: full, windows: [{start: "20:00", length: 90m}]}]
`

// figure and difference are the figures in the JSON of the commands.
type figure struct {
	Name     string
	Estimate plans.Interval
}

type difference struct {
	Name, Verdict             string
	First, Second, Difference plans.Interval
	Paired                    bool
}

// runCommand runs the program in this process, and reads its JSON.
func runCommand(t *testing.T, out any, args ...string) {
	t.Helper()
	root := newRoot(func() {})
	var text bytes.Buffer
	root.SetOut(&text)
	root.SetErr(io.Discard)
	root.SetArgs(args)
	if err := root.ExecuteContext(context.Background()); err != nil {
		t.Fatalf("%q: %v", args, err)
	}
	if out == nil {
		return
	}
	if err := json.Unmarshal(text.Bytes(), out); err != nil {
		t.Fatalf("%q: %v in\n%s", args, err, text.String())
	}
}

// Whichever command tells the figures of the same runs, they are the same: estimates,
// those of quantiles too, and differences.
func TestSameFigures(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	for drives, name := range map[string]string{"1": "one", "2": "two"} {
		text := bytes.ReplaceAll(bytes.ReplaceAll([]byte(planned), []byte("NAME"), []byte(name)), []byte("DRIVES"), []byte(drives))
		if err := os.WriteFile(at(name+".yaml"), text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	sweep := "name: drives\nscenario: one.yaml\nreplications: 4\nparameters: [{title: drives, path: \"libraries[0].drives[0].count\", values: [1, 2]}]\n"
	if err := os.WriteFile(at("sweep.yaml"), []byte(sweep), 0o644); err != nil {
		t.Fatal(err)
	}
	var run, report, other struct{ Figures []figure }
	runCommand(t, &run, "sim", "run", at("one.yaml"), "--replications", "4", "--out", at("one"), "--json")
	runCommand(t, &other, "sim", "run", at("two.yaml"), "--replications", "4", "--out", at("two"), "--json")
	runCommand(t, &report, "report", at("one"), "--json", "--csv", at("csv"))
	var swept struct {
		Results []struct {
			Figures     []figure
			Differences []difference
		}
	}
	runCommand(t, &swept, "sim", "sweep", at("sweep.yaml"), "--out", at("swept"), "--json")
	var compared, ran struct{ Figures []difference }
	runCommand(t, &compared, "sim", "compare", at("one.yaml"), at("two.yaml"), "--replications", "4", "--json")
	runCommand(t, &ran, "sim", "compare", at("one"), at("two"), "--json")
	var reported []difference
	runCommand(t, &reported, "report", at("one"), at("two"), "--json")

	for what, figures := range map[string][]figure{"report": report.Figures, "report --csv": figuresOf(t, at("csv")), "sim sweep": swept.Results[0].Figures} {
		if d := cmp.Diff(run.Figures, figures, cmpopts.EquateApprox(1e-9, 0)); d != "" { // CSV has ten digits
			t.Errorf("%s says other figures than sim run --replications:\n%s", what, d)
		}
	}
	if d := cmp.Diff(other.Figures, swept.Results[1].Figures); d != "" {
		t.Errorf("sim sweep says other figures than sim run --replications:\n%s", d)
	}
	for what, ds := range map[string][]difference{"sim compare of what ran": ran.Figures, "report of two": reported, "sim sweep": swept.Results[1].Differences} {
		if d := cmp.Diff(compared.Figures, ds); d != "" {
			t.Errorf("%s says other differences than sim compare:\n%s", what, d)
		}
	}
	first, second := map[string]plans.Interval{}, map[string]plans.Interval{}
	for _, f := range run.Figures {
		first[f.Name] = f.Estimate
	}
	for _, f := range other.Figures {
		second[f.Name] = f.Estimate
	}
	paired := 0
	for _, d := range compared.Figures {
		if d.First != first[d.Name] || d.Second != second[d.Name] {
			t.Errorf("%s is %+v and %+v by themselves, %+v and %+v compared", d.Name, first[d.Name], second[d.Name], d.First, d.Second)
		}
		if d.Paired && d.Difference.N == 4 && d.Difference.Level == plans.Confidence {
			paired++
		}
	}
	if _, ok := first["mount wait p95"]; !ok || paired < 10 || first["mount wait p95"] == second["mount wait p95"] {
		t.Errorf("%d pairs; the mount waits are %+v and %+v", paired, first["mount wait p95"], second["mount wait p95"])
	}
}

// figuresOf reads figures.csv.
func figuresOf(t *testing.T, dir string) (all []figure) {
	t.Helper()
	file, err := os.Open(filepath.Join(dir, "figures.csv"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	lines, err := csv.NewReader(file).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range lines[1:] {
		var numbers [5]float64
		for i := range numbers {
			if numbers[i], err = strconv.ParseFloat(l[3+i], 64); err != nil {
				t.Fatal(err)
			}
		}
		all = append(all, figure{l[0], plans.Interval{Value: numbers[0], Low: numbers[1], High: numbers[2], Level: numbers[3], N: int(numbers[4])}})
	}
	return all
}
