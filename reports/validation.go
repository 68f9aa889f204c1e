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

// WriteValidation writes the comparison.
func WriteValidation(w io.Writer, rows []Validation, o Options) error {
	if o.JSON {
		return writeJSON(w, rows)
	}
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
	return t.write(w, o.Color)
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
