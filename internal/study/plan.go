package study

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"capstan/scenarios"
)

// Plan is all the runs of a study.
type Plan struct {
	Name         string   `json:"name"`
	Titles       []string `json:"parameters"` // what is varied
	Cells        []Cell   `json:"cells"`
	Replications int      `json:"replications"`
	Seed         int64    `json:"seed"` // of the first replication; the others have the ones after it
	Show         []string `json:"-"`    // beginnings of the names of the figures to show; none is the headlines
}

// Cell is one combination of values.
type Cell struct {
	Values   []string            `json:"values"` // of each parameter
	Scenario *scenarios.Scenario `json:"-"`
}

// Name is what the cell is called.
func (c *Cell) Name(titles []string) string {
	if len(titles) == 0 {
		return "as it is"
	}
	parts := make([]string, len(titles))
	for i, t := range titles {
		parts[i] = t + "=" + c.Values[i]
	}
	return strings.Join(parts, " ")
}

// maxCells bounds a sweep: more is a mistake in its file, not a plan.
const maxCells = 100_000

// Read reads a sweep and the scenario that it varies, once for each combination of
// values. Its error is [scenarios.Mistakes] if a file is wrong, or a combination.
func Read(file string) (*Plan, error) {
	s, err := scenarios.Read[scenarios.Sweep](file)
	if err != nil {
		return nil, err
	}
	p := &Plan{Name: s.Name, Replications: s.Replications, Seed: s.Seed, Show: s.Show}
	total := 1
	for _, q := range s.Parameters {
		title := q.Title
		if title == "" {
			title = q.Path
		}
		p.Titles = append(p.Titles, title)
		if total *= len(q.Values); total > maxCells {
			return nil, scenarios.Mistakes{{File: file, Message: fmt.Sprintf("the parameters have more than %d combinations; expected fewer values", maxCells)}}
		}
	}
	var mistakes scenarios.Mistakes
	for i := range total {
		c, wrong, err := cell(s, i)
		if err != nil {
			return nil, err
		}
		for _, m := range wrong {
			if !slices.Contains(mistakes, m) {
				mistakes = append(mistakes, m)
			}
		}
		p.Cells = append(p.Cells, c)
	}
	if len(mistakes) > 0 {
		return nil, mistakes
	}
	first := p.Cells[0].Scenario
	if p.Replications == 0 {
		p.Replications = first.Replications
	}
	if p.Seed == 0 {
		p.Seed = first.Seed
	}
	return p, nil
}

// cell is the ith combination; the last parameter changes fastest.
func cell(s *scenarios.Sweep, i int) (c Cell, wrong scenarios.Mistakes, err error) {
	var set []scenarios.Setting
	c.Values = make([]string, len(s.Parameters))
	for k, q := range slices.Backward(s.Parameters) {
		v := q.Values[i%len(q.Values)]
		i /= len(q.Values)
		c.Values[k] = v.String()
		for _, path := range append([]string{q.Path}, q.Also...) {
			set = append(set, scenarios.Setting{Path: path, Value: v})
		}
	}
	c.Scenario, _, err = scenarios.ReadWith[scenarios.Scenario](s.Scenario, set)
	if m, ok := err.(scenarios.Mistakes); ok { //nolint:errorlint // it is never wrapped
		return c, m, nil
	}
	return c, nil, err
}

// Of is the plan of one scenario as it is.
func Of(s *scenarios.Scenario, replications int) *Plan {
	if replications == 0 {
		replications = s.Replications
	}
	return &Plan{Name: s.Name, Cells: []Cell{{Scenario: s}}, Replications: replications, Seed: s.Seed}
}

// key names what a run depends on: the program, the scenario with all that it was read
// from, and the seed. What the scenario expects does not change the run.
func (p *Plan) key(version string, cell, replication int) (string, error) {
	s := *p.Cells[cell].Scenario
	s.Seed, s.Replications, s.Expect = p.Seed+int64(replication), 1, nil
	b, err := json.Marshal(&s)
	if err != nil {
		return "", fmt.Errorf("writing a scenario for its hash: %w", err)
	}
	h := sha256.New()
	fmt.Fprintf(h, "capstan run 1\n%s\n", version)
	h.Write(b)
	return hex.EncodeToString(h.Sum(nil)), nil
}

// Version is what tells this program from all others: the hash of its file.
func Version() (string, error) {
	name, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("finding this program's file: %w", err)
	}
	f, err := os.Open(name)
	if err != nil {
		return "", fmt.Errorf("reading this program's file: %w", err)
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", fmt.Errorf("reading this program's file: %w", err)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
