package vtl

import (
	"math/rand/v2"
	"testing"
	"time"
)

// stepped is the buffer by small steps of time, as a second opinion: how often the tape
// stops, and how long the host waits.
func stepped(b buffer, bytes int64, took time.Duration) (stops int64, stall time.Duration) {
	const step = 100 * time.Microsecond
	rate, level := float64(bytes)/took.Seconds(), float64(b.level)
	running, stopped := b.running, b.stopped
	for now := time.Duration(0); now < took; {
		in := rate * step.Seconds()
		if !running {
			if level+in > float64(b.size) && stopped < b.hitch { // no room: the host waits
				stall += step
				stopped += step
				continue
			}
			level = min(level+in, float64(b.size))
			stopped += step
			running = level >= float64(b.size)-in && stopped >= b.hitch
		} else {
			level = min(level+in-float64(b.slowest)*step.Seconds(), float64(b.size))
			if level <= 0 {
				running, stopped, level = false, 0, 0
				stops++
			}
		}
		now += step
	}
	return stops, stall
}

func near(a, b, most time.Duration) bool { return a-b <= most && b-a <= most }

// TestBuffer: the closed form gives what small steps give.
func TestBuffer(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	stalls := 0
	for i := range 200 {
		b := buffer{size: 1e6 + rnd.Int64N(5e8), slowest: 1e8, hitch: 3 * time.Second}
		b.begin(i%2 == 0)
		took := time.Duration(rnd.Int64N(int64(200 * time.Second)))
		bytes := scaled(rnd.Int64N(13e7), int64(took), int64(time.Second))
		wantStops, wantStall := stepped(b, bytes, took)
		start := b
		stops, stall := b.flow(bytes, took)
		if stall > 0 {
			stalls++
		}
		if abs(stops-wantStops) > 1+wantStops/100 || !near(stall, wantStall, 3*time.Second+wantStall/50) {
			t.Errorf("%+v, %d bytes in %v: %d stops, %v lost; by small steps %d and %v", start, bytes, took, stops, stall, wantStops, wantStall)
		}
	}
	if stalls < 20 {
		t.Errorf("only %d cases in which the host had to wait", stalls)
	}
}

// TestBufferInParts: it does not matter in how many parts the same flow comes.
func TestBufferInParts(t *testing.T) {
	whole := buffer{size: 1 << 30, slowest: 177e6, hitch: 3 * time.Second}
	whole.begin(false)
	parts := whole
	stops, _ := whole.flow(100e6*3600, time.Hour)
	var sum int64
	for range 3600 * 10 {
		n, _ := parts.flow(10e6, 100*time.Millisecond)
		sum += n
	}
	if abs(sum-stops) > 1 {
		t.Errorf("%d stops at once, %d in parts", stops, sum)
	}
	if level := abs(whole.level - parts.level); level > 1<<22 && stops == sum {
		t.Errorf("the levels differ by %d", level)
	}
}

// TestBufferBursts: a host that sends in bursts stops the tape only where the pauses are
// longer than the buffer lasts.
func TestBufferBursts(t *testing.T) {
	for _, tt := range []struct {
		pause time.Duration
		stops int64
	}{{time.Second, 0}, {5 * time.Second, 0}, {7 * time.Second, 100}} {
		b := buffer{size: 1 << 30, slowest: 177e6, hitch: 3 * time.Second}
		b.begin(false)
		var stops int64
		for range 100 {
			n, stall := b.flow(4e9, 10*time.Second)
			stops += n
			if stall > 0 {
				t.Errorf("pause %v: the host waited %v", tt.pause, stall)
			}
			n, _ = b.flow(0, tt.pause)
			stops += n
		}
		if stops != tt.stops {
			t.Errorf("pauses of %v: the tape stopped %d times; want %d", tt.pause, stops, tt.stops)
		}
	}
}

// TestThroughputIsKept: below the slowest speed the host keeps its rate as long as a
// back-hitch does not fill the buffer; HP says of its drives that a slow host pays no
// penalty (Ultrium technical reference, volume 4, "Performance").
func TestThroughputIsKept(t *testing.T) {
	for i := range DriveModels {
		m := &DriveModels[i]
		floor := m.Steps[len(m.Steps)-1]
		for _, rate := range []int64{1e6, floor / 4, floor / 2, floor - 1e6} {
			b := buffer{size: m.Buffer, slowest: floor, hitch: m.BackHitch}
			b.begin(false)
			stops, stall := b.flow(rate*36000, 10*time.Hour)
			// 3600/(B/(f-a) + B/a) stops an hour.
			want := 10 * int64(time.Hour) / int64(timeFor(m.Buffer, floor-rate)+timeFor(m.Buffer, rate))
			if stall != 0 || abs(stops-want) > 1 {
				t.Errorf("%s at %d MB/s: %d stops in 10 hours, %v lost; want %d and none", m.Name, rate/1e6, stops, stall, want)
			}
		}
		b := buffer{size: m.Buffer, slowest: floor, hitch: m.BackHitch}
		b.begin(false)
		if stops, _ := b.flow(floor*3600, time.Hour); stops != 0 {
			t.Errorf("%s at its slowest speed: %d stops", m.Name, stops)
		}
	}
}
