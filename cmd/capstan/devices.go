package main

import (
	"context"

	"github.com/spf13/cobra"

	"capstan/core/nbemm"
	"capstan/reports"
)

func init() { commands = append(commands, newDrivesCommand) }

func newDrivesCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "drives",
		Short:   "List the tape drives, what is in them and which job has them",
		Long:    "List the tape drives, what is in them and which job has them.\n\n" + exitCodes,
		Example: "  capstan drives",
		Args:    usage(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withMaster(cmd, func(ctx context.Context, m master) error {
				l, err := m.devices(ctx)
				if err != nil {
					return err
				}
				return reports.WriteDriveStates(cmd.OutOrStdout(), driveRows(l.Drives), output(cmd))
			})
		},
	}
	addOutputFlags(cmd)
	return cmd
}

func driveRows(ds []nbemm.DriveState) []reports.DriveState {
	rows := make([]reports.DriveState, len(ds))
	for i := range ds {
		rows[i] = driveRow(&ds[i])
	}
	return rows
}

func newMediaListCommand() *cobra.Command {
	var pool string
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List the cartridges: pool, place, how much is written",
		Long:    "List the cartridges that the master knows: their pool, their place, and how much is written.\n\n" + exitCodes,
		Example: "  capstan media list --pool Scratch",
		Args:    usage(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withMaster(cmd, func(ctx context.Context, m master) error {
				l, err := m.devices(ctx)
				if err != nil {
					return err
				}
				rows := []reports.Media{}
				for i := range l.Media {
					if pool == "" || l.Media[i].Pool == pool {
						rows = append(rows, mediaRow(&l.Media[i], l.Drives))
					}
				}
				return reports.WriteMedia(cmd.OutOrStdout(), rows, output(cmd))
			})
		},
	}
	cmd.Flags().StringVar(&pool, "pool", "", "cartridges of this pool only")
	addOutputFlags(cmd)
	return cmd
}
