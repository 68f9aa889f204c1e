// Package job holds the words of a job: its states, what is shown of it, and
// what nbpem asks of nbjm.
package job

import (
	"encoding/json"
	"time"

	"capstan/core/rt"
	"capstan/core/status"
	"capstan/core/store"
)

// Type is what a job does.
type Type string

// The types of job.
const (
	Backup  Type = "Backup"
	Restore Type = "Restore"
	Import  Type = "Import" // of images from media into the catalog
)

// RestorePriority is the priority of a restore: somebody waits for it.
const RestorePriority = 90_000

// State is where a job is in its life, as the Activity Monitor shows it.
type State string

// The states of a job.
const (
	Queued         State = "Queued"           // waits for resources
	Active         State = "Active"           // has them and works
	Ending         State = "Ending"           // its processes are being ended; its status is not final
	WaitingToRetry State = "Waiting to Retry" // failed, and will be tried again
	Completed      State = "Completed"        // has its final status
)

// Job is all that is shown of a job.
type Job struct {
	ID          int64       `json:"id"`
	Type        Type        `json:"type"`
	State       State       `json:"state"`
	Status      status.Code `json:"status"` // of a completed job
	Detail      string      `json:"detail,omitempty"`
	Try         int         `json:"try"`
	Policy      string      `json:"policy,omitempty"`
	Schedule    string      `json:"schedule,omitempty"`
	Client      string      `json:"client"`
	To          string      `json:"to,omitempty"` // of a restore: the client that receives
	MediaServer string      `json:"mediaServer,omitempty"`
	StorageUnit string      `json:"storageUnit,omitempty"`
	Drive       string      `json:"drive,omitempty"`
	Media       []string    `json:"media,omitempty"`
	Priority    int         `json:"priority,omitempty"`
	Owner       string      `json:"owner,omitempty"` // who asked for it
	BackupID    string      `json:"backupId,omitempty"`
	Bytes       int64       `json:"bytes"`
	Files       int64       `json:"files"`
	Expected    int64       `json:"expected,omitempty"` // bytes, from the last backup alike or the restore's list
	Created     rt.Time     `json:"created"`
	Started     rt.Time     `json:"started,omitempty"` // when it became Active
	Ended       rt.Time     `json:"ended,omitempty"`
	Waiting     string      `json:"waiting,omitempty"` // why it is queued
	Revision    int64       `json:"revision"`          // of the job list at the last change
}

// Done tells whether the job has its final status.
func (j *Job) Done() bool { return j.State == Completed }

// Line is one line of a job's log.
type Line struct {
	Job  int64   `json:"job"`
	N    int64   `json:"n"` // of the line in the job's log, from 1
	Try  int     `json:"try"`
	Time rt.Time `json:"time"`
	Role string  `json:"role"`
	Host string  `json:"host"`
	Text string  `json:"text"`
}

// Table holds the jobs by number, with the live ones found by state.
var Table = store.Declare("jobs", 1, store.IntKey, nil,
	store.Index[Job]{Name: "state", Key: func(j Job) string { return string(j.State) }})

// Lines are lines of a job's log that follow each other: one role of one host said them.
type Lines struct {
	Job  int64  `json:"job"`
	N    int64  `json:"n"` // of the first line, from 1
	Try  int    `json:"try"`
	Role string `json:"role"`
	Host string `json:"host"`
	Said []Said `json:"said"`
}

// Said is the text of a line, and when it was said by the clock of its host.
type Said struct {
	Time rt.Time `json:"time"`
	Text string  `json:"text"`
}

// Last is the number of the last line.
func (l *Lines) Last() int64 { return l.N + int64(len(l.Said)) - 1 }

// Line is the line at an index.
func (l *Lines) Line(i int) Line {
	return Line{Job: l.Job, N: l.N + int64(i), Try: l.Try, Time: l.Said[i].Time, Role: l.Role, Host: l.Host, Text: l.Said[i].Text}
}

// Log holds the jobs' logs by job and first line. Until version 1 each line was by itself.
var Log = store.Declare("job_log", 2, store.IntPairKey, decodeLines)

func decodeLines(version int, b []byte) (ls Lines, err error) {
	if version > 1 {
		err = json.Unmarshal(b, &ls)
		return ls, err
	}
	var l Line
	err = json.Unmarshal(b, &l)
	return Lines{Job: l.Job, N: l.N, Try: l.Try, Role: l.Role, Host: l.Host, Said: []Said{{l.Time, l.Text}}}, err
}

// Start is what nbpem asks nbjm to run: the parameters of policy and schedule.
type Start struct {
	ID       int64    `json:"id"`
	Try      int      `json:"try"`
	Policy   string   `json:"policy"`
	Schedule string   `json:"schedule"`
	Type     string   `json:"type"` // policy.Type
	Client   string   `json:"client"`
	Paths    []string `json:"paths"`
	Exclude  []string `json:"exclude,omitempty"`
	Since    rt.Time  `json:"since,omitempty"` // of an incremental: the backup it builds on
	Storage  string   `json:"storage"`
	Pool     string   `json:"pool"`
	Priority int      `json:"priority"`
	Expires  rt.Time  `json:"expires,omitempty"` // of the image; 0 is never
	// Retention is how long the image is kept; 0 is for ever.
	Retention time.Duration `json:"retention,omitempty"`
	Expected  int64         `json:"expected,omitempty"`
	Owner     string        `json:"owner"`
	Retry     bool          `json:"retry"`               // nbpem would try again after a failure
	PerPolicy int           `json:"perPolicy,omitempty"` // limits, as in policy.Limits
	PerClient int           `json:"perClient,omitempty"`
	ThisOne   int           `json:"thisOne,omitempty"`
}
