package workload

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"capstan/scenarios"
)

func near(t *testing.T, what string, got, want, part float64) {
	t.Helper()
	if math.Abs(got-want) > part*math.Abs(want) {
		t.Errorf("%s is %.6g, want %.6g within %g %%", what, got, want, 100*part)
	}
}

func TestFunctions(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		x := rapid.Float64Range(1e-300, 1e300).Draw(r, "x")
		if got, want := Ln(x), math.Log(x); math.Abs(got-want) > 4e-15*max(1, math.Abs(want)) {
			r.Errorf("ln %g is %.17g, want %.17g", x, got, want)
		}
		y := rapid.Float64Range(-600, 600).Draw(r, "y")
		if got, want := Exp(y), math.Exp(y); math.Abs(got-want) > 1e-12*want {
			r.Errorf("exp %g is %.17g, want %.17g", y, got, want)
		}
		p := rapid.Float64Range(1e-12, 1-1e-12).Draw(r, "p")
		if got, want := normal(p), math.Sqrt2*math.Erfinv(2*p-1); math.Abs(got-want) > 1e-4*max(1, math.Abs(want)) {
			r.Errorf("normal quantile of %g is %.17g, want %.17g", p, got, want)
		}
	})
	// Tables: Φ(1.959963984540054) is 0.975, Φ(-3.090232306167813) 0.001.
	near(t, "normal(.975)", normal(.975), 1.959963984540054, 1e-14)
	near(t, "normal(.001)", normal(.001), -3.090232306167813, 1e-14)
}

// mean integrates a law's quantile function, finer towards the end where the tail is.
func mean(l *scenarios.Law) (sum float64) {
	const n = 10_000
	whole := func(from, to float64) (sum float64) {
		for i := range n {
			sum += Quantile(l, from+(to-from)*(float64(i)+.5)/n)
		}
		return sum / n * (to - from)
	}
	rest := 1.0
	for range 12 {
		sum += whole(1-rest, 1-rest/10)
		rest /= 10
	}
	return sum
}

func TestLaws(t *testing.T) {
	two := scenarios.Law{Law: "mixture", Parts: []scenarios.Part{
		{Weight: 1, Of: scenarios.Law{Law: "constant", Value: 10}}, {Weight: 3, Of: scenarios.Law{Law: "uniform", From: 20, To: 40}},
	}}
	for _, c := range []struct {
		law  scenarios.Law
		mean float64
		q9   float64 // the value below which nine of ten are
	}{
		{scenarios.Law{Law: "constant", Value: 5}, 5, 5},
		{scenarios.Law{Law: "uniform", From: 2, To: 4}, 3, 3.8},
		{scenarios.Law{Law: "exponential", Mean: 10}, 10, 10 * math.Log(10)},
		{scenarios.Law{Law: "log-uniform", From: 1, To: 100}, 99 / math.Log(100), math.Pow(100, .9)},
		{scenarios.Law{Law: "log-normal", Mean: 47.1e9, Sigma: 1.4}, 47.1e9, 47.1e9 * math.Exp(-.98+1.4*1.2815515655446004)},
		{scenarios.Law{Law: "log-normal", Median: 18e9, Sigma: 1.2}, 18e9 * math.Exp(.72), 18e9 * math.Exp(1.2*1.2815515655446004)},
		{scenarios.Law{Law: "pareto", From: 1, Alpha: 3}, 1.5, math.Pow(10, 1./3)},
		{scenarios.Law{Law: "pareto", Mean: 30, Alpha: 3}, 30, 20 * math.Pow(10, 1./3)},
		{two, .25*10 + .75*30, 20 + 20*.65/.75},
		{scenarios.Law{Law: "listed", Values: []scenarios.Amount{1, 2, 3, 10}}, 4, 10},
		{scenarios.Law{Law: "uniform", From: 0, To: 10, AtLeast: 5}, 6.25, 9},
		{scenarios.Law{Law: "uniform", From: 0, To: 10, AtMost: 5}, 3.75, 5},
	} {
		near(t, c.law.Law+"'s mean", mean(&c.law), c.mean, 2e-3)
		near(t, c.law.Law+"'s 90 %", Quantile(&c.law, .9), c.q9, 1e-12)
	}
}

func TestPoisson(t *testing.T) {
	for _, m := range []float64{.1, 2.5, 40, 900} {
		sum, squares := 0., 0.
		const n = 20_000
		for i := range n {
			k := float64(poisson(m, (float64(i)+.5)/n))
			sum, squares = sum+k, squares+k*k
		}
		near(t, "the mean", sum/n, m, .01)
		near(t, "the variance", squares/n-sum/n*sum/n, m, .02)
	}
}

// What the survey published comes out of what a workload leaves out, by the laws and
// from drawn clients.
func TestSurvey(t *testing.T) {
	full, incremental := 0., 0.
	for i := range kinds {
		full += kinds[i].share * mean(&kinds[i].bytes)
		incremental += kinds[i].share * mean(&kinds[i].bytes) * mean(&kinds[i].change)
	}
	near(t, "a full backup", full, surveyFull, .01)
	near(t, "an incremental backup", incremental, surveyIncremental, .01)
	near(t, "a restore", mean(&restoreLaw), surveyRestore, .01)

	const n = 20_000
	var sum Day
	small, alike := 0, 0
	for i := range n {
		d := NewClient(1, fmt.Sprintf("c%d", i), &scenarios.ClientLoad{}).Day(1)
		sum.Bytes, sum.Files = sum.Bytes+d.Bytes, sum.Files+d.Files
		sum.ChangedBytes, sum.ChangedFiles = sum.ChangedBytes+d.ChangedBytes, sum.ChangedFiles+d.ChangedFiles
		switch r := float64(d.Bytes) / float64(d.ChangedBytes); {
		case r <= 1:
			small++
		case r <= 1.5:
			alike++
		}
	}
	near(t, "bytes of a full", float64(sum.Bytes)/n, surveyFull, .03)
	near(t, "files of a full", float64(sum.Files)/n, surveyFullFiles, .03)
	near(t, "bytes of an incremental", float64(sum.ChangedBytes)/n, surveyIncremental, .03)
	near(t, "files of an incremental", float64(sum.ChangedFiles)/n, surveyChangedFiles, .03)
	near(t, "fulls no larger than incrementals", float64(small)/n, .29, .03)
	near(t, "fulls up to 1.5 times as large", float64(alike)/n, .21, .03)
}

func TestGrowth(t *testing.T) {
	steady := NewClient(1, "a", &scenarios.ClientLoad{Growth: .4})
	near(t, "a year's growth", float64(steady.Day(365).Bytes)/float64(steady.Day(0).Bytes), 1.4, 1e-6)
	one := scenarios.Law{Law: "constant", Value: 1}
	const n = 400
	bursts := 0.
	for i := range n {
		c := NewClient(1, time.Duration(i).String(), &scenarios.ClientLoad{Bursts: 2, Burst: &one})
		bursts += math.Log2(float64(c.Day(365).Bytes) / float64(c.Day(0).Bytes))
		for d := 1; d < 365; d++ {
			if c.Day(d).Bytes > c.Day(d-1).Bytes+1 && c.Day(d).ChangedBytes < c.Day(d).Bytes-c.Day(d-1).Bytes {
				t.Fatal("what has grown has not changed")
			}
		}
	}
	near(t, "bursts in a year", bursts/n, 2, .1)
}

func TestFailures(t *testing.T) {
	days := scenarios.Law{Law: "constant", Value: 2}
	c := NewClient(1, "a", &scenarios.ClientLoad{Misconfigured: 365. / 20, Fixed: &days, Transient: .05})
	ill, dies, begins := 0, 0, 0
	const n = 20_000
	for i := range n {
		at := float64(i) / 2
		if c.Ill(at) {
			ill++
			if !c.Ill(at-.5) || i == 0 {
				begins++
			}
		}
		if _, yes := c.Dies(Try{"p", "full", i, 1, 1}); yes {
			dies++
		}
	}
	near(t, "times of misconfiguration", float64(ill)/n, 1-math.Exp(-2./20), .1)
	near(t, "tries that die", float64(dies)/n, .05, .1)
	if length := float64(ill) / 2 / float64(begins); length < 1.9 || length > 2.6 {
		t.Errorf("a misconfiguration lasts %.2f days, want 2 and a little", length)
	}
}

func scenario(t *testing.T, clients, drives string) *scenarios.Scenario {
	t.Helper()
	s, err := scenarios.Load[scenarios.Scenario]("s.yaml", []byte(`
name: s
start: 2026-11-23T18:00:00Z
length: 60d
master: {name: master}
mediaServers: [{name: media1}]
clients: [{name: "a%02d", count: `+clients+`}]
workload:
  clients: [{clients: ["*"], growth: 30%, bursts: 3, transient: 5%, misconfigured: 6, nightly: {law: uniform, from: 0.5, to: 1.5}}]
  restores: [{clients: ["*"], perDay: 4}]
libraries:
  - {name: lib, host: media1, slots: 20, drives: [{name: "d%d", count: `+drives+`, model: LTO-8}], cartridges: {count: 20, density: LTO-8}}
storageUnits: [{name: tape, kind: tape, mediaServer: media1, library: lib, density: LTO-8}]
`))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Common random numbers: a drive more changes no draw, and a client more none of
// another client.
func TestDrawsAreEachForItself(t *testing.T) {
	draws := func(s *scenarios.Scenario, seed Source) map[string]any {
		all := map[string]any{}
		for _, c := range s.EachClient() {
			one := NewClient(seed, c.Name, &s.Workload.Clients[0])
			var days []any
			for d := range 60 {
				_, dies := one.Dies(Try{"p", "full", d, 1, 2})
				days = append(days, one.Day(d), one.Ill(float64(d)+.5), dies)
			}
			all[c.Name] = days
		}
		return all
	}
	few, many := scenario(t, "10", "2"), scenario(t, "11", "8")
	a, b := draws(few, 7), draws(many, 7)
	delete(b, "a11")
	if diff := cmp.Diff(a, b); diff != "" {
		t.Errorf("a drive and a client more change what others draw:\n%s", diff)
	}
	if cmp.Equal(a, draws(few, 8)) {
		t.Error("another seed draws the same")
	}

	before, after := Restores(7, few), Restores(7, many)
	if len(before) != len(after) || len(before) < 150 || len(before) > 330 {
		t.Fatalf("%d and %d restores in 60 days, want about 240, and as many", len(before), len(after))
	}
	taken := 0
	for i := range before {
		if after[i].Client == "a11" {
			taken++
			after[i].Client = before[i].Client
		}
	}
	if diff := cmp.Diff(before, after); diff != "" || taken == 0 || taken > len(before)/4 {
		t.Errorf("the new client took %d of %d restores, and others differ:\n%s", taken, len(before), diff)
	}
}

func TestRestoresComeByDay(t *testing.T) {
	s := scenario(t, "5", "1")
	day, size := 0, 0.
	all := Restores(3, s)
	for i, r := range all {
		if at := s.Start.Add(r.At); at.Hour() >= 8 && at.Hour() < 18 {
			day++
		}
		if r.At < 24*time.Hour || r.At > s.Length.Std() || r.Bytes < 1 || r.Age < 0 || i > 0 && r.At < all[i-1].At {
			t.Errorf("restore %+v", r)
		}
		size += float64(r.Bytes)
	}
	near(t, "the part of restores by day", float64(day)/float64(len(all)), 100./114, .08)
}
