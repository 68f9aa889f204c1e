package record

import (
	"maps"
	"slices"

	"capstan/core/nbemm"
	"capstan/core/rt"
)

// CountVolumes counts the cartridges that each shows, by library, and gives the
// counts to put. Cartridges outside every library and those for cleaning are left out.
func CountVolumes(each func(fn func(m nbemm.Media)) error, now rt.Time, put func(v Volumes)) error {
	count := map[string]*Volumes{}
	if err := each(func(m nbemm.Media) {
		if !counts(&m) {
			return
		}
		v := count[m.Library]
		if v == nil {
			v = &Volumes{At: now, Library: m.Library}
			count[m.Library] = v
		}
		v.Bytes += m.Bytes
		switch {
		case m.Frozen || m.Suspended:
			v.Held++
		case m.Full:
			v.Full++
		case m.Images > 0:
			v.Active++
		case m.Pool == nbemm.Scratch:
			v.Scratch++
		default:
			v.Free++
		}
	}); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(count)) {
		put(*count[name])
	}
	return nil
}

func counts(m *nbemm.Media) bool { return m.Library != "" && m.Pool != nbemm.CleaningPool }

// InUse are the cartridges with images of those that each shows, of which
// [CountVolumes] counts the states. Frozen ones are left out: they never come free.
func InUse(each func(fn func(m nbemm.Media)) error) (all []Cartridge, err error) {
	err = each(func(m nbemm.Media) {
		if counts(&m) && m.Images > 0 && !m.Frozen {
			all = append(all, Cartridge{Library: m.Library, Taken: m.Assigned, Frees: m.Expires, Kept: m.Retention, Full: m.Full || m.Suspended})
		}
	})
	return all, err
}
