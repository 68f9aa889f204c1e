package iscsi

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"capstan/core/iscsi"
	"capstan/core/rt"
)

// session is one session: the nexus of an initiator port with the target, over one
// connection or several.
type session struct {
	target    *Target
	initiator string
	account   string // that was proven; "" where none is needed
	isid      [6]byte
	tsih      uint16
	params    Params // of the leading connection
	nexus     Nexus  // nil in a discovery session

	gone chan struct{} // closed when nothing of the session is left

	// The window of command numbers (RFC 7143, 4.2.2.1): the next one in order and
	// the last one allowed. Written under mu.
	expCmdSN, maxCmdSN atomic.Uint32

	mu       sync.Mutex
	settled  sync.Cond // a command that was aborted while a device worked on it has ended
	conns    map[uint16]*connection
	held     map[uint32]arrival // that came before their turn, by number
	workers  map[uint64]*worker
	running  int // workers that have not ended
	urgent   int // immediate commands in hand
	managing int // task management requests in hand
	ended    bool
}

// arrival is what waits for its turn in the order of commands: if neither
// is set, only its number.
type arrival struct {
	task *task
	call func() // a task management request; called with the session's lock held
}

// maxUrgent is how many immediate commands a session may have in hand, beside its window.
const maxUrgent = 16

// maxWorkers is how many logical units an initiator may have used, those that do
// not exist among them.
const maxWorkers = 1024

func newSession(t *Target, l *login, tsih uint16) *session {
	s := &session{target: t, initiator: l.initiator, account: l.auth.account, isid: l.isid, tsih: tsih, params: l.params, gone: make(chan struct{}),
		conns: map[uint16]*connection{}, held: map[uint32]arrival{}, workers: map[uint64]*worker{}}
	s.settled.L = &s.mu
	s.expCmdSN.Store(l.c.loginCmdSN)
	s.maxCmdSN.Store(l.c.loginCmdSN + uint32(t.cfg.Limits.Queue) - 1)
	if !l.discovery {
		s.nexus = t.cfg.Units.Nexus(fmt.Sprintf("%s,i,%s", l.initiator, iscsi.HexValue(l.isid[:])))
	}
	return s
}

// inOrder takes a numbered request, and whatever has waited for it, to its place.
// false if its number is outside of the window or was there already: it is then to
// be ignored.
func (s *session) inOrder(sn uint32, a arrival) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, twice := s.held[sn]; twice || !s.within(sn) || s.ended {
		return false
	}
	s.held[sn] = a
	for {
		sn := s.expCmdSN.Load()
		next, ok := s.held[sn]
		if !ok {
			return true
		}
		delete(s.held, sn)
		s.expCmdSN.Store(sn + 1)
		s.deliver(next)
	}
}

// within tells whether a number is in the window, in serial number arithmetic.
func (s *session) within(sn uint32) bool {
	return int32(sn-s.expCmdSN.Load()) >= 0 && int32(s.maxCmdSN.Load()-sn) >= 0
}

// deliver hands on what has its turn. mu is held.
func (s *session) deliver(a arrival) {
	switch {
	case a.task != nil:
		s.enqueue(a.task)
	case a.call != nil:
		s.maxCmdSN.Add(1) // it does not stay in the window
		a.call()
	default:
		s.maxCmdSN.Add(1)
	}
}

// enqueue gives a command to its unit's worker. mu is held.
func (s *session) enqueue(t *task) {
	w := s.workers[t.lun]
	if w == nil {
		if len(s.workers) == maxWorkers {
			t.refused = refuseFull
			t.lun = 0
			w = s.workers[0]
		}
		if w == nil {
			w = s.startWorker(t.lun)
		}
	}
	w.queue <- t // it has room for the window and the immediate ones
}

func (s *session) startWorker(lun uint64) *worker {
	w := &worker{session: s, unit: s.nexus.LUN(lun), queue: make(chan *task, s.target.cfg.Limits.Queue+maxUrgent)}
	s.workers[lun] = w
	s.running++
	s.target.all.Add(1)
	rt.Go(s.target.run, "iscsi worker", w.run)
	return w
}

// leave takes a connection out of the session, with its commands. Where errors are
// recovered by sessions alone, one that was not logged out takes the session with
// it: the others would wait for its numbers for ever.
func (s *session) leave(c *connection) {
	s.mu.Lock()
	for _, t := range c.tasks {
		s.abort(t)
	}
	s.dropHeld(func(a arrival) bool { return a.task != nil && a.task.conn == c })
	for cid, o := range s.conns {
		if o == c {
			delete(s.conns, cid)
		}
	}
	last := len(s.conns) == 0 && !c.replaced.Load()
	s.mu.Unlock()
	if last || !c.kept.Load() {
		s.end()
	}
}

// dropHeld forgets commands that wait for their turn; their numbers count as come.
// mu is held.
func (s *session) dropHeld(which func(arrival) bool) {
	for sn, a := range s.held {
		if which(a) {
			if a.task != nil {
				a.task.release()
			}
			s.held[sn] = arrival{}
		}
	}
}

// end ends the session: its connections, its commands, and when the last one that
// a device was working on has ended, the nexus. It may be called again.
func (s *session) end() {
	s.mu.Lock()
	for _, c := range s.conns {
		c.nc.Close()
		for _, t := range c.tasks {
			s.abort(t)
		}
	}
	if s.ended {
		s.mu.Unlock()
		return
	}
	s.ended = true
	s.dropHeld(func(arrival) bool { return true })
	clear(s.held)
	for _, w := range s.workers {
		close(w.queue)
	}
	s.running++ // this function
	s.mu.Unlock()
	s.workerEnded()
}

// workerEnded says that a worker has ended. The last one ends the nexus.
func (s *session) workerEnded() {
	s.mu.Lock()
	s.running--
	last := s.ended && s.running == 0
	s.mu.Unlock()
	if !last {
		return
	}
	s.target.all.Add(1)
	rt.Go(s.target.run, "iscsi nexus", func(ctx context.Context) {
		defer s.target.all.Done()
		if s.nexus != nil {
			if err := s.nexus.Lost(ctx); err != nil {
				s.target.cfg.Log.Error("iscsi: the end of a session could not be told to the units", "initiator", s.initiator, "error", err)
			}
		}
		s.target.forget(s)
		close(s.gone)
	})
}
