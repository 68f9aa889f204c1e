package scsi

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"capstan/core/dev"
	"capstan/core/scsi"
)

// Mode is what MODE SENSE answers for one page (SPC-5 7.5; SSC-5 8.3).
type Mode struct {
	Medium         byte // medium type: of a drive, its generation's code
	WriteProtected bool
	Buffered       byte // buffered mode: 0 writes through, 1 is a drive's own buffer
	Speed          byte
	Density        byte   // of the block descriptor
	BlockLength    uint32 // 0 is variable
	Descriptor     bool   // there was a block descriptor
	// Page is the page with its header: page code, subpage code if it has one, length.
	Page []byte
}

// Mode pages and subpages.
const (
	NoPage            = 0x00 // the header and the block descriptor alone
	PageCompression   = 0x0F
	PageConfiguration = 0x10
	PageMedium        = 0x1D // medium configuration: WORM
	PageControl       = 0x0A
	SubpageProtection = 0xF0 // of PageControl: control data protection
	SubpageExtension  = 0x01 // of PageConfiguration: programmable early warning
)

// Which values of a page MODE SENSE tells.
const (
	Current    = 0
	Changeable = 1
	Default    = 2
)

const (
	modeHeader6  = 4
	modeHeader10 = 8
	modeBlock    = 8 // a short block descriptor
)

// ParseMode reads MODE SENSE data; ten is the form of the ten-byte command.
func ParseMode(b []byte, ten bool) (Mode, error) {
	head := modeHeader6
	if ten {
		head = modeHeader10
	}
	if len(b) < head {
		return Mode{}, short("mode data", b, head)
	}
	var m Mode
	var specific byte
	size, blocks := 0, 0
	if ten {
		size, m.Medium, specific = int(binary.BigEndian.Uint16(b))+2, b[2], b[3]
		blocks = int(binary.BigEndian.Uint16(b[6:]))
	} else {
		size, m.Medium, specific = int(b[0])+1, b[1], b[2]
		blocks = int(b[3])
	}
	m.WriteProtected, m.Buffered, m.Speed = specific&0x80 != 0, specific>>4&7, specific&0x0F
	b = b[:min(len(b), size)]
	if len(b) < head+blocks {
		return m, short("mode data", b, head+blocks)
	}
	if blocks >= modeBlock {
		d := b[head:]
		m.Descriptor, m.Density, m.BlockLength = true, d[0], binary.BigEndian.Uint32(d[4:])&0xFFFFFF
	}
	m.Page = append([]byte(nil), b[head+blocks:]...)
	return m, nil
}

// page checks that the page is the one that was asked for, and cuts it to its length.
func (m *Mode) page(code, sub byte) error {
	p := m.Page
	head := 2
	if sub != 0 {
		head = 4
	}
	if len(p) < head || p[0]&0x3F != code || (p[0]&0x40 != 0) != (sub != 0) || (sub != 0 && p[1] != sub) {
		return fmt.Errorf("%w: mode page %02Xh/%02Xh was asked for, % X came", ErrReply, code, sub, p[:min(len(p), 4)])
	}
	n := head
	if sub != 0 {
		n += int(binary.BigEndian.Uint16(p[2:]))
	} else {
		n += int(p[1])
	}
	if n > len(p) {
		return short("mode page", p, n)
	}
	m.Page = p[:n]
	return nil
}

const (
	opModeSense  = "MODE SENSE"
	opModeSelect = "MODE SELECT"
)

// ModeSense asks for a page, by the ten-byte command or, of an older device, the
// six-byte one.
func (d *Device) ModeSense(ctx context.Context, values, page, sub byte) (Mode, error) {
	b := make([]byte, 255)
	ten := true
	n, err := d.Ask(ctx, opModeSense, []byte{scsi.ModeSense10, 0, values<<6 | page, sub, 0, 0, 0, 0, byte(len(b)), 0}, b)
	if errors.Is(err, dev.ErrNotSupported) && unknownOpcode(err) {
		ten = false
		n, err = d.Ask(ctx, opModeSense, []byte{scsi.ModeSense6, 0, values<<6 | page, sub, byte(len(b)), 0}, b)
	}
	if err != nil {
		return Mode{}, err
	}
	m, err := ParseMode(b[:n], ten)
	if err == nil && page != NoPage {
		err = m.page(page, sub)
	}
	if err != nil {
		return m, d.Error(opModeSense, err)
	}
	return m, nil
}

func unknownOpcode(err error) bool {
	var e *dev.Error
	return errors.As(err, &e) && e.Sense.Key == scsi.IllegalRequest && e.Sense.ASC == 0x20
}

// ModeSelect sets what a page, the block descriptor and the buffered mode say.
func (d *Device) ModeSelect(ctx context.Context, m *Mode) error {
	out := m.encode(true)
	_, err := d.Repeat(ctx, opModeSelect, &scsi.Command{
		CDB: []byte{scsi.ModeSelect10, 0x10, 0, 0, 0, 0, 0, byte(len(out) >> 8), byte(len(out)), 0}, Out: out,
	})
	if errors.Is(err, dev.ErrNotSupported) && unknownOpcode(err) {
		if out = m.encode(false); len(out) > 255 {
			return err
		}
		_, err = d.Repeat(ctx, opModeSelect, &scsi.Command{CDB: []byte{scsi.ModeSelect6, 0x10, 0, 0, byte(len(out)), 0}, Out: out})
	}
	return err
}

// encode is the parameter list: the data length is reserved in it, and so is the bit
// that says whether a page can be saved.
func (m *Mode) encode(ten bool) []byte {
	blocks := 0
	if m.Descriptor {
		blocks = modeBlock
	}
	specific := m.Buffered<<4 | m.Speed
	b := []byte{0, 0, specific, byte(blocks)}
	if ten {
		b = []byte{0, 0, 0, specific, 0, 0, 0, byte(blocks)}
	}
	if m.Descriptor {
		b = append(b, m.Density, 0, 0, 0)
		b = binary.BigEndian.AppendUint32(b, m.BlockLength&0xFFFFFF)
	}
	at := len(b)
	b = append(b, m.Page...)
	if len(m.Page) > 0 {
		b[at] &^= 0x80
	}
	return b
}
