package scsi

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"capstan/core/scsi"
)

// ErrReply says that a device's answer cannot be understood.
var ErrReply = errors.New("the device's answer makes no sense")

func short(what string, b []byte, want int) error {
	return fmt.Errorf("%w: %s of %d bytes, %d are needed", ErrReply, what, len(b), want)
}

// Inquiry is what a device says of itself (SPC-5, 6.6.2).
type Inquiry struct {
	Type      scsi.DeviceType
	Removable bool
	Version   byte // of SPC that it claims
	// Vendor, Product and Revision are without the spaces at their ends.
	Vendor, Product, Revision string
}

const inquiryBytes = 36

// ParseInquiry reads standard INQUIRY data.
func ParseInquiry(b []byte) (Inquiry, error) {
	if len(b) < inquiryBytes {
		return Inquiry{}, short("INQUIRY data", b, inquiryBytes)
	}
	return Inquiry{
		Type: scsi.DeviceType(b[0] & 0x1F), Removable: b[1]&0x80 != 0, Version: b[2],
		Vendor: text(b[8:16]), Product: text(b[16:32]), Revision: text(b[32:36]),
	}, nil
}

// text is a field of ASCII characters, filled with spaces. What is no printable
// character is "?", as it goes to terminals and logs.
func text(b []byte) string {
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, strings.TrimRight(string(b), "\x00 ")))
}

// Inquiry asks the device what it is.
func (d *Device) Inquiry(ctx context.Context) (Inquiry, error) {
	b := make([]byte, 96)
	n, err := d.Ask(ctx, "INQUIRY", inquiryCDB(false, 0, len(b)), b)
	if err != nil {
		return Inquiry{}, err
	}
	q, err := ParseInquiry(b[:n])
	if err != nil {
		return q, d.Error("INQUIRY", err)
	}
	return q, nil
}

func inquiryCDB(vital bool, page byte, n int) []byte {
	c := []byte{scsi.Inquiry, 0, page, byte(n >> 8), byte(n), 0}
	if vital {
		c[1] = 1
	}
	return c
}

// The pages of vital product data that are read.
const (
	VPDPages       = 0x00
	VPDSerial      = 0x80
	VPDIdentifiers = 0x83
	VPDSequential  = 0xB0 // sequential-access device capabilities
)

// vital reads a page of vital product data, without its header.
func (d *Device) vital(ctx context.Context, page byte) ([]byte, error) {
	b := make([]byte, 1024)
	n, err := d.Ask(ctx, "INQUIRY", inquiryCDB(true, page, len(b)), b)
	if err != nil {
		return nil, err
	}
	body, err := vitalBody(page, b[:n])
	if err != nil {
		return nil, d.Error("INQUIRY", err)
	}
	return body, nil
}

func vitalBody(page byte, b []byte) ([]byte, error) {
	if len(b) < 4 {
		return nil, short(fmt.Sprintf("page %02Xh of vital product data", page), b, 4)
	}
	if b[1] != page {
		return nil, fmt.Errorf("%w: page %02Xh of vital product data, %02Xh was asked for", ErrReply, b[1], page)
	}
	return b[4:min(len(b), 4+int(binary.BigEndian.Uint16(b[2:])))], nil
}

// Serial is the unit's serial number, which stays with it whatever file of /dev it has.
func (d *Device) Serial(ctx context.Context) (string, error) {
	b, err := d.vital(ctx, VPDSerial)
	return text(b), err
}

// Identifier is one name of a logical unit (SPC-5, 7.7.6).
type Identifier struct {
	Association byte // 0 of the unit, 1 of the port, 2 of the target
	Type        byte // 1 vendor's text, 2 EUI-64, 3 NAA, 8 SCSI name
	Text        string
	Binary      []byte
}

// ParseIdentifiers reads the descriptors of the device identification page.
func ParseIdentifiers(b []byte) []Identifier {
	var all []Identifier
	for len(b) >= 4 {
		n := 4 + int(b[3])
		if n > len(b) {
			break
		}
		i := Identifier{Association: b[1] >> 4 & 3, Type: b[1] & 0x0F, Binary: append([]byte(nil), b[4:n]...)}
		if set := b[0] & 0x0F; set == 2 || set == 3 { // ASCII, UTF-8
			i.Text = text(i.Binary)
		}
		all = append(all, i)
		b = b[n:]
	}
	return all
}

// Identifiers are the names of the unit.
func (d *Device) Identifiers(ctx context.Context) ([]Identifier, error) {
	b, err := d.vital(ctx, VPDIdentifiers)
	return ParseIdentifiers(b), err
}
