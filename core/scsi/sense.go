package scsi

import (
	"encoding/binary"
	"errors"
	"fmt"

	"capstan/core/dev"
)

// Sense keys (SPC-5 table 49).
const (
	NoSense        = 0x0
	RecoveredError = 0x1
	NotReady       = 0x2
	MediumError    = 0x3
	HardwareError  = 0x4
	IllegalRequest = 0x5
	UnitAttention  = 0x6
	DataProtect    = 0x7
	BlankCheck     = 0x8
	AbortedCommand = 0xB
	VolumeOverflow = 0xD
)

// Sense is what sense data says, of either format.
type Sense struct {
	dev.Sense
	// Deferred says that the error is an earlier command's, not this one's.
	Deferred bool
	// Information is, for a tape, what was asked for less what was done, in the
	// command's units; negative for a block that was longer. Valid says that it counts.
	Information int64
	Valid       bool
	Filemark    bool // a filemark was met
	EOM         bool // early warning, end or beginning of medium
	ILI         bool // the block's length was not the one asked for
	// Progress is a long operation's, in 1/65536; 0 if the device does not tell.
	Progress uint16
}

func (s *Sense) String() string {
	t := s.Sense.String()
	for _, f := range []struct {
		on   bool
		name string
	}{{s.Filemark, "FILEMARK"}, {s.EOM, "EOM"}, {s.ILI, "ILI"}, {s.Deferred, "deferred"}} {
		if f.on {
			t += " " + f.name
		}
	}
	if s.Valid {
		t += fmt.Sprintf(" information %d", s.Information)
	}
	return t
}

// The response codes of sense data (SPC-5, 4.4).
const (
	fixedCurrent       = 0x70
	fixedDeferred      = 0x71
	descriptorCurrent  = 0x72
	descriptorDeferred = 0x73
)

// The stream bits: of byte 2 of fixed sense data, and of byte 3 of a stream
// commands descriptor.
const (
	bitFilemark = 0x80
	bitEOM      = 0x40
	bitILI      = 0x20
)

// The descriptors that are read (SPC-5 table 29).
const (
	descInformation = 0x00
	descKeySpecific = 0x02
	descStream      = 0x04
)

const bitSKSV = 0x80 // the sense key specific bytes count

// ErrSense says that sense data cannot be understood.
var ErrSense = errors.New("bad sense data")

// ParseSense reads sense data of either format. Bytes that are missing at the end
// are zero, as drivers and bridges cut it: only the response code, the key and, for
// fixed data, nothing else is needed.
func ParseSense(b []byte) (Sense, error) {
	if len(b) < 2 {
		return Sense{}, fmt.Errorf("%w: %d bytes", ErrSense, len(b))
	}
	switch code := b[0] & 0x7F; code {
	case fixedCurrent, fixedDeferred:
		if len(b) < 3 {
			return Sense{}, fmt.Errorf("%w: %d bytes of fixed format", ErrSense, len(b))
		}
		return parseFixed(b), nil
	case descriptorCurrent, descriptorDeferred:
		return parseDescriptors(b), nil
	default:
		return Sense{}, fmt.Errorf("%w: response code %02Xh", ErrSense, code)
	}
}

func parseFixed(b []byte) Sense {
	s := Sense{
		Deferred: b[0]&0x7F == fixedDeferred, Valid: b[0]&0x80 != 0,
		Filemark: b[2]&bitFilemark != 0, EOM: b[2]&bitEOM != 0, ILI: b[2]&bitILI != 0,
	}
	s.Key = b[2] & 0x0F
	var full [18]byte
	copy(full[:], b)
	s.Information = int64(int32(binary.BigEndian.Uint32(full[3:])))
	s.ASC, s.ASCQ = full[12], full[13]
	if full[15]&bitSKSV != 0 && s.Key <= NotReady {
		s.Progress = binary.BigEndian.Uint16(full[16:])
	}
	return s
}

func parseDescriptors(b []byte) Sense {
	var head [8]byte
	copy(head[:], b)
	s := Sense{Sense: dev.Sense{Key: head[1] & 0x0F, ASC: head[2], ASCQ: head[3]}, Deferred: head[0]&0x7F == descriptorDeferred}
	if len(b) < len(head) {
		return s
	}
	rest := b[len(head):min(len(b), len(head)+int(head[7]))]
	for len(rest) >= 2 {
		n := int(rest[1]) + 2
		if n > len(rest) {
			break
		}
		d := rest[:n]
		switch {
		case d[0] == descInformation && n >= 12:
			s.Valid = d[2]&0x80 != 0
			s.Information = int64(binary.BigEndian.Uint64(d[4:]))
		case d[0] == descKeySpecific && n >= 7 && d[4]&bitSKSV != 0 && s.Key <= NotReady:
			s.Progress = binary.BigEndian.Uint16(d[5:])
		case d[0] == descStream && n >= 4:
			s.Filemark, s.EOM, s.ILI = d[3]&bitFilemark != 0, d[3]&bitEOM != 0, d[3]&bitILI != 0
		}
		rest = rest[n:]
	}
	return s
}

// Fixed is the sense data in fixed format, 18 bytes. An Information that does not
// fit into 32 bits is left out, as SPC-5 demands.
func (s *Sense) Fixed() []byte {
	b := make([]byte, 18)
	b[0] = fixedCurrent
	if s.Deferred {
		b[0] = fixedDeferred
	}
	if s.Valid && s.Information == int64(int32(s.Information)) {
		b[0] |= 0x80
		binary.BigEndian.PutUint32(b[3:], uint32(int32(s.Information)))
	}
	b[2] = s.Key | s.streamBits()
	b[7] = 10 // additional length
	b[12], b[13] = s.ASC, s.ASCQ
	if s.Progress > 0 {
		b[15] = bitSKSV
		binary.BigEndian.PutUint16(b[16:], s.Progress)
	}
	return b
}

// Descriptor is the sense data in descriptor format.
func (s *Sense) Descriptor() []byte {
	b := []byte{descriptorCurrent, s.Key, s.ASC, s.ASCQ, 0, 0, 0, 0}
	if s.Deferred {
		b[0] = descriptorDeferred
	}
	if s.Valid {
		b = append(b, descInformation, 10, 0x80, 0)
		b = binary.BigEndian.AppendUint64(b, uint64(s.Information))
	}
	if s.Progress > 0 {
		b = append(b, descKeySpecific, 6, 0, 0, bitSKSV)
		b = append(binary.BigEndian.AppendUint16(b, s.Progress), 0)
	}
	if bits := s.streamBits(); bits != 0 {
		b = append(b, descStream, 2, 0, bits)
	}
	b[7] = byte(len(b) - 8)
	return b
}

func (s *Sense) streamBits() (b byte) {
	if s.Filemark {
		b |= bitFilemark
	}
	if s.EOM {
		b |= bitEOM
	}
	if s.ILI {
		b |= bitILI
	}
	return b
}
