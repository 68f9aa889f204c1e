package validate

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
)

// planOf is a plan of models that are run by functions instead of worlds.
func planOf(t *testing.T, runs ...func(number int) ([]float64, error)) *Plan {
	t.Helper()
	p, err := NewPlan(Options{Confidence: .99, ServiceFactor: 1, Short: true})
	if err != nil {
		t.Fatal(err)
	}
	p.chosen, p.lines = nil, len(runs)
	for i, run := range runs {
		p.chosen = append(p.chosen, &experiment{
			name: string(rune('a' + i)), lines: []line{{"x", 1}},
			run: func(r *replication) ([]float64, error) { return run(r.number) },
		})
	}
	return p
}

func one(int) ([]float64, error) { return []float64{1}, nil }

// A model's lines are told as soon as it and all before it are done, and in order,
// also when a later one is done first.
func TestModelsAreToldInOrder(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(2))
	var later sync.WaitGroup
	later.Add(LeastReplications)
	p := planOf(t, one, func(number int) ([]float64, error) {
		if number == 0 {
			later.Wait() // so this one is done after all of the next
		}
		return one(number)
	}, func(number int) ([]float64, error) {
		defer later.Done()
		return one(number)
	}, one)
	runs, doneAt, told := 0, []int{}, []string{}
	table, err := p.Run(t.Context(), Listener{Done: func() { runs++ }, Finished: func(rs []Result) error {
		told, doneAt = append(told, rs[0].Model), append(doneAt, runs)
		return nil
	}})
	if err != nil || runs != p.Runs() || !slices.Equal(told, []string{"a", "b", "c", "d"}) || len(table.Results) != 4 {
		t.Fatalf("%v; %d of %d runs; told %v, %+v", err, runs, p.Runs(), told, table.Results)
	}
	if doneAt[0] > 2*LeastReplications || doneAt[1] < 3*LeastReplications-1 {
		t.Errorf("told of after %v runs", doneAt)
	}
}

// Who interrupts gets what was done, at once: a run in progress keeps nobody.
func TestInterruptedKeepsWhatIsDone(t *testing.T) {
	never := make(chan struct{})
	defer close(never)
	p := planOf(t, one, func(int) ([]float64, error) { <-never; return one(0) })
	ctx, interrupt := context.WithCancel(t.Context())
	table, err := p.Run(ctx, Listener{Done: func() {}, Finished: func([]Result) error { interrupt(); return nil }})
	if !errors.Is(err, context.Canceled) || table.Models != 1 || len(table.Results) != 1 || table.Results[0].Model != "a" {
		t.Errorf("%v; %+v", err, table)
	}
}

// A run that breaks a law, or a listener that cannot listen, ends all with its error.
func TestErrorsEndTheRun(t *testing.T) {
	broken := errors.New("Little's law")
	p := planOf(t, one, func(number int) ([]float64, error) {
		if number == 7 {
			return nil, broken
		}
		return one(number)
	})
	if _, err := p.Run(t.Context(), Listener{Done: func() {}, Finished: func([]Result) error { return nil }}); !errors.Is(err, broken) || !strings.Contains(err.Error(), "b, replication 7") {
		t.Errorf("%v", err)
	}
	full := errors.New("disk full")
	if table, err := p.Run(t.Context(), Listener{Done: func() {}, Finished: func([]Result) error { return full }}); !errors.Is(err, full) || table.Models != 1 {
		t.Errorf("%v", err)
	}
}

// A model whose first replications are spread too wide gets as many as their spread says,
// whatever the later ones are; one that would need too many gets no more.
func TestSpreadDecidesHowManyRuns(t *testing.T) {
	spread := func(by float64) func(int) ([]float64, error) {
		return func(number int) ([]float64, error) { return []float64{1 + by*float64(number%2*2-1)}, nil }
	}
	p := planOf(t, spread(.01), spread(.1), spread(10))
	runs, planned := 0, p.Runs()
	table, err := p.Run(t.Context(), Listener{
		More: func(n int) { planned += n }, Done: func() { runs++ }, Finished: func([]Result) error { return nil },
	})
	if err != nil || runs != planned {
		t.Fatalf("%v; %d runs, %d planned", err, runs, planned)
	}
	// Student's factor for .99 and 20 values is 2.861, their deviation .1026: (2.861·.1026/.05)² is 34.5.
	for i, want := range []struct {
		runs    int
		verdict Verdict
	}{{20, OK}, {35, OK}, {20, TooWide}} {
		if r := table.Results[i]; r.Runs != want.runs || r.Verdict != want.verdict {
			t.Errorf("%+v, want %+v", r, want)
		}
	}
}
