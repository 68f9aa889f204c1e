package tape

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"capstan/core/dev"
	"capstan/core/scsi"
	"capstan/sim/simtest"
)

// fakeST is the kernel's driver before a unit, with the behaviour that was measured on
// it: zeros at filemarks and at the end of data behind one, ENOMEM for a long block, ENOSPC for
// every other block past early warning, and EIO for all else.
type fakeST struct {
	u      *unit
	open   bool
	got    uint64
	warn   int // objects at which early warning is, 0 for never
	room   int // objects that fit
	refuse bool
	mark   bool // the last read found a filemark
	noSeek bool
	slip   int   // a seek that fails leaves the tape so many objects further
	err    error // of the next call
	reset  bool  // the drive was reset: only what winds the tape to where the kernel knows is let through
	closes int
}

func (f *fakeST) opens() (tapeFile, error) {
	switch {
	case f.open:
		return nil, unix.EBUSY
	case !f.u.present:
		return nil, unix.ENOMEDIUM
	}
	f.open = true
	return f, nil
}

func (f *fakeST) Close() error {
	f.open = false
	f.closes++
	if f.reset {
		return unix.EIO
	}
	return nil
}

func (f *fakeST) fail() error {
	err := f.err
	f.err = nil
	if f.reset || !f.u.loaded {
		err = unix.EIO
	}
	return err
}

func (f *fakeST) Write(p []byte) (int, error) {
	if err := f.fail(); err != nil {
		return 0, err
	}
	past := f.warn > 0 && f.u.pos >= f.warn
	if past {
		if f.refuse = !f.refuse; f.refuse || f.u.pos >= f.room {
			return 0, unix.ENOSPC
		}
	}
	n, s := f.u.write(p)
	if s != nil {
		return 0, unix.EIO
	}
	f.got = 0
	if f.warn > 0 && f.u.pos >= f.warn {
		f.got = gotEnd
	}
	return n, nil
}

func (f *fakeST) Read(p []byte) (int, error) {
	if err := f.fail(); err != nil {
		return 0, err
	}
	marked := f.mark
	f.got, f.mark = 0, false
	n, s := f.u.read(p)
	switch {
	case s == nil:
		return n, nil
	case s.Filemark:
		f.mark = true
		return 0, nil
	case s.ILI && s.Information < 0:
		return 0, unix.ENOMEM
	case s.ILI:
		return n, nil
	case !marked:
		return 0, unix.EIO
	}
	f.got = gotEndOfData
	return 0, nil
}

func (f *fakeST) op(op, count int) error {
	if op == mtLOAD {
		f.u.loaded = f.u.present
	}
	if op == mtLOAD || op == mtREW && f.u.loaded {
		f.reset = false
	}
	if err := f.fail(); err != nil {
		return err
	}
	f.got = 0
	var s *scsi.Sense
	switch op {
	case mtSETBLK:
		f.u.block = uint32(count)
	case mtSETDRVBUFFER, mtCOMPRESSION:
	case mtWEOF, mtWEOFI:
		for range count {
			f.u.put(nil)
		}
	case mtREW, mtLOAD:
		f.u.pos = 0
	case mtUNLOAD:
		f.u.pos, f.u.loaded = 0, false
	case mtSEEK:
		if f.noSeek {
			f.u.pos += f.slip
			return unix.EIO
		}
		f.u.pos = min(count, len(f.u.objects))
		if count > len(f.u.objects) {
			f.got = gotEndOfData
			return unix.EIO
		}
	case mtBSR:
		f.u.pos -= count
	case mtFSF:
		s = f.u.space(spaceFilemarks, count)
	case mtBSF:
		s = f.u.space(spaceFilemarks, -count)
	case mtEOM:
		f.u.pos = len(f.u.objects)
	case mtERASE:
		f.u.objects = f.u.objects[:f.u.pos]
	default:
		return unix.EINVAL
	}
	if s != nil {
		f.got = gotEndOfData
		if s.EOM {
			f.got = gotBeginning
		}
		return unix.EIO
	}
	return nil
}

func (f *fakeST) status() (uint64, error) { return f.got, nil }

func (f *fakeST) tell() (int64, error) {
	switch {
	case f.u.mute:
		return 0, unix.EIO
	case f.u.still:
		return 0, nil
	}
	return int64(f.u.pos), nil
}

func withST(t *testing.T, f *fakeST, generic bool, body func(ctx context.Context, x *fixture)) {
	t.Helper()
	simtest.Run(t, func(ctx context.Context) {
		k := &kernelTape{open: f.opens}
		if generic {
			k.generic = f.u
		}
		d, err := Open(ctx, "drive1", k, Options{})
		if err != nil {
			t.Error(err)
			return
		}
		body(ctx, &fixture{t, f.u, d})
		if err := d.Close(); err != nil || f.open {
			t.Errorf("closing: %v; the device is open: %v", err, f.open)
		}
	})
}

// TestST runs the same movements through the kernel's driver, with a generic device
// beside it and without, and on a drive with gaps.
func TestST(t *testing.T) {
	for _, tt := range []struct {
		name    string
		generic bool
		set     func(f *fakeST)
	}{
		{"with a generic device", true, func(*fakeST) {}},
		{"without protection", true, func(f *fakeST) { f.u.protect = nil }},
		{"no LOCATE, position never known", true, func(f *fakeST) { f.noSeek, f.u.mute = true, true }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := &fakeST{u: newUnit()}
			tt.set(f)
			withST(t, f, tt.generic, gapped)
		})
	}
	f := &fakeST{u: newUnit()}
	withST(t, f, false, func(ctx context.Context, x *fixture) {
		x.layout(ctx)
		x.want("locate", x.d.Locate(ctx, 4), nil)
		x.read(ctx, block(4, 100))
		_, err := x.d.Read(ctx, make([]byte, 10))
		x.want("read", err, dev.ErrFilemark)
		p, err := x.d.Position(ctx)
		x.want("position", err, nil)
		if p.Block != 6 {
			x.Errorf("at %+v", p)
		}
		x.want("read", func() error { _, err := x.d.Read(ctx, make([]byte, 10)); return err }(), dev.ErrFilemark)
		x.want("read at the end", func() error { _, err := x.d.Read(ctx, make([]byte, 10)); return err }(), dev.ErrEndOfData)
	})
}

// TestSTBlank: the kernel has only an error for a blank tape, and for the end of data
// behind a block; an error of the medium is not taken for it.
func TestSTBlank(t *testing.T) {
	f := &fakeST{u: newUnit()}
	withST(t, f, true, func(ctx context.Context, x *fixture) {
		read := func() error { _, err := x.d.Read(ctx, make([]byte, 100)); return err }
		x.want("load", x.d.Load(ctx), nil)
		x.want("rewind", x.d.Rewind(ctx), nil)
		x.want("read of a blank tape", read(), dev.ErrEndOfData)
		x.want("write", x.d.Write(ctx, block(0, 100)), nil)
		x.want("read behind a block", read(), dev.ErrEndOfData)
		x.want("rewind", x.d.Rewind(ctx), nil)
		f.err = unix.EIO
		x.want("read of a bad block", read(), dev.ErrMedium)
		x.at(ctx, 0, 0)
	})
}

// TestSTEnd: the kernel's protocol at the end of the medium becomes the drive's.
func TestSTEnd(t *testing.T) {
	f := &fakeST{u: newUnit(), warn: 4, room: 8}
	withST(t, f, true, func(ctx context.Context, x *fixture) {
		x.want("load", x.d.Load(ctx), nil)
		for n := range 8 {
			want := error(nil)
			if n >= 3 {
				want = dev.ErrEarlyWarning
			}
			x.want("write", x.d.Write(ctx, block(n, 100)), want)
		}
		x.want("write", x.d.Write(ctx, block(8, 100)), dev.ErrVolumeOverflow)
		x.want("write", x.d.Write(ctx, block(8, 100)), dev.ErrVolumeOverflow)
		x.want("filemark", x.d.WriteFilemarks(ctx, 1, false), nil)
		x.want("rewind", x.d.Rewind(ctx), nil)
		for n := range 8 {
			x.read(ctx, block(n, 100))
		}
		if len(f.u.objects) != 9 {
			x.Errorf("%d objects", len(f.u.objects))
		}
	})
}

// TestSTErrors: after an error of the kernel's, which tells nothing, the position is
// not known; a later write that the kernel would let through is refused.
func TestSTErrors(t *testing.T) {
	f := &fakeST{u: newUnit()}
	withST(t, f, true, func(ctx context.Context, x *fixture) {
		x.layout(ctx)
		f.err, f.u.pos, f.u.block = unix.EIO, 0, 512 // a reset that the kernel met
		x.want("write", x.d.Write(ctx, block(7, 100)), dev.ErrMedium)
		x.want("write", x.d.Write(ctx, block(7, 100)), dev.ErrPositionLost)
		if !bytes.Equal(f.u.objects[0], block(0, 1000)) || len(f.u.objects) != 7 {
			x.Error("the beginning of the tape was written over")
		}
		x.want("locate", x.d.Locate(ctx, 7), nil)
		x.want("write", x.d.Write(ctx, block(7, 100)), nil)
		x.at(ctx, 8, 3)
		x.want("locate", x.d.Locate(ctx, 0), nil)
		_, err := x.d.Read(ctx, make([]byte, 500))
		x.want("a block that is too long", err, dev.ErrBlockTooLong)
		x.at(ctx, 1, 0)
		f.err = unix.EROFS
		x.want("write to a protected medium", x.d.Write(ctx, block(1, 100)), dev.ErrWriteProtected)
		x.want("unload", x.d.Unload(ctx), nil)
		if f.open {
			x.Error("the device is open after the unload: the next process could not use it")
		}
		x.want("read", func() error { _, err := x.d.Read(ctx, make([]byte, 10)); return err }(), dev.ErrNotReady)
		f.open = true // another process
		f.u.loaded = true
		x.want("rewind", x.d.Rewind(ctx), dev.ErrReservation)
		f.open = false
	})
}

// The kernel's structures, and a file that is no tape.
func TestTapeFile(t *testing.T) {
	if n := unsafe.Sizeof(mtget{}); n != 48 {
		t.Errorf("struct mtget has %d bytes; want 48", n)
	}
	if n, at := unsafe.Sizeof(mtop{}), unsafe.Offsetof(mtop{}.count); n != 8 || at != 4 {
		t.Errorf("struct mtop has %d bytes, its count at %d; want 8, 4", n, at)
	}
	file := filepath.Join(t.TempDir(), "nst0")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	simtest.Run(t, func(ctx context.Context) {
		for _, path := range []string{file, "/dev/null", "/dev/st0", filepath.Join(t.TempDir(), "nst1")} {
			if _, err := OpenST(ctx, "drive1", path, Options{}); err == nil {
				t.Errorf("%s was opened as a tape", path)
			}
		}
	})
}

// TestSTSeekFails: a seek that fails on its way is not taken for a drive that cannot
// locate, and nothing is counted on from where the tape was before. This holds also if
// the drive never knows its position.
func TestSTSeekFails(t *testing.T) {
	for _, mute := range []bool{false, true} {
		f := &fakeST{u: newUnit()}
		f.u.mute = mute
		withST(t, f, true, func(ctx context.Context, x *fixture) {
			x.layout(ctx)
			x.want("rewind", x.d.Rewind(ctx), nil)
			f.noSeek, f.slip = true, 2
			err := x.d.Locate(ctx, 4)
			f.noSeek = false
			if !mute {
				x.want("locate", err, dev.ErrHardware)
				x.want("write", x.d.Write(ctx, block(7, 100)), dev.ErrPositionLost)
				x.want("locate", x.d.Locate(ctx, 4), nil)
			}
			x.read(ctx, block(4, 100))
		})
	}
}

// TestSTBlankOrBad: of a drive that says block 0 wherever it is, a bad block is no blank
// tape, and a blank tape is.
func TestSTBlankOrBad(t *testing.T) {
	f := &fakeST{u: newUnit()}
	f.u.still = true
	withST(t, f, true, func(ctx context.Context, x *fixture) {
		read := func() error { _, err := x.d.Read(ctx, make([]byte, 100)); return err }
		x.want("load", x.d.Load(ctx), nil)
		x.want("read of a blank tape", read(), dev.ErrEndOfData)
		x.want("write", x.d.Write(ctx, block(0, 100)), nil)
		x.want("filemark", x.d.WriteFilemarks(ctx, 1, false), nil)
		x.want("rewind", x.d.Rewind(ctx), nil)
		f.err = unix.EIO
		x.want("read of a bad block", read(), dev.ErrMedium)
	})
}

// TestSTLoads: of a medium that is not loaded the kernel refuses everything but LOAD.
func TestSTLoads(t *testing.T) {
	f := &fakeST{u: newUnit()}
	withST(t, f, true, func(ctx context.Context, x *fixture) {
		x.layout(ctx)
		x.want("unload", x.d.Unload(ctx), nil)
		x.want("load", x.d.Load(ctx), nil)
		x.read(ctx, block(0, 1000))
	})
	f.u.loaded = false
	withST(t, f, true, func(ctx context.Context, x *fixture) { x.want("load by another process", x.d.Load(ctx), nil) })
}

// TestSTReset: after a reset the kernel refuses everything of the next process, too,
// until the tape was wound. That process is told, before it writes at a place that is
// not its own.
func TestSTReset(t *testing.T) {
	f := &fakeST{u: newUnit()}
	withST(t, f, true, func(ctx context.Context, x *fixture) { x.layout(ctx) })
	f.reset = true
	withST(t, f, true, func(ctx context.Context, x *fixture) {
		x.want("write", x.d.Write(ctx, block(7, 300)), dev.ErrPositionLost)
		x.want("write again", x.d.Write(ctx, block(7, 300)), dev.ErrPositionLost)
		x.want("space to the end", x.d.SpaceToEnd(ctx), nil)
		x.want("write", x.d.Write(ctx, block(7, 300)), nil)
	})
	if len(f.u.objects) != 8 || !bytes.Equal(f.u.objects[7], block(7, 300)) {
		t.Errorf("the tape has %d objects", len(f.u.objects))
	}
	f.reset = true
	withST(t, f, true, func(ctx context.Context, x *fixture) {
		x.want("load", x.d.Load(ctx), nil)
		x.read(ctx, block(0, 1000))
	})
}

// TestReadKeptToItself: a read that the kernel says went well, and that the drive did
// not do, leaves the count a block ahead. What is written next would be written over it.
func TestReadKeptToItself(t *testing.T) {
	u := newUnit()
	with(t, u, Options{}, func(ctx context.Context, f *fixture) {
		f.layout(ctx)
		f.want("locate", f.d.Locate(ctx, 4), nil)
		f.read(ctx, block(4, 100))
		u.pos--
		f.want("write", f.d.Write(ctx, block(7, 300)), dev.ErrPositionLost)
		f.want("filemark", f.d.WriteFilemarks(ctx, 1, false), dev.ErrPositionLost)
		if !bytes.Equal(u.objects[4], block(4, 100)) || len(u.objects) != 7 {
			t.Error("what was durable was written over")
		}
	})
}
