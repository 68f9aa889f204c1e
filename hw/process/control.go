package process

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"capstan/core/trace"
)

// Control is what a process has of its daemon: the world it was given, and where
// its trace and its log go. Both are sent in batches, in order, and all of it
// before the result.
type Control struct {
	link  *link
	world []byte
	level slog.Level
	items chan item
	done  chan struct{} // closed when the sender has sent the last

	mu   sync.Mutex
	lost int // items dropped because the daemon did not read
}

// item is one event or one record.
type item struct {
	event  *trace.Event
	record *record
	size   int
}

const (
	backlog   = 4096        // items that wait to be sent
	batchSize = 1 << 20     // about the bytes of one message
	patience  = time.Second // how long a role waits for a daemon that does not read
)

var _ trace.Sink = (*Control)(nil)

// newControl makes the control of a process that was told first.
func newControl(l *link, first *message) *Control {
	c := &Control{link: l, world: first.World, level: slog.Level(first.Level), items: make(chan item, backlog), done: make(chan struct{})}
	go c.run()
	return c
}

// World is what [Config].World was at the daemon.
func (c *Control) World() []byte { return c.world }

// Emit sends an event to the daemon. It waits only for a daemon that has fallen
// thousands of events behind, and not for long: then the event is lost, and the
// log says how many were.
func (c *Control) Emit(_ context.Context, e trace.Event) {
	e.Host, e.Proc, e.Role, e.Step = clip(e.Host), clip(e.Proc), clip(e.Role), clip(e.Step)
	e.What, e.To, e.Detail = clip(e.What), clip(e.To), clip(e.Detail)
	c.put(item{event: &e, size: len(e.Host) + len(e.Proc) + len(e.Role) + len(e.Step) + len(e.What) + len(e.To) + len(e.Detail) + 128})
}

func (c *Control) log(r record) { c.put(item{record: &r, size: r.size()}) }

func (c *Control) put(it item) {
	select {
	case c.items <- it:
		return
	default:
	}
	t := time.NewTimer(patience)
	defer t.Stop()
	select {
	case c.items <- it:
	case <-c.done:
		c.lose(1)
	case <-t.C:
		c.lose(1)
	}
}

func (c *Control) lose(n int) {
	c.mu.Lock()
	c.lost += n
	c.mu.Unlock()
}

// run sends batches until flush has put the empty item.
func (c *Control) run() {
	defer close(c.done)
	for last := false; !last; {
		var m *message
		if m, last = c.batch(<-c.items); len(m.Events)+len(m.Records) == 0 {
			continue
		}
		if err := c.link.send(m); err != nil {
			c.lose(len(m.Events) + len(m.Records)) // the daemon is gone, and soon so are we
		}
	}
}

// batch gathers what waits, at most about batchSize.
func (c *Control) batch(it item) (m *message, last bool) {
	m = &message{Kind: notes}
	for size := 0; ; {
		switch {
		case it.event != nil:
			m.Events = append(m.Events, *it.event)
		case it.record != nil:
			m.Records = append(m.Records, *it.record)
		default:
			return m, true
		}
		if size += it.size; size >= batchSize {
			return m, false
		}
		select {
		case it = <-c.items:
		default:
			return m, false
		}
	}
}

// flush sends all that was recorded, and stops.
func (c *Control) flush() {
	c.mu.Lock()
	lost := c.lost
	c.mu.Unlock()
	if lost > 0 {
		c.log(record{
			Time: time.Now().UnixNano(), Level: int(slog.LevelError),
			Text: fmt.Sprintf("%d events and log records were lost: the daemon did not take them", lost),
		})
	}
	c.put(item{})
	<-c.done
}
