package page

import (
	"bytes"
	"fmt"
	"html/template"
	"image/color"
	"math"
	"strings"
	"time"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// Figure is a plot with its words.
type Figure struct {
	Title  string
	Note   string
	Legend []mark
	SVG    template.HTML
}

// Wide tells whether the figure takes the page's whole width.
func (f Figure) Wide() bool {
	return strings.Contains(string(f.SVG[:min(len(f.SVG), 60)]), fmt.Sprintf("0 0 %d ", wide))
}

// The sizes of plots, in points: what a page of A4 holds across.
const (
	wide   = 720
	narrow = 352
)

// newPlot makes a plot in the page's style.
func newPlot(x, y string) *plot.Plot {
	p := plot.New()
	sans := font.Font{Typeface: "Liberation", Variant: "Sans"}
	p.X.Label.Text, p.Y.Label.Text = x, y
	for _, a := range []*plot.Axis{&p.X, &p.Y} {
		a.Label.TextStyle.Font, a.Tick.Label.Font = sans, sans
		a.Label.TextStyle.Font.Size, a.Tick.Label.Font.Size = 10, 9
		a.Label.TextStyle.Color, a.Tick.Label.Color = faint, ink
		a.LineStyle.Color, a.Tick.LineStyle.Color = grid, grid
		a.LineStyle.Width, a.Tick.LineStyle.Width = .75, .75
		a.Padding, a.Tick.Length = 0, 3
	}
	p.Y.LineStyle.Width, p.Y.Tick.Length = 0, 0
	p.BackgroundColor = color.Transparent
	return p
}

// svg draws a plot. The result scales to the width that it gets.
func svg(p *plot.Plot, w, h vg.Length) template.HTML {
	c := vgsvg.New(w, h)
	p.Draw(draw.Crop(draw.New(c), 0, -11, 0, 0)) // room for half of the last label
	var b bytes.Buffer
	if _, err := c.WriteTo(&b); err != nil {
		panic(fmt.Sprintf("page: drawing into memory: %v", err))
	}
	s := b.String()
	if i := strings.Index(s, "<svg"); i >= 0 {
		s = s[i:]
	}
	if i := strings.Index(s, ">"); i >= 0 {
		s = fmt.Sprintf(`<svg viewBox="0 0 %g %g" role="img" xmlns="http://www.w3.org/2000/svg">`, w.Points(), h.Points()) + s[i+1:]
	}
	s = strings.ReplaceAll(s, "font-family:Liberation Sans;", "")
	return template.HTML(s) //nolint:gosec // vgsvg escapes the texts in it
}

// box is a filled rectangle in a plot's coordinates.
type box struct {
	x0, x1, y0, y1 float64
	color          color.Color
}

// boxes draws rectangles.
type boxes struct {
	all []box
	gap vg.Length // taken from the right of each
}

// Plot implements [plot.Plotter].
func (b boxes) Plot(c draw.Canvas, p *plot.Plot) {
	x, y := p.Transforms(&c)
	for i := range b.all {
		r := &b.all[i]
		x0, x1 := max(x(r.x0), c.Min.X), min(x(r.x1)-b.gap, c.Max.X)
		y0, y1 := max(y(r.y0), c.Min.Y), min(y(r.y1), c.Max.Y)
		if x1-x0 < .4 {
			x1 = x0 + .4
		}
		if y1 <= y0 || x0 >= c.Max.X {
			continue
		}
		c.FillPolygon(r.color, []vg.Point{{X: x0, Y: y0}, {X: x1, Y: y0}, {X: x1, Y: y1}, {X: x0, Y: y1}})
	}
}

// DataRange implements [plot.DataRanger].
func (b boxes) DataRange() (xmin, xmax, ymin, ymax float64) {
	xmin, ymin, xmax, ymax = math.Inf(1), math.Inf(1), math.Inf(-1), math.Inf(-1)
	for i := range b.all {
		r := &b.all[i]
		xmin, xmax, ymin, ymax = min(xmin, r.x0), max(xmax, r.x1), min(ymin, r.y0), max(ymax, r.y1)
	}
	return xmin, xmax, ymin, ymax
}

// path is a line in a plot's coordinates; NaN breaks it.
type path struct {
	x, y  []float64
	color color.Color
	width vg.Length
	dash  []vg.Length
}

// Plot implements [plot.Plotter].
func (l path) Plot(c draw.Canvas, p *plot.Plot) {
	tx, ty := p.Transforms(&c)
	style := draw.LineStyle{Color: l.color, Width: l.width, Dashes: l.dash}
	var pts []vg.Point
	flush := func() {
		if len(pts) > 1 {
			c.StrokeLines(style, c.ClipLinesXY(pts)...)
		}
		pts = pts[:0:0]
	}
	for i := range l.x {
		if math.IsNaN(l.y[i]) {
			flush()
			continue
		}
		pts = append(pts, vg.Point{X: tx(l.x[i]), Y: ty(l.y[i])})
	}
	flush()
}

// band is the area between two lines.
type band struct {
	x, low, high []float64
	color        color.Color
}

// Plot implements [plot.Plotter].
func (b band) Plot(c draw.Canvas, p *plot.Plot) {
	tx, ty := p.Transforms(&c)
	var pts []vg.Point
	for i := range b.x {
		pts = append(pts, vg.Point{X: tx(b.x[i]), Y: ty(b.high[i])})
	}
	for i := len(b.x) - 1; i >= 0; i-- {
		pts = append(pts, vg.Point{X: tx(b.x[i]), Y: ty(b.low[i])})
	}
	if len(pts) > 2 {
		c.FillPolygon(b.color, c.ClipPolygonXY(pts))
	}
}

// rules draws thin lines across at the marks of the vertical axis, and down at given places.
type rules struct{ down []float64 }

// Plot implements [plot.Plotter].
func (r rules) Plot(c draw.Canvas, p *plot.Plot) {
	tx, ty := p.Transforms(&c)
	style := draw.LineStyle{Color: grid, Width: .6}
	for _, m := range p.Y.Tick.Marker.Ticks(p.Y.Min, p.Y.Max) {
		if !m.IsMinor() && m.Value >= p.Y.Min && m.Value <= p.Y.Max {
			c.StrokeLine2(style, c.Min.X, ty(m.Value), c.Max.X, ty(m.Value))
		}
	}
	for _, v := range r.down {
		if v >= p.X.Min && v <= p.X.Max {
			c.StrokeLine2(style, tx(v), c.Min.Y, tx(v), c.Max.Y)
		}
	}
}

// dash is a pattern of strokes and gaps in points.
func dash(on, off float64) []vg.Length { return []vg.Length{points(on), points(off)} }

func points(v float64) vg.Length { return vg.Length(v) }

// unix is a time on an axis.
func unix(t time.Time) float64 { return float64(t.UnixNano()) / 1e9 }

// niceSteps are the distances between marks of time, with the form of their labels.
var niceSteps = []struct {
	step time.Duration
	form string
}{
	{5 * time.Minute, "15:04"}, {15 * time.Minute, "15:04"}, {time.Hour, "15:04"}, {2 * time.Hour, "15:04"}, {4 * time.Hour, "15:04"},
	{12 * time.Hour, "2 Jan 15:04"}, {24 * time.Hour, "Mon 2 Jan"}, {48 * time.Hour, "2 Jan"}, {7 * 24 * time.Hour, "2 Jan"}, {14 * 24 * time.Hour, "2 Jan"},
	{28 * 24 * time.Hour, "2 Jan 2006"}, {91 * 24 * time.Hour, "Jan 2006"}, {365 * 24 * time.Hour, "2006"},
}

// timeMarks are marks of a time axis, at most most of them, on round times of the zone.
func timeMarks(from, to time.Time, loc *time.Location, most int) (marks []plot.Tick) {
	step := niceSteps[len(niceSteps)-1]
	for _, s := range niceSteps {
		if int(to.Sub(from)/s.step) <= most {
			step = s
			break
		}
	}
	f := from.In(loc)
	at := time.Date(f.Year(), f.Month(), f.Day(), 0, 0, 0, 0, loc)
	for ; !at.After(to); at = next(at, step.step) {
		if !at.Before(from) {
			marks = append(marks, plot.Tick{Value: unix(at), Label: at.Format(step.form)})
		}
	}
	return marks
}

// next is a step later: whole days by the calendar.
func next(t time.Time, step time.Duration) time.Time {
	if step >= 24*time.Hour {
		return t.AddDate(0, 0, int(step/(24*time.Hour)))
	}
	return t.Add(step)
}

// valueMarks are about n marks from 0 to top on round numbers, with labels by a function.
func valueMarks(low, top float64, n int, label func(v float64) string) (marks []plot.Tick) {
	if !(top > low) {
		return []plot.Tick{{Value: low, Label: label(low)}}
	}
	raw := (top - low) / float64(n)
	unit := math.Pow(10, math.Floor(math.Log10(raw)))
	step := 10 * unit
	for _, m := range []float64{1, 2, 2.5, 5} {
		if m*unit >= raw {
			step = m * unit
			break
		}
	}
	for i := math.Ceil(low / step); i*step <= top+step/1e6; i++ {
		marks = append(marks, plot.Tick{Value: i * step, Label: label(i * step)})
	}
	return marks
}

func number(v float64) string { return fmt.Sprintf("%.3g", v+0) } // -0 is 0
