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
//
// And the interval must be narrow, or it would accept everything. How narrow is
// measured by what a line would find: how much longer services could take and be
// refused nearly always. A queue with much to do shows 1 % of service as 10 % of wait, so its
// runs need not be as many as a relative width that is the same for all would have them.
// How many they are is decided, for each model, by the spread of its first
// replications, and by nothing that comes later: so the interval is exact, with Student's factor and
// the spread of those (Stein, "A two-sample test for a linear hypothesis whose power is
// independent of the variance", Annals of Mathematical Statistics 16, 1945).
//
// Every run also checks, exactly, Little's law and the utilisation law.
package validate

import (
	"fmt"
	"math"
	"strings"

	"gonum.org/v1/gonum/stat"
	"gonum.org/v1/gonum/stat/distuv"
)

// Options say what is run.
type Options struct {
	Seed          uint64
	Replications  int     // the first of each model, at least 20; 0 is 30, in the short form 20
	Confidence    float64 // that a table without a mistake is accepted
	Short         bool    // fewer models, fewer replications, wider intervals
	Only          string  // models whose name or component contains it; "" is all
	ServiceFactor float64 // services take so much longer than is stated: whether a mistake is found
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
	Runs      int     // replications
	Finds     float64 // the least of Longer that this line refuses with probability .99; 0: none
	Verdict   Verdict
}

// Table is what came out, of those models that were run to their end.
type Table struct {
	Results      []Result
	Models       int
	Replications int // the first of each model
	Confidence   float64
	Line         float64 // the confidence of each line's interval
	Within       float64 // the most that Relative may be
	Finds        float64 // the most that the least Finds of a model's lines may be; 0: anything
}

// Wrong are the lines that are not accepted.
func Wrong(results []Result) (wrong []Result) {
	for _, r := range results {
		if r.Verdict != OK {
			wrong = append(wrong, r)
		}
	}
	return wrong
}

// Find is how many models find, by one of their lines, services that take longer by each factor of [Longer].
func (t *Table) Find() (n [len(Longer)]int) {
	least := map[string]float64{}
	for _, r := range t.Results {
		if r.Finds > 0 && (least[r.Model] == 0 || r.Finds < least[r.Model]) {
			least[r.Model] = r.Finds
		}
	}
	for _, finds := range least {
		for i, factor := range Longer {
			if finds <= factor {
				n[i]++
			}
		}
	}
	return n
}

// experiment is one model.
type experiment struct {
	name  string
	on    string
	short bool // part of the short form
	size  int  // customers in a replication: so many that about the first replications are enough
	lines []line
	run   func(r *replication) ([]float64, error) // a value for each line

	longer []*experiment // the same, if services take as much longer as Longer says
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

// Longer are the factors by which services could take longer, of which it is said
// whether a line would find them.
var Longer = [...]float64{1.01, 1.02, 1.03, 1.05, 1.1}

// What the forms demand. Of each line: that its interval's half-width is at most so
// much of what is expected. Of each model, in the full form, that one of its lines
// at least finds services that take longer by a factor.
const narrow, narrowShort, finds = 0.04, 0.05, 1.02

// sure is the normal distribution's quantile for the probability with which a line finds what it is said to find, .99.
const sure = 2.326

// UsageError says which option is wrong.
type UsageError struct{ error }

func misuse(format string, args ...any) error { return UsageError{fmt.Errorf(format, args...)} }

// Plan is what will be run.
type Plan struct {
	o      Options
	chosen []*experiment
	lines  int
}

// NewPlan checks options. Its errors are of the type [UsageError].
func NewPlan(o Options) (*Plan, error) {
	if o.Replications == 0 {
		o.Replications = LeastReplications * 3 / 2
		if o.Short {
			o.Replications = LeastReplications
		}
	}
	switch {
	case o.Replications < LeastReplications:
		return nil, misuse("%d replications are too few for an interval: give at least %d", o.Replications, LeastReplications)
	case !(o.Confidence > 0 && o.Confidence < 1):
		return nil, misuse("confidence %v: give a probability below 1, such as 0.99", o.Confidence)
	case !(o.ServiceFactor >= 1):
		return nil, misuse("service factor %v: give 1 or more", o.ServiceFactor)
	}
	p := &Plan{o: o, chosen: choose(&o)}
	if len(p.chosen) == 0 {
		return nil, misuse("no model is named like %q: there are %s", o.Only, strings.Join(Models(), "; "))
	}
	for _, e := range p.chosen {
		p.lines += len(e.lines)
	}
	return p, nil
}

// Runs is how many runs there are at least.
func (p *Plan) Runs() int { return len(p.chosen) * p.o.Replications }

// Lines are the lines of the table to be, with nothing of what comes out.
func (p *Plan) Lines() (lines []Result) {
	for _, e := range p.chosen {
		for _, l := range e.lines {
			lines = append(lines, Result{Model: e.name, What: l.what, On: e.on, Expected: l.expected})
		}
	}
	return lines
}

// table is the table before anything is run.
func (p *Plan) table() *Table {
	t := &Table{
		Replications: p.o.Replications, Confidence: p.o.Confidence, Within: narrow, Finds: finds,
		Line: 1 - (1-p.o.Confidence)/float64(p.lines),
	}
	if p.o.Short {
		t.Within, t.Finds = narrowShort, 0
	}
	return t
}

func choose(o *Options) (chosen []*experiment) {
	word := strings.ToLower(o.Only)
	var longer [len(Longer)][]*experiment
	for i, factor := range Longer {
		longer[i] = experiments(factor)
	}
	for n, e := range experiments(1) {
		for i := range longer {
			e.longer = append(e.longer, longer[i][n])
		}
		if (e.short || !o.Short) && (strings.Contains(strings.ToLower(e.name), word) || strings.Contains(e.on, word)) {
			chosen = append(chosen, e)
		}
	}
	return chosen
}

// judgeModel compares a model with its replications' values, by line, and adds its lines to the table.
func (t *Table) judgeModel(e *experiment, values [][]float64) []Result {
	results := make([]Result, len(e.lines))
	found := t.Finds == 0
	for i := range e.lines {
		results[i] = t.judge(e, i, values[i])
		found = found || results[i].Finds > 0 && results[i].Finds <= t.Finds
	}
	for i := range results {
		if !found && results[i].Verdict == OK {
			results[i].Verdict = TooWide
		}
	}
	t.Results = append(t.Results, results...)
	t.Models++
	return results
}

// most is how many times its first replications a model may need.
const most = 20

// student is Student's t of the first replications.
func (t *Table) student() distuv.StudentsT {
	return distuv.StudentsT{Mu: 0, Sigma: 1, Nu: float64(t.Replications - 1)}
}

// needed is how many replications make a model's intervals as narrow as they must
// be, by the spread of its first ones; no more than these if it would be too many.
func (t *Table) needed(e *experiment, values [][]float64) int {
	narrow, find := 0.0, math.Inf(1)
	if t.Finds == 0 {
		find = 0
	}
	for i, l := range e.lines {
		deviation := stat.StdDev(values[i][:t.Replications], nil)
		narrow = max(narrow, math.Pow(t.student().Quantile(.995)*deviation/(l.expected*t.Within), 2))
		for f, longer := range e.longer {
			if Longer[f] <= t.Finds {
				find = min(find, math.Pow((t.student().Quantile(1-(1-t.Line)/2)+sure)*deviation/(longer.lines[i].expected-l.expected), 2))
			}
		}
	}
	n := max(narrow, find) + 1
	if !(n <= float64(most*t.Replications)) {
		return t.Replications
	}
	return max(t.Replications, int(n))
}

// judge compares a line with its replications' values.
func (t *Table) judge(e *experiment, i int, values []float64) Result {
	l := e.lines[i]
	mean := stat.Mean(values, nil)
	student := t.student()
	spread := stat.StdDev(values[:t.Replications], nil) / math.Sqrt(float64(len(values)))
	r := Result{
		Model: e.name, What: l.what, On: e.on, Expected: l.expected, Simulated: mean,
		Half:     student.Quantile(1-(1-t.Line)/2) * spread,
		Relative: student.Quantile(.995) * spread / l.expected,
		Runs:     len(values),
		Verdict:  OK,
	}
	for f, longer := range e.longer {
		if math.Abs(longer.lines[i].expected-l.expected) >= r.Half+sure*spread {
			r.Finds = Longer[f]
			break
		}
	}
	// Written so that what is not a number is not accepted.
	if !(math.Abs(mean-l.expected) <= r.Half) {
		r.Verdict = Outside
	} else if !(r.Relative <= t.Within) {
		r.Verdict = TooWide
	}
	return r
}
