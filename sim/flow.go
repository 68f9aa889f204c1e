package sim

import (
	"context"
	"math/bits"
	"slices"

	"capstan/core/dev"
	"capstan/core/rt"
	"capstan/core/trace"
)

// flows are the transfers under way. Each crosses resources, and each resource
// is shared max-min fairly among the transfers that cross it: no transfer can be
// faster without another that is not faster becoming slower (Bertsekas and
// Gallager, Data Networks, 6.5.2, progressive filling). Rates change only when a
// transfer begins or ends, and are whole bytes a second, so that every machine
// computes the same.
//
// A limit of each transfer at a resource ([dev.Resource.Stream]) is a resource of that rate which
// no other transfer crosses: the solution is the same. What the end of a transfer
// costs depends on how many are connected with it, never on bytes.
type flows struct {
	w         *World
	resources map[string]*resource
	found     component   // the last one: its memory is used again
	spare     []*resource // that nothing crosses: to be used again
}

// component is transfers that share resources, directly or through others.
type component struct {
	flows     []*flow
	resources []*resource
	round     int // of the computation
}

// resource is one that transfers cross now.
type resource struct {
	name  string
	rate  int64
	flows []*flow // in order of their beginning

	left  int64 // of rate while shares are computed
	open  int   // flows without a share yet
	round int   // of the computation that visited it
}

// flow is one transfer.
type flow struct {
	timer // its end, if it is the next of those that it shares resources with
	w     *World
	task  *task
	via   []*resource
	names []string
	bytes int64 // still to move
	part  int64 // of a byte moved already, in 1e-9
	rate  int64
	since int64 // when bytes and part were right
	ends  int64 // at the present rate
	done  bool

	share int64
	tight *resource // why share is no more
	round int

	viaRoom   [4]*resource // of via and names, which are seldom longer
	namesRoom [4]string

	job trace.Job
	watched
}

// watched is what is known of a transfer's present stretch, if somebody watches.
type watched struct {
	limited *resource // the tight one
	begun   int64
	counted int64 // up to when moved is right
	moved   int64
	movedIn int64 // parts of a byte
}

// Stretch is a part of a transfer in which one resource was tight: the one that the
// max-min solution fills first of those that the transfer crosses, so that it could
// not be faster without more of that one.
type Stretch struct {
	Job      trace.Job
	Via      []string // the resources crossed, to be read only
	Tight    string
	From, To rt.Time // by the world's clock
	Bytes    int64
}

// longStretch is after what time a stretch is told though it goes on: who adds up
// bytes by the hour takes them for evenly spread.
const longStretch = 600 * second

// count adds up what moved at the rate so far.
func (f *flow) count() {
	bytes, part := mulAdd(f.rate, f.w.clock-f.counted, f.movedIn)
	f.moved, f.movedIn, f.counted = f.moved+bytes, part, f.w.clock
}

// stretch tells who watches what moved since it was told last.
func (f *flow) stretch() {
	watch, now := f.w.opts.Watch.Stretch, f.w.clock
	if watch == nil || f.limited == nil {
		return
	}
	f.count()
	if now > f.begun {
		start := f.w.opts.Start
		watch(Stretch{Job: f.job, Via: f.names, Tight: f.limited.name, From: start + rt.Time(f.begun), To: start + rt.Time(now), Bytes: f.moved})
	}
	f.begun, f.moved = now, 0
}

// watch goes on with a rate and a tight resource that may be new.
func (f *flow) watch(rate int64) {
	if f.w.opts.Watch.Stretch == nil {
		return
	}
	if f.tight != f.limited || f.w.clock-f.begun >= longStretch {
		f.stretch()
		f.limited = f.tight
	} else if rate != f.rate {
		f.count()
	}
}

// OneStream is the name by which a [Stretch] tells the limit of each transfer at a
// resource ([dev.Resource.Stream]).
func OneStream(resource string) string { return resource + ", one stream" }

func (fs *flows) init(w *World) { fs.w, fs.resources = w, map[string]*resource{} }

// Transfer takes as long as moving bytes across all of via takes, while others
// cross them too. A resource is known by its name.
func (w *World) Transfer(ctx context.Context, via []dev.Resource, bytes int64) error {
	rt.MayBlock(ctx)
	if bytes <= 0 || ctx.Err() != nil {
		return rt.Cause(ctx)
	}
	f := &flow{w: w, task: rt.Current(ctx).(*task), bytes: bytes, since: w.clock, job: trace.JobOf(ctx), watched: watched{begun: w.clock, counted: w.clock}}
	f.target, f.via, f.names = f, f.viaRoom[:0], f.namesRoom[:0]
	for _, r := range via {
		if r.Rate > 0 && !slices.Contains(f.names, r.Name) {
			f.names = append(f.names, r.Name)
			f.via = append(f.via, w.flows.resource(r))
		}
		if r.Stream == 0 {
			continue
		}
		if one := OneStream(r.Name); !slices.Contains(f.names, one) {
			f.names = append(f.names, one)
			f.via = append(f.via, w.flows.newResource(one, r.Stream))
		}
	}
	if len(f.via) == 0 {
		return nil
	}
	held := f.task.proc.hold(f.stop)
	for _, r := range f.via {
		r.flows = append(r.flows, f)
	}
	w.flows.changed(f)
	err := rt.Await(ctx, func() bool { return f.done })
	held.drop()
	if err != nil {
		f.stop()
	}
	return err
}

func (fs *flows) resource(d dev.Resource) *resource {
	r := fs.resources[d.Name]
	if r == nil {
		r = fs.newResource(d.Name, d.Rate)
		fs.resources[d.Name] = r
	}
	r.rate = d.Rate // the last who crosses knows best: a drive may have changed its speed
	return r
}

func (fs *flows) newResource(name string, rate int64) *resource {
	last := len(fs.spare) - 1
	if last < 0 {
		return &resource{name: name, rate: rate}
	}
	r := fs.spare[last]
	fs.spare = fs.spare[:last]
	r.name, r.rate = name, rate
	return r
}

// fire ends the transfer: its last byte has arrived.
func (f *flow) fire() {
	f.stop()
	f.task.Unpark()
}

// stop takes the transfer out of its resources.
func (f *flow) stop() {
	if f.done {
		return
	}
	f.done = true
	f.stretch()
	fs := &f.w.flows
	f.w.disarm(&f.timer)
	for i, r := range f.via {
		r.flows = without(r.flows, f)
		if len(r.flows) == 0 {
			delete(fs.resources, f.names[i])
		}
	}
	fs.changed(f)
	for _, r := range f.via {
		if len(r.flows) == 0 {
			fs.spare = append(fs.spare, r)
		}
	}
	f.via = f.via[:0]
}

func without(s []*flow, f *flow) []*flow {
	if i := slices.Index(s, f); i >= 0 {
		return slices.Delete(s, i, i+1)
	}
	return s
}

// changed computes the rates of all transfers that f touches, directly or through
// others, anew: f begins, or has ended and connects those that it touched no more.
func (fs *flows) changed(f *flow) {
	fs.w.seq++ // a number no earlier computation had
	round := int(fs.w.seq)
	if !f.done {
		fs.share(fs.component(f.via, round))
		return
	}
	for i := range f.via {
		fs.share(fs.component(f.via[i:i+1], round))
	}
}

// share computes the rates of the transfers of a component and which of them ends
// next. Only that end is an event: at it, all are computed anew.
func (fs *flows) share(flows []*flow, resources []*resource) {
	for _, r := range resources {
		r.left, r.open = r.rate, len(r.flows)
	}
	for _, g := range flows {
		g.share = -1
	}
	for open := len(flows); open > 0; {
		var tight *resource
		for _, r := range resources {
			if r.open > 0 && (tight == nil || r.left/int64(r.open) < tight.left/int64(tight.open)) {
				tight = r
			}
		}
		share := max(tight.left/int64(tight.open), 1)
		for _, g := range tight.flows {
			if g.share >= 0 {
				continue
			}
			g.share, g.tight = share, tight
			open--
			for _, r := range g.via {
				r.left = max(r.left-share, 0)
				r.open--
			}
		}
	}
	var next *flow
	for _, g := range flows {
		g.setRate(g.share)
		if next == nil || g.ends < next.ends {
			next = g
		}
	}
	for _, g := range flows {
		if g != next {
			fs.w.disarm(&g.timer)
		} else if !g.armed {
			fs.w.arm(&g.timer, g.ends, normal)
		}
	}
}

// component is the transfers that cross the given resources, with all that are
// connected with them, in an order that does not depend on chance. It is empty if
// the round has been there.
func (fs *flows) component(via []*resource, round int) (flows []*flow, resources []*resource) {
	c := &fs.found
	clear(c.flows)
	clear(c.resources)
	c.flows, c.resources, c.round = c.flows[:0], c.resources[:0], round
	c.visit(via)
	for i := 0; i < len(c.resources); i++ {
		for _, g := range c.resources[i].flows {
			if g.round != round {
				g.round = round
				c.flows = append(c.flows, g)
				c.visit(g.via)
			}
		}
	}
	return c.flows, c.resources
}

// visit adds resources that were not visited yet.
func (c *component) visit(via []*resource) {
	for _, r := range via {
		if r.round != c.round {
			r.round = c.round
			c.resources = append(c.resources, r)
		}
	}
}

const second = 1_000_000_000 // in ns, and parts of a byte

// setRate counts what moved at the old rate and sets a new one.
func (f *flow) setRate(rate int64) {
	f.watch(rate)
	if rate == f.rate {
		return
	}
	moved, part := mulAdd(f.rate, f.w.clock-f.since, f.part)
	f.bytes, f.part, f.since = max(f.bytes-moved, 0), part, f.w.clock
	f.rate = rate
	f.ends = addClock(f.w.clock, f.timeLeft())
	f.w.disarm(&f.timer)
}

// mulAdd is what moves at a rate in a number of ns, part of a byte being moved
// already: whole bytes, and parts.
func mulAdd(rate, ns, part int64) (bytes, rest int64) {
	hi, lo := bits.Mul64(uint64(rate), uint64(ns))
	lo, carry := bits.Add64(lo, uint64(part), 0)
	q, r := bits.Div64(hi+carry, lo, second)
	return int64(q), int64(r)
}

// timeLeft is the ns until all bytes have moved, rounded up.
func (f *flow) timeLeft() int64 {
	hi, lo := bits.Mul64(uint64(f.bytes), second)
	lo, borrow := bits.Sub64(lo, uint64(f.part), 0)
	hi -= borrow
	if f.bytes == 0 {
		return 0
	}
	if hi >= uint64(f.rate) {
		return 1<<63 - 1 // longer than the clock goes
	}
	q, r := bits.Div64(hi, lo, uint64(f.rate))
	if r > 0 {
		q++
	}
	return int64(min(q, 1<<63-1))
}
