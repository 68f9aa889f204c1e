package scsi

import (
	"context"
	"encoding/binary"

	"capstan/core/dev"
	"capstan/core/scsi"
)

// Position is the answer to READ POSITION (SSC-5 7.7).
type Position struct {
	BOP, EOP bool // at the beginning; past early warning
	BPEW     bool // past programmable early warning
	// Known says that Block counts, FileKnown that File does.
	Known, FileKnown bool
	Partition        uint32
	Block            uint64 // logical object number
	File             uint64 // logical file identifier: filemarks passed
	// Buffered is the number of objects in the drive's buffer, if it was told.
	Buffered uint32
}

const (
	shortPosition = 20
	longPosition  = 32

	posBOP          = 0x80
	posEOP          = 0x40
	posFileUnknown  = 0x08 // MPU, of the long form
	posBlockUnknown = 0x04 // LONU; LOLU of the short form
	posError        = 0x02 // PERR, of the short form: a number does not fit
	posBPEW         = 0x01
)

// ParsePosition reads the long form, or the short one. A block number that the drive
// does not vouch for is not known, whatever stands in its field.
func ParsePosition(b []byte, long bool) (Position, error) {
	need := shortPosition
	if long {
		need = longPosition
	}
	if len(b) < need {
		return Position{}, short("READ POSITION data", b, need)
	}
	p := Position{BOP: b[0]&posBOP != 0, EOP: b[0]&posEOP != 0, BPEW: b[0]&posBPEW != 0, Known: b[0]&posBlockUnknown == 0}
	if !long {
		p.Known = p.Known && b[0]&posError == 0
		p.Partition, p.Block = uint32(b[1]), uint64(binary.BigEndian.Uint32(b[4:]))
		p.Buffered = binary.BigEndian.Uint32(b[12:]) & 0xFFFFFF
		return p, nil
	}
	p.FileKnown = b[0]&posFileUnknown == 0 && p.Known
	p.Partition, p.Block, p.File = binary.BigEndian.Uint32(b[4:]), binary.BigEndian.Uint64(b[8:]), binary.BigEndian.Uint64(b[16:])
	return p, nil
}

// ReadPosition asks where the drive is.
func (d *Device) ReadPosition(ctx context.Context, long bool) (Position, error) {
	b, action := make([]byte, shortPosition), byte(0x00)
	if long {
		b, action = make([]byte, longPosition), 0x06
	}
	n, err := d.Ask(ctx, dev.OpPosition, []byte{scsi.ReadPosition, action, 0, 0, 0, 0, 0, 0, 0, 0}, b)
	if err != nil {
		return Position{}, err
	}
	p, err := ParsePosition(b[:n], long)
	if err != nil {
		return p, d.Error(dev.OpPosition, err)
	}
	return p, nil
}

// BlockLimits is the answer to READ BLOCK LIMITS (SSC-5 7.5).
type BlockLimits struct {
	Granularity byte // blocks are multiples of 2 to this power
	Max, Min    int  // bytes
}

// ParseBlockLimits reads the answer.
func ParseBlockLimits(b []byte) (BlockLimits, error) {
	if len(b) < 6 {
		return BlockLimits{}, short("block limits", b, 6)
	}
	return BlockLimits{Granularity: b[0] & 0x1F, Max: int(binary.BigEndian.Uint32(b) & 0xFFFFFF), Min: int(binary.BigEndian.Uint16(b[4:]))}, nil
}

// BlockLimits asks how long blocks may be.
func (d *Device) BlockLimits(ctx context.Context) (BlockLimits, error) {
	const op = "READ BLOCK LIMITS"
	b := make([]byte, 6)
	n, err := d.Ask(ctx, op, []byte{scsi.ReadBlockLimits, 0, 0, 0, 0, 0}, b)
	if err != nil {
		return BlockLimits{}, err
	}
	l, err := ParseBlockLimits(b[:n])
	if err != nil {
		return l, d.Error(op, err)
	}
	return l, nil
}
