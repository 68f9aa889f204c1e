package iscsi

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"capstan/core/dev"
	"capstan/core/iscsi"
	"capstan/core/scsi"
)

// Session is a session with a target.
type Session struct {
	cfg *Config
	w   *wire
	p   params

	expStatSN atomic.Uint32
	order     sync.Mutex    // of commands: they go out in the order of their numbers
	pinged    atomic.Bool   // the target's ping is being answered
	over      chan struct{} // closed when the reading goroutine has ended

	mu       sync.Mutex
	room     sync.Cond // the target's window has moved
	cmdSN    uint32    // the next command's
	maxCmdSN uint32
	lastTag  uint32
	pending  map[uint32]*call
	err      error // why the session has ended
}

// call is a command in flight. The reading goroutine uses it until done holds a token.
type call struct {
	cmd  *scsi.Command
	lun  uint64
	res  scsi.Result
	err  error
	done chan struct{}
	asks chan ask // of the target for data; one at a time was agreed on
}

// ask is what an R2T says. The answer is left to who waits for the command: the
// reading goroutine must not wait for room to write.
type ask struct {
	tag, transfer uint32
	at, n         int
}

func newSession(cfg *Config, l *login) *Session {
	s := &Session{cfg: cfg, w: l.w, p: l.p, over: make(chan struct{}), cmdSN: l.cmdSN, maxCmdSN: l.cmdSN, pending: map[uint32]*call{}}
	s.room.L = &s.mu
	s.expStatSN.Store(l.statSN)
	go s.read()
	return s
}

// LUN is a logical unit. Closing it leaves the session open.
func (s *Session) LUN(n uint64) scsi.Transport {
	return &unit{s: s, call: call{lun: n, done: make(chan struct{}, 1), asks: make(chan ask, 1)}}
}

// Close logs out and ends the session. Commands in flight end with dev.ErrGone.
func (s *Session) Close() error {
	s.mu.Lock()
	ended := s.err != nil
	h := iscsi.New(iscsi.LogoutReq, iscsi.Final, s.tag())
	h[0] |= 0x40 // immediate
	h.Set(24, s.cmdSN)
	s.mu.Unlock()
	if !ended {
		h.Set(28, s.expStatSN.Load())
		if s.w.send(&h, nil) == nil {
			select { // the target closes the connection after its response
			case <-s.over:
			case <-time.After(5 * time.Second):
			}
		}
	}
	s.end(errors.New("it was closed here"))
	<-s.over
	return nil
}

// tag is a new initiator task tag. mu is held.
func (s *Session) tag() uint32 {
	for {
		s.lastTag++
		if s.lastTag != iscsi.NoTag && s.pending[s.lastTag] == nil {
			return s.lastTag
		}
	}
}

// end ends the session, if nothing has yet.
func (s *Session) end(err error) {
	s.mu.Lock()
	if s.err == nil {
		s.err = err
	}
	s.room.Broadcast()
	s.mu.Unlock()
	s.w.nc.Close()
}

// gone is the error of commands that the session's end met.
func (s *Session) gone() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return fmt.Errorf("%w: the session with %s at %s: %w", dev.ErrGone, s.cfg.Target, s.cfg.Address, s.err)
}

// unit is a logical unit.
type unit struct {
	s    *Session
	mu   sync.Mutex // one command at a time
	call call       // of the command
}

func (u *unit) Close() error { return nil }

// Do sends a command and waits for its end. A command that ctx or its time limit
// cuts off takes the session with it: nobody could say what became of it.
func (u *unit) Do(ctx context.Context, c *scsi.Command) (scsi.Result, error) {
	if len(c.CDB) > 16 || len(c.CDB) == 0 {
		return scsi.Result{}, fmt.Errorf("a command descriptor block of %d bytes: give 1 to 16", len(c.CDB))
	}
	if len(c.Out) > 0 && len(c.In) > 0 {
		return scsi.Result{}, errors.New("a command with data both ways")
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return scsi.Result{}, err
	}
	k := &u.call
	k.cmd, k.res, k.err = c, scsi.Result{}, nil
	for len(k.asks) > 0 { // of a command that broke off
		<-k.asks
	}
	if err := u.s.start(k); err != nil {
		return scsi.Result{}, err
	}
	limit := c.Timeout
	if limit == 0 {
		limit = u.s.cfg.Timeout
	}
	if err := u.s.wait(ctx, k, limit); err != nil {
		return scsi.Result{}, err
	}
	return k.res, k.err
}

// wait waits for a command's end.
func (s *Session) wait(ctx context.Context, k *call, limit time.Duration) error {
	var late <-chan time.Time
	if limit > 0 {
		t := time.NewTimer(limit)
		defer t.Stop()
		late = t.C
	}
	for {
		select {
		case <-k.done:
			return nil
		case a := <-k.asks:
			if err := s.answer(k, a); err != nil {
				s.end(err)
			}
			continue
		case <-ctx.Done():
			s.end(context.Cause(ctx))
		case <-late:
			s.end(fmt.Errorf("a command took longer than %v", limit))
		}
		<-k.done // by the reading goroutine, when it ends
		return s.gone()
	}
}

// answer sends the data that the target asks for.
func (s *Session) answer(k *call, a ask) error {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	s.addData(k, a.tag, a.transfer, a.at, a.at+a.n)
	s.w.flush()
	return s.w.err
}

// start sends a command with what of its data may go at once.
func (s *Session) start(k *call) error {
	s.order.Lock()
	defer s.order.Unlock()
	s.mu.Lock()
	for s.err == nil && int32(s.maxCmdSN-s.cmdSN) < 0 {
		s.room.Wait()
	}
	if s.err != nil {
		s.mu.Unlock()
		return s.gone()
	}
	tag := s.tag()
	s.pending[tag] = k
	sn := s.cmdSN
	s.cmdSN++
	s.mu.Unlock()
	s.w.mu.Lock()
	s.sendCommand(k, tag, sn)
	err := s.w.err
	s.w.mu.Unlock()
	if err != nil {
		s.end(err)
		<-k.done
		return s.gone()
	}
	return nil
}

// sendCommand writes the PDUs of a command. wire.mu is held.
func (s *Session) sendCommand(k *call, tag, sn uint32) {
	h := iscsi.New(iscsi.Command, iscsi.Final, tag)
	h.SetLUN(k.lun)
	h.Set(24, sn)
	h.Set(28, s.expStatSN.Load())
	copy(h[32:], k.cmd.CDB)
	out := k.cmd.Out
	switch {
	case len(out) > 0:
		h[1] |= iscsi.Write
		h.Set(20, uint32(len(out)))
	case len(k.cmd.In) > 0:
		h[1] |= iscsi.Read
		h.Set(20, uint32(len(k.cmd.In)))
	}
	at := 0
	if s.p.immediate {
		at = min(len(out), s.p.firstBurst, s.p.maxSend)
	}
	unsolicited := min(len(out), s.p.firstBurst)
	if !s.p.initialR2T && at < unsolicited {
		h[1] &^= iscsi.Final
	}
	s.w.add(&h, out[:at])
	if !s.p.initialR2T {
		s.addData(k, tag, iscsi.NoTag, at, unsolicited)
	}
	s.w.flush()
}

// addData gathers the data of a command from at to end. wire.mu is held.
func (s *Session) addData(k *call, tag, transfer uint32, at, end int) {
	for sn := uint32(0); at < end; sn++ {
		n := min(end-at, s.p.maxSend)
		d := iscsi.New(iscsi.DataOut, 0, tag)
		if at+n == end {
			d[1] = iscsi.Final
		}
		d.SetLUN(k.lun)
		d.Set(20, transfer)
		d.Set(28, s.expStatSN.Load())
		d.Set(36, sn)
		d.Set(40, uint32(at))
		s.w.add(&d, k.cmd.Out[at:at+n])
		at += n
	}
}
