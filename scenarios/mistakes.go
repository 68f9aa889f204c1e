package scenarios

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Mistake is one thing that is wrong with a file.
type Mistake struct {
	File    string
	Line    int    // from 1; 0 if it is about no line
	Column  int    // from 1, in characters; 0 if it is about the whole line
	Field   string // such as "schedules[0].windows[1].start"; "" for the whole file
	Message string // what is wrong, and what was expected
}

func (m Mistake) String() string {
	s := m.File
	switch {
	case m.Line > 0 && m.Column == 0:
		s = fmt.Sprintf("%s:%d", m.File, m.Line)
	case m.Line > 0:
		s = fmt.Sprintf("%s:%d:%d", m.File, m.Line, m.Column)
	}
	if m.Field != "" {
		s += ": " + m.Field
	}
	return s + ": " + m.Message
}

// Mistakes is all that is wrong with a file, in the order of its lines.
type Mistakes []Mistake

func (m Mistakes) Error() string {
	lines := make([]string, len(m))
	for i := range m {
		lines[i] = m[i].String()
	}
	return strings.Join(lines, "\n")
}

// position is a place in the file; in another one if it is named.
type position struct {
	line, column int
	file         string
}

// reader gathers the mistakes of one file, and remembers where each field
// stands so that what is checked after decoding can name its line too.
type reader struct {
	file     string
	mistakes Mistakes
	at       map[string]position
	given    settings // fields that have other values than the file says
	source   string   // the file of the value that is being decoded, if it is another
}

// written tells whether a field is in the file.
func (r *reader) written(field string) bool {
	_, found := r.at[field]
	return found
}

// say notes a mistake of a field. One that is not in the file is reported where
// the nearest enclosing one stands.
func (r *reader) say(field, format string, args ...any) {
	at := nearest(r.at, field)
	r.mistakes = append(r.mistakes, Mistake{cmp.Or(at.file, r.file), at.line, at.column, field, fmt.Sprintf(format, args...)})
}

// maxSaid is how many mistakes of one other file are told.
const maxSaid = 20

// sayIn notes a mistake on a line of a file that this one names.
func (r *reader) sayIn(file string, line int, format string, args ...any) {
	n := 0
	for i := range r.mistakes {
		if r.mistakes[i].File == file {
			n++
		}
	}
	if n < maxSaid {
		r.mistakes = append(r.mistakes, Mistake{File: file, Line: line, Message: fmt.Sprintf(format, args...)})
	}
}

// wrongIn tells whether a mistake was noted of a file that this one names.
func (r *reader) wrongIn(file string) bool {
	return slices.ContainsFunc(r.mistakes, func(m Mistake) bool { return m.File == file })
}

// err is the mistakes so far, in the order of the file, or nil.
func (r *reader) err() error {
	if len(r.mistakes) == 0 {
		return nil
	}
	slices.SortStableFunc(r.mistakes, func(a, b Mistake) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return r.mistakes
}

// nearest is where a field stands or, if it is not in the file, the nearest
// enclosing one.
func nearest(places map[string]position, field string) position {
	at, found := places[field]
	for !found && field != "" {
		field = field[:max(0, strings.LastIndexAny(field, ".["))]
		at, found = places[field]
	}
	return at
}

// Places tell where in a file the fields of what was loaded from it stand.
type Places struct {
	file string
	at   map[string]position
}

// Of is the place of a field, such as "expect[2]", as "file:line:column"; of one
// that is not in the file, the place of the nearest enclosing one.
func (p Places) Of(field string) string {
	at := nearest(p.at, field)
	return fmt.Sprintf("%s:%d:%d", cmp.Or(at.file, p.file), at.line, at.column)
}
