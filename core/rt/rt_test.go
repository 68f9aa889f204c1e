package rt_test

import (
	"context"
	"testing"
	"time"

	"pgregory.net/rapid"

	"capstan/core/rt"
)

// What worlds must do for this package is in rttest, which each world runs.

func TestTime(t *testing.T) {
	for _, c := range []struct {
		std  time.Time
		text string
		unix int64
	}{
		{time.Unix(0, 0), "1970-01-01T00:00:00.000000000Z", 0},
		{time.Unix(0, -1), "1969-12-31T23:59:59.999999999Z", -1},
		{time.Date(2026, 11, 23, 18, 30, 0, 5, time.FixedZone("", 3600)), "2026-11-23T17:30:00.000000005Z", 1795455000},
	} {
		got := rt.FromStd(c.std)
		if got.String() != c.text || got.Unix() != c.unix || !got.Std().Equal(c.std) || got.Std().Location() != time.UTC {
			t.Errorf("%v is %v, %d s, %v; want %s, %d s", c.std, got, got.Unix(), got.Std(), c.text, c.unix)
		}
	}
}

func TestTimeArithmetic(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		at := rt.Time(rapid.Int64Range(-1<<61, 1<<61).Draw(r, "at"))
		d := time.Duration(rapid.Int64Range(-1<<61, 1<<61).Draw(r, "d"))
		if got := at.Add(d).Sub(at); got != d {
			r.Errorf("%v later is %v later", d, got)
		}
		if got := rt.FromStd(at.Std()); got != at {
			r.Errorf("%d through the standard library is %d", at, got)
		}
	})
}

func TestOutsideAnyWorld(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("a context without a task was taken")
		}
	}()
	rt.Now(context.Background())
}
