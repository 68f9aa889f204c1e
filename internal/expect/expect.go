// Package expect compares what came out of a scenario, in either world, with what
// its file expects: [Check] takes an [Outcome] and gives the differences.
package expect

import (
	"cmp"
	"fmt"
	"path"
	"strconv"
	"strings"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"capstan/core/dev"
	"capstan/core/flow"
	"capstan/core/image"
	"capstan/core/job"
	"capstan/core/nbemm"
	"capstan/core/policy"
	"capstan/core/rt"
	"capstan/core/trace"
	"capstan/scenarios"
)

// Outcome is what came out of a run.
type Outcome struct {
	Start  rt.Time
	Jobs   []job.Job
	Logs   map[int64][]job.Line // by job; needed if [NeedsLogs]
	Events []trace.Event        // needed if [NeedsEvents]
	Images []image.Header       // complete ones
	Media  []nbemm.Media
	Drives []dev.DriveStats
	// Real says that this is the real world: times are not those of the scenario,
	// and what the drives did is not known, so bounds on either hold whatever came.
	Real bool
}

// NeedsEvents tells whether the trace is needed to check s.
func NeedsEvents(s *scenarios.Scenario) bool {
	return needs(s, func(e *scenarios.Expect) bool { return e.Event != "" || e.Steps != "" })
}

// NeedsLogs tells whether the jobs' logs are needed to check s.
func NeedsLogs(s *scenarios.Scenario) bool {
	return needs(s, func(e *scenarios.Expect) bool { return e.Log != "" || e.Waiting != "" })
}

func needs(s *scenarios.Scenario, what func(*scenarios.Expect) bool) bool {
	for i := range s.Expect {
		if what(&s.Expect[i]) {
			return true
		}
	}
	return false
}

// Failure is an expectation that does not hold.
type Failure struct {
	Where string // file:line:column of the expectation
	What  string // its subject, in words
	// Want and Got are what was expected and what came, by what it is of.
	Want, Got map[string]string
	// See lists what there was, where that helps.
	See []string
}

// String says it in several lines, the difference in the form of go-cmp.
func (f Failure) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s (-want +got):\n", f.Where, f.What)
	// go-cmp varies its blanks, to keep programs from reading them.
	b.WriteString(strings.ReplaceAll(strings.TrimSuffix(gocmp.Diff(f.Want, f.Got), "\n"), "\u00a0", " "))
	for i, line := range f.See {
		if i == maxSee {
			fmt.Fprintf(&b, "\n  and %d more", len(f.See)-i)
			break
		}
		b.WriteString("\n  " + line)
	}
	return b.String()
}

// maxSee is how many lines of what there was are shown.
const maxSee = 12

// Check gives what was expected and did not come; places tells where in the
// scenario's file its expectations stand.
func Check(s *scenarios.Scenario, places scenarios.Places, o *Outcome) []Failure {
	var failures []Failure
	for i := range s.Expect {
		if e := &s.Expect[i]; o.unchecked(e) {
			continue
		}
		c := &check{Expect: &s.Expect[i], o: o, f: Failure{
			Where: places.Of(fmt.Sprintf("expect[%d]", i)), Want: map[string]string{}, Got: map[string]string{},
		}}
		c.run()
		if !gocmp.Equal(c.f.Want, c.f.Got) {
			failures = append(failures, c.f)
		}
	}
	return failures
}

// Unchecked is how many expectations [Check] leaves out in a world, all or in part.
func Unchecked(s *scenarios.Scenario, o *Outcome) (n int) {
	for i := range s.Expect {
		if e := &s.Expect[i]; o.unchecked(e) || o.Real && e.Timed() {
			n++
		}
	}
	return n
}

func (o *Outcome) unchecked(e *scenarios.Expect) bool {
	if o.Real {
		return e.World == "virtual" || e.Mounts != ""
	}
	return e.World == "real"
}

// check is the check of one expectation.
type check struct {
	*scenarios.Expect
	o *Outcome
	f Failure
}

func (c *check) run() {
	switch c.Subject() {
	case "jobs":
		c.jobs()
	case "steps":
		c.steps()
	case "event":
		c.events()
	case "mounts":
		c.mounts()
	case "images":
		c.images()
	case "media":
		c.media()
	}
}

// differ notes a difference.
func (c *check) differ(of, want, got string) { c.f.Want[of], c.f.Got[of] = want, got }

// counted checks a number; see lists what there is instead.
func (c *check) counted(of string, n int, see []string) {
	if !c.Count.Has(n) {
		c.differ(of, c.Count.String(), strconv.Itoa(n))
		c.f.See = see
	}
}

// of says in words to what the subject was narrowed down.
func (c *check) of(subject string) string {
	for _, n := range []struct{ word, value string }{
		{" of policy ", c.Policy}, {" of client ", c.Client}, {" of pool ", c.Pool},
		{" of step ", c.Step}, {" by role ", c.Role}, {" on host ", c.Host},
	} {
		if n.value != "" {
			subject += n.word + n.value
		}
	}
	return subject
}

// mine tells whether a job is of the kind, policy and client that are meant.
func (c *check) mine(j *job.Job) bool {
	kind := strings.ToLower(string(j.Type))
	return (c.Jobs == "" || c.Jobs == "any" || c.Jobs == kind) && (c.Policy == "" || c.Policy == j.Policy) && (c.Client == "" || c.Client == j.Client)
}

func name(j *job.Job) string {
	return fmt.Sprintf("job %d, %s of %s", j.ID, strings.ToLower(string(j.Type)), j.Client)
}

func (c *check) jobs() {
	kind := c.Jobs
	if kind == "any" {
		kind = "all"
	}
	c.f.What = c.of(kind+" jobs") + " with status " + c.Status.String()
	n := 0
	var see []string
	for i := range c.o.Jobs {
		j := &c.o.Jobs[i]
		if !c.mine(j) {
			continue
		}
		see = append(see, c.line(j))
		if c.Status != "any" && (!j.Done() || !c.Status.Has(int(j.Status))) {
			continue
		}
		n++
		c.job(j)
	}
	c.counted("jobs", n, see)
}

// line is a job in a line.
func (c *check) line(j *job.Job) string {
	s := fmt.Sprintf("%s by policy %s: %s", name(j), cmp.Or(j.Policy, "none"), j.State)
	if j.Done() {
		s += fmt.Sprintf(" with status %d after %s", j.Status, c.after(j.Ended))
	}
	if j.Detail != "" {
		s += ", " + j.Detail
	}
	if j.Waiting != "" {
		s += ", waits: " + j.Waiting
	}
	return s
}

// after is a time since the start, to the second.
func (c *check) after(t rt.Time) string {
	return scenarios.Duration(t.Sub(c.o.Start).Round(time.Second)).String()
}

// job checks what must hold of each job.
func (c *check) job(j *job.Job) {
	if limit := c.EndBy; limit != 0 && !c.o.Real {
		switch {
		case !j.Done():
			c.differ(name(j), "ended by "+limit.String(), "is "+string(j.State))
		case j.Ended.Sub(c.o.Start) > limit.Std():
			c.differ(name(j), "ended by "+limit.String(), "ended after "+c.after(j.Ended))
		}
	}
	if limit := c.WaitAtMost; limit != 0 && !c.o.Real {
		if waited, ended := c.waited(j); waited > limit.Std() || !ended {
			c.differ(name(j)+" waited", "at most "+limit.String(), scenarios.Duration(waited.Round(time.Second)).String())
		}
	}
	if !strings.Contains(j.Detail, c.Detail) {
		c.differ(name(j)+": detail", "… "+c.Detail+" …", j.Detail)
	}
	c.logged(j, "log", c.Log)
	if !strings.Contains(j.Waiting, c.Waiting) {
		c.logged(j, "waited for", c.Waiting)
	}
}

// waited is how long a job had no resources, and whether that is over.
func (c *check) waited(j *job.Job) (time.Duration, bool) {
	until := cmp.Or(j.Started, j.Ended)
	return until.Sub(j.Created), until != 0
}

// logged checks that a job's log has a line with a text.
func (c *check) logged(j *job.Job, what, text string) {
	if text == "" {
		return
	}
	lines := c.o.Logs[j.ID]
	for i := range lines {
		if strings.Contains(lines[i].Text, text) {
			return
		}
	}
	c.differ(name(j)+": "+what, "… "+text+" …", fmt.Sprintf("%d lines without it", len(lines)))
	for i := range lines {
		c.f.See = append(c.f.See, lines[i].Text)
	}
}

// steps checks the order of the flow. A job that went on to another volume asks,
// mounts and positions again: the order is that of one volume. An import is no job of
// the flow.
func (c *check) steps() {
	c.f.What = c.of("steps") + " in order"
	n := 0
	for i := range c.o.Jobs {
		j := &c.o.Jobs[i]
		if !c.mine(j) || !j.Done() || !j.Status.Succeeded() || len(j.Media) > 1 || j.Type == job.Import {
			continue
		}
		n++
		var events []trace.Event
		for k := range c.o.Events {
			if e := &c.o.Events[k]; e.Job.ID == j.ID && e.Job.Try == max(j.Try, 1) {
				events = append(events, *e)
			}
		}
		kind := flow.Kind{Restore: j.Type == job.Restore, Tape: len(j.Media) > 0}
		if wrong := flow.Check(events, kind); len(wrong) > 0 {
			c.differ(name(j), "in order", strings.Join(wrong, "; "))
		}
	}
	if n == 0 {
		c.differ("jobs that succeeded on one volume", "at least 1", "0")
	}
}

func (c *check) events() {
	c.f.What = c.of("events " + c.Event)
	n := 0
	var see []string
	for i := range c.o.Events {
		e := &c.o.Events[i]
		if !like(c.Event, e.What) || !like(c.Step, e.Step) || !like(c.Role, e.Role) || !like(c.Host, e.Host) {
			continue
		}
		n++
		see = append(see, fmt.Sprintf("%s: %s %s on %s for job %d, status %d %s", c.after(e.Begin.Wall), e.Step, e.What, e.Host, e.Job.ID, e.Status, e.Detail))
	}
	c.counted("events", n, see)
}

// like tells whether s matches a pattern, which the loader has checked; none is
// matched by all. "/" is a letter like any other.
func like(pattern, s string) bool {
	slash := strings.NewReplacer("/", "\x00")
	ok, err := path.Match(slash.Replace(pattern), slash.Replace(s))
	return pattern == "" || ok && err == nil
}

func (c *check) mounts() {
	c.f.What = "mounts of drives " + c.Mounts
	n := 0
	for i := range c.o.Drives {
		d := &c.o.Drives[i]
		if like(c.Mounts, d.Name) {
			n++
			c.counted(d.Name, int(d.Mounts), nil)
		}
	}
	if n == 0 {
		c.differ("drives", c.Mounts, "none")
	}
}

// types are the types of image by the name that a scenario gives them.
var types = map[string]policy.Type{"full": policy.Full, "differential": policy.Differential}

func (c *check) images() {
	c.f.What = c.of(c.Images + " images")
	n := 0
	var see []string
	for i := range c.o.Images {
		h := &c.o.Images[i]
		if (c.Policy == "" || c.Policy == h.Policy) && (c.Client == "" || c.Client == h.Client) {
			see = append(see, fmt.Sprintf("%s: %s of policy %s, %d bytes", h.ID, h.Type, h.Policy, h.Bytes))
			if want, typed := types[c.Images]; !typed || h.Type == string(want) {
				n++
			}
		}
	}
	c.counted("images", n, see)
}

func (c *check) media() {
	c.f.What = c.of(c.Media + " cartridges")
	n := 0
	var see []string
	for i := range c.o.Media {
		m := &c.o.Media[i]
		if c.Pool != "" && c.Pool != m.Pool && (c.Pool != scenarios.DefaultPool || m.Pool != nbemm.DefaultPool) {
			continue
		}
		see = append(see, fmt.Sprintf("%s in pool %s: %d images, %d bytes, full %v", m.ID, m.Pool, m.Images, m.Bytes, m.Full))
		if c.Media == "any" || c.Media == "full" && m.Full || c.Media == "written" && m.Images > 0 || c.Media == "scratch" && m.Pool == nbemm.Scratch {
			n++
		}
	}
	c.counted("cartridges", n, see)
}
