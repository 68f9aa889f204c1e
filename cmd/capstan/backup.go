package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"capstan/core/nbpem"
	"capstan/reports"
)

func init() { commands = append(commands, newBackupCommand) }

func newBackupCommand() *cobra.Command {
	var q nbpem.Backup
	var wait bool
	cmd := &cobra.Command{
		Use:   "backup POLICY",
		Short: "Back up a policy's clients now",
		Long: `Back up the clients of a policy now, whatever its windows say. The numbers of the
jobs are written to standard output, one a line; with --wait the jobs are followed
to their end, and then listed. The jobs go on if the command is interrupted.

` + exitCodesWait,
		Example:           "  capstan backup home-to-tape\n  capstan backup home-to-tape --client web1 --schedule weekly --wait",
		Args:              usage(cobra.ExactArgs(1)),
		ValidArgsFunction: first(completePolicy),
		RunE: func(cmd *cobra.Command, args []string) error {
			q.Policy = args[0]
			return withMaster(cmd, func(ctx context.Context, m master) error {
				ids, err := nbpem.BackupNow.Call(ctx, m.at(nbpem.Service), q)
				if err != nil {
					return err
				}
				return started(ctx, cmd, m, ids, wait)
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&q.Client, "client", "", "back up only this client of the policy")
	f.StringVar(&q.Schedule, "schedule", "", "as this schedule of the policy says (default: its first)")
	f.StringVar(&q.Storage, "storage", "", "write to this storage unit, or group, instead of the policy's")
	f.BoolVar(&wait, "wait", false, "wait for the end, and exit with a code by the outcome")
	addOutputFlags(cmd)
	completeFlag(cmd, "client", completeClient)
	completeFlag(cmd, "schedule", completeSchedule)
	completeFlag(cmd, "storage", completeStorage)
	return cmd
}

// completeSchedule completes with the schedules of the policy that is the first argument.
func completeSchedule(cmd *cobra.Command, args []string, word string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return completed(func(ctx context.Context, m master) (all []cobra.Completion, err error) {
		ps, err := m.policies(ctx)
		for _, p := range ps {
			if len(args) == 0 || p.Name != args[0] {
				continue
			}
			for _, s := range p.Schedules {
				all = append(all, cobra.CompletionWithDesc(s.Name, typeName(string(s.Type))))
			}
		}
		return all, err
	})(cmd, args, word)
}

var completeStorage = completed(func(ctx context.Context, m master) (all []cobra.Completion, err error) {
	l, err := m.devices(ctx)
	for _, u := range l.Units {
		all = append(all, cobra.CompletionWithDesc(u.Name, string(u.Kind)+" of "+u.MediaServer))
	}
	for _, g := range l.Groups {
		all = append(all, cobra.CompletionWithDesc(g.Name, "group"))
	}
	return all, err
})

// started writes the numbers of jobs that were started, or follows them to
// their end and writes what became of them.
func started(ctx context.Context, cmd *cobra.Command, m master, ids []int64, wait bool) error {
	o, w := output(cmd), cmd.OutOrStdout()
	switch {
	case !wait && o.JSON:
		return writeJSON(w, ids)
	case !wait:
		for _, id := range ids {
			fmt.Fprintln(w, id)
		}
		return nil
	case len(ids) == 0:
		return nil
	}
	js, err := waitFor(ctx, m, ids, cmd.ErrOrStderr())
	if err != nil {
		return err
	}
	if err := reports.WriteJobs(w, jobRows(js), o); err != nil {
		return err
	}
	return judge(js)
}
