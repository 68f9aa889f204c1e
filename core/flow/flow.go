// Package flow is the order that the process flow demands of a job, as a check
// on the job's trace: the same for the virtual world and the real one, for tape
// and for disk.
package flow

import (
	"fmt"
	"maps"
	"slices"

	"capstan/core/trace"
)

// Kind says what order a job's trace is checked against.
type Kind struct {
	Restore bool
	Tape    bool
}

// span is a step's first beginning and last end among the events that succeeded.
type span struct {
	begin, end trace.Stamp
	seen       bool
}

// Check returns what is wrong with the trace of one job that ran well: steps that
// did not happen, roles that did not act, and steps out of order. Events come in
// any order.
func Check(events []trace.Event, k Kind) []string {
	c := checker{steps: map[string]span{}, events: events}
	for _, e := range events {
		if e.Step == "" || e.Status != 0 && e.Status != 1 {
			continue
		}
		c.add(e.Step, e)
		switch e.What {
		case "position", "disk ready":
			c.add("positioned", e)
		case "ltid.Unmount":
			c.add("unmount", e)
		case "nbjm.MediaDone":
			c.add("media done", e)
		case "bpdbm.AddFiles", "bpbrm.Files":
			c.add("information", e)
		}
	}
	if k.Restore {
		c.restore(k.Tape)
	} else {
		c.backup(k.Tape)
	}
	return c.wrong
}

type checker struct {
	events []trace.Event
	steps  map[string]span
	wrong  []string
}

func (c *checker) add(name string, e trace.Event) {
	s, ok := c.steps[name]
	if !ok || e.Begin.Compare(s.begin) < 0 {
		s.begin = e.Begin
	}
	if !ok || e.End.Compare(s.end) > 0 {
		s.end = e.End
	}
	s.seen = true
	c.steps[name] = s
}

func (c *checker) fail(format string, args ...any) {
	c.wrong = append(c.wrong, fmt.Sprintf(format, args...))
}

// before checks that each step ends before the next begins.
func (c *checker) before(names ...string) {
	for i := 1; i < len(names); i++ {
		a, b := c.steps[names[i-1]], c.steps[names[i]]
		switch {
		case !a.seen:
			c.fail("%s did not happen", names[i-1])
		case !b.seen:
			c.fail("%s did not happen", names[i])
		case a.end.Compare(b.begin) >= 0:
			c.fail("%s ends at %v, after %s has begun at %v", names[i-1], a.end, names[i], b.begin)
		}
	}
}

func (c *checker) happened(prefix string, n int) {
	for i := 1; i <= n; i++ {
		if name := fmt.Sprintf("%s%d", prefix, i); !c.steps[name].seen {
			c.fail("%s did not happen", name)
		}
	}
}

// acted checks that a role had a part in a step, by acting or by being called.
func (c *checker) acted(step string, roles ...string) {
	for _, role := range roles {
		found := false
		for _, e := range c.events {
			if e.Step == step && (e.Role == role || roleAt(e.To) == role || startOf(e.What) == role) {
				found = true
				break
			}
		}
		if !found {
			c.fail("%s: %s had no part in it", step, role)
		}
	}
}

// mounted checks the roles of a mount. The robot has no part in it if the cartridge
// was in the drive already.
func (c *checker) mounted(step string) {
	c.acted(step, "ltid", "txxd", "avrd")
	if !slices.ContainsFunc(c.events, func(e trace.Event) bool { return e.Step == step && e.What == trace.There }) {
		c.acted(step, "txxcd")
	}
}

// allActed checks the roles of every step, in the steps' order.
func (c *checker) allActed(of map[string][]string) {
	for _, step := range slices.Sorted(maps.Keys(of)) {
		c.acted(step, of[step]...)
	}
}

// roleAt is the role of an address "host/role/…".
func roleAt(addr string) string {
	part := 0
	start := 0
	for i := 0; i <= len(addr); i++ {
		if i == len(addr) || addr[i] == '/' {
			if part == 1 {
				return addr[start:i]
			}
			part++
			start = i + 1
		}
	}
	return ""
}

// startOf is the role in "start role on host".
func startOf(what string) string {
	var role, on, host string
	if n, _ := fmt.Sscanf(what, "start %s %s %s", &role, &on, &host); n == 3 && on == "on" {
		return role
	}
	return ""
}

func (c *checker) backup(tape bool) {
	c.happened("B", 17)
	c.before("B1", "B2", "B3", "B4", "B5", "B6", "B7", "B8", "B9", "B10")
	c.before("positioned", "B12", "B13", "B14")
	c.before("B8", "information", "B15")
	c.before("B13", "B15", "B16", "B17")
	c.before("B14", "B16")
	c.allActed(backupRoles)
	if tape {
		c.mounted("B10")
	}
}

func (c *checker) restore(tape bool) {
	c.happened("R", 17)
	c.before("R1", "R2", "R3", "R4", "R5", "R6", "R7", "R9", "R10", "R11", "R12", "R13", "R14", "R15", "R16")
	c.before("R15", "R17")
	c.before("R6", "R8", "R14")
	c.before("positioned", "R13")
	c.allActed(restoreRoles)
	if tape {
		c.acted("R4", "bprd")
		c.mounted("R12")
		c.before("unmount", "media done")
	}
}

// The roles that the flow names for each step.
var (
	backupRoles = map[string][]string{
		"B1": {"nbpem", "nbjm"}, "B2": {"nbjm", "bpjobd"}, "B3": {"nbjm", "nbrb"}, "B4": {"nbrb", "nbemm"},
		"B5": {"nbrb", "nbjm", "bpjobd"}, "B6": {"nbjm", "nbproxy", "bpdbm"}, "B7": {"nbjm", "bpcompatd", "bpbrm"},
		"B8": {"bpbrm", "bpbkar", "bptm"}, "B9": {"bptm", "nbjm"}, "B10": {"bptm"}, "B11": {"bpbkar", "bpbrm", "bpdbm"},
		"B12": {"bpbkar", "bptm"}, "B13": {"bptm", "bpbrm", "nbjm"}, "B14": {"nbjm", "bpjobd"},
		"B15": {"nbjm", "nbproxy", "bpdbm"}, "B16": {"nbjm", "nbrb", "nbemm"}, "B17": {"nbjm", "nbpem"},
	}
	restoreRoles = map[string][]string{
		"R1": {"bprestore", "bprd"}, "R2": {"bprd", "bpdbm"}, "R3": {"bprd", "bpjobd"}, "R4": {"bprd"}, "R5": {"bprd", "bpbrm"},
		"R6": {"bpbrm", "bptm"}, "R7": {"bptm", "nbjm"}, "R8": {"bpbrm", "tar", "bptm"}, "R9": {"nbjm", "nbrb"}, "R10": {"nbrb", "nbemm"},
		"R11": {"nbrb", "nbjm", "bptm"}, "R12": {"bptm"}, "R13": {"bptm"}, "R14": {"bptm", "tar"}, "R15": {"bptm", "nbjm"},
		"R16": {"nbjm", "nbrb", "nbemm"}, "R17": {"bpbrm", "bprd", "bpjobd"},
	}
)
