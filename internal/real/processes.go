package real

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"capstan/core/daemon"
	"capstan/core/host"
	"capstan/core/pbx"
	"capstan/core/rt"
	"capstan/core/status"
	"capstan/core/trace"
	"capstan/hw/process"
)

// processes are the processes that a daemon has started: it knows them all, so
// that at its end none is left.
type processes struct {
	local *process.Local

	mu     sync.Mutex
	ending bool
	live   map[*live]struct{}
}

type live struct {
	host.Process
	spec host.Spec
}

var _ host.Local = (*processes)(nil)

func newProcesses(local *process.Local) *processes {
	return &processes{local: local, live: map[*live]struct{}{}}
}

// Start starts a process of a job; see [host.Local].
func (p *processes) Start(ctx context.Context, s host.Spec) (host.Process, error) {
	if s.Role == LibraryRole {
		return nil, status.Errorf(status.NotAllowed, "the process of a library is the daemon's own")
	}
	return p.start(ctx, s)
}

func (p *processes) start(ctx context.Context, s host.Spec) (host.Process, error) {
	p.mu.Lock()
	ending := p.ending
	p.mu.Unlock()
	if ending && s.Role != LibraryRole {
		return nil, status.Errorf(status.Terminated, "the daemon of this host is ending")
	}
	started, err := p.local.Start(ctx, s)
	if err != nil {
		return nil, err
	}
	l := &live{started, s}
	p.mu.Lock()
	p.live[l] = struct{}{}
	late := p.ending && s.Role != LibraryRole
	p.mu.Unlock()
	rt.Go(rt.WithoutCancel(ctx), "forget process", func(ctx context.Context) {
		_, err := l.Wait(ctx)
		_ = err // nothing ends this wait but the process
		p.mu.Lock()
		delete(p.live, l)
		p.mu.Unlock()
	})
	if late {
		l.Terminate()
	}
	return l, nil
}

// end ends the processes that are of jobs, or those that are not, and returns
// when they are gone: at once asked, after grace killed.
func (p *processes) end(ctx context.Context, ofJobs bool, grace time.Duration) {
	p.mu.Lock()
	p.ending = true
	var all []*live
	for l := range p.live {
		if (l.spec.Role != LibraryRole) == ofJobs {
			all = append(all, l)
		}
	}
	p.mu.Unlock()
	for _, l := range all {
		l.Terminate()
	}
	limit := time.AfterFunc(grace, func() {
		for _, l := range all {
			l.Kill()
		}
	})
	defer limit.Stop()
	for _, l := range all {
		_, err := l.Wait(ctx)
		_ = err // ctx does not end before the processes do
	}
}

// Process is the main function of the hidden subcommand "process": one role for
// one job, or one virtual library, as the daemon says. What it returns is for
// os.Exit.
func Process() int {
	mains := daemon.Mains()
	mains[LibraryRole] = host.Role(libraryMain)
	return process.Main(mains, build)
}

// build makes the environment of a process from the configuration that the
// daemon hands over.
func build(ctx context.Context, spec host.Spec, ctl *process.Control) (context.Context, *host.Env, func(), error) {
	h, err := parse("the host's configuration", ctl.World())
	if err == nil {
		err = h.identify()
	}
	if err != nil {
		return nil, nil, nil, err
	}
	log := slog.New(ctl.Handler())
	self := pbx.Addr(h.Config.Name + "/" + spec.Service())
	p, err := h.open(self, h.Config.RunDir, log)
	if err != nil {
		return nil, nil, nil, fmt.Errorf("the network of %s: %w", self, err)
	}
	env, closeWorld := h.world(p, log)
	ctx = pbx.With(ctx, p, incarnation(), spec.Epoch)
	ctx = trace.With(ctx, trace.New(ctx, h.Config.Name, string(self), ctl))
	return ctx, env, func() {
		if err := closeWorld(); err != nil && !errors.Is(err, context.Canceled) {
			log.Debug("closing what the process had open", "error", err)
		}
	}, nil
}

// incarnation tells this process from others that had its address.
func incarnation() uint64 {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return binary.LittleEndian.Uint64(b[:]) | 1
}
