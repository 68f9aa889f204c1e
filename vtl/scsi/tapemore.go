package target

import (
	"encoding/binary"
	"slices"

	"capstan/core/dev"
	"capstan/core/scsi"
	"capstan/vtl"
)

// densities answers REPORT DENSITY SUPPORT: of the drive, or of the medium in it.
func (u *tape) densities(r *request) error {
	if r.cdb[1]&0x02 != 0 { // medium types
		return badField()
	}
	alloc := int(binary.BigEndian.Uint16(r.cdb[7:]))
	b := make([]byte, 4)
	m, ok := u.deck.Medium()
	ofMedium := r.cdb[1]&0x01 != 0
	if ofMedium && !ok {
		return sense(scsi.NotReady, 0x3A, 0x00)
	}
	for i := range vtl.MediumModels {
		k := &vtl.MediumModels[i]
		if ofMedium && k.Density != m.Model.Density {
			continue
		}
		if reads, writes := u.deck.Model().Uses(k); reads {
			b = appendDensity(b, k, writes, k.Generation == u.deck.Model().Generation)
		}
	}
	binary.BigEndian.PutUint16(b, uint16(len(b)-2))
	return r.reply(b, alloc)
}

func appendDensity(b []byte, m *vtl.MediumModel, writes, own bool) []byte {
	g := generationOf(m.Generation)
	d := make([]byte, 52)
	d[0], d[1] = g.density, g.density
	if writes {
		d[2] |= 0x80
	}
	if own {
		d[2] |= 0x20 // DEFLT
	}
	d[5], d[6], d[7] = byte(g.bpmm>>16), byte(g.bpmm>>8), byte(g.bpmm)
	binary.BigEndian.PutUint16(d[8:], 127) // tenths of mm
	binary.BigEndian.PutUint16(d[10:], uint16(g.tracks))
	binary.BigEndian.PutUint32(d[12:], uint32(m.Capacity/1e6))
	pad(d[16:24], "LTO-CVE")
	pad(d[24:32], g.name)
	pad(d[32:52], "Ultrium "+m.Density)
	return append(b, d...)
}

// allowOverwrite notes where an append-only drive may write (SSC-5, 7.1).
func (u *tape) allowOverwrite(r *request) error {
	at := u.deck.Place()
	switch r.cdb[2] & 0x0F {
	case 0:
		u.overwrite = -1
	case 1: // at the position that is named
		if r.cdb[3] != 0 || binary.BigEndian.Uint64(r.cdb[4:]) != uint64(at.Block) {
			u.overwrite = -1
			return badSequence()
		}
		u.overwrite = at.Block
	case 2: // format
		if at.Block != 0 {
			return badSequence()
		}
		u.overwrite = 0
	default:
		return badField()
	}
	return nil
}

// accessBytes is the size of a user data segment descriptor.
const accessBytes = 32

// generateOrder takes user data segments and orders them by the drive's model of
// locates (SSC-5, 7.4).
func (u *tape) generateOrder(r *request) error {
	n := binary.BigEndian.Uint32(r.cdb[6:])
	process := r.cdb[2] & 0x07
	if !u.deck.Orders() || process > 2 {
		return badField()
	}
	if n == 0 {
		r.lun.last = nil
		return nil
	}
	if n < 8 || n > 8+vtl.MaxAccesses*accessBytes {
		return badListLen()
	}
	b, err := r.list(int(n))
	if err != nil {
		return err
	}
	size := int(binary.BigEndian.Uint32(b[4:]))
	if size > len(b)-8 || size%accessBytes != 0 {
		return badList()
	}
	all, err := u.segments(b[8 : 8+size])
	if err != nil {
		return err
	}
	if process == 2 { // order by the drive
		all = u.inOrder(all)
	}
	r.lun.last = nil
	for _, s := range all {
		r.lun.last = append(r.lun.last, s.raw...)
	}
	return nil
}

// segment is a user data segment: where it begins and ends, in logical objects.
type segment struct {
	raw        []byte
	begin, end int64
}

func (u *tape) segments(b []byte) ([]segment, error) {
	var all []segment
	end := u.deck.Place().End
	for ; len(b) > 0; b = b[accessBytes:] {
		d := slices.Clone(b[:accessBytes])
		s := segment{d, int64(binary.BigEndian.Uint64(d[16:])), int64(binary.BigEndian.Uint64(d[24:]))}
		if binary.BigEndian.Uint16(d) != accessBytes-2 || d[15] != 0 || s.begin < 0 || s.end < s.begin || s.begin > end {
			return nil, badList()
		}
		all = append(all, s)
	}
	return all, nil
}

// inOrder is the order that the drive recommends.
func (u *tape) inOrder(all []segment) []segment {
	extents := make([]dev.Extent, len(all))
	for i, s := range all {
		extents[i] = dev.Extent{First: s.begin, Last: s.end}
	}
	sorted := make([]segment, len(all))
	for i, k := range u.deck.Order(extents) {
		sorted[i] = all[k]
	}
	return sorted
}

// receiveOrder tells the limits, or the order that was made.
func (u *tape) receiveOrder(r *request) error {
	if !u.deck.Orders() {
		return badField()
	}
	alloc := int(min(binary.BigEndian.Uint32(r.cdb[6:]), 1<<20))
	if r.cdb[1]&0x80 != 0 { // UDS_LIMITS
		return r.reply(binary.BigEndian.AppendUint16([]byte{vtl.MaxAccesses >> 8, vtl.MaxAccesses & 0xFF}, accessBytes), alloc)
	}
	from := uint64(binary.BigEndian.Uint32(r.cdb[2:])) * accessBytes
	switch {
	case len(r.lun.last) == 0:
		return badSequence()
	case from >= uint64(len(r.lun.last)):
		return badField()
	}
	left := r.lun.last[from:]
	b := make([]byte, 8)
	b[0] = 0x02 << 3 // the list is complete
	binary.BigEndian.PutUint32(b[4:], uint32(len(left)))
	return r.reply(append(b, left...), alloc)
}
