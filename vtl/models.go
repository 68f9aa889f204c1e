package vtl

import (
	"fmt"
	"time"
)

// MediumModel is a generation of cartridge.
type MediumModel struct {
	Density    string
	Generation int
	Capacity   int64 // native bytes
	Length     int64 // of tape, mm
	Wraps      int64 // passes from one end of the tape to the other
}

// MediumModels are the generations known.
//
// Capacity, length: LTO Consortium's generation tables; IBM, "LTO
// specifications" (ibm.com/docs/en/dtl/2.12.3?topic=performance-lto-specifications).
// Wraps: tracks over heads of the same tables, 1280/16, 2176/16, 3584/32,
// 6656/32, 8960/32.
var MediumModels = []MediumModel{
	{"LTO-5", 5, 1_500e9, 846_000, 80},
	{"LTO-6", 6, 2_500e9, 846_000, 136},
	{"LTO-7", 7, 6_000e9, 960_000, 112},
	{"LTO-8", 8, 12_000e9, 960_000, 208},
	{"LTO-9", 9, 18_000e9, 1_035_000, 280},
}

// DriveModel is a model of drive.
type DriveModel struct {
	Name       string
	Generation int
	// Rate is the native transfer rate, bytes a second.
	Rate int64
	// Load is from the cartridge's arrival to ready, Eject the unload proper.
	Load, Eject time.Duration
	// LocateMean is the mean time from the load point to a record anywhere.
	LocateMean time.Duration
	// RewindMean is the mean time back from a record anywhere.
	RewindMean time.Duration
	// UnloadRewind is the rewind inside an unload, by the bytes moved since the
	// load, where the maker says that it depends on them; nil is a plain rewind.
	UnloadRewind []MovedTime
}

// MovedTime is a time that holds up to a number of bytes moved in the mount.
type MovedTime struct {
	Below int64 // bytes; 0 is without limit
	Time  time.Duration
}

// DriveModels are the models known.
//
// Rate, Load, Eject, LocateMean, RewindMean: IBM TS4500 drive performance table
// and IBM TS2290/TS2900 manuals (full height where published, else half height);
// ibm.com/support/knowledgecenter/en/STQRQ9, "Performance specifications for LTO
// drives". No mean rewind is published for LTO-5 and LTO-6: the locate's is used.
// UnloadRewind: the same table's footnote on LTO-9 (rewind by data moved).
var DriveModels = []DriveModel{
	{"LTO-5", 5, 140e6, 12 * time.Second, 17 * time.Second, 60 * time.Second, 60 * time.Second, nil},
	{"LTO-6", 6, 160e6, 12 * time.Second, 17 * time.Second, 62 * time.Second, 62 * time.Second, nil},
	{"LTO-7", 7, 300e6, 15 * time.Second, 20 * time.Second, 56 * time.Second, 60 * time.Second, nil},
	{"LTO-8", 8, 360e6, 15 * time.Second, 24 * time.Second, 59 * time.Second, 59 * time.Second, nil},
	{"LTO-9", 9, 400e6, 17 * time.Second, 30 * time.Second, 45 * time.Second, 55 * time.Second,
		[]MovedTime{{5e9, 55 * time.Second}, {50e9, 110 * time.Second}, {0, 165 * time.Second}}},
}

// Parts of a locate that no maker publishes; common in serpentine models
// (Sandstå and Midtstraum, "Improving the access time performance of serpentine
// tape drives", ICDE 1999, fit values of this size). To be calibrated.
const (
	locateStart = 2 * time.Second // before the tape moves
	uTurn       = 2 * time.Second // each change of direction
	wrapChange  = 100 * time.Millisecond
	// flushStop is what a synchronous filemark after data costs: the drive stops,
	// backs up and starts again. An assumption; published ranges are 2 to 5 s.
	flushStop = 3 * time.Second
)

// RobotModel is a model of robot.
type RobotModel struct {
	Name      string
	Pick, Put time.Duration
	Overhead  time.Duration // of a command, before and after the hand moves
	Speed     int64         // mm a second
	Pitch     int64         // mm between neighbouring elements
}

// RobotModels are the models known.
//
// rack: a rack library; a small autoloader's full exchange takes 26 s (Magnum
// 1x7 data sheet), rack libraries' moves are near 10 s: assumed parts.
// SL8500: pick and put 1 s (robot model of the SC'16 tape library simulator),
// HandBot 2 to 2.5 m/s (Oracle SL8500 planning guide, 96154).
// TS4500: "typical cartridge move times < 3 s" (IBM Redbook SG24-8235).
var RobotModels = []RobotModel{
	{"rack", 1500 * time.Millisecond, 1500 * time.Millisecond, 5 * time.Second, 1000, 60},
	{"SL8500", time.Second, time.Second, 2 * time.Second, 2250, 30},
	{"TS4500", 500 * time.Millisecond, 500 * time.Millisecond, 500 * time.Millisecond, 2500, 25},
}

func mediumModel(density string) (*MediumModel, error) {
	for i := range MediumModels {
		if MediumModels[i].Density == density {
			return &MediumModels[i], nil
		}
	}
	return nil, fmt.Errorf("no cartridge of density %q is known: give LTO-5 to LTO-9, or a barcode that ends in L5 to L9", density)
}

func driveModel(name string) (*DriveModel, error) {
	for i := range DriveModels {
		if DriveModels[i].Name == name {
			return &DriveModels[i], nil
		}
	}
	return nil, fmt.Errorf("no drive model %q is known: give LTO-5 to LTO-9", name)
}

func robotModel(name string) (*RobotModel, error) {
	if name == "" {
		name = RobotModels[0].Name
	}
	for i := range RobotModels {
		if RobotModels[i].Name == name {
			return &RobotModels[i], nil
		}
	}
	return nil, fmt.Errorf("no robot model %q is known: give rack, SL8500 or TS4500", name)
}

// reads and writes say what a drive does with a generation of medium. Up to
// LTO-7 a drive reads two generations back, later ones one; all write one back.
func (m *DriveModel) reads(medium int) bool {
	return medium == m.Generation || medium == m.Generation-1 || (m.Generation <= 7 && medium == m.Generation-2)
}

func (m *DriveModel) writes(medium int) bool {
	return medium == m.Generation || medium == m.Generation-1
}

// Uses tells what a drive does with a generation of medium.
func (m *DriveModel) Uses(k *MediumModel) (reads, writes bool) {
	return m.reads(k.Generation), m.writes(k.Generation)
}

// rate is the transfer rate with a medium: an older one is as slow as its own drive.
func (m *DriveModel) rate(medium int) int64 {
	r := m.Rate
	for i := range DriveModels {
		if DriveModels[i].Generation == medium {
			r = min(r, DriveModels[i].Rate)
		}
	}
	return r
}

// spot is a place on a serpentine tape: the wrap, and how far from its physical
// beginning. Even wraps run away from the beginning, odd ones back.
type spot struct {
	wrap, far int64 // far in mm
}

// spotOf is where a cartridge's byte at is. A capacity that was made smaller for
// a test keeps the tape's length and wraps.
func (m *MediumModel) spotOf(at, capacity int64) spot {
	perWrap := max(capacity/m.Wraps, 1)
	w := min(at/perWrap, m.Wraps-1)
	off := min(at-w*perWrap, perWrap)
	// off/perWrap is taken in units of 2^-20 so that the product fits 64 bits
	far := int64(0)
	if perWrap >= 1<<20 {
		far = off / (perWrap >> 20) * m.Length >> 20
	} else {
		far = off * m.Length / perWrap
	}
	far = min(far, m.Length)
	if w%2 == 1 {
		far = m.Length - far
	}
	return spot{w, far}
}

// locate is the time from one spot to another:
//
//	start + distance/speed + turns × uTurn + (another wrap) × wrapChange
//
// with the speed at which the mean over all records, from the load point, is the
// published one: a record is Length/2 away and half of them need one turn.
func (m *DriveModel) locate(med *MediumModel, from, to spot) time.Duration {
	if from == to {
		return 0
	}
	d := to.far - from.far
	travel := sign(d)
	if travel == 0 {
		travel = direction(from.wrap)
	}
	t := locateStart + distance(abs(d), med.Length, m.LocateMean-locateStart-uTurn/2)
	if direction(from.wrap) != travel {
		t += uTurn
	}
	if direction(to.wrap) != travel {
		t += uTurn
	}
	if from.wrap != to.wrap {
		t += wrapChange
	}
	return t
}

// rewind is the time back to the load point.
func (m *DriveModel) rewind(med *MediumModel, from spot) time.Duration {
	return distance(from.far, med.Length, m.RewindMean)
}

func (m *DriveModel) unload(med *MediumModel, from spot, moved int64) time.Duration {
	if moved == 0 || m.UnloadRewind == nil {
		return m.rewind(med, from) + m.Eject
	}
	for _, s := range m.UnloadRewind {
		if s.Below == 0 || moved < s.Below {
			return s.Time + m.Eject
		}
	}
	return m.Eject
}

// distance is the time for d mm of a tape whose half takes mean.
func distance(d, length int64, mean time.Duration) time.Duration {
	return 2 * time.Duration(d) * (mean / time.Duration(length))
}

func (m *RobotModel) move(distance int64) time.Duration {
	return m.Overhead + m.Pick + m.Put + time.Duration(distance*int64(time.Second)/m.Speed)
}

func direction(wrap int64) int64 {
	if wrap%2 == 0 {
		return 1
	}
	return -1
}

func sign(d int64) int64 {
	switch {
	case d > 0:
		return 1
	case d < 0:
		return -1
	}
	return 0
}

func abs(d int64) int64 {
	if d < 0 {
		return -d
	}
	return d
}
