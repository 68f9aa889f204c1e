package iscsi

import (
	"bufio"
	"errors"
	"io"
	"net"
	"sync"

	"capstan/core/iscsi"
)

// wire reads and writes PDUs. It is read by one goroutine and written by any.
type wire struct {
	nc      net.Conn
	in      *bufio.Reader
	digests iscsi.Digests

	mu    sync.Mutex // of what follows, and of the order of PDUs
	batch iscsi.Batch
	bufs  net.Buffers
	err   error
}

func newWire(nc net.Conn) *wire { return &wire{nc: nc, in: bufio.NewReaderSize(nc, 8<<10)} }

// readHeader reads a header. Additional segments are for commands only, and
// targets send none.
func (w *wire) readHeader(h *iscsi.Header) error {
	if _, err := io.ReadFull(w.in, h[:]); err != nil {
		return err
	}
	if h.AHSLen() > 0 {
		return errors.New("the target sends an additional header")
	}
	if !w.digests.Header {
		return nil
	}
	return iscsi.CheckDigest(w.in, iscsi.Digest(h[:]))
}

// readData reads a data segment as long as p.
func (w *wire) readData(p []byte) error { return w.digests.ReadData(w.in, p) }

// add gathers a PDU. mu is held.
func (w *wire) add(h *iscsi.Header, data []byte) {
	if w.batch.Full() {
		w.flush()
	}
	w.batch.Add(h, data, w.digests)
}

// flush writes what was gathered. mu is held.
func (w *wire) flush() {
	if w.err == nil {
		w.bufs = w.batch.Bytes()
		_, w.err = w.bufs.WriteTo(w.nc)
	}
	w.batch.Reset()
}

func (w *wire) send(h *iscsi.Header, data []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.add(h, data)
	w.flush()
	return w.err
}
