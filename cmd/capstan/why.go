package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"capstan/core/bpjobd"
	"capstan/core/job"
	"capstan/core/nbemm"
	"capstan/core/nbrb"
	"capstan/core/policy"
	"capstan/reports"
)

// why is what keeps a job from its resources.
type why struct {
	Job     int64                `json:"job"`
	State   string               `json:"state"`
	Why     string               `json:"why"`              // in a sentence
	Since   time.Time            `json:"since,omitzero"`   // it waits
	Ahead   []int64              `json:"ahead"`            // jobs whose requests are looked at first
	Storage string               `json:"storage,omitzero"` // that it wants to write to
	Drives  []reports.DriveState `json:"drives"`           // that could serve it, and who has them
	Running []reports.Job        `json:"running"`          // jobs that hold what it waits for
}

func newJobsWhy() *cobra.Command {
	cmd := newJobCommand(&cobra.Command{
		Use:   "why JOB",
		Short: "Say why a job waits, and who has what it waits for",
		Long: `Say why a job waits for its resources: what the resource broker says, which requests
are looked at first, and which jobs have the drives that could serve it.

` + exitCodes,
		Example:           "  capstan jobs why 12",
		ValidArgsFunction: first(completeLiveJob),
	}, func(ctx context.Context, cmd *cobra.Command, m master, id int64) error {
		y, err := m.why(ctx, id)
		if err != nil {
			return err
		}
		o := output(cmd)
		if o.JSON {
			return writeJSON(cmd.OutOrStdout(), y)
		}
		return writeWhy(cmd.OutOrStdout(), y, o)
	})
	addOutputFlags(cmd)
	return cmd
}

// why asks all who know something of why a job waits.
func (m master) why(ctx context.Context, id int64) (why, error) {
	j, err := m.job(ctx, id)
	if err != nil {
		return why{}, err
	}
	waiters, err := nbrb.Waiters.Call(ctx, m.at(nbrb.Service), struct{}{})
	if err != nil {
		return why{}, err
	}
	devices, err := m.devices(ctx)
	if err != nil {
		return why{}, err
	}
	active, _, err := m.jobs(ctx, bpjobd.Query{State: job.Active})
	if err != nil {
		return why{}, err
	}
	ps, err := m.policies(ctx)
	if err != nil {
		return why{}, err
	}
	return explain(&j, waiters, &devices, active, ps), nil
}

// explain puts together why j waits.
func explain(j *job.Job, waiters []nbrb.Waiter, devices *nbemm.List, active []job.Job, ps []policy.Policy) why {
	y := why{Job: j.ID, State: string(j.State), Ahead: []int64{}, Drives: []reports.DriveState{}, Running: []reports.Job{}}
	at := slices.IndexFunc(waiters, func(w nbrb.Waiter) bool { return w.Job == j.ID })
	switch {
	case j.Done():
		y.Why = "it does not wait: it has " + describe(j)
		return y
	case at < 0 && j.State == job.WaitingToRetry:
		y.Why = "its last try failed, and the next is not due yet: " + j.Detail
		return y
	case at < 0:
		y.Why = "it waits for no resources"
		return y
	}
	w := waiters[at]
	y.Why, y.Since = w.Why, instant(w.Since)
	if y.Why == "" {
		y.Why = "its request has not been looked at yet"
	}
	for _, before := range waiters[:at] {
		y.Ahead = append(y.Ahead, before.Job)
	}
	for _, p := range ps {
		if j.Type == job.Backup && p.Name == j.Policy {
			y.Storage = p.Storage
		}
	}
	y.hold(j, devices, active)
	return y
}

// hold finds the drives that could serve the job, and the jobs that have them or
// count for a limit that it has.
func (y *why) hold(j *job.Job, devices *nbemm.List, active []job.Job) {
	libraries := serving(y.Storage, devices)
	holders := map[int64]bool{}
	for i := range devices.Drives {
		d := &devices.Drives[i]
		if y.Storage != "" && !slices.Contains(libraries, d.Library) {
			continue
		}
		y.Drives = append(y.Drives, driveRow(d))
		holders[d.Job] = true
	}
	for i := range active {
		a := &active[i]
		if a.ID != j.ID && (holders[a.ID] || a.Client == j.Client || j.Policy != "" && a.Policy == j.Policy) {
			y.Running = append(y.Running, jobRow(a))
		}
	}
}

// serving are the libraries of a storage unit, or of the units of a group.
func serving(storage string, devices *nbemm.List) (libraries []string) {
	units := []string{storage}
	for _, g := range devices.Groups {
		if g.Name == storage {
			units = append(units, g.Units...)
		}
	}
	for _, u := range devices.Units {
		if slices.Contains(units, u.Name) && u.Library != "" {
			libraries = append(libraries, u.Library)
		}
	}
	return libraries
}

func writeWhy(w io.Writer, y why, o reports.Options) error {
	fmt.Fprintf(w, "Job %d is %s: %s.\n", y.Job, y.State, y.Why)
	if y.Since.IsZero() {
		return nil
	}
	fmt.Fprintf(w, "It has waited since %s (%s).\n", reports.Time(y.Since, o), reports.Duration(o.Now.Sub(y.Since)))
	if len(y.Ahead) > 0 {
		fmt.Fprintf(w, "Requests that are looked at before it, by their jobs: %v.\n", y.Ahead)
	}
	if len(y.Drives) > 0 {
		fmt.Fprintln(w, "\nThe drives that could serve it:")
		if err := reports.WriteDriveStates(w, y.Drives, o); err != nil {
			return err
		}
	}
	if len(y.Running) > 0 {
		fmt.Fprintln(w, "\nThe jobs that have a drive, or are of its client or policy:")
		return reports.WriteJobs(w, y.Running, o)
	}
	return nil
}
