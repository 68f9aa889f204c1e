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
	Values  []string             `json:"values"`
	Metrics []answers.Difference `json:"metrics"` // against the first cell
	Runs    []Outcome            `json:"runs"`
}

// Failure is a run that did not come to its end.
type Failure struct {
	Cell  string `json:"cell"`
	Seed  int64  `json:"seed"`
	Error string `json:"error"`
}

// headlines are the figures that are shown unless others are asked for.
var headlines = []string{"backups inside", "late by p95", "nights", "mounts", "drives in use", "restore p95"}

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
		c.Metrics = answers.Pair(metricsOf(all[0]), metricsOf(runs))
		r.Estimates = append(r.Estimates, c)
	}
	return r
}

// metricsOf are the metrics by replication; none of those that failed.
func metricsOf(runs []Outcome) [][]answers.Metric {
	out := make([][]answers.Metric, len(runs))
	for i := range runs {
		out[i] = runs[i].Metrics
	}
	return out
}

// Blocks are the tables that people look at, one for each figure.
func (r *Results) Blocks() (blocks []reports.Block) {
	show := r.Show
	if len(show) == 0 {
		show = headlines
	}
	for _, m := range answers.Names(metricsOf(slices.Concat(runsOf(r.Estimates)...))) {
		if !slices.ContainsFunc(show, func(s string) bool { return strings.HasPrefix(m.Name, s) }) {
			continue
		}
		b := reports.Block{Name: m.Name}
		for i := range r.Estimates {
			c := &r.Estimates[i]
			k := slices.IndexFunc(c.Metrics, func(d answers.Difference) bool { return d.Name == m.Name })
			if k < 0 {
				continue
			}
			d := &c.Metrics[k]
			row := reports.BlockRow{Values: c.Values, Mean: d.Text(d.Second.Value)}
			if d.Second.Level > 0 {
				row.Interval = d.Text(d.Second.Low) + " to " + d.Text(d.Second.High)
			}
			if i > 0 {
				row.Difference, row.Verdict = Signed(d), d.Verdict()
			}
			b.Rows = append(b.Rows, row)
		}
		blocks = append(blocks, b)
	}
	return blocks
}

func runsOf(cells []CellResults) (all [][]Outcome) {
	for i := range cells {
		all = append(all, cells[i].Runs)
	}
	return all
}

// Signed is a difference, with its sign.
func Signed(d *answers.Difference) string {
	text := d.Text(d.By.Value)
	if d.By.Value > 0 {
		return "+" + text
	}
	return text
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
