package port

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// The first byte on a process's Unix socket says what follows.
const (
	passed byte = 'P' // a TCP socket that the Exchange hands over rides on this byte
	direct byte = 'D' // a process of the same host: calls or data follow, as after TLS
)

// patience is how long a peer may take, unless configured otherwise, for each
// thing that it must do before it has shown who it is and what it wants.
const patience = 5 * time.Second

// runDir is the directory of a host's sockets, <run>/s. It is held open, and
// sockets in it are reached by /proc/self/fd, because the path of a Unix socket
// has at most 107 bytes and a run directory may be deep.
type runDir struct{ dir *os.File }

func openRunDir(run string) (*runDir, error) {
	path := filepath.Join(run, "s")
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, fmt.Errorf("the host's directory of sockets: %w", err)
	}
	dir, err := os.OpenFile(path, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, fmt.Errorf("the host's directory of sockets: %w", err)
	}
	var st unix.Stat_t
	err = unix.Fstat(int(dir.Fd()), &st)
	if err == nil && (st.Mode&0o077 != 0 || int(st.Uid) != os.Geteuid()) {
		err = fmt.Errorf("%s must belong to user %d and be closed to others (mode 0700), it is %d's, mode %04o",
			path, os.Geteuid(), st.Uid, st.Mode&0o7777)
	}
	if err != nil {
		return nil, errors.Join(err, dir.Close())
	}
	return &runDir{dir}, nil
}

func (d *runDir) close() error { return d.dir.Close() }

const socketSuffix = ".sock"

func socketName(service string) string {
	name := url.PathEscape(service)
	if len(name) > 64 {
		sum := sha256.Sum256([]byte(service))
		name = hex.EncodeToString(sum[:16])
	}
	return name + socketSuffix
}

func (d *runDir) path(name string) string {
	return "/proc/self/fd/" + strconv.Itoa(int(d.dir.Fd())) + "/" + name
}

// socket is a process's Unix socket.
type socket struct {
	*net.UnixListener
	path string
}

// Close removes the socket while it is this process's for certain, then closes it.
func (s *socket) Close() error {
	_ = os.Remove(s.path) // removed already when closed twice
	return s.UnixListener.Close()
}

// listen makes the socket of a service. One that a dead process left is
// replaced. It gets its name when it listens: at no time does it look dead.
func (d *runDir) listen(service string) (*socket, error) {
	path := d.path(socketName(service))
	if c, err := net.DialTimeout("unix", path, patience); err == nil {
		return nil, errors.Join(fmt.Errorf("serving %s: another process of this host serves it", service), c.Close())
	}
	fresh := fmt.Sprintf("%s.%d", path, os.Getpid())
	l, err := net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: fresh})
	if err != nil {
		return nil, fmt.Errorf("serving %s: %w", service, err)
	}
	l.SetUnlinkOnClose(false)
	if err := os.Rename(fresh, path); err != nil {
		return nil, errors.Join(fmt.Errorf("serving %s: %w", service, err), l.Close())
	}
	return &socket{l, path}, nil
}

// sweep removes the sockets that killed processes left.
func (d *runDir) sweep() error {
	list, err := os.ReadDir(d.path("."))
	if err != nil {
		return fmt.Errorf("the host's directory of sockets: %w", err)
	}
	for _, e := range list {
		if !strings.HasSuffix(e.Name(), socketSuffix) {
			continue
		}
		c, err := net.DialTimeout("unix", d.path(e.Name()), patience)
		switch {
		case err == nil:
			err = c.Close()
		case errors.Is(err, unix.ECONNREFUSED): // nobody listens any more
			err = os.Remove(d.path(e.Name()))
		}
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("the host's directory of sockets: %s: %w", e.Name(), err)
		}
	}
	return nil
}

// connect opens the socket of a service, and checks that a process of this
// user, or root's, is behind it.
func (d *runDir) connect(ctx context.Context, service string) (*net.UnixConn, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var dialer net.Dialer
	c, err := dialer.DialContext(ctx, "unix", d.path(socketName(service)))
	if err != nil {
		return nil, fmt.Errorf("no process serves %q on this host: %w", service, err)
	}
	u := c.(*net.UnixConn) //nolint:forcetypeassert // what the net package gives for "unix"
	if err := checkPeer(u); err != nil {
		return nil, errors.Join(err, u.Close())
	}
	return u, nil
}

// checkPeer has the kernel vouch for the other end of a Unix socket: this
// process's user, or root.
func checkPeer(c *net.UnixConn) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return fmt.Errorf("peer of a local socket: %w", err)
	}
	var cred *unix.Ucred
	var cerr error
	err = raw.Control(func(fd uintptr) {
		cred, cerr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	})
	if err := errors.Join(err, cerr); err != nil {
		return fmt.Errorf("peer of a local socket: %w", err)
	}
	if cred.Uid != 0 && int(cred.Uid) != os.Geteuid() {
		return fmt.Errorf("a process of user %d (pid %d) may not connect here", cred.Uid, cred.Pid)
	}
	return nil
}

// pass hands a TCP socket to the process at the other end of to.
func pass(to *net.UnixConn, c *net.TCPConn) error {
	if err := to.SetDeadline(time.Now().Add(patience)); err != nil {
		return fmt.Errorf("handing a connection over: %w", err)
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return fmt.Errorf("handing a connection over: %w", err)
	}
	var werr error
	err = raw.Control(func(fd uintptr) {
		_, _, werr = to.WriteMsgUnix([]byte{passed}, unix.UnixRights(int(fd)), nil)
	})
	if err := errors.Join(err, werr); err != nil {
		return fmt.Errorf("handing a connection over: %w", err)
	}
	return nil
}

// receive reads the first byte of a connection to a process's Unix socket, and
// the TCP socket that rides on it, if one does; it is nil for a direct one. It
// returns io.EOF for who only looked whether somebody listens.
func receive(c *net.UnixConn) (passedOn *net.TCPConn, err error) {
	if err := checkPeer(c); err != nil {
		return nil, err
	}
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		return nil, fmt.Errorf("local connection: %w", err)
	}
	var first [1]byte
	oob := make([]byte, unix.CmsgSpace(4))
	n, oobn, flags, _, err := c.ReadMsgUnix(first[:], oob)
	if errors.Is(err, io.EOF) || err == nil && n == 0 {
		return nil, io.EOF
	}
	if err != nil {
		return nil, fmt.Errorf("local connection that says nothing: %w", err)
	}
	fds, err := rights(oob[:oobn])
	if err != nil {
		return nil, err
	}
	switch {
	case first[0] == direct && len(fds) == 0:
		return nil, nil
	case first[0] == passed && len(fds) == 1 && flags&unix.MSG_CTRUNC == 0:
		return tcpOf(fds[0])
	}
	for _, fd := range fds {
		_ = unix.Close(fd)
	}
	return nil, fmt.Errorf("local connection begins with %q and %d descriptors", first, len(fds))
}

func rights(oob []byte) ([]int, error) {
	if len(oob) == 0 {
		return nil, nil
	}
	msgs, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil, fmt.Errorf("local connection: %w", err)
	}
	var all []int
	for i := range msgs {
		fds, err := unix.ParseUnixRights(&msgs[i])
		if err != nil {
			continue // another kind of control message
		}
		all = append(all, fds...)
	}
	return all, nil
}

func tcpOf(fd int) (*net.TCPConn, error) {
	unix.CloseOnExec(fd)
	f := os.NewFile(uintptr(fd), "passed connection")
	defer func() { _ = f.Close() }() // FileConn keeps its own
	c, err := net.FileConn(f)
	if err != nil {
		return nil, fmt.Errorf("a connection handed over: %w", err)
	}
	t, ok := c.(*net.TCPConn)
	if !ok {
		return nil, errors.Join(fmt.Errorf("a %T was handed over, not a TCP connection", c), c.Close())
	}
	return t, nil
}
