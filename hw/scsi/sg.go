package scsi

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"capstan/core/dev"
	"capstan/core/scsi"
)

// SG is a generic device of Linux, which carries one command at a time to a drive or
// a changer. A command cannot be taken back once it is with the kernel: a context that
// ends is seen before the next command.
type SG struct {
	path  string
	file  *os.File
	max   int
	hdr   sgHeader
	cdb   [16]byte
	sense [senseBytes]byte
}

var _ scsi.Transport = (*SG)(nil)

// ErrNotSent says that the kernel had no memory for a transfer: the command was most
// likely never sent. It comes with [dev.ErrGone].
var ErrNotSent = errors.New("the kernel has no memory for the transfer: the command may not have been sent")

// sgHeader is struct sg_io_hdr of <scsi/sg.h>: 88 bytes on 64-bit machines.
type sgHeader struct {
	interfaceID  int32 // 'S'
	direction    int32
	cmdLen       uint8
	maxSense     uint8
	iovecCount   uint16
	length       uint32
	data         unsafe.Pointer
	cdb          unsafe.Pointer
	sense        unsafe.Pointer
	timeout      uint32 // milliseconds
	flags        uint32
	packID       int32
	user         unsafe.Pointer
	status       uint8
	maskedStatus uint8
	msgStatus    uint8
	senseLen     uint8
	hostStatus   uint16
	driverStatus uint16
	resid        int32
	duration     uint32
	info         uint32
}

// What the ioctls and fields are called in <scsi/sg.h> and <linux/fs.h>.
const (
	sgIO              = 0x2285
	sgSetReservedSize = 0x2275
	sgGetVersion      = 0x2282
	sgSCSIReset       = 0x2284
	blkSectGet        = 0x1267 // of an sg device: bytes of the largest transfer

	sgResetDevice = 1

	sgNone    = -1
	sgToDev   = -2
	sgFromDev = -3

	senseBytes    = 96
	reservedSize  = 1 << 20 // what the kernel keeps ready for a descriptor's transfers
	defaultMax    = 256 << 10
	sgMinVersion  = 30000
	defaultTime   = time.Minute
	largestMillis = 1<<31 - 1
)

// OpenSG opens a generic device, such as /dev/sg3, for reading and writing.
func OpenSG(path string) (*SG, error) {
	f, err := os.OpenFile(path, os.O_RDWR|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("opening the SCSI device (is the sg module loaded, and may this user write to it?): %w", err)
	}
	s := &SG{path: path, file: f, max: defaultMax}
	version := int32(0)
	if err := s.ioctl(sgGetVersion, unsafe.Pointer(&version)); err != nil || version < sgMinVersion {
		return nil, errors.Join(fmt.Errorf("%s is no generic SCSI device (/dev/sg*)", path), f.Close())
	}
	size := int32(reservedSize)
	if err := s.ioctl(sgSetReservedSize, unsafe.Pointer(&size)); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: reserving %d bytes: %w", path, size, err), f.Close())
	}
	bytes := int32(0)
	if err := s.ioctl(blkSectGet, unsafe.Pointer(&bytes)); err == nil && bytes > 0 {
		s.max = int(bytes)
	}
	return s, nil
}

// Path is the device's file.
func (s *SG) Path() string { return s.path }

// MaxTransfer is the number of bytes that the host adapter carries in one command.
func (s *SG) MaxTransfer() int { return s.max }

// Close lets go of the device.
func (s *SG) Close() error { return s.file.Close() }

// Reset resets the logical unit: every reservation, every parameter and the position
// are lost. It is the only way to break a reservation of RESERVE(6).
func (s *SG) Reset(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	what := int32(sgResetDevice)
	if err := s.ioctl(sgSCSIReset, unsafe.Pointer(&what)); err != nil {
		return fmt.Errorf("%s: resetting the device: %w", s.path, err)
	}
	return nil
}

func (s *SG) ioctl(request uintptr, arg unsafe.Pointer) error {
	if errno := unsignalled(s.file.Fd(), request, arg); errno != 0 {
		return errno
	}
	return nil
}

// unsignalled calls an ioctl with every signal held back on its thread. The kernel
// gives up its wait for a command when a signal comes and begins the ioctl again: the
// command would go to the device a second time, a WRITE with its data. The runtime
// sends signals to its own threads at any time.
func unsignalled(fd, request uintptr, arg unsafe.Pointer) syscall.Errno {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var all, before unix.Sigset_t
	for i := range all.Val {
		all.Val[i] = ^all.Val[i]
	}
	if err := unix.PthreadSigmask(unix.SIG_SETMASK, &all, &before); err != nil {
		return unix.EINVAL
	}
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, fd, request, uintptr(arg))
	runtime.KeepAlive(arg)
	if err := unix.PthreadSigmask(unix.SIG_SETMASK, &before, nil); err != nil {
		panic(err) // it cannot fail: the mask is the thread's own
	}
	return errno
}

// Do sends a command and waits for its end.
func (s *SG) Do(ctx context.Context, c *scsi.Command) (scsi.Result, error) {
	if err := ctx.Err(); err != nil {
		return scsi.Result{}, err
	}
	if err := s.prepare(c); err != nil {
		return scsi.Result{}, err
	}
	errno := unsignalled(s.file.Fd(), sgIO, unsafe.Pointer(&s.hdr))
	runtime.KeepAlive(c)
	if errno != 0 {
		return scsi.Result{}, s.unsent(errno, s.hdr.length)
	}
	return s.outcome()
}

func (s *SG) prepare(c *scsi.Command) error {
	if len(c.CDB) == 0 || len(c.CDB) > len(s.cdb) {
		return fmt.Errorf("%s: a command of %d bytes", s.path, len(c.CDB))
	}
	copy(s.cdb[:], c.CDB)
	limit := c.Timeout
	if limit <= 0 {
		limit = defaultTime
	}
	s.hdr = sgHeader{
		interfaceID: 'S', direction: sgNone, cmdLen: uint8(len(c.CDB)), maxSense: senseBytes,
		cdb: unsafe.Pointer(&s.cdb), sense: unsafe.Pointer(&s.sense),
		timeout: uint32(min(limit.Milliseconds(), largestMillis)),
	}
	data := c.Out
	if len(data) > 0 {
		s.hdr.direction = sgToDev
	} else if data = c.In; len(data) > 0 {
		s.hdr.direction = sgFromDev
	}
	if len(data) > 0 {
		s.hdr.length, s.hdr.data = uint32(len(data)), unsafe.Pointer(unsafe.SliceData(data))
	}
	return nil
}

// unsent is the meaning of an error of the ioctl itself.
func (s *SG) unsent(errno syscall.Errno, length uint32) error {
	switch errno {
	case unix.ENOMEM, unix.EAGAIN:
		return fmt.Errorf("%s: %d bytes: %w: %w: %w", s.path, length, dev.ErrGone, ErrNotSent, errno)
	case unix.EINVAL:
		return fmt.Errorf("%s: the host adapter does not carry %d bytes in a command (largest: %d): %w: %w", s.path, length, s.max, dev.ErrNotSupported, errno)
	}
	return fmt.Errorf("%s: %w: %w", s.path, dev.ErrGone, errno)
}

// The host's status of a command that matter (DID_* of the kernel's scsi.h).
const (
	didOK            = 0x00
	didNoConnect     = 0x01
	didBusBusy       = 0x02
	didTimeOut       = 0x03
	didBadTarget     = 0x04
	didAbort         = 0x05
	didReset         = 0x08
	didRequeue       = 0x0D
	didDisrupted     = 0x0E
	didFailFast      = 0x0F
	didTargetFailure = 0x10
	didNexusFailure  = 0x11
)

var hostStatus = map[uint16]string{
	didNoConnect: "no connection to the device", didTimeOut: "the command took longer than its time limit", didBadTarget: "no such target",
	didAbort: "the command was aborted", didReset: "the bus or the device was reset", didDisrupted: "the transport was disrupted",
	didFailFast: "the transport failed",
}

// The driver's status, of kernels that still tell it.
const (
	driverMask    = 0x0F
	driverTimeout = 0x06
)

// outcome is what the header says of a command that came back.
func (s *SG) outcome() (scsi.Result, error) {
	h := &s.hdr
	r := scsi.Result{Status: scsi.Status(h.status &^ 1), N: int(h.length) - int(min(max(h.resid, 0), int32(h.length)))}
	if h.senseLen > 0 {
		r.Sense = append([]byte(nil), s.sense[:min(int(h.senseLen), senseBytes)]...)
		if r.Status == scsi.Good { // a driver that gives the sense data but not the status
			r.Status = scsi.CheckCondition
		}
	}
	switch h.hostStatus {
	case didOK, didTargetFailure, didNexusFailure: // the device's status tells
	case didBusBusy, didRequeue: // it was not sent
		return scsi.Result{Status: scsi.Busy}, nil
	default:
		if r.Status != scsi.Good {
			return r, nil // the device has spoken
		}
		word := hostStatus[h.hostStatus]
		if word == "" {
			word = "the host adapter failed"
		}
		return r, fmt.Errorf("%s: %w: %s (host status %02Xh)", s.path, dev.ErrGone, word, h.hostStatus)
	}
	if h.driverStatus&driverMask == driverTimeout {
		return r, fmt.Errorf("%s: %w: %s (driver status %02Xh)", s.path, dev.ErrGone, hostStatus[didTimeOut], h.driverStatus)
	}
	if h.hostStatus == didNexusFailure && r.Status == scsi.Good {
		r.Status = scsi.ReservationConflict
	}
	return r, nil
}
