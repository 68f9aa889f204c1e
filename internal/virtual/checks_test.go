package virtual

import (
	"path/filepath"
	"testing"

	"capstan/internal/expect"
	"capstan/scenarios"
)

// Every scenario in the repository comes out as its file expects; also when
// messages pass the encoding of the wire, when what happens at one instant is
// shuffled, and with other seeds.
func TestScenarios(t *testing.T) {
	files, err := filepath.Glob("../../scenarios/*.yaml")
	if err != nil || len(files) < 7 {
		t.Fatalf("%d scenarios, %v", len(files), err)
	}
	for _, file := range files {
		s, places, err := scenarios.ReadPlaced[scenarios.Scenario](file)
		if err != nil {
			t.Fatal(err)
		}
		t.Run(s.Name, func(t *testing.T) {
			if len(s.Expect) == 0 {
				t.Error("it expects nothing")
			}
			for _, o := range []Options{
				{}, {Codec: true}, {Shuffle: true, SeedSet: true, Seed: 2}, {Shuffle: true, SeedSet: true, Seed: 3}, {Shuffle: true, SeedSet: true, Seed: 4},
			} {
				o.Places = places
				r, err := Run(s, o)
				if err != nil {
					t.Fatal(err)
				}
				for _, f := range r.Failed {
					t.Errorf("seed %d: %v", r.Seed, f)
				}
			}
		})
	}
}

// What is needed only for checks changes nothing of a run.
func TestChecksDoNotDisturb(t *testing.T) {
	with := firstNight(t, Options{})
	s, err := scenarios.Read[scenarios.Scenario]("../../scenarios/first-night.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if !expect.NeedsEvents(s) || !expect.NeedsLogs(s) {
		t.Error("first-night checks neither events nor logs")
	}
	s.Expect = nil
	without, err := Run(s, Options{})
	if err != nil || with.TraceHash != without.TraceHash || with.TraceHash == "" {
		t.Errorf("trace %s with expectations, %s without, %v", with.TraceHash, without.TraceHash, err)
	}
}

// A scenario's directories have the space that it says.
func TestDiskSize(t *testing.T) {
	s, err := scenarios.Read[scenarios.Scenario]("../../scenarios/first-night.yaml")
	if err != nil {
		t.Fatal(err)
	}
	s.MediaServers[0].DiskSize = 100 << 30 // of files1 180, of web1 60 GiB
	s.Expect = []scenarios.Expect{
		{Jobs: "backup", Policy: "files-to-disk", Client: "files1", Status: "129", Count: "at least 1", Detail: "storage unit disk1"},
		{Jobs: "backup", Policy: "all-to-tape", Status: "0", Count: "3"},
	}
	r, err := Run(s, Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range r.Failed {
		t.Error(f)
	}
}
