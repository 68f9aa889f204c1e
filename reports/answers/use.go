package answers

import (
	"time"

	"capstan/reports/record"
)

// Drive is the use of a drive, as shares of the time.
type Drive struct {
	Name    string  `json:"name"`
	Library string  `json:"library"`
	Model   string  `json:"model,omitempty"`
	Write   float64 `json:"write"` // at its own speed
	Slow    float64 `json:"slow"`  // more slowly, as data came so
	Read    float64 `json:"read"`
	// Position is locating, and Load threading, rewinding and ejecting.
	Position float64 `json:"position"`
	Load     float64 `json:"load"`
	Idle     float64 `json:"idle"` // with a cartridge, and nothing to do
	Mounts   int     `json:"mounts"`
	Bytes    int64   `json:"bytes"`
	Rate     float64 `json:"rate"`               // bytes a second while data moved
	Native   int64   `json:"nativeRate"`         // bytes a second that it could; 0 is not known
	Hitches  int64   `json:"backHitches"`        // in the whole run
	PeakHour float64 `json:"peakHour,omitempty"` // share of its busiest hour
}

// Busy is the share of the time in which others could not have it.
func (d *Drive) Busy() float64 { return d.Write + d.Slow + d.Read + d.Position + d.Load + d.Idle }

// Robot is the use of a robot.
type Robot struct {
	Name     string  `json:"name"`
	Busy     float64 `json:"busy"`
	PeakHour float64 `json:"peakHour"`
}

// Link is the use of what data crosses: the interface or the disks of a media server.
type Link struct {
	Name     string      `json:"name"`
	Kind     record.Kind `json:"kind"`
	Bytes    int64       `json:"bytes"`
	Rate     int64       `json:"rate"`     // bytes a second that it carries; 0 is not known
	Mean     float64     `json:"mean"`     // share of the rate
	PeakHour float64     `json:"peakHour"` // share of the rate, in its busiest hour
	Peak     float64     `json:"peakRate"` // bytes a second in its busiest hour
}

// HourUse is the use at an hour of the day, of a mean day, as shares. With several
// drives it is their mean.
type HourUse struct {
	Hour   int     `json:"hour"`
	Drives float64 `json:"drives"`
	Robots float64 `json:"robots"`
	Links  float64 `json:"links"` // of the interfaces of the media servers: of the busiest
}

// tally is what is added up for a resource.
type tally struct {
	record.Use
	peak, peakBytes float64
}

func busy(u *record.Use) time.Duration {
	if u.Kind == record.Robot {
		return u.Busy
	}
	return max(u.Held, u.Write+u.Slow+u.Read+u.Position) + u.Load
}

func (b *builder) use() {
	sums := map[string]*tally{}
	mounts := map[string]int{}
	for i := range b.run.Mounts {
		if m := &b.run.Mounts[i]; m.Asked >= b.from && m.Status == 0 && !m.Kept {
			mounts[m.Drive]++
		}
	}
	for i := range b.run.Use {
		u := &b.run.Use[i]
		if u.At < b.from {
			continue
		}
		t := sums[u.Name]
		if t == nil {
			t = &tally{}
			sums[u.Name] = t
		}
		t.Bytes += u.Bytes
		t.Busy += u.Busy
		t.Write, t.Slow, t.Read = t.Write+u.Write, t.Slow+u.Slow, t.Read+u.Read
		t.Position, t.Load, t.Held = t.Position+u.Position, t.Load+u.Load, t.Held+u.Held
		t.peak = max(t.peak, float64(busy(u))/float64(time.Hour))
		t.peakBytes = max(t.peakBytes, float64(u.Bytes)/3600)
	}
	for i := range b.run.Head.Resources {
		r := &b.run.Head.Resources[i]
		t := sums[r.Name]
		if t == nil {
			t = &tally{}
		}
		b.resource(r, t, mounts[r.Name])
	}
	b.byHour()
}

// resource makes the row of a resource.
func (b *builder) resource(r *record.Resource, t *tally, mounts int) {
	all := b.days * 24 * float64(time.Hour)
	share := func(d time.Duration) float64 { return float64(max(d, 0)) / max(all, 1) }
	switch r.Kind {
	case record.Drive:
		moving := t.Write + t.Slow + t.Read
		d := Drive{
			Name: r.Name, Library: r.Library, Model: r.Model, Write: share(t.Write), Slow: share(t.Slow), Read: share(t.Read),
			Position: share(t.Position), Load: share(t.Load), Idle: share(t.Held - moving - t.Position), Mounts: mounts, Bytes: t.Bytes,
			Native: r.Rate, Hitches: r.BackHitches, PeakHour: t.peak,
		}
		if moving > 0 {
			d.Rate = float64(t.Bytes) / moving.Seconds()
		}
		b.Drives = append(b.Drives, d)
	case record.Robot:
		b.Robots = append(b.Robots, Robot{Name: r.Name, Busy: share(t.Busy), PeakHour: t.peak})
	case record.Network, record.Server:
		l := Link{Name: r.Name, Kind: r.Kind, Bytes: t.Bytes, Rate: r.Rate, Peak: t.peakBytes}
		if r.Rate > 0 {
			l.Mean, l.PeakHour = float64(t.Bytes)/(max(b.days, 1./24)*86400*float64(r.Rate)), t.peakBytes/float64(r.Rate)
		}
		b.Links = append(b.Links, l)
	}
}

// byHour makes the mean day.
func (b *builder) byHour() {
	if b.run.Head.Length < time.Hour {
		return
	}
	rates := map[string]int64{}
	for i := range b.run.Head.Resources {
		rates[b.run.Head.Resources[i].Name] = b.run.Head.Resources[i].Rate
	}
	b.ByHour = make([]HourUse, 24)
	links := map[string]*[24]float64{}
	var counts [24]float64 // how often the run had the hour
	for at := b.from - b.from%hour; at < b.run.Head.End(); at += hour {
		counts[at.Std().In(b.loc).Hour()]++
	}
	for i := range b.run.Use {
		u := &b.run.Use[i]
		if u.At < b.from {
			continue
		}
		h := u.At.Std().In(b.loc).Hour()
		n := max(counts[h], 1)
		switch u.Kind {
		case record.Drive:
			b.ByHour[h].Drives += float64(busy(u)) / float64(hour) / n / float64(max(len(b.Drives), 1))
		case record.Robot:
			b.ByHour[h].Robots += float64(busy(u)) / float64(hour) / n / float64(max(len(b.Robots), 1))
		case record.Network:
			if rates[u.Name] > 0 {
				l := links[u.Name]
				if l == nil {
					l = &[24]float64{}
					links[u.Name] = l
				}
				l[h] += float64(u.Bytes) / 3600 / float64(rates[u.Name]) / n
			}
		}
	}
	for h := range b.ByHour {
		b.ByHour[h].Hour = h
		for _, l := range links {
			b.ByHour[h].Links = max(b.ByHour[h].Links, l[h])
		}
	}
}
