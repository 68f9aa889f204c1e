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
	"capstan/vtl"
)

// onRobot is what the experiments of this file run.
const onRobot = "robot of vtl"

// robots are the experiments with the virtual library's robot as the server.
func robots(s float64) []*experiment {
	return []*experiment{
		carrying(s, constant, .5, 9_000, true), carrying(s, constant, .8, 10_500, false), carrying(s, constant, .9, 45_000, false),
		carrying(s, shifted(.5), .5, 9_000, true), carrying(s, shifted(.5), .8, 15_000, false),
	}
}

// carrying is M/G/1 at the robot: each customer has it carry the one cartridge
// from the slot where it is to the other, which always takes the same time;
// further time, where the law wants it, is a delay injected into the move. The wait is that for the hand,
// in the queue of the robot's commands. All is in units of the law's mean.
func carrying(s float64, l law, rho float64, size int, short bool) *experiment {
	return &experiment{
		name: fmt.Sprintf("M/%s/1, c² %.3g, ρ %v, moves", l.name, l.moments.SCV(), rho), on: onRobot, short: short, size: size,
		lines: []line{{"mean wait", queueing.MG1Wait(rho, l.scaled(s).moments)}},
		run:   func(r *replication) ([]float64, error) { return r.carrying(l, rho) },
	}
}

// hand is a robot that carries one cartridge between two slots.
type hand struct {
	lib   *vtl.Library
	name  string
	robot dev.Changer
	takes time.Duration // a move
	moves int
}

// newHand makes a library and finds out how long a move takes.
func newHand(ctx context.Context) (*hand, error) {
	cfg := vtl.Config{Name: "robot", Slots: 2, Cartridges: []vtl.CartridgeConfig{{Barcode: "CAP001L9", Slot: 1}}, TimeScale: 1}
	lib, err := vtl.New(ctx, cfg, vtl.Options{})
	if err != nil {
		return nil, err
	}
	h := &hand{lib: lib, name: cfg.Name}
	if h.robot, err = lib.Changer(ctx, cfg.Name); err != nil {
		return nil, err
	}
	for range 2 { // the first begins with the hand elsewhere
		began := rt.Mono(ctx)
		if err := h.carry(ctx); err != nil {
			return nil, err
		}
		h.takes = rt.Mono(ctx) - began
	}
	return h, nil
}

// carry queues a move; as the queue is first come first served, who comes nth finds
// the cartridge where the one before him has brought it.
func (h *hand) carry(ctx context.Context) error {
	from := 1 + h.moves%2
	h.moves++
	return h.robot.Move(ctx, vtl.SlotAddress(from), vtl.SlotAddress(3-from))
}

func (r *replication) carrying(l law, rho float64) ([]float64, error) {
	var t tally
	err := r.inWorld(func(ctx context.Context, _ *host.Env, _ *sim.World) error {
		h, err := newHand(ctx)
		if err != nil {
			return err
		}
		// The law is scaled so that a move is its shortest service.
		mean := float64(h.takes)
		if l.name != constant.name {
			mean = 2 * float64(h.takes)
		}
		r.window(rho / units(time.Duration(mean)))
		before, _ := h.lib.Stats()
		var waiting, served time.Duration
		g, gctx := rt.NewGroup(ctx)
		services := r.stream(ctx, "customers", "services")
		present := r.area()
		r.arrivals(gctx, g, "customers", rho/units(time.Duration(mean)), func(ctx context.Context, _ int) error {
			came := rt.Mono(ctx)
			service := time.Duration(l.draw(services) * mean * r.factor)
			h.lib.Inject(dev.Fault{Device: h.name, Op: dev.OpMove, Delay: service - h.takes})
			present.add(came, 1)
			err := h.carry(ctx)
			present.add(rt.Mono(ctx), -1)
			wait := rt.Mono(ctx) - came - service
			waiting, served = waiting+wait, served+service
			if r.counts(came) {
				t.add(float64(wait)/mean, 0)
			}
			return err
		})
		if err := g.Wait(ctx); err != nil {
			return err
		}
		after, _ := h.lib.Stats()
		n := after.Moves - before.Moves
		switch {
		case present.now != 0 || present.whole != int64(waiting+served):
			return fmt.Errorf("%s: Little's law: the integral of the number there is %d, the sum of times %d ns", h.name, present.whole, waiting+served)
		case present.busy != served:
			return fmt.Errorf("%s: utilisation law: it was busy for %v, the services were %v", h.name, present.busy, served)
		case after.Busy-before.Busy != time.Duration(n)*h.takes:
			return fmt.Errorf("%s: utilisation law: %d moves of %v, its statistics say %v", h.name, n, h.takes, after.Busy-before.Busy)
		}
		return h.lib.Close(ctx)
	})
	return []float64{t.mean()}, err
}
