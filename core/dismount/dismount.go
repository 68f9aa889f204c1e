// Package dismount decides how long a cartridge stays in a drive after its use, and
// which drive a request gets when some hold cartridges that nobody uses: ltid
// and nbemm do as it says, and a replay of mount requests asks it, too.
//
// Operators know the delay as the media unmount delay.
package dismount

import (
	"cmp"
	"fmt"
	"strings"
	"time"
)

// Policy is how long a cartridge stays in its drive after its use. The zero value
// is not at all. It is written "immediate", "delay=300s", or "lru": until
// the drive is needed for another one, and then the least recently used drive is taken.
type Policy time.Duration

const (
	// Immediate is the policy of no stay.
	Immediate Policy = 0
	// LRU is the policy of a stay until the drive is needed.
	LRU Policy = 1<<63 - 1
)

// Parse reads the written form.
func Parse(s string) (Policy, error) {
	switch s {
	case "immediate":
		return Immediate, nil
	case "lru":
		return LRU, nil
	}
	text, found := strings.CutPrefix(s, "delay=")
	d, err := time.ParseDuration(text)
	if !found || err != nil || d <= 0 || Policy(d) == LRU {
		return Immediate, fmt.Errorf("%q is no dismount policy; expected immediate, lru, or such as delay=300s", s)
	}
	return Policy(d), nil
}

func (p Policy) String() string {
	switch p {
	case Immediate:
		return "immediate"
	case LRU:
		return "lru"
	}
	return "delay=" + time.Duration(p).String()
}

// UnmarshalText reads the written form.
func (p *Policy) UnmarshalText(b []byte) (err error) {
	*p, err = Parse(string(b))
	return err
}

// MarshalText writes the form that UnmarshalText reads.
func (p Policy) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// Stays tells whether a cartridge stays in its drive after its use, and for how
// long; a time of 0 is until the drive is needed.
func (p Policy) Stays() (stays bool, d time.Duration) {
	if p == LRU {
		return true, 0
	}
	return p > 0, time.Duration(p)
}

// Drive is a drive that nobody uses.
type Drive struct {
	Name     string
	Media    string // in it; "" is none
	LastUsed int64  // on any clock that all share
}

// Choose is the index of the drive that a request for a cartridge gets: the one that has
// it, else an empty one, else one whose cartridge must make room; of several
// the least recently used, then the first by name. It is -1 if there is none.
func Choose(drives []Drive, media string) int {
	best := -1
	for i := range drives {
		if best < 0 || drives[i].before(&drives[best], media) {
			best = i
		}
	}
	return best
}

// before tells whether d is to be chosen rather than e.
func (d *Drive) before(e *Drive, media string) bool {
	return cmp.Or(cmp.Compare(d.rank(media), e.rank(media)), cmp.Compare(d.LastUsed, e.LastUsed), strings.Compare(d.Name, e.Name)) < 0
}

func (d *Drive) rank(media string) int {
	switch d.Media {
	case media:
		return 0
	case "":
		return 1
	}
	return 2
}
