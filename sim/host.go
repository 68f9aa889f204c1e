package sim

import (
	"context"
	"fmt"
	"time"

	"capstan/core/host"
	"capstan/core/pbx"
	"capstan/core/rt"
)

// Host is one machine of the world: a clock, processes, services, an interface
// to the network. It can crash and start again.
type Host struct {
	// Mains are the processes that host.Local may start here.
	Mains host.Mains

	w       *World
	name    string
	kinds   pbx.Kinds
	nic     nic
	routes  map[string]*route // by the other host's name
	up      bool
	offset  time.Duration // of the wall clock from the world's
	lastPid int
	procs   []*Process // that live, in order of start
	daemons []daemon   // started at boot

	services map[string]*service
	tickets  map[ticketKey]*rendezvous
	rings    map[string]*ring
}

type daemon struct {
	name string
	main func(ctx context.Context, env *host.Env) error
}

// NewHost makes a host of the given kinds, running, with nothing on it. Its name
// is also that of its identity.
func (w *World) NewHost(name string, kinds pbx.Kinds) *Host {
	if w.byName[name] != nil {
		panic("sim: two hosts named " + name)
	}
	h := &Host{
		w: w, name: name, kinds: kinds, up: true,
		routes: map[string]*route{}, services: map[string]*service{}, tickets: map[ticketKey]*rendezvous{}, rings: map[string]*ring{},
	}
	h.SetRate(w.net.model.Rate)
	w.hosts = append(w.hosts, h)
	w.byName[name] = h
	return h
}

// Host finds a host by its name, nil if there is none.
func (w *World) Host(name string) *Host { return w.byName[name] }

// Hosts are the world's hosts in the order in which they were made.
func (w *World) Hosts() []*Host { return w.hosts }

// Name is the host's name.
func (h *Host) Name() string { return h.name }

// Now is the host's wall clock.
func (h *Host) Now() rt.Time { return h.w.opts.Start.Add(h.w.Mono() + h.offset) }

// JumpClock sets the host's wall clock forward, or back, by d. Tasks may call it.
func (h *Host) JumpClock(d time.Duration) {
	h.offset += d
	for _, p := range h.procs {
		for t := p.first; t != nil; t = t.next {
			if t.toWall {
				t.Unpark()
			}
		}
	}
}

// Daemon has main run as the process name of the host from Boot on, and again
// after each Restart. A main that fails fails the world.
func (h *Host) Daemon(name string, main func(ctx context.Context, env *host.Env) error) {
	h.daemons = append(h.daemons, daemon{name, main})
}

// Boot starts the host's daemons.
func (h *Host) Boot() {
	h.up = true
	for _, d := range h.daemons {
		h.Spawn(d.name, d.main)
	}
}

// Spawn starts main as a process of the host, at the address host/name, now. A
// main that fails without having been asked to end fails the world. Tasks may
// call it.
func (h *Host) Spawn(name string, main func(ctx context.Context, env *host.Env) error) *Process {
	return h.SpawnAs(h.Identity(), name, main)
}

// SpawnAs is Spawn of a process that others take for id: a person's command.
func (h *Host) SpawnAs(id pbx.Identity, name string, main func(ctx context.Context, env *host.Env) error) *Process {
	p := h.newProcess(host.Spec{}, pbx.At(h.name, name), id)
	p.run(func(ctx context.Context, env *host.Env) (host.Body, error) {
		err := main(ctx, env)
		if err != nil && ctx.Err() == nil {
			h.w.fail(fmt.Errorf("process %s: %w", p.addr, err))
		}
		return host.Body{}, err
	})
	return p
}

// Identity is who the host is for its peers.
func (h *Host) Identity() pbx.Identity { return pbx.Identity{Kinds: h.kinds, Name: h.name} }

// Processes are those that live, in order of start.
func (h *Host) Processes() []*Process { return append([]*Process(nil), h.procs...) }

// Find is the process at an address, nil if none lives there.
func (w *World) Find(addr pbx.Addr) *Process {
	if h := w.byName[addr.Host()]; h != nil {
		for _, p := range h.procs {
			if p.addr == addr {
				return p
			}
		}
	}
	return nil
}

// Kill kills the process at an address as SIGKILL does; false if none lives
// there. Tasks may call it.
func (w *World) Kill(addr pbx.Addr) bool {
	p := w.Find(addr)
	if p != nil {
		p.Kill()
	}
	return p != nil
}

// Crash kills everything on the host and takes it from the network, as a power
// failure does. Tasks may call it.
func (h *Host) Crash() { h.w.event(h.crash) }

func (h *Host) crash() {
	h.up = false
	for len(h.procs) > 0 {
		h.procs[0].die(host.Exit{Killed: true, Detail: "host " + h.name + " crashed"})
	}
}

// Restart is Crash, and Boot after down, unless the host was started meanwhile.
// Tasks may call it.
func (h *Host) Restart(down time.Duration) {
	h.Crash()
	h.w.callAt(addClock(h.w.clock, int64(down)), urgent, nil, func() {
		if !h.up {
			h.Boot()
		}
	})
}
