package nbrb

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"capstan/core/nbemm"
	"capstan/core/status"
	"capstan/core/trace"
)

// pass is what an evaluation does, by the rule itself: all requests in order, those
// that a limit holds back left out, and what one was refused refused to all.
func pass(ws []*waiting, now time.Duration, counts map[string]int, free map[string]int) (tried []int64) {
	counts, free = clone(counts), clone(free)
	order(ws, now)
	refused := map[want]bool{}
	for _, w := range ws {
		l := w.lane()
		most := w.PerPolicy
		if !w.limited() {
			most = 0
		}
		if refused[l.want] || most > 0 && counts["policy "+w.Policy] >= most || w.clientLimit(counts) != "" {
			continue
		}
		tried = append(tried, w.Job.ID)
		if free[w.Need.Storage] == 0 {
			refused[l.want] = true
			continue
		}
		free[w.Need.Storage]--
		if w.Need.Write {
			counts["policy "+w.Policy]++
			counts["client "+w.Client]++
		}
	}
	return tried
}

func clone(m map[string]int) map[string]int {
	c := map[string]int{}
	for k, v := range m {
		c[k] = v
	}
	return c
}

// The lines try the same requests, in the same order, as going over all would; and who
// leaves has waited for something all the time.
func TestLinesAreTheRule(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		q := newQueue()
		var all []*waiting
		counts, free := map[string]int{}, map[string]int{}
		active := []*waiting{}
		now := time.Duration(0)
		word := func(what string, n int) string { return fmt.Sprint(what, rapid.IntRange(1, n).Draw(r, what)) }
		remove := func(w *waiting) {
			q.remove(w, now)
			sum := time.Duration(0)
			for _, d := range w.waited {
				sum += d
			}
			if sum != now-w.since {
				r.Fatalf("job %d waited %v, for something %v", w.Job.ID, now-w.since, sum)
			}
		}
		for step := range rapid.IntRange(1, 60).Draw(r, "steps") {
			now += time.Duration(rapid.IntRange(0, 3).Draw(r, "hours")) * time.Hour
			switch rapid.IntRange(0, 3).Draw(r, "what") {
			case 0, 1:
				q := &q
				w := q.add(Request{
					Job: trace.Job{ID: int64(step + 1), Try: 1}, Priority: rapid.IntRange(0, 2).Draw(r, "priority"),
					Need:   nbemm.Request{Write: rapid.Bool().Draw(r, "write"), Storage: word("unit", 2)},
					Policy: word("policy", 2), Client: word("client", 3),
					PerPolicy: rapid.IntRange(0, 2).Draw(r, "per policy"), PerClient: rapid.IntRange(0, 1).Draw(r, "per client"),
				}, 0, now)
				all = append(all, w)
			case 2:
				if len(active) > 0 {
					w := active[0]
					active = active[1:]
					free[w.Need.Storage]++
					if w.Need.Write {
						counts["policy "+w.Policy]--
						counts["client "+w.Client]--
					}
					q.rejoin(w.Client, now)
				} else {
					free[word("unit", 2)]++
				}
			case 3:
				if len(all) > 0 {
					i := rapid.IntRange(0, len(all)-1).Draw(r, "cancelled")
					remove(all[i])
					all = slices.Delete(all, i, i+1)
				}
			}
			wanted := pass(slices.Clone(all), now, counts, free)
			var tried []int64
			refused := map[want]*closed{}
			for w := q.next(now, refused, counts); w != nil; w = q.next(now, refused, counts) {
				tried = append(tried, w.Job.ID)
				if free[w.Need.Storage] == 0 {
					refused[w.line.want] = &closed{refusal: refusal{status.NoDrive, "busy"}}
					continue
				}
				free[w.Need.Storage]--
				if w.Need.Write {
					counts["policy "+w.Policy]++
					counts["client "+w.Client]++
				}
				remove(w)
				all = without(all, w)
				active = append(active, w)
			}
			q.sweep()
			if d := cmp.Diff(wanted, tried); d != "" {
				r.Fatalf("step %d: %s", step, d)
			}
			for _, w := range all {
				if w.why(counts) == "" {
					r.Fatalf("step %d: job %d waits, and nobody knows why", step, w.Job.ID)
				}
			}
			if n := len(q.ordered(now)); n != len(all) {
				r.Fatalf("step %d: the queue has %d requests, %d wait", step, n, len(all))
			}
		}
	})
}
