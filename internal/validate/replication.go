package validate

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"capstan/core/host"
	"capstan/core/pbx"
	"capstan/core/rt"
	"capstan/sim"
)

// unit is the model's unit of time in virtual time. A call within a host takes
// 1 ns, so that the few calls of a customer are nothing beside it.
const unit = time.Second

// span is so many units.
func span(x float64) time.Duration { return time.Duration(math.Round(x * float64(unit))) }

// units is a time, or a sum of n of them by n, in units.
func units(d time.Duration) float64 { return float64(d) / float64(unit) }

// warmUp is how long a run goes before it is counted, as a part of the time that is counted.
const warmUp = 0.1

// replication is one run of an experiment: a world of its own.
type replication struct {
	experiment *experiment
	seed       uint64
	number     int
	size       int     // customers expected while it is counted
	factor     float64 // by which service takes longer than is stated
	from, to   time.Duration
}

// stream is the replication's stream of random numbers for a purpose of an entity.
func (r *replication) stream(ctx context.Context, entity, purpose string) *rand.Rand {
	return rt.Rand(ctx, fmt.Sprintf("%s, replication %d, %s", r.experiment.name, r.number, entity), purpose)
}

// window sets what is counted: size customers that come at a rate, after the warm-up.
func (r *replication) window(rate float64) {
	r.from = span(warmUp * float64(r.size) / rate)
	r.to = r.from + span(float64(r.size)/rate)
}

// counts tells whether a customer who comes at a time is counted.
func (r *replication) counts(came time.Duration) bool { return came >= r.from && came < r.to }

// area is one that is counted as the replication is.
func (r *replication) area() area { return area{from: r.from, to: r.to} }

// inWorld runs fn as a process of a master.
func (r *replication) inWorld(fn func(ctx context.Context, env *host.Env, w *sim.World) error) error {
	w := sim.New(sim.Options{Seed: r.seed, NoEvents: true, NoHash: true, Net: sim.NetModel{Local: 1}})
	defer w.Close()
	return w.Do(w.NewHost("master", pbx.Master), "customers", func(ctx context.Context, env *host.Env) error { return fn(ctx, env, w) })
}

// arrivals has come called, each time in a task of its own, for customers that
// arrive at random at a rate until the window ends. Its name tells its stream.
func (r *replication) arrivals(ctx context.Context, g *rt.Group, entity string, rate float64, come func(ctx context.Context, n int) error) {
	gaps := r.stream(ctx, entity, "arrivals")
	g.Go(ctx, entity, func(ctx context.Context) error {
		next := 0.0
		for n := 0; ; n++ {
			next += gaps.ExpFloat64() / rate
			if span(next) >= r.to {
				return nil
			}
			if err := rt.Sleep(ctx, span(next)-rt.Mono(ctx)); err != nil {
				return err
			}
			g.Go(ctx, entity, func(ctx context.Context) error { return come(ctx, n) })
		}
	})
}

// tally is what customers who are counted met.
type tally struct {
	n    int
	sum  float64 // units
	over int     // of the limit
}

// add counts one value, and whether it is over a limit.
func (t *tally) add(v, limit float64) {
	t.n++
	t.sum += v
	if v > limit {
		t.over++
	}
}

func (t *tally) mean() float64 { return t.sum / float64(t.n) }

// part is how many of all were over the limit.
func (t *tally) part() float64 { return float64(t.over) / float64(t.n) }
