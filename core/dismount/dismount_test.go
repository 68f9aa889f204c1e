package dismount_test

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"capstan/core/dismount"
)

func TestPolicy(t *testing.T) {
	for _, c := range []struct {
		text   string
		policy dismount.Policy
		stays  bool
		delay  time.Duration
	}{
		{"immediate", dismount.Immediate, false, 0},
		{"lru", dismount.LRU, true, 0},
		{"delay=5m0s", dismount.Policy(5 * time.Minute), true, 5 * time.Minute},
	} {
		p, err := dismount.Parse(c.text)
		if stays, d := p.Stays(); err != nil || p != c.policy || p.String() != c.text || stays != c.stays || d != c.delay {
			t.Errorf("%s: %v (%v), stays %v for %v", c.text, p, err, stays, d)
		}
	}
	for _, bad := range []string{"", "never", "delay", "delay=", "delay=0s", "delay=-5s", "delay=5", "300s", "LRU", "delay=9223372036854775807ns"} {
		if p, err := dismount.Parse(bad); err == nil {
			t.Errorf("%q is taken for %v", bad, p)
		}
	}
}

func TestEveryPolicyIsReadAsWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := dismount.Policy(rapid.Int64Min(0).Draw(t, "stay"))
		if got, err := dismount.Parse(p.String()); err != nil || got != p {
			t.Fatalf("%v is read as %v (%v)", p, got, err)
		}
	})
}

func TestChoose(t *testing.T) {
	a, b, c := dismount.Drive{Name: "a", Media: "X", LastUsed: 1}, dismount.Drive{Name: "b", Media: "Y", LastUsed: 2}, dismount.Drive{Name: "c", LastUsed: 3}
	for _, x := range []struct {
		rule   string
		drives []dismount.Drive
		media  string
		want   int
	}{
		{"the one that has it", []dismount.Drive{a, b, c}, "Y", 1},
		{"else an empty one", []dismount.Drive{a, b, c}, "Z", 2},
		{"else the least recently used", []dismount.Drive{b, a}, "Z", 1},
		{"of equals the first by name", []dismount.Drive{{Name: "q"}, {Name: "p"}}, "Z", 1},
		{"an empty one before another for no cartridge at all", []dismount.Drive{a, c}, "", 1},
		{"none", nil, "Z", -1},
	} {
		if got := dismount.Choose(x.drives, x.media); got != x.want {
			t.Errorf("%s: %d, want %d", x.rule, got, x.want)
		}
	}
}
