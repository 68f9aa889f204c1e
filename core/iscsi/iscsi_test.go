package iscsi_test

import (
	"bytes"
	"strings"
	"testing"

	"capstan/core/iscsi"
)

// The examples of RFC 3720, appendix B.4: CRC32C as it stands on the wire.
func TestDigest(t *testing.T) {
	up, down := make([]byte, 32), make([]byte, 32)
	for i := range up {
		up[i], down[i] = byte(i), byte(31-i)
	}
	tests := []struct{ data, want []byte }{
		{make([]byte, 32), []byte{0xAA, 0x36, 0x91, 0x8A}},
		{bytes.Repeat([]byte{0xFF}, 32), []byte{0x43, 0xAB, 0xA8, 0x62}},
		{up, []byte{0x4E, 0x79, 0xDD, 0x46}},
		{down, []byte{0x5C, 0xDB, 0x3F, 0x11}},
	}
	for _, tt := range tests {
		var got [4]byte
		iscsi.PutDigest(got[:], iscsi.Digest(tt.data[:7], tt.data[7:]))
		if !bytes.Equal(got[:], tt.want) {
			t.Errorf("digest of % X is % X, want % X", tt.data, got, tt.want)
		}
		if iscsi.GetDigest(got[:]) != iscsi.Digest(tt.data) {
			t.Error("a digest that is written reads as another")
		}
	}
}

func TestLUN(t *testing.T) {
	for n, wire := range map[uint64]uint64{0: 0, 1: 1 << 48, 255: 255 << 48, 256: 0x4100 << 48, 16383: 0x7FFF << 48} {
		if got := iscsi.EncodeLUN(n); got != wire {
			t.Errorf("LUN %d is %016X, want %016X", n, got, wire)
		}
		if got, ok := iscsi.DecodeLUN(wire); !ok || got != n {
			t.Errorf("%016X is LUN %d, %v", wire, got, ok)
		}
	}
	for _, bad := range []uint64{1, 0x0101 << 48, 0x8000 << 48, 1<<48 | 1} {
		if n, ok := iscsi.DecodeLUN(bad); ok {
			t.Errorf("%016X is taken for LUN %d", bad, n)
		}
	}
}

func TestExtendedCDB(t *testing.T) {
	h := iscsi.New(iscsi.Command, iscsi.Final, 1)
	for i := range 16 {
		h[32+i] = byte(i)
	}
	tests := []struct {
		name string
		ahs  []byte
		want int // bytes; 0 is refused
	}{
		{"none", nil, 16},
		{"one of 20 bytes", []byte{0, 5, 1, 0, 16, 17, 18, 19}, 20},
		{"with padding", []byte{0, 2, 1, 0, 16, 0, 0, 0}, 17},
		{"another kind before it", []byte{0, 5, 2, 0, 9, 9, 9, 9, 0, 2, 1, 0, 16, 0, 0, 0}, 17},
		{"no length", []byte{0, 0, 1, 0}, 0},
		{"longer than it is", []byte{0, 9, 1, 0, 16, 17, 18, 19}, 0},
		{"two", []byte{0, 2, 1, 0, 16, 0, 0, 0, 0, 2, 1, 0, 16, 0, 0, 0}, 0},
		{"too long", append([]byte{1, 1, 1, 0}, make([]byte, 256)...), 0},
	}
	for _, tt := range tests {
		got, err := iscsi.AppendCDB(nil, &h, tt.ahs)
		if (err == nil) != (tt.want > 0) || len(got) != tt.want {
			t.Errorf("%s: %d bytes, %v", tt.name, len(got), err)
			continue
		}
		for i, b := range got {
			if int(b) != i {
				t.Errorf("%s: byte %d is %d", tt.name, i, b)
			}
		}
	}
}

func TestValues(t *testing.T) {
	for s, want := range map[string]int64{"0": 0, "8192": 8192, "0x1F": 31, "0XFF": 255, "": -1, "-1": -1, "+1": -1, "4294967296": -1, "0x": -1, "ten": -1} {
		n, ok := iscsi.Number(s)
		if ok != (want >= 0) || ok && int64(n) != want {
			t.Errorf("Number(%q) = %d, %v", s, n, ok)
		}
	}
	for s, want := range map[string]string{"0x414243": "ABC", "0b QUJD": "", "0bQUJD": "ABC", "0x123": "\x01\x23", "ABC": "", "0xZZ": "", "0x": ""} {
		if b, ok := iscsi.Binary(s); string(b) != want || ok != (want != "") {
			t.Errorf("Binary(%q) = %q, %v", s, b, ok)
		}
	}
	for s, want := range map[string]bool{"iqn.2001-04.com.example:a": true, "eui.02004567A425678D": false, "eui.02004567a425678d": true, "iqn.": false,
		"iqn.x y": false, "host": false, "iqn." + strings.Repeat("a", 220): false} {
		if iscsi.ValidName(s) != want {
			t.Errorf("ValidName(%q) is %v", s, !want)
		}
	}
}

// The proof is the one of RFC 1994 for MD5: worked out by hand with md5sum over
// 01 "secret-secret" 0102.
func TestChapProof(t *testing.T) {
	if got := iscsi.HexValue(iscsi.ChapProof(iscsi.ChapMD5, 1, "secret-secret", []byte{1, 2})); got != "0xcd6910548a6f5eb1103437c29680c391" {
		t.Errorf("proof %s", got)
	}
	if len(iscsi.ChapProof(iscsi.ChapSHA256, 1, "s", nil)) != 32 || iscsi.ChapProof("6", 1, "s", nil) != nil {
		t.Error("algorithms are mixed up")
	}
	for list, want := range map[string]string{"5": "5", "5,7": "7", "6,8": "", "": ""} {
		if got := iscsi.ChooseChap(list); got != want {
			t.Errorf("ChooseChap(%q) = %q", list, got)
		}
	}
}

// FuzzText: what is read of any text survives being written and read again.
func FuzzText(f *testing.F) {
	f.Add([]byte("InitiatorName=iqn.2001-04.com.example:a\x00SessionType=Normal\x00"))
	f.Add([]byte("a=b\x00\x00\x00c==\x00d="))
	f.Fuzz(func(t *testing.T, b []byte) {
		pairs, err := iscsi.ParseText(b)
		if err != nil {
			return
		}
		again, err := iscsi.ParseText(iscsi.AppendText(nil, pairs...))
		if err != nil || len(again) != len(pairs) {
			t.Fatalf("%q: %d pairs, then %d, %v", b, len(pairs), len(again), err)
		}
		for i := range pairs {
			if pairs[i] != again[i] {
				t.Errorf("pair %d is %v, then %v", i, pairs[i], again[i])
			}
		}
	})
}

// FuzzCDB: additional headers are of any length and kind.
func FuzzCDB(f *testing.F) {
	f.Add([]byte{0, 5, 1, 0, 16, 17, 18, 19})
	f.Fuzz(func(t *testing.T, ahs []byte) {
		h := iscsi.New(iscsi.Command, 0, 1)
		if b, err := iscsi.AppendCDB(nil, &h, ahs); err == nil && (len(b) < 16 || len(b) > iscsi.MaxCDB) {
			t.Errorf("a command descriptor block of %d bytes", len(b))
		}
	})
}
