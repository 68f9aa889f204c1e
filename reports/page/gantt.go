package page

import (
	"cmp"
	"fmt"
	"image/color"
	"slices"
	"time"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/vg"

	"capstan/core/job"
	"capstan/core/rt"
	"capstan/reports/answers"
	"capstan/reports/record"
)

// maxLanes is how many jobs at a time a disk shows.
const maxLanes = 16

// gantt is one night: what each drive had in it and each disk took, over time.
type gantt struct {
	run    *record.Run
	loc    *time.Location
	jobs   []*record.Job // of the night
	rows   []string
	boxes  []box
	hidden int
	kinds  map[record.Kind]bool
	from   rt.Time
	to     rt.Time
}

// nightOf draws the jobs that were due on a night.
func nightOf(r *record.Run, n *answers.Night) (Figure, bool) {
	g := &gantt{run: r, loc: r.Head.Location(), kinds: map[record.Kind]bool{}}
	var open, closes rt.Time
	for i := range r.Jobs {
		j := &r.Jobs[i]
		if j.Type == job.Backup && n.Has(cmp.Or(j.Opens, j.Queued)) {
			g.jobs = append(g.jobs, j)
			if open == 0 || j.Queued < open {
				open = j.Queued
			}
			closes = max(closes, j.Closes)
			g.to = max(g.to, j.Ended)
		}
	}
	if len(g.jobs) == 0 {
		return Figure{}, false
	}
	g.from = open
	length := max(g.to-g.from, 60e9)
	g.to += length / 40
	showsClose := closes > 0 && closes < g.to+length/2
	if showsClose {
		g.to = max(g.to, closes+length/40)
	}
	g.drives()
	g.disks()
	p := newPlot("", "")
	p.X.Min, p.X.Max = unix(g.from.Std()), unix(g.to.Std())
	p.Y.Min, p.Y.Max = 0, float64(len(g.rows))
	marks := timeMarks(g.from.Std(), g.to.Std(), g.loc, 12)
	p.X.Tick.Marker = plot.ConstantTicks(marks)
	var names []plot.Tick
	for i, name := range g.rows {
		names = append(names, plot.Tick{Value: float64(len(g.rows)-i) - .5, Label: name})
	}
	p.Y.Tick.Marker = plot.ConstantTicks(names)
	p.Y.Tick.Length, p.Y.Tick.LineStyle.Color = 4, color.Transparent // labels stand off
	p.X.Label.Text = "time of day, " + g.loc.String()
	p.Add(boxes{all: g.stripes()}, rules{down: values(marks)}, boxes{all: g.boxes, gap: .3})
	f := Figure{Title: "The night of " + n.Date, Legend: kindMarks(func(k record.Kind) bool { return g.kinds[k] })}
	f.Note = fmt.Sprintf("Each bar is a job on its drive or disk, in the colour of what limited it most while it ran; between them the drive loads, positions and unloads. %d jobs.", len(g.jobs))
	switch at := closes.Std().In(g.loc).Format("15:04"); {
	case showsClose:
		x := unix(closes.Std())
		p.Add(path{x: []float64{x, x}, y: []float64{p.Y.Min, p.Y.Max}, color: bad, width: 1.5})
		f.Note += " The red line is where the last window closes, at " + at + "."
	case closes > 0:
		f.Note += " The last window closes at " + at + ", after what is shown."
	}
	if g.hidden > 0 {
		f.Note += fmt.Sprintf(" %d jobs on disk are not shown: more than %d ran at a time.", g.hidden, maxLanes)
	}
	f.SVG = svg(p, wide, vg.Length(46+15*len(g.rows)))
	return f, true
}

func values(marks []plot.Tick) (all []float64) {
	for _, m := range marks {
		all = append(all, m.Value)
	}
	return all
}

// stripes shade every second row.
func (g *gantt) stripes() (all []box) {
	for i := range g.rows {
		if i%2 == 1 {
			y := float64(len(g.rows) - i)
			all = append(all, box{unix(g.from.Std()), unix(g.to.Std()), y - 1, y, shade})
		}
	}
	return all
}

// bar adds a bar to a row; rows are turned upside down once all are known.
func (g *gantt) bar(row int, from, to rt.Time, k record.Kind) {
	if to <= from {
		return
	}
	g.kinds[k] = true
	g.boxes = append(g.boxes, box{unix(from.Std()), unix(to.Std()), float64(row) + .14, float64(row) + .86, kindColors[k]})
}

// working is what limited a job most while it had resources.
func working(j *record.Job) record.Kind {
	w := record.Spent{}
	for k, d := range j.Spent {
		if !k.Waiting() && k != record.Position && k != record.Robot {
			w[k] = d
		}
	}
	k, _ := w.Most()
	return k
}

func (g *gantt) drives() {
	byID := map[int64]*record.Job{}
	for _, j := range g.jobs {
		byID[j.ID] = j
	}
	rows := map[string]int{}
	for i := range g.run.Head.Resources {
		if r := &g.run.Head.Resources[i]; r.Kind == record.Drive {
			rows[r.Name] = len(g.rows)
			g.rows = append(g.rows, r.Name)
		}
	}
	for i := range g.run.Mounts {
		m := &g.run.Mounts[i]
		j, row := byID[m.Job], rows[m.Drive]
		if j == nil || m.Status != 0 {
			continue
		}
		g.bar(row, m.Asked, m.Ready, record.Position)
		g.bar(row, m.Ready, m.Released, working(j))
		g.bar(row, m.Released, max(m.Empty, m.Released), record.Position)
	}
}

// disks gives jobs on disk lanes, as many as ran at a time.
func (g *gantt) disks() {
	var onDisk []*record.Job
	for _, j := range g.jobs {
		if j.Drive == "" && j.Started > 0 {
			onDisk = append(onDisk, j)
		}
	}
	slices.SortStableFunc(onDisk, func(a, b *record.Job) int {
		return cmp.Or(cmp.Compare(a.Storage, b.Storage), cmp.Compare(a.Started, b.Started), cmp.Compare(a.ID, b.ID))
	})
	var free []rt.Time // when each lane of the storage is free
	first, storage := 0, ""
	for _, j := range onDisk {
		if j.Storage != storage {
			first, free, storage = len(g.rows), nil, j.Storage
		}
		lane := slices.IndexFunc(free, func(t rt.Time) bool { return t <= j.Started })
		switch {
		case lane >= 0:
		case len(free) < maxLanes:
			lane = len(free)
			free = append(free, 0)
			name := ""
			if lane == 0 {
				name = storage
			}
			g.rows = append(g.rows, name)
		default:
			g.hidden++
			continue
		}
		free[lane] = j.Ended
		g.bar(first+lane, j.Started, j.Ended, working(j))
	}
	for i := range g.boxes { // the first row is at the top
		b := &g.boxes[i]
		b.y0, b.y1 = float64(len(g.rows))-b.y1, float64(len(g.rows))-b.y0
	}
}
