package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"

	"capstan/internal/validate"
	"capstan/reports"
)

// simValidate are the flags of sim validate.
type simValidate struct {
	o     validate.Options
	quiet bool
}

func newSimValidate() *cobra.Command {
	var f simValidate
	cmd := &cobra.Command{
		Use:   "validate",
		Short: "Compare the simulator with the closed forms of queueing theory",
		Long: `Run models whose answer is known exactly — M/M/c, M/G/1, M/D/c, loss systems,
priorities, vacations, Jackson networks, closed networks, machine repair, processor
sharing — on the code that runs everywhere else, and compare. The column ON says on
which: nbrb's queue with nbemm behind it, called as nbjm calls it; the virtual library's
robot; the flows of the virtual world.

Each model is run as independent replications, whose first tenth is warm-up and is not
counted. FROM and TO are the interval around what was simulated, by Student's t; what is
expected must be in it. As there are many lines, each has an interval wider than one
line needs (Bonferroni), so that a table with no mistake in it is accepted with at least
the probability --confidence. REL ± is half the width of the 99% interval of the line by
itself, over what is expected: at most 4%, in the short form 5%. RUNS is how many
replications that takes, by the spread of the first ones. FINDS is the power of the line: if services took so much longer than is
stated (1, 2, 3, 5 or 10%), it would be refused with probability 0.99 or more. Each
model must find 2% by one of its lines; the short form does not demand it. Little's law
and the utilisation law are checked in every run, exactly.

A line is written as soon as it and those before it are known. All processors are used,
and the output is the same however many there are. All models take about five
minutes of processor time, so three on two processors; the short form takes one of one.
An interrupted command says of what it has done what it would say of all.

Exit codes: 0 all lines are accepted, 1 one is not, or it was interrupted, 2 wrong usage.`,
		Example: "  capstan sim validate --short\n  capstan sim validate --only jackson --seed 2\n" +
			"  capstan sim validate --short --service-factor 1.05",
		Args: usage(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd) },
	}
	s := cmd.Flags()
	s.IntVar(&f.o.Replications, "replications", 0, "independent runs of each model, by whose spread it is decided whether it needs more (default 30, in the short form 20)")
	s.Float64Var(&f.o.Confidence, "confidence", 0.99, "probability with which a table without a mistake is accepted")
	s.BoolVar(&f.o.Short, "short", false, "fewer models and fewer runs of each")
	s.StringVar(&f.o.Only, "only", "", "only models in whose name, or in the name of what they run on, this word is")
	s.Float64Var(&f.o.ServiceFactor, "service-factor", 1, "have services take so much longer than is stated, to see that it is found")
	s.Uint64Var(&f.o.Seed, "seed", 1, "of all random numbers")
	s.BoolVar(&f.quiet, "quiet", false, "list only lines that are not accepted")
	addOutputFlags(cmd)
	return cmd
}

func (f *simValidate) run(cmd *cobra.Command) error {
	// Each replication is a world that lives for a second: memory is for the taking.
	defer debug.SetGCPercent(debug.SetGCPercent(400))
	plan, err := validate.NewPlan(f.o)
	if err != nil {
		return wrong("%w", err)
	}
	out, o := cmd.OutOrStdout(), output(cmd)
	far := newProgress(f.progressTo(cmd, o.JSON), "runs", plan.Runs())
	rows := reports.NewValidationWriter(validations(plan.Lines()), o)
	table, err := plan.Run(cmd.Context(), validate.Listener{
		More: far.more, Done: func() { far.add(1, false) },
		Finished: func(lines []validate.Result) error {
			if o.JSON {
				return nil
			}
			return rows.Write(far.above(out), validations(f.shown(lines)))
		},
	})
	far.end()
	refused := validate.Wrong(table.Results)
	if errors.Is(err, context.Canceled) {
		err = fmt.Errorf("interrupted with %d of %d lines known", len(table.Results), len(plan.Lines()))
	}
	if len(refused) > 0 {
		err = errors.Join(err, fmt.Errorf("%d of %d lines are not accepted", len(refused), len(table.Results)))
	}
	return errors.Join(err, f.conclude(out, table, o))
}

// progressTo is where progress is shown: beside the rows if they go to a terminal.
func (f *simValidate) progressTo(cmd *cobra.Command, noRows bool) io.Writer {
	out, side := cmd.OutOrStdout(), cmd.ErrOrStderr()
	switch {
	case f.quiet:
		return io.Discard
	case !noRows && isTerminal(out) && isTerminal(side):
		return out
	}
	return side
}

// shown are the lines that are listed.
func (f *simValidate) shown(lines []validate.Result) []validate.Result {
	if f.quiet {
		return validate.Wrong(lines)
	}
	return lines
}

func validations(lines []validate.Result) []reports.Validation {
	rows := make([]reports.Validation, len(lines))
	for i, r := range lines {
		rows[i] = reports.Validation{
			Model: r.Model, Value: r.What, On: r.On, Expected: r.Expected, Simulated: r.Simulated,
			Half: r.Half, Relative: r.Relative, Runs: r.Runs, Finds: r.Finds, Verdict: string(r.Verdict),
		}
	}
	return rows
}

// conclude writes what is said of the whole table; for programs, the table.
func (f *simValidate) conclude(w io.Writer, t *validate.Table, o reports.Options) error {
	if o.JSON {
		return writeJSON(w, validations(f.shown(t.Results)))
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%d of %d lines accepted; %d replications or more; each interval at %.5f, so that a table without a mistake is accepted with probability %v; relative half-width at most %v at 0.99\n",
		len(t.Results)-len(validate.Wrong(t.Results)), len(t.Results), t.Replications, t.Line, t.Confidence, t.Within)
	b.WriteString("services that take longer would be found with probability 0.99 or more:")
	for i, n := range t.Find() {
		fmt.Fprintf(&b, " by %.0f%% in %d", 100*(validate.Longer[i]-1), n)
		if i < len(validate.Longer)-1 {
			b.WriteByte(',')
		}
	}
	fmt.Fprintf(&b, " of %d models\n", t.Models)
	_, err := io.WriteString(w, b.String())
	return err
}
