package changer

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"

	"capstan/core/dev"
	"capstan/core/scsi"
)

// event is what the fake does with a command in place of carrying it out.
type event struct {
	sense dev.Sense
	done  bool // it carries it out all the same
	lost  bool // and its answer does not come
	times int
}

// fake is a library's robot with the habits of real ones.
type fake struct {
	elements []dev.Element
	firsts   [5]Range
	limit    int  // bytes that it can answer with; 0 is no limit
	narrow   bool // it looks at 16 bits of the allocation length
	all      bool // it ignores the number of elements asked for
	apart    bool // it refuses volume tags and DVCID in one command
	noIDs    bool
	noTags   bool
	excess   int  // bytes that it adds to each descriptor
	field    bool // it says "invalid field" for a bad element
	events   map[byte][]event
	sent     []string
}

var _ scsi.Transport = (*fake)(nil)

// newFake is a robot with a hand at 1, slots from 1000, mail slots from 16, drives from 256.
func newFake(slots int) *fake {
	f := &fake{events: map[byte][]event{}}
	f.firsts[dev.Transport], f.firsts[dev.Slot] = Range{1, 1}, Range{1000, slots}
	f.firsts[dev.ImportExport], f.firsts[dev.DriveElement] = Range{16, 2}, Range{256, 2}
	for _, kind := range kinds {
		for i := range f.firsts[kind].Count {
			e := dev.Element{Address: f.firsts[kind].First + i, Kind: kind}
			switch {
			case kind == dev.DriveElement:
				e.Serial = fmt.Sprintf("HU%08d", i+1)
			case kind == dev.Slot && i < slots-1:
				e.Full, e.Barcode = true, fmt.Sprintf("T%05dL8", i+1)
			}
			f.elements = append(f.elements, e)
		}
	}
	return f
}

func (f *fake) Close() error { return nil }

func (f *fake) Do(_ context.Context, c *scsi.Command) (scsi.Result, error) {
	f.sent = append(f.sent, fmt.Sprintf("%x", c.CDB))
	if es := f.events[c.CDB[0]]; len(es) > 0 {
		e := &es[0]
		if e.times--; e.times <= 0 {
			f.events[c.CDB[0]] = es[1:]
		}
		if e.done {
			if r := f.run(c); r.Status != scsi.Good {
				return r, nil
			}
		}
		if e.lost {
			return scsi.Result{}, fmt.Errorf("cut: %w", dev.ErrGone)
		}
		return refuse(e.sense), nil
	}
	return f.run(c), nil
}

func refuse(d dev.Sense) scsi.Result {
	s := scsi.Sense{Sense: d}
	return scsi.Result{Status: scsi.CheckCondition, Sense: s.Fixed()}
}

func (f *fake) run(c *scsi.Command) scsi.Result {
	switch c.CDB[0] {
	case scsi.Inquiry:
		return scsi.Result{N: copy(c.In, append([]byte{8, 0x80, 5, 2, 31, 0, 0, 0}, "MAKER   ROBOT           0001"...))}
	case scsi.ModeSense6:
		b := []byte{23, 0, 0, 0, 0x1D, 0x12}
		for _, kind := range kinds {
			b = binary.BigEndian.AppendUint16(b, uint16(f.firsts[kind].First))
			b = binary.BigEndian.AppendUint16(b, uint16(f.firsts[kind].Count))
		}
		return scsi.Result{N: copy(c.In, append(b, 0, 0))}
	case scsi.ReadElementStatus:
		return f.status(c)
	case scsi.MoveMedium:
		at := func(i int) int { return int(binary.BigEndian.Uint16(c.CDB[i:])) }
		return f.move(at(4), at(6))
	case scsi.TestUnitReady, scsi.InitializeElementStatus, scsi.PreventAllowRemoval:
		return scsi.Result{}
	}
	return refuse(dev.Sense{Key: 5, ASC: 0x20})
}

func (f *fake) find(address int) *dev.Element {
	i := slices.IndexFunc(f.elements, func(e dev.Element) bool { return e.Address == address })
	if i < 0 {
		return nil
	}
	return &f.elements[i]
}

func (f *fake) move(from, to int) scsi.Result {
	src, dst := f.find(from), f.find(to)
	switch {
	case (src == nil || dst == nil) && f.field:
		return refuse(dev.Sense{Key: 5, ASC: 0x24})
	case src == nil || dst == nil:
		return refuse(dev.Sense{Key: 5, ASC: 0x21, ASCQ: 1})
	case !src.Full:
		return refuse(dev.Sense{Key: 5, ASC: 0x3B, ASCQ: 0x0E})
	case dst.Full:
		return refuse(dev.Sense{Key: 5, ASC: 0x3B, ASCQ: 0x0D})
	}
	dst.Full, dst.Barcode, dst.Source = true, src.Barcode, from
	src.Full, src.Barcode, src.Source = false, "", 0
	return scsi.Result{}
}

func (f *fake) status(c *scsi.Command) scsi.Result {
	kind, first, count := dev.ElementKind(c.CDB[1]&0x0F), int(binary.BigEndian.Uint16(c.CDB[2:])), int(binary.BigEndian.Uint16(c.CDB[4:]))
	tags, ids := c.CDB[1]&withTags != 0, c.CDB[6]&withIDs != 0
	if f.apart && tags && ids || f.noIDs && ids || f.noTags && tags {
		return refuse(dev.Sense{Key: 5, ASC: 0x24})
	}
	alloc := int(c.CDB[7])<<16 | int(c.CDB[8])<<8 | int(c.CDB[9])
	if f.narrow {
		alloc &= 0xFFFF
	}
	var body []byte
	size, n := 0, 0
	for _, e := range f.elements {
		if e.Kind == kind && e.Address >= first && (f.all || n < count) {
			d := f.descriptor(e, tags, ids)
			size = len(d)
			body = append(body, d...)
			n++
		}
	}
	b := binary.BigEndian.AppendUint16(nil, uint16(first))
	b = binary.BigEndian.AppendUint16(b, uint16(n))
	b = append(b, number(0, 8+len(body))...)
	page := []byte{byte(kind), 0, byte(size >> 8), byte(size)}
	if tags {
		page[1] = flagPrimaryTag
	}
	b = append(append(append(b, page...), number(0, len(body))...), body...)
	if f.limit > 0 {
		alloc = min(alloc, f.limit)
	}
	return scsi.Result{N: copy(c.In, b[:min(len(b), alloc)])}
}

// number is a reserved byte and a length of three.
func number(reserved byte, n int) []byte {
	return []byte{reserved, byte(n >> 16), byte(n >> 8), byte(n)}
}

func (f *fake) descriptor(e dev.Element, tags, ids bool) []byte {
	d := make([]byte, descriptorBytes)
	binary.BigEndian.PutUint16(d, uint16(e.Address))
	d[2] = flagAccess
	if e.Full {
		d[2] |= flagFull
	}
	if e.Source != 0 {
		d[9] = flagSource
		binary.BigEndian.PutUint16(d[10:], uint16(e.Source))
	}
	if tags {
		d = append(d, fmt.Sprintf("%-32s\x00\x00\x00\x00", e.Barcode)...)
	}
	if ids {
		id := ""
		if e.Serial != "" {
			id = fmt.Sprintf("%-8s%-16s%s", "MAKER", "ULTRIUM-8", e.Serial)
		}
		d = append(append(d, 2, typeVendorID, 0, byte(len(id))), id...)
	}
	return append(d, make([]byte, f.excess)...)
}
