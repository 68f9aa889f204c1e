package vtl

import (
	"strings"
	"testing"
	"time"
)

// TestLocateMean: the mean locate from the load point to places all over the
// tape is the published one, within two seconds (the error of the best published
// serpentine models).
func TestLocateMean(t *testing.T) {
	for _, m := range DriveModels {
		med, err := mediumModel(strings.TrimSuffix(m.Name, " HH"))
		if err != nil {
			t.Fatal(err)
		}
		const n = 10007
		var sum, longest time.Duration
		start := med.spotOf(0, med.Capacity)
		for i := int64(1); i <= n; i++ {
			d := m.locate(med, start, med.spotOf(med.Capacity/n*i, med.Capacity))
			sum += d
			longest = max(longest, d)
		}
		mean := sum / n
		if d := mean - m.LocateMean; d < -2*time.Second || d > 2*time.Second {
			t.Errorf("%s: mean locate %v; published %v", m.Name, mean, m.LocateMean)
		}
		if longest > 3*m.LocateMean {
			t.Errorf("%s: longest locate %v with a mean of %v", m.Name, longest, mean)
		}
	}
}

// model9 is the drive of LTO-9, and its medium.
func model9(t *testing.T) (*DriveModel, *MediumModel) {
	t.Helper()
	m, err := driveModel("LTO-9")
	if err != nil {
		t.Fatal(err)
	}
	med, err := mediumModel("LTO-9")
	if err != nil {
		t.Fatal(err)
	}
	return m, med
}

func TestLocate(t *testing.T) {
	m, med := model9(t)
	perWrap := med.Capacity / med.Wraps
	at := func(b int64) spot { return med.spotOf(b, med.Capacity) }
	for _, tt := range []struct {
		name     string
		from, to spot
		turns    time.Duration
	}{
		{"forward on a wrap", at(0), at(perWrap / 2), 0},
		{"back on a wrap", at(perWrap / 2), at(0), 2 * uTurn},
		{"to the next wrap", at(perWrap / 2), at(perWrap + perWrap/4), uTurn + wrapChange},
		{"two wraps on", at(0), at(2*perWrap + perWrap/2), wrapChange},
	} {
		way := distance(abs(tt.to.far-tt.from.far), med.Length, m.LocateMean-locateStart-uTurn/2)
		if got, want := m.locate(med, tt.from, tt.to), locateStart+way+tt.turns; got != want {
			t.Errorf("%s: %v; want %v", tt.name, got, want)
		}
	}
	if d := m.locate(med, at(5), at(5)); d != 0 {
		t.Errorf("staying takes %v", d)
	}
}

func TestSpots(t *testing.T) {
	med := &MediumModels[4]
	for _, capacity := range []int64{med.Capacity, 2 << 30, 4 << 20, 1000} {
		perWrap := max(capacity/med.Wraps, 1)
		for _, tt := range []struct{ at, wrap, far int64 }{
			{0, 0, 0},
			{perWrap, 1, med.Length},
			{2 * perWrap, 2, 0},
		} {
			got := med.spotOf(tt.at, capacity)
			if got.wrap != tt.wrap || abs(got.far-tt.far) > med.Length/1000 {
				t.Errorf("capacity %d: byte %d is at %+v; want wrap %d, %d mm", capacity, tt.at, got, tt.wrap, tt.far)
			}
		}
		if got := med.spotOf(capacity, capacity); got.wrap >= med.Wraps || got.far < 0 || got.far > med.Length {
			t.Errorf("capacity %d ends at %+v", capacity, got)
		}
	}
}

func TestUnloadByBytesMoved(t *testing.T) {
	m, med := model9(t)
	here := spot{0, 0}
	for _, tt := range []struct {
		moved int64
		want  time.Duration
	}{{0, 30 * time.Second}, {1e9, 85 * time.Second}, {5e9, 140 * time.Second}, {1e12, 195 * time.Second}} {
		if got := m.unload(med, here, tt.moved); got != tt.want {
			t.Errorf("unload after %d bytes: %v; want %v", tt.moved, got, tt.want)
		}
	}
}

func TestTimeOf(t *testing.T) {
	for _, tt := range []struct {
		bytes, rate int64
		want        time.Duration
	}{
		{0, 400e6, 0},
		{400e6, 400e6, time.Second},
		{200e6, 400e6, 500 * time.Millisecond},
		{18_000e9, 400e6, 45000 * time.Second},
		{1 << 18, 400e6, 655360 * time.Nanosecond},
		{7, 400e6, 17},
	} {
		if got := timeOf(tt.bytes, tt.rate); got != tt.want {
			t.Errorf("%d bytes at %d/s: %v; want %v", tt.bytes, tt.rate, got, tt.want)
		}
	}
}

func TestGenerations(t *testing.T) {
	for _, tt := range []struct {
		drive       string
		reads, both int // the oldest generation read, and written
	}{{"LTO-5", 3, 4}, {"LTO-7", 5, 6}, {"LTO-8", 7, 7}, {"LTO-8 HH", 7, 7}, {"LTO-9", 8, 8}, {"LTO-10", 10, 10}} {
		m, err := driveModel(tt.drive)
		if err != nil {
			t.Fatal(err)
		}
		for g := 1; g <= 11; g++ {
			if got, want := m.reads(g), g >= tt.reads && g <= m.Generation; got != want {
				t.Errorf("%s reads LTO-%d: %v", tt.drive, g, got)
			}
			if got, want := m.writes(g), g >= tt.both && g <= m.Generation; got != want {
				t.Errorf("%s writes LTO-%d: %v", tt.drive, g, got)
			}
		}
	}
}
