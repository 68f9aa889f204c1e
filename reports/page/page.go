package page

import (
	"cmp"
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"math"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"gonum.org/v1/plot/vg"

	"capstan/reports/answers"
	"capstan/reports/record"
)

// report is what the page is made of.
type report struct {
	runs []*record.Run
	all  []*answers.Answers // of the runs, in their order
	loc  *time.Location
}

// section is a part of the page.
type section struct {
	Title   string
	Bars    []bar
	Figures []Figure
	Tables  []table
}

// table is rows under titles; the first column is text, others numbers.
type table struct {
	Caption string
	Titles  []string
	Rows    [][]string
}

// share is a part of the bar at the top.
type share struct {
	Color, Name string
	Percent     float64
}

// view is what the template shows.
type view struct {
	Title, Subtitle string
	Words           []string
	Cards           []card
	Sections        []section
	Foot            string
}

// card is a figure in large type.
type card struct{ Name, Value, Note string }

//go:embed page.html
var source string

var page = template.Must(template.New("page").Parse(source))

// HTML writes the report of one run, or of the replications of one scenario.
func HTML(w io.Writer, runs []*record.Run) error {
	if len(runs) == 0 {
		return fmt.Errorf("there is no run to report")
	}
	r := newReport(runs)
	if err := page.Execute(w, r.view()); err != nil {
		return fmt.Errorf("writing a report: %w", err)
	}
	return nil
}

func newReport(runs []*record.Run) *report {
	r := &report{runs: runs, loc: runs[0].Head.Location()}
	for _, run := range runs {
		r.all = append(r.all, answers.Of(run))
	}
	return r
}

func (r *report) estimates() []answers.Estimate {
	return answers.Estimates(answers.Replications(r.all))
}

func (r *report) view() *view {
	h, a := &r.runs[0].Head, r.all[0]
	v := &view{Title: h.Scenario, Words: a.Words(), Cards: r.cards()}
	kind := "A planning run"
	if h.Real {
		kind = "The record of a domain"
	}
	v.Subtitle = fmt.Sprintf("%s of %s, from %s (%s)", kind, length(h.Length), h.Start.Std().In(r.loc).Format("Monday, 2 January 2006, 15:04"), r.loc)
	switch n := len(r.runs); {
	case n > 1:
		v.Subtitle += fmt.Sprintf(", in %d replications that differ in their seeds", n)
		v.Words = append(v.Words, "Sentences and plots are of the first replication unless they say otherwise; the table of figures has the intervals of all.")
	case !h.Real:
		v.Subtitle += fmt.Sprintf(", seed %d", h.Seed)
	}
	if h.Warmup > 0 {
		v.Words = append(v.Words, fmt.Sprintf("The first %s are the warm-up and left out of every figure, plots of cartridges excepted: figures begin at %s.", length(h.Warmup), a.From.In(r.loc).Format("2 January 2006, 15:04")))
	}
	if all := r.bar(); len(all) > 0 {
		v.Sections = append(v.Sections, section{Title: "Where the backups’ time went", Bars: []bar{{"", all}}})
	}
	v.add("Windows and what limited them", []maker{r.shares, r.misses, r.missed}, r.nightTable)
	v.addNights(r)
	v.add("Drives, robots and links", []maker{r.driveUse, r.carriers, r.mountWaits}, r.driveTable, r.linkTable)
	v.add("Cartridges", []maker{r.media, r.freeBand})
	v.add("Restores", []maker{r.restores})
	v.add("All figures", nil, r.metricTable)
	v.Foot = "Shares of time count every job from its request to its end. docs/reports.md says how each figure is made."
	return v
}

// maker makes a figure of a width, if there is something to show. Some are always wide.
type maker func(w vg.Length) (Figure, bool)

// paired makes figures: narrow ones stand in pairs, and one that is left over is wide.
func paired(makers []maker) (all []Figure) {
	single := -1
	var from maker
	for _, make := range makers {
		f, ok := make(narrow)
		switch {
		case !ok:
			continue
		case f.Wide():
			if single >= 0 {
				all[single], _ = from(wide)
				single = -1
			}
		case single >= 0:
			single = -1
		default:
			single, from = len(all), make
		}
		all = append(all, f)
	}
	if single >= 0 {
		all[single], _ = from(wide)
	}
	return all
}

func (v *view) add(title string, figures []maker, tables ...func() (table, bool)) {
	s := section{Title: title}
	s.Figures = paired(figures)
	for _, make := range tables {
		if t, ok := make(); ok {
			s.Tables = append(s.Tables, t)
		}
	}
	if len(s.Figures)+len(s.Tables) > 0 {
		v.Sections = append(v.Sections, s)
	}
}

func (v *view) addNights(r *report) {
	s := section{Title: "Jobs over time"}
	for _, n := range shown(r.all[0]) {
		if f, ok := nightOf(r.runs[0], n); ok {
			s.Figures = append(s.Figures, f)
		}
	}
	if len(s.Figures) > 0 {
		v.Sections = append(v.Sections, s)
	}
}

// length is a duration in whole days or hours.
func length(d time.Duration) string {
	switch {
	case d >= 48*time.Hour && d%(24*time.Hour) == 0:
		return fmt.Sprintf("%d days", d/(24*time.Hour))
	case d >= time.Hour && d%time.Hour == 0:
		return fmt.Sprintf("%d hours", d/time.Hour)
	case d >= 48*time.Hour:
		return fmt.Sprintf("%.1f days", d.Hours()/24)
	}
	return d.Round(time.Minute).String()
}

// estimate finds a metric of all replications.
func estimate(all []answers.Estimate, name string) (answers.Estimate, bool) {
	for _, e := range all {
		if e.Name == name {
			return e, true
		}
	}
	return answers.Estimate{}, false
}

func (r *report) cards() (cards []card) {
	a, all := r.all[0], r.estimates()
	for _, c := range []struct{ name, title string }{
		{"backups inside their window", "backups in their window"}, {"nights that fit", "of nights fit"},
		{"least room before the window closes", "room on the fullest night"}, {"backed up", "backed up"},
		{"drives in their busiest hour", "busiest hour of a drive"}, {"mount wait p95", "95 % of mounts within"},
		{"restore to first byte p95", "95 % of first bytes within"}, {"scratch cartridges left", "free cartridges left"},
	} {
		e, ok := estimate(all, c.name)
		if !ok || c.name == "nights that fit" && len(a.Nights) == 1 {
			continue
		}
		if e.Name == "least room before the window closes" && e.Value < 0 {
			c.title, e.Value = "too long, the fullest night", -e.Value
			e.Interval.Low, e.Interval.High = -e.Interval.High, -e.Interval.Low
		}
		k := card{Name: c.title, Value: e.Text(e.Value), Note: e.Range()}
		cards = append(cards, k)
	}
	return cards
}

// bar is the backups' time of all replications, by kind.
func (r *report) bar() (all []share) {
	sum := record.Spent{}
	for _, a := range r.all {
		sum.Add(a.Backups.Spent)
	}
	total := float64(sum.Total())
	for _, k := range record.Kinds() {
		if p := 100 * float64(sum[k]) / max(total, 1); p >= .05 {
			all = append(all, share{hex(kindColors[k]), answers.Name(k), p})
		}
	}
	return all
}

// Style is the part's place in the bar, for the template.
func (s share) Style() template.CSS {
	return template.CSS(fmt.Sprintf("width:%.4f%%;background:%s", s.Percent, s.Color)) //nolint:gosec // a number and a colour of the palette
}

// Mark is the part's colour, for the template.
func (s share) Mark() template.CSS {
	return template.CSS("background:" + s.Color) //nolint:gosec // a colour of the palette
}

// Text is the percentage.
func (s share) Text() string { return percent(s.Percent) }

// Style is the mark's colour, for the template.
func (m mark) Style() template.CSS {
	return template.CSS("background:" + m.Color) //nolint:gosec // a colour of the palette
}

func percent(p float64) string {
	switch {
	case math.IsNaN(p):
		return "–"
	case p == 0 || p >= 10:
		return fmt.Sprintf("%.0f %%", p)
	}
	return fmt.Sprintf("%.1f %%", p)
}

// maxRows is how many nights a table lists.
const maxRows = 62

func (r *report) nightTable() (table, bool) {
	a := r.all[0]
	t := table{Titles: []string{"Night", "Backups", "In window", "Late", "Not run", "Failed", "Backed up", "Window's rest", "Limited most by", "Share"}}
	if len(r.all) > 1 {
		t.Caption = "Of the first replication."
	}
	from := max(0, len(a.Nights)-maxRows)
	if from > 0 {
		t.Caption = strings.TrimSpace(t.Caption + fmt.Sprintf(" The last %d nights; the CSV has all.", maxRows))
	}
	for i := range a.Nights[from:] {
		n := &a.Nights[from+i]
		w := &n.Windows
		rest := "–"
		if !math.IsNaN(n.Over) {
			rest = (&answers.Metric{Unit: "s"}).Text(-n.Over)
		}
		t.Rows = append(t.Rows, []string{
			n.Date, whole(n.Shares.Jobs), whole(w.Inside), whole(w.Late), whole(w.NotRun), whole(w.Failed), size(w.Bytes), rest,
			answers.Name(n.Limit), percent(100 * n.Share),
		})
	}
	return t, len(t.Rows) > 0
}

func whole(n int) string { return humanize.Comma(int64(n)) }

func size(n int64) string { return (&answers.Metric{Unit: "bytes"}).Text(float64(n)) }

func rate(v float64) string {
	if v == 0 {
		return "–"
	}
	return (&answers.Metric{Unit: "bytes"}).Text(v) + "/s"
}

// rateOf is a rate, and what it could be if that is known.
func rateOf(v, could float64) string {
	if v == 0 || could == 0 {
		return rate(v)
	}
	number, unit, _ := strings.Cut(rate(v), " ")
	if _, other, _ := strings.Cut(rate(could), " "); unit == other {
		return number + " of " + rate(could)
	}
	return rate(v) + " of " + rate(could)
}

func (r *report) driveTable() (table, bool) {
	t := table{Titles: []string{"Drive", "In use", "Writing", "Slow data", "Reading", "Locating", "Load, unload", "Idle", "Busiest hour", "Mounts", "Back-hitches", "Data", "Rate"}}
	for i := range r.all[0].Drives {
		d := &r.all[0].Drives[i]
		t.Rows = append(t.Rows, []string{
			strings.TrimSpace(d.Name + " " + d.Model), percent(100 * d.Busy()), percent(100 * d.Write), percent(100 * d.Slow), percent(100 * d.Read), percent(100 * d.Position),
			percent(100 * d.Load), percent(100 * d.Idle), percent(100 * d.PeakHour), whole(d.Mounts), humanize.Comma(d.Hitches), size(d.Bytes), rateOf(d.Rate, float64(d.Native)),
		})
	}
	return t, len(t.Rows) > 0
}

func (r *report) linkTable() (table, bool) {
	t := table{Titles: []string{"Robot, link or disk", "In use", "Busiest hour", "Data", "Rate in the busiest hour", "Could do"}}
	a := r.all[0]
	for i := range a.Robots {
		b := &a.Robots[i]
		t.Rows = append(t.Rows, []string{b.Name, percent(100 * b.Busy), percent(100 * b.PeakHour), "–", "–", "–"})
	}
	for i := range a.Links {
		l := &a.Links[i]
		if l.Bytes == 0 {
			continue
		}
		mean, peak := percent(100*l.Mean), percent(100*l.PeakHour)
		if l.Rate == 0 {
			mean, peak = "–", "–"
		}
		t.Rows = append(t.Rows, []string{l.Name, mean, peak, size(l.Bytes), rate(l.Peak), rate(float64(l.Rate))})
	}
	return t, len(t.Rows) > 0
}

func (r *report) metricTable() (table, bool) {
	t := table{Titles: []string{"Figure", "Value"}}
	many := len(r.all) > 1
	if many {
		t.Titles = append(t.Titles, "95 % interval", "Replications")
		t.Caption = "Means over the replications that have the figure, with Student's t interval; of p50, p95 and p99 the mean of the replications' quantiles."
	}
	for _, e := range r.estimates() {
		row := []string{e.Name, e.Text(e.Value)}
		if many {
			row = append(row, cmp.Or(e.Range(), "too few"), whole(e.Interval.N))
		}
		t.Rows = append(t.Rows, row)
	}
	return t, true
}
