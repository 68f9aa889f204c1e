package tape

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"capstan/core/dev"
	"capstan/core/scsi"
	lu "capstan/hw/scsi"
)

// OpenST makes a drive of the kernel's tape driver, a /dev/nst*. What moves the tape
// goes through the kernel's driver; what only asks, and reservations, through the
// drive's generic device if the kernel has one. The kernel's driver keeps the sense
// data to itself, tells early warning by an error of the write after, and has its own
// idea of where the tape is, which is not believed.
func OpenST(ctx context.Context, name, path string, o Options) (*Drive, error) {
	if strings.HasPrefix(filepath.Base(path), "st") {
		return nil, fmt.Errorf("drive %s: %s rewinds whenever it is closed: give %s", name, path, filepath.Join(filepath.Dir(path), "n"+filepath.Base(path)))
	}
	k := &kernelTape{open: func() (tapeFile, error) { return openTapeFile(path) }, compress: o.Compress}
	sg, err := genericOf(path)
	if err != nil {
		return nil, err
	}
	if sg != "" {
		t, err := lu.OpenSG(sg)
		if err != nil {
			return nil, err
		}
		k.generic = t
	}
	if err := k.probe(); err != nil {
		return nil, errors.Join(fmt.Errorf("drive %s: %w", name, err), k.Close())
	}
	return Open(ctx, name, k, o)
}

// genericOf is the generic device of the drive behind a /dev/nst*, as sysfs tells; ""
// if there is none.
func genericOf(path string) (string, error) {
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return "", fmt.Errorf("tape device: %w", err)
	}
	found, err := filepath.Glob(filepath.Join("/sys/class/scsi_tape", filepath.Base(real), "device/scsi_generic/sg*"))
	if err != nil || len(found) == 0 {
		return "", nil //nolint:nilerror // the pattern is always well formed
	}
	return "/dev/" + filepath.Base(found[0]), nil
}

// tapeFile is an open /dev/nst*.
type tapeFile interface {
	Read(p []byte) (int, error)
	Write(p []byte) (int, error)
	// op is MTIOCTOP.
	op(op, count int) error
	// status is mt_gstat of MTIOCGET.
	status() (uint64, error)
	// tell is MTIOCPOS.
	tell() (int64, error)
	Close() error
}

// The operations of MTIOCTOP, and the bits of MTIOCGET (<linux/mtio.h>).
const (
	mtFSF          = 1
	mtBSF          = 2
	mtBSR          = 4
	mtWEOF         = 5
	mtREW          = 6
	mtEOM          = 12
	mtERASE        = 13
	mtSETBLK       = 20
	mtSEEK         = 22
	mtSETDRVBUFFER = 24
	mtLOAD         = 30
	mtUNLOAD       = 31
	mtCOMPRESSION  = 32
	mtWEOFI        = 35

	stSetOptions   = 0x30000000
	stClearOptions = 0x40000000
	stTwoMarks     = 0x0008
	stFastEnd      = 0x0010
	stLogical      = 0x0800 // MTSEEK and MTIOCPOS count logical blocks
	stSystemV      = 0x1000

	gotBeginning = 0x40000000
	gotEnd       = 0x20000000 // past early warning
	gotEndOfData = 0x08000000
	gotNoMedium  = 0x00040000
)

// kernelTape is the kernel's driver as a transport: it takes the commands that a drive
// is driven by, has the kernel do those that move the tape, and answers with the sense
// data that a drive would have given, as far as the kernel lets it be known.
type kernelTape struct {
	open     func() (tapeFile, error)
	f        tapeFile       // nil until it is needed: it has one opener at a time
	generic  scsi.Transport // nil if there is none
	compress bool
	wound    bool // it was rewound, and nothing was read or written since
}

var _ scsi.Transport = (*kernelTape)(nil)

// probe sees that the device is there, and can be opened.
func (k *kernelTape) probe() error {
	f, err := k.open()
	if err == nil {
		// After a reset between two blocks each close fails until the tape was moved:
		// that is said of what an earlier process wrote.
		_ = f.Close()
		return nil
	}
	if errors.Is(err, unix.ENOMEDIUM) || errors.Is(err, unix.EROFS) || errors.Is(err, unix.EBUSY) {
		return nil
	}
	return err
}

// Close closes both devices. The kernel writes a filemark if the last it did was to
// write a block.
func (k *kernelTape) Close() error {
	err := k.shut()
	if k.generic != nil {
		err = errors.Join(err, k.generic.Close())
	}
	return err
}

func (k *kernelTape) shut() error {
	if k.f == nil {
		return nil
	}
	err := k.f.Close()
	k.f = nil
	return err
}

// Do has the kernel, or the generic device, carry out a command.
func (k *kernelTape) Do(ctx context.Context, c *scsi.Command) (scsi.Result, error) {
	if err := ctx.Err(); err != nil {
		return scsi.Result{}, err
	}
	switch c.CDB[0] {
	case scsi.Read6, scsi.Write6, scsi.WriteFilemarks6, scsi.Space6, scsi.Rewind, scsi.Locate16, scsi.Locate10, scsi.Erase6, scsi.LoadUnload:
		if c.CDB[0] == scsi.LoadUnload && c.CDB[4]&1 != 0 {
			return k.load()
		}
		if k.f == nil {
			if r, err := k.start(); err != nil || r != nil {
				return deref(r), err
			}
		}
		return k.carry(c)
	}
	if k.generic != nil {
		return k.generic.Do(ctx, c)
	}
	return k.alone(c)
}

func deref(r *scsi.Result) scsi.Result {
	if r == nil {
		return scsi.Result{}
	}
	return *r
}

// load is LOAD. What the open device knew is of another medium, and of a medium that is
// not loaded the kernel refuses everything else: it is opened for this alone.
func (k *kernelTape) load() (scsi.Result, error) {
	if err := k.shut(); err != nil {
		return scsi.Result{}, err
	}
	if r, err := k.reopen(); err != nil || r != nil {
		return deref(r), err
	}
	r := k.tell(mtLOAD, 1, scsi.HardwareError, 0x53)
	return *r, k.shut()
}

// reopen opens the device. The result is why it cannot be used.
func (k *kernelTape) reopen() (*scsi.Result, error) {
	f, err := k.open()
	switch {
	case errors.Is(err, unix.EBUSY):
		return &scsi.Result{Status: scsi.ReservationConflict}, nil // another process has it open
	case errors.Is(err, unix.ENOMEDIUM):
		return answer(scsi.NotReady, 0x3A, 0x00), nil
	case err != nil:
		return nil, fmt.Errorf("%w: %w", dev.ErrGone, err)
	}
	k.f = f
	return nil, nil
}

// start opens the device and sets what the kernel's driver is to do. The result is why
// it cannot be used.
func (k *kernelTape) start() (*scsi.Result, error) {
	if r, err := k.reopen(); err != nil || r != nil {
		return r, err
	}
	err := k.f.op(mtSETBLK, 0)
	if errors.Is(err, unix.EIO) && k.f.op(mtREW, 1) == nil && k.f.op(mtSETBLK, 0) == nil {
		// The drive was reset while an earlier process had it, and the kernel refuses
		// everything until the tape is where it can know.
		k.prepare()
		return answer(scsi.UnitAttention, 0x29, 0x00), nil
	}
	if err != nil {
		return k.failed(err, scsi.NotReady, 0x04, 0x00), nil
	}
	k.prepare()
	return nil, nil
}

// prepare sets what the kernel's driver is to do, as far as it does it.
func (k *kernelTape) prepare() {
	for _, set := range []struct{ op, count int }{
		{mtSETDRVBUFFER, stClearOptions | stTwoMarks | stFastEnd | stSystemV},
		{mtSETDRVBUFFER, stSetOptions | stLogical}, // root's; without it blocks are not located
		{mtCOMPRESSION, int(bit(k.compress))},
	} {
		_ = k.f.op(set.op, set.count)
	}
}

// answer is a CHECK CONDITION.
func answer(key, asc, ascq uint8) *scsi.Result {
	s := scsi.Sense{Sense: dev.Sense{Key: key, ASC: asc, ASCQ: ascq}}
	return &scsi.Result{Status: scsi.CheckCondition, Sense: s.Fixed()}
}

func told(n int, s scsi.Sense) *scsi.Result {
	return &scsi.Result{Status: scsi.CheckCondition, N: n, Sense: s.Fixed()}
}

// failed is the sense data of an error that says what it is; else the given one.
func (k *kernelTape) failed(err error, key, asc, ascq uint8) *scsi.Result {
	switch {
	case errors.Is(err, unix.ENOMEDIUM):
		return answer(scsi.NotReady, 0x3A, 0x00)
	case errors.Is(err, unix.EROFS), errors.Is(err, unix.EACCES), errors.Is(err, unix.EBADF):
		return answer(scsi.DataProtect, 0x27, 0x00)
	case errors.Is(err, unix.EINVAL), errors.Is(err, unix.ENOSYS), errors.Is(err, unix.EPERM), errors.Is(err, unix.ENOTTY):
		return answer(scsi.IllegalRequest, 0x24, 0x00)
	}
	if got, serr := k.f.status(); serr == nil {
		switch {
		case got&gotNoMedium != 0:
			return answer(scsi.NotReady, 0x3A, 0x00)
		case got&gotEndOfData != 0 && key != scsi.HardwareError:
			return answer(scsi.BlankCheck, 0x00, 0x05)
		}
	}
	return answer(key, asc, ascq)
}

// carry has the kernel do what moves the tape.
func (k *kernelTape) carry(c *scsi.Command) (scsi.Result, error) {
	count := int(c.CDB[2])<<16 | int(c.CDB[3])<<8 | int(c.CDB[4])
	var r *scsi.Result
	wound := k.wound
	k.wound = false
	switch c.CDB[0] {
	case scsi.Read6:
		r = k.read(c.In, wound)
	case scsi.Write6:
		r = k.write(c.Out)
	case scsi.WriteFilemarks6:
		op := mtWEOF
		if c.CDB[1]&1 != 0 {
			op = mtWEOFI
		}
		r = k.tell(op, count, scsi.MediumError, 0x0C)
	case scsi.Space6:
		r = k.space(c.CDB[1]&7, int(int32(count<<8)>>8))
	case scsi.Rewind:
		r = k.tell(mtREW, 1, scsi.HardwareError, 0x15)
		k.wound = r.Status == scsi.Good
	case scsi.Locate16:
		r = k.seek(binary.BigEndian.Uint64(c.CDB[4:]))
	case scsi.Locate10:
		r = k.seek(uint64(binary.BigEndian.Uint32(c.CDB[3:])))
	case scsi.Erase6:
		r = k.tell(mtERASE, 0, scsi.MediumError, 0x51)
	case scsi.LoadUnload:
		r = k.tell(mtUNLOAD, 1, scsi.HardwareError, 0x53)
		if err := k.shut(); err != nil && r.Status == scsi.Good {
			r = answer(scsi.MediumError, 0x0C, 0x00)
		}
	}
	return *r, nil
}

// tell has the kernel do an operation. An error of it is one of the given kind.
func (k *kernelTape) tell(op, count int, key, asc uint8) *scsi.Result {
	if err := k.f.op(op, count); err != nil {
		return k.failed(err, key, asc, 0x00)
	}
	return &scsi.Result{}
}

// seek is LOCATE. The kernel's operation has 31 bits.
func (k *kernelTape) seek(block uint64) *scsi.Result {
	if block > 1<<31-1 {
		return answer(scsi.IllegalRequest, 0x24, 0x00)
	}
	before, berr := k.f.tell()
	if err := k.f.op(mtSEEK, int(block)); err != nil {
		if got, serr := k.f.status(); serr == nil && got&gotEndOfData != 0 {
			return answer(scsi.BlankCheck, 0x00, 0x05)
		}
		if at, terr := k.f.tell(); (berr == nil) != (terr == nil) || at != before {
			return k.failed(err, scsi.HardwareError, 0x15, 0x01) // it has moved, and failed on its way
		}
		// It may be a drive that cannot locate. What can be done without is.
		return answer(scsi.IllegalRequest, 0x20, 0x00)
	}
	return &scsi.Result{}
}

func (k *kernelTape) space(code byte, n int) *scsi.Result {
	switch {
	case code == spaceEnd:
		return k.tell(mtEOM, 1, scsi.MediumError, 0x14)
	case code == spaceBlocks && n < 0:
		return k.tell(mtBSR, -n, scsi.MediumError, 0x14)
	case code != spaceFilemarks:
		return answer(scsi.IllegalRequest, 0x24, 0x00)
	case n >= 0:
		return k.tell(mtFSF, n, scsi.MediumError, 0x14)
	}
	err := k.f.op(mtBSF, -n)
	if err == nil {
		return &scsi.Result{}
	}
	if got, serr := k.f.status(); serr == nil && got&gotBeginning != 0 {
		return told(0, scsi.Sense{Sense: dev.Sense{ASCQ: 0x04}, EOM: true})
	}
	return k.failed(err, scsi.MediumError, 0x14, 0x00)
}

// read is READ. The kernel gives no bytes at a filemark, and at the end of data; it has
// passed a block that was too long. Of a drive that says end of medium with its end of
// data, as tgt does, the kernel gives bytes that nobody wrote, and its status tells.
// Where the tape was wound to its beginning before, that is a blank tape.
func (k *kernelTape) read(p []byte, wound bool) *scsi.Result {
	n, err := k.f.Read(p)
	switch {
	case errors.Is(err, unix.ENOMEM):
		return told(len(p), scsi.Sense{ILI: true, Valid: true, Information: -1})
	case errors.Is(err, unix.ENOSPC):
		return answer(scsi.BlankCheck, 0x00, 0x05)
	case errors.Is(err, unix.EIO) && k.atEnd():
		return answer(scsi.BlankCheck, 0x00, 0x05)
	case err != nil:
		return k.failed(err, scsi.MediumError, 0x11, 0x00)
	}
	got, err := k.f.status()
	switch {
	case err != nil:
		return k.failed(err, scsi.MediumError, 0x11, 0x00)
	case got&gotEndOfData != 0, got&gotEnd != 0 && wound:
		return answer(scsi.BlankCheck, 0x00, 0x05)
	case n == 0:
		return told(0, scsi.Sense{Sense: dev.Sense{ASCQ: 0x01}, Filemark: true})
	case got&gotEnd != 0:
		return answer(scsi.MediumError, 0x00, 0x02)
	case n < len(p):
		return told(n, scsi.Sense{ILI: true, Valid: true, Information: int64(len(p) - n)})
	}
	return &scsi.Result{N: n}
}

// atEnd tells whether the tape stands where its data ends. The kernel says so only
// behind a filemark: on a blank tape, and behind a block, a read just fails. A drive that
// says block 0 wherever it is would have every bad block be a blank tape, to be written:
// before the end of a blank tape is no filemark.
func (k *kernelTape) atEnd() bool {
	at, err := k.f.tell()
	if err != nil || k.f.op(mtEOM, 1) != nil {
		return false
	}
	if end, err := k.f.tell(); err == nil && end == at && (at > 0 || k.f.op(mtBSF, 1) != nil) {
		return true
	}
	_ = k.f.op(mtSEEK, int(at)) // whoever has the error asks where the tape is
	return false
}

// write is WRITE. Past early warning the kernel refuses every other block with ENOSPC
// and does not send it; one that it refuses twice has no room.
func (k *kernelTape) write(p []byte) *scsi.Result {
	n, err := k.f.Write(p)
	warned := errors.Is(err, unix.ENOSPC)
	if warned {
		n, err = k.f.Write(p)
	}
	switch {
	case errors.Is(err, unix.ENOSPC):
		return told(0, scsi.Sense{Sense: dev.Sense{Key: scsi.VolumeOverflow, ASCQ: 0x02}, EOM: true})
	case err != nil:
		return k.failed(err, scsi.MediumError, 0x0C, 0x00)
	case n != len(p):
		return answer(scsi.MediumError, 0x0C, 0x00)
	}
	if !warned {
		got, err := k.f.status()
		warned = err == nil && got&gotEnd != 0
	}
	if warned {
		return told(n, scsi.Sense{Sense: dev.Sense{ASCQ: 0x02}, EOM: true})
	}
	return &scsi.Result{N: n}
}

// alone answers what is asked of a drive that has no generic device.
func (k *kernelTape) alone(c *scsi.Command) (scsi.Result, error) {
	switch c.CDB[0] {
	case scsi.Inquiry:
		if c.CDB[1] != 0 {
			break
		}
		b := make([]byte, 36)
		b[0], b[4] = byte(scsi.Sequential), byte(len(b)-5)
		copy(b[8:], "Linux   st                      ")
		return scsi.Result{N: copy(c.In, b)}, nil
	case scsi.ModeSense10:
		if c.CDB[2]&0x3F != 0 {
			break
		}
		if r, err := k.used(); r != nil || err != nil {
			return deref(r), err
		}
		got, err := k.f.status()
		if err != nil {
			return *k.failed(err, scsi.HardwareError, 0, 0), nil
		}
		protected := byte(0)
		if got&0x04000000 != 0 {
			protected = 0x80
		}
		return scsi.Result{N: copy(c.In, []byte{0, 14, 0, protected | 0x10, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0})}, nil
	case scsi.TestUnitReady:
		r, err := k.used()
		return deref(r), err
	case scsi.ReadPosition:
		if c.CDB[1]&0x1F != 0 {
			break
		}
		if r, err := k.used(); r != nil || err != nil {
			return deref(r), err
		}
		b := make([]byte, 20)
		at, err := k.f.tell()
		if err != nil || at < 0 {
			b[0] = 0x04 // not known
		}
		binary.BigEndian.PutUint32(b[4:], uint32(max(at, 0)))
		return scsi.Result{N: copy(c.In, b)}, nil
	}
	return *answer(scsi.IllegalRequest, 0x20, 0x00), nil
}

// used has the device open.
func (k *kernelTape) used() (*scsi.Result, error) {
	if k.f != nil {
		return nil, nil
	}
	return k.start()
}
