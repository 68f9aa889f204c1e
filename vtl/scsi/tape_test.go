package target_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"testing"

	"capstan/core/dev"
	"capstan/vtl"
	target "capstan/vtl/scsi"
)

func TestEndOfMedium(t *testing.T) {
	with(t, func(r *rig) {
		r.mount(1)
		b := pattern(1<<20, 1)
		for i := range 3 {
			r.want(1, write6(len(b)), b, 0, good)
			_ = i
		}
		r.want(1, write6(len(b)-512), b[:len(b)-512], 0, "0/00/02 EOM information 0")
		p := r.want(1, "34 06 00 00 00 00 00 0020 00", nil, 32, good)
		if p[0] != 0x41 {
			t.Errorf("position flags %X", p[0])
		}
		r.want(1, "10 00 000001 00", nil, 0, "0/00/02 EOM information 0")
		r.want(1, "10 00 000001 00", nil, 0, "D/00/02 EOM information 1")
		r.want(1, write6(100), b[:100], 0, "D/00/02 EOM information 100")
		r.want(1, "15 10 0000 0C 00", blockLength(1<<18), 0, good)
		r.want(1, "11 00 FFFFFE 00", nil, 0, "0/00/01 FILEMARK information 2")
		r.want(1, "11 00 FFFFFF 00", nil, 0, good)
		r.want(1, "0A 01 000005 00", make([]byte, 5<<18), 0, "D/00/02 EOM information 1")
	})
}

func TestProgrammableWarning(t *testing.T) {
	with(t, func(r *rig) {
		r.mount(1)
		page := append([]byte{0, 0, 0x10, 0, 0x50, 0x01, 0, 0x1C, 0, 0, 0, 1}, make([]byte, 24)...)
		r.want(1, "15 10 0000 24 00", page, 0, good)
		b := pattern(1<<20, 1)
		r.want(1, write6(len(b)), b, 0, good)
		r.want(1, write6(len(b)), b, 0, good)
		r.want(1, write6(len(b)), b, 0, "0/00/07")
		r.want(1, write6(1000), b[:1000], 0, "0/00/02 EOM information 0")
	})
}

func TestProtectionOfBlocks(t *testing.T) {
	if got := target.ReedSolomon([]byte{1}); got != 0x38CF3801 {
		t.Errorf("Reed-Solomon CRC of 01h is %08X", got)
	}
	for method, sum := range map[byte]func([]byte) []byte{
		1: func(b []byte) []byte { return binary.BigEndian.AppendUint32(nil, target.ReedSolomon(b)) },
		2: crc32c,
	} {
		with(t, func(r *rig) {
			r.mount(1)
			r.want(1, "15 10 0000 24 00", append([]byte{0, 0, 0x10, 0, 0x4A, 0xF0, 0, 0x1C, method, 4, 0xC0}, make([]byte, 25)...), 0, good)
			data := pattern(1000, 1)
			block := append(bytes.Clone(data), sum(data)...)
			r.want(1, write6(len(block)), block, 0, good)
			block[7] ^= 1
			r.want(1, write6(len(block)), block, 0, "4/10/01 information 1004")
			block[7] ^= 1
			r.want(1, "01 00 00 00 00 00", nil, 0, good)
			if got := r.want(1, read6(1004), nil, 1004, good); !bytes.Equal(got, block) {
				t.Errorf("method %d: read with another guard: % X", method, got[1000:])
			}
			if err := r.nexus.LUN(1).Reset(r.ctx); err != nil {
				t.Error(err)
			}
			r.want(1, "01 00 00 00 00 00", nil, 0, "6/29/03")
			r.want(1, "01 00 00 00 00 00", nil, 0, good)
			if got := r.want(1, read6(1000), nil, 1000, good); !bytes.Equal(got, data) {
				t.Error("after a reset blocks are not without guard")
			}
		})
	}
}

// TestMedia is what cartridges that cannot be written say.
func TestMedia(t *testing.T) {
	with(t, func(r *rig) {
		r.mount(8) // write protected
		r.want(1, write6(3), []byte("abc"), 0, "7/27/00")
		r.want(1, "10 00 000001 00", nil, 0, "7/27/00")
		r.want(1, "10 00 000000 00", nil, 0, good)
		if b := r.want(1, "1A 00 00 00 FF 00", nil, 255, good); b[2]&0x80 == 0 || b[4] != 0x60 {
			t.Errorf("MODE SENSE of a protected LTO-9 cartridge % X", b)
		}
	})
	with(t, func(r *rig) {
		r.mount(7) // WORM
		r.want(1, write6(3), []byte("abc"), 0, good)
		r.want(1, "10 00 000002 00", nil, 0, good)
		r.want(1, "11 01 FFFFFF 00", nil, 0, good)
		r.want(1, write6(3), []byte("def"), 0, good) // over the last filemark
		r.want(1, "01 00 00 00 00 00", nil, 0, good)
		r.want(1, write6(3), []byte("ghi"), 0, "7/30/0C information 3")
		r.want(1, "19 00 00 00 00 00", nil, 0, "7/30/0C information 0")
		if b := r.want(1, "1A 08 1D 00 FF 00", nil, 255, good); b[4+2] != 0x01 {
			t.Errorf("medium configuration % X", b)
		}
	})
	with(t, func(r *rig) {
		r.settle()
		r.want(0, move(vtl.SlotAddress(9), vtl.DriveAddress(0)), nil, 0, good)
		r.want(1, "00 00 00 00 00 00", nil, 0, "2/30/03")
		r.want(1, write6(3), []byte("abc"), 0, "2/30/03")
		r.want(0, move(vtl.DriveAddress(0), vtl.SlotAddress(9)), nil, 0, good)
		r.want(1, "00 00 00 00 00 00", nil, 0, "2/3A/00")
		r.want(0, move(vtl.SlotAddress(10), vtl.DriveAddress(0)), nil, 0, good)
		r.want(1, "00 00 00 00 00 00", nil, 0, "2/04/02") // an LTO-5 cartridge does not load
		r.want(1, "1B 00 00 00 01 00", nil, 0, "3/30/00")
	}, func(c *vtl.Config, _ *target.Options) {
		c.Cartridges = append(c.Cartridges, vtl.CartridgeConfig{Barcode: "CLN001L1", Slot: 9}, vtl.CartridgeConfig{Barcode: "OLD001L5", Slot: 10})
	})
}

// TestLoad is told to the others, not to who gave the command.
func TestLoad(t *testing.T) {
	with(t, func(a *rig) {
		a.mount(1)
		b := a.as("b")
		a.want(1, "1B 00 00 00 00 00", nil, 0, good)
		b.want(1, "00 00 00 00 00 00", nil, 0, "2/04/02")
		a.want(1, "1B 00 00 00 01 00", nil, 0, good)
		a.want(1, "00 00 00 00 00 00", nil, 0, good)
		b.want(1, "00 00 00 00 00 00", nil, 0, "6/28/00")
		b.want(1, "00 00 00 00 00 00", nil, 0, good)
		b.want(1, "15 10 0000 0C 00", blockLength(512), 0, good)
		a.want(1, "00 00 00 00 00 00", nil, 0, "6/2A/01")
		b.want(1, "00 00 00 00 00 00", nil, 0, good)
	})
	with(t, func(r *rig) {
		r.settle()
		r.want(0, move(vtl.SlotAddress(1), vtl.DriveAddress(0)), nil, 0, good)
		r.want(1, "00 00 00 00 00 00", nil, 0, "2/04/02")
		r.want(1, "1B 00 00 00 01 00", nil, 0, good)
		r.want(1, "00 00 00 00 00 00", nil, 0, good)
	}, func(_ *vtl.Config, o *target.Options) { o.StayUnloaded = true })
}

func TestAppendOnly(t *testing.T) {
	with(t, func(r *rig) {
		r.mount(1)
		page := append([]byte{0, 0, 0x10, 0, 0x50, 0x01, 0, 0x1C, 0, 1, 0, 0}, make([]byte, 24)...)
		r.want(1, "15 10 0000 24 00", page, 0, good)
		for range 3 {
			r.want(1, write6(3), []byte("abc"), 0, good)
		}
		r.want(1, "92 00 00 00 0000000000000001 00 00 00 00", nil, 0, good)
		r.want(1, write6(3), []byte("def"), 0, "7/30/0C")
		r.want(1, "82 00 01 00 0000000000000002 00 00 00 00", nil, 0, "5/2C/00")
		r.want(1, "82 00 01 00 0000000000000001 00 00 00 00", nil, 0, good)
		r.want(1, write6(3), []byte("def"), 0, good)
		r.want(1, write6(3), []byte("def"), 0, good)
	})
}

func TestAttributes(t *testing.T) {
	with(t, func(r *rig) {
		r.mount(1)
		list := cdb("00000010 0803 02 000B")
		list = append(list, "a title abc"...)
		binary.BigEndian.PutUint32(list, uint32(len(list)-4))
		r.want(1, fmt.Sprintf("8D 00 00 00 00 00 00 00 00 00 %08X 00 00", len(list)), list, 0, good)
		r.want(1, "1B 00 00 00 00 00", nil, 0, good) // the chip is read without the tape
		b := r.want(1, "8C 00 00 00 00 00 00 00 0803 00001000 00 00", nil, 4096, good)
		if !bytes.Equal(b[4:9], cdb("0803 02 000B")) || string(b[9:20]) != "a title abc" {
			t.Errorf("attribute % X", b)
		}
		b = r.want(1, "8C 00 00 00 00 00 00 00 0806 00001000 00 00", nil, 4096, good)
		if !bytes.HasPrefix(b[9:], []byte("CAP001L9")) {
			t.Errorf("barcode % X", b)
		}
		b = r.want(1, "8C 00 00 00 00 00 00 00 0001 00001000 00 00", nil, 4096, good)
		if !bytes.Equal(b[4:9], cdb("0001 80 0008")) || binary.BigEndian.Uint64(b[9:]) != capacity>>20 {
			t.Errorf("capacity % X", b[:17])
		}
		r.want(1, "8C 01 00 00 00 00 00 00 0000 00001000 00 00", nil, 4096, good)
		bad := cdb("00000006 0000 00 0001 00")
		r.want(1, "8D 00 00 00 00 00 00 00 00 00 0000000A 00 00", bad, 0, "5/26/00")
		long := append(cdb("0000FFFF 0803 02 FFFF"), make([]byte, 50)...)
		r.want(1, "8D 00 00 00 00 00 00 00 00 00 0000003B 00 00", long, 0, "5/26/00")
	})
}

func TestTapeAlert(t *testing.T) {
	with(t, func(r *rig) {
		r.mount(1)
		for flag := 1; flag <= 64; flag++ {
			if err := r.tgt.Alert(r.ctx, "robot-d0", flag); err != nil {
				t.Fatal(err)
			}
			quiet := r.want(1, "4D 00 52 00 00 00 00 0100 00", nil, 256, good)
			if v := binary.BigEndian.Uint64(quiet[8:]); v != 1<<(64-flag) {
				t.Errorf("flag %d in page 12h: %016X", flag, v)
			}
			b := r.want(1, "4D 00 6E 00 00 00 00 0200 00", nil, 512, good)
			if len(b) != 4+64*5 {
				t.Fatalf("page 2Eh has %d bytes", len(b))
			}
			for i := 1; i <= 64; i++ {
				if on := b[4+5*(i-1)+4] == 1; on != (i == flag) {
					t.Errorf("flag %d raised, parameter %d is %v", flag, i, on)
				}
			}
			b = r.want(1, "4D 00 6E 00 00 00 00 0200 00", nil, 512, good)
			if b[4+5*(flag-1)+4] != 0 {
				t.Errorf("flag %d is not cleared by reading it", flag)
			}
		}
	})
}

func TestCleaning(t *testing.T) {
	with(t, func(r *rig) {
		r.mount(1)
		r.lib.Inject(dev.Fault{Device: "robot-d0", Op: dev.OpWrite, Err: dev.ErrCleaning})
		r.want(1, write6(3), []byte("abc"), 0, "0/00/17 information 0")
		asked := func() bool {
			return r.want(1, "4D 00 6E 00 00 00 00 0200 00", nil, 512, good)[4+5*19+4] == 1
		}
		if !asked() || asked() {
			t.Error("TapeAlert flag 20 is not told once")
		}
		r.lib.Inject(dev.Fault{Device: "robot-d0", Op: dev.OpUnload, Err: dev.ErrHardware, Done: true})
		r.want(1, "1B 00 00 00 00 00", nil, 0, "4/44/00")
		r.want(1, "00 00 00 00 00 00", nil, 0, "2/04/02")
		r.want(0, move(vtl.DriveAddress(0), vtl.SlotAddress(1)), nil, 0, good)
		r.want(0, move(vtl.SlotAddress(9), vtl.DriveAddress(0)), nil, 0, good)
		r.want(0, move(vtl.DriveAddress(0), vtl.SlotAddress(9)), nil, 0, good)
		if r.lib.Decks()[0].CleaningNeeded() {
			t.Error("the drive was cleaned and asks for it still")
		}
	}, func(c *vtl.Config, _ *target.Options) {
		c.Cartridges = append(c.Cartridges, vtl.CartridgeConfig{Barcode: "CLN001L1", Slot: 9})
	})
}

func TestPowerCycle(t *testing.T) {
	with(t, func(r *rig) {
		r.mount(1)
		r.want(1, write6(3), []byte("abc"), 0, good)
		r.want(1, "10 00 000001 00", nil, 0, good)
		r.want(1, write6(3), []byte("def"), 0, good)
		r.want(1, "15 10 0000 0C 00", blockLength(512), 0, good)
		r.pr(0, 0, 0, 1, good)
		r.pr(1, 3, 1, 0, good)
		if err := r.lib.PowerCycle(r.ctx, "robot-d0"); err != nil {
			t.Fatal(err)
		}
		r.want(1, write6(3), []byte("xyz"), 0, "6/29/00")
		if b := r.want(1, "1A 00 00 00 FF 00", nil, 255, good); !bytes.Equal(b[9:12], []byte{0, 0, 0}) {
			t.Errorf("the block length outlived the reset: % X", b)
		}
		if k := r.want(1, "5E 00 00 00 00 00 00 0100 00", nil, 256, good); len(k) != 8 {
			t.Errorf("registrations outlived the loss of power: % X", k)
		}
		r.want(1, "11 03 000000 00", nil, 0, good)
		p := r.want(1, "34 06 00 00 00 00 00 0020 00", nil, 32, good)
		if n := binary.BigEndian.Uint64(p[8:]); n != 2 {
			t.Errorf("%d objects are left, of which 2 were durable", n)
		}
	})
}

// TestVectors compares answers byte by byte with the standards' layouts.
func TestVectors(t *testing.T) {
	with(t, func(r *rig) {
		r.mount(1)
		r.want(1, write6(3), []byte("abc"), 0, good)
		for _, tt := range []struct{ name, cmd, answer string }{
			{"READ BLOCK LIMITS", "05 00 00 00 00 00", "00 800000 0001"},
			{"READ POSITION short", "34 00 00 00 00 00 00 0000 00", "00 00 0000 00000001 00000001 00000000 00000000"},
			{"READ POSITION long", "34 06 00 00 00 00 00 0000 00", "00 000000 00000000 0000000000000001 0000000000000000 0000000000000000"},
			{"READ POSITION extended", "34 08 00 00 00 00 00 0020 00", "00 00 001C 00000000 0000000000000001 0000000000000001 0000000000000000"},
			{"MODE SENSE(6) of compression", "1A 08 0F 00 FF 00", "13 98 10 00 0F 0E 40 80 00000010 00000010 00000000"},
			{"MODE SENSE(10) with descriptor", "5A 00 0F 00 00 00 00 00FF 00", "001E 98 10 00 00 0008 60 000000 00 000000 0F 0E 40 80 00000010 00000010 00000000"},
			{"vital pages", "12 01 00 00 FF 00", "01 00 0008 00 80 83 86 B0 B1 B3 B5"},
			{"sequential-access capabilities", "12 01 B0 00 FF 00", "01 B0 0002 01 00"},
			{"protection methods", "12 01 B5 00 FF 00", "01 B5 0016 00000000 08 01 04 C0 00000000 00 08 02 04 C0 00000000 00"},
			{"one operation code", "A3 0C 81 01 0000 00000100 00 00", "00 83 0006 01 FF FF FF FF 00 000A 00 00 00000000 00000258"},
			{"an operation code that is not there", "A3 0C 01 0F 0000 00000100 00 00", "00 01 0000"},
			{"supported log pages", "4D 00 40 00 00 00 00 0100 00", "00 00 000A 00 02 03 0C 11 12 17 2E 31 32"},
			{"protocols", "A2 00 0000 00 00 00000100 00 00", "000000000000 0002 00 20"},
		} {
			b := r.want(1, tt.cmd, nil, 512, good)
			if want := cdb(tt.answer); !bytes.Equal(b, want) {
				t.Errorf("%s:\n got % X\nwant % X", tt.name, b, want)
			}
		}
		r.want(1, "0F 00 000001 00", nil, 10, "5/20/00") // READ REVERSE
		r.want(1, "08 03 000001 00", nil, 10, "5/24/00") // SILI with fixed blocks
		r.want(1, "08 01 000001 00", nil, 10, "5/24/00") // fixed blocks of no length
		r.want(1, "11 02 000001 00", nil, 0, "5/24/00")
		r.want(1, "A3 0C 00 00 0000 00001000 00 00", nil, 4096, good)
		r.want(1, "44 00 00 00 00 00 00 0100 00", nil, 256, good)
	})
}

func TestAccessOrder(t *testing.T) {
	with(t, func(r *rig) {
		r.mount(1)
		for range 100 {
			r.want(1, write6(10000), pattern(10000, 1), 0, good)
		}
		r.want(1, "01 00 00 00 00 00", nil, 0, good)
		var list []byte
		for _, at := range []uint64{90, 10, 50} {
			d := make([]byte, 32)
			d[1] = 30
			binary.BigEndian.PutUint64(d[16:], at)
			binary.BigEndian.PutUint64(d[24:], at+1)
			list = append(list, d...)
		}
		out := append([]byte{0, 0, 0, 0, 0, 0, 0, byte(len(list))}, list...)
		r.want(1, "A3 1D 00 00 00 00 00001000 00 00", nil, 4096, "5/2C/00")
		r.want(1, fmt.Sprintf("A4 1D 02 00 00 00 %08X 00 00", len(out)), out, 0, good)
		b := r.want(1, "A3 1D 00 00 00 00 00001000 00 00", nil, 4096, good)
		var got []uint64
		for d := b[8:]; len(d) > 0; d = d[32:] {
			got = append(got, binary.BigEndian.Uint64(d[16:]))
		}
		if len(got) != 3 {
			t.Fatalf("order % X", b)
		}
		took := func(order ...uint64) (sum int64) {
			at := int64(0)
			for _, o := range order {
				var d int64
				_ = r.lib.Decks()[0].Do(r.ctx, func(context.Context) error {
					d = int64(r.lib.Decks()[0].LocateTime(at, int64(o)))
					return nil
				})
				sum, at = sum+d, int64(o)+2 // the segment is two blocks long
			}
			return sum
		}
		if took(got...) > took(90, 10, 50) {
			t.Errorf("the order %v takes longer than the one that was sent", got)
		}
	})
}
