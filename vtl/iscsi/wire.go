package iscsi

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"capstan/core/iscsi"
)

// errDigest says that bytes were changed on their way.
var errDigest = errors.New("digest error")

// wire reads and writes the PDUs of one connection. It is read by one goroutine
// and written by any.
type wire struct {
	nc net.Conn
	in *bufio.Reader
	// Digests begin with the full feature phase.
	headerDigest, dataDigest bool
	timeouts                 *Timeouts

	ahs [1020]byte

	mu   sync.Mutex // of all below, and of the order of PDUs
	bufs net.Buffers
	vec  [3 * pdusAtOnce][]byte // what bufs is made of
	room [pdusAtOnce]edges
	n    int // PDUs gathered
	err  error
}

// pdusAtOnce is how many PDUs one call to the kernel may carry.
const pdusAtOnce = 16

// edges is what stands around the data of a PDU: header and its digest before,
// padding and digest after.
type edges struct {
	head [iscsi.HeaderLen + iscsi.DigestLen]byte
	tail [3 + iscsi.DigestLen]byte
}

func (w *wire) init(nc net.Conn, t *Timeouts) {
	w.nc, w.in, w.timeouts = nc, bufio.NewReaderSize(nc, 8<<10), t
	w.bufs = w.vec[:0]
}

// errIdle says that no PDU has begun for a while.
var errIdle = errors.New("the initiator is silent")

// readHeader reads the next header, and its additional segments, which are valid
// until the next call. errIdle if none begins for as long as idle.
func (w *wire) readHeader(h *iscsi.Header, idle time.Duration) (ahs []byte, err error) {
	if w.in.Buffered() == 0 {
		if err := w.nc.SetReadDeadline(time.Now().Add(idle)); err != nil {
			return nil, err
		}
		if _, err := w.in.Peek(1); errors.Is(err, os.ErrDeadlineExceeded) {
			return nil, errIdle
		} else if err != nil {
			return nil, err
		}
	}
	if err := w.nc.SetReadDeadline(time.Now().Add(w.timeouts.PDU)); err != nil {
		return nil, err
	}
	if _, err := io.ReadFull(w.in, h[:]); err != nil {
		return nil, err
	}
	ahs = w.ahs[:h.AHSLen()]
	if _, err := io.ReadFull(w.in, ahs); err != nil {
		return nil, err
	}
	if w.headerDigest {
		if err := w.checkDigest(iscsi.Digest(h[:], ahs)); err != nil {
			return nil, fmt.Errorf("header: %w", err)
		}
	}
	return ahs, nil
}

// readData reads a data segment of which p has the length.
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
	if err := w.checkDigest(sum); err != nil {
		return fmt.Errorf("data: %w", err)
	}
	return nil
}

// discard reads past a data segment of n bytes.
func (w *wire) discard(n int) error {
	if n == 0 {
		return nil
	}
	n += iscsi.Padding(n)
	if w.dataDigest {
		n += iscsi.DigestLen
	}
	_, err := w.in.Discard(n)
	return err
}

func (w *wire) checkDigest(want uint32) error {
	b, err := w.in.Peek(iscsi.DigestLen)
	if err != nil {
		return err
	}
	got := iscsi.GetDigest(b)
	if _, err := w.in.Discard(len(b)); err != nil {
		return err
	}
	if got != want {
		return errDigest
	}
	return nil
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
	clear(tail)
	if w.dataDigest {
		sum := iscsi.Digest(data, tail)
		tail = e.tail[:pad+iscsi.DigestLen]
		iscsi.PutDigest(tail[pad:], sum)
	}
	if len(tail) > 0 {
		w.bufs = append(w.bufs, tail)
	}
}

// flush hands what was gathered to the kernel. mu is held. After an error the
// connection is closed and nothing is written any more: whoever reads it finds out.
func (w *wire) flush() {
	if w.err == nil {
		w.err = w.nc.SetWriteDeadline(time.Now().Add(w.timeouts.PDU))
	}
	if w.err == nil {
		if _, w.err = w.bufs.WriteTo(w.nc); w.err != nil {
			w.nc.Close()
		}
	}
	clear(w.vec[:])
	w.bufs, w.n = w.vec[:0], 0
}
