package target_test

import (
	"bytes"
	"encoding/binary"
	"testing"
	"time"

	"capstan/core/dev"
	"capstan/core/rt"
	"capstan/core/scsi"
	"capstan/vtl"
	target "capstan/vtl/scsi"
)

// TestEveryConditionAtEveryCommand injects each sense of the drivers' tables at each
// kind of command, not done and done, and looks whether the tape tells the truth
// after it.
func TestEveryConditionAtEveryCommand(t *testing.T) {
	senses := []dev.Sense{
		{}, {ASCQ: 0x01}, {ASCQ: 0x02}, {ASCQ: 0x04}, {ASCQ: 0x07}, {ASCQ: 0x17}, {Key: 1, ASC: 0x37}, {Key: 2, ASC: 0x04}, {Key: 2, ASC: 0x04, ASCQ: 1},
		{Key: 2, ASC: 0x04, ASCQ: 2}, {Key: 2, ASC: 0x04, ASCQ: 3}, {Key: 2, ASC: 0x30, ASCQ: 3}, {Key: 2, ASC: 0x3A}, {Key: 3, ASC: 0x0C}, {Key: 3, ASC: 0x11},
		{Key: 3, ASC: 0x30}, {Key: 3, ASC: 0x31}, {Key: 3, ASC: 0x52}, {Key: 4, ASC: 0x10, ASCQ: 1}, {Key: 4, ASC: 0x44}, {Key: 5, ASC: 0x20}, {Key: 5, ASC: 0x24},
		{Key: 5, ASC: 0x2C}, {Key: 5, ASC: 0x3B, ASCQ: 0x0D}, {Key: 5, ASC: 0x3B, ASCQ: 0x0E}, {Key: 5, ASC: 0x53, ASCQ: 2}, {Key: 6, ASC: 0x28}, {Key: 6, ASC: 0x29},
		{Key: 6, ASC: 0x2A, ASCQ: 3}, {Key: 6, ASC: 0x2A, ASCQ: 0x11}, {Key: 7, ASC: 0x27}, {Key: 7, ASC: 0x74, ASCQ: 1}, {Key: 8, ASCQ: 5}, {Key: 0xB, ASC: 0x47, ASCQ: 3},
		{Key: 0xD, ASCQ: 2},
	}
	commands := []struct {
		cmd   string
		out   []byte
		moved int // objects, if it is done
	}{
		{"00 00 00 00 00 00", nil, 0}, {write6(3), []byte("abc"), 1}, {"8A 00 00 00 0000000000000000 000003 00", nil, 0}, {read6(3), nil, 1},
		{"10 00 000001 00", nil, 1}, {"11 00 000001 00", nil, 1}, {"92 00 00 00 0000000000000002 00 00 00 00", nil, 1}, {"01 00 00 00 00 00", nil, -1},
		{"34 06 00 00 00 00 00 0020 00", nil, 0}, {"1B 00 00 00 01 00", nil, -1}, {"19 00 00 00 00 00", nil, 0}, {"1A 00 0F 00 FF 00", nil, 0}, {"4D 00 6E 00 00 00 00 0200 00", nil, 0},
		{"8C 00 00 00 00 00 00 00 0000 00001000 00 00", nil, 0},
	}
	commands = append(commands[:2], commands[3:]...)
	with(t, func(r *rig) {
		r.mount(1)
		for _, done := range []bool{false, true} {
			for _, s := range senses {
				for _, c := range commands {
					r.want(1, "01 00 00 00 00 00", nil, 0, good)
					for range 3 {
						r.want(1, write6(3), []byte("old"), 0, good)
					}
					r.want(1, "2B 00 00 00000001 00 00 00", nil, 0, good)
					in := target.Injection{Unit: "robot-d0", Opcodes: []int{int(cdb(c.cmd)[0])}, Status: scsi.CheckCondition, Sense: scsi.Sense{Sense: s}, Done: done}
					r.tgt.Inject(in)
					r.want(1, c.cmd, c.out, 4096, s.String())
					at := 1
					if done {
						at += c.moved
					}
					p := r.want(1, "34 06 00 00 00 00 00 0020 00", nil, 32, good)
					if got := int(binary.BigEndian.Uint64(p[8:])); got != at {
						t.Errorf("%s with %s, done %v: at object %d, want %d", c.cmd, s, done, got, at)
					}
				}
			}
		}
	})
}

func TestInjection(t *testing.T) {
	with(t, func(r *rig) {
		r.mount(1)
		medium := scsi.Sense{Sense: dev.Sense{Key: 3, ASC: 0x0C}, Information: 3, Valid: true}
		r.tgt.Inject(target.Injection{Opcodes: []int{scsi.Write6}, Skip: 1, Times: 2, Status: scsi.CheckCondition, Sense: medium})
		for _, end := range []string{good, "3/0C/00 information 3", "3/0C/00 information 3", good} {
			r.want(1, write6(3), []byte("abc"), 0, end)
		}
		r.tgt.Inject(target.Injection{Opcodes: []int{scsi.Write6}, Lost: true})
		r.tgt.Inject(target.Injection{Opcodes: []int{scsi.Write6}, Lost: true, Done: true})
		r.want(1, write6(3), []byte("abc"), 0, "lost")
		r.want(1, write6(3), []byte("abc"), 0, "lost")
		p := r.want(1, "34 00 00 00 00 00 00 0000 00", nil, 20, good)
		if !bytes.Equal(p[4:8], []byte{0, 0, 0, 3}) {
			t.Errorf("of two lost writes one was done: % X", p)
		}
		r.tgt.Inject(target.Injection{Status: scsi.Busy})
		r.want(1, "12 00 00 00 60 00", nil, 96, good)
		r.want(1, "00 00 00 00 00 00", nil, 0, "BUSY")
		r.tgt.Inject(target.Injection{Opcodes: []int{scsi.Write6}, Attention: true, Sense: scsi.Sense{Sense: dev.Sense{Key: 6, ASC: 0x5A, ASCQ: 1}}})
		r.want(1, write6(3), []byte("abc"), 0, "6/5A/01")
		r.want(1, write6(3), []byte("abc"), 0, good)
		r.tgt.Inject(target.Injection{Times: -1, Status: scsi.TaskSetFull})
		r.want(1, write6(3), []byte("abc"), 0, "TASK SET FULL")
		r.tgt.ClearInjections()
		r.want(1, write6(3), []byte("abc"), 0, good)
		// faults of the library strike the target's commands too
		r.lib.Inject(dev.Fault{Device: "robot-d0", Op: dev.OpWrite, Err: dev.ErrMedium})
		r.want(1, write6(3), []byte("abc"), 0, "3/11/00 information 3")
		r.lib.Inject(dev.Fault{Device: "CAP001L9", Op: dev.OpRewind, Err: dev.ErrGone})
		r.want(1, "01 00 00 00 00 00", nil, 0, "lost")
		r.lib.Inject(dev.Fault{Device: "robot", Op: dev.OpMove, Err: dev.ErrHardware})
		r.want(0, move(vtl.SlotAddress(2), vtl.DriveAddress(1)), nil, 0, "4/44/00")
	})
}

// TestTime is a library that takes time: the robot's command ends before the drive
// is ready, and the drive says so meanwhile.
func TestTime(t *testing.T) {
	with(t, func(r *rig) {
		r.settle()
		r.want(0, move(vtl.SlotAddress(1), vtl.DriveAddress(0)), nil, 0, good)
		if err := rt.Sleep(r.ctx, time.Second); err != nil {
			t.Fatal(err)
		}
		begun := rt.Mono(r.ctx)
		r.want(1, "00 00 00 00 00 00", nil, 0, "2/04/01")
		r.want(1, "12 00 00 00 60 00", nil, 96, good)
		if rt.Mono(r.ctx) != begun {
			t.Error("commands during the load waited for it")
		}
		if err := rt.Sleep(r.ctx, time.Minute); err != nil {
			t.Fatal(err)
		}
		r.want(1, "00 00 00 00 00 00", nil, 0, "6/28/00")
		r.want(1, "00 00 00 00 00 00", nil, 0, good)
		r.want(1, write6(3), []byte("abc"), 0, good)
		r.want(1, "10 00 000001 00", nil, 0, good)
		begun = rt.Mono(r.ctx)
		r.want(1, "01 01 00 00 00 00", nil, 0, good)
		if rt.Mono(r.ctx) != begun {
			t.Error("REWIND with IMMED took time")
		}
		if err := rt.Sleep(r.ctx, time.Millisecond); err != nil { // it is under way
			t.Fatal(err)
		}
		begun = rt.Mono(r.ctx)
		r.want(1, "12 00 00 00 60 00", nil, 96, good)
		r.want(1, "A0 00 00 00 00 00 00000100 00 00", nil, 256, good)
		if rt.Mono(r.ctx) != begun {
			t.Error("INQUIRY waited for the tape")
		}
		r.want(1, "00 00 00 00 00 00", nil, 0, good)
		if rt.Mono(r.ctx) == begun {
			t.Error("TEST UNIT READY did not wait for its turn: was the tape moving?")
		}
		if b := r.want(1, read6(3), nil, 3, good); string(b) != "abc" {
			t.Errorf("after REWIND with IMMED, READ gives %q", b)
		}
	}, func(c *vtl.Config, _ *target.Options) { c.TimeScale = 1 })
}

// TestLate: the error of a command with IMMED comes in the place of the next command of
// the initiator that gave it, once.
func TestLate(t *testing.T) {
	with(t, func(r *rig) {
		r.settle()
		r.want(0, move(vtl.SlotAddress(1), vtl.DriveAddress(0)), nil, 0, good)
		r.want(1, "00 00 00 00 00 00", nil, 0, "2/04/02")
		r.want(1, "1B 01 00 00 01 00", nil, 0, good) // LOAD, IMMED
		if err := rt.Sleep(r.ctx, time.Hour); err != nil {
			t.Fatal(err)
		}
		r.want(1, "12 00 00 00 60 00", nil, 96, good)
		r.want(1, "00 00 00 00 00 00", nil, 0, "3/30/00 deferred")
		r.want(1, "00 00 00 00 00 00", nil, 0, "2/04/02")
	}, func(c *vtl.Config, o *target.Options) {
		c.TimeScale, o.StayUnloaded = 1, true
		c.Cartridges[0].Density = "LTO-5" // which an LTO-9 drive does not read
	})
}
