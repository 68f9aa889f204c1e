package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"capstan/core/dismount"
	"capstan/internal/convert"
	"capstan/internal/mounts"
	"capstan/reports"
	"capstan/scenarios"
	"capstan/vtl"
)

// simMounts are the flags of sim mounts.
type simMounts struct{ library, dismount, timing string }

func newSimMounts() *cobra.Command {
	var f simMounts
	cmd := &cobra.Command{
		Use:   "mounts TRACE",
		Short: "Replay mount requests against a library, and show loads, hits and waits",
		Long: `Replay requests for mounts against a virtual library in virtual time, and show how often
drives were loaded, how many requests found their cartridge in a drive, how long they
waited until it was ready, and how much drives and robot were used.

The trace is CSV: a line time,cartridge,hold_seconds, then a request a line, in order. A
time is in seconds, or such as 2026-11-23T18:00:00Z; a cartridge is a barcode of the
library, or a media id; it is kept for hold_seconds once it is ready, which includes
whatever the drive does with it, and stands at its beginning when it is unloaded. Which drive
a request gets, and how long a cartridge stays, is decided by the code of production.

HELD is the part of the time in which a request had the drive, BUSY that in which it
loaded or unloaded, or the robot moved.

` + exitCodes,
		Example: "  capstan sim mounts docs/examples/mounts.csv --library docs/examples/library.yaml --dismount lru\n" +
			"  capstan sim mounts requests.csv --library big.yaml --dismount delay=300s --json",
		Args: usage(cobra.ExactArgs(1)),
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
			return []cobra.Completion{"csv"}, cobra.ShellCompDirectiveFilterFileExt
		},
		RunE: func(cmd *cobra.Command, args []string) error { return f.run(cmd, args[0]) },
	}
	s := cmd.Flags()
	s.StringVar(&f.library, "library", "", "the file that describes the library (docs/configuration.md)")
	s.StringVar(&f.dismount, "dismount", "", "how long a cartridge stays: immediate, such as delay=300s, or lru (default the file's dismount)")
	s.StringVar(&f.timing, "timing", "real", `how long drives and robot take: real, off, or such as "scale 60"`)
	addOutputFlags(cmd)
	return cmd
}

func (f *simMounts) run(cmd *cobra.Command, file string) error {
	cfg, policy, err := f.configuration()
	if err != nil {
		return err
	}
	trace, err := os.Open(file)
	if err != nil {
		return wrong("%w", err)
	}
	defer trace.Close()
	requests, err := mounts.Read(trace, file)
	if err != nil {
		return wrong("%w", err)
	}
	r, err := mounts.Replay(*cfg, policy, requests, file)
	if errors.As(err, new(mounts.UnknownCartridge)) {
		return wrong("%w", err)
	}
	if err != nil {
		return fmt.Errorf("replaying %s: %w", file, err)
	}
	m, o := mountRows(r, policy), output(cmd)
	if o.JSON {
		return writeJSON(cmd.OutOrStdout(), m)
	}
	return reports.WriteMounts(cmd.OutOrStdout(), m, o)
}

// configuration is what the flags and the library's file say.
func (f *simMounts) configuration() (*vtl.Config, dismount.Policy, error) {
	if f.library == "" {
		return nil, 0, wrong("give the file that describes the library: --library FILE")
	}
	l, err := scenarios.Read[scenarios.Library](f.library)
	if err != nil {
		return nil, 0, wrong("%w", err)
	}
	if err := l.Timing.UnmarshalText([]byte(f.timing)); err != nil {
		return nil, 0, wrong("--timing: %w", err)
	}
	policy := l.Dismount
	if f.dismount != "" {
		if policy, err = dismount.Parse(f.dismount); err != nil {
			return nil, 0, wrong("--dismount: %w", err)
		}
	}
	cfg := convert.Library(l)
	return &cfg, policy, nil
}

func mountRows(r *mounts.Result, p dismount.Policy) *reports.Mounts {
	w := r.Waits()
	use := func(u *mounts.Use) reports.DeviceUse {
		return reports.DeviceUse{Name: u.Name, Loads: u.Loads, Held: reports.Seconds(u.Held), Busy: reports.Seconds(u.Busy)}
	}
	m := &reports.Mounts{
		Dismount: p.String(), Requests: int64(len(r.Served)), Loads: r.Loads(), Hits: r.Hits(), Span: reports.Seconds(r.Span),
		Wait: reports.MountWait{
			Mean: reports.Seconds(w.Mean), P50: reports.Seconds(w.P50), P90: reports.Seconds(w.P90),
			P95: reports.Seconds(w.P95), P99: reports.Seconds(w.P99), Max: reports.Seconds(w.Max),
		},
		Robot: use(&r.Robot),
	}
	for i := range r.Drives {
		m.Drives = append(m.Drives, use(&r.Drives[i]))
	}
	return m
}
