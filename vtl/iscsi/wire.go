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

// wire reads and writes the PDUs of one connection. It is read by one goroutine
// and written by any.
type wire struct {
	nc       net.Conn
	in       *bufio.Reader
	digests  iscsi.Digests
	timeouts *Timeouts

	ahs [1020]byte

	mu    sync.Mutex // of all below, and of the order of PDUs
	batch iscsi.Batch
	bufs  net.Buffers
	err   error
}

func (w *wire) init(nc net.Conn, t *Timeouts) {
	w.nc, w.in, w.timeouts = nc, bufio.NewReaderSize(nc, 8<<10), t
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
	if w.digests.Header {
		if err := iscsi.CheckDigest(w.in, iscsi.Digest(h[:], ahs)); err != nil {
			return nil, fmt.Errorf("header: %w", err)
		}
	}
	return ahs, nil
}

// readData reads a data segment of which p has the length.
func (w *wire) readData(p []byte) error {
	if err := w.digests.ReadData(w.in, p); err != nil {
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
	if w.digests.Data {
		n += iscsi.DigestLen
	}
	_, err := w.in.Discard(n)
	return err
}

// add gathers a PDU. mu is held.
func (w *wire) add(h *iscsi.Header, data []byte) {
	if w.batch.Full() {
		w.flush()
	}
	w.batch.Add(h, data, w.digests)
}

// flush hands what was gathered to the kernel. mu is held. After an error the
// connection is closed and nothing is written any more: whoever reads it finds out.
func (w *wire) flush() {
	if w.err == nil {
		w.err = w.nc.SetWriteDeadline(time.Now().Add(w.timeouts.PDU))
	}
	if w.err == nil {
		w.bufs = w.batch.Bytes()
		if _, w.err = w.bufs.WriteTo(w.nc); w.err != nil {
			w.nc.Close()
		}
	}
	w.batch.Reset()
}
