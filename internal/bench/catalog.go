package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/dustin/go-humanize"
)

// catalogs is the module that measures the catalog and its peers: see there.
const catalogs = "internal/bench/catalogs"

// catalogFigure is what it prints, a line of JSON each.
type catalogFigure struct {
	Who   string  `json:"who"`
	What  string  `json:"what"`
	Value float64 `json:"value"`
	CPU   float64 `json:"cpu"` // by the processors' time instead of the clock's; 0: has none
}

// catalogTargets are the catalog's own, by the beginning of what is measured.
var catalogTargets = []struct {
	what    string
	target  float64
	atLeast bool
}{
	{"bytes an entry, what a listing needs", 16, false},
	{"bytes an entry, all of it", 30, false},
	{"write, path order", 1_000_000, true},
	{"write, order of a walk", 500_000, true},
	{"write, shuffled", 500_000, true},
	{"random look-ups/s, 64 MiB", 40_000, true},
	{"random look-ups/s, 512 MiB", 200_000, true},
	{"first entry of a directory, slowest", 1000, false},
	{"memory while writing", 64, false},
	{"memory while reading", 64, false},
}

// measureCatalogs runs each contender in a process of its own.
func measureCatalogs(ctx context.Context, doc *document, dir string, entries int) error {
	program := filepath.Join(dir, "catalogs")
	build := exec.CommandContext(ctx, "go", "build", "-o", program, ".")
	build.Dir = catalogs
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", build, err, tail(out))
	}
	for _, who := range []string{"capstan", "sqlite", "pebble", "find"} {
		say("catalog of %d entries: %s", entries, who)
		n := entries
		if who == "find" {
			n *= 10 // 100 images of a tenth
		}
		out, err := command(ctx, program, "-who", who, "-n", strconv.Itoa(n), "-dir", dir)
		if err != nil {
			return err
		}
		for d := json.NewDecoder(strings.NewReader(out)); ; {
			var f catalogFigure
			if err := d.Decode(&f); err == io.EOF {
				break
			} else if err != nil {
				return fmt.Errorf("what %s printed: %w\n%s", program, err, out)
			}
			doc.catalog = append(doc.catalog, f)
		}
	}
	doc.entries = entries
	return nil
}

// catalogTable writes the contenders side by side, then the searches.
func (d *document) catalogTable(b *strings.Builder) {
	var whats []string
	for _, f := range d.catalog {
		if f.Who == "capstan" {
			whats = append(whats, f.What)
		}
	}
	fmt.Fprintf(b, "\n| catalog of %s entries | Capstan | SQLite | Pebble | target |\n|---|---|---|---|---|\n", humanize.Comma(int64(d.entries)))
	for _, what := range whats {
		fmt.Fprintf(b, "| %s | %s | %s | %s | %s |\n", what, d.catalogCell("capstan", what), d.catalogCell("sqlite", what),
			d.catalogCell("pebble", what), d.catalogVerdict(what))
	}
	b.WriteString("\n| search in the images of one client | |\n|---|---|\n")
	for _, f := range d.catalog {
		if f.Who == "find" {
			fmt.Fprintf(b, "| %s | %s |\n", f.What, f.text())
		}
	}
}

func (d *document) figure(who, what string) *catalogFigure {
	i := slices.IndexFunc(d.catalog, func(f catalogFigure) bool { return f.Who == who && f.What == what })
	if i < 0 {
		return nil
	}
	return &d.catalog[i]
}

func (d *document) catalogCell(who, what string) string {
	f := d.figure(who, what)
	if f == nil {
		return "-"
	}
	return f.text()
}

// text is the figure by the clock and, behind it, by the processors' time.
func (f *catalogFigure) text() string {
	show := func(v float64) string {
		if v >= 1000 {
			return humanize.Comma(int64(v))
		}
		return humanize.FtoaWithDigits(v, 1)
	}
	if f.CPU == 0 {
		return show(f.Value)
	}
	return show(f.Value) + " (" + show(f.CPU) + ")"
}

func (d *document) catalogVerdict(what string) string {
	f := d.figure("capstan", what)
	for _, t := range catalogTargets {
		if !strings.HasPrefix(what, t.what) {
			continue
		}
		if t.atLeast { // a rate: by the processors' time, which others on the machine disturb less
			return "at least " + humanize.Commaf(t.target) + missed(f.CPU >= t.target, t.target/max(f.CPU, 1e-9))
		}
		return "at most " + humanize.Commaf(t.target) + missed(f.Value <= t.target, f.Value/t.target)
	}
	return "-"
}
