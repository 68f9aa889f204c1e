package mounts

import (
	"slices"
	"time"
)

// Hits is how many requests found their cartridge in a drive.
func (out *Result) Hits() (n int64) {
	for i := range out.Served {
		if out.Served[i].Hit {
			n++
		}
	}
	return n
}

// Loads is how many loads there were.
func (out *Result) Loads() (n int64) {
	for _, d := range out.Drives {
		n += d.Loads
	}
	return n
}

// Waits is the distribution of the time from a request to its cartridge's being ready.
type Waits struct {
	Mean, P50, P90, P95, P99, Max time.Duration
}

// Waits are those of all requests. A percentile is the least wait that so many of
// a hundred do not exceed (nearest rank).
func (out *Result) Waits() Waits {
	all := make([]time.Duration, len(out.Served))
	var sum float64
	for i := range out.Served {
		all[i] = out.Served[i].Ready - out.Served[i].At
		sum += float64(all[i])
	}
	slices.Sort(all)
	rank := func(percent int) time.Duration { return all[(len(all)*percent+99)/100-1] }
	return Waits{
		Mean: time.Duration(sum / float64(len(all))),
		P50:  rank(50), P90: rank(90), P95: rank(95), P99: rank(99), Max: rank(100),
	}
}
