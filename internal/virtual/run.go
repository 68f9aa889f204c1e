package virtual

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"capstan/core/archive"
	"capstan/core/bprd"
	"capstan/core/bprestore"
	"capstan/core/dev"
	"capstan/core/host"
	"capstan/core/job"
	"capstan/core/nbemm"
	"capstan/core/pbx"
	"capstan/core/rt"
	"capstan/internal/convert"
	"capstan/internal/expect"
	"capstan/reports/record"
	"capstan/scenarios"
	"capstan/sim"
	simtree "capstan/sim/tree"
)

// Options say how a scenario is run.
type Options struct {
	Seed    int64 // instead of the scenario's, if SeedSet
	SeedSet bool
	Trace   io.Writer // gets the trace: a header line, then a line of JSON for each event
	Codec   bool      // messages pass the wire's encoding
	Shuffle bool      // events at one time happen in an order drawn from the seed
	// Places tell where in its file the scenario's expectations stand.
	Places scenarios.Places
	// Record gets the records that reports are made of. Replication is the run's
	// number among those that differ in their seeds only.
	Record      record.Sink
	Replication int
	// Quiet keeps neither the trace nor its digest: for measuring.
	Quiet bool
}

// Drive is what a drive did.
type Drive struct {
	dev.DriveStats
	Busy time.Duration // it did anything
}

// Result is what came out of a run.
type Result struct {
	Seed      int64
	Jobs      []job.Job
	Media     []nbemm.Media
	Drives    []Drive
	Virtual   time.Duration
	Real      time.Duration
	Events    int64  // of the trace
	TraceHash string // SHA-256 of the trace's lines
	Failed    []expect.Failure
}

// Run runs a scenario from its start to its end.
func Run(s *scenarios.Scenario, o Options) (*Result, error) {
	began := time.Now()
	seed := s.Seed
	if o.SeedSet {
		seed = o.Seed
	}
	if o.Trace != nil {
		if _, err := fmt.Fprintf(o.Trace, "{\"scenario\":%q,\"seed\":%d}\n", s.Name, seed); err != nil {
			return nil, fmt.Errorf("writing the trace: %w", err)
		}
	}
	l := newLoad(s, seed)
	cfg := config(s, l)
	watch := newWatcher(o.Record, s, &cfg)
	w, err := New(cfg, sim.Options{
		Seed: uint64(seed), Start: rt.FromStd(s.Start), Codec: o.Codec, ShuffleTies: o.Shuffle, Trace: o.Trace,
		NoEvents: !expect.NeedsEvents(s), NoHash: o.Quiet, Watch: watch.functions(),
	})
	if err != nil {
		return nil, err
	}
	defer w.Close()
	watch.begin(w)
	w.plan(s)
	l.begin(w)
	length := s.Length.Std()
	if err := w.World.Run(length); err != nil {
		return nil, fmt.Errorf("scenario %s, seed %d, after %v: %w", s.Name, seed, w.Mono(), err)
	}
	if err := watch.finish(seed, o.Replication); err != nil {
		return nil, err
	}
	r := &Result{Seed: seed, Virtual: length}
	out, err := w.collect(s, r)
	if err != nil {
		return nil, err
	}
	if err := w.TraceError(); err != nil {
		return nil, fmt.Errorf("writing the trace: %w", err)
	}
	r.Events, r.TraceHash = w.EventCount(), w.TraceHash()
	r.Failed = expect.Check(s, o.Places, out)
	r.Real = time.Since(began)
	return r, nil
}

// config turns a scenario into a world.
func config(s *scenarios.Scenario, l *load) Config {
	cfg := Config{Hosts: []Host{{Name: s.Master.Name, Kinds: pbx.Master, Link: int64(s.Master.Link), Disk: int64(s.Master.Disk), DiskSize: int64(s.Master.DiskSize)}}}
	for _, m := range s.MediaServers {
		cfg.Hosts = append(cfg.Hosts, Host{Name: m.Name, Kinds: pbx.Media, Link: int64(m.Link), Disk: int64(m.Disk), DiskSize: int64(m.DiskSize)})
	}
	for _, c := range s.EachClient() {
		cfg.Hosts = append(cfg.Hosts, Host{
			Name: c.Name, Kinds: pbx.Client, Link: int64(c.Link), Disk: int64(c.Disk), Connection: int64(c.PerConnection),
			Fill:  func(ctx context.Context, fs *simtree.FS) error { return l.fill(ctx, c.Name, fs) },
			Files: l.files,
		})
	}
	for i := range s.Libraries {
		l := convert.Library(&s.Libraries[i])
		if l.TimeScale == 0 {
			l.TimeScale = 1 // in virtual time devices take the time that they take
		}
		server := cmp.Or(s.Libraries[i].Host, s.MediaServers[0].Name) // without host there is only one
		cfg.Libraries = append(cfg.Libraries, Library{Config: l, Server: server, Others: othersDrives(&s.Libraries[i], server), Dismount: s.Libraries[i].Dismount})
	}
	d := &cfg.Domain
	for i := range s.StorageUnits {
		d.Units = append(d.Units, convert.Unit(&s.StorageUnits[i]))
	}
	for i := range s.Groups {
		d.Groups = append(d.Groups, convert.Group(&s.Groups[i]))
	}
	for i := range s.Policies {
		p := convert.Policy(&s.Policies[i])
		p.Clients = s.ClientsOf(&s.Policies[i])
		d.Policies = append(d.Policies, p)
	}
	return cfg
}

// othersDrives are the drives of a library that another media server has than the one
// that the robot is attached to.
func othersDrives(l *scenarios.Library, server string) map[string]string {
	others := map[string]string{}
	for _, d := range l.Drives {
		if d.Host != "" && d.Host != server {
			others[d.Name] = d.Host
		}
	}
	return others
}

// plan puts the scenario's restores and faults on the world's calendar.
func (w *World) plan(s *scenarios.Scenario) {
	for i := range s.Restores {
		q := s.Restores[i]
		w.At(q.At.Std(), func() {
			w.operator(fmt.Sprintf("bprestore/%d", i), func(ctx context.Context) {
				_, err := bprestore.Ask(ctx, w.master, bprd.Request{
					Client: q.Client, To: q.ToClient, Paths: q.Paths, Target: q.To, Overwrite: overwrite(q.Overwrite),
				})
				_ = err // the job says what became of it
			})
		})
	}
	for _, f := range s.Faults {
		w.At(f.At.Std(), func() { w.fault(f) })
	}
}

func overwrite(word string) archive.Mode {
	switch word {
	case "older":
		return archive.Older
	case "always":
		return archive.Always
	}
	return archive.Never
}

// fault makes something go wrong, and right again.
func (w *World) fault(f scenarios.Fault) {
	name, role, _ := strings.Cut(f.Target, "/")
	h := w.Host(name)
	if h == nil {
		return // the loader has checked the names; a client of a count may be absent
	}
	after := f.For.Std()
	switch f.Do {
	case "kill":
		for _, p := range h.Processes() {
			if p.Addr().Role() == role {
				p.Kill()
			}
		}
	case "crash":
		if after > 0 {
			h.Restart(after)
		} else {
			h.Crash()
		}
	case "restart":
		h.Restart(max(after, time.Second))
	case "partition":
		w.Isolate(name)
		if after > 0 {
			w.At(w.Mono()+after, func() { w.Rejoin(name) })
		}
	case "heal":
		w.Rejoin(name)
	}
}

// collect asks the master what there is.
func (w *World) collect(s *scenarios.Scenario, r *Result) (*expect.Outcome, error) {
	var out *expect.Outcome
	err := w.Do(w.Host(w.master), "report", func(ctx context.Context, _ *host.Env) (err error) {
		out, err = expect.Collect(ctx, w.master, expect.NeedsLogs(s))
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("asking the master at the end: %w", err)
	}
	out.Start, out.Events = rt.FromStd(s.Start), w.Events()
	_, out.Drives = w.Stats()
	r.Jobs, r.Media = out.Jobs, out.Media
	for _, d := range out.Drives {
		r.Drives = append(r.Drives, Drive{DriveStats: d, Busy: d.Busy()})
	}
	return out, nil
}
