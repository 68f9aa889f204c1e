package answers

import (
	"encoding/json"
	"math"
)

// Difference is a metric of two lots of runs, and by how much the second differs.
type Difference struct {
	Metric
	First, Second Interval
	// By is the second less the first. Where the replications are pairs of one seed it is
	// the mean of the pairs' differences: what chance does to both falls out of it.
	By     Interval
	Paired bool
}

// Verdict says in a word what the difference is: better, worse, other where neither is
// better, or the same. A difference whose interval holds 0 is the same.
func (d *Difference) Verdict() string {
	switch by := d.By; {
	case by.Value == 0 || by.Level > 0 && by.Low <= 0 && by.High >= 0 || math.Abs(by.Value) < 1e-9*math.Abs(d.First.Value):
		return "the same"
	case d.Better == "":
		return "other"
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

// Compare compares the metrics that both lots of runs answer.
func Compare(first, second []*Answers) (all []Difference) {
	paired := len(first) == len(second)
	for i := range first {
		paired = paired && first[i].Seed == second[i].Seed
	}
	of := map[string]Estimate{}
	for _, e := range Estimates(second) {
		of[e.Name] = e
	}
	for _, a := range Estimates(first) {
		b, ok := of[a.Name]
		if !ok {
			continue
		}
		d := Difference{Metric: a.Metric, First: a.Interval, Second: b.Interval}
		d.By = Interval{Value: b.Interval.Value - a.Interval.Value, N: 1}
		d.By.Low, d.By.High = d.By.Value, d.By.Value
		x, y := values(first, a.Name), values(second, a.Name)
		if paired && len(x) == len(first) && len(y) == len(second) {
			for i := range x {
				y[i] -= x[i]
			}
			d.By, d.Paired = Mean(y), true
		}
		all = append(all, d)
	}
	return all
}

// values are a metric of each run that answers it.
func values(all []*Answers, name string) (vs []float64) {
	for _, a := range all {
		for _, m := range a.rows() {
			if m.Name == name {
				vs = append(vs, m.Value)
			}
		}
	}
	return vs
}
