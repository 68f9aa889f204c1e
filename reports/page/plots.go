package page

import (
	"cmp"
	"fmt"
	"image/color"
	"maps"
	"math"
	"slices"
	"time"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/vg"

	"capstan/core/rt"
	"capstan/reports/answers"
	"capstan/reports/record"
)

const hour = rt.Time(time.Hour)

// longSeries is from how many hours on a day's mean is shown instead of each hour.
const longSeries = 8 * 24

// driveUse is what the drives did by hour.
func (r *report) driveUse(_ vg.Length) (Figure, bool) {
	run := r.runs[0]
	from, to := run.Head.Start.Add(run.Head.Warmup), run.Head.End()
	drives := len(r.all[0].Drives)
	if drives == 0 || to-from < hour {
		return Figure{}, false
	}
	long := to-from > longSeries*hour
	sums := map[rt.Time][]float64{}
	days := map[int]float64{}
	for at := from - from%hour; at < to; at += hour {
		days[at.Std().In(r.loc).Hour()]++
	}
	for i := range run.Use {
		u := &run.Use[i]
		if u.Kind != record.Drive || u.At < from-from%hour {
			continue
		}
		at, n := u.At, 1.
		if long {
			h := u.At.Std().In(r.loc).Hour()
			at, n = rt.Time(h), days[h]
		}
		if sums[at] == nil {
			sums[at] = make([]float64, len(activities))
		}
		for k, a := range activities {
			sums[at][k] += a.of(u) / float64(hour) / n
		}
	}
	f := Figure{Title: "What the drives did, hour by hour"}
	p := newPlot("", "drives")
	step := 3600.
	x := func(at rt.Time) float64 { return unix(at.Std()) }
	if long {
		step, x = 1, func(at rt.Time) float64 { return float64(at) }
		f.Title, p.X.Label.Text = "What the drives did in the hours of a mean day", "hour of the day, "+r.loc.String()
		p.X.Min, p.X.Max = 0, 24
		p.X.Tick.Marker = plot.ConstantTicks(valueMarks(0, 24, 12, func(v float64) string { return fmt.Sprintf("%02.0f", v) }))
	} else {
		first, last := bounds(sums)
		p.X.Min, p.X.Max = x(max(first-hour, from-from%hour)), x(min(last+2*hour, to))
		p.X.Tick.Marker = plot.ConstantTicks(timeMarks(time.Unix(int64(p.X.Min), 0), time.Unix(int64(p.X.Max), 0), r.loc, 12))
		p.X.Label.Text = "time, " + r.loc.String()
	}
	p.Y.Min, p.Y.Max = 0, float64(drives)*1.04
	p.Y.Tick.Marker = plot.ConstantTicks(wholeMarks(drives))
	var all []box
	for _, at := range slices.Sorted(maps.Keys(sums)) {
		y := 0.
		for k, v := range sums[at] {
			all = append(all, box{x(at), x(at) + step, y, y + v, activities[k].color})
			y += v
		}
	}
	p.Add(rules{}, boxes{all: all, gap: .6})
	full := float64(drives)
	p.Add(path{x: []float64{p.X.Min, p.X.Max}, y: []float64{full, full}, color: faint, width: 1, dash: dotted})
	for _, a := range activities {
		f.Legend = append(f.Legend, mark{hex(a.color), a.name})
	}
	f.Note = "Drives in use, by what they did. The dotted line is all there are."
	f.SVG = svg(p, wide, 200)
	return f, true
}

func bounds[V any](m map[rt.Time]V) (first, last rt.Time) {
	for at := range m {
		if first == 0 || at < first {
			first = at
		}
		last = max(last, at)
	}
	return first, last
}

// wholeMarks are marks on whole numbers.
func wholeMarks(top int) (marks []plot.Tick) {
	step := max(1, (top+4)/5)
	for v := 0; v <= top; v += step {
		marks = append(marks, plot.Tick{Value: float64(v), Label: fmt.Sprint(v)})
	}
	return marks
}

// column is a stack: a night, or a week of nights.
type column struct {
	label string
	at    float64
	spent record.Spent
	w     answers.Windows
	over  []float64 // hours, of each replication
	miss  []float64 // backups, of each replication
}

// columns are the nights, those of all replications together by date; if there are
// many, a column for each week.
func (r *report) columns() (all []column, unit string) {
	by := map[string]*column{}
	var order []string
	dates := map[string]bool{}
	for _, a := range r.all {
		for i := range a.Nights {
			dates[a.Nights[i].Date] = true
		}
	}
	weekly := len(dates) > 70
	for _, a := range r.all {
		worst, missed := map[string]float64{}, map[string]float64{}
		for i := range a.Nights {
			n := &a.Nights[i]
			day, _ := time.Parse(time.DateOnly, n.Date)
			if weekly {
				day = day.AddDate(0, 0, -(int(day.Weekday())+6)%7)
			}
			key := day.Format(time.DateOnly)
			c := by[key]
			if c == nil {
				c = &column{label: key, at: unix(day), spent: record.Spent{}}
				by[key] = c
				order = append(order, key)
			}
			c.spent.Add(n.Shares.Spent)
			c.w.Late, c.w.NotRun, c.w.Failed = c.w.Late+n.Windows.Late, c.w.NotRun+n.Windows.NotRun, c.w.Failed+n.Windows.Failed
			missed[key] += float64(n.Windows.Late + n.Windows.NotRun + n.Windows.Failed)
			if old, ok := worst[key]; !math.IsNaN(n.Over) && (!ok || n.Over > old) {
				worst[key] = n.Over
			}
		}
		for key, v := range worst {
			by[key].over = append(by[key].over, v/3600)
		}
		for key, v := range missed {
			by[key].miss = append(by[key].miss, v)
		}
	}
	slices.Sort(order)
	for _, key := range order {
		all = append(all, *by[key])
	}
	if weekly {
		return all, "week"
	}
	return all, "night"
}

// nightAxis makes the horizontal axis of columns of nights or weeks; the result is a column's width.
func nightAxis(p *plot.Plot, all []column, unit string) float64 {
	w := 86400.
	if unit == "week" {
		w *= 7
	}
	first, last := all[0].at, all[len(all)-1].at
	p.X.Min, p.X.Max = first-w/2, last+w/2
	if span := 6 * w; p.X.Max-p.X.Min < span { // a few columns are no wall
		p.X.Max = p.X.Min + span
	}
	most := 10
	form := "Mon 2 Jan"
	if len(all) > most || unit == "week" {
		form = "2 Jan"
	}
	var marks []plot.Tick
	for i := 0; i < len(all); i += max(1, (len(all)+most-1)/most) {
		marks = append(marks, plot.Tick{Value: all[i].at, Label: time.Unix(int64(all[i].at), 0).UTC().Format(form)})
	}
	p.X.Tick.Marker = plot.ConstantTicks(marks)
	return w
}

// shares is where the time of each night's backups went.
func (r *report) shares(_ vg.Length) (Figure, bool) {
	all, unit := r.columns()
	if len(all) < 2 { // the bar at the top of the page shows one
		return Figure{}, false
	}
	p := newPlot(unit, "% of the backups' time")
	w := nightAxis(p, all, unit)
	p.Y.Min, p.Y.Max = 0, 100
	p.Y.Tick.Marker = plot.ConstantTicks(valueMarks(0, 100, 4, number))
	var bs []box
	there := map[record.Kind]bool{}
	for _, c := range all {
		y, total := 0., float64(c.spent.Total())
		for _, k := range record.Kinds() {
			if v := 100 * float64(c.spent[k]) / max(total, 1); v > 0 {
				there[k] = there[k] || v >= .05
				bs = append(bs, box{c.at - w*.45, c.at + w*.45, y, y + v, kindColors[k]})
				y += v
			}
		}
	}
	p.Add(rules{}, boxes{all: bs})
	f := Figure{Title: "What limited the backups, " + unit + " by " + unit, Legend: kindMarks(func(k record.Kind) bool { return there[k] })}
	f.Note = "All the time from a backup's request to its end, by what it was spent on or waiting for: each " + unit + " adds up to 100 %."
	if len(r.all) > 1 {
		f.Note += " All replications together."
	}
	f.SVG = svg(p, wide, 210)
	return f, true
}

// misses is how the nights ended relative to their windows' ends.
func (r *report) misses(w vg.Length) (Figure, bool) {
	all, unit := r.columns()
	all = slices.DeleteFunc(all, func(c column) bool { return len(c.over) == 0 })
	if len(all) < 2 {
		return Figure{}, false
	}
	p := newPlot(unit, "hours after the close")
	col := nightAxis(p, all, unit)
	low, high := 0., 0.
	var bs, whiskers []box
	for _, c := range all {
		v := answers.Mean(c.over)
		clr := good
		if v.Value > 0 {
			clr = bad
		}
		bs = append(bs, box{c.at - col*.3, c.at + col*.3, min(v.Value, 0), max(v.Value, 0), clr})
		low, high = min(low, v.Value, v.Low), max(high, v.Value, v.High)
		if len(c.over) > 1 {
			whiskers = append(whiskers, box{c.at - col*.04, c.at + col*.04, v.Low, v.High, ink})
		}
	}
	pad := max((high-low)*.06, .1)
	p.Y.Min, p.Y.Max = low-pad, high+pad
	p.Y.Tick.Marker = plot.ConstantTicks(valueMarks(p.Y.Min, p.Y.Max, 5, number))
	p.Add(rules{}, boxes{all: bs}, boxes{all: whiskers}, path{x: []float64{p.X.Min, p.X.Max}, y: []float64{0, 0}, color: ink, width: 1})
	f := Figure{Title: "The last backup's end, and the window's", Legend: []mark{{hex(good), "room left"}, {hex(bad), "too late"}}}
	f.Note = "Below 0, so much of the window was left when the last backup of the " + unit + " had ended; above, the last ended so much too late."
	if len(r.all) > 1 {
		f.Note += fmt.Sprintf(" The mean of %d replications; the thin bars hold the true mean with 95 %% confidence.", len(r.all))
	}
	f.SVG = svg(p, w, 190)
	return f, true
}

var dotted = dash(1.5, 2.5)

// missed counts the backups that were not done in time.
func (r *report) missed(w vg.Length) (Figure, bool) {
	all, unit := r.columns()
	p := newPlot(unit, "backups")
	top := 0.
	n := float64(len(r.all))
	for _, c := range all {
		top = max(top, float64(c.w.Late+c.w.NotRun+c.w.Failed)/n)
	}
	if top == 0 {
		return Figure{}, false
	}
	col := nightAxis(p, all, unit)
	parts := []struct {
		name  string
		color record.Kind
		of    func(w *answers.Windows) int
	}{
		{"ended late", record.Position, func(w *answers.Windows) int { return w.Late }},
		{"got no resources in time", record.Queue, func(w *answers.Windows) int { return w.NotRun }},
		{"failed", record.Drive, func(w *answers.Windows) int { return w.Failed }},
	}
	f := Figure{Title: "Backups that were not done in time", Note: "By " + unit + "."}
	var bs []box
	for i := range all {
		y := 0.
		for _, part := range parts {
			v := float64(part.of(&all[i].w)) / n
			bs = append(bs, box{all[i].at - col*.3, all[i].at + col*.3, y, y + v, kindColors[part.color]})
			y += v
		}
		if m := answers.Mean(all[i].miss); len(all[i].miss) > 1 {
			bs = append(bs, box{all[i].at - col*.04, all[i].at + col*.04, max(m.Low, 0), m.High, ink})
			top = max(top, m.High)
		}
	}
	for _, part := range parts {
		f.Legend = append(f.Legend, mark{hex(kindColors[part.color]), part.name})
	}
	p.Y.Min, p.Y.Max = 0, max(top*1.05, 1)
	p.Y.Tick.Marker = plot.ConstantTicks(valueMarks(0, p.Y.Max, 5, number))
	p.Add(rules{}, boxes{all: bs})
	if len(r.all) > 1 {
		f.Note = fmt.Sprintf("By %s, the mean of %d replications; the thin bars hold the true mean with 95 %% confidence.", unit, len(r.all))
	}
	f.SVG = svg(p, w, 190)
	return f, true
}

// curve is a distribution to draw.
type curve struct {
	name  string
	color record.Kind
	of    func(a *answers.Answers) []float64
}

// distribution draws the share of values up to each: of all replications together,
// and thinly of each.
func (r *report) distribution(w vg.Length, title, note, axis string, curves []curve) (Figure, bool) {
	p := newPlot(axis, "% of them")
	var lines []plot.Plotter
	f := Figure{Title: title, Note: note}
	top := 0.
	for _, c := range curves {
		var all []float64
		for _, a := range r.all {
			v := c.of(a)
			all = append(all, v...)
			if len(r.all) > 1 {
				lines = append(lines, ecdf(v, fade(kindColors[c.color], 70), .6))
			}
		}
		if len(all) == 0 {
			continue
		}
		slices.Sort(all)
		top = max(top, all[len(all)-1])
		lines = append(lines, ecdf(all, kindColors[c.color], 1.8))
		f.Legend = append(f.Legend, mark{hex(kindColors[c.color]), fmt.Sprintf("%s (%d)", c.name, len(all))})
	}
	if top <= 0 {
		return Figure{}, false
	}
	top /= 60
	p.X.Min, p.X.Max = 0, top*1.05
	p.X.Tick.Marker = plot.ConstantTicks(valueMarks(0, p.X.Max, 6, number))
	p.X.Label.Text = "minutes"
	if top > 240 {
		p.X.Label.Text = "hours"
		p.X.Tick.Marker = plot.ConstantTicks(scaled(valueMarks(0, p.X.Max/60, 6, number), 60))
	}
	p.Y.Min, p.Y.Max = 0, 102
	p.Y.Tick.Marker = plot.ConstantTicks(valueMarks(0, 100, 4, number))
	p.Add(rules{})
	p.Add(lines...)
	f.SVG = svg(p, w, 190)
	return f, true
}

func scaled(marks []plot.Tick, by float64) []plot.Tick {
	for i := range marks {
		marks[i].Value *= by
	}
	return marks
}

// ecdf is the share of seconds up to each of sorted values, in minutes and percent.
func ecdf(sorted []float64, c color.Color, width float64) path {
	l := path{color: c, width: points(width)}
	step := max(1, len(sorted)/800)
	y := 0.
	for i := 0; i < len(sorted); i += step {
		x := sorted[i] / 60
		l.x, l.y = append(l.x, x), append(l.y, y)
		y = 100 * float64(min(i+step, len(sorted))) / float64(len(sorted))
		l.x, l.y = append(l.x, x), append(l.y, y)
	}
	if n := len(sorted); n > 0 {
		l.x, l.y = append(l.x, sorted[n-1]/60), append(l.y, 100)
	}
	return l
}

func (r *report) mountWaits(w vg.Length) (Figure, bool) {
	return r.distribution(w, "How long a mount takes", "From the request until the cartridge is ready in its drive: the part of all mounts that took no longer.", "minutes",
		[]curve{{"mounts", record.Robot, func(a *answers.Answers) []float64 { return a.Mounts.Wait.Sorted() }}})
}

func (r *report) restores(w vg.Length) (Figure, bool) {
	return r.distribution(w, "How long a restore takes", "From the request: the part of all restores that had their first byte, or were done, by then.", "minutes", []curve{
		{"first byte", record.Link, func(a *answers.Answers) []float64 { return a.FirstByte.Sorted() }},
		{"done", record.Source, func(a *answers.Answers) []float64 { return a.Restored.Sorted() }},
	})
}

// media is the cartridges over time, and the free ones' trend.
func (r *report) media(w vg.Length) (Figure, bool) {
	levels := answers.Levels(r.runs[0])
	m := &r.all[0].Media
	if len(levels) == 0 || m.Total == 0 {
		return Figure{}, false
	}
	h := &r.runs[0].Head
	start, end := unix(h.Start.Std()), unix(h.End().Std())
	p := newPlot("", "cartridges")
	p.X.Min, p.X.Max = start, end
	if n := len(m.Course()); n > 0 {
		p.X.Max = min(max(end, unix(m.Course()[n-1].At))+(end-start)/50, end+(end-start))
	}
	p.X.Tick.Marker = plot.ConstantTicks(timeMarks(time.Unix(int64(p.X.Min), 0), time.Unix(int64(p.X.Max), 0), r.loc, 8))
	p.Y.Min, p.Y.Max = 0, float64(max(m.Total, m.Slots))*1.04
	p.Y.Tick.Marker = plot.ConstantTicks(valueMarks(0, p.Y.Max, 5, number))
	stack := []struct {
		name  string
		color record.Kind
		of    func(l *answers.Level) int
	}{
		{"full", record.Media, func(l *answers.Level) int { return l.Full }},
		{"with images and room", record.Limit, func(l *answers.Level) int { return l.Active }},
		{"frozen or suspended", record.Other, func(l *answers.Level) int { return l.Held }},
		{"free", record.Server, func(l *answers.Level) int { return l.Free }},
	}
	f := Figure{Title: "Cartridges", Note: "What the libraries hold, over time."}
	low := make([]float64, 2*len(levels))
	for _, s := range stack {
		b := band{low: low, color: kindColors[s.color]}
		for i := range levels {
			until := end
			if i+1 < len(levels) {
				until = unix(levels[i+1].At.Std())
			}
			v := low[2*i] + float64(s.of(&levels[i]))
			b.x, b.high = append(b.x, unix(levels[i].At.Std()), until), append(b.high, v, v)
		}
		low = b.high
		p.Add(b)
		f.Legend = append(f.Legend, mark{hex(kindColors[s.color]), s.name})
	}
	p.Add(rules{})
	if m.Slots > 0 {
		p.Add(path{x: []float64{p.X.Min, p.X.Max}, y: []float64{float64(m.Slots), float64(m.Slots)}, color: faint, width: 1, dash: dotted})
		f.Note += " The dotted line is the slots that there are."
	}
	f.Note += course(p, m)
	f.SVG = svg(p, w, 190)
	return f, true
}

// course draws how many cartridges will be in use.
func course(p *plot.Plot, m *answers.Cartridges) string {
	l := path{color: good, width: 1.4, dash: dash(4, 3)}
	if m.Forecast.Foreseen {
		l.color = bad
	}
	for i, c := range m.Course() {
		at, level := unix(c.At), float64(m.Total)-c.Level
		if at > p.X.Max && i > 0 { // cut off where the plot ends
			level += (p.X.Max - at) / (at - l.x[i-1]) * (level - l.y[i-1])
			at = p.X.Max
		}
		if l.x, l.y = append(l.x, at), append(l.y, level); at == p.X.Max {
			break
		}
	}
	if len(l.x) < 2 {
		return ""
	}
	p.Add(l)
	return " The dashed line is how many will not be free, if cartridges are taken on as in the run and come free as their images expire."
}

// freeBand is the number of free cartridges over time in several replications.
func (r *report) freeBand(w vg.Length) (Figure, bool) {
	if len(r.runs) < 2 || r.all[0].Media.Total == 0 {
		return Figure{}, false
	}
	h := &r.runs[0].Head
	p := newPlot("", "free cartridges")
	var b band
	var mean path
	step := max(h.Length/120, time.Hour)
	at := make([]int, len(r.runs))
	levels := make([][]answers.Level, len(r.runs))
	for i, run := range r.runs {
		levels[i] = answers.Levels(run)
	}
	top := 0.
	for t := h.Start; t <= h.End(); t = t.Add(step) {
		var free []float64
		for i, ls := range levels {
			for at[i]+1 < len(ls) && ls[at[i]+1].At <= t {
				at[i]++
			}
			if len(ls) > 0 && ls[0].At <= t {
				free = append(free, float64(ls[at[i]].Free))
			}
		}
		if len(free) == 0 {
			continue
		}
		v := answers.Mean(free)
		b.x, b.low, b.high = append(b.x, unix(t.Std())), append(b.low, max(v.Low, 0)), append(b.high, v.High)
		mean.y = append(mean.y, v.Value)
		top = max(top, v.High)
	}
	if len(b.x) < 2 {
		return Figure{}, false
	}
	c := kindColors[record.Server]
	b.color, mean.x, mean.color, mean.width = fade(c, 90), b.x, good, 1.6
	p.X.Min, p.X.Max, p.Y.Min, p.Y.Max = b.x[0], b.x[len(b.x)-1], 0, max(top*1.05, 1)
	p.X.Tick.Marker = plot.ConstantTicks(timeMarks(h.Start.Std(), h.End().Std(), r.loc, 6))
	p.Y.Tick.Marker = plot.ConstantTicks(valueMarks(0, p.Y.Max, 5, number))
	p.Add(rules{}, b, mean)
	return Figure{
		Title: "Free cartridges", SVG: svg(p, w, 190), Legend: []mark{{hex(good), "mean"}, {hex(c), "95 % confidence"}},
		Note: fmt.Sprintf("Over time, in %d replications: the mean, and where the true mean is with 95 %% confidence.", len(r.runs)),
	}, true
}

// carriers is how full the robots and the media servers' links were, by the hour of a mean day.
func (r *report) carriers(w vg.Length) (Figure, bool) {
	a := r.all[0]
	if len(a.ByHour) == 0 {
		return Figure{}, false
	}
	title := "A mean day of drives, robots and links"
	if r.runs[0].Head.Length <= 24*time.Hour {
		title = "Drives, robots and links"
	}
	p := newPlot("hour of the day, "+r.loc.String(), "% of an hour, of the rate")
	lines := []struct {
		name string
		kind record.Kind
		of   func(h *answers.HourUse) float64
	}{
		{"drives, their mean", record.Drive, func(h *answers.HourUse) float64 { return h.Drives }},
		{"robots, their mean", record.Robot, func(h *answers.HourUse) float64 { return h.Robots }},
		{"the busiest media server's link", record.Network, func(h *answers.HourUse) float64 { return h.Links }},
	}
	f := Figure{Title: title, Note: "How much of each hour they were in use, and how much of its rate a link carried."}
	p.X.Min, p.X.Max, p.Y.Min, p.Y.Max = 0, 24, 0, 102
	p.X.Tick.Marker = plot.ConstantTicks(valueMarks(0, 24, 8, func(v float64) string { return fmt.Sprintf("%02.0f", v) }))
	p.Y.Tick.Marker = plot.ConstantTicks(valueMarks(0, 100, 4, number))
	p.Add(rules{})
	for _, l := range lines {
		if l.kind == record.Drive && len(a.Drives) == 0 || l.kind == record.Robot && len(a.Robots) == 0 || l.kind == record.Network && len(a.Links) == 0 {
			continue
		}
		pth := path{color: kindColors[l.kind], width: 1.8}
		for i := range a.ByHour {
			v := 100 * l.of(&a.ByHour[i])
			pth.x, pth.y = append(pth.x, float64(i), float64(i+1)), append(pth.y, v, v)
		}
		p.Add(pth)
		f.Legend = append(f.Legend, mark{hex(kindColors[l.kind]), l.name})
	}
	f.SVG = svg(p, w, 190)
	return f, true
}

// shown are the nights that are drawn: the fullest, and the first that does not fit.
func shown(a *answers.Answers) (all []*answers.Night) {
	if len(a.Nights) == 0 {
		return nil
	}
	fullest := 0
	for i := range a.Nights {
		n, best := &a.Nights[i], &a.Nights[fullest]
		over := func(n *answers.Night) float64 {
			if math.IsNaN(n.Over) {
				return math.Inf(-1)
			}
			return n.Over
		}
		if c := cmp.Or(cmp.Compare(over(n), over(best)), cmp.Compare(n.Shares.Jobs, best.Shares.Jobs)); c > 0 {
			fullest = i
		}
	}
	first := slices.IndexFunc(a.Nights, func(n answers.Night) bool { return !n.Fits() })
	if first >= 0 && first != fullest {
		all = append(all, &a.Nights[first])
	}
	return append(all, &a.Nights[fullest])
}
