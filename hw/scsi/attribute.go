package scsi

import (
	"context"
	"encoding/binary"

	"capstan/core/scsi"
)

// Attribute is one of a medium's auxiliary memory (SPC-5 7.4).
type Attribute struct {
	ID       uint16
	ReadOnly bool
	Format   byte // one of the formats below
	Value    []byte
}

// The formats of an attribute.
const (
	BinaryAttribute = 0
	ASCIIAttribute  = 1
	TextAttribute   = 2
)

// Attributes that are used (SPC-5 7.4.2).
const (
	AttrRemaining  = 0x0000 // MB left in the partition
	AttrMaximum    = 0x0001 // MB of the partition
	AttrMediumSN   = 0x0401
	AttrVendor     = 0x0800 // of the application, 8 characters
	AttrName       = 0x0801 // of the application, 32
	AttrVersion    = 0x0802 // of the application, 8
	AttrLabel      = 0x0803 // user medium text label, 160
	AttrBarcode    = 0x0806 // 32
	AttrCoherency  = 0x080C
	attributeBytes = 5 // before the value
)

// ParseAttributes reads the answer to READ ATTRIBUTE. Some drives give the length of
// what they were asked for instead of that of the data: both bound it.
func ParseAttributes(b []byte) ([]Attribute, error) {
	if len(b) < 4 {
		return nil, short("attributes", b, 4)
	}
	n := int64(binary.BigEndian.Uint32(b))
	b = b[4:min(int64(len(b)), 4+n)]
	var all []Attribute
	for len(b) >= attributeBytes {
		n := attributeBytes + int(binary.BigEndian.Uint16(b[3:]))
		if n > len(b) {
			break
		}
		all = append(all, Attribute{ID: binary.BigEndian.Uint16(b), ReadOnly: b[2]&0x80 != 0, Format: b[2] & 3, Value: append([]byte(nil), b[attributeBytes:n]...)})
		b = b[n:]
	}
	return all, nil
}

// EncodeAttributes is the parameter list of WRITE ATTRIBUTE.
func EncodeAttributes(all []Attribute) []byte {
	b := make([]byte, 4)
	for _, a := range all {
		b = binary.BigEndian.AppendUint16(b, a.ID)
		b = append(b, a.Format)
		b = binary.BigEndian.AppendUint16(b, uint16(len(a.Value)))
		b = append(b, a.Value...)
	}
	binary.BigEndian.PutUint32(b, uint32(len(b)-4))
	return b
}

// Attributes reads the attributes of the medium from one of a number on.
func (d *Device) Attributes(ctx context.Context, from uint16) ([]Attribute, error) {
	const op = "READ ATTRIBUTE"
	b := make([]byte, 16<<10)
	cdb := make([]byte, 16)
	cdb[0] = scsi.ReadAttribute
	binary.BigEndian.PutUint16(cdb[8:], from)
	binary.BigEndian.PutUint32(cdb[10:], uint32(len(b)))
	n, err := d.Ask(ctx, op, cdb, b)
	if err != nil {
		return nil, err
	}
	all, err := ParseAttributes(b[:n])
	if err != nil {
		return nil, d.Error(op, err)
	}
	return all, nil
}

// WriteAttributes writes attributes to the medium's memory itself, not only to a
// copy that the drive keeps until the unload.
func (d *Device) WriteAttributes(ctx context.Context, all []Attribute) error {
	out := EncodeAttributes(all)
	cdb := make([]byte, 16)
	cdb[0], cdb[1] = scsi.WriteAttribute, 0x01 // write through
	binary.BigEndian.PutUint32(cdb[10:], uint32(len(out)))
	_, err := d.Repeat(ctx, "WRITE ATTRIBUTE", &scsi.Command{CDB: cdb, Out: out})
	return err
}

// Words is an attribute's text.
func (a *Attribute) Words() string { return text(a.Value) }

// FillText is an attribute of ASCII characters, filled with spaces to its size.
func FillText(id uint16, s string, size int) Attribute {
	v := make([]byte, size)
	for i := range v {
		v[i] = ' '
		if i < len(s) {
			v[i] = s[i]
		}
	}
	return Attribute{ID: id, Format: ASCIIAttribute, Value: v}
}
