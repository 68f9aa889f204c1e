package vlib

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"capstan/core/dev"
)

func TestConditionsTravel(t *testing.T) {
	for _, k := range conditions {
		for _, err := range []error{
			k.err,
			fmt.Errorf("with a reason: %w", k.err),
			&dev.Error{Device: "d", Op: "READ", Sense: dev.Sense{Key: 3, ASC: 1, ASCQ: 2}, Err: fmt.Errorf("why: %w", k.err)},
		} {
			b, ferr := encodeFrame(&reply{ID: 1, Err: toWire(err)})
			if ferr != nil {
				t.Fatal(ferr)
			}
			var r reply
			if _, ferr := readFrame(bytes.NewReader(b), nil, &r); ferr != nil {
				t.Fatal(ferr)
			}
			got := r.Err.err()
			if !errors.Is(got, k.err) || got.Error() != err.Error() {
				t.Errorf("%v arrives as %v", err, got)
			}
		}
	}
	if got := toWire(errors.New("no condition")).err(); got.Error() != "no condition" {
		t.Errorf("an error that is no condition arrives as %v", got)
	}
}

func TestEveryConditionIsKnown(t *testing.T) {
	for _, err := range []error{
		dev.ErrNotReady, dev.ErrNoMedium, dev.ErrFilemark, dev.ErrEndOfData, dev.ErrBeginning, dev.ErrEarlyWarning,
		dev.ErrVolumeOverflow, dev.ErrMedium, dev.ErrHardware, dev.ErrWriteProtected, dev.ErrCleaning, dev.ErrReservation,
		dev.ErrPositionLost, dev.ErrBlockTooLong, dev.ErrIncompatible, dev.ErrSourceEmpty, dev.ErrDestinationFull,
		dev.ErrBadElement, dev.ErrRemovalPrevented, dev.ErrNotSupported, dev.ErrGone,
	} {
		if c := toWire(err); c.Name == "" {
			t.Errorf("%v has no name on the wire", err)
		}
	}
}

func FuzzReadFrame(f *testing.F) {
	for _, q := range []request{{}, {ID: 7, Op: opWrite, Handle: 1, Region: 2, Offset: 3, Length: 4}, {Op: opReserve, Name: "x", Flag: true}} {
		b, err := encodeFrame(&q)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte{0xFF, 0xFF, 0xFF, 0xFF})
	f.Add([]byte{0, 0, 0, 1, 0xA0})
	f.Fuzz(func(t *testing.T, b []byte) {
		var q request
		if _, err := readFrame(bytes.NewReader(b), nil, &q); err != nil {
			return
		}
		again, err := encodeFrame(&q)
		if err != nil {
			t.Fatal(err)
		}
		var r request
		if _, err := readFrame(bytes.NewReader(again), nil, &r); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(q, r); d != "" {
			t.Error(d)
		}
	})
}

func FuzzReply(f *testing.F) {
	b, err := encodeFrame(&reply{ID: 1, N: 5, Err: toWire(dev.ErrFilemark), Elements: []dev.Element{{Address: 1, Barcode: "A"}}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte{0, 0, 0, 2, 0xA1, 0x61})
	f.Fuzz(func(t *testing.T, b []byte) {
		var r reply
		if _, err := readFrame(bytes.NewReader(b), nil, &r); err == nil && r.Err != nil {
			if r.Err.err() == nil {
				t.Error("a condition became success")
			}
		}
	})
}
