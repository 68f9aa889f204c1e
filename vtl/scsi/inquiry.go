package target

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"

	"capstan/core/scsi"
)

// The identification that INQUIRY tells.
const (
	vendor   = "CAPSTAN"
	revision = "0001"
)

func (s *server) testUnitReady(*request) error { return s.status() }

// requestSense tells a unit attention or the unit's state as data.
func (s *server) requestSense(r *request) error {
	sns := scsi.Sense{}
	if ua := r.lun.takeAttention(); ua != nil {
		sns = conditionFrom(ua)
	} else if err := s.status(); err != nil {
		sns = conditionFrom(err)
	}
	return r.replySense(sns)
}

// replySense sends sense data as data, in the format that the command asks for.
func (r *request) replySense(s scsi.Sense) error {
	b := s.Fixed()
	if r.cdb[1]&0x01 != 0 {
		b = s.Descriptor()
	}
	return r.reply(b, int(r.cdb[4]))
}

// conditionFrom is the sense of an error of a command.
func conditionFrom(err error) scsi.Sense {
	if c, ok := err.(*check); ok { //nolint:errorlint // it is made here
		return c.Sense
	}
	return conditionOf(err).Sense
}

// inquiry answers INQUIRY and its vital product data pages.
func (s *server) inquiry(r *request) error {
	alloc := int(binary.BigEndian.Uint16(r.cdb[3:]))
	switch {
	case r.cdb[1]&0x01 != 0:
		return s.vitalData(r, alloc)
	case r.cdb[1] != 0 || r.cdb[2] != 0:
		return badField()
	}
	return r.reply(s.standardInquiry(), alloc)
}

// standardInquiry is the standard data (SPC-5, 6.7.2), in 96 bytes.
func (s *server) standardInquiry() []byte {
	b := make([]byte, 96)
	b[0] = byte(s.kind)
	b[1] = 0x80 // removable medium
	b[2] = 0x07 // SPC-5
	b[3] = 0x12 // HiSup, response data format 2
	b[4] = byte(len(b) - 5)
	b[6] = 0x10 // MultiP
	b[7] = 0x02 // CmdQue
	pad(b[8:16], vendor)
	pad(b[16:32], s.product)
	pad(b[32:36], revision)
	versions := []uint16{0x00A0, 0x05C0, 0x0960} // SAM-5, SPC-5, iSCSI
	if s.kind == scsi.Sequential {
		versions = append(versions, 0x05A0) // SSC-5
	} else {
		versions = append(versions, 0x0480) // SMC-3
	}
	for i, v := range versions {
		binary.BigEndian.PutUint16(b[58+2*i:], v)
	}
	return b
}

// pad fills a field with text, left aligned, with spaces after it.
func pad(field []byte, text string) {
	n := copy(field, text)
	for i := n; i < len(field); i++ {
		field[i] = ' '
	}
}

// vitalPage is a page of vital product data, without its header of four bytes.
type vitalPage struct {
	code byte
	data func() []byte
}

func (s *server) vitalData(r *request, alloc int) error {
	code := r.cdb[2]
	if code == 0x00 {
		var codes []byte
		for _, p := range s.vitalPages() {
			codes = append(codes, p.code)
		}
		return r.reply(s.vitalHeader(0x00, append([]byte{0x00}, codes...)), alloc)
	}
	for _, p := range s.vitalPages() {
		if p.code == code {
			return r.reply(s.vitalHeader(code, p.data()), alloc)
		}
	}
	return badField()
}

func (s *server) vitalHeader(code byte, data []byte) []byte {
	b := []byte{byte(s.kind), code, 0, 0}
	binary.BigEndian.PutUint16(b[2:], uint16(len(data)))
	return append(b, data...)
}

// vitalPages are the pages of every unit, and the unit's own, in their order.
func (s *server) vitalPages() []vitalPage {
	return append([]vitalPage{
		{0x80, func() []byte { return []byte(s.serial) }},
		{0x83, s.identification},
		{0x86, extended},
	}, s.vital...)
}

// extended is page 86h: SIMPLE tasks, and how long sense data can be.
func extended() []byte {
	b := make([]byte, 60)
	b[1], b[9] = 0x01, 44
	return b
}

// naa is a locally assigned name (NAA 3h) made from a text.
func naa(text string) []byte {
	h := fnv.New64a()
	h.Write([]byte(text)) //nolint:errcheck // it never fails
	b := binary.BigEndian.AppendUint64(nil, h.Sum64())
	b[0] = 0x30 | b[0]&0x0F
	return b
}

// identification is page 83h: a T10 vendor ID and an NAA name of the unit, the
// target port's relative number, and a name of the target.
func (s *server) identification() []byte {
	t10 := make([]byte, 24)
	pad(t10[:8], vendor)
	pad(t10[8:], s.product)
	t10 = append(t10, s.serial...)
	b := append([]byte{0x02, 0x01, 0, byte(len(t10))}, t10...)
	b = append(append(b, 0x01, 0x03, 0, 8), naa("unit "+s.serial)...)
	b = append(b, 0x01, 0x14, 0, 4, 0, 0, 0, 1)
	return append(append(b, 0x01, 0x23, 0, 8), naa("target "+s.target.lib.Name())...)
}

// reportLUNs answers REPORT LUNS: the single level form of each number.
func (t *Target) reportLUNs(r *request) error {
	alloc := binary.BigEndian.Uint32(r.cdb[6:])
	if r.cdb[2] > 2 {
		return badField()
	}
	n := len(t.servers)
	if r.cdb[2] == 1 { // well known units: none
		n = 0
	}
	b := make([]byte, 8+8*n)
	binary.BigEndian.PutUint32(b, uint32(8*n))
	for i := range n {
		d := b[8+8*i:]
		if i < 256 {
			d[1] = byte(i)
			continue
		}
		binary.BigEndian.PutUint16(d, 0x4000|uint16(i)) // flat space
	}
	return r.reply(b, int(min(alloc, 1<<20)))
}

func (s *server) reportLUNs(r *request) error { return s.target.reportLUNs(r) }

// absent answers for a unit that does not exist (SPC-5, 5.16.2).
func (l *LUN) absent(r *request) error {
	if len(r.cdb) == 0 || len(r.cdb) < cdbLength(r.cdb[0]) {
		return badOpcode()
	}
	switch r.cdb[0] {
	case scsi.ReportLUNs:
		return l.nexus.target.reportLUNs(r)
	case scsi.Inquiry:
		if r.cdb[1] != 0 || r.cdb[2] != 0 {
			return badField()
		}
		b := make([]byte, 36)
		b[0], b[2], b[3], b[4] = 0x7F, 0x07, 0x02, 31
		pad(b[8:36], "")
		return r.reply(b, int(binary.BigEndian.Uint16(r.cdb[3:])))
	case scsi.RequestSense:
		s := sense(scsi.IllegalRequest, 0x25, 0x00)
		return r.reply(s.Fixed(), int(r.cdb[4]))
	}
	return sense(scsi.IllegalRequest, 0x25, 0x00) // logical unit not supported
}

func (s *server) sendDiagnostic(r *request) error {
	if r.cdb[1]&0x04 == 0 && r.cdb[1]>>5 == 0 && binary.BigEndian.Uint16(r.cdb[3:]) != 0 {
		return badField() // pages are not taken, only the self-test
	}
	return nil
}

// preventAllow notes which initiators want the medium to stay.
func (s *server) preventAllow(r *request) error {
	held := -1
	for i, l := range s.preventing {
		if l == r.lun {
			held = i
		}
	}
	switch {
	case r.cdb[4]&0x03 > 1:
		return badField()
	case r.cdb[4]&0x01 == 1 && held < 0:
		s.preventing = append(s.preventing, r.lun)
	case r.cdb[4]&0x01 == 0 && held >= 0:
		s.preventing = append(s.preventing[:held:held], s.preventing[held+1:]...)
	}
	s.kept(len(s.preventing) > 0)
	return nil
}

func serialOf(name string) string { return fmt.Sprintf("VTL%s", name) }
