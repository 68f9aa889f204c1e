package study

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"capstan/reports"
	"capstan/reports/answers"
)

// Results are what a study came to.
type Results struct {
	Plan
	Estimates []CellResults `json:"results"`
	Failed    []Failure     `json:"failed"`
}

// CellResults are the figures of one cell.
type CellResults struct {
	Values      []string             `json:"values"`
	Figures     []answers.Estimate   `json:"figures"`
	Differences []answers.Difference `json:"differences"` // from the first cell
	Runs        []Outcome            `json:"runs"`
}

// Failure is a run that did not come to its end.
type Failure struct {
	Cell  string `json:"cell"`
	Seed  int64  `json:"seed"`
	Error string `json:"error"`
}

// headlines are the figures that are shown unless others are asked for.
var headlines = []string{"backups inside", "late by p95", "nights", "least room", "mounts", "drives in use", "restore p95"}

// Summarize puts the replications of each cell together, and compares it with the
// first, seed by seed.
func Summarize(p *Plan, all [][]Outcome) *Results {
	r := &Results{Plan: *p, Failed: []Failure{}}
	for i, runs := range all {
		c := CellResults{Values: p.Cells[i].Values, Runs: runs}
		for _, o := range runs {
			if o.Error != "" {
				r.Failed = append(r.Failed, Failure{p.Cells[i].Name(p.Titles), o.Seed, o.Error})
			}
		}
		mine := replications(runs)
		c.Figures, c.Differences = answers.Estimates(mine), answers.Compare(replications(all[0]), mine)
		r.Estimates = append(r.Estimates, c)
	}
	return r
}

// replications are the runs' figures; those that failed have none.
func replications(runs []Outcome) []answers.Replication {
	out := make([]answers.Replication, len(runs))
	for i := range runs {
		out[i] = answers.Replication{Seed: runs[i].Seed, Metrics: runs[i].Metrics}
	}
	return out
}

// Blocks are the tables that people look at, one for each figure.
func (r *Results) Blocks() (blocks []reports.Block) {
	show := r.Show
	if len(show) == 0 {
		show = headlines
	}
	for _, m := range r.names() {
		if !slices.ContainsFunc(show, func(s string) bool { return strings.HasPrefix(m.Name, s) }) {
			continue
		}
		b := reports.Block{Name: m.Name}
		for i := range r.Estimates {
			c := &r.Estimates[i]
			k := slices.IndexFunc(c.Figures, func(e answers.Estimate) bool { return e.Name == m.Name })
			if k < 0 {
				continue
			}
			e := &c.Figures[k]
			row := reports.BlockRow{Values: c.Values, Mean: e.Text(e.Value), Interval: e.Range()}
			k = slices.IndexFunc(c.Differences, func(d answers.Difference) bool { return d.Name == m.Name })
			if i > 0 && k >= 0 {
				d := &c.Differences[k]
				row.Difference, row.Within, row.Verdict = d.Signed(), d.Range(), d.Verdict()
			}
			b.Rows = append(b.Rows, row)
		}
		blocks = append(blocks, b)
	}
	return blocks
}

// names are the figures that any cell has.
func (r *Results) names() []answers.Metric {
	var all []answers.Replication
	for i := range r.Estimates {
		all = append(all, replications(r.Estimates[i].Runs)...)
	}
	return answers.Names(all)
}

// Keep writes the results into a study's directory, for programs: results.json, and
// results.csv with a line for each run and figure.
func (r *Results) Keep(dir string) error {
	if err := Write(filepath.Join(dir, "results.json"), r); err != nil {
		return err
	}
	var b bytes.Buffer
	w := csv.NewWriter(&b)
	lines := [][]string{append(slices.Clone(r.Titles), "replication", "seed", "metric", "unit", "value")}
	for i := range r.Estimates {
		for _, o := range r.Estimates[i].Runs {
			for _, m := range o.Metrics {
				lines = append(lines, append(slices.Clone(r.Estimates[i].Values), strconv.Itoa(o.Replication), strconv.FormatInt(o.Seed, 10),
					m.Name, m.Unit, strconv.FormatFloat(m.Value, 'g', -1, 64)))
			}
		}
	}
	if err := w.WriteAll(lines); err != nil {
		return fmt.Errorf("writing results as CSV: %w", err)
	}
	return WriteFile(filepath.Join(dir, "results.csv"), b.Bytes())
}
