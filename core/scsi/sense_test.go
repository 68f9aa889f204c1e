package scsi_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"capstan/core/dev"
	"capstan/core/scsi"
)

// The vectors follow SPC-5 4.4.2 and 4.4.3, byte by byte.
func TestParseSense(t *testing.T) {
	tests := []struct {
		name string
		in   []byte
		want scsi.Sense
	}{
		{"filemark, fixed", []byte{0xF0, 0, 0x80, 0, 0, 0, 3, 10, 0, 0, 0, 0, 0x00, 0x01, 0, 0, 0, 0},
			scsi.Sense{Sense: dev.Sense{ASCQ: 1}, Information: 3, Valid: true, Filemark: true}},
		{"longer block, fixed: negative information", []byte{0xF0, 0, 0x20, 0xFF, 0xFF, 0xFF, 0xFE, 10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0},
			scsi.Sense{Information: -2, Valid: true, ILI: true}},
		{"volume overflow, deferred", []byte{0x71, 0, 0x4D, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0x00, 0x02, 0, 0, 0, 0},
			scsi.Sense{Sense: dev.Sense{Key: 0xD, ASCQ: 2}, Deferred: true, EOM: true}},
		{"becoming ready with progress", []byte{0x70, 0, 0x02, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0x04, 0x01, 0, 0x80, 0x40, 0x00},
			scsi.Sense{Sense: dev.Sense{Key: 2, ASC: 4, ASCQ: 1}, Progress: 0x4000}},
		{"fixed, cut after the key", []byte{0x70, 0, 0x03}, scsi.Sense{Sense: dev.Sense{Key: 3}}},
		{"filemark, descriptors", []byte{0x72, 0, 0, 1, 0, 0, 0, 16, 0x00, 10, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 7, 0x04, 2, 0, 0x80},
			scsi.Sense{Sense: dev.Sense{ASCQ: 1}, Information: 7, Valid: true, Filemark: true}},
		{"descriptor longer than the data", []byte{0x73, 3, 0x11, 0, 0, 0, 0, 200, 0x00, 10, 0x80},
			scsi.Sense{Sense: dev.Sense{Key: 3, ASC: 0x11}, Deferred: true}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := scsi.ParseSense(tt.in)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Errorf("sense differs (-want +got):\n%s", d)
			}
		})
	}
	for _, bad := range [][]byte{nil, {0x70}, {0x70, 0}, {0x00, 0, 0}, {0x7F, 1, 2, 3}} {
		if s, err := scsi.ParseSense(bad); !errors.Is(err, scsi.ErrSense) {
			t.Errorf("ParseSense(% X) = %v, %v; want it refused", bad, s, err)
		}
	}
}

// TestConditionAndBack holds the two directions together: what a target sends for a
// condition is read as that condition, in both formats.
func TestConditionAndBack(t *testing.T) {
	for _, want := range []error{
		dev.ErrNotReady, dev.ErrNoMedium, dev.ErrFilemark, dev.ErrEndOfData, dev.ErrBeginning, dev.ErrEarlyWarning,
		dev.ErrVolumeOverflow, dev.ErrMedium, dev.ErrHardware, dev.ErrWriteProtected, dev.ErrCleaning, dev.ErrPositionLost,
		dev.ErrIncompatible, dev.ErrSourceEmpty, dev.ErrDestinationFull, dev.ErrBadElement, dev.ErrRemovalPrevented,
		dev.ErrNotSupported, dev.ErrNotLoaded, dev.ErrOperator, dev.ErrCleaningCartridge, dev.ErrProtection, dev.ErrEncryption,
		dev.ErrMediumChanged, dev.ErrInventoryChanged, dev.ErrAborted, dev.ErrProgrammableWarning,
	} {
		t.Run(want.Error(), func(t *testing.T) {
			s, ok := scsi.SenseOf(fmt.Errorf("drive1: %w", want))
			if !ok {
				t.Fatal("a target has no sense data for it")
			}
			for _, b := range [][]byte{s.Fixed(), s.Descriptor()} {
				got, err := scsi.ParseSense(b)
				if err != nil {
					t.Fatal(err)
				}
				if c := got.Condition(); !errors.Is(c, want) {
					t.Errorf("% X is read as %v", b, c)
				}
			}
		})
	}
}

// FuzzParseSense: sense data comes from devices. What is read survives being
// written and read again.
func FuzzParseSense(f *testing.F) {
	f.Add([]byte{0xF0, 0, 0x80, 0, 0, 0, 3, 10, 0, 0, 0, 0, 0x00, 0x01, 0, 0, 0, 0})
	f.Add([]byte{0x72, 0, 0, 1, 0, 0, 0, 16, 0x00, 10, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 7, 0x04, 2, 0, 0x80})
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := scsi.ParseSense(b)
		if err != nil {
			return
		}
		if !s.Valid {
			s.Information = 0
		}
		again, err := scsi.ParseSense(s.Descriptor())
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(s, again); d != "" {
			t.Errorf("sense of % X differs after a round (-first +second):\n%s", b, d)
		}
	})
}
