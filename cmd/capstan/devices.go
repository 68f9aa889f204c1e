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

func newMediaChangeCommand() *cobra.Command {
	var pool string
	var freeze, suspend, overwrite bool
	cmd := &cobra.Command{
		Use:   "change MEDIA",
		Short: "Decide about a cartridge: its pool, whether it may be written",
		Long: `Decides about a cartridge. A frozen one is not written again and not freed when
its images expire; a suspended one is not written until it is told otherwise.

A cartridge whose contents this master does not know, a label of another domain's
or of before its database was lost, is never overwritten unless --overwrite says
that what is on it may go; "capstan import" reads it into the catalog. One that was
not imported whole is frozen until it is.

` + exitCodes,
		Example: "  capstan media change CAP003 --freeze\n  capstan media change CAP003 --freeze=false --pool Offsite",
		Args:    usage(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			q := nbemm.MediaChange{ID: args[0]}
			for _, f := range []struct {
				name string
				set  func()
			}{
				{"pool", func() { q.Pool = &pool }},
				{"freeze", func() { q.Frozen = &freeze }},
				{"suspend", func() { q.Suspended = &suspend }},
				{"overwrite", func() { q.Overwrite = &overwrite }},
			} {
				if cmd.Flags().Changed(f.name) {
					f.set()
				}
			}
			return withMaster(cmd, func(ctx context.Context, m master) error {
				_, err := nbemm.ChangeMedia.Call(ctx, m.at(nbemm.Service), q)
				return err
			})
		},
	}
	cmd.Flags().StringVar(&pool, "pool", "", "move it to this pool")
	cmd.Flags().BoolVar(&freeze, "freeze", false, "never write it again; =false takes that back")
	cmd.Flags().BoolVar(&suspend, "suspend", false, "do not write it for now; =false takes that back")
	cmd.Flags().BoolVar(&overwrite, "overwrite", false, "whatever is on it may be overwritten")
	return cmd
}
