package validate

import (
	"context"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// quick chooses models of the short form that do not take long: on each component
// some; with -short, which is run with the race detector, on one.
func quick(t *testing.T) string {
	if testing.Short() {
		return "ρ 0.5, moves"
	}
	return "ρ 0.5"
}

func run(t *testing.T, o Options) *Table {
	t.Helper()
	o.Replications, o.Confidence, o.Short, o.Only = LeastReplications, .99, true, quick(t)
	table, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return table
}

// Services that take 5 % longer than is stated must be found: every line whose
// expected value they move by more than the interval's width is rejected, and the
// simulation, which is right about longer services too, agrees with what the formulas then say.
func TestLongerServicesAreRejected(t *testing.T) {
	const factor = 1.05
	then := map[string]float64{}
	for _, e := range experiments(factor) {
		for _, l := range e.lines {
			then[e.name+l.what] = l.expected
		}
	}
	table := run(t, Options{Seed: 3, ServiceFactor: factor})
	rejected := 0
	for _, r := range table.Results {
		want := then[r.Model+r.What]
		if math.Abs(r.Simulated-want) > r.Half {
			t.Errorf("%s, %s: %v±%v with longer services, the formula says %v", r.Model, r.What, r.Simulated, r.Half, want)
		}
		if r.Verdict == Outside {
			rejected++
		} else if math.Abs(want-r.Expected) > 2*r.Half {
			t.Errorf("%s, %s: accepted at %v±%v, expected %v: with longer services it is %v", r.Model, r.What, r.Simulated, r.Half, r.Expected, want)
		}
	}
	t.Logf("%d of %d lines rejected", rejected, len(table.Results))
	if rejected*3 < 2*len(table.Results) {
		t.Errorf("only %d of %d lines were rejected", rejected, len(table.Results))
	}
}

// The same seed gives the same table, however the replications are spread over processors.
func TestSameSeedSameTable(t *testing.T) {
	o := Options{Seed: 9, Replications: LeastReplications, Confidence: .9, Short: true, ServiceFactor: 1, Only: "moves"}
	a, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	b, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	for i := range a.Results {
		if a.Results[i] != b.Results[i] {
			t.Errorf("%+v\n%+v", a.Results[i], b.Results[i])
		}
	}
}

// Lines are told in the table's order, each once, and customers up to all of them.
func TestToldWhileItGoesOn(t *testing.T) {
	var told []Result
	last, all := 0, 0
	o := Options{
		Seed: 9, Replications: LeastReplications, Confidence: .9, Short: true, ServiceFactor: 1, Only: "moves",
		Lines: func(lines []Result) { told = append(told, lines...) },
		Customers: func(done, of int) {
			if done <= last || done > of {
				t.Errorf("%d customers of %d, after %d", done, of, last)
			}
			last, all = done, of
		},
	}
	table, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(table.Results, told); diff != "" || last != all {
		t.Errorf("%d customers of %d; told are not the table's lines:\n%s", last, all, diff)
	}
	for i, c := range Chosen(o) {
		if r := told[i]; c.Model != r.Model || c.What != r.What || c.On != r.On || c.Expected != r.Expected {
			t.Errorf("chosen was %+v, told is %+v", c, r)
		}
	}
}

// What is known when it is interrupted is in the table, and what runs is not waited for.
func TestInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	table, err := Run(ctx, Options{
		Seed: 9, Replications: LeastReplications, Confidence: .9, Short: true, ServiceFactor: 1, Only: "ρ 0.5",
		Lines: func([]Result) { cancel() },
	})
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("it ended with %v", err)
	}
	if first := choose(&Options{Only: "ρ 0.5", Short: true})[0]; len(table.Results) < len(first.lines) || table.Results[0].Model != first.name || len(table.Wrong()) > 0 {
		t.Errorf("the table has %+v", table.Results)
	}
}

func TestJudge(t *testing.T) {
	values := []float64{}
	for i := range 20 {
		values = append(values, 1+.01*float64(i%2))
	}
	table := Table{Line: .99, Within: .02}
	for _, c := range []struct {
		expected float64
		values   []float64
		want     Verdict
	}{
		{1.005, values, OK},
		{1.1, values, Outside},
		{math.NaN(), values, Outside},
		{1, append([]float64{math.NaN()}, values[1:]...), Outside},
		{5, append([]float64{0, 10}, append([]float64{0, 10}, []float64{0, 10}...)...), TooWide},
	} {
		if got := table.judge(&experiment{}, line{"x", c.expected}, c.values); got.Verdict != c.want {
			t.Errorf("expected %v, values %v: %s, not %s (%+v)", c.expected, c.values, got.Verdict, c.want, got)
		}
	}
}

func TestBadOptions(t *testing.T) {
	good := Options{Replications: 20, Confidence: .99, ServiceFactor: 1}
	for what, change := range map[string]func(o *Options){
		"replications": func(o *Options) { o.Replications = 3 },
		"confidence":   func(o *Options) { o.Confidence = 1 },
		"factor":       func(o *Options) { o.ServiceFactor = .9 },
		"no model":     func(o *Options) { o.Only = "nothing has this name" },
	} {
		o := good
		change(&o)
		if _, err := Run(t.Context(), o); err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestAreaCountsItsWindow(t *testing.T) {
	a := area{from: 10, to: 20}
	a.add(5, 1)   // 1 from 5
	a.add(15, 2)  // 3 from 15
	a.add(30, -3) // none from 30
	if a.whole != 10+3*15 || a.window != 5+3*5 || a.busy != 25 || a.mean() != 2 {
		t.Errorf("whole %d, window %d, busy %d, mean %v", a.whole, a.window, a.busy, a.mean())
	}
}
