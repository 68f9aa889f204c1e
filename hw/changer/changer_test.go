package changer

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"capstan/core/dev"
	"capstan/core/rt"
	"capstan/core/scsi"
	"capstan/sim/simtest"
)

func open(ctx context.Context, t *testing.T, f *fake, q Quirks) *Changer {
	t.Helper()
	c, err := Open(ctx, "robot", f, Options{Quirks: q})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestInventory: whatever a changer's habits, every element comes once and right.
func TestInventory(t *testing.T) {
	tests := []struct {
		name   string
		slots  int
		quirks Quirks
		set    func(f *fake)
	}{
		{"plain", 20, Quirks{}, func(*fake) {}},
		{"more slots than one answer holds", 2500, Quirks{}, func(f *fake) { f.narrow = true }},
		{"a small buffer", 300, Quirks{}, func(f *fake) { f.limit = 1000 }},
		{"a buffer for one descriptor", 20, Quirks{}, func(f *fake) { f.limit = 120 }},
		{"ignores the number of elements", 300, Quirks{}, func(f *fake) { f.all, f.limit = true, 4096 }},
		{"excess bytes", 20, Quirks{}, func(f *fake) { f.excess = 12 }},
		{"tags and identifiers not together", 20, Quirks{}, func(f *fake) { f.apart = true }},
		{"told so", 20, Quirks{ApartIDs: true}, func(*fake) {}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			simtest.Run(t, func(ctx context.Context) {
				f := newFake(tt.slots)
				tt.set(f)
				want := slices.Clone(f.elements)
				slices.SortFunc(want, func(a, b dev.Element) int { return a.Address - b.Address })
				got, err := open(ctx, t, f, tt.quirks).Inventory(ctx)
				if err != nil {
					t.Fatal(err)
				}
				if d := cmp.Diff(want, got); d != "" {
					t.Errorf("inventory (-want +got):\n%s", d)
				}
			})
		})
	}
}

// TestInventoryLess: what a changer does not tell is missing, and nothing else is.
func TestInventoryLess(t *testing.T) {
	for _, tt := range []struct {
		name   string
		quirks Quirks
		set    func(f *fake)
		tags   bool
	}{
		{"no identifiers", Quirks{}, func(f *fake) { f.noIDs = true }, true},
		{"identifiers not asked for", Quirks{NoIDs: true}, func(*fake) {}, true},
		{"no volume tags", Quirks{}, func(f *fake) { f.noTags, f.noIDs = true, true }, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			simtest.Run(t, func(ctx context.Context) {
				f := newFake(5)
				tt.set(f)
				got, err := open(ctx, t, f, tt.quirks).Inventory(ctx)
				if err != nil || len(got) != 10 {
					t.Fatalf("%d elements, %v", len(got), err)
				}
				for _, e := range got {
					if e.Serial != "" || (e.Barcode != "") != (tt.tags && e.Full) || e.Full != f.find(e.Address).Full {
						t.Errorf("element %+v", e)
					}
				}
			})
		})
	}
}

func TestNothingFits(t *testing.T) {
	simtest.Run(t, func(ctx context.Context) {
		f := newFake(5)
		f.limit = 40
		if _, err := open(ctx, t, f, Quirks{}).Inventory(ctx); !errors.Is(err, ErrReply) {
			t.Errorf("an answer without one whole descriptor: %v", err)
		}
	})
}

// TestMove: what each condition does to a move, how often it is sent, and where the
// cartridge is then.
func TestMove(t *testing.T) {
	const from, to = 1000, 256
	tests := []struct {
		name   string
		events []event
		set    func(f *fake)
		err    error
		sent   int
		moved  bool
	}{
		{"good", nil, nil, nil, 1, true},
		{"unit attention: mail slot opened", []event{{sense: dev.Sense{Key: 6, ASC: 0x28, ASCQ: 1}}}, nil, nil, 2, true},
		{"unit attentions: reset, magazine", []event{{sense: dev.Sense{Key: 6, ASC: 0x29}}, {sense: dev.Sense{Key: 6, ASC: 0x3B, ASCQ: 0x13}}}, nil, nil, 3, true},
		{"no end of attentions", []event{{sense: dev.Sense{Key: 6, ASC: 0x29}, times: 99}}, nil, dev.ErrPositionLost, 5, false},
		{"becoming ready", []event{{sense: dev.Sense{Key: 2, ASC: 4, ASCQ: 1}}}, nil, nil, 2, true},
		{"a door is open", []event{{sense: dev.Sense{Key: 2, ASC: 4, ASCQ: 3}}}, nil, dev.ErrOperator, 1, false},
		{"source empty, and it is", nil, func(f *fake) { f.find(from).Full = false }, dev.ErrSourceEmpty, 1, false},
		{"source empty, and it is not", []event{{sense: dev.Sense{Key: 5, ASC: 0x3B, ASCQ: 0x0E}}}, nil, nil, 2, true},
		{"source empty, as a hardware error", []event{{sense: dev.Sense{Key: 4, ASC: 0x3B, ASCQ: 0x0E}}}, nil, nil, 2, true},
		{"source empty twice, and it is not", []event{{sense: dev.Sense{Key: 5, ASC: 0x3B, ASCQ: 0x0E}, times: 2}}, nil, dev.ErrSourceEmpty, 2, false},
		{"destination full, and it is", nil, func(f *fake) { f.find(to).Full = true }, dev.ErrDestinationFull, 1, false},
		{"destination full, and it is not", []event{{sense: dev.Sense{Key: 5, ASC: 0x3B, ASCQ: 0x0D}}}, nil, nil, 2, true},
		{"removal prevented", []event{{sense: dev.Sense{Key: 5, ASC: 0x53, ASCQ: 2}}}, nil, dev.ErrRemovalPrevented, 1, false},
		{"mechanical", []event{{sense: dev.Sense{Key: 4, ASC: 0x15, ASCQ: 1}}}, nil, dev.ErrHardware, 1, false},
		{"no such command", []event{{sense: dev.Sense{Key: 5, ASC: 0x20}}}, nil, dev.ErrNotSupported, 1, false},
		{"aborted before it", []event{{sense: dev.Sense{Key: 0xB, ASC: 0x47}}}, nil, dev.ErrAborted, 1, false},
		{"aborted after it", []event{{sense: dev.Sense{Key: 0xB, ASC: 0x47}, done: true}}, nil, nil, 1, true},
		{"answer lost after it", []event{{done: true, lost: true}}, nil, nil, 1, true},
		{"command lost", []event{{lost: true}}, nil, dev.ErrGone, 1, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			simtest.Run(t, func(ctx context.Context) {
				f := newFake(5)
				if tt.set != nil {
					tt.set(f)
				}
				c := open(ctx, t, f, Quirks{})
				barcode := f.find(from).Barcode
				f.events[scsi.MoveMedium] = tt.events
				err := c.Move(ctx, from, to)
				if (tt.err == nil) != (err == nil) || !errors.Is(err, tt.err) {
					t.Errorf("error %v; want %v", err, tt.err)
				}
				moves := 0
				for _, s := range f.sent {
					if strings.HasPrefix(s, "a5") {
						moves++
						if s != "a500000103e8010000000000" {
							t.Errorf("the move is %s", s)
						}
					}
				}
				if moves != tt.sent {
					t.Errorf("the move was sent %d times; want %d", moves, tt.sent)
				}
				if got := f.find(to); tt.moved != (got.Full && got.Barcode == barcode && !f.find(from).Full) {
					t.Errorf("the drive has %+v; moved should be %v", got, tt.moved)
				}
			})
		})
	}
}

// TestBadElement: some changers say "invalid field" for an address that they do not have.
func TestBadElement(t *testing.T) {
	for _, field := range []bool{false, true} {
		simtest.Run(t, func(ctx context.Context) {
			f := newFake(5)
			f.field = field
			if err := open(ctx, t, f, Quirks{}).Move(ctx, 1000, 65000); !errors.Is(err, dev.ErrBadElement) {
				t.Errorf("invalid field %v: %v", field, err)
			}
		})
	}
	simtest.Run(t, func(ctx context.Context) {
		f := newFake(5)
		c := open(ctx, t, f, Quirks{})
		f.events[scsi.MoveMedium] = []event{{sense: dev.Sense{Key: 5, ASC: 0x24}}}
		if err := c.Move(ctx, 1000, 256); !errors.Is(err, dev.ErrNotSupported) || errors.Is(err, dev.ErrBadElement) {
			t.Errorf("invalid field for elements that are there: %v", err)
		}
	})
}

// TestOpen: a library that comes up is waited for, at most so long.
func TestOpen(t *testing.T) {
	becoming := dev.Sense{Key: 2, ASC: 4, ASCQ: 1}
	tests := []struct {
		name   string
		events []event
		err    error
		took   time.Duration
	}{
		{"after a power on", []event{{sense: dev.Sense{Key: 6, ASC: 0x29}}, {sense: becoming, times: 240}}, nil, 240 * time.Second},
		{"never", []event{{sense: becoming, times: 10000}}, dev.ErrNotReady, readyTime},
		{"a door is open: it can be asked", []event{{sense: dev.Sense{Key: 2, ASC: 4, ASCQ: 3}}}, nil, 0},
		{"broken", []event{{sense: dev.Sense{Key: 4, ASC: 0x40}}}, dev.ErrHardware, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			simtest.Run(t, func(ctx context.Context) {
				f := newFake(5)
				f.events[scsi.TestUnitReady] = tt.events
				began := rt.Mono(ctx)
				c, err := Open(ctx, "robot", f, Options{})
				if (tt.err == nil) != (err == nil) || !errors.Is(err, tt.err) {
					t.Errorf("error %v; want %v", err, tt.err)
				}
				if took := rt.Mono(ctx) - began; took < tt.took || took > tt.took+2*time.Second {
					t.Errorf("it took %v; want %v", took, tt.took)
				}
				if c != nil && c.Places()[dev.DriveElement] != (Range{256, 2}) {
					t.Errorf("elements %v", c.Places())
				}
			})
		})
	}
}

// TestOpenedMeanwhile: an inventory during which a mail slot was opened is taken again.
func TestOpenedMeanwhile(t *testing.T) {
	simtest.Run(t, func(ctx context.Context) {
		f := newFake(5)
		c := open(ctx, t, f, Quirks{})
		f.events[scsi.ReadElementStatus] = []event{{sense: dev.Sense{Key: 6, ASC: 0x28, ASCQ: 1}}}
		got, err := c.Inventory(ctx)
		asked := 0
		for _, s := range f.sent {
			if strings.HasPrefix(s, "b8") {
				asked++
			}
		}
		if err != nil || len(got) != len(f.elements) || asked != 9 { // one refused, four and four
			t.Errorf("%d elements by %d questions, %v", len(got), asked, err)
		}
	})
}

// TestRescan: a changer without ranges looks at all.
func TestRescan(t *testing.T) {
	simtest.Run(t, func(ctx context.Context) {
		f := newFake(5)
		c := open(ctx, t, f, Quirks{})
		f.sent = nil
		if err := c.RescanRange(ctx, Range{1000, 3}); err != nil {
			t.Error(err)
		}
		want := []string{"370103e8000000030000", "e70103e8000000030000", "070000000000"}
		if d := cmp.Diff(want, f.sent); d != "" {
			t.Errorf("commands (-want +got):\n%s", d)
		}
	})
}

func TestParseQuirks(t *testing.T) {
	for _, row := range table() {
		if q, err := ParseQuirks([]string{row.name}); err != nil || q == (Quirks{}) || row.reason == "" {
			t.Errorf("quirk %s: %+v, %v", row.name, q, err)
		}
	}
	if _, err := ParseQuirks([]string{"no-dvcid", "purple"}); err == nil || !strings.Contains(err.Error(), "purple") {
		t.Errorf("an unknown quirk: %v", err)
	}
}
