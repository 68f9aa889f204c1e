package catalog

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"

	"github.com/klauspost/compress/zstd"
)

// The parts of a file: a header, blocks without gaps, a footer.
const (
	formatVersion = 2
	headerLen     = 16
	footerLen     = 96
	frameHead     = 9         // kind, length before compression, length of what is not compressed
	frameLen      = 13        // what a block has beside its bytes: the head and a CRC
	encoderWindow = 128 << 10 // what the encoder remembers: more than a usual block
	maxLevel      = 32        // of the index; a block of it refers to 2 blocks at least, to hundreds usually
	kindData      = byte('D') // a block of entries
	kindIndex     = byte('I') // a block of references to blocks
	kindNames     = byte('N') // a segment of the index of names
	kindBits      = byte('B') // bits of it
)

var (
	headerMagic = [8]byte{'C', 'A', 'P', 'F', '\r', '\n', 0x1a, '\n'}
	footerMagic = [8]byte{'C', 'A', 'P', 'F', 'E', 'N', 'D', '\n'}
	castagnoli  = crc32.MakeTable(crc32.Castagnoli)
)

// Summary is what an image's files amount to.
type Summary struct {
	Files   int64 `json:"files"`          // files that are not directories, those that hollow entries stand for included
	Dirs    int64 `json:"dirs"`           // directories, those that are only listed as parents excluded
	Bytes   int64 `json:"bytes"`          // sum of the entries' sizes
	Entries int64 `json:"entries"`        // entries of the image: Walk's calls for "/"
	Gone    int64 `json:"gone,omitempty"` // entries that say what was no more
}

func (s *Summary) add(e *Entry) {
	if e.Implied() {
		return
	}
	if e.Type == Gone {
		s.Gone++
		return
	}
	if e.Type == Directory {
		s.Dirs += e.Files()
	} else {
		s.Files += e.Files()
	}
	s.Bytes += e.Size
	s.Entries++
}

// Implied tells whether the entry stands for a directory that the image does not
// hold, and that is listed because something below it is held.
func (e *Entry) Implied() bool { return e.Offset < 0 }

func impliedDir(path string) Entry {
	return Entry{Path: path, Type: Directory, Mode: 0o755, Offset: -1}
}

// ref says where a block is and which path is its first.
type ref struct {
	first  string
	offset int64
	length int64
}

// footer is the last footerLen bytes of a file.
type footer struct {
	root  ref // without first
	level int // of the root: 0 is a data block
	sum   Summary
	names ref   // of the last block of the index of names, without first
	size  int64 // of the whole file
}

func (f *footer) append(b []byte) []byte {
	start := len(b)
	for _, v := range [...]int64{
		f.root.offset, f.root.length | int64(f.level)<<32, f.sum.Files, f.sum.Dirs, f.sum.Bytes, f.sum.Entries, f.sum.Gone,
		f.names.offset, f.names.length, f.size,
	} {
		b = binary.LittleEndian.AppendUint64(b, uint64(v))
	}
	b = binary.LittleEndian.AppendUint32(b, formatVersion)
	b = binary.LittleEndian.AppendUint32(b, crc32.Checksum(b[start:], castagnoli))
	return append(b, footerMagic[:]...)
}

func appendHeader(b []byte) []byte {
	b = append(b, headerMagic[:]...)
	b = binary.LittleEndian.AppendUint32(b, formatVersion)
	return binary.LittleEndian.AppendUint32(b, 0)
}

func checkHeader(b []byte) error {
	if !bytes.Equal(b[:8], headerMagic[:]) {
		return errors.New("it does not begin like a files file")
	}
	if v := binary.LittleEndian.Uint32(b[8:]); v != formatVersion {
		return fmt.Errorf("format version %d, this program knows %d: import the image from its media (capstan import), or use the program that wrote it", v, formatVersion)
	}
	if v := binary.LittleEndian.Uint32(b[12:]); v != 0 {
		return fmt.Errorf("unknown flags %#x in the header", v)
	}
	return nil
}

func parseFooter(b []byte, size int64) (*footer, error) {
	if !bytes.Equal(b[88:96], footerMagic[:]) {
		return nil, errors.New("it does not end like a files file: it was cut short")
	}
	if crc32.Checksum(b[:84], castagnoli) != binary.LittleEndian.Uint32(b[84:]) {
		return nil, errors.New("the footer's checksum does not match")
	}
	if v := binary.LittleEndian.Uint32(b[80:]); v != formatVersion {
		return nil, fmt.Errorf("format version %d in the footer, this program knows %d", v, formatVersion)
	}
	at := func(i int) int64 { return int64(binary.LittleEndian.Uint64(b[8*i:])) }
	f := &footer{root: ref{offset: at(0), length: at(1) & math.MaxUint32}, level: int(at(1) >> 32), size: at(9)}
	f.sum = Summary{Files: at(2), Dirs: at(3), Bytes: at(4), Entries: at(5), Gone: at(6)}
	f.names = ref{offset: at(7), length: at(8)}
	if f.size != size {
		return nil, fmt.Errorf("it is %d bytes long and was written with %d", size, f.size)
	}
	if *f == (footer{size: headerLen + footerLen}) {
		return f, nil // no entries
	}
	if f.level < 0 || f.level > maxLevel {
		return nil, fmt.Errorf("an index of %d levels", f.level)
	}
	if f.names != (ref{}) {
		if err := f.names.check(size); err != nil {
			return nil, fmt.Errorf("the index of names: %w", err)
		}
	}
	return f, f.root.check(size)
}

// check tells whether the block lies between header and footer.
func (r *ref) check(size int64) error {
	end := size - footerLen
	if r.offset < headerLen || r.length < frameLen || r.offset > end || r.length > end-r.offset || r.length > 2*maxBlockRaw {
		return fmt.Errorf("a block at %d of %d bytes in a file of %d", r.offset, r.length, size)
	}
	return nil
}

// appendFrame appends a block as it stands at offset in a file: kind, length of
// raw, how many bytes at its end are plain, raw compressed but for these, these,
// and the CRC-32C of its offset and all that.
func appendFrame(b []byte, encoder *zstd.Encoder, kind byte, offset int64, raw []byte, plain int) []byte {
	start := len(b)
	if len(raw) < minCompressed {
		plain = len(raw)
	}
	b = append(b, kind)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(raw)))
	b = binary.LittleEndian.AppendUint32(b, uint32(plain))
	if plain < len(raw) { // the encoder sets up megabytes of tables for the first bytes, and for none
		b = encoder.EncodeAll(raw[:len(raw)-plain], b)
	}
	b = append(b, raw[len(raw)-plain:]...)
	return binary.LittleEndian.AppendUint32(b, frameSum(offset, b[start:]))
}

func frameSum(offset int64, b []byte) uint32 {
	var at [8]byte
	binary.LittleEndian.PutUint64(at[:], uint64(offset))
	return crc32.Update(crc32.Checksum(at[:], castagnoli), castagnoli, b)
}

// parseFrame is the inverse of appendFrame.
func parseFrame(b []byte, kind byte, offset int64) ([]byte, error) {
	if len(b) < frameLen {
		return nil, errShort
	}
	body, sum := b[:len(b)-4], binary.LittleEndian.Uint32(b[len(b)-4:])
	if frameSum(offset, body) != sum {
		return nil, errors.New("the block's checksum does not match")
	}
	if body[0] != kind {
		return nil, fmt.Errorf("a block of kind %q where %q belongs", body[0], kind)
	}
	n, plain := binary.LittleEndian.Uint32(body[1:]), binary.LittleEndian.Uint32(body[5:])
	body = body[frameHead:]
	if n > maxBlockRaw || plain > n || int(plain) > len(body) {
		return nil, fmt.Errorf("a block of %d bytes, %d of them plain: at most %d are written", n, plain, maxBlockRaw)
	}
	packed := body[:len(body)-int(plain)]
	raw, err := decoder.DecodeAll(packed, make([]byte, 0, n))
	if err != nil {
		return nil, fmt.Errorf("the block does not decompress: %w", err)
	}
	raw = append(raw, body[len(packed):]...)
	if len(raw) != int(n) {
		return nil, fmt.Errorf("the block has %d bytes where %d were written", len(raw), n)
	}
	return raw, nil
}

// The encoders and the decoder of all files: each has tables of its own to set up,
// and several tasks may use it at once (EncodeAll, DecodeAll).
var (
	encoder = newEncoder(zstd.SpeedDefault) // of what is kept
	decoder = must(zstd.NewReader(nil, zstd.WithDecoderConcurrency(coders), zstd.WithDecoderMaxMemory(maxBlockRaw), zstd.WithDecoderLowmem(true)))
)

func newEncoder(level zstd.EncoderLevel) *zstd.Encoder {
	return must(zstd.NewWriter(nil, zstd.WithEncoderConcurrency(coders), zstd.WithEncoderLevel(level), zstd.WithEncoderCRC(false),
		zstd.WithWindowSize(encoderWindow), zstd.WithLowerEncoderMem(true)))
}

// minCompressed is the shortest block that is worth an encoder's tables: a file that is
// shorter fills one sector of a disk.
const minCompressed = 512

// coders is how many blocks can be compressed at once, and decompressed.
const coders = 4

// must is for what fails with wrong options only.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// An index block: its level, then for each block below it the first path
// (front-coded), the offset and the length.
func appendIndex(b []byte, level int, refs []ref) []byte {
	b = binary.AppendUvarint(b, uint64(level))
	b = binary.AppendUvarint(b, uint64(len(refs)))
	last := ""
	for _, r := range refs {
		shared := sharedPrefix(last, r.first)
		b = binary.AppendUvarint(b, uint64(shared))
		b = appendText(b, r.first[shared:])
		b = binary.AppendUvarint(b, uint64(r.offset))
		b = binary.AppendUvarint(b, uint64(r.length))
		last = r.first
	}
	return b
}

func decodeIndex(raw []byte, level int, size int64) ([]ref, error) {
	c := cursor{b: raw}
	if got := c.count(maxLevel); got != level {
		return nil, fmt.Errorf("an index block of level %d where %d belongs", got, level)
	}
	n := c.count(maxBlockEntries)
	var refs []ref
	text := 0
	last := ""
	for range n {
		shared := c.count(len(last))
		r := ref{first: last[:shared] + c.text(MaxPath+1)}
		r.offset, r.length = int64(c.uint()), int64(c.uint())
		if c.err != nil {
			return nil, c.err
		}
		if err := checkKey(r.first); err != nil {
			return nil, err
		}
		if err := r.check(size); err != nil {
			return nil, err
		}
		if len(refs) > 0 && comparePaths(last, r.first) >= 0 {
			return nil, fmt.Errorf("%.200q after %.200q is out of order", r.first, last)
		}
		if text += len(r.first); text > maxBlockText {
			return nil, fmt.Errorf("more than %d bytes of paths", maxBlockText)
		}
		last = r.first
		refs = append(refs, r)
	}
	if n == 0 || len(c.b) != 0 {
		return nil, fmt.Errorf("an index block of %d references with %d bytes after them", n, len(c.b))
	}
	return refs, nil
}
