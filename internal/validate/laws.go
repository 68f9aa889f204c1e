package validate

import (
	"fmt"
	"math"
	"math/rand/v2"

	"capstan/internal/queueing"
)

// law is a law of service times, or of sizes.
type law struct {
	name    string
	moments queueing.Moments
	draw    func(r *rand.Rand) float64
}

// scaled is the law of x times what l draws.
func (l law) scaled(x float64) law {
	return law{
		name: l.name, moments: queueing.Moments{Mean: x * l.moments.Mean, Second: x * x * l.moments.Second},
		draw: func(r *rand.Rand) float64 { return x * l.draw(r) },
	}
}

// The laws, of mean 1.
var (
	exponential = law{"M", queueing.Moments{Mean: 1, Second: 2}, func(r *rand.Rand) float64 { return r.ExpFloat64() }}
	constant    = law{"D", queueing.Moments{Mean: 1, Second: 1}, func(*rand.Rand) float64 { return 1 }}
)

// erlang is the sum of k exponential stages: c² = 1/k.
func erlang(k int) law {
	return law{fmt.Sprintf("E%d", k), queueing.Moments{Mean: 1, Second: 1 + 1/float64(k)}, func(r *rand.Rand) float64 {
		sum := 0.0
		for range k {
			sum += r.ExpFloat64()
		}
		return sum / float64(k)
	}}
}

// hyper is one of two exponential laws, each of which brings half of the work:
// c² > 1 as given.
func hyper(scv float64) law {
	p := (1 + math.Sqrt((scv-1)/(scv+1))) / 2
	return law{"H2", queueing.Moments{Mean: 1, Second: 1 + scv}, func(r *rand.Rand) float64 {
		if r.Float64() < p {
			return r.ExpFloat64() / (2 * p)
		}
		return r.ExpFloat64() / (2 * (1 - p))
	}}
}

// pareto has P(X > x) = (m/x)^α for x ≥ m: a heavy tail, of which with α between
// 2 and 3 the variance is finite and no moment beyond is.
func pareto(alpha float64) law {
	m := (alpha - 1) / alpha
	return law{"Pareto", queueing.Moments{Mean: 1, Second: alpha * m * m / (alpha - 2)}, func(r *rand.Rand) float64 {
		return m * math.Pow(1-r.Float64(), -1/alpha)
	}}
}

// shifted is constant for the part d of its mean and exponential for the rest.
func shifted(d float64) law {
	return law{"D+M", queueing.Moments{Mean: 1, Second: 1 + (1-d)*(1-d)}, func(r *rand.Rand) float64 {
		return d + (1-d)*r.ExpFloat64()
	}}
}
