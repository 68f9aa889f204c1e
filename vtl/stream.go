package vtl

import (
	"context"
	"time"

	"capstan/core/dev"
	"capstan/core/rt"
)

// streaming is a run of transfers of one kind, with no other command between.
type streaming struct {
	bytes       int64
	began, last time.Duration // its beginning, and the end of its last transfer, in the drive's time
}

// clock is the devices' time, by which it does not matter how much faster than real it is.
func (l *Library) clock(ctx context.Context) time.Duration {
	return rt.Mono(ctx) * time.Duration(l.cfg.TimeScale)
}

// clock is the time of the drive's command: what it spends has passed.
func (d *drive) clock(ctx context.Context) time.Duration { return d.lib.clock(ctx) + d.unit.owed }

// stream follows the drive's buffer while bytes passed, since begin, and spends the time
// by which that took longer because the tape had to stop.
func (d *drive) stream(ctx context.Context, bytes int64, reading bool, begin time.Duration) {
	if d.lib.cfg.TimeScale == 0 {
		return
	}
	b, r := &d.buffer, &d.run
	var stops int64
	if r.bytes > 0 && b.reading == reading {
		stops, _ = b.flow(0, begin-r.last)
	} else {
		b.begin(reading)
		*r = streaming{began: begin}
	}
	now := d.clock(ctx)
	more, stall := b.flow(bytes, now-begin)
	stops += more
	d.spend(stall)
	r.bytes, r.last = r.bytes+bytes, now+stall
	speed := d.speed(scaled(r.bytes, int64(time.Second), max(int64(r.last-r.began), 1)))
	d.count(func(s *dev.DriveStats) {
		s.Speed = speed
		s.BackHitches += stops
		s.BackHitching += time.Duration(stops) * b.hitch
		s.Stalled += stall
	})
}

// streamHollow is stream for hollow bytes, which the host has sent or taken at its own rate
// since begin: the drive was busy for so long.
func (d *drive) streamHollow(ctx context.Context, bytes int64, reading bool, begin time.Duration) {
	took := d.clock(ctx) - begin
	if d.lib.cfg.TimeScale == 0 {
		took = timeOf(bytes, d.rate())
	}
	d.count(func(s *dev.DriveStats) { s.Transferring += took })
	d.stream(ctx, bytes, reading, begin)
}

// speed is the one that the tape runs at for a host's rate, in native bytes a second:
// the slowest that is as fast, or the fastest there is. A rate between two speeds is
// kept, for the drive changes from one to the other and back.
func (d *drive) speed(rate int64) int64 {
	c := d.cart
	_, steps := d.model.with(c.model)
	for i := len(steps) - 1; i >= 0; i-- {
		if c.hostBytes(steps[i]) >= rate {
			return steps[i]
		}
	}
	return steps[0]
}

// rate is what the drive takes and gives at most, of data that compresses as the
// cartridge's does.
func (d *drive) rate() int64 { return d.rateWith(d.cart) }

func (d *drive) rateWith(c *cartridge) int64 {
	native, _ := d.model.with(c.model)
	return min(c.hostBytes(native), d.model.Interface)
}

// bufferWith is the drive's buffer with a cartridge.
func (d *drive) bufferWith(c *cartridge) buffer {
	_, steps := d.model.with(c.model)
	return buffer{size: c.hostBytes(d.model.Buffer), slowest: c.hostBytes(steps[len(steps)-1]), hitch: d.model.BackHitch}
}

// hostBytes is how many of the host's bytes become n on a cartridge.
func (c *cartridge) hostBytes(n int64) int64 {
	if c.side.Compression == 0 {
		return n
	}
	return scaled(n, c.side.Compression, 100)
}
