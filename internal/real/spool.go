package real

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"capstan/core/bpjobd"
	"capstan/core/pbx"
	"capstan/core/rt"
	"capstan/core/status"
	"capstan/core/trace"
)

// spool keeps the trace events of a host in a file until the master has them:
// one JSON object a line, in the order in which they came. What was sent is
// recorded in a second file; a daemon that is killed between the two sends a few
// events again.
//
// The file is not synced: an event outlives the daemon, not the host.
type spool struct {
	log    *slog.Logger
	master pbx.Addr // of bpjobd

	mu   sync.Mutex
	file *os.File // events
	mark *os.File // how many bytes of it were sent, in decimal
	size int64
	sent int64
	lost int
}

const (
	spoolFile = "trace.jsonl"
	markFile  = "trace.sent"
	// maxSpool bounds the file while the master cannot be reached: some hundred
	// thousand events, of thousands of jobs.
	maxSpool = 64 << 20
	// maxBatch bounds the bytes of one call, maxEvents its events.
	maxBatch  = 512 << 10
	maxEvents = 500
	// sendEvery is the time between two looks at the file.
	sendEvery = 250 * time.Millisecond
)

var _ trace.Sink = (*spool)(nil)

func openSpool(stateDir, master string, log *slog.Logger) (*spool, error) {
	s := &spool{log: log, master: pbx.At(master, bpjobd.Service)}
	var err error
	if s.file, err = os.OpenFile(filepath.Join(stateDir, spoolFile), os.O_RDWR|os.O_CREATE, 0o600); err != nil {
		return nil, fmt.Errorf("the spool of trace events: %w", err)
	}
	if s.mark, err = os.OpenFile(filepath.Join(stateDir, markFile), os.O_RDWR|os.O_CREATE, 0o600); err != nil {
		return nil, fmt.Errorf("the spool of trace events: %w", errors.Join(err, s.file.Close()))
	}
	if err := s.resume(); err != nil {
		return nil, fmt.Errorf("the spool of trace events: %w", errors.Join(err, s.close()))
	}
	return s, nil
}

// resume finds out where an earlier daemon stopped. A line that it did not
// finish is ended, and skipped when it is read.
func (s *spool) resume() error {
	end, err := s.file.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	s.size = end
	text, err := io.ReadAll(io.LimitReader(s.mark, 32))
	if err != nil {
		return err
	}
	if n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64); err == nil && n >= 0 && n <= end {
		s.sent = n
	}
	if end > 0 {
		s.append([]byte{'\n'})
	}
	return nil
}

// Emit takes an event of the daemon's own.
func (s *spool) Emit(_ context.Context, e trace.Event) { s.add([]trace.Event{e}) }

// add takes events. Those of no job are dropped: nobody could ask for them.
func (s *spool) add(events []trace.Event) {
	var buf bytes.Buffer
	w := json.NewEncoder(&buf)
	n := 0
	for i := range events {
		if events[i].Job.ID == 0 {
			continue
		}
		if err := w.Encode(&events[i]); err != nil {
			s.log.Error("a trace event cannot be written", "what", events[i].What, "error", err)
			continue
		}
		n++
	}
	if n == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.size+int64(buf.Len()) > maxSpool {
		if s.lost == 0 {
			s.log.Error("the spool of trace events is full: events are dropped until the master can be reached", "bytes", s.size)
		}
		s.lost += n
		return
	}
	s.append(buf.Bytes())
}

// append writes at the end of the file; s.mu is held, or nobody else has s.
func (s *spool) append(b []byte) {
	if _, err := s.file.WriteAt(b, s.size); err != nil {
		s.log.Error("writing the spool of trace events", "error", err)
		return
	}
	s.size += int64(len(b))
}

// run sends what comes until ctx ends.
func (s *spool) run(ctx context.Context) {
	for wait := sendEvery; ; {
		if rt.Sleep(ctx, wait) != nil {
			return
		}
		wait = sendEvery
		if err := s.flush(ctx); err != nil && ctx.Err() == nil {
			s.log.Debug("the master does not take trace events now", "error", err)
			wait = 20 * sendEvery
		}
	}
}

// flush sends all that the file holds.
func (s *spool) flush(ctx context.Context) error {
	for {
		events, next, err := s.batch()
		if err != nil || next < 0 {
			return err
		}
		if len(events) > 0 {
			_, err = bpjobd.AddTrace.Call(ctx, s.master, events)
		}
		switch {
		case err == nil:
		case errors.Is(err, pbx.ErrUnreachable), errors.Is(err, pbx.ErrOutcomeUnknown), ctx.Err() != nil,
			status.Of(err, 0) == status.Database:
			return err // later
		default:
			s.log.Error("the master refuses trace events; they are dropped", "events", len(events), "error", err)
		}
		if err := s.done(next); err != nil {
			return err
		}
	}
}

// batch reads the next events that were not sent; next is the place after them,
// -1 if there are none.
func (s *spool) batch() (events []trace.Event, next int64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sent >= s.size {
		return nil, -1, nil
	}
	buf := make([]byte, min(s.size-s.sent, maxBatch))
	if _, err := s.file.ReadAt(buf, s.sent); err != nil {
		return nil, 0, fmt.Errorf("the spool of trace events: %w", err)
	}
	next = s.sent
	for len(events) < maxEvents {
		line, rest, whole := bytes.Cut(buf, []byte{'\n'})
		if !whole {
			break
		}
		buf = rest
		next += int64(len(line)) + 1
		var e trace.Event
		if len(line) > 0 && json.Unmarshal(line, &e) == nil && e.Job.ID != 0 {
			events = append(events, e)
		}
	}
	if next == s.sent { // a line longer than a batch is none of ours
		next += int64(len(buf))
	}
	return events, next, nil
}

// done records what was sent, and empties the file when that is all.
func (s *spool) done(next int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sent = next
	if s.sent >= s.size {
		if err := s.file.Truncate(0); err != nil {
			return err
		}
		s.size, s.sent = 0, 0
		if s.lost > 0 {
			s.log.Error("trace events were dropped while the master could not be reached", "events", s.lost)
			s.lost = 0
		}
	}
	text := fmt.Appendf(nil, "%-20d\n", s.sent)
	_, err := s.mark.WriteAt(text, 0)
	return err
}

func (s *spool) close() error {
	err := errors.Join(s.file.Close(), s.mark.Close())
	if errors.Is(err, fs.ErrClosed) {
		return nil
	}
	return err
}
