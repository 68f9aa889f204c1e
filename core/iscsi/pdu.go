package iscsi

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
)

// HeaderLen is the length of a PDU's basic header segment, in bytes.
const HeaderLen = 48

// DigestLen is the length of a digest, in bytes.
const DigestLen = 4

// Opcode says what a PDU is (RFC 7143, 11.2.1.2).
type Opcode uint8

// The PDUs of the initiator.
const (
	NopOut       Opcode = 0x00
	Command      Opcode = 0x01
	TaskRequest  Opcode = 0x02
	LoginRequest Opcode = 0x03
	TextRequest  Opcode = 0x04
	DataOut      Opcode = 0x05
	LogoutReq    Opcode = 0x06
	Snack        Opcode = 0x10
)

// The PDUs of the target.
const (
	NopIn         Opcode = 0x20
	Response      Opcode = 0x21
	TaskResponse  Opcode = 0x22
	LoginResponse Opcode = 0x23
	TextResponse  Opcode = 0x24
	DataIn        Opcode = 0x25
	LogoutResp    Opcode = 0x26
	R2T           Opcode = 0x31
	Async         Opcode = 0x32
	Reject        Opcode = 0x3F
)

// Flags of byte 1.
const (
	Final     = 0x80 // the last of a sequence; of a login: transit to the next stage
	Continue  = 0x40 // the text goes on in the next PDU
	Read      = 0x40 // of a command: data comes in
	Write     = 0x20 // of a command: data goes out
	Overflow  = 0x04 // the residual count is of bytes that found no room
	Underflow = 0x02 // the residual count is of bytes that were not moved
	HasStatus = 0x01 // of data-in: the status is in it
)

// NoTag is the reserved value of a task tag.
const NoTag = 0xFFFFFFFF

// The stages of a login (11.12.3).
const (
	SecurityStage    = 0
	OperationalStage = 1
	FullFeature      = 3
)

// Header is a basic header segment. Its fields stand at the places that most PDUs
// have in common (RFC 7143, 11.2.1 and the sections of each PDU).
type Header [HeaderLen]byte

// New is the header of a PDU with flags in byte 1 and an initiator task tag.
func New(op Opcode, flags uint8, tag uint32) (h Header) {
	h[0], h[1] = uint8(op), flags
	h.Set(16, tag)
	return h
}

// Opcode is what the PDU is.
func (h *Header) Opcode() Opcode { return Opcode(h[0] & 0x3F) }

// Immediate tells whether the PDU is for immediate delivery, outside the order of commands.
func (h *Header) Immediate() bool { return h[0]&0x40 != 0 }

// Has tells whether a flag of byte 1 is set.
func (h *Header) Has(flag uint8) bool { return h[1]&flag != 0 }

// AHSLen is the length of the additional header segments, in bytes: at most 1020.
func (h *Header) AHSLen() int { return int(h[4]) * 4 }

// DataLen is the length of the data segment without padding, in bytes: below 16 MiB.
func (h *Header) DataLen() int { return int(h[5])<<16 | int(h[6])<<8 | int(h[7]) }

// SetDataLen sets the length of the data segment.
func (h *Header) SetDataLen(n int) { h[5], h[6], h[7] = uint8(n>>16), uint8(n>>8), uint8(n) }

// Word is the number in the four bytes at a place.
func (h *Header) Word(at int) uint32 { return binary.BigEndian.Uint32(h[at:]) }

// Set sets the four bytes at a place.
func (h *Header) Set(at int, v uint32) { binary.BigEndian.PutUint32(h[at:], v) }

// Half is the number in the two bytes at a place.
func (h *Header) Half(at int) uint16 { return binary.BigEndian.Uint16(h[at:]) }

// SetHalf sets the two bytes at a place.
func (h *Header) SetHalf(at int, v uint16) { binary.BigEndian.PutUint16(h[at:], v) }

// Tag is the initiator task tag.
func (h *Header) Tag() uint32 { return h.Word(16) }

// TransferTag is the target transfer tag.
func (h *Header) TransferTag() uint32 { return h.Word(20) }

// CmdSN is the command's number, of an initiator's PDU.
func (h *Header) CmdSN() uint32 { return h.Word(24) }

// StatSN is the status's number, of a target's PDU.
func (h *Header) StatSN() uint32 { return h.Word(24) }

// LUN is the logical unit that the PDU is about; false if it is addressed in a
// way that no single-level target has (SAM-5, 4.7).
func (h *Header) LUN() (n uint64, ok bool) {
	return DecodeLUN(binary.BigEndian.Uint64(h[8:]))
}

// SetLUN sets the logical unit.
func (h *Header) SetLUN(n uint64) { binary.BigEndian.PutUint64(h[8:], EncodeLUN(n)) }

// DecodeLUN reads a single-level logical unit number in the peripheral or flat
// addressing method.
func DecodeLUN(v uint64) (n uint64, ok bool) {
	top := v >> 48
	switch top >> 14 {
	case 0: // peripheral: bus 0 only
		return top, v<<16 == 0 && top < 256
	case 1: // flat
		return top & 0x3FFF, v<<16 == 0
	}
	return 0, false
}

// EncodeLUN is the eight bytes of a logical unit number below 16384.
func EncodeLUN(n uint64) uint64 {
	if n < 256 {
		return n << 48
	}
	return (n&0x3FFF | 0x4000) << 48
}

// Padding is how many bytes follow n bytes so that they end at a multiple of four.
func Padding(n int) int { return -n & 3 }

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Digest is the CRC32C over all of some bytes (RFC 7143, 13.1).
func Digest(parts ...[]byte) (sum uint32) {
	for _, p := range parts {
		sum = crc32.Update(sum, castagnoli, p)
	}
	return sum
}

// PutDigest writes a digest as it stands on the wire.
func PutDigest(b []byte, sum uint32) { binary.LittleEndian.PutUint32(b, sum) }

// GetDigest reads a digest as it stands on the wire.
func GetDigest(b []byte) uint32 { return binary.LittleEndian.Uint32(b) }

// MaxCDB is the longest command descriptor block, in bytes (SPC-5, 4.2.1).
const MaxCDB = 260

const extendedCDB = 1 // the type of additional header that continues a CDB

// ErrPDU says that a PDU breaks the protocol.
var ErrPDU = errors.New("bad iSCSI PDU")

// AppendCDB appends a command's descriptor block to b: the 16 bytes of the header
// and what an additional header continues it with (11.2.2).
func AppendCDB(b []byte, h *Header, ahs []byte) ([]byte, error) {
	b = append(b, h[32:48]...)
	for seen := false; len(ahs) > 0; {
		if len(ahs) < 4 {
			return nil, fmt.Errorf("%w: %d bytes of additional header", ErrPDU, len(ahs))
		}
		n := int(binary.BigEndian.Uint16(ahs))
		if n < 1 || 3+n > len(ahs) {
			return nil, fmt.Errorf("%w: an additional header of %d bytes in %d", ErrPDU, n, len(ahs))
		}
		if ahs[2]&0x3F == extendedCDB {
			if seen || 16+n-1 > MaxCDB {
				return nil, fmt.Errorf("%w: a command descriptor block of %d bytes, or two", ErrPDU, 16+n-1)
			}
			b, seen = append(b, ahs[4:3+n]...), true
		}
		ahs = ahs[min(len(ahs), 3+n+Padding(3+n)):]
	}
	return b, nil
}
