package scsi

import (
	"context"
	"encoding/binary"
	"fmt"

	"capstan/core/scsi"
)

// Segment is a range of logical objects that is to be read: a user data segment.
type Segment struct {
	Name        [10]byte // whatever the caller knows it by
	Begin, Last uint64   // logical object numbers
}

const (
	segmentBytes  = 32
	orderHeader   = 8
	orderAction   = 0x1D // of MAINTENANCE IN and OUT
	orderReorder  = 2    // PROCESS: put them into another order
	mostOfSegment = 2730 // that fit a parameter list of 64 KiB with room
)

// EncodeOrder is the parameter list of GENERATE RECOMMENDED ACCESS ORDER (SSC-5 7.3).
func EncodeOrder(all []Segment) []byte {
	b := make([]byte, orderHeader, orderHeader+len(all)*segmentBytes)
	for _, s := range all {
		d := make([]byte, segmentBytes)
		binary.BigEndian.PutUint16(d, segmentBytes-2)
		copy(d[5:15], s.Name[:])
		binary.BigEndian.PutUint64(d[16:], s.Begin)
		binary.BigEndian.PutUint64(d[24:], s.Last)
		b = append(b, d...)
	}
	binary.BigEndian.PutUint32(b[4:], uint32(len(b)-orderHeader))
	return b
}

// ParseOrder reads the answer to RECEIVE RECOMMENDED ACCESS ORDER.
func ParseOrder(b []byte) ([]Segment, error) {
	if len(b) < orderHeader {
		return nil, short("recommended access order", b, orderHeader)
	}
	n := int64(binary.BigEndian.Uint32(b[4:]))
	b = b[orderHeader:min(int64(len(b)), orderHeader+n)]
	var all []Segment
	for len(b) >= 2 {
		n := 2 + int(binary.BigEndian.Uint16(b))
		if n > len(b) || n < segmentBytes {
			return nil, fmt.Errorf("%w: a segment of %d bytes in the access order, %d are left", ErrReply, n, len(b))
		}
		s := Segment{Begin: binary.BigEndian.Uint64(b[16:]), Last: binary.BigEndian.Uint64(b[24:])}
		copy(s.Name[:], b[5:15])
		all = append(all, s)
		b = b[n:]
	}
	return all, nil
}

// AccessOrder has the drive say in which order segments are best read. More than it
// takes at once is refused by the drive, or here.
func (d *Device) AccessOrder(ctx context.Context, all []Segment) ([]Segment, error) {
	if len(all) > mostOfSegment {
		return nil, d.Error("GENERATE RECOMMENDED ACCESS ORDER", fmt.Errorf("%d segments, at most %d are sorted at once", len(all), mostOfSegment))
	}
	out := EncodeOrder(all)
	cdb := make([]byte, 12)
	cdb[0], cdb[1], cdb[2] = scsi.MaintenanceOut, orderAction, orderReorder
	binary.BigEndian.PutUint32(cdb[6:], uint32(len(out)))
	if _, err := d.Do(ctx, "GENERATE RECOMMENDED ACCESS ORDER", &scsi.Command{CDB: cdb, Out: out}); err != nil {
		return nil, err
	}
	const op = "RECEIVE RECOMMENDED ACCESS ORDER"
	in := make([]byte, len(out)+4<<10)
	cdb = make([]byte, 12)
	cdb[0], cdb[1] = scsi.MaintenanceIn, orderAction
	binary.BigEndian.PutUint32(cdb[6:], uint32(len(in)))
	n, err := d.Ask(ctx, op, cdb, in)
	if err != nil {
		return nil, err
	}
	got, err := ParseOrder(in[:n])
	if err == nil && len(got) != len(all) {
		err = fmt.Errorf("%w: %d segments came back of %d", ErrReply, len(got), len(all))
	}
	if err != nil {
		return nil, d.Error(op, err)
	}
	return got, nil
}
