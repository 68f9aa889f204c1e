package validate

import (
	"context"
	"fmt"

	"capstan/core/nbrb"
	"capstan/core/pbx"
	"capstan/core/rt"
	"capstan/internal/queueing"
)

// onBroker is what the experiments of this file and of networks.go run.
const onBroker = "nbrb, nbemm"

// queues are the experiments with one queue before nbrb. s is the mean service that is stated.
func queues(s float64) []*experiment {
	return []*experiment{
		mmc(s, 1, .5, 2, 9_800, true), mmc(s, 1, .8, 2, 16_500, false), mmc(s, 2, .7, 2, 19_500, true),
		mmc(s, 4, .8, 1, 22_500, false), mmc(s, 8, .8, .2, 30_000, false),
		mg1(s, constant, .8, 9_000, false), mg1(s, erlang(4), .5, 7_500, true), mg1(s, erlang(4), .8, 11_200, false), mg1(s, hyper(4), .5, 18_800, false),
		mdc(s, 2, .8, 8_200, false), mdc(s, 4, .8, 13_500, false), mdc(s, 8, .8, 16_500, false),
		loss(s, 2, 1, exponential, 15_000, false), loss(s, 4, 2, exponential, 12_800, false), loss(s, 10, 7, exponential, 9_000, true),
		loss(s, 10, 7, constant, 8_200, false), loss(s, 20, 16, hyper(4), 27_000, false),
		priorities(s, .2, .4, 13_500, true), vacations(s, .5), polled(s),
	}
}

// single runs customers of one class at one station.
func (r *replication) single(servers int, rate, limit float64, l law, hurried bool) (t tally, b *broker, err error) {
	r.window(rate)
	b, err = r.atBroker([]int{servers}, func(ctx context.Context, g *rt.Group, b *broker) error {
		services := r.stream(ctx, "customers", "services")
		r.arrivals(ctx, g, "customers", rate, func(ctx context.Context, _ int) error {
			v := &visit{station: b.stations[0], service: span(l.draw(services) * r.factor), hurried: hurried}
			came := rt.Mono(ctx)
			w, err := b.visit(ctx, v)
			if err == nil && r.counts(came) {
				if v.left {
					w = unit
				}
				t.add(units(w), limit)
			}
			return err
		})
		return nil
	})
	return t, b, err
}

// moment is longer than the calls of a request take: who waits less has not waited.
const moment = 1e-6

// mmc is M/M/c.
func mmc(s float64, c int, rho, tail float64, size int, short bool) *experiment {
	a, rate := rho*float64(c)*s, rho*float64(c)
	return &experiment{
		name: fmt.Sprintf("M/M/%d, ρ %v", c, rho), on: onBroker, short: short, size: size,
		lines: []line{
			{"mean wait", queueing.MMcWait(c, a, s)},
			{fmt.Sprintf("P(wait > %v)", tail), queueing.MMcWaitTail(c, a, s, tail)},
			{"mean number waiting", rate * queueing.MMcWait(c, a, s)},
		},
		run: func(r *replication) ([]float64, error) {
			t, b, err := r.single(c, rate, tail, exponential, false)
			if err != nil {
				return nil, err
			}
			return []float64{t.mean(), t.part(), b.stations[0].waiting.mean()}, nil
		},
	}
}

// mg1 is M/G/1.
func mg1(s float64, l law, rho float64, size int, short bool) *experiment {
	return &experiment{
		name: fmt.Sprintf("M/%s/1, c² %.3g, ρ %v", l.name, l.moments.SCV(), rho), on: onBroker, short: short, size: size,
		lines: []line{
			{"mean wait", queueing.MG1Wait(rho, l.scaled(s).moments)},
			{"P(wait)", rho * s},
		},
		run: func(r *replication) ([]float64, error) {
			t, _, err := r.single(1, rho, moment, l, false)
			return []float64{t.mean(), t.part()}, err
		},
	}
}

// mdc is M/D/c.
func mdc(s float64, c int, rho float64, size int, short bool) *experiment {
	rate := rho * float64(c)
	return &experiment{
		name: fmt.Sprintf("M/D/%d, ρ %v", c, rho), on: onBroker, short: short, size: size,
		lines: []line{{"mean wait", queueing.MDcWait(c, rate*s, s)}},
		run: func(r *replication) ([]float64, error) {
			t, _, err := r.single(c, rate, moment, constant, false)
			return []float64{t.mean()}, err
		},
	}
}

// loss is M/G/c/c: who would have to wait goes.
func loss(s float64, c int, a float64, l law, size int, short bool) *experiment {
	return &experiment{
		name: fmt.Sprintf("M/%s/%d/%d, load %v", l.name, c, c, a), on: onBroker, short: short, size: size,
		lines: []line{{"P(lost)", queueing.ErlangB(c, a*s)}},
		run: func(r *replication) ([]float64, error) {
			t, _, err := r.single(c, a, .5, l, true)
			return []float64{t.part()}, err
		},
	}
}

// priorities is M/M/1 with two classes, by the jobs' priorities.
func priorities(s, first, second float64, size int, short bool) *experiment {
	rates := []float64{first, second}
	law := exponential.scaled(s).moments
	waits := queueing.PriorityWaits(rates, []queueing.Moments{law, law})
	return &experiment{
		name: fmt.Sprintf("M/M/1, priorities, ρ %v and %v", first, second), on: onBroker, short: short, size: size,
		lines: []line{{"mean wait, priority 1", waits[0]}, {"mean wait, priority 0", waits[1]}},
		run: func(r *replication) ([]float64, error) {
			var classes [2]tally
			r.window(rates[0] + rates[1])
			_, err := r.atBroker([]int{1}, func(ctx context.Context, g *rt.Group, b *broker) error {
				for i := range classes {
					entity := fmt.Sprintf("class %d", i+1)
					services := r.stream(ctx, entity, "services")
					r.arrivals(ctx, g, entity, rates[i], func(ctx context.Context, _ int) error {
						came := rt.Mono(ctx)
						w, err := b.visit(ctx, &visit{station: b.stations[0], service: span(services.ExpFloat64() * r.factor), priority: 1 - i})
						if err == nil && r.counts(came) {
							classes[i].add(units(w), 0)
						}
						return err
					})
				}
				return nil
			})
			return []float64{classes[0].mean(), classes[1].mean()}, err
		},
	}
}

// vacations is M/M/1 whose server is away for a fixed time whenever nobody
// waits: a job of the lowest priority that always comes back, as the cleaning of drives does.
func vacations(s, rho float64) *experiment {
	const away = 2.0
	return &experiment{
		name: fmt.Sprintf("M/M/1, vacations of 2, ρ %v", rho), on: onBroker, size: 13_500,
		lines: []line{{"mean wait", queueing.VacationWait(rho, exponential.scaled(s).moments, queueing.Moments{Mean: away, Second: away * away})}},
		run: func(r *replication) ([]float64, error) {
			var t tally
			r.window(rho)
			_, err := r.atBroker([]int{1}, func(ctx context.Context, g *rt.Group, b *broker) error {
				services := r.stream(ctx, "customers", "services")
				vacation := r.station(b.stations[0].name)
				g.Go(ctx, "vacations", func(ctx context.Context) error {
					for rt.Mono(ctx) < r.to {
						if _, err := b.visit(ctx, &visit{station: vacation, service: span(away), priority: -1}); err != nil {
							return err
						}
					}
					return nil
				})
				r.arrivals(ctx, g, "customers", rho, func(ctx context.Context, _ int) error {
					came := rt.Mono(ctx)
					w, err := b.visit(ctx, &visit{station: b.stations[0], service: span(services.ExpFloat64() * r.factor)})
					if err == nil && r.counts(came) {
						t.add(units(w), 0)
					}
					return err
				})
				return nil
			})
			return []float64{t.mean()}, err
		},
	}
}

// polled is M/M/1 with a second observer: nbrb is asked at random times who
// waits. Such times see what time averages are (Wolff, "Poisson arrivals see time
// averages", Operations Research 30, 1982), so λ times the mean wait, which the
// customers themselves measure, must be what nbrb says.
func polled(s float64) *experiment {
	const c, rate = 1, .5
	w := queueing.MMcWait(c, rate*s, s)
	return &experiment{
		name: "M/M/1, ρ 0.5, asked at random", on: onBroker, size: 10_500,
		lines: []line{{"λ · mean wait", rate * w}, {"mean number waiting, by nbrb", rate * w}},
		run: func(r *replication) ([]float64, error) {
			var waits, seen tally
			r.window(rate)
			_, err := r.atBroker([]int{c}, func(ctx context.Context, g *rt.Group, b *broker) error {
				services := r.stream(ctx, "customers", "services")
				r.arrivals(ctx, g, "customers", rate, func(ctx context.Context, _ int) error {
					came := rt.Mono(ctx)
					w, err := b.visit(ctx, &visit{station: b.stations[0], service: span(services.ExpFloat64() * r.factor)})
					if err == nil && r.counts(came) {
						waits.add(units(w), 0)
					}
					return err
				})
				r.arrivals(ctx, g, "observer", 1, func(ctx context.Context, _ int) error {
					came := rt.Mono(ctx)
					ws, err := nbrb.Waiters.Call(ctx, pbx.At(b.host, nbrb.Service), struct{}{})
					if err == nil && r.counts(came) {
						seen.add(float64(len(ws)), 0)
					}
					return err
				})
				return nil
			})
			return []float64{rate * waits.mean(), seen.mean()}, err
		},
	}
}
