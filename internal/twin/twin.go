// Package twin plays one scenario in both worlds and compares them job by job: on real
// processes with the virtual library in wall-clock time (internal/rehearsal), and in
// virtual time with files of the same number and sizes (internal/virtual). What differs
// is the model's error.
package twin

import (
	"context"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"capstan/core/flow"
	"capstan/core/job"
	"capstan/core/trace"
	"capstan/internal/expect"
	"capstan/internal/rehearsal"
	"capstan/internal/virtual"
	"capstan/scenarios"
)

// Options say how the scenario is played.
type Options struct {
	Dir     string // empty, with a short path
	Command func(kind, config string) *exec.Cmd
	// Timing is how many times faster than the hardware the library is in both worlds;
	// 0 is [rehearsal.Timing].
	Timing int64
}

// Bounds within which the durations of a job agree: a part of the greater one, and what
// a machine needs to start the processes of a job.
const (
	part  = 0.05
	start = time.Second
)

// Pair is one job in both worlds.
type Pair struct {
	Real, Virtual Played
	Differs       []string // in what they do not agree
}

// Played is a job as one world played it.
type Played struct {
	job.Job
	Steps  []string // in the order in which they began
	Waited time.Duration
	Took   time.Duration // from its first resource to its end
	Mount  time.Duration // until its cartridge was ready, 0 for a disk
}

// Report is what came out.
type Report struct {
	Pairs []Pair
	// Alone are the jobs that only one of the worlds had.
	Alone []string
}

// Agree tells whether the worlds did the same.
func (r *Report) Agree() bool {
	return len(r.Alone) == 0 && !slices.ContainsFunc(r.Pairs, func(p Pair) bool { return len(p.Differs) > 0 })
}

// Refuses says why a scenario cannot be played in both worlds; "" if it can.
func Refuses(s *scenarios.Scenario) string {
	if len(s.Faults) > 0 {
		return "it has faults, which come when a job is at work, and not at one time in both worlds"
	}
	return rehearsal.Refuses(s)
}

// Run plays a scenario that [Refuses] has nothing against.
func Run(ctx context.Context, s *scenarios.Scenario, o Options) (*Report, error) {
	played, err := rehearsal.Run(ctx, s, rehearsal.Options{Dir: o.Dir, Command: o.Command, Timing: o.Timing, Events: true})
	if err != nil {
		return nil, fmt.Errorf("the real world: %w", err)
	}
	simulated, err := virtual.ByHand(alike(s, played, o.Timing))
	if err != nil {
		return nil, fmt.Errorf("the virtual world: %w", err)
	}
	return compare(played.Outcome, simulated), nil
}

// alike is the scenario as the real world played it: the files that were generated, a
// library as fast, and disks and links that do not limit, as all are on one machine.
func alike(s *scenarios.Scenario, played *rehearsal.Result, timing int64) *scenarios.Scenario {
	c := *s
	c.Clients = s.EachClient()
	for i := range c.Clients {
		data := played.Data[c.Clients[i].Data.Root]
		c.Clients[i].Data = &data
		c.Clients[i].Link, c.Clients[i].PerConnection, c.Clients[i].Disk = 0, 0, 0
	}
	c.Libraries = slices.Clone(s.Libraries)
	if timing == 0 {
		timing = rehearsal.Timing
	}
	c.Libraries[0].Timing = scenarios.Timing(timing)
	c.MediaServers = slices.Clone(s.MediaServers)
	c.MediaServers[0].Link, c.MediaServers[0].Disk = 0, 0
	c.Master.Link, c.Master.Disk = 0, 0
	return &c
}

// key is what makes a job of one world that of the other: the nth of its kind.
type key struct {
	kind           job.Type
	policy, client string
	n              int
}

func byKey(o *expect.Outcome) (order []key, jobs map[key]Played) {
	jobs = map[key]Played{}
	for _, j := range o.Jobs {
		k := key{j.Type, j.Policy, j.Client, 0}
		for _, seen := jobs[k]; seen; _, seen = jobs[k] {
			k.n++
		}
		order = append(order, k)
		jobs[k] = play(j, o.Events)
	}
	return order, jobs
}

func play(j job.Job, events []trace.Event) Played {
	p := Played{Job: j, Waited: j.Started.Sub(j.Created), Took: j.Ended.Sub(j.Started)}
	first := map[string]trace.Stamp{}
	for _, e := range events {
		if e.Job.ID != j.ID || e.Step == "" {
			continue
		}
		if at, seen := first[e.Step]; !seen || e.Begin.Compare(at) < 0 {
			first[e.Step] = e.Begin
		}
		if e.What == "ltid.Mount" {
			p.Mount += e.End.Wall.Sub(e.Begin.Wall)
		}
	}
	for step := range first {
		p.Steps = append(p.Steps, step)
	}
	slices.SortFunc(p.Steps, func(a, b string) int { return first[a].Compare(first[b]) })
	return p
}

// compare pairs the jobs.
func compare(played, simulated *expect.Outcome) *Report {
	r := &Report{}
	order, real := byKey(played)
	also, virt := byKey(simulated)
	for _, k := range order {
		v, ok := virt[k]
		if !ok {
			r.Alone = append(r.Alone, fmt.Sprintf("%s of %s by %s is of the real world only", k.kind, k.client, k.policy))
			continue
		}
		r.Pairs = append(r.Pairs, pair(real[k], v, played.Events, simulated.Events))
	}
	for _, k := range also {
		if _, ok := real[k]; !ok {
			r.Alone = append(r.Alone, fmt.Sprintf("%s of %s by %s is of the virtual world only", k.kind, k.client, k.policy))
		}
	}
	return r
}

// pair compares a job: its status, its steps and the order that the process flow demands
// of them, and how long it took.
func pair(real, virt Played, realEvents, virtualEvents []trace.Event) Pair {
	p := Pair{Real: real, Virtual: virt}
	if real.Status != virt.Status {
		p.Differs = append(p.Differs, fmt.Sprintf("status %d, virtual %d", real.Status, virt.Status))
	}
	if a, b := strings.Join(real.Steps, " "), strings.Join(virt.Steps, " "); a != b {
		p.Differs = append(p.Differs, fmt.Sprintf("steps %s, virtual %s", a, b))
	}
	if real.Status.Succeeded() {
		kind := flow.Kind{Restore: real.Type == job.Restore, Tape: len(real.Media) > 0}
		for _, wrong := range flow.Check(of(realEvents, real.ID), kind) {
			p.Differs = append(p.Differs, "real: "+wrong)
		}
		for _, wrong := range flow.Check(of(virtualEvents, virt.ID), kind) {
			p.Differs = append(p.Differs, "virtual: "+wrong)
		}
	}
	if d := real.Took - virt.Took; d.Abs() > start+time.Duration(part*float64(max(real.Took, virt.Took))) {
		p.Differs = append(p.Differs, fmt.Sprintf("took %v, virtual %v", real.Took.Round(time.Millisecond), virt.Took.Round(time.Millisecond)))
	}
	return p
}

func of(events []trace.Event, id int64) (its []trace.Event) {
	for _, e := range events {
		if e.Job.ID == id {
			its = append(its, e)
		}
	}
	return its
}

// Write writes a row for each job, and what differs below.
func (r *Report) Write(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "JOB\tTYPE\tCLIENT\tSTATUS\tVIRTUAL\tMOUNT\tVIRTUAL\tTOOK\tVIRTUAL\tDIFFERENCE\tWAITED\tVIRTUAL\t")
	for _, p := range r.Pairs {
		a, b := &p.Real, &p.Virtual
		fmt.Fprintf(t, "%d\t%s\t%s\t%d\t%d\t%s\t%s\t%s\t%s\t%+.2fs\t%s\t%s\t\n", a.ID, a.Type, a.Client, a.Status, b.Status,
			sec(a.Mount), sec(b.Mount), sec(a.Took), sec(b.Took), (a.Took - b.Took).Seconds(), sec(a.Waited), sec(b.Waited))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, line := range r.Alone {
		fmt.Fprintln(w, line)
	}
	for _, p := range r.Pairs {
		for _, d := range p.Differs {
			fmt.Fprintf(w, "job %d: %s\n", p.Real.ID, d)
		}
	}
	_, err := fmt.Fprintf(w, "statuses, order of steps, and times within %.0f %% + %v: %s\n", part*100, start, map[bool]string{true: "the worlds agree", false: "THEY DIFFER"}[r.Agree()])
	return err
}

func sec(d time.Duration) string { return fmt.Sprintf("%.2fs", d.Seconds()) }
