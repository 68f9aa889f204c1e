package image

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"capstan/core/rt"
)

func TestChains(t *testing.T) {
	type h struct {
		policy       string
		began, since rt.Time
	}
	for _, c := range []struct {
		rule string
		all  []h
		want [][]rt.Time // when the images of each chain began
	}{
		{"nothing", nil, nil},
		{"from the last full on", []h{{"p", 1, 0}, {"p", 2, 1}, {"p", 3, 0}, {"p", 4, 3}, {"p", 5, 4}}, [][]rt.Time{{3, 4, 5}}},
		{"each policy, the newest image's first", []h{{"p", 1, 0}, {"q", 2, 0}, {"p", 3, 1}, {"r", 4, 0}}, [][]rt.Time{{4}, {1, 3}, {2}}},
		{"what one builds on, not what lies between", []h{{"p", 1, 0}, {"p", 2, 1}, {"p", 3, 2}, {"p", 4, 1}}, [][]rt.Time{{1, 4}}},
		{"one between has expired", []h{{"p", 1, 0}, {"p", 3, 2}, {"p", 4, 3}}, [][]rt.Time{{1, 3, 4}}},
		{"the full one has expired", []h{{"p", 2, 1}, {"p", 3, 2}}, [][]rt.Time{{2, 3}}},
	} {
		t.Run(c.rule, func(t *testing.T) {
			var all []Header
			for i, x := range c.all {
				all = append(all, Header{Policy: x.policy, Began: x.began, Since: x.since, Time: int64(i)})
			}
			var got [][]rt.Time
			for _, chain := range Chains(all) {
				var began []rt.Time
				for i := range chain {
					began = append(began, chain[i].Began)
				}
				got = append(got, began)
			}
			if d := cmp.Diff(c.want, got); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
		})
	}
}
