package process

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"

	"github.com/fxamacker/cbor/v2"

	"capstan/core/host"
	"capstan/core/pbx"
	"capstan/core/trace"
)

// kind says what a message is.
type kind uint8

const (
	start     kind = iota + 1 // to the process, once: what to do
	terminate                 // to the process: its context shall end
	ready                     // from the process, at most once
	notes                     // from the process: trace and log
	result                    // from the process, once, last
)

// message is what goes over the socket: its length in 4 bytes, big-endian, then
// CBOR. Only the fields of its kind are set.
type message struct {
	Kind    kind          `cbor:"k"`
	Spec    *host.Spec    `cbor:"s,omitempty"` // of start
	World   []byte        `cbor:"w,omitempty"` // of start: [Config].World
	Level   int           `cbor:"v,omitempty"` // of start: the lowest level of log records that are wanted
	Events  []trace.Event `cbor:"e,omitempty"` // of notes
	Records []record      `cbor:"l,omitempty"` // of notes
	Exit    *host.Exit    `cbor:"x,omitempty"` // of result
}

// maxMessage bounds a message: arguments or a result of the largest size that
// a call may have, and what is around them.
const maxMessage = pbx.MaxMessage + 64<<10

var (
	errTooLong  = errors.New("message is too long")
	errBadKind  = errors.New("message of an unknown kind, or without what belongs to it")
	cborEncoder = must(cbor.CoreDetEncOptions().EncMode())
	cborDecoder = must(cbor.DecOptions{
		MaxArrayElements: 1 << 16, MaxMapPairs: 1 << 10, MaxNestedLevels: 16,
		IndefLength: cbor.IndefLengthForbidden, TagsMd: cbor.TagsForbidden,
	}.DecMode())
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err) // the options are constants
	}
	return v
}

// link is one end of the socket.
type link struct {
	conn net.Conn
	mu   sync.Mutex // one message at a time is written
}

func (l *link) send(m *message) error {
	b, err := encode(m)
	if err != nil {
		return err
	}
	return l.write(b)
}

// write writes an encoded message.
func (l *link) write(b []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, err := l.conn.Write(b)
	return err
}

func (l *link) receive() (*message, error) { return decode(l.conn) }

func encode(m *message) ([]byte, error) {
	body, err := cborEncoder.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("encoding a message of kind %d: %w", m.Kind, err)
	}
	if len(body) > maxMessage {
		return nil, fmt.Errorf("%w: %d bytes of at most %d", errTooLong, len(body), maxMessage)
	}
	return append(binary.BigEndian.AppendUint32(make([]byte, 0, 4+len(body)), uint32(len(body))), body...), nil
}

// decode reads one message. io.EOF says that the other end closed between two.
func decode(r io.Reader) (*message, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n > maxMessage {
		return nil, fmt.Errorf("%w: %d bytes of at most %d", errTooLong, n, maxMessage)
	}
	body := make([]byte, n)
	if _, err := io.ReadFull(r, body); err != nil {
		return nil, fmt.Errorf("message of %d bytes cut off: %w", n, err)
	}
	m := new(message)
	if err := cborDecoder.Unmarshal(body, m); err != nil {
		return nil, fmt.Errorf("decoding a message of %d bytes: %w", n, err)
	}
	if !m.whole() {
		return nil, fmt.Errorf("%w (kind %d)", errBadKind, m.Kind)
	}
	return m, nil
}

// whole tells whether what belongs to the message's kind is there.
func (m *message) whole() bool {
	switch m.Kind {
	case start:
		return m.Spec != nil
	case result:
		return m.Exit != nil
	case terminate, ready, notes:
		return true
	}
	return false
}
