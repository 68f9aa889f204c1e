// Package validate runs models that have closed forms (package queueing) on the
// code that runs in simulations and in production — nbrb's queue with nbemm behind
// it, the virtual library's robot, the flows of the virtual world — and compares.
//
// An experiment is run as independent replications, each in a world of its own,
// with streams of random numbers of its own, one for each entity and purpose. The
// first tenth of each is warm-up and not counted. By Student's t, the means of the
// replications give an interval; what is expected must be in it. As a table has
// many lines, each is judged at 1-(1-P)/m (Bonferroni): a table of m lines,
// none of which is wrong, has with probability P, at least, no line outside.
// (The bound is Student's for normal means; these are means over thousands of customers.)
// And the interval must be narrow, or it would accept everything.
//
// Every run also checks, exactly, Little's law and the utilisation law.
package validate

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"strings"

	"golang.org/x/sync/errgroup"
	"gonum.org/v1/gonum/stat"
	"gonum.org/v1/gonum/stat/distuv"
)

// Options say what is run.
type Options struct {
	Seed          uint64
	Replications  int     // at least 20
	Confidence    float64 // that a table without a mistake is accepted
	Short         bool    // fewer models, shorter runs, wider intervals
	Only          string  // models whose name or component contains it; "" is all
	ServiceFactor float64 // services take so much longer than is stated: whether a mistake is found

	// Customers and Lines are told, while it goes on, how many customers of all have
	// been served, and the lines of a model as soon as they and all before them are
	// known. Both may be nil; neither is called twice at a time.
	Customers func(done, all int)
	Lines     func([]Result)
}

// LeastReplications is how many make an interval that can be trusted.
const LeastReplications = 20

// Verdict is what is said of a line.
type Verdict string

// The verdicts.
const (
	OK      Verdict = "ok"
	Outside Verdict = "outside"  // what is expected is outside the interval
	TooWide Verdict = "too wide" // the interval says too little
)

// Result is one line of the table.
type Result struct {
	Model     string
	What      string
	On        string // what of Capstan was run
	Expected  float64
	Simulated float64
	Half      float64 // half the width of the interval of Simulated, at the table's confidence
	Relative  float64 // half the width of the interval at 99 % for the line by itself, over Expected
	Verdict   Verdict
}

// Table is what came out.
type Table struct {
	Results      []Result
	Replications int
	Confidence   float64
	Line         float64 // the confidence of each line's interval
	Within       float64 // the most that Relative may be
	ShortForm    bool
}

// Wrong are the lines that are not accepted.
func (t *Table) Wrong() (wrong []Result) {
	for _, r := range t.Results {
		if r.Verdict != OK {
			wrong = append(wrong, r)
		}
	}
	return wrong
}

// experiment is one model.
type experiment struct {
	name  string
	on    string
	short bool // part of the short form
	size  int  // customers in a replication: 20 such make intervals of 2 %, on average
	lines []line
	run   func(r *replication) ([]float64, error) // a value for each line
}

// line is one value of a model.
type line struct {
	what     string
	expected float64
}

// experiments are all models, for a mean service of s. What runs has mean service
// 1; the expected values are right if s is 1.
func experiments(s float64) []*experiment {
	var all []*experiment
	for _, list := range [][]*experiment{queues(s), networks(s), robots(s), links(s)} {
		all = append(all, list...)
	}
	return all
}

// Models are the names of the models.
func Models() (names []string) {
	for _, e := range experiments(1) {
		names = append(names, e.name)
	}
	return names
}

// narrow is the most that an interval's half-width may be of what is expected; the
// short form, whose runs are little more than a third as long, gets the wider.
const narrow, narrowShort = 0.03, 0.05

// UsageError says which option is wrong.
type UsageError struct{ error }

func misuse(format string, args ...any) error { return UsageError{fmt.Errorf(format, args...)} }

// check says what is wrong with the options.
func (o *Options) check() error {
	switch {
	case o.Replications < LeastReplications:
		return misuse("%d replications are too few for an interval: give at least %d", o.Replications, LeastReplications)
	case !(o.Confidence > 0 && o.Confidence < 1):
		return misuse("confidence %v: give a probability below 1, such as 0.99", o.Confidence)
	case !(o.ServiceFactor >= 1):
		return misuse("service factor %v: give 1 or more", o.ServiceFactor)
	case len(choose(o)) == 0:
		return misuse("no model is named like %q: there are %s", o.Only, strings.Join(Models(), "; "))
	}
	return nil
}

// Chosen are the lines that the options choose, without what is simulated.
func Chosen(o Options) (lines []Result) {
	for _, e := range choose(&o) {
		for _, l := range e.lines {
			lines = append(lines, Result{Model: e.name, What: l.what, On: e.on, Expected: l.expected})
		}
	}
	return lines
}

// Run runs the models, as many replications at a time as there are processors. A
// [UsageError] says that nothing was run; if ctx ends, the table has the models that
// were known by then, and what runs is left to itself.
func Run(ctx context.Context, o Options) (*Table, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	t := &Table{Replications: o.Replications, Confidence: o.Confidence, Within: narrow, ShortForm: o.Short}
	if o.Short {
		t.Within = narrowShort
	}
	t.Line = 1 - (1-o.Confidence)/float64(len(Chosen(o)))
	samples, all := o.samples()
	ran, failed := replicate(ctx, samples, &o)
	done, known := 0, 0
	for {
		select {
		case s, more := <-ran:
			if !more {
				return t, <-failed
			}
			s.missing--
			if done += s.size; o.Customers != nil {
				o.Customers(done, all)
			}
			for ; known < len(samples) && samples[known].missing == 0; known++ {
				lines := t.judgeAll(samples[known])
				if t.Results = append(t.Results, lines...); o.Lines != nil {
					o.Lines(lines)
				}
			}
		case <-ctx.Done():
			return t, ctx.Err()
		}
	}
}

func choose(o *Options) (chosen []*experiment) {
	word := strings.ToLower(o.Only)
	for _, e := range experiments(1) {
		if (e.short || !o.Short) && (strings.Contains(strings.ToLower(e.name), word) || strings.Contains(e.on, word)) {
			chosen = append(chosen, e)
		}
	}
	return chosen
}

// sample is the replications of an experiment.
type sample struct {
	*experiment
	size    int         // customers in one of them
	values  [][]float64 // by line, then by replication
	missing int         // replications that have not ended
}

// samples are what is to be run, and how many customers all of it has.
func (o *Options) samples() (samples []*sample, customers int) {
	for _, e := range choose(o) {
		// Four ninths of the customers would do for 3 %, four twenty-fifths for 5 %, on
		// average; how wide an interval of 20 replications comes out varies by a sixth, so
		// there are half as many again.
		s := &sample{experiment: e, size: e.size * 2 / 3, values: make([][]float64, len(e.lines)), missing: o.Replications}
		if o.Short {
			s.size = e.size / 4
		}
		for i := range s.values {
			s.values[i] = make([]float64, o.Replications)
		}
		samples, customers = append(samples, s), customers+s.size*o.Replications
	}
	return samples, customers
}

// replicate runs all replications, in order, several at a time. A sample comes out of
// the channel as often as one of its replications has ended. When none is left to
// run, or one has failed, the channel is closed, and the error is in the other.
func replicate(ctx context.Context, samples []*sample, o *Options) (ran <-chan *sample, failed <-chan error) {
	out, end := make(chan *sample), make(chan error, 1)
	g, ctx := errgroup.WithContext(ctx)
	processors := make(chan struct{}, runtime.GOMAXPROCS(0))
	g.Go(func() error {
		for _, s := range samples {
			for n := range o.Replications {
				select {
				case processors <- struct{}{}:
				case <-ctx.Done():
					return ctx.Err()
				}
				g.Go(func() error {
					defer func() { <-processors }()
					if err := s.replicate(n, o); err != nil {
						return fmt.Errorf("%s: replication %d: %w", s.name, n, err)
					}
					select {
					case out <- s:
						return nil
					case <-ctx.Done():
						return ctx.Err()
					}
				})
			}
		}
		return nil
	})
	go func() {
		end <- g.Wait()
		close(out)
	}()
	return out, end
}

// replicate runs one replication.
func (s *sample) replicate(n int, o *Options) error {
	vs, err := s.run(&replication{experiment: s.experiment, seed: o.Seed, number: n, size: s.size, factor: o.ServiceFactor})
	if err != nil {
		return err
	}
	if len(vs) != len(s.lines) {
		return errors.New("it has another number of values than of lines")
	}
	for i, v := range vs {
		s.values[i][n] = v
	}
	return nil
}

// judgeAll judges the lines of an experiment.
func (t *Table) judgeAll(s *sample) (results []Result) {
	for i, l := range s.lines {
		results = append(results, t.judge(s.experiment, l, s.values[i]))
	}
	return results
}

// judge compares a line with its replications' values.
func (t *Table) judge(e *experiment, l line, values []float64) Result {
	mean, deviation := stat.MeanStdDev(values, nil)
	n := float64(len(values))
	student := distuv.StudentsT{Mu: 0, Sigma: 1, Nu: n - 1}
	spread := deviation / math.Sqrt(n)
	r := Result{
		Model: e.name, What: l.what, On: e.on, Expected: l.expected, Simulated: mean,
		Half:     student.Quantile(1-(1-t.Line)/2) * spread,
		Relative: student.Quantile(.995) * spread / l.expected,
		Verdict:  OK,
	}
	// Written so that what is not a number is not accepted.
	if !(math.Abs(mean-l.expected) <= r.Half) {
		r.Verdict = Outside
	} else if !(r.Relative <= t.Within) {
		r.Verdict = TooWide
	}
	return r
}
