package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"capstan/internal/virtual"
	plans "capstan/reports/answers"
	"capstan/reports/record"
	"capstan/scenarios"
)

func newSimExplain() *cobra.Command {
	var id, seed int64
	var night string
	cmd := &cobra.Command{
		Use:   "explain SCENARIO|RUN",
		Short: "Say in words why a run, a night or a job took so long",
		Long: `Say in words how a run went and what limited it; with --night how a night went, with
--job why a job took as long as it did: what it waited for and who had it, what held
it up then, and what to try. SCENARIO is a scenario's file, which is run; RUN a
directory that sim run wrote with --out.

` + exitCodes,
		Example: "  capstan sim explain scenarios/plan-night.yaml --night 2\n" +
			"  capstan sim explain plan --job 30",
		Args:              usage(cobra.ExactArgs(1)),
		ValidArgsFunction: completeYAML,
		RunE: func(cmd *cobra.Command, args []string) error {
			if id != 0 && night != "" {
				return wrong("--job and --night are about different things: give one of them")
			}
			run, err := recorded(args[0], seed, cmd.Flags().Changed("seed"))
			if err != nil {
				return err
			}
			words := plans.Of(run).Words()
			switch {
			case id != 0:
				words, err = plans.ExplainJob(run, id)
			case night != "":
				words, err = plans.ExplainNight(run, night)
			}
			if err != nil {
				return wrong("%w", err)
			}
			for _, s := range words {
				fmt.Fprintln(cmd.OutOrStdout(), s)
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.Int64Var(&id, "job", 0, "the number of a job")
	f.StringVar(&night, "night", "", "a night: its number from 1, or the date of its evening")
	f.Int64Var(&seed, "seed", 0, "of a scenario: instead of its own")
	return cmd
}

// recorded is the record of a run, or of the first of a directory's, or of a
// scenario's that is run now.
func recorded(name string, seed int64, seedSet bool) (*record.Run, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, wrong("%w", err)
	}
	if info.IsDir() {
		runs, err := record.ReadAll(name)
		if err != nil {
			return nil, wrong("%w", err)
		}
		return runs[0], nil
	}
	s, err := scenarios.Read[scenarios.Scenario](name)
	if err != nil {
		return nil, unread(err)
	}
	run := &record.Run{}
	if _, err := virtual.Run(s, virtual.Options{Seed: seed, SeedSet: seedSet, Record: run, Quiet: true}); err != nil {
		return nil, err
	}
	return run, nil
}
