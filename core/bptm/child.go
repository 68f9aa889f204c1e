package bptm

import (
	"context"
	"errors"
	"fmt"

	"capstan/core/host"
	"capstan/core/media"
	"capstan/core/pbx"
	"capstan/core/status"
	"capstan/core/stream"
	"capstan/core/trace"
)

// Child is the child's main function. In a backup it receives the image from
// the client and stores it block by block in the ring (B12); in a restore it
// delivers what the parent put there to tar (R14).
func Child(ctx context.Context, env *host.Env, args ChildArgs, ready func()) (stream.Waits, error) {
	ctx = trace.WithRole(ctx, Role)
	ring, err := env.Rings.Attach(ctx, args.Ring)
	if err != nil {
		return stream.Waits{}, status.Errorf(status.SharedMemory, "ring %s: %w", args.Ring, err)
	}
	defer ring.Close()
	service := env.Addr.Service()
	stop, err := env.Calls.Serve(ctx, service, pbx.NewMux(ctx, Role, 0))
	if err != nil {
		return stream.Waits{}, err
	}
	defer stop()
	ready()
	ctx, cancel := host.Attend(ctx, args.Parent)
	defer cancel(nil)

	var conn stream.Conn
	if args.Restore {
		conn, err = env.Data.Dial(ctx, args.To, args.Ticket)
	} else {
		conn, err = env.Data.Accept(ctx, service, args.Ticket, args.Peer)
	}
	if err != nil {
		return stream.Waits{}, status.Errorf(status.NetworkRead, "data connection with %s: %w", args.Peer, err)
	}
	defer conn.Close()

	step, in, out := "B12", stream.Source(conn), stream.Sink(media.NewPacker(ring, media.Limits{Bytes: args.Limit, Entries: media.DefaultEntries}))
	if args.Restore {
		step, in, out = "R14", media.NewUnpacker(ring), conn
	}
	end := trace.Begin(ctx, step, "between client and ring")
	n, err := stream.Splice(ctx, out, in)
	if err != nil {
		code := status.Of(err, status.NetworkRead)
		if errors.Is(err, stream.ErrCut) {
			code = status.NetworkBroken
		}
		end(err.Error(), int(code))
		return ring.Waits(), &status.Error{Code: code, Err: err}
	}
	end(fmt.Sprintf("%d bytes", n.Bytes), 0)
	if args.Restore {
		// The data is restored when tar has written it (R15). How tar ended is told to
		// bpbrm, whose process started it.
		_, err = host.Await(ctx, args.To)
	}
	return ring.Waits(), err
}
