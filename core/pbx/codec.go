package pbx

import (
	"fmt"
	"math"

	"github.com/fxamacker/cbor/v2"
)

// MaxMessage is the largest encoded body, in bytes: lists come in pages below it.
const MaxMessage = 3 << 20

var (
	encMode  = must(cbor.CoreDetEncOptions().EncMode())
	decMode  = must(decOptions(1 << 20).DecMode())
	fileMode = must(decOptions(math.MaxInt32).DecMode())
)

// decOptions bounds the elements of a list, and of a map.
func decOptions(elements int) cbor.DecOptions {
	return cbor.DecOptions{
		MaxArrayElements: elements, MaxMapPairs: elements, MaxNestedLevels: 32,
		IndefLength: cbor.IndefLengthForbidden, TagsMd: cbor.TagsForbidden,
		UTF8: cbor.UTF8DecodeInvalid, // a file's name is bytes, whatever its client meant by them
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// Encode writes a message body: CBOR in the core deterministic encoding (RFC
// 8949, 4.2.1), fields by name.
func Encode(v any) ([]byte, error) {
	b, err := EncodeFile(v)
	if err != nil {
		return nil, err
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

// EncodeFile writes the contents of a file as Encode does a message body, of any length.
func EncodeFile(v any) ([]byte, error) {
	b, err := encMode.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encoding %T: %w", v, err)
	}
	return b, nil
}

// DecodeFile reads what EncodeFile wrote.
func DecodeFile(b []byte, v any) error {
	if err := fileMode.Unmarshal(b, v); err != nil {
		return fmt.Errorf("decoding %T: %w", v, err)
	}
	return nil
}
