package target

import (
	"encoding/binary"
	"hash/crc32"

	"capstan/core/dev"
)

// Logical block protection (SSC-5, 4.2.27): each block has four bytes more on the
// wire, which guard the others. They are checked when a block is written and made
// anew when it is read; what lies on the medium is not protected by them but by
// the medium's own code.
//
// Method 1 is the Reed-Solomon CRC of ECMA-319, big endian; method 2 is CRC-32C,
// in the byte order in which drives take it, which is little endian.
const guardLength = 4

// The methods of mode page 0Ah, subpage F0h.
const (
	methodNone        = 0
	methodReedSolomon = 1
	methodCRC32C      = 2
)

func protectionPage() *modePage {
	return page(0x0A, 0xF0, make([]byte, 0x1C), []byte{0xFF, 0x3F, 0xC0})
}

func (u *tape) protection() []byte { return u.page(0x0A, 0xF0).current[4:] }

func (u *tape) protectedWrites() bool {
	p := u.protection()
	return p[0] != methodNone && p[2]&0x80 != 0
}

func (u *tape) protectedReads() bool {
	p := u.protection()
	return p[0] != methodNone && p[2]&0x40 != 0
}

// wire is the length of a block on the wire. Hosts set both directions alike.
func (u *tape) wire(n int) int {
	if n > 0 && (u.protectedReads() || u.protectedWrites()) {
		return n + guardLength
	}
	return n
}

// mostBytes is the longest block on the wire.
func (u *tape) mostBytes() int { return u.wire(dev.MaxBlock) }

// guard are the bytes that follow a block.
func (u *tape) guard(p []byte) []byte {
	var g [guardLength]byte
	if u.protection()[0] == methodReedSolomon {
		binary.BigEndian.PutUint32(g[:], reedSolomon(p))
	} else {
		binary.LittleEndian.PutUint32(g[:], crc32.Checksum(p, castagnoli))
	}
	return g[:]
}

// guarded tells whether the last bytes of a block guard the others.
func (u *tape) guarded(p []byte) bool {
	n := len(p) - guardLength
	return string(u.guard(p[:n])) == string(p[n:])
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// rsTable has the products of each byte with the coefficients of the generator
// x^4 + 38h x^3 + CFh x^2 + 38h x + 1 over GF(256) of x^8+x^4+x^3+x^2+1 (ECMA-319).
var rsTable = func() (t [256]uint32) {
	for i := range t {
		b := byte(i)
		a, c := multiply(b, 0x38), multiply(b, 0xCF)
		t[i] = uint32(a)<<24 | uint32(c)<<16 | uint32(a)<<8 | uint32(b)
	}
	return t
}()

// multiply multiplies in GF(256).
func multiply(a, b byte) (p byte) {
	for ; b != 0; b >>= 1 {
		if b&1 != 0 {
			p ^= a
		}
		high := a & 0x80
		a <<= 1
		if high != 0 {
			a ^= 0x1D
		}
	}
	return p
}

func reedSolomon(p []byte) (crc uint32) {
	for _, b := range p {
		crc = crc<<8 ^ rsTable[byte(crc>>24)^b]
	}
	return crc
}
