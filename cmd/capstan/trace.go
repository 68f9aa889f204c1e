package main

import (
	"context"
	"slices"

	"github.com/spf13/cobra"

	"capstan/core/trace"
	"capstan/reports"
)

func init() { commands = append(commands, newTraceCommand) }

func newTraceCommand() *cobra.Command {
	var all bool
	cmd := newJobCommand(&cobra.Command{
		Use:   "trace JOB",
		Short: "Show the steps of a job, with role, host, time and duration",
		Long: `Show the steps of a job in the order in which they began: B1 to B17 of a backup,
R1 to R17 of a restore, each with the role that took it, its host, its time and how
long it lasted. With --all also what is no step: decisions, device operations and
calls beside the flow.

` + exitCodes,
		Example: "  capstan trace 12\n  capstan trace 12 --all --json",
	}, func(ctx context.Context, cmd *cobra.Command, m master, id int64) error {
		events, err := m.trace(ctx, id)
		if err != nil {
			return err
		}
		return reports.WriteTrace(cmd.OutOrStdout(), steps(events, all), output(cmd))
	})
	cmd.Flags().BoolVar(&all, "all", false, "also events that are no steps of the flow")
	addOutputFlags(cmd)
	return cmd
}

// steps are the events in the order in which they began, as the hosts' logical
// clocks say.
func steps(events []trace.Event, all bool) []reports.Step {
	events = slices.Clone(events)
	slices.SortStableFunc(events, func(a, b trace.Event) int { return a.Begin.Compare(b.Begin) })
	rows := []reports.Step{}
	for i := range events {
		if all || events[i].Step != "" {
			rows = append(rows, stepRow(&events[i]))
		}
	}
	return rows
}
