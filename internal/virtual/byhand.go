package virtual

import (
	"context"
	"fmt"
	"time"

	"capstan/core/bpjobd"
	"capstan/core/bprd"
	"capstan/core/bprestore"
	"capstan/core/nbpem"
	"capstan/core/pbx"
	"capstan/core/rt"
	"capstan/internal/expect"
	"capstan/scenarios"
	"capstan/sim"
)

// settled is how long the domain is left alone before anything is started: the drives
// are emptied and the libraries asked what is where.
const settled = 10 * time.Minute

// ByHand plays a scenario as a rehearsal in the real world does: every policy's backups
// are started at once, without their windows; when they have ended, the restores, one
// after the other. Faults are left out.
func ByHand(s *scenarios.Scenario) (*expect.Outcome, error) {
	l := newLoad(s, s.Seed)
	cfg := config(s, l)
	for i := range cfg.Domain.Policies {
		p := &cfg.Domain.Policies[i]
		for k := range p.Schedules {
			p.Schedules[k].Windows = nil
		}
	}
	w, err := New(cfg, sim.Options{Seed: uint64(s.Seed), Start: rt.FromStd(s.Start), NoHash: true})
	if err != nil {
		return nil, err
	}
	defer w.Close()
	l.w = w
	if err := w.World.Run(settled); err != nil {
		return nil, err
	}
	err = w.byOperator(func(ctx context.Context) error {
		var all []int64
		for i := range s.Policies {
			if !s.Policies[i].Active {
				continue
			}
			ids, err := nbpem.BackupNow.Call(ctx, pbx.At(w.master, nbpem.Service), nbpem.Backup{Policy: s.Policies[i].Name})
			if err != nil {
				return fmt.Errorf("backup of policy %s: %w", s.Policies[i].Name, err)
			}
			all = append(all, ids...)
		}
		return w.ended(ctx, all)
	})
	for i := 0; err == nil && i < len(s.Restores); i++ {
		q := s.Restores[i]
		err = w.byOperator(func(ctx context.Context) error {
			id, err := bprestore.Ask(ctx, w.master, bprd.Request{Client: q.Client, To: q.ToClient, Paths: q.Paths, Target: q.To, Overwrite: overwrite(q.Overwrite)})
			if err != nil {
				return fmt.Errorf("restore of %s: %w", q.Client, err)
			}
			return w.ended(ctx, []int64{id})
		})
	}
	if err != nil {
		return nil, err
	}
	return w.collect(s, &Result{})
}

// byOperator has a person at the master do something, and runs the world until it is done.
func (w *World) byOperator(do func(ctx context.Context) error) error {
	var result error
	done := false
	w.operator("operator", func(ctx context.Context) {
		result = do(ctx)
		done = true
		w.Halt()
	})
	if err := w.Drain(); err != nil || !done {
		return fmt.Errorf("what the operator did has not ended: %w", err)
	}
	return result
}

// ended returns when jobs have ended.
func (w *World) ended(ctx context.Context, ids []int64) error {
	for _, id := range ids {
		for revision := int64(-1); ; {
			p, err := bpjobd.List.Call(ctx, pbx.At(w.master, bpjobd.Service), bpjobd.Query{ID: id, Follow: true, Newer: revision})
			if err != nil {
				return err
			}
			if revision = p.Revision; len(p.Jobs) == 1 && p.Jobs[0].Done() {
				break
			}
		}
	}
	return nil
}
