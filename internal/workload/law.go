package workload

import (
	"crypto/sha256"
	"encoding/binary"
	"io"
	"math"
	"math/rand/v2"
	"slices"

	"capstan/scenarios"
)

// Source gives the random numbers of one seed.
type Source uint64

// Uniform is a number between 0 and 1, both left out, for one purpose of one entity
// and a number n, such as the day. The same names give the same number, whatever
// else is drawn.
func (s Source) Uniform(entity, purpose string, n int64) float64 {
	h := sha256.New()
	var word [8]byte
	put := func(v uint64) {
		binary.BigEndian.PutUint64(word[:], v)
		h.Write(word[:])
	}
	put(uint64(s))
	for _, name := range []string{"workload", entity, purpose} {
		put(uint64(len(name)))
		io.WriteString(h, name) //nolint:errcheck // a hash does not fail
	}
	put(uint64(n))
	sum := h.Sum(nil)
	p := rand.NewPCG(binary.BigEndian.Uint64(sum), binary.BigEndian.Uint64(sum[8:]))
	return (float64(p.Uint64()>>11) + 0.5) / (1 << 53)
}

// Draw draws from a law.
func (s Source) Draw(l *scenarios.Law, entity, purpose string, n int64) float64 {
	return Quantile(l, s.Uniform(entity, purpose, n))
}

// Quantile is the value below which a number drawn from the law is with
// probability u, which is between 0 and 1.
func Quantile(l *scenarios.Law, u float64) float64 {
	v := quantile(l, u)
	if low := float64(l.AtLeast); v < low {
		v = low
	}
	if high := float64(l.AtMost); high > 0 && v > high {
		v = high
	}
	return v
}

func quantile(l *scenarios.Law, u float64) float64 {
	from, to, mean := float64(l.From), float64(l.To), float64(l.Mean)
	switch l.Law {
	case "constant":
		return float64(l.Value)
	case "uniform":
		return from + float64(u*(to-from))
	case "log-uniform":
		return from * pow(to/from, u)
	case "exponential":
		return -mean * Ln(1-u)
	case "log-normal":
		sigma, median := float64(l.Sigma), float64(l.Median)
		if mean > 0 { // the mean is the median times exp(sigma²/2)
			median = mean * Exp(-float64(sigma*sigma)/2)
		}
		return median * Exp(sigma*normal(u))
	case "pareto":
		alpha := float64(l.Alpha)
		if mean > 0 {
			from = mean * (alpha - 1) / alpha
		}
		return from * pow(1-u, -1/alpha)
	case "mixture":
		return mixed(l.Parts, u)
	}
	if len(l.Values) == 0 {
		return 0
	}
	return float64(l.Values[min(int(u*float64(len(l.Values))), len(l.Values)-1)])
}

// mixed takes the part in whose share u is, and what is left of u for that.
func mixed(parts []scenarios.Part, u float64) float64 {
	total := 0.0
	for i := range parts {
		total += float64(parts[i].Weight)
	}
	below := 0.0
	for i := range parts {
		w := float64(parts[i].Weight) / total
		if w > 0 && (u < below+w || i == len(parts)-1) {
			const edge = 1.0 / (1 << 53)
			return Quantile(&parts[i].Of, min(max((u-below)/w, edge), 1-edge))
		}
		below += w
	}
	return 0
}

// poisson is how many events there are in a time in which there are mean in the
// mean, by inversion; above 500 by the normal law.
func poisson(mean, u float64) int {
	switch {
	case mean <= 0:
		return 0
	case mean > 500:
		return max(0, int(mean+0.5+float64(normal(u)*math.Sqrt(mean))))
	}
	p := Exp(-mean)
	n := 0
	for sum := p; sum < u && n < 2000; sum += p {
		n++
		p = p * mean / float64(n)
	}
	return n
}

// weighted is the index of one of some weights.
func weighted(weights []scenarios.Amount, u float64) int {
	total := 0.0
	for _, w := range weights {
		total += float64(w)
	}
	at := u * total
	last := slices.IndexFunc(weights, func(w scenarios.Amount) bool { return w > 0 })
	for i, w := range weights {
		if w > 0 {
			last = i
			if at < float64(w) {
				return i
			}
		}
		at -= float64(w)
	}
	return last
}
