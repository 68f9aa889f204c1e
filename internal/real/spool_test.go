package real

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"capstan/core/pbx"
	"capstan/core/status"
	"capstan/core/trace"
	"capstan/hw/clock"
)

// taker is a transport whose far end is a master that takes events, or does not.
type taker struct {
	err error       // of the way there
	no  status.Code // that the master answers
	got []string    // what the events it took say
}

func (k *taker) Self() pbx.Addr         { return "h/daemon" }
func (k *taker) Identity() pbx.Identity { return pbx.Identity{Kinds: pbx.Client, Name: "h"} }

func (k *taker) Serve(context.Context, string, *pbx.Mux) (func(), error) {
	return nil, errors.New("it serves nothing")
}

func (k *taker) Call(_ context.Context, _ pbx.Addr, m *pbx.Request) (*pbx.Reply, error) {
	if k.err != nil {
		return nil, k.err
	}
	if k.no != 0 {
		return &pbx.Reply{Code: k.no, Detail: "no"}, nil
	}
	for _, e := range m.Body.([]trace.Event) {
		k.got = append(k.got, e.What)
	}
	return &pbx.Reply{Body: struct{}{}}, nil
}

func (k *taker) context(t *testing.T) context.Context {
	return pbx.With(clock.Context(t.Context(), "test"), k, 1, 0)
}

func newTestSpool(t *testing.T, dir string) *spool {
	t.Helper()
	s, err := openSpool(dir, "m", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// events are n events of a job, numbered from a number.
func events(from, n int) []trace.Event {
	var all []trace.Event
	for i := range n {
		all = append(all, trace.Event{Host: "h", Job: trace.Job{ID: 1, Try: 1}, What: fmt.Sprint(from + i)})
	}
	return all
}

func numbers(from, n int) []string {
	var all []string
	for i := range n {
		all = append(all, fmt.Sprint(from+i))
	}
	return all
}

func TestSpoolSendsInOrder(t *testing.T) {
	k := &taker{}
	s := newTestSpool(t, t.TempDir())
	s.add(events(0, 1200)) // more than a batch
	s.Emit(t.Context(), trace.Event{Host: "h", What: "of no job"})
	s.Emit(t.Context(), events(1200, 1)[0])
	if err := s.flush(k.context(t)); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(numbers(0, 1201), k.got); d != "" {
		t.Errorf("sent (-want +got):\n%s", d)
	}
	if s.size != 0 {
		t.Errorf("the file has %d bytes after all was sent", s.size)
	}
}

// What cannot be sent stays, over a restart and with a line that was cut.
func TestSpoolKeeps(t *testing.T) {
	dir := t.TempDir()
	s := newTestSpool(t, dir)
	s.add(events(0, 3))
	for _, k := range []*taker{{err: pbx.ErrUnreachable}, {no: status.Database}} {
		if err := s.flush(k.context(t)); err == nil {
			t.Fatal("a flush that cannot send tells no error")
		}
	}
	s.add(events(3, 2))
	if err := s.close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, spoolFile)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, append(text, `{"what":"cut`...), 0o600); err != nil {
		t.Fatal(err)
	}
	k := &taker{}
	s = newTestSpool(t, dir)
	s.add(events(5, 1))
	if err := s.flush(k.context(t)); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(numbers(0, 6), k.got); d != "" {
		t.Errorf("sent (-want +got):\n%s", d)
	}
}

// What was sent before a restart is not sent again.
func TestSpoolRemembersWhatWasSent(t *testing.T) {
	dir := t.TempDir()
	s := newTestSpool(t, dir)
	s.add(events(0, maxEvents+10))
	_, next, err := s.batch()
	if err == nil {
		err = s.done(next)
	}
	if err = errors.Join(err, s.close()); err != nil {
		t.Fatal(err)
	}
	k := &taker{}
	if err := newTestSpool(t, dir).flush(k.context(t)); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(numbers(maxEvents, 10), k.got); d != "" {
		t.Errorf("sent (-want +got):\n%s", d)
	}
}

// A batch that the master refuses for good does not hold up the others.
func TestSpoolDropsWhatIsRefused(t *testing.T) {
	s := newTestSpool(t, t.TempDir())
	s.add(events(0, 2))
	if err := s.flush((&taker{no: status.NotAllowed}).context(t)); err != nil {
		t.Fatal(err)
	}
	k := &taker{}
	s.add(events(2, 1))
	if err := s.flush(k.context(t)); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(k.got, []string{"2"}) {
		t.Errorf("sent %v, want 2 alone", k.got)
	}
}

func TestSpoolIsBounded(t *testing.T) {
	s := newTestSpool(t, t.TempDir())
	s.add(events(0, 1))
	s.size, s.sent = maxSpool-10, maxSpool-10
	s.add(events(1, 3))
	if s.lost != 3 || s.size != maxSpool-10 {
		t.Errorf("lost %d events, size %d; want 3 lost and the size as it was", s.lost, s.size)
	}
}
