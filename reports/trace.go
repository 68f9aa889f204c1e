package reports

import (
	"io"
	"strconv"
	"time"

	"capstan/core/status"
)

// Step is a row of a job's trace: one step, decision or device operation.
type Step struct {
	Step   string      `json:"step,omitempty"` // B1…B17, R1…R17; "" for what is no step of the flow
	Role   string      `json:"role"`
	Host   string      `json:"host"`
	Begin  time.Time   `json:"begin"`
	End    time.Time   `json:"end"`
	What   string      `json:"what"`
	To     string      `json:"to,omitempty"` // address called
	Try    int         `json:"try,omitempty"`
	Status status.Code `json:"status,omitempty"`
	Detail string      `json:"detail,omitempty"`
}

// WriteTrace writes the steps in the order given.
func WriteTrace(w io.Writer, rows []Step, o Options) error {
	if o.JSON {
		return writeJSON(w, rows)
	}
	t := newTable(left("STEP"), left("TIME"), right("TOOK"), left("HOST"), left("ROLE"), left("WHAT"), left("TO"), right("STATUS"), left("DETAIL"))
	for i := range rows {
		s := &rows[i]
		code := cell{}
		if s.Status != status.OK {
			code = cell{strconv.Itoa(int(s.Status)), statusColor(s.Status)}
		}
		t.row(s.Step, o.time(s.Begin, toMicro), Duration(s.End.Sub(s.Begin)), s.Host, s.Role, s.What, s.To, code, s.Detail)
	}
	return t.write(w, o.Color)
}
