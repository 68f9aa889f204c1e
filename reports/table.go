package reports

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/dustin/go-humanize"
)

// Options says how rows are written. The zero value is text in UTC, no colour.
type Options struct {
	// JSON writes one JSON array of the rows instead of a table.
	JSON bool
	// Color marks states and failures with ANSI colours.
	Color bool
	// Location is the zone of times in tables; nil is UTC.
	Location *time.Location
	// Now is the time at which what still runs is measured; zero: its elapsed time is not known.
	Now time.Time
}

// dash stands for a value that is not there.
const dash = "-"

// column is one column of a table.
type column struct {
	title string
	right bool // numbers stand at the right
}

func left(title string) column  { return column{title: title} }
func right(title string) column { return column{title: title, right: true} }

// cell is one value, and the colour that it has when colours are asked for.
type cell struct{ text, color string }

// The ANSI colours.
const (
	red    = "\x1b[31m"
	green  = "\x1b[32m"
	yellow = "\x1b[33m"
	blue   = "\x1b[34m"
	reset  = "\x1b[0m"
)

// table is a table in the making.
type table struct {
	columns []column
	rows    [][]cell
	bare    bool  // no line of titles
	widths  []int // of the columns at least; as they are, after measure
}

func newTable(columns ...column) *table { return &table{columns: columns} }

// row adds a row; a value is a cell or a string, "" prints as a dash.
func (t *table) row(values ...any) {
	cells := make([]cell, len(values))
	for i, v := range values {
		c, ok := v.(cell)
		if !ok {
			c.text = v.(string)
		}
		if c.text == "" {
			c.text = dash
		}
		c.text = printable(c.text)
		cells[i] = c
	}
	t.rows = append(t.rows, cells)
}

// write writes the table: a line of titles, then the rows, columns two spaces
// apart, no space at the end of a line.
func (t *table) write(w io.Writer, color bool) error {
	t.measure()
	var b bytes.Buffer
	if !t.bare {
		titles := make([]cell, len(t.columns))
		for i, c := range t.columns {
			titles[i].text = c.title
		}
		t.line(&b, titles, color)
	}
	for _, r := range t.rows {
		t.line(&b, r, color)
	}
	if _, err := w.Write(b.Bytes()); err != nil {
		return fmt.Errorf("writing a report: %w", err)
	}
	return nil
}

// measure makes the columns as wide as the titles and rows need.
func (t *table) measure() {
	widths := make([]int, len(t.columns))
	copy(widths, t.widths)
	for i, c := range t.columns {
		widths[i] = max(widths[i], utf8.RuneCountInString(c.title))
		for _, r := range t.rows {
			widths[i] = max(widths[i], utf8.RuneCountInString(r[i].text))
		}
	}
	t.widths = widths
}

func (t *table) line(b *bytes.Buffer, r []cell, color bool) {
	for i, c := range r {
		fill := strings.Repeat(" ", t.widths[i]-utf8.RuneCountInString(c.text))
		text := c.text
		if color && c.color != "" {
			text = c.color + text + reset
		}
		switch {
		case t.columns[i].right:
			text = fill + text
		case i < len(r)-1:
			text += fill
		}
		if i > 0 {
			b.WriteString("  ")
		}
		b.WriteString(text)
	}
	b.WriteByte('\n')
}

// printable replaces what could move the cursor: names come from backed-up
// files, which anybody may have named.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || (r >= 0x7f && r < 0xa0) {
			return '?'
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
}

// writeJSON writes rows as an indented array; no rows are an empty array.
func writeJSON[T any](w io.Writer, rows []T) error {
	if rows == nil {
		rows = []T{}
	}
	return encode(w, rows)
}

func encode(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(v); err != nil {
		return fmt.Errorf("writing a report as JSON: %w", err)
	}
	return nil
}

// Size is a number of bytes for people: "1.5 GiB"; a dash for none.
func Size(n int64) string {
	if n <= 0 {
		return dash
	}
	return humanize.IBytes(uint64(n))
}

// Rate is bytes over a time, for people: "160 MB/s"; a dash if nothing moved.
func Rate(bytes int64, d time.Duration) string {
	if bytes <= 0 || d <= 0 {
		return dash
	}
	return humanize.Bytes(uint64(float64(bytes)/d.Seconds())) + "/s"
}

// Count is a number with separated thousands; a dash for 0.
func Count(n int64) string {
	if n == 0 {
		return dash
	}
	return humanize.Comma(n)
}

// Duration is a duration for people, in its two or three leading units:
// "48µs", "1.2ms", "850ms", "42.1s", "12m05s", "3h04m", "2d03h"; a dash for none.
func Duration(d time.Duration) string {
	switch {
	case d <= 0:
		return dash
	case d < time.Millisecond:
		return d.Round(time.Microsecond).String()
	case d < 10*time.Millisecond:
		return fmt.Sprintf("%.1fms", d.Seconds()*1000)
	case d < time.Second:
		return fmt.Sprintf("%dms", d.Milliseconds())
	case d < time.Minute:
		return fmt.Sprintf("%.1fs", d.Truncate(100*time.Millisecond).Seconds())
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", d/time.Minute, d%time.Minute/time.Second)
	case d < 24*time.Hour:
		return fmt.Sprintf("%dh%02dm", d/time.Hour, d%time.Hour/time.Minute)
	}
	return fmt.Sprintf("%dd%02dh", d/(24*time.Hour), d%(24*time.Hour)/time.Hour)
}

// Percent is a part of a whole: "42%"; a dash if the whole is none.
func Percent(part, whole time.Duration) string {
	if whole <= 0 {
		return dash
	}
	return fmt.Sprintf("%.0f%%", 100*part.Seconds()/whole.Seconds())
}

func (o *Options) time(t time.Time, layout string) string {
	if t.IsZero() {
		return dash
	}
	l := o.Location
	if l == nil {
		l = time.UTC
	}
	return t.In(l).Format(layout)
}

// The layouts of times in tables.
const (
	toSecond = "2006-01-02 15:04:05"
	toMinute = "2006-01-02 15:04"
	toMicro  = "15:04:05.000000"
)

// Seconds is a duration that JSON writes as seconds.
type Seconds time.Duration

// MarshalJSON writes seconds, to the nanosecond.
func (s Seconds) MarshalJSON() ([]byte, error) {
	return json.Marshal(time.Duration(s).Seconds())
}

// Std is the standard library's form.
func (s Seconds) Std() time.Duration { return time.Duration(s) }
