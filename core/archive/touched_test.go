package archive

import (
	"testing"
	"time"

	"capstan/core/rt"
	"capstan/core/tree"
)

// What was written just after the last backup began may bear a time a little before it.
func TestTouched(t *testing.T) {
	s := Selection{Since: rt.Time(time.Hour)}
	for _, c := range []struct {
		mtime, ctime time.Duration // from Since
		want         bool
	}{
		{0, -time.Hour, true}, {time.Second, time.Second, true}, {-4 * time.Millisecond, -time.Hour, true}, {-time.Hour, -9 * time.Millisecond, true},
		{-11 * time.Millisecond, -11 * time.Millisecond, false}, {-time.Hour, -time.Hour, false},
	} {
		if got := s.touched(&tree.Info{MTime: s.Since.Add(c.mtime), CTime: s.Since.Add(c.ctime)}); got != c.want {
			t.Errorf("modified %v, changed %v after the last backup began: %v", c.mtime, c.ctime, got)
		}
	}
}
