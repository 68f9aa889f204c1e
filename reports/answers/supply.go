package answers

import (
	"cmp"
	"math"
	"slices"
	"time"

	"capstan/reports/record"
)

// leastDays is how many days a run must have, after its warm-up, to show a rate.
const leastDays = 5

// cleanups is how often in a day images that have expired are looked for (core/bpdbm).
const cleanups = 2

// class is the cartridges whose images are kept for one time.
type class struct {
	kept time.Duration // 0 is for ever
	rate float64       // how many are taken in a day
	// life is days from being taken until free: infinite if its images are kept for ever, and of
	// those that are full. If none is, more will be written to all: then it is the least.
	life float64
}

// supply foresees how many cartridges are free from the end of the run on. It goes on
// taking cartridges as the run did, for each retention by itself, and each is free when its
// last image expires: those in use when the record says so, those to be taken after
// the time that others of their retention last. That is Little's law with a beginning: where
// nothing is kept for ever, the number in use ends at the sum of the rates times the
// lives. It knows of no growth, and takes all libraries and pools for one.
func (b *builder) supply() {
	if b.days < leastDays || len(b.run.Head.Cartridges) == 0 {
		return
	}
	m := &b.Media
	classes := b.classes()
	for i := range classes {
		m.Taken += classes[i].rate
	}
	m.Forecast.Points = int(b.days)
	level, at := float64(m.Scratch), 0.0
	b.step(at, level)
	fewest := level
	for _, day := range append(b.changes(classes), changeOf{math.Inf(1), 0}) {
		slope := 0.0
		for i := range classes {
			if c := &classes[i]; at < c.life {
				slope -= c.rate
			}
		}
		if gone := at - level/slope; slope < 0 && gone <= day.at {
			b.step(gone, 0)
			if gone < far {
				m.Forecast.Foreseen, m.Forecast.At = true, b.later(gone)
			}
			return
		}
		if math.IsInf(day.at, 1) {
			break
		}
		level += slope * (day.at - at)
		at = day.at
		b.step(at, level)
		if level < fewest-.5 { // not each of many alike
			fewest, m.FewestAt = level, b.later(at)
		}
		level += day.freed
		b.step(at, level)
	}
	m.Lasts, m.Fewest = true, int(math.Round(fewest))
}

// changeOf is when cartridges come free, or a class begins to free as many as it takes,
// in days after the end.
type changeOf struct{ at, freed float64 }

// changes are in order of time.
func (b *builder) changes(classes []class) (all []changeOf) {
	end := b.run.Head.End()
	for i := range classes {
		if life := classes[i].life; !math.IsInf(life, 1) {
			all = append(all, changeOf{at: life})
		}
	}
	for i := range b.run.Head.Cartridges {
		c := &b.run.Head.Cartridges[i]
		if c.Frees == 0 {
			continue
		}
		at := days(c.Frees.Sub(end))
		if k := slices.IndexFunc(classes, func(o class) bool { return o.kept == c.Kept }); !c.Full && k >= 0 && !math.IsInf(classes[k].life, 1) {
			at = max(at, days(c.Taken.Sub(end))+classes[k].life) // more will be written to it
		}
		all = append(all, changeOf{math.Ceil(max(at, 0)*cleanups) / cleanups, 1})
	}
	slices.SortStableFunc(all, func(x, y changeOf) int { return cmp.Compare(x.at, y.at) })
	n := 0
	for _, c := range all {
		if n > 0 && all[n-1].at == c.at {
			all[n-1].freed += c.freed
			continue
		}
		all[n] = c
		n++
	}
	return all[:n]
}

// classes are the retentions of the cartridges in use, the shortest first. The rate
// counts those that were taken so short a time ago that none of their time can
// be free again, in whole weeks if there is one: full backups may come once in a week.
// Those that were imported are of no class: nobody goes on importing, and theirs is
// the day of the import, not of what is on them. They do come free.
func (b *builder) classes() (all []class) {
	end := b.run.Head.End()
	of := map[time.Duration][]*record.Cartridge{}
	for i := range b.run.Head.Cartridges {
		if c := &b.run.Head.Cartridges[i]; !c.Imported() {
			of[c.Kept] = append(of[c.Kept], c)
		}
	}
	for kept, cs := range of {
		c := class{kept: kept, life: math.Inf(1)}
		window := b.days
		if kept > 0 {
			sum, full, shortest, oldest := 0.0, 0, math.Inf(1), days(kept)
			for _, v := range cs {
				oldest = max(oldest, days(v.Frees.Sub(v.Taken)))
				if v.Full && v.Frees > 0 {
					life := days(v.Frees.Sub(v.Taken))
					sum, full, shortest = sum+life, full+1, min(shortest, life)
				}
			}
			if c.life = oldest; full > 0 {
				c.life = sum / float64(full)
			} else {
				shortest = oldest
			}
			window = min(window, shortest)
		}
		if window >= 7 {
			window = 7 * math.Floor(window/7)
		}
		for _, v := range cs {
			if days(end.Sub(v.Taken)) < window {
				c.rate += 1 / window
			}
		}
		all = append(all, c)
	}
	slices.SortFunc(all, func(x, y class) int { return cmp.Compare(x.kept, y.kept) })
	return all
}

func days(d time.Duration) float64 { return d.Hours() / 24 }

// far is as far as is looked, in days.
const far = 36500

// later is a number of days after the end.
func (b *builder) later(d float64) time.Time {
	return b.run.Head.End().Add(time.Duration(min(d, far) * 24 * float64(time.Hour))).Std()
}

// step adds a corner to the course of the free cartridges.
func (b *builder) step(at, level float64) {
	b.Media.course = append(b.Media.course, Corner{b.later(at), level})
}

// Corner is where the course of something changes.
type Corner struct {
	At    time.Time
	Level float64
}

// Course is how many cartridges are free, as foreseen from the end of the run on: from
// corner to corner in straight lines.
func (c *Cartridges) Course() []Corner { return c.course }
