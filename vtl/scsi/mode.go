package target

import (
	"encoding/binary"

	"capstan/core/scsi"
)

// modePage is a mode page with its header. mask has the bits that can be changed.
type modePage struct {
	code, sub          byte
	current, def, mask []byte
}

// page makes a mode page of a body; mask may be shorter than it.
func page(code, sub byte, body, mask []byte) *modePage {
	var head []byte
	if sub == 0 {
		head = []byte{code, byte(len(body))}
	} else {
		head = []byte{code | 0x40, sub, 0, byte(len(body))}
	}
	p := &modePage{code: code, sub: sub, def: append(append([]byte{}, head...), body...)}
	p.current = append([]byte{}, p.def...)
	p.mask = make([]byte, len(p.def))
	copy(p.mask[len(head):], mask)
	return p
}

// page is the one with a code, or nil.
func (s *server) page(code, sub byte) *modePage {
	for _, p := range s.pages {
		if p.code == code && p.sub == sub {
			return p
		}
	}
	return nil
}

// controlPage is page 0Ah: D_SENSE can be changed.
func controlPage() *modePage {
	return page(0x0A, 0, []byte{0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0}, []byte{0x04})
}

func (s *server) descriptorSense() bool {
	p := s.page(0x0A, 0)
	return p != nil && p.current[2]&0x04 != 0
}

// blocks are what MODE SENSE and MODE SELECT say beside pages; a robot has none.
type blocks interface {
	mediumType() byte
	deviceSpecific() byte
	descriptor() []byte
	// accept checks a descriptor and the device-specific byte, and takes them.
	accept(specific byte, descriptor []byte) error
	// look brings pages that tell of the medium up to date.
	look()
	// changed follows pages that were set.
	changed()
}

func (s *server) blocks() blocks {
	if s.kind == scsi.Changer {
		return noBlocks{}
	}
	return s.target.tapes[s.number-1]
}

type noBlocks struct{}

func (noBlocks) mediumType() byte     { return 0 }
func (noBlocks) deviceSpecific() byte { return 0 }
func (noBlocks) descriptor() []byte   { return nil }
func (noBlocks) look()                {}
func (noBlocks) changed()             {}
func (noBlocks) accept(_ byte, d []byte) error {
	if len(d) != 0 {
		return badList()
	}
	return nil
}

func (s *server) modeSense6(r *request) error {
	b, err := s.modeData(r)
	if err != nil {
		return err
	}
	d := s.senseDescriptor(r)
	h := []byte{0, s.blocks().mediumType(), s.blocks().deviceSpecific(), byte(len(d))}
	all := append(append(h, d...), b...)
	if len(all) > 256 {
		return badField()
	}
	all[0] = byte(len(all) - 1)
	return r.reply(all, int(r.cdb[4]))
}

func (s *server) modeSense10(r *request) error {
	b, err := s.modeData(r)
	if err != nil {
		return err
	}
	d := s.senseDescriptor(r)
	h := []byte{0, 0, s.blocks().mediumType(), s.blocks().deviceSpecific(), 0, 0, 0, byte(len(d))}
	all := append(append(h, d...), b...)
	binary.BigEndian.PutUint16(all, uint16(len(all)-2))
	return r.reply(all, int(binary.BigEndian.Uint16(r.cdb[7:])))
}

func (s *server) senseDescriptor(r *request) []byte {
	if r.cdb[1]&0x08 != 0 { // DBD
		return nil
	}
	return s.blocks().descriptor()
}

// modeData are the pages that a MODE SENSE asks for.
func (s *server) modeData(r *request) ([]byte, error) {
	control, code, sub := r.cdb[2]>>6, r.cdb[2]&0x3F, r.cdb[3]
	if control == 3 {
		return nil, sense(scsi.IllegalRequest, 0x39, 0x00) // saving parameters not supported
	}
	s.blocks().look()
	var b []byte
	found := code == 0x3F || (code == 0x00 && sub == 0)
	for _, p := range s.pages {
		if (code != 0x3F && code != p.code) || (sub != 0xFF && sub != p.sub) {
			continue
		}
		found = true
		at := len(b)
		b = append(b, p.current...)
		switch control {
		case 1:
			head := 2
			if p.sub != 0 {
				head = 4
			}
			copy(b[at+head:], p.mask[head:])
		case 2:
			copy(b[at:], p.def)
		}
	}
	if !found {
		return nil, badField()
	}
	return b, nil
}

func (s *server) modeSelect6(r *request) error {
	n := int(r.cdb[4])
	b, err := r.list(n)
	if err != nil || n == 0 {
		return err
	}
	if n < 4 {
		return badListLen()
	}
	return s.modeSelect(r, b[4:], int(b[3]), b[2])
}

func (s *server) modeSelect10(r *request) error {
	n := int(binary.BigEndian.Uint16(r.cdb[7:]))
	b, err := r.list(n)
	if err != nil || n == 0 {
		return err
	}
	if n < 8 {
		return badListLen()
	}
	return s.modeSelect(r, b[8:], int(binary.BigEndian.Uint16(b[6:])), b[3])
}

// modeSelect checks the whole list before it takes any of it.
func (s *server) modeSelect(r *request, b []byte, descriptor int, specific byte) error {
	if r.cdb[1]&0x01 != 0 || (r.cdb[1]&0x10 == 0 && len(b) > descriptor) {
		return badField() // saving; pages of a format of the maker's own
	}
	if descriptor > len(b) {
		return badListLen()
	}
	var found []*modePage
	var data [][]byte
	for rest := b[descriptor:]; len(rest) > 0; {
		p, d, err := s.selected(rest)
		if err != nil {
			return err
		}
		found, data = append(found, p), append(data, d)
		rest = rest[len(d):]
	}
	if err := s.blocks().accept(specific, b[:descriptor]); err != nil {
		return err
	}
	for i, p := range found {
		for j := 2; j < len(p.current); j++ {
			p.current[j] = p.current[j]&^p.mask[j] | data[i][j]&p.mask[j]
		}
	}
	s.blocks().changed()
	s.attend(modeChanged, r.lun)
	return nil
}

// selected is the page that a list begins with, and its bytes.
func (s *server) selected(b []byte) (*modePage, []byte, error) {
	if len(b) < 4 {
		return nil, nil, badListLen()
	}
	sub := byte(0)
	if b[0]&0x40 != 0 {
		sub = b[1]
	}
	p := s.page(b[0]&0x3F, sub)
	if p == nil {
		return nil, nil, badList()
	}
	n := len(p.def)
	head := 2
	if sub != 0 {
		head = 4
	}
	if n > len(b) {
		return nil, nil, badListLen()
	}
	if (sub == 0 && b[1] != p.def[1]) || (sub != 0 && int(binary.BigEndian.Uint16(b[2:])) != n-4) {
		return nil, nil, badList()
	}
	for i := head; i < n; i++ {
		if (b[i]^p.current[i])&^p.mask[i] != 0 {
			return nil, nil, badList()
		}
	}
	return p, b[:n], nil
}
