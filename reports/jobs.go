package reports

import (
	"encoding/csv"
	"fmt"
	"io"
	"strconv"
	"time"

	"capstan/core/status"
)

// Job is a row of the job list, as in an Activity Monitor.
type Job struct {
	ID       int64       `json:"id"`
	Type     string      `json:"type"`  // backup, restore …
	State    string      `json:"state"` // queued, active, ending, waiting to retry, completed
	Status   status.Code `json:"status"`
	Policy   string      `json:"policy,omitempty"`
	Schedule string      `json:"schedule,omitempty"`
	Client   string      `json:"client"`
	Storage  string      `json:"storage,omitempty"` // storage unit
	Try      int         `json:"try"`
	Bytes    int64       `json:"bytes"`
	Files    int64       `json:"files"`
	Queued   time.Time   `json:"queued,omitzero"`
	Started  time.Time   `json:"started,omitzero"` // became active
	Ended    time.Time   `json:"ended,omitzero"`
	Detail   string      `json:"detail,omitempty"` // why it is queued, or what went wrong
}

// Done tells whether the job has ended: its status is final.
func (j *Job) Done() bool { return j.State == "completed" || !j.Ended.IsZero() }

// Elapsed is how long the job has been active by now, or was.
func (j *Job) Elapsed(now time.Time) time.Duration {
	switch {
	case j.Started.IsZero():
		return 0
	case !j.Ended.IsZero():
		return j.Ended.Sub(j.Started)
	case now.IsZero():
		return 0
	}
	return now.Sub(j.Started)
}

// WriteJobs writes the job list.
func WriteJobs(w io.Writer, rows []Job, o Options) error {
	if o.JSON {
		return writeJSON(w, rows)
	}
	t := newTable(right("JOBID"), left("TYPE"), left("STATE"), right("STATUS"), left("POLICY"), left("SCHEDULE"),
		left("CLIENT"), left("STORAGE"), right("TRY"), right("SIZE"), right("FILES"), right("RATE"), left("STARTED"), right("ELAPSED"))
	for i := range rows {
		j := &rows[i]
		elapsed := j.Elapsed(o.Now)
		code := cell{}
		if j.Done() {
			code = cell{strconv.Itoa(int(j.Status)), statusColor(j.Status)}
		}
		try := ""
		if j.Try > 0 {
			try = strconv.Itoa(j.Try)
		}
		t.row(strconv.FormatInt(j.ID, 10), j.Type, cell{j.State, stateColor(j)}, code, j.Policy, j.Schedule,
			j.Client, j.Storage, try, Size(j.Bytes), Count(j.Files), Rate(j.Bytes, elapsed),
			o.time(j.Started, toSecond), Duration(elapsed))
	}
	return t.write(w, o.Color)
}

// WriteJobsCSV writes the backups that succeeded as CSV, a line of titles first: the
// form in which a scenario takes jobs to play back (scenarios.TraceTitles).
func WriteJobsCSV(w io.Writer, rows []Job) error {
	c := csv.NewWriter(w)
	lines := [][]string{{"time", "client", "policy", "schedule", "bytes", "files"}}
	for i := range rows {
		j := &rows[i]
		if j.Type == "backup" && j.State == "completed" && j.Status.Succeeded() {
			lines = append(lines, []string{
				j.Queued.UTC().Format(time.RFC3339), j.Client, j.Policy, j.Schedule, strconv.FormatInt(j.Bytes, 10), strconv.FormatInt(j.Files, 10),
			})
		}
	}
	if err := c.WriteAll(lines); err != nil {
		return fmt.Errorf("writing jobs as CSV: %w", err)
	}
	return nil
}

func stateColor(j *Job) string {
	switch {
	case j.Done():
		return statusColor(j.Status)
	case j.State == "active":
		return blue
	}
	return yellow
}

func statusColor(c status.Code) string {
	switch {
	case c == status.OK:
		return green
	case c.Succeeded():
		return yellow
	}
	return red
}

// Summary is what a number of jobs came to.
type Summary struct {
	Jobs      int     `json:"jobs"`
	Queued    int     `json:"queued"`
	Active    int     `json:"active"`
	Succeeded int     `json:"succeeded"` // status 0
	Partial   int     `json:"partial"`   // status 1
	Failed    int     `json:"failed"`
	Bytes     int64   `json:"bytes"` // of jobs that ended with status 0 or 1
	Files     int64   `json:"files"`
	Virtual   Seconds `json:"virtual,omitempty"` // simulated time
	Real      Seconds `json:"real,omitempty"`    // what it took on the clock
}

// Summarize adds up jobs.
func Summarize(jobs []Job) Summary {
	s := Summary{Jobs: len(jobs)}
	for i := range jobs {
		j := &jobs[i]
		switch {
		case !j.Done() && j.State == "active":
			s.Active++
			continue
		case !j.Done():
			s.Queued++
			continue
		case j.Status == status.OK:
			s.Succeeded++
		case j.Status.Succeeded():
			s.Partial++
		default:
			s.Failed++
			continue
		}
		s.Bytes += j.Bytes
		s.Files += j.Files
	}
	return s
}

// WriteSummary writes the summary as a few lines.
func WriteSummary(w io.Writer, s Summary, o Options) error {
	if o.JSON {
		return encode(w, s)
	}
	t := newTable(right("JOBS"), right("QUEUED"), right("ACTIVE"), right("SUCCEEDED"), right("PARTIAL"), right("FAILED"), right("SIZE"), right("FILES"))
	failed := cell{text: strconv.Itoa(s.Failed)}
	if s.Failed > 0 {
		failed.color = red
	}
	t.row(strconv.Itoa(s.Jobs), strconv.Itoa(s.Queued), strconv.Itoa(s.Active), strconv.Itoa(s.Succeeded),
		strconv.Itoa(s.Partial), failed, Size(s.Bytes), Count(s.Files))
	if err := t.write(w, o.Color); err != nil {
		return err
	}
	if s.Virtual > 0 && s.Real > 0 {
		_, err := io.WriteString(w, Duration(s.Virtual.Std())+" of virtual time took "+Duration(s.Real.Std())+" of real time, "+
			Count(int64(s.Virtual.Std()/s.Real.Std()))+" times as fast\n")
		return err
	}
	return nil
}
