package media

import (
	"fmt"
	"hash/crc32"
	"strings"

	"capstan/core/catalog"
	"capstan/core/stream"
)

// Fragments follows the slots of an image as they are written to a volume: it
// tells where a fragment may end, makes the headers, and gathers the trailers.
//
// The owner of the device calls Begin for the first fragment, then for each slot
// Members, Amend or Wrote, as its kind is; where a fragment ends — before a slot with
// [stream.CutBefore], or after early warning before the next slot that [Fragments.MayCut]
// allows — Finish, then Begin with that slot's offset.
type Fragments struct {
	backupID  string
	copy      int
	blockSize int
	image     Image

	number  int
	head    FragmentHeader
	at      int64           // end of what was written, in the stream
	coming  []catalog.Entry // whose members begin at or after at
	last    catalog.Entry   // the member that at is in, or behind
	any     bool            // last is there
	blocks  BlockTable
	trailer *TrailerWriter
	out     [][]byte // blocks of the trailer
}

// NewFragments begins a copy of an image; i is what its headers say of it.
func NewFragments(backupID string, copy, blockSize int, i Image) *Fragments {
	return &Fragments{backupID: backupID, copy: copy, blockSize: blockSize, image: i.fit(blockSize)}
}

// Fragment is a fragment that was written.
type Fragment struct {
	Header  FragmentHeader
	Bytes   int64 // of the image's stream
	Entries int64 // of members that begin in it
	Blocks  BlockTable
	Trailer [][]byte // the blocks of its trailer file
}

// Members takes the entries of a slot of kind Member, and their memory.
func (f *Fragments) Members(es []catalog.Entry) {
	if len(f.coming) == 0 {
		f.coming = es
	} else {
		f.coming = append(f.coming, es...)
	}
}

// Amend takes the entries of a slot of kind Amend.
func (f *Fragments) Amend(es []catalog.Entry) error {
	if f.trailer == nil {
		return fmt.Errorf("entries of %s are amended before there is data", f.backupID)
	}
	return f.trailer.Amend(es)
}

// advance makes last the last member that begins at or before an offset.
func (f *Fragments) advance(offset int64) (passed int) {
	for passed < len(f.coming) && f.coming[passed].Offset < offset {
		f.last, f.any = f.coming[passed], true
		passed++
	}
	return passed
}

// MayCut tells whether a fragment may begin with the slot at an offset: not inside
// a member's headers, which happens only where these are longer than a block.
// Hollow data may be cut anywhere.
func (f *Fragments) MayCut(offset int64) bool {
	return !f.any || f.last.Count > 0 || offset <= f.last.Offset || offset >= f.last.Offset+f.last.HeadLen
}

// continued is the member that an offset is inside of, nil between members.
func (f *Fragments) continued(offset int64) *Continuation {
	e := &f.last
	if !f.any || offset <= e.Offset || offset >= e.End() {
		return nil
	}
	done := min(max(offset-e.Offset-e.HeadLen, 0), e.DataLen)
	left := e.DataLen - done
	// GNU tar counts the offset in the file with its holes, from its end.
	return &Continuation{Path: strings.TrimPrefix(e.Path, "/"), Size: left, Offset: max(e.Size, e.DataLen) - left}
}

// Begin begins the next fragment at an offset of the stream and gives its header,
// to be written as the first block of its data file ([Fragments.Header]). before
// is the cartridge that the fragment before is on, "" if it is the same.
func (f *Fragments) Begin(start int64, before string) (FragmentHeader, error) {
	if f.number > 0 && start != f.at {
		return FragmentHeader{}, fmt.Errorf("fragment %d of %s begins at %d, the one before ended at %d", f.number+1, f.backupID, start, f.at)
	}
	if !f.MayCut(start) {
		return FragmentHeader{}, fmt.Errorf("fragment %d of %s would begin inside the headers of %s", f.number+1, f.backupID, f.last.Path)
	}
	f.number++
	f.at = start
	f.head = FragmentHeader{
		BackupID: f.backupID, Copy: f.copy, Number: f.number, Start: start,
		BlockSize: f.blockSize, Continued: f.continued(start), Image: f.image, Before: before,
	}
	f.blocks, f.out = BlockTable{}, make([][]byte, 0, 4)
	put := func(b []byte) error { f.out = append(f.out, b); return nil }
	var err error
	f.trailer, err = NewTrailerWriter(f.head, put)
	return f.head, err
}

// Header is the block with which the data file of the fragment begun last begins.
func (f *Fragments) Header() []byte { return f.trailer.id }

// Wrote takes a Data slot that was written as one block, or, if hollow, as n of
// its bytes: early warning may come in the middle of a hollow slot.
func (f *Fragments) Wrote(s *stream.Slot, n int64) error {
	if s.Offset+s.Len < f.at || s.Offset > f.at {
		return fmt.Errorf("the slot at %d was written after %d", s.Offset, f.at)
	}
	if s.Bytes != nil {
		f.blocks.Add(len(s.Bytes), s.CRC)
	} else {
		f.blocks.AddHollow(n, f.blockSize)
	}
	f.at += n
	passed := f.advance(f.at)
	err := f.trailer.Entries(f.coming[:passed])
	f.coming = f.coming[:copy(f.coming, f.coming[passed:])]
	return err
}

// At is the end of what was written, in the stream.
func (f *Fragments) At() int64 { return f.at }

// Last names the last fragment that was begun.
func (f *Fragments) Last() (backupID string, copy, number int) { return f.backupID, f.copy, f.number }

// Bytes is what was written of the current fragment.
func (f *Fragments) Bytes() int64 { return f.at - f.head.Start }

// Finish ends the current fragment; last says that the image ends with it, and end
// what is known of it then, nil if nothing is. The trailer is to be written, and all
// to be durable, before the fragment counts.
func (f *Fragments) Finish(last bool, end *ImageEnd) (Fragment, error) {
	if err := f.trailer.Close(f.blocks, last, end); err != nil {
		return Fragment{}, err
	}
	return Fragment{
		Header: f.head, Bytes: f.Bytes(), Entries: f.trailer.entries,
		Blocks: f.blocks, Trailer: f.out,
	}, nil
}

// CheckBlock compares a block read from a volume with the table; b is block i
// of the fragment's data.
func (t BlockTable) CheckBlock(i int, b []byte) error {
	want, _, ok := t.Block(i)
	switch {
	case !ok:
		return fmt.Errorf("block %d: the fragment has %d", i, t.Count())
	case want.Hollow:
		return fmt.Errorf("block %d has bytes and was written hollow: %w", i, ErrDamaged)
	case int(want.Len) != len(b):
		return fmt.Errorf("block %d has %d bytes, %d were written: %w", i, len(b), want.Len, ErrDamaged)
	}
	if got := crc32.Checksum(b, stream.Castagnoli); got != want.CRC {
		return fmt.Errorf("block %d has CRC-32C %08x, it was written with %08x: %w", i, got, want.CRC, ErrDamaged)
	}
	return nil
}
