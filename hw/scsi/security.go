package scsi

import (
	"context"
	"encoding/binary"
	"fmt"

	"capstan/core/scsi"
)

// Pages of the tape data encryption protocol, 20h (SSC-5 8.5).
const (
	encryptionProtocol = 0x20

	pageCapabilities = 0x0010 // of SECURITY PROTOCOL IN
	pageSetKey       = 0x0010 // of SECURITY PROTOCOL OUT
	pageStatus       = 0x0020
)

// AES256GCM is the security algorithm that drives have.
const AES256GCM = 0x00010014

// KeyBytes is the length of a key of it.
const KeyBytes = 32

// Algorithm is an encryption algorithm that a drive has.
type Algorithm struct {
	Index    byte
	Code     uint32
	KeyBytes int
	Encrypts bool // in hardware
	Decrypts bool
}

// ParseAlgorithms reads the data encryption capabilities page.
func ParseAlgorithms(b []byte) ([]Algorithm, error) {
	b, err := securityPage(pageCapabilities, b)
	if err != nil {
		return nil, err
	}
	if len(b) < 16 {
		return nil, short("encryption capabilities", b, 16)
	}
	var all []Algorithm
	for b = b[16:]; len(b) >= 4; {
		n := 4 + int(binary.BigEndian.Uint16(b[2:]))
		if n > len(b) {
			break
		}
		if n >= 24 {
			all = append(all, Algorithm{
				Index: b[0], Code: binary.BigEndian.Uint32(b[20:]), KeyBytes: int(binary.BigEndian.Uint16(b[10:])),
				Encrypts: b[4]&3 == 2, Decrypts: b[4]>>2&3 == 2,
			})
		}
		b = b[n:]
	}
	return all, nil
}

// securityPage is a page's body, after its code and length.
func securityPage(page uint16, b []byte) ([]byte, error) {
	if len(b) < 4 {
		return nil, short("security protocol page", b, 4)
	}
	if got := binary.BigEndian.Uint16(b); got != page {
		return nil, fmt.Errorf("%w: security protocol page %04Xh, %04Xh was asked for", ErrReply, got, page)
	}
	return b[4:min(len(b), 4+int(binary.BigEndian.Uint16(b[2:])))], nil
}

// Encryption is the data encryption status page.
type Encryption struct {
	Scope      byte // 0 public, 1 this initiator, 2 all initiators
	Encrypts   bool
	Decrypts   bool
	Algorithm  byte   // its index
	KeyCounter uint32 // changes whenever a key is set
}

// ParseEncryption reads it.
func ParseEncryption(b []byte) (Encryption, error) {
	b, err := securityPage(pageStatus, b)
	if err != nil {
		return Encryption{}, err
	}
	if len(b) < 8 {
		return Encryption{}, short("encryption status", b, 8)
	}
	return Encryption{
		Scope: b[0] & 7, Encrypts: b[1] == 2, Decrypts: b[2] == 2 || b[2] == 3, Algorithm: b[3],
		KeyCounter: binary.BigEndian.Uint32(b[4:]),
	}, nil
}

func (d *Device) securityIn(ctx context.Context, page uint16) ([]byte, error) {
	b := make([]byte, 1024)
	cdb := make([]byte, 12)
	cdb[0], cdb[1] = scsi.SecurityProtocolIn, encryptionProtocol
	binary.BigEndian.PutUint16(cdb[2:], page)
	binary.BigEndian.PutUint32(cdb[6:], uint32(len(b)))
	n, err := d.Ask(ctx, "SECURITY PROTOCOL IN", cdb, b)
	return b[:n], err
}

// Algorithms asks which encryption algorithms the drive has. Some drives answer only
// with a medium loaded.
func (d *Device) Algorithms(ctx context.Context) ([]Algorithm, error) {
	b, err := d.securityIn(ctx, pageCapabilities)
	if err != nil {
		return nil, err
	}
	all, err := ParseAlgorithms(b)
	if err != nil {
		return nil, d.Error("SECURITY PROTOCOL IN", err)
	}
	return all, nil
}

// Encryption asks whether the next block is encrypted.
func (d *Device) Encryption(ctx context.Context) (Encryption, error) {
	b, err := d.securityIn(ctx, pageStatus)
	if err != nil {
		return Encryption{}, err
	}
	e, err := ParseEncryption(b)
	if err != nil {
		return e, d.Error("SECURITY PROTOCOL IN", err)
	}
	return e, nil
}

// encryptionList is the set data encryption page: for all initiators, mixed mode on
// reading so that blocks from before still come, and the key forgotten when the
// medium goes. No key turns encryption off.
func encryptionList(algorithm byte, key []byte) []byte {
	b := make([]byte, 20, 20+len(key))
	binary.BigEndian.PutUint16(b, pageSetKey)
	b[4] = 2 << 5
	if len(key) > 0 {
		b[5], b[6], b[7] = 0x04, 2, 3 // clear key on demount; encrypt; mixed
	}
	b[8] = algorithm
	binary.BigEndian.PutUint16(b[18:], uint16(len(key)))
	b = append(b, key...)
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)-4))
	return b
}

// SetKey has the drive encrypt with a key from here on, or with none.
func (d *Device) SetKey(ctx context.Context, algorithm byte, key []byte) error {
	out := encryptionList(algorithm, key)
	cdb := make([]byte, 12)
	cdb[0], cdb[1] = scsi.SecurityProtocolOut, encryptionProtocol
	binary.BigEndian.PutUint16(cdb[2:], pageSetKey)
	binary.BigEndian.PutUint32(cdb[6:], uint32(len(out)))
	_, err := d.Repeat(ctx, "SECURITY PROTOCOL OUT", &scsi.Command{CDB: cdb, Out: out})
	clear(out)
	return err
}
