package changer

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"capstan/core/dev"
	"capstan/core/scsi"
)

// ErrReply says that a changer's answer cannot be understood.
var ErrReply = errors.New("the changer's answer makes no sense")

// Range is the addresses of the elements of one kind: they follow one another.
type Range struct{ First, Count int }

// Has tells whether an address is in the range.
func (r Range) Has(address int) bool { return address >= r.First && address < r.First+r.Count }

// Assignment is the element address assignment page (SMC-3 table 46): where the
// elements of each kind are, by [dev.ElementKind].
type Assignment [dev.DriveElement + 1]Range

// Has tells whether there is an element of an address.
func (a *Assignment) Has(address int) bool {
	for _, r := range a {
		if r.Has(address) {
			return true
		}
	}
	return false
}

const (
	pageAssignment  = 0x1D
	assignmentBytes = 18 // the four ranges, with the page's header of two bytes
)

// ParseAssignment reads the page with its header.
func ParseAssignment(b []byte) (Assignment, error) {
	var a Assignment
	if len(b) < assignmentBytes {
		return a, fmt.Errorf("%w: element address assignment of %d bytes, %d are needed", ErrReply, len(b), assignmentBytes)
	}
	if b[0]&0x3F != pageAssignment {
		return a, fmt.Errorf("%w: mode page %02Xh, %02Xh was asked for", ErrReply, b[0]&0x3F, pageAssignment)
	}
	for i, kind := range kinds {
		at := b[2+4*i:]
		a[kind] = Range{int(binary.BigEndian.Uint16(at)), int(binary.BigEndian.Uint16(at[2:]))}
	}
	return a, nil
}

// kinds are the kinds of element in the order of the assignment page, which is that
// of their codes.
var kinds = [...]dev.ElementKind{dev.Transport, dev.Slot, dev.ImportExport, dev.DriveElement}

func assignmentCDB(n int) []byte {
	const noBlocks = 0x08 // no block descriptors: a changer has none
	return []byte{scsi.ModeSense6, noBlocks, pageAssignment, 0, byte(n), 0}
}

// What READ ELEMENT STATUS is asked for.
const (
	withTags = 0x10 // of byte 1: volume tags
	withIDs  = 0x01 // of byte 6: identifiers of the devices at drive elements (DVCID)
)

// statusCDB asks for the elements of a kind from an address on.
func statusCDB(kind dev.ElementKind, r Range, tags, ids bool, n int) []byte {
	c := make([]byte, 12)
	c[0], c[1] = scsi.ReadElementStatus, byte(kind)
	if tags {
		c[1] |= withTags
	}
	if ids {
		c[6] = withIDs
	}
	binary.BigEndian.PutUint16(c[2:], uint16(r.First))
	binary.BigEndian.PutUint16(c[4:], uint16(r.Count))
	c[7], c[8], c[9] = byte(n>>16), byte(n>>8), byte(n)
	return c
}

// The lengths of READ ELEMENT STATUS data (SMC-3 tables 30 to 33).
const (
	statusHeader     = 8
	pageHeader       = 8
	descriptorBytes  = 12 // that every descriptor has
	tagBytes         = 36
	tagText          = 32
	identifierHeader = 4
)

// Report is what an answer to READ ELEMENT STATUS holds.
type Report struct {
	Elements []dev.Element // those whose descriptors are whole
	// Cut says that the answer did not hold all that the changer has to tell.
	Cut bool
}

// ParseStatus reads an answer to READ ELEMENT STATUS; ids says that identifiers were
// asked for. What a changer adds behind a descriptor's known parts is passed over.
func ParseStatus(b []byte, ids bool) (Report, error) {
	var r Report
	if len(b) < statusHeader {
		return r, fmt.Errorf("%w: element status of %d bytes, %d are needed", ErrReply, len(b), statusHeader)
	}
	told := statusHeader + int(number24(b[5:]))
	r.Cut = told > len(b)
	b = b[statusHeader:min(told, len(b))]
	for len(b) >= pageHeader {
		size := int(binary.BigEndian.Uint16(b[2:]))
		n := int(number24(b[5:]))
		page, rest := b, b[:0]
		if pageHeader+n <= len(b) {
			page, rest = b[:pageHeader+n], b[pageHeader+n:]
		} else {
			r.Cut = true
		}
		if size < descriptorBytes && n > 0 {
			return r, fmt.Errorf("%w: element descriptors of %d bytes, %d are the least", ErrReply, size, descriptorBytes)
		}
		for body := page[pageHeader:]; size > 0 && len(body) >= size; body = body[size:] {
			r.Elements = append(r.Elements, parseElement(dev.ElementKind(page[0]&0x0F), page[1], body[:size], ids))
		}
		b = rest
	}
	return r, nil
}

func number24(b []byte) uint32 { return uint32(b[0])<<16 | uint32(b[1])<<8 | uint32(b[2]) }

// The flags of a descriptor, of bytes 2 and 9, and of its page.
const (
	flagFull       = 0x01
	flagException  = 0x04
	flagAccess     = 0x08
	flagSource     = 0x80 // of byte 9: the source address is valid
	flagPrimaryTag = 0x80 // of the page
	flagOtherTag   = 0x40 // of the page
)

// parseElement reads a descriptor of at least descriptorBytes.
func parseElement(kind dev.ElementKind, flags byte, d []byte, ids bool) dev.Element {
	e := dev.Element{Address: int(binary.BigEndian.Uint16(d)), Kind: kind, Full: d[2]&flagFull != 0}
	if d[9]&flagSource != 0 && e.Full {
		e.Source = int(binary.BigEndian.Uint16(d[10:]))
	}
	switch {
	case d[2]&flagException != 0:
		e.Problem = exception(d[4], d[5])
	case d[2]&flagAccess == 0 && kind == dev.ImportExport:
		e.Problem = "the mail slot is open or the robot cannot reach it"
	case d[2]&flagAccess == 0 && kind == dev.Slot:
		e.Problem = "the robot cannot reach the slot: is its magazine in?"
	}
	rest := d[descriptorBytes:]
	if flags&flagPrimaryTag != 0 {
		if len(rest) < tagBytes {
			return e
		}
		if e.Full {
			e.Barcode = barcode(rest[:tagText])
		}
		rest = rest[tagBytes:]
	}
	if flags&flagOtherTag != 0 {
		rest = rest[min(len(rest), tagBytes):]
	}
	if ids && kind == dev.DriveElement {
		e.Serial = serial(rest)
	}
	return e
}

// exception is the state of an element in words (SMC-3 table 35, and the codes that
// several makers use for labels).
func exception(asc, ascq byte) string {
	switch {
	case asc == 0x30 && ascq == 0x03:
		return "a cleaning cartridge is in the drive, or it is being cleaned"
	case asc == 0x83 && ascq == 0x00, asc == 0x83 && ascq == 0x02:
		return "the label is missing or cannot be read, or the library's inventory is old"
	case asc == 0x3B && ascq == 0x11, asc == 0x3B && ascq == 0x12:
		return "the magazine is out or cannot be reached"
	case asc == 0x04 && ascq == 0x83, asc == 0x04 && ascq == 0x03:
		return "a person has to look at it"
	}
	return fmt.Sprintf("the library reports %02X/%02X for it", asc, ascq)
}

// barcode is the volume identifier of a tag. Libraries fill it with spaces or zeros,
// and some give question marks for a label that they could not read.
func barcode(b []byte) string {
	s := text(b)
	if strings.Trim(s, "?") == "" {
		return ""
	}
	return s
}

// text is a field of ASCII characters that ends at the first zero.
func text(b []byte) string {
	s, _, _ := strings.Cut(string(b), "\x00")
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, s))
}

// The identifier types (SPC-5 7.7.6) and their text's parts.
const (
	typeVendorID  = 1 // vendor, product and serial number
	codeBinary    = 1
	vendorProduct = 8 + 16
)

// serial is the serial number in a device identifier: alone, or the last part of
// vendor, product and number. An identifier in binary, a world wide name, is in hex.
func serial(b []byte) string {
	if len(b) < identifierHeader {
		return ""
	}
	code, kind := b[0]&0x0F, b[1]&0x0F
	id := b[identifierHeader:min(len(b), identifierHeader+int(b[3]))]
	if code == codeBinary {
		return hex.EncodeToString(id)
	}
	if kind == typeVendorID && len(id) > vendorProduct {
		id = id[vendorProduct:]
	}
	words := strings.Fields(text(id))
	if len(words) == 0 {
		return ""
	}
	return words[len(words)-1]
}

// moveCDB carries a cartridge with a hand.
func moveCDB(hand, from, to int) []byte {
	c := make([]byte, 12)
	c[0] = scsi.MoveMedium
	binary.BigEndian.PutUint16(c[2:], uint16(hand))
	binary.BigEndian.PutUint16(c[4:], uint16(from))
	binary.BigEndian.PutUint16(c[6:], uint16(to))
	return c
}

// exchangeCDB carries a cartridge from one element to a second, and what was in the
// second to a third.
func exchangeCDB(hand, from, to, next int) []byte {
	c := make([]byte, 12)
	c[0] = scsi.ExchangeMedium
	binary.BigEndian.PutUint16(c[2:], uint16(hand))
	binary.BigEndian.PutUint16(c[4:], uint16(from))
	binary.BigEndian.PutUint16(c[6:], uint16(to))
	binary.BigEndian.PutUint16(c[8:], uint16(next))
	return c
}

// rangeCDB has the changer look at the elements of a range. The opcode is SMC-3's,
// or the one of before.
func rangeCDB(opcode byte, r Range) []byte {
	const bounded = 0x01
	c := make([]byte, 10)
	c[0], c[1] = opcode, bounded
	binary.BigEndian.PutUint16(c[2:], uint16(r.First))
	binary.BigEndian.PutUint16(c[6:], uint16(r.Count))
	return c
}

// senseOf is what a device said, if an error has it.
func senseOf(err error) dev.Sense {
	var e *dev.Error
	if errors.As(err, &e) {
		return e.Sense
	}
	return dev.Sense{}
}

// refused tells whether a changer has no such command or no such field. Other illegal
// requests are of the moment: a magazine that is out.
func refused(err error) bool {
	s := senseOf(err)
	return s.Key == scsi.IllegalRequest && (s.ASC == 0x20 || s.ASC == 0x24)
}
