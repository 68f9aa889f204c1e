package port

import (
	"encoding/binary"
	"errors"
)

// maxHello bounds a TLS ClientHello; real ones are one to two kilobytes.
const maxHello = 64 << 10

var (
	// errPartial says that a hello is well formed as far as it goes.
	errPartial = errors.New("the TLS hello is not complete")
	errHello   = errors.New("not a TLS hello with one protocol name")
)

// helloProtocol reads the protocol name (ALPN, RFC 7301) of a TLS ClientHello
// (RFC 8446, 4.1.2) from the first bytes of a connection. The hello may be cut
// into several records; it must offer exactly one name.
func helloProtocol(b []byte) (string, error) {
	body, err := helloBody(b)
	if err != nil {
		return "", err
	}
	c := cursor{b: body}
	c.skip(2 + 32)    // legacy_version, random
	c.skip(c.uint(1)) // legacy_session_id
	c.skip(c.uint(2)) // cipher_suites
	c.skip(c.uint(1)) // legacy_compression_methods
	ext := c.sub(c.uint(2))
	for !c.bad && len(ext.b) > 0 {
		kind := ext.uint(2)
		data := ext.sub(ext.uint(2))
		if ext.bad {
			return "", errHello
		}
		const alpn = 16
		if kind != alpn {
			continue
		}
		list := data.sub(data.uint(2))
		name := list.sub(list.uint(1))
		if data.bad || list.bad || len(list.b) != 0 || len(name.b) == 0 {
			return "", errHello
		}
		return string(name.b), nil
	}
	return "", errHello
}

// helloBody joins the records of the hello and returns its body.
func helloBody(b []byte) ([]byte, error) {
	const (
		handshakeRecord = 22
		clientHello     = 1
		maxRecord       = 1 << 14
	)
	var hello []byte
	for {
		if len(b) > 0 && b[0] != handshakeRecord || len(b) > 1 && b[1] != 3 {
			return nil, errHello
		}
		if len(b) < 5 {
			return nil, errPartial
		}
		n := int(binary.BigEndian.Uint16(b[3:]))
		if n == 0 || n > maxRecord {
			return nil, errHello
		}
		part := b[5:min(5+n, len(b))]
		b = b[5+len(part):]
		hello = append(hello, part...)
		if len(hello) > 0 && hello[0] != clientHello {
			return nil, errHello
		}
		if len(hello) >= 4 {
			size := int(hello[1])<<16 | int(hello[2])<<8 | int(hello[3])
			if size > maxHello {
				return nil, errHello
			}
			if len(hello) >= 4+size {
				return hello[4 : 4+size], nil
			}
		}
		if len(part) < n {
			return nil, errPartial
		}
	}
}

// cursor reads big-endian numbers and parts off the front of b. Once something
// did not fit it is bad and gives nothing more.
type cursor struct {
	b   []byte
	bad bool
}

func (c *cursor) take(n int) []byte {
	if c.bad || n > len(c.b) {
		c.bad, c.b = true, nil
		return nil
	}
	part := c.b[:n]
	c.b = c.b[n:]
	return part
}

func (c *cursor) skip(n int) { c.take(n) }

func (c *cursor) sub(n int) cursor {
	part := c.take(n)
	return cursor{b: part, bad: c.bad}
}

func (c *cursor) uint(size int) int {
	v := 0
	for _, x := range c.take(size) {
		v = v<<8 | int(x)
	}
	return v
}
