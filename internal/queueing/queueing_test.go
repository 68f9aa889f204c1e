package queueing_test

import (
	"fmt"
	"math"
	"testing"

	"capstan/internal/queueing"
)

// near compares with a published value, given to so many decimals.
func near(t *testing.T, what string, got, want float64) {
	t.Helper()
	if math.IsNaN(got) || math.Abs(got-want) > 6e-7*max(1, math.Abs(want)) {
		t.Errorf("%s = %.7f, the table says %.6f", what, got, want)
	}
}

func TestMMc(t *testing.T) {
	for _, r := range []struct {
		c                     int
		rho                   float64
		wait, mean, queue, w2 float64
	}{
		{1, .5, .5, 1, .5, .183940},
		{1, .8, .8, 4, 3.2, .536256},
		{1, .9, .9, 9, 8.1, .736858},
		{2, .8, .711111, 1.777778, 2.844444, .319523},
		{4, .8, .596432, .745541, 2.385730, .120418},
		{8, .9, .701533, .876916, 6.313797, .141637},
		{16, .9, .591343, .369590, 5.322091, .024104},
		{32, .95, .695710, .434819, 13.218492, .028359},
	} {
		a := r.rho * float64(r.c)
		name := fmt.Sprintf("M/M/%d at %v: ", r.c, r.rho)
		near(t, name+"P(wait)", queueing.ErlangC(r.c, a), r.wait)
		near(t, name+"mean wait", queueing.MMcWait(r.c, a, 1), r.mean)
		near(t, name+"waiting", a*queueing.MMcWait(r.c, a, 1), r.queue)
		near(t, name+"P(W>2)", queueing.MMcWaitTail(r.c, a, 1, 2), r.w2)
		// The unit of time is free.
		near(t, name+"P(W>2) in another unit", queueing.MMcWaitTail(r.c, a, 60, 120), r.w2)
	}
}

func TestErlangB(t *testing.T) {
	for _, r := range []struct {
		c       int
		a, lost float64
	}{{2, 1, .2}, {4, 2, .095238}, {10, 7, .078741}, {20, 16, .064411}} {
		near(t, fmt.Sprintf("ErlangB(%d, %v)", r.c, r.a), queueing.ErlangB(r.c, r.a), r.lost)
	}
}

func TestMG1(t *testing.T) {
	for _, r := range []struct{ rho, scv, wait float64 }{
		{.5, 0, .5}, {.8, 0, 2}, {.9, 0, 4.5}, {.8, .25, 2.5}, {.8, 1, 4}, {.8, 4, 10},
	} {
		near(t, fmt.Sprintf("M/G/1 at %v, c² %v", r.rho, r.scv), queueing.MG1Wait(r.rho, queueing.Moments{Mean: 1, Second: 1 + r.scv}), r.wait)
	}
	two := queueing.PriorityWaits([]float64{.3, .5}, []queueing.Moments{{Mean: 1, Second: 2}, {Mean: 1, Second: 2}})
	near(t, "first class", two[0], 1.142857)
	near(t, "second class", two[1], 5.714286)
	near(t, "vacations", queueing.VacationWait(.8, queueing.Moments{Mean: 1, Second: 2}, queueing.Moments{Mean: 2, Second: 4}), 5)
	for rho, s := range map[float64]float64{.5: 2, .8: 5, .9: 10} {
		near(t, "slowdown", queueing.Slowdown(rho), s)
	}
	near(t, "c²", queueing.Moments{Mean: 2, Second: 20}.SCV(), 4)
}

func TestMDc(t *testing.T) {
	for _, r := range []struct {
		c         int
		rho, wait float64
	}{{1, .5, .5}, {1, .8, 2}, {1, .9, 4.5}, {2, .8, .903284}, {4, .8, .386095}, {8, .9, .449973}} {
		near(t, fmt.Sprintf("M/D/%d at %v", r.c, r.rho), queueing.MDcWait(r.c, r.rho*float64(r.c), 1), r.wait)
	}
}

func TestJackson(t *testing.T) {
	tandem := []queueing.Station{{1, 1, .6, []float64{0, 1}}, {1, 1.25, 0, nil}}
	feedback := []queueing.Station{{1, 1, .3, []float64{.4}}}
	three := []queueing.Station{{2, 1, 1.6, []float64{0, .5, .5}}, {1, 1, 0, nil}, {1, 1 / 1.2, 0, nil}}
	for _, r := range []struct {
		name     string
		stations []queueing.Station
		numbers  []float64
		time     float64
	}{
		{"tandem", tandem, []float64{1.5, 3}, 7.5},
		{"feedback", feedback, []float64{1}, 3.333333},
		{"three", three, []float64{4.444444, 4, 2}, 6.527778},
	} {
		_, numbers, time := queueing.Jackson(r.stations)
		for i := range r.numbers {
			near(t, fmt.Sprintf("%s: number at %d", r.name, i), numbers[i], r.numbers[i])
		}
		near(t, r.name+": time", time, r.time)
	}
}

func TestClosed(t *testing.T) {
	demands := []float64{.5, .3, .8}
	for _, r := range []struct {
		n                    int
		throughput, response float64
	}{{1, .151515, 1.6}, {5, .680185, 2.350940}, {10, 1.091157, 4.164581}, {20, 1.247456, 11.032629}} {
		c := queueing.MVA(r.n, demands, 5)
		near(t, fmt.Sprintf("N=%d: throughput", r.n), c.Throughput, r.throughput)
		near(t, fmt.Sprintf("N=%d: response", r.n), c.Response, r.response)
	}
	ten := queueing.MVA(10, demands, 5)
	for i, want := range []float64{1.0586, .4684, 3.0172} {
		if math.Abs(ten.Numbers[i]-want) > 6e-5 {
			t.Errorf("number at station %d is %v, the table says %v", i, ten.Numbers[i], want)
		}
	}
	if u := queueing.MVA(20, demands, 5).Throughput * .8; math.Abs(u-.9980) > 6e-5 {
		t.Errorf("utilisation %v, the table says .9980", u)
	}
	repair := queueing.MVA(10, []float64{1}, 10)
	near(t, "machine repair: throughput", repair.Throughput, .785418)
	near(t, "machine repair: response", repair.Response, 2.732079)
	x, waiting, wait := queueing.Repair(1, 10, 10, 1)
	near(t, "M/M/1//10: throughput", x, .785418)
	near(t, "M/M/1//10: response", wait+1, 2.732079)
	near(t, "M/M/1//10: Little", waiting, x*wait)
	x, waiting, wait = queueing.Repair(4, 20, 1/.3, 1)
	near(t, "M/M/4//20: throughput", x, 3.813660)
	near(t, "M/M/4//20: waiting", waiting, 3.474138)
	near(t, "M/M/4//20: wait", wait, .910972)
}
