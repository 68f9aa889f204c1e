package port

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"capstan/core/catalog"
	"capstan/core/pbx"
	"capstan/core/stream"
)

// cutRecord cuts the one TLS record of b into records of at most n bytes.
func cutRecord(b []byte, n int) []byte {
	var out []byte
	for body := b[5:]; len(body) > 0; {
		part := body[:min(n, len(body))]
		body = body[len(part):]
		out = binary.BigEndian.AppendUint16(append(out, b[:3]...), uint16(len(part)))
		out = append(out, part...)
	}
	return out
}

func TestHelloProtocol(t *testing.T) {
	hello := recordHello(t, "capstan:bptm/123/1/0")
	long := "capstan:" + strings.Repeat("x", 247)
	tests := []struct {
		name string
		b    []byte
		want string
		err  error
	}{
		{"one name", hello, "capstan:bptm/123/1/0", nil},
		{"more follows", append(bytes.Clone(hello), "early data"...), "capstan:bptm/123/1/0", nil},
		{"cut into records", cutRecord(hello, 100), "capstan:bptm/123/1/0", nil},
		{"cut into bytes", cutRecord(hello, 1), "capstan:bptm/123/1/0", nil},
		{"the longest name", recordHello(t, long), long, nil},
		{"no name", recordHello(t), "", errHello},
		{"two names", recordHello(t, "capstan:a", "capstan:b"), "", errHello},
		{"nothing yet", nil, "", errPartial},
		{"not TLS", []byte("GET / HTTP/1.1"), "", errHello},
		{"another handshake message", []byte{22, 3, 3, 0, 4, 2, 0, 0, 0}, "", errHello},
		{"an endless one", []byte{22, 3, 1, 0, 4, 1, 0xff, 0xff, 0xff}, "", errHello},
		{"an empty one", []byte{22, 3, 1, 0, 4, 1, 0, 0, 0}, "", errHello},
	}
	for _, tt := range tests {
		got, err := helloProtocol(tt.b)
		if got != tt.want || !errors.Is(err, tt.err) {
			t.Errorf("%s: %q, %v; want %q, %v", tt.name, got, err, tt.want, tt.err)
		}
	}
	for n := range hello {
		if _, err := helloProtocol(hello[:n]); !errors.Is(err, errPartial) {
			t.Errorf("the first %d bytes: %v, want errPartial", n, err)
		}
	}
}

func FuzzHello(f *testing.F) {
	hello := recordHello(f, "capstan:nbjm")
	f.Add(hello)
	f.Add(cutRecord(hello, 7))
	f.Add([]byte{22, 3, 1, 0, 4, 1, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		name, err := helloProtocol(b)
		if err == nil && (name == "" || len(name) > 255) {
			t.Errorf("read the name %q", name)
		}
		if !errors.Is(err, errPartial) {
			// What is decided stays so, whatever follows.
			more, again := helloProtocol(append(bytes.Clone(b), 0xff, 0, 22))
			if more != name || !errors.Is(again, err) {
				t.Errorf("with more: %q, %v; before %q, %v", more, again, name, err)
			}
		}
	})
}

func TestFrameRefuses(t *testing.T) {
	tests := map[string]string{
		"an unknown kind":          "\x04\x00\x00\x00\x01x",
		"no kind":                  "\x00\x00\x00\x00\x01x",
		"data of no length":        "\x01\x00\x00\x00\x00",
		"data too long":            "\x01\x00\x10\x00\x01",
		"an endless frame":         "\x01\xff\xff\xff\xff",
		"an end of wrong length":   "\x03\x00\x00\x00\x0b01234567890",
		"an end with absurd total": "\x03\x00\x00\x00\x0c\xff\xff\xff\xff\xff\xff\xff\xff\x00\x00\x00\x00",
		"members that are not":     "\x02\x00\x00\x00\x03abc",
		"members in 8 byte count":  "\x02\x00\x00\x04\x00\x9b\x00\x00\x00\x00\x00\x00\x03\xf7" + strings.Repeat("\xf6", 1015),
		"members of no size":       "\x02\x00\x00\x00\x04\x83\xf6\xf6\xf6",
		"half a head":              "\x01\x00\x00",
		"half a payload":           "\x01\x00\x00\x00\x08half",
	}
	for name, s := range tests {
		fr := frameReader{r: strings.NewReader(s)}
		var f stream.Frame
		if err := fr.next(&f); err == nil || errors.Is(err, io.EOF) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A batch of entries is cut so that each piece fits, whatever the names.
func TestMembersAreCut(t *testing.T) {
	var want []catalog.Entry
	for i := range 3000 {
		want = append(want, catalog.Entry{Path: "/" + strings.Repeat("p", i*5%4096), Link: strings.Repeat("l", i*7%4096), Type: catalog.Symlink})
	}
	var buf bytes.Buffer
	if err := putFrame(&buf, &stream.Frame{Kind: stream.Member, Entries: want}); err != nil {
		t.Fatal(err)
	}
	fr := frameReader{r: &buf}
	var got []catalog.Entry
	pieces := 0
	for ; buf.Len() > 0; pieces++ {
		var f stream.Frame
		if err := fr.next(&f); err != nil {
			t.Fatal(err)
		}
		got = append(got, f.Entries...)
	}
	if d := cmp.Diff(want, got); d != "" || pieces < 10 {
		t.Errorf("in %d pieces: %s", pieces, d)
	}
	huge := []catalog.Entry{{Path: strings.Repeat("p", maxPayload)}}
	if err := putFrame(&buf, &stream.Frame{Kind: stream.Member, Entries: huge}); err == nil {
		t.Error("an entry was sent that no receiver takes")
	}
}

func FuzzFrame(f *testing.F) {
	var buf bytes.Buffer
	frames := []stream.Frame{
		{Kind: stream.Data, Bytes: []byte("data"), Len: 4},
		{Kind: stream.Member, Entries: []catalog.Entry{{Path: "/a", Type: catalog.Regular}}},
		{Kind: stream.Amend, Entries: []catalog.Entry{{Path: "/a", Type: catalog.Regular, CRC: 1}}},
		{Kind: stream.End, Total: 4, Digest: 1},
	}
	for i := range frames {
		if err := putFrame(&buf, &frames[i]); err != nil {
			f.Fatal(err)
		}
	}
	f.Add(buf.Bytes())
	f.Add([]byte("\x01\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, b []byte) {
		fr := frameReader{r: bytes.NewReader(b)}
		for {
			var fm stream.Frame
			if err := fr.next(&fm); err != nil {
				return
			}
			if fm.Len > maxPayload || fm.Total < 0 || fm.Kind < stream.Data || fm.Kind > stream.Amend {
				t.Errorf("read %+v", fm)
			}
			// A frame that was read can be sent on, and reads the same.
			var out bytes.Buffer
			if err := putFrame(&out, &fm); err != nil {
				t.Fatalf("%+v cannot be sent: %v", fm, err)
			}
			if fm.Kind == stream.Data && !bytes.Equal(out.Bytes()[frameHead:], fm.Bytes) {
				t.Errorf("%+v is sent as %q", fm, out.Bytes())
			}
		}
	})
}

func FuzzTicket(f *testing.F) {
	var buf bytes.Buffer
	if err := putTicket(&buf, "ticket"); err != nil {
		f.Fatal(err)
	}
	f.Add(buf.Bytes()[len(dataMagic):])
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := getTicket(bytes.NewReader(b))
		if err == nil && (s == "" || len(s) > maxTicket) {
			t.Errorf("read a ticket of %d bytes", len(s))
		}
	})
}

func FuzzEnvelope(f *testing.F) {
	e, err := encodeRequest(&pbx.Request{Method: "nbjm.Start", Body: struct{}{}, Head: pbx.Head{From: "master/nbpem", Seq: 1}})
	if err != nil {
		f.Fatal(err)
	}
	b, err := codec{}.Marshal(e)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		var e envelope
		if err := (codec{}).Unmarshal(b, &e); err != nil {
			return
		}
		// What was read can be written, and is read as the same.
		again, err := codec{}.Marshal(&e)
		if err != nil {
			t.Fatal(err)
		}
		var e2 envelope
		if err := (codec{}).Unmarshal(again, &e2); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(e.Head, e2.Head); d != "" {
			t.Error(d)
		}
	})
}
