package validate

import (
	"context"
	"fmt"
	"time"

	"capstan/core/dev"
	"capstan/core/host"
	"capstan/core/rt"
	"capstan/internal/queueing"
	"capstan/sim"
)

// onFlows is what the experiments of this file run.
const onFlows = "sim.World.Transfer"

// links are the experiments with transfers over one link.
func links(s float64) []*experiment {
	var all []*experiment
	for _, at := range []struct {
		rho  float64
		size int
	}{{.5, 11_200}, {.8, 30_000}, {.9, 75_000}} {
		for _, l := range []law{exponential, constant, pareto(2.2)} {
			all = append(all, sharing(s, l, at.rho, at.size, at.rho == .5))
		}
	}
	return all
}

// sharing is M/G/1 under processor sharing: transfers that begin at random on a
// link that they share. All is in units of the mean size at the link's full rate.
//
// What is compared is, for each law, the mean of time over size, as every size is
// slowed down alike; but for the exponential law the mean time, since there the
// former has no finite variance.
func sharing(s float64, l law, rho float64, size int, short bool) *experiment {
	what := "mean of time over size"
	if l.name == exponential.name {
		what = "mean time"
	}
	return &experiment{
		name: fmt.Sprintf("M/%s/1-PS, c² %.3g, ρ %v", l.name, l.moments.SCV(), rho), on: onFlows, short: short, size: size,
		lines: []line{{what, s * queueing.Slowdown(rho*s)}},
		run:   func(r *replication) ([]float64, error) { return r.sharing(l, rho) },
	}
}

func (r *replication) sharing(l law, rho float64) ([]float64, error) {
	const rate = int64(unit) // bytes in a unit: a byte takes a ns
	var t tally
	r.window(rho)
	err := r.inWorld(func(ctx context.Context, _ *host.Env, w *sim.World) error {
		link := []dev.Resource{{Name: "link", Rate: rate}}
		sizes := r.stream(ctx, "transfers", "sizes")
		present := r.area()
		var took time.Duration
		var bytes, transfers int64
		g, gctx := rt.NewGroup(ctx)
		r.arrivals(gctx, g, "transfers", rho, func(ctx context.Context, _ int) error {
			size := l.draw(sizes)
			n := int64(size * float64(rate) * r.factor)
			came := rt.Mono(ctx)
			present.add(came, 1)
			err := w.Transfer(ctx, link, n)
			went := rt.Mono(ctx)
			present.add(went, -1)
			took, bytes, transfers = took+went-came, bytes+n, transfers+1
			if r.counts(came) && l.name == exponential.name {
				t.add(units(went-came), 0)
			} else if r.counts(came) {
				t.add(units(went-came)/size, 0)
			}
			return err
		})
		if err := g.Wait(ctx); err != nil {
			return err
		}
		// Rates are whole bytes a second and ends whole ns: each beginning and end of
		// a transfer may cost the other ones so much.
		slack := 4 * time.Duration(transfers)
		served := time.Duration(bytes)
		switch {
		case present.now != 0 || present.whole != int64(took):
			return fmt.Errorf("link: Little's law: the integral of the number of transfers is %d, the sum of their times %d ns", present.whole, took)
		case present.busy < served || present.busy > served+slack+served/1_000_000:
			return fmt.Errorf("link: utilisation law: it was busy for %v, its bytes take %v", present.busy, served)
		}
		return nil
	})
	return []float64{t.mean()}, err
}
