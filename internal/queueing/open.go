// Package queueing has the closed forms of queueing theory that a simulation is
// validated against. Times are in any one unit, rates in its inverse; a service
// time has mean s, a queue's offered load is a = λ·s and its utilisation ρ = a/c.
// What has no finite value (ρ ≥ 1) is +Inf or NaN, as the formula gives it.
package queueing

import "math"

// Moments are the first two moments of a law.
type Moments struct{ Mean, Second float64 }

// SCV is the squared coefficient of variation, variance over squared mean.
func (m Moments) SCV() float64 { return m.Second/(m.Mean*m.Mean) - 1 }

// ErlangB is the probability that a customer of M/G/c/c finds all c servers busy,
// and is lost. It depends on the service law by its mean alone.
//
// A. K. Erlang, "Solution of some problems in the theory of probabilities of
// significance in automatic telephone exchanges" (1917); computed by the recursion
// B(0) = 1, B(k) = a·B(k-1)/(k + a·B(k-1)).
func ErlangB(c int, a float64) float64 {
	b := 1.0
	for k := 1; k <= c; k++ {
		b = a * b / (float64(k) + a*b)
	}
	return b
}

// ErlangC is the probability that a customer of M/M/c has to wait (Erlang, 1917):
// B/(1 - ρ(1-B)).
func ErlangC(c int, a float64) float64 {
	b, rho := ErlangB(c, a), a/float64(c)
	return b / (1 - rho*(1-b))
}

// MMcWait is the mean wait of M/M/c with service mean s: C·s/(c(1-ρ)).
// Kleinrock, Queueing Systems I (1975), 3.5.
func MMcWait(c int, a, s float64) float64 {
	return ErlangC(c, a) * s / (float64(c) * (1 - a/float64(c)))
}

// MMcWaitTail is the probability that a customer of M/M/c waits longer than t,
// served first come first served: C·exp(-c(1-ρ)t/s).
func MMcWaitTail(c int, a, s, t float64) float64 {
	n := float64(c)
	return ErlangC(c, a) * math.Exp(-n*(1-a/n)*t/s)
}

// MG1Wait is the mean wait of M/G/1 (Pollaczek 1930, Khinchine 1932):
// λ·E[S²]/(2(1-ρ)).
func MG1Wait(lambda float64, s Moments) float64 {
	return lambda * s.Second / (2 * (1 - lambda*s.Mean))
}

// VacationWait is the mean wait of M/G/1 whose server, whenever it finds nobody,
// is away for a time of law v, again and again until somebody is there:
// the wait of M/G/1 plus what is left of a vacation, E[V²]/(2E[V]).
// Levy and Yechiali, Management Science 22 (1975); Takagi, Queueing Analysis 1 (1991), 2.2.
func VacationWait(lambda float64, s, v Moments) float64 {
	return MG1Wait(lambda, s) + v.Second/(2*v.Mean)
}

// PriorityWaits are the mean waits of the classes of M/G/1 with non-preemptive
// priorities, the most urgent class first: W0/((1-σ(k-1))(1-σ(k))), with W0 the mean
// time left of the service under way and σ(k) the utilisation by classes 1 to k.
// Cobham, Operations Research 2 (1954).
func PriorityWaits(lambda []float64, s []Moments) []float64 {
	residual := 0.0
	for i := range lambda {
		residual += lambda[i] * s[i].Second / 2
	}
	waits := make([]float64, len(lambda))
	before := 0.0
	for i := range lambda {
		upTo := before + lambda[i]*s[i].Mean
		waits[i] = residual / ((1 - before) * (1 - upTo))
		before = upTo
	}
	return waits
}

// Slowdown is the mean time in the system of a customer of M/G/1 under processor
// sharing over the service that it needs, whatever that is: 1/(1-ρ), for every law of service.
// Kleinrock, Queueing Systems II (1976), 4.4; Sakata, Noguchi and Oizumi, Operations Research 19 (1971).
func Slowdown(rho float64) float64 { return 1 / (1 - rho) }
