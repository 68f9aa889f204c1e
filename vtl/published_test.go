package vtl

import (
	"math/rand/v2"
	"testing"
	"time"
)

// These tests judge the models by published figures that are no parameters of theirs.

func modelOf(t *testing.T, drive, density string) (*DriveModel, *MediumModel) {
	t.Helper()
	m, err := driveModel(drive)
	if err != nil {
		t.Fatal(err)
	}
	med, err := mediumModel(density)
	if err != nil {
		t.Fatal(err)
	}
	return m, med
}

// within tells whether got is want, give or take some per cent.
func within(got, want time.Duration, percent int64) bool {
	return abs(int64(got-want))*100 <= int64(want)*percent
}

// TestPassTime: a wrap at the native rate takes as long as is published for a pass, and
// so does a whole tape.
func TestPassTime(t *testing.T) {
	for _, tt := range []struct {
		name   string
		pass   time.Duration
		full   time.Duration
		source string
	}{
		{"LTO-6", 115 * time.Second, 4*time.Hour + 20*time.Minute, "lto-info, README: 4h20 to fill with 136 passes, 115 s each"},
		{"LTO-8", 160 * time.Second, 9*time.Hour + 16*time.Minute, "57.7 GB of a wrap; time to write a full tape 9:16, LTO tables"},
		{"LTO-9", 161 * time.Second, 12*time.Hour + 30*time.Minute, "time to write a full tape 12:30, LTO tables"},
	} {
		m, med := modelOf(t, tt.name, tt.name)
		if got := timeOf(med.Capacity/med.Wraps, m.Rate); !within(got, tt.pass, 2) {
			t.Errorf("%s: a wrap takes %v; %v (%s)", tt.name, got, tt.pass, tt.source)
		}
		if got := timeOf(med.Capacity, m.Rate); !within(got, tt.full, 2) {
			t.Errorf("%s: a tape takes %v; %v (%s)", tt.name, got, tt.full, tt.source)
		}
	}
}

// TestLongestLocate: from one end of the tape to the other, LTO-8 was measured to take
// 102 s. All locates and unloads are shorter than IBM lets commands take (LTO SCSI
// reference, timeouts of LTO-9: LOCATE 2940 s, REWIND 600 s, UNLOAD 960 s).
func TestLongestLocate(t *testing.T) {
	m, med := modelOf(t, "LTO-8", "LTO-8")
	if got := m.locate(med, spot{0, 0}, spot{0, med.Length}); !within(got, 102*time.Second, 15) {
		t.Errorf("LTO-8: from end to end %v; measured 102 s", got)
	}
	for i := range DriveModels {
		m := &DriveModels[i]
		for k := range MediumModels {
			med := &MediumModels[k]
			if !m.reads(med.Generation) {
				continue
			}
			far := spot{1, med.Length}
			if got := m.locate(med, spot{0, 0}, far); got > 2940*time.Second || got < 60*time.Second {
				t.Errorf("%s, %s: from end to end %v", m.Name, med.Density, got)
			}
			if got := m.rewind(med, far); got > 600*time.Second {
				t.Errorf("%s, %s: a rewind of %v", m.Name, med.Density, got)
			}
			if got := m.unload(med, far, 1e12); got > 960*time.Second {
				t.Errorf("%s, %s: an unload of %v", m.Name, med.Density, got)
			}
		}
	}
}

// TestWindingIsFaster: tape is wound faster than it is read or written (HP Ultrium
// technical reference, volume 4: read and write 5.3 m/s, rewind and greatest speed 7 m/s
// of LTO-3; later drives are no slower), and no drive is known to wind at 15 m/s. LTO-6
// may be a little slower: its published locate is no faster than its writing.
func TestWindingIsFaster(t *testing.T) {
	for i := range DriveModels {
		m := &DriveModels[i]
		for k := range MediumModels {
			med := &MediumModels[k]
			if med.Generation != m.Generation {
				continue
			}
			pass := timeOf(med.Capacity/med.Wraps, m.Rate)
			writing := med.Length * int64(time.Second) / int64(pass)
			winding := med.Length * int64(time.Second) / int64(m.locate(med, spot{0, 0}, spot{0, med.Length})-locateStart)
			if winding < 6500 || winding > 15000 || winding < writing*95/100 {
				t.Errorf("%s, %s: winds at %d mm/s, writes at %d mm/s", m.Name, med.Density, winding, writing)
			}
		}
	}
}

// TestRandomLocate: between two records anywhere a locate takes a third of the tape, its
// start, and the turns: L/(3v) + start + one turn on average (the mean distance of two
// uniform points is a third; each record's wrap runs the other way half of the times).
// LTO-9 comes to 33 s.
func TestRandomLocate(t *testing.T) {
	for i := range DriveModels {
		m := &DriveModels[i]
		_, med := modelOf(t, m.Name, MediumModels[m.Generation-5].Density)
		rnd := rand.New(rand.NewPCG(1, uint64(i)))
		const n = 20000
		var sum time.Duration
		at := med.spotOf(0, med.Capacity)
		for range n {
			to := med.spotOf(rnd.Int64N(med.Capacity), med.Capacity)
			sum += m.locate(med, at, to)
			at = to
		}
		end := m.locate(med, spot{0, 0}, spot{0, med.Length}) - locateStart
		if got, want := sum/n, end/3+locateStart+2*uTurn/2+wrapChange; !near(got, want, time.Second) {
			t.Errorf("%s: a locate between two records takes %v; want %v", m.Name, got, want)
		}
		if m.Name == "LTO-9" && !near(sum/n, 33*time.Second, 3*time.Second) {
			t.Errorf("LTO-9: a locate between two records takes %v; want 33 s", sum/n)
		}
	}
}

// TestCalibration: 40 minutes on average, most below 60, none above 120 (IBM, "Media
// optimization"; Oracle SL150).
func TestCalibration(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	const n = 20000
	var sum, longest time.Duration
	long := 0
	for range n {
		d := calibration(rnd)
		sum, longest = sum+d, max(longest, d)
		if d > time.Hour {
			long++
		}
	}
	if mean := sum / n; !near(mean, 40*time.Minute, time.Minute) || longest > 2*time.Hour || longest < 110*time.Minute || long > n/10 || long == 0 {
		t.Errorf("mean %v, longest %v, %d of %d above an hour", mean, longest, long, n)
	}
}

// TestTables: each row is whole, and what is published of all of them holds.
func TestTables(t *testing.T) {
	for i := range DriveModels {
		m := &DriveModels[i]
		floor, top := m.Steps[len(m.Steps)-1], m.Steps[0]
		for k := 1; k < len(m.Steps); k++ {
			if m.Steps[k] >= m.Steps[k-1] {
				t.Errorf("%s: speeds out of order at %d", m.Name, k)
			}
		}
		// All tables that are published lie in these bounds.
		if top < m.Rate*94/100 || top > m.Rate*103/100 || floor*4 < m.Rate || floor*3 > m.Rate*2 {
			t.Errorf("%s: %d MB/s with speeds from %d to %d", m.Name, m.Rate/1e6, floor/1e6, top/1e6)
		}
		if m.Interface < m.Rate || m.Buffer < 64<<20 || m.BackHitch <= 0 || m.CleanAfter <= 0 || m.Load <= 0 || m.Eject <= 0 {
			t.Errorf("%s: a row with gaps: %+v", m.Name, m)
		}
	}
}
