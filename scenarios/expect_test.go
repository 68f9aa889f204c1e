package scenarios

import (
	"slices"
	"testing"
)

func TestCount(t *testing.T) {
	for text, want := range map[string][]int{
		"": {1, 2, 3, 4, 5}, "at least 1": {1, 2, 3, 4, 5}, "at least 4": {4, 5}, "at least 0": {0, 1, 2, 3, 4, 5},
		"0": {0}, "3": {3}, "1-4": {1, 2, 3, 4}, "0-1": {0, 1}, "2-2": {2}, "9": nil,
	} {
		var got []int
		for n := range 6 {
			if Count(text).Has(n) {
				got = append(got, n)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("count %q: %v, want %v", text, got, want)
		}
	}
	for _, text := range []string{"", "4-1", "-1", "1-", "at least", "at least 1-2", "at most 3", "many", "1.5", "10000000000"} {
		var c Count
		if err := c.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("count %q is taken", text)
		}
	}
}

func TestStatuses(t *testing.T) {
	for text, want := range map[string][]int{
		"": {0}, "0": {0}, "1": {1}, "40 or 50": {40, 50}, "0 or 1": {0, 1}, "failed": {40, 50, 196}, "any": {0, 1, 40, 50, 196},
	} {
		var got []int
		for _, code := range []int{0, 1, 40, 50, 196} {
			if Statuses(text).Has(code) {
				got = append(got, code)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("status %q: %v, want %v", text, got, want)
		}
	}
	for _, text := range []string{"", "ok", "40,50", "40 or", "040", "12345", "failed or 0", "-1"} {
		var s Statuses
		if err := s.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("status %q is taken", text)
		}
	}
}

// An expectation's subject is the field that it has.
func TestSubject(t *testing.T) {
	for want, e := range map[string]Expect{
		"jobs": {Jobs: "any"}, "steps": {Steps: "in order"}, "event": {Event: "*"}, "mounts": {Mounts: "*"}, "images": {Images: "any"},
		"media": {Media: "any"}, "": {Client: "web1"},
	} {
		if got := e.Subject(); got != want {
			t.Errorf("subject %q, want %q", got, want)
		}
	}
}
