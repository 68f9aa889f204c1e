package record

import (
	"cmp"
	"slices"
	"time"

	"capstan/core/rt"
)

// progress is what is known of a job under way.
type progress struct {
	tries     int
	drive     string
	robot     time.Duration // of the mount under way
	kept      bool          // it was there already
	seen      bool          // its transfers were seen
	started   rt.Time
	mounted   rt.Time
	first     rt.Time
	last      rt.Time
	waitFrom  rt.Time // the last wait, which others at its end come before
	waitUntil rt.Time

	spans   []span
	settled Spent   // of spans before until
	until   rt.Time // 0: nothing is settled
}

// span is time that a job spent.
type span struct {
	from, to rt.Time
	rank     rank
	kind     Kind
}

// rank says which of two spans at one time counts: the lower.
type rank uint8

const (
	rankFlow   rank = iota // bytes moved, and the solver of the flows says what was tight
	rankMove               // the robot's part of a mount
	rankWait               // for resources
	rankDevice             // a drive loads, positions, unloads
	rankPaced              // data moved, and its two ends were watched
	rankData               // data moved, or a drive was about to
	ranks
)

// maxSpans is how many spans are kept before they are added up.
const maxSpans = 512

// add notes a span; one that goes on as the last did makes that longer.
func (p *progress) add(r rank, k Kind, from, to rt.Time) {
	if p == nil || to <= from {
		return
	}
	if n := len(p.spans); n > 0 {
		if s := &p.spans[n-1]; s.rank == r && s.kind == k && s.to == from {
			s.to = to
			return
		}
	}
	if len(p.spans) >= maxSpans && r == rankFlow {
		// Spans that end later are still to come only where no bytes move.
		p.settle(from)
	}
	p.spans = append(p.spans, span{from, to, r, k})
}

// waited notes a wait of which only the length is known: several that end at one
// time are laid one before the other.
func (p *progress) waited(k Kind, from, to rt.Time) {
	if to == p.waitUntil {
		from, to = p.waitFrom-(to-from), p.waitFrom
	} else {
		p.waitUntil = to
	}
	p.waitFrom = from
	if k != "" {
		p.add(rankWait, k, from, to)
	}
}

// data notes that data moved, or was about to.
func (p *progress) data(from, to rt.Time) {
	if p.first == 0 {
		p.first = from
	}
	if !p.seen {
		p.last = to
	}
	p.add(rankData, "", from, to)
}

// settle adds up the spans up to a time.
func (p *progress) settle(until rt.Time) {
	var rest []span
	for _, s := range p.spans {
		if s.to > until {
			rest = append(rest, span{max(s.from, until), s.to, s.rank, s.kind})
		}
	}
	from := p.until
	if from == 0 && len(p.spans) > 0 {
		from = slices.MinFunc(p.spans, func(a, b span) int { return cmp.Compare(a.from, b.from) }).from
	}
	sweep(p.spans, from, until, p.settled)
	p.spans, p.until = rest, until
}

// spent is where the time from queued to ended went. Data that moved while nobody
// saw why is the device's: its marks and flushes, or a disk's.
func (p *progress) spent(queued, ended rt.Time, tape bool) Spent {
	out := Spent{}
	for k, d := range p.settled {
		out[k] += d
	}
	sweep(p.spans, max(queued, p.until), ended, out)
	device := Server
	if tape {
		device = Position
	}
	if d := out[""]; d > 0 {
		out[device] += d
	}
	delete(out, "")
	if rest := ended.Sub(queued) - out.Total(); rest > 0 {
		out[Other] += rest
	}
	return out
}

// edge is where a span begins or ends.
type edge struct {
	at   rt.Time
	step int
	rank rank
	kind int // its place in kinds; after the last: none
}

// sweep adds to out the time from from to to by the kind of the span of the lowest
// rank at each moment; of several of one rank, the one that comes first in Kinds.
func sweep(spans []span, from, to rt.Time, out Spent) {
	edges := make([]edge, 0, 2*len(spans))
	for _, s := range spans {
		a, b := max(s.from, from), min(s.to, to)
		k := known(s.kind)
		if k < 0 {
			k = len(kinds)
		}
		if a < b {
			edges = append(edges, edge{a, 1, s.rank, k}, edge{b, -1, s.rank, k})
		}
	}
	slices.SortStableFunc(edges, func(a, b edge) int { return cmp.Compare(a.at, b.at) })
	var open [ranks][len(kinds) + 1]int
	for i, e := range edges {
		if i > 0 && e.at > edges[i-1].at {
			if k, ok := first(&open); ok {
				out[k] += e.at.Sub(edges[i-1].at)
			}
		}
		open[e.rank][e.kind] += e.step
	}
}

// first is the kind that counts of those that are open; "" is one without a kind.
func first(open *[ranks][len(kinds) + 1]int) (Kind, bool) {
	for r := range open {
		for k, n := range open[r] {
			switch {
			case n > 0 && k < len(kinds):
				return kinds[k], true
			case n > 0:
				return "", true
			}
		}
	}
	return "", false
}
