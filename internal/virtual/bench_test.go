package virtual

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"testing"
	"time"

	"capstan/core/rt"
	"capstan/scenarios"
	"capstan/sim"
)

// nights is the year's scenario with another number of clients and nights, and
// with a media server, its four drives and its disk for each thousand clients.
func nights(tb testing.TB, clients, n int) *scenarios.Scenario {
	tb.Helper()
	const file = "testdata/year.yaml"
	text, err := os.ReadFile(file)
	if err != nil {
		tb.Fatal(err)
	}
	s, err := scenarios.Load[scenarios.Scenario](file, text)
	if err != nil {
		tb.Fatal(err)
	}
	for i := range s.Clients {
		s.Clients[i].Count = clients / len(s.Clients)
	}
	s.Length = scenarios.Duration(time.Duration(n) * 24 * time.Hour)
	scale(s, max(clients/1000, 1))
	return s
}

// scale gives the scenario n times its media servers, in groups of their units.
func scale(s *scenarios.Scenario, n int) {
	if n == 1 {
		return
	}
	groups := make([]scenarios.Group, len(s.StorageUnits))
	for i := range groups {
		groups[i] = scenarios.Group{Name: s.StorageUnits[i].Name, Choice: "priority"}
	}
	server, library, units := s.MediaServers[0], s.Libraries[0], s.StorageUnits
	s.MediaServers, s.Libraries, s.StorageUnits, s.Groups = nil, nil, nil, groups
	for k := range n {
		tag := strconv.Itoa(k)
		m, l := server, library
		m.Name, l.Name, l.Host = "media"+tag, "lib"+tag, "media"+tag
		l.Drives = slices.Clone(l.Drives)
		for i := range l.Drives {
			l.Drives[i].Name = l.Name + l.Drives[i].Name
		}
		l.Cartridges.Prefix = fmt.Sprintf("C%02d", k)
		s.MediaServers, s.Libraries = append(s.MediaServers, m), append(s.Libraries, l)
		for i, u := range units {
			u.Name, u.MediaServer = u.Name+tag, m.Name
			if u.Library != "" {
				u.Library = l.Name
			}
			groups[i].Units = append(groups[i].Units, u.Name)
			s.StorageUnits = append(s.StorageUnits, u)
		}
	}
}

// benchmarkNight is one night of clients with one job each, hollow data.
func benchmarkNight(b *testing.B, clients int, quiet bool) {
	SpendMemory()
	s := nights(b, clients, 1)
	b.ReportAllocs()
	for b.Loop() {
		r, err := Run(s, Options{Quiet: quiet})
		if err != nil {
			b.Fatal(err)
		}
		done := 0
		for _, j := range r.Jobs {
			if j.Status == 0 && j.Done() {
				done++
			}
		}
		if done < clients*9/10 {
			b.Fatalf("of %d jobs %d ended well", clients, done)
		}
		b.ReportMetric(float64(done)/r.Real.Seconds(), "jobs/s")
		b.ReportMetric(float64(done), "jobs")
		b.ReportMetric(float64(r.Events)/float64(done), "events/job")
	}
}

// BenchmarkNight is a night with its trace hashed. Jobs a second of real time, with
// the machine and the date, are in docs/benchmarks.md.
func BenchmarkNight(b *testing.B) {
	for _, n := range []int{100, 1000, 10000} {
		b.Run(strconv.Itoa(n), func(b *testing.B) { benchmarkNight(b, n, false) })
	}
}

// BenchmarkQuietNight is the same without the digest of the trace.
func BenchmarkQuietNight(b *testing.B) {
	for _, n := range []int{100, 1000, 10000} {
		b.Run(strconv.Itoa(n), func(b *testing.B) { benchmarkNight(b, n, true) })
	}
}

// BenchmarkYear is a thousand clients for many nights, images expiring after two
// weeks. What is kept of a finished job is what the heap grows by for each in the
// last third of the time: of 60 nights, when images expire, cartridges have come round
// and old jobs' logs go.
func BenchmarkYear(b *testing.B) {
	for _, n := range []int{3, 60, 365} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			for b.Loop() {
				benchmarkNights(b, nights(b, 1000, n))
			}
		})
	}
}

func benchmarkNights(b *testing.B, s *scenarios.Scenario) {
	SpendMemory()
	began := time.Now()
	l := newLoad(s, s.Seed)
	w, err := New(config(s, l), sim.Options{Seed: 1, Start: rt.FromStd(s.Start), NoEvents: true, NoHash: true})
	if err != nil {
		b.Fatal(err)
	}
	defer w.Close()
	l.w = w
	length := s.Length.Std()
	if err := w.World.Run(length * 2 / 3); err != nil {
		b.Fatal(err)
	}
	measuring := time.Now()
	jobs, err := w.collect(s, &Result{})
	if err != nil {
		b.Fatal(err)
	}
	early := len(jobs.Jobs)
	jobs = nil
	before := measure()
	began = began.Add(time.Since(measuring))
	if err := w.World.Run(length); err != nil {
		b.Fatal(err)
	}
	took := time.Since(began)
	after := measure()
	if jobs, err = w.collect(s, &Result{}); err != nil {
		b.Fatal(err)
	}
	done := 0
	for _, j := range jobs.Jobs {
		if j.Status == 0 && j.Done() {
			done++
		}
	}
	if late := len(jobs.Jobs) - early; late > 0 {
		b.ReportMetric(float64(after-before)/float64(late), "bytes/job")
	}
	b.ReportMetric(float64(done)/took.Seconds(), "jobs/s")
	b.ReportMetric(float64(done), "jobs")
	b.ReportMetric(float64(len(jobs.Jobs)-done), "failed")
}

// measure is the bytes of the heap that are in use.
func measure() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
