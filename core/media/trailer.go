package media

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/klauspost/compress/zstd"

	"capstan/core/catalog"
	"capstan/core/rt"
	"capstan/core/stream"
)

// A trailer is blocks of at most the fragment's block size. Each is 24 bytes, then
// a payload:
//
//	0  8 bytes  "CAPTRL1\n"
//	8  1        what the payload is: parts below
//	9  1        1 if it is compressed (zstd)
//	10 1        form of entries: 1 with checksums of contents, 0 without
//	11 1        0
//	12 4        number of the block, from 0, little endian
//	16 4        length of the payload, little endian
//	20 4        CRC-32C of bytes 0 to 20 and of the payload, little endian
const (
	trailerMagic = "CAPTRL1\n"
	trailerHead  = 24
)

// The parts of a trailer, in their order.
const (
	partIdentity = 1 // the fragment's header block, first
	partEntries  = 2 // encoded entries
	partBlocks   = 3 // encoded block table
	partEnd      = 4 // counts, last
	partAmended  = 5 // encoded entries that take the place of ones told before, before the end; there may be none
)

// rank is the order of the parts.
var rank = [...]int{partIdentity: 1, partEntries: 2, partBlocks: 3, partAmended: 4, partEnd: 5}

// entriesForm is the form in which entries are written. Trailers of form 0 are read.
const entriesForm = 1

// maxPayload bounds a payload before compression.
const maxPayload = MaxBlockSize

// The encoder and the decoder of all trailers: each has tables of its own to set
// up, and several tasks may use it at once (EncodeAll, DecodeAll).
var (
	encoder = must(zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithLowerEncoderMem(true)))
	decoder = must(zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxPayload)))
)

// must is for what fails with wrong options only.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// minCompressed is the shortest payload that is worth the encoder's tables: what is
// shorter fits in one sector of a disk, or block of a tape, as it is.
const minCompressed = 4 << 10

// TrailerWriter makes the blocks of a fragment's trailer.
type TrailerWriter struct {
	head    FragmentHeader
	id      []byte // the header's block
	put     func(block []byte) error
	pending gathering
	seq     uint32
	entries int64
	// What is amended is known when its data was written, and stands behind the entries.
	amending gathering
	amended  []squeezed
}

// gathering is encoded entries, less than a block.
type gathering struct {
	b      []byte
	before string // path of the last of them
	paths  int    // length of their paths together
}

// squeezed is the payload of a block.
type squeezed struct {
	b    []byte
	flag byte // it is compressed
}

// NewTrailerWriter begins a trailer; put is given each finished block and keeps it.
func NewTrailerWriter(h FragmentHeader, put func(block []byte) error) (*TrailerWriter, error) {
	w := &TrailerWriter{head: h, put: put, pending: gathering{b: make([]byte, 0, 512)}}
	var err error
	if w.id, err = EncodeFragmentHeader(h); err != nil {
		return nil, err
	}
	return w, w.block(partIdentity, w.id)
}

// room is how long a payload may be so that it fits in a block even if it does
// not compress.
func (w *TrailerWriter) room() int { return w.head.BlockSize - trailerHead }

// Entries adds entries of members that begin in the fragment, in archive order.
func (w *TrailerWriter) Entries(es []catalog.Entry) error {
	w.entries += int64(len(es))
	return w.gather(&w.pending, es, func(payload []byte) error { return w.block(partEntries, payload) })
}

// Amend adds entries that take the place of ones that were added before, to this
// trailer or to one of the image's fragments before.
func (w *TrailerWriter) Amend(es []catalog.Entry) error {
	return w.gather(&w.amending, es, w.keep)
}

func (w *TrailerWriter) keep(payload []byte) error {
	w.amended = append(w.amended, squeeze(payload))
	return nil
}

// gather encodes entries, and gives a block's payload to flush when it is full.
func (w *TrailerWriter) gather(g *gathering, es []catalog.Entry, flush func(payload []byte) error) error {
	for i := range es {
		with := appendEntry(g.b, &es[i], g.before)
		if g.paths += len(es[i].Path); len(with) > w.room() || g.paths > maxPaths {
			if err := g.end(flush); err != nil {
				return err
			}
			g.paths = len(es[i].Path)
			if with = appendEntry(nil, &es[i], ""); len(with) > w.room() {
				return fmt.Errorf("trailer: the entry of %.100q… needs more than a block", es[i].Path)
			}
		}
		g.b, g.before = with, es[i].Path
	}
	return nil
}

func (g *gathering) end(flush func(payload []byte) error) error {
	b := g.b
	*g = gathering{}
	if len(b) == 0 {
		return nil
	}
	return flush(b)
}

// Close adds the block table and the end; last says that the image ends with
// this fragment, and image what is known of it then.
func (w *TrailerWriter) Close(t BlockTable, last bool, image *ImageEnd) error {
	if err := w.pending.end(func(payload []byte) error { return w.block(partEntries, payload) }); err != nil {
		return err
	}
	if err := w.table(t); err != nil {
		return err
	}
	if err := w.amending.end(w.keep); err != nil {
		return err
	}
	for _, a := range w.amended {
		if err := w.squeezed(partAmended, a); err != nil {
			return err
		}
	}
	end := TrailerEnd{Bytes: t.Len(), Entries: w.entries, Blocks: int64(t.Count()), Last: last, Image: image}
	return w.block(partEnd, end.encode())
}

// table adds the block table.
func (w *TrailerWriter) table(t BlockTable) error {
	var b []byte
	for i := range t.runs {
		for _, r := range split(t.runs[i], (w.room()-32)/4) {
			if len(b) > 0 && len(b)+32+4*len(r.crcs) > w.room() {
				if err := w.block(partBlocks, b); err != nil {
					return err
				}
				b = b[:0]
			}
			b = appendRun(b, &r)
		}
	}
	if len(b) == 0 {
		return nil
	}
	return w.block(partBlocks, b)
}

// split cuts a run with more than n CRCs.
func split(r run, n int) []run {
	if len(r.crcs) <= n {
		return []run{r}
	}
	var out []run
	for c := r.crcs; len(c) > 0; c = c[min(n, len(c)):] {
		out = append(out, run{size: r.size, crcs: c[:min(n, len(c))]})
	}
	return out
}

func (w *TrailerWriter) block(part byte, payload []byte) error {
	return w.squeezed(part, squeeze(payload))
}

func squeeze(payload []byte) squeezed {
	if len(payload) >= minCompressed {
		if z := encoder.EncodeAll(payload, nil); len(z) < len(payload) {
			return squeezed{z, 1}
		}
	}
	return squeezed{payload, 0}
}

func (w *TrailerWriter) squeezed(part byte, s squeezed) error {
	payload := s.b
	b := make([]byte, 0, trailerHead+len(payload))
	b = append(b, trailerMagic...)
	form := byte(0)
	if part == partEntries || part == partAmended {
		form = entriesForm
	}
	b = append(b, part, s.flag, form, 0)
	b = binary.LittleEndian.AppendUint32(b, w.seq)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(payload)))
	sum := crc32.Update(crc32.Checksum(b, stream.Castagnoli), stream.Castagnoli, payload)
	b = binary.LittleEndian.AppendUint32(b, sum)
	w.seq++
	return w.put(append(b, payload...))
}

// TrailerEnd is what a trailer ends with.
type TrailerEnd struct {
	Bytes   int64 // of the image's stream in the fragment
	Entries int64
	Blocks  int64
	Last    bool // the image ends with this fragment
	// Image is nil if the trailer does not say it: it is not the image's last, or was
	// written before trailers did.
	Image *ImageEnd
}

func (e *TrailerEnd) encode() []byte {
	last := uint64(0)
	if e.Last {
		last = 1
	}
	b := binary.AppendVarint(make([]byte, 0, 64), e.Bytes)
	b = binary.AppendVarint(b, e.Entries)
	b = binary.AppendVarint(b, e.Blocks)
	b = binary.AppendUvarint(b, last)
	if i := e.Image; i != nil {
		b = binary.AppendVarint(b, int64(i.Began))
		b = binary.AppendVarint(b, i.Files)
		b = binary.AppendVarint(b, int64(i.Status))
	}
	return b
}

// TrailerVisitor is called with the parts of a trailer as they are read. A nil
// function means that nobody wants to know.
type TrailerVisitor struct {
	Header  func(FragmentHeader) error
	Entries func([]catalog.Entry) error // some thousands at a time, in archive order
	Amended func([]catalog.Entry) error // what takes the place of entries of this fragment, or of one before
	Blocks  func(BlockTable) error      // pieces of the table, to be appended
}

// ReadTrailer reads a trailer: next gives its blocks in order, io.EOF after the
// last. It holds one block at a time. What was visited counts only if the error is
// nil: then nothing is missing.
func ReadTrailer(next func() ([]byte, error), v TrailerVisitor) (TrailerEnd, error) {
	r := &trailerReader{visit: v}
	for {
		b, err := next()
		if errors.Is(err, io.EOF) {
			return TrailerEnd{}, fmt.Errorf("trailer: it ends after %d blocks: %w", r.seq, ErrDamaged)
		}
		if err != nil {
			return TrailerEnd{}, fmt.Errorf("trailer: %w", err)
		}
		end, err := r.block(b)
		if err != nil {
			return TrailerEnd{}, fmt.Errorf("trailer: block %d: %w", r.seq, err)
		}
		if end != nil {
			return *end, nil
		}
	}
}

type trailerReader struct {
	visit TrailerVisitor
	seq   uint32
	part  byte
	sum   TrailerEnd // of what came
}

func (r *trailerReader) block(b []byte) (*TrailerEnd, error) {
	part, payload, err := r.open(b)
	if err != nil {
		return nil, err
	}
	form := b[10]
	if part == 0 || int(part) >= len(rank) {
		return nil, fmt.Errorf("part %d: %w", part, ErrVersion)
	}
	if rank[part] < rank[r.part] || part != partIdentity && r.part == 0 || part == partIdentity && r.part != 0 {
		return nil, fmt.Errorf("part %d comes after part %d: %w", part, r.part, ErrDamaged)
	}
	r.part = part
	r.seq++
	switch part {
	case partIdentity:
		h, _, err := DecodeFragmentHeader(payload)
		if err != nil || r.visit.Header == nil {
			return nil, err
		}
		return nil, r.visit.Header(h)
	case partEntries, partAmended:
		return nil, r.entries(part, form, payload)
	case partBlocks:
		t, err := DecodeBlocks(payload)
		r.sum.Blocks += int64(t.Count())
		r.sum.Bytes += t.Len()
		if err != nil || r.visit.Blocks == nil {
			return nil, err
		}
		return nil, r.visit.Blocks(t)
	}
	return r.end(payload)
}

func (r *trailerReader) entries(part, form byte, payload []byte) error {
	if form > entriesForm {
		return fmt.Errorf("entries of form %d: %w", form, ErrVersion)
	}
	es, err := decodeEntries(payload, form == 0)
	visit := r.visit.Amended
	if part == partEntries {
		r.sum.Entries += int64(len(es))
		visit = r.visit.Entries
	}
	if err != nil || visit == nil {
		return err
	}
	return visit(es)
}

// open checks a block and gives its payload.
func (r *trailerReader) open(b []byte) (part byte, payload []byte, err error) {
	if len(b) < trailerHead || string(b[:8]) != trailerMagic {
		return 0, nil, fmt.Errorf("no block of a trailer: %w", ErrForeign)
	}
	n := binary.LittleEndian.Uint32(b[16:])
	if uint64(len(b)) != trailerHead+uint64(n) {
		return 0, nil, fmt.Errorf("it has %d bytes, its payload %d: %w", len(b), n, ErrDamaged)
	}
	payload = b[trailerHead:]
	sum := crc32.Update(crc32.Checksum(b[:20], stream.Castagnoli), stream.Castagnoli, payload)
	if sum != binary.LittleEndian.Uint32(b[20:]) || binary.LittleEndian.Uint32(b[12:]) != r.seq {
		return 0, nil, fmt.Errorf("its CRC-32C or its number is wrong: %w", ErrDamaged)
	}
	switch b[9] {
	case 0:
		return b[8], payload, nil
	case 1:
		out, err := decoder.DecodeAll(payload, nil)
		if err != nil || len(out) > maxPayload {
			return 0, nil, fmt.Errorf("its payload cannot be decompressed (%w): %w", ErrDamaged, err)
		}
		return b[8], out, nil
	}
	return 0, nil, fmt.Errorf("compression %d: %w", b[9], ErrVersion)
}

func (r *trailerReader) end(payload []byte) (*TrailerEnd, error) {
	c := cursor{b: payload}
	e := TrailerEnd{Bytes: c.length(), Entries: c.length(), Blocks: c.length(), Last: c.uint(1) == 1}
	want := r.sum
	want.Last = e.Last
	if c.bad || e != want {
		return nil, fmt.Errorf("it counts %+v, there were %+v: %w", e, r.sum, ErrDamaged)
	}
	if len(c.b) > 0 {
		e.Image = &ImageEnd{Began: rt.Time(c.int()), Files: c.length(), Status: int(c.length())}
	}
	if c.bad {
		return nil, fmt.Errorf("its end is cut off: %w", ErrDamaged)
	}
	return &e, nil
}

// IsTrailer tells whether a block is one of a trailer, as far as its beginning says.
func IsTrailer(b []byte) bool { return len(b) >= trailerHead && string(b[:8]) == trailerMagic }

// TrailerFile gives the blocks of a trailer file on disk, for [ReadTrailer].
func TrailerFile(r io.ReaderAt) func() ([]byte, error) {
	at := int64(0)
	return func() ([]byte, error) {
		head := make([]byte, trailerHead)
		if n, err := r.ReadAt(head, at); n < len(head) {
			if n == 0 && errors.Is(err, io.EOF) {
				return nil, io.EOF
			}
			return nil, fmt.Errorf("at %d: it is cut off (%w): %w", at, err, ErrDamaged)
		}
		n := binary.LittleEndian.Uint32(head[16:])
		if string(head[:8]) != trailerMagic || n > MaxBlockSize {
			return nil, fmt.Errorf("at %d: no block of a trailer: %w", at, ErrDamaged)
		}
		b := append(head, make([]byte, n)...)
		if k, err := r.ReadAt(b[trailerHead:], at+trailerHead); k < int(n) {
			return nil, fmt.Errorf("at %d: it is cut off (%w): %w", at, err, ErrDamaged)
		}
		at += int64(len(b))
		return b, nil
	}
}
