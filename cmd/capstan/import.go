package main

import (
	"context"
	"slices"

	"github.com/spf13/cobra"

	"capstan/core/bpimport"
	"capstan/core/bprd"
	"capstan/core/job"
	"capstan/core/nbemm"
	"capstan/reports"
	"capstan/scenarios"
)

func init() { commands = append(commands, newImportCommand) }

// forEver is the word for a retention without end.
const forEver = "forever"

// importFlags are those of import that need work before they are a request.
type importFlags struct {
	bprd.ImportRequest
	retention string
	wait      bool
}

func newImportCommand() *cobra.Command {
	var f importFlags
	cmd := &cobra.Command{
		Use:   "import {--media CARTRIDGE… | --storage DISKUNIT}",
		Short: "Read images back into the catalog from the media that they stand on",
		Long: `Read images back into the catalog from cartridges, or from a disk unit, of which the
master knows nothing: its database was lost, or they come from another domain. Only
labels, headers and trailers are read, not the data, unless --verify asks for that.
Name all cartridges of an image that spans, in any order: an image is imported whole
or not at all, and what is in the catalog already is left as it is. Only copy 1 of an
image is imported; further copies are named, and refused.

The cartridges must be in a library (see capstan media inventory). They become this
domain's, and nothing more is written to them before all that is on them has
expired. One that holds something that was not imported, because a cartridge is
missing or a trailer is damaged, stays frozen; import it again when the rest is
there. A cartridge without a label of Capstan's is left alone.

An image is kept as long as its policy's retention said, counted from now on, or as
long as --retention says. Media that were written before they said so give images
of the policy "imported", which are kept for ever.

With --dry-run nothing is changed: it says what there is. The number of the job is
written to standard output; with --wait, and with --dry-run, the job is followed to
its end, and what it found is written.

` + exitCodesWait,
		Example: `  capstan import --media A00001,A00002 --dry-run
  capstan import --media A00001,A00002 --verify --wait
  capstan import --storage disk1 --retention 90d`,
		Args: usage(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := f.request(); err != nil {
				return err
			}
			return withMaster(cmd, func(ctx context.Context, m master) error {
				id, err := bpimport.Ask(ctx, string(m), f.ImportRequest)
				if err != nil {
					return err
				}
				if f.wait || f.DryRun {
					return imported(ctx, cmd, m, id)
				}
				return started(ctx, cmd, m, []int64{id}, false)
			})
		},
	}
	f.register(cmd)
	return cmd
}

func (f *importFlags) register(cmd *cobra.Command) {
	s := cmd.Flags()
	s.StringSliceVar(&f.Media, "media", nil, "cartridges, by media id or barcode, with commas between or several times")
	s.StringVar(&f.Storage, "storage", "", "a disk unit")
	s.BoolVar(&f.DryRun, "dry-run", false, "only say what there is")
	s.BoolVar(&f.Verify, "verify", false, "read every block, and compare it with its CRC")
	s.StringVar(&f.retention, "retention", "", "how long the images are kept from now on, such as 90d, or "+forEver+" (default: as each says)")
	s.BoolVar(&f.wait, "wait", false, "wait for the end, and exit with a code by the outcome")
	addOutputFlags(cmd)
	completeFlag(cmd, "media", completeMedia)
	completeFlag(cmd, "storage", completeDiskUnit)
	completeFlag(cmd, "retention", words(forEver))
}

// request completes the request from the flags.
func (f *importFlags) request() error {
	if (len(f.Media) == 0) == (f.Storage == "") {
		return wrong("name either cartridges with --media, or a disk unit with --storage")
	}
	switch f.retention {
	case "":
	case forEver:
		f.Retention = -1
	default:
		var d scenarios.Duration
		if err := d.UnmarshalText([]byte(f.retention)); err != nil || d <= 0 {
			return wrong("--retention %s: expected a time such as 90d, or %s", f.retention, forEver)
		}
		f.Retention = d.Std()
	}
	return nil
}

// imported follows an import to its end and writes what it found.
func imported(ctx context.Context, cmd *cobra.Command, m master, id int64) error {
	js, err := waitFor(ctx, m, []int64{id}, cmd.ErrOrStderr())
	if err != nil {
		return err
	}
	ls, err := m.log(ctx, id, 0)
	if err != nil {
		return err
	}
	ls = slices.DeleteFunc(ls, func(l job.Line) bool { return l.Role != bprd.Role })
	if err := reports.WriteLog(cmd.OutOrStdout(), lineRows(ls), output(cmd)); err != nil {
		return err
	}
	return judge(js)
}

var (
	completeMedia = completed(func(ctx context.Context, m master) (all []cobra.Completion, err error) {
		l, err := m.devices(ctx)
		for i := range l.Media {
			if x := &l.Media[i]; x.Library != "" && x.Pool != nbemm.CleaningPool {
				all = append(all, cobra.CompletionWithDesc(x.ID, "pool "+x.Pool))
			}
		}
		return all, err
	})
	completeDiskUnit = completed(func(ctx context.Context, m master) (all []cobra.Completion, err error) {
		l, err := m.devices(ctx)
		for _, u := range l.Units {
			if u.Kind == nbemm.Disk {
				all = append(all, cobra.CompletionWithDesc(u.Name, "on "+u.MediaServer))
			}
		}
		return all, err
	})
)
