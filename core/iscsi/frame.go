package iscsi

import (
	"bufio"
	"errors"
	"io"
)

// ErrDigest says that bytes were changed on their way.
var ErrDigest = errors.New("a digest is wrong: bytes were changed on their way")

// Digests says which digests a connection has; it begins without (RFC 7143, 13.1).
type Digests struct{ Header, Data bool }

// ReadData reads a data segment of which p has the length, its padding and its digest.
func (d Digests) ReadData(r *bufio.Reader, p []byte) error {
	if len(p) == 0 {
		return nil
	}
	if _, err := io.ReadFull(r, p); err != nil {
		return err
	}
	pad, err := r.Peek(Padding(len(p)))
	if err != nil {
		return err
	}
	sum := uint32(0)
	if d.Data {
		sum = Digest(p, pad)
	}
	if _, err := r.Discard(len(pad)); err != nil || !d.Data {
		return err
	}
	return CheckDigest(r, sum)
}

// CheckDigest reads a digest and compares it.
func CheckDigest(r *bufio.Reader, want uint32) error {
	b, err := r.Peek(DigestLen)
	if err != nil {
		return err
	}
	got := GetDigest(b)
	if _, err := r.Discard(len(b)); err != nil {
		return err
	}
	if got != want {
		return ErrDigest
	}
	return nil
}

// AtOnce is how many PDUs a [Batch] holds.
const AtOnce = 16

// Batch gathers PDUs that are written together: one call to the kernel carries several.
type Batch struct {
	room [AtOnce]edges
	vec  [3 * AtOnce][]byte
	n    int // PDUs
	used int // of vec
}

// edges is what stands around the data of a PDU: header and its digest before, padding
// and digest after.
type edges struct {
	head [HeaderLen + DigestLen]byte
	tail [3 + DigestLen]byte
}

// Full tells whether the batch must be written before another PDU is added.
func (b *Batch) Full() bool { return b.n == AtOnce }

// Add adds a PDU to a batch that is not full. data is kept until Reset.
func (b *Batch) Add(h *Header, data []byte, d Digests) {
	e := &b.room[b.n]
	b.n++
	head := e.head[:HeaderLen]
	copy(head, h[:])
	(*Header)(head).SetDataLen(len(data))
	if d.Header {
		PutDigest(e.head[HeaderLen:], Digest(head))
		head = e.head[:]
	}
	b.append(head)
	if len(data) == 0 {
		return
	}
	b.append(data)
	pad := Padding(len(data))
	tail := e.tail[:pad]
	clear(tail)
	if d.Data {
		sum := Digest(data, tail)
		tail = e.tail[:pad+DigestLen]
		PutDigest(tail[pad:], sum)
	}
	if len(tail) > 0 {
		b.append(tail)
	}
}

func (b *Batch) append(p []byte) {
	b.vec[b.used] = p
	b.used++
}

// Bytes is what is to be written, in order.
func (b *Batch) Bytes() [][]byte { return b.vec[:b.used] }

// Reset makes the batch empty.
func (b *Batch) Reset() {
	clear(b.vec[:b.used])
	b.n, b.used = 0, 0
}
