package vtl

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"capstan/core/dev"
	"capstan/core/store"
)

// The .tap format: Bob Supnik, "SIMH Magtape Representation and Handling". All
// numbers are 32-bit little-endian.
//
//	record    length, data, one byte of padding if the length is odd, length
//	filemark  00000000
//	gap       FFFFFFFE: skipped
//	end       FFFFFFFF: end of medium, nothing follows
//
// The top four bits of a length are the record's class: 0 is good data, 8 is a
// record that was read with an error, 1, of the classes for private data, is a
// block that is encrypted (the SCSI target writes it). Other classes are refused.
const (
	tapMark   = 0x00000000
	tapGap    = 0xFFFFFFFE
	tapEnd    = 0xFFFFFFFF
	tapFrame  = 8 // the two lengths around a record's data
	tapLength = 0x0FFFFFFF
	tapBad    = 0x80000000
	tapSealed = 0x10000000
)

// errTap is wrapped by errors about a .tap file that is not what it should be.
var errTap = errors.New("damaged .tap file")

func tapStride(kind objectKind, size int64) int64 {
	if kind == markObject {
		return 4
	}
	return tapFrame + size + size&1
}

// scanTap reads the records of a .tap file of size bytes into x and returns the
// offset after the last whole one: what follows was torn by a crash. It reads
// the framing, not the data. An error says that the file is no .tap file, or is
// damaged at a place where a crash leaves no damage, or holds more than capacity.
func scanTap(f io.ReaderAt, size, capacity int64, x *index) (whole int64, err error) {
	for off := int64(0); ; {
		var b [4]byte
		if x.used() > capacity {
			return off, fmt.Errorf("%w: more records than its capacity of %d bytes", errTap, capacity)
		}
		if size-off < 4 {
			return off, nil
		}
		if _, err := f.ReadAt(b[:], off); err != nil {
			return off, fmt.Errorf("reading a record's length at %d: %w", off, err)
		}
		word := binary.LittleEndian.Uint32(b[:])
		if word == tapMark {
			if err := x.add(markObject, 0, 1); err != nil {
				return off, err
			}
			off += 4
			continue
		}
		if word == tapEnd {
			return off, nil
		}
		if word == tapGap {
			return off, fmt.Errorf("%w: an erase gap at %d: copy the tape to remove it", errTap, off)
		}
		kind, n, most := blockObject, int64(word&tapLength), int64(dev.MaxBlock)
		switch word &^ tapLength {
		case 0:
		case tapBad:
			kind = badObject
		case tapSealed:
			kind, most = sealedObject, dev.MaxBlock+MaxSeal
		default:
			return off, fmt.Errorf("%w: a record of unknown class %X at %d", errTap, word>>28, off)
		}
		if n == 0 || n > most {
			return off, fmt.Errorf("%w: a record of %d bytes at %d, allowed are 1 to %d", errTap, n, off, most)
		}
		next := off + tapStride(kind, n)
		if next > size {
			return off, nil
		}
		if _, err := f.ReadAt(b[:], next-4); err != nil {
			return off, fmt.Errorf("reading a record's second length at %d: %w", next-4, err)
		}
		if again := binary.LittleEndian.Uint32(b[:]); again != word {
			return off, fmt.Errorf("%w: lengths %d and %d around the record at %d", errTap, word, again, off)
		}
		if err := x.add(kind, n, 1); err != nil {
			return off, err
		}
		off = next
	}
}

// sidecar is the file beside a .tap file: what a cartridge's label, chip and
// write protect switch say, and how far the records are known to be durable.
type sidecar struct {
	Version        int    `json:"version"` // 1
	Barcode        string `json:"barcode"`
	Density        string `json:"density"`
	Capacity       int64  `json:"capacity"` // native bytes
	Reserve        int64  `json:"reserve"`  // bytes from early warning to the end
	WriteProtected bool   `json:"write_protected"`
	WORM           bool   `json:"worm,omitempty"`     // what is written stays
	Cleaning       bool   `json:"cleaning,omitempty"` // it holds no data
	// Compression is how well its data compresses, in hundredths; 0 is not at all.
	Compression int64 `json:"compression,omitempty"`
	// Initialized has it been measured by a drive before its first load here.
	Initialized bool `json:"initialized,omitempty"`
	// Durable is the number of bytes of the .tap file that were made durable.
	// Blocks after it were never acknowledged as such, and are cut at load.
	Durable int64        `json:"durable"`
	Memory  MediumMemory `json:"medium_memory"`
}

// MediumMemory is what a cartridge's chip counts (MAM attributes of SSC).
type MediumMemory struct {
	Loads   int64  `json:"loads"`
	Written int64  `json:"written"` // bytes, over the cartridge's life
	Read    int64  `json:"read"`
	Drive   string `json:"drive,omitempty"` // that loaded it last
	// Attributes are those that hosts wrote (WRITE ATTRIBUTE), in the order of their numbers.
	Attributes []Attribute `json:"attributes,omitempty"`
}

// Attribute is one of a medium's attributes (SPC-5, 7.4).
type Attribute struct {
	ID     uint16 `json:"id"`
	Format uint8  `json:"format"` // 0 binary, 1 ASCII, 2 text
	Value  []byte `json:"value"`
}

const sidecarVersion = 1

func tapName(barcode string) string     { return barcode + ".tap" }
func sidecarName(barcode string) string { return barcode + ".json" }

// readSidecar reads a cartridge's sidecar.
func readSidecar(ctx context.Context, dir store.Dir, barcode string) (*sidecar, error) {
	b, err := readFile(ctx, dir, sidecarName(barcode), 1<<16)
	if err != nil {
		return nil, err
	}
	return parseSidecar(b, barcode)
}

func parseSidecar(b []byte, barcode string) (*sidecar, error) {
	var s sidecar
	if err := json.Unmarshal(b, &s); err != nil {
		return nil, fmt.Errorf("%s: %w", sidecarName(barcode), err)
	}
	switch {
	case s.Version < 1 || s.Version > sidecarVersion:
		return nil, fmt.Errorf("%s has version %d, this program knows %d: use the newer program", sidecarName(barcode), s.Version, sidecarVersion)
	case s.Barcode != barcode:
		return nil, fmt.Errorf("%s is of cartridge %q: files were mixed up", sidecarName(barcode), s.Barcode)
	case !ratioOK(s.Compression):
		return nil, fmt.Errorf("%s: compression %d, in hundredths: from 100 to %d are known", sidecarName(barcode), s.Compression, maxRatio)
	case s.Capacity <= 0 || s.Reserve < 0 || s.Reserve >= s.Capacity || s.Durable < 0:
		return nil, fmt.Errorf("%s: capacity %d, reserve %d, durable %d make no sense", sidecarName(barcode), s.Capacity, s.Reserve, s.Durable)
	}
	return &s, nil
}

// tapFile is a body in a .tap file.
type tapFile struct {
	file store.File
	dir  store.Dir
	side *sidecar
	buf  []byte
}

// openTap opens a cartridge's file, cuts what a crash left behind its durable
// end, and indexes its records.
func openTap(ctx context.Context, dir store.Dir, side *sidecar) (*tape, error) {
	f, err := dir.Open(ctx, tapName(side.Barcode))
	if err != nil {
		return nil, err
	}
	t, err := indexTap(f, dir, side)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", tapName(side.Barcode), err), f.Close())
	}
	return t, nil
}

func indexTap(f store.File, dir store.Dir, side *sidecar) (*tape, error) {
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	if size < side.Durable {
		return nil, fmt.Errorf("%w: %d bytes, of which %d were durable: restore the file", errTap, size, side.Durable)
	}
	t := newTape(&tapFile{file: f, dir: dir, side: side}, side.Compression)
	whole, err := scanTap(f, side.Durable, side.Capacity, &t.index)
	if err != nil {
		return nil, err
	}
	if whole != side.Durable {
		return nil, fmt.Errorf("%w: the record at %d goes beyond the durable end %d: restore the file", errTap, whole, side.Durable)
	}
	if size > whole {
		if err := errors.Join(f.Truncate(whole), f.Sync()); err != nil {
			return nil, err
		}
	}
	t.durable = t.end()
	return t, nil
}

func (b *tapFile) hollow() bool                             { return false }
func (b *tapFile) stride(kind objectKind, size int64) int64 { return tapStride(kind, size) }
func (b *tapFile) close() error                             { return b.file.Close() }

func (b *tapFile) readBlock(off int64, p []byte) error {
	n, err := b.file.ReadAt(p, off+4)
	if n == len(p) {
		return nil
	}
	return fmt.Errorf("record of %d bytes at %d of %s: %w", len(p), off, tapName(b.side.Barcode), err)
}

// writeBlock writes a record with one WriteAt: its framing and its data.
func (b *tapFile) writeBlock(off int64, kind objectKind, p []byte) error {
	word := uint32(len(p))
	if kind == sealedObject {
		word |= tapSealed
	}
	n := tapStride(blockObject, int64(len(p)))
	if int64(cap(b.buf)) < n {
		b.buf = make([]byte, n)
	}
	r := b.buf[:n]
	binary.LittleEndian.PutUint32(r, word)
	r[n-5] = 0 // the padding if there is one, else the last byte of the data
	copy(r[4:], p)
	binary.LittleEndian.PutUint32(r[n-4:], word)
	_, err := b.file.WriteAt(r, off)
	return err
}

func (b *tapFile) writeMarks(off int64, n int64) error {
	marks := make([]byte, 4*min(n, 1<<14)) // zeros
	for n > 0 {
		k := min(n, 1<<14)
		if _, err := b.file.WriteAt(marks[:4*k], off); err != nil {
			return err
		}
		n, off = n-k, off+4*k
	}
	return nil
}

// cut lowers the durable end before the file is cut: after a crash between, the
// old records behind it are not taken for new ones.
func (b *tapFile) cut(ctx context.Context, off int64) error {
	if off < b.side.Durable {
		if err := b.save(ctx, off); err != nil {
			return err
		}
	}
	return errors.Join(b.file.Truncate(off), b.file.Sync())
}

func (b *tapFile) sync(ctx context.Context, off int64) error {
	if err := b.file.Sync(); err != nil {
		return err
	}
	return b.save(ctx, off)
}

func (b *tapFile) save(ctx context.Context, durable int64) error {
	s := *b.side
	s.Durable = durable
	if err := writeJSON(ctx, b.dir, sidecarName(s.Barcode), &s); err != nil {
		return err
	}
	b.side.Durable = durable
	return nil
}

// importTap makes the sidecar of a .tap file that came without one: all its
// whole records are taken as they are.
func importTap(ctx context.Context, dir store.Dir, side *sidecar) error {
	f, err := dir.Open(ctx, tapName(side.Barcode))
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // it was only read
	size, err := f.Size()
	if err != nil {
		return err
	}
	x := index{stride: tapStride, ratio: side.Compression}
	whole, err := scanTap(f, size, side.Capacity, &x)
	if err != nil {
		return fmt.Errorf("%s: %w", tapName(side.Barcode), err)
	}
	side.Durable = whole
	return writeJSON(ctx, dir, sidecarName(side.Barcode), side)
}

// createTap makes an empty cartridge: the file first, so that a sidecar always
// has one.
func createTap(ctx context.Context, dir store.Dir, side *sidecar) error {
	f, err := dir.Create(ctx, tapName(side.Barcode))
	if err != nil {
		return err
	}
	if err := errors.Join(f.Sync(), f.Close(), dir.Sync(ctx, "")); err != nil {
		return err
	}
	return writeJSON(ctx, dir, sidecarName(side.Barcode), side)
}

// readFile reads a small file whole.
func readFile(ctx context.Context, dir store.Dir, name string, most int64) ([]byte, error) {
	f, err := dir.Open(ctx, name)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // it was only read
	n, err := f.Size()
	if err != nil {
		return nil, err
	}
	if n > most {
		return nil, fmt.Errorf("%s has %d bytes, more than the %d it may have", name, n, most)
	}
	b := make([]byte, n)
	if got, err := f.ReadAt(b, 0); got < len(b) {
		return nil, fmt.Errorf("reading %s: %w", name, err)
	}
	return b, nil
}

// writeJSON replaces a small file: after a crash it is the old one or the new.
func writeJSON(ctx context.Context, dir store.Dir, name string, v any) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	f, err := dir.Create(ctx, name+".new")
	if err != nil {
		return err
	}
	_, err = f.WriteAt(append(b, '\n'), 0)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("writing %s: %w", name, err)
	}
	if err := dir.Rename(ctx, name+".new", name); err != nil {
		return err
	}
	return dir.Sync(ctx, "")
}
