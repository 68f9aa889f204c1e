package virtual

import (
	"testing"
	"time"

	"capstan/core/policy"
)

// A job's log is kept for 30 days after its end, the job for ever.
func TestOldLogsGo(t *testing.T) {
	n := newTrial(t, small())
	n.until(5 * time.Minute)
	n.put(onDisk(policy.Schedule{Name: "s", Type: policy.Full}))
	old := n.backup("p")
	n.until(25 * day)
	young := n.backup("p")
	for _, c := range []struct {
		after      time.Duration
		old, young bool // have a log
	}{
		{29 * day, true, true},
		{32 * day, false, true},
		{57 * day, false, false},
	} {
		n.until(c.after)
		if got := len(n.logOf(old.ID)) > 0; got != c.old {
			t.Errorf("after %v the first job has a log: %v", c.after, got)
		}
		if got := len(n.logOf(young.ID)) > 0; got != c.young {
			t.Errorf("after %v the second job has a log: %v", c.after, got)
		}
	}
	if js := n.jobs(); len(js) != 2 {
		t.Errorf("%d jobs are left of 2", len(js))
	}
}
