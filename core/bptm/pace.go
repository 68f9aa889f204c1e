package bptm

import (
	"fmt"
	"time"

	"capstan/core/stream"
)

// pace is how the two processes of a job kept up with each other. Who fills the
// ring waits for empty buffers, who takes from it waits for full ones.
type pace struct {
	restore bool
	blocks  int64 // that passed the ring
	bytes   int64 // of the image's stream
	took    time.Duration
	parent  stream.Waits
	child   stream.Waits
	hollow  bool // some of the blocks had no bytes
}

// full and empty are the counts of waits that the field's log shows: those of the
// side that takes, and of the side that fills.
func (p *pace) full() int64 {
	if p.restore {
		return p.child.Full
	}
	return p.parent.Full
}

func (p *pace) empty() int64 {
	if p.restore {
		return p.parent.Empty
	}
	return p.child.Empty
}

// side is one of a job's two ends, or neither of them.
type side int

const (
	neither side = iota
	source       // the client and the network
	device       // the drive or the disk
)

// traced is what the trace says of a side.
func (s side) traced() string { return [...]string{"neither", "source", "device"}[s] }

// slower says who kept the others waiting. A backup whose parent waits for
// full buffers has a slow source; one whose child waits for empty buffers a slow
// device; in a restore the device fills and the client takes. A side that waited
// for less than a twentieth of the blocks was not held up, and counts that are
// within a factor of two say that both ends took turns.
func (p *pace) slower() side {
	filler, taker := source, device
	if p.restore {
		filler, taker = taker, filler
	}
	full, empty := p.full(), p.empty()
	switch least := p.blocks / 20; {
	case full > least && full >= 2*empty:
		return filler
	case empty > least && empty >= 2*full:
		return taker
	}
	return neither
}

// bottleneck is who kept the others waiting, in words.
func (p *pace) bottleneck() string {
	if p.hollow {
		return "not known, as the data is hollow"
	}
	return [...]string{"none, the two sides were balanced", "the client or the network", "the device"}[p.slower()]
}

// lines are what the job's log says of it.
func (p *pace) lines() []string {
	fullBy, emptyBy, verb := "parent", "child", "wrote"
	if p.restore {
		fullBy, emptyBy, verb = emptyBy, fullBy, "read"
	}
	return []string{
		fmt.Sprintf("waited for full buffer %d times (%s)", p.full(), fullBy),
		fmt.Sprintf("waited for empty buffer %d times (%s)", p.empty(), emptyBy),
		fmt.Sprintf("%s %d bytes in %v, %d bytes/s; bottleneck: %s", verb, p.bytes, p.took.Round(time.Millisecond), p.rate(), p.bottleneck()),
	}
}

// rate is bytes a second.
func (p *pace) rate() int64 {
	if p.took <= 0 {
		return p.bytes
	}
	return int64(float64(p.bytes) / p.took.Seconds())
}

// detail is what the trace says of it.
func (p *pace) detail() string {
	return fmt.Sprintf("%d bytes, waited for full buffer %d times, for empty buffer %d times; bottleneck: %s",
		p.bytes, p.full(), p.empty(), p.bottleneck())
}
