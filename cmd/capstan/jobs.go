package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"capstan/core/bpjobd"
	"capstan/core/bprd"
	"capstan/core/job"
	"capstan/core/nbjm"
	"capstan/core/status"
	"capstan/reports"
)

func init() { commands = append(commands, newJobsCommand) }

// jobStates are the states that --state knows.
var jobStates = []job.State{job.Queued, job.Active, job.Ending, job.WaitingToRetry, job.Completed}

func newJobsCommand() *cobra.Command {
	var state string
	var follow, asCSV bool
	cmd := &cobra.Command{
		Use:   "jobs",
		Short: "List the jobs, and follow them",
		Long: `List the jobs: the Activity Monitor. With --follow the list is shown again whenever
it changes, on a terminal; otherwise each job that has changed is written as a line,
with --json as an object. Ctrl-C ends it.

With --csv the backups that succeeded are written as CSV with the titles time, client,
policy, schedule, bytes and files: what workload.trace of a scenario plays back, as it
does what --json writes.

` + exitCodes,
		Example: "  capstan jobs\n  capstan jobs --state active --follow\n  capstan jobs show 12\n  capstan jobs --csv > jobs.csv",
		Args:    usage(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			q := bpjobd.Query{}
			if asCSV && (follow || flag(cmd, "json")) {
				return wrong("--csv is of the list as it is: give it without --follow and --json")
			}
			if state != "" {
				i := slices.IndexFunc(jobStates, func(s job.State) bool { return stateWord(s) == strings.ToLower(state) })
				if i < 0 {
					return wrong("--state %s: expected one of %s", state, strings.Join(stateWords(), ", "))
				}
				q.State = jobStates[i]
			}
			return withMaster(cmd, func(ctx context.Context, m master) error {
				if follow {
					return followJobs(ctx, cmd, m, q)
				}
				js, _, err := m.jobs(ctx, q)
				if err != nil {
					return err
				}
				if asCSV {
					return reports.WriteJobsCSV(cmd.OutOrStdout(), jobRows(js))
				}
				return reports.WriteJobs(cmd.OutOrStdout(), jobRows(js), output(cmd))
			})
		},
	}
	cmd.Flags().BoolVar(&asCSV, "csv", false, "write the backups that succeeded as CSV, which a scenario can play back")
	cmd.Flags().StringVar(&state, "state", "", "only jobs in this state: "+strings.Join(stateWords(), ", "))
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on showing what changes")
	addOutputFlags(cmd)
	completeFlag(cmd, "state", words(stateWords()...))
	cmd.AddCommand(newJobsShow(), newJobsLog(), newJobsCancel(), newJobsWhy())
	return cmd
}

// stateWord is a state as the command line has it: "waiting-to-retry".
func stateWord(s job.State) string { return strings.ReplaceAll(strings.ToLower(string(s)), " ", "-") }

func stateWords() []string {
	all := make([]string, len(jobStates))
	for i, s := range jobStates {
		all[i] = stateWord(s)
	}
	return all
}

// clearScreen moves to the top left corner and clears a terminal (ECMA-48 CUP, ED).
const clearScreen = "\x1b[H\x1b[2J"

// followJobs shows jobs until the command is interrupted.
func followJobs(ctx context.Context, cmd *cobra.Command, m master, q bpjobd.Query) error {
	w := cmd.OutOrStdout()
	var show func(js []job.Job) error
	if isTerminal(w) && !flag(cmd, "json") {
		show = func(js []job.Job) error {
			fmt.Fprint(w, clearScreen)
			return reports.WriteJobs(w, jobRows(js), output(cmd))
		}
	} else {
		show = changes(cmd, w)
	}
	var failed error
	err := m.follow(ctx, q, func(js []job.Job) bool {
		failed = show(js)
		return failed == nil
	})
	if failed == nil && err != nil && cmd.Context().Err() == nil {
		failed = err
	}
	return failed // not that it was interrupted
}

// changes writes the jobs that have changed since the last call.
func changes(cmd *cobra.Command, w io.Writer) func([]job.Job) error {
	seen := map[int64]int64{}
	said := &lines{w: w, said: map[int64]string{}}
	encoder := json.NewEncoder(w)
	return func(js []job.Job) error {
		for i := range js {
			j := &js[i]
			if seen[j.ID] == j.Revision && j.Revision != 0 {
				continue
			}
			seen[j.ID] = j.Revision
			if !flag(cmd, "json") {
				said.job(j)
				continue
			}
			if err := encoder.Encode(jobRow(j)); err != nil {
				return fmt.Errorf("writing job %d: %w", j.ID, err)
			}
		}
		return nil
	}
}

// jobID reads the number of a job.
func jobID(arg string) (int64, error) {
	id, err := strconv.ParseInt(arg, 10, 64)
	if err != nil || id <= 0 {
		return 0, wrong("%q is no job's number; see capstan jobs", arg)
	}
	return id, nil
}

// newJobCommand makes a command that does something with one job.
func newJobCommand(cmd *cobra.Command, run func(ctx context.Context, cmd *cobra.Command, m master, id int64) error) *cobra.Command {
	cmd.Args = usage(cobra.ExactArgs(1))
	if cmd.ValidArgsFunction == nil {
		cmd.ValidArgsFunction = first(completeJob)
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		id, err := jobID(args[0])
		if err != nil {
			return err
		}
		return withMaster(cmd, func(ctx context.Context, m master) error { return run(ctx, cmd, m, id) })
	}
	return cmd
}

func newJobsShow() *cobra.Command {
	cmd := newJobCommand(&cobra.Command{
		Use:     "show JOB",
		Short:   "Show all that is known of a job",
		Long:    "Show all that is known of a job.\n\n" + exitCodes,
		Example: "  capstan jobs show 12",
	}, func(ctx context.Context, cmd *cobra.Command, m master, id int64) error {
		j, err := m.job(ctx, id)
		if err != nil {
			return err
		}
		o := output(cmd)
		if o.JSON {
			return writeJSON(cmd.OutOrStdout(), shown(&j))
		}
		return reports.WriteFields(cmd.OutOrStdout(), jobFields(&j, o), o)
	})
	addOutputFlags(cmd)
	return cmd
}

// shownJob is the JSON of jobs show: the list's row, and what it leaves out.
type shownJob struct {
	reports.Job
	To          string   `json:"to,omitempty"`
	MediaServer string   `json:"mediaServer,omitempty"`
	Drive       string   `json:"drive,omitempty"`
	Media       []string `json:"media,omitempty"`
	Priority    int      `json:"priority"`
	Owner       string   `json:"owner,omitempty"`
	BackupID    string   `json:"backupId,omitempty"`
	Expected    int64    `json:"expected,omitempty"`
	Waiting     string   `json:"waiting,omitempty"`
}

func shown(j *job.Job) shownJob {
	s := shownJob{
		Job: jobRow(j), To: j.To, MediaServer: j.MediaServer, Drive: j.Drive, Media: j.Media, Priority: j.Priority,
		Owner: j.Owner, BackupID: j.BackupID, Expected: j.Expected, Waiting: j.Waiting,
	}
	s.Detail = j.Detail
	return s
}

func jobFields(j *job.Job, o reports.Options) []reports.Field {
	row := jobRow(j)
	elapsed := row.Elapsed(o.Now)
	outcome := ""
	if j.Done() {
		outcome = fmt.Sprintf("%d, %s", j.Status, j.Status.Message())
	}
	return []reports.Field{
		{Name: "Job", Value: strconv.FormatInt(j.ID, 10)}, {Name: "Type", Value: string(j.Type)}, {Name: "State", Value: string(j.State)},
		{Name: "Status", Value: outcome}, {Name: "Detail", Value: j.Detail}, {Name: "Waits for", Value: j.Waiting},
		{Name: "Policy", Value: j.Policy}, {Name: "Schedule", Value: j.Schedule}, {Name: "Client", Value: j.Client}, {Name: "Restored to", Value: j.To},
		{Name: "Owner", Value: j.Owner}, {Name: "Priority", Value: strconv.Itoa(j.Priority)}, {Name: "Try", Value: strconv.Itoa(j.Try)},
		{Name: "Media server", Value: j.MediaServer}, {Name: "Storage unit", Value: j.StorageUnit}, {Name: "Drive", Value: j.Drive},
		{Name: "Media", Value: strings.Join(j.Media, ", ")}, {Name: "Image", Value: j.BackupID},
		{Name: "Size", Value: reports.Size(j.Bytes)}, {Name: "Expected", Value: reports.Size(j.Expected)}, {Name: "Files", Value: reports.Count(j.Files)},
		{Name: "Rate", Value: reports.Rate(j.Bytes, elapsed)}, {Name: "Queued", Value: reports.Time(row.Queued, o)},
		{Name: "Started", Value: reports.Time(row.Started, o)}, {Name: "Ended", Value: reports.Time(row.Ended, o)},
		{Name: "Elapsed", Value: reports.Duration(elapsed.Round(time.Millisecond))},
	}
}

func newJobsLog() *cobra.Command {
	cmd := newJobCommand(&cobra.Command{
		Use:     "log JOB",
		Short:   "Show what a job's roles had to say",
		Long:    "Show the lines of a job's log: what its roles had to say, on every host. A line\nis there a second after it was said, at the latest; a process that is killed loses what\nit said in its last second. A log, and a trace, is kept for 30 days after the job's end.\n\n" + exitCodes,
		Example: "  capstan jobs log 12",
	}, func(ctx context.Context, cmd *cobra.Command, m master, id int64) error {
		ls, err := m.log(ctx, id, 0)
		if err != nil {
			return err
		}
		return reports.WriteLog(cmd.OutOrStdout(), lineRows(ls), output(cmd))
	})
	addOutputFlags(cmd)
	return cmd
}

func newJobsCancel() *cobra.Command {
	return newJobCommand(&cobra.Command{
		Use:   "cancel JOB",
		Short: "End a job",
		Long: `End a job: its processes are asked to stop, and it gets status 150. What a restore
has brought back stays, and so does an image that was imported; one that is not
complete is removed.

` + exitCodes,
		Example:           "  capstan jobs cancel 12",
		ValidArgsFunction: first(completeLiveJob),
	}, func(ctx context.Context, cmd *cobra.Command, m master, id int64) error {
		j, err := m.job(ctx, id)
		if err != nil {
			return err
		}
		if j.Done() {
			return fmt.Errorf("job %d has %s", id, describe(&j))
		}
		if j.Type != job.Backup {
			_, err = bprd.Cancel.Call(ctx, m.at(bprd.Service), bprd.CancelJob{Job: id})
		} else {
			_, err = nbjm.Cancel.Call(ctx, m.at(nbjm.Service), nbjm.CancelJob{Job: id, Status: status.Terminated})
		}
		if err != nil {
			return err
		}
		fmt.Fprintf(cmd.ErrOrStderr(), "job %d is being ended; see capstan jobs show %d\n", id, id)
		return nil
	})
}
