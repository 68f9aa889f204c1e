package main

import (
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
itself, over what is expected: at most 2%, in the short form, whose runs are a sixth as long, 5%.
Little's law and the utilisation law are checked in every run, exactly.

All models take half an hour of one processor, the short form less than a minute.

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
	if !f.quiet && colored(cmd.ErrOrStderr()) {
		f.o.Progress = func(model string) { fmt.Fprintf(cmd.ErrOrStderr(), "running %s\n", model) }
	}
	table, err := validate.Run(f.o)
	if err != nil {
		if errors.As(err, new(validate.UsageError)) {
			return wrong("%w", err)
		}
		return err
	}
	refused := table.Wrong()
	shown := table.Results
	if f.quiet {
		shown = refused
	}
	if err := f.write(cmd.OutOrStdout(), table, shown, output(cmd)); err != nil {
		return err
	}
	if len(refused) > 0 {
		return fmt.Errorf("%d of %d lines are not accepted", len(refused), len(table.Results))
	}
	return nil
}

func (f *simValidate) write(w io.Writer, t *validate.Table, shown []validate.Result, o reports.Options) error {
	rows := []reports.Validation{}
	for _, r := range shown {
		rows = append(rows, reports.Validation{
			Model: r.Model, Value: r.What, On: r.On, Expected: r.Expected, Simulated: r.Simulated,
			Half: r.Half, Relative: r.Relative, Verdict: string(r.Verdict),
		})
	}
	if len(rows) > 0 || o.JSON {
		if err := reports.WriteValidation(w, rows, o); err != nil || o.JSON {
			return err
		}
	}
	_, err := fmt.Fprintf(w, "%d of %d lines accepted; %d replications; each interval at %.5f, so that a table without a mistake is accepted with probability %v; relative half-width at most %v at 0.99\n",
		len(t.Results)-len(t.Wrong()), len(t.Results), t.Replications, t.Line, t.Confidence, t.Within)
	return err
}
