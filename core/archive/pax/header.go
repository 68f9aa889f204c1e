package pax

import (
	"bytes"
	"errors"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"capstan/core/rt"
)

// BlockSize is the unit of a tar archive, in bytes.
const BlockSize = 512

// Types of header that are not types of file.
const (
	Extended   = 'x' // records for the next member
	Global     = 'g' // records for all members that follow
	Volume     = 'V' // GNU: a label; its name is what it says, it has no data
	LongName   = 'L' // GNU: the next member's name
	LongLink   = 'K' // GNU: the next member's link target
	OldRegular = 0   // a regular file before POSIX
	Contiguous = '7' // a regular file
)

// Largest values of the octal fields of a ustar header.
const (
	maxID   = 07777777     // uid, gid, major, minor: seven digits
	maxSize = 077777777777 // size, mtime: eleven digits
)

// ErrHeader says that something is not a tar header, or says what cannot be.
var ErrHeader = errors.New("bad tar header")

// Record is one keyword of an extended header and its value.
type Record struct{ Key, Value string }

// Header is what a member's headers say.
type Header struct {
	Name    string
	Type    byte
	Mode    uint32 // 07777
	UID     uint32
	GID     uint32
	Size    int64 // of the data in the archive
	MTime   rt.Time
	Link    string
	Major   uint32
	Minor   uint32
	Records []Record // further records: sparse files, extended attributes, ctime
}

// Append appends the member's headers to b: an extended header if ustar's fields
// do not hold all that h says, then the ustar header. Names are written as the
// bytes that they are. POSIX has a record for names that are not UTF-8
// (hdrcharset=BINARY), but GNU tar, which takes bytes as they are, warns of it.
func (h *Header) Append(b []byte) ([]byte, error) {
	if err := h.check(); err != nil {
		return nil, err
	}
	f := fields{typ: h.Type, mode: h.Mode, major: h.Major, minor: h.Minor}
	var room [8]Record // for most members
	recs := room[:0]
	if f.name, f.prefix = splitName(h.Name); f.name == "" {
		recs = append(recs, Record{"path", h.Name})
		f.name = shorten(h.Name, 100)
	}
	if f.link = h.Link; len(h.Link) > 100 {
		recs = append(recs, Record{"linkpath", h.Link})
		f.link = h.Link[:100]
	}
	f.uid, recs = number("uid", int64(h.UID), maxID, recs)
	f.gid, recs = number("gid", int64(h.GID), maxID, recs)
	f.size, recs = number("size", h.Size, maxSize, recs)
	f.mtime = h.MTime.Unix()
	if int64(h.MTime)%1e9 != 0 || f.mtime < 0 || f.mtime > maxSize {
		recs = append(recs, Record{"mtime", FormatTime(h.MTime)})
		f.mtime = min(max(f.mtime, 0), maxSize)
	}
	recs = append(recs, h.Records...)
	if len(recs) > 0 {
		b = appendRecords(b, Extended, besides(h.Name, "PaxHeaders"), recs)
	}
	return f.append(b), nil
}

func (h *Header) check() error {
	switch {
	case h.Name == "":
		return fmt.Errorf("%w: a member without a name", ErrHeader)
	case strings.Contains(h.Name, "\x00"), strings.Contains(h.Link, "\x00"):
		return fmt.Errorf("%w: NUL in the name %q or its link %q", ErrHeader, h.Name, h.Link)
	case h.Size < 0:
		return fmt.Errorf("%w: %q has size %d", ErrHeader, h.Name, h.Size)
	case h.Major > maxID || h.Minor > maxID:
		return fmt.Errorf("%w: %q: device %d:%d does not fit", ErrHeader, h.Name, h.Major, h.Minor)
	}
	return nil
}

// number gives what goes into a field: n, or 0 and a record that says it.
func number(key string, n, most int64, recs []Record) (int64, []Record) {
	if n <= most {
		return n, recs
	}
	return 0, append(recs, Record{key, strconv.FormatInt(n, 10)})
}

// splitName splits a name into ustar's name and prefix; name is "" if it does
// not fit.
func splitName(s string) (name, prefix string) {
	if len(s) <= 100 {
		return s, ""
	}
	if len(s) > 256 {
		return "", ""
	}
	for i := max(len(s)-101, 1); i < len(s)-1 && i <= 155; i++ {
		if s[i] == '/' {
			return s[i+1:], s[:i]
		}
	}
	return "", ""
}

func shorten(s string, n int) string { return s[:min(len(s), n)] }

// besides is the name of a header that belongs to the member name.
func besides(name, dir string) string {
	base := path.Base(name)
	return shorten(path.Join(shorten(path.Dir(name), 60), dir), 80) + "/" + shorten(base, 19)
}

// AppendGlobal appends a global header with records.
func AppendGlobal(b []byte, name string, recs []Record) []byte {
	return appendRecords(b, Global, shorten(name, 100), recs)
}

func appendRecords(b []byte, typ byte, name string, recs []Record) []byte {
	size := 0
	for _, r := range recs {
		size += recordLen(r)
	}
	f := fields{name: name, typ: typ, mode: 0o644, size: int64(size)}
	b = f.append(slices.Grow(b, size+3*BlockSize)) // for this, and the header that follows
	for _, r := range recs {
		b = strconv.AppendInt(b, int64(recordLen(r)), 10)
		b = append(b, ' ')
		b = append(b, r.Key...)
		b = append(b, '=')
		b = append(b, r.Value...)
		b = append(b, '\n')
	}
	return append(b, Padding(int64(size))...)
}

// recordLen is the length of "%d key=value\n", in which the number is that length.
func recordLen(r Record) int {
	n := len(r.Key) + len(r.Value) + 3
	return n + digits(n+digits(n))
}

// digits is how many digits a number has.
func digits(n int) int {
	d := 1
	for ; n > 9; n /= 10 {
		d++
	}
	return d
}

var zeros [BlockSize]byte

// Padding is the zeros that follow n bytes of data up to a whole block.
func Padding(n int64) []byte { return zeros[:-n&(BlockSize-1)] }

// FormatTime writes seconds since the epoch with as many decimals as needed.
func FormatTime(t rt.Time) string {
	var room [32]byte
	s, ns := int64(t)/1e9, int64(t)%1e9
	b := room[:0]
	if t < 0 {
		b, s, ns = append(b, '-'), -s, -ns
	}
	b = strconv.AppendInt(b, s, 10)
	if ns == 0 {
		return string(b)
	}
	point := len(b)
	b = strconv.AppendInt(b, ns+1e9, 10) // a digit more than the decimals,
	b[point] = '.'                       // where the point goes
	return string(bytes.TrimRight(b, "0"))
}

// fields are the fields of a ustar header.
type fields struct {
	name, prefix, link string
	typ                byte
	mode               uint32
	uid, gid           int64
	size, mtime        int64
	major, minor       uint32
}

func (f *fields) append(b []byte) []byte {
	b = append(b, zeros[:]...)
	h := b[len(b)-BlockSize:]
	copy(h[0:100], f.name)
	octal(h[100:108], int64(f.mode))
	octal(h[108:116], f.uid)
	octal(h[116:124], f.gid)
	octal(h[124:136], f.size)
	octal(h[136:148], f.mtime)
	h[156] = f.typ
	copy(h[157:257], f.link)
	copy(h[257:265], "ustar\x0000")
	octal(h[329:337], int64(f.major))
	octal(h[337:345], int64(f.minor))
	copy(h[345:500], f.prefix)
	octal(h[148:155], checksum(h))
	h[155] = ' '
	return b
}

// octal writes n with leading zeros and a NUL at the end.
func octal(field []byte, n int64) {
	for i := len(field) - 2; i >= 0; i-- {
		field[i] = '0' + byte(n&7)
		n >>= 3
	}
}

// checksum adds the bytes of a header, its checksum field taken as spaces.
func checksum(h []byte) int64 {
	var sum int64
	for i, c := range h[:BlockSize] {
		if i >= 148 && i < 156 {
			c = ' '
		}
		sum += int64(c)
	}
	return sum
}
