package sim

import (
	"math/rand/v2"
	"time"

	"capstan/core/dev"
	"capstan/core/pbx"
)

// NetModel is what the network does without faults. Zero fields have the
// defaults said with them.
type NetModel struct {
	// Remote is the one-way latency between hosts (200 µs), Local that within
	// one (20 µs).
	Remote, Local time.Duration
	// Jitter is added to Remote, uniformly from 0 to this.
	Jitter time.Duration
	// Loss is how many of a million messages between hosts are lost.
	Loss int
	// ConnectTimeout is when a caller gives up a host that does not answer (10 s).
	ConnectTimeout time.Duration
	// LostAfter is when a silent peer, to which a connection exists, counts as
	// lost (60 s).
	LostAfter time.Duration
	// Rate is what a host's interface carries in each direction, in bytes a
	// second; 0 is without limit. Data gets 97 % of it, as of a link's.
	Rate int64
	// Link gives the properties of a pair of hosts, in one direction; nil: those above.
	Link func(from, to string) Link
}

// Link is the path between two hosts in one direction.
type Link struct {
	Latency, Jitter time.Duration
	Loss            int   // messages in a million
	Rate            int64 // bytes a second; 0 is without limit
	// Stream is the most that one connection carries, in bytes a second; 0 is all of
	// Rate. A TCP connection is limited by its window over the round trip.
	Stream int64
}

// Usable is what TCP carries of a rate as data, 97 %; the rest are headers and
// acknowledgements. Velho, Schnorr, Casanova and Legrand, "On the validity of flow-level TCP
// network models for grid and cloud simulations", ACM TOMACS 23(4), 2013: the
// bandwidth factor of SimGrid's model LV08.
func Usable(rate int64) int64 { return rate/100*97 + rate%100*97/100 }

// link is a Link with its faults.
type link struct {
	Link
	w        *World
	rng      *rand.Rand // made when it is first needed, which is seldom
	cut      bool
	cuts     int // how often it was cut: tells one cut from the next
	delay    time.Duration
	drop     int // messages still to lose
	resource dev.Resource
}

type pair struct{ from, to *Host }

type network struct {
	w     *World
	model NetModel
	links map[pair]*link
	calls *call   // that are under way
	spare []*call // to be used again
	conns []*pipe // open data connections
	// frames are to be used again, with their memory: by whichever connection, as most
	// carry few bytes and soon end.
	frames []*frame
}

// nic is a host's interface, as resources that data crosses.
type nic struct{ out, in dev.Resource }

func (n *network) init(w *World) {
	n.w, n.model, n.links = w, w.opts.Net, map[pair]*link{}
	for _, d := range []struct {
		field *time.Duration
		value time.Duration
	}{
		{&n.model.Remote, 200 * time.Microsecond},
		{&n.model.Local, 20 * time.Microsecond},
		{&n.model.ConnectTimeout, 10 * time.Second},
		{&n.model.LostAfter, 60 * time.Second},
	} {
		if *d.field == 0 {
			*d.field = d.value
		}
	}
}

// SetRate sets what the host's interface carries in each direction, in bytes a
// second; 0 is without limit.
func (h *Host) SetRate(rate int64) {
	h.nic.out.Name, h.nic.out.Rate = h.name+" nic out", Usable(rate)
	h.nic.in.Name, h.nic.in.Rate = h.name+" nic in", Usable(rate)
}

// SetStream sets what one data connection to or from the host carries at most, in bytes
// of data a second; 0 is without limit. See [Link.Stream].
func (h *Host) SetStream(rate int64) { h.nic.out.Stream, h.nic.in.Stream = rate, rate }

func (n *network) link(from, to *Host) *link {
	l := n.links[pair{from, to}]
	if l != nil {
		return l
	}
	m := &n.model
	l = &link{w: n.w, Link: Link{Latency: m.Remote, Jitter: m.Jitter, Loss: m.Loss}}
	switch {
	case from == to:
		l.Link = Link{Latency: m.Local}
	case m.Link != nil:
		l.Link = m.Link(from.name, to.name)
	}
	l.resource = dev.Resource{Name: "link " + from.name + ">" + to.name, Rate: Usable(l.Rate), Stream: l.Stream}
	n.links[pair{from, to}] = l
	return l
}

// route is how the messages between two hosts go.
type route struct {
	to          *Host
	there, back *link
}

// route is that from h to a host; nil if there is none of that name.
func (h *Host) route(name string) *route {
	if r := h.routes[name]; r != nil {
		return r
	}
	to := h.w.byName[name]
	if to == nil {
		return nil
	}
	r := &route{to, h.w.net.link(h, to), h.w.net.link(to, h)}
	h.routes[name] = r
	return r
}

// random is what decides the fate of the link's messages.
func (l *link) random() *rand.Rand {
	if l.rng == nil {
		l.rng = l.w.Rand(l.resource.Name, "messages")
	}
	return l.rng
}

// send tells when a message sent now arrives; ok is false if it is lost.
func (l *link) send(now int64) (at int64, ok bool) {
	if l.cut {
		return 0, false
	}
	if l.drop > 0 {
		l.drop--
		return 0, false
	}
	if l.Loss > 0 && l.random().IntN(1_000_000) < l.Loss {
		return 0, false
	}
	d := l.Latency + l.delay
	if l.Jitter > 0 {
		d += time.Duration(l.random().Int64N(int64(l.Jitter)))
	}
	return now + int64(d), true
}

// resources are what data from one host to another crosses.
func (n *network) resources(from, to *Host) []dev.Resource {
	l := n.link(from, to)
	if from == to {
		return []dev.Resource{l.resource}
	}
	rs := make([]dev.Resource, 0, 3)
	for _, r := range []dev.Resource{from.nic.out, to.nic.in} {
		if r.Rate > 0 || r.Stream > 0 {
			rs = append(rs, r)
		}
	}
	return append(rs, l.resource)
}

// both calls fn for the links between two hosts, by name.
func (n *network) both(a, b string, fn func(l *link)) {
	ha, hb := n.w.byName[a], n.w.byName[b]
	if ha == nil || hb == nil {
		panic("sim: no such hosts: " + a + ", " + b)
	}
	fn(n.link(ha, hb))
	if ha != hb {
		fn(n.link(hb, ha))
	}
}

// Cut cuts the network between two hosts. What is under way between them is lost
// if the cut lasts. Tasks may call it, as they may Heal, Delay, Drop and SetLoss.
func (w *World) Cut(a, b string) {
	w.net.both(a, b, func(l *link) {
		if l.cut {
			return
		}
		l.cut = true
		l.cuts++
		cut := l.cuts
		w.callAt(addClock(w.clock, int64(w.net.model.LostAfter)), urgent, nil, func() {
			if l.cut && l.cuts == cut {
				w.net.lose(l)
			}
		})
	})
}

// Heal ends a cut.
func (w *World) Heal(a, b string) {
	w.net.both(a, b, func(l *link) { l.cut = false })
	for _, p := range w.net.conns {
		p.healed()
	}
}

// Isolate cuts a host from all others that exist; Rejoin ends that.
func (w *World) Isolate(name string) {
	for _, h := range w.hosts {
		if h.name != name {
			w.Cut(name, h.name)
		}
	}
}

// Rejoin heals all cuts of a host.
func (w *World) Rejoin(name string) {
	for _, h := range w.hosts {
		if h.name != name {
			w.Heal(name, h.name)
		}
	}
}

// Delay makes messages between two hosts take d longer, in each direction.
func (w *World) Delay(a, b string, d time.Duration) {
	w.net.both(a, b, func(l *link) { l.delay = d })
}

// Drop loses the next n messages from one host to another: requests, or replies.
func (w *World) Drop(from, to string, n int) {
	w.net.link(w.byName[from], w.byName[to]).drop = n
}

// DropReply loses the next reply to a call of the process at addr; false if none
// lives there.
func (w *World) DropReply(addr pbx.Addr) bool {
	p := w.Find(addr)
	if p != nil {
		p.loseReplies++
	}
	return p != nil
}

// SetLoss sets how many of a million messages between two hosts are lost.
func (w *World) SetLoss(a, b string, perMillion int) {
	w.net.both(a, b, func(l *link) { l.Loss = perMillion })
}

// lose ends what is under way over a link that stayed cut.
func (n *network) lose(l *link) {
	for c := n.calls; c != nil; {
		next := c.next
		if c.there == l || c.back == l {
			c.lostNow()
		}
		c = next
	}
	for _, p := range append([]*pipe(nil), n.conns...) {
		if n.link(p.from.host, p.to.host) == l {
			p.conn.cut()
		}
	}
}
