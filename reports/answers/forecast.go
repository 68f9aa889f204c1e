package answers

import (
	"math"
	"time"

	"gonum.org/v1/gonum/stat"
	"gonum.org/v1/gonum/stat/distuv"

	"capstan/core/rt"
	"capstan/reports/record"
)

// hour is the length of a bin of use.
const hour = rt.Time(time.Hour)

// Forecast is when something that grows or shrinks meets a bound.
type Forecast struct {
	// Seen: it happened in the run, at At. Foreseen: it did not, and the trend of what
	// the run shows meets the bound at At. Neither: no trend towards it is shown.
	Seen     bool      `json:"seen"`
	Foreseen bool      `json:"foreseen"`
	At       time.Time `json:"at,omitzero"`
	Slope    float64   `json:"-"` // a day; NaN without a trend
	Points   int       `json:"points"`
}

// Cartridges is the use of media.
type Cartridges struct {
	Total   int `json:"total"`
	Scratch int `json:"scratch"` // at the end, those free of all pools
	Active  int `json:"active"`
	Full    int `json:"full"`
	Held    int `json:"held"` // frozen or suspended
	Slots   int `json:"slots"`
	// PerDay is how many more cartridges were in use at the end than at the beginning,
	// for each day; below 0, more were freed than taken.
	PerDay float64 `json:"perDay"`
	Bytes  int64   `json:"bytes"`
	// Taken is how many are begun to be written in a day; 0 if the run does not show it.
	Taken float64 `json:"takenPerDay"`
	// Forecast is of the end of the free cartridges. Lasts: they do not end if the site goes on
	// so; the fewest are Fewest, at FewestAt, or at once if that is no time.
	Forecast Forecast  `json:"forecast"`
	Lasts    bool      `json:"lasts"`
	Fewest   int       `json:"fewest"`
	FewestAt time.Time `json:"fewestAt,omitzero"`

	course []Corner
}

// Level is how many cartridges of all libraries together are in a state, at a time.
type Level struct {
	At                       rt.Time
	Free, Active, Full, Held int
	Bytes                    int64
}

// Levels are the run's cartridges over time; each holds until the next.
func Levels(r *record.Run) (all []Level) {
	now := map[string]Level{}
	for i := range r.Volumes {
		v := &r.Volumes[i]
		now[v.Library] = Level{Free: v.Scratch + v.Free, Active: v.Active, Full: v.Full, Held: v.Held, Bytes: v.Bytes}
		sum := Level{At: v.At}
		for _, l := range now {
			sum.Free, sum.Active, sum.Full, sum.Held, sum.Bytes = sum.Free+l.Free, sum.Active+l.Active, sum.Full+l.Full, sum.Held+l.Held, sum.Bytes+l.Bytes
		}
		if n := len(all); n > 0 && all[n-1].At == sum.At {
			all[n-1] = sum
			continue
		}
		all = append(all, sum)
	}
	return all
}

func (b *builder) media() {
	for i := range b.run.Head.Resources {
		b.Media.Slots += b.run.Head.Resources[i].Slots
	}
	all := Levels(b.run)
	if len(all) == 0 {
		b.Media.Forecast.Slope = math.NaN()
		return
	}
	end := all[len(all)-1]
	first := all[0]
	for _, l := range all {
		if l.At <= b.from {
			first = l
		}
	}
	m := &b.Media
	m.Scratch, m.Active, m.Full, m.Held, m.Bytes = end.Free, end.Active, end.Full, end.Held, end.Bytes
	m.Total = end.Free + end.Active + end.Full + end.Held
	m.PerDay = float64(first.Free-end.Free) / max(b.days, 1./24)
	m.Forecast.Slope = math.NaN()
	for _, l := range all {
		if l.Free == 0 && l.At >= b.from && m.Total > 0 {
			m.Forecast = Forecast{Seen: true, At: l.At.Std(), Slope: -m.PerDay, Points: len(all)}
			return
		}
	}
	b.supply()
}

// meet foresees when the trend of y over days x grows to 0. A slope that Student's t does not tell from 0 at 95 %, or that explains less
// than half of what y varies, is no trend.
func (b *builder) meet(x, y []float64) Forecast {
	f := Forecast{Slope: math.NaN(), Points: len(x)}
	if len(x) < leastDays {
		return f
	}
	alpha, beta := stat.LinearRegression(x, y, nil, false)
	f.Slope = beta
	var rest, spread float64
	mean := stat.Mean(x, nil)
	for i := range x {
		e := y[i] - (alpha + beta*x[i])
		rest += e * e
		spread += (x[i] - mean) * (x[i] - mean)
	}
	n := float64(len(x))
	err := math.Sqrt(rest / (n - 2) / spread)
	t := distuv.StudentsT{Mu: 0, Sigma: 1, Nu: n - 2}.Quantile(.975)
	if beta <= 0 || math.Abs(beta) <= t*err || stat.RSquared(x, y, nil, alpha, beta) < .5 {
		return f
	}
	days := -alpha / beta
	if days > x[len(x)-1] && days < 36500 {
		f.Foreseen, f.At = true, b.from.Add(time.Duration(days*24*float64(time.Hour))).Std()
	}
	return f
}

// growth finds the first night that does not fit, or foresees it.
func (b *builder) growth() {
	var x, y []float64
	b.Growth.Slope = math.NaN()
	for i := range b.Nights {
		n := &b.Nights[i]
		if n.Windows.Due == 0 {
			continue
		}
		if !n.Fits() {
			b.Growth = Forecast{Seen: true, At: n.day, Slope: math.NaN(), Points: len(b.Nights)}
			return
		}
		x, y = append(x, n.day.Sub(b.From).Hours()/24), append(y, n.Over)
	}
	b.Growth = b.meet(x, y)
}
