package iscsi

import (
	"fmt"

	"capstan/core/iscsi"
	"capstan/core/scsi"
)

// maxTransfer is the most data of one command, in bytes.
const maxTransfer = 16 << 20

// command takes a SCSI command: it gets what of its data comes at once, asks for
// the rest, and hands it to its session.
func (c *connection) command(h *iscsi.Header, ahs []byte) error {
	s, n := c.session.Load(), h.DataLen()
	if s.nexus == nil {
		return c.reject(h, rejectProtocol)
	}
	t := newTask(c, h)
	var err error
	if t.cdb, err = iscsi.AppendCDB(t.cdbRoom[:0], h, ahs); err != nil {
		t.release()
		return err
	}
	var ok bool
	if t.lun, ok = h.LUN(); !ok {
		t.lun, t.refused = 0, refuseLUN
	}
	if reason := c.enter(s, h, t); reason != 0 {
		t.release()
		if reason == ignored {
			return c.discard(n)
		}
		return c.reject(h, reason)
	}
	// From here on the task may be aborted by others: it is held for this function.
	defer t.release()
	if err := c.begin(t, h); err != nil {
		s.mu.Lock()
		s.abort(t)
		s.mu.Unlock()
		c.place(s, h, t)
		return err
	}
	c.place(s, h, t)
	return nil
}

// enter registers a command under its tag.
func (c *connection) enter(s *session, h *iscsi.Header, t *task) (reason uint8) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.ended || !t.immediate && !s.within(h.CmdSN()):
		return ignored
	case c.tasks[t.tag] != nil || t.tag == iscsi.NoTag:
		return rejectInProgress
	case t.immediate && s.urgent == maxUrgent:
		return rejectImmediate
	}
	if t.immediate {
		s.urgent++
	}
	t.refs.Add(1)
	c.tasks[t.tag] = t
	return 0
}

// place gives a command its turn.
func (c *connection) place(s *session, h *iscsi.Header, t *task) {
	if !t.immediate {
		if !s.inOrder(h.CmdSN(), arrival{task: t}) {
			c.dropTask(s, t)
		}
		return
	}
	s.mu.Lock()
	ended := s.ended
	if !ended {
		s.enqueue(t)
	}
	s.mu.Unlock()
	if ended {
		c.dropTask(s, t)
	}
}

// dropTask forgets a command that got no turn.
func (c *connection) dropTask(s *session, t *task) {
	s.mu.Lock()
	if c.tasks[t.tag] == t {
		delete(c.tasks, t.tag)
	}
	t.state = over
	if t.immediate {
		s.urgent--
	}
	s.mu.Unlock()
	t.release()
}

// begin reads a command's immediate data and asks for what else it needs.
func (c *connection) begin(t *task, h *iscsi.Header) error {
	n, p := h.DataLen(), &c.params
	unsolicited := t.write && !h.Has(iscsi.Final)
	switch {
	case !t.write && (n > 0 || !h.Has(iscsi.Final)):
		return breach("a command that writes nothing has data")
	case n > 0 && !p.ImmediateData:
		return breach("immediate data, which was not agreed on")
	case unsolicited && p.InitialR2T:
		return breach("unsolicited data, which was not agreed on")
	case n > t.length || t.write && n > p.FirstBurst:
		return breach("%d bytes of immediate data, of at most %d", n, min(t.length, p.FirstBurst))
	}
	if t.read && t.write {
		t.refused = refuseField // no command of these units moves data both ways
	}
	if t.write && t.refused == refuseNone {
		if t.length > maxTransfer {
			t.refused = refuseField
		} else if t.out = c.target.pool.get(t.length); t.out == nil {
			t.refused = refuseFull
		}
	}
	if t.refused != refuseNone {
		t.whole = true // what comes of its data is thrown away
		return c.discard(n)
	}
	if !t.write {
		return nil
	}
	if err := c.readData(t.out.b[:n]); err != nil {
		return err
	}
	t.got, t.asked = n, n
	if unsolicited {
		t.asked = min(p.FirstBurst, t.length)
		t.bursts = append(t.bursts, burst{tag: iscsi.NoTag, next: n, end: t.asked})
		return nil
	}
	return c.solicit(t)
}

// solicit asks for data until as much is on its way as was agreed on. When all is
// there the command can be carried out.
func (c *connection) solicit(t *task) error {
	if t.got == t.length {
		t.whole = true
		t.wake()
		return nil
	}
	for t.asked < t.length && len(t.bursts) < c.params.MaxOutstandingR2T {
		n := min(t.length-t.asked, c.params.MaxBurst)
		c.lastTransfer++
		if c.lastTransfer == iscsi.NoTag {
			c.lastTransfer = 0
		}
		h := iscsi.New(iscsi.R2T, iscsi.Final, t.tag)
		h.SetLUN(t.lun)
		h.Set(20, c.lastTransfer)
		h.Set(36, t.r2tSN)
		h.Set(40, uint32(t.asked))
		h.Set(44, uint32(n))
		t.bursts = append(t.bursts, burst{tag: c.lastTransfer, next: t.asked, end: t.asked + n})
		t.asked += n
		t.r2tSN++
		if err := c.send(&h, nil, withNextStatus); err != nil {
			return err
		}
	}
	return nil
}

// dataOut takes data of a command straight to its place.
func (c *connection) dataOut(h *iscsi.Header) error {
	s, n := c.session.Load(), h.DataLen()
	s.mu.Lock()
	t := c.tasks[h.Tag()]
	if t != nil {
		t.refs.Add(1)
	}
	s.mu.Unlock()
	if t == nil { // it was aborted, or refused: what is still under way is not wanted
		return c.discard(n)
	}
	defer t.release()
	if t.whole {
		return c.discard(n)
	}
	at := -1
	for i := range t.bursts {
		if t.bursts[i].tag == h.TransferTag() {
			at = i
		}
	}
	if at < 0 {
		return breach("data that was not asked for")
	}
	b := &t.bursts[at]
	switch {
	case h.Word(40) != uint32(b.next) || h.Word(36) != b.dataSN:
		return breach("data out of order: offset %d number %d, not %d and %d", h.Word(40), h.Word(36), b.next, b.dataSN)
	case n > b.end-b.next:
		return breach("more data than was asked for")
	case h.Has(iscsi.Final) && b.tag != iscsi.NoTag && n < b.end-b.next:
		return breach("less data than was asked for")
	}
	if err := c.readData(t.out.b[b.next : b.next+n]); err != nil {
		return err
	}
	b.next += n
	b.dataSN++
	t.got += n
	if !h.Has(iscsi.Final) {
		if b.next == b.end {
			return breach("a burst of data that does not end")
		}
		return nil
	}
	if b.tag == iscsi.NoTag {
		t.asked = b.next
	}
	t.bursts = append(t.bursts[:at], t.bursts[at+1:]...)
	return c.solicit(t)
}

// addData gathers the data of a read, in sequences and PDUs as long as was agreed
// on, and returns the number of PDUs. collapse puts the status into the last one.
func (c *connection) addData(t *task, data []byte, res scsi.Result, collapse bool) (n uint32) {
	for at, inBurst := 0, 0; at < len(data); n++ {
		l := min(len(data)-at, c.params.MaxSend, c.params.MaxBurst-inBurst)
		h := iscsi.New(iscsi.DataIn, 0, t.tag)
		h.Set(20, iscsi.NoTag)
		h.Set(36, n)
		h.Set(40, uint32(at))
		inBurst += l
		last := at+l == len(data)
		if last || inBurst == c.params.MaxBurst {
			h[1] |= iscsi.Final
			inBurst = 0
		}
		stamp := noStatus
		if last && collapse {
			flag, residual := t.residual(res)
			h[1] |= iscsi.HasStatus | flag
			h[3] = uint8(res.Status)
			h.Set(44, residual)
			stamp = withStatus
		}
		c.stamp(&h, stamp)
		c.add(&h, data[at:at+l])
		at += l
	}
	return n
}

// protocolError is a breach of the protocol by the initiator.
type protocolError struct{ why string }

func (e *protocolError) Error() string { return "protocol error: " + e.why }

func breach(format string, args ...any) error { return &protocolError{fmt.Sprintf(format, args...)} }
