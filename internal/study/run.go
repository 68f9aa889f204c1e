package study

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"github.com/google/renameio/v2"

	"capstan/internal/virtual"
	"capstan/reports/answers"
	"capstan/reports/record"
	"capstan/scenarios"
)

// Outcome is what one run came to.
type Outcome struct {
	Cell        int              `json:"-"`
	Replication int              `json:"replication"`
	Seed        int64            `json:"seed"`
	Metrics     []answers.Metric `json:"metrics"`
	Seconds     float64          `json:"seconds"`         // of real time
	Error       string           `json:"error,omitempty"` // it could not be run to its end
	Kept        bool             `json:"-"`               // it was there already
}

// Options say how a study is run.
type Options struct {
	// Dir keeps what the runs come to; "" keeps nothing.
	Dir string
	// Version of the program; see [Version]. Needed with Dir.
	Version string
	// Workers is how many runs there are at a time; 0 is one for each processor.
	Workers int
	// Done, if not nil, is called after each run, by one goroutine at a time.
	Done func(o *Outcome)
}

// Run runs all that the plan has, and returns what came out: cell by cell, and in each
// by replication. A run that fails does not stop the others. When ctx ends, no more are
// begun and its cause is returned; what was done is kept.
func Run(ctx context.Context, p *Plan, o Options) ([][]Outcome, error) {
	if o.Dir != "" {
		if err := os.MkdirAll(filepath.Join(o.Dir, "runs"), 0o755); err != nil {
			return nil, fmt.Errorf("making the study's directory: %w", err)
		}
	}
	all := make([][]Outcome, len(p.Cells))
	for i := range all {
		all[i] = make([]Outcome, p.Replications)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	work := make(chan [2]int)
	var lock sync.Mutex
	var group sync.WaitGroup
	workers := o.Workers
	if workers == 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	finished := make(chan struct{})
	for range workers {
		group.Go(func() {
			for w := range work {
				out, err := p.one(o, w[0], w[1])
				lock.Lock()
				if ctx.Err() == nil {
					all[w[0]][w[1]] = out
					if o.Done != nil {
						o.Done(&out)
					}
				}
				lock.Unlock()
				if err != nil {
					cancel(err) // nothing can be kept: the disk is full, or alike
				}
			}
		})
	}
	go func() {
		p.hand(ctx, work)
		group.Wait()
		close(finished)
	}()
	select {
	case <-finished:
	case <-ctx.Done(): // a run in progress cannot be stopped: it is left, and nobody waits for it
	}
	lock.Lock()
	defer lock.Unlock()
	return all, context.Cause(ctx)
}

// hand gives out the runs: the first replication of each cell first, so that an
// interrupted study has something of everything.
func (p *Plan) hand(ctx context.Context, work chan<- [2]int) {
	defer close(work)
	for r := range p.Replications {
		for c := range p.Cells {
			select {
			case work <- [2]int{c, r}:
			case <-ctx.Done():
				return
			}
		}
	}
}

// one makes one run, or finds what it came to. The error is of keeping it.
func (p *Plan) one(o Options, cell, replication int) (Outcome, error) {
	out := Outcome{Cell: cell, Replication: replication, Seed: p.Seed + int64(replication)}
	name := ""
	if o.Dir != "" {
		key, err := p.key(o.Version, cell, replication)
		if err != nil {
			return out, err
		}
		name = filepath.Join(o.Dir, "runs", key+".json")
		if kept, err := find(name); err == nil {
			kept.Cell, kept.Replication, kept.Kept = cell, replication, true
			return *kept, nil
		} else if !errors.Is(err, fs.ErrNotExist) {
			fmt.Fprintf(os.Stderr, "%v: it is run again\n", err)
		}
	}
	began := time.Now()
	metrics, err := Metrics(p.Cells[cell].Scenario, out.Seed, replication)
	out.Metrics, out.Seconds = metrics, time.Since(began).Seconds()
	if err != nil {
		out.Error = err.Error()
		return out, nil // and tried again the next time
	}
	if name == "" {
		return out, nil
	}
	return out, Write(name, &out)
}

// find reads what a run came to.
func find(name string) (*Outcome, error) {
	b, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	var o Outcome
	if err := json.Unmarshal(b, &o); err != nil {
		return nil, fmt.Errorf("%s is not what a run came to: %w", name, err)
	}
	if len(o.Metrics) == 0 {
		return nil, fmt.Errorf("%s is not what a run came to: it has no figures", name)
	}
	return &o, nil
}

// Write writes a value to a file as JSON: all of it, or nothing.
func Write(name string, v any) error {
	b, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		return fmt.Errorf("writing %s: %w", name, err)
	}
	return WriteFile(name, append(b, '\n'))
}

// WriteFile writes a file: all of it, or nothing.
func WriteFile(name string, b []byte) error {
	if err := renameio.WriteFile(name, b, 0o644, renameio.WithTempDir(filepath.Dir(name))); err != nil {
		return fmt.Errorf("writing %s: %w", name, err)
	}
	return nil
}

// Metrics runs a scenario once and gives its figures.
func Metrics(s *scenarios.Scenario, seed int64, replication int) (_ []answers.Metric, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("scenario %s, seed %d: %v", s.Name, seed, r)
		}
	}()
	var run record.Run
	o := virtual.Options{Seed: seed, SeedSet: true, Quiet: true, Record: &run, Replication: replication}
	if _, err := virtual.Run(s, o); err != nil {
		return nil, err
	}
	return answers.Of(&run).Metrics(), nil
}
