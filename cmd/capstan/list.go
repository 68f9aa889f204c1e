package main

import (
	"cmp"
	"context"
	"errors"
	"io"
	"maps"
	"path"
	"slices"
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
	if f.query.BackupID != "" {
		return f.listFirst(ctx, m, [][]image.Header{hs}, w, o)
	}
	return f.listFirst(ctx, m, chains(hs), w, o)
}

// listFirst lists the path from the first chain that has something of it.
func (f *listFlags) listFirst(ctx context.Context, m master, chains [][]image.Header, w io.Writer, o reports.Options) error {
	var looked []string
	for _, hs := range chains {
		n, err := f.write(ctx, m, hs, f.recursive, w, o)
		if n == 0 && err == nil && !f.recursive { // no directory, or an empty one: show itself
			n, err = f.write(ctx, m, hs, true, w, o)
		}
		if n > 0 || err != nil {
			return err
		}
		looked = append(looked, hs[len(hs)-1].ID)
	}
	if f.path == "/" {
		return nil
	}
	return status.Errorf(status.NotFound, "%s holds no %s", strings.Join(looked, ", "), f.path)
}

// write lists what images hold together, and counts it. What there is nothing
// of is not written.
func (f *listFlags) write(ctx context.Context, m master, hs []image.Header, recursive bool, w io.Writer, o reports.Options) (n int, err error) {
	out := reports.NewFileWriter(w, o)
	var rows []reports.File
	flush := func() error {
		n += len(rows)
		err := out.Write(rows)
		rows = rows[:0]
		return err
	}
	all := f.pages(ctx, m, hs, recursive)
	for {
		e, err := all.next()
		if err != nil {
			return n, err
		}
		if e == nil {
			break
		}
		if rows = append(rows, fileRow(e)); len(rows) == batch {
			if err := flush(); err != nil {
				return n, err
			}
		}
	}
	if n+len(rows) == 0 {
		return 0, nil
	}
	err = errors.Join(flush(), out.Close())
	return n, err
}

// batch is how many files are written at a time.
const batch = 1000

// pages are the entries of each image, oldest first, asked for as they are needed.
func (f *listFlags) pages(ctx context.Context, m master, hs []image.Header, recursive bool) merged {
	cs := make(merged, len(hs))
	for i := range hs {
		q := bpdbm.Dir{BackupID: hs[i].ID, Path: f.path, Recursive: recursive}
		cs[i] = &cursor{page: func() ([]catalog.Entry, bool, error) {
			p, err := bpdbm.ListDir.Call(ctx, m.at(bpdbm.Service), q)
			if n := len(p.Entries); n > 0 {
				q.After = after(p.Entries[n-1].Path, recursive)
			}
			return p.Entries, p.More, err
		}}
	}
	return cs
}

// cursor goes through the entries of one image.
type cursor struct {
	page func() (es []catalog.Entry, more bool, err error) // the next page
	es   []catalog.Entry
	last bool // there is no other page
}

// peek is the entry that the cursor stands at; nil at the end.
func (c *cursor) peek() (*catalog.Entry, error) {
	for len(c.es) == 0 && !c.last {
		es, more, err := c.page()
		if err != nil {
			return nil, err
		}
		c.es, c.last = es, !more || len(es) == 0
	}
	if len(c.es) == 0 {
		return nil, nil
	}
	return &c.es[0], nil
}

// merged goes through the entries of several images, oldest first, at once.
type merged []*cursor

// next is the next entry in the catalog's order; nil at the end. Of several of
// one path the newest image's is taken, unless it only stands for a directory
// that the image does not hold.
func (cs merged) next() (best *catalog.Entry, err error) {
	var at []*cursor // those that stand at the lowest path
	for _, c := range cs {
		e, err := c.peek()
		if err != nil {
			return nil, err
		}
		if e == nil {
			continue
		}
		order := -1
		if best != nil {
			order = catalog.ComparePaths(e.Path, best.Path)
		}
		switch {
		case order < 0:
			best, at = e, append(at[:0], c)
		case order == 0:
			at = append(at, c)
			if !e.Implied() {
				best = e
			}
		}
	}
	for _, c := range at {
		c.es = c.es[1:]
	}
	return best, nil
}

// chains are the images that together show a client, oldest first: of each policy
// the last full backup, and the incrementals after it. The policy that has the
// newest image comes first. bprd chooses the same for a restore.
func chains(hs []image.Header) [][]image.Header {
	own := map[string][]image.Header{}
	for _, h := range hs {
		if h.Type == string(policy.Full) {
			own[h.Policy] = nil
		}
		own[h.Policy] = append(own[h.Policy], h)
	}
	all := slices.Collect(maps.Values(own))
	slices.SortFunc(all, func(a, b []image.Header) int {
		return cmp.Compare(b[len(b)-1].Time, a[len(a)-1].Time)
	})
	return all
}

// after is where the next page of a list begins: after the last entry's name, or
// in a list of a whole tree after its path.
func after(last string, recursive bool) string {
	if recursive {
		return last
	}
	return path.Base(last)
}
