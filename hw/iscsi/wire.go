package iscsi

import (
	"bufio"
	"errors"
	"io"
	"net"
	"sync"

	"capstan/core/iscsi"
)

var errDigest = errors.New("a digest is wrong: bytes were changed on their way")

// wire reads and writes PDUs. It is read by one goroutine and written by any.
type wire struct {
	nc                       net.Conn
	in                       *bufio.Reader
	headerDigest, dataDigest bool

	mu   sync.Mutex // of what follows, and of the order of PDUs
	room [pdusAtOnce]edges
	vec  [3 * pdusAtOnce][]byte
	bufs net.Buffers
	n    int
	err  error
}

const pdusAtOnce = 8

// edges is what stands around the data of a PDU.
type edges struct {
	head [iscsi.HeaderLen + iscsi.DigestLen]byte
	tail [3 + iscsi.DigestLen]byte
}

func newWire(nc net.Conn) *wire {
	w := &wire{nc: nc, in: bufio.NewReaderSize(nc, 8<<10)}
	w.bufs = w.vec[:0]
	return w
}

// readHeader reads a header. Additional segments are for commands only, and
// targets send none.
func (w *wire) readHeader(h *iscsi.Header) error {
	if _, err := io.ReadFull(w.in, h[:]); err != nil {
		return err
	}
	if h.AHSLen() > 0 {
		return errors.New("the target sends an additional header")
	}
	if !w.headerDigest {
		return nil
	}
	return w.checkDigest(iscsi.Digest(h[:]))
}

// readData reads a data segment as long as p.
func (w *wire) readData(p []byte) error {
	if len(p) == 0 {
		return nil
	}
	if _, err := io.ReadFull(w.in, p); err != nil {
		return err
	}
	pad, err := w.in.Peek(iscsi.Padding(len(p)))
	if err != nil {
		return err
	}
	sum := uint32(0)
	if w.dataDigest {
		sum = iscsi.Digest(p, pad)
	}
	if _, err := w.in.Discard(len(pad)); err != nil || !w.dataDigest {
		return err
	}
	return w.checkDigest(sum)
}

func (w *wire) checkDigest(want uint32) error {
	b, err := w.in.Peek(iscsi.DigestLen)
	if err != nil {
		return err
	}
	if iscsi.GetDigest(b) != want {
		return errDigest
	}
	_, err = w.in.Discard(len(b))
	return err
}

// add gathers a PDU. mu is held.
func (w *wire) add(h *iscsi.Header, data []byte) {
	if w.n == pdusAtOnce {
		w.flush()
	}
	e := &w.room[w.n]
	w.n++
	head := e.head[:iscsi.HeaderLen]
	copy(head, h[:])
	(*iscsi.Header)(head).SetDataLen(len(data))
	if w.headerDigest {
		iscsi.PutDigest(e.head[iscsi.HeaderLen:], iscsi.Digest(head))
		head = e.head[:]
	}
	w.bufs = append(w.bufs, head)
	if len(data) == 0 {
		return
	}
	w.bufs = append(w.bufs, data)
	pad := iscsi.Padding(len(data))
	tail := e.tail[:pad]
	if w.dataDigest {
		sum := iscsi.Digest(data, tail)
		tail = e.tail[:pad+iscsi.DigestLen]
		iscsi.PutDigest(tail[pad:], sum)
	}
	if len(tail) > 0 {
		w.bufs = append(w.bufs, tail)
	}
}

// flush writes what was gathered. mu is held.
func (w *wire) flush() {
	if w.err == nil {
		_, w.err = w.bufs.WriteTo(w.nc)
	}
	clear(w.vec[:])
	clear(w.room[:]) // padding is zero
	w.bufs, w.n = w.vec[:0], 0
}

func (w *wire) send(h *iscsi.Header, data []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.add(h, data)
	w.flush()
	return w.err
}
