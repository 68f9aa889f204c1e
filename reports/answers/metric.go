package answers

import (
	"math"
	"slices"
)

// Metric is one figure of a run.
type Metric struct {
	Name, Unit string // Unit is "%", "s", "bytes", "jobs", "nights", "a day" or none
	Value      float64
	Better     string // "lower", "higher", or "" where neither is
	Signed     bool   `json:",omitempty"` // it may be below 0
}

// Replication is what one of several runs of a site came to.
type Replication struct {
	Seed    int64
	Metrics []Metric
}

// Replications are what some runs came to.
func Replications(all []*Answers) []Replication {
	out := make([]Replication, len(all))
	for i, a := range all {
		out[i] = Replication{Seed: a.Seed, Metrics: a.Metrics()}
	}
	return out
}

// Names are the metrics of some replications, each once; their values mean nothing.
// A metric that only some have stands where those have it.
func Names(all []Replication) (names []Metric) {
	at := map[string]bool{}
	for _, r := range all {
		next := 0 // where what comes next belongs
		for _, m := range r.Metrics {
			if next < len(names) && names[next].Name == m.Name {
				next++
				continue
			}
			if at[m.Name] {
				next = 1 + slices.IndexFunc(names, func(o Metric) bool { return o.Name == m.Name })
				continue
			}
			at[m.Name] = true
			names = slices.Insert(names, next, m)
			next++
		}
	}
	return names
}

// valuesOf are each metric's values by replication, NaN where one cannot answer it.
func valuesOf(all []Replication) map[string][]float64 {
	of := map[string][]float64{}
	for i, r := range all {
		for _, m := range r.Metrics {
			vs := of[m.Name]
			if vs == nil {
				vs = slices.Repeat([]float64{math.NaN()}, len(all))
				of[m.Name] = vs
			}
			vs[i] = m.Value
		}
	}
	return of
}

// known are the values that are there.
func known(values []float64) []float64 {
	return slices.DeleteFunc(slices.Clone(values), math.IsNaN)
}
