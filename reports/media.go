package reports

import (
	"io"
	"strconv"
	"time"
)

// Drive is a row of the drives' use over a span of time.
type Drive struct {
	Name    string  `json:"name"`
	Host    string  `json:"host"`
	Library string  `json:"library,omitempty"`
	Model   string  `json:"model,omitempty"`
	State   string  `json:"state"`            // up, down, cleaning …
	Media   string  `json:"media,omitempty"`  // loaded now
	Job     int64   `json:"job,omitempty"`    // that holds it now
	Mounts  int64   `json:"mounts"`           // loads in the span
	Written int64   `json:"written"`          // bytes
	Read    int64   `json:"read"`             // bytes
	Busy    Seconds `json:"busy"`             // time held by a job
	Moving  Seconds `json:"moving,omitempty"` // time in which data moved
	Span    Seconds `json:"span"`             // time that was looked at
}

// WriteDrives writes the drives and how much they were used.
func WriteDrives(w io.Writer, rows []Drive, o Options) error {
	if o.JSON {
		return writeJSON(w, rows)
	}
	t := newTable(left("DRIVE"), left("HOST"), left("LIBRARY"), left("MODEL"), left("STATE"), left("MEDIA"), right("JOB"),
		right("MOUNTS"), right("WRITTEN"), right("READ"), right("RATE"), right("BUSY"))
	for i := range rows {
		d := &rows[i]
		state := cell{text: d.State}
		if d.State != "up" {
			state.color = red
		}
		t.row(d.Name, d.Host, d.Library, d.Model, state, d.Media, plainID(d.Job), Count(d.Mounts),
			Size(d.Written), Size(d.Read), Rate(d.Written+d.Read, d.Moving.Std()), Percent(d.Busy.Std(), d.Span.Std()))
	}
	return t.write(w, o.Color)
}

func plainID(n int64) string {
	if n == 0 {
		return ""
	}
	return strconv.FormatInt(n, 10)
}

// Media is a row of the list of volumes.
type Media struct {
	ID        string    `json:"id"`
	Barcode   string    `json:"barcode,omitempty"`
	Density   string    `json:"density"`
	Pool      string    `json:"pool"`
	State     string    `json:"state"` // active, full, frozen, suspended, scratch …
	Library   string    `json:"library,omitempty"`
	Slot      int       `json:"slot,omitempty"` // 0: not in a slot
	Images    int64     `json:"images"`
	Written   int64     `json:"written"`  // bytes
	Capacity  int64     `json:"capacity"` // bytes, native; 0 if not known
	Mounts    int64     `json:"mounts"`
	Assigned  time.Time `json:"assigned,omitzero"`
	LastWrite time.Time `json:"lastWrite,omitzero"`
	Expires   time.Time `json:"expires,omitzero"`
}

// WriteMedia writes the volumes.
func WriteMedia(w io.Writer, rows []Media, o Options) error {
	if o.JSON {
		return writeJSON(w, rows)
	}
	t := newTable(left("MEDIA"), left("BARCODE"), left("DENSITY"), left("POOL"), left("STATE"), left("LIBRARY"), right("SLOT"),
		right("IMAGES"), right("WRITTEN"), right("FULL"), right("MOUNTS"), left("LAST WRITTEN"), left("EXPIRES"))
	for i := range rows {
		m := &rows[i]
		state := cell{text: m.State}
		if m.State == "frozen" || m.State == "suspended" {
			state.color = yellow
		}
		t.row(m.ID, m.Barcode, m.Density, m.Pool, state, m.Library, plainID(int64(m.Slot)), Count(m.Images), Size(m.Written),
			Percent(time.Duration(m.Written), time.Duration(m.Capacity)), Count(m.Mounts),
			o.time(m.LastWrite, toMinute), o.time(m.Expires, toMinute))
	}
	return t.write(w, o.Color)
}
