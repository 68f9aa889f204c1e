package queueing

// Station is one station of a network: servers, a mean service, the rate at which
// customers from outside come to it, and where those that leave it go. What Next
// leaves of 1 leaves the network.
type Station struct {
	Servers int
	Service float64
	Arrives float64
	Next    []float64 // probability of going to station j
}

// Jackson is the solution of an open network of M/M/c stations: at each the
// throughput and the mean number of customers, waiting and served; and the mean time in the network.
//
// J. R. Jackson, "Networks of waiting lines", Operations Research 5 (1957): each
// station is as M/M/c by itself at the rate that the traffic equations
// λ(j) = γ(j) + Σ λ(i)·p(i,j) give. These are solved by iteration, which converges because every customer leaves.
func Jackson(stations []Station) (rates, numbers []float64, time float64) {
	rates = make([]float64, len(stations))
	for range 10_000 {
		next := make([]float64, len(stations))
		for j := range stations {
			next[j] = stations[j].Arrives
			for i := range stations {
				if j < len(stations[i].Next) {
					next[j] += rates[i] * stations[i].Next[j]
				}
			}
		}
		rates = next
	}
	numbers = make([]float64, len(stations))
	all, outside := 0.0, 0.0
	for i, s := range stations {
		a := rates[i] * s.Service
		numbers[i] = rates[i]*MMcWait(s.Servers, a, s.Service) + a
		all += numbers[i]
		outside += s.Arrives
	}
	return rates, numbers, all / outside
}

// Closed is the solution of a closed network: throughput, time from one think to
// the next, and the mean number at each station.
type Closed struct {
	Throughput float64
	Response   float64
	Numbers    []float64
}

// MVA is exact mean value analysis of a closed network of single-server stations
// with exponential service, first come first served. demands are the service that
// a customer needs at each on one round, and think is how long he is away between rounds.
//
// Reiser and Lavenberg, "Mean-value analysis of closed multichain queuing
// networks", J. ACM 27 (1980): who arrives sees the network with one customer less.
func MVA(customers int, demands []float64, think float64) Closed {
	c := Closed{Numbers: make([]float64, len(demands))}
	for n := 1; n <= customers; n++ {
		response := 0.0
		at := make([]float64, len(demands))
		for i, d := range demands {
			at[i] = d * (1 + c.Numbers[i])
			response += at[i]
		}
		c.Throughput, c.Response = float64(n)/(think+response), response
		for i := range demands {
			c.Numbers[i] = c.Throughput * at[i]
		}
	}
	return c
}

// Repair is M/M/c//N: N machines that each run for a mean of think and then need a
// repair of mean s from one of c: throughput, the mean number that wait, and their mean wait.
// A birth and death process; Kleinrock, Queueing Systems I (1975), 3.8.
func Repair(c, machines int, think, s float64) (throughput, waiting, wait float64) {
	p, sum := 1.0, 1.0
	weights := []float64{1}
	for n := 1; n <= machines; n++ {
		p *= float64(machines-n+1) / think * s / float64(min(n, c))
		weights = append(weights, p)
		sum += p
	}
	for n, w := range weights {
		throughput += w / sum * float64(min(n, c)) / s
		waiting += w / sum * float64(max(n-c, 0))
	}
	return throughput, waiting, waiting / throughput
}
