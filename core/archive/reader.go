package archive

import (
	"context"
	"errors"
	"hash/crc32"
	"slices"

	"capstan/core/archive/pax"
	"capstan/core/catalog"
	"capstan/core/dev"
	"capstan/core/rt"
	"capstan/core/stream"
	"capstan/core/tree"
)

// FrameSize is the most bytes of a Data frame that a [Reader] gives.
const FrameSize = 256 << 10

// Disk is what a file system of the virtual world may tell of itself: the
// resource that its hollow data crosses.
type Disk interface{ Disk() dev.Resource }

// Reader is the source of an image's stream. For each Data frame it first gives
// a Member frame with the entries of the members that begin in it.
type Reader struct {
	sel    Selection
	fs     tree.FS
	report func(Problem)
	stats  Stats

	walk    *walker
	looked  []string         // paths of the selection that exist, or that do not: the others could not be looked at
	links   map[inode]string // first path of each inode with several names
	member  *member          // whose bytes come next
	room    member           // memory of member
	head    []byte           // memory of members' headers
	ended   bool             // the walk is over, and the zeros at the end are written
	closed  bool
	buf     []byte          // of the next Data frame
	pending []catalog.Entry // of the members that begin in buf
	amended []catalog.Entry // of members whose entries were given before their data was read
	queue   []stream.Frame  // to be given
	given   int             // how many of them were

	run    int64 // bytes of the hollow members in pending: buf is empty while there are any
	offset int64 // of the end of buf, or of the run, in the stream
	digest uint32
	hollow bool
}

type inode struct{ dev, ino uint64 }

// endOfArchive are two blocks of zeros.
var endOfArchive [2 * pax.BlockSize]byte

// member is the rest of a member whose headers have been made.
type member struct {
	head  []byte        // headers not yet in the stream
	body  *body         // of a regular file
	entry int           // its index in pending, -1 once given
	told  catalog.Entry // what was given, when entry is -1
}

// NewReader starts the walk: it finds the paths of the selection, and reports
// those that do not exist. The error has [status.NoFiles] if there is none.
// report is called from within NewReader and Next.
func NewReader(ctx context.Context, fs tree.FS, sel Selection, report func(Problem)) (*Reader, error) {
	if err := sel.check(); err != nil {
		return nil, err
	}
	r := &Reader{
		sel: sel, fs: fs, report: report,
		links: map[inode]string{},
	}
	r.looked = slices.Clone(sel.Paths)
	tops, err := sel.expand(ctx, fs, func(p string, err error) {
		if !absent(err) {
			r.looked = slices.DeleteFunc(r.looked, func(q string) bool { return q == p })
		}
		r.problem(p, Missing, err)
	})
	if err != nil {
		return nil, err
	}
	r.walk = &walker{fs: fs, sel: &r.sel, tops: tops, problem: r.problem, gone: r.gone}
	return r, nil
}

// Done is what has been read so far.
func (r *Reader) Done() Stats { return r.stats }

// Amended gives, once, the entries of members whose data has been read since the
// last call and of which more is known now than when they were given: the CRC of
// the content, and its damage.
func (r *Reader) Amended() []catalog.Entry {
	es := r.amended
	r.amended = nil
	return es
}

// Close gives up what the walk holds open. It may be called at any time, and again.
func (r *Reader) Close() {
	if r.member != nil && r.member.body != nil {
		r.member.body.close()
	}
	r.member, r.closed = nil, true
	r.walk.close()
}

func (r *Reader) problem(path, what string, err error) {
	if what != Socket {
		r.stats.Problems++
	}
	r.report(Problem{Path: path, Err: err, What: what})
}

// Next gives the next frame. Its memory is used again by the Next after it.
func (r *Reader) Next(ctx context.Context, f *stream.Frame) error {
	for r.given == len(r.queue) {
		r.queue, r.given = r.queue[:0], 0
		if r.closed {
			return errors.New("the reader of the file trees is closed")
		}
		if ctx.Err() != nil {
			r.Close()
			return rt.Cause(ctx)
		}
		if err := r.step(ctx); err != nil {
			r.Close()
			return err
		}
	}
	*f = r.queue[r.given]
	r.given++
	return nil
}

// step does a bounded piece of work that brings the next frames nearer.
func (r *Reader) step(ctx context.Context) error {
	switch {
	case len(r.buf) == FrameSize:
		r.flush()
	case r.member != nil:
		r.copyMember(ctx)
	case r.ended:
		r.flush()
		end := stream.Frame{Kind: stream.End, Total: r.offset, Digest: r.digest}
		if r.hollow {
			end.Digest = 0
		}
		r.queue = append(r.queue, end)
	default:
		return r.nextMember(ctx)
	}
	return nil
}

// flush queues what buf holds, after the entries of the members that begin in it. Its
// memory is used again when all that is queued was given, and looked at.
func (r *Reader) flush() {
	if len(r.buf) == 0 {
		return
	}
	if m := r.member; m != nil && m.entry >= 0 {
		m.told, m.entry = r.pending[m.entry], -1
	}
	if len(r.pending) > 0 {
		r.queue = append(r.queue, stream.Frame{Kind: stream.Member, Entries: r.pending})
		r.pending = nil
	}
	r.digest = crc32.Update(r.digest, stream.Castagnoli, r.buf)
	r.stats.Bytes += int64(len(r.buf))
	r.queue = append(r.queue, stream.Frame{Kind: stream.Data, Len: int64(len(r.buf)), Bytes: r.buf})
	r.buf = r.buf[:0]
}

// fewHeads is room for the headers of few members, which is all that there are bytes of
// when the rest is hollow.
const fewHeads = 4 << 10

// copyMember moves bytes of the current member into buf.
func (r *Reader) copyMember(ctx context.Context) {
	m := r.member
	free := FrameSize - len(r.buf)
	if n := min(free, len(m.head)); n > 0 {
		if r.buf == nil {
			r.buf = make([]byte, 0, fewHeads)
		}
		r.buf = append(r.buf, m.head[:n]...)
		m.head = m.head[n:]
		r.offset += int64(n)
		return
	}
	if m.body != nil && !m.body.done() {
		r.buf = slices.Grow(r.buf, free) // headers alone, as of hollow files, need little
		room := r.buf[len(r.buf):FrameSize]
		n := m.body.read(room)
		r.buf = r.buf[:len(r.buf)+n]
		r.offset += int64(n)
		return
	}
	if m.body != nil {
		e := &m.told
		if m.entry >= 0 {
			e = &r.pending[m.entry]
		}
		e.Damage = m.body.finish(ctx)
		if e.Damage == 0 && !m.body.sparse {
			e.CRC = m.body.crc
		}
		if m.entry < 0 && (e.Damage != 0 || e.CRC != 0) {
			r.amended = append(r.amended, *e)
		}
	}
	r.member = nil
}

// nextMember takes the next file of the walk and makes its headers.
func (r *Reader) nextMember(ctx context.Context) error {
	if r.walk.base != nil && r.looked != nil {
		if err := r.goneTops(ctx); err != nil {
			return err
		}
		r.looked = nil
	}
	it, err := r.walk.next(ctx)
	if err != nil {
		return err
	}
	if it == nil {
		r.endRun()
		r.ended = true
		r.begin(member{head: endOfArchive[:], entry: -1})
		return nil
	}
	if it.info.Files > 0 && it.info.Type == catalog.Regular {
		r.hollowMember(it)
		return nil
	}
	r.endRun()
	m, e, err := r.open(ctx, it)
	if err != nil {
		r.fileFailed(ctx, it.path, err)
		return nil
	}
	r.stats.Files++
	m.entry = len(r.pending)
	r.pending = append(r.pending, e)
	r.begin(m)
	return nil
}

func (r *Reader) begin(m member) {
	r.room = m
	r.member = &r.room
}

// hollowMember adds an entry that stands for files nobody holds, and the length that
// their members would have, to the run of those before it.
func (r *Reader) hollowMember(it *item) {
	r.flush()
	e := it.entry()
	e.Offset, e.Count = r.offset, it.info.Files
	e.HeadLen, e.DataLen = HollowHead*e.Count, it.info.Size
	if r.pending == nil {
		r.pending = make([]catalog.Entry, 0, min(1+r.walk.coming(), maxRun))
	}
	r.pending = append(r.pending, e)
	r.run += e.End() - e.Offset
	r.offset = e.End()
	r.stats.Files += e.Count
	if len(r.pending) == maxRun {
		r.endRun()
	}
}

// maxRun is how many hollow members one frame stands for at most.
const maxRun = 64

// endRun queues the hollow members that came one behind the other as one frame: what
// a backup costs depends on frames, not on what they stand for.
func (r *Reader) endRun() {
	if r.run == 0 {
		return
	}
	f := stream.Frame{Kind: stream.Data, Len: r.run}
	if d, ok := r.fs.(Disk); ok {
		f.Via = []dev.Resource{d.Disk()}
	}
	r.queue = append(r.queue, stream.Frame{Kind: stream.Member, Entries: r.pending}, f)
	r.stats.Bytes += r.run
	r.pending, r.run, r.hollow = nil, 0, true
}

// HollowHead is the length of the headers of a hollow file's member, as that of most
// real ones: an extended header, its records and a ustar header.
const HollowHead = 3 * 512

// fileFailed reports a file that could not be opened or described.
func (r *Reader) fileFailed(ctx context.Context, path string, err error) {
	if ctx.Err() != nil {
		return
	}
	r.problem(path, whatFailed(err), err)
}

var _ stream.Source = (*Reader)(nil)
