package virtual

import (
	"fmt"
	"testing"
	"time"

	"capstan/scenarios"
)

// night is a scenario of n clients with one job each, half of them to tape.
func night(tb testing.TB, n int) *scenarios.Scenario {
	tb.Helper()
	text := fmt.Sprintf(`
name: night
start: 2026-11-23T18:00:00Z
length: 24h
master: {name: master}
mediaServers: [{name: media1, link: 100Gbps, disk: 10GBps, diskSize: 1000TB}]
clients:
  - {name: "a%%05d", count: %d, data: {files: 50000, bytes: 1GiB}}
  - {name: "b%%05d", count: %d, data: {files: 50000, bytes: 1GiB}}
libraries:
  - name: lib
    host: media1
    slots: 200
    drives: [{name: d1, model: LTO-9}, {name: d2, model: LTO-9}, {name: d3, model: LTO-9}, {name: d4, model: LTO-9}]
    cartridges: {count: 100, prefix: CAP, density: LTO-9}
storageUnits:
  - {name: tape, kind: tape, mediaServer: media1, library: lib, density: LTO-9}
  - {name: disk, kind: disk, mediaServer: media1, path: /backup, maxJobs: 40}
policies:
  - {name: to-tape, clients: ["a*"], paths: [/], storage: tape, retention: 28d, schedules: [{name: full, type: full, frequency: 7d, windows: [{start: "20:00", length: 20h}]}]}
  - {name: to-disk, clients: ["b*"], paths: [/], storage: disk, retention: 28d, schedules: [{name: full, type: full, frequency: 7d, windows: [{start: "20:00", length: 20h}]}]}
`, n/2, n/2)
	s, err := scenarios.Load[scenarios.Scenario]("night.yaml", []byte(text))
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

// BenchmarkNight is a night of clients with one job each, hollow data, the trace
// hashed. Jobs a second of real time, with the machine and the date, are in
// docs/benchmarks.md.
func BenchmarkNight(b *testing.B) {
	for _, n := range []int{100, 1000, 4000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			s := night(b, n)
			for b.Loop() {
				r, err := Run(s, Options{})
				if err != nil {
					b.Fatal(err)
				}
				done := 0
				for _, j := range r.Jobs {
					if j.Status == 0 && j.Done() {
						done++
					}
				}
				if done == 0 {
					b.Fatal("no job ended well")
				}
				b.ReportMetric(float64(done)/r.Real.Seconds(), "jobs/s")
				b.ReportMetric(float64(done), "jobs")
				b.ReportMetric(float64(r.Real/time.Millisecond), "ms")
			}
		})
	}
}
