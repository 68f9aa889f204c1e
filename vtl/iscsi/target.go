package iscsi

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync"
	"time"

	"capstan/core/iscsi"
	"capstan/core/rt"
	"capstan/core/scsi"
)

// Units is the SCSI target that is served.
type Units interface {
	// Nexus begins the nexus of an initiator port, which is named as SPC-5 7.6.4.6
	// does: "iqn.1993-08.org.debian:01:abc,i,0x00023d000000".
	Nexus(initiator string) Nexus
	// Reset is a reset of all units.
	Reset(ctx context.Context) error
}

// Nexus is one initiator port's way to the logical units.
type Nexus interface {
	// LUN is a logical unit. One that does not exist answers as SPC-5 says.
	LUN(n uint64) Unit
	// Lost ends the nexus: the initiator is gone.
	Lost(ctx context.Context) error
}

// Unit is a logical unit.
type Unit interface {
	scsi.Transport
	// Reset is a logical unit reset.
	Reset(ctx context.Context) error
}

// Config describes a target.
type Config struct {
	Name  string // the target's iSCSI name
	Alias string // what people call it; "" is none
	Units Units
	// Portals are the addresses told in a discovery, "192.0.2.1:3260"; none: the one
	// that the initiator has connected to.
	Portals []string
	// Accounts are the initiators' names and CHAP secrets. If there are any, each
	// initiator must prove one.
	Accounts map[string]string
	// MutualName and MutualSecret prove the target to initiators that ask for it.
	MutualName, MutualSecret string
	Limits                   Limits
	Timeouts                 Timeouts
	Log                      *slog.Logger
}

// Limits bound what initiators can make the target hold. A zero is the default.
type Limits struct {
	Connections int   // at once; 64
	Logins      int   // of them, those that have not logged in; 16
	Bytes       int64 // of data in all commands together; 256 MiB
	Queue       int   // commands of one session; 32
}

// Timeouts end what is stuck. A zero is the default.
type Timeouts struct {
	Login time.Duration // for a whole login; 15 s
	PDU   time.Duration // for one PDU to come or go, once it has begun; 60 s
	Data  time.Duration // for the data of a command whose turn it is; 60 s
	// Idle is how long an initiator may be silent before it is asked whether it is
	// still there, and again before it counts as gone; 30 s.
	Idle time.Duration
}

// fill sets what was left to the defaults.
func (c *Config) fill() {
	set(&c.Limits.Connections, 64)
	set(&c.Limits.Logins, 16)
	set(&c.Limits.Bytes, 256<<20)
	set(&c.Limits.Queue, 32)
	set(&c.Timeouts.Login, 15*time.Second)
	set(&c.Timeouts.PDU, time.Minute)
	set(&c.Timeouts.Data, time.Minute)
	set(&c.Timeouts.Idle, 30*time.Second)
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
}

// Check says what is wrong with a configuration that people have written.
func (c *Config) Check() error {
	if !iscsi.ValidName(c.Name) {
		return fmt.Errorf("%q is no iSCSI name: give one such as iqn.2001-04.com.example:tape", c.Name)
	}
	for name, secret := range c.Accounts { // the order does not matter: any mistake is told
		if len(secret) < iscsi.MinSecret {
			return fmt.Errorf("the CHAP secret of %s has %d bytes: give at least %d", name, len(secret), iscsi.MinSecret)
		}
		if secret == c.MutualSecret {
			return fmt.Errorf("the CHAP secret of %s is also the target's own: give another, or each could be played back to the other", name)
		}
	}
	if c.MutualSecret != "" && (len(c.MutualSecret) < iscsi.MinSecret || c.MutualName == "") {
		return fmt.Errorf("the target's own CHAP secret needs a name and at least %d bytes", iscsi.MinSecret)
	}
	return nil
}

func set[T int | int64 | time.Duration](v *T, def T) {
	if *v == 0 {
		*v = def
	}
}

// Target is an iSCSI target with one portal group.
type Target struct {
	cfg  Config
	pool pool
	run  context.Context // of the tasks that carry out commands

	mu       sync.Mutex
	conns    map[*connection]bool
	logins   []*connection // those that have not logged in, the oldest first
	sessions map[uint16]*session
	lastTSIH uint16
	closing  bool

	all sync.WaitGroup // of connections and workers
}

// New makes a target. Its units are used under ctx, which carries a task of the
// real world (package rt), until every call of Serve has returned.
func New(ctx context.Context, cfg Config) (*Target, error) {
	if err := cfg.Check(); err != nil {
		return nil, err
	}
	cfg.fill()
	return &Target{cfg: cfg, pool: pool{limit: cfg.Limits.Bytes}, run: rt.WithoutCancel(ctx),
		conns: map[*connection]bool{}, sessions: map[uint16]*session{}}, nil
}

// Serve takes connections until ctx ends. It returns after every command that had
// begun has ended.
func (t *Target) Serve(ctx context.Context, l net.Listener) error {
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	var err error
	for pause := time.Millisecond; ; {
		var nc net.Conn
		if nc, err = l.Accept(); err == nil {
			pause = time.Millisecond
			t.admit(nc)
			continue
		}
		if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
			break
		}
		// Out of file descriptors, as a rule: it passes.
		t.cfg.Log.Warn("iscsi: a connection could not be taken", "error", err)
		time.Sleep(pause)
		pause = min(2*pause, time.Second)
	}
	t.close()
	t.all.Wait()
	if ctx.Err() != nil {
		return nil
	}
	return fmt.Errorf("iscsi: listening at %s: %w", l.Addr(), err)
}

// admit begins a connection, if the limits allow it. If too many have not logged
// in, the oldest makes room: a login takes a moment, so it is not one who wants in.
func (t *Target) admit(nc net.Conn) {
	c := newConnection(t, nc)
	t.mu.Lock()
	full := t.closing || len(t.conns) >= t.cfg.Limits.Connections
	if !full {
		if len(t.logins) >= t.cfg.Limits.Logins {
			t.logins[0].nc.Close()
			t.logins = slices.Delete(t.logins, 0, 1)
		}
		t.conns[c] = true
		t.logins = append(t.logins, c)
		t.all.Add(1)
	}
	t.mu.Unlock()
	if full {
		nc.Close()
		t.cfg.Log.Warn("iscsi: a connection was refused: too many are open", "from", nc.RemoteAddr())
		return
	}
	go func() {
		defer t.all.Done()
		c.serve()
		t.mu.Lock()
		delete(t.conns, c)
		t.mu.Unlock()
	}()
}

// loggedIn says that a connection's login has ended, well or not.
func (t *Target) loggedIn(c *connection) {
	t.mu.Lock()
	t.logins = slices.DeleteFunc(t.logins, func(o *connection) bool { return o == c })
	t.mu.Unlock()
}

// close ends every connection.
func (t *Target) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closing = true
	for c := range t.conns {
		if c.session.Load() != nil {
			go c.sayGoodbye()
		} else {
			c.nc.Close()
		}
	}
}

// others are the sessions with logical units, now.
func (t *Target) others() (all []*session) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, s := range t.sessions {
		if s.nexus != nil {
			all = append(all, s)
		}
	}
	return all
}

// join gives a login that has succeeded its session: a new one, in place of
// another of the same initiator port if there is one, or that of its TSIH.
func (t *Target) join(c *connection, l *login) (status uint16) {
	if l.tsih != 0 {
		return t.addConnection(c, l)
	}
	for {
		t.mu.Lock()
		old := t.find(l)
		if old == nil {
			break
		}
		t.mu.Unlock()
		if old.account != l.auth.account {
			return loginForbidden
		}
		t.cfg.Log.Info("iscsi: a session is reinstated", "initiator", l.initiator)
		old.end()
		select {
		case <-old.gone:
		case <-time.After(t.cfg.Timeouts.Login): // a device works on its last command: later
			return loginUnavailable
		}
	}
	defer t.mu.Unlock()
	if t.closing {
		return loginUnavailable
	}
	for t.lastTSIH++; t.lastTSIH == 0 || t.sessions[t.lastTSIH] != nil; t.lastTSIH++ {
	}
	s := newSession(t, l, t.lastTSIH)
	t.sessions[s.tsih] = s
	c.session.Store(s)
	s.conns[l.cid] = c
	return loginOK
}

// find is the session that a login of the leading connection takes the place of.
// mu is held.
func (t *Target) find(l *login) *session {
	if l.discovery {
		return nil
	}
	for _, s := range t.sessions {
		if s.nexus != nil && s.initiator == l.initiator && s.isid == l.isid {
			return s
		}
	}
	return nil
}

// addConnection adds a connection to a session, in place of one of the same
// number if there is one.
func (t *Target) addConnection(c *connection, l *login) uint16 {
	t.mu.Lock()
	s := t.sessions[l.tsih]
	t.mu.Unlock()
	if s == nil || s.nexus == nil || s.initiator != l.initiator || s.isid != l.isid {
		return loginNoSession
	}
	if s.account != l.auth.account {
		return loginForbidden
	}
	for {
		s.mu.Lock()
		old := s.conns[l.cid]
		if old == nil {
			break
		}
		old.replaced.Store(true)
		old.kept.Store(true)
		s.mu.Unlock()
		old.nc.Close()
		<-old.left
	}
	defer s.mu.Unlock()
	switch {
	case s.ended:
		return loginNoSession
	case len(s.conns) >= s.params.MaxConnections:
		return loginTooMany
	}
	c.session.Store(s)
	s.conns[l.cid] = c
	return loginOK
}

// forget ends the registration of a session.
func (t *Target) forget(s *session) {
	t.mu.Lock()
	delete(t.sessions, s.tsih)
	t.mu.Unlock()
}
