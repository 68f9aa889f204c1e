package tape

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The ioctls of <linux/mtio.h> on 64-bit machines, and their structures.
const (
	mtIOCTOP = 0x40086d01
	mtIOCGET = 0x80306d02
	mtIOCPOS = 0x80086d03
)

type mtop struct {
	op    int16
	count int32
}

type mtget struct {
	kind, resid, dsreg, gstat, erreg int64
	file, block                      int32
}

// tapeDevice is the kernel's own file.
type tapeDevice struct{ fd int }

// openTapeFile opens a /dev/nst* without waiting for a medium, for reading only if the
// medium is protected.
func openTapeFile(path string) (tapeFile, error) {
	const flags = unix.O_NONBLOCK | unix.O_CLOEXEC
	fd, err := unix.Open(path, unix.O_RDWR|flags, 0)
	if errors.Is(err, unix.EROFS) {
		fd, err = unix.Open(path, unix.O_RDONLY|flags, 0)
	}
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	d := &tapeDevice{fd}
	if _, err := d.status(); errors.Is(err, unix.ENOTTY) || errors.Is(err, unix.EINVAL) {
		return nil, errors.Join(fmt.Errorf("%s is no tape device (/dev/nst*)", path), d.Close())
	}
	// Not to return at once is a write's and a filemark's job.
	if err := unix.SetNonblock(fd, false); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

func (d *tapeDevice) Read(p []byte) (int, error)  { return unix.Read(d.fd, p) }
func (d *tapeDevice) Write(p []byte) (int, error) { return unix.Write(d.fd, p) }
func (d *tapeDevice) Close() error                { return unix.Close(d.fd) }

func (d *tapeDevice) ioctl(request uintptr, arg unsafe.Pointer) error {
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(d.fd), request, uintptr(arg))
	runtime.KeepAlive(arg)
	if errno != 0 {
		return errno
	}
	return nil
}

func (d *tapeDevice) op(op, count int) error {
	return d.ioctl(mtIOCTOP, unsafe.Pointer(&mtop{op: int16(op), count: int32(count)}))
}

func (d *tapeDevice) status() (uint64, error) {
	var g mtget
	err := d.ioctl(mtIOCGET, unsafe.Pointer(&g))
	return uint64(g.gstat), err
}

func (d *tapeDevice) tell() (int64, error) {
	var at int64
	err := d.ioctl(mtIOCPOS, unsafe.Pointer(&at))
	return at, err
}
