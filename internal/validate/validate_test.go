package validate

import (
	"math"
	"runtime"
	"slices"
	"strings"
	"testing"
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
	return runPlan(t, o)
}

// runPlan runs all that options choose, to the end.
func runPlan(t *testing.T, o Options) *Table {
	t.Helper()
	p, err := NewPlan(o)
	if err != nil {
		t.Fatal(err)
	}
	table, err := p.Run(t.Context(), Listener{More: func(int) {}, Done: func() {}, Finished: func([]Result) error { return nil }})
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
	a := runPlan(t, o)
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(3))
	b := runPlan(t, o)
	for i := range a.Results {
		if a.Results[i] != b.Results[i] {
			t.Errorf("%+v\n%+v", a.Results[i], b.Results[i])
		}
	}
}

func TestJudge(t *testing.T) {
	values := []float64{}
	for i := range 20 {
		values = append(values, 1+.01*float64(i%2))
	}
	table := Table{Line: .99, Within: .02, Replications: 20}
	for _, c := range []struct {
		expected float64
		values   []float64
		want     Verdict
	}{
		{1.005, values, OK},
		{1.1, values, Outside},
		{math.NaN(), values, Outside},
		{1, append([]float64{math.NaN()}, values[1:]...), Outside},
		{5, slices.Repeat([]float64{0, 10}, 10), TooWide},
	} {
		if got := table.judge(&experiment{lines: []line{{"x", c.expected}}}, 0, c.values); got.Verdict != c.want {
			t.Errorf("expected %v, values %v: %s, not %s (%+v)", c.expected, c.values, got.Verdict, c.want, got)
		}
	}
}

// A line is said to find longer services only if they would move what is expected
// beyond its interval and the means' own spread; and if no line of a model finds what
// is wanted, none of them is accepted.
func TestModelsMustFind(t *testing.T) {
	values := []float64{}
	for i := range 20 {
		values = append(values, 1+.01*float64(i%2)) // the interval at .99 is 1.005±.0033, what is found nearly always .006 away
	}
	model := func(per float64) *experiment {
		e := &experiment{name: "m", lines: []line{{"x", 1.005}, {"deaf", 1.005}}}
		for _, factor := range Longer {
			e.longer = append(e.longer, &experiment{lines: []line{{"x", 1.005 + per*(factor-1)}, {"deaf", 1.005}}})
		}
		return e
	}
	for _, c := range []struct {
		per     float64
		finds   float64
		verdict Verdict
		found   [len(Longer)]int
	}{
		{1, 1.01, OK, [...]int{1, 1, 1, 1, 1}},
		{.4, 1.02, OK, [...]int{0, 1, 1, 1, 1}},
		{.2, 1.03, TooWide, [...]int{0, 0, 1, 1, 1}},
		{.01, 0, TooWide, [...]int{0, 0, 0, 0, 0}},
	} {
		table := Table{Line: .99, Within: .02, Finds: 1.02, Replications: 20}
		rs := table.judgeModel(model(c.per), [][]float64{values, values})
		if rs[0].Finds != c.finds || rs[1].Finds != 0 || rs[0].Verdict != c.verdict || rs[1].Verdict != c.verdict || table.Find() != c.found {
			t.Errorf("%v: %+v, in all %v; want finds %v, %s, %v", c.per, rs, table.Find(), c.finds, c.verdict, c.found)
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
		if _, err := NewPlan(o); err == nil || !strings.Contains(err.Error(), what) {
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
