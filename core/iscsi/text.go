package iscsi

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
)

// Bounds of what one end tells the other (RFC 7143, 6.1: a key has at most 63
// characters, a value 255 unless its key says otherwise).
const (
	MaxKey   = 63
	MaxValue = 8192
	MaxPairs = 64
)

// Pair is one key and its value.
type Pair struct{ Key, Value string }

// ParseText reads pairs, each of which ends with a zero byte; the last one's may
// be missing, as some initiators have it.
func ParseText(b []byte) ([]Pair, error) {
	var pairs []Pair
	for len(b) > 0 {
		one, rest, _ := bytes.Cut(b, []byte{0})
		b = rest
		if len(one) == 0 { // padding
			continue
		}
		k, v, ok := strings.Cut(string(one), "=")
		switch {
		case !ok || k == "" || len(k) > MaxKey:
			return nil, fmt.Errorf("%w: no key=value: %.80q", ErrPDU, one)
		case len(v) > MaxValue:
			return nil, fmt.Errorf("%w: the value of %s has %d bytes", ErrPDU, k, len(v))
		case len(pairs) == MaxPairs:
			return nil, fmt.Errorf("%w: more than %d keys", ErrPDU, MaxPairs)
		}
		for _, c := range []byte(k) {
			if !keyChar(c) {
				return nil, fmt.Errorf("%w: a key with %q in it: %q", ErrPDU, c, k)
			}
		}
		pairs = append(pairs, Pair{k, v})
	}
	return pairs, nil
}

// keyChar tells whether a key may hold a character (6.1, standard-label and the
// prefixes of extensions).
func keyChar(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte(".-+@_#", c) >= 0
}

// AppendText appends pairs as they stand in a data segment.
func AppendText(b []byte, pairs ...Pair) []byte {
	for _, p := range pairs {
		b = append(append(append(append(b, p.Key...), '='), p.Value...), 0)
	}
	return b
}

// Number reads a numerical value: decimal, or hexadecimal after "0x".
func Number(s string) (uint32, bool) {
	base := 10
	if t, ok := cutPrefixFold(s, "0x"); ok {
		s, base = t, 16
	}
	if s == "" || s[0] == '+' || s[0] == '-' {
		return 0, false
	}
	n, err := strconv.ParseUint(s, base, 32)
	return uint32(n), err == nil
}

// Binary reads a binary value: hexadecimal after "0x" or base 64 after "0b".
func Binary(s string) ([]byte, bool) {
	if t, ok := cutPrefixFold(s, "0x"); ok {
		if len(t)%2 == 1 {
			t = "0" + t
		}
		b, err := hex.DecodeString(t)
		return b, err == nil && len(b) > 0
	}
	if t, ok := cutPrefixFold(s, "0b"); ok {
		b, err := base64.StdEncoding.DecodeString(t)
		return b, err == nil && len(b) > 0
	}
	return nil, false
}

// HexValue is a binary value in hexadecimal.
func HexValue(b []byte) string { return "0x" + hex.EncodeToString(b) }

func cutPrefixFold(s, prefix string) (string, bool) {
	if len(s) < len(prefix) || !strings.EqualFold(s[:len(prefix)], prefix) {
		return s, false
	}
	return s[len(prefix):], true
}

// ValidName tells whether s can be the name of an iSCSI node (RFC 7143, 4.2.7):
// an iqn., eui. or naa. name of at most 223 bytes, in lower case.
func ValidName(s string) bool {
	if len(s) > 223 || !strings.HasPrefix(s, "iqn.") && !strings.HasPrefix(s, "eui.") && !strings.HasPrefix(s, "naa.") {
		return false
	}
	for _, r := range s {
		// Letters of other scripts are allowed; control characters, blanks and most
		// punctuation are not (RFC 3722).
		if r < 0x80 && (r < '0' || r > '9') && (r < 'a' || r > 'z') && r != '-' && r != '.' && r != ':' && r != '_' || r == 0xFFFD {
			return false
		}
	}
	return len(s) > 4
}
