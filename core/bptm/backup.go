package bptm

import (
	"context"
	"errors"
	"fmt"

	"capstan/core/image"
	"capstan/core/media"
	"capstan/core/nbemm"
	"capstan/core/pbx"
	"capstan/core/rt"
	"capstan/core/status"
	"capstan/core/stream"
	"capstan/core/trace"
)

// backup is B9 to B13.
func (p *parent) backup(ctx context.Context, cancel func(error)) error {
	a, err := p.ask(ctx, Media{}) // B9
	if err != nil {
		return err
	}
	w := &writer{p: p, alloc: a, frags: media.NewFragments(p.args.BackupID, 1, a.Unit.BlockSize, p.args.Image)}
	if err := p.open(ctx, w, cancel); err != nil { // B10
		return err
	}
	defer p.ring.Close()
	p.say(ctx, "begin writing")
	end := trace.Begin(ctx, "B12", "write blocks")
	began := rt.Mono(ctx)
	if err := w.run(ctx); err != nil {
		p.sayAlerts(ctx, w.tape)
		err = p.cause(ctx, err)
		end(err.Error(), int(status.Of(err, status.MediaWrite)))
		return err
	}
	c := w.pace
	c.bytes, c.took, c.parent = w.total, rt.Mono(ctx)-began, p.ring.Waits()
	if c.child, err = p.childEnd(ctx); err != nil {
		end(err.Error(), int(status.Of(err, status.MediaWrite)))
		return err
	}
	end(c.detail(), 0)
	p.sayPace(ctx, "end writing", &c)

	// B13: bpbrm learns that the image stands, nbjm that the media is free.
	if _, err := AllDone.Call(ctx, p.args.Bpbrm, Done{Bytes: w.total, Written: w.written}); err != nil {
		return err
	}
	if w.tape != nil {
		if err := p.unmount(ctx, w.tape); err != nil {
			return err
		}
	}
	_, err = MediaDone.Call(ctx, p.args.Nbjm, struct{}{})
	return err
}

// open mounts and positions, and meanwhile spawns the child; then it tells bpbrm
// where the client may send.
func (p *parent) open(ctx context.Context, w *writer, cancel func(error)) error {
	name, err := p.makeRing(ctx, w.alloc.Unit.BlockSize)
	if err != nil {
		return err
	}
	ticket := stream.NewTicket(ctx, p.env.Addr)
	g, _ := rt.NewGroup(ctx)
	g.Go(ctx, "spawn", func(ctx context.Context) error {
		_, err := p.spawn(ctx, "B10", ChildArgs{Ring: name, Peer: p.args.Client, Ticket: ticket, Limit: w.alloc.Unit.FragmentSize}, cancel)
		return err
	})
	err = w.openVolume(ctx)
	if err := errors.Join(err, g.Wait(ctx)); err != nil {
		return err
	}
	to := Ready{Addr: pbx.ProcessAt(p.env.Host, Role, trace.JobOf(ctx).ID, trace.JobOf(ctx).Try, childN), Ticket: ticket, Amends: true}
	_, err = MediaReady.Call(ctx, p.args.Bpbrm, to)
	return err
}

// volume is what fragments are written to: a cartridge in a drive, or the
// directory of a disk unit.
type volume interface {
	// begin starts a fragment's data file with its header's block. It fills in
	// where the fragment lies.
	begin(ctx context.Context, header []byte, f *image.Fragment) error
	// write writes one block. full says that little room is left. errNoRoom says
	// that the block was not written.
	write(ctx context.Context, b []byte) (full bool, err error)
	// writeHollow writes up to n bytes that nobody holds, in blocks of a size.
	writeHollow(ctx context.Context, s *stream.Slot, n int64) (written int64, full bool, err error)
	// end writes the trailer and makes the fragment durable.
	end(ctx context.Context, trailer [][]byte) error
}

// errNoRoom says that a volume is full and a block was not written.
var errNoRoom = errors.New("the volume is full")

// writer writes one copy of an image to as many volumes as it takes.
type writer struct {
	p       *parent
	alloc   nbemm.Allocation
	volume  volume
	tape    *tape // the volume, if it is a cartridge
	frags   *media.Fragments
	current *image.Fragment // nil between fragments
	full    bool            // the volume has had its early warning
	used    []string        // media filled by this job
	before  string          // the last of them, while the current one has no fragment yet
	onMedia int64           // bytes written to the current cartridge
	written []nbemm.Written
	total   int64
	pace    pace // its counts of blocks
}

func (w *writer) openVolume(ctx context.Context) error {
	w.full, w.onMedia = false, 0
	if !w.alloc.OnTape() {
		end := trace.Begin(ctx, "B10", "disk ready")
		w.volume = newDisk(w.p.env, &w.alloc, w.p.args.BackupID)
		end(w.alloc.Unit.Path, 0)
		return nil
	}
	t, err := w.p.mount(ctx, &w.alloc)
	if err != nil {
		return err
	}
	end := trace.Begin(ctx, "B10", "position")
	w.p.say(ctx, "positioning %s to file %d", w.alloc.Media.ID, max(w.alloc.Media.NextFile, 1))
	if err := t.openForAppend(ctx); err != nil {
		end(err.Error(), int(status.Of(err, status.MediaPosition)))
		return err
	}
	end(fmt.Sprintf("%s, file %d", w.alloc.Media.ID, t.file), 0)
	w.p.say(ctx, "positioned %s", w.alloc.Media.ID)
	w.tape, w.volume, w.full = t, t, t.warned
	return nil
}

// run takes slots from the ring until the image has ended.
func (w *writer) run(ctx context.Context) error {
	ring := w.p.ring
	for {
		s, err := ring.Full(ctx)
		if err != nil {
			return status.Errorf(status.MediaWrite, "taking blocks from the ring: %w", err)
		}
		switch s.Kind {
		case stream.Member, stream.Amend:
			if err := w.entries(&s); err != nil {
				return status.Errorf(status.MediaWrite, "entries in the ring: %w", err)
			}
		case stream.Data:
			w.pace.blocks++
			w.pace.hollow = w.pace.hollow || s.Bytes == nil
			if err := w.data(ctx, &s); err != nil {
				return err
			}
		case stream.End:
			if err := w.finish(ctx, s); err != nil {
				return err
			}
		}
		if err := ring.Free(ctx); err != nil {
			return status.Errorf(status.MediaWrite, "giving a block back to the ring: %w", err)
		}
		if s.Kind == stream.End {
			return nil
		}
	}
}

// entries notes what a slot says of members, for the trailers.
func (w *writer) entries(s *stream.Slot) error {
	es, err := media.DecodeMembers(*s)
	if err != nil {
		return err
	}
	if s.Kind == stream.Amend {
		return w.frags.Amend(es)
	}
	w.frags.Members(es)
	return nil
}

// data writes one slot, beginning a fragment or a volume where it must.
func (w *writer) data(ctx context.Context, s *stream.Slot) error {
	at := s.Offset // the next byte of the slot to be written: a hollow one may be cut
	for at < s.Offset+s.Len {
		if w.current != nil && (w.full && w.frags.MayCut(at) || s.Flags&stream.CutBefore != 0 && at == s.Offset) {
			if err := w.endFragment(ctx, false, nil); err != nil {
				return err
			}
		}
		if w.current == nil {
			if err := w.beginFragment(ctx, at); err != nil {
				return err
			}
		}
		n, err := w.block(ctx, s, s.Offset+s.Len-at)
		if errors.Is(err, errNoRoom) && w.frags.Bytes() > 0 {
			w.full = true // the block goes to the next volume
			if !w.frags.MayCut(at) {
				return status.Errorf(status.MediaWrite, "%s ended inside the headers of a file", w.alloc.Media.ID)
			}
			continue
		}
		if err != nil {
			return status.Errorf(status.Of(err, status.MediaWrite), "writing to %s: %w", w.where(), err)
		}
		if n == 0 {
			w.full = true
			continue
		}
		at += n
		w.onMedia += n
		if err := w.frags.Wrote(s, n); err != nil {
			return status.Errorf(status.MediaWrite, "%w", err)
		}
	}
	return nil
}

func (w *writer) where() string {
	if w.alloc.OnTape() {
		return "cartridge " + w.alloc.Media.ID
	}
	return w.alloc.Unit.Path
}

// block writes a slot, or what is left of a hollow one; it returns the bytes of
// the stream that were written.
func (w *writer) block(ctx context.Context, s *stream.Slot, left int64) (int64, error) {
	if s.Bytes == nil {
		n, full, err := w.volume.writeHollow(ctx, s, left)
		w.full = w.full || full
		return n, err
	}
	full, err := w.volume.write(ctx, s.Bytes)
	w.full = w.full || full
	return s.Len, err
}

func (w *writer) beginFragment(ctx context.Context, at int64) error {
	if w.full {
		if err := w.nextVolume(ctx); err != nil {
			return err
		}
	}
	h, err := w.frags.Begin(at, w.before)
	if err != nil {
		return status.Errorf(status.MediaWrite, "%w", err)
	}
	w.current = &image.Fragment{
		Copy: h.Copy, Number: h.Number, StorageUnit: w.alloc.Unit.Name, MediaServer: w.p.env.Host,
		BlockSize: w.alloc.Unit.BlockSize, Offset: at,
	}
	w.before = ""
	if err := w.volume.begin(ctx, w.frags.Header(), w.current); err != nil {
		return status.Errorf(status.Of(err, status.MediaWrite), "%s: %w", w.where(), err)
	}
	return nil
}

// endFragment writes the trailer, makes the fragment durable, and only then
// reports it.
func (w *writer) endFragment(ctx context.Context, last bool, end *media.ImageEnd) error {
	f, err := w.frags.Finish(last, end)
	if err != nil {
		return status.Errorf(status.MediaWrite, "%w", err)
	}
	if err := w.volume.end(ctx, f.Trailer); err != nil {
		return status.Errorf(status.Of(err, status.MediaWrite), "%s: %w", w.where(), err)
	}
	w.current.Length = f.Bytes
	cur := *w.current
	w.current = nil
	return inParts(f.Blocks, func(blocks []byte, more bool) error {
		_, err := AddFragment.Call(ctx, w.p.args.Bpbrm, FragmentDone{
			BackupID: w.p.args.BackupID, Fragment: cur, Blocks: blocks, More: more,
		})
		return err
	})
}

// inParts has a block table sent in messages that are not too long.
func inParts(t media.BlockTable, send func(blocks []byte, more bool) error) error {
	const part = 1 << 20
	blocks := media.EncodeBlocks(t)
	for more := true; more; {
		n := min(part, len(blocks))
		more = n < len(blocks)
		if err := send(blocks[:n], more); err != nil {
			return err
		}
		blocks = blocks[n:]
	}
	return nil
}

// finish ends the image.
func (w *writer) finish(ctx context.Context, s stream.Slot) error {
	total, _, err := media.DecodeEnd(s)
	if err != nil {
		return status.Errorf(status.MediaWrite, "end of the image in the ring: %w", err)
	}
	if w.current == nil {
		return status.Errorf(status.NoData, "the image is empty")
	}
	if total != w.frags.At() {
		return status.Errorf(status.Inconsistent, "the image has %d bytes, %d were written", total, w.frags.At())
	}
	end, err := AskEnd.Call(ctx, w.p.args.Bpbrm, struct{}{})
	if err != nil {
		return err
	}
	if err := w.endFragment(ctx, true, end); err != nil {
		return err
	}
	w.total = total
	return w.closeVolume(ctx, false)
}

// nextVolume ends the full cartridge and goes on with another in the same drive.
func (w *writer) nextVolume(ctx context.Context) error {
	if w.tape == nil {
		return status.Errorf(status.DiskFull, "%s is full", w.alloc.Unit.Path)
	}
	if err := w.closeVolume(ctx, true); err != nil {
		return err
	}
	w.p.say(ctx, "%s is full", w.alloc.Media.ID)
	w.used = append(w.used, w.alloc.Media.ID)
	if w.onMedia > 0 {
		w.before = w.alloc.Media.ID
	}
	if err := w.p.release(ctx, w.tape); err != nil {
		return err
	}
	a, err := w.p.ask(ctx, Media{Next: true, Need: nbemm.Request{
		Storage: w.alloc.Unit.Name, Pool: w.p.args.Pool, Held: w.alloc.Drive.Name, Avoid: w.used,
	}})
	if err != nil {
		return err
	}
	w.alloc = a
	return w.openVolume(ctx)
}

// closeVolume writes the end header and notes what is on the cartridge now.
func (w *writer) closeVolume(ctx context.Context, full bool) error {
	if w.tape == nil {
		return nil
	}
	if m := &w.alloc.Media; w.onMedia == 0 && m.Images > 0 { // nothing fitted any more
		w.written = append(w.written, nbemm.Written{
			Media: m.ID, UUID: m.UUID, NextFile: m.NextFile, NextBlock: m.NextBlock, Last: m.Last, Full: true, Expires: w.p.args.Expires,
		})
		return nil
	}
	if err := w.tape.close(ctx, w.frags); err != nil {
		return status.Errorf(status.Of(err, status.MediaWrite), "end header of %s: %w", w.alloc.Media.ID, err)
	}
	w.written = append(w.written, nbemm.Written{
		Media: w.alloc.Media.ID, UUID: w.tape.label.UUID, Images: 1, Bytes: w.onMedia, NextFile: w.tape.endFile, NextBlock: w.tape.endBlock,
		Last: w.tape.last, Full: full || w.full || w.tape.warned || w.tape.seen.WriteOnce, Expires: w.p.args.Expires,
	})
	return nil
}
