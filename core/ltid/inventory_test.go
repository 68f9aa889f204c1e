package ltid

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"capstan/core/dev"
	"capstan/core/status"
)

func drivesAt(serials ...string) (all []dev.Element) {
	for i, s := range serials {
		all = append(all, dev.Element{Address: 256 + i, Kind: dev.DriveElement, Serial: s})
	}
	return append(all, dev.Element{Address: 1000, Kind: dev.Slot, Full: true, Barcode: "CAP001L9"})
}

// TestPlaces: drives stand where their serial numbers are, not where their order says.
func TestPlaces(t *testing.T) {
	tests := []struct {
		name     string
		places   map[string]Place
		elements []dev.Element
		want     map[string]int
		missing  int
		err      string
	}{
		{"virtual: by order", nil, drivesAt("X", "Y"), map[string]int{"d1": 256, "d2": 257}, 0, ""},
		{"by serial number", map[string]Place{"d1": {Serial: "B"}, "d2": {Serial: "A"}}, drivesAt("A", "B"), map[string]int{"d1": 257, "d2": 256}, 0, ""},
		{"with zeros in front, and in small letters", map[string]Place{"d1": {Serial: "10wt01"}, "d2": {Serial: "7"}}, drivesAt("0010WT01", "0000000007"),
			map[string]int{"d1": 256, "d2": 257}, 0, ""},
		{"by element", map[string]Place{"d1": {Element: 257}, "d2": {Element: 256}}, drivesAt("", ""), map[string]int{"d1": 257, "d2": 256}, 0, ""},
		{"one drive is out for repair", map[string]Place{"d1": {Serial: "A"}, "d2": {Serial: "C"}}, drivesAt("A", "B"), map[string]int{"d1": 256}, 1, ""},
		{"an element that has another drive", map[string]Place{"d1": {Serial: "A", Element: 257}, "d2": {Serial: "B"}}, drivesAt("A", "B"), nil, 0, "take element out"},
		{"no serial numbers", map[string]Place{"d1": {Serial: "A"}, "d2": {Serial: "B"}}, drivesAt("", ""), nil, 0, "give the drive's element"},
		{"other drives", map[string]Place{"d1": {Serial: "A"}, "d2": {Serial: "B"}}, drivesAt("X", "Y"), nil, 0, "it has X at 256, Y at 257"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			at, missing, err := places(&Library{Name: "robot1", Drives: []string{"d1", "d2"}, Places: tt.places}, tt.elements)
			if (err != nil) != (tt.err != "") || err != nil && !strings.Contains(err.Error(), tt.err) {
				t.Fatalf("error %v; want %q", err, tt.err)
			}
			var got map[string]int
			for name, e := range at {
				if got == nil {
					got = map[string]int{}
				}
				got[name] = e.Address
			}
			if d := cmp.Diff(tt.want, got); d != "" || len(missing) != tt.missing {
				t.Errorf("places (-want +got):\n%s\nmissing: %v", d, missing)
			}
		})
	}
}

// TestLabelled: a library that reads no labels is refused, an empty one is not.
func TestLabelled(t *testing.T) {
	full := dev.Element{Address: 1000, Kind: dev.Slot, Full: true}
	if err := labelled("robot1", []dev.Element{full, full}); status.Of(err, 0) != status.MediaRequest || !strings.Contains(err.Error(), "2 cartridges and no barcode") {
		t.Errorf("no labels: %v", err)
	}
	named := full
	named.Barcode = "CAP001L9"
	if err := errors.Join(labelled("robot1", []dev.Element{full, named}), labelled("robot1", drivesAt("A")[:1])); err != nil {
		t.Error(err)
	}
}
