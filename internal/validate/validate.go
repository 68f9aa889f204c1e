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
	Progress      func(model string)
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
	size  int  // customers in a replication that make the interval narrow, on average
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

// narrow is the most that an interval's half-width may be of what is expected;
// the short form's runs, a sixth as long, get the wider.
const narrow, narrowShort = 0.02, 0.05

// UsageError says which option is wrong.
type UsageError struct{ error }

func misuse(format string, args ...any) error { return UsageError{fmt.Errorf(format, args...)} }

// Run runs the models. A [UsageError] says that nothing was run.
func Run(o Options) (*Table, error) {
	switch {
	case o.Replications < LeastReplications:
		return nil, misuse("%d replications are too few for an interval: give at least %d", o.Replications, LeastReplications)
	case !(o.Confidence > 0 && o.Confidence < 1):
		return nil, misuse("confidence %v: give a probability below 1, such as 0.99", o.Confidence)
	case !(o.ServiceFactor >= 1):
		return nil, misuse("service factor %v: give 1 or more", o.ServiceFactor)
	}
	chosen := choose(&o)
	if len(chosen) == 0 {
		return nil, misuse("no model is named like %q: there are %s", o.Only, strings.Join(Models(), "; "))
	}
	t := &Table{Replications: o.Replications, Confidence: o.Confidence, Within: narrow, ShortForm: o.Short}
	if o.Short {
		t.Within = narrowShort
	}
	lines := 0
	for _, e := range chosen {
		lines += len(e.lines)
	}
	t.Line = 1 - (1-o.Confidence)/float64(lines)
	for _, e := range chosen {
		if o.Progress != nil {
			o.Progress(e.name)
		}
		values, err := replicate(e, &o)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", e.name, err)
		}
		for i, l := range e.lines {
			t.Results = append(t.Results, t.judge(e, l, values[i]))
		}
	}
	return t, nil
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

// replicate runs the replications of an experiment, several at a time. The values
// are by line, then by replication.
func replicate(e *experiment, o *Options) ([][]float64, error) {
	values := make([][]float64, len(e.lines))
	for i := range values {
		values[i] = make([]float64, o.Replications)
	}
	// How wide an interval of 20 replications comes out varies by a sixth: half as much
	// again as is needed on average.
	size := e.size * 3 / 2
	if o.Short {
		size = e.size / 4
	}
	g := new(errgroup.Group)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for n := range o.Replications {
		g.Go(func() error {
			r := &replication{experiment: e, seed: o.Seed, number: n, size: size, factor: o.ServiceFactor}
			vs, err := e.run(r)
			if err != nil {
				return fmt.Errorf("replication %d: %w", n, err)
			}
			if len(vs) != len(e.lines) {
				return errors.New("it has another number of values than of lines")
			}
			for i, v := range vs {
				values[i][n] = v
			}
			return nil
		})
	}
	return values, g.Wait()
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
