package scsi

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"capstan/core/dev"
	"capstan/core/rt"
	"capstan/core/scsi"
	"capstan/sim/simtest"
)

// answer is what a scripted unit does with the next command.
type answer struct {
	status scsi.Status
	sense  dev.Sense
	late   bool // deferred
	err    error
	data   string // hex
}

// script is a unit that answers by a list; when it is at its end, GOOD.
type script struct {
	t       *testing.T
	answers []answer
	sent    []string // the commands, in hex
	out     []string
	limits  []time.Duration
}

func (s *script) Close() error { return nil }

func (s *script) Do(_ context.Context, c *scsi.Command) (scsi.Result, error) {
	s.sent, s.out, s.limits = append(s.sent, hex.EncodeToString(c.CDB)), append(s.out, hex.EncodeToString(c.Out)), append(s.limits, c.Timeout)
	if len(s.answers) == 0 {
		return scsi.Result{N: len(c.Out) + len(c.In)}, nil
	}
	a := s.answers[0]
	s.answers = s.answers[1:]
	if a.err != nil {
		return scsi.Result{}, a.err
	}
	r := scsi.Result{Status: a.status, N: copy(c.In, unhex(s.t, a.data))}
	if a.sense != (dev.Sense{}) {
		sense := scsi.Sense{Sense: a.sense, Deferred: a.late}
		r.Status, r.Sense = scsi.CheckCondition, sense.Fixed()
	}
	return r, nil
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestDo: which ends of a command lead to which error, and which have it sent again.
func TestDo(t *testing.T) {
	attention, recovered, aborted := dev.Sense{Key: 6, ASC: 0x29}, dev.Sense{Key: 1, ASC: 0x17}, dev.Sense{Key: 0xB, ASC: 0x47, ASCQ: 3}
	tests := []struct {
		name    string
		answers []answer
		sent    int
		err     error
	}{
		{"good", nil, 1, nil},
		{"busy, then good", []answer{{status: scsi.Busy}, {status: scsi.TaskSetFull}}, 3, nil},
		{"reservation conflict", []answer{{status: scsi.ReservationConflict}}, 1, dev.ErrReservation},
		{"aborted by another", []answer{{status: scsi.TaskAborted}}, 1, dev.ErrAborted},
		{"recovered", []answer{{sense: recovered}}, 1, nil},
		{"an earlier command's recovered error", []answer{{sense: recovered, late: true}}, 2, nil},
		{"an earlier command's error", []answer{{sense: dev.Sense{Key: 3, ASC: 0x0C}, late: true}}, 1, dev.ErrMedium},
		{"unit attention", []answer{{sense: attention}}, 1, dev.ErrPositionLost},
		{"aborted", []answer{{sense: aborted}}, 1, dev.ErrAborted},
		{"sense data that says nothing", []answer{{status: scsi.CheckCondition}}, 1, dev.ErrHardware},
		{"gone", []answer{{err: fmt.Errorf("cut: %w", dev.ErrGone)}}, 1, dev.ErrGone},
		{"a transport's own error", []answer{{err: errors.New("cut")}}, 1, dev.ErrGone},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			simtest.Run(t, func(ctx context.Context) {
				s := &script{t: t, answers: tt.answers}
				d := NewDevice("drive1", s)
				_, err := d.Do(ctx, "WRITE", &scsi.Command{CDB: make([]byte, 6)})
				if (tt.err == nil) != (err == nil) || !errors.Is(err, tt.err) {
					t.Errorf("error %v; want %v", err, tt.err)
				}
				var e *dev.Error
				if err != nil && (!errors.As(err, &e) || e.Device != "drive1" || e.Op != "WRITE") {
					t.Errorf("error %v names no device and operation", err)
				}
				if len(s.sent) != tt.sent {
					t.Errorf("the command was sent %d times; want %d", len(s.sent), tt.sent)
				}
			})
		})
	}
}

func TestDoBusyForEver(t *testing.T) {
	simtest.Run(t, func(ctx context.Context) {
		s := &script{t: t, answers: make([]answer, 1000)}
		for i := range s.answers {
			s.answers[i].status = scsi.Busy
		}
		began := rt.Mono(ctx)
		_, err := NewDevice("drive1", s).Do(ctx, "REWIND", &scsi.Command{CDB: []byte{1, 0, 0, 0, 0, 0}})
		if took := rt.Mono(ctx) - began; !errors.Is(err, dev.ErrNotReady) || took < busyLimit || took > busyLimit+busyLong {
			t.Errorf("busy for %v: %v", took, err)
		}
	})
}

// TestNoEndOfLateErrors: a device that never gets to a command is given up.
func TestNoEndOfLateErrors(t *testing.T) {
	simtest.Run(t, func(ctx context.Context) {
		s := &script{t: t, answers: make([]answer, 1000)}
		for i := range s.answers {
			s.answers[i] = answer{sense: scsiSense(1, 0x17, 0), late: true}
		}
		_, err := NewDevice("drive1", s).Do(ctx, "WRITE", &scsi.Command{CDB: make([]byte, 6)})
		if !errors.Is(err, dev.ErrHardware) || len(s.sent) != mostLate+1 {
			t.Errorf("after %d commands: %v", len(s.sent), err)
		}
	})
}

// TestAttentions: a unit attention reaches whoever must know, on whatever command.
func TestAttentions(t *testing.T) {
	simtest.Run(t, func(ctx context.Context) {
		s := &script{t: t, answers: []answer{{sense: dev.Sense{Key: 6, ASC: 0x28}}, {sense: dev.Sense{Key: 6, ASC: 0x2A, ASCQ: 1}}, {data: "00 0186A0 0001"}}}
		d := NewDevice("drive1", s)
		var seen []string
		d.OnAttention = func(s *scsi.Sense) { seen = append(seen, s.Sense.String()) }
		l, err := d.BlockLimits(ctx)
		if err != nil || l.Max != 100000 {
			t.Errorf("block limits %+v, %v", l, err)
		}
		if diff := cmp.Diff([]string{"6/28/00", "6/2A/01"}, seen); diff != "" {
			t.Errorf("unit attentions (-want +got):\n%s", diff)
		}
	})
}

func TestAwaitReady(t *testing.T) {
	becoming := answer{sense: dev.Sense{Key: 2, ASC: 4, ASCQ: 1}}
	simtest.Run(t, func(ctx context.Context) {
		s := &script{t: t, answers: []answer{{sense: dev.Sense{Key: 6, ASC: 0x29}}, {sense: dev.Sense{Key: 6, ASC: 0x28}}, becoming, becoming}}
		if err := NewDevice("drive1", s).AwaitReady(ctx, time.Minute); err != nil || len(s.sent) != 5 {
			t.Errorf("ready after %d commands: %v", len(s.sent), err)
		}
		s = &script{t: t, answers: []answer{becoming, {sense: dev.Sense{Key: 2, ASC: 0x3A}}}}
		if err := NewDevice("drive1", s).AwaitReady(ctx, time.Minute); !errors.Is(err, dev.ErrNoMedium) {
			t.Errorf("an empty drive: %v", err)
		}
		s = &script{t: t, answers: make([]answer, 1000)}
		for i := range s.answers {
			s.answers[i] = becoming
		}
		if err := NewDevice("drive1", s).AwaitReady(ctx, time.Minute); !BecomesReady(err) {
			t.Errorf("never ready: %v", err)
		}
	})
}

func TestLimits(t *testing.T) {
	var l limits
	if got := l.of([]byte{scsi.Write6, 0, 0, 0, 0, 0}); got != 1500*time.Second {
		t.Errorf("WRITE may take %v", got)
	}
	if got := l.of([]byte{scsi.TestUnitReady, 0, 0, 0, 0, 0}); got != shortTime {
		t.Errorf("TEST UNIT READY may take %v", got)
	}
	l.learn([]Opcode{{Code: scsi.Write6, Nominal: 3 * time.Second, Recommended: 700 * time.Second}, {Code: scsi.Rewind, Recommended: time.Second}})
	if got := l.of([]byte{scsi.Write6, 0, 0, 0, 0, 0}); got != 700*time.Second {
		t.Errorf("by the drive's word WRITE may take %v", got)
	}
	if got := l.of([]byte{scsi.Rewind, 0, 0, 0, 0, 0}); got != 600*time.Second {
		t.Errorf("REWIND may take %v: a limit of one second is none", got)
	}
}

func scsiSense(key, asc, ascq uint8) dev.Sense { return dev.Sense{Key: key, ASC: asc, ASCQ: ascq} }

// hexOf is bytes written with spaces, without them.
func hexOf(t *testing.T, s string) string {
	t.Helper()
	return hex.EncodeToString(unhex(t, s))
}
