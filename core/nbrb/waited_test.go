package nbrb

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"capstan/core/nbemm"
	"capstan/core/status"
	"capstan/core/trace"
)

// Each request knows what it has waited for, in its line and beside it, whenever it
// came and left.
func TestWaited(t *testing.T) {
	const s = time.Second
	q := newQueue()
	add := func(id int64, client string, at time.Duration) *waiting {
		return q.add(Request{Job: trace.Job{ID: id}, Need: nbemm.Request{Write: true, Storage: "tape"}, Client: client, PerClient: 1}, 0, at)
	}
	first, second := add(1, "a", 10*s), add(2, "b", 10*s)
	l := first.line
	l.because(11*s, refusal{status.NoDrive, "drives"}) // a second in which nobody knew
	third := add(3, "a", 20*s)
	l.because(31*s, refusal{status.MediaInUse, "media"})
	q.remove(first, 40*s)
	l.because(50*s, refusal{status.ServerBusy, "limit"})
	q.remove(second, 52*s)
	counts := map[string]int{"client a": 1}
	if w := q.next(60*s, map[want]*closed{}, counts); w != nil || !third.apart {
		t.Fatalf("request %v is next; it should stand aside", w)
	}
	l.because(60*s, refusal{status.NoDrive, "drives"})
	q.rejoin("a", 75*s)
	q.remove(third, 80*s)
	for i, c := range []struct {
		w    *waiting
		want sums // limit, drive, media
	}{
		{first, sums{0, 20 * s, 9 * s}},
		{second, sums{2 * s, 20 * s, 19 * s}},
		{third, sums{10*s + 15*s, 11*s + 5*s, 19 * s}},
	} {
		if d := cmp.Diff(c.want, c.w.waited); d != "" {
			t.Errorf("request %d: %s", i+1, d)
		}
	}
	if q.remove(third, 90*s) {
		t.Error("it was taken out twice")
	}
}
