package answers

import (
	"math"
	"testing"
)

func metrics(name, better string, values ...float64) (all [][]Metric) {
	for _, v := range values {
		all = append(all, []Metric{{Name: "other", Value: 1}, {Name: name, Unit: "s", Value: v, Better: better}})
	}
	return all
}

// The worked example: differences 2, 3, 1, 2 have the mean 2 and the standard
// deviation .8165; t with 3 degrees of freedom is 3.1824 at 97.5 %, so the half width
// is 1.2992. Without pairs the spread of the two would hide it.
func TestPair(t *testing.T) {
	a := metrics("wait", "lower", 10, 50, 90, 130)
	b := metrics("wait", "lower", 12, 53, 91, 132)
	ds := Pair(a, b)
	if len(ds) != 2 || ds[0].Name != "other" || ds[1].Name != "wait" {
		t.Fatalf("%+v", ds)
	}
	d := ds[1]
	if d.By.N != 4 || d.First.Value != 70 || d.Second.Value != 72 || d.By.Value != 2 || math.Abs(d.By.Low-.7008) > 1e-4 || math.Abs(d.By.High-3.2992) > 1e-4 {
		t.Errorf("%+v", d)
	}
	if d.Verdict() != "worse" {
		t.Errorf("%s", d.Verdict())
	}
	if ds[0].Verdict() != "the same" {
		t.Errorf("what does not differ: %s", ds[0].Verdict())
	}
	for _, c := range []struct {
		better string
		b      []float64
		want   string
	}{
		{"higher", []float64{12, 53, 91, 132}, "better"},
		{"lower", []float64{8, 47, 89, 128}, "better"},
		{"", []float64{8, 47, 89, 128}, "other"},
		{"lower", []float64{8, 53, 89, 131}, "the same"},
	} {
		if got := Pair(metrics("wait", c.better, 10, 50, 90, 130), metrics("wait", c.better, c.b...))[1].Verdict(); got != c.want {
			t.Errorf("%s, %v: %q, want %q", c.better, c.b, got, c.want)
		}
	}
}

// A replication that cannot answer a figure is in no pair of it.
func TestPairedLeavesOutWhatIsMissing(t *testing.T) {
	a := metrics("late", "lower", 1, 2, 3)
	a[1] = a[1][:1]
	ds := Pair(a, metrics("late", "lower", 2, 9, 4))
	if d := ds[1]; d.By.N != 2 || d.First.Value != 2 || d.By.Value != 1 {
		t.Errorf("%+v", d)
	}
	if ds := Pair(metrics("late", "", 1), [][]Metric{nil}); len(ds) != 0 {
		t.Errorf("%+v", ds)
	}
}
