package answers

import (
	"math"
	"slices"

	"gonum.org/v1/gonum/stat"
	"gonum.org/v1/gonum/stat/distuv"
)

// Interval is an estimate from several replications.
type Interval struct {
	Value float64 `json:"value"`
	Low   float64 `json:"low"`
	High  float64 `json:"high"`
	N     int     `json:"n"`     // replications
	Level float64 `json:"level"` // of confidence; 0: too few replications for any
}

// Confidence is the level that intervals have if there are enough replications.
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

// Quantile is a quantile of independent values, and the interval of the order
// statistics that hold it with the confidence wanted, whatever the values'
// distribution: the number of values below it is binomial (David and Nagaraja, Order
// Statistics, 7.1). With few values the widest interval has less, which Level says.
func Quantile(values []float64, p float64) Interval {
	n := len(values)
	if n == 0 {
		return Interval{Value: math.NaN(), Low: math.NaN(), High: math.NaN()}
	}
	v := slices.Clone(values)
	slices.Sort(v)
	out := Interval{Value: stat.Quantile(p, stat.Empirical, v, nil), Low: v[0], High: v[n-1], N: n}
	if n == 1 {
		return out
	}
	b := distuv.Binomial{N: float64(n), P: p}
	cover := func(low, high int) float64 { return b.CDF(float64(high-1)) - b.CDF(float64(low-1)) } // of v[low-1] to v[high-1]
	low, high := 1, n
	for moved := true; moved; {
		moved = false
		if low+1 < high && cover(low+1, high) >= Confidence {
			low, moved = low+1, true
		}
		if low+1 < high && cover(low, high-1) >= Confidence {
			high, moved = high-1, true
		}
	}
	out.Low, out.High, out.Level = v[low-1], v[high-1], cover(low, high)
	return out
}

// Estimate is a metric of several replications.
type Estimate struct {
	Metric
	Interval Interval
}

// Estimates puts the metrics of replications together, in the order of the first's:
// means with Student's t; of those that are quantiles the median over the
// replications, with the interval of order statistics. A replication that cannot
// answer a metric does not count for it.
func Estimates(all []*Answers) []Estimate {
	var out []Estimate
	values := map[string][]float64{}
	var order []row
	for _, a := range all {
		for _, m := range a.rows() {
			if _, ok := values[m.Name]; !ok {
				order = append(order, m)
			}
			values[m.Name] = append(values[m.Name], m.Value)
		}
	}
	for _, m := range order {
		e := Estimate{Metric: m.Metric, Interval: Mean(values[m.Name])}
		if m.quantile {
			e.Interval = Quantile(values[m.Name], .5)
		}
		e.Value = e.Interval.Value
		out = append(out, e)
	}
	return out
}
