package bptm

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"capstan/core/bpdbm"
	"capstan/core/catalog"
	"capstan/core/dev"
	"capstan/core/host"
	"capstan/core/image"
	"capstan/core/media"
	"capstan/core/nbemm"
	"capstan/core/pbx"
	"capstan/core/rt"
	"capstan/core/status"
	"capstan/core/store"
	"capstan/core/trace"
)

// restore is R7 to R15.
func (p *parent) restore(ctx context.Context, cancel func(error)) error {
	r := &reader{p: p, cancel: cancel}
	err := r.run(ctx)
	if err != nil {
		p.sayAlerts(ctx, r.tape)
		return p.cause(ctx, err)
	}
	c := &r.pace
	c.bytes, c.took, c.parent = r.bytes, rt.Mono(ctx)-r.began, p.ring.Waits()
	if c.child, err = p.childEnd(ctx); err != nil {
		r.end(err.Error(), int(status.Of(err, status.MediaRead)))
		return err
	}
	r.end(c.detail(), 0)
	p.sayPace(ctx, "end reading", c)
	if r.tape != nil {
		if err := p.unmount(ctx, r.tape); err != nil { // R15: before the report
			return err
		}
	}
	_, err = MediaDone.Call(ctx, p.args.Nbjm, struct{}{})
	return err
}

// reader reads the wanted members of the images of a restore, in order.
type reader struct {
	p      *parent
	cancel func(error)
	feed   *media.Feeder
	alloc  nbemm.Allocation
	tape   *tape
	end    func(string, int) // of the step R14
	// blockSize is the largest of what is to be read: the ring's slots hold it.
	blockSize int
	bytes     int64
	began     time.Duration // monotonic
	pace      pace          // its counts of blocks
}

func (r *reader) run(ctx context.Context) error {
	images := 1
	for i := 0; i < images; i++ {
		q, err := r.needed(ctx, i)
		if err != nil {
			return err
		}
		images = q.Images
		r.blockSize = q.BlockSize
		r.p.say(ctx, "restoring image %s", q.BackupID)
		picker := pick(q.Ranges)
		for _, f := range q.Fragments {
			next, ok := picker.Next()
			if !ok {
				break
			}
			if next >= f.Offset+f.Length {
				continue
			}
			if err := r.fragment(ctx, q, &f, picker); err != nil {
				return err
			}
		}
		if at, left := picker.Next(); left {
			return status.Errorf(status.NoFragments, "image %s: no fragment holds byte %d", q.BackupID, at)
		}
		r.p.say(ctx, "restored image %s", q.BackupID)
	}
	if r.feed == nil {
		return status.Errorf(status.NoImage, "the restore needs nothing")
	}
	if err := r.feed.End(ctx); err != nil {
		return status.Errorf(status.MediaRead, "ring: %w", err)
	}
	return r.p.ring.Close()
}

// needed asks what is needed of one image, page by page.
func (r *reader) needed(ctx context.Context, n int) (all Needed, err error) {
	for {
		q, err := AskNeeded.Call(ctx, r.p.args.Needed, NeededQuery{Image: n, From: len(all.Ranges), FromHollow: len(all.Hollow)})
		if err != nil {
			return all, err
		}
		ranges, hollow := append(all.Ranges, q.Ranges...), append(all.Hollow, q.Hollow...)
		if all.Images == 0 {
			all = q
		}
		all.Ranges, all.Hollow = ranges, hollow
		if !q.More || len(q.Ranges)+len(q.Hollow) == 0 {
			return all, nil
		}
	}
}

func pick(ranges []bpdbm.Range) *media.Picker {
	es := make([]catalog.Entry, len(ranges))
	for i, g := range ranges {
		es[i] = catalog.Entry{Offset: g.Offset, DataLen: g.Length} // members are whole multiples of 512 bytes
	}
	return media.NewPicker(es)
}

// fragment reads what is wanted of one fragment.
func (r *reader) fragment(ctx context.Context, q Needed, f *image.Fragment, picker *media.Picker) error {
	table, err := r.blocks(ctx, q.BackupID, f)
	if err != nil {
		return err
	}
	v, err := r.open(ctx, q.BackupID, f, table)
	if err != nil {
		return err
	}
	defer v.done()
	parts := []*media.Picker{picker}
	if q.AnyOrder {
		parts = r.order(ctx, f, table, v, picker)
	}
	at := -1 // block that the volume would give next
	if r.feed == nil {
		if at, err = r.begin(ctx, f, table, v, parts[0]); err != nil {
			return err
		}
	}
	for _, part := range parts {
		if at, err = r.part(ctx, v, q, f, table, at, part); err != nil {
			return err
		}
	}
	return nil
}

// part reads what a picker wants of a fragment. at is the block that the volume would
// give next, and so is what it returns.
func (r *reader) part(ctx context.Context, v readVolume, q Needed, f *image.Fragment, table media.BlockTable, at int, picker *media.Picker) (int, error) {
	for {
		next, ok := picker.Next()
		if !ok || next >= f.Offset+f.Length {
			return at, nil
		}
		i, _ := table.Find(next - f.Offset)
		if i != at {
			if err := v.seek(ctx, i); err != nil {
				return at, err
			}
		}
		b, offset, _ := table.Block(i)
		var err error
		if b.Hollow {
			at, err = r.hollow(ctx, v, q, f, table, i, offset, picker)
		} else {
			at, err = i+1, r.block(ctx, v, f, table, i, offset, picker)
		}
		if err != nil {
			return at, err
		}
	}
}

// block reads one block into the ring's memory, checks it, and hands over what
// of it is wanted.
func (r *reader) block(ctx context.Context, v readVolume, f *image.Fragment, table media.BlockTable, i int, offset int64, picker *media.Picker) error {
	r.pace.blocks++
	mem, err := r.feed.Empty(ctx)
	if err != nil {
		return status.Errorf(status.MediaRead, "ring: %w", err)
	}
	n, err := v.read(ctx, i, mem)
	if err != nil {
		return status.Errorf(status.MediaRead, "block %d of fragment %d on %s: %w", i, f.Number, v.name(), err)
	}
	if err := table.CheckBlock(i, mem[:n]); err != nil {
		return status.Errorf(status.MediaRead, "fragment %d on %s: %w", f.Number, v.name(), err)
	}
	b := picker.Pick(mem[:n], f.Offset+offset)
	r.bytes += int64(len(b))
	if err := r.feed.Data(ctx, b, f.Offset+offset); err != nil {
		return status.Errorf(status.MediaRead, "ring: %w", err)
	}
	return nil
}

// hollow hands over the wanted part of a hollow run, which begins at block i.
func (r *reader) hollow(ctx context.Context, v readVolume, q Needed, f *image.Fragment, table media.BlockTable, i int, offset int64, picker *media.Picker) (int, error) {
	length, after := table.HollowFrom(i)
	from := f.Offset + offset
	var begin []catalog.Entry
	for _, e := range q.Hollow {
		if e.Offset >= from && e.Offset < from+length {
			begin = append(begin, e)
		}
	}
	if err := r.feed.Members(ctx, begin); err != nil {
		return 0, err
	}
	if err := v.readHollow(ctx, length); err != nil {
		return 0, status.Errorf(status.MediaRead, "fragment %d on %s: %w", f.Number, v.name(), err)
	}
	r.pace.hollow = true
	n := picker.PickHollow(length, from)
	r.bytes += n
	return after, r.feed.Hollow(ctx, n, from, nil) // the volume has taken its time
}

// blocks fetches the fragment's block table from the catalog.
func (r *reader) blocks(ctx context.Context, id string, f *image.Fragment) (media.BlockTable, error) {
	var raw []byte
	for {
		part, err := bpdbm.ReadBlocks.Call(ctx, pbx.At(r.p.args.Master, bpdbm.Service),
			bpdbm.Blocks{BackupID: id, Copy: f.Copy, Number: f.Number, From: int64(len(raw))})
		if err != nil {
			return media.BlockTable{}, err
		}
		raw = append(raw, part.Bytes...)
		if !part.More {
			break
		}
	}
	t, err := media.DecodeBlocks(raw)
	if err != nil {
		return t, status.Errorf(status.Database, "block table of %s, fragment %d: %w", id, f.Number, err)
	}
	return t, nil
}

// open makes the fragment's volume readable: allocates and mounts it if it is
// another than before.
func (r *reader) open(ctx context.Context, id string, f *image.Fragment, table media.BlockTable) (readVolume, error) {
	if r.alloc.MediaServer == "" || f.Media != r.alloc.Media.ID || f.Path != r.alloc.Unit.Path {
		a, err := r.p.ask(ctx, Media{Next: r.tape != nil, Need: nbemm.Request{
			Media: f.Media, Storage: f.StorageUnit, Server: f.MediaServer, Path: f.Path, Held: r.alloc.Drive.Name,
		}})
		if err != nil {
			return nil, err
		}
		if r.tape != nil {
			if err := r.p.release(ctx, r.tape); err != nil {
				return nil, err
			}
		}
		r.alloc = a
		if a.OnTape() {
			if r.tape, err = r.p.mount(ctx, &r.alloc); err != nil { // R12
				return nil, err
			}
			if err := r.tape.checkForRead(); err != nil {
				return nil, err
			}
		} else {
			trace.Note(ctx, "R12", "disk ready", f.Path)
		}
	}
	return r.volume(ctx, id, f, table)
}

// begin goes to the first block of all and spawns the child (R13). It tells which block
// the volume gives next.
func (r *reader) begin(ctx context.Context, f *image.Fragment, table media.BlockTable, v readVolume, picker *media.Picker) (int, error) {
	next, _ := picker.Next()
	i, _ := table.Find(next - f.Offset)
	end := trace.Begin(ctx, "R12", "position")
	r.p.say(ctx, "positioning %s to file %d", v.name(), f.File)
	if err := v.seek(ctx, i); err != nil {
		end(err.Error(), int(status.MediaPosition))
		return i, err
	}
	r.p.say(ctx, "positioned %s", v.name())
	end(v.name(), 0)
	return i, r.spawn(ctx, r.blockSize)
}

// spawn makes the ring and starts the child, which takes over the connection
// with tar (R13).
func (r *reader) spawn(ctx context.Context, blockSize int) error {
	name, err := r.p.makeRing(ctx, max(blockSize, media.DefaultBlockSize))
	if err != nil {
		return err
	}
	c, err := r.p.tars.Get(ctx) // R8 has happened
	if err != nil {
		return err
	}
	if _, err := r.p.spawn(ctx, "R13", ChildArgs{Ring: name, Peer: r.p.args.Client, Ticket: c.Ticket, To: c.Tar}, r.cancel); err != nil {
		return err
	}
	r.feed = media.NewFeeder(r.p.ring)
	r.p.say(ctx, "begin reading")
	r.end = trace.Begin(ctx, "R14", "read blocks")
	r.began, r.pace.restore = rt.Mono(ctx), true
	return nil
}

// checkForRead compares the label with what nbemm knows.
func (t *tape) checkForRead() error {
	m := &t.alloc.Media
	if !t.seen.Labelled {
		return status.Errorf(status.BadMediaHeader, "cartridge %s has no label of ours", m.ID)
	}
	return t.checkLabel()
}

// readVolume is where a fragment is read from.
type readVolume interface {
	name() string
	// seek goes to a block of the fragment's data.
	seek(ctx context.Context, block int) error
	read(ctx context.Context, block int, p []byte) (int, error)
	// readHollow reads n hollow bytes at the position.
	readHollow(ctx context.Context, n int64) error
	// order is the order in which extents of blocks are read with the least winding, as
	// indices of them; nil if the volume knows none.
	order(ctx context.Context, blocks []dev.Extent) []int
	// done is called when nothing more is read of the fragment.
	done()
}

func (r *reader) volume(ctx context.Context, id string, f *image.Fragment, table media.BlockTable) (readVolume, error) {
	if f.OnTape() {
		return &tapeFragment{t: r.tape, id: id, f: f}, nil
	}
	return openDiskFragment(ctx, r.p.env, id, f, table)
}

// tapeFragment is a fragment on the cartridge in the drive.
type tapeFragment struct {
	t      *tape
	id     string // of the image
	f      *image.Fragment
	proven bool // the fragment's header was read where it should be
}

func (v *tapeFragment) name() string { return v.t.alloc.Media.ID }

// seek locates: the header's block comes before the data.
func (v *tapeFragment) seek(ctx context.Context, block int) error {
	if !v.proven {
		if err := v.prove(ctx); err != nil || block == 0 {
			return err
		}
	}
	return v.t.locate(ctx, v.f.Block+1+int64(block))
}

// prove reads the fragment's header, and so stands at its first block.
func (v *tapeFragment) prove(ctx context.Context) error {
	if err := v.t.locate(ctx, v.f.Block); err != nil {
		return err
	}
	buf := make([]byte, v.f.BlockSize)
	n, err := v.t.read(ctx, buf)
	if err != nil {
		return v.t.failed(status.BadBackupHeader, "reading the fragment's header", err)
	}
	h, _, err := media.DecodeFragmentHeader(buf[:n])
	if err != nil {
		return v.t.failed(status.BadBackupHeader, "reading the fragment's header", err)
	}
	if h.BackupID != v.id || h.Copy != v.f.Copy || h.Number != v.f.Number || h.Start != v.f.Offset {
		return status.Errorf(status.CannotPosition, "cartridge %s has fragment %d of %s at block %d, fragment %d was expected",
			v.t.alloc.Media.ID, h.Number, h.BackupID, v.f.Block, v.f.Number)
	}
	v.proven = true
	return nil
}

func (v *tapeFragment) read(ctx context.Context, _ int, p []byte) (int, error) {
	return v.t.read(ctx, p)
}

func (v *tapeFragment) readHollow(ctx context.Context, n int64) error {
	if v.t.hollow == nil {
		return errors.New("the drive gives no hollow data")
	}
	for n > 0 {
		got, err := v.t.hollow.ReadHollow(ctx, n, nil)
		if err != nil {
			return err
		}
		if got == 0 {
			return fmt.Errorf("%d hollow bytes are missing", n)
		}
		n -= got
	}
	return nil
}

func (v *tapeFragment) done() {}

// order asks the drive, from the fragment's header on. What it cannot do, or does wrong,
// is not worth a restore: then there is no order.
func (v *tapeFragment) order(ctx context.Context, blocks []dev.Extent) []int {
	s, ok := v.t.drive.(dev.Sorter)
	if !ok || (!v.proven && v.prove(ctx) != nil) { // the seek that follows tells
		return nil
	}
	for i := range blocks {
		blocks[i].First += v.f.Block + 1
		blocks[i].Last += v.f.Block + 1
	}
	order, err := s.Sort(ctx, blocks)
	if v.t.done(err) != nil || len(order) != len(blocks) {
		return nil
	}
	for i, k := range slices.Sorted(slices.Values(order)) {
		if i != k { // one is missing, and would be missing from the restore
			return nil
		}
	}
	return order
}

// diskFragment is a fragment's file on a disk unit.
type diskFragment struct {
	env   *host.Env
	f     *image.Fragment
	file  store.File
	path  string
	head  int64 // length of the header
	table media.BlockTable
}

func openDiskFragment(ctx context.Context, env *host.Env, id string, f *image.Fragment, table media.BlockTable) (*diskFragment, error) {
	name, _ := media.DiskName(id, f.Copy, f.Number)
	file, err := env.Dir(f.Path).Open(ctx, name)
	if err != nil {
		return nil, status.Errorf(status.MediaOpen, "fragment %s in %s: %w", name, f.Path, err)
	}
	v := &diskFragment{env: env, f: f, file: file, path: f.Path + "/" + name, table: table}
	buf := make([]byte, f.BlockSize)
	n, rerr := file.ReadAt(buf, 0)
	h, head, err := media.DecodeFragmentHeader(buf[:n])
	switch {
	case err != nil && rerr != nil && !errors.Is(rerr, io.EOF):
		return nil, errors.Join(status.Errorf(status.MediaRead, "%s: %w", v.path, rerr), file.Close())
	case err != nil: // else what follows the header may well have no bytes
		return nil, errors.Join(status.Errorf(status.BadBackupHeader, "%s: %w", v.path, err), file.Close())
	}
	if h.BackupID != id || h.Number != f.Number || h.Start != f.Offset {
		return nil, errors.Join(status.Errorf(status.CannotPosition, "%s holds fragment %d of %s", v.path, h.Number, h.BackupID), file.Close())
	}
	v.head = int64(head)
	return v, nil
}

func (v *diskFragment) name() string                    { return v.path }
func (v *diskFragment) seek(context.Context, int) error { return nil }
func (v *diskFragment) done()                           { _ = v.file.Close() } // it was only read

func (v *diskFragment) order(context.Context, []dev.Extent) []int { return nil }

func (v *diskFragment) read(_ context.Context, block int, p []byte) (int, error) {
	b, offset, ok := v.table.Block(block)
	if !ok || int(b.Len) > len(p) {
		return 0, fmt.Errorf("block %d is not in the fragment's table", block)
	}
	return v.file.ReadAt(p[:b.Len], v.head+offset)
}

func (v *diskFragment) readHollow(ctx context.Context, n int64) error {
	if v.env.Transfer == nil {
		return errors.New("hollow data in the real world")
	}
	return v.env.Transfer(ctx, []dev.Resource{{Name: v.env.Host + " " + v.f.Path, Rate: diskRate}}, n)
}
