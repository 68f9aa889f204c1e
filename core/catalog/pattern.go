package catalog

import (
	"bytes"
	"fmt"
	"path"
	"strings"
)

// Pattern says which files are looked for. Without "/" it is of a name: a glob
// ([path.Match]) of the whole name, or else any part of it. With "/" at its
// beginning it is of a path: a glob of as many components, or one path.
type Pattern struct {
	text  string
	glob  bool
	path  bool
	fold  bool
	parts []string // what a name has for sure: with NUL before what begins it, and after what ends it
	long  []byte   // the longest of parts, without NUL
	top   string   // of a path: the directory that all matches are in
	name  []byte   // memory of a name whose letters were folded
}

// NewPattern makes a pattern; fold takes ASCII letters of both cases as the same.
func NewPattern(text string, fold bool) (*Pattern, error) {
	p := &Pattern{text: text, glob: strings.ContainsAny(text, `*?[\`), path: strings.HasPrefix(text, "/"), fold: fold}
	switch _, err := path.Match(text, ""); {
	case err != nil:
		return nil, fmt.Errorf("pattern %q: %w", text, err)
	case text == "" || len(text) > MaxPath || strings.Contains(text, "\x00"):
		return nil, fmt.Errorf("pattern %.100q: want a part of a name, a glob of one, or an absolute path", text)
	case !p.path && strings.Contains(text, "/"):
		return nil, fmt.Errorf("pattern %q is no absolute path: begin it with /, or leave the / out", text)
	}
	if p.path {
		if p.text = path.Clean(text); !p.glob && !fold {
			return p, checkPath(p.text)
		}
		p.glob = true
	}
	if fold {
		p.text = string(lower(nil, p.text))
	}
	p.literals()
	return p, nil
}

// Exact tells whether the pattern is one path.
func (p *Pattern) Exact() bool { return p.path && !p.glob }

// literals takes the pattern apart.
func (p *Pattern) literals() {
	last := p.text
	if p.path {
		dirs, name := split(p.text)
		last = name
		if at := strings.IndexAny(dirs, `*?[\`); at >= 0 {
			dirs = dirs[:strings.LastIndexByte(dirs[:at], '/')]
		}
		if p.top = dirs; p.fold {
			p.top = "" // its case is not known
		}
	}
	if !p.glob {
		p.parts = []string{last}
	} else {
		p.parts = globParts(last)
	}
	for _, s := range p.parts {
		if s = strings.Trim(s, "\x00"); len(s) > len(p.long) {
			p.long = []byte(s)
		}
	}
}

// globParts are the runs of literal bytes in a glob of a whole name.
func globParts(glob string) (parts []string) {
	run := []byte{0}
	end := func() {
		parts = append(parts, string(run))
		run = run[:0]
	}
	for i := 0; i < len(glob); i++ {
		switch glob[i] {
		case '*', '?':
			end()
		case '[':
			end()
			for i++; i < len(glob) && glob[i] != ']'; i++ {
				if glob[i] == '\\' {
					i++
				}
			}
		case '\\':
			i++
			run = append(run, glob[i])
		default:
			run = append(run, glob[i])
		}
	}
	run = append(run, 0)
	end()
	return parts
}

// trigrams calls fn for the sequences of three bytes that the names that match have,
// as [names] counts them.
func (p *Pattern) trigrams(fn func(h uint32)) {
	for _, s := range p.parts {
		b := lower(nil, s)
		for i := 0; i+3 <= len(b); i++ {
			fn(trigram(b[i], b[i+1], b[i+2]))
		}
	}
}

// matches tells whether a file of a directory is looked for.
func (p *Pattern) matches(dir, name []byte) bool {
	if p.fold {
		p.name = lower(p.name[:0], name)
		name = p.name
	}
	if len(p.long) > 0 && !bytes.Contains(name, p.long) {
		return false
	}
	if !p.glob {
		return true
	}
	full := string(name)
	if p.path {
		full = string(dir) + "/" + full
		if p.fold {
			full = string(lower(nil, full))
		}
	}
	ok, err := path.Match(p.text, full)
	return ok && err == nil // NewPattern has seen to that
}

// lower appends text with its ASCII letters in lower case.
func lower[T text](b []byte, s T) []byte {
	for i := range len(s) {
		c := s[i]
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		b = append(b, c)
	}
	return b
}
