package virtual

import (
	"bytes"
	"testing"

	"capstan/core/job"
	"capstan/scenarios"
)

func firstNight(t *testing.T, o Options) *Result {
	t.Helper()
	s, err := scenarios.Read[scenarios.Scenario]("../../scenarios/first-night.yaml")
	if err != nil {
		t.Fatal(err)
	}
	r, err := Run(s, o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestFirstNight(t *testing.T) {
	r := firstNight(t, Options{})
	for _, j := range r.Jobs {
		if j.State != job.Completed || j.Status != 0 {
			t.Errorf("job %d, %s of %s: %s, status %d (%s)", j.ID, j.Type, j.Client, j.State, j.Status, j.Detail)
		}
		if j.Bytes == 0 || j.Ended <= j.Started {
			t.Errorf("job %d moved %d bytes from %v to %v", j.ID, j.Bytes, j.Started, j.Ended)
		}
	}
	if len(r.Jobs) < 4 {
		t.Errorf("the night has %d jobs", len(r.Jobs))
	}
	for _, f := range r.Failed {
		t.Error(f)
	}
}

func TestTracesAreIdentical(t *testing.T) {
	var plain, again, codec, other bytes.Buffer
	a := firstNight(t, Options{Trace: &plain})
	firstNight(t, Options{Trace: &again})
	c := firstNight(t, Options{Trace: &codec, Codec: true})
	d := firstNight(t, Options{Trace: &other, Seed: 99, SeedSet: true})
	if !bytes.Equal(plain.Bytes(), again.Bytes()) {
		t.Error("two runs with one seed differ")
	}
	if a.TraceHash != c.TraceHash || !bytes.Equal(plain.Bytes(), codec.Bytes()) {
		t.Error("the trace depends on the wire codec")
	}
	if a.TraceHash == d.TraceHash {
		t.Error("another seed gives the same trace")
	}
}
