package scenarios

import (
	"cmp"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Expect is a check at the end of a run. It has one subject — jobs, steps, event,
// mounts, images or media — which the other fields narrow down, and of which they
// say what must hold.
type Expect struct {
	// Subject: the jobs of a kind.
	Jobs string `yaml:"jobs,omitempty" oneof:"backup|restore|any" ex:"backup"`
	// Subject: the steps of the process flow. Each job that succeeded, on one volume, must have gone through all of them in the flow's order.
	Steps string `yaml:"steps,omitempty" oneof:"in order" ex:"in order"`
	// Subject: the events of the trace whose name matches this pattern.
	Event string `yaml:"event,omitempty" is:"glob" ex:"start bptm*"`
	// Subject: the mounts of each drive whose name matches this pattern.
	Mounts string `yaml:"mounts,omitempty" is:"glob" ex:"drive*"`
	// Subject: the images in the catalog, all or those of a type.
	Images string `yaml:"images,omitempty" oneof:"any|full|differential" ex:"any"`
	// Subject: the cartridges that are full, that hold images, that are in the scratch pool, or all.
	Media string `yaml:"media,omitempty" oneof:"any|full|written|scratch" ex:"scratch"`

	// Checked in this world only.
	World string `yaml:"world,omitempty" oneof:"virtual|real" ex:"virtual"`
	// Of jobs, steps and images: those of this policy.
	Policy string `yaml:"policy,omitempty" is:"name" ex:"home-to-tape"`
	// Of jobs, steps and images: those of this client.
	Client string `yaml:"client,omitempty" is:"name" ex:"web1"`
	// Of media: those of this pool.
	Pool string `yaml:"pool,omitempty" is:"name" ex:"Offsite"`
	// Of events: those of a step of the flow that matches this pattern.
	Step string `yaml:"step,omitempty" is:"glob" ex:"B12"`
	// Of events: those by a role that matches this pattern.
	Role string `yaml:"role,omitempty" is:"glob" ex:"bptm"`
	// Of events: those on a host that matches this pattern.
	Host string `yaml:"host,omitempty" is:"glob" ex:"media*"`
	// Of jobs: those that ended with such a status. A job that has not ended is any's only. Default: 0.
	Status Statuses `yaml:"status,omitempty" ex:"40 or 50"`

	// How many there are; of mounts, how many each drive has had. Default: at least 1.
	Count Count `yaml:"count,omitempty" ex:"3"`
	// Each of the jobs has ended by then, after the start.
	EndBy Duration `yaml:"endBy,omitempty" ex:"11h"`
	// Each of the jobs waited at most this long for its resources.
	WaitAtMost Duration `yaml:"waitAtMost,omitempty" ex:"2h"`
	// The detail of each of the jobs contains this text.
	Detail string `yaml:"detail,omitempty" ex:"no cartridge"`
	// The log of each of the jobs has a line that contains this text.
	Log string `yaml:"log,omitempty" ex:"begin writing"`
	// Each of the jobs was queued for a reason that contains this text.
	Waiting string `yaml:"waiting,omitempty" ex:"in use"`
}

// subjects are the fields of which an expectation has one, and those that each
// goes with.
var subjects = []struct {
	field string
	with  []string
	of    func(e *Expect) string
}{
	{"jobs", []string{"policy", "client", "status", "count", "endBy", "waitAtMost", "detail", "log", "waiting"}, func(e *Expect) string { return e.Jobs }},
	{"steps", []string{"policy", "client"}, func(e *Expect) string { return e.Steps }},
	{"event", []string{"step", "role", "host", "count"}, func(e *Expect) string { return e.Event }},
	{"mounts", []string{"count"}, func(e *Expect) string { return e.Mounts }},
	{"images", []string{"policy", "client", "count"}, func(e *Expect) string { return e.Images }},
	{"media", []string{"pool", "count"}, func(e *Expect) string { return e.Media }},
}

// Subject is the field that says what is expected.
func (e *Expect) Subject() string {
	for _, s := range subjects {
		if s.of(e) != "" {
			return s.field
		}
	}
	return ""
}

// Timed tells whether the check bounds the time that something takes.
func (e *Expect) Timed() bool { return e.EndBy != 0 || e.WaitAtMost != 0 }

// expectations checks what a scenario expects.
func (r *reader) expectations(s *Scenario, clients []string) {
	policies := namesOf(s.Policies, func(p Policy) string { return p.Name })
	for i := range s.Expect {
		e, at := &s.Expect[i], fmt.Sprintf("expect[%d]", i)
		r.refersTo(at+".client", "client", e.Client, clients)
		r.refersTo(at+".policy", "policy", e.Policy, policies)
		r.refersTo(at+".pool", "pool", e.Pool, poolNames(s.Pools))
		r.within(at+".endBy", e.EndBy, s)
		r.within(at+".waitAtMost", e.WaitAtMost, s)
		r.subject(at)
	}
}

// subject checks that an expectation has one subject, and only fields that go
// with it.
func (r *reader) subject(at string) {
	one := -1
	for i, s := range subjects {
		if !r.written(at + "." + s.field) {
			continue
		}
		if one >= 0 {
			r.say(at+"."+s.field, "a second subject beside %s; expected one of %s", subjects[one].field, strings.Join(subjectNames(), ", "))
			continue
		}
		one = i
	}
	if one < 0 {
		r.say(at, "says not of what; expected one of %s", strings.Join(subjectNames(), ", "))
		return
	}
	for _, other := range subjects {
		for _, field := range other.with {
			if r.written(at+"."+field) && !slices.Contains(subjects[one].with, field) {
				r.sayOnce(at+"."+field, "not for %s; expected only with %s", subjects[one].field, goesWith(field))
			}
		}
	}
}

func subjectNames() (names []string) {
	for _, s := range subjects {
		names = append(names, s.field)
	}
	return names
}

// goesWith are the subjects that a field goes with.
func goesWith(field string) string {
	var names []string
	for _, s := range subjects {
		if slices.Contains(s.with, field) {
			names = append(names, s.field)
		}
	}
	return strings.Join(names, ", ")
}

// sayOnce is say, unless that was said of the field.
func (r *reader) sayOnce(field, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	for _, m := range r.mistakes {
		if m.Field == field && m.Message == text {
			return
		}
	}
	r.say(field, "%s", text)
}

// Count is how many there shall be of something: "3", "1-4" or "at least 1",
// which is what "" means.
type Count string

func (c Count) String() string { return cmp.Or(string(c), "at least 1") }

var countForm = regexp.MustCompile(`^(?:at least ([0-9]{1,9})|([0-9]{1,9})(?:-([0-9]{1,9}))?)$`)

// bounds are the least and the greatest number.
func (c Count) bounds() (least, most int, ok bool) {
	m := countForm.FindStringSubmatch(c.String())
	if m == nil {
		return 0, 0, false
	}
	number := func(s string) int { n, _ := strconv.Atoi(s); return n } // at most nine digits
	switch {
	case m[1] != "":
		return number(m[1]), math.MaxInt, true
	case m[3] != "":
		return number(m[2]), number(m[3]), number(m[2]) <= number(m[3])
	}
	return number(m[2]), number(m[2]), true
}

// Has tells whether n is such a number.
func (c Count) Has(n int) bool {
	least, most, ok := c.bounds()
	return ok && n >= least && n <= most
}

// UnmarshalText reads the written form.
func (c *Count) UnmarshalText(b []byte) error {
	if _, _, ok := Count(b).bounds(); !ok || len(b) == 0 {
		return fmt.Errorf("%q is no number; expected one such as 3, 1-4, or at least 1", b)
	}
	*c = Count(b)
	return nil
}

// MarshalText writes the form that UnmarshalText reads.
func (c Count) MarshalText() ([]byte, error) { return []byte(c), nil }

// Statuses are some status codes: "0", "40 or 50", "failed" (every code but 0
// and 1), or "any". "" means 0.
type Statuses string

func (s Statuses) String() string { return cmp.Or(string(s), "0") }

var statusesForm = regexp.MustCompile(`^(any|failed|(0|[1-9][0-9]{0,3})( or (0|[1-9][0-9]{0,3}))*)$`)

// Has tells whether a job that ended with code is meant.
func (s Statuses) Has(code int) bool {
	switch s {
	case "any":
		return true
	case "failed":
		return code > 1
	}
	return slices.Contains(strings.Split(s.String(), " or "), strconv.Itoa(code))
}

// UnmarshalText reads the written form.
func (s *Statuses) UnmarshalText(b []byte) error {
	if !statusesForm.Match(b) {
		return fmt.Errorf("%q is no status; expected one such as 0, 40 or 50, or failed, or any", b)
	}
	*s = Statuses(b)
	return nil
}

// MarshalText writes the form that UnmarshalText reads.
func (s Statuses) MarshalText() ([]byte, error) { return []byte(s), nil }
