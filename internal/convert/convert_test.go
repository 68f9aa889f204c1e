package convert_test

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"capstan/core/ltid"
	"capstan/core/nbemm"
	"capstan/core/policy"
	"capstan/internal/convert"
	"capstan/scenarios"
	"capstan/vtl"
)

func load[T scenarios.File](t *testing.T, text string) *T {
	t.Helper()
	v, err := scenarios.Load[T]("test.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func same(t *testing.T, want, got any) {
	t.Helper()
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

func TestPolicy(t *testing.T) {
	p := load[scenarios.Policy](t, `
name: nightly
clients: [web1, web2]
paths: [/home]
exclude: ["*.tmp"]
storage: tapes
pool: Offsite
priority: 7
retention: 14d
timezone: Europe/Berlin
limits: {jobsPerPolicy: 3, jobsPerClient: 2}
schedules:
  - {name: weekly, type: full, frequency: 7d, retention: 90d, windows: [{days: [sat, sun], start: "21:30", length: 9h}]}
  - {name: daily, type: differential, windows: [{start: "00:00", length: 1h}]}
`)
	same(t, policy.Policy{
		Name: "nightly", Active: true, Clients: []string{"web1", "web2"}, Paths: []string{"/home"}, Exclude: []string{"*.tmp"},
		Storage: "tapes", Pool: "Offsite", Priority: 7, Retention: 14 * 24 * time.Hour, Zone: "Europe/Berlin",
		Limits: policy.Limits{JobsPerPolicy: 3, JobsPerClient: 2},
		Schedules: []policy.Schedule{
			{Name: "weekly", Type: policy.Full, Frequency: 7 * 24 * time.Hour, Retention: 90 * 24 * time.Hour, Windows: []policy.Window{
				{Days: []time.Weekday{time.Sunday, time.Saturday}, Start: 21*time.Hour + 30*time.Minute, Length: 9 * time.Hour},
			}},
			{Name: "daily", Type: policy.Differential, Frequency: 24 * time.Hour, Windows: []policy.Window{{Length: time.Hour}}},
		},
	}, convert.Policy(p))
}

// A policy without schedules can be run by hand, and is never due.
func TestPolicyWithoutSchedules(t *testing.T) {
	p := convert.Policy(load[scenarios.Policy](t, "{name: p, clients: [c], paths: [/], storage: s}"))
	s, err := p.Schedule("")
	if err != nil {
		t.Fatal(err)
	}
	if _, _, ok := s.Due(0, 1, time.UTC); ok || s.Type != policy.Full {
		t.Errorf("schedule %+v: due %v; want a full one that is never due", s, ok)
	}
}

func TestUnit(t *testing.T) {
	for _, c := range []struct {
		name string
		in   scenarios.StorageUnit
		want nbemm.StorageUnit
	}{
		{
			"tape",
			scenarios.StorageUnit{Name: "t", Kind: "tape", MediaServer: "m", Library: "l", Density: "LTO-8", BlockSize: 1 << 20, MaxJobs: 5, MaxDrives: 2, Pool: "Default"},
			nbemm.StorageUnit{Name: "t", Kind: nbemm.Tape, MediaServer: "m", Library: "l", Density: "LTO-8", BlockSize: 1 << 20, MaxJobs: 2, FragmentSize: 1 << 40, Pool: nbemm.DefaultPool},
		},
		{
			"disk",
			scenarios.StorageUnit{Name: "d", Kind: "disk", MediaServer: "m", Path: "/b", BlockSize: 256 << 10, FragmentSize: 10 << 30, MaxJobs: 4},
			nbemm.StorageUnit{Name: "d", Kind: nbemm.Disk, MediaServer: "m", Path: "/b", BlockSize: 256 << 10, FragmentSize: 10 << 30, MaxJobs: 4},
		},
		{
			"disk whose fragments would be too large",
			scenarios.StorageUnit{Name: "d", Kind: "disk", FragmentSize: 1 << 50},
			nbemm.StorageUnit{Name: "d", Kind: nbemm.Disk, FragmentSize: 512 << 30},
		},
	} {
		t.Run(c.name, func(t *testing.T) { same(t, c.want, convert.Unit(&c.in)) })
	}
}

func TestGroup(t *testing.T) {
	for choice, rotates := range map[string]bool{"priority": false, "round-robin": true, "failover": false} {
		g := scenarios.Group{Name: "g", Choice: choice, Units: []string{"b", "a"}}
		same(t, nbemm.Group{Name: "g", RoundRobin: rotates, Units: []string{"b", "a"}}, convert.Group(&g))
	}
}

func TestLibrary(t *testing.T) {
	l := load[scenarios.Library](t, `
name: vtl1
slots: 4
mailSlots: 1
robot: {model: SL8500, arms: 2, strings: 2, passThrough: 20s, pick: 900ms}
drives: [{name: d1, model: LTO-8 HH}, {name: d2, model: LTO-9}]
cartridges: {count: 2, density: LTO-8, capacity: 100GB, compression: 2.5, initialized: true, cleaning: 1}
timing: scale 60
`)
	same(t, vtl.Config{
		Name: "vtl1", Robot: "SL8500", Arms: 2, Strings: 2, Slots: 4, ImportExport: 1, TimeScale: 60,
		RobotTimes: vtl.RobotTimes{PassThrough: 20 * time.Second, Pick: 900 * time.Millisecond},
		Drives:     []vtl.DriveConfig{{Name: "d1", Model: "LTO-8 HH"}, {Name: "d2", Model: "LTO-9"}},
		Cartridges: []vtl.CartridgeConfig{
			{Barcode: "CAP001L8", Density: "LTO-8", Capacity: 100e9, Slot: 1, Compression: 250, Initialized: true},
			{Barcode: "CAP002L8", Density: "LTO-8", Capacity: 100e9, Slot: 2, Compression: 250, Initialized: true},
			{Barcode: "CLN001L1", Slot: 3},
		},
	}, convert.Library(l))
	same(t, []string{"d1", "d2"}, convert.DriveNames(l))
}

// TestModels: what the files may name is what the library knows, barcodes included.
func TestModels(t *testing.T) {
	oneof := func(v any, field string) []string {
		f, ok := reflect.TypeOf(v).FieldByName(field)
		if !ok {
			t.Fatalf("%T has no %s", v, field)
		}
		return strings.Split(f.Tag.Get("oneof"), "|")
	}
	var drives, robots, media []string
	for _, m := range vtl.DriveModels {
		drives = append(drives, m.Name)
	}
	for _, m := range vtl.RobotModels {
		robots = append(robots, m.Name)
	}
	for _, m := range vtl.MediumModels {
		media = append(media, m.Density)
		c := scenarios.Cartridges{Count: 1, Prefix: "CAP", Density: m.Density}
		same(t, "CAP001"+m.Suffix, c.Barcodes()[0])
		same(t, m.Density, ltid.Density(c.Barcodes()[0]))
		same(t, "CAP001", ltid.MediaID(c.Barcodes()[0]))
	}
	same(t, drives, oneof(scenarios.Drive{}, "Model"))
	same(t, robots, oneof(scenarios.Robot{}, "Model"))
	same(t, media, oneof(scenarios.Cartridges{}, "Density"))
	same(t, media, oneof(scenarios.StorageUnit{}, "Density"))
}

// A robot that another media server controls is reached by that one.
func TestRobotOfAnotherHost(t *testing.T) {
	for control, want := range map[string]string{"": "media2", "media1": "media1"} {
		ls := convert.Hardware(&scenarios.Host{Name: "media2", Devices: []scenarios.Device{
			{Name: "robot1", Kind: "changer", Control: control}, {Name: "drive1", Kind: "drive", Library: "robot1", Serial: "A"},
		}})
		if len(ls) != 1 || ls[0].Control != want || !slices.Equal(ls[0].Drives, []string{"drive1"}) {
			t.Errorf("control %q: %+v, want %s to control it", control, ls, want)
		}
	}
}
