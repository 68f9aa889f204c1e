package sim

import (
	"crypto/sha256"
	"encoding/binary"
	"io"
)

// streamSeed names a stream of random numbers: two words of the SHA-256 of the
// seed and the length-prefixed names. A hash, so that no stream depends on which
// others exist or on the order in which they were made.
func streamSeed(seed uint64, entity, purpose string) (a, b uint64) {
	h := sha256.New()
	var n [8]byte
	binary.BigEndian.PutUint64(n[:], seed)
	h.Write(n[:])
	for _, s := range []string{entity, purpose} {
		binary.BigEndian.PutUint64(n[:], uint64(len(s)))
		h.Write(n[:])
		io.WriteString(h, s) //nolint:errcheck // a hash does not fail
	}
	sum := h.Sum(nil)
	return binary.BigEndian.Uint64(sum), binary.BigEndian.Uint64(sum[8:])
}
