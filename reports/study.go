package reports

import (
	"fmt"
	"io"
)

// Block is one figure of a study, for each combination of its parameters' values.
type Block struct {
	Name string     `json:"name"`
	Rows []BlockRow `json:"rows"`
}

// BlockRow is the figure for one combination. All is text, in the figure's unit.
type BlockRow struct {
	Values     []string `json:"values"`
	Mean       string   `json:"mean"`
	Interval   string   `json:"interval,omitempty"`   // in which the mean is with 95 %
	Difference string   `json:"difference,omitempty"` // from the first combination
	Within     string   `json:"within,omitempty"`     // in which the difference is with 95 %
	Verdict    string   `json:"verdict,omitempty"`
}

// WriteBlocks writes a study's figures, a table for each.
func WriteBlocks(w io.Writer, titles []string, blocks []Block, o Options) error {
	if o.JSON {
		return encode(w, blocks)
	}
	for i, b := range blocks {
		if i > 0 {
			fmt.Fprintln(w)
		}
		fmt.Fprintln(w, b.Name)
		var columns []column
		for _, t := range titles {
			columns = append(columns, left(t))
		}
		t := newTable(append(columns, right("MEAN"), left("95 % INTERVAL"), right("AGAINST THE FIRST"), left("95 % INTERVAL"), left("VERDICT"))...)
		for _, r := range b.Rows {
			var cells []any
			for _, v := range r.Values {
				cells = append(cells, v)
			}
			t.row(append(cells, r.Mean, r.Interval, r.Difference, r.Within, cell{r.Verdict, verdictColor(r.Verdict)})...)
		}
		if err := t.write(w, o.Color); err != nil {
			return err
		}
	}
	return nil
}

func verdictColor(verdict string) string {
	switch verdict {
	case "better":
		return green
	case "worse":
		return red
	}
	return ""
}

// Difference is a figure of two sites, and how they differ. All is text.
type Difference struct {
	Name       string `json:"name"`
	A          string `json:"a"`
	B          string `json:"b"`
	Difference string `json:"difference"` // B - A
	Interval   string `json:"interval,omitempty"`
	Verdict    string `json:"verdict,omitempty"` // of B
}

// WriteDifferences writes a comparison.
func WriteDifferences(w io.Writer, rows []Difference, o Options) error {
	t := newTable(left("FIGURE"), right("A"), right("B"), right("B - A"), left("95 % INTERVAL"), left("B IS"))
	for _, r := range rows {
		t.row(r.Name, r.A, r.B, r.Difference, r.Interval, cell{r.Verdict, verdictColor(r.Verdict)})
	}
	return t.write(w, o.Color)
}
