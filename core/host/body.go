package host

import (
	"fmt"

	"capstan/core/pbx"
)

// Body is what a process's main function takes or returns: a Go value on its way out;
// on its way in either that value (worlds that do not encode) or its CBOR, as a message's
// body is. Whoever gets a value must not change what it points to. The zero Body is none.
type Body struct {
	value any
	wire  []byte
}

// Value is a body that is encoded when it has to be.
func Value(v any) Body { return Body{value: v} }

// Encoded is a body that has been encoded.
func Encoded(wire []byte) Body { return Body{wire: wire} }

// Encode is the body's CBOR.
func (b Body) Encode() ([]byte, error) {
	if b.value == nil {
		return b.wire, nil
	}
	return pbx.Encode(b.value)
}

// ReadBody is the value of a body that was made of one of that type.
func ReadBody[T any](b Body) (T, error) {
	v, ok := b.value.(T)
	switch {
	case ok:
		return v, nil
	case b.value != nil:
		return v, fmt.Errorf("it is a %T, not a %T", b.value, v)
	}
	err := pbx.Decode(b.wire, &v)
	return v, err
}

// IsZero tells whether there is nothing.
func (b Body) IsZero() bool { return b.value == nil && len(b.wire) == 0 }

// MarshalCBOR writes the body as a byte string that holds its CBOR.
func (b Body) MarshalCBOR() ([]byte, error) {
	wire, err := b.Encode()
	if err != nil {
		return nil, err
	}
	return pbx.EncodeFile(wire) // of any length: the message bounds it
}

// UnmarshalCBOR reads what MarshalCBOR wrote.
func (b *Body) UnmarshalCBOR(data []byte) error {
	b.value = nil
	return pbx.DecodeFile(data, &b.wire)
}
