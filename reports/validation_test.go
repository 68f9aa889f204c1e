package reports

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Rows that come one by one are the table that they are together, as the columns are
// as wide as the rows that may come need.
func TestValidationsComeOneByOne(t *testing.T) {
	rows := []Validation{
		{Model: "M/M/1", Value: "mean wait", On: "nbrb", Expected: 1, Simulated: 1.01, Half: .02, Relative: .015, Runs: 30, Finds: 1.02, Verdict: "ok"},
		{Model: "M/M/1, priorities", Value: "P(wait)", On: "robot of vtl", Expected: .5, Simulated: .6, Half: .02, Relative: .04, Runs: 123, Verdict: "outside"},
	}
	plan := []Validation{{Model: rows[0].Model, Value: rows[0].Value, On: rows[0].On}, {Model: rows[1].Model, Value: rows[1].Value, On: rows[1].On}}
	write := func(o Options, lists ...[]Validation) string {
		var b bytes.Buffer
		w := NewValidationWriter(plan, o)
		for _, l := range lists {
			if err := w.Write(&b, l); err != nil {
				t.Fatal(err)
			}
		}
		return b.String()
	}
	want := `MODEL              VALUE      ON            EXPECTED  SIMULATED     FROM       TO  REL ±  RUNS  FINDS  VERDICT
M/M/1              mean wait  nbrb           1.00000    1.01000  0.99000  1.03000  1.50%    30     2%  ok
M/M/1, priorities  P(wait)    robot of vtl   0.50000    0.60000  0.58000  0.62000  4.00%   123      -  outside
`
	if d := cmp.Diff(want, write(Options{}, rows[:1], nil, rows[1:])); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}
