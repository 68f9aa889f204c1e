package image_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"capstan/core/image"
	"capstan/core/store"
	"capstan/sim/simtest"
	simstore "capstan/sim/store"
)

func TestParseID(t *testing.T) {
	for _, want := range []struct {
		client string
		time   int64
	}{{"alpha", 1_700_000_000}, {"a_b.example_1", 5}, {"x", 99_999_999_999}} {
		client, at, err := image.ParseID(image.MakeID(want.client, want.time))
		if err != nil || client != want.client || at != want.time {
			t.Errorf("%+v became %q, %d, %v", want, client, at, err)
		}
	}
	for _, id := range []string{"", "alpha", "_1700000000", "alpha_", "alpha_1", "alpha_+000000001", "alpha_-000000001", "alpha_17000000001700000000000", "alpha_0x00000001"} {
		if client, at, err := image.ParseID(id); err == nil {
			t.Errorf("%q became %q, %d", id, client, at)
		}
	}
}

func TestCheckNames(t *testing.T) {
	good := image.Header{Client: "alpha", Policy: "docs of .x", Type: "FULL"}
	if err := good.CheckNames(); err != nil {
		t.Error(err)
	}
	for _, bad := range []string{"", ".", "..", ".hidden", "a/b", "../a", "a\x00", "a\nb", strings.Repeat("x", 256)} {
		for _, set := range []func(h *image.Header){
			func(h *image.Header) { h.Client = bad }, func(h *image.Header) { h.Policy = bad }, func(h *image.Header) { h.Type = bad },
		} {
			h := good
			if set(&h); h.CheckNames() == nil {
				t.Errorf("%+v was taken", h)
			}
		}
	}
}

// What is due is what is complete, does expire, and has: the oldest first.
func TestDue(t *testing.T) {
	simtest.Run(t, func(ctx context.Context) {
		db := simstore.NewDB(image.Table.Schema())
		if err := db.Update(ctx, func(tx store.Tx) error {
			for _, h := range []image.Header{
				{ID: "later", Complete: true, Expires: 11},
				{ID: "now", Complete: true, Expires: 10},
				{ID: "before", Complete: true, Expires: 9},
				{ID: "long before", Complete: true, Expires: -1},
				{ID: "never", Complete: true},
				{ID: "being written", Expires: 9},
			} {
				if err := image.Table.Put(tx, h.ID, h); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		var due []string
		if err := db.View(ctx, func(tx store.Tx) error {
			return image.Due(tx, 10, func(h image.Header) (bool, error) {
				due = append(due, h.ID)
				return true, nil
			})
		}); err != nil {
			t.Fatal(err)
		}
		if want := []string{"long before", "before", "now"}; !slices.Equal(due, want) {
			t.Errorf("due are %q, want %q", due, want)
		}
	})
}
