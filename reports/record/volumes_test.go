package record

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"capstan/core/nbemm"
)

// What counts as in use is what has images and can come free again.
func TestInUse(t *testing.T) {
	const week = 7 * 24 * time.Hour
	all := []nbemm.Media{
		{ID: "A1", Library: "lib", Pool: "Default", Images: 3, Assigned: noon, Expires: noon.Add(week), Retention: week, Full: true},
		{ID: "A2", Library: "lib", Pool: "Default", Images: 1, Assigned: noon}, // for ever
		{ID: "A3", Library: "lib", Pool: nbemm.Scratch},
		{ID: "A4", Library: "lib", Pool: "Default", Images: 1, Frozen: true},
		{ID: "A5", Pool: "Default", Images: 1},
		{ID: "CLN", Library: "lib", Pool: nbemm.CleaningPool, Images: 1},
		{ID: "A6", Library: "lib", Pool: "Default", Images: 1, Assigned: noon, Expires: noon.Add(week), Retention: week, Suspended: true},
	}
	got, err := InUse(func(fn func(m nbemm.Media)) error {
		for i := range all {
			fn(all[i])
		}
		return nil
	})
	want := []Cartridge{
		{Library: "lib", Taken: noon, Frees: noon.Add(week), Kept: week, Full: true},
		{Library: "lib", Taken: noon},
		{Library: "lib", Taken: noon, Frees: noon.Add(week), Kept: week, Full: true}, // nothing more is written to it
	}
	if d := cmp.Diff(want, got); d != "" || err != nil {
		t.Errorf("(-want +got):\n%s%v", d, err)
	}
}
