package page

import (
	"bytes"
	"encoding/json"
	"flag"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/html"

	"capstan/core/job"
	"capstan/core/rt"
	"capstan/core/status"
	"capstan/reports/record"
)

var rewrite = flag.Bool("rewrite", false, "write the golden files anew")

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *rewrite {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), string(got)); d != "" {
		t.Errorf("%s is not what it was; if it is right, go test ./reports/page -rewrite: %s", name, d)
	}
}

// The record of a night that is kept in testdata gives these bytes, on every machine.
func TestGolden(t *testing.T) {
	runs, err := record.ReadAll("testdata/run")
	if err != nil {
		t.Fatal(err)
	}
	for name, write := range map[string]func(w io.Writer) error{
		"night.html": func(w io.Writer) error { return HTML(w, runs) },
		"night.json": func(w io.Writer) error { return JSON(w, runs) },
	} {
		var b bytes.Buffer
		if err := write(&b); err != nil {
			t.Fatal(err)
		}
		golden(t, name, b.Bytes())
	}
	dir := t.TempDir()
	if err := CSV(dir, runs); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"figures.csv", "nights.csv", "jobs.csv", "mounts.csv", "media.csv", "use.csv"} {
		got, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		golden(t, name, got)
	}
}

// many is a run of a number of nights, with everything that a page can show.
func many(n int, seed int) *record.Run {
	noon := rt.FromStd(time.Date(2026, 3, 23, 12, 0, 0, 0, time.UTC))
	const h = time.Hour
	r := &record.Run{Head: record.Head{
		Scenario: `<script>alert("x")</script>`, Replication: seed, Seed: int64(seed), Start: noon, Length: time.Duration(n) * 24 * h, Zone: "Europe/Berlin",
		Resources: []record.Resource{{Name: "lib<1>", Kind: record.Robot, Slots: 50}, {Name: "d<1>", Kind: record.Drive, Library: "lib<1>", Rate: 4e8, BackHitches: 3}, {Name: "m nic in", Kind: record.Network, Rate: 1e9}},
	}}
	for i := range n {
		opens := noon.Add(time.Duration(i)*24*h + 8*h)
		for j := range 30 {
			start := opens.Add(time.Duration(j*15) * time.Minute)
			end := start.Add(time.Duration(60+i+seed) * time.Minute)
			b := record.Job{
				ID: int64(100*i + j + 1), Type: job.Backup, Client: "c", Storage: "disk<1>", Opens: opens, Closes: opens.Add(8 * h), Queued: opens, Started: start, Ended: end, Bytes: 5e10,
				Spent: record.Spent{record.Queue: start.Sub(opens), record.Source: end.Sub(start)},
			}
			switch {
			case j%7 == 3:
				b.Status, b.Started, b.Spent = status.WindowClosed, 0, record.Spent{record.Queue: end.Sub(opens)}
			case j%2 == 0:
				b.Drive = "d<1>"
				r.Mounts = append(r.Mounts, record.Mount{Job: b.ID, Drive: "d<1>", Media: "A", Asked: start, Robot: 10e9, Ready: start.Add(time.Minute), Released: end - 60e9, Empty: end})
			}
			r.Jobs = append(r.Jobs, b)
		}
		r.Jobs = append(r.Jobs, record.Job{
			ID: int64(100*i + 99), Type: job.Restore, Client: "c", Queued: opens, First: opens.Add(time.Minute), Ended: opens.Add(h), Spent: record.Spent{record.Link: h},
		})
		r.Use = append(r.Use, record.Use{At: opens, Name: "d<1>", Kind: record.Drive, Bytes: 1e12, Write: h / 2, Slow: h / 4, Held: h}, record.Use{At: opens, Name: "lib<1>", Kind: record.Robot, Busy: h / 5})
		r.Volumes = append(r.Volumes, record.Volumes{At: opens, Library: "lib<1>", Scratch: 40 - i%30, Full: i % 30, Active: 1 + seed})
	}
	return r
}

var outside = regexp.MustCompile(`(?i)<script|src=|href=|url\(|@import|Inf|NaN`)

// A page of any run is whole HTML, needs nothing from elsewhere, and shows names as text.
func TestPages(t *testing.T) {
	for _, c := range []struct {
		name    string
		runs    []*record.Run
		figures int
	}{
		{"nothing", []*record.Run{{}}, 0},
		{"a night", []*record.Run{many(1, 0)}, 7},
		{"a fortnight", []*record.Run{many(14, 0)}, 10},
		{"half a year, weeks", []*record.Run{many(180, 0)}, 10},
		{"replications", []*record.Run{many(14, 0), many(14, 1), many(14, 2)}, 11},
	} {
		t.Run(c.name, func(t *testing.T) {
			var b bytes.Buffer
			if err := HTML(&b, c.runs); err != nil {
				t.Fatal(err)
			}
			if _, err := html.Parse(bytes.NewReader(b.Bytes())); err != nil {
				t.Error(err)
			}
			text := b.String()
			if n := strings.Count(text, "<svg"); n != c.figures || n != strings.Count(text, "</svg>") || n != strings.Count(text, "<figure") {
				t.Errorf("%d figures, %d expected", n, c.figures)
			}
			if at := outside.FindStringIndex(text); at != nil {
				t.Errorf("it has %q", text[max(0, at[0]-60):min(len(text), at[1]+60)])
			}
			if strings.Contains(text, "d<1>") || c.figures > 0 && !strings.Contains(text, "d&lt;1&gt;") {
				t.Error("a name is not shown as text")
			}
			var again, j bytes.Buffer
			if err := HTML(&again, c.runs); err != nil || again.String() != text {
				t.Errorf("the same runs give another page, %v", err)
			}
			if err := JSON(&j, c.runs); err != nil || !json.Valid(j.Bytes()) {
				t.Errorf("JSON: %v", err)
			}
		})
	}
	if err := HTML(io.Discard, nil); err == nil {
		t.Error("a report of no run")
	}
}

func TestTwo(t *testing.T) {
	one, other := []*record.Run{many(14, 0), many(14, 1)}, []*record.Run{many(14, 0), many(14, 1)}
	other[0].Jobs = other[0].Jobs[:len(other[0].Jobs)/2]
	for _, c := range []struct {
		first, second []*record.Run
		want          string
	}{{one, other, "holds the true difference"}, {one[:1], other[:1], "may be chance"}, {one, one, "No figure tells the two apart."}} {
		var b bytes.Buffer
		if err := HTMLOfTwo(&b, [2]string{"<four>", "six"}, c.first, c.second); err != nil {
			t.Fatal(err)
		}
		text := b.String()
		if n := strings.Count(text, "<svg"); n != 4 || !strings.Contains(text, c.want) || !strings.Contains(text, "&lt;four&gt;") || strings.Contains(text, "<four>") {
			t.Errorf("%d figures; %q: %v", n, c.want, strings.Contains(text, c.want))
		}
		if at := outside.FindStringIndex(text); at != nil {
			t.Errorf("it has %q", text[max(0, at[0]-60):min(len(text), at[1]+60)])
		}
	}
	if err := HTMLOfTwo(io.Discard, [2]string{"a", "b"}, one, nil); err == nil {
		t.Error("a comparison with nothing")
	}
}

// The bar at the top, and each night's column, add up to 100 %.
func TestSharesAddUp(t *testing.T) {
	r := newReport([]*record.Run{many(5, 0), many(5, 1)})
	sum := 0.
	for _, s := range r.bar() {
		sum += s.Percent
	}
	if sum < 99.9 || sum > 100.01 {
		t.Errorf("the bar adds up to %v %%", sum)
	}
	all, unit := r.columns()
	if len(all) != 5 || unit != "night" {
		t.Errorf("%d columns of a %s", len(all), unit)
	}
}
