package iscsi

import (
	"context"

	"capstan/core/iscsi"
	"capstan/core/rt"
)

// Task management functions (RFC 7143, 11.5.1).
const (
	abortTask       = 1
	abortTaskSet    = 2
	clearACA        = 3
	clearTaskSet    = 4
	unitReset       = 5
	targetWarmReset = 6
	targetColdReset = 7
	taskReassign    = 8
)

// Their responses (11.6.1).
const (
	tmfDone        = 0
	tmfNoTask      = 1
	tmfNoUnit      = 2
	tmfNoReassign  = 4
	tmfUnsupported = 5
	tmfRejected    = 255
)

// manage takes a task management request, in its turn.
func (c *connection) manage(h *iscsi.Header) error {
	if err := c.discard(h.DataLen()); err != nil {
		return err
	}
	s := c.session.Load()
	if s.nexus == nil {
		return c.sendReject(h, rejectProtocol)
	}
	s.mu.Lock()
	full := s.managing == maxManagement
	if !full {
		s.managing++
	}
	s.mu.Unlock()
	if full { // each waits in a goroutine of its own
		if !c.numbered(h) {
			return nil
		}
		return c.sendReject(h, rejectImmediate)
	}
	m := &management{c: c, s: s, function: h[1] & 0x7F, tag: h.Tag(), ref: h.Word(20), refSN: h.Word(32), sn: h.CmdSN()}
	m.lun, m.lunOK = h.LUN()
	if !h.Immediate() {
		if !s.inOrder(h.CmdSN(), arrival{call: m.begin}) {
			s.mu.Lock()
			s.managing--
			s.mu.Unlock()
		}
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.ended {
		m.begin()
	}
	return nil
}

// management is one task management request.
type management struct {
	c        *connection
	s        *session
	function uint8
	tag      uint32
	lun      uint64
	lunOK    bool
	ref      uint32 // tag of the task, for ABORT TASK
	refSN    uint32 // and its number
	sn       uint32

	response uint8
	busy     []*task // aborted ones that a device works on
}

// maxManagement is how many requests a session may have in hand.
const maxManagement = 8

// begin aborts the tasks that the request names, among its session's own, so that
// no later one is hit; what takes time is left to a goroutine. s.mu is held.
func (m *management) begin() {
	s := m.s
	switch m.function {
	case abortTask:
		m.abortOne()
	case abortTaskSet, clearTaskSet, unitReset:
		if !m.lunOK {
			m.response = tmfNoUnit
			break
		}
		m.busy = s.abortUnit(m.lun)
	case targetWarmReset, targetColdReset:
		m.busy = s.abortUnit(everyUnit)
	case taskReassign:
		m.response = tmfNoReassign
	case clearACA:
		m.response = tmfUnsupported
	default:
		m.response = tmfRejected
	}
	s.running++ // the nexus is needed
	s.target.all.Add(1)
	rt.Go(s.target.run, "iscsi task management", m.finish)
}

// abortOne aborts the task that ABORT TASK names. s.mu is held.
func (m *management) abortOne() {
	s := m.s
	for _, c := range s.conns {
		t := c.tasks[m.ref]
		if t == nil || t.lun != m.lun && t.refused != refuseLUN {
			continue
		}
		if s.abort(t) {
			t.refs.Add(1)
			m.busy = append(m.busy, t)
		}
		return
	}
	// The command may have been lost with its connection: its number counts as come.
	if int32(m.sn-m.refSN) > 0 && s.within(m.refSN) {
		if _, ok := s.held[m.refSN]; !ok {
			s.held[m.refSN] = arrival{}
			return
		}
	}
	m.response = tmfNoTask
}

// finish waits until no device works for the tasks any more, does what else is to
// be done, and answers.
func (m *management) finish(ctx context.Context) {
	s := m.s
	defer s.target.all.Done()
	s.settle(m.busy)
	if m.response == tmfDone {
		m.response = m.reach(ctx)
	}
	h := iscsi.New(iscsi.TaskResponse, iscsi.Final, m.tag)
	h[2] = m.response
	if err := m.c.send(&h, nil, withStatus); err != nil {
		s.target.cfg.Log.Info("iscsi: task management could not be answered", "error", err)
	}
	s.mu.Lock()
	s.managing--
	s.mu.Unlock()
	if m.function == targetColdReset {
		for _, o := range s.target.others() {
			o.end()
		}
	}
	s.workerEnded()
}

// reach does what concerns other sessions and the units.
func (m *management) reach(ctx context.Context) uint8 {
	lun := m.lun
	switch m.function {
	case clearTaskSet, unitReset:
	case targetWarmReset, targetColdReset:
		lun = everyUnit
	default:
		return tmfDone
	}
	for _, o := range m.s.target.others() {
		if o == m.s {
			continue
		}
		o.mu.Lock()
		busy := o.tellUnit(lun)
		o.mu.Unlock()
		o.settle(busy)
	}
	var err error
	switch {
	case m.function == unitReset:
		err = m.s.nexus.LUN(lun).Reset(ctx)
	case lun == everyUnit:
		err = m.s.target.cfg.Units.Reset(ctx)
	}
	if err != nil {
		m.s.target.cfg.Log.Error("iscsi: a reset failed", "error", err)
		return tmfRejected
	}
	return tmfDone
}

// everyUnit stands for all logical units.
const everyUnit = ^uint64(0)

// abort aborts a task. It returns whether a device works on it: it is then to be
// waited for. mu is held.
func (s *session) abort(t *task) (busy bool) {
	if t.state == over {
		return false
	}
	if !t.aborted {
		t.aborted = true
		if t.state == waiting && t.conn.tasks[t.tag] == t {
			delete(t.conn.tasks, t.tag) // the tag is free at once
		}
		t.wake()
	}
	return t.state == working
}

// abortUnit aborts a unit's tasks. It returns those that a device works on, held
// for the caller. mu is held.
func (s *session) abortUnit(lun uint64) (busy []*task) {
	for _, c := range s.conns {
		for _, t := range c.tasks {
			if (lun == everyUnit || t.lun == lun) && s.abort(t) {
				t.refs.Add(1)
				busy = append(busy, t)
			}
		}
	}
	return busy
}

// tellUnit is abortUnit on behalf of another initiator: this one is answered TASK
// ABORTED, so that it need not find out by a time limit. mu is held.
func (s *session) tellUnit(lun uint64) []*task {
	for _, c := range s.conns {
		for _, t := range c.tasks {
			if lun == everyUnit || t.lun == lun {
				t.told = !t.aborted
			}
		}
	}
	return s.abortUnit(lun)
}

// settle waits until devices have ended what they began of aborted tasks, and lets
// go of them.
func (s *session) settle(busy []*task) {
	for _, t := range busy {
		s.mu.Lock()
		for t.state == working {
			s.settled.Wait()
		}
		s.mu.Unlock()
		t.release()
	}
}
