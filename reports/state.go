package reports

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

// DriveState is a row of the list of drives as they are now. How much they were
// used over a time is [Drive].
type DriveState struct {
	Name     string    `json:"name"`
	Host     string    `json:"host"`
	Library  string    `json:"library,omitempty"`
	Element  int       `json:"element"`         // its address for the robot
	State    string    `json:"state"`           // up or down
	Media    string    `json:"media,omitempty"` // in it
	Job      int64     `json:"job,omitempty"`   // that has it
	LastUsed time.Time `json:"lastUsed,omitzero"`
}

// WriteDriveStates writes the drives as they are now.
func WriteDriveStates(w io.Writer, rows []DriveState, o Options) error {
	if o.JSON {
		return writeJSON(w, rows)
	}
	t := newTable(left("DRIVE"), left("HOST"), left("LIBRARY"), right("ELEMENT"), left("STATE"), left("MEDIA"), right("JOB"), left("LAST USED"))
	for i := range rows {
		d := &rows[i]
		state := cell{text: d.State}
		if d.State != "up" {
			state.color = red
		}
		t.row(d.Name, d.Host, d.Library, plainID(int64(d.Element)), state, d.Media, plainID(d.Job), o.time(d.LastUsed, toSecond))
	}
	return t.write(w, o.Color)
}

// Policy is a row of the list of policies.
type Policy struct {
	Name      string    `json:"name"`
	Active    bool      `json:"active"`
	Clients   []string  `json:"clients"`
	Paths     []string  `json:"paths"`
	Storage   string    `json:"storage"`
	Schedules []string  `json:"schedules"`
	Next      time.Time `json:"next,omitzero"` // when the first of its clients is due
}

// WritePolicies writes the policies.
func WritePolicies(w io.Writer, rows []Policy, o Options) error {
	if o.JSON {
		return writeJSON(w, rows)
	}
	t := newTable(left("POLICY"), left("ACTIVE"), left("STORAGE"), left("SCHEDULES"), left("NEXT"), left("CLIENTS"), left("PATHS"))
	for i := range rows {
		p := &rows[i]
		active := cell{text: "yes"}
		if !p.Active {
			active = cell{"no", yellow}
		}
		t.row(p.Name, active, p.Storage, strings.Join(p.Schedules, ","), o.time(p.Next, toMinute), few(p.Clients), few(p.Paths))
	}
	return t.write(w, o.Color)
}

// few is the first values, and how many more there are.
func few(values []string) string {
	const shown = 3
	if len(values) <= shown {
		return strings.Join(values, ",")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(values[:shown], ","), len(values)-shown)
}

// Due is a row of the worklist: when a client of a policy is backed up next.
type Due struct {
	Policy   string    `json:"policy"`
	Client   string    `json:"client"`
	Schedule string    `json:"schedule,omitempty"`
	At       time.Time `json:"at,omitzero"`       // zero: only by hand
	Running  int64     `json:"running,omitempty"` // the job that runs now
}

// WriteDue writes the worklist.
func WriteDue(w io.Writer, rows []Due, o Options) error {
	if o.JSON {
		return writeJSON(w, rows)
	}
	t := newTable(left("POLICY"), left("CLIENT"), left("SCHEDULE"), left("DUE"), right("RUNNING"))
	for i := range rows {
		d := &rows[i]
		t.row(d.Policy, d.Client, d.Schedule, o.time(d.At, toMinute), plainID(d.Running))
	}
	return t.write(w, o.Color)
}

// Line is a line of a job's log.
type Line struct {
	Time time.Time `json:"time"`
	Try  int       `json:"try"`
	Host string    `json:"host"`
	Role string    `json:"role"`
	Text string    `json:"text"`
}

// WriteLog writes the lines of a log, without a line of titles.
func WriteLog(w io.Writer, rows []Line, o Options) error {
	if o.JSON {
		return writeJSON(w, rows)
	}
	t := newTable(left(""), left(""), left(""), right(""), left(""))
	for i := range rows {
		l := &rows[i]
		t.row(o.time(l.Time, toSecond), l.Host, l.Role, "try "+strconv.Itoa(l.Try), l.Text)
	}
	t.bare = true
	return t.write(w, o.Color)
}

// Field is one thing that is known of something, for people.
type Field struct{ Name, Value string }

// WriteFields writes fields one a line, those without a value left out.
func WriteFields(w io.Writer, fields []Field, o Options) error {
	t := newTable(left(""), left(""))
	for _, f := range fields {
		if f.Value != "" && f.Value != dash {
			t.row(f.Name+":", f.Value)
		}
	}
	t.bare = true
	return t.write(w, o.Color)
}

// Time is a time for people, in the zone of o, to the second; a dash for none.
func Time(t time.Time, o Options) string { return o.time(t, toSecond) }
