package ring

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"capstan/core/rt"
	"capstan/core/status"
	"capstan/core/stream"
)

// maxName is the longest name of a ring, encoded: it becomes part of a memfd's
// name and of a socket's.
const maxName = 80

// hello is what who attaches says first: a connection that only looks whether
// somebody listens says nothing, and costs the ring nothing.
const hello = "CAPSTAN RING 1\n"

// handshakeTime bounds the handing over of the memory.
const handshakeTime = 5 * time.Second

// Rings makes the rings of a host's processes, and finds them.
type Rings struct {
	dir string
	log *slog.Logger
}

var _ stream.Rings = (*Rings)(nil)

// New makes the rings below the host's run directory: their sockets are
// <run>/r/<name>.sock, there only until the other side has come. The processes
// of one host give the same directory. log may be nil.
func New(run string, log *slog.Logger) *Rings {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Rings{dir: filepath.Join(run, "r"), log: log}
}

// Create makes a ring and returns at once; the other side may come later. Until
// it has come, what waits for it ends only with its context. Errors carry status 89.
func (r *Rings) Create(ctx context.Context, name string, slots, size int) (stream.Ring, error) {
	rt.MayBlock(ctx)
	s, err := r.socket(name, true)
	if err != nil {
		return nil, err
	}
	m, err := newMemory(url.PathEscape(name), geometry{slots, size})
	if err != nil {
		return nil, errors.Join(err, s.dir.Close())
	}
	l, err := s.listen()
	if err != nil {
		return nil, status.Errorf(status.SharedMemory, "creating ring %s: %w", name, errors.Join(err, m.close(), s.dir.Close()))
	}
	ring := newRing(name, m)
	ring.offered = make(chan struct{})
	o := &offer{ring: ring, socket: s, listener: l, log: r.log.With("ring", name)}
	go o.run()
	go o.withdraw()
	return ring, nil
}

// Attach finds a ring that another process has created. Errors carry status 89,
// and wrap fs.ErrNotExist if there is none.
func (r *Rings) Attach(ctx context.Context, name string) (stream.Ring, error) {
	rt.MayBlock(ctx)
	s, err := r.socket(name, false)
	if err != nil {
		return nil, err
	}
	defer s.dir.Close()
	ring, err := attach(ctx, s, name)
	if err != nil {
		return nil, status.Errorf(status.SharedMemory, "attaching to ring %s: %w", name, err)
	}
	return ring, nil
}

func attach(ctx context.Context, s *socket, name string) (*Ring, error) {
	conn, err := s.dial(ctx)
	if err != nil {
		return nil, err
	}
	g, fd, err := takeGrant(conn)
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	m, err := mapMemory(fd, g)
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	ring := newRing(name, m)
	ring.peer.connected(conn)
	return ring, nil
}

// takeGrant says hello and receives the memory.
func takeGrant(conn *net.UnixConn) (g geometry, fd int, err error) {
	if err := errors.Join(sameUser(conn), conn.SetDeadline(time.Now().Add(handshakeTime))); err != nil {
		return g, -1, err
	}
	if _, err := conn.Write([]byte(hello)); err != nil {
		return g, -1, fmt.Errorf("saying hello: %w", err)
	}
	b, oob := make([]byte, grantLen), make([]byte, unix.CmsgSpace(4))
	n, on, _, _, err := conn.ReadMsgUnix(b, oob) // one write of a few bytes comes as one read
	if err != nil {
		return g, -1, fmt.Errorf("receiving the memory: %w", err)
	}
	if fd, err = rights(oob[:on]); err != nil {
		return g, -1, err
	}
	if g, err = parseGrant(b[:n]); err == nil {
		err = conn.SetDeadline(time.Time{})
	}
	if err != nil {
		return g, -1, errors.Join(err, unix.Close(fd))
	}
	return g, fd, nil
}

// rights is the one descriptor that came with a message.
func rights(oob []byte) (int, error) {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return -1, fmt.Errorf("parsing control data: %w", err)
	}
	var fds []int
	for i := range messages {
		got, err := unix.ParseUnixRights(&messages[i])
		if err == nil {
			fds = append(fds, got...)
		}
	}
	if len(fds) != 1 {
		for _, fd := range fds {
			_ = unix.Close(fd) // not what was asked for
		}
		return -1, fmt.Errorf("%d descriptors came, not the one of the memory", len(fds))
	}
	return fds[0], nil
}

// sameUser refuses a peer of another user.
func sameUser(conn *net.UnixConn) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	var cred *unix.Ucred
	var cerr error
	if err := raw.Control(func(fd uintptr) {
		cred, cerr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); err != nil {
		return err
	}
	if cerr != nil {
		return fmt.Errorf("asking who the other side is: %w", cerr)
	}
	if int(cred.Uid) != os.Geteuid() {
		return fmt.Errorf("process %d of user %d is not of this process's user %d", cred.Pid, cred.Uid, os.Geteuid())
	}
	return nil
}

// offer waits for the other side of a ring, and hands it the memory.
type offer struct {
	ring     *Ring
	socket   *socket
	listener *net.UnixListener
	log      *slog.Logger
}

// withdraw ends the offer when the ring is closed before the other side came.
func (o *offer) withdraw() {
	select {
	case <-o.ring.closed:
		o.listener.Close()
	case <-o.ring.peer.here:
	}
}

func (o *offer) run() {
	defer o.end()
	for {
		conn, err := o.listener.AcceptUnix()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			o.log.Error("waiting for the other side of a ring", "error", err)
			time.Sleep(100 * time.Millisecond) // out of descriptors: they may come back
			continue
		}
		if err := o.hand(conn); err != nil {
			o.log.Debug("a connection to a ring was refused", "error", err)
			conn.Close()
			continue
		}
		o.ring.peer.connected(conn)
		return
	}
}

// end takes the socket away: a ring has two sides.
func (o *offer) end() {
	o.listener.Close()
	if err := o.socket.remove(); err != nil && !errors.Is(err, fs.ErrNotExist) {
		o.log.Warn("removing a ring's socket", "error", err)
	}
	o.socket.dir.Close()
	close(o.ring.offered)
}

// hand gives the memory to who says hello.
func (o *offer) hand(conn *net.UnixConn) error {
	if err := errors.Join(sameUser(conn), conn.SetDeadline(time.Now().Add(handshakeTime))); err != nil {
		return err
	}
	b := make([]byte, len(hello))
	if _, err := io.ReadFull(conn, b); err != nil {
		return fmt.Errorf("no hello: %w", err)
	}
	if string(b) != hello {
		return fmt.Errorf("hello is %q", b)
	}
	// Close waits for the end of the offer before it closes the descriptor.
	if _, _, err := conn.WriteMsgUnix(o.ring.grant(), unix.UnixRights(o.ring.m.fd), nil); err != nil {
		return fmt.Errorf("handing over the memory: %w", err)
	}
	return conn.SetDeadline(time.Time{})
}

// socket is a ring's socket in its directory. The directory is held open, and
// the socket reached through /proc/self/fd: the path of a Unix socket has at most
// 107 bytes, that of a run directory may have more.
type socket struct {
	dir  *os.File
	file string
}

// socket opens the directory of the sockets, making it if wanted.
func (r *Rings) socket(name string, create bool) (*socket, error) {
	file := url.PathEscape(name)
	if name == "" || len(file) > maxName {
		return nil, status.Errorf(status.SharedMemory, "ring name %q: 1 to %d bytes are possible, encoded as in a URL", name, maxName)
	}
	if create {
		if err := os.MkdirAll(r.dir, 0o700); err != nil {
			return nil, status.Errorf(status.SharedMemory, "making the directory of the rings: %w", err)
		}
	}
	dir, err := os.OpenFile(r.dir, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, status.Errorf(status.SharedMemory, "ring %s: opening the directory of the rings: %w", name, err)
	}
	var st unix.Stat_t
	if err = unix.Fstat(int(dir.Fd()), &st); err == nil && (int(st.Uid) != os.Geteuid() || st.Mode&0o077 != 0) {
		err = fmt.Errorf("%s must belong to user %d alone (mode 0700): it belongs to %d, mode %04o", r.dir, os.Geteuid(), st.Uid, st.Mode&0o7777)
	}
	if err != nil {
		return nil, status.Errorf(status.SharedMemory, "ring %s: %w", name, errors.Join(err, dir.Close()))
	}
	return &socket{dir: dir, file: file + ".sock"}, nil
}

func (s *socket) addr() *net.UnixAddr {
	return &net.UnixAddr{Net: "unix", Name: "/proc/self/fd/" + strconv.Itoa(int(s.dir.Fd())) + "/" + s.file}
}

// listen binds the socket. One that a killed process left is taken over; one that
// somebody listens on is not.
func (s *socket) listen() (*net.UnixListener, error) {
	l, err := net.ListenUnix("unix", s.addr())
	if errors.Is(err, unix.EADDRINUSE) {
		if c, derr := net.DialUnix("unix", nil, s.addr()); derr == nil {
			c.Close()
			return nil, fmt.Errorf("%s: a ring of this name waits for its other side: %w", s.file, fs.ErrExist)
		} else if !errors.Is(derr, unix.ECONNREFUSED) {
			return nil, fmt.Errorf("%s: asking whether its ring lives: %w", s.file, derr)
		}
		if err = s.remove(); err == nil {
			l, err = net.ListenUnix("unix", s.addr())
		}
	}
	if err != nil {
		return nil, err
	}
	l.SetUnlinkOnClose(false) // end does, by the directory's descriptor
	return l, nil
}

func (s *socket) dial(ctx context.Context) (*net.UnixConn, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, "unix", s.addr().Name)
	if err != nil {
		return nil, err
	}
	return c.(*net.UnixConn), nil
}

func (s *socket) remove() error {
	if err := unix.Unlinkat(int(s.dir.Fd()), s.file, 0); err != nil {
		return &fs.PathError{Op: "unlink", Path: s.file, Err: err}
	}
	return nil
}
