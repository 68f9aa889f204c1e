package scsi

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"capstan/core/scsi"
	"capstan/sim/simtest"
)

// The vectors follow the tables of the standards that the parsers name, byte by byte.

func TestReplies(t *testing.T) {
	tests := []struct {
		name  string
		parse func(b []byte) (any, error)
		in    string
		want  any
	}{
		{"INQUIRY", func(b []byte) (any, error) { return ParseInquiry(b) },
			"01 80 06 02 5B 00 01 30 49424D2020202020 554C545249554D2D5444392020202020 4E334730",
			Inquiry{Type: scsi.Sequential, Removable: true, Version: 6, Vendor: "IBM", Product: "ULTRIUM-TD9", Revision: "N3G0"}},
		{"VPD page 83", func(b []byte) (any, error) {
			body, err := vitalBody(VPDIdentifiers, b)
			return ParseIdentifiers(body), err
		}, "01 83 0018  02 01 00 08 49424D2020202031  01 03 00 08 5000E11100000001",
			[]Identifier{
				{Type: 1, Text: "IBM    1", Binary: []byte("IBM    1")},
				{Type: 3, Binary: []byte{0x50, 0x00, 0xE1, 0x11, 0, 0, 0, 1}},
			}},
		{"READ BLOCK LIMITS", func(b []byte) (any, error) { return ParseBlockLimits(b) }, "00 800000 0001", BlockLimits{Max: 8 << 20, Min: 1}},
		{"READ POSITION, short", func(b []byte) (any, error) { return ParsePosition(b, false) },
			"40 00 0000 00000102 00000100 00 000002 00000000", Position{EOP: true, Known: true, Block: 0x102, Buffered: 2}},
		{"READ POSITION, short, not known", func(b []byte) (any, error) { return ParsePosition(b, false) },
			"14 00 0000 00000000 00000000 00 000000 00000000", Position{}},
		{"READ POSITION, short, too far for its fields", func(b []byte) (any, error) { return ParsePosition(b, false) },
			"02 00 0000 FFFFFFFF FFFFFFFF 00 000000 00000000", Position{Block: 0xFFFFFFFF}},
		{"READ POSITION, long", func(b []byte) (any, error) { return ParsePosition(b, true) },
			"00 000000 00000000 0000000100000002 0000000000000007 0000000000000000",
			Position{Known: true, FileKnown: true, Block: 1<<32 + 2, File: 7}},
		{"READ POSITION, long, file not known", func(b []byte) (any, error) { return ParsePosition(b, true) },
			"88 000000 00000000 0000000000000000 0000000000000000 0000000000000000", Position{BOP: true, Known: true}},
		{"READ POSITION, long, not known", func(b []byte) (any, error) { return ParsePosition(b, true) },
			"14 000000 00000000 0000000000000000 0000000000000000 0000000000000000", Position{}},
		{"MODE SENSE(10), data compression", func(b []byte) (any, error) {
			m, err := ParseMode(b, true)
			if err == nil {
				err = m.page(PageCompression, 0)
			}
			return m, err
		}, "001E 98 90 00 00 0008  60 000000 00 000200  8F 0E C0 80 00000001 00000001 00000000",
			Mode{Medium: 0x98, WriteProtected: true, Buffered: 1, Density: 0x60, BlockLength: 512, Descriptor: true,
				Page: []byte{0x8F, 0x0E, 0xC0, 0x80, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0}}},
		{"MODE SENSE(6), control data protection", func(b []byte) (any, error) {
			m, err := ParseMode(b, false)
			if err == nil {
				err = m.page(PageControl, SubpageProtection)
			}
			return m, err
		}, "0B 00 10 00  4A F0 0004 02 04 C0 00", Mode{Buffered: 1, Page: []byte{0x4A, 0xF0, 0, 4, 2, 4, 0xC0, 0}}},
		{"TapeAlert", func(b []byte) (any, error) {
			p, err := ParseLog(LogAlerts, b)
			return AlertsOf(LogAlerts, p), err
		}, "2E 00 000F  0003 C0 01 01  0004 C0 01 00  0014 C0 01 01", Alerts(1<<2 | 1<<0x13)},
		{"TapeAlert response", func(b []byte) (any, error) {
			p, err := ParseLog(LogAlertAnswer, b)
			return AlertsOf(LogAlertAnswer, p), err
		}, "12 00 000C  0000 03 08 2000100000000001", Alerts(1<<2 | 1<<0x13 | 1<<63)},
		{"device status", func(b []byte) (any, error) {
			p, err := ParseLog(LogStatus, b)
			if err != nil {
				return nil, err
			}
			return DriveStateOf(p)
		}, "11 00 0008  0000 03 04 0C 13 05 00",
			DriveState{Protected: true, CleanRequested: true, MediumPresent: true, Threaded: true, Mounted: true, Activity: 5}},
		{"volume statistics", func(b []byte) (any, error) {
			p, err := ParseLog(LogVolume, b)
			return VolumeOf(p), err
		}, "17 00 002B  0001 03 04 0000000C  0010 03 06 000000001388  0016 03 04 01127A50  0042 01 08 4341503030314C39  0081 03 01 01",
			Volume{Mounts: 12, WrittenMB: 5000, CapacityMB: 17988176, Barcode: "CAP001L9", WORM: true}},
		{"READ ATTRIBUTE", func(b []byte) (any, error) { return ParseAttributes(b) },
			"00000018  0000 80 0008 0000000000001000  0806 01 0006 434150303031",
			[]Attribute{{ID: 0, ReadOnly: true, Value: []byte{0, 0, 0, 0, 0, 0, 0x10, 0}}, {ID: 0x806, Format: 1, Value: []byte("CAP001")}}},
		{"READ ATTRIBUTE with the allocation length for its own", func(b []byte) (any, error) { return ParseAttributes(b) },
			"00004000  0806 01 0006 434150303031", []Attribute{{ID: 0x806, Format: 1, Value: []byte("CAP001")}}},
		{"READ KEYS", func(b []byte) (any, error) { return ParseKeys(b) },
			"00000004 00000010 1122334455667788 0000000000000001", []Key{0x1122334455667788, 1}},
		{"READ RESERVATION", func(b []byte) (any, error) { return ParseReservation(b) },
			"00000004 00000010 1122334455667788 00000000 00 03 0000", Reservation{Held: true, Key: 0x1122334455667788, Type: ExclusiveAccess}},
		{"READ RESERVATION, none", func(b []byte) (any, error) { return ParseReservation(b) }, "00000004 00000000", Reservation{}},
		{"encryption capabilities", func(b []byte) (any, error) { return ParseAlgorithms(b) },
			"0010 0028  01 000000 000000000000000000000000  01 00 0014 8A 0C 0020 003C 0020 20 00 0000 00000000 00010014",
			[]Algorithm{{Index: 1, Code: AES256GCM, KeyBytes: 32, Encrypts: true, Decrypts: true}}},
		{"encryption status", func(b []byte) (any, error) { return ParseEncryption(b) },
			"0020 0014  42 02 03 01 00000007  00 00 0000 0000000000000000", Encryption{Scope: 2, Encrypts: true, Decrypts: true, Algorithm: 1, KeyCounter: 7}},
		{"RECEIVE RECOMMENDED ACCESS ORDER", func(b []byte) (any, error) { return ParseOrder(b) },
			"02 00 0000 00000020  001E 000000 31000000000000000000 00 0000000000000010 0000000000000020",
			[]Segment{{Name: [10]byte{'1'}, Begin: 16, Last: 32}}},
		{"REPORT DENSITY SUPPORT", func(b []byte) (any, error) { return ParseDensities(b) },
			"0036 0000  60 60 A0 0034 005F55 007F 0460 0112A880 4C544F2D43564520 552D393138202020 556C747269756D20392F3234542020202020 2020",
			[]Density{{Code: 0x60, Writable: true, Default: true, Name: "U-918", Words: "Ultrium 9/24T", Capacity: 18000000}}},
		{"REPORT SUPPORTED OPERATION CODES", func(b []byte) (any, error) { return ParseOpcodes(b) },
			"0000001C  0A 00 0000 00 02 0006  000A 00 00 00000003 000005DC  A4 00 001D 00 01 000C",
			[]Opcode{{Code: scsi.Write6, Nominal: 3 * time.Second, Recommended: 1500 * time.Second}, {Code: scsi.MaintenanceOut, Action: 0x1D, Actions: true}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := unhex(t, tt.in)
			got, err := tt.parse(b)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Errorf("reply differs (-want +got):\n%s", d)
			}
			for n := range b { // cut anywhere it is an error or less, and never a crash
				_, _ = tt.parse(b[:n:n])
			}
		})
	}
}

// TestCommands: what goes to the device, byte by byte.
func TestCommands(t *testing.T) {
	key := make([]byte, KeyBytes)
	for i := range key {
		key[i] = byte(i)
	}
	tests := []struct {
		name     string
		answer   string
		do       func(ctx context.Context, d *Device) error
		cdb, out string
	}{
		{"INQUIRY", "", func(ctx context.Context, d *Device) error { _, err := d.Inquiry(ctx); return err }, "12 00 00 0060 00", ""},
		{"serial number", "01 80 0002 4142", func(ctx context.Context, d *Device) error { _, err := d.Serial(ctx); return err }, "12 01 80 0400 00", ""},
		{"READ POSITION, long", "", func(ctx context.Context, d *Device) error { _, err := d.ReadPosition(ctx, true); return err }, "34 06 0000000000000000", ""},
		{"READ POSITION, short", "", func(ctx context.Context, d *Device) error { _, err := d.ReadPosition(ctx, false); return err }, "34 00 0000000000000000", ""},
		{"LOG SENSE", "2E 00 0000", func(ctx context.Context, d *Device) error { _, err := d.Log(ctx, LogAlerts); return err }, "4D 00 6E 00 00 0000 4000 00", ""},
		{"MODE SENSE", "0016 00 10 00000000 0F0E 0000 00000000 00000000 00000000", func(ctx context.Context, d *Device) error {
			_, err := d.ModeSense(ctx, Current, PageCompression, 0)
			return err
		}, "5A 00 0F 00 00000000FF 00", ""},
		{"MODE SELECT", "", func(ctx context.Context, d *Device) error {
			return d.ModeSelect(ctx, &Mode{WriteProtected: true, Buffered: 1, Density: 0x60, Descriptor: true, Page: []byte{0xCA, 0xF0, 0, 4, 2, 4, 0xC0, 0}})
		}, "55 10 0000000000 0018 00", "0000 00 10 0000 0008  60 000000 00 000000  4AF00004 0204C000"},
		{"READ ATTRIBUTE", "00000000", func(ctx context.Context, d *Device) error { _, err := d.Attributes(ctx, AttrVendor); return err },
			"8C 00 000000000000 0800 00004000 00 00", ""},
		{"WRITE ATTRIBUTE", "", func(ctx context.Context, d *Device) error {
			return d.WriteAttributes(ctx, []Attribute{FillText(AttrVendor, "CAPSTAN", 8)})
		}, "8D 01 0000000000000000 00000011 00 00", "0000000D 0800 01 0008 4341505354414E20"},
		{"PERSISTENT RESERVE IN", "00000001 00000000", func(ctx context.Context, d *Device) error { _, err := d.Reservation(ctx); return err }, "5E 01 0000000000 0018 00", ""},
		{"REGISTER AND IGNORE EXISTING KEY", "", func(ctx context.Context, d *Device) error {
			return d.ReserveOut(ctx, RegisterIgnored, 0, 0x1122334455667788)
		},
			"5F 06 03 0000 00000018 00", "0000000000000000 1122334455667788 0000000000000000"},
		{"PREEMPT AND ABORT", "", func(ctx context.Context, d *Device) error { return d.ReserveOut(ctx, PreemptAbort, 1, 2) },
			"5F 05 03 0000 00000018 00", "0000000000000001 0000000000000002 0000000000000000"},
		{"SECURITY PROTOCOL OUT, a key", "", func(ctx context.Context, d *Device) error { return d.SetKey(ctx, 1, key) },
			"B5 20 0010 0000 00000034 00 00",
			"0010 0030 40 04 02 03 01 00 00 00000000000000 0020 000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F"},
		{"SECURITY PROTOCOL OUT, no key", "", func(ctx context.Context, d *Device) error { return d.SetKey(ctx, 0, nil) },
			"B5 20 0010 0000 00000014 00 00", "0010 0010 40 00 00 00 00 00 00 00000000000000 0000"},
		{"SECURITY PROTOCOL IN", "0020 0014 4202030100000007 000000000000000000000000", func(ctx context.Context, d *Device) error { _, err := d.Encryption(ctx); return err },
			"A2 20 0020 0000 00000400 00 00", ""},
		{"REPORT DENSITY SUPPORT", "0002 0000", func(ctx context.Context, d *Device) error { _, err := d.Densities(ctx, true); return err }, "44 01 0000000000 1000 00", ""},
		{"REPORT SUPPORTED OPERATION CODES", "00000000", func(ctx context.Context, d *Device) error { _, err := d.Opcodes(ctx); return err }, "A3 0C 80 00 0000 00004000 00 00", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			simtest.Run(t, func(ctx context.Context) {
				s := &script{t: t}
				if tt.answer != "" {
					s.answers = []answer{{data: tt.answer}}
				}
				if err := tt.do(ctx, NewDevice("drive1", s)); err != nil {
					t.Fatal(err)
				}
				if d := cmp.Diff(hexOf(t, tt.cdb), s.sent[0]); d != "" {
					t.Errorf("the command (-want +got):\n%s", d)
				}
				if d := cmp.Diff(hexOf(t, tt.out), s.out[0]); tt.out != "" && d != "" {
					t.Errorf("its data (-want +got):\n%s", d)
				}
			})
		})
	}
}

// TestAccessOrder: both commands, and what comes back is as much as went out.
func TestAccessOrder(t *testing.T) {
	simtest.Run(t, func(ctx context.Context) {
		list := "001E 000000 41000000000000000000 00 0000000000000010 0000000000000020"
		s := &script{t: t, answers: []answer{{}, {data: "02000000 00000020" + list}}}
		got, err := NewDevice("drive1", s).AccessOrder(ctx, []Segment{{Name: [10]byte{'A'}, Begin: 16, Last: 32}})
		if err != nil || len(got) != 1 || got[0].Begin != 16 {
			t.Errorf("order %+v, %v", got, err)
		}
		if want := hexOf(t, "A4 1D 02 00 0000 00000028 00 00"); s.sent[0] != want {
			t.Errorf("GENERATE is %s; want %s", s.sent[0], want)
		}
		if want := hexOf(t, "00000000 00000020"+list); s.out[0] != want {
			t.Errorf("its list is %s; want %s", s.out[0], want)
		}
		if want := hexOf(t, "A3 1D 0000 0000 00001028 00 00"); s.sent[1] != want {
			t.Errorf("RECEIVE is %s; want %s", s.sent[1], want)
		}
		s = &script{t: t, answers: []answer{{}, {data: "02000000 00000000"}}}
		if got, err := NewDevice("drive1", s).AccessOrder(ctx, make([]Segment, 2)); err == nil {
			t.Errorf("two segments came back as %v", got)
		}
	})
}

// TestModeSense6: an older device does not know the ten-byte command.
func TestModeSense6(t *testing.T) {
	simtest.Run(t, func(ctx context.Context) {
		unknown := answer{sense: scsiSense(5, 0x20, 0)}
		s := &script{t: t, answers: []answer{unknown, {data: "0B 00 80 08 40 000000 00 000000"}, unknown}}
		d := NewDevice("drive1", s)
		m, err := d.ModeSense(ctx, Current, NoPage, 0)
		if err != nil || !m.WriteProtected || m.Density != 0x40 {
			t.Fatalf("mode %+v, %v", m, err)
		}
		if err := d.ModeSelect(ctx, &m); err != nil {
			t.Fatal(err)
		}
		if got, want := s.sent[3]+" "+s.out[3], "15100000"+"0c00"+" "+hexOf(t, "00000008 40000000 00000000"); got != want {
			t.Errorf("MODE SELECT(6) is %s; want %s", got, want)
		}
	})
}

// FuzzReplies: what a device answers is read with bounds, whatever it is.
func FuzzReplies(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x10\x00\x00\x80\x00\x08\x00\x00\x00\x00\x00\x00\x10\x00"))
	f.Add([]byte("\x2E\x00\x00\x0F\x00\x03\xC0\x01\x01"))
	f.Add([]byte("\x00\x10\x00\x28\x01\x00\x00\x00"))
	f.Add(make([]byte, 64))
	f.Fuzz(func(t *testing.T, b []byte) {
		_, _ = ParseInquiry(b)
		_, _ = vitalBody(VPDSerial, b)
		ParseIdentifiers(b)
		_, _ = ParseBlockLimits(b)
		for _, long := range []bool{false, true} {
			if p, err := ParsePosition(b, long); err == nil && p.FileKnown && !p.Known {
				t.Errorf("a file number without a position: %+v", p)
			}
			if m, err := ParseMode(b, long); err == nil {
				if err := m.page(m0(m.Page), 0); err == nil && len(m.Page) > len(b) {
					t.Errorf("a page of %d bytes in %d", len(m.Page), len(b))
				}
			}
		}
		if len(b) > 0 {
			if p, err := ParseLog(b[0]&0x3F, b); err == nil {
				AlertsOf(LogAlerts, p)
				AlertsOf(LogAlertAnswer, p)
				VolumeOf(p)
				_, _ = DriveStateOf(p)
			}
		}
		if all, err := ParseAttributes(b); err == nil {
			checkAttributes(t, all)
		}
		_, _ = ParseKeys(b)
		_, _ = ParseReservation(b)
		_, _ = ParseAlgorithms(b)
		_, _ = ParseEncryption(b)
		_, _ = ParseDensities(b)
		_, _ = ParseOpcodes(b)
		if all, err := ParseOrder(b); err == nil {
			again, err := ParseOrder(EncodeOrder(all))
			if err != nil || !cmp.Equal(all, again) {
				t.Errorf("access order after a round: %v, %v", again, err)
			}
		}
	})
}

// checkAttributes: what is read survives being written and read again.
func checkAttributes(t *testing.T, all []Attribute) {
	for i := range all {
		all[i].ReadOnly = false
	}
	again, err := ParseAttributes(EncodeAttributes(all))
	if err != nil || !cmp.Equal(all, again) {
		t.Errorf("attributes after a round: %v, %v", again, err)
	}
}

func m0(page []byte) byte {
	if len(page) == 0 {
		return 1
	}
	return page[0] & 0x3F
}
