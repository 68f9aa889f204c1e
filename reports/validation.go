package reports

import (
	"io"
	"math"
	"strconv"
)

// Validation is a row of the comparison of simulations with closed forms.
type Validation struct {
	Model     string  `json:"model"`
	Value     string  `json:"value"`
	On        string  `json:"on"` // what was run
	Expected  float64 `json:"expected"`
	Simulated float64 `json:"simulated"`
	// Half is half the width of the interval around Simulated, at the confidence of
	// the whole table; Relative is that of the line by itself, over Expected.
	Half     float64 `json:"half"`
	Relative float64 `json:"relative"`
	Runs     int     `json:"runs"` // replications
	// Finds is the least of some factors by which services could take longer and the
	// line would nearly always be refused; 0: none of them.
	Finds   float64 `json:"finds,omitempty"`
	Verdict string  `json:"verdict"` // ok, outside, too wide
}

// ValidationWriter writes a comparison as its rows come.
type ValidationWriter struct {
	w      io.Writer
	o      Options
	list   jsonList
	widths []int
	begun  bool
}

// NewValidationWriter makes a writer of one comparison. Its columns are as wide as
// the rows that may come need, of which what was not simulated is not yet known.
func NewValidationWriter(w io.Writer, rows []Validation, o Options) *ValidationWriter {
	v := &ValidationWriter{w: w, o: o, list: jsonList{w: w}}
	t := validationTable(rows)
	_ = t.write(io.Discard, false) // only for its widths
	v.widths = t.widths
	return v
}

// Write writes the next rows, before the first of them the titles.
func (v *ValidationWriter) Write(rows []Validation) error {
	switch {
	case len(rows) == 0:
		return nil
	case v.o.JSON:
		return writeItems(&v.list, rows)
	}
	t := validationTable(rows)
	t.bare, t.widths = v.begun, v.widths
	v.begun = true
	err := t.write(v.w, v.o.Color)
	v.widths = t.widths
	return err
}

// Close ends the comparison, which may have ended early.
func (v *ValidationWriter) Close() error {
	if v.o.JSON {
		return v.list.close()
	}
	return nil
}

func validationTable(rows []Validation) *table {
	t := newTable(left("MODEL"), left("VALUE"), left("ON"), right("EXPECTED"), right("SIMULATED"), right("FROM"), right("TO"), right("REL ±"), right("RUNS"), right("FINDS"), left("VERDICT"))
	for i := range rows {
		r := &rows[i]
		verdict := cell{text: r.Verdict, color: green}
		if r.Verdict != "ok" {
			verdict.color = red
		}
		finds := ""
		if r.Finds > 0 {
			finds = strconv.FormatFloat(100*(r.Finds-1), 'f', 0, 64) + "%"
		}
		t.row(r.Model, r.Value, r.On, plainNumber(r.Expected), plainNumber(r.Simulated), plainNumber(r.Simulated-r.Half), plainNumber(r.Simulated+r.Half),
			percentage(r.Relative), strconv.Itoa(r.Runs), finds, verdict)
	}
	return t
}

// percentage is a part of one with two decimals.
func percentage(x float64) string {
	if math.IsNaN(x) || math.IsInf(x, 0) {
		return "not known"
	}
	return strconv.FormatFloat(100*x, 'f', 2, 64) + "%"
}

// plainNumber is a number of the size of one, with five decimals.
func plainNumber(x float64) string {
	if math.IsNaN(x) || math.IsInf(x, 0) {
		return "not known"
	}
	return strconv.FormatFloat(x, 'f', 5, 64)
}
