package pax_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"capstan/core/archive/pax"
	"capstan/core/rt"
)

// parse reads the headers of one member back.
func parse(t interface{ Fatal(...any) }, b []byte) pax.Header {
	h, _, err := pax.ParseBlock(b[:512])
	if err != nil {
		t.Fatal(err)
	}
	if h.Type != pax.Extended {
		return h
	}
	recs, err := pax.ParseRecords(b[512 : 512+h.Size])
	if err != nil {
		t.Fatal(err)
	}
	h, _, err = pax.ParseBlock(b[len(b)-512:])
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Apply(recs); err != nil {
		t.Fatal(err)
	}
	return h
}

// TestHeaderProperty: what is written is read back, here and by archive/tar.
func TestHeaderProperty(t *testing.T) {
	name := rapid.Custom(func(t *rapid.T) string {
		n := rapid.SampledFrom([]int{1, 50, 99, 100, 101, 155, 156, 250, 256, 257, 5000}).Draw(t, "length")
		b := bytes.Repeat([]byte{rapid.SampledFrom([]byte("a\xff\n=")).Draw(t, "byte")}, n)
		for i := range b {
			if i > 0 && i < n-1 && i%rapid.SampledFrom([]int{7, 60, 120, 10000}).Draw(t, "slash") == 0 {
				b[i] = '/'
			}
		}
		return string(b)
	})
	rapid.Check(t, func(t *rapid.T) {
		h := pax.Header{
			Name: name.Draw(t, "name"), Type: '0', Mode: rapid.Uint32Max(07777).Draw(t, "mode"),
			UID: rapid.Uint32().Draw(t, "uid"), GID: rapid.Uint32().Draw(t, "gid"),
			Size:  rapid.Int64Range(0, 1<<62).Draw(t, "size"),
			MTime: rt.Time(rapid.Int64Range(-1<<62, math.MaxInt64-1e10).Draw(t, "mtime")),
		}
		if rapid.Bool().Draw(t, "link") {
			h.Type, h.Size, h.Link = '2', 0, name.Draw(t, "target")
		}
		b, err := h.Append(nil)
		if err != nil || len(b)%512 != 0 {
			t.Fatalf("%d bytes, %v", len(b), err)
		}
		if d := cmp.Diff(h, parse(t, b)); d != "" {
			t.Fatal(d)
		}
		std, err := tar.NewReader(bytes.NewReader(b)).Next()
		if err != nil {
			t.Fatalf("archive/tar: %v", err)
		}
		if std.Name != h.Name || std.Linkname != h.Link || std.Size != h.Size || std.ModTime.UnixNano() != int64(h.MTime) ||
			std.Uid != int(h.UID) || std.Mode != int64(h.Mode) {
			t.Fatalf("archive/tar reads %+v of %+v", std, h)
		}
	})
}

func TestTimes(t *testing.T) {
	for s, want := range map[string]rt.Time{
		"0": 0, "1.5": 1_500_000_000, "-1.5": -1_500_000_000, "-0.25": -250_000_000, "1.123456789": 1_123_456_789,
		"1700000000": 1_700_000_000_000_000_000,
	} {
		if got, err := pax.ParseTime(s); err != nil || got != want {
			t.Errorf("%s is %d, %v; want %d", s, got, err, want)
		}
		if got := pax.FormatTime(want); got != s {
			t.Errorf("%d is written %s, want %s", want, got, s)
		}
	}
	if got, err := pax.ParseTime("1.1234567891"); err != nil || got != 1_123_456_789 {
		t.Errorf("finer than a nanosecond: %d, %v", got, err)
	}
	for _, s := range []string{"", "x", "1.x", "1.-5", "99999999999", "-99999999999", "1e5"} {
		if got, err := pax.ParseTime(s); !errors.Is(err, pax.ErrHeader) {
			t.Errorf("%q is taken for %d, %v", s, got, err)
		}
	}
}

func TestBadRecords(t *testing.T) {
	for _, s := range []string{"x", "5 a=b", "6 a=b", "7 a=b\n", "0 a=b\n", "6 a=b\n5", "4 =\n", "5 =b\n", "5 ab\n", "99999999999999999999 a=b\n", " a=b\n", "-6 a=b\n"} {
		if recs, err := pax.ParseRecords([]byte(s)); !errors.Is(err, pax.ErrHeader) {
			t.Errorf("%q is taken for %v, %v", s, recs, err)
		}
	}
	recs, err := pax.ParseRecords([]byte("6 a=b\n12 key=a\x00\n=\n"))
	if d := cmp.Diff([]pax.Record{{Key: "a", Value: "b"}, {Key: "key", Value: "a\x00\n="}}, recs); err != nil || d != "" {
		t.Errorf("%v\n%s", err, d)
	}
}

func TestBadHeaders(t *testing.T) {
	for _, h := range []pax.Header{
		{Type: '0'}, {Name: "a\x00", Type: '0'}, {Name: "a", Type: '2', Link: "\x00"}, {Name: "a", Type: '0', Size: -1},
		{Name: "a", Type: '3', Major: 1 << 30},
	} {
		if _, err := h.Append(nil); !errors.Is(err, pax.ErrHeader) {
			t.Errorf("%+v was written: %v", h, err)
		}
	}
	good, err := (&pax.Header{Name: "a", Type: '0'}).Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := range good {
		if i == 155 {
			continue // the space after the checksum
		}
		b := bytes.Clone(good)
		b[i] ^= 0x11
		if _, _, err := pax.ParseBlock(b); err == nil {
			t.Fatalf("byte %d was changed and nobody noticed", i)
		}
	}
}

func TestGlobal(t *testing.T) {
	b := pax.AppendGlobal(nil, "label", []pax.Record{{Key: "a", Value: strings.Repeat("x", 600)}})
	h, _, err := pax.ParseBlock(b[:512])
	if err != nil || h.Type != pax.Global || h.Name != "label" || len(b) != 512+1024 {
		t.Fatalf("%+v, %d bytes, %v", h, len(b), err)
	}
}

func FuzzParse(f *testing.F) {
	b, _ := (&pax.Header{Name: strings.Repeat("n", 300), Type: '0', Size: 5, MTime: 1}).Append(nil)
	f.Add(b[:512], b[512:1024])
	f.Add(b[1024:1536], []byte("6 a=b\n"))
	f.Fuzz(func(t *testing.T, block, data []byte) {
		h, _, err := pax.ParseBlock(block)
		recs, rerr := pax.ParseRecords(data)
		if err != nil || rerr != nil {
			return
		}
		if err := h.Apply(recs); err == nil && h.Size < 0 {
			t.Fatalf("%+v", h)
		}
	})
}
