package iscsi

import (
	"context"
	"time"

	"capstan/core/dev"
	"capstan/core/iscsi"
	"capstan/core/scsi"
)

// worker carries out the commands of one session for one logical unit, one after
// another, in the order of their numbers.
type worker struct {
	session *session
	unit    Unit
	queue   chan *task
	timer   *time.Timer // for data that does not come
	cmd     scsi.Command
}

func (w *worker) run(ctx context.Context) {
	s := w.session
	defer s.target.all.Done()
	for t := range w.queue {
		w.carryOut(ctx, t)
	}
	s.workerEnded()
}

func (w *worker) carryOut(ctx context.Context, t *task) {
	defer t.release()
	s := w.session
	if t.write && t.refused == refuseNone && !w.awaitData(t) {
		s.target.cfg.Log.Warn("iscsi: the data of a command does not come", "initiator", s.initiator, "lun", t.lun)
		t.conn.nc.Close()
		s.mu.Lock()
		s.abort(t)
		s.mu.Unlock()
	}
	s.mu.Lock()
	if t.aborted {
		tell := t.told
		s.finish(t)
		s.mu.Unlock()
		if tell {
			t.conn.respond(t, nil, scsi.Result{Status: scsi.TaskAborted}, nil)
		}
		return
	}
	t.state = working
	s.mu.Unlock()

	res, in, err := w.do(ctx, t)

	s.mu.Lock()
	aborted, tell := t.aborted, t.told
	s.finish(t)
	s.mu.Unlock()
	switch {
	case aborted && tell:
		t.conn.respond(t, nil, scsi.Result{Status: scsi.TaskAborted}, nil)
	case !aborted:
		t.conn.respond(t, in, res, err)
	}
	s.target.pool.put(in)
}

// finish ends a task: its number and its tag are free again. mu is held.
func (s *session) finish(t *task) {
	if t.aborted {
		s.settled.Broadcast()
	}
	t.state = over
	if t.conn.tasks[t.tag] == t {
		delete(t.conn.tasks, t.tag)
	}
	if t.immediate {
		s.urgent--
	} else {
		s.maxCmdSN.Add(1)
	}
}

// awaitData waits until a command's data is whole; false if it does not come.
func (w *worker) awaitData(t *task) bool {
	select {
	case <-t.ready:
		return true
	default:
	}
	limit := w.session.target.cfg.Timeouts.Data
	if w.timer == nil {
		w.timer = time.NewTimer(limit)
	} else {
		w.timer.Reset(limit)
	}
	defer w.timer.Stop()
	select {
	case <-t.ready:
		return true
	case <-w.timer.C:
		return false
	}
}

// illegal is the answer to what the target itself does not take.
func illegal(asc uint8) scsi.Result {
	sense := scsi.Sense{Sense: dev.Sense{Key: scsi.IllegalRequest, ASC: asc}}
	return scsi.Result{Status: scsi.CheckCondition, Sense: sense.Fixed()}
}

// do has the unit carry out a command. in is its data, to be put back.
func (w *worker) do(ctx context.Context, t *task) (res scsi.Result, in *buffer, err error) {
	switch t.refused {
	case refuseFull:
		return scsi.Result{Status: scsi.TaskSetFull}, nil, nil
	case refuseField:
		return illegal(0x24), nil, nil
	case refuseLUN:
		return illegal(0x25), nil, nil
	}
	w.cmd = scsi.Command{CDB: t.cdb}
	if t.write {
		w.cmd.Out = t.out.b
	}
	if t.read && t.length > 0 {
		if in = w.session.target.pool.get(min(t.length, maxTransfer)); in == nil {
			return scsi.Result{Status: scsi.TaskSetFull}, nil, nil
		}
		w.cmd.In = in.b
	}
	res, err = w.unit.Do(ctx, &w.cmd)
	w.cmd = scsi.Command{}
	return res, in, err
}

// respond sends what a command came to: its data, its status, its sense.
func (c *connection) respond(t *task, in *buffer, res scsi.Result, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	sent := uint32(0)
	if in != nil && res.N > 0 && err == nil {
		data := in.b[:min(res.N, len(in.b))]
		collapse := res.Status == scsi.Good // the status goes with the data
		sent = c.addData(t, data, res, collapse)
		if collapse {
			c.flush()
			return
		}
	}
	h := iscsi.New(iscsi.Response, iscsi.Final, t.tag)
	h[3] = uint8(res.Status)
	if err != nil {
		h[2], h[3] = responseFailure, 0
		c.target.cfg.Log.Warn("iscsi: a command was lost", "lun", t.lun, "error", err)
	}
	flag, residual := t.residual(res)
	h[1] |= flag
	h.Set(44, residual)
	h.Set(36, sent+t.r2tSN)
	c.stamp(&h, withStatus)
	var sense []byte
	if len(res.Sense) > 0 && err == nil {
		c.sense = append(c.sense[:0], uint8(len(res.Sense)>>8), uint8(len(res.Sense)))
		c.sense = append(c.sense, res.Sense...)
		sense = c.sense
	}
	c.add(&h, sense)
	c.flush()
}

// responseFailure says that the target could not carry out a command.
const responseFailure = 0x01

// residual is what a command moved less, or would have moved more, than the
// initiator expected.
func (t *task) residual(res scsi.Result) (flag uint8, n uint32) {
	if !t.read && !t.write {
		return 0, 0
	}
	switch {
	case res.N < t.length:
		return iscsi.Underflow, uint32(t.length - res.N)
	case res.N > t.length:
		return iscsi.Overflow, uint32(res.N - t.length)
	}
	return 0, 0
}
