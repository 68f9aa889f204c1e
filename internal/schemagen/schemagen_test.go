package schemagen_test

import (
	"encoding"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"capstan/internal/schemagen"
	"capstan/scenarios"
)

const root = "../.."

func TestGeneratedFilesAreCurrent(t *testing.T) {
	files, err := schemagen.Files(root)
	if err != nil {
		t.Fatal(err)
	}
	if len(files) != len(schemagen.Roots())+1 {
		t.Fatalf("%d generated files; expected a schema for each root, and the reference", len(files))
	}
	for name, want := range files {
		got, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Error(err)
			continue
		}
		if diff := cmp.Diff(string(want), string(got)); diff != "" {
			t.Errorf("%s is out of date: run go generate ./scenarios (-want +got):\n%s", name, diff)
		}
	}
}

// What the reference gives as a default can be written.
func TestDefaultsCanBeWritten(t *testing.T) {
	files, err := schemagen.Files(root)
	if err != nil {
		t.Fatal(err)
	}
	checked := 0
	for line := range strings.Lines(string(files["docs/configuration.md"])) {
		cells := strings.Split(line, " | ")
		if len(cells) < 4 || !strings.HasPrefix(cells[2], "`") {
			continue
		}
		holds, _, _ := strings.Cut(cells[1], ",")
		var of encoding.TextUnmarshaler
		switch holds {
		case "rate":
			of = new(scenarios.Rate)
		case "size":
			of = new(scenarios.Size)
		case "duration":
			of = new(scenarios.Duration)
		default:
			continue
		}
		checked++
		if err := of.UnmarshalText([]byte(strings.Trim(cells[2], "`"))); err != nil {
			t.Errorf("%s: %v", cells[0], err)
		}
	}
	if checked < 10 {
		t.Errorf("%d defaults were found", checked)
	}
}

// Every field of every file is documented, and has a default, an example or both
// unless it is made of further fields.
func TestEveryFieldIsDocumented(t *testing.T) {
	c, err := schemagen.ReadComments(filepath.Join(root, "scenarios"))
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range schemagen.Roots() {
		fields(t, r.Type, c, map[reflect.Type]bool{})
	}
}

func fields(t *testing.T, typ reflect.Type, c schemagen.Comments, seen map[reflect.Type]bool) {
	t.Helper()
	if seen[typ] {
		return
	}
	seen[typ] = true
	for i := range typ.NumField() {
		f := typ.Field(i)
		name := typ.Name() + "." + f.Name
		if c[name] == "" {
			t.Errorf("%s has no comment", name)
		}
		e := f.Type
		if e.Kind() == reflect.Slice || e.Kind() == reflect.Pointer {
			e = e.Elem()
		}
		if e.Kind() == reflect.Struct && e.PkgPath() != "time" && e != reflect.TypeFor[scenarios.Value]() {
			fields(t, e, c, seen)
		} else if f.Tag.Get("ex") == "" && f.Tag.Get("def") == "" {
			t.Errorf("%s has neither an example nor a default", name)
		}
	}
}
