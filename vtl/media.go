package vtl

import (
	"fmt"
	"strings"
)

// MediumModel is a kind of cartridge: one for each generation, two for LTO-10.
type MediumModel struct {
	Density    string
	Generation int
	Capacity   int64 // native bytes
	Length     int64 // of tape, mm
	Wraps      int64 // passes from one end of the tape to the other
	// Suffix is the end of a barcode's eight characters.
	Suffix string
}

// MediumModels are the kinds known.
//
// Capacity, Length: LTO Consortium's generation tables; IBM, "LTO specifications"
// (ibm.com/docs/en/dtl/2.12.3?topic=performance-lto-specifications). LTO-10P, the
// cartridge of 40 TB: its chip tells 1337 m (FreeBSD mt, table of LTO-10).
// Wraps: tracks over heads of the same tables, 1280/16, 2176/16, 3584/32, 6656/32,
// 8960/32. ASSUMED: LTO-10's 15104/32, from 118 wraps in each of 4 bands, which no
// paper of a maker that could be read confirms; LTO-7's number of heads.
var MediumModels = []MediumModel{
	{"LTO-5", 5, 1_500e9, 846_000, 80, "L5"},
	{"LTO-6", 6, 2_500e9, 846_000, 136, "L6"},
	{"LTO-7", 7, 6_000e9, 960_000, 112, "L7"},
	{"LTO-8", 8, 12_000e9, 960_000, 208, "L8"},
	{"LTO-9", 9, 18_000e9, 1_035_000, 280, "L9"},
	{"LTO-10", 10, 30_000e9, 1_035_000, 472, "LA"},
	{"LTO-10P", 10, 40_000e9, 1_337_000, 472, "PA"},
}

func mediumModel(density string) (*MediumModel, error) {
	for i := range MediumModels {
		if MediumModels[i].Density == density {
			return &MediumModels[i], nil
		}
	}
	return nil, fmt.Errorf("no cartridge of density %q is known: give LTO-5 to LTO-10 or LTO-10P, or a barcode that ends in L5 to L9, LA or PA", density)
}

// densityOf is what the end of a barcode says, "" if nothing.
func densityOf(barcode string) string {
	for i := range MediumModels {
		if strings.HasSuffix(barcode, MediumModels[i].Suffix) {
			return MediumModels[i].Density
		}
	}
	return ""
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
