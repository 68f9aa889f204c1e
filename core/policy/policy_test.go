package policy

import (
	"testing"
	"time"

	"capstan/core/rt"
)

const (
	h   = time.Hour
	day = 24 * h
)

// at reads a time of a zone's wall clock. 2026-03-29 and 2026-10-25 are the days
// on which Berlin's clock is put forward and back; both are Sundays.
func at(t *testing.T, zone, text string) rt.Time {
	t.Helper()
	loc, err := time.LoadLocation(zone)
	if err != nil {
		t.Fatal(err)
	}
	v, err := time.ParseInLocation("2006-01-02 15:04 MST", text, loc)
	if err != nil {
		if v, err = time.ParseInLocation("2006-01-02 15:04", text, loc); err != nil {
			t.Fatal(err)
		}
	}
	return rt.FromStd(v)
}

var (
	nightly  = []Window{{Start: 20 * h, Length: 10 * h}}
	weekdays = []Window{{Days: []time.Weekday{1, 2, 3, 4, 5}, Start: 22 * h, Length: 4 * h}}
	sunday   = []Window{{Days: []time.Weekday{time.Sunday}, Start: 2*h + 30*time.Minute, Length: h}}
)

func TestNextOpen(t *testing.T) {
	const berlin, saoPaulo = "Europe/Berlin", "America/Sao_Paulo"
	for _, c := range []struct {
		rule        string
		windows     []Window
		zone        string
		now         string
		open, close string
	}{
		{"a window of the coming evening", nightly, "", "2026-06-10 12:00", "2026-06-10 20:00", "2026-06-11 06:00"},
		{"it opens at its very start", nightly, "", "2026-06-10 20:00", "2026-06-10 20:00", "2026-06-11 06:00"},
		{"after midnight, the window of the day before is open", nightly, "", "2026-06-11 05:59", "2026-06-10 20:00", "2026-06-11 06:00"},
		{"it is closed at its very end", nightly, "", "2026-06-11 06:00", "2026-06-11 20:00", "2026-06-12 06:00"},
		{"a day that the window does not name is skipped", weekdays, "", "2026-06-13 03:00", "2026-06-15 22:00", "2026-06-16 02:00"},
		{"the day on which it opens counts, not the one on which it closes", weekdays, "", "2026-06-13 01:00", "2026-06-12 22:00", "2026-06-13 02:00"},
		{"days are those of the policy's zone", weekdays, "Pacific/Auckland", "2026-06-13 03:00", "2026-06-15 22:00", "2026-06-16 02:00"},
		{"of several windows the one that opens first", []Window{{Start: 22 * h, Length: h}, {Start: 13 * h, Length: h}}, "", "2026-06-10 12:00", "2026-06-10 13:00", "2026-06-10 14:00"},
		{"windows that touch are one", []Window{{Start: 18 * h, Length: 6 * h}, {Length: 6 * h}}, "", "2026-06-10 19:00", "2026-06-10 18:00", "2026-06-11 06:00"},
		{"windows that overlap are one", []Window{{Start: 18 * h, Length: 4 * h}, {Start: 20 * h, Length: 4 * h}}, "", "2026-06-10 19:00", "2026-06-10 18:00", "2026-06-11 00:00"},
		{"windows with a gap are two", []Window{{Start: 18 * h, Length: 2 * h}, {Start: 21 * h, Length: 2 * h}}, "", "2026-06-10 19:00", "2026-06-10 18:00", "2026-06-10 20:00"},
		{"a window within another changes nothing", []Window{{Start: 18 * h, Length: 6 * h}, {Start: 19 * h, Length: h}}, "", "2026-06-10 19:30", "2026-06-10 18:00", "2026-06-11 00:00"},
		{"minutes count", []Window{{Start: 18*h + 45*time.Minute, Length: 15 * time.Minute}}, "", "2026-06-10 12:00", "2026-06-10 18:45", "2026-06-10 19:00"},

		{"the night of 23 hours is as long, and ends later by the clock", nightly, berlin, "2026-03-28 21:00", "2026-03-28 20:00", "2026-03-29 07:00"},
		{"the night of 25 hours ends earlier by the clock", nightly, berlin, "2026-10-24 21:00", "2026-10-24 20:00", "2026-10-25 05:00"},
		{"on the evening after it opens by the clock again", nightly, berlin, "2026-03-29 12:00", "2026-03-29 20:00", "2026-03-30 06:00"},
		{"a time that is skipped is taken after the gap", sunday, berlin, "2026-03-29 00:00", "2026-03-29 03:30", "2026-03-29 04:30"},
		{"a time that comes twice is taken once, the second time", sunday, berlin, "2026-10-25 00:00", "2026-10-25 02:30 CET", "2026-10-25 03:30"},
		{"and not the first time too", sunday, berlin, "2026-10-25 02:45 CEST", "2026-10-25 02:30 CET", "2026-10-25 03:30"},
		{"a day without midnight has its own name", []Window{{Days: []time.Weekday{time.Sunday}, Start: 10 * h, Length: h}}, saoPaulo, "2018-11-03 12:00", "2018-11-04 10:00", "2018-11-04 11:00"},
	} {
		t.Run(c.rule, func(t *testing.T) {
			p := Policy{Zone: c.zone}
			loc, err := p.Location()
			if err != nil {
				t.Fatal(err)
			}
			s := Schedule{Windows: c.windows}
			got, ok := s.NextOpen(at(t, c.zone, c.now), loc)
			want := Span{at(t, c.zone, c.open), at(t, c.zone, c.close)}
			if !ok || got != want {
				t.Errorf("open %v to %v (%v), want %v to %v", got.Open.Std().In(loc), got.Close.Std().In(loc), ok, want.Open.Std().In(loc), want.Close.Std().In(loc))
			}
		})
	}
	if _, ok := (&Schedule{}).NextOpen(0, time.UTC); ok {
		t.Error("a schedule without a window opens")
	}
}

func TestDue(t *testing.T) {
	for _, c := range []struct {
		rule      string
		windows   []Window
		frequency time.Duration
		last, now string // last "" is never
		due       string
	}{
		{"never backed up, window open: now", nightly, day, "", "2026-06-10 21:00", "2026-06-10 21:00"},
		{"never backed up, window closed: when it opens", nightly, day, "", "2026-06-10 12:00", "2026-06-10 20:00"},
		{"a day after the last", nightly, day, "2026-06-09 21:15", "2026-06-10 12:00", "2026-06-10 21:15"},
		{"not in the window in which the last ran", nightly, day, "2026-06-10 20:00", "2026-06-10 20:30", "2026-06-11 20:00"},
		{"once a week", nightly, 7 * day, "2026-06-10 20:00", "2026-06-12 22:00", "2026-06-17 20:00"},
		{"twice in a window, if the frequency says so", nightly, 4 * h, "2026-06-10 20:00", "2026-06-10 20:30", "2026-06-11 00:00"},
		{"overdue: at once", nightly, day, "2026-06-01 20:00", "2026-06-10 23:00", "2026-06-10 23:00"},
		{"the frequency ends when the window is closed: when it opens", nightly, 12 * h, "2026-06-10 20:00", "2026-06-10 21:00", "2026-06-11 20:00"},
		{"the frequency ends on a day without a window", weekdays, day, "2026-06-12 22:00", "2026-06-13 12:00", "2026-06-15 22:00"},
	} {
		t.Run(c.rule, func(t *testing.T) {
			var last rt.Time
			if c.last != "" {
				last = at(t, "", c.last)
			}
			s := Schedule{Windows: c.windows, Frequency: c.frequency}
			got, span, ok := s.Due(last, at(t, "", c.now), time.UTC)
			if want := at(t, "", c.due); !ok || got != want || got < span.Open || got >= span.Close {
				t.Errorf("due at %v in %v to %v, want %v", got, span.Open, span.Close, want)
			}
		})
	}
}
