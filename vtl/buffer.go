package vtl

import (
	"math/bits"
	"time"
)

// buffer is what is between the host and the tape, as a fluid: bytes come at the host's
// rate a, and a tape that has too few of them runs at its slowest speed v; when the
// buffer is full it runs as fast as they come. If a < v, a buffer of B bytes is empty
// after B/(v-a). The tape then stops, backs up for t, waits until the buffer is full,
// which takes B/a, and runs again. The host keeps its rate as long as a×t ≤ B; else it
// waits t - B/a each time.
//
// Reading is the same with empty and full exchanged: then level is the room in the
// buffer.
//
// Bytes are the host's. The cost of a computation does not depend on their number.
type buffer struct {
	size    int64
	slowest int64         // speed of the tape, v above
	hitch   time.Duration // t above
	reading bool

	running bool
	level   int64         // bytes in it
	stopped time.Duration // how long the tape has stood still, if it does
}

// begin is the state before the first transfer after anything else: the tape stands. To
// write, it starts when the buffer is full; to read, at once.
func (b *buffer) begin(reading bool) {
	b.reading, b.running, b.level, b.stopped = reading, reading, 0, b.hitch
	if reading {
		b.level = b.size
	}
}

// flow lets bytes pass, evenly over a time of the host. It returns how often the tape
// stopped, and how much longer than that time it took.
func (b *buffer) flow(bytes int64, took time.Duration) (stops int64, stall time.Duration) {
	rate := int64(1) << 40
	if took > 0 {
		rate = scaled(bytes, int64(time.Second), int64(took))
	}
	v := b.slowest
	for took >= 0 {
		if !b.running {
			var late time.Duration
			took, late = b.fill(rate, took)
			stall += late
			if !b.running {
				return stops, stall
			}
		}
		if rate >= v {
			b.level = min(b.level+scaled(rate-v, int64(took), int64(time.Second)), b.size)
			return stops, stall
		}
		empty := timeFor(b.level, v-rate)
		if empty >= took {
			b.level = max(b.level-scaled(v-rate, int64(took), int64(time.Second)), 0)
			return stops, stall
		}
		took -= empty
		stops++
		b.running, b.level, b.stopped = false, 0, 0
		if rate > 0 { // whole cycles, which are all alike
			filled := timeFor(b.size, rate)
			cycle := timeFor(b.size, v-rate) + filled
			n := int64(took / cycle)
			took -= time.Duration(n) * cycle
			stops += n
			stall += time.Duration(n) * max(b.hitch-filled, 0)
		}
	}
	return stops, stall
}

// fill lets time pass while the tape stands, until it starts or the time is over. It
// returns what is left of the time, and how long the host had to wait beside it.
func (b *buffer) fill(rate int64, took time.Duration) (left, late time.Duration) {
	if rate == 0 {
		b.stopped += took
		return 0, 0
	}
	full := timeFor(b.size-b.level, rate)
	if full > took {
		b.level = min(b.level+scaled(rate, int64(took), int64(time.Second)), b.size)
		b.stopped += took
		return 0, 0
	}
	late = max(b.hitch-b.stopped-full, 0)
	b.running, b.level = true, b.size
	return took - full, late
}

// never is longer than anything takes.
const never = time.Duration(1) << 60

// timeFor is the time for bytes at a rate.
func timeFor(bytes, rate int64) time.Duration {
	if rate <= 0 {
		return never
	}
	return min(time.Duration(scaled(bytes, int64(time.Second), rate)), never)
}

// scaled is a×b/c, rounded down, of numbers that are not negative, c not 0; the largest
// there is if it is more.
func scaled(a, b, c int64) int64 {
	hi, lo := bits.Mul64(uint64(a), uint64(b))
	if hi >= uint64(c) {
		return int64(never)
	}
	q, _ := bits.Div64(hi, lo, uint64(c))
	return int64(min(q, uint64(never)))
}
