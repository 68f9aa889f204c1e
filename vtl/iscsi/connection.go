package iscsi

import (
	"errors"
	"net"
	"sync/atomic"
	"time"

	"capstan/core/iscsi"
)

// connection is one connection of an initiator.
type connection struct {
	wire
	target  *Target
	session atomic.Pointer[session] // nil until the login has succeeded
	params  Params
	left    chan struct{} // closed when the session knows it no more
	// kept says that the session goes on without this connection; replaced, that
	// another is about to take its place.
	kept, replaced atomic.Bool

	loginCmdSN   uint32
	statSN       uint32 // the next status's; guarded by wire.mu
	sense        []byte // room for a response's data; guarded by wire.mu
	maxReceive   int    // bytes of a data segment
	lastTransfer uint32 // target transfer tag
	text         text

	tasks map[uint32]*task // by tag; guarded by the session's lock
}

func newConnection(t *Target, nc net.Conn) *connection {
	c := &connection{target: t, left: make(chan struct{}), statSN: 1, tasks: map[uint32]*task{}, maxReceive: defaultSegment}
	c.init(nc, &t.cfg.Timeouts)
	return c
}

// serve runs the connection to its end.
func (c *connection) serve() {
	log := c.target.cfg.Log.With("from", c.nc.RemoteAddr())
	defer c.nc.Close()
	defer close(c.left)
	err := c.login()
	c.target.loggedIn(c)
	s := c.session.Load()
	if err != nil {
		log.Info("iscsi: no login", "error", err)
	}
	if s == nil {
		return
	}
	defer s.leave(c)
	if err != nil {
		return
	}
	log = log.With("initiator", s.initiator)
	log.Info("iscsi: logged in", "discovery", s.nexus == nil)
	err = c.fullFeature()
	log.Info("iscsi: connection ended", "error", err)
}

// Reasons of a rejection (RFC 7143, 11.17.1). ignored is none: nothing is answered.
const (
	rejectDigest      = 0x02
	rejectSnack       = 0x03
	rejectProtocol    = 0x04
	rejectUnsupported = 0x05
	rejectImmediate   = 0x06
	rejectInProgress  = 0x07
	rejectField       = 0x09
	ignored           = 0xFF
)

var errLoggedOut = errors.New("logged out")

// fullFeature takes PDU after PDU until the connection ends, and says why it did.
func (c *connection) fullFeature() error {
	var h iscsi.Header
	for asked := false; ; {
		ahs, err := c.readHeader(&h, c.timeouts.Idle)
		if errors.Is(err, errIdle) {
			if asked {
				return errIdle
			}
			asked = true
			if err := c.ping(); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			return err
		}
		asked = false
		if n := h.DataLen(); n > c.maxReceive {
			err = breach("a data segment of %d bytes, of at most %d", n, c.maxReceive)
		} else {
			err = c.dispatch(&h, ahs)
		}
		if err != nil {
			return c.farewell(&h, err)
		}
	}
}

// dispatch takes one PDU. It reads its data segment.
func (c *connection) dispatch(h *iscsi.Header, ahs []byte) error {
	switch h.Opcode() {
	case iscsi.Command:
		return c.command(h, ahs)
	case iscsi.DataOut:
		return c.dataOut(h)
	case iscsi.NopOut:
		return c.nop(h)
	case iscsi.TaskRequest:
		return c.manage(h)
	case iscsi.TextRequest:
		return c.negotiate(h)
	case iscsi.LogoutReq:
		return c.logout(h)
	case iscsi.Snack:
		return c.reject(h, rejectSnack)
	case iscsi.LoginRequest:
		return breach("a login in the full feature phase")
	}
	return c.reject(h, rejectUnsupported)
}

// farewell tells the initiator why the connection ends, where a PDU is to blame.
func (c *connection) farewell(h *iscsi.Header, err error) error {
	reason := uint8(0)
	var breach *protocolError
	switch {
	case errors.As(err, &breach), errors.Is(err, iscsi.ErrPDU):
		reason = rejectProtocol
	case errors.Is(err, iscsi.ErrDigest):
		reason = rejectDigest
	default:
		return err
	}
	if serr := c.sendReject(h, reason); serr != nil {
		return errors.Join(err, serr)
	}
	return err
}

// reject refuses one PDU, whose data was not read; the connection goes on.
func (c *connection) reject(h *iscsi.Header, reason uint8) error {
	if err := c.discard(h.DataLen()); err != nil {
		return err
	}
	return c.sendReject(h, reason)
}

func (c *connection) sendReject(h *iscsi.Header, reason uint8) error {
	r := iscsi.New(iscsi.Reject, iscsi.Final, iscsi.NoTag)
	r[2] = reason
	bad := *h
	return c.send(&r, bad[:], withStatus)
}

// statusNumber is what a PDU has to do with the numbers of statuses.
type statusNumber uint8

const (
	noStatus       statusNumber = iota
	withStatus                  // it takes the next number
	withNextStatus              // it tells the next number, and takes none
)

// stamp writes the status's number and the window of commands into a header.
// wire.mu is held.
func (c *connection) stamp(h *iscsi.Header, n statusNumber) {
	if n != noStatus {
		h.Set(24, c.statSN)
	}
	if n == withStatus {
		c.statSN++
	}
	if s := c.session.Load(); s != nil {
		h.Set(28, s.expCmdSN.Load())
		h.Set(32, s.maxCmdSN.Load())
		return
	}
	h.Set(28, c.loginCmdSN)
	h.Set(32, c.loginCmdSN+uint32(c.target.cfg.Limits.Queue)-1)
}

// send sends one PDU.
func (c *connection) send(h *iscsi.Header, data []byte, n statusNumber) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stamp(h, n)
	c.add(h, data)
	c.flush()
	return c.err
}

// ping asks an initiator that is silent whether it is still there.
func (c *connection) ping() error {
	h := iscsi.New(iscsi.NopIn, iscsi.Final, iscsi.NoTag)
	h.Set(20, 0) // any tag: the answer says no more than that it came
	return c.send(&h, nil, withNextStatus)
}

// numbered takes a PDU's number out of the order of commands; false if the PDU is
// to be ignored.
func (c *connection) numbered(h *iscsi.Header) bool {
	return h.Immediate() || c.session.Load().inOrder(h.CmdSN(), arrival{})
}

// nop answers a NOP-Out with what came with it.
func (c *connection) nop(h *iscsi.Header) error {
	n := h.DataLen()
	if h.Tag() == iscsi.NoTag { // it answers ours, or wants no answer
		return c.discard(n)
	}
	if !c.numbered(h) {
		return c.discard(n)
	}
	r := iscsi.New(iscsi.NopIn, iscsi.Final, h.Tag())
	copy(r[8:16], h[8:16])
	r.Set(20, iscsi.NoTag)
	b := c.target.pool.get(n)
	if b == nil {
		return c.reject(h, rejectImmediate)
	}
	defer c.target.pool.put(b)
	if err := c.readData(b.b); err != nil {
		return err
	}
	return c.send(&r, b.b[:min(n, c.params.MaxSend)], withStatus)
}

// Logout reasons and responses (RFC 7143, 11.14.1 and 11.15.1).
const (
	logoutSession    = 0
	logoutConnection = 1
	logoutDone       = 0
	logoutNoCID      = 1
	logoutNoRecovery = 2
)

// logout ends the session, or one connection of it.
func (c *connection) logout(h *iscsi.Header) error {
	if err := c.discard(h.DataLen()); err != nil {
		return err
	}
	if !c.numbered(h) {
		return nil
	}
	s := c.session.Load()
	r := iscsi.New(iscsi.LogoutResp, iscsi.Final, h.Tag())
	var other *connection
	switch h[1] & 0x7F {
	case logoutSession:
		other = c
	case logoutConnection:
		s.mu.Lock()
		if c.kept.Load() { // it is being logged out itself, by one that waits for it
			s.mu.Unlock()
			return errLoggedOut
		}
		if other = s.conns[h.Half(20)]; other == nil {
			r[2] = logoutNoCID
		} else {
			other.kept.Store(true)
		}
		s.mu.Unlock()
	default:
		r[2] = logoutNoRecovery
	}
	if other != nil && other != c {
		other.nc.Close()
		<-other.left
	}
	err := c.send(&r, nil, withStatus)
	if err == nil && other == c {
		err = errLoggedOut
	}
	return err
}

const goodbyeLimit = 2 * time.Second

// sayGoodbye tells the initiator that the target stops (asynchronous event 3), and
// closes the connection, also if the initiator does not read.
func (c *connection) sayGoodbye() {
	late := time.AfterFunc(goodbyeLimit, func() { c.nc.Close() })
	defer late.Stop()
	h := iscsi.New(iscsi.Async, iscsi.Final, iscsi.NoTag)
	h[36] = 3
	if err := c.send(&h, nil, withStatus); err != nil {
		c.target.cfg.Log.Debug("iscsi: an initiator could not be told that the target stops", "error", err)
	}
	c.nc.Close()
}
