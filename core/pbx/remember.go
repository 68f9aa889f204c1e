package pbx

import (
	"context"
	"time"

	"capstan/core/rt"
)

// rememberedReplies is how many replies a service keeps for repetitions, and
// rememberedTime how long, if they are not too many. A caller gives up a minute
// after the last of four attempts; a service answers some thousands of requests in
// that time at most.
const (
	rememberedReplies = 4096
	rememberedTime    = 15 * time.Minute
)

// remembered is a request under way or answered. The identity is part of what it
// is known by: nobody can spoil, or be given, the reply to another's request by
// using its address.
type remembered struct {
	who   Identity
	from  Addr
	inc   uint64
	seq   uint64
	reply Reply
	ended bool          // the reply is there
	at    time.Duration // since when, monotonic
	done  *rt.Event     // for repetitions that come before; nil if none did

	later         *remembered // the request that came next, of any caller
	lower, higher *remembered // of the same incarnation, by sequence number
}

// memory is the requests that a service remembers. Each caller's are a list of
// their own, the highest number first: a new request's number is nearly always
// higher than all before, so that it is known as new by looking at one.
type memory struct {
	highest        map[uint64]*remembered // by incarnation
	oldest, newest *remembered
	count          int
}

// find is what is remembered of a request; again is false if it is new.
func (y *memory) find(from Identity, h *Head, now time.Duration) (r *remembered, again bool) {
	var higher *remembered
	lower := y.highest[h.Inc]
	for ; lower != nil && lower.seq >= h.Seq; higher, lower = lower, lower.lower {
		if lower.seq == h.Seq && lower.who == from && lower.from == h.From {
			return lower, true
		}
	}
	r = &remembered{who: from, from: h.From, inc: h.Inc, seq: h.Seq, lower: lower, higher: higher}
	y.add(r)
	y.forget(now)
	return r, false
}

func (y *memory) add(r *remembered) {
	if r.lower != nil {
		r.lower.higher = r
	}
	if r.higher != nil {
		r.higher.lower = r
	} else {
		y.highest[r.inc] = r
	}
	if y.newest != nil {
		y.newest.later = r
	} else {
		y.oldest = r
	}
	y.newest = r
	y.count++
}

// forget drops the replies that are too old, and the older half if they are too
// many. The newest request is never one of them: it is not answered.
func (y *memory) forget(now time.Duration) {
	for y.oldest.answered(now - rememberedTime) {
		y.oldest = y.drop(y.oldest)
	}
	if y.count <= rememberedReplies {
		return
	}
	at := &y.oldest
	for range y.count / 2 {
		if (*at).answered(now) {
			*at = y.drop(*at)
		} else {
			at = &(*at).later
		}
	}
}

// drop takes r from its caller's list, and returns the request that came next.
func (y *memory) drop(r *remembered) *remembered {
	switch {
	case r.higher != nil:
		r.higher.lower = r.lower
	case r.lower != nil:
		y.highest[r.inc] = r.lower
	default:
		delete(y.highest, r.inc)
	}
	if r.lower != nil {
		r.lower.higher = r.higher
	}
	y.count--
	return r.later
}

func (r *remembered) answered(before time.Duration) bool { return r.ended && r.at <= before }

// repeat is the reply that a request had, or will have.
func (x *Mux) repeat(ctx context.Context, r *remembered) *Reply {
	x.lock.Lock()
	if !r.ended && r.done == nil {
		r.done = rt.NewEvent(ctx)
	}
	ended, done := r.ended, r.done
	x.lock.Unlock()
	if !ended {
		if err := done.Wait(ctx); err != nil {
			rep := &Reply{}
			rep.fail(err)
			return rep
		}
	}
	rep := r.reply
	return &rep
}
