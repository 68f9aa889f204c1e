package port

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"capstan/core/catalog"
	"capstan/core/pbx"
	"capstan/core/stream"
)

// On a data connection the sender begins with a data hello:
//
//	4 bytes  "CAPD"
//	1 byte   version: 1
//	2 bytes  length of the ticket, 1 to 1024
//	n bytes  the ticket
//
// and the receiver answers one byte, [accepted] or [refused]. Then frames
// follow, each with a head of 5 bytes:
//
//	1 byte   kind: 1 data, 2 member, 3 end, 4 amend (stream.Kind)
//	4 bytes  length of the payload, at most 1 MiB
//
// The payload of data is the bytes; that of member and amend is CBOR of []catalog.Entry;
// that of end is the total (8 bytes) and the CRC-32C (4 bytes). The receiver
// answers an end frame with the byte [taken]. All numbers are big endian.
// Longer frames travel in pieces, so that a reader needs 1 MiB and no more.
const (
	dataMagic   = "CAPD"
	dataVersion = 1
	maxTicket   = 1024

	frameHead  = 5
	maxPayload = 1 << 20
	endPayload = 12

	accepted byte = 'A'
	refused  byte = 'R'
	taken    byte = 6 // ASCII ACK
)

// putTicket writes a data hello.
func putTicket(w io.Writer, ticket string) error {
	if ticket == "" || len(ticket) > maxTicket {
		return fmt.Errorf("a ticket of %d bytes cannot be shown: 1 to %d", len(ticket), maxTicket)
	}
	b := append([]byte(dataMagic), dataVersion)
	b = binary.BigEndian.AppendUint16(b, uint16(len(ticket)))
	_, err := w.Write(append(b, ticket...))
	return err
}

// getTicket reads a data hello whose magic was read already.
func getTicket(r io.Reader) (string, error) {
	var head [3]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return "", fmt.Errorf("data hello: %w", err)
	}
	if head[0] != dataVersion {
		return "", fmt.Errorf("data connection of version %d, this is %d", head[0], dataVersion)
	}
	n := binary.BigEndian.Uint16(head[1:])
	if n == 0 || n > maxTicket {
		return "", fmt.Errorf("data hello with a ticket of %d bytes", n)
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(r, b); err != nil {
		return "", fmt.Errorf("data hello: %w", err)
	}
	return string(b), nil
}

// errHollow says that data without bytes met a real connection: a mistake of the
// configuration, because only planning runs have such data.
var errHollow = errors.New("hollow data cannot cross a real connection")

// putFrame writes a frame, in pieces if it is long.
func putFrame(w io.Writer, f *stream.Frame) error {
	switch f.Kind {
	case stream.Data:
		if f.Hollow() {
			return errHollow
		}
		for b := f.Bytes; len(b) > 0; {
			n := min(len(b), maxPayload)
			if err := putPiece(w, stream.Data, b[:n]); err != nil {
				return err
			}
			b = b[n:]
		}
		return nil
	case stream.Member, stream.Amend:
		return putEntries(w, f.Kind, f.Entries)
	case stream.End:
		b := binary.BigEndian.AppendUint64(nil, uint64(f.Total))
		return putPiece(w, stream.End, binary.BigEndian.AppendUint32(b, f.Digest))
	}
	return fmt.Errorf("frame of unknown kind %d", f.Kind)
}

func putPiece(w io.Writer, kind stream.Kind, payload []byte) error {
	var head [frameHead]byte
	head[0] = byte(kind)
	binary.BigEndian.PutUint32(head[1:], uint32(len(payload)))
	if _, err := w.Write(head[:]); err != nil {
		return err
	}
	_, err := w.Write(payload)
	return err
}

// entrySize bounds the encoding of an entry without its names.
const entrySize = 512

func putEntries(w io.Writer, kind stream.Kind, entries []catalog.Entry) error {
	for len(entries) > 0 {
		n, size := 0, 0
		for n < len(entries) {
			size += entrySize + len(entries[n].Path) + len(entries[n].Link)
			if n > 0 && size > maxPayload {
				break
			}
			n++
		}
		b, err := pbx.Encode(entries[:n])
		if err != nil {
			return err
		}
		if len(b) > maxPayload {
			return fmt.Errorf("entry of a file whose path has %d bytes: it encodes to %d, more than the %d of a frame",
				len(entries[0].Path), len(b), maxPayload)
		}
		if err := putPiece(w, kind, b); err != nil {
			return err
		}
		entries = entries[n:]
	}
	return nil
}

// frameReader reads frames; the bytes of a frame are valid until the next.
type frameReader struct {
	r   io.Reader
	buf []byte
}

// next reads a frame. io.EOF says that the stream ended between two frames.
func (fr *frameReader) next(f *stream.Frame) error {
	var head [frameHead]byte
	if _, err := io.ReadFull(fr.r, head[:]); err != nil {
		return err
	}
	kind, n := stream.Kind(head[0]), binary.BigEndian.Uint32(head[1:])
	if n == 0 || n > maxPayload || kind == stream.End && n != endPayload {
		return fmt.Errorf("frame of kind %d with %d bytes", kind, n)
	}
	if kind < stream.Data || kind > stream.Amend {
		return fmt.Errorf("frame of unknown kind %d", kind)
	}
	if uint32(cap(fr.buf)) < n {
		fr.buf = make([]byte, n, max(n, 256<<10))
	}
	b := fr.buf[:n]
	if _, err := io.ReadFull(fr.r, b); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return err
	}
	*f = stream.Frame{Kind: kind}
	switch kind {
	case stream.Data:
		f.Bytes, f.Len = b, int64(n)
	case stream.Member, stream.Amend:
		if err := checkMembers(b); err != nil {
			return err
		}
		return pbx.Decode(b, &f.Entries)
	case stream.End:
		total := binary.BigEndian.Uint64(b)
		if total > 1<<62 {
			return fmt.Errorf("end frame with a total of %d bytes", total)
		}
		f.Total, f.Digest = int64(total), binary.BigEndian.Uint32(b[8:])
	}
	return nil
}

// leastEntry is less than any entry takes, with the names of its fields.
const leastEntry = 32

// checkMembers refuses a batch that says it has more entries than its bytes can
// hold: in memory an entry is far larger than the one byte of an empty element.
func checkMembers(b []byte) error {
	const arrayType, oneByte, fourBytes = 0x80, 24, 26 // RFC 8949, 3 and 3.1
	c := cursor{b: b}
	head := c.uint(1)
	n := head &^ 0xe0
	if n >= oneByte && n <= fourBytes {
		n = c.uint(1 << (n - oneByte))
	}
	if c.bad || head&0xe0 != arrayType || head&^0xe0 > fourBytes || n*leastEntry > len(b) {
		return fmt.Errorf("member frame of %d bytes begins with %#02x and %d entries", len(b), head, n)
	}
	return nil
}
