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
	Verdict  string  `json:"verdict"` // ok, outside, too wide
}

// ValidationWriter writes the comparison as a table, row by row: a long one is
// read while it grows.
type ValidationWriter struct {
	color  bool
	begun  bool
	widths []int
}

// NewValidationWriter makes a writer for rows like those expected, whose names say how
// wide the columns are; what is simulated need not be known in them.
func NewValidationWriter(expected []Validation, o Options) *ValidationWriter {
	t := validationTable(expected)
	t.measure()
	return &ValidationWriter{color: o.Color, widths: t.widths}
}

// Write writes the next rows, before the first the line of titles.
func (v *ValidationWriter) Write(w io.Writer, rows []Validation) error {
	t := validationTable(rows)
	t.bare, t.widths = v.begun, v.widths
	if len(rows) == 0 {
		return nil
	}
	v.begun = true
	return t.write(w, v.color)
}

func validationTable(rows []Validation) *table {
	t := newTable(left("MODEL"), left("VALUE"), left("ON"), right("EXPECTED"), right("SIMULATED"), right("FROM"), right("TO"), right("REL ±"), left("VERDICT"))
	for i := range rows {
		r := &rows[i]
		verdict := cell{text: r.Verdict, color: green}
		if r.Verdict != "ok" {
			verdict.color = red
		}
		t.row(r.Model, r.Value, r.On, plainNumber(r.Expected), plainNumber(r.Simulated), plainNumber(r.Simulated-r.Half), plainNumber(r.Simulated+r.Half),
			percentage(r.Relative), verdict)
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
