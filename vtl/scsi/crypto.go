package target

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"

	"capstan/core/scsi"
	"capstan/vtl"
)

// Encryption of the Tape Data Encryption protocol (SSC-5, 8.5): AES-256-GCM with
// keys from the host. A key is kept in the drive until it is cleared, the medium
// is unloaded or the drive reset, and never written anywhere.
//
// A sealed block is
//
//	version      1 byte, 1
//	tag          8 bytes: tells keys apart, the key's HMAC of a constant
//	U-KAD length 1 byte, A-KAD length 1 byte, and both
//	nonce        12 bytes
//	ciphertext, and GCM's tag of 16 bytes
//
// The nonce is the key's HMAC of the block's number and bytes, so that it repeats
// only with the same block, and no random numbers are needed. All before the
// ciphertext is authenticated.
const (
	sealVersion = 1
	sealHead    = 11
	nonceLength = 12
	gcmTag      = 16
	maxKAD      = 60
)

// Modes of page 0010h.
const (
	cryptOff      = 0
	cryptEncrypt  = 2
	decryptRaw    = 1
	decryptOnly   = 2
	decryptMixed  = 3
	scopePublic   = 0
	scopeLocal    = 1
	scopeAllNexus = 2
)

// dataKey is what one SET DATA ENCRYPTION page set.
type dataKey struct {
	encrypt, decrypt byte
	key              []byte
	ukad, akad       []byte
	onceLoaded       bool // CKOD: cleared when the medium is unloaded
	instance         uint32
	gcm              cipher.AEAD
}

// crypto is a drive's state of encryption.
type crypto struct {
	shared   dataKey // of scope all nexuses
	instance uint32
}

// of is the key that counts for an initiator.
func (c *crypto) of(l *LUN) *dataKey {
	if l.key.gcm != nil {
		return &l.key
	}
	return &c.shared
}

// writing is the key to write with, nil for plain blocks.
func (c *crypto) writing(l *LUN) *dataKey {
	if k := c.of(l); k.encrypt == cryptEncrypt {
		return k
	}
	return nil
}

// unloaded clears keys that last as long as the medium is loaded.
func (c *crypto) unloaded() {
	if c.shared.onceLoaded {
		c.shared = dataKey{}
	}
}

// mayRead checks that the mode of decryption fits a block.
func (c *crypto) mayRead(l *LUN, sealed bool) error {
	mode := c.of(l).decrypt
	switch {
	case sealed && mode != decryptOnly && mode != decryptMixed:
		return sense(scsi.DataProtect, 0x74, 0x01) // unable to decrypt data
	case !sealed && mode == decryptOnly:
		return sense(scsi.DataProtect, 0x74, 0x02) // unencrypted data met while decrypting
	}
	return nil
}

// keyTag tells keys apart.
func keyTag(key []byte) []byte {
	m := hmac.New(sha256.New, key)
	m.Write([]byte("capstan sealed block"))
	return m.Sum(nil)[:8]
}

func newGCM(key []byte) (cipher.AEAD, error) {
	b, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(b)
}

// seal is the sealed form of a block that is to be written at the position.
func (u *tape) seal(k *dataKey, p []byte) ([]byte, error) {
	head := sealHead + len(k.ukad) + len(k.akad)
	b := u.scratch(head + nonceLength + len(p) + gcmTag)[:0]
	b = append(append(b, sealVersion), keyTag(k.key)...)
	b = append(b, byte(len(k.ukad)), byte(len(k.akad)))
	b = append(append(b, k.ukad...), k.akad...)
	m := hmac.New(sha256.New, k.key)
	m.Write(binary.BigEndian.AppendUint64(b[:head:head], uint64(u.deck.Place().Block)))
	m.Write(p)
	nonce := m.Sum(nil)[:nonceLength]
	b = append(b, nonce...)
	return k.gcm.Seal(b, nonce, p, b[:head]), nil
}

// sealedHead are the parts before a sealed block's ciphertext.
type sealedHead struct {
	tag, ukad, akad, nonce, ahead, sealed []byte
}

func parseSealed(b []byte) (h sealedHead, ok bool) {
	if len(b) < sealHead || b[0] != sealVersion {
		return h, false
	}
	u, a := int(b[9]), int(b[10])
	head := sealHead + u + a
	if len(b) < head+nonceLength+gcmTag {
		return h, false
	}
	return sealedHead{
		tag: b[1:9], ukad: b[sealHead : sealHead+u], akad: b[sealHead+u : head],
		ahead: b[:head], nonce: b[head : head+nonceLength], sealed: b[head+nonceLength:],
	}, true
}

// unseal reads the sealed block at the position. With a wrong key the drive stays
// before it.
func (u *tape) unseal(r *request, stored int) ([]byte, error) {
	k := u.crypt.of(r.lun)
	at := u.deck.Place().Block
	b := u.scratch(stored)
	if err := u.deck.Read(r.ctx, b); err != nil {
		return nil, err
	}
	h, ok := parseSealed(b)
	var err error = sense(scsi.DataProtect, 0x74, 0x04) // cryptographic integrity validation failed
	if ok && string(h.tag) != string(keyTag(k.key)) {
		ok, err = false, sense(scsi.DataProtect, 0x74, 0x03) // incorrect data encryption key
	}
	if ok {
		plain, bad := k.gcm.Open(h.sealed[:0], h.nonce, h.sealed, h.ahead)
		if bad == nil {
			return plain, nil
		}
	}
	if back := u.deck.Locate(r.ctx, at); back != nil {
		return nil, back
	}
	return nil, err
}

// nextSealed tells whether the next block is sealed, and with which key's data.
func (u *tape) nextSealed(r *request) (kind vtl.ObjectKind, h sealedHead) {
	kind, size := u.deck.Next()
	if kind != vtl.Sealed {
		return kind, h
	}
	at := u.deck.Place().Block
	b := make([]byte, min(size, sealHead+2*255+nonceLength+gcmTag))
	if u.deck.Read(r.ctx, b) == nil {
		h, _ = parseSealed(b)
	}
	_ = u.deck.Locate(r.ctx, at)
	return kind, h
}
