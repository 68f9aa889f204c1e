package mounts

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"capstan/core/dismount"
	"capstan/vtl"
)

// library has cartridges A00001L8, A00002L8 …, and drives d1, d2 …
func library(drives, cartridges int, scale int64) vtl.Config {
	cfg := vtl.Config{Name: "lib", Slots: cartridges, TimeScale: scale}
	for i := range drives {
		cfg.Drives = append(cfg.Drives, vtl.DriveConfig{Name: fmt.Sprintf("d%d", i+1), Model: "LTO-8"})
	}
	for i := range cartridges {
		cfg.Cartridges = append(cfg.Cartridges, vtl.CartridgeConfig{Barcode: fmt.Sprintf("A%05dL8", i+1), Slot: i + 1})
	}
	return cfg
}

func read(t *testing.T, text string) []Request {
	t.Helper()
	requests, err := Read(strings.NewReader(text), "trace.csv")
	if err != nil {
		t.Fatal(err)
	}
	return requests
}

// Two drives whose loads take no time: what is left is who waits for whom, by hand.
// Cartridges 1 to 4 are asked for at 0, 10, 20, 25 and so on; each line of want is
// the drive, the time ready, and a star for a hit.
func TestReplayByHand(t *testing.T) {
	const trace = `time,cartridge,hold_seconds
0,A00001,100
10,A00002,20
20,A00001,10
25,A00003,30
70,A00002,10
200,A00003,10
`
	for _, c := range []struct {
		policy string
		want   []string
		loads  int64
	}{
		// 1 has d1 until 100, 2 has d2 until 30. At 20 cartridge 1 is in use, and its
		// request waits until 100; that does not keep cartridge 3 waiting, which has d2 at 30 until 60. 2 has
		// d2 at 70 until 80. At 100 both drives are free and empty: d2 was not used for longest.
		{"immediate", []string{"d1 0", "d2 10", "d2 100", "d2 30", "d2 70", "d1 200"}, 6},
		// The same until 100, but the drive that has cartridge 1 is d1: a hit. 3 was put out of d2
		// by 2 at 70; at 200 d2, used until 80, makes room again: d1 was used until 110.
		{"lru", []string{"d1 0", "d2 10", "d1 100*", "d2 30", "d2 70", "d2 200"}, 5},
		// 1 is still there at 100. 2 goes home at 95, 1 at 125: at 200 both drives are empty, and d2
		// has not been used for longest.
		{"delay=15s", []string{"d1 0", "d2 10", "d1 100*", "d2 30", "d2 70", "d2 200"}, 5},
	} {
		t.Run(c.policy, func(t *testing.T) {
			p, err := dismount.Parse(c.policy)
			if err != nil {
				t.Fatal(err)
			}
			r, err := Replay(library(2, 4, 0), p, read(t, trace), "trace.csv")
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, s := range r.Served {
				line := fmt.Sprintf("%s %v", s.Drive, s.Ready.Seconds())
				if s.Hit {
					line += "*"
				}
				got = append(got, line)
			}
			if d := cmp.Diff(c.want, got); d != "" {
				t.Errorf("-want +got:\n%s", d)
			}
			// The waits are 0, 0, 80, 5, 0, 0.
			want := Waits{Mean: 85 * time.Second / 6, P50: 0, P90: 80 * time.Second, P95: 80 * time.Second, P99: 80 * time.Second, Max: 80 * time.Second}
			if d := cmp.Diff(want, r.Waits(), cmp.Comparer(func(a, b time.Duration) bool { return (a - b).Abs() < time.Microsecond })); d != "" {
				t.Errorf("waits (-want +got):\n%s", d)
			}
			if r.Loads() != c.loads || r.Hits() != 6-c.loads || r.Span != 210*time.Second {
				t.Errorf("%d loads, %d hits, %v; want %d loads, %d hits, 3m30s", r.Loads(), r.Hits(), r.Span, c.loads, 6-c.loads)
			}
		})
	}
}

// With the library's own times a hit saves the unload, both moves and the load.
func TestReplayTakesTheLibrarysTime(t *testing.T) {
	const trace = "time,cartridge,hold_seconds\n0,A00001,10\n600,A00001,10\n1200,A00002,10\n"
	wait := func(p dismount.Policy) (waits []time.Duration, r *Result) {
		r, err := Replay(library(1, 2, 1), p, read(t, trace), "trace.csv")
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range r.Served {
			waits = append(waits, s.Ready-s.At)
		}
		return waits, r
	}
	once, r := wait(dismount.Immediate)
	if once[0] < 15*time.Second || once[1] < 15*time.Second || r.Loads() != 3 || r.Robot.Loads != 6 {
		t.Errorf("at once: waits %v, %d loads, %d moves", once, r.Loads(), r.Robot.Loads)
	}
	lru, r := wait(dismount.LRU)
	if lru[0] != once[0] || lru[1] != 0 || lru[2] < once[2]+20*time.Second || r.Loads() != 2 || r.Robot.Loads != 3 {
		t.Errorf("lru: waits %v, at once %v; %d loads, %d moves", lru, once, r.Loads(), r.Robot.Loads)
	}
	if busy := r.Drives[0].Busy; busy <= 0 || busy >= r.Span || r.Robot.Busy <= 0 {
		t.Errorf("the drive was busy for %v, the robot for %v of %v", busy, r.Robot.Busy, r.Span)
	}
}

// Whatever is asked for: a cartridge is in one place, a drive has one, no more are
// in use than there are drives, who asks first for a cartridge has it first, and every request that is no hit is a load.
func TestReplayProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		drives := rapid.IntRange(1, 4).Draw(t, "drives")
		policy := rapid.SampledFrom([]dismount.Policy{dismount.Immediate, dismount.LRU, dismount.Policy(time.Second), dismount.Policy(90 * time.Second)}).Draw(t, "policy")
		scale := rapid.SampledFrom([]int64{0, 1, 10}).Draw(t, "scale")
		var requests []Request
		at := time.Duration(0)
		for i := range rapid.IntRange(1, 40).Draw(t, "requests") {
			at += time.Duration(rapid.IntRange(0, 100).Draw(t, "gap")) * time.Second
			requests = append(requests, Request{
				At: at, Line: i + 2, Cartridge: fmt.Sprintf("A%05d", rapid.IntRange(1, 6).Draw(t, "cartridge")),
				Hold: time.Duration(rapid.IntRange(0, 200).Draw(t, "hold")) * time.Second,
			})
		}
		r, err := Replay(library(drives, 6, scale), policy, requests, "trace.csv")
		if err != nil {
			t.Fatal(err)
		}
		if r.Loads()+r.Hits() != int64(len(requests)) {
			t.Fatalf("%d loads and %d hits of %d requests", r.Loads(), r.Hits(), len(requests))
		}
		if policy == dismount.Immediate && r.Hits() > 0 {
			t.Fatalf("%d hits, where nothing stays", r.Hits())
		}
		last := map[string]time.Duration{}
		for i, s := range r.Served {
			if s.Ready < s.At || s.Ended < s.Ready+s.Hold || s.Ready < last[s.Cartridge] {
				t.Fatalf("request %d: %+v, the cartridge's last use ended at %v", i, s, last[s.Cartridge])
			}
			last[s.Cartridge] = s.Ended
			if s.Ended == s.Ready {
				continue // it had the drive for no time
			}
			mounted := 1
			for j, o := range r.Served {
				if i == j || s.Ready < o.Ready || s.Ready >= o.Ended {
					continue
				}
				mounted++
				if o.Drive == s.Drive {
					t.Fatalf("requests %d and %d have drive %s at %v", i, j, s.Drive, s.Ready)
				}
			}
			if mounted > drives {
				t.Fatalf("%d cartridges are used in %d drives at %v", mounted, drives, s.Ready)
			}
		}
	})
}

func TestMistakesNameTheLine(t *testing.T) {
	const titles = "time,cartridge,hold_seconds\n"
	for _, c := range []struct{ text, want string }{
		{"", "t.csv:1: no requests"},
		{titles, "t.csv:1: no requests"},
		{"0,A00001,1\n", `t.csv:1: the first line is "0,A00001,1"`},
		{titles + "0,A00001\n", "t.csv:2: 2 fields"},
		{titles + "x,A00001,1\n", `t.csv:2: time "x": expected seconds`},
		{titles + "0,A00001,1\n-1,A00001,1\n", `t.csv:3: time "-1"`},
		{titles + "5,A00001,1\n4,A00001,1\n", "t.csv:3: time 4 is before that of line 2"},
		{titles + "0,,1\n", "t.csv:2: no cartridge"},
		{titles + "0,A00001,NaN\n", `t.csv:2: hold_seconds "NaN"`},
		{titles + "0,A00001,1e99\n", `t.csv:2: hold_seconds "1e99"`},
		{titles + "0,A00001,1\n2026-01-01T00:00:00Z,A00001,1\n", "t.csv:3: time \"2026-01-01T00:00:00Z\": the lines before have another form"},
		{titles + "0,\"A00001,1\n", "t.csv:2:"},
		{titles + "x,A,1\ny,A,1\n", "t.csv:3:"},
	} {
		_, err := Read(strings.NewReader(c.text), "t.csv")
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %v, want %s", c.text, err, c.want)
		}
	}
	_, err := Replay(library(1, 1, 0), dismount.LRU, read(t, titles+"0,A00001,1\n1,B00001,1\n"), "t.csv")
	if err == nil || !strings.Contains(err.Error(), `t.csv:3: library lib has no cartridge "B00001"`) {
		t.Errorf("an unknown cartridge: %v", err)
	}
}

func TestCalendarTimes(t *testing.T) {
	got := read(t, "time,cartridge,hold_seconds\n# a remark\n2026-11-23T18:00:00Z,A00001,1.5\n2026-11-23T20:00:00+01:00, A00002 ,0\n")
	want := []Request{{0, "A00001", 1500 * time.Millisecond, 3}, {time.Hour, "A00002", 0, 4}}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
}

func FuzzRead(f *testing.F) {
	f.Add("time,cartridge,hold_seconds\n0,A00001,1\n# x\n1.5,\"A\",2e3\n")
	f.Add("time,cartridge,hold_seconds\n2026-11-23T18:00:00Z,A00001,1\n")
	f.Add("time,cartridge,hold_seconds\n0,\"A\n")
	f.Fuzz(func(t *testing.T, text string) {
		requests, err := Read(strings.NewReader(text), "t.csv")
		if err == nil && len(requests) == 0 {
			t.Error("no requests, and no mistake")
		}
		for i, q := range requests {
			if q.Cartridge == "" || q.Hold < 0 || i > 0 && q.At < requests[i-1].At {
				t.Errorf("request %d: %+v", i, q)
			}
		}
	})
}

// Spreadsheets write a byte order mark, and lines that end with CR LF.
func TestReadOfASpreadsheet(t *testing.T) {
	got := read(t, "\ufefftime,cartridge,hold_seconds\r\n5,A00001,10\r\n")
	want := []Request{{At: 5 * time.Second, Cartridge: "A00001", Hold: 10 * time.Second, Line: 2}}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
}
