package bprd

import (
	"slices"
	"testing"

	"capstan/core/image"
	"capstan/core/rt"
)

func TestGaps(t *testing.T) {
	images := func(began ...rt.Time) (chain []image.Header) { // each built on the one a ten before
		for _, b := range began {
			h := image.Header{ID: string('a' + rune(b/10)), Began: b}
			if b > 10 {
				h.Since = b - 10
			}
			chain = append(chain, h)
		}
		return chain
	}
	for _, c := range []struct {
		rule  string
		chain []image.Header
		want  int
	}{
		{"a full backup alone", images(10), 0},
		{"an unbroken chain", images(10, 20, 30), 0},
		{"one between has expired", images(10, 30, 40), 1},
		{"two between have expired", images(10, 30, 50), 2},
		{"two built on one", slices.Concat(images(10, 20), images(20)), 0},
	} {
		t.Run(c.rule, func(t *testing.T) {
			if got := gaps(c.chain); len(got) != c.want {
				t.Errorf("%q, want %d notes", got, c.want)
			}
		})
	}
}
