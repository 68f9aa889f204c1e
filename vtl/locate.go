package vtl

import "time"

// Parts of a locate that no maker publishes, ASSUMED: common in serpentine models
// (Sandstå and Midtstraum, "Improving the access time performance of serpentine
// tape drives", ICDE 1999, fit values of this size, with a mean error near 2 s). To be
// calibrated.
const (
	locateStart = 2 * time.Second // before the tape moves
	uTurn       = 2 * time.Second // each change of direction
	wrapChange  = 100 * time.Millisecond
)

// winding is what the speeds on a medium follow from: means, and the length of the
// tape that they are of. A medium of another length is wound at the same speed, unless
// its own means are published.
func (m *DriveModel) winding(med *MediumModel) (w Winding, length int64) {
	for _, o := range m.Others {
		if o.Density == med.Density {
			return o, med.Length
		}
	}
	w = Winding{Locate: m.LocateMean, Rewind: m.RewindMean}
	for i := range MediumModels {
		if MediumModels[i].Generation == m.Generation {
			return w, MediumModels[i].Length
		}
	}
	return w, med.Length
}

// locate is the time from one spot to another:
//
//	start + distance/speed + turns × uTurn + (another wrap) × wrapChange
//
// with the speed at which the mean over all records, from the load point, is the
// published one: a record is Length/2 away and half of them need one turn.
func (m *DriveModel) locate(med *MediumModel, from, to spot) time.Duration {
	w, length := m.winding(med)
	return locateOver(from, to, length, w.Locate-locateStart-uTurn/2)
}

// locateOver is locate on a tape whose half takes mean.
func locateOver(from, to spot, length int64, mean time.Duration) time.Duration {
	if from == to {
		return 0
	}
	d := to.far - from.far
	travel := sign(d)
	if travel == 0 {
		travel = direction(from.wrap)
	}
	t := locateStart + distance(abs(d), length, mean)
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
	w, length := m.winding(med)
	return distance(from.far, length, w.Rewind)
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
