package virtual

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"capstan/core/job"
	"capstan/core/rt"
	"capstan/reports/answers"
	"capstan/reports/record"
	"capstan/scenarios"
)

// site is a scenario of a number of clients with one backup each.
type site struct {
	clients          int
	size, disk, link string
	mediaLink        string
	drives           int
	cartridges       int
	storage          string // tape or disk
	perPolicy        int
}

func (s site) scenario(t *testing.T) *scenarios.Scenario {
	t.Helper()
	drives := ""
	for i := range s.drives {
		drives += fmt.Sprintf("{name: d%d, model: LTO-8}, ", i+1)
	}
	text := fmt.Sprintf(`
name: site
start: 2026-11-23T18:00:00Z
length: 30h
master: {name: master}
mediaServers: [{name: media1, link: %s}]
clients: [{name: "c%%03d", count: %d, link: %s, disk: %s, data: {files: 1000, bytes: %s}}]
libraries:
  - {name: lib, host: media1, slots: 60, timing: real, drives: [%s], cartridges: {count: %d, prefix: CAP, density: LTO-8}}
storageUnits:
  - {name: tape, kind: tape, mediaServer: media1, library: lib, density: LTO-8}
  - {name: disk, kind: disk, mediaServer: media1, path: /backup}
policies:
  - {name: p, clients: ["c*"], paths: [/], storage: %s, limits: {jobsPerPolicy: %d}, schedules: [{name: full, type: full, frequency: 7d, windows: [{start: "20:00", length: 20h}]}]}
`, s.mediaLink, s.clients, s.link, s.disk, s.size, drives, s.cartridges, s.storage, s.perPolicy)
	out, err := scenarios.Load[scenarios.Scenario]("site.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// A site that is short of one thing is told so: the largest part of its backups' time
// is attributed to it. Every job's time is attributed to something, and adds up.
func TestAttribution(t *testing.T) {
	for _, c := range []struct {
		want record.Kind
		site site
	}{
		{record.Source, site{2, "500GiB", "50MBps", "10Gbps", "10Gbps", 2, 4, "tape", 0}},
		{record.Link, site{2, "100GiB", "500MBps", "200Mbps", "10Gbps", 2, 4, "tape", 0}},
		{record.Network, site{4, "100GiB", "500MBps", "1Gbps", "1Gbps", 4, 8, "disk", 0}},
		{record.Server, site{4, "500GiB", "1GBps", "10Gbps", "100Gbps", 1, 4, "disk", 0}},
		{record.Drive, site{2, "1TiB", "900MBps", "10Gbps", "25Gbps", 2, 4, "tape", 0}},
		{record.Position, site{2, "1GiB", "500MBps", "10Gbps", "10Gbps", 2, 4, "tape", 0}},
		{record.Robot, site{40, "1GiB", "500MBps", "10Gbps", "100Gbps", 40, 50, "tape", 0}},
		{record.Queue, site{12, "100GiB", "500MBps", "10Gbps", "10Gbps", 2, 8, "tape", 0}},
		{record.Media, site{12, "100GiB", "500MBps", "10Gbps", "10Gbps", 4, 1, "tape", 0}},
		{record.Limit, site{12, "100GiB", "500MBps", "10Gbps", "10Gbps", 4, 8, "tape", 1}},
	} {
		t.Run(string(c.want), func(t *testing.T) {
			var run record.Run
			if _, err := Run(c.site.scenario(t), Options{Record: &run, Quiet: true}); err != nil {
				t.Fatal(err)
			}
			if len(run.Jobs) != c.site.clients {
				t.Errorf("%d jobs were recorded of %d", len(run.Jobs), c.site.clients)
			}
			for i := range run.Jobs {
				j := &run.Jobs[i]
				if j.Type != job.Backup || j.Status != 0 {
					t.Errorf("job %d: %s, status %d, %s", j.ID, j.Type, j.Status, j.Detail)
				}
				if sum := j.Spent.Total(); sum != j.Elapsed() || sum == 0 {
					t.Errorf("job %d lasted %v, %v are attributed", j.ID, j.Elapsed(), sum)
				}
				if s := j.Spent[record.Other]; s > time.Second {
					t.Errorf("job %d: %v are attributed to nothing: %v", j.ID, s, j.Spent)
				}
			}
			a := answers.Of(&run)
			if slow := c.want == record.Source; slow != (a.Mounts.BackHitches > 0) && c.want != record.Link {
				t.Errorf("%d back-hitches", a.Mounts.BackHitches)
			}
			if most, share := a.Backups.Spent.Most(); most != c.want || share < .35 {
				t.Errorf("%s has %.0f %% of the time, which is most; it should be %s: %v", most, 100*share, c.want, a.Backups.Spent)
			}
		})
	}
}

// A client far away has a wide link, and a connection that fills a part of it: two jobs
// at a time get twice what one gets, until the link is full. What is said to limit them is
// first the connection and then the link.
func TestOneConnection(t *testing.T) {
	run := func(policies int, connection string) (*record.Run, float64) {
		text := `
name: far
start: 2026-11-23T18:00:00Z
length: 12h
master: {name: master}
mediaServers: [{name: media1, link: 10Gbps}]
clients: [{name: far1, link: 1Gbps, perConnection: ` + connection + `, disk: 900MBps, data: {files: 1000, bytes: 200GB}}]
libraries:
  - {name: lib, host: media1, slots: 9, drives: [{name: "d%d", count: 4, model: LTO-8}], cartridges: {count: 8, density: LTO-8}}
storageUnits: [{name: tape, kind: tape, mediaServer: media1, library: lib, density: LTO-8}]
policies:
`
		for i := range policies {
			text += fmt.Sprintf("  - {name: p%d, clients: [far1], paths: [/], storage: tape, limits: {jobsPerClient: 9}, schedules: [{name: full, type: full, frequency: 7d, windows: [{start: \"20:00\", length: 9h}]}]}\n", i)
		}
		s, err := scenarios.Load[scenarios.Scenario]("far.yaml", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		var r record.Run
		if _, err := Run(s, Options{Record: &r, Quiet: true}); err != nil {
			t.Fatal(err)
		}
		if len(r.Jobs) != policies {
			t.Fatalf("%d jobs of %d policies", len(r.Jobs), policies)
		}
		first, last, bytes := r.Jobs[0].First, rt.Time(0), int64(0)
		for i := range r.Jobs {
			j := &r.Jobs[i]
			first, last, bytes = min(first, j.First), max(last, j.Last), bytes+j.Bytes
		}
		return &r, float64(bytes) / last.Sub(first).Seconds()
	}
	for _, c := range []struct {
		policies int
		rate     float64
		limit    string
	}{{1, 40e6, "the limit of one connection"}, {2, 80e6, "the limit of one connection"}, {4, .97 * 125e6, "clients' links"}} {
		r, rate := run(c.policies, "40MBps")
		if rate < .98*c.rate || rate > 1.001*c.rate {
			t.Errorf("%d connections carry %.0f bytes a second, want %.0f", c.policies, rate, c.rate)
		}
		said, err := answers.ExplainJob(r, 1)
		if err != nil {
			t.Fatal(err)
		}
		said = append(said, answers.Of(r).Words()...)
		if n := strings.Count(strings.Join(said, "\n"), c.limit+" ("); n != 1 {
			t.Errorf("with %d connections a job is not explained by %s: %q", c.policies, c.limit, said)
		}
		if n := strings.Count(strings.Join(said, "\n"), "went to this: "+c.limit+". To try: "); n != 1 {
			t.Errorf("with %d connections the run is not limited by %s: %q", c.policies, c.limit, said)
		}
	}
	if r, _ := run(1, "2Gbps"); r.Jobs[0].Spent[record.Connection] != 0 || r.Jobs[0].Spent[record.Link] == 0 {
		t.Errorf("a limit above the link's counts: %v", r.Jobs[0].Spent)
	}
}

// What the record says of bytes, mounts and drives is what the jobs and the library say.
func TestRecordAgrees(t *testing.T) {
	var run record.Run
	s, err := scenarios.Read[scenarios.Scenario]("../../scenarios/first-night.yaml")
	if err != nil {
		t.Fatal(err)
	}
	r, err := Run(s, Options{Record: &run})
	if err != nil {
		t.Fatal(err)
	}
	without, err := Run(s, Options{})
	if err != nil || without.TraceHash != r.TraceHash {
		t.Errorf("the trace of a run that is recorded is %s, without %s, %v", r.TraceHash, without.TraceHash, err)
	}
	if len(run.Jobs) != len(r.Jobs) {
		t.Errorf("%d jobs, %d recorded", len(r.Jobs), len(run.Jobs))
	}
	mounts := map[string]int64{}
	for i := range run.Mounts {
		m := &run.Mounts[i]
		mounts[m.Drive]++
		if m.Robot <= 0 || m.Robot >= m.Wait() || m.Released < m.Ready || m.Empty <= m.Released {
			t.Errorf("mount of %s in %s: the robot took %v of %v, released %v, empty %v", m.Media, m.Drive, m.Robot, m.Wait(), m.Released, m.Empty)
		}
	}
	a := answers.Of(&run)
	for i := range a.Drives {
		d, have := &a.Drives[i], &r.Drives[i]
		if d.Name != have.Name || mounts[d.Name] != have.Mounts || int64(d.Mounts) != have.Mounts {
			t.Errorf("drive %s: %d mounts, %d recorded", have.Name, have.Mounts, mounts[d.Name])
		}
		if moved := have.BytesRead + have.BytesWritten; d.Bytes < moved*999/1000 || d.Bytes > moved {
			t.Errorf("drive %s: %d bytes, %d recorded", have.Name, moved, d.Bytes)
		}
		if d.PeakHour <= 0 || d.PeakHour > 1 {
			t.Errorf("drive %s: %v of its busiest hour", d.Name, d.PeakHour)
		}
	}
	if a.Windows.Inside != 5 || a.Windows.Due != 5 || a.Restored.N != 1 || len(a.Nights) != 1 || a.Nights[0].Date != "2026-11-23" {
		t.Errorf("windows %+v, %d restores, nights %+v", a.Windows, a.Restored.N, a.Nights)
	}
	if a.Media.Total != 12 || a.Media.Scratch != 10 || a.Media.Active != 2 {
		t.Errorf("cartridges: %+v", a.Media)
	}
	if n := len(run.Head.Cartridges); n != 2 {
		t.Errorf("%d cartridges are recorded as in use", n)
	}
	for _, c := range run.Head.Cartridges {
		if c.Full || c.Kept == 0 || c.Taken < run.Head.Start || c.Frees < c.Taken.Add(c.Kept-time.Hour) {
			t.Errorf("a cartridge in use: %+v", c)
		}
	}
}

// A cartridge that stays in its drive is no mount the next time.
func TestRecordOfStay(t *testing.T) {
	var run record.Run
	s, err := scenarios.Read[scenarios.Scenario]("../../scenarios/cartridges-stay.yaml")
	if err != nil {
		t.Fatal(err)
	}
	r, err := Run(s, Options{Record: &run})
	if err != nil {
		t.Fatal(err)
	}
	a := answers.Of(&run)
	mounts := int64(0)
	for i := range r.Drives {
		if have := r.Drives[i].Mounts; int64(a.Drives[i].Mounts) != have {
			t.Errorf("drive %s: %d mounts, %d recorded", r.Drives[i].Name, have, a.Drives[i].Mounts)
		}
		mounts += r.Drives[i].Mounts
	}
	if a.Mounts.Kept == 0 || int64(a.Mounts.Count) != mounts || a.Mounts.Count+a.Mounts.Kept != len(run.Mounts) {
		t.Errorf("%d mounts, %d that were there, of %d; the drives had %d", a.Mounts.Count, a.Mounts.Kept, len(run.Mounts), mounts)
	}
	for i := range run.Use {
		if u := &run.Use[i]; u.Load < 0 || u.Load > time.Hour || u.Held > time.Hour {
			t.Errorf("use of %s: %+v", u.Name, u)
		}
	}
}
