package pbx

import (
	"fmt"

	"github.com/fxamacker/cbor/v2"
)

// MaxMessage is the largest encoded body, in bytes: lists come in pages below it.
const MaxMessage = 3 << 20

var (
	encMode = must(cbor.CoreDetEncOptions().EncMode())
	decMode = must(cbor.DecOptions{
		MaxArrayElements: 1 << 20, MaxMapPairs: 1 << 20, MaxNestedLevels: 32,
		IndefLength: cbor.IndefLengthForbidden, TagsMd: cbor.TagsForbidden,
		UTF8: cbor.UTF8DecodeInvalid, // a file's name is bytes, whatever its client meant by them
	}.DecMode())
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// Encode writes a message body: CBOR in the core deterministic encoding (RFC
// 8949, 4.2.1), fields by name.
func Encode(v any) ([]byte, error) {
	b, err := encMode.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encoding %T: %w", v, err)
	}
	if len(b) > MaxMessage {
		return nil, fmt.Errorf("encoding %T: %d bytes, more than the %d of a message", v, len(b), MaxMessage)
	}
	return b, nil
}

// Decode reads what Encode wrote. Unknown fields are ignored; sizes and nesting
// are bounded.
func Decode(b []byte, v any) error {
	if len(b) > MaxMessage {
		return fmt.Errorf("decoding %T: %d bytes, more than the %d of a message", v, len(b), MaxMessage)
	}
	if err := decMode.Unmarshal(b, v); err != nil {
		return fmt.Errorf("decoding %T: %w", v, err)
	}
	return nil
}
