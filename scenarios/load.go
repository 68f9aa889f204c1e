package scenarios

import (
	"bytes"
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"capstan/core/dismount"
)

// File is what a file can hold.
type File interface {
	Host | Policy | Library | Scenario | Sweep
}

// maxFile is the size of the largest file that is read, in bytes.
const maxFile = 4 << 20

// Read reads a file by its path; see [Load].
func Read[T File](path string) (*T, error) {
	v, _, err := ReadPlaced[T](path)
	return v, err
}

// ReadPlaced is [Read] that also tells where in the file each field stands.
func ReadPlaced[T File](path string) (*T, Places, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, Places{}, fmt.Errorf("reading a configuration file: %w", err)
	}
	return load[T](path, text, nil)
}

// Load reads the text of a file; name is its name in messages. Its error is
// [Mistakes], all there are, unless the text is no YAML: then it is the first.
//
// Every field of the struct types can be written, under the name of its yaml
// tag, and no other. Further tags:
//
//	need:"yes"     it must be there
//	def:"x"        its value if it is not there
//	oneof:"a|b"    the values it can have (of a list: each element)
//	min, max       bounds, both included, in the field's own writing
//	is:"x"         the form of the text: see the map forms
//	ex:"x"         an example, for the documentation
//
// What a field refers to — a policy its storage unit, a fault its host — must be
// there too, where the file is one that could hold it.
func Load[T File](name string, text []byte) (*T, error) {
	v, _, err := load[T](name, text, nil)
	return v, err
}

func load[T File](name string, text []byte, set []Setting) (*T, Places, error) {
	text = bytes.TrimPrefix(text, byteOrderMark)
	r := &reader{file: name, at: map[string]position{"": {line: 1, column: 1}}}
	v := new(T)
	if root := r.parse(text); root != nil {
		r.settle(root, set)
		r.decode(root, "", reflect.ValueOf(v).Elem(), "")
		r.unused()
		r.check(v)
	}
	if err := r.err(); err != nil {
		return nil, Places{}, err
	}
	return v, Places{file: name, at: r.at}, nil
}

// Marshal writes v so that [Load] gives v again.
func Marshal[T File](v *T) ([]byte, error) {
	b, err := yaml.MarshalWithOptions(v, yaml.Indent(2), yaml.IndentSequence(true), yaml.CustomMarshaler(quote))
	if err != nil {
		return nil, fmt.Errorf("writing %T as YAML: %w", v, err)
	}
	return b, nil
}

// plain is a text that YAML takes for a text without quotes, in every dialect.
var plain = regexp.MustCompile(`^[/A-Za-z][A-Za-z0-9_./-]*$`)

// quote writes a text. The library leaves some that it reads differently, such
// as one that ends in a tab, without quotes; so all but the plainest get them.
func quote(s string) ([]byte, error) {
	switch strings.ToLower(s) {
	case "true", "false", "null", "yes", "no", "on", "off", "y", "n":
		return json.Marshal(s)
	}
	if plain.MatchString(s) {
		return []byte(s), nil
	}
	return json.Marshal(s)
}

// parse finds the one document of the text; nil if there is a mistake.
func (r *reader) parse(text []byte) ast.Node {
	if len(text) > maxFile {
		r.say("", "the file has %d bytes; expected at most %d", len(text), maxFile)
		return nil
	}
	// A key written twice is reported by our own walk, with all other mistakes.
	f, err := parser.ParseBytes(text, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		message := err.Error()
		var e yaml.Error
		if errors.As(err, &e) && e.GetToken() != nil {
			p := e.GetToken().Position
			r.at[""] = position{line: p.Line, column: p.Column}
			message = e.GetMessage()
		}
		r.say("", "this is no YAML: %s", message)
		return nil
	}
	var roots []ast.Node
	for _, doc := range f.Docs {
		if doc.Body != nil && doc.Body.Type() != ast.CommentType {
			roots = append(roots, doc.Body)
		}
	}
	if len(roots) != 1 {
		r.say("", "the file holds %d YAML documents; expected one", len(roots))
		return nil
	}
	return roots[0]
}

// decode puts the node n into v, which is the field called path; tag is the
// struct tag that says what it may be.
func (r *reader) decode(n ast.Node, path string, v reflect.Value, tag reflect.StructTag) {
	n, done := r.instead(path, n)
	defer done()
	if n.GetToken() != nil {
		r.at[path] = r.start(n)
	}
	switch n.Type() {
	case ast.AnchorType, ast.AliasType, ast.TagType, ast.MergeKeyType:
		r.say(path, "anchors, aliases and tags are not used here; expected %s", expected(v.Type()))
		return
	}
	switch {
	case v.Type() == valueType:
		v.Set(reflect.ValueOf(Value{node: n, file: r.file}))
	case v.Kind() == reflect.Pointer: // to a struct that need not be there
		v.Set(reflect.New(v.Type().Elem()))
		r.decode(n, path, v.Elem(), tag)
	case textual(v):
		r.text(n, path, v, tag)
	case v.Kind() == reflect.Struct:
		r.object(n, path, v)
	case v.Kind() == reflect.Slice:
		r.list(n, path, v, tag)
	case v.Kind() == reflect.Map:
		r.entries(n, path, v, tag)
	default:
		r.scalar(n, path, v, tag)
	}
}

// start is where a node's text begins.
func (r *reader) start(n ast.Node) position {
	if m, ok := n.(*ast.MappingNode); ok && !m.IsFlowStyle && len(m.Values) > 0 {
		n = m.Values[0].Key
	} else if m, ok := n.(*ast.MappingValueNode); ok {
		n = m.Key
	}
	p := n.GetToken().Position
	return position{p.Line, p.Column, r.source}
}

func textual(v reflect.Value) bool {
	_, ok := v.Addr().Interface().(encoding.TextUnmarshaler)
	return ok
}

// object decodes a mapping into a struct.
func (r *reader) object(n ast.Node, path string, v reflect.Value) {
	m, ok := n.(ast.MapNode)
	if !ok {
		r.say(path, "expected %s", expected(v.Type()))
		return
	}
	fields := map[string]int{}
	var names []string
	for i := range v.NumField() {
		name := FieldName(v.Type().Field(i))
		fields[name] = i
		names = append(names, name)
	}
	seen := map[string]bool{}
	for it := m.MapRange(); it.Next(); {
		key := keyText(it.Key())
		field := join(path, key)
		i, known := fields[key]
		if !known || seen[key] {
			p := it.Key().GetToken().Position
			r.at[field] = position{p.Line, p.Column, r.source}
		}
		switch {
		case !known:
			r.say(field, "no such field; expected one of %s", strings.Join(names, ", "))
			continue
		case seen[key]:
			r.say(field, "written twice; expected once")
			continue
		}
		seen[key] = true
		sf := v.Type().Field(i)
		if it.Value() == nil || it.Value().Type() == ast.NullType {
			r.at[field] = r.start(it.Key())
			r.say(field, "no value; expected %s", expected(sf.Type))
			continue
		}
		r.decode(it.Value(), field, v.Field(i), sf.Tag)
	}
	for i := range v.NumField() {
		sf := v.Type().Field(i)
		field := join(path, FieldName(sf))
		switch {
		case seen[FieldName(sf)]:
		case r.below(field):
			r.decode(nothing(), field, v.Field(i), sf.Tag)
		default:
			r.absent(field, v.Field(i), sf)
		}
	}
}

// absent fills in the default of a field that is not in the file.
func (r *reader) absent(path string, v reflect.Value, sf reflect.StructField) {
	if sf.Tag.Get("need") != "" {
		r.say(path, "missing; expected %s", expected(sf.Type))
		return
	}
	setDefault(v, sf.Tag)
}

// setDefault gives v, and the fields in it, the defaults that the tags say.
func setDefault(v reflect.Value, tag reflect.StructTag) {
	if text, ok := tag.Lookup("def"); ok {
		if err := setText(v, text); err != nil {
			panic(fmt.Sprintf("scenarios: the default %q of a %s: %v", text, v.Type(), err))
		}
		return
	}
	if v.Kind() == reflect.Struct && !textual(v) {
		for i := range v.NumField() {
			setDefault(v.Field(i), v.Type().Field(i).Tag)
		}
	}
}

func (r *reader) list(n ast.Node, path string, v reflect.Value, tag reflect.StructTag) {
	seq, ok := n.(*ast.SequenceNode)
	if !ok {
		r.say(path, "expected %s", expected(v.Type()))
		return
	}
	if len(seq.Values) == 0 {
		if tag.Get("need") != "" {
			r.say(path, "empty; expected %s", expected(v.Type()))
		}
		return
	}
	v.Set(reflect.MakeSlice(v.Type(), len(seq.Values), len(seq.Values)))
	for i, item := range seq.Values {
		r.decode(item, fmt.Sprintf("%s[%d]", path, i), v.Index(i), tag)
	}
}

// entries decodes a mapping of names to texts.
func (r *reader) entries(n ast.Node, path string, v reflect.Value, tag reflect.StructTag) {
	m, ok := n.(ast.MapNode)
	if !ok {
		r.say(path, "expected %s", expected(v.Type()))
		return
	}
	for it := m.MapRange(); it.Next(); {
		if v.IsNil() {
			v.Set(reflect.MakeMap(v.Type()))
		}
		key := keyText(it.Key())
		field := join(path, key)
		item := reflect.New(v.Type().Elem()).Elem()
		r.decode(it.Value(), field, item, tag)
		if v.MapIndex(reflect.ValueOf(key)).IsValid() {
			r.say(field, "written twice; expected once")
		}
		v.SetMapIndex(reflect.ValueOf(key), item)
	}
}

// text decodes a scalar, or a list of scalars, into a type with a written form.
func (r *reader) text(n ast.Node, path string, v reflect.Value, tag reflect.StructTag) {
	s, ok := scalarText(n)
	if seq, isList := n.(*ast.SequenceNode); isList && v.Type() == reflect.TypeFor[Days]() {
		var parts []string
		for _, item := range seq.Values {
			part, fine := scalarText(item)
			ok = fine
			parts = append(parts, part)
		}
		s = strings.Join(parts, ",")
	}
	if !ok {
		r.say(path, "expected %s", expected(v.Type()))
		return
	}
	r.set(path, v, s, tag)
}

// scalar decodes a number, a text or a truth value.
func (r *reader) scalar(n ast.Node, path string, v reflect.Value, tag reflect.StructTag) {
	s, ok := scalarText(n)
	if !ok {
		r.say(path, "expected %s", expected(v.Type()))
		return
	}
	r.set(path, v, s, tag)
}

// set gives v the value that s writes, if the tag allows it.
func (r *reader) set(path string, v reflect.Value, s string, tag reflect.StructTag) {
	if err := setText(v, s); err != nil {
		r.say(path, "%v", err)
		return
	}
	if set := tag.Get("oneof"); set != "" {
		if all := strings.Split(set, "|"); !slices.Contains(all, s) {
			r.say(path, "%q is not allowed; expected one of %s", s, strings.Join(all, ", "))
		}
	}
	if form := tag.Get("is"); form != "" {
		if err := forms[form](s); err != nil {
			r.say(path, "%v", err)
		}
	}
	r.bounds(path, v, s, tag)
}

// bounds checks v against the tags min and max; a number has a minimum of 0
// unless its tag says otherwise.
func (r *reader) bounds(path string, v reflect.Value, s string, tag reflect.StructTag) {
	if v.Kind() == reflect.String || v.Kind() == reflect.Struct || v.Kind() == reflect.Bool {
		return
	}
	for _, bound := range []struct {
		tag  string
		word string
		sign int
	}{{"min", "at least", -1}, {"max", "at most", 1}} {
		text, ok := tag.Lookup(bound.tag)
		if !ok && bound.tag == "min" {
			text, ok = "0", !textual(v)
		}
		if !ok {
			continue
		}
		limit := reflect.New(v.Type()).Elem()
		if err := setText(limit, text); err != nil {
			panic(fmt.Sprintf("scenarios: the bound %q of a %s: %v", text, v.Type(), err))
		}
		if compare(v, limit) == bound.sign {
			r.say(path, "%s is out of range; expected %s %s", s, bound.word, text)
		}
	}
}

func compare(a, b reflect.Value) int {
	switch {
	case a.CanInt():
		return sign(a.Int() < b.Int(), a.Int() > b.Int())
	case a.CanUint():
		return sign(a.Uint() < b.Uint(), a.Uint() > b.Uint())
	}
	return sign(a.Float() < b.Float(), a.Float() > b.Float())
}

func sign(less, more bool) int {
	switch {
	case less:
		return -1
	case more:
		return 1
	}
	return 0
}

// setText gives v the value that s writes.
func setText(v reflect.Value, s string) error {
	switch p := v.Addr().Interface().(type) {
	case *time.Time:
		t, err := time.Parse(time.RFC3339, s)
		if err != nil {
			return fmt.Errorf("%q is no time; expected one such as 2026-11-23T18:00:00Z", s)
		}
		*p = t.UTC()
		return nil
	case encoding.TextUnmarshaler:
		return p.UnmarshalText([]byte(s))
	}
	wrong := fmt.Errorf("%q is wrong; expected %s", s, expected(v.Type()))
	switch {
	case v.Kind() == reflect.String:
		v.SetString(s)
	case v.Kind() == reflect.Bool:
		if s != "true" && s != "false" {
			return wrong
		}
		v.SetBool(s == "true")
	case v.CanInt():
		n, err := strconv.ParseInt(s, 10, v.Type().Bits())
		if err != nil {
			return wrong
		}
		v.SetInt(n)
	case v.CanFloat():
		f, err := strconv.ParseFloat(s, 64)
		if err != nil || f != f {
			return wrong
		}
		v.SetFloat(f)
	}
	return nil
}

// scalarText is a scalar as it is written, without quotes.
func scalarText(n ast.Node) (string, bool) {
	switch n := n.(type) {
	case *ast.StringNode:
		return n.Value, true
	case *ast.LiteralNode:
		return n.Value.Value, true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		return n.GetToken().Value, true
	}
	return "", false
}

func keyText(k ast.MapKeyNode) string {
	if s, ok := scalarText(k); ok {
		return s
	}
	return k.GetToken().Value
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// FieldName is the name of a struct's field in a file.
func FieldName(sf reflect.StructField) string {
	name, _, _ := strings.Cut(sf.Tag.Get("yaml"), ",")
	return name
}

// expected says in words what a value of a type looks like.
func expected(t reflect.Type) string {
	switch t {
	case valueType:
		return "any value"
	case reflect.TypeFor[Duration]():
		return "a duration such as 10m, 8h or 14d"
	case reflect.TypeFor[Size]():
		return "a size such as 256KiB or 12TB"
	case reflect.TypeFor[Rate]():
		return "a rate such as 400MBps or 10Gbps"
	case reflect.TypeFor[Clock]():
		return "a time of day such as 21:00"
	case reflect.TypeFor[Days]():
		return "weekdays such as all, mon-fri or [sat, sun]"
	case reflect.TypeFor[Timing]():
		return "off, real, or such as scale 60"
	case reflect.TypeFor[dismount.Policy]():
		return "immediate, lru, or such as delay=300s"
	case reflect.TypeFor[time.Time]():
		return "a time such as 2026-11-23T18:00:00Z"
	case reflect.TypeFor[Count]():
		return "a number such as 3, 1-4, or at least 1"
	case reflect.TypeFor[Amount]():
		return "an amount such as 0.3, 30% or 47.1GB"
	case reflect.TypeFor[Statuses]():
		return "a status such as 0, 40 or 50, or failed, or any"
	}
	switch t.Kind() {
	case reflect.Pointer:
		return expected(t.Elem())
	case reflect.Struct:
		var names []string
		for i := range t.NumField() {
			names = append(names, FieldName(t.Field(i)))
		}
		return "a mapping with " + strings.Join(names, ", ")
	case reflect.Slice:
		return "a list, each item " + expected(t.Elem())
	case reflect.Map:
		return "a mapping of names to texts"
	case reflect.Bool:
		return "true or false"
	case reflect.Float64:
		return "a number"
	case reflect.String:
		return "a text"
	}
	return "a whole number"
}
