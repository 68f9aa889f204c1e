package image_test

import (
	"strings"
	"testing"

	"capstan/core/image"
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
