package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"capstan/internal/expect"
	"capstan/internal/virtual"
	"capstan/reports/page"
	"capstan/reports/record"
	"capstan/scenarios"
)

// replicate runs a scenario several times, and shows the figures of all.
func (f *simFlags) replicate(cmd *cobra.Command, s *scenarios.Scenario, o virtual.Options) error {
	if f.trace != "" {
		return wrong("--trace is of one run: give --replications 1")
	}
	if f.out != "" {
		if err := os.MkdirAll(f.out, 0o755); err != nil {
			return fmt.Errorf("making the directory of the runs: %w", err)
		}
	}
	first := s.Seed
	if o.SeedSet {
		first = o.Seed
	}
	var runs []*record.Run
	var failed []expect.Failure
	for i := range f.times {
		run := &record.Run{}
		o.Seed, o.SeedSet, o.Replication, o.Record, o.Quiet = first+int64(i), true, i, run, true
		if f.out != "" {
			w, err := record.Create(filepath.Join(f.out, fmt.Sprintf("seed-%06d", o.Seed)))
			if err != nil {
				return wrong("%w", err)
			}
			o.Record = record.Both(run, w)
		}
		r, err := virtual.Run(s, o)
		if err != nil {
			return err
		}
		runs, failed = append(runs, run), append(failed, r.Failed...)
		if err := cmd.Context().Err(); err != nil {
			return fmt.Errorf("interrupted after %d of %d runs", i+1, f.times)
		}
	}
	if err := f.writeReplicated(cmd, s, runs); err != nil {
		return err
	}
	if len(failed) > 0 {
		var err error
		for _, x := range failed {
			err = errors.Join(err, errors.New(x.String()))
		}
		return &exitError{exitJob, fmt.Errorf("scenario %s: not what was expected:\n%w", s.Name, err)}
	}
	return nil
}

func (f *simFlags) writeReplicated(cmd *cobra.Command, s *scenarios.Scenario, runs []*record.Run) error {
	w := cmd.OutOrStdout()
	if output(cmd).JSON {
		return page.JSON(w, runs)
	}
	fmt.Fprintf(w, "%s: %d replications, seeds from %d%s\n\n", s.Name, len(runs), runs[0].Head.Seed, warmUpNote(s))
	return writeAnswers(w, runs)
}
