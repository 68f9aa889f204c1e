package changer

import (
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"capstan/core/dev"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// The vectors follow SMC-3 tables 30 to 37 and 46, byte by byte.

const (
	tagHex  = "54303030 30314C38 20202020 20202020 20202020 20202020 20202020 20202020 00000000" // T00001L8
	noTag   = "20202020 20202020 20202020 20202020 20202020 20202020 20202020 20202020 00000000"
	slotHex = "03E8 09 00 0000 000000 00 0000" + tagHex
)

func TestParseStatus(t *testing.T) {
	tests := []struct {
		name string
		in   string
		ids  bool
		want Report
	}{
		{"a slot", "03E8 0001 00 000038  02 80 0030 00 000030 " + slotHex, false,
			Report{Elements: []dev.Element{{Address: 1000, Kind: dev.Slot, Full: true, Barcode: "T00001L8"}}}},
		{"a slot, cut in its tag", "03E8 0001 00 000038  02 80 0030 00 000030 03E8 09 00 0000 000000 00 0000 5430", false, Report{Cut: true}},
		{"an empty slot whose magazine is out", "03E8 0001 00 000038  02 80 0030 00 000030 03E8 04 00 3B12 000000 00 0000" + noTag, false,
			Report{Elements: []dev.Element{{Address: 1000, Kind: dev.Slot, Problem: "the magazine is out or cannot be reached"}}}},
		{"a drive with vendor, product and serial", "0100 0001 00 00005D  04 80 0055 00 000055 0100 09 00 0000 000000 80 03E8" + tagHex +
			"02 01 00 20 49424D2020202020 554C545249554D2D5444392020202020 3130363830303031" + "000000 00", true,
			Report{Elements: []dev.Element{{Address: 256, Kind: dev.DriveElement, Full: true, Barcode: "T00001L8", Source: 1000, Serial: "10680001"}}}},
		{"a drive with its serial alone", "0100 0001 00 000020  04 00 0018 00 000018 0100 08 00 0000 000000 00 0000 02 00 00 08 2048553031323300", true,
			Report{Elements: []dev.Element{{Address: 256, Kind: dev.DriveElement, Serial: "HU0123"}}}},
		{"a drive with a world wide name", "0100 0001 00 000020  04 00 0018 00 000018 0100 08 00 0000 000000 00 0000 01 03 00 08 5000E11100000001", true,
			Report{Elements: []dev.Element{{Address: 256, Kind: dev.DriveElement, Serial: "5000e11100000001"}}}},
		{"a label that cannot be read", "03E8 0001 00 000038  02 80 0030 00 000030 03E8 0D 00 8302 000000 00 0000 3F3F3F" + strings.Repeat("20", 33), false,
			Report{Elements: []dev.Element{{Address: 1000, Kind: dev.Slot, Full: true, Problem: exception(0x83, 2)}}}},
		{"two pages and bytes behind the end", "0001 0002 00 000028  01 00 000C 00 00000C 0001 00 00 0000 000000 00 0000" +
			"03 00 000C 00 00000C 0010 08 00 0000 000000 00 0000 FFFFFFFF", false,
			Report{Elements: []dev.Element{{Address: 1, Kind: dev.Transport}, {Address: 16, Kind: dev.ImportExport}}}},
		{"a page that claims more than came", "0001 0001 00 FFFFFF  01 00 000C 00 FFFFFF 0001 00 00 0000 000000 00 0000", false,
			Report{Elements: []dev.Element{{Address: 1, Kind: dev.Transport}}, Cut: true}},
		{"nothing", "0000 0000 00 000000", false, Report{}},
		{"a page without descriptors", "0010 0000 00 000008  03 00 0000 00 000000", false, Report{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := ParseStatus(unhex(t, tt.in), tt.ids)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Errorf("report (-want +got):\n%s", d)
			}
		})
	}
	for _, bad := range []string{"", "0001 0001 00 0000", "0001 0001 00 000010 01 00 0004 00 000004 00010000"} {
		if r, err := ParseStatus(unhex(t, bad), false); !errors.Is(err, ErrReply) {
			t.Errorf("%q is read as %+v, %v", bad, r, err)
		}
	}
}

func TestParseAssignment(t *testing.T) {
	a, err := ParseAssignment(unhex(t, "1D 12 0001 0001 03E8 0014 0010 0002 0100 0004 0000"))
	want := Assignment{dev.Transport: {1, 1}, dev.Slot: {1000, 20}, dev.ImportExport: {16, 2}, dev.DriveElement: {256, 4}}
	if err != nil || a != want {
		t.Errorf("%v, %v; want %v", a, err, want)
	}
	for _, bad := range []string{"", "1D 12 0001", "1E 12 0001 0001 03E8 0014 0010 0002 0100 0004"} {
		if _, err := ParseAssignment(unhex(t, bad)); !errors.Is(err, ErrReply) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestCommands(t *testing.T) {
	for _, tt := range []struct {
		name string
		got  []byte
		want string
	}{
		{"MODE SENSE", assignmentCDB(255), "1A 08 1D 00 FF 00"},
		{"READ ELEMENT STATUS, slots", statusCDB(dev.Slot, Range{1000, 300}, true, false, 0xFFFF), "B8 12 03E8 012C 00 00FFFF 00 00"},
		{"READ ELEMENT STATUS, drives", statusCDB(dev.DriveElement, Range{256, 4}, true, true, 0xFFFF), "B8 14 0100 0004 01 00FFFF 00 00"},
		{"MOVE MEDIUM", moveCDB(1, 1000, 256), "A5 00 0001 03E8 0100 0000 00 00"},
		{"EXCHANGE MEDIUM", exchangeCDB(1, 1000, 256, 1001), "A6 00 0001 03E8 0100 03E9 00 00"},
		{"INITIALIZE ELEMENT STATUS WITH RANGE", rangeCDB(0x37, Range{1000, 3}), "37 01 03E8 0000 0003 00 00"},
	} {
		if d := cmp.Diff(unhex(t, tt.want), tt.got); d != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, d)
		}
	}
}

// FuzzParseStatus: an answer comes from a device. Whatever it is, the elements fit
// into it and name their kind.
func FuzzParseStatus(f *testing.F) {
	f.Add(unhex(f, "03E8 0001 00 000038  02 80 0030 00 000030 "+slotHex), false)
	f.Add(unhex(f, "0100 0001 00 000020  04 00 0018 00 000018 0100 08 00 0000 000000 00 0000 02 00 00 08 2048553031323300"), true)
	f.Fuzz(func(t *testing.T, b []byte, ids bool) {
		r, err := ParseStatus(b, ids)
		if err != nil {
			return
		}
		if len(r.Elements)*descriptorBytes > len(b) {
			t.Errorf("%d elements in %d bytes", len(r.Elements), len(b))
		}
		for _, e := range r.Elements {
			if e.Serial != "" && e.Kind != dev.DriveElement || e.Barcode != "" && !e.Full || strings.ContainsAny(e.Barcode+e.Serial, "\x00\x1b\n") {
				t.Errorf("element %+v", e)
			}
		}
	})
}

// TestAnswered: tgt's answer for its one hand, which lacks its last eight bytes.
func TestAnswered(t *testing.T) {
	b := make([]byte, 128)
	for i := range b {
		b[i] = 0xEE // of the answer before
	}
	n := copy(b, unhex(t, "0010 0001 00 00003A  01 00 0032 00 000032 0010 00 00 0000 000000 00 0000"+strings.Repeat("00", 30)))
	got, err := ParseStatus(answered(b, n), false)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(Report{Elements: []dev.Element{{Address: 16, Kind: dev.Transport}}}, got); d != "" {
		t.Errorf("report (-want +got):\n%s", d)
	}
	if got := answered(b, len(b)); len(got) != len(b) || got[len(b)-1] != 0xEE {
		t.Errorf("a full buffer becomes % X", got)
	}
}
