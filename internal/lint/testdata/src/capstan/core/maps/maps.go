// Package maps ranges over maps, in ways that show their order and ways that do not.
package maps

import (
	"maps"
	"slices"
	"sort"
)

func sorted(m map[string]int) []string {
	var keys []string
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	var values []int
	for _, v := range m {
		if v > 0 {
			values = append(values, v)
		}
	}
	slices.Sort(values)
	return keys
}

func unsorted(m map[string]int) []string {
	var keys []string
	for k := range m { // want `keys gathers from a map in random order and is not sorted after`
		keys = append(keys, k)
	}
	return keys
}

func sums(m map[string]int, other map[string]int) (n int) {
	for k, v := range m {
		if v == 0 {
			delete(other, k)
			continue
		}
		twice := 2 * v
		other[k] = twice
		n += twice
	}
	for range m {
		n++
	}
	return n
}

func floats(m map[string]float64) (sum float64) {
	for _, v := range m { // want `the order of a map is random`
		sum += v
	}
	return sum
}

func calls(m map[string]int, f func(string)) string {
	for k := range m { // want `the order of a map is random`
		f(k)
	}
	for k := range m { // want `the order of a map is random`
		return k
	}
	last := ""
	for k := range m { // want `the order of a map is random`
		last = k
	}
	//capstan:unordered f takes note of each key alone
	for k := range m {
		f(k)
	}
	/* want `needs a reason` */ //capstan:unordered
	for k := range m { // want `the order of a map is random`
		f(k)
	}
	return last
}

func iterators(m map[string]int) []string {
	for k := range maps.Keys(m) { // want `the order of maps.Keys is random`
		_ = k
	}
	all := slices.Collect(maps.Values(m)) // want `the order of maps.Values is random`
	_ = all
	other := maps.Collect(maps.All(m))
	return slices.Sorted(maps.Keys(other))
}
