package sim

// Priorities of events at one time. What happens to the world (a kill, a cut)
// comes before what its tasks do.
const (
	urgent = iota
	normal
)

// event is something that is due. Events are ordered by time, then by key:
// priority, tie-breaker and sequence.
type event struct {
	at  int64 // virtual time, ns since the world's beginning
	key uint64
	on  *timer
	gen uint32 // of the timer when it was armed; another means cancelled
}

func (e *event) before(f *event) bool {
	return e.at < f.at || e.at == f.at && e.key < f.key
}

// less is before as a number, without a branch: which of two events is first is
// what no processor foresees.
func (e *event) less(f *event) int {
	var earlier, same, first int
	if e.at < f.at {
		earlier = 1
	}
	if e.at == f.at {
		same = 1
	}
	if e.key < f.key {
		first = 1
	}
	return earlier | same&first
}

// timer is what an event happens to. It is armed for at most one event.
type timer struct {
	target target
	gen    uint32
	armed  bool
}

// target is what a timer tells that its time has come.
type target interface{ fire() }

// eventQueue is a binary heap of values, and beside it a first-in first-out list
// for events of priority normal at the current time, which most are. (A heap of
// values was measured several times faster than container/heap of pointers.)
type eventQueue struct {
	heap  []event
	now   []event // due at the current time, in order
	first int     // of now
	stale int     // cancelled events that are still in heap
}

func (q *eventQueue) push(e event) {
	h := append(q.heap, e)
	i := len(h) - 1
	for i > 0 {
		up := (i - 1) / 2
		if !e.before(&h[up]) {
			break
		}
		h[i] = h[up]
		i = up
	}
	h[i] = e
	q.heap = h
}

func (q *eventQueue) pop() event {
	h := q.heap
	top := h[0]
	n := len(h) - 1
	last := h[n]
	h[n] = event{}
	q.heap = h[:n]
	if n > 0 {
		q.sink(0, last)
	}
	return top
}

// sink puts e at i or below, where the heap's order wants it.
func (q *eventQueue) sink(i int, e event) {
	h := q.heap
	for {
		kid := 2*i + 1
		if kid >= len(h) {
			break
		}
		if kid+1 < len(h) {
			kid += h[kid+1].less(&h[kid])
		}
		if !h[kid].before(&e) {
			break
		}
		h[i] = h[kid]
		i = kid
	}
	h[i] = e
}

// compact drops cancelled events once they are most of the heap: long timeouts
// that nobody needs any more would otherwise stay until their time.
func (q *eventQueue) compact() {
	if q.stale < 1024 || q.stale*2 < len(q.heap) {
		return
	}
	kept := q.heap[:0]
	for _, e := range q.heap {
		if e.gen == e.on.gen {
			kept = append(kept, e)
		}
	}
	clear(q.heap[len(kept):])
	q.heap, q.stale = kept, 0
	for i := len(kept)/2 - 1; i >= 0; i-- {
		q.sink(i, kept[i])
	}
}

func (q *eventQueue) takeNow() event {
	e := q.now[q.first]
	q.now[q.first] = event{}
	q.first++
	if q.first == len(q.now) {
		q.now, q.first = q.now[:0], 0
	}
	return e
}
