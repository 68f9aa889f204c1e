package queueing

import "math"

// MDcWait is the mean wait of M/D/c: Poisson arrivals, c servers, and a service
// that always takes s. a is the offered load.
//
// Crommelin, "Delay probability formulae when the holding times are constant"
// (P.O.E.E. Journal 25, 1932): whoever is in the system at a time is gone one
// service later, unless he waited, so the number N in it satisfies
// N(t+s) = max(N(t)-c, 0) + Poisson(a). Its stationary law is found by iterating that,
// beginning with the law of the system that is empty; the mean wait follows by Little's law.
func MDcWait(c int, a, s float64) float64 {
	rho := a / float64(c)
	// The tail falls geometrically: by this n it is far below the last bit.
	size := c + int(60/(1-rho)) + 60
	arrivals := poisson(a)
	law, next := make([]float64, size), make([]float64, size)
	law[0] = 1
	for {
		clear(next)
		for n, p := range law {
			left := max(n-c, 0)
			for k := 0; k < len(arrivals) && left+k < size; k++ {
				next[left+k] += p * arrivals[k]
			}
		}
		change := 0.0
		for n := range law {
			change += math.Abs(next[n] - law[n])
		}
		law, next = next, law
		if change < 1e-14 {
			break
		}
	}
	waiting := 0.0
	for n := c + 1; n < size; n++ {
		waiting += float64(n-c) * law[n]
	}
	return waiting * s / a
}

// poisson is the law of a Poisson number of mean a, as far as it is not 0 to the last bit.
func poisson(a float64) []float64 {
	p := []float64{math.Exp(-a)}
	for k := 1; float64(k) < a || p[k-1] > 1e-19; k++ {
		p = append(p, p[k-1]*a/float64(k))
	}
	return p
}
