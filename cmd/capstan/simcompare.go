package main

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"capstan/internal/study"
	"capstan/reports"
	plans "capstan/reports/answers"
	"capstan/reports/record"
	"capstan/scenarios"
)

// fewest is how many replications are compared unless a number is given: fewer say
// little about chance.
const fewest = 5

func newSimCompare() *cobra.Command {
	var replications int
	var all bool
	var dir string
	cmd := &cobra.Command{
		Use:   "compare A B",
		Short: "Compare two scenarios, or what two of them came to",
		Long: `Compare two scenarios, figure by figure. Each is a scenario's file, which is run, or a
directory that sim run wrote with --out. Both are run with the same seeds, and what
is drawn by chance is the same in both where both have it; so chance cancels out of
the differences. Shown are the means, the mean of the differences, its interval of
95 % (Student's t), and whether B is better, worse, different where neither is
better, or the same as far as these runs can tell.

Figures that do not differ at all are left out, unless --all is given.

` + exitCodes,
		Example:           "  capstan sim compare scenarios/plan-night.yaml four-drives.yaml --replications 10",
		Args:              usage(cobra.ExactArgs(2)),
		ValidArgsFunction: completeYAML,
		RunE: func(cmd *cobra.Command, args []string) error {
			var sides [2]side
			for i, arg := range args {
				var err error
				if sides[i], err = readSide(arg); err != nil {
					return err
				}
			}
			made := sides[0].scenario == nil || sides[1].scenario == nil
			switch both := sides[0].scenario == nil && sides[1].scenario == nil; {
			case made && replications != 0:
				return wrong("--replications %d: what was run already says how many there are", replications)
			case both && dir != "":
				return wrong("--out %s: nothing is run, so there is nothing to keep", dir)
			}
			if err := runSides(cmd, &sides, replications, dir); err != nil {
				return err
			}
			if sides[0].name == sides[1].name { // then the names tell nothing
				for i, arg := range args {
					sides[i].name += " (" + arg + ")"
				}
			}
			ds := plans.Compare(sides[0].runs, sides[1].runs)
			o := output(cmd)
			if o.JSON {
				return writeJSON(cmd.OutOrStdout(), compared{sides[0].name, sides[1].name, sides[0].seeds(), ds})
			}
			w := cmd.OutOrStdout()
			fmt.Fprintf(w, "A is %s, B is %s; %d replications with the same seeds%s\n", sides[0].name, sides[1].name, len(sides[0].runs), sides[0].note)
			if len(sides[0].runs) == 1 {
				fmt.Fprintln(w, "One replication says nothing about chance: give --replications.")
			}
			return writeCompared(w, ds, all, o)
		},
	}
	cmd.Flags().IntVar(&replications, "replications", 0, fmt.Sprintf("how many times each is run (default: as the first file says, at least %d)", fewest))
	cmd.Flags().BoolVar(&all, "all", false, "show the figures that do not differ, too")
	cmd.Flags().StringVar(&dir, "out", "", "keep what the runs come to in this directory, and use what is there")
	addOutputFlags(cmd)
	return cmd
}

// side is one of the two that are compared.
type side struct {
	name     string
	scenario *scenarios.Scenario // to be run; nil if it was
	runs     []plans.Replication
	note     string
}

func (s *side) seeds() (all []int64) {
	for i := range s.runs {
		all = append(all, s.runs[i].Seed)
	}
	return all
}

// readSide reads a scenario, or the records of runs.
func readSide(arg string) (side, error) {
	info, err := os.Stat(arg)
	if err != nil {
		return side{}, wrong("%w", err)
	}
	if !info.IsDir() {
		s, err := scenarios.Read[scenarios.Scenario](arg)
		if err != nil {
			return side{}, unread(err)
		}
		return side{name: s.Name, scenario: s, note: warmUpNote(s)}, nil
	}
	runs, err := record.ReadAll(arg)
	if err != nil {
		return side{}, wrong("%w", err)
	}
	out := side{name: runs[0].Head.Scenario}
	for _, r := range runs {
		out.runs = append(out.runs, plans.Replication{Seed: r.Head.Seed, Metrics: plans.Of(r).Metrics()})
	}
	return out, nil
}

// runSides runs what is still to be run, with the other side's seeds or its own.
func runSides(cmd *cobra.Command, sides *[2]side, replications int, dir string) error {
	a, b := &sides[0], &sides[1]
	var first int64
	n := replications
	switch {
	case a.scenario == nil && b.scenario == nil:
		if !slices.Equal(a.seeds(), b.seeds()) {
			return wrong("the runs have not the same seeds (%v and %v): their differences would be chance; run both with --replications and one --seed", a.seeds(), b.seeds())
		}
		return nil
	case a.scenario != nil && b.scenario != nil:
		if first = a.scenario.Seed; n == 0 {
			n = max(a.scenario.Replications, fewest)
		}
	default:
		done := a
		if a.scenario != nil {
			done = b
		}
		first, n = done.runs[0].Seed, len(done.runs)
	}
	for i := range sides {
		s := &sides[i]
		if s.scenario == nil {
			continue
		}
		p := study.Of(s.scenario, n)
		p.Seed = first
		if dir != "" {
			if err := os.MkdirAll(dir, 0o755); err != nil {
				return fmt.Errorf("making the directory of the runs: %w", err)
			}
		}
		r, err := runStudy(cmd, p, dir, 0)
		if err != nil {
			return err
		}
		if err := failedRuns(r); err != nil {
			return err
		}
		for _, o := range r.Estimates[0].Runs {
			s.runs = append(s.runs, plans.Replication{Seed: o.Seed, Metrics: o.Metrics})
		}
	}
	if !slices.Equal(a.seeds(), b.seeds()) {
		return wrong("the runs have not the same seeds: %v and %v", a.seeds(), b.seeds())
	}
	return nil
}

// compared is the JSON of sim compare.
type compared struct {
	A       string             `json:"a"`
	B       string             `json:"b"`
	Seeds   []int64            `json:"seeds"`
	Figures []plans.Difference `json:"figures"`
}

// writeCompared writes a comparison; all: with the figures that do not differ.
func writeCompared(w io.Writer, ds []plans.Difference, all bool, o reports.Options) error {
	var rows []reports.Difference
	same := 0
	for i := range ds {
		d := &ds[i]
		if d.By.Value == 0 && d.By.Low == d.By.High && !all {
			same++
			continue
		}
		row := reports.Difference{Name: d.Name, A: d.Text(d.First.Value), B: d.Text(d.Second.Value), Difference: d.Signed(), Interval: d.Range(), Verdict: d.Verdict()}
		rows = append(rows, row)
	}
	fmt.Fprintln(w)
	if err := reports.WriteDifferences(w, rows, o); err != nil {
		return err
	}
	if same > 0 {
		fmt.Fprintf(w, "\n%d figures do not differ at all (--all shows them).\n", same)
	}
	fmt.Fprintln(w, strings.Join(conclusions(ds), "\n"))
	return nil
}

// conclusions say in words what the comparison came to.
func conclusions(ds []plans.Difference) []string {
	var out []string
	for _, verdict := range []string{"better", "worse"} {
		var names []string
		for _, d := range plans.Told(ds, verdict) {
			names = append(names, d.Name)
		}
		if len(names) > 0 {
			out = append(out, fmt.Sprintf("\nB is %s in %s.", verdict, strings.Join(names, ", ")))
		}
	}
	if len(out) == 0 {
		out = append(out, "\nB is neither better nor worse by much in anything that these runs can tell from chance.")
	}
	return out
}
