package pax

import (
	"bytes"
	"fmt"
	"math"
	"strconv"
	"strings"

	"capstan/core/rt"
)

// ParseBlock reads one header block of 512 bytes. zero says that it is all zeros,
// as at the end of an archive. Nothing that it says is checked but its checksum
// and that its numbers are numbers.
func ParseBlock(b []byte) (h Header, zero bool, err error) {
	if len(b) != BlockSize {
		return h, false, fmt.Errorf("%w: %d bytes", ErrHeader, len(b))
	}
	if bytes.Equal(b, zeros[:]) {
		return h, true, nil
	}
	sum, err := parseNumber(b[148:156])
	if err != nil || sum != checksum(b) {
		return h, false, fmt.Errorf("%w: its checksum is wrong", ErrHeader)
	}
	h.Name, h.Link, h.Type = text(b[0:100]), text(b[157:257]), b[156]
	if string(b[257:263]) == "ustar\x00" {
		if prefix := text(b[345:500]); prefix != "" {
			h.Name = prefix + "/" + h.Name
		}
	}
	var n [len(numberFields)]int64
	for i, f := range numberFields {
		if n[i], err = parseNumber(b[f.from:f.to]); err != nil || n[i] > f.most || n[i] < 0 && f.name != "mtime" || n[i] < -f.most {
			return h, false, fmt.Errorf("%w: %q: its %s is %q", ErrHeader, h.Name, f.name, b[f.from:f.to])
		}
	}
	h.Mode, h.UID, h.GID, h.Size = uint32(n[0])&0o7777, uint32(n[1]), uint32(n[2]), n[3]
	h.MTime, h.Major, h.Minor = rt.Time(n[4]*1_000_000_000), uint32(n[5]), uint32(n[6])
	return h, false, nil
}

// numberFields are the fields that hold numbers, and the most that each may say.
var numberFields = [...]struct {
	name     string
	from, to int
	most     int64
}{
	{"mode", 100, 108, math.MaxUint32},
	{"uid", 108, 116, math.MaxUint32},
	{"gid", 116, 124, math.MaxUint32},
	{"size", 124, 136, math.MaxInt64 - BlockSize},
	{"mtime", 136, 148, math.MaxInt64 / 1_000_000_000},
	{"major", 329, 337, math.MaxUint32},
	{"minor", 337, 345, math.MaxUint32},
}

// text is a field up to its first NUL.
func text(b []byte) string { return string(field(b)) }

func field(b []byte) []byte {
	if i := bytes.IndexByte(b, 0); i >= 0 {
		return b[:i]
	}
	return b
}

// parseNumber reads octal digits, or GNU's base 256: the first bit set, then a
// two's complement number.
func parseNumber(b []byte) (int64, error) {
	if b[0]&0x80 == 0 {
		digits := bytes.Trim(field(b), " ")
		if len(digits) == 0 {
			return 0, nil
		}
		return strconv.ParseInt(string(digits), 8, 64)
	}
	n := int64(int8(b[0]<<1) >> 1)
	for _, c := range b[1:] {
		if n > math.MaxInt64>>8 || n < math.MinInt64>>8 {
			return 0, ErrHeader
		}
		n = n<<8 | int64(c)
	}
	return n, nil
}

// usualRecords is how many records most headers have at most.
const usualRecords = 32

// ParseRecords reads the data of an extended or global header.
func ParseRecords(b []byte) ([]Record, error) {
	recs := make([]Record, 0, min(bytes.Count(b, []byte("\n")), usualRecords))
	all := string(b) // of which keys and values are parts
	for len(b) > 0 {
		sp := bytes.IndexByte(b[:min(len(b), 20)], ' ')
		if sp < 1 {
			return nil, fmt.Errorf("%w: an extended header's record has no length", ErrHeader)
		}
		n, err := strconv.ParseUint(string(b[:sp]), 10, 31)
		if err != nil || int(n) > len(b) || int(n) < sp+3 || b[n-1] != '\n' {
			return nil, fmt.Errorf("%w: an extended header's record has the wrong length", ErrHeader)
		}
		at := len(all) - len(b)
		key, value, ok := strings.Cut(all[at+sp+1:at+int(n)-1], "=")
		if !ok || key == "" {
			return nil, fmt.Errorf("%w: an extended header's record is not key=value", ErrHeader)
		}
		recs = append(recs, Record{key, value})
		b = b[n:]
	}
	return recs, nil
}

// ParseTime reads seconds since the epoch with decimals; what is finer than a
// nanosecond is dropped.
func ParseTime(s string) (rt.Time, error) {
	sec, frac, _ := strings.Cut(s, ".")
	neg := strings.HasPrefix(sec, "-")
	n, err := strconv.ParseInt(sec, 10, 64)
	if err != nil || n > math.MaxInt64/1_000_000_000-1 || n < -math.MaxInt64/1_000_000_000+1 {
		return 0, fmt.Errorf("%w: time %q", ErrHeader, s)
	}
	frac = (frac + "000000000")[:9]
	ns, err := strconv.ParseUint(frac, 10, 32)
	if err != nil {
		return 0, fmt.Errorf("%w: time %q", ErrHeader, s)
	}
	if neg {
		return rt.Time(n*1_000_000_000 - int64(ns)), nil
	}
	return rt.Time(n*1_000_000_000 + int64(ns)), nil
}

// Apply puts what records say over h's fields; the records that are for none are
// appended to h.Records. An empty value for a field is as if it were not there.
func (h *Header) Apply(recs []Record) error {
	for _, r := range recs {
		var err error
		switch key := r.Key; {
		case r.Value == "" && isField(key):
		case key == "path":
			h.Name = r.Value
		case key == "linkpath":
			h.Link = r.Value
		case key == "size":
			h.Size, err = strconv.ParseInt(r.Value, 10, 64)
			if err == nil && (h.Size < 0 || h.Size > math.MaxInt64-BlockSize) {
				err = ErrHeader
			}
		case key == "uid":
			h.UID, err = parseID(r.Value)
		case key == "gid":
			h.GID, err = parseID(r.Value)
		case key == "mtime":
			h.MTime, err = ParseTime(r.Value)
		default:
			h.Records = append(h.Records, r)
		}
		if err != nil {
			return fmt.Errorf("%w: %q: its %s is %q", ErrHeader, h.Name, r.Key, r.Value)
		}
	}
	return nil
}

// isField tells whether a record stands for a field of the ustar header.
func isField(key string) bool {
	switch key {
	case "path", "linkpath", "size", "uid", "gid", "mtime":
		return true
	}
	return false
}

func parseID(s string) (uint32, error) {
	n, err := strconv.ParseUint(s, 10, 32)
	return uint32(n), err
}
