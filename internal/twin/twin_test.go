package twin

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"capstan/core/job"
	"capstan/core/rt"
	"capstan/core/trace"
	"capstan/internal/expect"
	"capstan/internal/real/loopback"
	"capstan/scenarios"
)

func TestMain(m *testing.M) {
	loopback.Reexec()
	os.Exit(m.Run())
}

func read(t *testing.T) *scenarios.Scenario {
	t.Helper()
	s, err := scenarios.Read[scenarios.Scenario]("../../scenarios/both-worlds.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestTwin: the same jobs, with the same statuses and steps in the same order. How long
// they took is printed; "make scenarios" judges it.
func TestTwin(t *testing.T) {
	dir, err := os.MkdirTemp("", "twin")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	r, err := Run(context.Background(), read(t), Options{Dir: dir, Command: loopback.Self})
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	if err := r.Write(&out); err != nil {
		t.Fatal(err)
	}
	t.Logf("\n%s", out.String())
	if len(r.Pairs) < 4 || len(r.Alone) > 0 {
		t.Errorf("%d pairs; alone: %v", len(r.Pairs), r.Alone)
	}
	for _, p := range r.Pairs {
		for _, d := range p.Differs {
			if !strings.HasPrefix(d, "took ") {
				t.Errorf("job %d: %s", p.Real.ID, d)
			}
		}
	}
}

// TestDiffers: what differs is found: a status, a step, an order, a time, a job.
func TestDiffers(t *testing.T) {
	const second = rt.Time(time.Second)
	one := func() *expect.Outcome {
		o := &expect.Outcome{Jobs: []job.Job{{ID: 1, Type: job.Backup, Client: "web1", Status: 84, Started: 10 * second, Ended: 70 * second}}}
		for i, step := range []string{"B1", "B2", "B3"} {
			at := trace.Stamp{Wall: rt.Time(i+1) * second}
			o.Events = append(o.Events, trace.Event{Job: trace.Job{ID: 1}, Step: step, Begin: at, End: at})
		}
		return o
	}
	for _, tt := range []struct {
		says   string
		change func(o *expect.Outcome)
	}{
		{"", func(*expect.Outcome) {}},
		{"", func(o *expect.Outcome) { o.Jobs[0].Ended += 4 * second }},
		{"took 1m0s, virtual 1m5s", func(o *expect.Outcome) { o.Jobs[0].Ended += 5 * second }},
		{"status 84, virtual 52", func(o *expect.Outcome) { o.Jobs[0].Status = 52 }},
		{"steps B1 B2 B3, virtual B1 B2", func(o *expect.Outcome) { o.Events = o.Events[:2] }},
		{"steps B1 B2 B3, virtual B2 B3 B1", func(o *expect.Outcome) { o.Events[0].Begin.Wall = 9 * second }},
		{"Backup of web1 by  is of the real world only", func(o *expect.Outcome) { o.Jobs = nil }},
		{"Restore of web1 by  is of the virtual world only", func(o *expect.Outcome) {
			o.Jobs = append(o.Jobs, job.Job{ID: 2, Type: job.Restore, Client: "web1"})
		}},
	} {
		v := one()
		tt.change(v)
		r := compare(one(), v)
		var got []string
		got = append(got, r.Alone...)
		for _, p := range r.Pairs {
			got = append(got, p.Differs...)
		}
		if strings.Join(got, "; ") != tt.says || r.Agree() != (tt.says == "") {
			t.Errorf("%q, agree %v; want %q", got, r.Agree(), tt.says)
		}
	}
}
