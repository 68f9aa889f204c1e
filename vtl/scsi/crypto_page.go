package target

import (
	"bytes"
	"encoding/binary"

	"capstan/core/scsi"
	"capstan/vtl"
)

// The security protocols: 00h tells which there are, 20h is Tape Data Encryption
// (SSC-5, 8.5).
const (
	protocolInfo = 0x00
	protocolTape = 0x20
)

// algorithmAES is AES-256-GCM, with its index in the list of one.
const (
	algorithmIndex = 1
	algorithmAES   = 0x00010014
	keyLength      = 32
)

// securityPage is a page of the tape data encryption protocol with its header.
func securityPage(code uint16, data []byte) []byte {
	b := binary.BigEndian.AppendUint16(nil, code)
	b = binary.BigEndian.AppendUint16(b, uint16(len(data)))
	return append(b, data...)
}

func (u *tape) securityIn(r *request) error {
	alloc := int(min(binary.BigEndian.Uint32(r.cdb[6:]), 1<<16))
	specific := binary.BigEndian.Uint16(r.cdb[2:])
	if r.cdb[4]&0x80 != 0 { // INC_512
		return badField()
	}
	switch r.cdb[1] {
	case protocolInfo:
		if specific != 0 {
			return badField()
		}
		return r.reply([]byte{0, 0, 0, 0, 0, 0, 0, 2, protocolInfo, protocolTape}, alloc)
	case protocolTape:
		b, err := u.securityPageIn(r, specific)
		if err != nil {
			return err
		}
		return r.reply(b, alloc)
	}
	return badField()
}

func (u *tape) securityPageIn(r *request, code uint16) ([]byte, error) {
	switch code {
	case 0x0000: // what can be asked
		return securityPage(code, []byte{0, 0, 0, 1, 0, 0x10, 0, 0x11, 0, 0x12, 0, 0x20, 0, 0x21}), nil
	case 0x0001: // what can be set
		return securityPage(code, []byte{0, 0x10}), nil
	case 0x0010:
		return securityPage(code, u.capabilities()), nil
	case 0x0011: // key formats: plain
		return securityPage(code, []byte{0x00}), nil
	case 0x0012: // management: the scopes that are known
		return securityPage(code, []byte{0x01, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}), nil
	case 0x0020:
		return securityPage(code, u.encryptionStatus(r)), nil
	case 0x0021:
		if err := u.ready(); err != nil {
			return nil, err
		}
		return securityPage(code, u.nextBlockStatus(r)), nil
	}
	return nil, badField()
}

// capabilities is the data encryption capabilities page.
func (u *tape) capabilities() []byte {
	b := make([]byte, 16, 40)
	b[0] = 0x0A // external data encryption control and configuration: not changed
	d := make([]byte, 24)
	d[0] = algorithmIndex
	d[3] = 20
	d[4] = 0x8A                               // AVFMV unless no medium, DECRYPT_C and ENCRYPT_C: by hardware
	d[5] = 0x30                               // nonce by the drive; KADs may be of any length
	binary.BigEndian.PutUint16(d[6:], maxKAD) // U-KAD
	binary.BigEndian.PutUint16(d[8:], maxKAD) // A-KAD
	binary.BigEndian.PutUint16(d[10:], keyLength)
	d[12] = 0xC0 // decryption is told apart for each block
	binary.BigEndian.PutUint32(d[20:], algorithmAES)
	return append(b, d...)
}

// encryptionStatus is the data encryption status page.
func (u *tape) encryptionStatus(r *request) []byte {
	k := u.crypt.of(r.lun)
	scope := byte(scopePublic)
	if k.gcm != nil {
		scope = scopeAllNexus
		if k == &r.lun.key {
			scope = scopeLocal
		}
	}
	b := make([]byte, 20)
	b[0] = scope<<5 | scope
	b[1], b[2] = k.encrypt, k.decrypt
	if k.gcm != nil {
		b[3] = algorithmIndex
	}
	binary.BigEndian.PutUint32(b[4:], u.crypt.instance)
	return appendKADs(b, k.ukad, k.akad)
}

// appendKADs adds the key-associated data descriptors that there are.
func appendKADs(b, ukad, akad []byte) []byte {
	for i, kad := range [][]byte{ukad, akad} {
		if len(kad) > 0 {
			b = append(b, byte(i), 0, 0, byte(len(kad)))
			b = append(b, kad...)
		}
	}
	return b
}

// nextBlockStatus is the next block encryption status page.
func (u *tape) nextBlockStatus(r *request) []byte {
	kind, h := u.nextSealed(r)
	b := make([]byte, 12)
	binary.BigEndian.PutUint64(b, uint64(u.deck.Place().Block))
	switch kind {
	case vtl.Sealed:
		b[8] = 0x06 // encrypted, and not with the key that is set
		b[9] = algorithmIndex
		if k := u.crypt.of(r.lun); k.gcm != nil && bytes.Equal(keyTag(k.key), h.tag) {
			b[8] = 0x05
		}
		return appendKADs(b, h.ukad, h.akad)
	case vtl.Block, vtl.Bad, vtl.Hollow:
		b[8] = 0x03 // not encrypted
	default:
		b[8] = 0x02 // not a block
	}
	return b
}

// securityOut sets the key: the set data encryption page.
func (u *tape) securityOut(r *request) error {
	if r.cdb[1] != protocolTape || binary.BigEndian.Uint16(r.cdb[2:]) != 0x0010 || r.cdb[4]&0x80 != 0 {
		return badField()
	}
	n := binary.BigEndian.Uint32(r.cdb[6:])
	if n < 20 || n > 4096 {
		return badListLen()
	}
	b, err := r.list(int(n))
	if err != nil {
		return err
	}
	if int(binary.BigEndian.Uint16(b[2:])) != len(b)-4 || binary.BigEndian.Uint16(b) != 0x0010 {
		return badList()
	}
	k, scope, err := parseKey(b)
	if err != nil {
		return err
	}
	u.crypt.instance++
	k.instance = u.crypt.instance
	switch scope {
	case scopePublic:
		r.lun.key = dataKey{}
	case scopeLocal:
		r.lun.key = k
	default:
		r.lun.key = dataKey{}
		u.crypt.shared = k
		u.attend(keyChanged, r.lun)
	}
	return nil
}

// parseKey reads the set data encryption page (SSC-5, 8.5.3.3).
func parseKey(b []byte) (k dataKey, scope byte, err error) {
	scope = b[4] >> 5
	k = dataKey{encrypt: b[6], decrypt: b[7], onceLoaded: b[5]&0x04 != 0}
	n := int(binary.BigEndian.Uint16(b[18:]))
	switch {
	case scope > scopeAllNexus || (k.encrypt != cryptOff && k.encrypt != cryptEncrypt) || k.decrypt > decryptMixed:
		return k, 0, badList()
	case k.encrypt == cryptOff && (k.decrypt == cryptOff || k.decrypt == decryptRaw):
		return dataKey{}, scope, nil
	case b[8] != algorithmIndex || b[9] != 0 || n != keyLength || len(b) < 20+n:
		return k, 0, badList()
	}
	k.key = bytes.Clone(b[20 : 20+n])
	for rest := b[20+n:]; len(rest) > 0; {
		if len(rest) < 4 {
			return k, 0, badList()
		}
		size := int(binary.BigEndian.Uint16(rest[2:]))
		if size > maxKAD || 4+size > len(rest) {
			return k, 0, badList()
		}
		switch kad := bytes.Clone(rest[4 : 4+size]); rest[0] {
		case 0:
			k.ukad = kad
		case 1:
			k.akad = kad
		default:
			return k, 0, badList()
		}
		rest = rest[4+size:]
	}
	k.gcm, err = newGCM(k.key)
	if err != nil {
		return k, 0, sense(scsi.IllegalRequest, 0x26, 0x11) // incomplete key-associated data set
	}
	return k, scope, nil
}
