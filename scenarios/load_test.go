package scenarios

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var rewrite = flag.Bool("rewrite", false, "write the golden files of this test anew")

func TestFirstNight(t *testing.T) {
	s, err := Read[Scenario]("first-night.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if want := time.Date(2026, 11, 23, 18, 0, 0, 0, time.UTC); !s.Start.Equal(want) || s.Length.Std() != 15*time.Hour {
		t.Errorf("start %v for %v; want %v for 15h", s.Start, s.Length, want)
	}
	if diff := cmp.Diff([]string{"files1", "web1"}, s.ClientsOf(&s.Policies[1])); diff != "" {
		t.Errorf("clients of the second policy (-want +got):\n%s", diff)
	}
	want := Window{Days: AllDays, Start: 21 * 60, Length: Duration(9 * time.Hour)}
	if got := s.Policies[0].Schedules[0].Windows[0]; got != want {
		t.Errorf("window %+v; want %+v", got, want)
	}
	if got := s.StorageUnits[1].BlockSize; got != 256<<10 {
		t.Errorf("default block size %v; want 256KiB", got)
	}
	if !s.Policies[0].Active || s.Policies[1].Limits.JobsPerClient != 1 {
		t.Error("defaults of the policies are not filled in")
	}
}

func TestExamples(t *testing.T) {
	for name, load := range map[string]func(string) error{
		"host":    func(f string) error { _, err := Read[Host](f); return err },
		"policy":  func(f string) error { _, err := Read[Policy](f); return err },
		"library": func(f string) error { _, err := Read[Library](f); return err },
	} {
		if err := load(filepath.Join("..", "docs", "examples", name+".yaml")); err != nil {
			t.Error(err)
		}
		if b, err := Schema(name); err != nil || len(b) == 0 {
			t.Errorf("schema of %s: %v", name, err)
		}
	}
	if _, err := Schema("nothing"); err == nil {
		t.Error("there is a schema of nothing")
	}
}

// Each testdata/<kind>-*.yaml is wrong on most of its lines; what Load says
// about it is in the .txt beside it.
func TestMistakes(t *testing.T) {
	files, err := filepath.Glob("testdata/*.yaml")
	if err != nil || len(files) < 5 {
		t.Fatalf("testdata holds %d files (%v)", len(files), err)
	}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		kind, _, _ := strings.Cut(filepath.Base(f), "-")
		err = loadKind(t, kind, filepath.Base(f), text)
		var m Mistakes
		if !errors.As(err, &m) || len(m) == 0 {
			t.Errorf("%s: no mistakes but %v", f, err)
			continue
		}
		golden := strings.TrimSuffix(f, ".yaml") + ".txt"
		if *rewrite {
			if err := os.WriteFile(golden, []byte(m.Error()+"\n"), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), m.Error()+"\n"); diff != "" {
			t.Errorf("%s (-want +got):\n%s", f, diff)
		}
	}
}

// A setting takes the place of a field, also of one that the file has not, and its
// mistakes are told where it was written.
func TestSettings(t *testing.T) {
	value := func(text string) Value {
		v, err := ParseValue("sweep.yaml", text)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	s, places, err := ReadWith[Scenario]("first-night.yaml", []Setting{
		{"libraries[0].slots", value("33")},
		{"policies[all-to-tape].schedules[nightly-full].windows", value(`[{start: "01:00", length: 2h}]`)},
		{"policies[all-to-tape].limits.jobsPerPolicy", value("7")},
		{"clients[web1].data.bytes", value("5GB")},
		{"warmUp", value("1h")},
		{"workload.restores", value("[{clients: [web1], perDay: 3}]")},
	})
	if err != nil {
		t.Fatal(err)
	}
	p := &s.Policies[0]
	if s.Libraries[0].Slots != 33 || p.Schedules[0].Windows[0].Start != 60 || p.Limits.JobsPerPolicy != 7 || p.Limits.JobsPerClient != 1 ||
		s.Clients[1].Data.Bytes != 5e9 || s.WarmUp.Std() != time.Hour || s.Workload.Restores[0].PerDay != 3 {
		t.Errorf("%+v", s)
	}
	if got := places.Of("libraries[0].slots"); got != "sweep.yaml:1:1" {
		t.Errorf("the slots stand in %s", got)
	}
	for _, c := range []struct{ path, value, want string }{
		{"libraries[0].slots", "none", `sweep.yaml:1:1: libraries[0].slots: "none" is wrong; expected a whole number`},
		{"libraries[0].slods", "3", "sweep.yaml:1: libraries[0].slods: the file has no such field"},
		{"libraries[7].slots", "3", "sweep.yaml:1: libraries[7].slots: libraries: there is no element 7; expected 0 to 0"},
		{"libraries[x].slots", "3", `sweep.yaml:1: libraries[x].slots: libraries: no element has the name "x"`},
		{"pools[x].scratch", "true", "sweep.yaml:1: pools[x].scratch: pools: there is no such list in the file"},
		{"libraries[0]slots", "3", `sweep.yaml:1: libraries[0]slots: "libraries[0]slots" is no path of a field`},
		{"policies[0].schedules[0].windows", "[{start: noon}]", `sweep.yaml:1:10: policies[0].schedules[0].windows[0].start: "noon" is no time of day`},
	} {
		_, _, err := ReadWith[Scenario]("first-night.yaml", []Setting{{c.path, value(c.value)}})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s", c.path, err, c.want)
		}
	}
}

func loadKind(t *testing.T, kind, name string, text []byte) error {
	var err error
	switch kind {
	case "host":
		_, err = Load[Host](name, text)
	case "policy":
		_, err = Load[Policy](name, text)
	case "library":
		_, err = Load[Library](name, text)
	case "scenario":
		_, err = Load[Scenario](name, text)
	case "sweep":
		_, err = Load[Sweep](name, text)
	default:
		t.Fatalf("testdata of unknown kind %q", kind)
	}
	return err
}

func TestMissingFile(t *testing.T) {
	if _, err := Read[Policy](filepath.Join(t.TempDir(), "none.yaml")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing file: %v", err)
	}
}

func TestEachClient(t *testing.T) {
	s := Scenario{Clients: []Client{{Name: "db1", Count: 1}, {Name: "web%02d", Count: 3}}}
	var names []string
	for _, c := range s.EachClient() {
		names = append(names, c.Name)
	}
	if diff := cmp.Diff([]string{"db1", "web01", "web02", "web03"}, names); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	p := &Policy{Clients: []string{"web0[12]", "db*", "db1"}}
	if diff := cmp.Diff([]string{"db1", "web01", "web02"}, s.ClientsOf(p)); diff != "" {
		t.Errorf("clients of a policy (-want +got):\n%s", diff)
	}
}

// A count that is refused is not spelt out to look for what else is wrong.
func TestCountOfTooMany(t *testing.T) {
	_, err := Load[Scenario]("many.yaml", []byte(`
name: many
start: 2026-11-23T12:00:00Z
length: 1d
master: {name: master}
mediaServers: [{name: media1}]
clients: [{name: "c%d", count: 2000000000}]
workload: {trace: none.csv, clients: [{clients: ["c*"]}]}
storageUnits: [{name: disk, kind: disk, mediaServer: media1, path: /backup}]
`))
	if err == nil || !strings.Contains(err.Error(), "2000000000 is out of range; expected at most 100000") {
		t.Error(err)
	}
}

func TestBarcodes(t *testing.T) {
	c := Cartridges{Count: 2, Prefix: "CAP", Density: "LTO-8"}
	if diff := cmp.Diff([]string{"CAP001L8", "CAP002L8"}, c.Barcodes()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// What was read can be written, and reads as the same.
func FuzzLoad(f *testing.F) {
	for _, pattern := range []string{"*.yaml", "testdata/*.yaml", "../docs/examples/*.yaml"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			f.Fatal(err)
		}
		for _, name := range files {
			text, err := os.ReadFile(name)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(text)
		}
	}
	f.Add([]byte("a: &x [*x]"))
	f.Add([]byte("{"))
	f.Fuzz(func(t *testing.T, text []byte) {
		fuzzOne[Host](t, text)
		fuzzOne[Policy](t, text)
		fuzzOne[Scenario](t, text)
		if s, err := Load[Sweep]("fuzz", text); err == nil {
			for _, p := range s.Parameters {
				set := []Setting{{Path: p.Path, Value: p.Values[0]}}
				_, _, err := ReadWith[Scenario]("first-night.yaml", set)
				_ = err // whatever it is, it is said
			}
		}
	})
}

// Files of jobs are from other programs: whatever they hold is taken or refused.
func FuzzTrace(f *testing.F) {
	f.Add([]byte("time,client,policy,schedule,bytes,files\n2h,web1,web,full,5,1\n"))
	f.Add([]byte(`[{"type":"backup","state":"completed","client":"web1","bytes":1,"files":0,"queued":"2026-11-23T20:00:00Z"}]`))
	f.Add([]byte("[1"))
	f.Add([]byte("\"a\nb\",\"\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := &reader{file: "fuzz", at: map[string]position{}}
		for _, all := range [][]traced{r.traceCSV("jobs", b), r.traceJSON("jobs", b)} {
			for i := range all {
				if j := &all[i].job; j.Bytes < 0 || j.Files < 1 || j.Files > maxJobFiles || all[i].line < 1 {
					t.Fatalf("took %+v", all[i])
				}
			}
		}
		for _, m := range r.mistakes {
			if m.File != "jobs" || m.Message == "" {
				t.Fatalf("%+v", m)
			}
		}
	})
}

func fuzzOne[T File](t *testing.T, text []byte) {
	v, err := Load[T]("fuzz", text)
	if err != nil {
		return
	}
	written, err := Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	back, err := Load[T]("written", written)
	if err != nil {
		t.Fatalf("wrote what cannot be read: %v\n%s", err, written)
	}
	if !reflect.DeepEqual(v, back) {
		t.Fatalf("(-read +read again):\n%s\n%s", cmp.Diff(v, back), written)
	}
}
