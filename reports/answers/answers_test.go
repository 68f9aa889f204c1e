package answers

import (
	"encoding/json"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"capstan/core/job"
	"capstan/core/rt"
	"capstan/core/status"
	"capstan/reports/record"
)

const h = time.Hour

var noon = rt.FromStd(time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC))

// nights makes a run of nights with ten backups each from 20:00 to 06:00; over says by
// how much the last of each is late.
func nights(over ...time.Duration) *record.Run {
	r := &record.Run{Head: record.Head{Scenario: "nights", Start: noon, Length: time.Duration(len(over)) * 24 * h}}
	for n, late := range over {
		opens := noon.Add(time.Duration(n)*24*h + 8*h)
		for i := range 10 {
			end := opens.Add(h)
			if i == 9 {
				end = opens.Add(10*h + late)
			}
			r.Jobs = append(r.Jobs, record.Job{
				ID: int64(10*n + i + 1), Type: job.Backup, Client: "c", Opens: opens, Closes: opens.Add(10 * h), Queued: opens, Started: opens, Ended: end, Bytes: 1e9,
				Spent: record.Spent{record.Drive: end.Sub(opens)},
			})
		}
	}
	return r
}

func TestWindows(t *testing.T) {
	r := nights(-2*h, h, -h)
	for i, c := range []struct {
		id   int
		want func(j *record.Job)
	}{
		{3, func(j *record.Job) { j.Status, j.Started = status.WindowClosed, 0; j.Ended = j.Closes + 5 }},
		{4, func(j *record.Job) { j.Status = status.MediaWrite }},
		{25, func(j *record.Job) { j.Open = true }},
		{26, func(j *record.Job) { j.Opens, j.Closes = 0, 0 }},
	} {
		j := &r.Jobs[c.id]
		if c.want(j); j.ID != int64(c.id+1) {
			t.Fatal(i)
		}
	}
	a := Of(r)
	w := a.Windows
	w.LateBy = Quantiles{}
	if want := (Windows{Due: 29, Inside: 25, Late: 1, NotRun: 1, Failed: 1, Open: 1, Bytes: 27e9}); w.Due != want.Due || w.Inside != want.Inside ||
		w.Late != want.Late || w.NotRun != want.NotRun || w.Failed != want.Failed || w.Open != want.Open || w.Bytes != want.Bytes {
		t.Errorf("%+v, want %+v", w, want)
	}
	if q := a.Windows.LateBy; q.N != 1 || q.P50 != 3600 {
		t.Errorf("late by %+v", q)
	}
	if len(a.Nights) != 3 || a.Nights[0].Date != "2026-11-23" || a.Nights[0].Over != -7200 || a.Nights[1].Over != 3600 || a.Nights[2].Over != -3600 || a.Nights[0].Fits() {
		t.Errorf("%+v", a.Nights)
	}
	if !a.Growth.Seen || a.Growth.At.Format(time.DateOnly) != "2026-11-23" {
		t.Errorf("the first night that does not fit: %+v", a.Growth)
	}
	words := strings.Join(a.Words(), "\n")
	for _, want := range []string{"0 of 3 nights fit: 25 of 29 backups", "1 ended late; 1 got no resources before their windows closed; 1 failed; 1 had not ended", "drives' speed"} {
		if !strings.Contains(words, want) {
			t.Errorf("%q is not said:\n%s", want, words)
		}
	}
}

// The warm-up is left out of every figure.
func TestWarmup(t *testing.T) {
	r := nights(-h, -h, -2*h)
	r.Head.Warmup = 48 * h
	r.Mounts = []record.Mount{{Drive: "d", Asked: noon, Ready: noon + 9}, {Drive: "d", Asked: noon.Add(60 * h), Ready: noon.Add(61 * h)}}
	a := Of(r)
	if len(a.Nights) != 1 || a.Windows.Due != 10 || a.Nights[0].Over != -7200 || a.Mounts.Count != 1 || a.Mounts.Wait.P50 != 3600 || a.Mounts.PerDay != 1 {
		t.Errorf("%+v", a)
	}
}

func TestForecasts(t *testing.T) {
	grows := nights(-9*h, -8*h, -7*h, -6*h, -5*h, -4*h)
	if g := Of(grows).Growth; !g.Foreseen || g.At.Format(time.DateOnly) != "2026-12-02" || math.Round(g.Slope) != 3600 {
		t.Errorf("nights that grow by an hour: %+v", g)
	}
	if g := Of(nights(-2*h, -3*h, -2*h, -3*h, -2*h, -3*h)).Growth; g.Foreseen || g.Seen {
		t.Errorf("nights that do not grow: %+v", g)
	}
}

// stocked is a run of some days of a library that takes two cartridges a day, each of
// which is full at once and free when its images have expired.
func stocked(days, total int, kept time.Duration) *record.Run {
	r := nights(slices.Repeat([]time.Duration{-h}, days)...)
	end := noon.Add(time.Duration(days) * 24 * h)
	var inUse []record.Cartridge
	for d := range days + 1 {
		now := noon.Add(time.Duration(d) * 24 * h)
		inUse = slices.DeleteFunc(inUse, func(c record.Cartridge) bool { return c.Frees > 0 && c.Frees <= now })
		r.Volumes = append(r.Volumes, record.Volumes{At: now, Library: "lib", Scratch: total - len(inUse), Full: len(inUse)})
		if now < end {
			c := record.Cartridge{Library: "lib", Taken: now.Add(12 * h), Kept: kept, Full: true}
			if kept > 0 {
				c.Frees = c.Taken.Add(kept)
			}
			inUse = append(inUse, c, c)
		}
	}
	r.Head.Cartridges = inUse
	return r
}

// Cartridges come free when their images expire: a trend of the free ones would have all
// but the first and the last of these run out.
func TestSupply(t *testing.T) {
	const d = 24 * h
	for _, c := range []struct {
		name        string
		days, total int
		kept        time.Duration
		runsOut     string // "" is never
		fewest      int
	}{
		{"kept for ever", 8, 40, 0, "2026-12-13", 0},
		{"before the first are free", 10, 40, 14 * d, "", 11}, // 28 are in use, and in the course of a day one more
		{"when some have come free", 21, 40, 14 * d, "", 11},
		{"long after", 60, 40, 14 * d, "", 11},
		{"kept for less than a week", 10, 12, 3 * d, "", 5},
		{"too few for the retention", 10, 25, 14 * d, "2026-12-06", 0},
		{"a run of one night", 1, 40, 14 * d, "-", 0},
	} {
		m := Of(stocked(c.days, c.total, c.kept)).Media
		if c.runsOut == "-" {
			if m.Lasts || m.Forecast.Foreseen || len(m.Course()) > 0 {
				t.Errorf("%s: %+v", c.name, m)
			}
			continue
		}
		got := ""
		if m.Forecast.Foreseen {
			got = m.Forecast.At.Format(time.DateOnly)
		}
		if got != c.runsOut || m.Lasts != (got == "") || m.Fewest != c.fewest || m.Taken < 1.99 || m.Taken > 2.01 || m.Total != c.total {
			t.Errorf("%s: runs out %q, want %q; %+v", c.name, got, c.runsOut, m)
		}
	}
	r := stocked(10, 70, 14*d)
	for range 30 { // imported: they say when they come free, not how long their images are kept
		r.Head.Cartridges = append(r.Head.Cartridges, record.Cartridge{Library: "lib", Taken: noon.Add(9 * d), Frees: noon.Add(400 * d), Full: true})
	}
	for i := range r.Volumes {
		r.Volumes[i].Scratch, r.Volumes[i].Full = r.Volumes[i].Scratch-30, r.Volumes[i].Full+30
	}
	if m := Of(r).Media; !m.Lasts || m.Fewest != 11 || math.Round(m.Taken) != 2 || m.Course()[len(m.Course())-1].Level < 40 {
		t.Errorf("a library into which cartridges were imported: %+v", m)
	}
	r = stocked(10, 40, 14*d)
	words := strings.Join(Of(r).Words(), "\n")
	if want := "If the site goes on taking 2 cartridges a day, each free when its images expire, the free ones last: the fewest are 11, about "; !strings.Contains(words, want) {
		t.Errorf("%q is not said:\n%s", want, words)
	}
	r.Volumes = append(r.Volumes, record.Volumes{At: noon.Add(10 * d), Library: "lib", Full: 40})
	if m := Of(r).Media; !m.Forecast.Seen || m.Forecast.At != noon.Add(10*d).Std() {
		t.Errorf("the cartridges that ran out: %+v", m.Forecast)
	}
}

// Intervals against a table: Student's t of 4 degrees of freedom is 2.776 at 97.5 %.
func TestIntervals(t *testing.T) {
	close := func(a, b float64) bool { return math.Abs(a-b) < 1e-3 }
	m := Mean([]float64{1, 2, 3, 4, 5})
	if half := 2.776445 * math.Sqrt(2.5/5); !close(m.Value, 3) || !close(m.Low, 3-half) || !close(m.High, 3+half) || m.Level != .95 {
		t.Errorf("%+v", m)
	}
	if one := Mean([]float64{7}); one.Level != 0 || one.Low != 7 {
		t.Errorf("%+v", one)
	}
}

func TestEstimates(t *testing.T) {
	all := []*Answers{Of(nights(h, -h)), Of(nights(-h, -h)), Of(nights(3*h, 2*h))}
	byName := map[string]Estimate{}
	for _, e := range Estimates(Replications(all)) {
		byName[e.Name] = e
	}
	if e := byName["backups inside their window"]; math.Round(e.Value*10) != 950 || e.Interval.N != 3 || e.Interval.Level != .95 || e.Better != higher {
		t.Errorf("%+v", e)
	} else if got := e.Range(); got != "82.6 to 100.0 %" {
		t.Errorf("a share of %s", got)
	}
	// One hour late in one run, two and three in another: the mean of their p50, 1 h and 2 h.
	if e := byName["late by p50"]; e.Interval.N != 2 || e.Interval.Level != .95 || e.Value != 5400 {
		t.Errorf("a quantile that one replication has not: %+v", e)
	}
	if e := byName["nights that fit from the first on"]; e.Value != 2./3 {
		t.Errorf("%+v", e)
	}
}

// Whatever a run has not, its figures are numbers and its JSON can be written.
func TestNothing(t *testing.T) {
	for _, r := range []*record.Run{{}, {Head: record.Head{Start: noon, Length: h}}, nights(-h)} {
		a := Of(r)
		if _, err := json.Marshal(a); err != nil {
			t.Error(err)
		}
		for _, m := range a.Metrics() {
			if math.IsNaN(m.Value) || math.IsInf(m.Value, 0) {
				t.Errorf("%s is %v", m.Name, m.Value)
			}
		}
		if len(a.Words()) == 0 {
			t.Error("nothing is said")
		}
	}
}

func TestText(t *testing.T) {
	for _, c := range []struct {
		unit string
		v    float64
		want string
	}{
		{"s", 3.14, "3.1 s"}, {"s", 119, "119 s"}, {"s", 600, "10 min"}, {"s", -9000, "-2 h 30 min"}, {"s", 7199, "120 min"}, {"s", 7 * 86400, "7.0 days"},
		{"%", 12.345, "12.3 %"}, {"bytes", 999, "999 B"}, {"bytes", 1.5e12, "1.5 TB"}, {"jobs", 12345, "12345 jobs"}, {"a day", 6.4, "6.4 a day"}, {"a day", 43.5789, "43.6 a day"}, {"a day", 1234.5, "1234 a day"}, {"a day", -0.0001, "0 a day"}, {"nights", 1, "1 night"}, {"nights", 2.5, "2.5 nights"}, {"", 3, "3"},
	} {
		m := Metric{Unit: c.unit}
		if got := m.Text(c.v); got != c.want {
			t.Errorf("%v %s: %q, want %q", c.v, c.unit, got, c.want)
		}
	}
}
