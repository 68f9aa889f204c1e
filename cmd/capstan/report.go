package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	plans "capstan/reports/answers"
	"capstan/reports/page"
	"capstan/reports/record"
	"capstan/scenarios"
)

func init() { commands = append(commands, newReportCommand) }

// reportFlags are the flags of report.
type reportFlags struct {
	out, csv, since, keep, warmup string
}

func newReportCommand() *cobra.Command {
	var f reportFlags
	cmd := &cobra.Command{
		Use:   "report [RUN [OTHER]]",
		Short: "Report what a run came to: windows, bottlenecks, drives, cartridges, restores",
		Long: `Report what a planning run came to. RUN is the directory that sim run wrote with
--out, or one that holds several such directories: the replications of one scenario,
which are put together with intervals. Without RUN the report is of the domain itself,
made from the master's jobs and their traces. With OTHER the two runs are compared;
replications of the same seeds are taken for pairs.

Written is what limits the nights, in words, and the figures. With --out also one page
of HTML with plots and tables, which needs nothing else; with --csv the figures and all
records as files of a directory. docs/reports.md says how to read it.

` + exitCodes,
		Example: "  capstan sim run scenarios/first-night.yaml --out night\n  capstan report night --out night.html\n" +
			"  capstan report --since 2026-11-23 --out week.html\n  capstan report year --warmup 90d --csv year-csv --json\n  capstan report four-drives six-drives --out drives.html",
		Args: usage(cobra.MaximumNArgs(2)),
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
			return nil, cobra.ShellCompDirectiveFilterDirs
		},
		RunE: func(cmd *cobra.Command, args []string) error { return f.run(cmd, args) },
	}
	s := cmd.Flags()
	s.StringVar(&f.out, "out", "", "write a page of HTML to this file")
	s.StringVar(&f.csv, "csv", "", "write the figures and the records as CSV to this directory")
	s.StringVar(&f.since, "since", "", "of the domain itself: jobs from this time on; default: the last seven days")
	s.StringVar(&f.keep, "record", "", "of the domain itself: write its record to this directory too")
	s.StringVar(&f.warmup, "warmup", "", "leave out what happened in this time from the start of a run, such as 28d")
	addOutputFlags(cmd)
	return cmd
}

func (f *reportFlags) run(cmd *cobra.Command, args []string) error {
	if len(args) == 2 {
		return f.compare(cmd, args[0], args[1])
	}
	runs, err := f.runs(cmd, args)
	if err != nil {
		return err
	}
	if err := f.leaveOut(runs); err != nil {
		return err
	}
	if f.out != "" {
		if err := writePage(f.out, func(w io.Writer) error { return page.HTML(w, runs) }); err != nil {
			return err
		}
	}
	if f.csv != "" {
		if err := page.CSV(f.csv, runs); err != nil {
			return err
		}
	}
	if output(cmd).JSON {
		return page.JSON(cmd.OutOrStdout(), runs)
	}
	return writeAnswers(cmd.OutOrStdout(), runs)
}

// leaveOut sets the warm-up of runs.
func (f *reportFlags) leaveOut(runs []*record.Run) error {
	if f.warmup != "" {
		var d scenarios.Duration
		if err := d.UnmarshalText([]byte(f.warmup)); err != nil {
			return wrong("--warmup: %w", err)
		}
		for _, r := range runs {
			if d.Std() >= r.Head.Length {
				return wrong("--warmup %s: the run lasts %v, nothing is left", f.warmup, r.Head.Length)
			}
			r.Head.Warmup = d.Std()
		}
	}
	return nil
}

// compare compares two runs.
func (f *reportFlags) compare(cmd *cobra.Command, first, second string) error {
	if f.csv != "" {
		return wrong("--csv writes one run: name one")
	}
	var runs [2][]*record.Run
	var all [2][]*plans.Answers
	for i, dir := range []string{first, second} {
		var err error
		if runs[i], err = f.runs(cmd, []string{dir}); err != nil {
			return err
		}
		if err := f.leaveOut(runs[i]); err != nil {
			return err
		}
		for _, r := range runs[i] {
			all[i] = append(all[i], plans.Of(r))
		}
	}
	names := [2]string{filepath.Base(first), filepath.Base(second)}
	if f.out != "" {
		if err := writePage(f.out, func(w io.Writer) error { return page.HTMLOfTwo(w, names, runs[0], runs[1]) }); err != nil {
			return err
		}
	}
	differences := plans.Compare(plans.Replications(all[0]), plans.Replications(all[1]))
	if output(cmd).JSON {
		return writeJSON(cmd.OutOrStdout(), differences)
	}
	w := cmd.OutOrStdout()
	fmt.Fprintf(w, "A is %s (%s), B is %s (%s)\n", names[0], runsText(len(all[0])), names[1], runsText(len(all[1])))
	return writeCompared(w, differences, true, output(cmd))
}

func runsText(n int) string {
	if n == 1 {
		return "1 run"
	}
	return fmt.Sprintf("%d runs", n)
}

// runs reads the runs of a directory, or makes the record of the domain.
func (f *reportFlags) runs(cmd *cobra.Command, args []string) ([]*record.Run, error) {
	if len(args) == 1 {
		if f.since != "" || f.keep != "" {
			return nil, wrong("--since and --record are of the domain itself: leave out %s", args[0])
		}
		runs, err := record.ReadAll(args[0])
		if err != nil {
			return nil, wrong("%w", err)
		}
		return runs, nil
	}
	since := time.Now().AddDate(0, 0, -7)
	if f.since != "" {
		var err error
		if since, err = parseTime(f.since, zone(cmd)); err != nil {
			return nil, err
		}
	}
	run := &record.Run{}
	err := withMaster(cmd, func(ctx context.Context, m master) error {
		sinks := []record.Sink{run}
		if f.keep != "" {
			w, err := record.Create(f.keep)
			if err != nil {
				return wrong("%w", err)
			}
			sinks = append(sinks, w)
		}
		return m.record(ctx, since, zone(cmd), record.Both(sinks...))
	})
	return []*record.Run{run}, err
}

func writePage(name string, write func(w io.Writer) error) error {
	file, err := os.Create(name)
	if err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	return errors.Join(write(file), file.Close())
}

// writeAnswers writes the report for a terminal.
func writeAnswers(w io.Writer, runs []*record.Run) error {
	var all []*plans.Answers
	for _, r := range runs {
		all = append(all, plans.Of(r))
	}
	for _, s := range all[0].Words() {
		fmt.Fprintln(w, s)
	}
	if len(all) > 1 {
		fmt.Fprintf(w, "This is of the first of %d replications; the figures are of all.\n", len(all))
	}
	fmt.Fprintln(w)
	for _, e := range plans.Estimates(plans.Replications(all)) {
		line := fmt.Sprintf("%-44s %12s   %s", e.Name, e.Text(e.Value), e.Range())
		if n := e.Interval.N; n < len(all) {
			line += fmt.Sprintf(" (of %d of the replications)", n)
		}
		fmt.Fprintln(w, strings.TrimRight(line, " "))
	}
	return nil
}
