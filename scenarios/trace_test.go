package scenarios

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// playedBack is a scenario whose jobs are in a file beside it, which it writes.
func playedBack(t *testing.T, clients, jobs int) string {
	t.Helper()
	dir := t.TempDir()
	var lines strings.Builder
	lines.WriteString("time,client,policy,schedule,bytes,files\n")
	for i := range jobs {
		fmt.Fprintf(&lines, "%dm,c%d,p,full,1000,1\n", i%600, 1+i%clients)
	}
	text := fmt.Sprintf(`
name: played
start: 2026-11-23T12:00:00Z
length: 1d
master: {name: master}
mediaServers: [{name: media1}]
clients: [{name: "c%%d", count: %d}, {name: other, data: {files: 1, bytes: 1kB}}]
workload: {trace: jobs.csv}
storageUnits: [{name: disk, kind: disk, mediaServer: media1, path: /backup}]
policies: [{name: p, clients: ["c*", other], paths: [/data], storage: disk, active: false, schedules: [{name: full, type: full, windows: [{start: "20:00", length: 1h}]}]}]
`, clients)
	for name, text := range map[string]string{"jobs.csv": lines.String(), "played.yaml": text} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, "played.yaml")
}

// What a line of a trace costs does not depend on how many clients there are.
func TestTraceCostsByTheLine(t *testing.T) {
	perLine := func(clients int) float64 {
		cost := func(jobs int) float64 {
			file := playedBack(t, clients, jobs)
			return testing.AllocsPerRun(1, func() {
				if s, err := Read[Scenario](file); err != nil || len(s.Workload.Jobs) != jobs {
					t.Fatalf("%d clients, %d jobs: %v", clients, jobs, err)
				}
			})
		}
		return (cost(2000) - cost(1000)) / 1000
	}
	if few, many := perLine(10), perLine(900); few < 1 || many > few*1.1 {
		t.Errorf("a line costs %.1f allocations with 10 clients, %.1f with 900", few, many)
	}
}

// What a file of jobs says is played back, or refused: it never becomes a quiet night.
func TestTraceIsPlayedBackOrRefused(t *testing.T) {
	const titles = "time,client,policy,schedule,bytes,files\n"
	const job = `{"type":"backup","state":"completed","client":"c1","policy":"p","schedule":"full","bytes":1000,"files":1,"queued":"2026-11-23T20:00:00Z"}`
	for _, c := range []struct {
		name, text string
		jobs       int
		wrong      string // a part of the error
	}{
		{"plain", titles + "8h,c1,p,full,1000,1\n", 1, ""},
		{"of a spreadsheet", "\ufeff" + strings.ReplaceAll(titles+"8h,c1,p,full,1000,1\n", "\n", "\r\n"), 1, ""},
		{"in part outside", titles + "8h,c1,p,full,1000,1\n2020-01-01T00:00:00Z,c1,p,full,1000,1\n", 1, ""},
		{"empty", "", 0, "jobs.csv:1: no job to play back"},
		{"titles alone", titles, 0, "jobs.csv:1: no job to play back"},
		{"all outside", titles + "2020-01-01T00:00:00Z,c1,p,full,1000,1\n", 0, "jobs.csv:2: none of the 1 jobs is in the scenario's time, 2026-11-23T12:00:00Z to 2026-11-24T12:00:00Z"},
		{"a title twice", "bytes," + titles + "5,8h,c1,p,full,1000,1\n", 0, `jobs.csv:1: there are two columns "bytes"`},
		{"no such client", titles + "8h,c77,p,full,1000,1\n", 0, `jobs.csv:2: there is no client "c77"`},
		{"JSON", "[" + job + "]", 1, ""},
		{"JSON of none", "[]", 0, "jobs.csv:1: no job to play back"},
		{"JSON cut off between jobs", "[" + job + "\n", 0, "jobs.csv:1: the list of jobs is cut off"},
		{"JSON of two lists", "[" + job + "]\n[" + job + "]\n", 0, "jobs.csv:2: something follows the list of jobs; expected one list"},
		{"JSON and more", "[" + job + "] more", 0, "jobs.csv:1: something follows the list of jobs; expected one list"},
	} {
		t.Run(c.name, func(t *testing.T) {
			file := playedBack(t, 2, 0)
			if err := os.WriteFile(filepath.Join(filepath.Dir(file), "jobs.csv"), []byte(c.text), 0o644); err != nil {
				t.Fatal(err)
			}
			s, err := Read[Scenario](file)
			switch {
			case c.wrong == "" && err != nil:
				t.Fatal(err)
			case c.wrong == "" && len(s.Workload.Jobs) != c.jobs:
				t.Fatalf("%d jobs, want %d", len(s.Workload.Jobs), c.jobs)
			case c.wrong != "" && (err == nil || !strings.Contains(err.Error(), c.wrong)):
				t.Fatalf("error %v, want one with %q", err, c.wrong)
			}
		})
	}
}

// An editor's byte order mark is no part of a file's first field.
func TestReadWithByteOrderMark(t *testing.T) {
	file := playedBack(t, 2, 1)
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, append([]byte("\ufeff"), b...), 0o644); err != nil {
		t.Fatal(err)
	}
	if s, err := Read[Scenario](file); err != nil || s.Name != "played" {
		t.Fatalf("%v, %v", s, err)
	}
}
