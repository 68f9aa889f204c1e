package answers

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"capstan/reports/record"
)

func lot(seeds []int64, runs ...*record.Run) (all []*Answers) {
	for i, r := range runs {
		r.Head.Seed = seeds[i]
		all = append(all, Of(r))
	}
	return all
}

func find(t *testing.T, all []Difference, name string) *Difference {
	t.Helper()
	for i := range all {
		if all[i].Name == name {
			return &all[i]
		}
	}
	t.Fatalf("%s is not compared", name)
	return nil
}

// What chance does to both of a pair falls out of their difference.
func TestCompare(t *testing.T) {
	const m = time.Minute
	before := lot([]int64{1, 2, 3}, nights(-h, -h), nights(-3*h, -3*h), nights(-5*h, -5*h))
	after := lot([]int64{1, 2, 3}, nights(-2*h, -2*h), nights(-4*h+m, -4*h+m), nights(-6*h-m, -6*h-m))
	d := find(t, Compare(before, after), "least room before the window closes")
	if !d.Paired || d.By.N != 3 || d.By.Value != 3600 || d.By.Low < 3400 || d.By.High > 3800 || d.Verdict() != "better" {
		t.Errorf("pairs: %+v, %s", d, d.Verdict())
	}
	if b, err := json.Marshal(d); err != nil || !strings.Contains(string(b), `"verdict":"better"`) {
		t.Errorf("%s, %v", b, err)
	}
	worse := find(t, Compare(after, before), "least room before the window closes")
	if worse.Verdict() != "worse" {
		t.Errorf("the other way: %s", worse.Verdict())
	}
	for i := range after {
		after[i].Seed += 10
	}
	if d := find(t, Compare(before, after), "least room before the window closes"); d.Paired || d.By.Level != 0 {
		t.Errorf("no pairs: %+v", d)
	}
	if d := find(t, Compare(before, before), "backups late"); d.Verdict() != "the same" {
		t.Errorf("a run and itself: %s", d.Verdict())
	}
	if d := find(t, Compare(before, lot([]int64{1, 2, 3}, nights(-h, -h), nights(-h, -2*h), nights(-7*h, -7*h))), "least room before the window closes"); d.Verdict() != "the same" {
		t.Errorf("a difference that may be chance: %+v", d)
	}
}
