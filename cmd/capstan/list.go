package main

import (
	"context"
	"io"
	"path"
	"strings"

	"github.com/spf13/cobra"

	"capstan/core/bpdbm"
	"capstan/core/image"
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
the last full backup and the incrementals after it, or those before a time. If
several policies back the client up, it is the one with the newest image that holds
the path. Owners are numbers: their names are the client's own.

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
	newest := make([]string, 0, 1) // of each policy
	for _, chain := range image.Chains(hs) {
		newest = append(newest, chain[len(chain)-1].ID)
	}
	return f.listFirst(ctx, m, newest, w, o)
}

// listFirst lists the path from the first image that shows something of it.
func (f *listFlags) listFirst(ctx context.Context, m master, images []string, w io.Writer, o reports.Options) error {
	for _, id := range images {
		q := bpdbm.Dir{BackupID: id, Path: f.path, AsOf: f.query.Client != "", Recursive: f.recursive}
		n, err := write(ctx, m, q, w, o)
		if n == 0 && err == nil && !f.recursive { // no directory, or an empty one: show itself
			q.Recursive = true
			n, err = write(ctx, m, q, w, o)
		}
		if n > 0 || err != nil {
			return err
		}
	}
	if f.path == "/" {
		return nil
	}
	return status.Errorf(status.NotFound, "%s holds no %s", strings.Join(images, ", "), f.path)
}

// write lists what an image shows, and counts it. What there is nothing of is not
// written.
func write(ctx context.Context, m master, q bpdbm.Dir, w io.Writer, o reports.Options) (n int, err error) {
	out := reports.NewFileWriter(w, o)
	for more := true; more; {
		p, err := bpdbm.ListDir.Call(ctx, m.at(bpdbm.Service), q)
		if err != nil {
			return n, err
		}
		if len(p.Entries) == 0 {
			break
		}
		rows := make([]reports.File, len(p.Entries))
		for i := range p.Entries {
			rows[i] = fileRow(&p.Entries[i])
		}
		if err := out.Write(rows); err != nil {
			return n, err
		}
		n, more = n+len(rows), p.More
		if q.After = p.Entries[len(rows)-1].Path; !q.Recursive {
			q.After = path.Base(q.After)
		}
	}
	if n == 0 {
		return 0, nil
	}
	return n, out.Close()
}
