package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"capstan/core/archive"
	"capstan/core/bprd"
	"capstan/core/bprestore"
	"capstan/core/rt"
)

func init() { commands = append(commands, newRestoreCommand) }

// restoreFlags are those of restore that need work before they are a request.
type restoreFlags struct {
	bprd.Request
	before, overwrite, filesFrom string
	wait                         bool
}

func newRestoreCommand() *cobra.Command {
	var f restoreFlags
	cmd := &cobra.Command{
		Use:   "restore [PATH…] --client CLIENT",
		Short: "Restore files of a client",
		Long: `Restore files and directories, with all below them, as they were at the last backup
or at an earlier time. A path is absolute, and may be a glob such as '/home/*/mail';
with none, everything is restored that the policy holds which was backed up last.
What was backed up in several images, a full backup and the incrementals after it,
is put together. If several policies back the client up, each path comes from the
one with the newest image that holds it; --policy chooses another.

Files go to their original place unless --to names another directory: /home/a is
then restored as DIR/home/a, or with --strip /home as DIR/a. The number of the job
is written to standard output; with --wait the job is followed to its end, and then
listed. The job goes on if the command is interrupted.

` + exitCodesWait,
		Example: `  capstan restore /home/anna/thesis --client web1 --to /tmp/found --wait
  capstan restore /srv --client web1 --to-client web2 --before '2026-11-23 18:00' --overwrite older
  capstan list --client web1 -r /etc --json | jq -r '.[].path' | grep conf | capstan restore --client web1 --files-from -`,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := f.request(cmd, args); err != nil {
				return err
			}
			return withMaster(cmd, func(ctx context.Context, m master) error {
				id, err := bprestore.Ask(ctx, string(m), f.Request)
				if err != nil {
					return err
				}
				return started(ctx, cmd, m, []int64{id}, f.wait)
			})
		},
	}
	f.register(cmd)
	return cmd
}

func (f *restoreFlags) register(cmd *cobra.Command) {
	s := cmd.Flags()
	s.StringVar(&f.Client, "client", "", "the client whose files they are")
	s.StringVar(&f.To, "to-client", "", "the client to restore to (default: the same)")
	s.StringVar(&f.Target, "to", "", "the directory to restore to (default: the original place)")
	s.StringVar(&f.StripTo, "strip", "", "with --to: the directory whose contents go there (default: /)")
	s.StringVar(&f.before, "before", "", "as of this time, such as '2026-11-23 18:00' (default: the newest)")
	s.StringVar(&f.Policy, "policy", "", "from images of this policy only")
	s.StringVar(&f.Image, "image", "", "from this image only")
	s.StringVar(&f.overwrite, "overwrite", "never", "files that exist: never, older (than the backup's copy) or always")
	s.StringVar(&f.filesFrom, "files-from", "", "read paths from this file, one a line or with a NUL after each; - is standard input")
	s.BoolVar(&f.wait, "wait", false, "wait for the end, and exit with a code by the outcome")
	addOutputFlags(cmd)
	completeFlag(cmd, "client", completeClient)
	completeFlag(cmd, "to-client", completeClient)
	completeFlag(cmd, "policy", completePolicy)
	completeFlag(cmd, "image", completeImage)
	completeFlag(cmd, "overwrite", words("never", "older", "always"))
	if err := cmd.MarkFlagRequired("client"); err != nil {
		panic(err)
	}
}

// request completes the request from flags and arguments.
func (f *restoreFlags) request(cmd *cobra.Command, paths []string) error {
	f.Paths = paths
	if f.filesFrom != "" {
		more, err := readPaths(cmd.InOrStdin(), f.filesFrom)
		if err != nil {
			return err
		}
		if f.Paths = append(f.Paths, more...); len(f.Paths) == 0 {
			return wrong("%s names no files: nothing is restored", f.filesFrom)
		}
	}
	for _, p := range append([]string{f.Target, f.StripTo}, f.Paths...) {
		if p != "" && !strings.HasPrefix(p, "/") {
			return wrong("%q is no absolute path; expected one such as /home", p)
		}
	}
	if f.StripTo != "" && f.Target == "" {
		return wrong("--strip needs --to: the directory to restore to")
	}
	modes := map[string]archive.Mode{"never": archive.Never, "older": archive.Older, "always": archive.Always}
	mode, ok := modes[f.overwrite]
	if !ok {
		return wrong("--overwrite %s: expected never, older or always", f.overwrite)
	}
	f.Overwrite = mode
	if f.before != "" {
		t, err := parseTime(f.before, zone(cmd))
		if err != nil {
			return err
		}
		f.Before = rt.FromStd(t)
	}
	return nil
}

// readPaths reads a list of paths, one a line, or with a NUL after each if there is any;
// empty ones are left out.
func readPaths(stdin io.Reader, name string) ([]string, error) {
	r := stdin
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, wrong("reading the list of files to restore: %w", err)
		}
		defer f.Close()
		r = f
	}
	b, err := io.ReadAll(r)
	if err != nil {
		return nil, fmt.Errorf("reading the list of files to restore from %s: %w", name, err)
	}
	sep := "\n"
	if bytes.IndexByte(b, 0) >= 0 {
		sep = "\x00"
	}
	all := strings.Split(string(b), sep)
	for i := range all {
		if sep == "\n" {
			all[i] = strings.TrimSuffix(all[i], "\r")
		}
	}
	return slices.DeleteFunc(all, func(p string) bool { return p == "" }), nil
}
