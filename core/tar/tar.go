// Package tar is the client's side of a restore: it receives the image's data
// and writes files (R8, R14). It ends when all is written (R15).
package tar

import (
	"context"
	"errors"
	"fmt"
	"maps"

	"capstan/core/archive"
	"capstan/core/bpjobd"
	"capstan/core/host"
	"capstan/core/pbx"
	"capstan/core/status"
	"capstan/core/stream"
	"capstan/core/trace"
)

// Role is the role's name.
const Role = "tar"

// Args is what the bpbrm child starts it with.
type Args struct {
	Master  string               `json:"master"`
	Parent  pbx.Addr             `json:"parent"` // the bpbrm child
	Server  string               `json:"server"` // the media server that the data comes from
	Ticket  string               `json:"ticket"`
	Options archive.WriteOptions `json:"options"`
	Names   pbx.Addr             `json:"names,omitempty"` // who answers [AskNames]; "" if no member has another name
}

// NamesQuery asks for other names of members, but for the first ones.
type NamesQuery struct {
	From int `json:"from"`
}

// Names is a page of them: see [archive.WriteOptions].
type Names struct {
	As   map[string]string `json:"as"`
	More bool              `json:"more"`
}

// AskNames asks who leads the restore which members are written under other names.
var AskNames = pbx.Declare[NamesQuery, Names]("bprd", "Names", pbx.Hosts, pbx.Query())

// Result is what was restored.
type Result struct {
	Files    int64 `json:"files"`
	Bytes    int64 `json:"bytes"`
	Problems int64 `json:"problems"`
}

const maxProblems = 1000 // that the job's log names

// Main is the process's main function.
func Main(ctx context.Context, env *host.Env, args Args, ready func()) (Result, error) {
	ctx = trace.WithRole(ctx, Role)
	stop, err := env.Calls.Serve(ctx, env.Addr.Service(), pbx.NewMux(ctx, Role, 0))
	if err != nil {
		return Result{}, err
	}
	defer stop()
	ctx, cancel := host.Attend(ctx, args.Parent)
	defer cancel(nil)
	// First: the data's connection comes when this process is ready, and is not kept for long.
	if args.Options.As, err = otherNames(ctx, args.Names); err != nil {
		return Result{}, err
	}
	ready()
	conn, err := env.Data.Accept(ctx, env.Addr.Service(), args.Ticket, args.Server)
	if err != nil {
		return Result{}, status.Errorf(status.NetworkRead, "waiting for the data of %s: %w", args.Server, err)
	}
	defer conn.Close()
	log := bpjobd.NewLog(ctx, args.Master)
	defer log.Flush(ctx)
	problems := 0
	w, err := archive.NewWriter(ctx, env.Files, args.Options, func(p archive.Problem) {
		if problems++; problems <= maxProblems {
			log.Say(ctx, p.String())
		}
	})
	if err != nil {
		return Result{}, status.Errorf(status.FileOpen, "target of the restore: %w", err)
	}
	defer w.Close(ctx)
	// The connection may stand before bptm's parent knows that its child has started
	// (R13); data comes only after that.
	end := func(string, int) {}
	n, err := stream.Splice(ctx, w, &onFirst{Source: conn, fn: func() { end = trace.Begin(ctx, "R14", "write files") }})
	if err != nil {
		code := status.Of(err, status.TarError)
		if errors.Is(err, stream.ErrCut) {
			code = status.NetworkBroken
		}
		end(err.Error(), int(code))
		return Result{}, &status.Error{Code: code, Err: err}
	}
	end(fmt.Sprintf("%d bytes", n.Bytes), 0)
	st := w.Done()
	return Result{Files: st.Files, Bytes: st.Bytes, Problems: st.Problems}, nil
}

// otherNames asks for all other names.
func otherNames(ctx context.Context, at pbx.Addr) (map[string]string, error) {
	if at == "" {
		return nil, nil
	}
	as := map[string]string{}
	for {
		p, err := AskNames.Call(ctx, at, NamesQuery{From: len(as)})
		if err != nil {
			return nil, err
		}
		maps.Copy(as, p.As)
		if !p.More {
			return as, nil
		}
	}
}

// onFirst is a source that calls fn when its first frame has come.
type onFirst struct {
	stream.Source
	fn func()
}

// Next gives the next frame.
func (o *onFirst) Next(ctx context.Context, f *stream.Frame) error {
	err := o.Source.Next(ctx, f)
	if err == nil && o.fn != nil {
		o.fn()
		o.fn = nil
	}
	return err
}
