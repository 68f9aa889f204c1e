package answers

import (
	"encoding/json"
	"math"

	"gonum.org/v1/gonum/stat"
	"gonum.org/v1/gonum/stat/distuv"
)

// Interval is an estimate from several replications.
type Interval struct {
	Value float64 `json:"value"`
	Low   float64 `json:"low"`
	High  float64 `json:"high"`
	N     int     `json:"n"`     // replications
	Level float64 `json:"level"` // of confidence; 0: of one replication there is no interval
}

// Confidence is the level that intervals have.
const Confidence = .95

// Mean is the mean of independent values, and Student's t interval.
func Mean(values []float64) Interval {
	n := len(values)
	if n == 0 {
		return Interval{Value: math.NaN(), Low: math.NaN(), High: math.NaN()}
	}
	mean := stat.Mean(values, nil)
	if n == 1 {
		return Interval{Value: mean, Low: mean, High: mean, N: 1}
	}
	half := distuv.StudentsT{Mu: 0, Sigma: 1, Nu: float64(n - 1)}.Quantile((1+Confidence)/2) * stat.StdDev(values, nil) / math.Sqrt(float64(n))
	return Interval{Value: mean, Low: mean - half, High: mean + half, N: n, Level: Confidence}
}

// Estimate is a metric of several replications.
type Estimate struct {
	Metric
	Interval Interval
}

// MarshalJSON writes the estimate as capstan report and capstan sim sweep do.
func (e Estimate) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Name     string   `json:"name"`
		Unit     string   `json:"unit,omitempty"`
		Better   string   `json:"better,omitempty"`
		Interval Interval `json:"estimate"`
	}{e.Name, e.Unit, e.Better, e.Interval})
}

// Estimates puts the metrics of replications together: the mean of each with Student's
// t interval, over the replications that can answer it.
//
// Those that are quantiles within a run are treated alike: the mean of the runs'
// quantiles is the estimator of the batch quantile method, with a run for a batch
// (A. F. Seila, A batching approach to quantile estimation in regenerative simulations,
// Management Science 28, 1982). It has a bias that falls as the number of values
// in a run grows: a p99 of fewer than a hundred is the greatest of them. In return it
// can be paired: the mean of the pairs' differences is the difference of the means,
// which medians do not have.
func Estimates(all []Replication) (out []Estimate) {
	values := valuesOf(all)
	for _, m := range Names(all) {
		e := Estimate{Metric: m, Interval: Mean(known(values[m.Name]))}
		e.Value = e.Interval.Value
		out = append(out, e)
	}
	return out
}
