package catalog

import (
	"encoding/binary"
	"fmt"
	"math"

	"capstan/core/rt"
)

// Bounds of one block. The writer closes a block well below them; a reader
// refuses more, so that a damaged block cannot make it ask for much memory.
const (
	maxBlockEntries = 4096
	maxBlockText    = 1 << 20 // of all paths and link targets, decoded
	maxBlockRaw     = 8 << 20 // of a block before compression
)

// The columns of a data block, in the order in which they are stored. Values
// that are alike stand together, which is what makes them compress.
const (
	colDirs    = iota // for each directory: entries in it, bytes shared with the one before, rest
	colNames          // for each entry: bytes of the name shared with the one before, length of the rest
	colText           // the rests of the names
	colClasses        // the table of classes
	colClass          // for each entry: its class
	colSize           // for each entry
	colMTime          // for each entry: whole seconds since the one before, nanoseconds
	colCTime          // for each entry: ctime - mtime in whole seconds and nanoseconds
	colIno            // for each entry: since the one before
	colOffset         // for each entry: since the end of the one before
	colLength         // for each entry: length of headers; data length - size
	colLink           // for entries with a link: length and bytes
	colRare           // for entries that have them: device numbers, xattr digest, count
	columns
)

// A class is what many entries have in common; an entry names its class.
type class struct {
	typ    Type
	flags  uint8
	damage uint8
	mode   uint32
	uid    uint32
	gid    uint32
	dev    uint64
}

// Flags of a class: which of the rare columns its entries have.
const (
	hasLink = 1 << iota
	hasDevice
	hasXHash
	hasCount
	allFlags = hasLink | hasDevice | hasXHash | hasCount
)

func classOf(e *Entry) class {
	c := class{typ: e.Type, damage: e.Damage, mode: e.Mode, uid: e.UID, gid: e.GID, dev: e.Dev}
	if e.Link != "" {
		c.flags |= hasLink
	}
	if e.Major != 0 || e.Minor != 0 {
		c.flags |= hasDevice
	}
	if e.XHash != 0 {
		c.flags |= hasXHash
	}
	if e.Count != 0 {
		c.flags |= hasCount
	}
	return c
}

// blockWriter gathers entries, which come in order, into the columns of a block.
type blockWriter struct {
	n       int
	text    int // bytes of paths and links
	first   string
	last    Entry
	dir     string
	name    string
	inDir   int    // entries so far in dir
	dirHead []byte // dir's front-coded path, written after inDir is known
	classes map[class]int
	col     [columns][]byte
}

func (w *blockWriter) reset() {
	for i := range w.col {
		w.col[i] = w.col[i][:0]
	}
	*w = blockWriter{col: w.col, classes: map[class]int{}, dirHead: w.dirHead[:0]}
}

// size is the length of the block before compression, about.
func (w *blockWriter) size() int {
	n := len(w.dirHead)
	for _, c := range w.col {
		n += len(c)
	}
	return n
}

func (w *blockWriter) add(e *Entry) {
	dir, name := split(e.Path)
	if w.n == 0 {
		w.first = e.Path
		w.startDir(dir)
	} else if dir != w.dir {
		w.endDir()
		w.startDir(dir)
	}
	w.inDir++
	shared := sharedPrefix(w.name, name)
	w.col[colNames] = binary.AppendUvarint(w.col[colNames], uint64(shared))
	w.col[colNames] = binary.AppendUvarint(w.col[colNames], uint64(len(name)-shared))
	w.col[colText] = append(w.col[colText], name[shared:]...)
	w.name = name
	w.addNumbers(e)
	w.addRare(e)
	w.last = *e
	w.n++
	w.text += len(e.Path) + len(e.Link)
}

func (w *blockWriter) startDir(dir string) {
	shared := sharedPrefix(w.dir, dir)
	w.dirHead = binary.AppendUvarint(w.dirHead[:0], uint64(shared))
	w.dirHead = appendText(w.dirHead, dir[shared:])
	w.dir, w.inDir = dir, 0
}

func (w *blockWriter) endDir() {
	w.col[colDirs] = binary.AppendUvarint(w.col[colDirs], uint64(w.inDir))
	w.col[colDirs] = append(w.col[colDirs], w.dirHead...)
}

func (w *blockWriter) addNumbers(e *Entry) {
	c := classOf(e)
	id, ok := w.classes[c]
	if !ok {
		id = len(w.classes)
		w.classes[c] = id
		b := append(w.col[colClasses], byte(c.typ), c.flags, c.damage)
		for _, v := range [...]uint64{uint64(c.mode), uint64(c.uid), uint64(c.gid), c.dev} {
			b = binary.AppendUvarint(b, v)
		}
		w.col[colClasses] = b
	}
	put := func(col int, v int64) { w.col[col] = binary.AppendVarint(w.col[col], v) }
	w.col[colClass] = binary.AppendUvarint(w.col[colClass], uint64(id))
	put(colSize, e.Size)
	sec, ns := seconds(e.MTime)
	lastSec, _ := seconds(w.last.MTime)
	put(colMTime, sec-lastSec)
	put(colMTime, ns)
	csec, cns := seconds(e.CTime)
	put(colCTime, csec-sec)
	put(colCTime, cns-ns)
	put(colIno, int64(e.Ino-w.last.Ino))
	put(colOffset, e.Offset-w.last.End())
	put(colLength, e.HeadLen)
	put(colLength, e.DataLen-e.Size)
}

func (w *blockWriter) addRare(e *Entry) {
	c := classOf(e)
	rare := w.col[colRare]
	if c.flags&hasLink != 0 {
		w.col[colLink] = appendText(w.col[colLink], e.Link)
	}
	if c.flags&hasDevice != 0 {
		rare = binary.AppendUvarint(rare, uint64(e.Major))
		rare = binary.AppendUvarint(rare, uint64(e.Minor))
	}
	if c.flags&hasXHash != 0 {
		rare = binary.LittleEndian.AppendUint64(rare, e.XHash)
	}
	if c.flags&hasCount != 0 {
		rare = binary.AppendUvarint(rare, uint64(e.Count))
	}
	w.col[colRare] = rare
}

// appendTo appends the finished block to b.
func (w *blockWriter) appendTo(b []byte) []byte {
	w.endDir()
	b = binary.AppendUvarint(b, uint64(w.n))
	for _, c := range w.col {
		b = binary.AppendUvarint(b, uint64(len(c)))
	}
	for _, c := range w.col {
		b = append(b, c...)
	}
	return b
}

// seconds divides a time into whole seconds, rounded down, and nanoseconds.
func seconds(t rt.Time) (sec, ns int64) {
	sec, ns = int64(t)/1e9, int64(t)%1e9
	if ns < 0 {
		sec, ns = sec-1, ns+1e9
	}
	return sec, ns
}

// join is the inverse of seconds; it fails where the result does not fit.
func join(sec, ns int64) (rt.Time, bool) {
	if sec < math.MinInt64/int64(1e9)-1 || sec > math.MaxInt64/int64(1e9) || ns < 0 || ns >= 1e9 {
		return 0, false
	}
	if sec < 0 { // one second up, so that the product fits
		return rt.Time((sec+1)*1e9 + (ns - 1e9)), (sec+1)*1e9 >= math.MinInt64-(ns-1e9)
	}
	return rt.Time(sec*1e9 + ns), sec*1e9 <= math.MaxInt64-ns
}

func sharedPrefix(a, b string) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return i
		}
	}
	return n
}

// blockReader decodes the columns of one block side by side.
type blockReader struct {
	col     [columns]cursor
	classes []class
	last    Entry
	dir     string
	name    string
	inDir   int // entries still to come in dir
	text    int
}

// decodeBlock reads a data block. It trusts nothing: entries come out in order,
// valid, and with no more text than a block may have.
func decodeBlock(raw []byte) ([]Entry, error) {
	c := cursor{b: raw}
	n := c.count(maxBlockEntries)
	var r blockReader
	var length [columns]int
	for i := range length {
		length[i] = c.count(len(raw))
	}
	for i := range length {
		r.col[i].b = c.bytes(length[i])
	}
	if c.err != nil {
		return nil, c.err
	}
	if n == 0 || len(c.b) != 0 {
		return nil, fmt.Errorf("a block of %d entries with %d bytes after them", n, len(c.b))
	}
	r.readClasses()
	entries := make([]Entry, 0, min(n, len(raw)))
	for range n {
		e, err := r.next()
		if err != nil {
			return nil, err
		}
		if len(entries) > 0 && comparePaths(r.last.Path, e.Path) >= 0 {
			return nil, fmt.Errorf("%.200q after %.200q is out of order", e.Path, r.last.Path)
		}
		r.last = e
		entries = append(entries, e)
	}
	for i := range r.col {
		if len(r.col[i].b) != 0 {
			return nil, fmt.Errorf("column %d is longer than its %d entries", i, n)
		}
	}
	return entries, nil
}

func (r *blockReader) readClasses() {
	c := &r.col[colClasses]
	for len(c.b) > 0 {
		k := class{typ: Type(c.byte()), flags: c.byte(), damage: c.byte()}
		k.mode, k.uid, k.gid, k.dev = c.uint32(), c.uint32(), c.uint32(), c.uint()
		if k.flags&^allFlags != 0 {
			c.fail(fmt.Errorf("unknown flags %#x of a class", k.flags))
		}
		r.classes = append(r.classes, k)
	}
}

func (r *blockReader) next() (Entry, error) {
	e := Entry{Path: r.path()}
	r.numbers(&e)
	for i := range r.col {
		if err := r.col[i].err; err != nil {
			return e, fmt.Errorf("column %d: %w", i, err)
		}
	}
	r.text += len(e.Path) + len(e.Link)
	if r.text > maxBlockText {
		return e, fmt.Errorf("more than %d bytes of paths", maxBlockText)
	}
	return e, e.check()
}

func (r *blockReader) path() string {
	if r.inDir == 0 {
		c := &r.col[colDirs]
		r.inDir = c.count(maxBlockEntries)
		shared := c.count(len(r.dir))
		r.dir = r.dir[:shared] + c.text(MaxPath)
		if r.inDir == 0 {
			c.fail(fmt.Errorf("directory %.200q with no entries", r.dir))
			return ""
		}
	}
	r.inDir--
	c := &r.col[colNames]
	shared := c.count(len(r.name))
	rest := r.col[colText].bytes(c.count(MaxPath))
	r.name = r.name[:shared] + string(rest)
	return r.dir + "/" + r.name
}

func (r *blockReader) numbers(e *Entry) {
	var k class
	if id := r.col[colClass].uint(); id < uint64(len(r.classes)) {
		k = r.classes[id]
	} else {
		r.col[colClass].fail(fmt.Errorf("class %d of %d", id, len(r.classes)))
	}
	e.Type, e.Damage, e.Mode, e.UID, e.GID, e.Dev = k.typ, k.damage, k.mode, k.uid, k.gid, k.dev
	e.Size = r.col[colSize].int()
	lastSec, _ := seconds(r.last.MTime)
	c := &r.col[colMTime]
	sec, ns := lastSec+c.int(), c.int()
	var ok bool
	if e.MTime, ok = join(sec, ns); !ok {
		c.fail(fmt.Errorf("a time of %d s and %d ns", sec, ns))
	}
	c = &r.col[colCTime]
	csec, cns := sec+c.int(), ns+c.int()
	if e.CTime, ok = join(csec, cns); !ok {
		c.fail(fmt.Errorf("a time of %d s and %d ns", csec, cns))
	}
	e.Ino = r.last.Ino + uint64(r.col[colIno].int())
	e.Offset = r.last.End() + r.col[colOffset].int()
	e.HeadLen = r.col[colLength].int()
	e.DataLen = e.Size + r.col[colLength].int()
	if k.flags&hasLink != 0 {
		e.Link = r.col[colLink].text(MaxPath)
	}
	c = &r.col[colRare]
	if k.flags&hasDevice != 0 {
		e.Major, e.Minor = c.uint32(), c.uint32()
	}
	if k.flags&hasXHash != 0 {
		if b := c.bytes(8); b != nil {
			e.XHash = binary.LittleEndian.Uint64(b)
		}
	}
	if k.flags&hasCount != 0 {
		e.Count = int64(c.uint())
	}
}
