package target

import (
	"encoding/binary"
	"slices"

	"capstan/core/scsi"
	"capstan/vtl"
)

// Attribute formats (SPC-5 table 399).
const (
	formatBinary = 0
	formatASCII  = 1
	formatText   = 2
)

// hostAttribute is what SPC-5 says about an attribute that a host may write: its
// format and its longest value.
func hostAttribute(id uint16) (format byte, most int, ok bool) {
	switch id {
	case 0x0800: // application vendor
		return formatASCII, 8, true
	case 0x0801: // application name
		return formatASCII, 32, true
	case 0x0802: // application version
		return formatASCII, 8, true
	case 0x0803: // user medium text label
		return formatText, 160, true
	case 0x0804: // date and time last written
		return formatASCII, 12, true
	case 0x0805: // text localization identifier
		return formatBinary, 1, true
	case 0x0806: // barcode
		return formatASCII, 32, true
	case 0x0807: // owning host
		return formatText, 80, true
	case 0x0808: // media pool
		return formatText, 160, true
	case 0x080B: // application format version
		return formatASCII, 16, true
	case 0x080C: // volume coherency information
		return formatBinary, 1023, true
	case 0x0820: // medium globally unique identifier
		return formatBinary, 36, true
	case 0x0821: // media pool globally unique identifier
		return formatBinary, 36, true
	}
	if id >= 0x1400 && id <= 0x17FF { // vendor-specific, of the host
		return formatBinary, 256, true
	}
	return 0, 0, false
}

// maxAttributes bounds what hosts write into one chip, in bytes, as its size does.
const maxAttributes = 8192

// attributes are all of a medium's, in the order of their numbers. Those below
// 0800h are the drive's and the medium's own.
func (u *tape) attributes(m *vtl.Medium) []vtl.Attribute {
	number := func(id uint16, n int, v uint64) vtl.Attribute {
		b := binary.BigEndian.AppendUint64(nil, v)
		return vtl.Attribute{ID: id, Value: b[8-n:]}
	}
	text := func(id uint16, n int, s string) vtl.Attribute {
		b := make([]byte, n)
		pad(b, s)
		return vtl.Attribute{ID: id, Format: formatASCII, Value: b}
	}
	g := generationOf(m.Model.Generation)
	mediumType := uint64(0)
	if m.Cleaning {
		mediumType = 1
	} else if m.WORM {
		mediumType = 0x80
	}
	all := []vtl.Attribute{
		number(0x0000, 8, uint64(max(m.Capacity-m.Used, 0)>>20)), // remaining capacity, MiB
		number(0x0001, 8, uint64(m.Capacity>>20)),
		number(0x0002, 8, u.alerts),
		number(0x0003, 8, uint64(m.Memory.Loads)),
		number(0x0004, 8, maxAttributes-uint64(attributeBytes(m.Memory.Attributes))), // room in the chip
		text(0x0005, 8, "LTO-CVE"),
		number(0x0006, 1, uint64(g.density)),
		text(0x020A, 40, vendor+" "+m.Memory.Drive), // device at the last load
		number(0x0220, 8, uint64(m.Memory.Written>>20)),
		number(0x0221, 8, uint64(m.Memory.Read>>20)),
		text(0x0400, 8, vendor),
		text(0x0401, 32, m.Barcode), // medium serial number
		number(0x0402, 4, uint64(m.Model.Length/1000)),
		number(0x0403, 4, 127), // width, tenths of mm
		text(0x0404, 8, "LTO-CVE"),
		number(0x0405, 1, uint64(g.density)),
		text(0x0406, 8, "20260101"),
		number(0x0407, 8, maxAttributes),
		number(0x0408, 1, mediumType),
	}
	if !slices.ContainsFunc(m.Memory.Attributes, func(a vtl.Attribute) bool { return a.ID == 0x0806 }) {
		all = append(all, text(0x0806, 32, m.Barcode))
	}
	all = append(all, m.Memory.Attributes...)
	slices.SortStableFunc(all, func(a, b vtl.Attribute) int { return int(a.ID) - int(b.ID) })
	return all
}

func attributeBytes(all []vtl.Attribute) (n int) {
	for _, a := range all {
		n += 5 + len(a.Value)
	}
	return n
}

// readAttribute answers READ ATTRIBUTE, of a medium that need not be loaded.
func (u *tape) readAttribute(r *request) error {
	m, ok := u.deck.Medium()
	if !ok {
		return sense(scsi.NotReady, 0x3A, 0x00)
	}
	alloc := int(min(binary.BigEndian.Uint32(r.cdb[10:]), 1<<20))
	first := binary.BigEndian.Uint16(r.cdb[8:])
	if r.cdb[7] > 1 || r.cdb[5] != 0 { // partition, logical volume
		return badField()
	}
	var b []byte
	switch r.cdb[1] & 0x1F {
	case 0: // values
		all := u.attributes(&m)
		i := slices.IndexFunc(all, func(a vtl.Attribute) bool { return a.ID >= first })
		if i < 0 || (first != 0 && all[i].ID != first) {
			return badField()
		}
		b = make([]byte, 4)
		for _, a := range all[i:] {
			b = appendAttribute(b, a)
		}
		binary.BigEndian.PutUint32(b, uint32(len(b)-4))
	case 1: // list
		b = make([]byte, 4)
		for _, a := range u.attributes(&m) {
			if a.ID >= first {
				b = binary.BigEndian.AppendUint16(b, a.ID)
			}
		}
		binary.BigEndian.PutUint32(b, uint32(len(b)-4))
	case 2: // logical volumes
		b = []byte{0, 2, 0, 1}
	case 3: // partitions
		b = []byte{0, 2, 0, 1}
	default:
		return badField()
	}
	return r.reply(b, alloc)
}

func appendAttribute(b []byte, a vtl.Attribute) []byte {
	b = binary.BigEndian.AppendUint16(b, a.ID)
	flags := a.Format
	if a.ID < 0x0800 {
		flags |= 0x80 // read only
	}
	b = append(b, flags)
	b = binary.BigEndian.AppendUint16(b, uint16(len(a.Value)))
	return append(b, a.Value...)
}

// writeAttribute answers WRITE ATTRIBUTE: all of the list or nothing.
func (u *tape) writeAttribute(r *request) error {
	m, ok := u.deck.Medium()
	if !ok {
		return sense(scsi.NotReady, 0x3A, 0x00)
	}
	n := binary.BigEndian.Uint32(r.cdb[10:])
	switch {
	case r.cdb[7] > 1 || r.cdb[5] != 0:
		return badField()
	case n == 0:
		return nil
	case n < 4 || n > 1<<16:
		return badListLen()
	}
	b, err := r.list(int(n))
	if err != nil {
		return err
	}
	if m.Protected {
		return sense(scsi.DataProtect, 0x27, 0x00)
	}
	if uint64(binary.BigEndian.Uint32(b))+4 > uint64(len(b)) {
		return badList()
	}
	all := slices.Clone(m.Memory.Attributes)
	for rest := b[4 : 4+binary.BigEndian.Uint32(b)]; len(rest) > 0; {
		a, n, err := parseAttribute(rest)
		if err != nil {
			return err
		}
		rest = rest[n:]
		all = slices.DeleteFunc(all, func(o vtl.Attribute) bool { return o.ID == a.ID })
		if len(a.Value) > 0 { // an empty one is removed
			all = append(all, a)
		}
	}
	if attributeBytes(all) > maxAttributes {
		return sense(scsi.IllegalRequest, 0x55, 0x06) // insufficient space in the chip
	}
	slices.SortFunc(all, func(a, b vtl.Attribute) int { return int(a.ID) - int(b.ID) })
	m.Memory.Attributes = all
	return u.deck.KeepMemory(r.ctx)
}

func parseAttribute(b []byte) (a vtl.Attribute, size int, err error) {
	if len(b) < 5 {
		return a, 0, badList()
	}
	id, n := binary.BigEndian.Uint16(b), int(binary.BigEndian.Uint16(b[3:]))
	format, most, ok := hostAttribute(id)
	if !ok || n > most || b[2]&0x03 != format || 5+n > len(b) {
		return a, 0, badList()
	}
	return vtl.Attribute{ID: id, Format: format, Value: slices.Clone(b[5 : 5+n])}, 5 + n, nil
}
