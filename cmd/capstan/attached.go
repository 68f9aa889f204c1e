package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/renameio/v2"
	"github.com/spf13/cobra"

	"capstan/core/dev"
	"capstan/core/rt"
	"capstan/core/scsi"
	"capstan/hw/attached"
	"capstan/hw/clock"
	"capstan/internal/real"
	"capstan/reports"
	"capstan/scenarios"
)

func init() {
	commands = append(commands, func() *cobra.Command { return newDevicesCommand(attached.Here()) })
}

func newDevicesCommand(host *attached.Host) *cobra.Command {
	var write string
	cmd := &cobra.Command{
		Use:   "devices",
		Short: "Find the tape drives and robots that are attached to this host",
		Long: `Finds the tape drives and the robots of tape libraries that are attached to this
host, asks each what it is, asks the robots which drive stands at which element and
what is loaded, and says in words what is not as it should be. Nothing moves. It
needs the kernel's module sg and the right to write to /dev/sg*.

With --write the devices that a host's configuration file does not have yet are
added to it, and a storage unit for the master's file is printed. All else in the
file stays as it is.

` + exitCodes,
		Example: "  capstan devices\n  capstan devices --write /etc/capstan/host.yaml",
		Args:    usage(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := rt.WithCancel(clock.Context(cmd.Context(), "devices"))
			defer cancel(nil)
			found, err := host.Look(ctx)
			if err != nil {
				return err
			}
			if len(found) == 0 && !flag(cmd, "json") {
				_, err := fmt.Fprintln(cmd.OutOrStdout(), "No tape drive and no robot is attached: is the module sg loaded, and do the devices have power?")
				return err
			}
			return showDevices(cmd, found, write)
		},
	}
	cmd.Flags().StringVar(&write, "write", "", "add the devices that it lacks to this host's configuration file")
	cmd.Flags().Bool("json", false, "write JSON")
	return cmd
}

// showDevices writes the table of what was found, and the configuration if it is to be written.
func showDevices(cmd *cobra.Command, found []attached.Found, write string) error {
	path := write
	if path == "" {
		path = configPath(cmd)
	}
	cfg, err := scenarios.Read[scenarios.Host](path)
	switch {
	case err == nil:
	case write == "" && (errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission)):
		cfg = &scenarios.Host{} // the names are then not known
	default:
		return err
	}
	if err := reports.WriteAttached(cmd.OutOrStdout(), attachedRows(cfg, found), output(cmd)); err != nil || write == "" {
		return err
	}
	return writeDevices(cmd.ErrOrStderr(), write, cfg, found)
}

// writeDevices adds to a host's file what it lacks.
func writeDevices(w io.Writer, path string, cfg *scenarios.Host, found []attached.Found) error {
	p := real.Propose(cfg, found)
	if len(p.Devices) == 0 {
		_, err := fmt.Fprintf(w, "%s has all of them already.\n", path)
		return err
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("the host's configuration: %w", err)
	}
	changed, err := scenarios.AddDevices(path, text, p.Devices)
	if err != nil {
		return err
	}
	// A link stays, and the mode is that of the file.
	if path, err = filepath.EvalSymlinks(path); err != nil {
		return fmt.Errorf("the host's configuration: %w", err)
	}
	if err := renameio.WriteFile(path, changed, 0o644, renameio.WithTempDir(filepath.Dir(path))); err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	if _, err := fmt.Fprintf(w, "%d devices were added to %s. Restart the daemon of this host.\n", len(p.Devices), path); err != nil {
		return err
	}
	for _, u := range p.Units {
		lines := []string{"- name: " + u.Name, "  kind: tape", "  mediaServer: " + u.MediaServer, "  library: " + u.Library, "  density: " + orUnknown(u.Density)}
		if _, err := fmt.Fprintf(w, "For storageUnits in the master's file:\n\n  %s\n", strings.Join(lines, "\n  ")); err != nil {
			return err
		}
	}
	return nil
}

// orUnknown has a person fill in what no barcode tells.
func orUnknown(density string) string {
	if density == "" {
		return "LTO-9  # no barcode tells: set the generation of the cartridges"
	}
	return density
}

// attachedRows are the rows of what was found, with the names that it has in a configuration.
func attachedRows(cfg *scenarios.Host, found []attached.Found) []reports.Attached {
	rows := []reports.Attached{}
	for i := range found {
		f := &found[i]
		r := reports.Attached{
			Path: f.Path, Tape: f.Tape, Kind: "drive", Vendor: f.Vendor, Product: f.Product, Revision: f.Revision, Serial: f.Serial,
			Library: f.Library, Element: f.Element, Loaded: f.Loaded, Problems: f.Problems,
		}
		if f.Type == scsi.Changer {
			r.Kind, r.Library, r.Loaded = "changer", "", filled(f.Elements)
		}
		for _, d := range cfg.Devices {
			if d.Serial == f.Serial && d.Serial != "" || d.Serial == "" && d.Path == f.Path {
				r.Name = d.Name
			}
		}
		rows = append(rows, r)
	}
	return rows
}

// filled counts what is in a library.
func filled(all []dev.Element) string {
	if len(all) == 0 {
		return ""
	}
	slots, full := 0, 0
	for _, e := range all {
		if e.Kind == dev.Slot {
			slots++
			if e.Full {
				full++
			}
		}
	}
	return fmt.Sprintf("%d of %d slots", full, slots)
}
