package main

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"capstan/internal/virtual"
	"capstan/reports"
	"capstan/reports/record"
	"capstan/scenarios"
)

func init() { commands = append(commands, newSimCommand) }

func newSimCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "sim",
		Short: "Run the system in a virtual world",
		Long: `Run the roles of a whole domain in a virtual world, on virtual drives and in virtual
time: a night of backups takes a moment. What runs is the code that runs for real.`,
		Example: "  capstan sim run scenarios/first-night.yaml",
	}
	cmd.AddCommand(newSimRun(), newSimSweep(), newSimCompare(), newSimExplain(), newSimMounts(), newSimValidate())
	return cmd
}

// simFlags are the flags of sim run.
type simFlags struct {
	seed    int64
	trace   string
	codec   string
	shuffle bool
	allJobs bool
	out     string
	times   int
}

func newSimRun() *cobra.Command {
	var f simFlags
	cmd := &cobra.Command{
		Use:   "run FILE",
		Short: "Run a scenario, and show what came out",
		Long: `Run a scenario from its start to its end; docs/configuration.md lists the fields of
its file. Shown are the jobs, what the drives did, and how long the run took. Two
runs with one seed do the same, and write the same trace, byte for byte.

With --replications, or if the file asks for more than one, it is run so many times,
with the seed and the ones after it; shown are the means of its figures with intervals
of 95 %, what is in the file's warm-up left out.

Exit codes: 0 done, 1 failed, 2 wrong usage or a mistake in the file, 4 what came out
is not what the scenario expects.`,
		Example:           "  capstan sim run scenarios/first-night.yaml\n  capstan sim run scenarios/first-night.yaml --seed 7 --trace night.jsonl --json",
		Args:              usage(cobra.ExactArgs(1)),
		ValidArgsFunction: completeYAML,
		RunE:              func(cmd *cobra.Command, args []string) error { return f.run(cmd, args[0]) },
	}
	s := cmd.Flags()
	s.Int64Var(&f.seed, "seed", 0, "of all random numbers, instead of the scenario's")
	s.StringVar(&f.trace, "trace", "", "write the trace to this file: an event a line, as JSON; - is standard output, and nothing else is then written there")
	s.StringVar(&f.out, "out", "", "write the run's record to this directory, with --replications one below it for each; capstan report reads it")
	s.IntVar(&f.times, "replications", 0, "run it so many times, with the seed and the ones after it (default: as the file says)")
	s.StringVar(&f.codec, "codec", "off", "on: messages pass the encoding of the wire, which must change nothing")
	s.BoolVar(&f.shuffle, "shuffle", false, "what happens at one instant happens in an order drawn from the seed")
	s.BoolVar(&f.allJobs, "jobs", false, fmt.Sprintf("list every job, also if there are more than %d", shortList))
	addOutputFlags(cmd)
	completeFlag(cmd, "codec", words("on", "off"))
	return cmd
}

// shortList is how many jobs are listed unless all are asked for.
const shortList = 50

func (f *simFlags) run(cmd *cobra.Command, file string) error {
	o := virtual.Options{Seed: f.seed, SeedSet: cmd.Flags().Changed("seed"), Shuffle: f.shuffle, Codec: f.codec == "on"}
	if f.codec != "on" && f.codec != "off" {
		return wrong("--codec %s: expected on or off", f.codec)
	}
	s, places, err := scenarios.ReadPlaced[scenarios.Scenario](file)
	if err != nil {
		return unread(err)
	}
	o.Places = places
	if f.times == 0 {
		f.times = s.Replications
	}
	if f.times > 1 {
		return f.replicate(cmd, s, o)
	}
	end := func() error { return nil }
	if f.trace != "" {
		if o.Trace, end, err = openTrace(cmd.OutOrStdout(), f.trace); err != nil {
			return err
		}
	}
	if f.out != "" {
		if o.Record, err = record.Create(f.out); err != nil {
			return wrong("%w", err)
		}
	}
	virtual.SpendMemory()
	r, err := virtual.Run(s, o)
	if err = errors.Join(err, end()); err != nil {
		return err
	}
	return f.outcome(cmd, s, r)
}

// openTrace makes the file of a trace; end writes what is left, and closes it.
func openTrace(stdout io.Writer, name string) (w io.Writer, end func() error, err error) {
	if name == "-" {
		b := bufio.NewWriterSize(stdout, 1<<16)
		return b, b.Flush, nil
	}
	file, err := os.Create(name)
	if err != nil {
		return nil, nil, fmt.Errorf("writing the trace: %w", err)
	}
	b := bufio.NewWriterSize(file, 1<<16)
	return b, func() error {
		if err := errors.Join(b.Flush(), file.Close()); err != nil {
			return fmt.Errorf("writing the trace: %w", err)
		}
		return nil
	}, nil
}

// simOutcome is the JSON of sim run.
type simOutcome struct {
	Scenario string          `json:"scenario"`
	Seed     int64           `json:"seed"`
	Jobs     []reports.Job   `json:"jobs"`
	Drives   []reports.Drive `json:"drives"`
	Summary  reports.Summary `json:"summary"`
	Events   int64           `json:"events"`
	Trace    string          `json:"traceSHA256"`
	Failed   []string        `json:"failed"` // what the scenario expects and did not come
}

// outcome shows what came out, and fails if it is not what was expected.
func (f *simFlags) outcome(cmd *cobra.Command, s *scenarios.Scenario, r *virtual.Result) error {
	out := simOutcome{
		Scenario: s.Name, Seed: r.Seed, Jobs: jobRows(r.Jobs), Drives: usedDrives(s, r), Events: r.Events, Trace: r.TraceHash,
		Failed: []string{},
	}
	for _, failure := range r.Failed {
		out.Failed = append(out.Failed, failure.String())
	}
	out.Summary = reports.Summarize(out.Jobs)
	out.Summary.Virtual, out.Summary.Real = reports.Seconds(r.Virtual), reports.Seconds(r.Real)
	if f.trace != "-" {
		o := output(cmd)
		if err := f.write(cmd.OutOrStdout(), s, &out, o); err != nil {
			return err
		}
	}
	if len(r.Failed) > 0 {
		return &exitError{exitJob, fmt.Errorf("scenario %s, seed %d: not what was expected:\n%s", s.Name, r.Seed, strings.Join(out.Failed, "\n"))}
	}
	return nil
}

func (f *simFlags) write(w io.Writer, s *scenarios.Scenario, out *simOutcome, o reports.Options) error {
	if o.JSON {
		return writeJSON(w, out)
	}
	o.Now = s.Start.Add(s.Length.Std())
	if o.Location == time.Local {
		if zone, err := time.LoadLocation(s.Timezone); err == nil {
			o.Location = zone
		}
	}
	jobs := out.Jobs
	if len(jobs) > shortList && !f.allJobs {
		fmt.Fprintf(w, "%d jobs, the first %d (--jobs lists all):\n", len(jobs), shortList)
		jobs = jobs[:shortList]
	}
	if err := reports.WriteJobs(w, jobs, o); err != nil {
		return err
	}
	if len(out.Drives) > 0 {
		fmt.Fprintln(w)
		if err := reports.WriteDrives(w, out.Drives, o); err != nil {
			return err
		}
	}
	fmt.Fprintln(w)
	if err := reports.WriteSummary(w, out.Summary, o); err != nil {
		return err
	}
	if s.WarmUp > 0 {
		fmt.Fprintf(w, "the first %v are warm-up: they are shown here, and left out of what capstan report and sim sweep count\n", s.WarmUp)
	}
	_, err := fmt.Fprintf(w, "seed %d, %d events, trace %s\n", out.Seed, out.Events, out.Trace)
	return err
}

// usedDrives are the drives of the scenario, and how much they were used. The
// result has them in the scenario's order.
func usedDrives(s *scenarios.Scenario, r *virtual.Result) []reports.Drive {
	rows := []reports.Drive{}
	for _, l := range s.Libraries {
		for _, own := range l.Drives {
			if len(rows) == len(r.Drives) {
				return rows
			}
			d := &r.Drives[len(rows)]
			rows = append(rows, reports.Drive{
				Name: d.Name, Host: cmp.Or(own.Host, l.Host), Library: l.Name, Model: own.Model, State: "up",
				Mounts: d.Mounts, Written: d.BytesWritten, Read: d.BytesRead,
				Busy: reports.Seconds(d.Busy), Moving: reports.Seconds(d.Transferring), Span: reports.Seconds(r.Virtual),
			})
		}
	}
	return rows
}
