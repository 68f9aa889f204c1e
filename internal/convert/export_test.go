package convert

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"capstan/core/policy"
	"capstan/scenarios"
)

const night = `
name: night
clients: [web1, db1]
paths: [/home]
exclude: ["*.tmp"]
storage: tape1
pool: Default
priority: 7
retention: 28d
timezone: Europe/Berlin
limits: {jobsPerPolicy: 2, jobsPerClient: 3}
schedules:
  - name: weekly
    type: full
    frequency: 7d
    retention: 90d
    windows:
      - {days: sat, start: "21:30", length: 9h}
  - name: daily
    type: differential
    windows:
      - {start: "20:05", length: 90m}
`

// What is exported and added again is the same policy, also one whose only
// schedule is for backups by hand.
func TestPolicyThereAndBack(t *testing.T) {
	for name, text := range map[string]string{
		"schedules": night,
		"by hand":   "name: a\nclients: [b]\npaths: [/c]\nstorage: d\n",
	} {
		t.Run(name, func(t *testing.T) {
			file, err := scenarios.Load[scenarios.Policy](name, []byte(text))
			if err != nil {
				t.Fatal(err)
			}
			want := Policy(file)
			back := PolicyFile(&want)
			written, err := scenarios.Marshal(&back)
			if err != nil {
				t.Fatal(err)
			}
			again, err := scenarios.Load[scenarios.Policy](name, written)
			if err != nil {
				t.Fatalf("%v\n%s", err, written)
			}
			if d := cmp.Diff(want, Policy(again)); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
		})
	}
}

func TestWindowsOpenAtTheirTime(t *testing.T) {
	file, err := scenarios.Load[scenarios.Policy]("night", []byte(night))
	if err != nil {
		t.Fatal(err)
	}
	got := Policy(file).Schedules
	want := []policy.Window{{Days: []time.Weekday{time.Saturday}, Start: 21*time.Hour + 30*time.Minute, Length: 9 * time.Hour}}
	if d := cmp.Diff(want, got[0].Windows); d != "" {
		t.Errorf("weekly (-want +got):\n%s", d)
	}
	want = []policy.Window{{Start: 20*time.Hour + 5*time.Minute, Length: 90 * time.Minute}}
	if d := cmp.Diff(want, got[1].Windows); d != "" {
		t.Errorf("daily (-want +got):\n%s", d)
	}
}
