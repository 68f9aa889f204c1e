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
