package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"capstan/core/bpdbm"
	"capstan/core/catalog"
	"capstan/core/status"
	"capstan/reports"
)

func init() { commands = append(commands, newFindCommand) }

// findFlags say what is looked for, and where.
type findFlags struct {
	search       bpdbm.Search
	since, until string
	limit        int
}

func newFindCommand() *cobra.Command {
	var f findFlags
	cmd := &cobra.Command{
		Use:   "find PATTERN",
		Short: "Find files in a client's images, and all versions of one",
		Long: `Find files in the images of a client. PATTERN is a part of a name; with *, ? or [ it is
a pattern of the whole name. If it begins with / it is a path, or a pattern of one: *
and ? stand for no /. Each state of a file is listed once, with the images that hold
it; of one path also when it was deleted.

` + exitCodes,
		Example: `  capstan find report --client web1
  capstan find '*.tar.gz' --client web1 --since 2026-11-01
  capstan find /etc/fstab --client web1 --json`,
		Args: usage(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			f.search.Pattern = args[0]
			if err := f.parse(cmd); err != nil {
				return err
			}
			return withMaster(cmd, func(ctx context.Context, m master) error {
				return f.find(ctx, m, cmd.OutOrStdout(), cmd.ErrOrStderr(), output(cmd))
			})
		},
	}
	s := cmd.Flags()
	s.StringVar(&f.search.Client, "client", "", "in the images of this client")
	s.StringVar(&f.search.Policy, "policy", "", "in images of this policy only")
	s.StringVar(&f.since, "since", "", "in images of this time and later")
	s.StringVar(&f.until, "until", "", "in images of this time and earlier")
	s.BoolVarP(&f.search.Fold, "ignore-case", "i", false, "letters of both cases (of ASCII) are the same")
	s.IntVar(&f.limit, "limit", 10_000, "list no more states of files than this")
	addOutputFlags(cmd)
	completeFlag(cmd, "client", completeClient)
	completeFlag(cmd, "policy", completePolicy)
	return cmd
}

// parse takes what the command line says.
func (f *findFlags) parse(cmd *cobra.Command) error {
	if f.search.Client == "" {
		return wrong("in whose images? name a client with --client")
	}
	if f.limit < 1 {
		return wrong("--limit %d: want 1 at least", f.limit)
	}
	if _, err := catalog.NewPattern(f.search.Pattern, f.search.Fold); err != nil {
		return wrong("%v", err)
	}
	for _, t := range []struct {
		text string
		to   *int64
	}{{f.since, &f.search.Since}, {f.until, &f.search.Until}} {
		if t.text == "" {
			continue
		}
		at, err := parseTime(t.text, zone(cmd))
		if err != nil {
			return err
		}
		*t.to = at.Unix()
	}
	return nil
}

func (f *findFlags) find(ctx context.Context, m master, w, notes io.Writer, o reports.Options) error {
	found := versions{known: map[fileState]int{}}
	for more := true; more && len(found.rows) < f.limit; {
		p, err := bpdbm.Find.Call(ctx, m.at(bpdbm.Service), f.search)
		if err != nil {
			return err
		}
		for i := range p.Matches {
			found.add(&p.Matches[i])
		}
		if more = p.More; more {
			f.search.After = p.After
		}
		if more && len(found.rows) >= f.limit || len(found.rows) > f.limit {
			fmt.Fprintf(notes, "there may be more than %d: name a larger --limit, or look for less\n", f.limit)
		}
	}
	if len(found.rows) == 0 {
		return status.Errorf(status.NotFound, "no image of %s holds %s", f.search.Client, f.search.Pattern)
	}
	rows := found.sorted()
	return reports.WriteVersions(w, rows[:min(len(rows), f.limit)], o)
}

// fileState is what tells one state of a file from another.
type fileState struct {
	path  string
	gone  bool
	size  int64
	mtime time.Time
	crc   uint32
}

// versions gathers the states of files, each once.
type versions struct {
	rows  []reports.Version
	known map[fileState]int // index into rows
}

func (v *versions) add(m *bpdbm.Match) {
	r := fileRow(&m.Entry)
	key := fileState{r.Path, m.Entry.Type == catalog.Gone, r.Size, r.MTime, m.Entry.CRC}
	at := time.Unix(m.Time, 0)
	i, ok := v.known[key]
	if !ok {
		if key.gone && len(v.rows) == 0 {
			return // nothing was there: a directory is gone that did not hold it
		}
		i = len(v.rows)
		v.known[key] = i
		v.rows = append(v.rows, reports.Version{Path: r.Path, Gone: key.gone, Mode: r.Mode, Size: r.Size, MTime: r.MTime, First: at})
	}
	row := &v.rows[i]
	row.Images, row.Last = append(row.Images, m.BackupID), at
}

// sorted are the rows by path, the oldest state first.
func (v *versions) sorted() []reports.Version {
	slices.SortStableFunc(v.rows, func(a, b reports.Version) int {
		return cmp.Or(catalog.ComparePaths(a.Path, b.Path), a.First.Compare(b.First))
	})
	return v.rows
}
