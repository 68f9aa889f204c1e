package main

import (
	"context"
	"io"
	"path"
	"strings"

	"github.com/spf13/cobra"

	"capstan/core/bpdbm"
	"capstan/core/catalog"
	"capstan/core/image"
	"capstan/core/policy"
	"capstan/core/status"
	"capstan/reports"
)

func init() { commands = append(commands, newListCommand) }

// listFlags say of which images what is listed.
type listFlags struct {
	query     bpdbm.Query
	path      string
	before    string
	recursive bool
}

func newListCommand() *cobra.Command {
	var f listFlags
	cmd := &cobra.Command{
		Use:   "list [IMAGE] [PATH]",
		Short: "List the files of an image, or of a client as it was",
		Long: `List a directory of an image, in the manner of ls -l; without PATH its root. With
--client instead of IMAGE the client is shown as a restore would bring it back: from
the last full backup and the incrementals after it, or those before a time. Owners
are numbers: their names are the client's own.

` + exitCodes,
		Example:           "  capstan list web1_1795468800 /home\n  capstan list --client web1 --before '2026-11-23 18:00' -r /etc",
		Args:              usage(cobra.MaximumNArgs(2)),
		ValidArgsFunction: first(completeImage),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := f.parse(cmd, args); err != nil {
				return err
			}
			return withMaster(cmd, func(ctx context.Context, m master) error {
				return f.list(ctx, m, cmd.OutOrStdout(), output(cmd))
			})
		},
	}
	s := cmd.Flags()
	s.StringVar(&f.query.Client, "client", "", "the files of this client, from its newest images")
	s.StringVar(&f.query.Policy, "policy", "", "with --client: from images of this policy only")
	s.StringVar(&f.before, "before", "", "with --client: as of this time")
	s.BoolVarP(&f.recursive, "recursive", "r", false, "also all that is below the directory")
	addOutputFlags(cmd)
	completeFlag(cmd, "client", completeClient)
	completeFlag(cmd, "policy", completePolicy)
	return cmd
}

// parse takes what the command line says.
func (f *listFlags) parse(cmd *cobra.Command, args []string) error {
	if f.query.Client == "" {
		if len(args) == 0 {
			return wrong("of what? name an image (see capstan images), or a client with --client")
		}
		if f.before != "" || f.query.Policy != "" {
			return wrong("--before and --policy choose among the images of a --client; the image %s is one already", args[0])
		}
		f.query.BackupID, args = args[0], args[1:]
	}
	f.path = "/"
	switch {
	case len(args) > 1:
		return wrong("%q and %q: a client and an image; name one of them, and at most one path", args[0], args[1])
	case len(args) == 1 && !strings.HasPrefix(args[0], "/"):
		return wrong("%q is no absolute path; expected one such as /home", args[0])
	case len(args) == 1:
		f.path = path.Clean(args[0])
	}
	if f.before != "" {
		t, err := parseTime(f.before, zone(cmd))
		if err != nil {
			return err
		}
		f.query.Before = t.Unix()
	}
	return nil
}

func (f *listFlags) list(ctx context.Context, m master, w io.Writer, o reports.Options) error {
	hs, err := m.images(ctx, f.query)
	if err != nil {
		return err
	}
	if len(hs) == 0 {
		return status.Errorf(status.NoImage, "no image matches; see capstan images")
	}
	if f.query.BackupID == "" {
		hs = chain(hs)
	}
	rows, err := f.files(ctx, m, hs)
	if err != nil {
		return err
	}
	if len(rows) == 0 && f.path != "/" {
		return status.Errorf(status.NotFound, "%s holds no %s", hs[len(hs)-1].ID, f.path)
	}
	return reports.WriteFiles(w, rows, o)
}

// files are the files to be listed: the directory's, or what is no directory
// itself.
func (f *listFlags) files(ctx context.Context, m master, hs []image.Header) ([]reports.File, error) {
	all, err := f.gather(ctx, m, hs, f.recursive)
	if err == nil && len(all) == 0 && !f.recursive {
		all, err = f.gather(ctx, m, hs, true)
	}
	rows := make([]reports.File, len(all))
	for i := range all {
		rows[i] = fileRow(&all[i])
	}
	return rows, err
}

// gather is the entries that the images hold together; of one that several hold
// the newest.
func (f *listFlags) gather(ctx context.Context, m master, hs []image.Header, recursive bool) (all []catalog.Entry, err error) {
	for i := range hs {
		var own []catalog.Entry
		q := bpdbm.Dir{BackupID: hs[i].ID, Path: f.path, Recursive: recursive}
		err := m.entries(ctx, q, func(es []catalog.Entry) { own = append(own, es...) })
		if err != nil {
			return nil, err
		}
		all = merge(all, own)
	}
	return all, nil
}

// merge joins two lists in the catalog's order. Of two entries of one path the
// newer list's is taken, unless it only stands for a directory that is not held.
func merge(older, newer []catalog.Entry) []catalog.Entry {
	if len(older) == 0 {
		return newer
	}
	all := make([]catalog.Entry, 0, len(older)+len(newer))
	for len(older) > 0 && len(newer) > 0 {
		c := catalog.ComparePaths(older[0].Path, newer[0].Path)
		switch {
		case c < 0 || c == 0 && newer[0].Implied():
			all = append(all, older[0])
		default:
			all = append(all, newer[0])
		}
		if c <= 0 {
			older = older[1:]
		}
		if c >= 0 {
			newer = newer[1:]
		}
	}
	return append(append(all, older...), newer...)
}

// chain is the images that together show a client, oldest first: of the newest
// one's policy the last full backup, and the incrementals after it. bprd chooses
// the same for a restore.
func chain(hs []image.Header) []image.Header {
	newest := hs[len(hs)-1]
	var own []image.Header
	for _, h := range hs {
		switch {
		case h.Policy != newest.Policy:
		case h.Type == string(policy.Full):
			own = []image.Header{h}
		default:
			own = append(own, h)
		}
	}
	return own
}

// after is where the next page of a list begins: after the last entry's name, or
// in a list of a whole tree after its path.
func after(last string, recursive bool) string {
	if recursive {
		return last
	}
	return path.Base(last)
}
