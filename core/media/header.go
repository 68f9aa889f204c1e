package media

import (
	"errors"
	"fmt"
	"hash/crc32"
	"strconv"
	"strings"

	"capstan/core/archive/pax"
	"capstan/core/rt"
	"capstan/core/stream"
)

// Version is the version of the format that this program writes; it reads every
// version up to it.
const Version = 1

// Sizes of blocks, in bytes. A block is a multiple of 512 bytes.
const (
	DefaultBlockSize = 256 << 10
	MinBlockSize     = 16 << 10
	MaxBlockSize     = 16 << 20
)

var (
	// ErrForeign says that a block was not written by Capstan: the volume may
	// belong to somebody else and must not be overwritten.
	ErrForeign = errors.New("not a block of Capstan's")
	// ErrDamaged says that a block is Capstan's and is not as it was written.
	ErrDamaged = errors.New("the block is damaged")
	// ErrVersion says that a newer program wrote it.
	ErrVersion = errors.New("the block's format is newer than this program")
)

// Label identifies a volume. It is the volume's first file, one block.
type Label struct {
	MediaID   string  `json:"mediaId"` // what operators call it
	Barcode   string  `json:"barcode,omitempty"`
	Pool      string  `json:"pool"`
	UUID      string  `json:"uuid"` // new with each labelling
	Written   rt.Time `json:"written"`
	BlockSize int     `json:"blockSize"` // largest block on the volume
}

// Continuation is the member that a fragment begins inside of.
type Continuation struct {
	Path   string `json:"path"`   // its name in the archive
	Size   int64  `json:"size"`   // bytes of its data still to come, without padding
	Offset int64  `json:"offset"` // where in the file they belong, as GNU tar counts
}

// FragmentHeader is what the first block of a fragment's data file says.
type FragmentHeader struct {
	BackupID  string        `json:"backupId"`
	Copy      int           `json:"copy"`   // from 1
	Number    int           `json:"number"` // of the fragment in the copy, from 1
	Start     int64         `json:"start"`  // where it begins in the image's stream
	BlockSize int           `json:"blockSize"`
	Continued *Continuation `json:"continued,omitempty"`
	Image     Image         `json:"image,omitzero"`
	// Before is the cartridge that the fragment before is on, if it is another.
	Before string `json:"before,omitempty"`
}

// EndHeader is the block after the last fragment of a volume: whoever appends
// reads it first, and so knows that the position is right.
type EndHeader struct {
	MediaID string `json:"mediaId"`
	// The last fragment on the volume; BackupID is "" if there is none.
	BackupID string  `json:"backupId,omitempty"`
	Copy     int     `json:"copy,omitempty"`
	Number   int     `json:"number,omitempty"`
	File     int64   `json:"file"` // number of the tape file that this header is, the label's being 0
	Written  rt.Time `json:"written"`
}

// The kinds of header block.
const (
	kindLabel    = "label"
	kindFragment = "fragment"
	kindEnd      = "end"
)

const prefix = "CAPSTAN."

// EncodeLabel makes the label's block.
func EncodeLabel(l Label) ([]byte, error) {
	if l.MediaID == "" {
		return nil, fmt.Errorf("label: a volume needs a media id")
	}
	if err := checkBlockSize(l.BlockSize); err != nil {
		return nil, fmt.Errorf("label of %s: %w", l.MediaID, err)
	}
	return encode(kindLabel, "CAPSTAN "+l.MediaID, append(begin(kindLabel),
		pax.Record{Key: prefix + "media", Value: l.MediaID},
		pax.Record{Key: prefix + "barcode", Value: l.Barcode},
		pax.Record{Key: prefix + "pool", Value: l.Pool},
		pax.Record{Key: prefix + "uuid", Value: l.UUID},
		pax.Record{Key: prefix + "written", Value: pax.FormatTime(l.Written)},
		pax.Record{Key: prefix + "blocksize", Value: strconv.Itoa(l.BlockSize)},
	), nil)
}

// DecodeLabel reads a label's block. [ErrForeign], [ErrDamaged], [ErrVersion].
func DecodeLabel(b []byte) (Label, error) {
	v, err := decode(kindLabel, b)
	l := Label{
		MediaID: v.text("media"), Barcode: v.text("barcode"), Pool: v.text("pool"),
		UUID: v.text("uuid"), Written: v.time("written"), BlockSize: int(v.int("blocksize")),
	}
	if err == nil {
		err = v.err
	}
	if err == nil {
		err = checkBlockSize(l.BlockSize)
	}
	return l, wrap("label", err)
}

// EncodeFragmentHeader makes the first block of a fragment's data file.
func EncodeFragmentHeader(h FragmentHeader) ([]byte, error) {
	if h.BackupID == "" || h.Copy < 1 || h.Number < 1 || h.Start < 0 {
		return nil, fmt.Errorf("fragment header: %+v does not name a fragment", h)
	}
	if err := checkBlockSize(h.BlockSize); err != nil {
		return nil, fmt.Errorf("fragment header of %s: %w", h.BackupID, err)
	}
	recs, err := h.Image.records(append(begin(kindFragment),
		pax.Record{Key: prefix + "backup", Value: h.BackupID},
		pax.Record{Key: prefix + "copy", Value: strconv.Itoa(h.Copy)},
		pax.Record{Key: prefix + "fragment", Value: strconv.Itoa(h.Number)},
		pax.Record{Key: prefix + "start", Value: strconv.FormatInt(h.Start, 10)},
		pax.Record{Key: prefix + "blocksize", Value: strconv.Itoa(h.BlockSize)},
	))
	if err != nil {
		return nil, fmt.Errorf("fragment header of %s: %w", h.BackupID, err)
	}
	if h.Before != "" {
		recs = append(recs, pax.Record{Key: prefix + "before", Value: h.Before})
	}
	b, err := encode(kindFragment, baseName(h.BackupID, h.Copy, h.Number), recs, h.Continued)
	if err == nil && len(b) > h.BlockSize {
		err = fmt.Errorf("fragment header of %s: it needs %d bytes, a block has %d", h.BackupID, len(b), h.BlockSize)
	}
	return b, err
}

// DecodeFragmentHeader reads the first block of a data file; b may go on with the
// data that follows it, of which n tells where it begins.
func DecodeFragmentHeader(b []byte) (h FragmentHeader, n int, err error) {
	v, err := decode(kindFragment, b)
	h = FragmentHeader{
		BackupID: v.text("backup"), Copy: int(v.int("copy")), Number: int(v.int("fragment")),
		Start: v.int("start"), BlockSize: int(v.int("blocksize")), Continued: v.continued,
		Image: v.image(), Before: v.text("before"),
	}
	if err == nil {
		err = v.err
	}
	if err == nil {
		err = checkBlockSize(h.BlockSize)
	}
	if err == nil && (h.BackupID == "" || h.Copy < 1 || h.Number < 1) {
		err = ErrDamaged
	}
	return h, v.end, wrap("fragment header", err)
}

// EncodeEndHeader makes the block after the last fragment.
func EncodeEndHeader(h EndHeader) ([]byte, error) {
	if h.MediaID == "" || h.File < 1 {
		return nil, fmt.Errorf("end header: %+v does not name its place", h)
	}
	return encode(kindEnd, "CAPSTAN "+h.MediaID+" end", append(begin(kindEnd),
		pax.Record{Key: prefix + "media", Value: h.MediaID},
		pax.Record{Key: prefix + "backup", Value: h.BackupID},
		pax.Record{Key: prefix + "copy", Value: strconv.Itoa(h.Copy)},
		pax.Record{Key: prefix + "fragment", Value: strconv.Itoa(h.Number)},
		pax.Record{Key: prefix + "file", Value: strconv.FormatInt(h.File, 10)},
		pax.Record{Key: prefix + "written", Value: pax.FormatTime(h.Written)},
	), nil)
}

// DecodeEndHeader reads an end header's block.
func DecodeEndHeader(b []byte) (EndHeader, error) {
	v, err := decode(kindEnd, b)
	h := EndHeader{
		MediaID: v.text("media"), BackupID: v.text("backup"), Copy: int(v.int("copy")),
		Number: int(v.int("fragment")), File: v.int("file"), Written: v.time("written"),
	}
	if err == nil {
		err = v.err
	}
	return h, wrap("end header", err)
}

func wrap(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", what, err)
}

func checkBlockSize(n int) error {
	if n < MinBlockSize || n > MaxBlockSize || n%pax.BlockSize != 0 {
		return fmt.Errorf("block size %d: give a multiple of 512 from %d to %d", n, MinBlockSize, MaxBlockSize)
	}
	return nil
}

// usualRecords is how many records a header has at most that begins at no member.
const usualRecords = 18

// begin gives the records that every header of a kind begins with.
func begin(kind string) []pax.Record {
	return append(make([]pax.Record, 0, usualRecords),
		pax.Record{Key: prefix + "format", Value: strconv.Itoa(Version)}, pax.Record{Key: prefix + "kind", Value: kind})
}

// encode makes a header block: a global header whose records are Capstan's, the
// last of them the CRC-32C of those before it; then a GNU volume label, or the
// header of the continued member. tar -M takes away one header after a global
// header at the beginning of a volume: without the label it would lose a member.
func encode(kind, label string, recs []pax.Record, c *Continuation) ([]byte, error) {
	for _, r := range recs {
		if strings.ContainsAny(r.Value, "\n\x00") {
			return nil, fmt.Errorf("%s: %s is %q: a line end or NUL cannot be in it", kind, r.Key, r.Value)
		}
	}
	if c != nil {
		recs = append(recs,
			pax.Record{Key: "GNU.volume.filename", Value: c.Path},
			pax.Record{Key: "GNU.volume.size", Value: strconv.FormatInt(c.Size, 10)},
			pax.Record{Key: "GNU.volume.offset", Value: strconv.FormatInt(c.Offset, 10)})
	}
	recs = append(recs, pax.Record{Key: prefix + "crc32c", Value: recordsCRC(recs)})
	b := pax.AppendGlobal(nil, "CAPSTAN-"+kind, recs)
	follow := pax.Header{Name: label[:min(len(label), 99)], Type: pax.Volume}
	if c != nil {
		dir, base := "", c.Path
		if i := strings.LastIndexByte(base, '/'); i >= 0 {
			dir, base = base[:i+1], base[i+1:]
		}
		follow = pax.Header{Name: dir + "GNUFileParts/" + base, Type: '0', Mode: 0o644, Size: c.Size}
	}
	return follow.Append(b)
}

// recordsCRC is the CRC-32C of records, as the record that follows them says it.
func recordsCRC(recs []pax.Record) string {
	line := make([]byte, 0, 128)
	sum := uint32(0)
	for _, r := range recs {
		line = append(append(append(append(line[:0], r.Key...), '='), r.Value...), '\n')
		sum = crc32.Update(sum, stream.Castagnoli, line)
	}
	return fmt.Sprintf("%08x", sum)
}

// values are the records of a header block.
type values struct {
	recs      []pax.Record
	continued *Continuation
	end       int   // length of the block's headers
	err       error // of the first value that was not what it should be
}

// decode reads a header block of a kind.
func decode(kind string, b []byte) (*values, error) {
	v := &values{}
	if len(b) < 2*pax.BlockSize {
		return v, fmt.Errorf("%w: it has %d bytes", ErrForeign, len(b))
	}
	h, zero, err := pax.ParseBlock(b[:pax.BlockSize])
	if err != nil || zero || h.Type != pax.Global || !strings.HasPrefix(h.Name, "CAPSTAN-") {
		return v, ErrForeign
	}
	end := pax.BlockSize + (h.Size+511)&^511
	if h.Size > MaxBlockSize || end > int64(len(b)) {
		return v, fmt.Errorf("%w: its records are cut off", ErrDamaged)
	}
	recs, err := pax.ParseRecords(b[pax.BlockSize : pax.BlockSize+h.Size])
	if err != nil {
		return v, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	last := len(recs) - 1
	if last < 0 || recs[last] != (pax.Record{Key: prefix + "crc32c", Value: recordsCRC(recs[:last])}) {
		return v, fmt.Errorf("%w: its records do not have their CRC-32C", ErrDamaged)
	}
	v.recs = recs[:last]
	if n := v.int("format"); n > Version {
		return v, fmt.Errorf("%w: version %d, known up to %d", ErrVersion, n, Version)
	}
	if got := v.text("kind"); got != kind {
		return v, fmt.Errorf("%w: it is the header of another kind: %s", ErrForeign, got)
	}
	v.readContinuation()
	v.end, err = skipHeaders(b, int(end))
	return v, err
}

// skipHeaders finds the end of the label, or of the continued member's header.
func skipHeaders(b []byte, at int) (int, error) {
	for range 2 {
		if len(b)-at < pax.BlockSize {
			break
		}
		h, zero, err := pax.ParseBlock(b[at : at+pax.BlockSize])
		if err != nil || zero {
			break
		}
		at += pax.BlockSize
		if h.Type != pax.Extended {
			return at, nil
		}
		if h.Size > int64(len(b)-at) {
			break
		}
		at += int(h.Size+511) &^ 511
	}
	return 0, fmt.Errorf("%w: what follows its records is cut off", ErrDamaged)
}

func (v *values) readContinuation() {
	path := v.raw("GNU.volume.filename")
	if path == "" {
		return
	}
	v.continued = &Continuation{Path: path, Size: v.number("GNU.volume.size"), Offset: v.number("GNU.volume.offset")}
}

func (v *values) raw(key string) string {
	for _, r := range v.recs {
		if r.Key == key {
			return r.Value
		}
	}
	return ""
}

func (v *values) text(key string) string { return v.raw(prefix + key) }
func (v *values) int(key string) int64   { return v.number(prefix + key) }

func (v *values) number(key string) int64 {
	n, err := strconv.ParseInt(v.raw(key), 10, 63)
	if (err != nil || n < 0) && v.err == nil {
		v.err = fmt.Errorf("%w: its %s is %q", ErrDamaged, key, v.raw(key))
	}
	return n
}

func (v *values) time(key string) rt.Time {
	t, err := pax.ParseTime(v.text(key))
	if err != nil && v.err == nil {
		v.err = fmt.Errorf("%w: its %s is %q", ErrDamaged, key, v.text(key))
	}
	return t
}

// ParseDiskName takes the name of a fragment's data file apart.
func ParseDiskName(name string) (backupID string, copy, number int, ok bool) {
	base, isData := strings.CutSuffix(name, ".tar")
	f := strings.LastIndex(base, "_F")
	if !isData || f < 0 {
		return "", 0, 0, false
	}
	c := strings.LastIndex(base[:f], "_C")
	if c <= 0 {
		return "", 0, 0, false
	}
	copy, err1 := strconv.Atoi(base[c+2 : f])
	number, err2 := strconv.Atoi(base[f+2:])
	data, _ := DiskName(base[:c], copy, number)
	return base[:c], copy, number, err1 == nil && err2 == nil && copy > 0 && number > 0 && data == name
}

// DiskName gives the names of a fragment's two files on a disk storage unit.
func DiskName(backupID string, copy, number int) (data, trailer string) {
	base := baseName(backupID, copy, number)
	return base + ".tar", base + ".trl"
}

func baseName(backupID string, copy, number int) string {
	return backupID + "_C" + strconv.Itoa(copy) + "_F" + strconv.Itoa(number)
}
