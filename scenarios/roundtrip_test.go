package scenarios

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

var aName = rapid.StringMatching(`[A-Za-z0-9][A-Za-z0-9_.-]{0,20}`)

// aPath draws paths with everything that YAML could take for its own.
var aPath = rapid.Custom(func(t *rapid.T) string {
	odd := rapid.SampledFrom([]string{"a", "home", " ", ": ", " #", "'", `"`, "\\", "~", "&x", "*", "- ", "{", "]", "é", "日本", "\t", "%", "!", "|", ">"})
	s := "/"
	for _, part := range rapid.SliceOfN(odd, 0, 5).Draw(t, "parts") {
		s += part
	}
	return s
})

func aDuration(t *rapid.T, low, high time.Duration, label string) Duration {
	return Duration(rapid.Int64Range(int64(low), int64(high)).Draw(t, label))
}

var aSchedule = rapid.Custom(func(t *rapid.T) Schedule {
	s := Schedule{
		Type:      "full",
		Frequency: aDuration(t, time.Minute, 1000*day, "frequency"),
		Retention: aDuration(t, 0, 1000*day, "retention"),
	}
	for range rapid.IntRange(1, 3).Draw(t, "windows") {
		s.Windows = append(s.Windows, Window{
			Days:   Days(rapid.Uint8Range(1, uint8(AllDays)).Draw(t, "days")),
			Start:  Clock(rapid.IntRange(0, 24*60-1).Draw(t, "start")),
			Length: aDuration(t, time.Minute, week, "length"),
		})
	}
	return s
})

var aPolicy = rapid.Custom(func(t *rapid.T) *Policy {
	p := &Policy{
		Name:      aName.Draw(t, "name"),
		Active:    rapid.Bool().Draw(t, "active"),
		Clients:   rapid.SliceOfN(aName, 1, 3).Draw(t, "clients"),
		Paths:     rapid.SliceOfN(aPath, 1, 3).Draw(t, "paths"),
		Storage:   aName.Draw(t, "storage"),
		Priority:  rapid.IntRange(0, 99999).Draw(t, "priority"),
		Retention: aDuration(t, time.Second, 10000*day, "retention"),
		Timezone:  rapid.SampledFrom([]string{"UTC", "Europe/Berlin", "America/New_York"}).Draw(t, "timezone"),
		Limits: Limits{
			JobsPerPolicy: rapid.IntRange(0, 999).Draw(t, "jobsPerPolicy"),
			JobsPerClient: rapid.IntRange(0, 999).Draw(t, "jobsPerClient"),
		},
	}
	if rapid.Bool().Draw(t, "has pool") {
		p.Pool = aName.Draw(t, "pool")
		p.Exclude = []string{"*.tmp", "#*#", "[a-z]*"}
	}
	for i := range rapid.IntRange(0, 3).Draw(t, "schedules") {
		s := aSchedule.Draw(t, "schedule")
		s.Name = fmt.Sprintf("s%d", i)
		p.Schedules = append(p.Schedules, s)
	}
	return p
})

func anAmount(t *rapid.T, label string) Amount {
	return Amount(rapid.Float64Range(1e-9, 1e15).Draw(t, label))
}

var aLaw = rapid.Custom(func(t *rapid.T) *Law {
	simple := []Law{
		{Law: "constant", Value: anAmount(t, "value")}, {Law: "uniform", To: anAmount(t, "to"), From: 1e-10}, {Law: "exponential", Mean: anAmount(t, "mean")},
		{Law: "log-normal", Median: anAmount(t, "median"), Sigma: Amount(rapid.Float64Range(.01, 10).Draw(t, "sigma"))},
		{Law: "pareto", From: anAmount(t, "from"), Alpha: Amount(rapid.Float64Range(.01, 10).Draw(t, "alpha")), AtMost: 1e16},
		{Law: "listed", Values: []Amount{0, anAmount(t, "listed"), 3}},
	}
	l := rapid.SampledFrom(simple).Draw(t, "law")
	if rapid.Bool().Draw(t, "mixed") {
		l = Law{Law: "mixture", Parts: []Part{{Weight: anAmount(t, "weight"), Of: l}, {Weight: 0, Of: simple[0]}}, AtLeast: 1e-9}
	}
	return &l
})

var aWorkload = rapid.Custom(func(t *rapid.T) (w Workload) {
	for range rapid.IntRange(0, 2).Draw(t, "clients") {
		w.Clients = append(w.Clients, ClientLoad{
			Clients: []string{"w*"}, Root: aPath.Draw(t, "root"), Bytes: aLaw.Draw(t, "bytes"), Nightly: aLaw.Draw(t, "nightly"),
			Growth: anAmount(t, "growth"), Transient: Amount(rapid.Float64Range(.001, 1).Draw(t, "transient")),
		})
	}
	if rapid.Bool().Draw(t, "restores") {
		w.Restores = []RestoreLoad{{Clients: []string{"*"}, PerDay: anAmount(t, "perDay"), Hours: make([]Amount, 24), Age: aLaw.Draw(t, "age")}}
		w.Restores[0].Hours[7] = 1
	}
	if len(w.Restores) == 0 && rapid.Bool().Draw(t, "jobs") {
		w.Jobs = []TracedJob{{At: aDuration(t, 0, 15*time.Hour, "at"), Client: "web1", Policy: "drawn", Bytes: 5, Files: 1}}
	}
	return w
})

// Load(Marshal(x)) is x.
func TestPolicyRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) { sameAgain(t, aPolicy.Draw(t, "policy")) })
}

func TestScenarioRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, err := Read[Scenario]("first-night.yaml")
		if err != nil {
			t.Fatal(err)
		}
		s.Seed = rapid.Int64Min(0).Draw(t, "seed")
		s.Start = time.Unix(rapid.Int64Range(0, 4e9).Draw(t, "start"), 0).UTC()
		s.Libraries[0].Timing = Timing(rapid.Int64Min(0).Draw(t, "timing"))
		s.Libraries[0].MailSlots = rapid.IntRange(0, 1000).Draw(t, "mailSlots")
		s.Clients[0].Data.ChangeRate = rapid.Float64Range(0, 1).Draw(t, "changeRate")
		s.Clients[1].Link = Rate(rapid.Int64Range(1000, 1<<50).Draw(t, "link"))
		s.Pools = []Pool{{Name: "Scratch", Scratch: rapid.Bool().Draw(t, "scratch")}}
		s.Faults = []Fault{{At: aDuration(t, 0, 15*time.Hour, "at"), Do: "kill", Target: "media1/bptm"}}
		s.Restores[0].Paths = rapid.SliceOfN(aPath, 1, 3).Draw(t, "paths")
		s.WarmUp, s.Replications = aDuration(t, 0, 14*time.Hour, "warmUp"), rapid.IntRange(1, 10000).Draw(t, "replications")
		s.Workload = aWorkload.Draw(t, "workload")
		p := aPolicy.Draw(t, "policy")
		p.Name, p.Clients, p.Storage, p.Pool = "drawn", []string{"w*"}, "tape1", "Scratch"
		s.Policies = append(s.Policies, *p)
		sameAgain(t, s)
	})
}

func TestHostRoundTrip(t *testing.T) {
	h, err := Read[Host]("../docs/examples/host.yaml")
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(t *rapid.T) {
		h := *h
		h.StateDir = aPath.Draw(t, "stateDir")
		h.Hosts = rapid.MapOfN(aName, rapid.SampledFrom([]string{"192.0.2.1:1", "[::1]:1556"}), 1, 5).Draw(t, "hosts")
		h.Devices = []Device{
			{Name: "robot-1", Kind: "changer", Serial: "L" + rapid.StringMatching(`[A-Z0-9]{0,10}`).Draw(t, "library"), Driver: "sg", Compression: true, Protection: true, Quirks: []string{"no-dvcid"}},
			{
				// The drive's serial number begins with another letter than the
				// changer's, for two devices with one number are refused.
				Name: "drive-1", Kind: "drive", Library: "robot-1", Path: aPath.Draw(t, "path"), Serial: rapid.StringMatching(`(D[A-Z0-9]{0,9})?`).Draw(t, "serial"),
				Element: rapid.IntRange(1, 65535).Draw(t, "element"), Driver: "st", Compression: rapid.Bool().Draw(t, "compression"), KeyFile: aPath.Draw(t, "key"),
			},
		}
		sameAgain(t, &h)
	})
}

func sameAgain[T File](t *rapid.T, v *T) {
	text, err := Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	back, err := Load[T]("written", text)
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	if diff := cmp.Diff(v, back); diff != "" {
		t.Fatalf("(-written +read):\n%s\n%s", diff, text)
	}
}
