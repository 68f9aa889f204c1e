package target

import (
	"encoding/binary"

	"capstan/core/dev"
	"capstan/core/scsi"
	"capstan/vtl"
)

// elementStatus answers READ ELEMENT STATUS (SMC-3, 6.10).
func (u *changer) elementStatus(r *request) error {
	tags, dvcid := r.cdb[1]&0x10 != 0, r.cdb[6]&0x01 != 0
	kind := dev.ElementKind(r.cdb[1] & 0x0F)
	first := int(binary.BigEndian.Uint16(r.cdb[2:]))
	most := int(binary.BigEndian.Uint16(r.cdb[4:]))
	alloc := int(r.cdb[7])<<16 | int(r.cdb[8])<<8 | int(r.cdb[9])
	if kind > dev.DriveElement {
		return badField()
	}
	if most == 0 {
		return r.reply(make([]byte, 8), alloc)
	}
	var chosen []dev.Element
	for _, k := range []dev.ElementKind{dev.Transport, dev.Slot, dev.ImportExport, dev.DriveElement} {
		if kind != 0 && kind != k {
			continue
		}
		for _, e := range u.target.lib.Elements() {
			if e.Kind == k && e.Address >= first && len(chosen) < most {
				chosen = append(chosen, e)
			}
		}
	}
	if len(chosen) == 0 {
		return sense(scsi.IllegalRequest, 0x21, 0x01)
	}
	lowest := chosen[0].Address
	for _, e := range chosen {
		lowest = min(lowest, e.Address)
	}
	b := make([]byte, 8)
	binary.BigEndian.PutUint16(b, uint16(lowest))
	binary.BigEndian.PutUint16(b[2:], uint16(len(chosen)))
	for len(chosen) > 0 {
		n := 1
		for n < len(chosen) && chosen[n].Kind == chosen[0].Kind {
			n++
		}
		b = u.appendPage(b, chosen[:n], tags, dvcid)
		chosen = chosen[n:]
	}
	size := len(b) - 8
	b[5], b[6], b[7] = byte(size>>16), byte(size>>8), byte(size)
	return r.reply(whole(b, alloc), alloc)
}

// whole cuts the data so that no descriptor is cut: with less room than there is
// data, an initiator gets as many whole ones as fit.
func whole(b []byte, alloc int) []byte {
	if len(b) <= alloc || alloc <= 8 {
		return b
	}
	end := 8
	for at := 8; at+8 <= alloc && at+8 <= len(b); {
		each := int(binary.BigEndian.Uint16(b[at+2:]))
		size := int(b[at+5])<<16 | int(b[at+6])<<8 | int(b[at+7])
		fit := min(size, (alloc-at-8)/each*each)
		end = at + 8 + fit
		if fit < size {
			break
		}
		at = end
	}
	return b[:end]
}

// appendPage adds an element status page of elements of one kind.
func (u *changer) appendPage(b []byte, all []dev.Element, tags, dvcid bool) []byte {
	at := len(b)
	b = append(b, byte(all[0].Kind), 0, 0, 0, 0, 0, 0, 0)
	if tags {
		b[at+1] = 0x80 // PVOLTAG
	}
	for _, e := range all {
		b = u.appendElement(b, e, tags, dvcid)
	}
	size := len(b) - at - 8
	binary.BigEndian.PutUint16(b[at+2:], uint16(size/len(all)))
	b[at+5], b[at+6], b[at+7] = byte(size>>16), byte(size>>8), byte(size)
	return b
}

// deviceID is the length of a device identifier in a descriptor: vendor, product
// and serial number of the drive.
const deviceID = 32

// appendElement adds an element descriptor.
func (u *changer) appendElement(b []byte, e dev.Element, tags, dvcid bool) []byte {
	at := len(b)
	b = append(b, make([]byte, 12)...)
	d := b[at:]
	binary.BigEndian.PutUint16(d, uint16(e.Address))
	if e.Full {
		d[2] |= 0x01
	}
	switch e.Kind {
	case dev.Slot:
		d[2] |= 0x08 // ACCESS
	case dev.ImportExport:
		d[2] |= 0x38 // INENAB, EXENAB, ACCESS
		if e.Full && e.Source == 0 {
			d[2] |= 0x02 // IMPEXP: a person put it there
		}
	case dev.DriveElement:
		if t := u.driveAt(e.Address); t != nil && (t.deck.State() == vtl.DeckEjected || t.deck.State() == vtl.DeckEmpty || !u.target.opts.EjectFirst) {
			d[2] |= 0x08
		}
	}
	if e.Full && e.Source != 0 {
		d[9] |= 0x80 // SVALID
		binary.BigEndian.PutUint16(d[10:], uint16(e.Source))
	}
	if e.Full {
		d[9] |= 0x01 // medium type: data
		if len(e.Barcode) >= 3 && e.Barcode[:3] == "CLN" {
			d[9] = d[9]&^0x07 | 0x02 // cleaning
		}
	}
	if tags {
		tag := make([]byte, 36)
		if e.Full {
			pad(tag[:32], e.Barcode)
		}
		b = append(b, tag...)
	}
	if dvcid {
		return appendDevice(b, e)
	}
	return append(b, 0, 0, 0, 0)
}

// appendDevice adds the identifier of the device at an element; all descriptors
// of a page have one length.
func appendDevice(b []byte, e dev.Element) []byte {
	if e.Kind != dev.DriveElement {
		return append(b, 0, 0, 0, 0)
	}
	id := make([]byte, deviceID)
	pad(id, e.Serial)
	return append(append(b, 0x02, 0x00, 0, deviceID), id...)
}
