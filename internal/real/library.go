package real

import (
	"context"
	"log/slog"
	"path/filepath"
	"time"

	"capstan/core/dev"
	"capstan/core/host"
	"capstan/core/rt"
	"capstan/hw/vlib"
	"capstan/internal/convert"
	"capstan/scenarios"
	"capstan/vtl"
)

// LibraryRole is the role of the process that is a virtual library. Only the
// host's own daemon starts it.
const LibraryRole = "library"

// libraryArgs is what the process of a virtual library is started with.
type libraryArgs struct {
	Config vtl.Config `json:"config"`
	Dir    string     `json:"dir"`    // of the cartridges
	Socket string     `json:"socket"` // at which it answers
}

// libraryMain is the main function of a virtual library's process.
func libraryMain(ctx context.Context, env *host.Env, args libraryArgs, ready func()) (struct{}, error) {
	l, err := vlib.Listen(args.Socket)
	if err != nil {
		return struct{}{}, err
	}
	open := func(ctx context.Context) (dev.Library, error) {
		lib, err := vtl.New(ctx, args.Config, vtl.Options{Dir: env.Dir(args.Dir)})
		if err != nil {
			return nil, err
		}
		ready()
		return lib, nil
	}
	return struct{}{}, vlib.Serve(ctx, vlib.Config{Open: open, Log: env.Log}, l)
}

// libraryDir is where a library's cartridges are.
func libraryDir(l *scenarios.Library) string {
	if l.Dir != "" {
		return l.Dir
	}
	return filepath.Join("libraries", l.Name)
}

// Pauses before a library whose process ended is started again.
const (
	firstPause = 200 * time.Millisecond
	longPause  = time.Minute
	steady     = time.Minute // a process that lived so long did not fail at its start
)

// keepLibrary runs the process of a virtual library, the nth of the host, until
// ctx ends: it is started again whenever it ends. started is called once, when
// the first has come up or failed to.
func keepLibrary(ctx context.Context, local *processes, cfg *scenarios.Host, n int, log *slog.Logger, started func()) {
	defer started()
	l := &cfg.Libraries[n]
	log = log.With("library", l.Name)
	args := libraryArgs{Config: convert.Library(l), Dir: libraryDir(l), Socket: librarySocket(cfg.RunDir, l.Name)}
	spec := host.Spec{Role: LibraryRole, N: n, Args: host.Value(args)}
	for pause := firstPause; ctx.Err() == nil; {
		began := rt.Mono(ctx)
		p, err := local.start(ctx, spec)
		if err != nil {
			log.Error("the library's process cannot be started", "error", err)
		} else {
			started()
			exit, werr := p.Wait(ctx)
			if werr != nil {
				return // ctx has ended: the daemon ends its processes
			}
			log.Error("the library's process has ended; it is started again", "signal", exit.Signal, "detail", exit.Detail)
		}
		if rt.Mono(ctx)-began > steady {
			pause = firstPause
		}
		if rt.Sleep(ctx, pause) != nil {
			return
		}
		pause = min(2*pause, longPause)
	}
}
