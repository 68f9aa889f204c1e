// Package pbxtest is what every implementation of the seam of calls
// (pbx.Transport) must do. Both worlds run it: see [Run].
//
// The tests start processes on hosts of a small domain and have them call each
// other. They wait and start tasks only through package rt, so that the virtual
// world can run them.
package pbxtest

import (
	"context"

	"capstan/core/pbx"
	"capstan/core/trace"
)

// The identities of the suite's processes.
var (
	Master = pbx.Identity{Kinds: pbx.Master, Name: "master"}
	Media  = pbx.Identity{Kinds: pbx.Media, Name: "media"}
	Client = pbx.Identity{Kinds: pbx.Client, Name: "client"}
	Alice  = pbx.Identity{Kinds: pbx.User, Name: "alice"} // on the host client
)

// Fixture is one world with the hosts master, media and client.
type Fixture interface {
	// Run runs body as the first task of a process of Master at "master/test",
	// and returns when body has; what was started meanwhile is killed then.
	Run(body func(ctx context.Context))
	// Start starts a process at an address, and main as its first task. The
	// context carries task, tracer and transport. The process lives on when main
	// has returned. The address is what the process says of itself: its host may
	// be another than the identity's.
	Start(ctx context.Context, id pbx.Identity, addr pbx.Addr, main func(ctx context.Context))
	// Kill ends a process as SIGKILL does.
	Kill(ctx context.Context, addr pbx.Addr)
	// LoseReply has the next reply to the process at addr lost on its way.
	LoseReply(ctx context.Context, addr pbx.Addr)
	// Events is what all processes have traced, in the order of their ends.
	Events() []trace.Event
}
