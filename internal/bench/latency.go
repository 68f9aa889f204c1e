package main

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"github.com/benmathews/bench"

	"capstan/core/bpdbm"
	"capstan/core/bpjobd"
	"capstan/core/pbx"
	"capstan/core/rt"
	"capstan/internal/real"
)

// The load under which the latency of calls is measured: fixed, so that a call
// that is late delays no other, and the figures are corrected for what the delay
// would have hidden (coordinated omission).
const (
	loadRate     = 500 // calls a second, of all connections
	loadSessions = 4
	loadTime     = 10 * time.Second
)

// latencyRow is the latency of one kind of call.
type latencyRow struct {
	what          string
	p50, p99, p9n time.Duration
	calls         uint64
}

// latencies measures calls of a person's commands against a domain.
func latencies(ctx context.Context, doc *document, c *capstan, t tree) error {
	if err := c.backup(ctx, t); err != nil {
		return err
	}
	image, err := c.lastImage(ctx, t)
	if err != nil {
		return err
	}
	dir := filepath.Join(t.path, "dir001")
	for _, q := range []struct {
		what string
		call func(ctx context.Context) error
	}{
		{fmt.Sprintf("list: 500 entries of one directory of an image of %d files", t.files), func(ctx context.Context) error {
			r, err := bpdbm.ListDir.Call(ctx, pbx.At("server1", bpdbm.Service), bpdbm.Dir{BackupID: image, Path: dir, Limit: 500})
			if err == nil && len(r.Entries) != min(500, t.files-500) {
				err = fmt.Errorf("%d entries came", len(r.Entries))
			}
			return err
		}},
		{"jobs: the job list", func(ctx context.Context) error {
			r, err := bpjobd.List.Call(ctx, pbx.At("server1", bpjobd.Service), bpjobd.Query{})
			if err == nil && len(r.Jobs) == 0 {
				err = fmt.Errorf("no job came")
			}
			return err
		}},
	} {
		say("%s", q.what)
		s, err := bench.NewBenchmark(&callers{ctx, c, q.call}, loadRate, loadSessions, loadTime, 0).Run()
		if err != nil {
			return err
		}
		if s.ErrorTotal > 0 || s.SuccessTotal == 0 {
			return fmt.Errorf("%s: %d of %d calls failed", q.what, s.ErrorTotal, s.ErrorTotal+s.SuccessTotal)
		}
		at := func(p float64) time.Duration { return time.Duration(s.SuccessHistogram.ValueAtQuantile(p)) }
		doc.latencies = append(doc.latencies, latencyRow{q.what, at(50), at(99), at(99.9), s.SuccessTotal})
	}
	return nil
}

// callers makes the connections: each is a session of its own, as a command has.
type callers struct {
	ctx    context.Context
	domain *capstan
	call   func(ctx context.Context) error
}

// GetRequester makes one of them.
func (c *callers) GetRequester(number uint64) bench.Requester { return &caller{callers: c} }

type caller struct {
	*callers
	session *real.Session
}

// Setup opens the session.
func (c *caller) Setup() (err error) {
	c.session, err = real.Open(c.ctx, filepath.Join(c.domain.sub("server1"), "host.yaml"), "bench")
	return err
}

// Request makes one call.
func (c *caller) Request() error {
	ctx, cancel := rt.WithTimeout(c.session.Context(), time.Minute)
	defer cancel()
	return c.call(ctx)
}

// Teardown ends the session.
func (c *caller) Teardown() error {
	c.session.Close()
	return nil
}
