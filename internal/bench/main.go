// Command bench measures Capstan beside its peers, on the same files in one run,
// and writes the table of docs/benchmarks.md between its two marks.
//
// A run makes two trees, one of large files and one of small ones. Each contender
// backs each tree up and restores it; every figure ends with a sync of the file
// system, and every restored tree is compared with its original. The order of the
// rounds is tree by tree and contender by contender, so that what disturbs the
// machine disturbs all; the best round counts. Go's own benchmarks (the virtual
// kernel, a night, the data connection), the latency of calls under a fixed load,
// the mount beside restic's, and the catalog beside SQLite and Pebble follow.
//
//	go run ./internal/bench -capstan bin/capstan -out docs/benchmarks.md
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
)

// settings are what a person may choose.
type settings struct {
	capstan string // the binary
	dir     string // for trees and images
	out     string // the document; "" prints the table only
	parts   string // files, mount, go, latency, catalog
	rounds  int
	large   int64 // bytes of the tree of large files
	small   int   // files of the tree of small ones
	entries int   // of the catalog
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == pipeCommand {
		exit(receivePipe(os.Args[2:]))
	}
	var s settings
	flag.StringVar(&s.capstan, "capstan", "bin/capstan", "the binary to measure")
	flag.StringVar(&s.dir, "dir", os.TempDir(), "where trees and images are made: about four times -large of room")
	flag.StringVar(&s.out, "out", "", "document whose measured part is replaced; none: print it")
	flag.StringVar(&s.parts, "parts", "files,mount,go,latency,catalog", "what to measure")
	flag.IntVar(&s.rounds, "rounds", 2, "rounds of which the best counts")
	flag.Int64Var(&s.large, "large", 4<<30, "bytes of the tree of large files")
	flag.IntVar(&s.small, "small", 50_000, "files of the tree of small ones")
	flag.IntVar(&s.entries, "entries", 10_000_000, "entries of the catalog that is measured beside SQLite and Pebble")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	exit(run(ctx, s))
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

func run(ctx context.Context, s settings) (err error) {
	if s.capstan, err = filepath.Abs(s.capstan); err != nil {
		return err
	}
	dir, err := os.MkdirTemp(s.dir, "b") // short: sockets are below it
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	doc := document{machine: thisMachine(dir)}
	wants := func(part string) bool { return strings.Contains(","+s.parts+",", ","+part+",") }
	if wants("files") || wants("latency") || wants("mount") {
		if err := files(ctx, &doc, s, dir, wants); err != nil {
			return err
		}
	}
	if wants("go") {
		if err := goBenchmarks(ctx, &doc); err != nil {
			return err
		}
	}
	if wants("catalog") {
		if err := measureCatalogs(ctx, &doc, dir, s.entries); err != nil {
			return err
		}
	}
	return doc.write(s.out)
}

// files measures the contenders, and the latency of calls on the last domain's
// catalog.
func files(ctx context.Context, doc *document, s settings, dir string, wants func(string) bool) error {
	trees, err := makeTrees(ctx, dir, s)
	if err != nil {
		return err
	}
	one, err := newCapstan(ctx, "Capstan, one host", s.capstan, filepath.Join(dir, "one"), false)
	if err != nil {
		return err
	}
	defer one.stop()
	if wants("files") {
		if err := race(ctx, doc, s, dir, trees, one); err != nil {
			return err
		}
	}
	if wants("mount") {
		if err := measureMounts(ctx, doc, dir, trees, one); err != nil {
			return err
		}
	}
	if wants("latency") {
		return latencies(ctx, doc, one, trees[len(trees)-1])
	}
	return nil
}

// race runs every contender on every tree.
func race(ctx context.Context, doc *document, s settings, dir string, trees []tree, one *capstan) error {
	two, err := newCapstan(ctx, "Capstan, two hosts, TLS", s.capstan, filepath.Join(dir, "two"), true)
	if err != nil {
		return err
	}
	defer two.stop()
	all := []contender{gnuTar{dir}, one, tlsPipe{dir}, two}
	if b, err := newBacula(ctx, filepath.Join(dir, "bacula")); err != nil {
		say("Bacula is left out: %v", err)
	} else {
		defer b.stop()
		all = append(all, b)
	}
	if r, err := newRestic(ctx, filepath.Join(dir, "restic")); err != nil {
		say("restic is left out: %v", err)
	} else {
		all = append(all, r)
	}
	for _, t := range trees {
		best, err := rounds(ctx, s, filepath.Join(dir, "restored"), t, all)
		if err != nil {
			return err
		}
		doc.addRace(t, all, best)
	}
	return nil
}

// manyFiles is from how many files on a restored tree is kept until all of its
// rounds are done: ext4 looks at every inode that was freed in the last minutes
// before it makes a file, and who comes after a removal would pay for it.
const manyFiles = 1000

// rounds measures all contenders on one tree, and gives their best figures.
func rounds(ctx context.Context, s settings, restored string, t tree, all []contender) ([]figures, error) {
	best := make([]figures, len(all))
	for n := range s.rounds {
		for i, c := range all {
			to := filepath.Join(restored, fmt.Sprintf("%d-%d", n, i))
			f, err := measure(ctx, c, t, to)
			if err != nil {
				return nil, fmt.Errorf("%s, %s: %w", c.name(), t.name, err)
			}
			say("%-24s %-12s backup %v, restore %v", c.name(), t.name, f.backup, f.restore)
			best[i] = best[i].better(f)
			if t.files < manyFiles {
				if err := os.RemoveAll(to); err != nil {
					return nil, err
				}
			}
		}
	}
	return best, os.RemoveAll(restored)
}

func say(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }
