package validate

import (
	"context"
	"errors"
	"fmt"
	"runtime"
)

// Listener is told how far a plan is, by one goroutine at a time.
type Listener struct {
	More     func(runs int)             // the first replications of a model have shown that it needs so many more than were planned
	Done     func()                     // a run is done
	Finished func(lines []Result) error // a model and all before it are done
}

// outcome is what one run came to.
type outcome struct {
	model, number int
	values        []float64 // by line
	err           error
}

// sample is the replications of a model.
type sample struct {
	begun, done, goal int
	values            [][]float64 // by line, then by replication
}

func (s *sample) grow(goal int) {
	for l := range s.values {
		s.values[l] = append(s.values[l], make([]float64, goal-s.goal)...)
	}
	s.goal = goal
}

// Run runs the plan on all processors. The table has what Finished was told, also
// when there is an error: the cause of ctx's end, that of a run which could not be
// run to its end, or that of Finished.
func (p *Plan) Run(ctx context.Context, listener Listener) (*Table, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	work := make(chan [2]int)
	defer close(work)
	outcomes := p.start(ctx, work)
	t := p.table()
	models := make([]sample, len(p.chosen))
	for m, e := range p.chosen {
		models[m].values = make([][]float64, len(e.lines))
		models[m].grow(t.Replications)
	}
	for t.Models < len(models) {
		next, give := 0, work
		for next < len(models) && models[next].begun == models[next].goal {
			next++
		}
		if next == len(models) {
			next, give = 0, nil
		}
		select {
		case give <- [2]int{next, models[next].begun}:
			models[next].begun++
		case o := <-outcomes:
			if err := p.take(t, models, o, listener); err != nil {
				return t, err
			}
		case <-ctx.Done(): // a run in progress cannot be stopped: it is left, and nobody waits for it
			return t, context.Cause(ctx)
		}
	}
	return t, nil
}

// take takes what a run came to, and judges each model that is done with all before it.
func (p *Plan) take(t *Table, models []sample, o outcome, listener Listener) error {
	if o.err != nil {
		return fmt.Errorf("%s, replication %d: %w", p.chosen[o.model].name, o.number, o.err)
	}
	m := &models[o.model]
	for l, v := range o.values {
		m.values[l][o.number] = v
	}
	m.done++
	if m.done == t.Replications {
		if goal := t.needed(p.chosen[o.model], m.values); goal > m.goal {
			listener.More(goal - m.goal)
			m.grow(goal)
		}
	}
	listener.Done()
	for t.Models < len(models) && models[t.Models].done == models[t.Models].goal {
		if err := listener.Finished(t.judgeModel(p.chosen[t.Models], models[t.Models].values)); err != nil {
			return err
		}
	}
	return nil
}

// start starts as many workers as there are processors; they end with ctx or work.
func (p *Plan) start(ctx context.Context, work <-chan [2]int) <-chan outcome {
	outcomes := make(chan outcome)
	for range runtime.GOMAXPROCS(0) {
		go func() {
			for w := range work {
				values, err := p.one(w[0], w[1])
				select {
				case outcomes <- outcome{model: w[0], number: w[1], values: values, err: err}:
				case <-ctx.Done():
				}
			}
		}()
	}
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
