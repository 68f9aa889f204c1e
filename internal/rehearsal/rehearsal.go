// Package rehearsal runs a scenario in the real world: on a domain of processes
// on this machine (internal/real/loopback), with real files on virtual tape.
//
// A night takes seconds there: the clients' files are generated, scaled down; all
// policies' backups are started at once, without their windows; the faults come
// when what they hit is at work; then, if there were faults, the backups are
// started once more; then the restores run, and what they brought is compared
// with the files. [Refuses] says which scenarios cannot be run so.
package rehearsal

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"capstan/core/archive"
	"capstan/core/bprd"
	"capstan/core/bprestore"
	"capstan/core/nbpem"
	"capstan/core/pbx"
	"capstan/core/rt"
	"capstan/core/status"
	"capstan/internal/convert"
	"capstan/internal/expect"
	"capstan/internal/real/loopback"
	"capstan/internal/sametree"
	"capstan/scenarios"
)

// Options say how a scenario is run.
type Options struct {
	// Dir is an empty directory with a short path; what is in it after the run is
	// nobody's.
	Dir     string
	Command func(kind, config string) *exec.Cmd // as in [loopback.Options]
	Places  scenarios.Places
	// Timing is how many times faster than the hardware the library is; 0 is [Timing].
	Timing int64
	// Events has the outcome have the jobs' traces, also if the scenario expects nothing of them.
	Events bool
}

// Result is what came out.
type Result struct {
	Jobs    int
	Outcome *expect.Outcome // with the scenario's names of hosts
	// Data is what was generated for each client, by its root.
	Data      map[string]scenarios.Data
	Failed    []expect.Failure
	Unchecked int // expectations that were not checked, or in part
}

// Limits of what one machine plays.
const (
	maxClients = 6
	// Timing is how many times faster than the hardware the library is: slow enough
	// for a fault to hit a job that is at work.
	Timing = 20
	// started is how long a process is left alone before it is hit: a start that
	// fails is repeated, and would hide the fault.
	started = 400 * time.Millisecond
	// patience is how long the jobs of one round may take.
	patience = 3 * time.Minute
)

// Refuses says why a scenario cannot be run in the real world; "" if it can.
func Refuses(s *scenarios.Scenario) string {
	n := len(s.EachClient())
	switch {
	case n > maxClients:
		return fmt.Sprintf("%d clients are more daemons than one machine shall run, at most %d", n, maxClients)
	case len(s.MediaServers) != 1:
		return fmt.Sprintf("%d media servers: only one is run", len(s.MediaServers))
	case len(s.Libraries) != 1:
		return fmt.Sprintf("%d libraries: only a media server with one is run", len(s.Libraries))
	case len(s.Workload.Clients)+len(s.Workload.Restores)+len(s.Workload.Jobs) > 0:
		return "it has a workload: what clients hold is drawn, in the virtual world only"
	case s.Libraries[0].Cartridges.Capacity != 0:
		return "the files are scaled down, so cartridges would not become full"
	}
	for i := range s.Expect {
		if e := &s.Expect[i]; e.World != "virtual" && e.Jobs != "" && e.Status != "any" && e.Status.Has(int(status.WindowClosed)) && e.Status != "failed" {
			return "it is about a window that closes: backups are started by hand"
		}
	}
	for _, f := range s.Faults {
		host, _, _ := strings.Cut(f.Target, "/")
		switch {
		case f.Do != "kill" && f.Do != "crash":
			return "fault " + f.Do + ": processes are killed here, and daemons"
		case f.Do == "crash" && host == s.Master.Name:
			return "a crash of the master would end the rehearsal too"
		}
	}
	return ""
}

// rehearsal is one run.
type rehearsal struct {
	s      *scenarios.Scenario
	o      Options
	domain *loopback.Domain
	tree   string // of all clients' files
	data   map[string]scenarios.Data
	began  rt.Time
	jobs   []int64 // that were started
	failed []expect.Failure
}

// Run runs a scenario that [Refuses] has nothing against.
func Run(ctx context.Context, s *scenarios.Scenario, o Options) (res *Result, err error) {
	r := &rehearsal{s: s, o: o, tree: filepath.Join(o.Dir, "files")}
	if err := r.generate(); err != nil {
		return nil, fmt.Errorf("generating the clients' files: %w", err)
	}
	library, units, err := r.storage()
	if err != nil {
		return nil, err
	}
	var clients []string
	for _, c := range s.EachClient() {
		if c.Name != loopback.Client {
			clients = append(clients, c.Name)
		}
	}
	r.domain, err = loopback.New(ctx, loopback.Options{
		Dir: o.Dir, Command: o.Command, Library: library, Units: units, Clients: clients,
	})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.domain.Close()) }()
	session, err := r.domain.Session(ctx)
	if err != nil {
		return nil, err
	}
	return r.play(session.Context())
}

// storage is the scenario's library and storage units, as the domain has them.
func (r *rehearsal) storage() (scenarios.Library, []scenarios.StorageUnit, error) {
	l := r.s.Libraries[0]
	l.Host, l.Timing = "", scenarios.Timing(cmp.Or(r.o.Timing, Timing))
	l.Drives = slices.Clone(l.Drives)
	for i := range l.Drives {
		l.Drives[i].Host = "" // it is the only one
	}
	units := slices.Clone(r.s.StorageUnits)
	for i := range units {
		units[i].MediaServer = loopback.Media
		if units[i].Path == "" {
			continue
		}
		units[i].Path = filepath.Join(r.o.Dir, "disk", units[i].Name)
		if err := os.MkdirAll(units[i].Path, 0o700); err != nil {
			return l, nil, err
		}
	}
	return l, units, nil
}

func (r *rehearsal) play(ctx context.Context) (*Result, error) {
	r.began = rt.Now(ctx)
	for i := range r.s.Policies {
		p := convert.Policy(&r.s.Policies[i])
		p.Clients = r.s.ClientsOf(&r.s.Policies[i])
		p.Paths = r.below(p.Paths)
		for k := range p.Schedules {
			p.Schedules[k].Windows = nil // only by hand
		}
		if err := r.domain.PutPolicy(ctx, p); err != nil {
			return nil, err
		}
	}
	if err := r.backups(ctx); err != nil {
		return nil, err
	}
	for _, f := range r.s.Faults {
		if err := r.fault(ctx, f); err != nil {
			return nil, fmt.Errorf("fault %s %s: %w", f.Do, f.Target, err)
		}
	}
	err := r.settle(ctx)
	if err == nil && len(r.s.Faults) > 0 {
		if err = r.backups(ctx); err == nil {
			err = r.settle(ctx)
		}
	}
	for i := 0; err == nil && i < len(r.s.Restores); i++ {
		err = r.restore(ctx, i)
	}
	if err != nil {
		return nil, err
	}
	return r.judge(ctx)
}

// below are paths of the scenario's clients, where they are here.
func (r *rehearsal) below(paths []string) []string {
	all := make([]string, len(paths))
	for i, p := range paths {
		all[i] = filepath.Join(r.tree, p)
	}
	return all
}

// backups starts every policy's backups.
func (r *rehearsal) backups(ctx context.Context) error {
	for i := range r.s.Policies {
		if p := &r.s.Policies[i]; p.Active {
			ids, err := nbpem.BackupNow.Call(ctx, pbx.At(loopback.Master, nbpem.Service), nbpem.Backup{Policy: p.Name})
			if err != nil {
				return fmt.Errorf("backup of policy %s: %w", p.Name, err)
			}
			r.jobs = append(r.jobs, ids...)
		}
	}
	return nil
}

// settle waits until every job that was started has ended.
func (r *rehearsal) settle(ctx context.Context) error {
	ctx, cancel := rt.WithTimeout(ctx, patience)
	defer cancel()
	for _, id := range r.jobs {
		if _, err := r.domain.Wait(ctx, id, nil); err != nil {
			return fmt.Errorf("job %d has not ended after %v: %w", id, patience, err)
		}
	}
	return nil
}

// fault kills what a fault is about, when it is at work, and starts again what
// does not start by itself.
func (r *rehearsal) fault(ctx context.Context, f scenarios.Fault) error {
	name, role, _ := strings.Cut(f.Target, "/")
	at := name
	switch name {
	case r.s.Master.Name:
		at = loopback.Master
	case r.s.MediaServers[0].Name:
		at = loopback.Media
	}
	victim := role
	if f.Do == "crash" {
		victim = "bpbkar"
		if at == loopback.Media {
			victim = "bptm"
		}
	}
	if err := r.atWork(ctx, at, victim); err != nil {
		return err
	}
	if f.Do == "kill" {
		_, err := r.domain.KillRole(at, role)
		return err
	}
	if err := r.domain.Kill(at); err != nil || f.For == 0 {
		return err
	}
	if err := rt.Sleep(ctx, time.Second); err != nil {
		return err
	}
	err := r.domain.Start(ctx, at)
	if err == nil && at == loopback.Media {
		err = r.domain.Ready(ctx)
	}
	return err
}

// atWork waits until a process of a role runs on a host, and has begun to work.
func (r *rehearsal) atWork(ctx context.Context, host, role string) error {
	ctx, cancel := rt.WithTimeout(ctx, patience)
	defer cancel()
	for {
		all, err := r.domain.Processes(host)
		if err != nil {
			return err
		}
		if slices.ContainsFunc(all, func(p loopback.Process) bool { return p.Role == role }) {
			return rt.Sleep(ctx, started)
		}
		if err := rt.Sleep(ctx, 5*time.Millisecond); err != nil {
			return fmt.Errorf("no %s has run on %s: %w", role, host, err)
		}
	}
}

// restore runs the nth restore, and compares what it brought with what there was.
func (r *rehearsal) restore(ctx context.Context, n int) error {
	q := &r.s.Restores[n]
	ask := bprd.Request{Client: q.Client, To: q.ToClient, Paths: r.below(q.Paths), Overwrite: archive.Always}
	if q.To != "" {
		ask.Target = filepath.Join(r.o.Dir, fmt.Sprintf("restored%d", n))
	}
	id, err := bprestore.Ask(ctx, loopback.Master, ask)
	if err != nil {
		return fmt.Errorf("restore of %s: %w", q.Client, err)
	}
	j, err := r.domain.Wait(ctx, id, nil)
	if err != nil || !j.Status.Succeeded() {
		return err // the scenario says whether it should have
	}
	for _, p := range ask.Paths {
		report, err := sametree.Compare(p, filepath.Join(ask.Target, p))
		if err != nil || report.Different > 0 {
			failure := expect.Failure{
				Where: r.o.Places.Of(fmt.Sprintf("restores[%d]", n)), What: "restore of " + q.Client,
				Want: map[string]string{"differences": "0"}, Got: map[string]string{"differences": fmt.Sprint(report.Different)},
				See: report.Differences,
			}
			if err != nil {
				failure.See = append(failure.See, err.Error())
			}
			r.failed = append(r.failed, failure)
		}
	}
	return nil
}

// judge compares what came out with what the scenario expects.
func (r *rehearsal) judge(ctx context.Context) (*Result, error) {
	o, err := expect.Collect(ctx, loopback.Master, expect.NeedsLogs(r.s))
	if err != nil {
		return nil, err
	}
	o.Real, o.Start = true, r.began
	for i := 0; (r.o.Events || expect.NeedsEvents(r.s)) && i < len(o.Jobs); i++ {
		events, err := r.domain.Trace(ctx, o.Jobs[i].ID)
		if err != nil {
			return nil, err
		}
		for _, e := range events {
			switch e.Host { // the scenario's names
			case loopback.Master:
				e.Host = r.s.Master.Name
			case loopback.Media:
				e.Host = r.s.MediaServers[0].Name
			}
			o.Events = append(o.Events, e)
		}
	}
	return &Result{
		Jobs: len(o.Jobs), Outcome: o, Data: r.data, Failed: append(r.failed, expect.Check(r.s, r.o.Places, o)...), Unchecked: expect.Unchecked(r.s, o),
	}, nil
}
