package target_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"testing"
)

var key1, key2 = pattern(32, 1), pattern(32, 2)

// setKey is SECURITY PROTOCOL OUT of n bytes.
func setKey(n int) string { return fmt.Sprintf("B5 20 0010 00 00 %08X 00 00", n) }

// keyPage is the set data encryption page for all nexuses, with key-associated
// data for everyone to see if there is some.
func keyPage(encrypt, decrypt byte, key []byte, ukad string) []byte {
	b := make([]byte, 20)
	binary.BigEndian.PutUint16(b, 0x0010)
	b[4], b[6], b[7], b[8] = 0x40, encrypt, decrypt, 1
	binary.BigEndian.PutUint16(b[18:], uint16(len(key)))
	b = append(b, key...)
	if ukad != "" {
		b = append(append(b, 0, 0, 0, byte(len(ukad))), ukad...)
	}
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)-4))
	return b
}

func crc32c(b []byte) []byte {
	return binary.LittleEndian.AppendUint32(nil, crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)))
}

func TestEncryption(t *testing.T) {
	with(t, func(r *rig) {
		r.mount(1)
		secret, plain := pattern(5000, 3), pattern(400, 4)
		page := keyPage(2, 3, key1, "which key")
		r.want(1, setKey(len(page)), page, 0, good)
		r.want(1, write6(len(secret)), secret, 0, good)
		off := keyPage(0, 0, nil, "")
		r.want(1, setKey(len(off)), off, 0, good)
		r.want(1, write6(len(plain)), plain, 0, good)
		r.want(1, "01 00 00 00 00 00", nil, 0, good)
		r.want(1, read6(5000), nil, 5000, "7/74/01 information 5000")
		status := r.want(1, "A2 20 0021 00 00 00000200 00 00", nil, 512, good)
		if len(status) < 20 || status[12]&0x0F != 6 || !bytes.HasSuffix(status, []byte("which key")) {
			t.Errorf("next block status % X", status)
		}
		wrong := keyPage(2, 3, key2, "")
		r.want(1, setKey(len(wrong)), wrong, 0, good)
		r.want(1, read6(5000), nil, 5000, "7/74/03 information 5000")
		page = keyPage(2, 2, key1, "")
		r.want(1, setKey(len(page)), page, 0, good)
		if got := r.want(1, read6(5000), nil, 5000, good); !bytes.Equal(got, secret) {
			t.Error("decrypted otherwise")
		}
		r.want(1, read6(400), nil, 400, "7/74/02 information 400")
		page = keyPage(2, 3, key1, "")
		r.want(1, setKey(len(page)), page, 0, good)
		if got := r.want(1, read6(400), nil, 400, good); !bytes.Equal(got, plain) {
			t.Error("the plain block came back otherwise")
		}
	})
}
