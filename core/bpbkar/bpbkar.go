// Package bpbkar is the client's side of a backup: it reads files, sends the
// information about them to bpbrm throughout the backup (B11), and, once the
// media is mounted and positioned, the image's data to the bptm child (B12).
package bpbkar

import (
	"context"
	"errors"
	"fmt"

	"capstan/core/archive"
	"capstan/core/bpjobd"
	"capstan/core/catalog"
	"capstan/core/host"
	"capstan/core/pbx"
	"capstan/core/rt"
	"capstan/core/status"
	"capstan/core/stream"
	"capstan/core/trace"
)

// Role is the role's name.
const Role = "bpbkar"

// Args is what bpbrm starts it with.
type Args struct {
	Master    string            `json:"master"`
	Bpbrm     pbx.Addr          `json:"bpbrm"`
	Selection archive.Selection `json:"selection"`
}

// Result is what it found when it has ended well.
type Result struct {
	Files    int64 `json:"files"`
	Bytes    int64 `json:"bytes"` // of the image's stream
	Problems int64 `json:"problems"`
	// Began is this host's clock before the first file was looked at: an incremental
	// takes what changed since, by the same clock.
	Began rt.Time `json:"began"`
}

// Target is where to send the data.
type Target struct {
	Addr   pbx.Addr `json:"addr"`
	Ticket string   `json:"ticket"`
	// Amends says that the receiver understands frames of kind [stream.Amend].
	Amends bool `json:"amends,omitempty"`
}

// Batch is information about files, in archive order. Seq counts from 0.
type Batch struct {
	Seq     int64           `json:"seq"`
	Entries []catalog.Entry `json:"entries"`
	// Amended take the place of entries that were told before: of files that were
	// read since.
	Amended []catalog.Entry `json:"amended,omitempty"`
	Last    bool            `json:"last,omitempty"`
}

// Before asks what the backups that this one builds on show at a path or, page by
// page, in a directory.
type Before struct {
	Path  string `json:"path"`
	Names bool   `json:"names,omitempty"` // in the directory Path
	After string `json:"after,omitempty"` // the last name of the page before
}

// Known is a part of the answer to [Before].
type Known struct {
	Known []catalog.Known `json:"known"`
	More  bool            `json:"more"`
}

// What bpbkar answers, and what it tells bpbrm.
var (
	Send      = pbx.Declare[Target, struct{}](Role, "Send", pbx.Media)
	AskBefore = pbx.Declare[Before, Known]("bpbrm", "Before", pbx.Hosts, pbx.Query())
	Files     = pbx.Declare[Batch, struct{}]("bpbrm", "Files", pbx.Hosts, pbx.Step("B11", ""))
	// Ends says what is known of the image before the end of its data is sent.
	Ends = pbx.Declare[Result, struct{}]("bpbrm", "Ends", pbx.Hosts)
)

// Main is the process's main function.
func Main(ctx context.Context, env *host.Env, args Args, ready func()) (Result, error) {
	ctx = trace.WithRole(ctx, Role)
	var target Target
	told := rt.NewEvent(ctx)
	mux := pbx.NewMux(ctx, Role, 0)
	pbx.Handle(mux, Send, func(hctx context.Context, from pbx.Peer, t Target) (struct{}, error) {
		if from.Addr != args.Bpbrm {
			return struct{}{}, status.Errorf(status.NotAllowed, "%s is not the bpbrm of this backup", from.Addr)
		}
		target = t
		pbx.AfterReply(hctx, told.Set)
		return struct{}{}, nil
	})
	stop, err := env.Calls.Serve(ctx, env.Addr.Service(), mux)
	if err != nil {
		return Result{}, err
	}
	defer stop()
	ready()
	ctx, cancel := host.Attend(ctx, args.Bpbrm)
	defer cancel(nil)
	if err := told.Wait(ctx); err != nil {
		return Result{}, err
	}
	return send(ctx, env, args, target)
}

// maxProblems is how many files a job's log names; the rest are counted.
const maxProblems = 1000

func send(ctx context.Context, env *host.Env, args Args, target Target) (Result, error) {
	began := rt.Now(ctx)
	log := bpjobd.NewLog(ctx, args.Master)
	defer log.Flush(ctx)
	problems := 0
	reader, err := archive.NewReader(ctx, env.Files, args.Selection, func(p archive.Problem) {
		if problems++; problems <= maxProblems {
			log.Say(ctx, p.String())
		}
	})
	if err != nil {
		return Result{}, err
	}
	defer reader.Close()
	reader.BuildOn(before{args.Bpbrm})
	conn, err := env.Data.Dial(ctx, target.Addr, target.Ticket)
	if err != nil {
		return Result{}, status.Errorf(status.SocketOpen, "connecting to %s: %w", target.Addr, err)
	}
	defer conn.Close()

	tell := newTeller(ctx, args.Bpbrm)
	result := func() Result {
		st := reader.Done()
		return Result{Files: st.Files, Bytes: st.Bytes, Problems: st.Problems, Began: began}
	}
	// The step ends with the data: what follows the End frame is the others' part.
	end := trace.Begin(ctx, "B12", "send data")
	atEnd := func(f *stream.Frame) error {
		end(fmt.Sprintf("%d bytes", f.Total), 0)
		_, err := Ends.Call(ctx, args.Bpbrm, result()) // bptm asks bpbrm for it when it has the End frame
		return err
	}
	_, err = stream.Splice(tell.ctx, conn, &tee{Source: reader, reader: reader, tell: tell, atEnd: atEnd, amends: target.Amends})
	if err := errors.Join(tell.finish(ctx), err); err != nil {
		return Result{}, &status.Error{Code: status.Of(err, status.NetworkBroken), Err: err}
	}
	return result(), nil
}

// tee shows the entries that pass to the teller, and the end to atEnd.
type tee struct {
	stream.Source
	reader *archive.Reader
	tell   *teller
	atEnd  func(f *stream.Frame) error
	amends bool         // what is amended goes into the stream, too
	held   stream.Frame // that comes after it
}

func (t *tee) Next(ctx context.Context, f *stream.Frame) error {
	if t.held.Kind != 0 {
		*f, t.held = t.held, stream.Frame{}
	} else if err := t.Source.Next(ctx, f); err != nil {
		return err
	} else if es := t.reader.Amended(); len(es) > 0 {
		if err := t.tell.amend(ctx, es); err != nil {
			return err
		}
		if t.amends {
			*f, t.held = stream.Frame{Kind: stream.Amend, Entries: es}, *f
			return nil
		}
	}
	switch f.Kind {
	case stream.Member:
		return t.tell.add(ctx, f.Entries)
	case stream.End:
		return t.atEnd(f)
	}
	return nil
}

// teller sends batches of entries to bpbrm beside the data.
type teller struct {
	bpbrm pbx.Addr
	ctx   context.Context // ends when a batch could not be delivered
	group *rt.Group
	queue *rt.Queue[Batch] // to the task that tells bpbrm; nil before the first batch is full
	sent  int64            // batches
	batch Batch            // to be
	size  int
}

const (
	// batchBytes is about how long a batch is on the wire.
	batchBytes = 256 << 10
	// batchesAhead bounds how far the information may lag behind the data.
	batchesAhead = 16
)

func newTeller(ctx context.Context, bpbrm pbx.Addr) *teller {
	t := &teller{bpbrm: bpbrm}
	t.group, t.ctx = rt.NewGroup(ctx)
	return t
}

// start starts the task that tells bpbrm.
func (t *teller) start() {
	t.queue = rt.NewQueue[Batch](t.ctx, batchesAhead)
	t.group.Go(t.ctx, "tell bpbrm", func(ctx context.Context) error {
		for {
			b, err := t.queue.Get(ctx)
			if errors.Is(err, rt.ErrClosed) {
				return nil
			}
			if err != nil {
				return err
			}
			if err := t.send(ctx, b); err != nil {
				return err
			}
		}
	})
}

func (t *teller) send(ctx context.Context, b Batch) error {
	b.Seq = t.sent
	t.sent++
	_, err := Files.Call(ctx, t.bpbrm, b)
	return err
}

func (t *teller) add(ctx context.Context, es []catalog.Entry) error {
	t.batch.Entries = append(t.batch.Entries, es...)
	return t.added(ctx, es)
}

func (t *teller) amend(ctx context.Context, es []catalog.Entry) error {
	t.batch.Amended = append(t.batch.Amended, es...)
	return t.added(ctx, es)
}

func (t *teller) added(ctx context.Context, es []catalog.Entry) error {
	for i := range es {
		t.size += 120 + len(es[i].Path) + len(es[i].Link)
	}
	if t.size < batchBytes {
		return nil
	}
	return t.flush(ctx)
}

func (t *teller) flush(ctx context.Context) error {
	if t.size == 0 {
		return nil
	}
	if t.queue == nil {
		t.start()
	}
	b := t.batch
	t.batch, t.size = Batch{}, 0
	return t.queue.Put(ctx, b)
}

// finish sends what is left and waits until bpbrm has it all.
func (t *teller) finish(ctx context.Context) (err error) {
	t.batch.Last = true
	switch {
	case t.queue != nil:
		err = t.flush(t.ctx)
		t.queue.Close()
	case t.size > 0: // all of it, as of most backups
		err = t.send(t.ctx, t.batch)
	}
	return errors.Join(t.group.Wait(ctx), err)
}

// before asks bpbrm what the backups that this one builds on show.
type before struct{ bpbrm pbx.Addr }

var _ archive.Base = before{}

func (b before) Lookup(ctx context.Context, path string) (k catalog.Known, ok bool, err error) {
	p, err := AskBefore.Call(ctx, b.bpbrm, Before{Path: path})
	if err != nil || len(p.Known) == 0 {
		return k, false, err
	}
	return p.Known[0], true, nil
}

func (b before) Names(ctx context.Context, dir, after string) ([]catalog.Known, bool, error) {
	p, err := AskBefore.Call(ctx, b.bpbrm, Before{Path: dir, Names: true, After: after})
	return p.Known, p.More, err
}
