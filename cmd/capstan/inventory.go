package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"capstan/core/ltid"
	"capstan/core/nbemm"
	"capstan/core/pbx"
)

func newMediaInventoryCommand() *cobra.Command {
	var rescan bool
	cmd := &cobra.Command{
		Use:   "inventory [LIBRARY]",
		Short: "Have the master learn anew which cartridges are in a library",
		Long: `Asks a library, or every one, which cartridges are in it, and tells the master: for
after cartridges were put in or taken out otherwise than by "media import" and
"media export". With --rescan the robot looks at every slot first instead of telling
what it remembers, which takes minutes and holds up the jobs.

` + exitCodes,
		Example: "  capstan media inventory\n  capstan media inventory robot1 --rescan",
		Args:    usage(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withMaster(cmd, func(ctx context.Context, m master) error {
				all, err := m.libraries(ctx, args)
				if err != nil {
					return err
				}
				for _, l := range all {
					if _, err := ltid.TakeInventory.Call(ctx, pbx.At(l.MediaServer, ltid.Service), ltid.Inventory{Library: l.Name, Rescan: rescan}); err != nil {
						return err
					}
				}
				return nil
			})
		},
	}
	cmd.Flags().BoolVar(&rescan, "rescan", false, "the robot looks at every slot first")
	return cmd
}

func newMediaExportCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "export MEDIA",
		Short: "Put a cartridge into a mail slot, to be taken out",
		Long: `Has the robot put a cartridge into a free mail slot. From then on the master takes
it for one that is in no library: it is not written, and a restore that needs it
says so.

` + exitCodes,
		Example: "  capstan media export CAP003",
		Args:    usage(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withMaster(cmd, func(ctx context.Context, m master) error {
				list, err := m.devices(ctx)
				if err != nil {
					return err
				}
				i := slices.IndexFunc(list.Media, func(x nbemm.Media) bool { return x.ID == args[0] })
				if i < 0 || list.Media[i].Library == "" {
					return fmt.Errorf("cartridge %s is in no library: see \"capstan media list\"", args[0])
				}
				all, err := m.libraries(ctx, []string{list.Media[i].Library})
				if err != nil {
					return err
				}
				slot, err := ltid.Export.Call(ctx, pbx.At(all[0].MediaServer, ltid.Service), ltid.Cartridge{Library: all[0].Name, Media: args[0]})
				if err != nil {
					return err
				}
				_, err = fmt.Fprintf(cmd.OutOrStdout(), "Cartridge %s is in mail slot %d of library %s.\n", args[0], slot, all[0].Name)
				return err
			})
		},
	}
}

func newMediaImportCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "import [LIBRARY]",
		Short: "Take what is in the mail slots into the library",
		Long: `Has the robot take every cartridge in the mail slots of a library, or of every one,
into free slots, and tells the master. New ones join the pool Scratch.

` + exitCodes,
		Example: "  capstan media import robot1",
		Args:    usage(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withMaster(cmd, func(ctx context.Context, m master) error {
				all, err := m.libraries(ctx, args)
				if err != nil {
					return err
				}
				for _, l := range all {
					taken, err := ltid.Import.Call(ctx, pbx.At(l.MediaServer, ltid.Service), l.Name)
					if err != nil {
						return err
					}
					if _, err := fmt.Fprintf(cmd.OutOrStdout(), "Library %s: %d cartridges %s\n", l.Name, len(taken), strings.Join(taken, " ")); err != nil {
						return err
					}
				}
				return nil
			})
		},
	}
}

// libraries are the libraries of the domain, or the one that was named.
func (m master) libraries(ctx context.Context, names []string) ([]nbemm.Library, error) {
	list, err := m.devices(ctx)
	if err != nil || len(names) == 0 {
		return list.Libraries, err
	}
	i := slices.IndexFunc(list.Libraries, func(l nbemm.Library) bool { return l.Name == names[0] })
	if i < 0 {
		return nil, fmt.Errorf("there is no library %s: its media server has not said so far that it has it", names[0])
	}
	return list.Libraries[i : i+1], nil
}
