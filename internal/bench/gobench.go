package main

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// goFigure is a figure of one of Go's benchmarks in the tree.
type goFigure struct {
	what    string // for people
	pkg     string
	bench   string // its name, as -bench takes it
	unit    string // of the figure in the benchmark's output
	target  float64
	atLeast bool // else at most
}

// goFigures are those that the document shows. A second figure of the same run
// has the same benchmark.
var goFigures = []goFigure{
	{"virtual kernel: ns an event with 1 000 tasks (333 are 3 million events/s)", "./sim", "BenchmarkSleep1000", "ns/op", 333, false},
	{"virtual kernel: allocations an event", "./sim", "BenchmarkSleep1000", "allocs/op", 0, false},
	{"virtual world: ns a call between roles, codec and trace off", "./sim", "BenchmarkCall/plain", "ns/op", 1000, false},
	{"night of 1 000 clients, hollow data, trace hashed: jobs/s", "./internal/virtual", "BenchmarkNight/1000", "jobs/s", 8000, true},
	{"night of 10 000 clients, ten media servers: jobs/s", "./internal/virtual", "BenchmarkNight/10000", "jobs/s", 0, true},
	{"60 nights of 1 000 clients, no digest: jobs/s (6 083 are a year in a minute)", "./internal/virtual", "BenchmarkYear/60", "jobs/s", 6083, true},
	{"the same: bytes of memory kept for each finished job", "./internal/virtual", "BenchmarkYear/60", "bytes/job", 1024, false},
	{"data between hosts (TLS), MB/s", "./hw/port", "BenchmarkData/between_hosts", "MB/s", 0, true},
	{"the same, Go's TLS alone, MB/s", "./hw/port", "BenchmarkData/TLS_alone", "MB/s", 0, true},
	{"data within a host (Unix socket), MB/s", "./hw/port", "BenchmarkData/within_a_host", "MB/s", 0, true},
	{"ring between two processes, MB/s", "./hw/ring", "BenchmarkTwoProcesses", "MB/s", 0, true},
}

// repeats is how often each benchmark runs; the best counts.
const repeats = 3

func goBenchmarks(ctx context.Context, doc *document) error {
	outputs := map[string]string{}
	for _, f := range goFigures {
		key := f.pkg + " " + f.bench
		if _, done := outputs[key]; done {
			continue
		}
		pattern := "^" + strings.ReplaceAll(f.bench, "/", "$/^") + "$"
		say("%s", key)
		out, err := command(ctx, "go", "test", "-run", "^$", "-bench", pattern, "-benchmem", "-count", strconv.Itoa(repeats), f.pkg)
		if err != nil {
			return err
		}
		outputs[key] = out
	}
	for _, f := range goFigures {
		best, err := f.best(outputs[f.pkg+" "+f.bench])
		if err != nil {
			return err
		}
		doc.goRows = append(doc.goRows, goRow{f, best})
	}
	return nil
}

// best is the best of the figures in the output of a benchmark.
func (f *goFigure) best(out string) (float64, error) {
	re := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(f.bench) + `(?:-\d+)?\s.*?([\d.e+]+) ` + regexp.QuoteMeta(f.unit) + `(?:\s|$)`)
	found := re.FindAllStringSubmatch(out, -1)
	if len(found) == 0 {
		return 0, fmt.Errorf("%s printed no %s:\n%s", f.bench, f.unit, out)
	}
	var best float64
	for i, m := range found {
		v, err := strconv.ParseFloat(m[1], 64)
		if err != nil {
			return 0, err
		}
		if i == 0 || f.atLeast == (v > best) {
			best = v
		}
	}
	return best, nil
}
