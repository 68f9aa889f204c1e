package page

import (
	"cmp"
	"fmt"
	"html/template"
	"io"
	"math"
	"slices"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/vg"

	"capstan/reports/answers"
	"capstan/reports/record"
)

// sides are the two lots of runs of a comparison, and their names.
type sides struct {
	names [2]string
	of    [2]*report
}

// sideColors tell the sides apart: as light and dark, too.
var sideColors = [2]record.Kind{record.Position, record.Source}

// HTMLOfTwo writes the comparison of two runs, or of two lots of replications, by
// their names.
func HTMLOfTwo(w io.Writer, names [2]string, first, second []*record.Run) error {
	if len(first) == 0 || len(second) == 0 {
		return fmt.Errorf("there is no run to compare")
	}
	c := &sides{names, [2]*report{newReport(first), newReport(second)}}
	if err := page.Execute(w, c.view()); err != nil {
		return fmt.Errorf("writing a comparison: %w", err)
	}
	return nil
}

func (c *sides) view() *view {
	v := &view{Title: c.names[0] + " and " + c.names[1]}
	var what []string
	for i, r := range c.of {
		h := &r.runs[0].Head
		what = append(what, fmt.Sprintf("%s: %s, %s, %d %s", c.names[i], h.Scenario, length(h.Length), len(r.runs), map[bool]string{true: "run", false: "replications"}[len(r.runs) == 1]))
	}
	v.Subtitle = strings.Join(what, "; ")
	all := answers.Compare(answers.Replications(c.of[0].all), answers.Replications(c.of[1].all))
	v.Words = c.words(all)
	s := section{Title: "Where the backups’ time went"}
	for i, r := range c.of {
		s.Bars = append(s.Bars, bar{c.names[i], r.bar()})
	}
	v.Sections = append(v.Sections, s)
	v.add("Side by side", []maker{c.ends, c.waits, c.restores, c.free})
	v.add("All figures", nil, func() (table, bool) { return c.table(all), true })
	v.Foot = "The difference is the second less the first. docs/reports.md says how each figure is made."
	return v
}

// words are what became better and worse.
func (c *sides) words(all []answers.Difference) []string {
	var out []string
	for _, verdict := range []string{"better", "worse"} {
		var l []string
		for _, d := range answers.Told(all, verdict) {
			l = append(l, fmt.Sprintf("%s (%s, was %s)", d.Name, d.Text(d.Second.Value), d.Text(d.First.Value)))
		}
		if len(l) > 0 {
			out = append(out, fmt.Sprintf("%s is %s in: %s.", c.names[1], verdict, strings.Join(l, "; ")))
		}
	}
	if len(out) == 0 {
		out = append(out, "No figure tells the two apart.")
	}
	if len(all) > 0 && all[0].By.Level == 0 {
		out = append(out, "Of one run each, or of runs that are not pairs of one seed, a difference may be chance: only replications with the same seeds tell.")
	}
	return out
}

func (c *sides) table(all []answers.Difference) table {
	t := table{Titles: []string{"Figure", c.names[0], c.names[1], "Difference", "95 % interval", "Verdict"}}
	for i := range all {
		d := &all[i]
		t.Rows = append(t.Rows, []string{d.Name, d.Text(d.First.Value), d.Text(d.Second.Value), d.Signed(), cmp.Or(d.Range(), "–"), d.Verdict()})
	}
	if slices.ContainsFunc(all, func(d answers.Difference) bool { return d.By.Level > 0 }) {
		t.Caption = "Runs of one seed are pairs: the interval holds the true difference with 95 % confidence (Student's t of the pairs' differences)."
	}
	return t
}

// legend names the sides.
func (c *sides) legend() (all []mark) {
	for i, name := range c.names {
		all = append(all, mark{hex(kindColors[sideColors[i]]), name})
	}
	return all
}

// cumulative draws a distribution of both sides.
func (c *sides) cumulative(w vg.Length, title, note string, of func(a *answers.Answers) []float64) (Figure, bool) {
	var curves []curve
	for i := range c.of {
		side := c.of[i]
		curves = append(curves, curve{c.names[i], sideColors[i], func(a *answers.Answers) []float64 {
			if !slices.Contains(side.all, a) {
				return nil
			}
			return of(a)
		}})
	}
	both := &report{runs: c.of[0].runs, loc: c.of[0].loc, all: slices.Concat(c.of[0].all, c.of[1].all)}
	return both.distribution(w, title, note, "minutes", curves)
}

func (c *sides) waits(w vg.Length) (Figure, bool) {
	return c.cumulative(w, "How long a mount takes", "The part of all mounts that took no longer.", func(a *answers.Answers) []float64 { return a.Mounts.Wait.Sorted() })
}

func (c *sides) restores(w vg.Length) (Figure, bool) {
	return c.cumulative(w, "How long a restore takes", "The part of all restores that were done by then.", func(a *answers.Answers) []float64 { return a.Restored.Sorted() })
}

// ends is how the nights of both ended relative to their windows' ends.
func (c *sides) ends(w vg.Length) (Figure, bool) {
	p := newPlot("night", "hours after the close")
	low, high := 0., 0.
	var lines []plot.Plotter
	var first []column
	for i, r := range c.of {
		all, unit := r.columns()
		all = slices.DeleteFunc(all, func(c column) bool { return len(c.over) == 0 })
		if len(all) < 2 {
			return Figure{}, false
		}
		if i == 0 {
			first = all
			p.X.Label.Text = unit
		}
		l := path{color: kindColors[sideColors[i]], width: 1.8}
		for _, n := range all {
			v := answers.Mean(n.over).Value
			l.x, l.y = append(l.x, n.at), append(l.y, v)
			low, high = min(low, v), max(high, v)
		}
		lines = append(lines, l)
	}
	nightAxis(p, first, p.X.Label.Text)
	pad := max((high-low)*.06, .1)
	p.Y.Min, p.Y.Max = low-pad, high+pad
	p.Y.Tick.Marker = plot.ConstantTicks(valueMarks(p.Y.Min, p.Y.Max, 5, number))
	p.Add(rules{}, path{x: []float64{p.X.Min, p.X.Max}, y: []float64{0, 0}, color: ink, width: 1})
	p.Add(lines...)
	return Figure{
		Title: "The last backup's end, and the window's", Note: "Below 0, so much of the window was left; the mean of replications.", Legend: c.legend(), SVG: svg(p, w, 190),
	}, true
}

// free is the number of free cartridges over time of the first run of both.
func (c *sides) free(w vg.Length) (Figure, bool) {
	p := newPlot("", "free cartridges")
	top := 0.
	from, to := math.Inf(1), math.Inf(-1)
	var lines []plot.Plotter
	for i, r := range c.of {
		l := path{color: kindColors[sideColors[i]], width: 1.8}
		levels := answers.Levels(r.runs[0])
		if len(levels) == 0 || r.all[0].Media.Total == 0 {
			return Figure{}, false
		}
		end := unix(r.runs[0].Head.End().Std())
		for k := range levels {
			until := end
			if k+1 < len(levels) {
				until = unix(levels[k+1].At.Std())
			}
			v := float64(levels[k].Free)
			l.x, l.y = append(l.x, unix(levels[k].At.Std()), until), append(l.y, v, v)
			top = max(top, v)
		}
		from, to = min(from, l.x[0]), max(to, end)
		lines = append(lines, l)
	}
	h := &c.of[0].runs[0].Head
	p.X.Min, p.X.Max, p.Y.Min, p.Y.Max = from, to, 0, max(top*1.05, 1)
	p.X.Tick.Marker = plot.ConstantTicks(timeMarks(h.Start.Std(), h.End().Std(), c.of[0].loc, 6))
	p.Y.Tick.Marker = plot.ConstantTicks(valueMarks(0, p.Y.Max, 5, number))
	p.Add(rules{})
	p.Add(lines...)
	return Figure{Title: "Free cartridges", Note: "Over time, of the first run of each.", Legend: c.legend(), SVG: svg(p, w, 190)}, true
}

// bar is a bar of shares with a name.
type bar struct {
	Name   string
	Shares []share
}

// Legend are the shares' colours and names.
func (b bar) Legend() (all []struct {
	Style template.CSS
	Text  string
}) {
	for _, s := range b.Shares {
		all = append(all, struct {
			Style template.CSS
			Text  string
		}{s.Mark(), s.Name + " " + s.Text()})
	}
	return all
}
