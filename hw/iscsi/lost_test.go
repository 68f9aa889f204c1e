package iscsi_test

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"

	"capstan/core/dev"
	"capstan/core/scsi"
	"capstan/hw/clock"
	"capstan/hw/iscsi"
	target "capstan/vtl/iscsi"
)

// slow is a target whose one unit works on each command until it is let go.
type slow struct{ begun, end chan struct{} }

func (s slow) Nexus(string) target.Nexus   { return s }
func (s slow) LUN(uint64) target.Unit      { return s }
func (s slow) Lost(context.Context) error  { return nil }
func (s slow) Reset(context.Context) error { return nil }
func (s slow) Close() error                { return nil }
func (s slow) Do(context.Context, *scsi.Command) (scsi.Result, error) {
	s.begun <- struct{}{}
	<-s.end
	return scsi.Result{}, nil
}

// Of a command that is cut off, by a time limit, by its context or by the
// connection's end, nobody knows what became: it ends with dev.ErrGone, and so do
// those after it. A new session works.
func TestLostCommands(t *testing.T) {
	units := slow{begun: make(chan struct{}, 8), end: make(chan struct{})}
	tg, err := target.New(clock.Context(context.Background(), "test"), target.Config{Name: name, Units: units})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- tg.Serve(ctx, l) }()
	cfg := iscsi.Config{Address: l.Addr().String(), Initiator: name, Target: name}
	for i, tt := range []struct {
		name string
		cut  func(s *iscsi.Session, cancel func())
		c    scsi.Command
	}{
		{"time limit", func(*iscsi.Session, func()) {}, scsi.Command{Timeout: 30 * time.Millisecond}},
		{"context", func(_ *iscsi.Session, cancel func()) { cancel() }, scsi.Command{}},
		{"closed", func(s *iscsi.Session, _ func()) { s.Close() }, scsi.Command{}},
		{"the target stops", func(*iscsi.Session, func()) { stop() }, scsi.Command{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg.ISID = uint32(i)
			s, err := iscsi.Dial(context.Background(), cfg)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			go func() {
				<-units.begun
				tt.cut(s, cancel)
			}()
			tt.c.CDB = make([]byte, 6)
			if _, err := s.LUN(0).Do(ctx, &tt.c); !errors.Is(err, dev.ErrGone) {
				t.Errorf("the command ends with %v", err)
			}
			if _, err := s.LUN(1).Do(context.Background(), &scsi.Command{CDB: make([]byte, 6)}); !errors.Is(err, dev.ErrGone) {
				t.Errorf("one after it ends with %v", err)
			}
		})
	}
	close(units.end)
	if err := <-done; err != nil {
		t.Error(err)
	}
	if _, err := iscsi.Dial(context.Background(), cfg); !errors.Is(err, dev.ErrGone) {
		t.Errorf("dialling where nobody listens: %v", err)
	}
}
