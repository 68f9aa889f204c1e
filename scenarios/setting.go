package scenarios

import (
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"regexp"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// Setting gives a field of a file another value than the file does.
type Setting struct {
	// Path is the field's, such as "libraries[0].drives[0].count"; an element of a list
	// may be told by its name too: "policies[web].schedules[nightly].frequency".
	Path  string
	Value Value
}

// Value is any value, as YAML has it.
type Value struct {
	node ast.Node
	file string
}

// ParseValue makes a value of YAML text; file is its name in messages.
func ParseValue(file, text string) (Value, error) {
	f, err := parser.ParseBytes([]byte(text), 0)
	if err != nil || len(f.Docs) != 1 || f.Docs[0].Body == nil {
		return Value{}, fmt.Errorf("%s: %q is no YAML value", file, text)
	}
	return Value{node: f.Docs[0].Body, file: file}, nil
}

// String is the value on one line.
func (v Value) String() string {
	if v.node == nil {
		return ""
	}
	if s, ok := scalarText(v.node); ok {
		return s
	}
	var any any
	if err := yaml.NodeToValue(v.node, &any); err != nil {
		return v.node.String()
	}
	b, err := json.Marshal(any)
	if err != nil {
		return v.node.String()
	}
	return string(b)
}

// MarshalText writes the value on one line.
func (v Value) MarshalText() ([]byte, error) { return []byte(v.String()), nil }

// ReadWith is [ReadPlaced] of a file of which some fields have other values. A
// mistake in such a value is told with its own file and line.
func ReadWith[T File](path string, settings []Setting) (*T, Places, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, Places{}, fmt.Errorf("reading a configuration file: %w", err)
	}
	return load[T](path, text, settings)
}

// settings are those of a file that is being read, by paths without names.
type settings map[string]*struct {
	Setting
	used bool
}

// settle finds the places of settings in a file.
func (r *reader) settle(root ast.Node, all []Setting) {
	for _, s := range all {
		at, err := resolve(root, s.Path)
		if err != nil {
			r.mistakes = append(r.mistakes, Mistake{File: s.Value.file, Line: line(s.Value.node), Field: s.Path, Message: err.Error()})
			continue
		}
		if r.given == nil {
			r.given = settings{}
		}
		r.given[at] = &struct {
			Setting
			used bool
		}{Setting: s}
	}
}

func line(n ast.Node) int {
	if n == nil || n.GetToken() == nil {
		return 0
	}
	return n.GetToken().Position.Line
}

// unused tells of the settings of fields that there are not.
func (r *reader) unused() {
	for _, s := range r.given {
		if !s.used {
			r.mistakes = append(r.mistakes, Mistake{File: s.Value.file, Line: line(s.Value.node), Field: s.Path, Message: "the file has no such field; expected one such as libraries[0].drives[0].count or policies[web].schedules[0].windows"})
		}
	}
}

// instead is the node that a setting puts in the place of a field's; done puts
// things back.
func (r *reader) instead(path string, n ast.Node) (ast.Node, func()) {
	s := r.given[path]
	if s == nil {
		return n, func() {}
	}
	s.used = true
	was := r.source
	r.source = s.Value.file
	return s.Value.node, func() { r.source = was }
}

// below tells whether a setting is of the field or of something in it.
func (r *reader) below(path string) bool {
	for at := range r.given {
		if rest, ok := strings.CutPrefix(at, path); ok && (rest == "" || rest[0] == '.' || rest[0] == '[') {
			return true
		}
	}
	return false
}

// nothing is an empty mapping, in the place of a field that is not in the file but
// holds one that is set.
func nothing() ast.Node {
	f, err := parser.ParseBytes([]byte("{}"), 0)
	if err != nil {
		panic(err) // it is YAML
	}
	return f.Docs[0].Body
}

var pathStep = regexp.MustCompile(`^([A-Za-z]+)((?:\[[^\][]+\])*)(?:\.|$)`)

// resolve makes indices of the names in a path.
func resolve(n ast.Node, path string) (string, error) {
	at := ""
	for rest := path; rest != ""; {
		m := pathStep.FindStringSubmatch(rest)
		if m == nil {
			return "", fmt.Errorf("%q is no path of a field; expected one such as libraries[0].drives[0].count", path)
		}
		rest = rest[len(m[0]):]
		at, n = join(at, m[1]), child(n, m[1])
		for _, which := range strings.FieldsFunc(m[2], func(c rune) bool { return c == '[' || c == ']' }) {
			i, err := element(n, which)
			if err != nil {
				return "", fmt.Errorf("%s: %w", at, err)
			}
			at += fmt.Sprintf("[%d]", i)
			n = n.(*ast.SequenceNode).Values[i]
		}
	}
	return at, nil
}

// child is the value of a mapping's key; nil if there is none.
func child(n ast.Node, key string) ast.Node {
	m, ok := n.(ast.MapNode)
	if !ok {
		return nil
	}
	for it := m.MapRange(); it.Next(); {
		if keyText(it.Key()) == key {
			return it.Value()
		}
	}
	return nil
}

// element finds an element of a list by its index or its name.
func element(n ast.Node, which string) (int, error) {
	seq, ok := n.(*ast.SequenceNode)
	if !ok {
		return 0, fmt.Errorf("there is no such list in the file")
	}
	if i, err := strconv.Atoi(which); err == nil {
		if i < 0 || i >= len(seq.Values) {
			return 0, fmt.Errorf("there is no element %d; expected 0 to %d", i, len(seq.Values)-1)
		}
		return i, nil
	}
	for i, v := range seq.Values {
		if name := child(v, "name"); name != nil {
			if s, _ := scalarText(name); s == which {
				return i, nil
			}
		}
	}
	return 0, fmt.Errorf("no element has the name %q", which)
}

var valueType = reflect.TypeFor[Value]()
