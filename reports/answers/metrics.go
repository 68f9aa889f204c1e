package answers

import (
	"math"

	"capstan/reports/record"
)

// What is better of a metric.
const (
	lower  = "lower"
	higher = "higher"
)

// Metrics are the run's figures, those that it can answer, always in one order.
func (a *Answers) Metrics() (all []Metric) {
	add := func(name, unit, better string, v float64) {
		if !math.IsNaN(v) && !math.IsInf(v, 0) {
			all = append(all, Metric{Name: name, Unit: unit, Value: v, Better: better})
		}
	}
	signed := func(name string) { // what was just added, if it was
		if n := len(all); all[n-1].Name == name {
			all[n-1].Signed = true
		}
	}
	spread := func(name string, q *Quantiles) {
		add(name+" p50", "s", lower, q.P50)
		add(name+" p95", "s", lower, q.P95)
		add(name+" p99", "s", lower, q.P99)
	}
	w := &a.Windows
	add("backups inside their window", "%", higher, 100*w.Share())
	add("backups late", "jobs", lower, float64(w.Late))
	add("backups not run or failed", "jobs", lower, float64(w.NotRun+w.Failed))
	spread("late by", &w.LateBy)
	if w.Due > 0 {
		add("nights that fit", "%", higher, 100*a.fitting())
		add("nights that fit from the first on", "nights", higher, float64(a.Lasts()))
	}
	add("least room before the window closes", "s", higher, a.room())
	signed("least room before the window closes")
	add("backed up", "bytes", higher, float64(w.Bytes))
	add("drives in use", "%", "", 100*meanOf(a.Drives, (*Drive).Busy))
	add("drives in their busiest hour", "%", "", 100*mostOf(a.Drives, func(d *Drive) float64 { return d.PeakHour }))
	add("drives at less than their speed", "%", lower, 100*a.starved())
	add("robots in use", "%", "", 100*meanOf(a.Robots, func(r *Robot) float64 { return r.Busy }))
	add("robots in their busiest hour", "%", "", 100*mostOf(a.Robots, func(r *Robot) float64 { return r.PeakHour }))
	add("links in their busiest hour", "%", "", 100*mostOf(a.Links, func(l *Link) float64 { return l.PeakHour }))
	if len(a.Drives) > 0 {
		add("mounts", "a day", "", a.Mounts.PerDay)
		spread("mount wait", &a.Mounts.Wait)
		add("back-hitches", "", lower, float64(a.Mounts.BackHitches))
	}
	if a.Media.Total > 0 {
		add("cartridges taken", "a day", "", a.Media.PerDay)
		signed("cartridges taken")
		add("scratch cartridges left", "", higher, float64(a.Media.Scratch))
	}
	spread("restore to first byte", &a.FirstByte)
	spread("restore", &a.Restored)
	for _, k := range record.Kinds() {
		add("time of backups: "+Name(k), "%", "", 100*a.Backups.Of(k))
	}
	return all
}

func (a *Answers) fitting() float64 {
	var fit, due float64
	for i := range a.Nights {
		if a.Nights[i].Windows.Due > 0 {
			due++
			if a.Nights[i].Fits() {
				fit++
			}
		}
	}
	return ratio(fit, due)
}

// Lasts is for how many nights the site fits, until the first night that does not: all
// that there are, if each fits.
func (a *Answers) Lasts() (nights int) {
	for i := range a.Nights {
		if n := &a.Nights[i]; n.Windows.Due > 0 {
			if !n.Fits() {
				return nights
			}
			nights++
		}
	}
	return nights
}

// room is what was left of its window on the fullest night, in seconds.
func (a *Answers) room() float64 {
	least := math.NaN()
	for i := range a.Nights {
		if over := a.Nights[i].Over; !math.IsNaN(over) && !(-over >= least) {
			least = -over
		}
	}
	return least
}

// starved is the part of the drives' writing in which data came too slowly.
func (a *Answers) starved() float64 {
	var slow, all float64
	for i := range a.Drives {
		slow += a.Drives[i].Slow
		all += a.Drives[i].Slow + a.Drives[i].Write
	}
	return ratio(slow, all)
}

func meanOf[T any](all []T, of func(*T) float64) float64 {
	sum := 0.
	for i := range all {
		sum += of(&all[i])
	}
	return ratio(sum, float64(len(all)))
}

func mostOf[T any](all []T, of func(*T) float64) float64 {
	most := math.NaN()
	for i := range all {
		if v := of(&all[i]); !(v <= most) {
			most = v
		}
	}
	return most
}
