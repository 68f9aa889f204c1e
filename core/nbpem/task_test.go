package nbpem

import (
	"testing"
	"time"

	"capstan/core/image"
	"capstan/core/policy"
	"capstan/core/rt"
)

// clock reads "15:04" of a day, "+15:04" of the day after.
func clock(t *testing.T, text string) rt.Time {
	t.Helper()
	var d time.Duration
	if text[0] == '+' {
		text, d = text[1:], 24*time.Hour
	}
	v, err := time.Parse("15:04", text)
	if err != nil {
		t.Fatal(err)
	}
	return rt.FromStd(v.AddDate(2026, 5, 9)).Add(d)
}

// Two tries in twelve hours, with ten minutes between.
func TestMayTry(t *testing.T) {
	for _, c := range []struct {
		rule   string
		failed []string
		now    string
		want   string
	}{
		{"nothing has failed: now", nil, "18:00", "18:00"},
		{"one failure: ten minutes after it", []string{"18:00"}, "18:00", "18:10"},
		{"one failure, long ago: now", []string{"18:00"}, "21:00", "21:00"},
		{"two failures: twelve hours after the first of them", []string{"18:00", "20:00"}, "23:00", "+06:00"},
		{"the first of two has aged out: now", []string{"18:00", "20:00"}, "+06:30", "+06:30"},
		{"of three the last two count", []string{"18:00", "20:00", "+06:30"}, "+06:40", "+08:00"},
		{"aged out, but the last is fresh", []string{"18:00", "+06:05"}, "+06:06", "+06:15"},
	} {
		t.Run(c.rule, func(t *testing.T) {
			var failed []rt.Time
			for _, f := range c.failed {
				failed = append(failed, clock(t, f))
			}
			if got, want := mayTry(failed, clock(t, c.now)), clock(t, c.want); got != want {
				t.Errorf("at %v, want %v", got, want)
			}
		})
	}
}

func TestLastOfChain(t *testing.T) {
	const full, inc = string(policy.Full), string(policy.Differential)
	for _, c := range []struct {
		rule   string
		images []image.Header // oldest first
		want   rt.Time
	}{
		{"nothing to build on", nil, 0},
		{"the full backup", []image.Header{{Type: full, Began: 10}}, 10},
		{"the last incremental", []image.Header{{Type: full, Began: 10}, {Type: inc, Since: 10, Began: 20}, {Type: inc, Since: 20, Began: 30}}, 30},
		{"the full has expired: nothing", []image.Header{{Type: inc, Since: 10, Began: 20}, {Type: inc, Since: 20, Began: 30}}, 0},
		{"an incremental between has expired: the one before", []image.Header{{Type: full, Began: 10}, {Type: inc, Since: 20, Began: 30}}, 10},
		{"two that were built on one: the first", []image.Header{{Type: full, Began: 10}, {Type: inc, Since: 10, Began: 20}, {Type: inc, Since: 10, Began: 21}}, 20},
		{"a newer full begins anew", []image.Header{{Type: full, Began: 10}, {Type: inc, Since: 10, Began: 20}, {Type: full, Began: 30}}, 30},
	} {
		t.Run(c.rule, func(t *testing.T) {
			if got := lastOfChain(c.images, nil, nil); got != c.want {
				t.Errorf("%d, want %d", got, c.want)
			}
		})
	}
}

// An incremental holds what has changed, of paths that are backed up already: a
// policy that has others since then begins with a full backup.
func TestChangedPathsBeginAnew(t *testing.T) {
	const full, inc = string(policy.Full), string(policy.Differential)
	home, both, tmp := []string{"/home"}, []string{"/home", "/srv"}, []string{"*.tmp"}
	chain := []image.Header{{Type: full, Paths: home, Exclude: tmp, Began: 10}, {Type: inc, Paths: home, Exclude: tmp, Since: 10, Began: 20}}
	for _, c := range []struct {
		rule           string
		paths, exclude []string
		images         []image.Header
		want           rt.Time
	}{
		{"the same", home, tmp, chain, 20},
		{"a path more", both, tmp, chain, 0},
		{"an exclusion less", home, nil, chain, 0},
		{"a full of the new paths", both, tmp, append(chain, image.Header{Type: full, Paths: both, Exclude: tmp, Began: 30}), 30},
		{"a newer full of other paths", home, tmp, append(chain, image.Header{Type: full, Paths: both, Exclude: tmp, Began: 30}), 0},
	} {
		t.Run(c.rule, func(t *testing.T) {
			if got := lastOfChain(c.images, c.paths, c.exclude); got != c.want {
				t.Errorf("%d, want %d", got, c.want)
			}
		})
	}
}
