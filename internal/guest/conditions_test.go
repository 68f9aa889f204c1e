//go:build devices

package guest_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"capstan/core/dev"
	"capstan/core/rt"
	"capstan/core/scsi"
	"capstan/hw/changer"
	"capstan/hw/clock"
	lu "capstan/hw/scsi"
	"capstan/hw/tape"
	"capstan/hw/tape/tapetest"
	"capstan/internal/vtlserve"
	vscsi "capstan/vtl/scsi"
)

// disturb is what a person does with "capstan vtl inject" and "clear".
func disturb(ctx context.Context, t *testing.T, q vtlserve.Request) {
	t.Helper()
	if _, err := vtlserve.Disturb(ctx, librarySocket, &q); err != nil {
		t.Fatal(err)
	}
}

// injection strikes the next command of an operation code.
func injection(unit string, code byte, c *tapetest.Condition, done bool) *vscsi.Injection {
	i := &vscsi.Injection{Unit: unit, Opcodes: []int{int(code)}, Done: done, Status: c.Status, Sense: c.Sense}
	if c.Status == 0 {
		i.Status = scsi.CheckCondition
	}
	return i
}

// TestConditions has each condition end each operation of a drive and of the robot, by
// the kernel's generic devices and by its tape driver: whatever became of it, it is
// told by a documented error, and the tape, read anew, holds what was durable and what
// was acknowledged, and nothing that nobody wrote.
func TestConditions(t *testing.T) {
	r := newRig(t)
	for i, how := range []string{"sg", "st"} {
		sh(t, fmt.Sprintf("mtx -f %s load %d 0", r.Changer, 5+i))
		v := &driving{T: t, ctx: clock.Context(context.Background(), "test"), file: r.Drives[0], st: how == "st",
			opts: tape.Options{LockDir: t.TempDir(), Log: slog.New(slog.DiscardHandler)}}
		for _, op := range tapetest.Operations() {
			t.Run(how+", "+op.Name, func(t *testing.T) {
				v.T = t
				for _, c := range tapetest.Conditions() {
					if c.Err != nil || v.st && op.Name == "Load" && c.Sense.Deferred && c.Sense.Key == scsi.RecoveredError {
						continue // the kernel waits for minutes: for the answer, and for a medium that it thinks is loaded
					}
					for _, done := range c.Dones() {
						v.meet(&c, &op, done)
					}
				}
			})
		}
		v.T = t
		v.must("unload", v.d.Unload(v.ctx))
		v.must("close", v.d.Close())
		v.d = nil
		sh(t, fmt.Sprintf("mtx -f %s unload %d 0", r.Changer, 5+i))
	}
	t.Run("robot", func(t *testing.T) { robotConditions(t, r) })
}

// fresh opens the drive as a process that knows nothing does, and lays the tape out.
func (v *driving) fresh() {
	v.Helper()
	v.open()
	ctx := v.ctx
	v.must("reserve", v.d.Reserve(ctx, "job", true))
	v.must("load", v.d.Load(ctx))
	v.must("rewind", v.d.Rewind(ctx))
	for n, b := range tapetest.Layout() {
		if b == nil {
			v.must("filemark", v.d.WriteFilemarks(ctx, 1, n < len(tapetest.Layout())-1))
		} else {
			v.must("write", v.d.Write(ctx, b))
		}
	}
}

// meet is one operation that meets one condition.
func (v *driving) meet(c *tapetest.Condition, op *tapetest.Operation, done bool) {
	v.Helper()
	v.fresh()
	what := fmt.Sprintf("%s, carried out %v", c.Name, done)
	if op.Before != nil {
		v.must(what+": before", op.Before(v.ctx, v.d))
	}
	disturb(v.ctx, v.T, vtlserve.Request{Injection: injection("drive1", op.Code, c, done)})
	began := rt.Mono(v.ctx)
	err := op.Run(v.ctx, v.d)
	took := rt.Mono(v.ctx) - began
	disturb(v.ctx, v.T, vtlserve.Request{Clear: true})
	word := tapetest.Word(err)
	if strings.HasPrefix(word, tapetest.Undocumented) || errors.Is(err, tapetest.ErrWrongBytes) {
		v.Errorf("%s: %v", what, err)
	}
	// What comes next: a write, where the drive says that it is. What was acknowledged
	// must be there once it was made durable.
	again := v.d.Write(v.ctx, tapetest.Block(99, 50))
	durable := v.d.WriteFilemarks(v.ctx, 1, false)
	v.Logf("%s: %s in %v, and then a write: %s, and a filemark: %s", what, word, took.Round(time.Millisecond), tapetest.Word(again), tapetest.Word(durable))
	wrote := op.Name == "Write" && (err == nil || errors.Is(err, dev.ErrEarlyWarning) || errors.Is(err, dev.ErrProgrammableWarning))
	if err := v.d.Close(); err != nil && durable == nil { // the kernel says once more what it could not write
		v.Errorf("%s: close: %v", what, err)
	}
	v.d = nil
	v.judge(what, op, wrote && durable == nil, again == nil && durable == nil)
}

// judge reads the tape by a handle that knows nothing of what was. The last that was
// written, if it was, is block 99 and a filemark.
func (v *driving) judge(what string, op *tapetest.Operation, wrote, again bool) {
	v.Helper()
	got := v.objects()
	layout := tapetest.Layout()
	more := len(got)
	if again {
		more -= 2
		if more < 0 || !bytes.Equal(got[more], tapetest.Block(99, 50)) || got[more+1] != nil {
			v.Errorf("%s: a block and a filemark that are durable are not the last on the tape, which holds %d objects", what, len(got))
			return
		}
		if more != op.To && more != op.From {
			v.Errorf("%s: the write after it is at %d; the operation goes from %d to %d", what, more, op.From, op.To)
		}
	}
	for n, b := range layout {
		if n < more && !bytes.Equal(got[n], b) || n >= more && !again {
			v.Errorf("%s: object %d is not what was made durable", what, n)
		}
	}
	if wrote && (more <= len(layout) || !bytes.Equal(got[len(layout)], tapetest.Fresh())) {
		v.Errorf("%s: a block that was acknowledged is not on the tape", what)
	}
	for _, b := range got[min(len(layout), more):more] {
		if b != nil && !bytes.Equal(b, tapetest.Fresh()) && !bytes.Equal(b, tapetest.Block(99, 50)) {
			v.Errorf("%s: a block that nobody wrote is on the tape", what)
		}
	}
}

// objects reads the whole tape; nil is a filemark.
func (v *driving) objects() [][]byte {
	v.Helper()
	v.open()
	ctx := v.ctx
	v.must("reserve", v.d.Reserve(ctx, "reader", true))
	v.must("load", v.d.Load(ctx))
	v.must("rewind", v.d.Rewind(ctx))
	var all [][]byte
	p := make([]byte, 4096)
	for len(all) < 20 {
		n, err := v.d.Read(ctx, p)
		switch {
		case err == nil:
			all = append(all, bytes.Clone(p[:n]))
		case errors.Is(err, dev.ErrFilemark):
			all = append(all, nil)
		case errors.Is(err, dev.ErrEndOfData):
			return all
		default:
			v.Errorf("reading object %d back: %v", len(all), err)
			return all
		}
	}
	return all
}

// robotConditions are the conditions of a changer at each of its commands: a cartridge
// is at one place, and that is where the robot says that it is.
func robotConditions(t *testing.T, r *rig) {
	ctx := clock.Context(context.Background(), "test")
	s, err := lu.OpenSG(r.Changer)
	if err != nil {
		t.Fatal(err)
	}
	robot, err := changer.Open(ctx, "robot", s, changer.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer robot.Close()
	before, err := robot.Inventory(ctx)
	if err != nil {
		t.Fatal(err)
	}
	home, free := slotOf(before, true), slotOf(before, false)
	for _, op := range []struct {
		name string
		code byte
		run  func() error
	}{
		{"Move", scsi.MoveMedium, func() error { return robot.Move(ctx, home, free) }},
		{"Inventory", scsi.ReadElementStatus, func() error { _, err := robot.Inventory(ctx); return err }},
		{"Rescan", scsi.InitializeElementStatus, func() error { return robot.Rescan(ctx) }},
	} {
		for _, c := range robotSays {
			what := op.name + ", " + c.Name
			disturb(ctx, t, vtlserve.Request{Injection: injection("vtl1", op.code, &c, false)})
			err := op.run()
			disturb(ctx, t, vtlserve.Request{Clear: true})
			word := tapetest.Word(err)
			t.Logf("%s: %s", what, word)
			if strings.HasPrefix(word, tapetest.Undocumented) {
				t.Errorf("%s: %v", what, err)
			}
			now, ierr := robot.Inventory(ctx)
			if ierr != nil {
				t.Fatalf("%s: afterwards: %v", what, ierr)
			}
			moved := op.name == "Move" && err == nil
			if full(now, free) != moved || full(now, home) == moved || len(now) != len(before) {
				t.Errorf("%s: %v, and the cartridge is in slot %d: %v, in slot %d: %v", what, err, home, full(now, home), free, full(now, free))
			}
			if full(now, free) {
				if err := robot.Move(ctx, free, home); err != nil {
					t.Fatalf("%s: moving it back: %v", what, err)
				}
			}
		}
	}
}

// robotSays are conditions of changers.
var robotSays = []tapetest.Condition{
	says("becoming ready", 2, 4, 1), says("operator", 2, 4, 3), says("magazine removed", 5, 0x3B, 0x12),
	says("mechanical", 4, 0x15, 1), says("hardware", 4, 0x44, 0), says("unknown operation code", 5, 0x20, 0),
	says("bad element", 5, 0x21, 1), says("destination full", 5, 0x3B, 0x0D), says("source empty", 5, 0x3B, 0x0E),
	says("removal prevented", 5, 0x53, 2), says("medium changed", 6, 0x28, 0), says("mail slot opened", 6, 0x28, 1),
	says("power on", 6, 0x29, 0), says("reservations preempted", 6, 0x2A, 3), says("aborted", 0xB, 0x47, 3),
	{Name: "reservation conflict", Status: scsi.ReservationConflict}, {Name: "busy", Status: scsi.Busy},
}

func says(name string, key, asc, ascq uint8) tapetest.Condition {
	return tapetest.Condition{Name: name, Sense: scsi.Sense{Sense: dev.Sense{Key: key, ASC: asc, ASCQ: ascq}}}
}

// slotOf is the last slot that has a cartridge, or has none.
func slotOf(elements []dev.Element, want bool) (address int) {
	for _, e := range elements {
		if e.Kind == dev.Slot && e.Full == want {
			address = e.Address
		}
	}
	return address
}

func full(elements []dev.Element, address int) bool {
	for _, e := range elements {
		if e.Address == address {
			return e.Full
		}
	}
	return false
}
