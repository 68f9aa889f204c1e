package port

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	"capstan/core/pbx"
	"capstan/core/rt"
)

const (
	maxHeld = 64   // data connections that wait for their Accept
	maxUsed = 4096 // tickets remembered as used
)

// ticketHash names a ticket for a service. Hashes are compared, in constant
// time: nothing about a ticket shows in how long a wrong one takes.
type ticketHash [sha256.Size]byte

func hashTicket(service, ticket string) ticketHash {
	return sha256.Sum256([]byte(service + "\x00" + ticket))
}

func (h ticketHash) is(other ticketHash) bool { return subtle.ConstantTimeCompare(h[:], other[:]) == 1 }

// tickets brings together the data connections that come and those who accept
// them, whichever is first.
type tickets struct {
	hold time.Duration

	mu      sync.Mutex
	waiting []*waiter
	held    []*heldConn
	used    []ticketHash // oldest first
}

// waiter is an Accept.
type waiter struct {
	hash ticketHash
	peer string
	got  chan net.Conn // room for the one that it gets
}

// heldConn is a connection that came before its Accept.
type heldConn struct {
	hash ticketHash
	id   pbx.Identity
	c    net.Conn
	end  *time.Timer
}

func isHost(id pbx.Identity, name string) bool { return id.Is(pbx.Hosts) && id.Name == name }

// offer gives a connection to whoever waits for its ticket, or keeps it for a
// while. An error says that the connection shall be closed.
func (t *tickets) offer(service, ticket string, id pbx.Identity, c net.Conn) error {
	hash := hashTicket(service, ticket)
	t.mu.Lock()
	defer t.mu.Unlock()
	why := ""
	switch i := slices.IndexFunc(t.waiting, func(w *waiter) bool { return w.hash.is(hash) }); {
	case slices.ContainsFunc(t.used, hash.is):
		why = "a ticket that was used"
	case i >= 0 && !isHost(id, t.waiting[i].peer):
		why = "the ticket of host " + t.waiting[i].peer
	case i >= 0:
		w := t.waiting[i]
		t.waiting = slices.Delete(t.waiting, i, i+1)
		t.spend(hash)
		w.got <- c
		return nil
	case len(t.held) >= maxHeld:
		why = "a ticket that nobody waits for, as did too many others"
	default:
		h := &heldConn{hash: hash, id: id, c: c}
		h.end = time.AfterFunc(t.hold, func() { t.expire(h) })
		t.held = append(t.held, h)
		return nil
	}
	_ = answerTicket(c, refused)
	return fmt.Errorf("%s shows %s", id, why)
}

func (t *tickets) spend(hash ticketHash) {
	if len(t.used) >= maxUsed {
		t.used = slices.Delete(t.used, 0, maxUsed/2)
	}
	t.used = append(t.used, hash)
}

func (t *tickets) expire(h *heldConn) {
	t.mu.Lock()
	i := slices.Index(t.held, h)
	if i >= 0 {
		t.held = slices.Delete(t.held, i, i+1)
	}
	t.mu.Unlock()
	if i >= 0 {
		_ = answerTicket(h.c, refused)
		_ = h.c.Close()
	}
}

// wait returns the connection that shows a ticket.
func (t *tickets) wait(ctx context.Context, service, ticket, peer string) (net.Conn, error) {
	hash := hashTicket(service, ticket)
	w := &waiter{hash: hash, peer: peer, got: make(chan net.Conn, 1)}
	if c, err := t.enter(w); c != nil || err != nil {
		return c, err
	}
	select {
	case c := <-w.got:
		return c, nil
	case <-ctx.Done():
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if i := slices.Index(t.waiting, w); i >= 0 {
		t.waiting = slices.Delete(t.waiting, i, i+1)
	} else {
		_ = (<-w.got).Close() // it came at the same moment
	}
	return nil, rt.Cause(ctx)
}

// enter takes the connection that is there already, or begins to wait.
func (t *tickets) enter(w *waiter) (net.Conn, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if slices.ContainsFunc(t.used, w.hash.is) ||
		slices.ContainsFunc(t.waiting, func(o *waiter) bool { return o.hash.is(w.hash) }) {
		return nil, errors.New("accepting data: the ticket was used already; each connection needs its own")
	}
	for i, h := range t.held {
		if h.hash.is(w.hash) && isHost(h.id, w.peer) {
			h.end.Stop()
			t.held = slices.Delete(t.held, i, i+1)
			t.spend(w.hash)
			return h.c, nil
		}
	}
	t.waiting = append(t.waiting, w)
	return nil, nil
}

// close ends the connections that nobody accepted.
func (t *tickets) close() {
	t.mu.Lock()
	held := t.held
	t.held = nil
	t.mu.Unlock()
	for _, h := range held {
		h.end.Stop()
		_ = h.c.Close()
	}
}

// answerTicket tells the sender what became of its ticket; if it was accepted,
// the connection's deadlines end.
func answerTicket(c net.Conn, answer byte) error {
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	if _, err := c.Write([]byte{answer}); err != nil {
		return err
	}
	if answer == accepted {
		return c.SetDeadline(time.Time{})
	}
	return nil
}
