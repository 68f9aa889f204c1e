package changer

import (
	"fmt"
	"strings"
)

// Quirks are what a changer does otherwise than others and does not say. What it
// refuses in so many words is learnt from the refusal: that it has no volume tags, no
// identifiers, not both in one command, no range. And a changer that ignores the
// number of elements it is asked for, or adds bytes to its descriptors, needs none.
type Quirks struct {
	NoIDs    bool // DVCID must not be asked for
	ApartIDs bool // volume tags and DVCID must not be asked for in one command
	NoTags   bool // volume tags must not be asked for
}

// table has every quirk by the name that the configuration gives it, with its reason.
func table() []struct {
	name, reason string
	set          func(q *Quirks)
} {
	return []struct {
		name, reason string
		set          func(q *Quirks)
	}{
		{"no-dvcid", "older than the bit: instead of refusing, such a changer answers nothing that can be used, or is busy for minutes",
			func(q *Quirks) { q.NoIDs = true }},
		{"dvcid-apart", "asked for volume tags and identifiers together, such a changer answers with descriptors whose parts do not stand where they should",
			func(q *Quirks) { q.ApartIDs = true }},
		{"no-volume-tags", "a library without a reader of labels that answers with tags of rubbish",
			func(q *Quirks) { q.NoTags = true }},
	}
}

// ParseQuirks makes quirks of their names.
func ParseQuirks(names []string) (Quirks, error) {
	var q Quirks
	for _, name := range names {
		found := false
		var known []string
		for _, r := range table() {
			known = append(known, r.name)
			if r.name == name {
				r.set(&q)
				found = true
			}
		}
		if !found {
			return q, fmt.Errorf("there is no quirk %q: there are %s", name, strings.Join(known, ", "))
		}
	}
	return q, nil
}
