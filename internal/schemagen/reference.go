package schemagen

import (
	"bytes"
	"fmt"
	"reflect"
	"strings"
	"time"

	"capstan/core/dismount"
	"capstan/scenarios"
)

const intro = `# Configuration

<!-- Generated from the types of package scenarios: change them, then run "go generate ./scenarios". -->

People write YAML: a file for each host, one for each policy, and scenarios for the virtual world. Unknown fields are
refused, and all mistakes of a file are reported at once, each with line, column and what was expected. For editors
there is a JSON Schema of each kind of file under ` + "`scenarios/schema/`" + `; with the YAML language server, begin a file with

` + "```yaml" + `
# yaml-language-server: $schema=scenarios/schema/policy.json
` + "```" + `

| written | means |
|---|---|
| duration | ` + "`90s`, `10m`, `8h`, `14d`, `2w`, `1d12h`" + `; a day is 24 hours |
| size | bytes, or ` + "`256KiB`, `180GiB`" + ` (powers of 1024), ` + "`12TB`" + ` (powers of 1000) |
| rate | ` + "`400MBps`" + ` bytes a second, ` + "`10Gbps`" + ` bits a second |
| clock | a time of day, ` + "`21:00`" + ` |
| days | ` + "`all`, `mon-fri`, `sat,sun` or `[sat, sun]`" + ` |
| time | RFC 3339, ` + "`2026-11-23T18:00:00Z`" + ` |
| count | ` + "`3`, `1-4`, `at least 1`" + ` |
| amount | any number: ` + "`0.3`, `30%`, or a size, `47.1GB`" + ` |
| statuses | ` + "`0`, `40 or 50`, `failed`, `any`" + ` |
`

// Reference writes docs/configuration.md. examples is a whole file of each kind,
// by the root's name.
func Reference(c Comments, examples map[string][]byte) []byte {
	var b bytes.Buffer
	b.WriteString(intro)
	done := map[reflect.Type]bool{}
	for _, root := range Roots() {
		fmt.Fprintf(&b, "\n## %s\n\n%s\n", root.Title, c[root.Type.Name()])
		if !done[root.Type] {
			table(&b, root.Type, c)
		} else {
			fmt.Fprintf(&b, "\nThe fields are those of [%s](#%s) above.\n", root.Type.Name(), strings.ToLower(root.Type.Name()))
		}
		done[root.Type] = true
		fmt.Fprintf(&b, "\n```yaml\n%s```\n", examples[root.Name])
		for _, t := range inner(root.Type) {
			if done[t] {
				continue
			}
			done[t] = true
			fmt.Fprintf(&b, "\n### %s\n\n%s\n", t.Name(), c[t.Name()])
			table(&b, t, c)
		}
	}
	return b.Bytes()
}

// inner lists the struct types below t, each once, outer ones first.
func inner(t reflect.Type) (all []reflect.Type) {
	seen := map[reflect.Type]bool{}
	var below func(t reflect.Type)
	below = func(t reflect.Type) {
		for i := range t.NumField() {
			if e, ok := structOf(t.Field(i).Type); ok && !seen[e] {
				seen[e] = true
				all = append(all, e)
				below(e)
			}
		}
	}
	below(t)
	return all
}

func structOf(t reflect.Type) (reflect.Type, bool) {
	if t.Kind() == reflect.Slice || t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t, t.Kind() == reflect.Struct && t != reflect.TypeFor[time.Time]() && t != reflect.TypeFor[scenarios.Value]()
}

func table(b *bytes.Buffer, t reflect.Type, c Comments) {
	b.WriteString("\n| field | holds | default | example | |\n|---|---|---|---|---|\n")
	for i := range t.NumField() {
		f := t.Field(i)
		fmt.Fprintf(b, "| `%s` | %s | %s | %s | %s |\n", scenarios.FieldName(f), holds(f.Type, f.Tag),
			defaultOf(f), code(example(f)), c[t.Name()+"."+f.Name])
	}
}

func code(s string) string {
	if s == "" {
		return ""
	}
	return "`" + s + "`"
}

func defaultOf(f reflect.StructField) string {
	if f.Tag.Get("need") != "" {
		return "*required*"
	}
	if def := f.Tag.Get("def"); def != "" {
		return code(def)
	}
	// A rate of 0 cannot be written.
	if f.Type.Kind() == reflect.Int64 && f.Type != reflect.TypeFor[int64]() && f.Type != reflect.TypeFor[scenarios.Rate]() {
		return "`0`"
	}
	return "none"
}

func holds(t reflect.Type, tag reflect.StructTag) string {
	if e, ok := structOf(t); ok {
		link := fmt.Sprintf("[%s](#%s)", e.Name(), strings.ToLower(e.Name()))
		if t.Kind() == reflect.Slice {
			return "list of " + link
		}
		return link
	}
	s := map[reflect.Kind]string{
		reflect.String: "text", reflect.Bool: "true or false", reflect.Float64: "number",
		reflect.Int: "whole number", reflect.Int64: "whole number", reflect.Map: "texts by name",
	}[t.Kind()]
	switch {
	case t == reflect.TypeFor[time.Time]():
		s = "time"
	case t == reflect.TypeFor[[]scenarios.Value]():
		s = "list of any values"
	case t == reflect.TypeFor[[]scenarios.Amount]():
		s = "list of amounts"
	case t == reflect.TypeFor[dismount.Policy]():
		s = "dismount policy" // a policy is what is backed up when
	case t.PkgPath() != "":
		s = strings.ToLower(t.Name())
	case t.Kind() == reflect.Slice:
		s = "list of texts"
	}
	if set := tag.Get("oneof"); set != "" {
		s += ": `" + strings.ReplaceAll(set, "|", "`, `") + "`"
	}
	low, high := tag.Get("min"), tag.Get("max")
	switch {
	case low != "" && high != "":
		s += fmt.Sprintf(", %s to %s", low, high)
	case low != "":
		s += ", at least " + low
	case high != "":
		s += ", at most " + high
	}
	return s
}
