package answers

import (
	"cmp"
	"encoding/json"
	"math"
	"slices"
	"time"

	"gonum.org/v1/gonum/stat"

	"capstan/core/job"
	"capstan/core/rt"
	"capstan/core/status"
	"capstan/reports/record"
)

// Answers are what one run answers. Times are seconds, shares from 0 to 1, and
// what the run cannot answer is NaN or empty.
type Answers struct {
	Scenario    string    `json:"scenario"`
	Seed        int64     `json:"seed"`
	Replication int       `json:"replication"`
	Real        bool      `json:"real,omitempty"`
	From        time.Time `json:"from"` // after the warm-up
	To          time.Time `json:"to"`
	Warmup      float64   `json:"warmupSeconds"` // what was left out before From
	Zone        string    `json:"zone,omitempty"`

	Windows  Windows    `json:"windows"`
	Nights   []Night    `json:"nights"`
	Backups  Shares     `json:"backups"`  // where the time of backups went
	Restores Shares     `json:"restores"` // and of restores
	Drives   []Drive    `json:"drives"`
	Robots   []Robot    `json:"robots"`
	Links    []Link     `json:"links"` // of media servers, and their disks
	ByHour   []HourUse  `json:"byHour"`
	Mounts   Mounts     `json:"mounts"`
	Media    Cartridges `json:"media"`
	// FirstByte and Restored are from a restore's request.
	FirstByte Quantiles `json:"restoreFirstByteSeconds"`
	Restored  Quantiles `json:"restoreSeconds"`
	Growth    Forecast  `json:"growth"` // of the nights' ends towards their windows' ends
}

// Windows is how the backups that had a window did.
type Windows struct {
	Due    int       `json:"due"`
	Inside int       `json:"inside"` // done before it closed
	Late   int       `json:"late"`   // done after it closed
	NotRun int       `json:"notRun"` // they got no resources while it was open
	Failed int       `json:"failed"`
	Open   int       `json:"open"` // not ended when the run was
	LateBy Quantiles `json:"lateBySeconds"`
	Bytes  int64     `json:"bytes"` // of all backups that were done
}

// Share is the part that was done in its window; NaN if none was due.
func (w *Windows) Share() float64 { return ratio(float64(w.Inside), float64(w.Due)) }

// Shares is time by kind.
type Shares struct {
	Jobs  int          `json:"jobs"`
	Spent record.Spent `json:"spentNanoseconds"`
	// Working is what of it was not waiting for a drive, a cartridge or a limit.
	Working record.Spent `json:"workingNanoseconds"`
}

func (s *Shares) add(j *record.Job) {
	if s.Spent == nil {
		s.Spent, s.Working = record.Spent{}, record.Spent{}
	}
	s.Jobs++
	for k, d := range j.Spent {
		s.Spent[k] += d
		if !k.Waiting() {
			s.Working[k] += d
		}
	}
}

// Of is the share of a kind, from 0 to 1.
func (s *Shares) Of(k record.Kind) float64 {
	return ratio(float64(s.Spent[k]), float64(s.Spent.Total()))
}

// Night is from noon to noon, in the run's zone, of the backups that were due in it.
type Night struct {
	Date    string  `json:"date"` // of its evening
	Windows Windows `json:"windows"`
	Shares  Shares  `json:"shares"`
	// Over is how long after the close of its window the last backup ended, in
	// seconds; below 0 is room that was left. NaN without a window.
	Over float64 `json:"-"`
	// Limit is the kind that most time went to, and its share.
	Limit record.Kind `json:"limit"`
	Share float64     `json:"share"`

	day time.Time // its noon
}

// MarshalJSON writes an Over that there is not as null.
func (n Night) MarshalJSON() ([]byte, error) {
	type fields Night
	out := struct {
		fields
		Over *float64 `json:"overSeconds"`
	}{fields: fields(n)}
	if !math.IsNaN(n.Over) {
		out.Over = &n.Over
	}
	return json.Marshal(out)
}

// Has tells whether a time belongs to the night.
func (n *Night) Has(t rt.Time) bool {
	s := t.Std()
	return !s.Before(n.day) && s.Before(n.day.AddDate(0, 0, 1))
}

// Fits tells whether every backup that was due was done in its window.
func (n *Night) Fits() bool { return n.Windows.Inside == n.Windows.Due }

// Quantiles of a number of values.
type Quantiles struct {
	N                  int
	P50, P95, P99, Max float64

	sorted []float64
}

// MarshalJSON writes quantiles of no values as null.
func (q Quantiles) MarshalJSON() ([]byte, error) {
	if q.N == 0 {
		return []byte("null"), nil
	}
	return json.Marshal(map[string]float64{"n": float64(q.N), "p50": q.P50, "p95": q.P95, "p99": q.P99, "max": q.Max})
}

// quantiles sorts values.
func quantiles(values []float64) Quantiles {
	nan := math.NaN()
	if len(values) == 0 {
		return Quantiles{P50: nan, P95: nan, P99: nan, Max: nan}
	}
	slices.Sort(values)
	at := func(p float64) float64 { return stat.Quantile(p, stat.Empirical, values, nil) }
	return Quantiles{N: len(values), P50: at(.5), P95: at(.95), P99: at(.99), Max: values[len(values)-1], sorted: values}
}

// Sorted are the values, in order.
func (q *Quantiles) Sorted() []float64 { return q.sorted }

func ratio(a, b float64) float64 {
	if b == 0 {
		return math.NaN()
	}
	return a / b
}

// builder makes answers of one run.
type builder struct {
	*Answers
	run  *record.Run
	loc  *time.Location
	from rt.Time
	days float64
}

// Of answers for one run.
func Of(r *record.Run) *Answers {
	h := &r.Head
	from := h.Start.Add(h.Warmup)
	b := &builder{run: r, loc: h.Location(), from: from, days: (h.Length - h.Warmup).Hours() / 24, Answers: &Answers{
		Scenario: h.Scenario, Seed: h.Seed, Replication: h.Replication, Real: h.Real, Zone: h.Zone,
		From: from.Std(), To: h.End().Std(), Warmup: h.Warmup.Seconds(), Nights: []Night{},
	}}
	b.jobs()
	b.mounts()
	b.use()
	b.media()
	b.growth()
	return b.Answers
}

// night is the noon before a time.
func (b *builder) night(t rt.Time) time.Time {
	s := t.Std().In(b.loc).Add(-12 * time.Hour)
	return time.Date(s.Year(), s.Month(), s.Day(), 12, 0, 0, 0, b.loc)
}

func (b *builder) jobs() {
	nights := map[time.Time]*Night{}
	late := map[time.Time][]float64{}
	var first, whole, allLate []float64
	for i := range b.run.Jobs {
		j := &b.run.Jobs[i]
		if j.Queued < b.from {
			continue
		}
		if j.Type == job.Restore {
			b.Restores.add(j)
			if j.First > 0 {
				first = append(first, j.First.Sub(j.Queued).Seconds())
			}
			if j.Status.Succeeded() && !j.Open {
				whole = append(whole, j.Elapsed().Seconds())
			}
			continue
		}
		if j.Type != job.Backup {
			continue
		}
		day := b.night(cmp.Or(j.Opens, j.Queued))
		n := nights[day]
		if n == nil {
			n = &Night{day: day, Date: day.Format(time.DateOnly), Over: math.NaN()}
			nights[day] = n
		}
		b.Backups.add(j)
		n.Shares.add(j)
		n.judge(j)
		if over := j.Ended.Sub(j.Closes).Seconds(); j.Closes > 0 && over > 0 && j.Status.Succeeded() && !j.Open {
			late[day] = append(late[day], over)
			allLate = append(allLate, over)
		}
	}
	b.FirstByte, b.Restored = quantiles(first), quantiles(whole)
	b.Windows.LateBy = quantiles(allLate)
	for _, day := range slices.SortedFunc(keys(nights), time.Time.Compare) {
		n := nights[day]
		n.Windows.LateBy = quantiles(late[day])
		n.Limit, n.Share = n.Shares.Spent.Most()
		b.Nights = append(b.Nights, *n)
		b.Windows.add(&n.Windows)
	}
}

// keys yields a map's keys.
func keys[K comparable, V any](m map[K]V) func(yield func(K) bool) {
	return func(yield func(K) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

func (w *Windows) add(o *Windows) {
	w.Due += o.Due
	w.Inside += o.Inside
	w.Late += o.Late
	w.NotRun += o.NotRun
	w.Failed += o.Failed
	w.Open += o.Open
	w.Bytes += o.Bytes
}

// judge counts a backup.
func (n *Night) judge(j *record.Job) {
	w := &n.Windows
	if j.Status.Succeeded() && !j.Open {
		w.Bytes += j.Bytes
	}
	if j.Closes == 0 {
		return
	}
	w.Due++
	switch {
	case j.Open:
		w.Open++
	case j.Status == status.WindowClosed:
		w.NotRun++
	case !j.Status.Succeeded():
		w.Failed++
	case j.Ended <= j.Closes:
		w.Inside++
	default:
		w.Late++
	}
	if over := j.Ended.Sub(j.Closes).Seconds(); j.Started > 0 && j.Status != status.WindowClosed && (math.IsNaN(n.Over) || over > n.Over) {
		n.Over = over
	}
}

// Mounts is how cartridges came into drives.
type Mounts struct {
	Count  int       `json:"count"`
	PerDay float64   `json:"perDay"`
	Wait   Quantiles `json:"waitSeconds"` // from the request until the cartridge is ready
	Failed int       `json:"failed"`
	// Kept is how often a cartridge was in its drive already, which is no mount.
	Kept int `json:"kept"`
	// BackHitches are the drives' stops because data was late, in the whole run.
	BackHitches int64 `json:"backHitches"`
}

func (b *builder) mounts() {
	var waits []float64
	for i := range b.run.Mounts {
		m := &b.run.Mounts[i]
		switch {
		case m.Asked < b.from:
		case m.Status != 0:
			b.Mounts.Failed++
		case m.Kept:
			b.Mounts.Kept++
		default:
			waits = append(waits, m.Wait().Seconds())
		}
	}
	b.Mounts.Count, b.Mounts.PerDay = len(waits), float64(len(waits))/max(b.days, 1./24)
	b.Mounts.Wait = quantiles(waits)
	for i := range b.run.Head.Resources {
		b.Mounts.BackHitches += b.run.Head.Resources[i].BackHitches
	}
}
