package main

import (
	"context"

	"github.com/spf13/cobra"

	"capstan/core/bpdbm"
	"capstan/reports"
)

func init() { commands = append(commands, newImagesCommand) }

func newImagesCommand() *cobra.Command {
	var q bpdbm.Query
	var before string
	cmd := &cobra.Command{
		Use:     "images",
		Short:   "List the images: what was backed up, and where it lies",
		Long:    "List the images of the catalog, each client's oldest first.\n\n" + exitCodes,
		Example: "  capstan images --client web1\n  capstan images --policy home-to-tape --before 2026-11-23 --json",
		Args:    usage(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if before != "" {
				t, err := parseTime(before, zone(cmd))
				if err != nil {
					return err
				}
				q.Before = t.Unix()
			}
			return withMaster(cmd, func(ctx context.Context, m master) error {
				hs, err := m.images(ctx, q)
				if err != nil {
					return err
				}
				rows := make([]reports.Image, len(hs))
				for i := range hs {
					rows[i] = imageRow(&hs[i])
				}
				return reports.WriteImages(cmd.OutOrStdout(), rows, output(cmd))
			})
		},
	}
	cmd.Flags().StringVar(&q.Client, "client", "", "images of this client only")
	cmd.Flags().StringVar(&q.Policy, "policy", "", "images of this policy only")
	cmd.Flags().StringVar(&before, "before", "", "images of backups at this time or earlier")
	addOutputFlags(cmd)
	completeFlag(cmd, "client", completeClient)
	completeFlag(cmd, "policy", completePolicy)
	return cmd
}
