package catalog

import (
	"bytes"
	"math/bits"
)

// A key is a path as bytes that sort as a files file does: NUL stands for each "/",
// and two for the last one. No name has a NUL, and none but the last is empty: so a
// key is of one path only, and none goes on with a NUL where another ends.

const maxKey = MaxPath + 2

// appendKey appends the key of an entry.
func appendKey[A, B text](b []byte, dir A, name B) []byte {
	start := len(b)
	b = append(b, dir...)
	for i := start; i < len(b); i++ {
		if b[i] == '/' {
			b[i] = 0
		}
	}
	b = append(b, 0, 0)
	return append(b, name...)
}

// keyPath appends the path of a key; ok is false for what is no key.
func keyPath(b, key []byte) (path []byte, ok bool) {
	last := bytes.LastIndexByte(key, 0)
	if last < 1 || key[last-1] != 0 {
		return b, false
	}
	start := len(b)
	b = append(b, key[:last]...)
	for i := start; i < len(b); i++ {
		if b[i] == 0 {
			b[i] = '/'
		}
	}
	return append(b, key[last+1:]...), true
}

// keyWord is the 8 bytes of a key from one on, as a number that sorts like them; a
// key that ends is filled up with zeros.
func keyWord(key []byte, at int) (n uint64) {
	if at+8 <= len(key) {
		return bits.ReverseBytes64(word(key[at:]))
	}
	for i := at; i < len(key); i++ {
		n |= uint64(key[i]) << (56 - 8*(i-at))
	}
	return n
}
