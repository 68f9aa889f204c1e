// Package host is the seam of processes: what a process can reach of its world
// ([Env]), and how a role starts another on a host and learns of its end.
//
// Processes are started by the daemon of their host (core/daemon), which calls
// [Local]: in the real world that is an OS process of the same binary, in the
// virtual one a set of tasks. Either can be killed, and then does nothing more.
package host

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"

	"capstan/core/dev"
	"capstan/core/pbx"
	"capstan/core/store"
	"capstan/core/stream"
	"capstan/core/tree"
)

// Env is what a process can reach of its world.
type Env struct {
	Host    string                      // the host's name
	Addr    pbx.Addr                    // of this process
	Calls   pbx.Transport               // also in the process's context
	Data    stream.Net                  // data connections
	Rings   stream.Rings                // shared memory with a process of the same host
	Local   Local                       // starts processes; daemons only
	Files   tree.FS                     // the host's file tree: clients
	Dir     func(path string) store.Dir // a directory for files of our own
	Devices dev.Finder                  // drives and robots: media servers
	DB      store.DB                    // the master's database; daemons of the master only
	Log     *slog.Logger
	// Transfer takes the time that hollow data needs to cross resources; nil in
	// the real world, which has none.
	Transfer func(ctx context.Context, via []dev.Resource, bytes int64) error
}

// Spec says which process to start.
type Spec struct {
	Role  string `json:"role"`
	Job   int64  `json:"job"`
	Try   int    `json:"try"`
	N     int    `json:"n"` // which of its role in that try
	Epoch uint64 `json:"epoch"`
	Args  Body   `json:"args"` // what the role's main function takes
	// Restore says that the job is a restore.
	Restore bool `json:"restore,omitempty"`
}

// Service is the service name at which the process answers.
func (s *Spec) Service() string { return pbx.ProcessService(s.Role, s.Job, s.Try, s.N) }

// Exit is how a process ended.
type Exit struct {
	// Result is what the main function returned, if it returned.
	Result Body `json:"result,omitzero"`
	// Code and Detail are its error's, or 0.
	Code   int    `json:"code,omitempty"`
	Detail string `json:"detail,omitempty"`
	// Killed says that it ended without returning: by a signal, a crash or with its host.
	Killed bool   `json:"killed,omitempty"`
	Signal string `json:"signal,omitempty"`
}

// Death says how a process that was killed ended.
func (e *Exit) Death() string {
	if why := cmp.Or(e.Signal, e.Detail); why != "" {
		return "was killed (" + why + ")"
	}
	return "was killed"
}

// Local starts processes on this host.
type Local interface {
	// Start starts a process and returns when it is ready: its main function has
	// called Ready, or has ended.
	Start(ctx context.Context, s Spec) (Process, error)
}

// Process is a started process.
type Process interface {
	// Pid is the process's number on its host.
	Pid() int
	// Wait waits for the end.
	Wait(ctx context.Context) (Exit, error)
	// Terminate asks it to end (context cancelled; SIGTERM after 10 s); Kill does
	// not ask.
	Terminate()
	Kill()
}

// Main is the main function of a role's process. It calls ready once it answers
// calls; ctx ends when it shall.
type Main func(ctx context.Context, env *Env, args Body, ready func()) (result Body, err error)

// Role makes a Main of a role's function with typed arguments and result.
func Role[A, R any](fn func(ctx context.Context, env *Env, args A, ready func()) (R, error)) Main {
	return func(ctx context.Context, env *Env, given Body, ready func()) (Body, error) {
		args, err := ReadBody[A](given)
		if err != nil {
			return Body{}, fmt.Errorf("arguments of %s: %w", env.Addr, err)
		}
		r, err := fn(ctx, env, args, ready)
		if err != nil {
			return Body{}, err
		}
		return Value(r), nil
	}
}

// Mains finds the main function of each role that runs as a process.
type Mains map[string]Main
