package target

import (
	"encoding/binary"
	"slices"
)

// logPage is a page of LOG SENSE. Its parameters are made when it is asked for.
type logPage struct {
	code byte
	data func() []byte
}

// parameter is one parameter of a log page: a number of n bytes.
func parameter(b []byte, code uint16, n int, value uint64) []byte {
	b = binary.BigEndian.AppendUint16(b, code)
	b = append(b, 0x03, byte(n)) // binary list
	v := binary.BigEndian.AppendUint64(nil, value)
	return append(b, v[8-n:]...)
}

func (s *server) logSense(r *request) error {
	code, sub := r.cdb[2]&0x3F, r.cdb[3]
	if r.cdb[1]&0x01 != 0 || sub != 0 {
		return badField()
	}
	alloc := int(binary.BigEndian.Uint16(r.cdb[7:]))
	if code == 0 {
		codes := []byte{0}
		for _, p := range s.logs {
			codes = append(codes, p.code)
		}
		return r.reply(logHeader(0, codes), alloc)
	}
	i := slices.IndexFunc(s.logs, func(p logPage) bool { return p.code == code })
	if i < 0 {
		return badField()
	}
	return r.reply(logHeader(code, fromParameter(s.logs[i].data(), binary.BigEndian.Uint16(r.cdb[5:]))), alloc)
}

// fromParameter leaves out the parameters below a code.
func fromParameter(b []byte, first uint16) []byte {
	for len(b) >= 4 && binary.BigEndian.Uint16(b) < first {
		b = b[min(4+int(b[3]), len(b)):]
	}
	return b
}

func logHeader(code byte, data []byte) []byte {
	b := []byte{code, 0, 0, 0}
	binary.BigEndian.PutUint16(b[2:], uint16(len(data)))
	return append(b, data...)
}

// logSelect clears what can be cleared: the TapeAlert flags.
func (s *server) logSelect(r *request) error {
	if r.cdb[1]&0x01 != 0 || binary.BigEndian.Uint16(r.cdb[7:]) != 0 {
		return badField()
	}
	if r.cdb[1]&0x02 == 0 { // PCR resets all
		return nil
	}
	s.alerts = 0
	s.attend(logChanged, r.lun)
	return nil
}

// tapeAlert is page 2Eh. Reading it clears the flags.
func (s *server) tapeAlert() []byte {
	var b []byte
	for i := range 64 {
		b = parameter(b, uint16(i+1), 1, s.alerts>>i&1)
	}
	s.alerts = 0
	return b
}

// alertResponse is page 12h: flag 1 is the highest bit. It clears nothing.
func (s *server) alertResponse() []byte {
	var v uint64
	for i := range 64 {
		v |= (s.alerts >> i & 1) << (63 - i)
	}
	return parameter(nil, 0, 8, v)
}

// timestamp is the device clock (SPC-5, 5.14), which runs with the device's time.
type timestamp struct {
	origin byte
	millis uint64 // when it was set
	mono   int64  // the world's clock then, in milliseconds
}

func (s *server) reportTimestamp(r *request) error {
	now := s.timer.millis + uint64(monoMillis(r.ctx)-s.timer.mono)
	b := make([]byte, 12)
	b[1], b[2] = 10, s.timer.origin
	v := binary.BigEndian.AppendUint64(nil, now)
	copy(b[4:], v[2:])
	return r.reply(b, int(min(binary.BigEndian.Uint32(r.cdb[6:]), 1<<20)))
}

func (s *server) setTimestamp(r *request) error {
	n := binary.BigEndian.Uint32(r.cdb[6:])
	if n != 12 {
		return badListLen()
	}
	b, err := r.list(int(n))
	if err != nil {
		return err
	}
	var v [8]byte
	copy(v[2:], b[4:10])
	s.timer = timestamp{origin: 0x02, millis: binary.BigEndian.Uint64(v[:]), mono: monoMillis(r.ctx)}
	s.attend(timestampChanged, r.lun)
	return nil
}
