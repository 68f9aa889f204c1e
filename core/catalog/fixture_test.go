package catalog

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"capstan/core/store/storetest"
)

var rewrite = flag.Bool("rewrite", false, "write the fixture of the current format anew")

// fixtureEntries are what the files of testdata hold: all types, and so many that
// there is an index of names.
func fixtureEntries() []Entry {
	es := []Entry{
		{Path: "/", Type: Directory, Mode: 0o755, Dev: 1, Ino: 2, HeadLen: 512},
		{Path: "/link", Type: Symlink, Mode: 0o777, Link: "many", MTime: -1, CTime: 5, Offset: 512, HeadLen: 512},
		{Path: "/device", Type: CharDev, Mode: 0o600, Major: 4, Minor: 64, MTime: 1e18 + 7, CTime: 1e18 + 7, Offset: 1024, HeadLen: 512},
		{Path: "/hollow", Type: Regular, Mode: 0o644, Size: 1 << 40, DataLen: 1 << 40, Count: 1000, Offset: 1536, HeadLen: 512_000},
		{Path: "/gone", Type: Gone, Offset: 1 << 41},
		{Path: "/many/", Type: Gone, Offset: 1 << 41},
		{Path: "/n\xff\n", Type: Regular, Mode: 0o4755, XHash: 1 << 63, CRC: 1, Damage: Grown, Offset: 1 << 42, HeadLen: 1536},
	}
	for i := range int64(5000) {
		e := entry(fmt.Sprintf("/many/file%04d", i), 1<<43+i*1024)
		e.Size, e.DataLen = 1, 1
		es = append(es, e)
	}
	return es
}

// What was written in a format that was ever released can be read: testdata keeps a
// file of each.
func TestFixtures(t *testing.T) {
	ctx := storetest.Solo()
	current := filepath.Join("testdata", fmt.Sprintf("format-%d.f", formatVersion))
	if *rewrite {
		d := newTestDir()
		seal(ctx, t, d, Options{}, fixtureEntries())
		if err := os.WriteFile(current, d.files["img/x.f"].b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	files, err := filepath.Glob("testdata/format-*.f")
	if err != nil || len(files) != formatVersion-1 { // the first was never released
		t.Fatalf("the fixtures are %v, %v: want one for each version from 2 to %d", files, err, formatVersion)
	}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		d := newTestDir()
		d.files["img/x.f"] = &testFile{d: d, b: b}
		r := open(ctx, t, d, nil)
		if err := r.Verify(ctx); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for _, want := range fixtureEntries() {
			got, ok, err := r.find(ctx, want.Path)
			if d := cmp.Diff(want, got); !ok || err != nil || d != "" {
				t.Fatalf("%s: %q: %v, %v (-want +got):\n%s", name, want.Path, ok, err, d)
			}
		}
		if want := (Summary{Files: 1000 + 5003, Dirs: 1, Bytes: 1<<40 + 5000, Entries: 5005, Gone: 2}); r.Summary() != want {
			t.Errorf("%s: summary %+v, want %+v", name, r.Summary(), want)
		}
		p, err := NewPattern("file4999", false)
		if err != nil {
			t.Fatal(err)
		}
		found := 0
		if _, seen, err := r.Find(ctx, p, "", 0, func(Entry) (bool, error) { found++; return true, nil }); err != nil || found != 1 || seen > 4000 {
			t.Errorf("%s: %d were found among %d, %v", name, found, seen, err)
		}
	}
}

// Version 1, which was never released, is refused by name: a file of it is not damaged.
func TestFirstVersion(t *testing.T) {
	b, err := os.ReadFile(filepath.Join("testdata", fmt.Sprintf("format-%d.f", formatVersion)))
	if err != nil {
		t.Fatal(err)
	}
	b[8] = 1
	d := newTestDir()
	d.files["img/x.f"] = &testFile{d: d, b: b}
	if _, err := Open(storetest.Solo(), d, "img/x.f", nil); err == nil || !strings.Contains(err.Error(), "format version 1, this program knows 2: import the image") {
		t.Error(err)
	}
}
