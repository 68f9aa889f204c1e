package vlib

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// Listen makes the library's socket, in a directory that only this user enters: one
// that is there and is others' too is refused, not closed to them. A socket left behind
// by a process that has ended is replaced.
func Listen(path string) (*net.UnixListener, error) {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	if st, err := os.Lstat(dir); err != nil {
		return nil, err
	} else if !ours(st) {
		return nil, fmt.Errorf("%s: the library's socket needs a directory of this user that others cannot enter (mode 0700): give another, it is made if it is not there", dir)
	}
	addr := &net.UnixAddr{Name: path, Net: "unix"}
	if c, err := net.DialUnix("unix", nil, addr); err == nil {
		return nil, errors.Join(fmt.Errorf("%s: another process serves this library: end it first", path), c.Close())
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	return net.ListenUnix("unix", addr)
}

// ours tells whether a file is a directory, and no link to one, that is this user's alone.
func ours(st os.FileInfo) bool {
	sys, ok := st.Sys().(*syscall.Stat_t)
	return ok && st.IsDir() && int(sys.Uid) == os.Geteuid() && st.Mode().Perm()&0o077 == 0
}

// checkPeer refuses a peer of another user.
func checkPeer(c *net.UnixConn) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var cred *unix.Ucred
	var credErr error
	err = raw.Control(func(fd uintptr) {
		cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	})
	if err = errors.Join(err, credErr); err != nil {
		return fmt.Errorf("asking who is at the other end of the library's socket: %w", err)
	}
	if int(cred.Uid) != os.Getuid() {
		return fmt.Errorf("user %d is at the other end of the library's socket, this process runs as %d", cred.Uid, os.Getuid())
	}
	return nil
}

// withRights reads a Unix socket and keeps the descriptors that come with the
// bytes. It is used by one goroutine.
type withRights struct {
	conn *net.UnixConn
	fds  []int
}

func (r *withRights) Read(p []byte) (int, error) {
	oob := make([]byte, unix.CmsgSpace(4*4))
	n, oobn, flags, _, err := r.conn.ReadMsgUnix(p, oob)
	n = max(n, 0) // -1 after an error, such as the reset by a peer that was killed
	if oobn > 0 {
		if rerr := r.keep(oob[:oobn]); rerr != nil {
			return n, rerr
		}
	}
	if flags&unix.MSG_CTRUNC != 0 || len(r.fds) > 4 {
		return n, errors.New("the peer sent more descriptors than the protocol has")
	}
	return n, err
}

func (r *withRights) keep(oob []byte) error {
	msgs, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return err
	}
	for i := range msgs {
		fds, err := unix.ParseUnixRights(&msgs[i])
		if err != nil {
			return err
		}
		r.fds = append(r.fds, fds...)
	}
	return nil
}

// take is the oldest descriptor that came, -1 if there is none.
func (r *withRights) take() int {
	if len(r.fds) == 0 {
		return -1
	}
	fd := r.fds[0]
	r.fds = r.fds[1:]
	return fd
}

func (r *withRights) close() {
	for _, fd := range r.fds {
		unix.Close(fd) //nolint:errcheck // nobody uses it
	}
	r.fds = nil
}

// newScratch makes a region of shared memory.
func newScratch(size int) (fd int, mem []byte, err error) {
	fd, err = unix.MemfdCreate("capstan-block", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return -1, nil, fmt.Errorf("making shared memory for blocks: %w", err)
	}
	if err = unix.Ftruncate(fd, int64(size)); err == nil {
		_, err = unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, unix.F_SEAL_SHRINK|unix.F_SEAL_GROW)
	}
	if err == nil {
		mem, err = unix.Mmap(fd, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	}
	if err != nil {
		return -1, nil, fmt.Errorf("making shared memory for blocks: %w", errors.Join(err, unix.Close(fd)))
	}
	return fd, mem, nil
}

// mapRegion maps a client's region. It must be sealed against shrinking: else
// the client could cut it, and this process would die at the next access.
func mapRegion(fd int, size int64) ([]byte, error) {
	if size <= 0 || size > maxRegion {
		return nil, fmt.Errorf("a region of %d bytes: give 1 to %d", size, int64(maxRegion))
	}
	seals, err := unix.FcntlInt(uintptr(fd), unix.F_GET_SEALS, 0)
	if err != nil {
		return nil, fmt.Errorf("the region is no memfd: %w", err)
	}
	if seals&unix.F_SEAL_SHRINK == 0 {
		return nil, errors.New("the region is not sealed against shrinking: add F_SEAL_SHRINK")
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, err
	}
	if st.Size < size {
		return nil, fmt.Errorf("a region of %d bytes in a memfd of %d", size, st.Size)
	}
	return unix.Mmap(fd, 0, int(size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
}
