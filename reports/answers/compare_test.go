package answers

import (
	"encoding/json"
	"math"
	"strings"
	"testing"
	"time"

	"capstan/reports/record"
)

func lot(seeds []int64, runs ...*record.Run) (all []*Answers) {
	for i, r := range runs {
		r.Head.Seed = seeds[i]
		all = append(all, Of(r))
	}
	return all
}

func find(t *testing.T, all []Difference, name string) *Difference {
	t.Helper()
	for i := range all {
		if all[i].Name == name {
			return &all[i]
		}
	}
	t.Fatalf("%s is not compared", name)
	return nil
}

// What chance does to both of a pair falls out of their difference.
func TestCompare(t *testing.T) {
	const m = time.Minute
	before := lot([]int64{1, 2, 3}, nights(-h, -h), nights(-3*h, -3*h), nights(-5*h, -5*h))
	after := lot([]int64{1, 2, 3}, nights(-2*h, -2*h), nights(-4*h+m, -4*h+m), nights(-6*h-m, -6*h-m))
	d := find(t, Compare(Replications(before), Replications(after)), "least room before the window closes")
	if !d.Paired || d.By.N != 3 || d.By.Value != 3600 || d.By.Low < 3400 || d.By.High > 3800 || d.Verdict() != "better" {
		t.Errorf("pairs: %+v, %s", d, d.Verdict())
	}
	if b, err := json.Marshal(d); err != nil || !strings.Contains(string(b), `"verdict":"better"`) {
		t.Errorf("%s, %v", b, err)
	}
	worse := find(t, Compare(Replications(after), Replications(before)), "least room before the window closes")
	if worse.Verdict() != "worse" {
		t.Errorf("the other way: %s", worse.Verdict())
	}
	for i := range after {
		after[i].Seed += 10
	}
	if d := find(t, Compare(Replications(before), Replications(after)), "least room before the window closes"); d.Paired || d.By.Level != 0 {
		t.Errorf("no pairs: %+v", d)
	}
	if d := find(t, Compare(Replications(before), Replications(before)), "backups late"); d.Verdict() != "the same" {
		t.Errorf("a run and itself: %s", d.Verdict())
	}
	other := lot([]int64{1, 2, 3}, nights(-h, -h), nights(-h, -2*h), nights(-7*h, -7*h))
	if d := find(t, Compare(Replications(before), Replications(other)), "least room before the window closes"); d.Verdict() != "the same" {
		t.Errorf("a difference that may be chance: %+v", d)
	}
}

// measured are replications, with the seeds from 1, that have a value of a metric.
func measured(name, better string, values ...float64) (all []Replication) {
	for i, v := range values {
		all = append(all, Replication{int64(i + 1), []Metric{{Name: "other", Value: 1}, {Name: name, Unit: "s", Value: v, Better: better}}})
	}
	return all
}

// The worked example: differences 2, 3, 1, 2 have the mean 2 and the standard
// deviation .8165; t with 3 degrees of freedom is 3.1824 at 97.5 %, so the half width
// is 1.2992. Without pairs the spread of the two would hide it. In which order the
// runs are does not matter, and what is a quantile is treated like others.
func TestPairs(t *testing.T) {
	for _, name := range []string{"wait", "wait p95"} {
		a := measured(name, "lower", 10, 50, 90, 130)
		b := measured(name, "lower", 12, 53, 91, 132)
		b[0], b[2] = b[2], b[0]
		ds := Compare(a, b)
		if len(ds) != 2 || ds[0].Name != "other" || ds[1].Name != name {
			t.Fatalf("%+v", ds)
		}
		d := ds[1]
		if d.By.N != 4 || d.First.Value != 70 || d.Second.Value != 72 || d.By.Value != 2 || math.Abs(d.By.Low-.7008) > 1e-4 || math.Abs(d.By.High-3.2992) > 1e-4 {
			t.Errorf("%+v", d)
		}
		if d.Verdict() != "worse" || d.Signed() != "+2.0 s" || d.Range() != "0.7 to 3.3 s" {
			t.Errorf("%s, %s, %s", d.Verdict(), d.Signed(), d.Range())
		}
		if ds[0].Verdict() != "the same" {
			t.Errorf("what does not differ: %s", ds[0].Verdict())
		}
	}
	for _, c := range []struct {
		better string
		b      []float64
		want   string
	}{
		{"higher", []float64{12, 53, 91, 132}, "better"},
		{"lower", []float64{8, 47, 89, 128}, "better"},
		{"", []float64{8, 47, 89, 128}, "different"},
		{"lower", []float64{8, 53, 89, 131}, "the same"},
	} {
		if got := Compare(measured("wait", c.better, 10, 50, 90, 130), measured("wait", c.better, c.b...))[1].Verdict(); got != c.want {
			t.Errorf("%s, %v: %q, want %q", c.better, c.b, got, c.want)
		}
	}
}

// A replication that cannot answer a figure is in no pair of it, and the other one of the
// pair counts for its own side alone: each side is what its own estimate says.
func TestPairsLeaveOutWhatIsMissing(t *testing.T) {
	a, b := measured("late", "lower", 1, 2, 3), measured("late", "lower", 2, 9, 4)
	a[1].Metrics = a[1].Metrics[:1]
	d := Compare(a, b)[1]
	if d.By.N != 2 || d.First.Value != 2 || d.Second.Value != 5 || d.By.Value != 1 || d.Range() != "1.0 to 1.0 s (2 pairs)" {
		t.Errorf("%+v, %s", d, d.Range())
	}
	for i, side := range [][]Replication{a, b} {
		if e := Estimates(side)[1].Interval; e != [2]Interval{d.First, d.Second}[i] {
			t.Errorf("side %d: %+v, compared as %+v", i, e, d)
		}
	}
	if ds := Compare(a[:1], []Replication{{Seed: 1}}); len(ds) != 0 {
		t.Errorf("%+v", ds)
	}
}

// What only some replications have stands where those have it.
func TestNames(t *testing.T) {
	all := []Replication{{1, []Metric{{Name: "a"}, {Name: "d"}}}, {2, []Metric{{Name: "a"}, {Name: "b"}, {Name: "c"}, {Name: "d"}, {Name: "e"}}}, {3, nil}}
	var got string
	for _, m := range Names(all) {
		got += m.Name
	}
	if got != "abcde" {
		t.Error(got)
	}
}

// Of several runs one alone has a late backup on both sides: that is no verdict.
func TestOnePairIsNoVerdict(t *testing.T) {
	d := Compare(measured("late by p95", "lower", 30, 40, 50), measured("late by p95", "lower", 33))[1]
	if d.By.N != 1 || d.Signed() != "+3.0 s" || d.Range() != "" || d.Verdict() != "unknown" {
		t.Errorf("%+v: %s, %q, %s", d, d.Signed(), d.Range(), d.Verdict())
	}
	none := math.NaN()
	for what, y := range map[string][]float64{
		"one pair":           {none, none, 90},
		"one pair, no other": {none, none, 10},
		"no pair":            {none, 90, none},
	} {
		if d := Compare(measured("late by p95", "lower", none, none, 10), measured("late by p95", "lower", y...))[1]; d.Verdict() != "unknown" {
			t.Errorf("%s of three runs: %+v: %s", what, d, d.Verdict())
		}
	}
}
