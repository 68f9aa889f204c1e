// Package catalogtest makes entries whose names and attributes look like those of
// real file systems, as many as wanted and the same for a seed: for tests and
// benchmarks of the catalog.
package catalogtest

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"

	"capstan/core/catalog"
	"capstan/core/rt"
)

// Order is that in which entries are generated.
type Order int

// The orders.
const (
	Walk     Order = iota // as a walk of the tree meets them: what bpbkar sends
	Sorted                // as a files file has them
	Shuffled              // at random, among a million at a time
)

// window is how many entries are shuffled together.
const window = 1_000_000

// Generate calls fn with about n entries, some thousands at a time: home directories
// with sources, pictures and caches, numbered files of instruments, mail spools, and
// trees of source.
func Generate(n int, seed uint64, order Order, fn func([]catalog.Entry) error) error {
	g := &generator{rnd: rand.New(rand.NewPCG(seed, 1)), order: order, fn: fn, ino: 131_072}
	tops := []top{
		{"/home", "user%04d", 35, g.home}, {"/lab", "run%05d", 18, g.numbered},
		{"/mail", "box%04d", 12, g.mail}, {"/src", "project-%04d", 35, g.source},
	}
	upper := []catalog.Entry{g.dir("/")}
	for i := range tops {
		upper = append(upper, g.dir(tops[i].path))
	}
	if err := g.give(g.place(upper)); err != nil {
		return err
	}
	for i := range tops {
		if err := g.fill(&tops[i], n*tops[i].percent/100); err != nil {
			return err
		}
	}
	return g.shuffle()
}

// top is a directory of subtrees of one kind.
type top struct {
	path    string
	format  string // of the subtrees' names
	percent int    // of all entries
	make    func(t *subtree)
}

type generator struct {
	rnd    *rand.Rand
	order  Order
	fn     func([]catalog.Entry) error
	ino    uint64
	end    int64 // of the stream so far
	window []catalog.Entry
}

// subtree is one being made, up to a number of entries.
type subtree struct {
	*generator
	root string
	size int
	es   []catalog.Entry
	have map[string]bool
	uid  uint32
	base int64 // mtime of the directory being filled, in seconds
}

// fill makes subtrees of n entries together.
func (g *generator) fill(t *top, n int) error {
	var sizes []int
	for left := n; left > 0; left -= sizes[len(sizes)-1] {
		sizes = append(sizes, min(left, 2000+g.rnd.IntN(18_000)))
	}
	roots := make([]catalog.Entry, len(sizes))
	for i := range roots {
		roots[i] = g.dir(t.path + "/" + fmt.Sprintf(t.format, i))
	}
	if g.order == Sorted {
		if err := g.give(g.place(slices.Clone(roots))); err != nil {
			return err
		}
	}
	for i, size := range sizes {
		s := &subtree{generator: g, root: roots[i].Path, size: size, have: map[string]bool{}, uid: uint32(1000 + i)}
		s.es = append(s.es, roots[i])
		t.make(s)
		slices.SortFunc(s.es, func(a, b catalog.Entry) int { return compareWalk(a.Path, b.Path) })
		g.place(s.es)
		if g.order == Sorted {
			s.es = s.es[1:] // the root was given
			slices.SortFunc(s.es, func(a, b catalog.Entry) int { return catalog.ComparePaths(a.Path, b.Path) })
		}
		if err := g.give(s.es); err != nil {
			return err
		}
	}
	return nil
}

// compareWalk orders paths component by component.
func compareWalk(a, b string) int {
	n := min(len(a), len(b))
	for i := range n {
		if x, y := a[i], b[i]; x != y {
			if x == '/' {
				return -1
			}
			if y == '/' {
				return 1
			}
			return cmp.Compare(x, y)
		}
	}
	return len(a) - len(b)
}

// place gives entries their places in the stream.
func (g *generator) place(es []catalog.Entry) []catalog.Entry {
	for i := range es {
		es[i].Offset = g.end
		g.end = es[i].End()
	}
	return es
}

func (g *generator) give(es []catalog.Entry) error {
	if g.order != Shuffled {
		return g.fn(es)
	}
	if g.window = append(g.window, es...); len(g.window) < window {
		return nil
	}
	return g.shuffle()
}

func (g *generator) shuffle() error {
	es := g.window
	g.window = nil
	g.rnd.Shuffle(len(es), func(i, j int) { es[i], es[j] = es[j], es[i] })
	for part := range slices.Chunk(es, 1000) {
		if err := g.fn(part); err != nil {
			return err
		}
	}
	return nil
}

// now is about when the newest file changed, in seconds since the epoch.
const now = 1_790_000_000

func (g *generator) dir(path string) catalog.Entry {
	g.ino += 1 + uint64(g.rnd.IntN(40))
	e := catalog.Entry{Path: path, Type: catalog.Directory, Mode: 0o755, Dev: 2049, Ino: g.ino, HeadLen: 1536}
	e.MTime = rt.Time((now-g.rnd.Int64N(150_000_000))*1e9 + g.rnd.Int64N(1e9))
	e.CTime = e.MTime
	return e
}

// enter makes a directory and those above it, and sets the time around which its
// files changed.
func (s *subtree) enter(path string) string {
	for p := path; p != s.root && !s.have[p]; p = p[:strings.LastIndexByte(p, '/')] {
		s.have[p] = true
		e := s.dir(p)
		e.UID, e.GID = s.uid, 100
		s.es = append(s.es, e)
	}
	s.base = now - s.rnd.Int64N(150_000_000)
	return path
}

func (s *subtree) full() bool { return len(s.es) >= s.size }

// file makes a file of about a size: the median, sizes are spread like file sizes
// are, lognormally. Unpacked ones have whole seconds and a later ctime.
func (s *subtree) file(dir, name string, median float64, unpacked bool) {
	path := dir + "/" + name
	if s.have[path] || s.full() {
		return
	}
	s.have[path] = true
	s.ino += 1 + uint64(s.rnd.ExpFloat64()*0.7)
	e := catalog.Entry{Path: path, Type: catalog.Regular, Mode: 0o644, UID: s.uid, GID: 100, Dev: 2049, Ino: s.ino, CRC: s.rnd.Uint32(), HeadLen: 1536}
	e.Size = int64(median * math.Exp(s.rnd.NormFloat64()*1.6))
	e.DataLen = e.Size
	sec := s.base + s.rnd.Int64N(30_000)
	switch {
	case unpacked:
		e.MTime = rt.Time(sec * 1e9)
		e.CTime = rt.Time((now-1_000_000+int64(len(s.es))/5000)*1e9 + s.rnd.Int64N(1e9))
	default:
		e.MTime = rt.Time(sec*1e9 + s.rnd.Int64N(1e9))
		if e.CTime = e.MTime; s.rnd.IntN(5) == 0 { // chmod, rename, link
			e.CTime += rt.Time(s.rnd.Int64N(1e16))
		}
	}
	if s.rnd.IntN(100) == 0 {
		e.Mode, e.XHash = 0o640, s.rnd.Uint64()|1
	}
	s.es = append(s.es, e)
}

var words = strings.Fields(`account address admin agent alpha api archive array async auth backup base batch beta binary block board buffer build
	cache call canvas chart check client clock cluster code color column common config connect control core count crypto cursor data date debug
	default delta device dialog dict disk document domain driver editor email encode engine entry error event export factory feature field file
	filter flag font form format frame gamma graph grid group guide handler hash header helper history host icon image import index info input
	install instance invoice item job journal json kernel key label language layer layout library license limit line link list load local lock
	log login loop main manager map master matrix media memory menu merge message meta method metrics mode model module monitor name native
	network node note number object offer option order output package page panel parser part patch path pattern payment photo pipe plan plugin
	point policy pool port post print process product profile project proto proxy query queue random range reader record region register release
	remote render report request reset resource response result root route rule sample scan schema script search section select sensor server
	service session setting shape share sheet signal size socket sort source stack stage state static status storage store stream string style
	summary support switch symbol sync system table tag target task team template test text theme thread time token tool trace track tree type
	unit update upload user util value vector version video view widget window worker writer xml zone`)

func (g *generator) word() string { return words[g.rnd.IntN(len(words))] }

func (g *generator) pick(of ...string) string { return of[g.rnd.IntN(len(of))] }

// home is a home directory.
func (g *generator) home(s *subtree) {
	for !s.full() {
		switch s.rnd.IntN(10) {
		case 0, 1: // pictures
			year := 2015 + s.rnd.IntN(11)
			d := s.enter(fmt.Sprintf("%s/Pictures/%d/%d-%02d", s.root, year, year, 1+s.rnd.IntN(12)))
			first := s.rnd.IntN(9000)
			for i := range 30 + s.rnd.IntN(200) {
				s.file(d, fmt.Sprintf("IMG_%04d.%s", (first+i)%10_000, s.pick("JPG", "JPG", "JPG", "CR2")), 3e6, false)
			}
		case 2, 3: // documents
			d := s.enter(s.root + "/Documents/" + s.word() + " " + s.word())
			for range 5 + s.rnd.IntN(60) {
				s.file(d, fmt.Sprintf("%s %s %d.%s", s.word(), s.word(), 2010+s.rnd.IntN(17), s.pick("odt", "pdf", "docx", "xlsx", "txt")), 8e4, false)
			}
		case 4, 5: // a cache, by hashes
			d := s.enter(fmt.Sprintf("%s/.cache/%s/%02x", s.root, s.word(), s.rnd.IntN(256)))
			for range 5 + s.rnd.IntN(25) {
				s.file(d, fmt.Sprintf("%016x", s.rnd.Uint64()), 2e4, false)
			}
		default:
			s.sources(s.root+"/"+s.pick("src", "projects", "work")+"/"+s.word(), 400, s.rnd.IntN(2) == 0)
		}
	}
}

// source is a tree of source.
func (g *generator) source(s *subtree) {
	for !s.full() {
		s.sources(s.root+"/"+s.pick("lib", "cmd", "internal", "drivers", "docs", "tests")+"/"+s.word(), 800, s.rnd.IntN(3) > 0)
	}
}

// sources fills a directory and some below it with files of one language.
func (s *subtree) sources(top string, most int, unpacked bool) {
	ext := s.pick("go", "c", "py", "js", "java")
	for n := s.rnd.IntN(most); n > 0 && !s.full(); {
		path := top
		for range s.rnd.IntN(4) {
			path += "/" + s.word()
		}
		d := s.enter(path)
		files := 3 + s.rnd.IntN(25)
		for range files {
			name := s.word()
			if s.rnd.IntN(2) == 0 {
				name += "_" + s.word()
			}
			s.file(d, name+"."+ext, 5e3, unpacked)
			if ext == "c" {
				s.file(d, name+".h", 2e3, unpacked)
			}
		}
		n -= files
	}
}

// numbered is a run of an instrument: many files of one size.
func (g *generator) numbered(s *subtree) {
	for part := 0; !s.full(); part++ {
		d := s.enter(fmt.Sprintf("%s/part%02d", s.root, part))
		for i := range 500 + s.rnd.IntN(3000) {
			s.file(d, fmt.Sprintf("frame_%06d.tif", i), 1, false)
			e := &s.es[len(s.es)-1]
			e.Size, e.DataLen = 8_388_744, 8_388_744
			e.MTime = rt.Time(s.base*1e9 + int64(i)*250_000_000 + s.rnd.Int64N(3e6))
			e.CTime = e.MTime
		}
	}
}

// mail is a mail spool in maildir format.
func (g *generator) mail(s *subtree) {
	hosts := s.pick("mx1.example.net", "mail.example.com", "post")
	for !s.full() {
		d := s.enter(s.root + "/" + s.pick("", "", ".Sent/", ".Archive."+s.word()+"/") + s.pick("cur", "cur", "cur", "new"))
		for range 50 + s.rnd.IntN(400) {
			at := s.base + s.rnd.Int64N(3_000_000)
			size := int64(6000 * math.Exp(s.rnd.NormFloat64()*1.6))
			s.file(d, fmt.Sprintf("%d.M%06dP%d.%s,S=%d:2,%s", at, s.rnd.IntN(1e6), 1000+s.rnd.IntN(60_000), hosts, size, s.pick("S", "S", "RS", "")), 1, false)
			e := &s.es[len(s.es)-1]
			e.Size, e.DataLen, e.Mode = size, size, 0o600
			e.MTime = rt.Time(at*1e9 + s.rnd.Int64N(1e9))
			e.CTime = e.MTime
		}
	}
}
