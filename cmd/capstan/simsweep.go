package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"capstan/internal/study"
	"capstan/reports"
	"capstan/scenarios"
)

func newSimSweep() *cobra.Command {
	var dir string
	var workers int
	cmd := &cobra.Command{
		Use:   "sweep FILE --out DIR",
		Short: "Run a scenario with all combinations of some values",
		Long: `Run a scenario with all combinations of the values that a sweep's file has for some
of its fields (docs/configuration.md, Sweep), each with the same seeds, on all
processors. Shown is each figure's mean with its interval, and how it differs from
that of the first combination, seed by seed.

What each run came to is kept in DIR/runs, under the hash of this program, the
scenario and the seed: a sweep that was interrupted goes on where it was, and one of
which a value is changed runs what is new. All figures are in DIR/results.csv and
DIR/results.json. A run that fails does not stop the others, and is tried again the
next time.

Exit codes: 0 done, 1 interrupted or a run failed, 2 wrong usage or a mistake in a file.`,
		Example:           "  capstan sim sweep docs/examples/sweep.yaml --out drives",
		Args:              usage(cobra.ExactArgs(1)),
		ValidArgsFunction: completeYAML,
		RunE: func(cmd *cobra.Command, args []string) error {
			if dir == "" {
				return wrong("--out is missing: the directory that keeps what the runs come to")
			}
			p, err := study.Read(args[0])
			if err != nil {
				return unread(err)
			}
			r, err := runStudy(cmd, p, dir, workers)
			if err != nil {
				return err
			}
			if err := r.Keep(dir); err != nil {
				return err
			}
			o := output(cmd)
			if o.JSON {
				return errors.Join(writeJSON(cmd.OutOrStdout(), r), failedRuns(r))
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s: %d combinations, %d replications each, seeds from %d%s\n\n", r.Name, len(r.Cells), r.Replications, r.Seed, warmUpNote(r.Cells[0].Scenario))
			return errors.Join(reports.WriteBlocks(cmd.OutOrStdout(), r.Titles, r.Blocks(), o), failedRuns(r))
		},
	}
	cmd.Flags().StringVar(&dir, "out", "", "the directory that keeps what the runs come to")
	cmd.Flags().IntVar(&workers, "workers", 0, "how many runs at a time (default: one for each processor)")
	addOutputFlags(cmd)
	return cmd
}

func completeYAML(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return []cobra.Completion{"yaml", "yml"}, cobra.ShellCompDirectiveFilterFileExt
}

// unread is the error of a file that could not be read.
func unread(err error) error {
	var mistakes scenarios.Mistakes
	if errors.As(err, &mistakes) {
		return mistaken(mistakes)
	}
	return wrong("%w", err)
}

// warmUpNote says that figures leave something out.
func warmUpNote(s *scenarios.Scenario) string {
	if s.WarmUp == 0 {
		return ""
	}
	return fmt.Sprintf("; the first %v are warm-up, and not counted", s.WarmUp)
}

// failedRuns is the error of runs that did not come to their end.
func failedRuns(r *study.Results) error {
	if len(r.Failed) == 0 {
		return nil
	}
	f := r.Failed[0]
	return fmt.Errorf("%d runs failed, the first with %s, seed %d: %s", len(r.Failed), f.Cell, f.Seed, f.Error)
}

// runStudy runs a study, and shows how far it is.
func runStudy(cmd *cobra.Command, p *study.Plan, dir string, workers int) (*study.Results, error) {
	version := ""
	if dir != "" {
		var err error
		if version, err = study.Version(); err != nil {
			return nil, err
		}
	}
	total := len(p.Cells) * p.Replications
	w := cmd.ErrOrStderr()
	far := newProgress(w, "runs", total)
	kept := 0
	all, err := study.Run(cmd.Context(), p, study.Options{Dir: dir, Version: version, Workers: workers, Done: func(o *study.Outcome) {
		if o.Kept {
			kept++
		}
		far.add(1, o.Kept)
	}})
	far.end()
	if kept > 0 {
		fmt.Fprintf(w, "%d of %d runs were there already\n", kept, total)
	}
	if errors.Is(err, context.Canceled) {
		return nil, fmt.Errorf("interrupted with %d of %d runs done%s", far.done, total, goesOn(dir))
	}
	if err != nil {
		return nil, err
	}
	return study.Summarize(p, all), nil
}

func goesOn(dir string) string {
	if dir == "" {
		return ""
	}
	return "; they are kept in " + dir + ", and the same command goes on from there"
}
