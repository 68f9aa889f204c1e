package media

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"capstan/core/archive/pax"
	"capstan/core/rt"
)

// Image is what the header of each fragment says of the image as a whole, so that a
// catalog that knows nothing of it can be given it back. Volumes that were written
// before headers said so have the zero Image.
type Image struct {
	Policy    string        `json:"policy"`
	Schedule  string        `json:"schedule,omitempty"`
	Type      string        `json:"type"`                // of the schedule: FULL, INCR
	Since     rt.Time       `json:"since,omitempty"`     // of an incremental: the backup it builds on
	Retention time.Duration `json:"retention,omitempty"` // 0 is for ever
	Expires   rt.Time       `json:"expires,omitempty"`   // as it was when the image was written; 0 is never
	// What was asked for. Lists too long for a header are left out.
	Paths   []string `json:"paths,omitempty"`
	Exclude []string `json:"exclude,omitempty"`
}

// ImageEnd is what is known of an image only when all of it was sent. The trailer of
// its last fragment says it.
type ImageEnd struct {
	Began  rt.Time `json:"began"` // when the client began to look at its files, by its own clock
	Files  int64   `json:"files"` // in it, directories included
	Status int     `json:"status"`
}

// listsShare is the part of a block that the lists of a header may take: a header
// must fit into a block, whatever a policy names.
const listsShare = 16

// fit leaves out what a header cannot hold: lists that are too long for a block, and
// all of it if a name has a line end.
func (i Image) fit(blockSize int) Image {
	if strings.ContainsAny(i.Policy+i.Schedule+i.Type, "\n\x00") {
		return Image{}
	}
	if listLen(i.Paths)+listLen(i.Exclude) <= blockSize/listsShare {
		return i
	}
	paths, err1 := json.Marshal(i.Paths)
	exclude, err2 := json.Marshal(i.Exclude)
	if err1 != nil || err2 != nil || len(paths)+len(exclude) > blockSize/listsShare {
		i.Paths, i.Exclude = nil, nil
	}
	return i
}

// listLen is what a list takes as JSON at most: of a byte it may make six.
func listLen(list []string) int {
	n := len("null")
	for _, s := range list {
		n += 6*len(s) + len(`"",`)
	}
	return n
}

// records adds what a header says of the image: nothing of the zero Image.
func (i *Image) records(recs []pax.Record) ([]pax.Record, error) {
	if i.Policy == "" {
		return recs, nil
	}
	recs = append(recs,
		pax.Record{Key: prefix + "policy", Value: i.Policy},
		pax.Record{Key: prefix + "schedule", Value: i.Schedule},
		pax.Record{Key: prefix + "type", Value: i.Type},
		pax.Record{Key: prefix + "since", Value: pax.FormatTime(i.Since)},
		pax.Record{Key: prefix + "retention", Value: pax.FormatTime(rt.Time(i.Retention))},
		pax.Record{Key: prefix + "expires", Value: pax.FormatTime(i.Expires)},
	)
	for _, l := range []struct {
		key  string
		list []string
	}{{prefix + "paths", i.Paths}, {prefix + "exclude", i.Exclude}} {
		if len(l.list) == 0 {
			continue
		}
		b, err := json.Marshal(l.list)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", l.key, err)
		}
		recs = append(recs, pax.Record{Key: l.key, Value: string(b)})
	}
	return recs, nil
}

// image reads what records wrote.
func (v *values) image() Image {
	if v.text("policy") == "" {
		return Image{}
	}
	i := Image{
		Policy: v.text("policy"), Schedule: v.text("schedule"), Type: v.text("type"), Since: v.time("since"),
		Retention: time.Duration(v.time("retention")), Expires: v.time("expires"),
		Paths: v.list("paths"), Exclude: v.list("exclude"),
	}
	if i.Retention < 0 && v.err == nil {
		v.err = fmt.Errorf("%w: its retention is negative", ErrDamaged)
	}
	return i
}

// list reads a list of texts; a record that is not there is an empty one.
func (v *values) list(key string) (all []string) {
	text := v.text(key)
	if text == "" {
		return nil
	}
	if err := json.Unmarshal([]byte(text), &all); err != nil && v.err == nil {
		v.err = fmt.Errorf("%w: its %s: %w", ErrDamaged, key, err)
	}
	if len(all) == 0 {
		return nil
	}
	return all
}
