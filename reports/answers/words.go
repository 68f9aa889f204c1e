package answers

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/dustin/go-humanize"

	"capstan/reports/record"
)

// Name is what people call a kind.
func Name(k record.Kind) string {
	switch k {
	case record.Source:
		return "clients' disks"
	case record.Link:
		return "clients' links"
	case record.Connection:
		return "the limit of one connection"
	case record.Network:
		return "media servers' links"
	case record.Server:
		return "media servers' disks"
	case record.Drive:
		return "drives' speed"
	case record.Position:
		return "loading and positioning"
	case record.Robot:
		return "robots"
	case record.Queue:
		return "waiting for a drive"
	case record.Media:
		return "waiting for a cartridge"
	case record.Limit:
		return "limits of jobs"
	}
	return "other"
}

// advice is what to try against a kind, as the rest of a sentence.
func advice(k record.Kind) string {
	switch k {
	case record.Source:
		return "let more clients run at a time, back up less (incrementals, exclusions), or give the slow clients faster disks; more drives alone change little"
	case record.Link:
		return "let more clients run at a time, so that their links add up, give the largest clients faster links, or back up less of them"
	case record.Connection:
		return "let more jobs run at a time, several of one client too, for each has a connection of its own; give the clients larger TCP windows, or a media server near them; faster links change nothing"
	case record.Network:
		return "give the media server a faster or a second interface, or divide the clients between media servers"
	case record.Server:
		return "give the disk storage unit more or faster disks, or divide its policies between storage units"
	case record.Drive:
		return "add drives and let as many jobs run, or take a faster generation of drive"
	case record.Position:
		return "make fewer and longer jobs of many short ones, send short ones to disk, or keep cartridges mounted between jobs; new LTO-9 cartridges are measured when they are first loaded, once"
	case record.Robot:
		return "make fewer and longer jobs of many short ones, spread their starts, or give the library a second or faster robot"
	case record.Queue:
		return "add drives, spread the starts over the window, or send the short jobs to disk"
	case record.Media:
		return "put more cartridges into the pool, let policies share pools, or let storage units mix retentions"
	case record.Limit:
		return "raise the limits of the policy, the client or the storage unit as far as drives and links allow"
	}
	return "look at the jobs' traces: processes that start slowly, retries, hosts that are away"
}

// Words say in sentences what the run shows, what limits it and what to try.
func (a *Answers) Words() []string {
	var out []string
	say := func(s string) {
		if s != "" {
			out = append(out, s)
		}
	}
	say(a.sayFit())
	say(a.sayLimit())
	say(a.sayDrives())
	say(a.sayGrowth())
	say(a.sayMedia())
	say(a.sayRestores())
	return out
}

func (a *Answers) sayFit() string {
	w := &a.Windows
	if w.Due == 0 {
		return fmt.Sprintf("No backup had a window; %s.", count(a.Backups.Jobs, "backup was recorded", "backups were recorded"))
	}
	var s strings.Builder
	fit, nights := 0, 0
	for i := range a.Nights {
		if a.Nights[i].Windows.Due > 0 {
			nights++
			if a.Nights[i].Fits() {
				fit++
			}
		}
	}
	switch {
	case nights == 1 && fit == 1:
		s.WriteString("The night fits: ")
	case nights == 1:
		s.WriteString("The night does not fit: ")
	case fit == nights:
		fmt.Fprintf(&s, "All %d nights fit: ", nights)
	default:
		fmt.Fprintf(&s, "%d of %d nights fit: ", fit, nights)
	}
	fmt.Fprintf(&s, "%d of %s were done inside their windows (%s)", w.Inside, count(w.Due, "backup", "backups"), percent(w.Share()))
	for _, m := range []struct {
		n    int
		text string
	}{{w.Late, "ended late"}, {w.NotRun, "got no resources before their windows closed"}, {w.Failed, "failed"}, {w.Open, "had not ended when the run did"}} {
		if m.n > 0 {
			fmt.Fprintf(&s, "; %d %s", m.n, m.text)
		}
	}
	if q := &w.LateBy; q.N > 0 {
		fmt.Fprintf(&s, ". The late ones were late by %s", most(q))
	} else if room := a.room(); room > 0 && nights == 1 {
		fmt.Fprintf(&s, ". When the last had ended, %s of its window were left", span(room))
	} else if room > 0 {
		fmt.Fprintf(&s, ". On the fullest night %s were left", span(room))
	}
	return s.String() + "."
}

// sayLimit names the bottleneck. When most of the time is waiting for what other
// jobs have, it also says what those were limited by: that is where to begin.
func (a *Answers) sayLimit() string {
	most, share := a.Backups.Spent.Most()
	if a.Backups.Spent.Total() == 0 {
		return ""
	}
	s := fmt.Sprintf("The largest part of the backups' time, %s, went to this: %s. To try: %s.", percent(share), Name(most), advice(most))
	work, part := a.Backups.Working.Most()
	if most.Waiting() && work != record.Other {
		s += fmt.Sprintf(" The jobs that had resources, and so kept the others waiting, were themselves held up most by %s (%s of their time). To try: %s.", Name(work), percent(part), advice(work))
	}
	return s
}

func (a *Answers) sayDrives() string {
	if len(a.Drives) == 0 {
		return ""
	}
	peak := mostOf(a.Drives, func(d *Drive) float64 { return d.PeakHour })
	s := fmt.Sprintf("The drives were in use %s of the time, the busiest of them %s of its busiest hour", percent(meanOf(a.Drives, (*Drive).Busy)), percent(peak))
	if slow := a.starved(); slow > .25 {
		s += fmt.Sprintf("; in %s of the time in which they wrote, data came more slowly than they could take it", percent(slow))
	}
	if n := a.Mounts.BackHitches; n > 0 {
		s += fmt.Sprintf(", and they stopped and backed up %d times for it", n)
	}
	if q := &a.Mounts.Wait; q.N > 0 {
		s += fmt.Sprintf(". A mount took %s", most(q))
		if n := a.Mounts.Kept; n > 0 {
			s += fmt.Sprintf("; %s found in the drive already", count(n, "cartridge was", "cartridges were"))
		}
	}
	return s + "."
}

func (a *Answers) sayGrowth() string {
	g := &a.Growth
	switch {
	case g.Seen && len(a.Nights) > 1:
		return "The first night that does not fit is that of " + day(g.At) + "."
	case g.Foreseen:
		return fmt.Sprintf("The nights grow longer by %s each; if that goes on, that of %s is the first that does not fit.", span(g.Slope), day(g.At))
	}
	return ""
}

func (a *Answers) sayMedia() string {
	m := &a.Media
	if m.Total == 0 {
		return ""
	}
	s := fmt.Sprintf("Of %s in the libraries %d are free, %d have room, %d are full", count(m.Total, "cartridge", "cartridges"), m.Scratch, m.Active, m.Full)
	if m.Slots > 0 {
		s += fmt.Sprintf("; the libraries have %d slots", m.Slots)
	}
	switch f := &m.Forecast; {
	case f.Seen:
		s += ". The free cartridges ran out on " + day(f.At)
	case f.Foreseen:
		s += fmt.Sprintf(". If the site goes on taking %.2g cartridges a day, each free when its images expire, the free ones run out about %s", m.Taken, day(f.At))
	case m.Lasts && m.Taken > 0:
		s += fmt.Sprintf(". If the site goes on taking %.2g cartridges a day, each free when its images expire, the free ones last: the fewest are %d", m.Taken, m.Fewest)
		if !m.FewestAt.IsZero() {
			s += ", about " + day(m.FewestAt)
		}
	}
	return s + "."
}

func (a *Answers) sayRestores() string {
	if a.Restores.Jobs == 0 || a.FirstByte.N == 0 {
		return ""
	}
	s := fmt.Sprintf("Of %s, the first byte came after %s", count(a.Restores.Jobs, "restore", "restores"), most(&a.FirstByte))
	if a.Restored.N > 0 {
		s += "; the end after " + most(&a.Restored)
	}
	return s + "."
}

// most is what is usual of values, and what they come to.
func most(q *Quantiles) string {
	switch {
	case q.N == 1 || span(q.P50) == span(q.Max):
		return span(q.P50)
	case q.N < 20:
		return fmt.Sprintf("%s in the median of %d, at most %s", span(q.P50), q.N, span(q.Max))
	}
	return fmt.Sprintf("%s in the median of %d, %s or more for one in twenty, at most %s", span(q.P50), q.N, span(q.P95), span(q.Max))
}

func day(t time.Time) string { return t.Format("Monday, 2 January 2006") }

func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return humanize.Comma(int64(n)) + " " + many
}

func percent(share float64) string {
	switch {
	case math.IsNaN(share):
		return "-"
	case share >= .9995:
		return "100 %"
	case share > 0 && share < .001:
		return "less than 0.1 %"
	case share < .1 || share > .99 && share < 1:
		return fmt.Sprintf("%.1f %%", 100*share)
	}
	return fmt.Sprintf("%.0f %%", 100*share)
}

// span is a duration in seconds for people, in its two largest units.
func span(seconds float64) string {
	switch {
	case math.IsNaN(seconds):
		return "-"
	case seconds < 0:
		return "-" + span(-seconds)
	case seconds < 10:
		return fmt.Sprintf("%.1f s", seconds)
	case seconds < 120:
		return fmt.Sprintf("%.0f s", seconds)
	case seconds < 7200:
		return fmt.Sprintf("%d min", int(math.Round(seconds/60)))
	}
	m := int(math.Round(seconds / 60))
	if m < 48*60 {
		return fmt.Sprintf("%d h %02d min", m/60, m%60)
	}
	return fmt.Sprintf("%.1f days", seconds/86400)
}

// Text writes a metric's value with its unit for people.
func (m *Metric) Text(v float64) string {
	switch m.Unit {
	case "s":
		return span(v)
	case "%":
		return fmt.Sprintf("%.1f %%", v)
	case "bytes":
		units := []string{"B", "kB", "MB", "GB", "TB", "PB", "EB"}
		i := 0
		for ; math.Abs(v) >= 999.5 && i < len(units)-1; i++ {
			v /= 1000
		}
		return fmt.Sprintf("%.3g %s", v, units[i])
	}
	places := 2
	if m.Unit == "a day" { // three digits: more would be of chance
		places = max(0, 2-int(math.Log10(max(math.Abs(v), 1))))
	}
	text, unit := strconv.FormatFloat(v, 'f', places, 64), m.Unit
	if places > 0 {
		text = strings.TrimRight(strings.TrimRight(text, "0"), ".")
	}
	if text == "-0" {
		text = "0"
	}
	if text == "1" {
		unit = strings.TrimSuffix(unit, "s") // one job, one night
	}
	return strings.TrimSpace(text + " " + unit)
}

// Range writes an estimate's interval for people; "" if there is none. What cannot be below
// 0, or above 100 %, is not, whatever Student's t says.
func (e *Estimate) Range() string {
	i := e.Interval
	if i.Level == 0 {
		return ""
	}
	if !e.Signed {
		i.Low = max(i.Low, 0)
	}
	if e.Unit == "%" {
		i.High = min(i.High, 100)
	}
	return between(e.Text(i.Low), e.Text(i.High))
}

// between writes a range; a unit that both ends have is said once.
func between(low, high string) string {
	number, unit, _ := strings.Cut(low, " ")
	if _, other, _ := strings.Cut(high, " "); unit == other {
		low = number
	}
	return low + " to " + high
}

// Told are the differences that are worth a sentence: those with a verdict that are no less
// than a fiftieth of the first, and of quantiles p95.
func Told(all []Difference, verdict string) (told []*Difference) {
	for i := range all {
		d := &all[i]
		if d.Verdict() != verdict || math.Abs(d.By.Value) < .02*math.Abs(d.First.Value) || strings.HasSuffix(d.Name, "p50") || strings.HasSuffix(d.Name, "p99") {
			continue
		}
		told = append(told, d)
	}
	return told
}

// Signed writes a difference with its sign for people.
func (d *Difference) Signed() string {
	text := d.amount(d.By.Value)
	if d.By.Value > 0 && text != d.amount(0) {
		return "+" + text
	}
	return text
}

// Range writes a difference's interval for people; "" if there is none.
func (d *Difference) Range() string {
	if d.By.Level == 0 {
		return ""
	}
	s := between(d.amount(d.By.Low), d.amount(d.By.High))
	if d.By.N < max(d.First.N, d.Second.N) {
		s += fmt.Sprintf(" (%d pairs)", d.By.N)
	}
	return s
}

// amount writes what a metric differs by: of shares in percentage points, which are no
// per cent of what they are compared with.
func (d *Difference) amount(v float64) string {
	if d.Unit == "%" {
		return fmt.Sprintf("%.1f points", math.Round(v*10)/10+0) // + 0: -0 is 0
	}
	return d.Text(v)
}
