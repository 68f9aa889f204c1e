package target_test

import (
	"testing"

	"capstan/core/scsi"
)

// FuzzCommands gives any commands, one after another, to the robot and a drive:
// nothing may panic, and what a command moved fits what it was given.
func FuzzCommands(f *testing.F) {
	f.Add([]byte{1, 0x0A, 0, 0, 0, 4, 0, 1, 2, 3, 4}, uint16(64))
	f.Add(append([]byte{1}, cdb("4D 00 6E 00 00 00 00 0200 00")...), uint16(512))
	f.Add(append([]byte{0}, cdb("B8 10 0000 FFFF 01 00FFFF 00 00")...), uint16(4096))
	f.Add(append([]byte{0}, cdb("A5 00 0000 1001 0100 0000 00 00")...), uint16(0))
	f.Add(append(append([]byte{1}, cdb("8D 00 00 00 00 00 00 00 00 00 0000000D 00 00")...), cdb("00000009 0806 01 0004 41424344")...), uint16(0))
	f.Add(append(append([]byte{1}, cdb(setKey(52))...), keyPage(2, 2, key1, "")...), uint16(0))
	f.Add(append(append([]byte{1}, cdb("15 10 0000 24 00")...), append([]byte{0, 0, 0x10, 0, 0x4A, 0xF0, 0, 0x1C, 2, 4, 0xC0}, make([]byte, 25)...)...), uint16(0))
	f.Add(append(append([]byte{1}, cdb("A4 1D 02 00 00 00 00000028 00 00")...), append(cdb("00000000 00000020 001E"), make([]byte, 30)...)...), uint16(0))
	f.Add(append(append([]byte{1}, cdb("5F 00 00 00 00 00000018 00")...), make([]byte, 24)...), uint16(0))
	f.Fuzz(func(t *testing.T, b []byte, in uint16) {
		with(t, func(r *rig) {
			r.mount(1)
			for len(b) > 0 && !t.Failed() {
				lun := uint64(b[0] % 4)
				b = b[1:]
				n := min(cdbLen(b), len(b))
				c := &scsi.Command{CDB: b[:n:n], In: make([]byte, in)}
				rest := b[n:]
				out := min(len(rest), int(in)%600) // how much of it is data-out
				c.Out, b = rest[:out], rest[out:]
				res, err := r.nexus.LUN(lun).Do(r.ctx, c)
				if err != nil || res.N < 0 || res.N > max(len(c.In), len(c.Out)) {
					t.Errorf("% X: moved %d of %d and %d: %v", c.CDB, res.N, len(c.In), len(c.Out), err)
				}
				if res.Status == scsi.CheckCondition {
					if _, err := scsi.ParseSense(res.Sense); err != nil {
						t.Errorf("% X: %v", c.CDB, err)
					}
				}
			}
		})
	})
}

// cdbLen is the length of the CDB that b begins with.
func cdbLen(b []byte) int {
	if len(b) == 0 {
		return 0
	}
	switch b[0] >> 5 {
	case 1, 2:
		return 10
	case 4:
		return 16
	case 5:
		return 12
	}
	return 6
}
