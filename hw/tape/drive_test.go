package tape

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"

	"capstan/core/dev"
	"capstan/core/scsi"
	lu "capstan/hw/scsi"
	"capstan/hw/tape/tapetest"
	"capstan/sim/simtest"
)

var block = tapetest.Block

// fixture is a drive at work.
type fixture struct {
	*testing.T
	u *unit
	d *Drive
}

func (f *fixture) want(what string, err, condition error) {
	f.Helper()
	if (condition == nil) != (err == nil) || !errors.Is(err, condition) {
		f.Errorf("%s: %v; want %v", what, err, condition)
	}
}

// at checks where the drive says that it is, and where the unit really is.
func (f *fixture) at(ctx context.Context, block, file int64) {
	f.Helper()
	p, err := f.d.Position(ctx)
	f.want("position", err, nil)
	if p.Block != block || p.File != file || f.u.pos != int(block) {
		f.Errorf("at %+v, the unit at %d; want block %d, file %d", p, f.u.pos, block, file)
	}
}

func (f *fixture) read(ctx context.Context, want []byte) {
	f.Helper()
	p := make([]byte, len(want)+50)
	n, err := f.d.Read(ctx, p)
	f.want("read", err, nil)
	if err == nil && !bytes.Equal(p[:n], want) {
		f.Errorf("read %d bytes that are not the %d written", n, len(want))
	}
}

// layout is blocks 0-2, mark 3, block 4, marks 5 and 6.
func (f *fixture) layout(ctx context.Context) {
	f.Helper()
	f.want("load", f.d.Load(ctx), nil)
	for _, n := range []int{0, 1, 2} {
		f.want("write", f.d.Write(ctx, block(n, 1000)), nil)
	}
	f.want("filemark", f.d.WriteFilemarks(ctx, 1, true), nil)
	f.want("write", f.d.Write(ctx, block(4, 100)), nil)
	f.want("filemarks", f.d.WriteFilemarks(ctx, 2, false), nil)
}

func with(t *testing.T, u *unit, o Options, body func(ctx context.Context, f *fixture)) {
	t.Helper()
	simtest.Run(t, func(ctx context.Context) {
		d, err := Open(ctx, "drive1", u, o)
		if err != nil {
			t.Error(err)
			return
		}
		body(ctx, &fixture{t, u, d})
	})
}

// TestGaps runs a drive that lacks things, as emulators and old drives do, through
// all movements: nothing is trusted that the drive cannot do.
func TestGaps(t *testing.T) {
	gaps := []struct {
		name string
		set  func(u *unit)
	}{
		{"none", func(*unit) {}},
		{"no LOCATE(16)", func(u *unit) { u.lacks[scsi.Locate16] = true }},
		{"no LOCATE", func(u *unit) { u.lacks[scsi.Locate16], u.lacks[scsi.Locate10] = true, true }},
		{"no LOCATE, no list of commands", func(u *unit) { u.lacks[scsi.Locate16], u.lacks[scsi.Locate10], u.noList = true, true, true }},
		{"position never known", func(u *unit) { u.mute = true }},
		{"no READ POSITION", func(u *unit) { u.lacks[scsi.ReadPosition] = true }},
		{"no list of commands", func(u *unit) { u.noList = true }},
		{"short blocks without sense data", func(u *unit) { u.noShort = true }},
		{"short blocks come in part", func(u *unit) { u.partial = true }},
		{"MODE SELECT takes no page", func(u *unit) { u.numb, u.protect = true, nil }},
		{"no compression, no protection", func(u *unit) { u.mode, u.protect = nil, nil }},
		{"as tgt", func(u *unit) {
			u.still, u.numb, u.partial, u.protect = true, true, true, nil
			clear(u.mode[2:])
			for _, c := range []byte{scsi.Locate10, scsi.Locate16, scsi.Erase6, scsi.LogSense, scsi.SecurityProtocolIn, scsi.SecurityProtocolOut} {
				u.lacks[c] = true
			}
		}},
	}
	for _, g := range gaps {
		t.Run(g.name, func(t *testing.T) {
			u := newUnit()
			g.set(u)
			with(t, u, Options{}, func(ctx context.Context, f *fixture) { gapped(ctx, f) })
		})
	}
}

func gapped(ctx context.Context, f *fixture) {
	f.layout(ctx)
	f.at(ctx, 7, 3)
	for _, to := range []int64{4, 0, 6, 2, 5, 1, 7, 3} {
		f.want("locate", f.d.Locate(ctx, to), nil)
		if p, err := f.d.Position(ctx); err != nil || p.Block != to || f.u.pos != int(to) {
			f.Errorf("after locate to %d: %+v, %v, the unit is at %d", to, p, err, f.u.pos)
		}
	}
	f.want("locate past the end", f.d.Locate(ctx, 9), dev.ErrEndOfData)
	f.want("rewind", f.d.Rewind(ctx), nil)
	f.want("space", f.d.Space(ctx, 1), nil)
	f.at(ctx, 4, 1)
	f.read(ctx, block(4, 100))
	f.want("space", f.d.Space(ctx, 2), nil)
	f.at(ctx, 7, 3)
	f.want("space back", f.d.Space(ctx, -2), nil)
	f.at(ctx, 5, 1)
	f.want("space past the beginning", f.d.Space(ctx, -3), dev.ErrBeginning)
	f.at(ctx, 0, 0)
	f.want("space past the end", f.d.Space(ctx, 4), dev.ErrEndOfData)
	f.at(ctx, 7, 3)
	f.want("locate", f.d.Locate(ctx, 1), nil)
	f.want("space to the end", f.d.SpaceToEnd(ctx), nil)
	f.want("append", f.d.Write(ctx, block(7, 500)), nil)
	f.want("filemark", f.d.WriteFilemarks(ctx, 1, false), nil)
	f.want("locate", f.d.Locate(ctx, 7), nil)
	f.read(ctx, block(7, 500))
	if len(f.u.objects) != 9 || f.u.objects[8] != nil {
		f.Errorf("%d objects on the tape; want 9", len(f.u.objects))
	}
	err := f.d.Erase(ctx)
	if f.u.lacks[scsi.Erase6] {
		f.want("erase", err, dev.ErrNotSupported)
	} else {
		f.want("erase", err, nil)
	}
}

// TestNeverWhereItDoesNotKnow: whatever shakes the position, nothing is written
// before it was established anew, and then only where it should be.
func TestNeverWhereItDoesNotKnow(t *testing.T) {
	reset := func(u *unit) { u.pos, u.block, u.key = 0, 512, nil }
	shakes := []struct {
		name  string
		shake func(u *unit)
		first error // of the WRITE that meets it
		then  error // of the next one
	}{
		{"reset", func(u *unit) { reset(u); u.attended = append(u.attended, *check(6, 0x29, 0)) }, dev.ErrPositionLost, dev.ErrPositionLost},
		{"reset, reported twice", func(u *unit) { reset(u); u.attended = append(u.attended, *check(6, 0x29, 0), *check(6, 0x29, 2)) }, dev.ErrPositionLost, dev.ErrPositionLost},
		{"medium changed", func(u *unit) { u.pos = 0; u.attended = append(u.attended, *check(6, 0x28, 0)) }, dev.ErrMediumChanged, dev.ErrMediumChanged},
		{"microcode changed", func(u *unit) { u.attended = append(u.attended, *check(6, 0x3F, 1)) }, dev.ErrAttention, dev.ErrPositionLost},
		{"write error", func(u *unit) { u.faults = []fault{{code: scsi.Write6, sense: *check(3, 0x0C, 0)}} }, dev.ErrMedium, dev.ErrPositionLost},
		{"an earlier block's error", func(u *unit) {
			s := check(3, 0x0C, 0)
			s.Deferred = true
			u.faults = []fault{{code: scsi.Write6, sense: *s, then: func(u *unit) { u.objects = u.objects[:u.pos-1]; u.pos-- }}}
		}, dev.ErrMedium, dev.ErrPositionLost},
		{"time limit", func(u *unit) { u.faults = []fault{{code: scsi.Write6, err: dev.ErrGone, done: true}} }, dev.ErrGone, dev.ErrPositionLost},
		{"hardware", func(u *unit) { u.faults = []fault{{code: scsi.Write6, sense: *check(4, 0x44, 0)}} }, dev.ErrHardware, dev.ErrPositionLost},
		{"aborted after it moved", func(u *unit) { u.faults = []fault{{code: scsi.Write6, sense: *check(0xB, 0, 0), done: true}} }, dev.ErrAborted, dev.ErrPositionLost},
		{"becoming ready", func(u *unit) { u.faults = []fault{{code: scsi.Write6, sense: *check(2, 4, 1)}} }, dev.ErrNotReady, nil},
		{"reservation taken", func(u *unit) { u.attended = append(u.attended, *check(6, 0x2A, 3)) }, dev.ErrReservation, dev.ErrReservation},
	}
	for _, s := range shakes {
		t.Run(s.name, func(t *testing.T) {
			with(t, newUnit(), Options{}, func(ctx context.Context, f *fixture) {
				f.layout(ctx)
				before := len(f.u.objects)
				s.shake(f.u)
				f.want("write", f.d.Write(ctx, block(7, 300)), s.first)
				if s.then == nil {
					f.want("write again", f.d.Write(ctx, block(7, 300)), nil)
					return
				}
				f.u.faults = nil
				f.want("write again", f.d.Write(ctx, block(8, 300)), s.then)
				f.want("filemark", f.d.WriteFilemarks(ctx, 1, true), s.then)
				f.want("erase", f.d.Erase(ctx), s.then)
				_, err := f.d.Read(ctx, make([]byte, 2000))
				f.want("read", err, s.then)
				f.want("space", f.d.Space(ctx, 1), s.then)
				if got := len(f.u.objects); got < before-1 || got > before+1 || f.u.objects[0] == nil {
					f.Errorf("the tape has %d objects; it had %d", got, before)
				}
				if errors.Is(s.then, dev.ErrReservation) {
					return
				}
				if errors.Is(s.then, dev.ErrMediumChanged) {
					_, err := f.d.Position(ctx)
					f.want("position", err, s.then)
					f.want("locate", f.d.Locate(ctx, 1), s.then)
					f.want("rewind", f.d.Rewind(ctx), nil)
				}
				f.want("locate", f.d.Locate(ctx, 4), nil)
				f.want("write", f.d.Write(ctx, block(9, 300)), nil)
				if f.u.pos != 5 || !bytes.Equal(f.u.objects[4], block(9, 300)) || !bytes.Equal(f.u.objects[0], block(0, 1000)) {
					f.Errorf("after the locate the block is not where it should be: the unit is at %d", f.u.pos)
				}
			})
		})
	}
}

// TestSentAgain: a block that surely was not written is written once, and no more.
func TestSentAgain(t *testing.T) {
	faults := []struct {
		name string
		f    fault
	}{
		{"changed on its way", fault{code: scsi.Write6, sense: *check(4, 0x10, 1)}},
		{"aborted", fault{code: scsi.Write6, sense: *check(0xB, 0x47, 3)}},
		{"busy", fault{code: scsi.Write6, status: scsi.Busy, again: 3}},
		{"task set full", fault{code: scsi.Write6, status: scsi.TaskSetFull}},
		{"no memory", fault{code: scsi.Write6, err: fmt.Errorf("%w: %w", dev.ErrGone, lu.ErrNotSent)}},
		{"mode parameters changed", fault{code: scsi.Write6, sense: *check(6, 0x2A, 1), then: func(u *unit) { u.block = 512 }}},
		{"an earlier command's recovered error", fault{code: scsi.Write6, sense: scsi.Sense{Sense: dev.Sense{Key: 1, ASC: 0x17}, Deferred: true}}},
	}
	for _, tt := range faults {
		t.Run(tt.name, func(t *testing.T) {
			with(t, newUnit(), Options{}, func(ctx context.Context, f *fixture) {
				f.layout(ctx)
				f.u.faults = []fault{tt.f}
				f.want("write", f.d.Write(ctx, block(7, 300)), nil)
				f.want("write", f.d.Write(ctx, block(8, 300)), nil)
				f.at(ctx, 9, 3)
				if len(f.u.objects) != 9 || !bytes.Equal(f.u.objects[7], block(7, 300)) || !bytes.Equal(f.u.objects[8], block(8, 300)) {
					f.Errorf("%d objects on the tape", len(f.u.objects))
				}
			})
		})
	}
}

// TestNotAllTaken: a block of which bytes are left over is not written, whatever the
// status says.
func TestNotAllTaken(t *testing.T) {
	for _, tt := range []fault{
		{code: scsi.Write6, sense: scsi.Sense{Sense: dev.Sense{ASCQ: 2}, EOM: true, Valid: true, Information: 200}, done: true},
		{code: scsi.Write6, lost: 200, done: true},
	} {
		with(t, newUnit(), Options{}, func(ctx context.Context, f *fixture) {
			f.layout(ctx)
			f.u.faults = []fault{tt}
			f.want("write", f.d.Write(ctx, block(7, 300)), dev.ErrHardware)
			f.want("write", f.d.Write(ctx, block(7, 300)), dev.ErrPositionLost)
		})
	}
}

// TestLateError: an error of an earlier command that comes in the place of a READ has
// not passed the filemark that it tells of.
func TestLateError(t *testing.T) {
	for _, s := range []scsi.Sense{
		{Sense: dev.Sense{ASCQ: 1}, Filemark: true, Deferred: true},
		{Sense: dev.Sense{ASCQ: 2}, EOM: true, Deferred: true},
	} {
		with(t, newUnit(), Options{}, func(ctx context.Context, f *fixture) {
			f.layout(ctx)
			f.want("locate", f.d.Locate(ctx, 1), nil)
			f.u.faults = []fault{{code: scsi.Read6, sense: s}}
			_, err := f.d.Read(ctx, make([]byte, 1000))
			if err == nil {
				f.Error("a READ went well that was not carried out")
			}
			f.want("write", f.d.Write(ctx, block(7, 300)), dev.ErrPositionLost)
		})
	}
}

// TestLyingPosition: a drive that counts otherwise than this side is found at the next
// filemark that is waited for.
func TestLyingPosition(t *testing.T) {
	with(t, newUnit(), Options{}, func(ctx context.Context, f *fixture) {
		f.want("load", f.d.Load(ctx), nil)
		f.want("write", f.d.Write(ctx, block(0, 100)), nil)
		f.u.objects, f.u.pos = append(f.u.objects, block(7, 100)), 2 // it has written a block twice
		f.want("filemark", f.d.WriteFilemarks(ctx, 1, false), dev.ErrPositionLost)
		f.want("write", f.d.Write(ctx, block(0, 100)), dev.ErrPositionLost)
	})
}

// TestProtection: each block carries its checksum to the drive and back, and one that
// was changed is told from a good one.
func TestProtection(t *testing.T) {
	with(t, newUnit(), Options{}, func(ctx context.Context, f *fixture) {
		f.layout(ctx)
		if !f.u.guarded() {
			f.Errorf("protection is off: page % X", f.u.protect)
		}
		f.want("locate", f.d.Locate(ctx, 0), nil)
		f.read(ctx, block(0, 1000))
		p := make([]byte, 2000)
		in := append(block(1, 1000), 1, 2, 3, 4)
		_, err := f.d.check(p, in)
		f.want("a block with another checksum", err, dev.ErrProtection)
		n, err := f.d.Read(ctx, make([]byte, 999))
		f.want("a block that is too long", err, dev.ErrBlockTooLong)
		if n != 999 {
			f.Errorf("%d bytes of a block that is too long", n)
		}
		f.at(ctx, 2, 0)
		f.want("close", f.d.Close(), nil)
		if f.u.guarded() {
			f.Error("protection was left on for other programs")
		}
	})
	with(t, newUnit(), Options{Unprotected: true}, func(ctx context.Context, f *fixture) {
		f.u.protect = []byte{0x4A, 0xF0, 0, 4, 2, 4, 0xC0, 0} // another program left it on
		f.layout(ctx)
		if f.u.guarded() {
			f.Error("protection is on")
		}
	})
}

// TestKey: no block goes out before the drive says that it encrypts; a reset takes the
// key, and it is given again.
func TestKey(t *testing.T) {
	key := bytes.Repeat([]byte{7}, 32)
	with(t, newUnit(), Options{Key: key}, func(ctx context.Context, f *fixture) {
		f.layout(ctx)
		f.u.key, f.u.block, f.u.pos = nil, 512, 0
		f.u.attended = append(f.u.attended, *check(6, 0x29, 0))
		f.want("write", f.d.Write(ctx, block(7, 10)), dev.ErrPositionLost)
		f.want("locate", f.d.Locate(ctx, 7), nil)
		f.want("write", f.d.Write(ctx, block(7, 10)), nil)
		if f.u.plain != 0 || f.u.keys != 2 {
			f.Errorf("%d blocks went out without a key, which was set %d times", f.u.plain, f.u.keys)
		}
		f.u.attended = append(f.u.attended, *check(6, 0x2A, 0x11))
		f.want("write after another changed the key", f.d.Write(ctx, block(8, 10)), dev.ErrEncryption)
		f.want("close", f.d.Close(), nil)
		if f.u.key != nil {
			f.Error("the key was left in the drive")
		}
	})
	u := newUnit()
	u.lacks[scsi.SecurityProtocolOut] = true
	with(t, u, Options{Key: key}, func(ctx context.Context, f *fixture) {
		f.want("load", f.d.Load(ctx), nil)
		f.want("write", f.d.Write(ctx, block(0, 10)), dev.ErrNotSupported)
		if len(f.u.objects) != 0 {
			f.Error("a block was written without encryption")
		}
	})
}

// TestCompression: the page is set as configured, and read back.
func TestCompression(t *testing.T) {
	for _, on := range []bool{true, false} {
		with(t, newUnit(), Options{Compress: on}, func(ctx context.Context, f *fixture) {
			f.layout(ctx)
			if got := f.u.mode[2]&0x80 != 0; got != on || f.u.block != 0 || f.u.buffered != 1 {
				f.Errorf("compression %v, block length %d, buffered mode %d; want %v, 0, 1", got, f.u.block, f.u.buffered, on)
			}
		})
	}
}

// TestWORM: nothing on a medium that can be written once is written over.
func TestWORM(t *testing.T) {
	u := newUnit()
	u.worm = true
	with(t, u, Options{}, func(ctx context.Context, f *fixture) {
		f.layout(ctx)
		s, err := f.d.Status(ctx)
		f.want("status", err, nil)
		if !s.WriteOnce {
			f.Errorf("status %+v", s)
		}
		f.want("locate", f.d.Locate(ctx, 2), nil)
		f.want("write", f.d.Write(ctx, block(2, 10)), dev.ErrWriteProtected)
		f.at(ctx, 2, 0)
		f.want("filemark", f.d.WriteFilemarks(ctx, 1, false), dev.ErrWriteProtected)
		f.want("erase", f.d.Erase(ctx), dev.ErrWriteProtected)
		f.want("locate", f.d.Locate(ctx, 7), nil)
		f.want("append", f.d.Write(ctx, block(7, 10)), nil)
	})
}

// TestOpen: what is met at the open does not pass for the state of the medium.
func TestOpen(t *testing.T) {
	u := newUnit()
	u.objects, u.pos = [][]byte{block(0, 10), block(1, 10)}, 1
	with(t, u, Options{}, func(ctx context.Context, f *fixture) {
		f.at(ctx, 1, 0)
		f.read(ctx, block(1, 10))
	})
	u = newUnit()
	u.objects, u.pos, u.attended = [][]byte{block(0, 10), block(1, 10)}, 0, []scsi.Sense{*check(6, 0x29, 0), *check(6, 0x28, 0)}
	with(t, u, Options{}, func(ctx context.Context, f *fixture) {
		f.want("write at a place that nobody named", f.d.Write(ctx, block(2, 10)), dev.ErrPositionLost)
		f.at(ctx, 0, 0)
	})
	simtest.Run(t, func(ctx context.Context) {
		if _, err := Open(ctx, "drive1", newUnit(), Options{Key: []byte("short")}); err == nil {
			t.Error("a key of five bytes was taken")
		}
	})
}

// TestLocks: two processes of one host, whom the drive cannot tell apart.
func TestLocks(t *testing.T) {
	dir := t.TempDir()
	u := newUnit()
	with(t, u, Options{LockDir: dir}, func(ctx context.Context, f *fixture) {
		f.layout(ctx)
		other, err := Open(ctx, "drive1", u, Options{LockDir: dir})
		f.want("opening it again", err, nil)
		f.want("reserve", f.d.Reserve(ctx, "a", false), nil)
		f.want("reserve for another", other.Reserve(ctx, "b", false), dev.ErrReservation)
		f.want("give back by another", other.Reserve(ctx, "", false), dev.ErrReservation)
		f.want("write", f.d.Write(ctx, block(7, 10)), nil)
		f.want("take", other.Reserve(ctx, "b", true), nil)
		f.want("write after the drive was taken", f.d.Write(ctx, block(8, 10)), dev.ErrReservation)
		f.want("write of the holder", other.Write(ctx, block(8, 10)), nil)
		f.want("reserve after the drive was taken", f.d.Reserve(ctx, "a", false), dev.ErrReservation)
		f.want("give back", other.Reserve(ctx, "", false), nil)
		f.want("reserve", f.d.Reserve(ctx, "a", false), nil)
		third, err := Open(ctx, "drive1", u, Options{LockDir: dir})
		f.want("opening it again", err, nil)
		f.want("free it from a dead holder", third.Reserve(ctx, "", true), nil)
		f.want("reserve", other.Reserve(ctx, "b", false), nil)
	})
}

// TestCleaning: a drive that asks for cleaning has done what it was told; the status
// tells of it.
func TestCleaning(t *testing.T) {
	with(t, newUnit(), Options{}, func(ctx context.Context, f *fixture) {
		f.layout(ctx)
		f.u.faults = []fault{{code: scsi.Write6, sense: *check(0, 0, 0x17), done: true}}
		f.want("write", f.d.Write(ctx, block(7, 10)), nil)
		f.at(ctx, 8, 3)
		if s, err := f.d.Status(ctx); err != nil || !s.CleaningNeeded || !s.Ready || s.Density != "LTO-9" {
			f.Errorf("status %+v, %v", s, err)
		}
	})
}

// TestUnload: what was written last is made durable, and a removal that another
// program has left prevented is allowed.
func TestUnload(t *testing.T) {
	with(t, newUnit(), Options{}, func(ctx context.Context, f *fixture) {
		f.layout(ctx)
		f.want("write", f.d.Write(ctx, block(7, 10)), nil)
		f.u.faults = []fault{{code: scsi.WriteFilemarks6, sense: *check(3, 0x0C, 0)}}
		f.want("unload", f.d.Unload(ctx), dev.ErrMedium)
		if f.u.loaded {
			f.Error("the medium was not ejected")
		}
		f.want("load", f.d.Load(ctx), nil)
		f.u.lacks[scsi.PreventAllowRemoval] = true
		f.u.faults = []fault{{code: scsi.LoadUnload, sense: *check(5, 0x53, 2)}, {code: scsi.PreventAllowRemoval, sense: scsi.Sense{Sense: dev.Sense{Key: 1, ASC: 0x17}}}}
		f.want("unload", f.d.Unload(ctx), nil)
		f.want("unload again", f.d.Unload(ctx), nil)
		f.u.present = false
		f.want("unload of an empty drive", f.d.Unload(ctx), dev.ErrNoMedium)
		f.want("load of an empty drive", f.d.Load(ctx), dev.ErrNoMedium)
	})
}

// narrow is a host adapter that carries little in a command.
type narrow struct{ *unit }

func (narrow) MaxTransfer() int { return 1000 }

// TestHostAdapter: a block that the host adapter does not carry is refused by name, and
// so is its protection when only that is too much.
func TestHostAdapter(t *testing.T) {
	simtest.Run(t, func(ctx context.Context) {
		u := newUnit()
		d, err := Open(ctx, "drive1", narrow{u}, Options{})
		if err != nil {
			t.Fatal(err)
		}
		f := &fixture{t, u, d}
		f.want("load", d.Load(ctx), nil)
		f.want("write", d.Write(ctx, block(0, 996)), nil)
		f.want("write", d.Write(ctx, block(1, 997)), dev.ErrNotSupported)
		f.at(ctx, 1, 0)
		u.objects = [][]byte{block(0, 996), block(1, 5000), block(2, 996)}
		f.want("rewind", d.Rewind(ctx), nil)
		f.read(ctx, block(0, 996))
		n, err := d.Read(ctx, make([]byte, 5000))
		f.want("a block that the host adapter does not carry", err, dev.ErrBlockTooLong)
		if n > 1000 {
			t.Errorf("%d bytes of it", n)
		}
		f.read(ctx, block(2, 996))
	})
}
