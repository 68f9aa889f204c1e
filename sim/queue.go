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

// heap is a binary heap of values. (It was measured several times faster than
// container/heap of pointers.)
type heap []event

// eventQueue is two heaps, and beside them a first-in first-out list for events of
// priority normal at the current time, which most are. Most of the others are calls
// on their way; they have a heap of their own, which is small and stays in the
// processor's cache, while each client's next backup waits in the other.
type eventQueue struct {
	near, far heap
	now       []event // due at the current time, in order
	first     int     // of now
	stale     int     // cancelled events that are still here
}

// nearTime is how long before its time an event is near at most, in ns.
const nearTime = second / 100

// push adds an event at the present time now.
func (q *eventQueue) push(e event, now int64) {
	if e.at-now <= nearTime {
		q.near.push(e)
	} else {
		q.far.push(e)
	}
}

// soonest is the heap whose first event is the first of both; nil if they are empty.
func (q *eventQueue) soonest() *heap {
	switch {
	case len(q.near) > 0 && (len(q.far) == 0 || q.near[0].before(&q.far[0])):
		return &q.near
	case len(q.far) > 0:
		return &q.far
	}
	return nil
}

func (y *heap) push(e event) {
	h := append(*y, e)
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
	*y = h
}

func (y *heap) pop() event {
	h := *y
	top := h[0]
	n := len(h) - 1
	last := h[n]
	h[n] = event{}
	*y = h[:n]
	if n > 0 {
		y.sink(0, last)
	}
	return top
}

// sink puts e at i or below, where the heap's order wants it.
func (y *heap) sink(i int, e event) {
	h := *y
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

// compact drops cancelled events once they are most of what waits: long timeouts
// that nobody needs any more would otherwise stay until their time.
func (q *eventQueue) compact() {
	if q.stale < 1024 || q.stale*2 < len(q.near)+len(q.far) {
		return
	}
	q.stale -= q.near.compact() + q.far.compact()
}

// compact drops the cancelled events, and returns how many they were.
func (y *heap) compact() int {
	h := *y
	kept := h[:0]
	for _, e := range h {
		if e.gen == e.on.gen {
			kept = append(kept, e)
		}
	}
	clear(h[len(kept):])
	*y = kept
	for i := len(kept)/2 - 1; i >= 0; i-- {
		y.sink(i, kept[i])
	}
	return len(h) - len(kept)
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
