package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime/debug"

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
itself, over what is expected: at most 3%, in the short form, whose runs are shorter, 5%.
Little's law and the utilisation law are checked in every run, exactly. Each model's lines
are written as soon as they are known.

All models take a quarter of an hour of one processor, the short form a minute; replications are
spread over all processors, and the table is the same for any number of them.

Exit codes: 0 all lines are accepted, 1 one is not, 2 wrong usage.`,
		Example: "  capstan sim validate --short\n  capstan sim validate --only jackson --replications 40\n" +
			"  capstan sim validate --short --service-factor 1.05",
		Args: usage(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd) },
	}
	s := cmd.Flags()
	s.IntVar(&f.o.Replications, "replications", validate.LeastReplications, "independent runs of each model")
	s.Float64Var(&f.o.Confidence, "confidence", 0.99, "probability with which a table without a mistake is accepted")
	s.BoolVar(&f.o.Short, "short", false, "fewer models and shorter runs")
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
	out, o := cmd.OutOrStdout(), output(cmd)
	var far *progress
	if !f.quiet {
		f.o.Customers = func(done, all int) {
			if far == nil {
				far = newProgress(progressOf(cmd, o.JSON), "customers", all)
			}
			far.add(done-far.done, false)
		}
	}
	var written error
	if !o.JSON {
		rows := reports.NewValidationWriter(validations(validate.Chosen(f.o)), o)
		f.o.Lines = func(lines []validate.Result) {
			w := out
			if far != nil {
				w = far.above(out)
			}
			written = errors.Join(written, rows.Write(w, validations(f.shown(lines))))
		}
	}
	table, err := validate.Run(cmd.Context(), f.o)
	if far != nil {
		far.end()
	}
	if errors.As(err, new(validate.UsageError)) {
		return wrong("%w", err)
	}
	if err == nil || errors.Is(err, context.Canceled) {
		written = errors.Join(written, f.conclude(out, table, o))
	}
	if errors.Is(err, context.Canceled) {
		err = fmt.Errorf("interrupted with %d of %d lines known", len(table.Results), len(validate.Chosen(f.o)))
	}
	if refused := table.Wrong(); err == nil && len(refused) > 0 {
		err = fmt.Errorf("%d of %d lines are not accepted", len(refused), len(table.Results))
	}
	return errors.Join(written, err)
}

// progressOf is where progress is shown: beside the rows if they go to a terminal.
func progressOf(cmd *cobra.Command, noRows bool) io.Writer {
	if out, side := cmd.OutOrStdout(), cmd.ErrOrStderr(); !noRows && isTerminal(out) && isTerminal(side) {
		return out
	}
	return cmd.ErrOrStderr()
}

// shown are the lines that are listed.
func (f *simValidate) shown(lines []validate.Result) []validate.Result {
	if f.quiet {
		return (&validate.Table{Results: lines}).Wrong()
	}
	return lines
}

func validations(lines []validate.Result) []reports.Validation {
	rows := []reports.Validation{}
	for _, r := range lines {
		rows = append(rows, reports.Validation{
			Model: r.Model, Value: r.What, On: r.On, Expected: r.Expected, Simulated: r.Simulated,
			Half: r.Half, Relative: r.Relative, Verdict: string(r.Verdict),
		})
	}
	return rows
}

// conclude writes what is said of the whole table; for programs, the table.
func (f *simValidate) conclude(w io.Writer, t *validate.Table, o reports.Options) error {
	if o.JSON {
		return writeJSON(w, validations(f.shown(t.Results)))
	}
	_, err := fmt.Fprintf(w, "%d of %d lines accepted; %d replications; each interval at %.5f, so that a table without a mistake is accepted with probability %v; relative half-width at most %v at 0.99\n",
		len(t.Results)-len(t.Wrong()), len(t.Results), t.Replications, t.Line, t.Confidence, t.Within)
	return err
}
