package answers

import "slices"

// Difference is how a metric differs between two sites that were run with the same
// seeds.
type Difference struct {
	Metric          // of A
	A, B   Interval // of each for itself
	Diff   Interval // of B - A
	Pairs  int      // of replications that both answer
}

// Significant tells whether the difference is not by chance, at the interval's level.
func (d *Difference) Significant() bool {
	return d.Diff.Level > 0 && (d.Diff.Low > 0 || d.Diff.High < 0)
}

// Verdict says in a word or two what became of the metric in B: "better", "worse",
// "differs", "no difference seen", or "" if there are too few replications to say.
func (d *Difference) Verdict() string {
	switch {
	case d.Diff.Level == 0:
		return ""
	case !d.Significant():
		return "no difference seen"
	case d.Better == "":
		return "differs"
	case (d.Better == higher) == (d.Diff.Value > 0):
		return "better"
	}
	return "worse"
}

// Paired compares the metrics of replications of two sites, each pair with one seed,
// in the order of the first's. It is Student's t interval of the differences: with
// the same random numbers on both sides most of the chance cancels out (Law,
// Simulation Modeling and Analysis, 10.2 and 11.2).
func Paired(a, b [][]Metric) []Difference {
	find := func(all []Metric, name string) (float64, bool) {
		i := slices.IndexFunc(all, func(m Metric) bool { return m.Name == name })
		if i < 0 {
			return 0, false
		}
		return all[i].Value, true
	}
	var out []Difference
	for _, m := range Names(append(slices.Clone(a), b...)) {
		var x, y, diff []float64
		for i := range min(len(a), len(b)) {
			v, inA := find(a[i], m.Name)
			w, inB := find(b[i], m.Name)
			if inA && inB {
				x, y, diff = append(x, v), append(y, w), append(diff, w-v)
			}
		}
		if len(diff) > 0 {
			out = append(out, Difference{Metric: m, A: Mean(x), B: Mean(y), Diff: Mean(diff), Pairs: len(diff)})
		}
	}
	return out
}

// Names are the metrics of some replications, each once, in the order in which they
// are met; their values mean nothing.
func Names(all [][]Metric) (names []Metric) {
	seen := map[string]bool{}
	for _, ms := range all {
		for _, m := range ms {
			if !seen[m.Name] {
				seen[m.Name] = true
				names = append(names, m)
			}
		}
	}
	return names
}

// Lasts is for how many nights the site fits, until the first night that does not: all
// that there are, if each fits.
func (a *Answers) Lasts() (nights int) {
	for i := range a.Nights {
		if n := &a.Nights[i]; n.Windows.Due > 0 {
			if !n.Fits() {
				return nights
			}
			nights++
		}
	}
	return nights
}
