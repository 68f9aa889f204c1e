package vtl

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// scattered makes a route of n segments of bytes each, at random on a full tape that
// stands at its beginning, in the order in which they lie on it.
func scattered(m *DriveModel, med *MediumModel, n int, bytes int64, seed uint64) *route {
	rnd := rand.New(rand.NewPCG(seed, 1))
	starts := make([]int64, n)
	for i := range starts {
		starts[i] = rnd.Int64N(med.Capacity - bytes)
	}
	slices.Sort(starts)
	r := &route{}
	for _, at := range starts {
		r.from = append(r.from, med.spotOf(at, med.Capacity))
		r.to = append(r.to, med.spotOf(at+bytes, med.Capacity))
	}
	r.to = append(r.to, med.spotOf(0, med.Capacity))
	w, length := m.winding(med)
	r.length, r.mean = length, w.Locate-locateStart-uTurn/2
	return r
}

// TestOrderGain: the order saves what others measured, of the winding between the
// segments, against the order in which they lie on the tape.
func TestOrderGain(t *testing.T) {
	m, med := model9(t)
	for _, tt := range []struct {
		n           int
		least, most int64 // per cent
		source      string
	}{
		// IBM on recommended access order, LTO-9 and 3592 (community.ibm.com, blog of
		// 2023-01-05): 4 to 2000 segments of 200 MiB, up to 86 % less.
		{4, 0, 75, "IBM"},
		{30, 30, 86, "IBM"},
		{100, 50, 90, "IBM"},
		{2000, 75, 95, "IBM; Sandstå and Midtstraum, ICDE 1999: up to 85 %"},
	} {
		var before, after time.Duration
		for seed := range uint64(3) {
			r := scattered(m, med, tt.n, 200<<20, seed)
			before += r.total(r.given())
			after += r.total(append([]int{tt.n}, r.best()...))
		}
		gain := int64(100 * (before - after) / before)
		t.Logf("%d segments: %v in a line, %v ordered: %d %% less", tt.n, before/3, after/3, gain)
		if gain < tt.least || gain > tt.most {
			t.Errorf("%d segments: %d %% less; %s: %d to %d", tt.n, gain, tt.source, tt.least, tt.most)
		}
	}
}

// TestOrderFullRecall: of files that fill much of a tape, reading them takes part of the
// time, and less is gained. CERN found recalls of many files from LTO up to two times as
// fast with an order that it generates itself.
func TestOrderFullRecall(t *testing.T) {
	m, med := model9(t)
	const n, size = 1500, 4e9
	r := scattered(m, med, n, size, 1)
	read := timeOf(n*size, m.Rate)
	before := read + r.total(r.given())
	after := read + r.total(append([]int{n}, r.best()...))
	if gain := 100 * before / after; gain < 130 || gain > 220 {
		t.Errorf("%d files of 4 GB: %v in a line, %v ordered: %d %% of the speed; published is up to 200", n, before, after, gain)
	}
}

// TestOrderIsTheBest: of few segments no order at all is much cheaper.
func TestOrderIsTheBest(t *testing.T) {
	m, med := model9(t)
	for seed := range uint64(40) {
		r := scattered(m, med, 7, 1<<30, seed)
		got := r.total(append([]int{7}, r.best()...))
		least := never
		var all func(tour, left []int)
		all = func(tour, left []int) {
			if len(left) == 0 {
				least = min(least, r.total(tour))
			}
			for i, k := range left {
				rest := append(slices.Clone(left[:i]), left[i+1:]...)
				all(append(slices.Clone(tour), k), rest)
			}
		}
		all([]int{7}, []int{0, 1, 2, 3, 4, 5, 6})
		if got > least+least/5 {
			t.Errorf("seed %d: the order takes %v, the best one %v", seed, got, least)
		}
	}
}

// TestOrderIsWhole: each segment comes once, the same order comes each time, and it is
// not worse than the one that was given; long lists included.
func TestOrderIsWhole(t *testing.T) {
	m, med := model9(t)
	for _, n := range []int{0, 1, 2, 3, 50, MaxAccesses} {
		r := scattered(m, med, n, 1<<20, 9)
		order := r.best()
		if again := scattered(m, med, n, 1<<20, 9).best(); !slices.Equal(order, again) {
			t.Errorf("%d segments: two orders differ", n)
		}
		if got, want := r.total(append([]int{n}, order...)), r.total(r.given()); got > want {
			t.Errorf("%d segments: the order takes %v, in a line it takes %v", n, got, want)
		}
		sorted := slices.Sorted(slices.Values(order))
		for i, k := range sorted {
			if i != k {
				t.Fatalf("%d segments: segment %d is missing or comes twice", n, i)
			}
		}
		if len(sorted) != n {
			t.Errorf("%d segments: an order of %d", n, len(sorted))
		}
	}
}
