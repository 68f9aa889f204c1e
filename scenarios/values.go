package scenarios

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
)

// Duration is a span of time, written "90s", "10m", "8h", "14d", "2w" or a sum
// of those, largest first: "1d12h". A day is 24 hours, a week seven days.
type Duration time.Duration

const (
	day  = 24 * time.Hour
	week = 7 * day
)

// Std is the standard library's form.
func (d Duration) Std() time.Duration { return time.Duration(d) }

// UnmarshalText reads the written form.
func (d *Duration) UnmarshalText(b []byte) error {
	s := string(b)
	total := time.Duration(0)
	for _, u := range []struct {
		suffix string
		size   time.Duration
	}{{"w", week}, {"d", day}} {
		head, rest, found := strings.Cut(s, u.suffix)
		if !found {
			continue
		}
		n, err := strconv.ParseUint(head, 10, 32)
		if err != nil || n > uint64(math.MaxInt64/u.size) {
			return errDuration(b)
		}
		total, s = total+time.Duration(n)*u.size, rest
		if total < 0 {
			return errDuration(b)
		}
	}
	if s != "" {
		left, err := time.ParseDuration(s)
		if err != nil || left < 0 || total+left < total {
			return errDuration(b)
		}
		total += left
	} else if len(b) == 0 {
		return errDuration(b)
	}
	*d = Duration(total)
	return nil
}

func errDuration(b []byte) error {
	return fmt.Errorf("%q is no duration; expected one such as 90s, 10m, 8h or 14d", b)
}

// MarshalText writes the form that UnmarshalText reads.
func (d Duration) MarshalText() ([]byte, error) {
	if d < 0 {
		return nil, fmt.Errorf("duration %v is negative", time.Duration(d))
	}
	rest := time.Duration(d)
	var s string
	if days := rest / day; days > 0 {
		s, rest = fmt.Sprintf("%dd", days), rest%day
	}
	if rest > 0 || s == "" {
		s += trimZeros(rest.String())
	}
	return []byte(s), nil
}

// trimZeros makes "8h0m0s" "8h" and "10m0s" "10m".
func trimZeros(s string) string {
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

func (d Duration) String() string { b, _ := d.MarshalText(); return string(b) }

// Size is a number of bytes, written "4096", "256KiB", "12TB" and so on: K, M,
// G, T, P are powers of 1000, Ki, Mi, Gi, Ti, Pi powers of 1024.
type Size int64

// UnmarshalText reads the written form.
func (s *Size) UnmarshalText(b []byte) error {
	n, err := humanize.ParseBytes(string(b))
	if err != nil || n > math.MaxInt64 || len(b) == 0 || b[0] == '-' {
		return fmt.Errorf("%q is no size; expected bytes, or one such as 256KiB, 180GiB or 12TB", b)
	}
	*s = Size(n)
	return nil
}

// MarshalText writes s exactly, in the largest unit that divides it.
func (s Size) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

func (s Size) String() string { return exactUnits(int64(s), binaryUnits) }

type unit struct {
	size int64
	name string
}

// The units that sizes and rates are written in, largest first.
var (
	binaryUnits  = []unit{{1 << 50, "PiB"}, {1 << 40, "TiB"}, {1 << 30, "GiB"}, {1 << 20, "MiB"}, {1 << 10, "KiB"}}
	decimalUnits = []unit{{1e15, "PB"}, {1e12, "TB"}, {1e9, "GB"}, {1e6, "MB"}, {1e3, "kB"}}
)

func exactUnits(n int64, units []unit) string {
	for _, u := range units {
		if n != 0 && n%u.size == 0 {
			return fmt.Sprintf("%d%s", n/u.size, u.name)
		}
	}
	return fmt.Sprintf("%dB", n)
}

// Rate is bytes a second, written "400MBps" or "400MB/s", or in bits, "10Gbps":
// a capital B is a byte, a small b a bit, as in the field's data sheets.
type Rate int64

// UnmarshalText reads the written form.
func (r *Rate) UnmarshalText(b []byte) error {
	wrong := fmt.Errorf("%q is no rate; expected one such as 400MBps (bytes) or 10Gbps (bits)", b)
	s, found := strings.CutSuffix(string(b), "ps")
	if !found {
		s, found = strings.CutSuffix(string(b), "/s")
	}
	bits := strings.HasSuffix(s, "b")
	if !found || (!bits && !strings.HasSuffix(s, "B")) {
		return wrong
	}
	n, err := humanize.ParseBytes(s)
	if err != nil || n > math.MaxInt64 || s[0] == '-' {
		return wrong
	}
	if bits {
		n /= 8
	}
	*r = Rate(n)
	return nil
}

// MarshalText writes r exactly, in bytes a second.
func (r Rate) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

func (r Rate) String() string { return exactUnits(int64(r), decimalUnits) + "ps" }

// Clock is a time of day, written "21:00": minutes after midnight.
type Clock int

// UnmarshalText reads the written form.
func (c *Clock) UnmarshalText(b []byte) error {
	h, m, _ := strings.Cut(string(b), ":")
	hours, err1 := strconv.ParseUint(h, 10, 8)
	minutes, err2 := strconv.ParseUint(m, 10, 8)
	if err1 != nil || err2 != nil || hours > 23 || minutes > 59 || len(m) != 2 {
		return fmt.Errorf("%q is no time of day; expected one from 00:00 to 23:59", b)
	}
	*c = Clock(hours*60 + minutes)
	return nil
}

// MarshalText writes the form that UnmarshalText reads.
func (c Clock) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

func (c Clock) String() string { return fmt.Sprintf("%02d:%02d", c/60, c%60) }

// Days is a set of weekdays, written "all", "mon-fri", "sat,sun" or [sat, sun].
// Bit n is set for time.Weekday n; a set is never empty in a loaded file.
type Days uint8

// AllDays is the whole week.
const AllDays Days = 1<<7 - 1

// weekdays are the written names, by time.Weekday.
var weekdays = [7]string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}

// Has tells whether d is in the set.
func (s Days) Has(d time.Weekday) bool { return s&(1<<d) != 0 }

// UnmarshalText reads the written form.
func (s *Days) UnmarshalText(b []byte) error {
	var set Days
	for part := range strings.SplitSeq(string(b), ",") {
		part = strings.TrimSpace(part)
		first, last, isRange := strings.Cut(part, "-")
		if !isRange {
			last = first
		}
		from, to := weekday(first), weekday(last)
		switch {
		case part == "all":
			set = AllDays
		case from < 0 || to < 0:
			return fmt.Errorf("%q is no weekday; expected all, or some of mon, tue, wed, thu, fri, sat, sun", part)
		default:
			for d := from; ; d = (d + 1) % 7 {
				set |= 1 << d
				if d == to {
					break
				}
			}
		}
	}
	*s = set
	return nil
}

func weekday(name string) int {
	for i, w := range weekdays {
		if w == name {
			return i
		}
	}
	return -1
}

// MarshalText writes the form that UnmarshalText reads.
func (s Days) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

func (s Days) String() string {
	if s == AllDays {
		return "all"
	}
	var names []string
	for i := range weekdays {
		if d := time.Weekday(i+1) % 7; s.Has(d) { // weeks are written from Monday
			names = append(names, weekdays[d])
		}
	}
	return strings.Join(names, ",")
}

// Timing is how long a virtual library takes, written "off" (no time at all),
// "real" (as long as the hardware), or "scale 60" (60 times faster). It holds
// the speed-up, a whole number: 0 is off, 1 is real.
type Timing int64

// UnmarshalText reads the written form.
func (t *Timing) UnmarshalText(b []byte) error {
	switch s := string(b); s {
	case "off":
		*t = 0
	case "real":
		*t = 1
	default:
		factor, found := strings.CutPrefix(s, "scale ")
		n, err := strconv.ParseInt(factor, 10, 64)
		if !found || err != nil || n < 1 {
			return fmt.Errorf("%q is no timing; expected off, real, or such as scale 60", b)
		}
		*t = Timing(n)
	}
	return nil
}

// MarshalText writes the form that UnmarshalText reads.
func (t Timing) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

func (t Timing) String() string {
	switch t {
	case 0:
		return "off"
	case 1:
		return "real"
	}
	return fmt.Sprintf("scale %d", int64(t))
}

// Amount is a number, of anything: written "0.02", "2%", or as a size, "47.1GB".
type Amount float64

// UnmarshalText reads the written form.
func (a *Amount) UnmarshalText(b []byte) error {
	wrong := fmt.Errorf("%q is no amount; expected one such as 0.3, 30%% or 47.1GB", b)
	text, percent := strings.CutSuffix(string(b), "%")
	f, err := strconv.ParseFloat(text, 64)
	switch {
	case err == nil && percent:
		f /= 100
	case err != nil && !percent:
		var size Size
		if size.UnmarshalText(b) != nil {
			return wrong
		}
		f = float64(size)
	case err != nil:
		return wrong
	}
	if !(f >= 0 && f <= maxAmount) {
		return wrong
	}
	*a = Amount(f)
	return nil
}

// maxAmount is far above any size or count of the field.
const maxAmount = 1e18

// MarshalText writes the form that UnmarshalText reads.
func (a Amount) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

func (a Amount) String() string { return strconv.FormatFloat(float64(a), 'g', -1, 64) }
