// Package mounts replays requests for mounts against a virtual library in virtual
// time: how often a drive is loaded, and how long is waited until a cartridge is
// ready, under a dismount policy. Which drive a request gets and how long a
// cartridge stays is decided by core/dismount, as in production; loads and moves
// take as long as the virtual library's drives and robot say.
package mounts

import (
	"bufio"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"time"
)

// Request is one line of a trace: a cartridge is wanted at a time, and kept in its
// drive for a while once it is ready.
type Request struct {
	At        time.Duration // since the trace's beginning
	Cartridge string        // a barcode, or the media id that it begins with
	Hold      time.Duration
	Line      int // of the file
}

// header is the first line of a trace.
var header = []string{"time", "cartridge", "hold_seconds"}

// byteOrderMark is what spreadsheets put before the UTF-8 that they write.
const byteOrderMark = "\ufeff"

// The bounds of a trace: what is longer is a mistake in the file.
const (
	longest  = 100 * 365 * 24 * time.Hour
	mistakes = 20 // that are told
)

// Read reads a trace: CSV with a line of titles, time,cartridge,hold_seconds, and
// then a request a line, in the order of their times. A time is in seconds from
// any beginning, or RFC 3339, all of a trace alike; the trace begins with its first
// request if times are of the calendar, else at 0. Errors name file and line, several
// joined.
func Read(r io.Reader, name string) ([]Request, error) {
	b := bufio.NewReader(r)
	if mark, _ := b.Peek(len(byteOrderMark)); string(mark) == byteOrderMark {
		_, _ = b.Discard(len(byteOrderMark)) // it was read
	}
	c := csv.NewReader(b)
	c.FieldsPerRecord, c.TrimLeadingSpace, c.ReuseRecord, c.Comment = -1, true, true, '#'
	t := reader{name: name}
	for {
		record, err := c.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			var p *csv.ParseError
			if !errors.As(err, &p) {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			t.say(p.Line, "%w", p.Err)
			break // what follows is out of step
		}
		line, _ := c.FieldPos(0)
		t.record(line, record)
		if len(t.wrong) >= mistakes {
			break
		}
	}
	if len(t.wrong) == 0 && len(t.requests) == 0 {
		t.say(1, "no requests; expected lines of %s", strings.Join(header, ","))
	}
	return t.requests, errors.Join(t.wrong...)
}

type reader struct {
	name     string
	titled   bool
	calendar bool // times are of the calendar
	begin    time.Time
	requests []Request
	wrong    []error
}

func (t *reader) say(line int, format string, args ...any) {
	t.wrong = append(t.wrong, fmt.Errorf("%s:%d: %w", t.name, line, fmt.Errorf(format, args...)))
}

func (t *reader) record(line int, fields []string) {
	for i := range fields {
		fields[i] = strings.TrimSpace(fields[i])
	}
	if !t.titled {
		t.titled = true
		if strings.Join(fields, ",") != strings.Join(header, ",") {
			t.say(line, "the first line is %q; expected %s", strings.Join(fields, ","), strings.Join(header, ","))
		}
		return
	}
	if len(fields) != len(header) {
		t.say(line, "%d fields; expected %s", len(fields), strings.Join(header, ","))
		return
	}
	q := Request{Cartridge: strings.Clone(fields[1]), Line: line}
	var err error
	if q.At, err = t.time(fields[0]); err != nil {
		t.say(line, "time %q: %w", fields[0], err)
		return
	}
	if q.Hold, err = seconds(fields[2]); err != nil {
		t.say(line, "hold_seconds %q: %w", fields[2], err)
		return
	}
	switch n := len(t.requests); {
	case q.Cartridge == "":
		t.say(line, "no cartridge; expected a barcode or a media id")
		return
	case n > 0 && q.At < t.requests[n-1].At:
		t.say(line, "time %s is before that of line %d; expected them in order", fields[0], t.requests[n-1].Line)
		return
	}
	t.requests = append(t.requests, q)
}

// time is a time of the trace.
func (t *reader) time(text string) (time.Duration, error) {
	at, err := time.Parse(time.RFC3339Nano, text)
	switch {
	case len(t.requests) == 0:
		t.calendar, t.begin = err == nil, at
	case t.calendar != (err == nil):
		return 0, fmt.Errorf("the lines before have another form; expected one form in all of the file: seconds, or such as 2026-11-23T18:00:00Z")
	}
	if err != nil {
		return seconds(text)
	}
	if at.Sub(t.begin) > longest {
		return 0, fmt.Errorf("it is too long after the first request")
	}
	return at.Sub(t.begin), nil
}

// seconds reads a number of seconds.
func seconds(text string) (time.Duration, error) {
	s, err := strconv.ParseFloat(text, 64)
	if err != nil || !(s >= 0) || s > longest.Seconds() {
		return 0, fmt.Errorf("expected seconds, 0 to %.0f", longest.Seconds())
	}
	return time.Duration(math.Round(s * float64(time.Second))), nil
}
