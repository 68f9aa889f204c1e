package validate

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"capstan/core/rt"
	"capstan/internal/queueing"
)

// networks are the experiments with several queues before nbrb.
func networks(s float64) []*experiment {
	return []*experiment{
		jackson("tandem", []queueing.Station{{Servers: 1, Service: s, Arrives: .6, Next: []float64{0, 1}}, {Servers: 1, Service: 1.25 * s}}, 11_200, false),
		jackson("feedback", []queueing.Station{{Servers: 1, Service: s, Arrives: .3, Next: []float64{.4}}}, 9_800, true),
		jackson("three stations", []queueing.Station{
			{Servers: 2, Service: s, Arrives: 1.6, Next: []float64{0, .5, .5}}, {Servers: 1, Service: s}, {Servers: 1, Service: s / 1.2},
		}, 22_500, false),
		closed(s, 1, 1_600, false), closed(s, 5, 1_900, true), closed(s, 10, 2_600, false), closed(s, 20, 7_500, false),
		repair(s, 1, 10, 10, 6_000, false), repair(s, 4, 20, 1/.3, 6_800, true),
	}
}

// route is where a customer goes from a station; -1 is away.
func route(r *rand.Rand, next []float64) int {
	x := r.Float64()
	for j, p := range next {
		if x < p {
			return j
		}
		x -= p
	}
	return -1
}

// jackson is an open network. The stations have the services that are stated.
func jackson(name string, stations []queueing.Station, size int, short bool) *experiment {
	_, numbers, in := queueing.Jackson(stations)
	e := &experiment{name: "Jackson network, " + name, on: onBroker, short: short, size: size}
	for i := range stations {
		e.lines = append(e.lines, line{fmt.Sprintf("mean number at station %d", i+1), numbers[i]})
	}
	e.lines = append(e.lines, line{"mean time in the network", in})
	e.run = func(r *replication) ([]float64, error) { return r.jackson(stations) }
	return e
}

func (r *replication) jackson(stations []queueing.Station) ([]float64, error) {
	var t tally
	servers, outside := []int{}, 0.0
	for _, s := range stations {
		servers = append(servers, s.Servers)
		outside += s.Arrives
	}
	r.window(outside)
	b, err := r.atBroker(servers, func(ctx context.Context, g *rt.Group, b *broker) error {
		var services []*rand.Rand
		for _, st := range b.stations {
			services = append(services, r.stream(ctx, st.name, "services"))
		}
		ways := r.stream(ctx, "customers", "routes")
		for i := range stations {
			if stations[i].Arrives == 0 {
				continue
			}
			r.arrivals(ctx, g, b.stations[i].name, stations[i].Arrives, func(ctx context.Context, _ int) error {
				came := rt.Mono(ctx)
				for at := i; at >= 0; at = route(ways, stations[at].Next) {
					d := span(services[at].ExpFloat64() * stations[at].Service * r.factor)
					if _, err := b.visit(ctx, &visit{station: b.stations[at], service: d}); err != nil {
						return err
					}
				}
				if r.counts(came) {
					t.add(units(rt.Mono(ctx)-came), 0)
				}
				return nil
			})
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	var values []float64
	for _, st := range b.stations {
		values = append(values, st.waiting.mean()+st.serving.mean())
	}
	return append(values, t.mean()), nil
}

// rounds has customers think and then visit stations, each once, again and again.
// The tally is of the times from a thought to the next, and the throughput of whole rounds, in the window.
func (r *replication) rounds(customers int, think float64, servers []int, services []float64) (b *broker, t tally, throughput float64, err error) {
	alone := think
	for _, s := range services {
		alone += s
	}
	r.window(float64(customers) / alone)
	b, err = r.atBroker(servers, func(ctx context.Context, g *rt.Group, b *broker) error {
		for n := range customers {
			entity := fmt.Sprintf("customer %d", n+1)
			thinking, needs := r.stream(ctx, entity, "thinking"), r.stream(ctx, entity, "services")
			g.Go(ctx, entity, func(ctx context.Context) error {
				for rt.Mono(ctx) < r.to {
					if err := rt.Sleep(ctx, span(thinking.ExpFloat64()*think)); err != nil {
						return err
					}
					took, err := b.tour(ctx, needs, services, r.factor)
					if err != nil {
						return err
					}
					if r.counts(rt.Mono(ctx)) {
						t.add(units(took), 0)
					}
				}
				return nil
			})
		}
		return nil
	})
	return b, t, float64(t.n) / units(r.to-r.from), err
}

// tour is one visit of each station.
func (b *broker) tour(ctx context.Context, needs *rand.Rand, services []float64, factor float64) (time.Duration, error) {
	began := rt.Mono(ctx)
	for i, s := range services {
		if _, err := b.visit(ctx, &visit{station: b.stations[i], service: span(needs.ExpFloat64() * s * factor)}); err != nil {
			return 0, err
		}
	}
	return rt.Mono(ctx) - began, nil
}

// closed is a closed network of a CPU, a robot and a drive.
func closed(s float64, customers, size int, short bool) *experiment {
	const think = 5
	nominal, demands := []float64{.5, .3, .8}, []float64{.5 * s, .3 * s, .8 * s}
	c := queueing.MVA(customers, demands, think)
	return &experiment{
		name: fmt.Sprintf("closed network, %d customers", customers), on: onBroker, short: short, size: size,
		lines: []line{
			{"throughput", c.Throughput}, {"mean response", c.Response},
			{"mean number at the drive", c.Numbers[2]}, {"utilisation of the drive", c.Throughput * demands[2]},
		},
		run: func(r *replication) ([]float64, error) {
			b, t, throughput, err := r.rounds(customers, think, []int{1, 1, 1}, nominal)
			if err != nil {
				return nil, err
			}
			drive := b.stations[2]
			return []float64{throughput, t.mean(), drive.waiting.mean() + drive.serving.mean(), drive.serving.mean()}, nil
		},
	}
}

// repair is M/M/c//N.
func repair(s float64, c, machines int, think float64, size int, short bool) *experiment {
	throughput, waiting, wait := queueing.Repair(c, machines, think, s)
	return &experiment{
		name: fmt.Sprintf("M/M/%d//%d", c, machines), on: onBroker, short: short, size: size,
		lines: []line{{"throughput", throughput}, {"mean number waiting", waiting}, {"mean response", wait + s}},
		run: func(r *replication) ([]float64, error) {
			b, t, x, err := r.rounds(machines, think, []int{c}, []float64{1})
			if err != nil {
				return nil, err
			}
			return []float64{x, b.stations[0].waiting.mean(), t.mean()}, nil
		},
	}
}
