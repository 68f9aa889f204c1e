// Package sim is the virtual world: a deterministic discrete-event simulation in
// which the roles of core run as they do in production.
//
// A [World] has virtual time, [Host]s with clocks of their own, and a network
// between them. A host runs [Process]es; a process is a set of tasks; a task is
// a coroutine. One thread runs everything from one queue of events, ordered by
// time, priority and sequence, so that a seed gives the same run on any machine:
// the trace, one record of everything that the roles did, is the same byte for
// byte ([World.TraceHash]).
//
// A world is put together and run like this:
//
//	w := sim.New(sim.Options{Seed: 1})
//	defer w.Close()
//	master := w.NewHost("master", pbx.Master)
//	master.Daemon("pbx", func(ctx context.Context, env *host.Env) error { … })
//	master.Boot()
//	err := w.Run(24 * time.Hour)
//
// A host's Mains are the roles that [host.Local] may start there; Options.Setup
// gives each process its files, devices and database. Faults are functions of the
// world ([World.Kill], [Host.Crash], [World.Cut], [World.Drop], [Host.JumpClock]
// and others), now or, by [World.At], at a time. Data that nobody holds takes the
// time that [World.Transfer] says, which is what drives and disks are given to call.
//
// What a process does when it dies is nothing: a kill is an event of the world.
// The process is marked dead, what it held (connections, services, rings) is
// taken from it as a kernel would, and its tasks unwind by a panic that only the
// task's wrapper recovers. Whatever they ask of a seam on the way has no effect.
package sim
