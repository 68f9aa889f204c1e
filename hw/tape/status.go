package tape

import (
	"context"
	"errors"
	"fmt"

	"capstan/core/dev"
	lu "capstan/hw/scsi"
)

// The codes of LTO's formats, which no drive spells as people do.
var densities = map[byte]string{
	0x40: "LTO-1", 0x42: "LTO-2", 0x44: "LTO-3", 0x46: "LTO-4", 0x58: "LTO-5", 0x5A: "LTO-6", 0x5C: "LTO-7",
	0x5D: "LTO-M8", 0x5E: "LTO-8", 0x60: "LTO-9", 0x62: "LTO-10",
}

// Status says what the drive says of itself; see [dev.Drive]. It moves nothing.
func (d *Drive) Status(ctx context.Context) (dev.DriveStatus, error) {
	d.last = ctx
	var s dev.DriveStatus
	err := d.u.Drain(ctx)
	switch {
	case err == nil:
		s.Loaded, s.Ready = true, true
	case errors.Is(err, dev.ErrNotLoaded), errors.Is(err, dev.ErrNoMedium):
	case lu.BecomesReady(err):
		s.Loaded = true
	case errors.Is(err, dev.ErrCleaningCartridge): // what was asked for is being done
		d.u.Cleaning = false
		return s, err
	default:
		return s, err
	}
	s.CleaningNeeded = d.needsCleaning(ctx)
	if !s.Ready {
		return s, nil
	}
	m, err := d.modeHeader(ctx)
	if err != nil {
		return s, err
	}
	s.WriteProtected, s.Density = m.WriteProtected, d.density(ctx, &m)
	s.Capacity, s.Written = d.capacity(ctx)
	if err := d.askMedium(ctx); err != nil {
		return s, err
	}
	s.WriteOnce = d.worm
	return s, nil
}

func (d *Drive) density(ctx context.Context, m *lu.Mode) string {
	if name := densities[m.Density]; name != "" {
		return name
	}
	if d.can.densities != no {
		all, err := d.u.Densities(ctx, true)
		d.can.densities = found(err)
		for _, t := range all {
			if t.Words != "" && (t.Code == m.Density || len(all) == 1) {
				return t.Words
			}
		}
	}
	return fmt.Sprintf("density %02Xh", m.Density)
}

// capacity is the native capacity of the medium and what was written of it, in bytes,
// by the medium's memory or by the volume statistics; zero if neither tells.
func (d *Drive) capacity(ctx context.Context) (capacity, written int64) {
	if d.can.attributes != no {
		all, err := d.u.Attributes(ctx, lu.AttrRemaining)
		d.can.attributes = found(err)
		size, left := megabytes(all, lu.AttrMaximum), megabytes(all, lu.AttrRemaining)
		if size > 0 {
			return size, max(size-left, 0)
		}
	}
	if d.can.pages[lu.LogVolume] {
		if p, err := d.u.Log(ctx, lu.LogVolume); err == nil {
			v := lu.VolumeOf(p)
			const million = 1000 * 1000
			return bounded(v.CapacityMB, million), bounded(v.UsedMB, million)
		}
	}
	return 0, 0
}

// megabytes is an attribute that counts units of 2^20 bytes.
func megabytes(all []lu.Attribute, id uint16) int64 {
	for _, a := range all {
		if a.ID == id && len(a.Value) == 8 {
			n := uint64(0)
			for _, b := range a.Value {
				n = n<<8 | uint64(b)
			}
			return bounded(n, 1<<20)
		}
	}
	return 0
}

// bounded is a count of units in bytes; what no medium holds is not known.
func bounded(n, unit uint64) int64 {
	if n > 1<<40 {
		return 0
	}
	return int64(n * unit)
}

func (d *Drive) needsCleaning(ctx context.Context) bool {
	if d.u.Cleaning {
		return true
	}
	if d.can.pages[lu.LogAlertAnswer] { // the other page would clear what others wait for
		if p, err := d.u.Log(ctx, lu.LogAlertAnswer); err == nil {
			a := lu.AlertsOf(lu.LogAlertAnswer, p)
			if a.Has(int(dev.AlertCleanNow)) || a.Has(int(dev.AlertCleanPeriodic)) {
				return true
			}
		}
	}
	if d.can.pages[lu.LogStatus] {
		if p, err := d.u.Log(ctx, lu.LogStatus); err == nil {
			if s, err := lu.DriveStateOf(p); err == nil && (s.CleanRequested || s.CleanRequired) {
				return true
			}
		}
	}
	return false
}
