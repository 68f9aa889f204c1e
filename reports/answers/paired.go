package answers

import "slices"

// Pair compares the metrics of replications of two sites, each pair of one seed, in
// the order in which they are met. It is Student's t interval of the differences: with
// the same random numbers on both sides most of the chance cancels out (Law,
// Simulation Modeling and Analysis, 10.2 and 11.2). Unlike [Compare] it needs the
// metrics alone, and takes the mean of quantiles too.
func Pair(first, second [][]Metric) []Difference {
	find := func(all []Metric, name string) (float64, bool) {
		i := slices.IndexFunc(all, func(m Metric) bool { return m.Name == name })
		if i < 0 {
			return 0, false
		}
		return all[i].Value, true
	}
	var out []Difference
	for _, m := range Names(append(slices.Clone(first), second...)) {
		var x, y, by []float64
		for i := range min(len(first), len(second)) {
			v, inFirst := find(first[i], m.Name)
			w, inSecond := find(second[i], m.Name)
			if inFirst && inSecond {
				x, y, by = append(x, v), append(y, w), append(by, w-v)
			}
		}
		if len(by) > 0 {
			out = append(out, Difference{Metric: m, First: Mean(x), Second: Mean(y), By: Mean(by), Paired: true})
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
