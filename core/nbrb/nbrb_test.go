package nbrb

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"capstan/core/trace"
)

func TestOrder(t *testing.T) {
	const h = time.Hour
	type r struct {
		priority int
		since    time.Duration
	}
	for _, c := range []struct {
		rule  string
		queue []r // in order of birth
		now   time.Duration
		want  []int64 // by place in queue, from 1
	}{
		{"by priority, the highest first", []r{{0, 0}, {500, 0}, {20, 0}}, h, []int64{2, 3, 1}},
		{"of one priority, who came first", []r{{5, 0}, {5, h}, {5, h}}, 2 * h, []int64{1, 2, 3}},
		{"twelve hours are not yet too long", []r{{0, 0}, {500, h}}, 12 * h, []int64{2, 1}},
		{"whoever has waited longer than that is first", []r{{0, 0}, {500, h}}, 12*h + 1, []int64{1, 2}},
		{"several of those by birth, whatever their priority", []r{{0, 0}, {500, 0}, {900, h}}, 14 * h, []int64{1, 2, 3}},
	} {
		t.Run(c.rule, func(t *testing.T) {
			var queue []*waiting
			for i, q := range c.queue {
				n := int64(i + 1)
				queue = append(queue, &waiting{Request: Request{Job: trace.Job{ID: n}, Priority: q.priority}, born: n, since: q.since})
			}
			order(queue, c.now)
			var got []int64
			for _, w := range queue {
				got = append(got, w.Job.ID)
			}
			if d := cmp.Diff(c.want, got); d != "" {
				t.Error(d)
			}
		})
	}
}
