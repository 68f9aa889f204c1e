package answers

import (
	"encoding/json"
	"math"
	"slices"
)

// Difference is a metric of two lots of runs, and by how much the second differs.
type Difference struct {
	Metric
	First, Second Interval
	// By is the second less the first: Paired, the mean of the differences of N pairs of
	// runs with one seed; else the difference of the means, without an interval.
	By     Interval
	Paired bool

	several bool // runs were made of a side: whether they answer the metric or not
}

// Verdict says in a word what the difference is: better, worse, different where neither is
// better, or the same. A difference whose interval holds 0 is the same, and so is one of
// shares of less than a twentieth of a point, which is shown as none. Where several runs
// were made but one pair at most has the metric on both sides, the verdict is unknown: what
// remains is chance, and the runs that answer are no fair choice of all.
func (d *Difference) Verdict() string {
	switch by := d.By; {
	case by.Level == 0 && d.several:
		return "unknown"
	case by.Value == 0 || by.Level > 0 && by.Low <= 0 && by.High >= 0 || math.Abs(by.Value) < 1e-9*math.Abs(d.First.Value),
		d.Unit == "%" && math.Abs(by.Value) < .05:
		return "the same"
	case d.Better == "":
		return "different"
	case (by.Value > 0) == (d.Better == higher):
		return "better"
	}
	return "worse"
}

// MarshalJSON writes the difference as capstan report does.
func (d Difference) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Name       string   `json:"name"`
		Unit       string   `json:"unit,omitempty"`
		Better     string   `json:"better,omitempty"`
		First      Interval `json:"first"`
		Second     Interval `json:"second"`
		Difference Interval `json:"difference"`
		Paired     bool     `json:"paired"`
		Verdict    string   `json:"verdict"`
	}{d.Name, d.Unit, d.Better, d.First, d.Second, d.By, d.Paired, d.Verdict()})
}

// Compare compares the metrics that both lots of runs answer. The two sides are
// estimated each by itself, as [Estimates] does. Where runs of both have one seed, the
// difference is Student's t interval of the pairs' differences: with the same random
// numbers on both sides most of the chance cancels out (Law, Simulation Modeling and
// Analysis, 10.2 and 11.2). A pair of which one run cannot answer a metric does not
// count for it; so the difference may be of fewer runs than the sides, which its N says.
func Compare(first, second []Replication) (all []Difference) {
	pairs := pair(first, second)
	x, y := valuesOf(first), valuesOf(second)
	for _, m := range Names(slices.Concat(first, second)) {
		a, b := Mean(known(x[m.Name])), Mean(known(y[m.Name]))
		if a.N == 0 || b.N == 0 {
			continue
		}
		var by []float64
		for _, p := range pairs {
			by = append(by, y[m.Name][p[1]]-x[m.Name][p[0]])
		}
		m.Value = a.Value
		d := Difference{Metric: m, First: a, Second: b, By: Mean(known(by)), several: max(len(first), len(second)) > 1}
		if d.Paired = d.By.N > 0; !d.Paired {
			d.By = Mean([]float64{b.Value - a.Value})
		}
		all = append(all, d)
	}
	return all
}

// pair finds for each run the one of the other side that has its seed, by their places.
func pair(first, second []Replication) (pairs [][2]int) {
	at := map[int64]int{}
	for i := range second {
		at[second[i].Seed] = i
	}
	for i := range first {
		if k, ok := at[first[i].Seed]; ok {
			pairs = append(pairs, [2]int{i, k})
			delete(at, first[i].Seed)
		}
	}
	return pairs
}
