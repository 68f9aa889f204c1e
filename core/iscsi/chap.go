package iscsi

import (
	"crypto/md5"
	"crypto/sha256"
	"hash"
	"strings"
)

// MinSecret is the shortest CHAP secret, in bytes: RFC 7143, 12.1.3 demands 96
// random bits.
const MinSecret = 12

// The algorithms of CHAP (CHAP_A) that both ends know, the better one first.
const (
	ChapSHA256 = "7"
	ChapMD5    = "5"
)

// ChooseChap is the best algorithm of a list such as "7,5" that is known; "" if none is.
func ChooseChap(list string) string {
	for _, known := range []string{ChapSHA256, ChapMD5} {
		for a := range strings.SplitSeq(list, ",") {
			if a == known {
				return known
			}
		}
	}
	return ""
}

// ChapProof is what proves that one knows a secret (RFC 1994, 4.1): the hash of
// the identifier, the secret and the challenge. nil if the algorithm is not known.
func ChapProof(algorithm string, id uint8, secret string, challenge []byte) []byte {
	var h hash.Hash
	switch algorithm {
	case ChapSHA256:
		h = sha256.New()
	case ChapMD5:
		h = md5.New()
	default:
		return nil
	}
	h.Write([]byte{id})
	h.Write([]byte(secret))
	h.Write(challenge)
	return h.Sum(nil)
}
