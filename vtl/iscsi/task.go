package iscsi

import (
	"sync"
	"sync/atomic"

	"capstan/core/iscsi"
)

// taskState is how far a command has come.
type taskState uint8

const (
	waiting taskState = iota // for its turn, or its data
	working                  // a device has begun it
	over                     // it has ended, or was aborted before it began
)

// refusal is why a command is answered without its unit being asked.
type refusal uint8

const (
	refuseNone  refusal = iota
	refuseFull          // TASK SET FULL
	refuseField         // 5/24/00
	refuseLUN           // 5/25/00
)

// maxR2T is how many requests for data one command may have outstanding.
const maxR2T = 4

// burst is data that was asked for by an R2T, or comes unsolicited.
type burst struct {
	tag       uint32 // target transfer tag; NoTag for unsolicited data
	next, end int    // offsets in the command's data
	dataSN    uint32
}

// task is one command.
type task struct {
	conn      *connection
	tag       uint32
	lun       uint64
	immediate bool
	read      bool
	write     bool
	refused   refusal
	length    int // expected data transfer length
	cdb       []byte
	cdbRoom   [iscsi.MaxCDB]byte

	// Data going out. What is not atomic is the reading goroutine's until whole.
	out    *buffer
	asked  int // bytes that were asked for, or may come unsolicited
	got    int
	r2tSN  uint32
	bursts []burst
	room   [maxR2T + 1]burst
	whole  bool          // all data is there
	ready  chan struct{} // holds one token once all data is there, or none will come

	// Guarded by the session's lock.
	state   taskState
	aborted bool
	told    bool // of an aborted one: TASK ABORTED is answered

	refs atomic.Int32 // who may still look at it
}

// tasks keeps those that are over for use again.
var tasks = sync.Pool{New: func() any { return &task{ready: make(chan struct{}, 1)} }}

func newTask(c *connection, h *iscsi.Header) *task {
	t := tasks.Get().(*task)
	ready := t.ready
	select {
	case <-ready:
	default:
	}
	*t = task{ready: ready, conn: c, tag: h.Tag(), immediate: h.Immediate(), read: h.Has(iscsi.Read), write: h.Has(iscsi.Write),
		length: int(h.Word(20))}
	t.bursts = t.room[:0]
	t.refs.Store(1)
	return t
}

// release gives up one's right to look at the task. The last one frees it.
func (t *task) release() {
	if t.refs.Add(-1) > 0 {
		return
	}
	t.conn.target.pool.put(t.out)
	t.out, t.conn = nil, nil
	tasks.Put(t)
}

// wake tells the worker that the data is whole, or that none will come.
func (t *task) wake() {
	select {
	case t.ready <- struct{}{}:
	default:
	}
}
