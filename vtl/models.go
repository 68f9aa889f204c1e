package vtl

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"
)

// DriveModel is a model of drive.
type DriveModel struct {
	// Name is the generation, for a drive of full height, or "LTO-8 HH" for one of
	// half height.
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
	// Others are what is published of a medium of another length.
	Others []Winding
	// Interface is the most that the host's side takes, bytes a second: it bounds
	// data that is compressed.
	Interface int64
	// Steps are the speeds that the tape runs at, in native bytes a second, fastest
	// first. Below the last, the floor, the drive stops and backs up.
	Steps []int64
	// Buffer is the drive's, in bytes.
	Buffer int64
	// BackHitch is how long the drive takes to stop, back up, and run again.
	BackHitch time.Duration
	// CleanAfter is how long a drive works until it asks to be cleaned.
	CleanAfter time.Duration
	// Calibrates tells that a new cartridge of its own generation is measured at its
	// first load (IBM: media optimization); see [DriveModel.calibration].
	Calibrates bool
	// Orders tells that the drive recommends an order of accesses.
	Orders bool
}

// MovedTime is a time that holds up to a number of bytes moved in the mount.
type MovedTime struct {
	Below int64 // bytes; 0 is without limit
	Time  time.Duration
}

// Winding is the mean locate from the load point, the mean rewind, and the speeds of the
// tape, on a medium.
type Winding struct {
	Density        string
	Locate, Rewind time.Duration
	Steps          []int64 // as [DriveModel.Steps]
}

// What holds for every drive.
const (
	// backHitch is ASSUMED, in the middle of 2 to 5 s that others assume: no maker's
	// figure could be found. A synchronous filemark after data costs the same: the
	// drive writes out its buffer, stops and backs up.
	backHitch = 3 * time.Second
	// cleanAfter is the median time of a drive between two cleanings, and cleanTime
	// what one takes, in the logs of a large archive of mixed drives (DriveClass.py of
	// the tape library simulator of SC'16: 39.3 hours or 123 mounts; 340 s). That they
	// hold for every model is ASSUMED.
	cleanAfter = 39*time.Hour + 18*time.Minute
	cleanTime  = 340 * time.Second
	// cleanings is how often a cleaning cartridge can be used (what its chip
	// tells, in lto-info's README: 50 cycles).
	cleanings = 50
)

// Speeds of the tape. IBM, "Speed matching"
// (ibm.com/docs/en/STAKKZ/con_LTOdrive_speedmatching.html); LTO-9 HH: Quantum's LTO-9
// guide. ASSUMED: LTO-5 and LTO-6 are HP's drives, of which the two ends are known and
// which match any speed between; LTO-7 HH and LTO-8 HH have the steps of the drives of
// full height below their own rate; an older medium has the steps of its own drive; of
// LTO-10P 407, 181 and 162 are published, and the steps between are as even as those.
var (
	steps5   = []int64{140e6, 47e6}
	steps6   = []int64{160e6, 54e6}
	steps7   = []int64{306e6, 287.5e6, 268.6e6, 250.7e6, 231.9e6, 213.1e6, 194.3e6, 175.5e6, 157.7e6, 138.5e6, 120.1e6, 101.5e6}
	steps8   = []int64{365e6, 341e6, 318e6, 306.4e6, 273e6, 249.5e6, 226e6, 203e6, 180e6, 157.5e6, 135e6, 112e6}
	steps8h  = steps8[3:]
	steps9   = []int64{408e6, 385e6, 366e6, 347e6, 325e6, 305e6, 284e6, 263e6, 244e6, 223e6, 203e6, 177e6}
	steps9h  = steps9[6:]
	steps10  = []int64{407e6, 387e6, 368e6, 349e6, 330e6, 311e6, 291e6, 272e6, 253e6, 234e6, 214e6, 195e6, 176e6, 157e6}
	steps10p = []int64{407e6, 388e6, 369e6, 351e6, 332e6, 313e6, 294e6, 275e6, 256e6, 238e6, 219e6, 200e6, 181e6, 162e6}
	unload9  = []MovedTime{{5e9, 55 * time.Second}, {50e9, 110 * time.Second}, {0, 165 * time.Second}}
	unload9h = []MovedTime{{5e9, 62 * time.Second}, {50e9, 124 * time.Second}, {0, 186 * time.Second}}
)

// DriveModels are the models known.
//
// Rate, Interface (sustained at 2.5:1, over Fibre Channel; 2:1 for LTO-5), Load, Eject,
// LocateMean ("average space record time from load point"), RewindMean, UnloadRewind:
// full height, IBM TS4500, "Performance specifications for LTO tape drives"
// (ibm.com/support/knowledgecenter/en/STQRQ9), for LTO-9 and LTO-10
// ibm.com/docs/en/dtl/2.12.3?topic=performance-lto-specifications; half height, IBM
// TS2290 and TS2900 manuals. ASSUMED: full height up to LTO-8 locates and rewinds as
// half height does, whose figures alone could be found; LTO-5 and LTO-6 rewind as long
// as they locate.
//
// Buffer: LTO-9 1 GiB (IBM). ASSUMED for the others.
var DriveModels = []DriveModel{
	{
		Name: "LTO-5", Generation: 5, Rate: 140e6, Interface: 280e6, Load: 12 * time.Second, Eject: 17 * time.Second,
		LocateMean: 60 * time.Second, RewindMean: 60 * time.Second, Steps: steps5, Buffer: 256 << 20,
		BackHitch: backHitch, CleanAfter: cleanAfter,
	}, {
		Name: "LTO-5 HH", Generation: 5, Rate: 140e6, Interface: 280e6, Load: 12 * time.Second, Eject: 17 * time.Second,
		LocateMean: 60 * time.Second, RewindMean: 60 * time.Second, Steps: steps5, Buffer: 256 << 20,
		BackHitch: backHitch, CleanAfter: cleanAfter,
	}, {
		Name: "LTO-6", Generation: 6, Rate: 160e6, Interface: 400e6, Load: 12 * time.Second, Eject: 17 * time.Second,
		LocateMean: 62 * time.Second, RewindMean: 62 * time.Second, Steps: steps6, Buffer: 512 << 20,
		BackHitch: backHitch, CleanAfter: cleanAfter,
	}, {
		Name: "LTO-6 HH", Generation: 6, Rate: 160e6, Interface: 400e6, Load: 12 * time.Second, Eject: 17 * time.Second,
		LocateMean: 62 * time.Second, RewindMean: 62 * time.Second, Steps: steps6, Buffer: 512 << 20,
		BackHitch: backHitch, CleanAfter: cleanAfter,
	}, {
		Name: "LTO-7", Generation: 7, Rate: 300e6, Interface: 750e6, Load: 15 * time.Second, Eject: 20 * time.Second,
		LocateMean: 56 * time.Second, RewindMean: 60 * time.Second, Steps: steps7, Buffer: 1 << 30,
		BackHitch: backHitch, CleanAfter: cleanAfter,
	}, {
		Name: "LTO-7 HH", Generation: 7, Rate: 300e6, Interface: 750e6, Load: 15 * time.Second, Eject: 20 * time.Second,
		LocateMean: 56 * time.Second, RewindMean: 60 * time.Second, Steps: steps7, Buffer: 1 << 30,
		BackHitch: backHitch, CleanAfter: cleanAfter,
	}, {
		Name: "LTO-8", Generation: 8, Rate: 360e6, Interface: 750e6, Load: 15 * time.Second, Eject: 24 * time.Second,
		LocateMean: 59 * time.Second, RewindMean: 59 * time.Second, Steps: steps8, Buffer: 1 << 30,
		BackHitch: backHitch, CleanAfter: cleanAfter,
	}, {
		Name: "LTO-8 HH", Generation: 8, Rate: 300e6, Interface: 750e6, Load: 15 * time.Second, Eject: 24 * time.Second,
		LocateMean: 59 * time.Second, RewindMean: 59 * time.Second, Steps: steps8h, Buffer: 1 << 30,
		BackHitch: backHitch, CleanAfter: cleanAfter,
	}, {
		Name: "LTO-9", Generation: 9, Rate: 400e6, Interface: 750e6, Load: 17 * time.Second, Eject: 30 * time.Second,
		LocateMean: 45 * time.Second, RewindMean: 55 * time.Second, UnloadRewind: unload9, Steps: steps9, Buffer: 1 << 30,
		BackHitch: backHitch, CleanAfter: cleanAfter, Calibrates: true, Orders: true,
	}, {
		Name: "LTO-9 HH", Generation: 9, Rate: 300e6, Interface: 750e6, Load: 16 * time.Second, Eject: 56 * time.Second,
		LocateMean: 65 * time.Second, RewindMean: 62 * time.Second, UnloadRewind: unload9h, Steps: steps9h, Buffer: 1 << 30,
		BackHitch: backHitch, CleanAfter: cleanAfter, Calibrates: true,
	}, {
		Name: "LTO-10", Generation: 10, Rate: 400e6, Interface: 1_000e6, Load: 12 * time.Second, Eject: 27 * time.Second,
		LocateMean: 65 * time.Second, RewindMean: 62 * time.Second, Others: []Winding{{"LTO-10P", 73 * time.Second, 75 * time.Second, steps10p}},
		Steps: steps10, Buffer: 1 << 30, BackHitch: backHitch, CleanAfter: cleanAfter, Orders: true,
	},
}

// driveModelNames are the names of all models, for who gave another.
func driveModelNames() string {
	var names []string
	for i := range DriveModels {
		names = append(names, DriveModels[i].Name)
	}
	return strings.Join(names, ", ")
}

func driveModel(name string) (*DriveModel, error) {
	for i := range DriveModels {
		if DriveModels[i].Name == name {
			return &DriveModels[i], nil
		}
	}
	return nil, fmt.Errorf("no drive model %q is known: give one of %s", name, driveModelNames())
}

// reads and writes say what a drive does with a generation of medium. Up to LTO-7 a
// drive reads two generations back and writes one, LTO-8 and LTO-9 do both one back,
// LTO-10 only its own (LTO Consortium; IBM, "LTO specifications").
func (m *DriveModel) reads(medium int) bool {
	switch {
	case m.Generation >= 10:
		return medium == m.Generation
	case m.Generation >= 8:
		return medium == m.Generation || medium == m.Generation-1
	}
	return medium <= m.Generation && medium >= m.Generation-2
}

func (m *DriveModel) writes(medium int) bool {
	return medium == m.Generation || (m.Generation < 10 && medium == m.Generation-1)
}

// Uses tells what a drive does with a generation of medium.
func (m *DriveModel) Uses(k *MediumModel) (reads, writes bool) {
	return m.reads(k.Generation), m.writes(k.Generation)
}

// with is the drive as it is with a medium: an older one is as slow as its own drive,
// and its tape runs at that drive's speeds.
func (m *DriveModel) with(med *MediumModel) (rate int64, steps []int64) {
	for _, o := range m.Others {
		if o.Density == med.Density {
			return m.Rate, o.Steps
		}
	}
	if med.Generation == m.Generation {
		return m.Rate, m.Steps
	}
	for i := range DriveModels {
		if o := &DriveModels[i]; o.Generation == med.Generation {
			return min(m.Rate, o.Rate), o.Steps
		}
	}
	return m.Rate, m.Steps
}

// calibration is how long a new cartridge is measured. IBM and Oracle (SL150, calibration of
// LTO-9) publish 40 minutes on average, most below 60, up to 120. ASSUMED
// is the form: 19 of 20 take 15 to 60 minutes, all as likely, and one 60 to 120.
func calibration(rnd *rand.Rand) time.Duration {
	from, to := 15*time.Minute, 60*time.Minute
	if rnd.IntN(20) == 0 {
		from, to = 60*time.Minute, 120*time.Minute
	}
	return from + time.Duration(rnd.Int64N(int64(to-from)))
}
