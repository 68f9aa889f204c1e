// Package policy holds what an administrator decided: which clients and paths
// are backed up, when, to where, and for how long the images are kept; and the
// rule that says when a schedule is due.
package policy

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"capstan/core/rt"
	"capstan/core/store"
)

// Type is the type of a schedule.
type Type string

// The types of schedule, by the words that image file names end in.
const (
	Full         Type = "FULL" // every file
	Differential Type = "INCR" // files changed since the last backup of any type
)

// Policy is one backup policy.
type Policy struct {
	Name      string        `json:"name"`
	Active    bool          `json:"active"`
	Clients   []string      `json:"clients"`
	Paths     []string      `json:"paths"`
	Exclude   []string      `json:"exclude,omitempty"`
	Storage   string        `json:"storage"` // a storage unit or a group of them
	Pool      string        `json:"pool,omitempty"`
	Priority  int           `json:"priority,omitempty"` // 0 to 99999, higher first
	Retention time.Duration `json:"retention"`          // 0: for ever
	Schedules []Schedule    `json:"schedules"`
	Zone      string        `json:"zone,omitempty"` // IANA name; "" is UTC
	Limits    Limits        `json:"limits,omitzero"`
}

// Limits are the consumption limits that a job's resource request carries; 0 is
// no limit.
type Limits struct {
	JobsPerPolicy int `json:"jobsPerPolicy,omitempty"`
	JobsPerClient int `json:"jobsPerClient,omitempty"` // of each client, over all policies
	ThisClient    int `json:"thisClient,omitempty"`    // of this very client, as its host entry says
}

// Schedule says when, and what type.
type Schedule struct {
	Name      string        `json:"name"`
	Type      Type          `json:"type"`
	Frequency time.Duration `json:"frequency"`
	Windows   []Window      `json:"windows"`
	Retention time.Duration `json:"retention,omitempty"` // 0: the policy's
}

// Window is a span of time on some days of the week in which jobs may start. It
// may cross midnight.
type Window struct {
	Days   []time.Weekday `json:"days,omitempty"` // on which it opens; none is every day
	Start  time.Duration  `json:"start"`          // after midnight, in the policy's zone
	Length time.Duration  `json:"length"`
}

// Table holds the policies by name.
var Table = store.Declare[string, Policy]("policies", 1, store.StringKey, nil)

// Schedule finds a schedule by name; the first if name is "".
func (p *Policy) Schedule(name string) (Schedule, error) {
	for _, s := range p.Schedules {
		if name == "" || s.Name == name {
			return s, nil
		}
	}
	if name == "" {
		return Schedule{}, fmt.Errorf("policy %s has no schedule: add one", p.Name)
	}
	return Schedule{}, fmt.Errorf("policy %s has no schedule %q", p.Name, name)
}

// HasClient tells whether the policy backs the client up.
func (p *Policy) HasClient(client string) bool { return slices.Contains(p.Clients, client) }

// Location is the policy's time zone.
func (p *Policy) Location() (*time.Location, error) {
	loc, err := time.LoadLocation(p.Zone)
	if err != nil {
		return nil, fmt.Errorf("policy %s: time zone %q: %w", p.Name, p.Zone, err)
	}
	return loc, nil
}

// Kept is how long an image of the schedule is kept; 0 is for ever.
func (p *Policy) Kept(s Schedule) time.Duration {
	if s.Retention != 0 {
		return s.Retention
	}
	return p.Retention
}

// Span is a time in which a window is open.
type Span struct{ Open, Close rt.Time }

// NextOpen is the first span of the schedule's windows that ends after t; ok is
// false if the schedule has no window. Windows that touch or overlap make one
// span: a job that is queued when one gives way to the next keeps its place.
//
// A window opens at its time on the wall clock, on the days of the policy's zone;
// a time that the clock skips when it is put forward is taken after the gap, and one
// that comes twice when it is put back is taken the second time. It stays open for
// its length, so on those nights it closes an hour later, or earlier, by the clock.
func (s *Schedule) NextOpen(t rt.Time, loc *time.Location) (span Span, ok bool) {
	for _, o := range s.openings(t, loc) {
		switch {
		case o.Close <= t:
		case !ok:
			span, ok = o, true
		case o.Open <= span.Close:
			span.Close = max(span.Close, o.Close)
		}
	}
	return span, ok
}

// openings are the schedule's windows of the week before and after t, by the time
// at which they open.
func (s *Schedule) openings(t rt.Time, loc *time.Location) (all []Span) {
	all = make([]Span, 0, 17*len(s.Windows))
	y, m, d := t.Std().In(loc).Date()
	for day := -8; day <= 8; day++ {
		// In UTC every day has a midnight: in some zones the clock is put forward at it.
		date := time.Date(y, m, d+day, 0, 0, 0, 0, time.UTC)
		for _, w := range s.Windows {
			if len(w.Days) > 0 && !slices.Contains(w.Days, date.Weekday()) {
				continue
			}
			open := rt.FromStd(time.Date(date.Year(), date.Month(), date.Day(), 0, 0, int(w.Start/time.Second), 0, loc))
			all = append(all, Span{Open: open, Close: open.Add(w.Length)})
		}
	}
	slices.SortFunc(all, func(a, b Span) int { return cmp.Compare(a.Open, b.Open) })
	return all
}

// Due says when the schedule may next start, and until when: in the first open
// window at or after the last backup that counts for it plus its frequency. last
// is 0 if there was none.
func (s *Schedule) Due(last, now rt.Time, loc *time.Location) (at rt.Time, span Span, ok bool) {
	earliest := now
	if last != 0 {
		earliest = max(now, last.Add(s.Frequency))
	}
	span, ok = s.NextOpen(earliest, loc)
	return max(earliest, span.Open), span, ok
}
