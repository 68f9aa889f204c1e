package validate

import (
	"context"
	"errors"
	"fmt"
	"runtime"
)

// outcome is what one run came to.
type outcome struct {
	model, number int
	values        []float64 // by line
	err           error
}

// Run runs the plan on all processors. After each run done is called; for each
// model, in order, finished is called with its lines as soon as it and all before it
// are done. Neither is called by two goroutines at a time. The table has what
// finished was told, also when there is an error: the cause of ctx's end, that of a run which could not be
// run to its end, or that of finished.
func (p *Plan) Run(ctx context.Context, done func(), finished func([]Result) error) (*Table, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	outcomes := p.start(ctx)
	t := p.table()
	values := make([][][]float64, len(p.chosen))
	left := make([]int, len(p.chosen))
	for m, e := range p.chosen {
		values[m], left[m] = make([][]float64, len(e.lines)), p.o.Replications
		for l := range values[m] {
			values[m][l] = make([]float64, p.o.Replications)
		}
	}
	for t.Models < len(p.chosen) {
		var o outcome
		select {
		case o = <-outcomes:
		case <-ctx.Done(): // a run in progress cannot be stopped: it is left, and nobody waits for it
			return t, context.Cause(ctx)
		}
		if o.err != nil {
			return t, fmt.Errorf("%s, replication %d: %w", p.chosen[o.model].name, o.number, o.err)
		}
		for l, v := range o.values {
			values[o.model][l][o.number] = v
		}
		left[o.model]--
		done()
		for m := t.Models; m < len(p.chosen) && left[m] == 0; m++ {
			if err := finished(t.judgeModel(p.chosen[m], values[m])); err != nil {
				return t, err
			}
		}
	}
	return t, nil
}

// start starts the runs, model by model, as many at a time as there are processors.
func (p *Plan) start(ctx context.Context) <-chan outcome {
	outcomes := make(chan outcome, p.Runs()) // who is left can still send
	work := make(chan [2]int)
	for range runtime.GOMAXPROCS(0) {
		go func() {
			for w := range work {
				values, err := p.one(w[0], w[1])
				outcomes <- outcome{model: w[0], number: w[1], values: values, err: err}
			}
		}()
	}
	go func() {
		defer close(work)
		for m := range p.chosen {
			for n := range p.o.Replications {
				select {
				case work <- [2]int{m, n}:
				case <-ctx.Done():
					return
				}
			}
		}
	}()
	return outcomes
}

// one makes one run.
func (p *Plan) one(model, number int) ([]float64, error) {
	e := p.chosen[model]
	r := &replication{experiment: e, seed: p.o.Seed, number: number, size: e.size, factor: p.o.ServiceFactor}
	values, err := e.run(r)
	if err == nil && len(values) != len(e.lines) {
		err = errors.New("it has another number of values than of lines")
	}
	return values, err
}
