// Command catalogs measures the catalog beside SQLite and Pebble, which hold the
// same entries. It is a module of its own, as nothing else needs those; the command
// above it runs it, one process for each contender, and reads what it prints: a
// JSON object for each figure.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"capstan/core/catalog"
	"capstan/core/catalog/catalogtest"
	"capstan/hw/clock"
)

// Figure is one thing that was measured.
type Figure struct {
	Who   string  `json:"who"`
	What  string  `json:"what"`
	Value float64 `json:"value"`
	// CPU is the value if the time is not the clock's but the processors', which
	// others on the machine disturb less; 0 if it has none.
	CPU float64 `json:"cpu,omitempty"`
}

// What is measured of each contender.
const (
	writeSorted   = "write, path order, entries/s"
	writeWalk     = "write, order of a walk, entries/s"
	writeShuffled = "write, shuffled, entries/s"
	bytesAll      = "bytes an entry, all of it"
	bytesList     = "bytes an entry, what a listing needs"
	peakWrite     = "memory while writing, less the generator's, MiB"
	peakRead      = "memory while reading, 64 MiB cache, MiB"
	lookups64     = "random look-ups/s, 64 MiB cache"
	lookups512    = "random look-ups/s, 512 MiB cache, all entries warm"
	firstP50      = "first entry of a directory, median, µs"
	firstMax      = "first entry of a directory, slowest of 99.9 %, µs"
	walking       = "walk of all, entries/s"
)

type bench struct {
	ctx context.Context
	who string
	dir string
	n   int
}

func main() {
	who := flag.String("who", "capstan", "capstan, sqlite, pebble, or find: a search in 100 images")
	n := flag.Int("n", 10_000_000, "entries")
	images := flag.Int("images", 100, "images of find, each of a hundredth of the entries of all")
	tmp := flag.String("dir", os.TempDir(), "where to write")
	flag.Parse()
	dir, err := os.MkdirTemp(*tmp, "catalogs")
	if err == nil {
		b := &bench{ctx: clock.Context(context.Background(), "bench"), who: *who, dir: dir, n: *n}
		switch *who {
		case "capstan":
			err = b.capstan()
		case "find":
			err = b.find(*images)
		case "sqlite":
			err = b.sqlite()
		case "pebble":
			err = b.pebble()
		default:
			err = fmt.Errorf("-who %s: want capstan, find, sqlite or pebble", *who)
		}
	}
	if rerr := os.RemoveAll(dir); err == nil {
		err = rerr
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "catalogs:", err)
		os.Exit(1)
	}
}

func (b *bench) print(what string, value, cpu float64) {
	if err := json.NewEncoder(os.Stdout).Encode(Figure{b.who, what, value, cpu}); err != nil {
		panic(err) // nobody reads what is measured
	}
}

// watch adds up the time of what is between start and stop.
type watch struct {
	wall, cpu   time.Duration
	began       time.Time
	beganOfCPUs time.Duration
}

func (w *watch) start() { w.began, w.beganOfCPUs = time.Now(), processors() }

func (w *watch) stop() {
	w.wall += time.Since(w.began)
	w.cpu += processors() - w.beganOfCPUs
}

// rate prints how many of something there were in a second.
func (b *bench) rate(what string, n int, w *watch) {
	b.print(what, float64(n)/w.wall.Seconds(), float64(n)/w.cpu.Seconds())
}

// processors is the time that this process has had of the processors.
func processors() time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// memory prints the most memory that Go's heap and stacks had in use while fn ran,
// less what they had before, and less what generating entries takes if fn does.
func (b *bench) memory(what string, generates bool, fn func() error) error {
	var own int64
	if generates {
		var err error
		if own, err = peak(func() error {
			_, err := b.generate(catalogtest.Walk, &watch{}, func([]catalog.Entry) error { return nil })
			return err
		}); err != nil {
			return err
		}
	}
	most, err := peak(fn)
	b.print(what, float64(max(most-own, 0))/(1<<20), 0)
	return err
}

// peak is the most memory in use while fn ran, looked at every 5 ms, less that before.
func peak(fn func() error) (int64, error) {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	before, most := m.HeapInuse+m.StackInuse, uint64(0)
	done, stopped := make(chan bool), make(chan bool)
	go func() {
		defer close(stopped)
		for {
			select {
			case <-done:
				return
			case <-time.After(5 * time.Millisecond):
				runtime.ReadMemStats(&m)
				most = max(most, m.HeapInuse+m.StackInuse)
			}
		}
	}()
	err := fn()
	close(done)
	<-stopped
	return int64(most - min(before, most)), err
}

// generate feeds entries to put, whose time alone counts.
func (b *bench) generate(order catalogtest.Order, w *watch, put func([]catalog.Entry) error) (n int, err error) {
	err = catalogtest.Generate(b.n, 1, order, func(es []catalog.Entry) error {
		n += len(es)
		for part := range slices.Chunk(es, 1000) {
			w.start()
			err := put(part)
			w.stop()
			if err != nil {
				return err
			}
		}
		return nil
	})
	return n, err
}

// sample gives paths drawn at random from all, and as many directories that are not
// empty.
func (b *bench) sample(size int) (paths, dirs []string, err error) {
	rnd := rand.New(rand.NewPCG(7, 7))
	keep := float64(size) / float64(b.n)
	err = catalogtest.Generate(b.n, 1, catalogtest.Walk, func(es []catalog.Entry) error {
		for i := range es {
			if rnd.Float64() < keep && es[i].Path != "/" {
				paths = append(paths, es[i].Path)
				dirs = append(dirs, filepath.Dir(es[i].Path))
			}
		}
		return nil
	})
	rnd.Shuffle(len(paths), func(i, j int) { paths[i], paths[j] = paths[j], paths[i] })
	return paths, dirs, err
}

// lookups runs look on paths, again and again, for some seconds.
func (b *bench) lookups(what string, paths []string, look func(path string) error) error {
	var w watch
	w.start()
	n := 0
	for ; n%1000 != 0 || time.Since(w.began) < 5*time.Second; n++ {
		if err := look(paths[n%len(paths)]); err != nil {
			return err
		}
	}
	w.stop()
	b.rate(what, n, &w)
	return nil
}

// firsts measures how long the first entry of each directory takes.
func (b *bench) firsts(dirs []string, first func(dir string) error) error {
	dirs = dirs[:min(len(dirs), 20_000)]
	took := make([]time.Duration, len(dirs))
	for i, d := range dirs {
		began := time.Now()
		if err := first(d); err != nil {
			return err
		}
		took[i] = time.Since(began)
	}
	slices.Sort(took)
	b.print(firstP50, float64(took[len(took)/2])/1e3, 0)
	b.print(firstMax, float64(took[len(took)*999/1000])/1e3, 0)
	return nil
}

// size is that of all files below a directory.
func size(dir string) (n int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		i, err := d.Info()
		if err == nil {
			n += i.Size()
		}
		return err
	})
	return n, err
}
