package target_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"testing"

	"capstan/core/dev"
	"capstan/core/scsi"
	"capstan/vtl"
	target "capstan/vtl/scsi"
)

func move(from, to int) string { return fmt.Sprintf("A5 00 0000 %04X %04X 0000 00 00", from, to) }

func TestMoveMedium(t *testing.T) {
	with(t, func(r *rig) {
		r.settle()
		slot, drive := vtl.SlotAddress, vtl.DriveAddress
		for _, tt := range []struct{ cmd, end string }{
			{move(slot(9), drive(0)), "5/3B/0E"},
			{move(slot(1), slot(2)), "5/3B/0D"},
			{move(5, slot(9)), "5/21/01"},
			{move(slot(1), vtl.RobotAddress), "5/21/01"},
			{"A5 00 0002 1000 0100 0000 00 00", "5/21/01"},
			{"A5 00 0000 1000 0100 0000 01 00", "5/24/00"},
			{move(slot(1), drive(0)), good},
			{move(slot(2), drive(0)), "5/3B/0D"},
			{move(drive(0), slot(9)), good}, // the drive unloads by itself
			{move(slot(9), vtl.FirstImportExport), good},
			{"A6 00 0000 1001 0300 1008 00 00", good}, // slot 2 to the mail slot, what was there to slot 9
			{"A6 00 0000 1002 1003 1002 00 00", "5/3B/0D"},
			{"2B 00 0000 1001 00 00 00 00", good},
			{"2B 00 0000 0005 00 00 00 00", "5/21/01"},
			{"07 00 00 00 00 00", good},
			{"37 01 1001 00 00 0001 00 00", good},
			{"37 01 0005 00 00 0001 00 00", "5/21/01"},
			{"E7 00 00 00 00 00", good},
			{"1B 00 0300 01 00", good},
			{"1B 00 1000 01 00", "5/21/01"},
			{"B5 00 00 00 00 00 00000000 00 00", "5/20/00"}, // REQUEST VOLUME ELEMENT ADDRESS
			{"B6 00 00 00 00 00 00000000 00 00", "5/20/00"}, // SEND VOLUME TAG
		} {
			r.want(0, tt.cmd, nil, 0, tt.end)
		}
	})
}

func TestRemovalPrevented(t *testing.T) {
	with(t, func(r *rig) {
		r.mount(1)
		r.want(1, "1E 00 00 00 01 00", nil, 0, good)
		r.want(1, "1B 00 00 00 00 00", nil, 0, "5/53/02")
		r.want(0, move(vtl.DriveAddress(0), vtl.SlotAddress(1)), nil, 0, "5/53/02")
		r.want(1, "1E 00 00 00 00 00", nil, 0, good)
		r.want(1, "1B 00 00 00 00 00", nil, 0, good)
		r.want(1, "00 00 00 00 00 00", nil, 0, "2/04/02")
		r.want(0, move(vtl.DriveAddress(0), vtl.SlotAddress(1)), nil, 0, good)
		r.want(1, "00 00 00 00 00 00", nil, 0, "2/3A/00")
		r.want(0, "1E 00 00 00 01 00", nil, 0, good)
		r.want(0, "1B 00 0300 00 00", nil, 0, "5/53/02") // open the mail slot
		r.want(0, move(vtl.SlotAddress(1), vtl.FirstImportExport), nil, 0, good)
		if _, err := r.lib.TakeOut(r.ctx, vtl.FirstImportExport); !errors.Is(err, dev.ErrRemovalPrevented) {
			t.Errorf("a person takes a cartridge out of a locked mail slot: %v", err)
		}
		r.want(0, "1E 00 00 00 00 00", nil, 0, good)
		if _, err := r.lib.TakeOut(r.ctx, vtl.FirstImportExport); err != nil {
			t.Error(err)
		}
		r.want(0, "00 00 00 00 00 00", nil, 0, "6/28/01")
		r.want(0, "1B 00 0300 00 00", nil, 0, good)
	})
	with(t, func(r *rig) {
		r.mount(1)
		r.want(0, move(vtl.DriveAddress(0), vtl.SlotAddress(1)), nil, 0, "5/53/01")
	}, func(_ *vtl.Config, o *target.Options) { o.EjectFirst = true })
}

func TestMailSlotIsAnAttention(t *testing.T) {
	with(t, func(r *rig) {
		r.settle()
		r.want(0, move(vtl.SlotAddress(1), vtl.FirstImportExport), nil, 0, good)
		if _, err := r.lib.TakeOut(r.ctx, vtl.FirstImportExport); err != nil {
			t.Fatal(err)
		}
		r.want(0, "00 00 00 00 00 00", nil, 0, "6/28/01")
		r.want(0, "00 00 00 00 00 00", nil, 0, good)
		if err := r.lib.PutIn(r.ctx, "CAP001L9", vtl.FirstImportExport); err != nil {
			t.Fatal(err)
		}
		r.want(0, "12 00 00 00 60 00", nil, 96, good) // does not take the attention
		b := r.want(0, "03 00 00 00 12 00", nil, 18, good)
		if b[2] != 6 || b[12] != 0x28 || b[13] != 0x01 {
			t.Errorf("REQUEST SENSE % X", b)
		}
		r.want(0, "00 00 00 00 00 00", nil, 0, good)
		b = r.want(0, "B8 13 0000 FFFF 00 00FFFF 00 00", nil, 65535, good)
		if b[16+2] != 0x3B { // access, export, import, put in by a person, full
			t.Errorf("the mail slot's flags %X", b[16+2])
		}
	})
}

func TestElementStatus(t *testing.T) {
	with(t, func(r *rig) {
		r.settle()
		r.want(0, move(vtl.SlotAddress(3), vtl.DriveAddress(1)), nil, 0, good)
		b := r.want(0, "B8 14 0000 FFFF 01 00FFFF 00 00", nil, 65535, good)
		const each = 12 + 36 + 36
		head := cdb("0100 0002 00 0000B0  04 80 0054 00 0000A8")
		if len(b) != 16+2*each || !bytes.Equal(b[:16], head) {
			t.Fatalf("%d bytes, % X", len(b), b[:16])
		}
		d := b[16+each:]
		if a, src := binary.BigEndian.Uint16(d), binary.BigEndian.Uint16(d[10:]); a != 0x101 || d[2] != 0x09 || d[9]&0x80 == 0 || src != 0x1002 {
			t.Errorf("drive 2: % X", d[:12])
		}
		if string(d[12:20]) != "CAP003L9" {
			t.Errorf("volume tag %q", d[12:44])
		}
		serial := r.want(2, "12 01 80 00 FF 00", nil, 255, good)[4:]
		if d[48] != 0x02 || d[51] != 32 || string(bytes.TrimRight(d[52:84], " ")) != string(serial) {
			t.Errorf("device identifier % X, the drive says %q", d[48:84], serial)
		}
		// all types at once, and what is counted is what comes
		all := r.want(0, "B8 10 0000 FFFF 00 00FFFF 00 00", nil, 65535, good)
		if n := binary.BigEndian.Uint16(all[2:]); n != 14 || len(all) != 8+4*8+14*52 {
			t.Errorf("%d elements in %d bytes", n, len(all))
		}
		// with little room, whole descriptors and the full count
		for room := 8; room < 300; room += 7 {
			part := r.want(0, fmt.Sprintf("B8 12 0000 FFFF 00 %06X 00 00", room), nil, room, good)
			if room > 8 && room < 16 {
				continue
			}
			if n := len(part) - 16; room >= 16 && n%52 != 0 || len(part) > room || part[3] != 10 {
				t.Errorf("%d bytes in room for %d: % X", len(part), room, part[:8])
			}
		}
		if b := r.want(0, "B8 12 1004 0002 00 00FFFF 00 00", nil, 65535, good); len(b) != 16+2*52 || binary.BigEndian.Uint16(b[16:]) != 0x1004 {
			t.Errorf("a range: % X", b)
		}
		r.want(0, "B8 12 2000 0002 00 00FFFF 00 00", nil, 65535, "5/21/01")
		r.want(0, "B8 15 0000 0002 00 00FFFF 00 00", nil, 65535, "5/24/00")
	})
}

func TestChangerModes(t *testing.T) {
	with(t, func(r *rig) {
		r.settle()
		b := r.want(0, "1A 08 1D 00 FF 00", nil, 255, good)
		want := cdb("17 00 00 00 1D 12 0001 0001 1000 000A 0300 0001 0100 0002 0000")
		if !bytes.Equal(b, want) {
			t.Errorf("element addresses % X", b)
		}
		r.want(0, "1A 08 1F 00 FF 00", nil, 255, good)
		r.want(0, "1A 08 1E 00 FF 00", nil, 255, good)
		r.want(0, "1A 08 0F 00 FF 00", nil, 255, "5/24/00")
	})
}

// TestEveryConditionOfTheRobot injects each sense at each of the robot's commands,
// not done and done, and looks where the cartridge is.
func TestEveryConditionOfTheRobot(t *testing.T) {
	senses := []dev.Sense{
		{Key: 2, ASC: 0x04, ASCQ: 1}, {Key: 2, ASC: 0x04, ASCQ: 3}, {Key: 4, ASC: 0x15, ASCQ: 1}, {Key: 4, ASC: 0x53}, {Key: 5, ASC: 0x21, ASCQ: 1}, {Key: 5, ASC: 0x3B, ASCQ: 0x0D},
		{Key: 5, ASC: 0x3B, ASCQ: 0x0E}, {Key: 5, ASC: 0x3B, ASCQ: 0x11}, {Key: 5, ASC: 0x53, ASCQ: 1}, {Key: 5, ASC: 0x53, ASCQ: 2}, {Key: 6, ASC: 0x28, ASCQ: 1}, {Key: 6, ASC: 0x29},
		{Key: 6, ASC: 0x3B, ASCQ: 0x12}, {Key: 0xB, ASC: 0x44},
	}
	with(t, func(r *rig) {
		r.settle()
		at, to := vtl.SlotAddress(1), vtl.SlotAddress(9)
		for _, done := range []bool{false, true} {
			for _, s := range senses {
				for _, cmd := range []string{"MOVE", "B8 10 0000 FFFF 00 00FFFF 00 00", "07 00 00 00 00 00", "00 00 00 00 00 00", "1A 08 1D 00 FF 00"} {
					moves := cmd == "MOVE"
					if moves {
						cmd = move(at, to)
					}
					r.tgt.Inject(target.Injection{Unit: "robot", Opcodes: []int{int(cdb(cmd)[0])}, Status: scsi.CheckCondition, Sense: scsi.Sense{Sense: s}, Done: done})
					r.want(0, cmd, nil, 65535, s.String())
					if moves && done {
						at, to = to, at
					}
					b := r.want(0, fmt.Sprintf("B8 10 %04X 0001 00 00FFFF 00 00", at), nil, 65535, good)
					if b[16+2]&0x01 == 0 || string(b[16+12:16+20]) != "CAP001L9" {
						t.Errorf("%s with %s, done %v: element %d is % X", cmd, s, done, at, b[16:])
					}
				}
			}
		}
	})
}
