package ltid

import (
	"slices"
	"testing"

	"capstan/core/dev"
)

// What comes in by a mail slot takes no slot that a cartridge in a drive goes home to.
func TestRoom(t *testing.T) {
	slot := func(at int, full bool) dev.Element { return dev.Element{Kind: dev.Slot, Address: at, Full: full} }
	drive := func(at, source int) dev.Element {
		return dev.Element{Kind: dev.DriveElement, Address: at, Full: true, Source: source}
	}
	out := slot(4, false)
	out.Problem = "its magazine is out"
	for _, tt := range []struct {
		name     string
		elements []dev.Element
		want     []int
	}{
		{"no drive has a cartridge", []dev.Element{slot(1, false), slot(2, true), slot(3, false), out, {Kind: dev.DriveElement, Address: 256}}, []int{1, 3}},
		{"one whose slot is free", []dev.Element{slot(1, false), slot(2, false), drive(256, 1)}, []int{2}},
		{"one whose slot is taken", []dev.Element{slot(1, true), slot(2, false), slot(3, false), drive(256, 1)}, []int{2}},
		{"one whose slot is not known, and no other is free", []dev.Element{slot(1, false), drive(256, 0)}, nil},
		{"more cartridges than slots", []dev.Element{slot(1, false), drive(256, 1), drive(257, 0)}, nil},
	} {
		if got := room(tt.elements); !slices.Equal(got, tt.want) {
			t.Errorf("%s: %v; want %v", tt.name, got, tt.want)
		}
	}
}
