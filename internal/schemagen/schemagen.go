// Package schemagen derives, from the struct types of package scenarios, the
// JSON Schemas that editors use and the reference of the configuration. The
// structs' tags say what a field may hold, their comments what it means, so that
// the loader, the schemas and the reference cannot contradict each other.
package schemagen

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"capstan/core/dismount"
	"capstan/scenarios"
)

// Root is one kind of file.
type Root struct {
	Name    string // of the schema's file, without .json
	Title   string
	Type    reflect.Type
	Example string // a whole file of the kind, which a test loads
}

// Roots are the kinds of file that people write.
func Roots() []Root {
	return []Root{
		{"host", "Host configuration", reflect.TypeFor[scenarios.Host](), "docs/examples/host.yaml"},
		{"policy", "Policy", reflect.TypeFor[scenarios.Policy](), "docs/examples/policy.yaml"},
		{"library", "Virtual library", reflect.TypeFor[scenarios.Library](), "docs/examples/library.yaml"},
		{"scenario", "Scenario", reflect.TypeFor[scenarios.Scenario](), "scenarios/first-night.yaml"},
		{"sweep", "Sweep", reflect.TypeFor[scenarios.Sweep](), "docs/examples/sweep.yaml"},
	}
}

// Comments are the documentation of types and fields: "Type" and "Type.Field".
type Comments map[string]string

// ReadComments reads the comments of the Go files in dir.
func ReadComments(dir string) (Comments, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		return nil, fmt.Errorf("listing the Go files of %s: %w", dir, err)
	}
	c := Comments{}
	for _, name := range files {
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments)
		if err != nil {
			return nil, fmt.Errorf("reading comments: %w", err)
		}
		for _, d := range f.Decls {
			if g, ok := d.(*ast.GenDecl); ok && g.Tok == token.TYPE {
				c.add(g)
			}
		}
	}
	return c, nil
}

func (c Comments) add(g *ast.GenDecl) {
	for _, spec := range g.Specs {
		t := spec.(*ast.TypeSpec)
		c[t.Name.Name] = oneLine(g.Doc.Text())
		s, ok := t.Type.(*ast.StructType)
		if !ok {
			continue
		}
		for _, f := range s.Fields.List {
			for _, n := range f.Names {
				c[t.Name.Name+"."+n.Name] = oneLine(f.Doc.Text())
			}
		}
	}
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

// Schema writes the JSON Schema (draft 2020-12) of one kind of file.
func Schema(root Root, c Comments) ([]byte, error) {
	defs := map[string]any{}
	s := object(root.Type, c, defs)
	s["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	s["title"] = root.Title
	if len(defs) > 0 {
		s["$defs"] = defs
	}
	b, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("writing the schema of %s: %w", root.Name, err)
	}
	return append(b, '\n'), nil
}

func object(t reflect.Type, c Comments, defs map[string]any) map[string]any {
	properties := map[string]any{}
	var required []string
	for i := range t.NumField() {
		f := t.Field(i)
		name := scenarios.FieldName(f)
		p := value(f.Type, f.Tag, c, defs)
		p["description"] = c[t.Name()+"."+f.Name]
		if def, ok := f.Tag.Lookup("def"); ok {
			p["default"] = literal(f.Type, def)
		}
		properties[name] = p
		if f.Tag.Get("need") != "" {
			required = append(required, name)
		}
	}
	s := map[string]any{
		"type": "object", "description": c[t.Name()],
		"properties": properties, "additionalProperties": false,
	}
	if required != nil {
		s["required"] = required
	}
	return s
}

// The patterns of the types with a written form.
var patterns = map[reflect.Type]string{
	reflect.TypeFor[scenarios.Duration](): `^([0-9]+(\.[0-9]+)?(w|d|h|ms|us|ns|m|s))+$|^0$`,
	reflect.TypeFor[scenarios.Size]():     `^[0-9]+(\.[0-9]+)? ?([kKMGTPE]?i?B?)$`,
	reflect.TypeFor[scenarios.Rate]():     `^[0-9]+(\.[0-9]+)? ?([kKMGTPE]?i?[bB])(ps|/s)$`,
	reflect.TypeFor[scenarios.Clock]():    `^([01]?[0-9]|2[0-3]):[0-5][0-9]$`,
	reflect.TypeFor[scenarios.Timing]():   `^(off|real|scale [1-9][0-9]*)$`,
	reflect.TypeFor[dismount.Policy]():    `^(immediate|lru|delay=([0-9]+(\.[0-9]+)?(h|ms|us|ns|m|s))+)$`,
	reflect.TypeFor[scenarios.Count]():    `^(at least )?[0-9]+(-[0-9]+)?$`,
	reflect.TypeFor[scenarios.Amount]():   `^[0-9]*\.?[0-9]+([eE][-+]?[0-9]+)?( ?[kKMGTPE]?i?B?|%)$`,
	reflect.TypeFor[scenarios.Statuses](): `^(any|failed|[0-9]+( or [0-9]+)*)$`,
}

// numbers are those of them that are often written as a mere number.
var numbers = []reflect.Type{reflect.TypeFor[scenarios.Size](), reflect.TypeFor[scenarios.Count](), reflect.TypeFor[scenarios.Statuses]()}

func value(t reflect.Type, tag reflect.StructTag, c Comments, defs map[string]any) map[string]any {
	switch {
	case t == reflect.TypeFor[scenarios.Value]():
		return map[string]any{}
	case t == reflect.TypeFor[time.Time]():
		return map[string]any{"type": "string", "format": "date-time"}
	case t == reflect.TypeFor[scenarios.Days]():
		days := []string{"mon", "tue", "wed", "thu", "fri", "sat", "sun"}
		return map[string]any{"oneOf": []any{
			map[string]any{"type": "string", "pattern": "^(all|[a-z]{3}([,-] ?[a-z]{3})*)$"},
			map[string]any{"type": "array", "items": map[string]any{"enum": days}},
		}}
	case patterns[t] != "" && t != reflect.TypeFor[scenarios.Amount]():
		kinds := any("string")
		if slices.Contains(numbers, t) {
			kinds = []string{"string", "integer"}
		}
		return map[string]any{"type": kinds, "pattern": patterns[t]}
	}
	if t == reflect.TypeFor[scenarios.Amount]() {
		return map[string]any{"type": []string{"string", "number"}, "pattern": patterns[t]}
	}
	switch t.Kind() {
	case reflect.Pointer:
		return value(t.Elem(), tag, c, defs)
	case reflect.Struct:
		if _, done := defs[t.Name()]; !done {
			defs[t.Name()] = true // breaks a cycle
			defs[t.Name()] = object(t, c, defs)
		}
		return map[string]any{"$ref": "#/$defs/" + t.Name()}
	case reflect.Slice:
		s := map[string]any{"type": "array", "items": value(t.Elem(), tag, c, defs)}
		if tag.Get("need") != "" {
			s["minItems"] = 1
		}
		return s
	case reflect.Map:
		return map[string]any{"type": "object", "additionalProperties": value(t.Elem(), tag, c, defs)}
	}
	return scalar(t, tag)
}

func scalar(t reflect.Type, tag reflect.StructTag) map[string]any {
	s := map[string]any{}
	switch t.Kind() {
	case reflect.String:
		s["type"] = "string"
	case reflect.Bool:
		s["type"] = "boolean"
	case reflect.Float64:
		s["type"], s["minimum"] = "number", 0
	default:
		s["type"], s["minimum"] = "integer", 0
	}
	if set := tag.Get("oneof"); set != "" {
		s["enum"] = strings.Split(set, "|")
	}
	if text, ok := tag.Lookup("min"); ok {
		s["minimum"] = literal(t, text)
	}
	if text, ok := tag.Lookup("max"); ok {
		s["maximum"] = literal(t, text)
	}
	return s
}

// literal is a tag's text as JSON of the field's type.
func literal(t reflect.Type, text string) any {
	switch {
	case patterns[t] != "" || t == reflect.TypeFor[scenarios.Days]():
		return text
	case t.Kind() == reflect.Bool:
		return text == "true"
	case t.Kind() == reflect.String:
		return text
	}
	return json.Number(text)
}

// Write writes all generated files below the module's root.
func Write(root string) error {
	files, err := Files(root)
	if err != nil {
		return err
	}
	for name, text := range files {
		name = filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			return fmt.Errorf("writing generated files: %w", err)
		}
		if err := os.WriteFile(name, text, 0o644); err != nil {
			return fmt.Errorf("writing generated files: %w", err)
		}
	}
	return nil
}

// Files are the generated files, by their path below the module's root.
func Files(root string) (map[string][]byte, error) {
	c, err := ReadComments(filepath.Join(root, "scenarios"))
	if err != nil {
		return nil, err
	}
	files := map[string][]byte{}
	examples := map[string][]byte{}
	for _, r := range Roots() {
		if examples[r.Name], err = os.ReadFile(filepath.Join(root, r.Example)); err != nil {
			return nil, fmt.Errorf("reading the example for the reference: %w", err)
		}
		if files["scenarios/schema/"+r.Name+".json"], err = Schema(r, c); err != nil {
			return nil, err
		}
	}
	files["docs/configuration.md"] = Reference(c, examples)
	return files, nil
}

// example is a value to show for a field: its tag's, else its default.
func example(f reflect.StructField) string {
	if ex := f.Tag.Get("ex"); ex != "" {
		return ex
	}
	def := f.Tag.Get("def")
	if f.Type == reflect.TypeFor[scenarios.Clock]() {
		return strconv.Quote(def)
	}
	return def
}
