package validate

import "time"

// area is the integral over time of a number of customers, in ns: over a whole
// run, and over the window in which the run is counted.
type area struct {
	from, to      time.Duration // the window
	now           int64
	since         time.Duration
	whole, window int64
	busy          time.Duration // with anybody there, in the whole run
}

// add changes the number by d at a time.
func (a *area) add(at time.Duration, d int64) {
	a.whole += a.now * int64(at-a.since)
	if a.now > 0 {
		a.busy += at - a.since
	}
	a.window += a.now * int64(max(min(at, a.to)-max(a.since, a.from), 0))
	a.since, a.now = at, a.now+d
}

// mean is the mean number in the window.
func (a *area) mean() float64 { return float64(a.window) / float64(a.to-a.from) }
